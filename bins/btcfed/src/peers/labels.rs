//! What an operator attaches to a peer: `peers pin`, `peers unpin`, `peers rename`, `peers replace`.

use btcfed_core::addr::PeerAddr;
use btcfed_core::ban::Issuer;
use btcfed_core::key::PeerKey;
use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::peer::{AddressSource, PeerRecord, PeerSource};
use btcfed_core::set::PeerSet;
use btcfed_core::store::PeerStore;
use serde_json::{Value, json};

use crate::exit::{CliError, Exit};
use crate::peers::{find, parse_identity, shorten};
use crate::view;

/// `peers pin` and `peers unpin`: idempotent.
pub(super) async fn pin(
    store: &dyn PeerStore,
    wanted: &str,
    pinned: bool,
) -> Result<Value, CliError> {
    let known = find(&store.snapshot(), wanted)?;
    let mut record = known.clone();
    record.pinned = pinned;
    let command = if pinned { "peers-pin" } else { "peers-unpin" };
    save(store, command, &known, record).await
}

/// `peers rename`: idempotent; an empty name takes the name away.
pub(super) async fn rename(
    store: &dyn PeerStore,
    wanted: &str,
    name: &str,
) -> Result<Value, CliError> {
    let set = store.snapshot();
    let known = find(&set, wanted)?;
    check_name(&set, known.key, name)?;
    let mut record = known.clone();
    record.name = (!name.is_empty()).then(|| name.to_owned());
    save(store, "peers-rename", &known, record).await
}

/// `peers replace`: a member's machine was lost and comes back with a new key. Name, note and pin move over; the old
/// identity is removed, and gossip does not bring it back.
pub(super) async fn replace(
    store: &dyn PeerStore,
    own: Option<PeerKey>,
    wanted: &str,
    key: PeerKey,
    addr: PeerAddr,
) -> Result<Value, CliError> {
    let set = store.snapshot();
    let old = find(&set, wanted)?;
    if own == Some(key) || old.key == key {
        let whose = if old.key == key {
            "the old one"
        } else {
            "this node's own"
        };
        let reason = format!("the new identity is {whose}");
        return Err(CliError::new(Exit::Data, "config", reason));
    }
    let known = set.get(&key);
    let is_known = known.is_some();
    let mut record = known.unwrap_or_else(|| PeerRecord::new(key, PeerSource::Operator));
    record.source = PeerSource::Operator;
    record.name.clone_from(&old.name);
    record.note.clone_from(&old.note);
    record.pinned |= old.pinned;
    record.add_address(addr, AddressSource::Operator);
    let boxed = Box::new(record.clone());
    let remove = PeerOp::Remove {
        key: old.key,
        by: Issuer::Operator,
    };
    let add = if is_known {
        PeerOp::Update(boxed)
    } else {
        PeerOp::Create(boxed)
    };
    let applied = store.apply(PeerPatch::from_iter([remove, add])).await?;
    Ok(view::with_schema(
        "peers-replace",
        json!({
            "changed": true,
            "durable": applied.durable,
            "old_peer_id": old.peer_id().to_string(),
            "peer_id": key.peer_id().to_string(),
            "peer": view::peer(&record, None),
        }),
    ))
}

/// A name must name one peer, and must not be mistaken for an address or an identity.
fn check_name(set: &PeerSet, key: PeerKey, name: &str) -> Result<(), CliError> {
    let refuse = |reason: String| Err(CliError::new(Exit::Data, "config", reason));
    if name.contains(char::is_control) {
        return refuse("a name is one line".to_owned());
    }
    if name.parse::<std::net::IpAddr>().is_ok() || parse_identity(name).is_ok() {
        return refuse(
            "a name must not look like an address, a public key or a peer id".to_owned(),
        );
    }
    let taken = set
        .iter()
        .find(|record| record.key != key && record.name.as_deref() == Some(name));
    match taken {
        Some(other) if !name.is_empty() => refuse(format!(
            "{} is called {:?} already",
            other.peer_id(),
            shorten(name)
        )),
        _ => Ok(()),
    }
}

/// Puts a record in the place of the known one. Returns whether they differ, and whether what holds now is on disk.
///
/// # Errors
/// The store refuses.
pub(super) async fn update(
    store: &dyn PeerStore,
    known: &PeerRecord,
    record: &PeerRecord,
) -> Result<(bool, bool), CliError> {
    if record == known {
        return Ok((false, true));
    }
    let patch = PeerPatch::one(PeerOp::Update(Box::new(record.clone())));
    Ok((true, store.apply(patch).await?.durable))
}

async fn save(
    store: &dyn PeerStore,
    command: &str,
    known: &PeerRecord,
    record: PeerRecord,
) -> Result<Value, CliError> {
    let (changed, durable) = update(store, known, &record).await?;
    Ok(view::with_schema(
        command,
        json!({
            "changed": changed,
            "durable": durable,
            "peer_id": record.peer_id().to_string(),
            "name": record.name,
            "old_name": known.name,
            "pinned": record.pinned,
        }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::testing::{MemoryStore, test_key};

    async fn store(names: &[&str]) -> MemoryStore {
        let store = MemoryStore::default();
        for (n, name) in (1..).zip(names) {
            let mut record = PeerRecord::new(test_key(n), PeerSource::Operator);
            record.name = Some((*name).to_owned());
            store.apply(PeerPatch::create(record)).await.unwrap();
        }
        store
    }

    #[tokio::test]
    async fn pins_and_names_are_set_once_and_taken_away() {
        let store = store(&["alice"]).await;
        assert_eq!(pin(&store, "alice", true).await.unwrap()["changed"], true);
        assert_eq!(pin(&store, "alice", true).await.unwrap()["changed"], false);
        assert_eq!(pin(&store, "alice", false).await.unwrap()["pinned"], false);
        assert_eq!(
            rename(&store, "alice", "bob").await.unwrap()["old_name"],
            "alice"
        );
        assert_eq!(
            rename(&store, "bob", "bob").await.unwrap()["changed"],
            false
        );
        assert_eq!(
            rename(&store, "bob", "").await.unwrap()["name"],
            Value::Null
        );
    }

    #[tokio::test]
    async fn a_name_that_means_somebody_or_something_else_is_refused() {
        let store = store(&["alice", "bob"]).await;
        let id = test_key(9).peer_id().to_string();
        for name in ["bob", "10.0.0.1", "::1", &id, "two\nlines"] {
            let error = rename(&store, "alice", name).await.unwrap_err();
            assert_eq!(error.exit, Exit::Data, "{name}");
        }
        let long = "x".repeat(65);
        assert!(rename(&store, "alice", &long).await.is_err());
    }

    #[tokio::test]
    async fn a_replaced_member_keeps_name_and_pin_and_the_old_key_is_forgotten() {
        let store = store(&["alice"]).await;
        pin(&store, "alice", true).await.unwrap();
        let addr: PeerAddr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
        let answer = replace(&store, None, "alice", test_key(5), addr.clone())
            .await
            .unwrap();
        assert_eq!(answer["peer"]["name"], "alice");
        let set = store.snapshot();
        assert!(set.get(&test_key(5)).unwrap().pinned && set.len() == 1);
        assert!(set.forgotten_mark(&test_key(1)).is_some());
        let again = replace(&store, None, "alice", test_key(5), addr).await;
        assert_eq!(again.unwrap_err().exit, Exit::Data);
    }
}
