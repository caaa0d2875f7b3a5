//! What people do with the file as a whole: edits of a copy, repairs, copies to come back to.

use std::fs;

use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::testing::test_key;
use btcfed_peer_store::{CopyKind, copies};

use crate::common::{Place, create, keys, knows};

#[test]
fn an_edit_of_a_copy_is_merged_with_what_was_saved_since() {
    let place = Place::with(keys(
        "# mine\npeers:\n  - public_key: KEY1\n    name: old\n  - public_key: KEY2\n",
    ));
    let store = place.open();
    let before = fs::read(&place.path).unwrap();
    assert!(create(&store, 3), "saved while somebody edits a copy");
    let edited = keys("# still mine\npeers:\n  - public_key: KEY1\n    name: new # why not\n");
    let revised = store.adopt_edit(&before, edited.as_bytes()).unwrap();
    assert!(!revised.changes.is_empty());
    assert!(knows(&store, 1) && !knows(&store, 2) && knows(&store, 3));
    let text = place.read();
    for part in ["# still mine", "name: new # why not", "KEY3"] {
        assert!(text.contains(&keys(part)), "{part}: {text}");
    }
    assert!(store.health().durable);
    store.close().unwrap();
    let again = place.open();
    assert!(knows(&again, 1) && !knows(&again, 2) && knows(&again, 3));
}

#[test]
fn an_edit_of_a_copy_is_merged_by_a_store_that_knows_only_the_file_saved_since() {
    let place = Place::new();
    let store = place.open();
    assert!(create(&store, 1) && create(&store, 2));
    store.close().unwrap();
    let before = fs::read(&place.path).unwrap();
    let store = place.open();
    assert!(create(&store, 3), "saved while somebody edits a copy");
    store.close().unwrap();
    let store = place.open();
    let edited = String::from_utf8(before.clone()).unwrap();
    let key = keys("  - public_key: KEY1\n");
    assert!(edited.contains(&key), "{edited}");
    let edited = edited.replace(&key, &format!("{key}    name: new # why not\n"));
    store.adopt_edit(&before, edited.as_bytes()).unwrap();
    store.close().unwrap();
    let text = place.read();
    assert!(text.contains("name: new # why not"), "{text}");
    assert!(knows(&place.open(), 3));
}

#[test]
fn an_edit_of_a_copy_survives_another_one_of_the_file() {
    let place = Place::with(keys("peers:\n  - public_key: KEY1\n"));
    let store = place.open();
    let before = fs::read(&place.path).unwrap();
    place.write(keys(
        "peers:\n  - public_key: KEY1\n  - public_key: KEY2\n    name: b\n",
    ));
    let edited = keys("peers:\n  - public_key: KEY1\n    name: a\n");
    store.adopt_edit(&before, edited.as_bytes()).unwrap();
    let set = store.snapshot();
    let name = |number| set.get(&test_key(number)).and_then(|peer| peer.name);
    assert_eq!(
        (name(1).as_deref(), name(2).as_deref()),
        (Some("a"), Some("b"))
    );
}

#[test]
fn a_repair_takes_out_what_cannot_be_read_and_keeps_the_bytes_and_what_was_known() {
    let place = Place::new();
    let store = place.open();
    assert!((1..=3).all(|number| create(&store, number)) && store.flush().is_ok());
    let text = place
        .read()
        .replace("/ip4/10.0.0.1/tcp/2\n", "/ip4/10.0.0.1/tcp/x\n");
    place.write(format!("{text}# the end\n"));
    assert_eq!(store.reload().unwrap().skipped.len(), 1);
    let damaged = fs::read(&place.path).unwrap();
    let revised = store.repair().unwrap();
    assert_eq!(fs::read(revised.kept.unwrap()).unwrap(), damaged);
    assert!(store.skipped().is_empty() && knows(&store, 2));
    assert!(place.read().contains("# the end"));
    store.close().unwrap();
    let again = place.open();
    assert!(again.skipped().is_empty() && (1..=3).all(|number| knows(&again, number)));
    assert_eq!(again.repair().unwrap().kept, None, "nothing is left to do");
}

#[test]
fn every_copy_tells_what_it_holds_and_the_present_can_be_kept_as_one() {
    let place = Place::new();
    assert!(copies(&place.path).unwrap().is_empty());
    let store = place.open();
    assert!(create(&store, 1));
    let kept = store.keep_before().unwrap().kept.unwrap();
    assert_eq!(fs::read(&kept).unwrap(), fs::read(&place.path).unwrap());
    let remove = PeerOp::Remove {
        key: test_key(1),
        by: btcfed_core::Issuer::Operator,
    };
    store.apply(&PeerPatch::one(remove)).unwrap();
    store.close().unwrap();
    fs::write(place.dir.path().join("peers.yaml.damaged-x"), "\0").unwrap();
    let found = copies(&place.path).unwrap();
    let kinds: Vec<CopyKind> = found.iter().map(|copy| copy.kind).collect();
    assert_eq!(kinds[0], CopyKind::Current);
    for kind in [CopyKind::Base, CopyKind::Before, CopyKind::Damaged] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    let of = |kind| found.iter().find(|copy| copy.kind == kind).unwrap();
    assert!(of(CopyKind::Before).set.contains(&test_key(1)) && of(CopyKind::Before).is_intact);
    assert!(of(CopyKind::Current).set.is_empty());
    assert!(of(CopyKind::Current).generation > of(CopyKind::Before).generation);
    assert!(!of(CopyKind::Damaged).is_intact);
}

#[test]
fn a_file_of_a_newer_version_is_not_revised() {
    let place = Place::with("version: 2\npeers: []\n");
    let store = place.open();
    assert!(store.repair().is_err() && store.adopt_edit(b"", b"peers: []\n").is_err());
    assert_eq!(place.read(), "version: 2\npeers: []\n");
}
