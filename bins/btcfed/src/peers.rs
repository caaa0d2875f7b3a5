//! What people do to peers: find, add, remove. The same code serves the daemon and offline commands.

mod approve;
mod bans;
mod desk;
mod entry;
mod import;
mod labels;
mod restore;
mod why;

pub use bans::BanRequest;
pub(crate) use bans::spelled;
pub use desk::Desk;
pub use entry::Entry;
pub use restore::{Restoration, restoration};
pub use why::{Contact, Contacts};

use btcfed_core::addr::{AddrWithId, DnsName, Host, PeerAddr};
use btcfed_core::ban::Issuer;
use btcfed_core::identity::SecretKey;
use btcfed_core::key::{PeerId, PeerKey};
use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::peer::{AddressSource, PeerRecord, PeerSource};
use btcfed_core::set::{PeerSet, PeerView};
use btcfed_core::store::PeerStore;
use btcfed_core::time::Timestamp;
use btcfed_node_orchestrator::Connection;
use serde_json::{Value, json};

use crate::exit::{CliError, Exit};
use crate::view;

/// A peer to add, as a person wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPeer {
    /// Who.
    pub key: PeerKey,
    /// Where.
    pub addr: PeerAddr,
    /// The operator's label.
    pub name: Option<String>,
    /// Whether it is reserved.
    pub pinned: bool,
}

/// Reads `MULTIADDR/p2p/ID` or `KEY@HOST:PORT`, where `KEY` is a public key or a peer id.
///
/// # Errors
/// What is wrong with it, and what to write instead.
pub fn parse_target(text: &str) -> Result<(PeerKey, PeerAddr), CliError> {
    if text.starts_with('/') {
        let parsed: AddrWithId = text
            .parse()
            .map_err(|error| bad_target(format!("{error}")))?;
        let id = parsed
            .peer_id
            .ok_or_else(|| bad_target("the address does not say whose it is"))?;
        return Ok((id.key(), parsed.addr));
    }
    let (key, place) = text
        .split_once('@')
        .ok_or_else(|| bad_target("this is neither of the two forms"))?;
    let addr = parse_place(place)?;
    Ok((parse_identity(key)?, addr))
}

/// Reads `HOST:PORT`.
///
/// # Errors
/// What is wrong with it, and what to write instead.
pub fn parse_place(place: &str) -> Result<PeerAddr, CliError> {
    let (host, port) = place
        .rsplit_once(':')
        .ok_or_else(|| bad_target("the port is missing"))?;
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port: u16 = if is_number { port.parse().ok() } else { None }
        .ok_or_else(|| bad_target("the port is not a number from 1 to 65535"))?;
    Ok(PeerAddr::new(parse_host(host)?, port))
}

fn parse_host(host: &str) -> Result<Host, CliError> {
    if let Some(inner) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return inner
            .parse()
            .map(Host::Ip6)
            .map_err(|_| bad_target("not an IPv6 address between the brackets"));
    }
    if let Ok(ip) = host.parse() {
        return Ok(Host::Ip4(ip));
    }
    if host.contains(':') {
        return Err(bad_target(
            "an IPv6 address stands in brackets: KEY@[::1]:9000",
        ));
    }
    host.parse::<DnsName>()
        .map(Host::Dns)
        .map_err(|error| bad_target(error.to_string()))
}

fn bad_target(reason: impl std::fmt::Display) -> CliError {
    CliError::new(Exit::Data, "config", format!("not a peer: {reason}"))
        .hint("write /ip4/203.0.113.7/tcp/9000/p2p/12D3KooW... or KEY@HOST:PORT")
}

/// Reads a public key or a peer id.
pub(crate) fn parse_identity(text: &str) -> Result<PeerKey, CliError> {
    text.parse::<PeerId>()
        .map(PeerId::key)
        .or_else(|_| text.parse::<PeerKey>())
        .map_err(|error| {
            CliError::new(Exit::Data, "config", error.to_string())
                .hint("write a peer id (12D3KooW...) or a public key in base64 (CAESI...)")
        })
}

/// Shortest beginning of a peer id that names a peer, in characters: all ids begin with the same eight.
const SHORTEST_PREFIX: usize = 12;

/// Finds the one peer that `wanted` names: a peer id, a public key, a name, or the unique beginning of a peer id.
///
/// # Errors
/// Nobody or several match.
pub fn find(set: &PeerSet, wanted: &str) -> Result<PeerRecord, CliError> {
    if let Ok(key) = parse_identity(wanted) {
        return set.get(&key).ok_or_else(|| unknown(wanted));
    }
    if wanted.is_empty() {
        return Err(
            CliError::new(Exit::Data, "config", "no peer is named: the text is empty")
                .hint("write a peer id, a public key, a name, or the beginning of a peer id"),
        );
    }
    let named: Vec<PeerView<'_>> = set
        .views()
        .filter(|peer| peer.name() == Some(wanted))
        .collect();
    let matching = if named.is_empty() && wanted.len() < SHORTEST_PREFIX {
        Vec::new()
    } else if named.is_empty() {
        set.views()
            .filter(|peer| peer.peer_id().to_string().starts_with(wanted))
            .collect()
    } else {
        named
    };
    match matching.as_slice() {
        [] => Err(unknown(wanted)),
        [one] => Ok(one.to_record()),
        several => Err(CliError::new(
            Exit::Failed,
            "config",
            format!("{:?} fits {} peers", shorten(wanted), several.len()),
        )
        .hint("write more of the peer id")),
    }
}

fn unknown(wanted: &str) -> CliError {
    CliError::new(
        Exit::Failed,
        "config",
        format!("no peer is called {:?}", shorten(wanted)),
    )
    .hint("`btcfed peers list` shows names and ids")
}

/// Enough of a text to recognise it; people paste anything.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

/// `peers show`.
///
/// # Errors
/// Nobody or several match.
pub fn show(
    set: &PeerSet,
    connections: &[Connection],
    now: Timestamp,
    wanted: &str,
) -> Result<Value, CliError> {
    let record = find(set, wanted)?;
    Ok(view::peers_show(
        &record,
        set.ban_of(&record.key, now),
        connections,
    ))
}

/// `peers add`: idempotent. A peer that is known from elsewhere becomes the operator's.
///
/// # Errors
/// It is this node itself, or the store refuses it. Nothing changed.
pub async fn add(
    store: &dyn PeerStore,
    own: Option<PeerKey>,
    new: &NewPeer,
) -> Result<Value, CliError> {
    if own == Some(new.key) {
        return Err(CliError::new(
            Exit::Data,
            "config",
            "this is the node itself",
        ));
    }
    if !new.addr.is_dialable() {
        return Err(bad_target(format!("nobody can be reached at {}", new.addr)));
    }
    let set = store.snapshot();
    let (record, op) = match set.get(&new.key) {
        None => {
            let record = merged(PeerRecord::new(new.key, PeerSource::Operator), new);
            (record.clone(), Some(PeerOp::Create(Box::new(record))))
        }
        Some(known) => {
            let record = merged(known.clone(), new);
            let op = (record != known).then(|| PeerOp::Update(Box::new(record.clone())));
            (record, op)
        }
    };
    let changed = op.is_some();
    let durable = match op {
        Some(op) => store.apply(PeerPatch::one(op)).await?.durable,
        None => true,
    };
    Ok(view::with_schema(
        "peers-add",
        json!({
            "changed": changed,
            "durable": durable,
            "peer_id": new.key.peer_id().to_string(),
            "peer": view::peer(&record, None),
        }),
    ))
}

fn merged(mut record: PeerRecord, new: &NewPeer) -> PeerRecord {
    record.source = PeerSource::Operator;
    record.add_address(new.addr.clone(), AddressSource::Operator);
    record.pinned |= new.pinned;
    if new.name.is_some() {
        record.name.clone_from(&new.name);
    }
    record
}

/// `peers remove`: idempotent for identities. Gossip does not bring the peer back.
///
/// # Errors
/// A name fits nobody or several, or the store refuses.
pub async fn remove(store: &dyn PeerStore, wanted: &str) -> Result<Value, CliError> {
    let set = store.snapshot();
    let answer = |changed: bool, durable: bool, key: PeerKey| {
        let fields =
            json!({ "changed": changed, "durable": durable, "peer_id": key.peer_id().to_string() });
        view::with_schema("peers-remove", fields)
    };
    if let Ok(key) = parse_identity(wanted)
        && !set.contains(&key)
    {
        return Ok(answer(false, true, key));
    }
    let key = find(&set, wanted)?.key;
    let applied = store
        .apply(PeerPatch::one(PeerOp::Remove {
            key,
            by: Issuer::Operator,
        }))
        .await?;
    Ok(answer(true, applied.durable, key))
}

/// The identity of this node, as `btcfed id` shows it.
#[must_use]
pub fn identity(secret: &SecretKey) -> Value {
    view::with_schema(
        "id",
        json!({ "peer_id": secret.peer_id().to_string(), "public_key": secret.public().to_string() }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::testing::MemoryStore;

    fn key(n: u8) -> PeerKey {
        SecretKey::from_seed([n; 32]).public()
    }

    #[test]
    fn every_way_to_write_a_peer_means_the_same_peer() {
        let (key, id) = (key(1), key(1).peer_id());
        for (text, addr) in [
            (
                format!("/ip4/10.0.0.1/tcp/9000/p2p/{id}"),
                "/ip4/10.0.0.1/tcp/9000",
            ),
            (format!("{id}@10.0.0.1:9000"), "/ip4/10.0.0.1/tcp/9000"),
            (format!("{key}@10.0.0.1:9000"), "/ip4/10.0.0.1/tcp/9000"),
            (format!("{key}@[fd00::1]:9000"), "/ip6/fd00::1/tcp/9000"),
            (
                format!("{key}@Node1.example.com:9000"),
                "/dns/node1.example.com/tcp/9000",
            ),
        ] {
            assert_eq!(
                parse_target(&text).unwrap(),
                (key, addr.parse().unwrap()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_bad_peer_is_refused_with_a_reason_and_the_two_forms() {
        let id = key(1).peer_id();
        for text in [
            "",
            "alice",
            "/ip4/10.0.0.1/tcp/9000",
            "/ip4/10.0.0.1/udp/9000/quic-v1",
            &format!("{id}@10.0.0.1"),
            &format!("{id}@10.0.0.1:0x10"),
            &format!("{id}@10.0.0.1:65536"),
            &format!("{id}@::1:9000"),
            &format!("{id}@bad host:9000"),
            "nokey@10.0.0.1:9000",
        ] {
            let error = parse_target(text).unwrap_err();
            assert_eq!(error.exit, Exit::Data, "{text}");
            assert!(error.hint.is_some(), "{text}");
        }
    }

    #[tokio::test]
    async fn adding_is_idempotent_and_makes_a_learned_peer_the_operators() {
        let store = MemoryStore::default();
        let new = NewPeer {
            key: key(1),
            addr: "/ip4/10.0.0.1/tcp/1".parse().unwrap(),
            name: None,
            pinned: false,
        };
        assert_eq!(
            add(&store, Some(key(9)), &new).await.unwrap()["changed"],
            true
        );
        assert_eq!(
            add(&store, Some(key(9)), &new).await.unwrap()["changed"],
            false
        );
        let named = NewPeer {
            name: Some("alice".into()),
            pinned: true,
            ..new.clone()
        };
        assert_eq!(
            add(&store, Some(key(9)), &named).await.unwrap()["changed"],
            true
        );
        let record = find(&store.snapshot(), "alice").unwrap();
        assert!(record.pinned && record.source == PeerSource::Operator);
        assert_eq!(
            add(&store, Some(key(1)), &new).await.unwrap_err().exit,
            Exit::Data,
            "oneself"
        );
        let nowhere = NewPeer {
            addr: "/ip4/0.0.0.0/tcp/1".parse().unwrap(),
            ..new
        };
        assert_eq!(
            add(&store, Some(key(9)), &nowhere).await.unwrap_err().exit,
            Exit::Data
        );
    }

    #[tokio::test]
    async fn removing_is_idempotent_for_identities_and_an_error_for_unknown_names() {
        let store = MemoryStore::default();
        let new = NewPeer {
            key: key(1),
            addr: "/ip4/10.0.0.1/tcp/1".parse().unwrap(),
            name: None,
            pinned: false,
        };
        add(&store, Some(key(9)), &new).await.unwrap();
        let id = key(1).peer_id().to_string();
        assert_eq!(remove(&store, &id[..20]).await.unwrap()["changed"], true);
        assert_eq!(remove(&store, &id).await.unwrap()["changed"], false);
        assert_eq!(
            remove(&store, "nobody").await.unwrap_err().exit,
            Exit::Failed
        );
    }

    #[tokio::test]
    async fn an_ambiguous_name_or_too_short_a_beginning_names_nobody() {
        let store = MemoryStore::default();
        for n in 1..=3 {
            let new = NewPeer {
                key: key(n),
                addr: "/ip4/10.0.0.1/tcp/1".parse().unwrap(),
                name: None,
                pinned: false,
            };
            add(&store, Some(key(9)), &new).await.unwrap();
        }
        for wanted in ["", "1", "12D3KooW"] {
            assert!(find(&store.snapshot(), wanted).is_err(), "{wanted:?}");
        }
        for n in 4..=5 {
            let mut twin = PeerRecord::new(key(n), PeerSource::Operator);
            twin.name = Some("twin".into());
            store.apply(PeerPatch::create(twin)).await.unwrap();
        }
        let error = find(&store.snapshot(), "twin").unwrap_err();
        assert!(error.message.contains("fits 2 peers"), "{error}");
    }
}
