//! The peers file, and everybody in it.

use std::time::Duration;

use serde_json::{Value, json};

use super::finding::Finding;
use crate::cli::args::Global;
use crate::cli::context::Loaded;
use crate::cli::peers::{Backend, inspect};
use crate::cli::probe::Probe;
use crate::exit::CliError;
use crate::peers::Entry;

/// Most peers that are tried: a federation. Of longer lists the peers the operator chose come first.
const MAX_TRIED: usize = 100;

/// Peers tried at the same time.
const AT_ONCE: usize = 16;

/// What `peers verify` says.
pub(super) fn file(loaded: &Loaded) -> Vec<Finding> {
    let path = &loaded.full.config.peers.file;
    let shown = path.display();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return vec![Finding::ok("file", format!("{shown}: does not exist yet"))];
        }
        Err(error) => {
            let fix = "the daemon's user must be able to read and write it";
            return vec![Finding::fail("file", format!("{shown}: {error}"), fix)];
        }
    };
    let found = match inspect(&bytes) {
        Ok(found) => found,
        Err(error) => {
            return vec![Finding::fail(
                "file",
                format!("{shown}: {}", error.message),
                "name the right file in peers.file",
            )];
        }
    };
    let mut findings: Vec<Finding> = found
        .skipped
        .iter()
        .map(|entry| {
            let text = format!("{shown}:{}: {}", entry.line, entry.reason);
            Finding::fail(
                "file",
                text,
                "correct this line; until then the entry is left alone",
            )
        })
        .collect();
    if let Some(version) = found.newer {
        let text = format!("{shown} has version {version}, and is served read-only");
        findings.push(Finding::fail("file", text, "upgrade btcfed"));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            "file",
            format!(
                "{shown}: {} peers, {} bans",
                found.set.len(),
                found.set.bans().count()
            ),
        ));
    }
    let now = crate::cli::peers::wall_now();
    let over = found.set.bans().filter(|ban| !ban.is_active(now)).count();
    if over > 0 {
        findings.push(Finding::ok(
            "bans",
            format!("{over} bans are over and refuse nobody any more"),
        ));
    }
    findings
}

/// Tries everybody who is not connected.
pub(super) fn peers(global: &Global, timeout: Duration) -> Vec<Finding> {
    let list = match list(global) {
        Ok(list) => list,
        Err(error) => return vec![Finding::warn("peers", error.message, "see above")],
    };
    let mut findings = Vec::new();
    let mut to_try = Vec::new();
    for peer in list["peers"].as_array().into_iter().flatten() {
        let who = name(peer);
        if peer["status"] == "banned" {
            findings.push(Finding::ok("peer", format!("{who} is banned")));
        } else if peer["connection"]["state"] == "connected" {
            findings.push(Finding::ok("peer", format!("{who} is connected")));
        } else if let Ok(entry) = Entry::from_json(peer) {
            let chosen = matches!(peer["source"].as_str(), Some("operator" | "bootstrap"));
            to_try.push((!chosen, who, entry));
        }
    }
    to_try.sort_by_key(|(learned, ..)| *learned);
    if to_try.len() > MAX_TRIED {
        let text = format!("{} further peers were not tried", to_try.len() - MAX_TRIED);
        findings.push(Finding::ok("peers", text));
        to_try.truncate(MAX_TRIED);
    }
    for batch in to_try.chunks(AT_ONCE) {
        findings.extend(std::thread::scope(|scope| {
            let running: Vec<_> = batch
                .iter()
                .map(|(learned, who, entry)| scope.spawn(|| attempt(*learned, who, entry, timeout)))
                .collect();
            let ended = running.into_iter().filter_map(|thread| thread.join().ok());
            ended.collect::<Vec<_>>()
        }));
    }
    findings
}

fn list(global: &Global) -> Result<Value, CliError> {
    Backend::open(global)?.call("peers.list", json!({}))
}

/// Tries one address after the other; one that works is enough.
fn attempt(learned: bool, who: &str, entry: &Entry, timeout: Duration) -> Finding {
    let mut failures = Vec::new();
    for addr in &entry.addresses {
        match Probe::run(addr, Some(entry.key), timeout).failure() {
            None => return Finding::ok("peer", format!("{who} answers at {addr}")),
            Some(failure) => failures.push(format!("{addr}: {failure}")),
        }
    }
    if failures.is_empty() {
        return Finding::ok("peer", format!("{who} has no address; it has to come here"));
    }
    let text = format!("{who} cannot be reached\n{}", failures.join("\n"));
    let wrong_key = failures
        .iter()
        .any(|failure| failure.contains("another node answers"));
    if wrong_key {
        let fix = format!(
            "ask its operator for the new key, then: btcfed peers replace {who} KEY@HOST:PORT"
        );
        return Finding::fail("peer", text, fix);
    }
    let fix = "is it up, is the address right, does a firewall stand between? ask its operator";
    if learned {
        Finding::warn("peer", text, fix)
    } else {
        Finding::fail("peer", text, fix)
    }
}

fn name(peer: &Value) -> String {
    let name = peer["name"].as_str().or_else(|| peer["peer_id"].as_str());
    name.unwrap_or("?").to_owned()
}
