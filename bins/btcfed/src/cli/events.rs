//! `events`.

use serde_json::{Value, json};

use crate::cli::args::{EventsOptions, Global, Since};
use crate::cli::context;
use crate::cli::output::Output;
use crate::cli::peers::wall_now;
use crate::exit::{CliError, Exit};
use crate::view::with_schema;

pub(super) fn run(
    global: &Global,
    options: &EventsOptions,
    output: &Output,
) -> Result<Exit, CliError> {
    let mut client = context::connect(global)?;
    let since = options.since.map(|since| match since {
        Since::At(at) => at.as_second(),
        Since::Ago(ago) => {
            let then = wall_now().as_secs().saturating_sub(ago.as_secs());
            i64::try_from(then).unwrap_or(i64::MAX)
        }
    });
    let limit = options.times.unwrap_or(u32::MAX);
    if !options.follow {
        let mut answer = client.call("events", json!({}))?;
        if let Some(events) = answer["events"].as_array_mut() {
            events.retain(|event| is_since(event, since));
            let keep = usize::try_from(limit).unwrap_or(usize::MAX);
            let surplus = events.len().saturating_sub(keep);
            events.drain(..surplus);
        }
        output.result(&answer, text);
        return Ok(Exit::Ok);
    }
    let mut shown = 0;
    client.follow("events", json!({ "follow": true }), |event| {
        if !is_since(event, since) {
            return true;
        }
        if output.is_json() {
            output.line(&with_schema("event", event.clone()).to_string());
        } else {
            output.line(&line(event));
        }
        shown += 1;
        shown < limit
    })?;
    Ok(Exit::Ok)
}

/// True for an event of that second or a later one; what has no time is never left out.
fn is_since(event: &Value, since: Option<i64>) -> bool {
    let at = event["at"]
        .as_str()
        .and_then(|at| at.parse::<jiff::Timestamp>().ok());
    match (at, since) {
        (Some(at), Some(since)) => at.as_second() >= since,
        _ => true,
    }
}

fn text(answer: &Value) -> String {
    let events = answer["events"].as_array();
    let lines: Vec<String> = events.into_iter().flatten().map(line).collect();
    if lines.is_empty() {
        return "nothing has happened yet".to_owned();
    }
    lines.join("\n")
}

/// One event: when, what, who, and the rest as `key=value`.
fn line(event: &Value) -> String {
    let text = |key: &str| event[key].as_str();
    let at = text("at").unwrap_or("-").replace('T', " ").replace('Z', "");
    let who = text("name").or_else(|| text("peer_id"));
    let mut line = format!("{at} {:<13}", text("event").unwrap_or("?"));
    if let Some(who) = who {
        line.push_str(&format!(" {who}"));
    }
    for (key, value) in event.as_object().into_iter().flatten() {
        if matches!(
            key.as_str(),
            "schema" | "seq" | "at" | "event" | "peer_id" | "name"
        ) || value.is_null()
        {
            continue;
        }
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        line.push_str(&format!(" {key}={value}"));
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_the_same_second_counts_one_before_does_not_and_one_without_time_does() {
        let event = json!({ "at": "2026-11-18T11:06:40Z" });
        assert!(is_since(&event, Some(1_795_000_000)) && is_since(&event, None));
        assert!(!is_since(&event, Some(1_795_000_001)));
        assert!(is_since(&json!({ "event": "lagged" }), Some(i64::MAX)));
    }
}
