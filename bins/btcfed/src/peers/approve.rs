//! `peers approve`: who waits to be let in, and letting them in. Only `peers.mode: allowlist` makes anybody wait.

use std::collections::BTreeMap;

use btcfed_core::peer::{PeerRecord, PeerSource};
use btcfed_core::store::PeerStore;
use serde_json::{Value, json};

use crate::exit::{CliError, Exit};
use crate::peers::{Desk, find, labels};
use crate::view;

/// Who waits. Only a running daemon knows who got in by way of the bootstrap entries.
///
/// # Errors
/// No daemon runs.
pub(super) fn waiting(desk: &Desk<'_>) -> Result<Value, CliError> {
    let Some(config) = desk.config else {
        let reason = "the daemon is not running: only it knows who waits";
        return Err(CliError::new(Exit::Unavailable, "transient", reason)
            .hint("start it with `btcfed run`, or approve a peer by its id"));
    };
    let mode = config.get("peers.mode").map_or("open", String::as_str);
    let set = desk.store.snapshot();
    let waiting: Vec<Value> = set
        .iter()
        .filter(|record| mode == "allowlist" && waits(desk, config, record))
        .map(|record| view::peer(&record, None))
        .collect();
    Ok(view::with_schema(
        "peers-approve",
        json!({ "mode": mode, "waiting": waiting }),
    ))
}

fn waits(desk: &Desk<'_>, config: &BTreeMap<&'static str, String>, record: &PeerRecord) -> bool {
    let bootstrap = config.get("peers.bootstrap").map_or("", String::as_str);
    let is_in = record.is_reserved()
        || bootstrap.contains(&record.peer_id().to_string())
        || desk
            .connections
            .iter()
            .any(|connection| connection.peer == record.key);
    !is_in && !record.is_banned()
}

/// Makes a peer the operator's: idempotent.
///
/// # Errors
/// Nobody or several match, the peer is banned, or the store refuses.
pub(super) async fn approve(store: &dyn PeerStore, wanted: &str) -> Result<Value, CliError> {
    let known = find(&store.snapshot(), wanted)?;
    if known.is_banned() {
        let reason = format!("{} is banned", known.peer_id());
        return Err(CliError::new(Exit::Failed, "config", reason)
            .hint("lift the ban first: `btcfed peers unban PEER`"));
    }
    let mut record = known.clone();
    record.source = PeerSource::Operator;
    let (changed, durable) = labels::update(store, &known, &record).await?;
    Ok(view::with_schema(
        "peers-approve",
        json!({
            "changed": changed,
            "durable": durable,
            "peer_id": record.peer_id().to_string(),
            "name": record.name,
            "addresses": record.addresses.len(),
        }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::Contacts;
    use btcfed_core::patch::PeerPatch;
    use btcfed_core::testing::{MemoryStore, test_key};
    use btcfed_core::time::Timestamp;

    async fn store() -> MemoryStore {
        let store = MemoryStore::default();
        for (n, source) in [(1, PeerSource::Signed), (2, PeerSource::Operator)] {
            let record = PeerRecord::new(test_key(n), source);
            store.apply(PeerPatch::create(record)).await.unwrap();
        }
        store
    }

    fn names(store: &MemoryStore, mode: &str, bootstrap: &str) -> Vec<String> {
        let config = BTreeMap::from([
            ("peers.mode", mode.to_owned()),
            ("peers.bootstrap", bootstrap.to_owned()),
        ]);
        let desk = Desk {
            store,
            own: None,
            connections: &[],
            config: Some(&config),
            contacts: &Contacts::new(),
            now: Timestamp::from_secs(0),
        };
        let answer = waiting(&desk).unwrap();
        let waiting = answer["waiting"].as_array().unwrap().iter();
        waiting
            .map(|peer| peer["peer_id"].as_str().unwrap().to_owned())
            .collect()
    }

    #[tokio::test]
    async fn only_learned_peers_wait_and_only_where_the_list_decides() {
        let store = store().await;
        let id = test_key(1).peer_id().to_string();
        assert_eq!(names(&store, "allowlist", "[]").join(" "), id);
        assert!(names(&store, "open", "[]").is_empty());
        assert!(
            names(
                &store,
                "allowlist",
                &format!("[/ip4/10.0.0.1/tcp/1/p2p/{id}]")
            )
            .is_empty()
        );
    }

    #[tokio::test]
    async fn an_approved_peer_is_the_operators_and_a_banned_one_is_refused() {
        let store = store().await;
        let id = test_key(1).peer_id().to_string();
        assert_eq!(approve(&store, &id).await.unwrap()["changed"], true);
        assert_eq!(approve(&store, &id).await.unwrap()["changed"], false);
        assert!(names(&store, "allowlist", "[]").is_empty());
        let desk_less = approve(&store, "nobody").await.unwrap_err();
        assert_eq!(desk_less.exit, Exit::Failed);
        let wanted = crate::peers::BanRequest {
            target: &id,
            lasting: None,
            reason: None,
        };
        crate::peers::bans::ban(&store, None, Timestamp::from_secs(1), &wanted)
            .await
            .unwrap();
        assert!(approve(&store, &id).await.is_err());
    }
}
