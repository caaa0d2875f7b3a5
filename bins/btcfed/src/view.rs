//! What commands answer: the stable JSON documents, made in one place for the daemon and for offline use.

use std::time::Duration;

use btcfed_core::ban::Ban;
use btcfed_core::peer::{AddressSource, PeerRecord};
use btcfed_core::set::PeerSet;
use btcfed_core::store::StoreHealth;
use btcfed_core::time::Timestamp;
use btcfed_node_orchestrator::{Connection, NodeStatus, ReloadReport};
use serde_json::{Map, Value, json};

use crate::logging::LogState;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Marks `document` as the answer of `command`: the `schema` key comes first.
#[must_use]
pub fn with_schema(command: &str, document: Value) -> Value {
    let mut result = Map::new();
    result.insert("schema".to_owned(), json!(format!("btcfed.{command}/1")));
    if let Value::Object(fields) = document {
        result.extend(fields);
    }
    Value::Object(result)
}

/// RFC 3339 in UTC, to the second.
#[must_use]
pub fn time_text(at: Timestamp) -> String {
    i64::try_from(at.as_secs())
        .ok()
        .and_then(|secs| jiff::Timestamp::from_second(secs).ok())
        .map_or_else(|| at.as_secs().to_string(), |at| at.to_string())
}

fn optional_time(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| json!(time_text(at)))
}

/// Milliseconds with three decimals.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// `btcfed.status/1`.
#[must_use]
pub fn status(status: &NodeStatus) -> Value {
    let (node, exchange) = (&status.counters, &status.exchange);
    with_schema(
        "status",
        json!({
            "peer_id": status.peer_id.to_string(),
            "public_key": status.peer_id.key().to_string(),
            "version": VERSION,
            "uptime_s": status.uptime.as_secs(),
            "tasks": status.tasks,
            "state": status.state.as_str(),
            "listen": texts(&status.listen),
            "listeners_down": status.lost_listeners.iter()
                .map(|lost| json!({ "address": lost.addr.to_string(), "since": time_text(lost.since), "reason": lost.reason }))
                .collect::<Vec<_>>(),
            "announce": texts(&status.announced),
            "peers": {
                "known": status.known,
                "connected": status.connections.len(),
                "banned": status.banned,
                "waiting": status.waiting,
            },
            "config": {
                "revision": status.config_revision,
                "values": status.config,
            },
            "store": store(&status.store),
            "discovery": {
                "records_offered": exchange.records_offered,
                "records_accepted": exchange.records_accepted,
                "records_refused": exchange.records_refused,
                "signatures_checked": exchange.signatures_checked,
                "peers_added": node.peers_added,
            },
            "traffic": {
                "messages_in": exchange.messages_in,
                "messages_out": exchange.messages_out,
                "bytes_in": exchange.bytes_in,
                "bytes_out": exchange.bytes_out,
            },
            "connections": {
                "established": node.connections,
                "ended": node.disconnections,
                "dials": node.dials,
                "dials_failed": node.dials_failed,
            },
        }),
    )
}

/// What is logged: the value of `log` in `btcfed.status/1`, and the fields of `btcfed.log-level/1`.
#[must_use]
pub fn log(state: &LogState) -> Value {
    let (in_force, until) = match &state.temporary {
        Some((filter, until)) => (filter.as_str(), json!(time_text(*until))),
        None => (state.configured.as_str(), Value::Null),
    };
    json!({ "configured": state.configured, "in_force": in_force, "until": until })
}

fn store(health: &StoreHealth) -> Value {
    json!({
        "state": if health.degraded.is_some() { "degraded" } else { "ok" },
        "reason": health.degraded,
        "generation": health.generation,
        "durable": health.durable,
    })
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

/// `btcfed.peers-list/1`.
#[must_use]
pub fn peers_list(set: &PeerSet, connections: &[Connection]) -> Value {
    let peers: Vec<Value> = set
        .iter()
        .map(|record| peer(&record, connection_of(&record, connections)))
        .collect();
    with_schema("peers-list", json!({ "peers": peers }))
}

/// `btcfed.peers-show/1`.
#[must_use]
pub fn peers_show(record: &PeerRecord, ban: Option<&Ban>, connections: &[Connection]) -> Value {
    let connection = connection_of(record, connections);
    let mut shown = peer(record, connection);
    if let Value::Object(fields) = &mut shown {
        let stats = &record.stats;
        fields.insert(
            "address_details".to_owned(),
            record.addresses.iter().map(address).collect(),
        );
        fields.insert(
            "stats".to_owned(),
            json!({
                "successes": stats.successes,
                "failures": stats.failures,
                "consecutive_failures": stats.consecutive_failures,
                "mean_rtt_ms": stats.mean_rtt.map(millis),
            }),
        );
        fields.insert(
            "record_seq".to_owned(),
            json!(record.record.as_ref().map(btcfed_core::SignedRecord::seq)),
        );
        fields.insert(
            "agent".to_owned(),
            json!(connection.and_then(|c| c.agent.as_deref())),
        );
        fields.insert(
            "connected_since".to_owned(),
            optional_time(connection.map(|c| c.since)),
        );
        fields.insert("ban".to_owned(), ban.map_or(Value::Null, ban_view));
    }
    with_schema("peers-show", json!({ "peer": shown }))
}

/// One entry of `peers`.
#[must_use]
pub fn peer(record: &PeerRecord, connection: Option<&Connection>) -> Value {
    json!({
        "peer_id": record.peer_id().to_string(),
        "public_key": record.key.to_string(),
        "name": record.name,
        "note": record.note,
        "pinned": record.pinned,
        "source": record.source.as_str(),
        "status": record.status.as_str(),
        "status_since": optional_time(record.status_since),
        "connection": {
            "state": if connection.is_some() { "connected" } else { "disconnected" },
            "direction": connection.map(|c| c.direction.as_str()),
            "address": connection.map(|c| c.addr.to_string()),
            "rtt_ms": connection.and_then(|c| c.rtt).map(millis),
            "clock_offset_ms": connection.and_then(|c| c.clock_offset_ms),
            "agent": connection.and_then(|c| c.agent.as_deref()),
        },
        "addresses": record.addresses.iter().map(|known| known.addr.to_string()).collect::<Vec<_>>(),
        "not_dialable": record.undialable,
        "first_seen": optional_time(record.stats.first_seen),
        "last_seen": optional_time(record.stats.last_seen),
    })
}

fn connection_of<'a>(record: &PeerRecord, connections: &'a [Connection]) -> Option<&'a Connection> {
    connections
        .iter()
        .find(|connection| connection.peer == record.key)
}

fn address(known: &btcfed_core::peer::PeerAddress) -> Value {
    let (source, from) = match &known.source {
        AddressSource::Operator => ("operator", None),
        AddressSource::Signed => ("signed", None),
        AddressSource::Observed => ("observed", None),
        AddressSource::LearnedFrom(key) => ("learned", Some(key.peer_id().to_string())),
        _ => ("unknown", None),
    };
    json!({
        "address": known.addr.to_string(),
        "source": source,
        "learned_from": from,
        "last_success": optional_time(known.last_success),
        "last_failure": optional_time(known.last_failure),
        "failures": known.failures,
    })
}

fn ban_view(ban: &Ban) -> Value {
    json!({
        "reason": ban.reason.as_str(),
        "since": time_text(ban.since),
        "until": optional_time(ban.until),
        "by": ban.by.as_str(),
        "evidence": ban.evidence,
    })
}

/// What a reload would change, as `btcfed.reload/1` tells it.
#[must_use]
pub fn config_diff(revision: u64, changes: &[btcfed_core::config::KeyChange]) -> Value {
    let keys = |restart: bool| -> Vec<Value> {
        changes
            .iter()
            .filter(|change| change.needs_restart == restart)
            .map(|c| json!({ "key": c.key, "old": c.old, "new": c.new }))
            .collect()
    };
    with_schema(
        "reload",
        json!({ "dry_run": true, "revision": revision, "applied": keys(false), "needs_restart": keys(true) }),
    )
}

/// `btcfed.reload/1`.
#[must_use]
pub fn reload(report: &ReloadReport) -> Value {
    let keys = |changes: &[btcfed_core::config::KeyChange]| -> Vec<Value> {
        changes
            .iter()
            .map(|c| json!({ "key": c.key, "old": c.old, "new": c.new }))
            .collect()
    };
    with_schema(
        "reload",
        json!({
            "revision": report.revision,
            "applied": keys(&report.applied),
            "needs_restart": keys(&report.needs_restart),
            "peers": {
                "changed": report.peers_changed,
                "skipped": report.peers_skipped.iter()
                    .map(|entry| json!({ "line": entry.line, "message": entry.reason }))
                    .collect::<Vec<_>>(),
                "error": report.peers_error,
            },
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::identity::SecretKey;
    use btcfed_core::peer::PeerSource;

    #[test]
    fn the_schema_comes_first_and_names_the_command() {
        let text = with_schema("status", json!({ "a": 1 })).to_string();
        assert_eq!(text, r#"{"schema":"btcfed.status/1","a":1}"#);
    }

    #[test]
    fn times_are_rfc_3339_in_utc_and_never_panic() {
        assert_eq!(
            time_text(Timestamp::from_secs(1_795_000_000)),
            "2026-11-18T11:06:40Z"
        );
        assert_eq!(time_text(Timestamp::MAX), "9999-12-30T22:00:00Z");
    }

    #[test]
    fn a_peer_that_is_not_connected_has_every_promised_key() {
        let record = PeerRecord::new(SecretKey::from_seed([1; 32]).public(), PeerSource::Operator);
        let view = peer(&record, None);
        for key in [
            "peer_id",
            "public_key",
            "name",
            "pinned",
            "source",
            "status",
            "connection",
            "addresses",
            "last_seen",
        ] {
            assert!(view.get(key).is_some(), "{key}");
        }
        assert_eq!(view["connection"]["state"], "disconnected");
        assert_eq!(view["connection"]["rtt_ms"], Value::Null);
    }
}
