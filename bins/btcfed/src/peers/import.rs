//! `peers import`: takes in what another operator, or another time, knew.

use std::sync::Arc;

use btcfed_core::ban::{Ban, BanTarget};
use btcfed_core::key::PeerKey;
use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::peer::{PeerRecord, PeerSource};
use btcfed_core::set::PeerSet;
use btcfed_core::store::PeerStore;
use btcfed_core::time::Timestamp;
use serde_json::{Value, json};

use crate::admin::protocol::Request;
use crate::exit::{CliError, Exit};
use crate::peers::{Entry, spelled};
use crate::view;
use crate::wire;

/// Takes in `entries` and the peers and bans of a `document` (in the form of `peers.json`), all or none; with `dry_run` only
/// says what it would do. What is known stays, and is completed.
pub(super) async fn apply(
    store: &dyn PeerStore,
    own: Option<PeerKey>,
    request: &Request,
    now: Timestamp,
) -> Result<Value, CliError> {
    let dry_run = request.flag("dry_run");
    let wrong = |reason: String| CliError::new(Exit::Data, "config", reason);
    let mut records = Vec::new();
    for value in request.params["entries"].as_array().into_iter().flatten() {
        records.push(Entry::from_json(value).map_err(wrong)?.record());
    }
    let document = request.optional_text("document");
    let document = document.map(|text| wire::read_document(text, now).map_err(wrong));
    let document = document.transpose()?.unwrap_or_default();
    records.extend(document.iter());
    let mut import = Import {
        set: store.snapshot(),
        own,
        patch: PeerPatch::default(),
        changes: Vec::new(),
    };
    records.iter().for_each(|record| import.peer(record));
    document.bans().for_each(|ban| import.ban(ban));
    let Import { patch, changes, .. } = import;
    let durable = if dry_run || patch.is_empty() {
        true
    } else {
        store.apply(patch).await?.durable
    };
    Ok(view::with_schema(
        "peers-import",
        json!({ "dry_run": dry_run, "durable": durable, "changes": changes }),
    ))
}

struct Import {
    set: Arc<PeerSet>,
    own: Option<PeerKey>,
    patch: PeerPatch,
    changes: Vec<Value>,
}

impl Import {
    fn peer(&mut self, new: &PeerRecord) {
        let known = self.set.get(&new.key);
        let (action, details) = match known {
            _ if self.own == Some(new.key) => ("self", Vec::new()),
            None => {
                let details = difference(&PeerRecord::new(new.key, PeerSource::Operator), new);
                self.patch.ops.push(PeerOp::Create(Box::new(new.clone())));
                ("add", details)
            }
            Some(known) => {
                let record = merged(&known, new);
                if record == known {
                    ("same", Vec::new())
                } else {
                    let details = difference(&known, &record);
                    self.patch.ops.push(PeerOp::Update(Box::new(record)));
                    ("update", details)
                }
            }
        };
        self.changes.push(json!({
            "action": action,
            "peer_id": new.peer_id().to_string(),
            "name": new.name,
            "details": details,
        }));
    }

    /// A ban that is in force already stays as it is.
    fn ban(&mut self, ban: &Ban) {
        let is_known = self.set.bans().any(|known| known.target == ban.target);
        let is_own = self
            .own
            .is_some_and(|own| ban.target == BanTarget::Peer(own));
        if is_known || is_own {
            return;
        }
        self.patch.ops.push(PeerOp::Ban(ban.clone()));
        self.changes.push(json!({
            "action": "ban",
            "target": spelled(&ban.target).1,
            "details": [format!("reason: {}", ban.reason)],
        }));
    }
}

fn merged(known: &PeerRecord, new: &PeerRecord) -> PeerRecord {
    let mut record = known.clone();
    record.source = record.source.min(new.source);
    for known in &new.addresses {
        record.add_address(known.addr.clone(), known.source);
    }
    for text in &new.undialable {
        if !record.undialable.contains(text) {
            record.undialable.push(text.clone());
        }
    }
    record.pinned |= new.pinned;
    if new.name.is_some() {
        record.name.clone_from(&new.name);
    }
    if new.note.is_some() {
        record.note.clone_from(&new.note);
    }
    for (name, value) in &new.extra {
        let entry = record.extra.entry(name.clone());
        entry.or_insert_with(|| value.clone());
    }
    if record.stats.last_seen.is_none() && new.stats.last_seen.is_some() {
        record.stats = new.stats;
        record.stats.first_seen = known.stats.first_seen.or(new.stats.first_seen);
    }
    record
}

/// What changes, line by line.
pub(super) fn difference(old: &PeerRecord, new: &PeerRecord) -> Vec<String> {
    let mut lines = Vec::new();
    let mut text = |field: &str, old: &Option<String>, new: &Option<String>| {
        if old != new {
            let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            lines.push(format!("{field}: {} -> {}", shown(old), shown(new)));
        }
    };
    text("name", &old.name, &new.name);
    text("note", &old.note, &new.note);
    if old.pinned != new.pinned {
        lines.push(format!("pinned: {} -> {}", old.pinned, new.pinned));
    }
    if old.source != new.source {
        let (old, new) = (old.source.as_str(), new.source.as_str());
        lines.push(format!("source: {old} -> {new}"));
    }
    for (name, value) in &new.extra {
        if old.extra.get(name) != Some(value) {
            lines.push(format!("{name}: {value}"));
        }
    }
    for known in &new.addresses {
        let before = old
            .addresses
            .iter()
            .find(|before| before.addr == known.addr);
        if before.is_none_or(|before| before.source != known.source) {
            lines.push(format!("address: {} yours", known.addr));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::testing::{MemoryStore, test_key};

    const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);

    fn request(dry_run: bool, names: &[&str]) -> Request {
        let entries: Vec<Value> = (1..)
            .zip(names)
            .map(|(n, name)| {
                json!({ "public_key": test_key(n).to_string(), "name": name, "addresses": ["/ip4/10.0.0.1/tcp/1"] })
            })
            .collect();
        Request::local(
            "peers.import",
            json!({ "entries": entries, "dry_run": dry_run }),
        )
    }

    fn actions(answer: &Value) -> Vec<&str> {
        let changes = answer["changes"].as_array().unwrap().iter();
        changes
            .map(|change| change["action"].as_str().unwrap())
            .collect()
    }

    #[tokio::test]
    async fn an_import_says_what_it_does_and_a_second_one_does_nothing() {
        let store = MemoryStore::default();
        let own = Some(test_key(3));
        let dry = apply(&store, own, &request(true, &["a", "b", "me"]), NOW)
            .await
            .unwrap();
        assert_eq!(actions(&dry), ["add", "add", "self"]);
        assert!(store.snapshot().is_empty(), "a dry run changes nothing");
        let done = apply(&store, own, &request(false, &["a", "b", "me"]), NOW)
            .await
            .unwrap();
        assert_eq!(done["changes"], dry["changes"]);
        assert_eq!(store.snapshot().len(), 2);
        let again = apply(&store, own, &request(false, &["a", "c"]), NOW)
            .await
            .unwrap();
        assert_eq!(actions(&again), ["same", "update"]);
        assert_eq!(again["changes"][1]["details"], json!(["name: b -> c"]));
    }

    #[tokio::test]
    async fn a_bad_entry_stops_all_of_them() {
        let store = MemoryStore::default();
        let mut request = request(false, &["a"]);
        request.params["entries"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "public_key": "x" }));
        assert_eq!(
            apply(&store, None, &request, NOW).await.unwrap_err().exit,
            Exit::Data
        );
        assert!(store.snapshot().is_empty());
    }

    #[tokio::test]
    async fn a_document_brings_peers_with_all_they_have_and_bans_that_are_new() {
        let (one, two) = (test_key(1), test_key(2));
        let peers = json!([
            { "public_key": one.to_string(), "uuid": "x", "state": { "ok": 3, "seen": "2026-01-01T00:00:00Z" },
              "addresses": ["/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.1/udp/1/quic-v1"] },
            { "public_key": two.to_string() },
        ]);
        let bans = json!([{ "ip": "10.0.0.9", "reason": "network_mismatch" }, { "peer": two.to_string() }, { "peer": test_key(3).to_string() }]);
        let text = json!({ "peers": peers, "bans": bans }).to_string();
        let request = Request::local("peers.import", json!({ "document": text }));
        let store = MemoryStore::default();
        let known = PeerRecord::new(one, PeerSource::Signed);
        store.apply(PeerPatch::create(known)).await.unwrap();
        let done = apply(&store, Some(test_key(3)), &request, NOW)
            .await
            .unwrap();
        let mut kinds = actions(&done);
        kinds.sort_unstable();
        assert_eq!(kinds, ["add", "ban", "ban", "update"]);
        let details = done["changes"].to_string();
        assert!(
            details.contains("uuid: x") && details.contains("source: signed -> operator"),
            "{details}"
        );
        assert_eq!(
            done["changes"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|change| change["target"] == "10.0.0.9")
                .count(),
            1
        );
        let set = store.snapshot();
        let record = set.get(&one).unwrap();
        assert_eq!((record.stats.successes, record.undialable.len()), (3, 1));
        assert!(set.get(&two).unwrap().is_banned());
        let again = apply(&store, Some(test_key(3)), &request, NOW)
            .await
            .unwrap();
        assert_eq!(actions(&again), ["same", "same"]);
        let bad = Request::local("peers.import", json!({ "document": "{}" }));
        assert_eq!(
            apply(&store, None, &bad, NOW).await.unwrap_err().exit,
            Exit::Data
        );
    }
}
