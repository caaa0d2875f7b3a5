//! `peers why`: the rule that keeps a peer away, and what to do about it.

use std::collections::BTreeMap;

use btcfed_core::ban::{Ban, Issuer};
use btcfed_core::key::PeerKey;
use btcfed_core::network::Direction;
use btcfed_core::peer::PeerRecord;
use btcfed_core::time::Timestamp;
use serde_json::{Value, json};

use crate::exit::CliError;
use crate::peers::{Desk, find, parse_identity, spelled};
use crate::view;

/// What contact with one peer was like since the daemon started, or since its last connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// The last failure to reach it, and what was tried.
    pub error: Option<(Timestamp, String)>,
    /// When the next attempt was due, by that failure.
    pub next_try: Option<Timestamp>,
    /// Why the last connection ended.
    pub ended: Option<(Timestamp, String)>,
}

impl Contact {
    /// The time of the last thing known.
    #[must_use]
    pub fn last(&self) -> Option<Timestamp> {
        let (error, ended) = (&self.error, &self.ended);
        let at = |known: &Option<(Timestamp, String)>| known.as_ref().map(|(at, _)| *at);
        at(error).max(at(ended))
    }
}

/// By peer.
pub type Contacts = BTreeMap<PeerKey, Contact>;

/// One reason, as JSON.
fn reason(rule: &str, message: impl Into<String>, fix: &str) -> Value {
    let fix = (!fix.is_empty()).then_some(fix);
    json!({ "rule": rule, "message": message.into(), "last_error": null, "next_try": null, "fix": fix })
}

/// Why a peer is connected or not, every reason, the strongest first.
pub(super) fn explain(desk: &Desk<'_>, wanted: &str) -> Result<Value, CliError> {
    let set = desk.store.snapshot();
    let record = match find(&set, wanted) {
        Ok(record) => record,
        Err(error) => {
            let Ok(key) = parse_identity(wanted) else {
                return Err(error);
            };
            return Ok(answer(key, None, false, vec![stranger(desk, key)]));
        }
    };
    let connection = desk
        .connections
        .iter()
        .find(|connection| connection.peer == record.key);
    let reasons = match connection {
        Some(connection) => {
            let since = view::time_text(connection.since);
            let message = format!(
                "{} via {} since {since}",
                connection.direction.as_str(),
                connection.addr
            );
            vec![reason("connected", message, "")]
        }
        None => against(desk, &record),
    };
    let name = record.name.as_deref();
    Ok(answer(record.key, name, connection.is_some(), reasons))
}

fn answer(key: PeerKey, name: Option<&str>, connected: bool, mut reasons: Vec<Value>) -> Value {
    let id = key.peer_id().to_string();
    let who = name.map_or_else(
        || id.clone(),
        |name| {
            if name.contains(char::is_whitespace) {
                format!("{name:?}")
            } else {
                name.to_owned()
            }
        },
    );
    for reason in &mut reasons {
        if let Some(fix) = reason["fix"].as_str() {
            reason["fix"] = json!(fix.replace("PEER", &who));
        }
    }
    view::with_schema(
        "peers-why",
        json!({ "peer_id": id, "name": name, "connected": connected, "reasons": reasons }),
    )
}

fn stranger(desk: &Desk<'_>, key: PeerKey) -> Value {
    let set = desk.store.snapshot();
    if desk.own == Some(key) {
        return reason("self", "this is the node itself", "");
    }
    if let Some(ban) = set.ban_of(&key, desk.now) {
        return banned(ban, "its identity");
    }
    match set.forgotten_mark(&key) {
        Some(mark) if mark.by == Issuer::Operator => reason(
            "removed",
            "an operator removed it; gossip does not bring it back",
            "btcfed peers add MULTIADDR/p2p/ID",
        ),
        Some(_) => reason(
            "left",
            "it left the federation, or expired",
            "btcfed peers add MULTIADDR/p2p/ID",
        ),
        None => reason(
            "unknown",
            "nobody has told this node about it",
            "btcfed peers add MULTIADDR/p2p/ID",
        ),
    }
}

fn banned(ban: &Ban, what: &str) -> Value {
    let until = ban.until.map_or_else(
        || "until lifted".to_owned(),
        |at| format!("until {}", view::time_text(at)),
    );
    let (_, target) = spelled(&ban.target);
    let message = format!(
        "{what} is banned {until} by the {}: {}",
        ban.by.as_str(),
        ban.reason
    );
    reason("banned", message, &format!("btcfed peers unban {target}"))
}

/// Everything that stands against a connection to a known peer.
fn against(desk: &Desk<'_>, record: &PeerRecord) -> Vec<Value> {
    let set = desk.store.snapshot();
    let mut reasons = Vec::new();
    if desk.config.is_none() {
        reasons.push(reason("stopped", "the daemon is not running", "btcfed run"));
    }
    if let Some(ban) = set.ban_of(&record.key, desk.now) {
        reasons.push(banned(ban, "its identity"));
    }
    let ips = record
        .addresses
        .iter()
        .filter_map(|known| known.addr.socket_addr());
    let mut refused: Vec<&Ban> = Vec::new();
    for ban in ips.filter_map(|addr| set.ban_of_ip(addr.ip(), desk.now)) {
        if !refused.contains(&ban) {
            refused.push(ban);
        }
    }
    reasons.extend(
        refused
            .into_iter()
            .map(|ban| banned(ban, "one of its addresses")),
    );
    if !record
        .addresses
        .iter()
        .any(|known| known.addr.is_dialable())
    {
        let message = if record.addresses.is_empty() && record.undialable.is_empty() {
            "no address of it is known; it has to come to us"
        } else {
            "none of its addresses can be dialled from here"
        };
        reasons.push(reason(
            "no address",
            message,
            "btcfed peers add KEY@HOST:PORT",
        ));
    }
    let mode = desk.config.and_then(|config| config.get("peers.mode"));
    if mode.is_some_and(|mode| mode == "allowlist") && !record.is_reserved() {
        let message = "peers.mode is allowlist, and nobody has admitted it";
        reasons.push(reason("not admitted", message, "btcfed peers approve PEER"));
    }
    reasons.extend(backing_off(desk, record));
    reasons.extend(enough(desk, record));
    reasons.extend(full(desk, record));
    if reasons.is_empty() {
        let message = "nothing stands against it: a dial is running or about to start";
        reasons.push(reason("pending", message, "btcfed events --follow"));
    }
    reasons
}

/// The last attempt failed, or the last connection ended.
fn backing_off(desk: &Desk<'_>, record: &PeerRecord) -> Option<Value> {
    let contact = desk.contacts.get(&record.key);
    let stats = &record.stats;
    let error = contact.and_then(|contact| contact.error.as_ref());
    let ended = contact.and_then(|contact| contact.ended.as_ref());
    let failing = stats.consecutive_failures > 0 || error.is_some();
    if !failing {
        let (at, why) = ended?;
        let message = format!(
            "the last connection ended at {}: {why}",
            view::time_text(*at)
        );
        return Some(reason("disconnected", message, "btcfed events --follow"));
    }
    let seen = stats
        .last_seen
        .map_or_else(|| "never".to_owned(), view::time_text);
    let message = format!(
        "{} attempts failed in a row; last reached: {seen}",
        stats.consecutive_failures.max(1)
    );
    let mut found = reason(
        "backing off",
        message,
        "btcfed ping PEER, then ask its operator",
    );
    if let Some((at, text)) = error {
        found["last_error"] = json!(format!("{}: {text}", view::time_text(*at)));
    }
    if let Some(at) = contact.and_then(|contact| contact.next_try) {
        let text = if at <= desk.now {
            "now".to_owned()
        } else {
            view::time_text(at)
        };
        found["next_try"] = json!(text);
    }
    Some(found)
}

/// Learned peers are dialled only until enough connections are up.
fn enough(desk: &Desk<'_>, record: &PeerRecord) -> Option<Value> {
    let target: usize = limit(desk, "network.target_outbound")?;
    let set = desk.store.snapshot();
    let learned = |key: &PeerKey| set.view(key).is_none_or(|peer| !peer.is_reserved());
    let outbound = desk
        .connections
        .iter()
        .filter(|connection| {
            connection.direction == Direction::Outbound && learned(&connection.peer)
        })
        .count();
    if record.is_reserved() || outbound < target {
        return None;
    }
    let message = format!(
        "not needed: {outbound} connections to discovered peers are up, network.target_outbound is {target}"
    );
    Some(reason("enough", message, "btcfed peers pin PEER"))
}

fn full(desk: &Desk<'_>, record: &PeerRecord) -> Option<Value> {
    let max: usize = limit(desk, "network.limits.max_connections")?;
    let count = desk.connections.len();
    if record.pinned || count < max {
        return None;
    }
    let message = format!("{count} connections are up, network.limits.max_connections is {max}");
    Some(reason(
        "full",
        message,
        "raise the limit, or btcfed peers pin PEER",
    ))
}

fn limit(desk: &Desk<'_>, key: &str) -> Option<usize> {
    desk.config?.get(key)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::ban::{BanReason, BanTarget};
    use btcfed_core::patch::{PeerOp, PeerPatch};
    use btcfed_core::peer::{AddressSource, PeerSource};
    use btcfed_core::store::PeerStore as _;
    use btcfed_core::testing::{MemoryStore, test_key};

    fn rules(desk: &Desk<'_>, wanted: &str) -> Vec<String> {
        let answer = explain(desk, wanted).unwrap();
        let reasons = answer["reasons"].as_array().unwrap().iter();
        reasons
            .map(|reason| reason["rule"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn store() -> MemoryStore {
        let store = MemoryStore::default();
        let mut alice = PeerRecord::new(test_key(1), PeerSource::Operator);
        alice.name = Some("alice".into());
        let mut bob = PeerRecord::new(test_key(2), PeerSource::Signed);
        bob.name = Some("bob".into());
        bob.add_address(
            "/ip4/10.0.0.1/tcp/1".parse().unwrap(),
            AddressSource::Signed,
        );
        let ban = Ban {
            target: BanTarget::Cidr("10.0.0.0/8".parse().unwrap()),
            reason: BanReason::Misbehaviour,
            since: Timestamp::from_secs(1),
            until: None,
            by: Issuer::Operator,
            evidence: None,
        };
        for op in [
            PeerOp::Create(Box::new(alice)),
            PeerOp::Create(Box::new(bob)),
            PeerOp::Ban(ban),
        ] {
            store.apply(PeerPatch::one(op)).await.unwrap();
        }
        store
    }

    #[tokio::test]
    async fn every_rule_that_keeps_a_peer_away_is_named() {
        let store = store().await;
        let config = BTreeMap::from([
            ("network.target_outbound", "0".to_owned()),
            ("network.limits.max_connections", "0".to_owned()),
        ]);
        let mut contacts = Contacts::new();
        let contact = contacts.entry(test_key(1)).or_default();
        contact.error = Some((Timestamp::from_secs(5), "connection refused".to_owned()));
        contact.next_try = Some(Timestamp::from_secs(9));
        let running = Desk {
            store: &store,
            own: Some(test_key(9)),
            connections: &[],
            config: Some(&config),
            contacts: &contacts,
            now: Timestamp::from_secs(6),
        };
        assert_eq!(
            rules(&running, "alice"),
            ["no address", "backing off", "full"]
        );
        assert_eq!(rules(&running, "bob"), ["banned", "enough", "full"]);
        assert_eq!(
            rules(&running, &test_key(9).peer_id().to_string()),
            ["self"]
        );
        assert_eq!(
            rules(&running, &test_key(8).peer_id().to_string()),
            ["unknown"]
        );
        assert!(explain(&running, "nobody").is_err());
        let why = explain(&running, "alice").unwrap();
        assert_eq!(
            why["reasons"][1]["next_try"],
            view::time_text(Timestamp::from_secs(9))
        );
        let stopped = Desk {
            config: None,
            ..running
        };
        assert_eq!(rules(&stopped, "bob"), ["stopped", "banned"]);
        store
            .apply(PeerPatch::one(PeerOp::Remove {
                key: test_key(2),
                by: Issuer::Operator,
            }))
            .await
            .unwrap();
        assert_eq!(
            rules(&running, &test_key(2).peer_id().to_string()),
            ["removed"]
        );
    }
}
