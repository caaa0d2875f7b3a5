//! `peers list`: which peers, in which order, how wide.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::{Backend, table};
use crate::cli::args::{Global, ListOptions, ListOrder, ListState};
use crate::cli::output::Output;
use crate::exit::{CliError, Exit};

pub(super) fn run(
    global: &Global,
    options: &ListOptions,
    output: &Output,
) -> Result<Exit, CliError> {
    let mut backend = Backend::open(global)?;
    let mut answer = backend.call("peers.list", json!({}))?;
    backend.close(output)?;
    let all = answer["peers"].as_array().map_or(0, Vec::len);
    if let Some(peers) = answer["peers"].as_array_mut() {
        choose(peers, options);
    }
    output.result(&answer, |answer| {
        let none_left = all > 0 && answer["peers"].as_array().is_some_and(Vec::is_empty);
        if none_left {
            return format!("none of {all} known peers is in this state");
        }
        table::peers(answer, options.wide)
    });
    Ok(Exit::Ok)
}

/// Leaves out who is not asked for, and brings the others in order. Equals stay in the order of their ids.
fn choose(peers: &mut Vec<Value>, options: &ListOptions) {
    if let Some(state) = options.state {
        peers.retain(|peer| is_in(peer, state));
    }
    match options.sort {
        None => {}
        Some(ListOrder::Name) => peers.sort_by(|a, b| nameless_last(a, b, "/name")),
        Some(ListOrder::Rtt) => peers.sort_by(|a, b| {
            let rtt = |peer: &Value| peer.pointer("/connection/rtt_ms").and_then(Value::as_f64);
            let far = |peer| rtt(peer).unwrap_or(f64::INFINITY);
            far(a).total_cmp(&far(b))
        }),
        Some(ListOrder::Seen) => peers.sort_by(|a, b| {
            let seen = |peer: &Value| peer["last_seen"].as_str().map(str::to_owned);
            seen(b).cmp(&seen(a))
        }),
        Some(ListOrder::State) => peers.sort_by_key(rank),
    }
}

fn nameless_last(a: &Value, b: &Value, path: &str) -> Ordering {
    let name = |peer: &Value| {
        peer.pointer(path)
            .and_then(Value::as_str)
            .map(str::to_lowercase)
    };
    let (a, b) = (name(a), name(b));
    a.is_none().cmp(&b.is_none()).then_with(|| a.cmp(&b))
}

fn is_connected(peer: &Value) -> bool {
    peer.pointer("/connection/state").and_then(Value::as_str) == Some("connected")
}

fn is_in(peer: &Value, state: ListState) -> bool {
    let status = peer["status"].as_str();
    match state {
        ListState::Banned => status == Some("banned"),
        ListState::Connected => is_connected(peer),
        ListState::Disconnected => !is_connected(peer),
        ListState::Inaccessible => status == Some("inaccessible"),
        ListState::Pinned => peer["pinned"] == true,
    }
}

/// Connected ones first, those somebody has to look at last.
fn rank(peer: &Value) -> u8 {
    match peer["status"].as_str() {
        Some("banned") => 4,
        _ if is_connected(peer) => 0,
        Some("valid") => 1,
        Some("inaccessible") => 3,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(state: Option<ListState>, sort: Option<ListOrder>) -> ListOptions {
        ListOptions {
            state,
            sort,
            wide: false,
        }
    }

    fn peer(name: Option<&str>, status: &str, rtt: Option<f64>, seen: &str) -> Value {
        let state = if rtt.is_some() {
            "connected"
        } else {
            "disconnected"
        };
        json!({ "name": name, "status": status, "pinned": name == Some("Bob"), "last_seen": seen,
            "connection": { "state": state, "rtt_ms": rtt } })
    }

    fn names(options: &ListOptions) -> Vec<String> {
        let mut peers = vec![
            peer(None, "inaccessible", None, "2026-01-02"),
            peer(Some("carol"), "valid", Some(9.0), "2026-01-03"),
            peer(Some("Bob"), "banned", None, "2026-01-01"),
            peer(Some("alice"), "valid", Some(90.0), "2026-01-04"),
        ];
        choose(&mut peers, options);
        peers
            .iter()
            .map(|peer| peer["name"].as_str().unwrap_or("-").to_owned())
            .collect()
    }

    #[test]
    fn every_state_keeps_its_own_and_every_order_is_kept() {
        for (state, left) in [
            (ListState::Banned, &["Bob"][..]),
            (ListState::Connected, &["carol", "alice"]),
            (ListState::Disconnected, &["-", "Bob"]),
            (ListState::Inaccessible, &["-"]),
            (ListState::Pinned, &["Bob"]),
        ] {
            assert_eq!(names(&options(Some(state), None)), left, "{state:?}");
        }
        for (order, names_of) in [
            (ListOrder::Name, ["alice", "Bob", "carol", "-"]),
            (ListOrder::Rtt, ["carol", "alice", "-", "Bob"]),
            (ListOrder::Seen, ["alice", "carol", "-", "Bob"]),
            (ListOrder::State, ["carol", "alice", "-", "Bob"]),
        ] {
            assert_eq!(names(&options(None, Some(order))), names_of, "{order:?}");
        }
    }
}
