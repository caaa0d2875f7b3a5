//! Entries that name a peer and cannot be read, and what is known of that peer.

use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::testing::test_key;

use crate::common::{Place, create, keys, knows};

const BROKEN: &str = "  - public_key: KEY1 # mine\n    addresses: [/ip4/10.1.1.1/tcp/x]\n";

fn entries_of(place: &Place, number: u16) -> usize {
    let line = format!("- public_key: {}", test_key(number));
    place.read().matches(&line).count()
}

#[test]
fn a_peer_that_is_added_beside_an_unreadable_entry_of_its_own_survives_restarts() {
    let broken = keys(BROKEN);
    let place = Place::with(format!("peers:\n{broken}"));
    let store = place.open();
    assert_eq!(store.skipped().len(), 1);
    assert!(create(&store, 1) && create(&store, 2));
    store.close().unwrap();
    let saved = place.read();
    for _ in 0..3 {
        let store = place.open();
        assert!(knows(&store, 1) && knows(&store, 2));
        assert_eq!(store.skipped().len(), 1, "the broken entry is still told");
        store.close().unwrap();
        assert_eq!(place.read(), saved);
    }
    assert_eq!((entries_of(&place, 1), entries_of(&place, 2)), (2, 1));
    let after = saved.split_once(&broken).expect("it stays byte for byte").1;
    let own = format!("  - public_key: {}\n", test_key(1));
    assert!(after.starts_with(&own), "{saved}");
}

#[test]
fn a_known_peer_whose_entry_is_broken_by_hand_survives_restarts() {
    for is_running in [true, false] {
        let place = Place::new();
        let store = place.open();
        assert!((1..=3).all(|number| create(&store, number)) && store.flush().is_ok());
        let edit = || {
            let text = place.read();
            place.write(text.replace("/ip4/10.0.0.1/tcp/2\n", "/ip4/10.0.0.1/tcp/x\n"));
        };
        if is_running {
            edit();
            assert_eq!(store.reload().unwrap().skipped.len(), 1);
            store.close().unwrap();
        } else {
            store.close().unwrap();
            edit();
        }
        for number in 4..=6 {
            let store = place.open();
            assert!((1..number).all(|number| knows(&store, number)));
            assert!(create(&store, number));
            store.close().unwrap();
        }
        assert!(place.read().contains("/ip4/10.0.0.1/tcp/x\n"));
        assert_eq!((entries_of(&place, 2), entries_of(&place, 3)), (2, 1));
    }
}

#[test]
fn a_corrected_entry_takes_the_place_of_the_stores_own() {
    for is_running in [true, false] {
        let place = Place::with(format!("peers:\n{}", keys(BROKEN)));
        let mut store = place.open();
        assert!(create(&store, 1) && store.flush().is_ok());
        let edit = || {
            let corrected = "[/ip4/10.1.1.1/tcp/5]\n    name: corrected";
            place.write(place.read().replace("[/ip4/10.1.1.1/tcp/x]", corrected));
        };
        if is_running {
            edit();
            store.reload().unwrap();
        } else {
            store.close().unwrap();
            edit();
            store = place.open();
        }
        assert!(store.skipped().is_empty(), "{:?}", store.skipped());
        let record = store.snapshot().get(&test_key(1)).unwrap();
        assert_eq!(record.name.as_deref(), Some("corrected"));
        store.close().unwrap();
        assert_eq!(entries_of(&place, 1), 1);
        let text = place.read();
        assert!(text.contains(" # mine\n") && text.contains("name: corrected"));
        assert!(place.open().skipped().is_empty());
    }
}

#[test]
fn both_entries_corrected_by_hand_are_told_as_two() {
    let place = Place::with(format!("peers:\n{}", keys(BROKEN)));
    let store = place.open();
    assert!(create(&store, 1) && store.flush().is_ok());
    let text = place.read().replace("[/ip4/10.1.1.1/tcp/x]", "[]");
    place.write(text.replace("/ip4/10.0.0.1/tcp/1\n", "/ip4/10.0.0.1/tcp/7\n"));
    let skipped = store.reload().unwrap().skipped;
    assert!(skipped.len() == 1 && skipped[0].reason.contains("a second entry"));
    store.close().unwrap();
    assert_eq!(entries_of(&place, 1), 2);
}

#[test]
fn a_peer_that_is_removed_leaves_its_unreadable_entry_and_no_other() {
    let place = Place::with(format!("peers:\n{}", keys(BROKEN)));
    let store = place.open();
    assert!(create(&store, 1) && store.flush().is_ok());
    let key = test_key(1);
    let by = btcfed_core::Issuer::Operator;
    store
        .apply(&PeerPatch::one(PeerOp::Remove { key, by }))
        .unwrap();
    store.close().unwrap();
    let store = place.open();
    assert!(!knows(&store, 1) && store.skipped().len() == 1);
    assert_eq!(entries_of(&place, 1), 1);
}

#[test]
fn a_peer_that_is_added_to_a_torn_file_is_not_hidden_by_what_is_left_of_it() {
    let torn = include_bytes!("../../../../tests/fuzz/corpus/peers_yaml/torn-list");
    let place = Place::with(torn);
    let store = place.open();
    assert!(!store.skipped().is_empty() && create(&store, 1));
    store.close().unwrap();
    assert!(knows(&place.open(), 1), "{}", place.read());
    let kept = place.beside("peers.yaml.damaged-");
    let is_kept = |path: &std::path::PathBuf| std::fs::read(path).unwrap() == torn;
    assert!(kept.iter().any(is_kept), "{kept:?}");
}
