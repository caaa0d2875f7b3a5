//! `ping`.

use std::time::Duration;

use btcfed_core::addr::{AddrWithId, PeerAddr};
use btcfed_core::key::PeerKey;
use serde_json::{Value, json};

use crate::cli::args::{Global, PingOptions};
use crate::cli::output::Output;
use crate::cli::peers::Backend;
use crate::cli::probe::{Caller, Probe};
use crate::exit::{CliError, Exit};
use crate::peers::{Entry, parse_place, parse_target};
use crate::view::with_schema;

/// How long a step may take unless `--timeout` says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause between two rounds.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) fn run(
    global: &Global,
    options: &PingOptions,
    output: &Output,
) -> Result<Exit, CliError> {
    let timeout = global.timeout.unwrap_or(DEFAULT_TIMEOUT);
    let (expected, addrs) = target(global, &options.target)?;
    let caller = Caller::stranger(global);
    let mut probes = Vec::new();
    let mut totals = Vec::new();
    for round in 0..options.count {
        if round > 0 {
            std::thread::sleep(PAUSE);
        }
        for addr in &addrs {
            let probe = Probe::run(addr, expected, &caller, timeout);
            totals.extend(probe.total_ms());
            let probe = probe.to_json();
            if !output.is_json() {
                output.line(&text(&probe));
            }
            probes.push(probe);
        }
    }
    let ok = probes.iter().any(|probe| probe["ok"] == true);
    let summary = Summary::of(probes.len(), &totals);
    if probes.len() > 1 && !output.is_json() {
        output.line(&summary.to_string());
    }
    if output.is_json() {
        let id = expected.map(|key| key.peer_id().to_string());
        let fields =
            json!({ "ok": ok, "peer_id": id, "probes": probes, "summary": summary.to_json() });
        output.result(&with_schema("ping", fields), |_| String::new());
    }
    Ok(if ok { Exit::Ok } else { Exit::Failed })
}

/// How it went altogether.
#[derive(Debug, PartialEq)]
struct Summary {
    tried: usize,
    ok: usize,
    /// The shortest, the mean and the longest time of those that went well, in milliseconds.
    times: Option<[f64; 3]>,
}

impl Summary {
    fn of(tried: usize, totals: &[f64]) -> Self {
        let ok = totals.len();
        let least = totals.iter().copied().reduce(f64::min);
        let most = totals.iter().copied().reduce(f64::max);
        let count = u32::try_from(ok).map_or_else(|_| f64::from(u32::MAX), f64::from);
        let mean = totals.iter().sum::<f64>() / count;
        let times = least.zip(most).map(|(least, most)| [least, mean, most]);
        Self { tried, ok, times }
    }

    fn to_json(&self) -> Value {
        let ms = |at: usize| self.times.map(|times| (times[at] * 1e3).round() / 1e3);
        json!({ "tried": self.tried, "ok": self.ok, "min_ms": ms(0), "mean_ms": ms(1), "max_ms": ms(2) })
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} ok", self.ok, self.tried)?;
        match self.times {
            Some([least, mean, most]) => {
                write!(f, "; min/mean/max {least:.1}/{mean:.1}/{most:.1} ms")
            }
            None => Ok(()),
        }
    }
}

/// Whom a text means, and where: an address as it stands, or a known peer with all its addresses.
fn target(global: &Global, text: &str) -> Result<(Option<PeerKey>, Vec<PeerAddr>), CliError> {
    if text.starts_with('/') {
        let parsed: AddrWithId = text.parse().map_err(|error| {
            CliError::new(Exit::Data, "config", format!("{error}"))
                .hint("write /ip4/203.0.113.7/tcp/9000 or HOST:PORT")
        })?;
        return Ok((parsed.peer_id.map(|id| id.key()), vec![parsed.addr]));
    }
    if text.contains('@') {
        let (key, addr) = parse_target(text)?;
        return Ok((Some(key), vec![addr]));
    }
    if text.contains(':') {
        return Ok((None, vec![parse_place(text)?]));
    }
    let mut backend = Backend::open(global)?;
    let shown = backend.call("peers.show", json!({ "peer": text }))?;
    let entry = Entry::from_json(&shown["peer"])
        .map_err(|reason| CliError::new(Exit::Internal, "fatal", reason))?;
    if entry.addresses.is_empty() {
        return Err(
            CliError::new(Exit::Failed, "config", "no address of this peer is known")
                .hint("`btcfed peers add KEY@HOST:PORT` tells one"),
        );
    }
    Ok((Some(entry.key), entry.addresses))
}

/// One line of steps, or what failed.
fn text(probe: &Value) -> String {
    let step = |key: &str| {
        let took = probe[key]["ms"].as_f64()?;
        Some(format!("{key} {took:.1} ms"))
    };
    let address = probe["address"].as_str().unwrap_or("?");
    let steps: Vec<String> = ["dns", "tcp", "noise", "protocol"]
        .into_iter()
        .filter_map(step)
        .collect();
    let mut line = format!("{address}: {}", steps.join(", "));
    if let Some(error) = probe["error"].as_str() {
        let comma = if steps.is_empty() { "" } else { "; " };
        line.push_str(&format!("{comma}{error}"));
    } else if let Some(who) = probe["answered_by"].as_str() {
        line.push_str(&format!("\n  {who}"));
        if let Some(agent) = probe["agent"].as_str() {
            line.push_str(&format!(" ({agent})"));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_only_what_went_well() {
        let told = Summary::of(4, &[3.0, 1.0, 2.0]).to_string();
        assert_eq!(told, "3 of 4 ok; min/mean/max 1.0/2.0/3.0 ms");
        assert_eq!(Summary::of(2, &[]).to_string(), "0 of 2 ok");
        assert_eq!(Summary::of(1, &[]).to_json()["mean_ms"], Value::Null);
    }
}
