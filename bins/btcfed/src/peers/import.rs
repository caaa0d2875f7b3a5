//! `peers import`: takes in what another operator, or another time, knew.

use btcfed_core::key::PeerKey;
use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::peer::{AddressSource, PeerRecord, PeerSource};
use btcfed_core::store::PeerStore;
use serde_json::{Value, json};

use crate::admin::protocol::Request;
use crate::exit::{CliError, Exit};
use crate::peers::Entry;
use crate::view;

/// Takes in `entries`, all or none; with `dry_run` only says what it would do. What is imported is the operator's.
pub(super) async fn apply(
    store: &dyn PeerStore,
    own: Option<PeerKey>,
    request: &Request,
) -> Result<Value, CliError> {
    let dry_run = request.flag("dry_run");
    let set = store.snapshot();
    let mut patch = PeerPatch::default();
    let mut changes = Vec::new();
    for value in request.params["entries"].as_array().into_iter().flatten() {
        let entry = Entry::from_json(value)
            .map_err(|reason| CliError::new(Exit::Data, "config", reason))?;
        let (action, details) = if own == Some(entry.key) {
            ("self", Vec::new())
        } else {
            let known = set.get(&entry.key).map(|known| &**known);
            let record = merged(known, &entry);
            match known {
                None => {
                    let details =
                        difference(&PeerRecord::new(entry.key, PeerSource::Operator), &record);
                    patch.ops.push(PeerOp::Create(Box::new(record)));
                    ("add", details)
                }
                Some(known) if *known == record => ("same", Vec::new()),
                Some(known) => {
                    let details = difference(known, &record);
                    patch.ops.push(PeerOp::Update(Box::new(record)));
                    ("update", details)
                }
            }
        };
        changes.push(json!({
            "action": action,
            "peer_id": entry.key.peer_id().to_string(),
            "name": entry.name,
            "details": details,
        }));
    }
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

fn merged(known: Option<&PeerRecord>, entry: &Entry) -> PeerRecord {
    let mut record = known
        .cloned()
        .unwrap_or_else(|| PeerRecord::new(entry.key, PeerSource::Operator));
    record.source = PeerSource::Operator;
    for addr in &entry.addresses {
        record.add_address(addr.clone(), AddressSource::Operator);
    }
    record.pinned |= entry.pinned;
    if entry.name.is_some() {
        record.name.clone_from(&entry.name);
    }
    if entry.note.is_some() {
        record.note.clone_from(&entry.note);
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
        let dry = apply(&store, own, &request(true, &["a", "b", "me"]))
            .await
            .unwrap();
        assert_eq!(actions(&dry), ["add", "add", "self"]);
        assert!(store.snapshot().is_empty(), "a dry run changes nothing");
        let done = apply(&store, own, &request(false, &["a", "b", "me"]))
            .await
            .unwrap();
        assert_eq!(done["changes"], dry["changes"]);
        assert_eq!(store.snapshot().len(), 2);
        let again = apply(&store, own, &request(false, &["a", "c"]))
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
            apply(&store, None, &request).await.unwrap_err().exit,
            Exit::Data
        );
        assert!(store.snapshot().is_empty());
    }
}
