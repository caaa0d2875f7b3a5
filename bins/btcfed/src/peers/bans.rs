//! Who is refused: `peers ban`, `peers unban`, `peers bans`.

use std::net::IpAddr;
use std::time::Duration;

use btcfed_core::ban::{Ban, BanReason, BanTarget, IpNet, Issuer};
use btcfed_core::key::PeerKey;
use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::set::PeerSet;
use btcfed_core::store::PeerStore;
use btcfed_core::time::Timestamp;
use serde_json::{Value, json};

use crate::exit::{CliError, Exit};
use crate::peers::{SHORTEST_PREFIX, find, parse_identity, shorten};
use crate::view;

/// A ban that is over before it counts is a mistake.
const SHORTEST_BAN: Duration = Duration::from_secs(1);

/// What a ban says when nobody gives a reason.
const NO_REASON: &str = "banned by the operator";

/// Longest reason, in bytes: one line of a table.
const MAX_REASON_BYTES: usize = 256;

/// A ban, as a person asks for it.
#[derive(Clone, Copy, Debug)]
pub struct BanRequest<'a> {
    /// A peer, an IP address or a network.
    pub target: &'a str,
    /// For how long; for ever when missing.
    pub lasting: Option<Duration>,
    /// The operator's own words.
    pub reason: Option<&'a str>,
}

/// `peers ban`: idempotent.
pub(super) async fn ban(
    store: &dyn PeerStore,
    own: Option<PeerKey>,
    now: Timestamp,
    wanted: &BanRequest<'_>,
) -> Result<Value, CliError> {
    let set = store.snapshot();
    let target = target(&set, wanted.target)?;
    if own.is_some_and(|own| target == BanTarget::Peer(own)) {
        return Err(CliError::new(
            Exit::Data,
            "config",
            "this is the node itself",
        ));
    }
    let reason = wanted.reason.unwrap_or(NO_REASON);
    if reason.len() > MAX_REASON_BYTES || reason.contains(char::is_control) {
        let limit = format!("a reason is one line of at most {MAX_REASON_BYTES} bytes");
        return Err(CliError::new(Exit::Data, "config", limit));
    }
    if wanted.lasting.is_some_and(|lasting| lasting < SHORTEST_BAN) {
        let message = "a ban lasts at least 1s";
        return Err(CliError::new(Exit::Data, "config", message)
            .hint("leave the time out for one that lasts until it is lifted"));
    }
    let new = Ban {
        target,
        reason: BanReason::from_text(reason),
        since: now,
        until: wanted.lasting.map(|lasting| now.saturating_add(lasting)),
        by: Issuer::Operator,
        evidence: None,
    };
    let known = set
        .bans()
        .find(|ban| ban.target == target && ban.is_active(now));
    let settled = known.filter(|known| {
        let same_reason = wanted.reason.is_none() || known.reason == new.reason;
        known.by == Issuer::Operator && known.until == new.until && same_reason
    });
    let (changed, durable, ban) = match settled {
        Some(known) => (false, true, known.clone()),
        None => {
            let patch = PeerPatch::one(PeerOp::Ban(new.clone()));
            (true, store.apply(patch).await?.durable, new)
        }
    };
    let mut fields = entry(&set, &ban, now);
    if let Value::Object(fields) = &mut fields {
        fields.insert("changed".to_owned(), json!(changed));
        fields.insert("durable".to_owned(), json!(durable));
    }
    Ok(view::with_schema("peers-ban", fields))
}

/// `peers unban`: idempotent for identities, addresses and networks.
pub(super) async fn unban(store: &dyn PeerStore, wanted: &str) -> Result<Value, CliError> {
    let set = store.snapshot();
    let target = target(&set, wanted).or_else(|error| banned_prefix(&set, wanted).ok_or(error))?;
    let banned = set.bans().any(|ban| ban.target == target);
    let durable = if banned {
        let patch = PeerPatch::one(PeerOp::Unban(target));
        store.apply(patch).await?.durable
    } else {
        true
    };
    let (kind, text) = spelled(&target);
    Ok(view::with_schema(
        "peers-unban",
        json!({ "changed": banned, "durable": durable, "kind": kind, "target": text, "name": name(&set, &target) }),
    ))
}

/// `peers bans`, lapsed ones included.
pub(super) fn list(set: &PeerSet, now: Timestamp) -> Value {
    let bans: Vec<Value> = set.bans().map(|ban| entry(set, ban, now)).collect();
    view::with_schema("peers-bans", json!({ "bans": bans }))
}

fn entry(set: &PeerSet, ban: &Ban, now: Timestamp) -> Value {
    let (kind, text) = spelled(&ban.target);
    json!({
        "kind": kind,
        "target": text,
        "name": name(set, &ban.target),
        "active": ban.is_active(now),
        "reason": ban.reason.as_str(),
        "since": view::time_text(ban.since),
        "until": ban.until.map(view::time_text),
        "by": ban.by.as_str(),
        "evidence": ban.evidence,
    })
}

/// The kind and the text of what a ban refuses.
pub(crate) fn spelled(target: &BanTarget) -> (&'static str, String) {
    match target {
        BanTarget::Cidr(net) => ("cidr", net.to_string()),
        BanTarget::Ip(ip) => ("ip", ip.to_string()),
        BanTarget::Peer(key) => ("peer", key.peer_id().to_string()),
    }
}

fn name(set: &PeerSet, target: &BanTarget) -> Option<String> {
    match target {
        BanTarget::Peer(key) => set.view(key)?.name().map(str::to_owned),
        BanTarget::Cidr(_) | BanTarget::Ip(_) => None,
    }
}

/// What a text refuses: an IP address, a network, an identity, or a peer with this name.
fn target(set: &PeerSet, text: &str) -> Result<BanTarget, CliError> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(BanTarget::Ip(ip.to_canonical()));
    }
    if let Ok(net) = text.parse::<IpNet>() {
        return Ok(BanTarget::Cidr(net));
    }
    if let Ok(key) = parse_identity(text) {
        return Ok(BanTarget::Peer(key));
    }
    let found = find(set, text).map(|record| BanTarget::Peer(record.key));
    let looks_like_ip = text
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit() || b".:/".contains(&byte))
        && text.contains(['.', ':', '/']);
    match found {
        Err(_) if looks_like_ip => Err(CliError::new(
            Exit::Data,
            "config",
            format!("not an IP address or network: {:?}", shorten(text)),
        )
        .hint("write 203.0.113.7, 203.0.113.0/24, fd00::/8, or a peer's id or name")),
        other => other,
    }
}

/// The one banned identity whose id begins like this; it may be no known peer.
fn banned_prefix(set: &PeerSet, text: &str) -> Option<BanTarget> {
    if text.len() < SHORTEST_PREFIX {
        return None;
    }
    let mut matching = set.bans().filter_map(|ban| match ban.target {
        BanTarget::Peer(key) => key
            .peer_id()
            .to_string()
            .starts_with(text)
            .then_some(ban.target),
        BanTarget::Cidr(_) | BanTarget::Ip(_) => None,
    });
    let first = matching.next()?;
    matching.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::identity::SecretKey;
    use btcfed_core::peer::{PeerRecord, PeerSource};
    use btcfed_core::testing::MemoryStore;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    async fn store() -> (MemoryStore, PeerKey) {
        let store = MemoryStore::default();
        let key = SecretKey::from_seed([1; 32]).public();
        let mut record = PeerRecord::new(key, PeerSource::Operator);
        record.name = Some("alice".into());
        store.apply(PeerPatch::create(record)).await.unwrap();
        (store, key)
    }

    #[tokio::test]
    async fn a_ban_lasts_a_second_at_least() {
        let (store, _) = store().await;
        for (millis, is_taken) in [(1_000, true), (999, false), (0, false)] {
            let lasting = Some(Duration::from_millis(millis));
            let request = BanRequest {
                lasting,
                ..wanted("203.0.113.7")
            };
            let answer = ban(&store, None, NOW, &request).await;
            assert_eq!(answer.is_ok(), is_taken, "{millis}");
        }
    }

    fn wanted(target: &str) -> BanRequest<'_> {
        BanRequest {
            target,
            lasting: None,
            reason: None,
        }
    }

    #[tokio::test]
    async fn peers_addresses_and_networks_are_banned_once_and_lifted_once() {
        let (store, key) = store().await;
        let id = key.peer_id().to_string();
        for (text, kind, spelled) in [
            ("alice", "peer", id.as_str()),
            ("203.0.113.7", "ip", "203.0.113.7"),
            ("::ffff:203.0.113.8", "ip", "203.0.113.8"),
            ("10.1.2.3/8", "cidr", "10.0.0.0/8"),
        ] {
            let first = ban(&store, None, NOW, &wanted(text)).await.unwrap();
            assert_eq!(
                (first["kind"].as_str(), first["target"].as_str()),
                (Some(kind), Some(spelled))
            );
            assert_eq!(first["changed"], true, "{text}");
            let again = ban(&store, None, NOW, &wanted(text)).await.unwrap();
            assert_eq!(again["changed"], false, "{text}");
        }
        assert_eq!(
            list(&store.snapshot(), NOW)["bans"]
                .as_array()
                .unwrap()
                .len(),
            4
        );
        for text in ["alice", "203.0.113.7", "203.0.113.8", "10.0.0.0/8"] {
            assert_eq!(unban(&store, text).await.unwrap()["changed"], true);
            assert_eq!(unban(&store, text).await.unwrap()["changed"], false);
        }
    }

    #[tokio::test]
    async fn a_ban_may_end_and_a_new_end_or_reason_is_a_change() {
        let (store, _) = store().await;
        let hour = BanRequest {
            lasting: Some(Duration::from_secs(3600)),
            reason: Some("flood"),
            ..wanted("alice")
        };
        let made = ban(&store, None, NOW, &hour).await.unwrap();
        assert_eq!(made["reason"], "flood");
        assert_eq!(
            made["until"],
            view::time_text(Timestamp::from_secs(1_003_600))
        );
        let other = BanRequest {
            reason: Some("worse"),
            ..hour
        };
        assert_eq!(
            ban(&store, None, NOW, &other).await.unwrap()["changed"],
            true
        );
        let later = list(&store.snapshot(), Timestamp::from_secs(2_000_000));
        assert_eq!(later["bans"][0]["active"], false);
    }

    #[tokio::test]
    async fn nonsense_oneself_and_unknown_names_are_refused() {
        let (store, key) = store().await;
        for (text, exit) in [
            ("10.0.0.0/33", Exit::Data),
            ("1.2.3", Exit::Data),
            ("nobody", Exit::Failed),
        ] {
            let error = ban(&store, None, NOW, &wanted(text)).await.unwrap_err();
            assert_eq!(error.exit, exit, "{text}");
        }
        let id = key.peer_id().to_string();
        let error = ban(&store, Some(key), NOW, &wanted(&id)).await.unwrap_err();
        assert_eq!(error.exit, Exit::Data);
        let lines = BanRequest {
            reason: Some("two\nlines"),
            ..wanted("alice")
        };
        assert!(ban(&store, None, NOW, &lines).await.is_err());
    }
}
