//! `status` and `health`.

use std::io::IsTerminal as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::args::{Global, HealthOptions, StatusOptions};
use crate::cli::context;
use crate::cli::output::Output;
use crate::cli::peers::peers_table;
use crate::exit::{CliError, Exit};
use crate::view::with_schema;

/// A screen that changes more often than this is not read.
const SHORTEST_WATCH: Duration = Duration::from_millis(100);

pub(super) fn status(
    global: &Global,
    options: &StatusOptions,
    output: &Output,
) -> Result<Exit, CliError> {
    let Some(every) = options.watch else {
        output.result(&look(global, options)?, status_text);
        return Ok(Exit::Ok);
    };
    let clears = std::io::stdout().is_terminal() && !output.is_json();
    let mut shown = 0;
    loop {
        let status = look(global, options)?;
        if output.is_json() {
            output.line(&status.to_string());
        } else if clears {
            // Home, the text, and away with what is left of the old one: no flicker.
            let text = status_text(&status).replace('\n', "\x1b[K\n");
            output.line(&format!("\x1b[H{text}\x1b[J"));
        } else {
            output.line(&format!("{}\n", status_text(&status)));
        }
        shown += 1;
        if options.times.is_some_and(|times| shown >= times) {
            return Ok(Exit::Ok);
        }
        std::thread::sleep(every.max(SHORTEST_WATCH));
    }
}

/// The status, with the peers where they are asked for.
fn look(global: &Global, options: &StatusOptions) -> Result<Value, CliError> {
    let mut client = context::connect(global)?;
    let mut status = client.call("status", json!({}))?;
    if options.peers {
        status["peer_list"] = client.call("peers.list", json!({}))?["peers"].take();
    }
    Ok(status)
}

fn status_text(status: &Value) -> String {
    let text = |path: &str| {
        status
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or("?")
            .to_owned()
    };
    let number = |path: &str| status.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let listen: Vec<&str> = status["listen"]
        .as_array()
        .map(|all| all.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let down = status["listeners_down"].as_array().into_iter().flatten();
    let down: String = down
        .map(|lost| {
            let text = |key: &str| lost[key].as_str().unwrap_or("?");
            format!(
                "\n           DOWN {} since {}: {}",
                text("address"),
                text("since"),
                text("reason")
            )
        })
        .collect();
    let waiting = match number("/peers/waiting") {
        0 => String::new(),
        count => format!(", {count} waiting for approval"),
    };
    let uptime = btcfed_core::config::format_duration(Duration::from_secs(number("/uptime_s")));
    let store = match status.pointer("/store/reason").and_then(Value::as_str) {
        Some(reason) => format!("degraded: {reason}"),
        None => format!("ok, generation {}", number("/store/generation")),
    };
    let mut lines = vec![
        format!(
            "btcfed {} is {}, up {uptime}",
            text("/version"),
            text("/state")
        ),
        format!("id         {}", text("/peer_id")),
        format!(
            "listening  {}{down}",
            if listen.is_empty() {
                "nowhere".to_owned()
            } else {
                listen.join("\n           ")
            }
        ),
        format!(
            "peers      {} connected of {} known, {} banned{waiting}",
            number("/peers/connected"),
            number("/peers/known"),
            number("/peers/banned")
        ),
        format!("config     revision {}", number("/config/revision")),
        format!("log        {}", log_text(&status["log"])),
        format!("store      {store}"),
        format!(
            "exchange   {} records offered, {} added; {} B in, {} B out",
            number("/discovery/records_offered"),
            number("/discovery/records_accepted"),
            number("/traffic/bytes_in"),
            number("/traffic/bytes_out")
        ),
    ];
    if status["peer_list"].is_array() {
        let list = json!({ "peers": status["peer_list"] });
        lines.push(format!("\n{}", peers_table(&list, false)));
    }
    lines.join("\n")
}

/// The level, and what holds in its place.
pub(super) fn log_text(log: &Value) -> String {
    let text = |key: &str| log[key].as_str().unwrap_or("?");
    match log["until"].as_str() {
        Some(until) => format!(
            "{} until {until}, then {}",
            text("in_force"),
            text("configured")
        ),
        None => text("in_force").to_owned(),
    }
}

pub(super) fn health(
    global: &Global,
    options: &HealthOptions,
    output: &Output,
) -> Result<Exit, CliError> {
    let verdict =
        match context::connect(global).and_then(|mut client| client.call("status", json!({}))) {
            Ok(status) => reasons_against(&status, options),
            Err(error) => vec![error.message],
        };
    let healthy = verdict.is_empty();
    let document = with_schema("health", json!({ "healthy": healthy, "reasons": verdict }));
    output.result(&document, |_| {
        if healthy {
            "healthy".to_owned()
        } else {
            format!("unhealthy: {}", verdict.join("; "))
        }
    });
    Ok(if healthy { Exit::Ok } else { Exit::Failed })
}

/// Why a node is not healthy enough.
fn reasons_against(status: &Value, options: &HealthOptions) -> Vec<String> {
    let mut reasons = Vec::new();
    if options.ready {
        if status["listen"].as_array().is_none_or(Vec::is_empty) {
            reasons.push("the node listens nowhere".to_owned());
        }
        if let Some(reason) = status.pointer("/store/reason").and_then(Value::as_str) {
            reasons.push(format!("the store is degraded: {reason}"));
        }
    }
    let connected = status
        .pointer("/peers/connected")
        .and_then(Value::as_u64)
        .unwrap_or(0);
    if usize::try_from(connected).is_ok_and(|connected| connected < options.min_peers) {
        reasons.push(format!(
            "{connected} of {} peers connected",
            options.min_peers
        ));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_names_every_reason_and_none_when_all_is_well() {
        let good = json!({ "state": "running", "listen": ["/ip4/127.0.0.1/tcp/1"], "store": {}, "peers": {"connected": 3} });
        assert!(
            reasons_against(
                &good,
                &HealthOptions {
                    ready: true,
                    min_peers: 3
                }
            )
            .is_empty()
        );
        let bad = json!({ "state": "degraded", "listen": [], "store": {"reason": "no space"}, "peers": {"connected": 2} });
        assert_eq!(
            reasons_against(
                &bad,
                &HealthOptions {
                    ready: true,
                    min_peers: 3
                }
            )
            .len(),
            3
        );
        assert_eq!(
            reasons_against(
                &bad,
                &HealthOptions {
                    ready: false,
                    min_peers: 0
                }
            )
            .len(),
            0
        );
    }

    #[test]
    fn listeners_that_are_down_and_peers_that_wait_are_told_and_nothing_where_there_are_none() {
        let mut status = json!({ "listen": ["/ip4/127.0.0.1/tcp/1"], "listeners_down": [], "peers": {"waiting": 0} });
        let text = status_text(&status);
        assert!(
            !text.contains("DOWN") && !text.contains("waiting"),
            "{text}"
        );
        status["peers"]["waiting"] = json!(2);
        status["listeners_down"] = json!([{ "address": "/ip4/192.0.2.1/tcp/1", "since": "2026-11-20T10:00:00Z", "reason": "gone" }]);
        let text = status_text(&status);
        assert!(text.contains("2 waiting for approval"), "{text}");
        let line = "DOWN /ip4/192.0.2.1/tcp/1 since 2026-11-20T10:00:00Z: gone";
        assert!(text.contains(line), "{text}");
    }
}
