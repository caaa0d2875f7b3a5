//! The peers file, and everybody in it.

use std::time::Duration;

use serde_json::{Value, json};

use super::company::Word;
use super::finding::Finding;
use crate::cli::args::Global;
use crate::cli::context::Loaded;
use crate::cli::peers::{Backend, inspect};
use crate::cli::probe::{Caller, Probe};
use crate::exit::CliError;
use crate::peers::{Entry, spelled};

/// Most peers that are tried: a federation. Of longer lists the peers the operator chose come first.
const MAX_TRIED: usize = 100;

/// Peers tried at the same time.
const AT_ONCE: usize = 16;

/// Most bans named in one finding.
const MAX_NAMED: usize = 5;

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
                "{shown}: {} peers, {} bans; checksum: {}",
                found.set.len(),
                found.set.bans().count(),
                found.checksum
            ),
        ));
    }
    let now = crate::cli::peers::wall_now();
    let over: Vec<String> = found
        .set
        .bans()
        .filter(|ban| !ban.is_active(now))
        .take(MAX_NAMED)
        .map(|ban| spelled(&ban.target).1)
        .collect();
    if let Some(first) = over.first() {
        let text = format!(
            "these bans are over and refuse nobody any more: {}",
            over.join(", ")
        );
        let fix =
            format!("the next start of the node clears them; now: btcfed peers unban {first}");
        findings.push(Finding::warn("bans", text, fix));
    }
    findings
}

/// Tries everybody who is not connected.
pub(super) fn peers(
    global: &Global,
    caller: &Caller,
    timeout: Duration,
    words: &mut Vec<Word>,
) -> Vec<Finding> {
    let list = match list(global) {
        Ok(list) => list,
        Err(error) => {
            let fix = error.hint.unwrap_or_else(|| "see above".to_owned());
            return vec![Finding::warn("peers", error.message, fix)];
        }
    };
    let mut findings = Vec::new();
    let mut to_try = Vec::new();
    for peer in list["peers"].as_array().into_iter().flatten() {
        let who = name(peer);
        if peer["status"] == "banned" {
            findings.push(Finding::ok("peer", format!("{who} is banned")));
        } else if peer["connection"]["state"] == "connected" {
            words.push(Word::of(&who, &peer["connection"]));
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
        let tried = std::thread::scope(|scope| {
            let running: Vec<_> = batch
                .iter()
                .map(|(learned, who, entry)| {
                    scope.spawn(|| attempt(*learned, who, entry, caller, timeout))
                })
                .collect();
            let ended = running.into_iter().filter_map(|thread| thread.join().ok());
            ended.collect::<Vec<_>>()
        });
        for (finding, word) in tried {
            findings.push(finding);
            words.extend(word);
        }
    }
    findings
}

fn list(global: &Global) -> Result<Value, CliError> {
    Backend::open(global)?.call("peers.list", json!({}))
}

/// Tries one address after the other; one that works is enough.
fn attempt(
    learned: bool,
    who: &str,
    entry: &Entry,
    caller: &Caller,
    timeout: Duration,
) -> (Finding, Option<Word>) {
    let mut failures = Vec::new();
    for addr in &entry.addresses {
        let probe = Probe::run(addr, Some(entry.key), caller, timeout);
        let Some(failure) = probe.failure() else {
            let word = probe.greeting().map(|greeting| Word {
                who: who.to_owned(),
                clock_offset_ms: Some(greeting.clock_offset_ms),
                agent: Some(greeting.agent.clone()),
                came_here: false,
            });
            return (
                Finding::ok("peer", format!("{who} answers at {addr}")),
                word,
            );
        };
        failures.push(format!("{addr}: {failure}"));
    }
    if failures.is_empty() {
        let text = format!("{who} has no address; it has to come here");
        return (Finding::ok("peer", text), None);
    }
    let text = format!("{who} cannot be reached\n{}", failures.join("\n"));
    let fix = fix(who, &text);
    // Whoever hangs up on a stranger may well talk to the node itself, and others come and go.
    if learned || text.contains("it hung up") {
        return (Finding::warn("peer", text, fix), None);
    }
    (Finding::fail("peer", text, fix), None)
}

/// What to do about a peer that cannot be reached.
fn fix(who: &str, failures: &str) -> String {
    let hints = [
        (
            "another node answers",
            format!(
                "ask its operator for the new key, then: btcfed peers replace {who} KEY@HOST:PORT"
            ),
        ),
        (
            "another federation",
            format!(
                "set node.federation to what its operator has and restart, or: btcfed peers remove {who}"
            ),
        ),
        (
            "another network",
            format!(
                "set node.network to what its operator has and restart, or: btcfed peers remove {who}"
            ),
        ),
        (
            "in versions",
            "upgrade whichever of the two is older".to_owned(),
        ),
        (
            "it hung up",
            "ask its operator to admit this node: btcfed peers add, or peers unban".to_owned(),
        ),
    ];
    let found = hints.into_iter().find(|(sign, _)| failures.contains(sign));
    found.map_or_else(
        || {
            "is it up, is the address right, does a firewall stand between? ask its operator"
                .to_owned()
        },
        |(_, fix)| fix,
    )
}

fn name(peer: &Value) -> String {
    let name = peer["name"].as_str().or_else(|| peer["peer_id"].as_str());
    name.unwrap_or("?").to_owned()
}
