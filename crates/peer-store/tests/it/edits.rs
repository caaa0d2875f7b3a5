//! Edits made by people while the store is open.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use btcfed_core::ban::Issuer;
use btcfed_core::patch::{PeerChange, PeerOp, PeerPatch};
use btcfed_core::store::StoreEvent;
use btcfed_core::testing::{test_key, test_record};
use btcfed_peer_store::FilePeerStore;

use crate::common::{Place, changes, create, keys, knows, told, until};

/// How long after an edit is written it may stay unseen.
const SEEN_WITHIN: Duration = Duration::from_secs(2);

/// How an editor replaces the content of a file.
type Editor = fn(&Place, &str);

const EDITORS: [(&str, Editor); 6] = [
    ("in place", |place, text| place.write(text)),
    ("rename over", |place, text| {
        let temp = place.dir.path().join("4913");
        fs::write(&temp, text).unwrap();
        fs::rename(temp, &place.path).unwrap();
    }),
    ("backup and recreate", |place, text| {
        fs::rename(&place.path, place.dir.path().join("peers.yaml~")).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        place.write(text);
    }),
    ("truncate, pause, write", |place, text| {
        let mut file = fs::File::create(&place.path).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        file.write_all(text.as_bytes()).unwrap();
    }),
    ("half, pause, other half", |place, text| {
        let mut file = fs::File::create(&place.path).unwrap();
        let middle = text.find("public_key").unwrap() + 3;
        file.write_all(&text.as_bytes()[..middle]).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        file.write_all(&text.as_bytes()[middle..]).unwrap();
    }),
    ("swap file beside", |place, text| {
        fs::write(place.dir.path().join(".peers.yaml.swp"), "swap").unwrap();
        place.write(text);
        fs::remove_file(place.dir.path().join(".peers.yaml.swp")).unwrap();
    }),
];

/// How many edits in each way, if not [`REPEATS`].
const COUNT: &str = "BTCFED_TEST_EDITS";

/// Edits in each way in an ordinary run. `BTCFED_TEST_EDITS=20 cargo test -p btcfed-peer-store every_way` does more.
const REPEATS: u16 = 4;

#[test]
fn every_way_of_saving_is_noticed_every_time_and_nothing_is_deleted_in_between() {
    let repeats: u16 = std::env::var(COUNT).map_or(REPEATS, |count| count.parse().unwrap());
    for (name, edit) in EDITORS {
        let place = Place::new();
        let store = place.open();
        for number in 1..=3 {
            assert!(create(&store, number));
        }
        store.flush().unwrap();
        let mut events = store.subscribe();
        let last = 3 + repeats;
        for number in 4..=last {
            let entry = keys(
                "  - public_key: KEYX # new\n    addresses:\n      - /ip4/10.1.1.1/tcp/1\nbans:",
            )
            .replace("KEYX", &test_key(number).to_string());
            edit(&place, &place.read().replacen("bans:", &entry, 1));
            let written = Instant::now();
            until(name, || knows(&store, number));
            let took = written.elapsed();
            assert!(took <= SEEN_WITHIN, "{name}: seen after {took:?}");
        }
        let changes = changes(&told(&mut events));
        let expected: Vec<_> = (4..=last)
            .map(|number| PeerChange::Added(test_key(number)))
            .collect();
        assert_eq!(changes, expected, "{name}");
        assert!(create(&store, last + 1) && store.flush().is_ok());
        assert_eq!(
            place.read().matches("# new").count(),
            usize::from(repeats),
            "{name}"
        );
        assert_eq!(
            place.beside("damaged"),
            [] as [std::path::PathBuf; 0],
            "{name}"
        );
        assert_eq!(store.snapshot().len(), usize::from(last) + 1, "{name}");
    }
}

#[test]
fn added_changed_and_deleted_entries_are_taken_over_and_told() {
    let place = Place::new();
    let store = place.open();
    for number in 1..=3 {
        create(&store, number);
    }
    store.flush().unwrap();
    let mut events = store.subscribe();
    let text = place.read();
    let second = text
        .find(&format!("  - public_key: {}", test_key(2)))
        .unwrap();
    let other = [1, 3].map(|n| {
        text.find(&format!("  - public_key: {}", test_key(n)))
            .unwrap()
    });
    let end = other
        .into_iter()
        .filter(|at| *at > second)
        .chain([text.find("bans:").unwrap()])
        .min()
        .unwrap();
    let edited = text
        .replace(&text[second..end], "")
        .replace("/tcp/1\n", "/tcp/11\n    name: one # mine\n");
    place.write(&edited);
    until("the deletion is noticed", || !knows(&store, 2));
    let peer = store.snapshot().get(&test_key(1)).unwrap();
    assert_eq!(
        (peer.name.as_deref(), peer.addresses.len()),
        (Some("one"), 1)
    );
    let mut told = changes(&told(&mut events));
    told.sort_by_key(|change| change.key().copied());
    let mut expected = [
        PeerChange::Updated(test_key(1)),
        PeerChange::Removed(test_key(2)),
    ];
    expected.sort_by_key(|change| change.key().copied());
    assert_eq!(told, expected);
    let mark = store
        .snapshot()
        .forgotten()
        .next()
        .map(|(key, mark)| (*key, mark.by));
    assert_eq!(mark, Some((test_key(2), Issuer::Operator)));
    until("the mark is written", || {
        place.read().contains("by: operator")
    });
    assert!(
        place.read().contains("    name: one # mine\n"),
        "{}",
        place.read()
    );
    assert!(create(&store, 2), "the operator may add it again");
    assert!(store.snapshot().forgotten().next().is_none());
}

#[test]
fn an_edit_nobody_noticed_yet_is_merged_before_a_save_and_never_overwritten() {
    let place = Place::new();
    let store = FilePeerStore::open(place.options().with_watch(false)).unwrap();
    create(&store, 1);
    place.write(
        place
            .read()
            .replace("/tcp/1\n", "/tcp/1\n    name: edited # why\n"),
    );
    assert!(create(&store, 2));
    let text = place.read();
    assert!(
        text.contains("name: edited # why") && text.contains(&test_key(2).to_string()),
        "{text}"
    );
    assert_eq!(
        store.snapshot().get(&test_key(1)).unwrap().name.as_deref(),
        Some("edited")
    );
    place.write(place.read().replace("edited", "again"));
    let reloaded = store.reload().unwrap();
    assert_eq!(reloaded.changes, [PeerChange::Updated(test_key(1))]);
}

#[test]
fn a_typo_is_told_once_and_the_peer_stays_known_until_it_is_corrected() {
    let place = Place::new();
    let store = place.open();
    create(&store, 1);
    let mut events = store.subscribe();
    let good = place.read();
    place.write(good.replace("/ip4/10.0.0.1", "/ip4/10.0.0"));
    until("the typo is seen", || !store.skipped().is_empty());
    assert!(knows(&store, 1));
    store.reload().unwrap();
    create(&store, 2);
    let told = told(&mut events);
    let skipped = told
        .iter()
        .filter(|event| matches!(event, StoreEvent::Skipped(_)))
        .count();
    assert_eq!(skipped, 1, "{told:?}");
    assert!(place.read().contains("/ip4/10.0.0/tcp/1"));
    let entries = || place.read().matches(&test_key(1).to_string()).count();
    assert_eq!(entries(), 2, "one of the node's own beside the typo");
    place.write(place.read().replace("/ip4/10.0.0/", "/ip4/10.0.0.5/"));
    until("the correction is seen", || store.skipped().is_empty());
    until("the node's own entry is gone", || entries() == 1);
    let peer = store.snapshot().get(&test_key(1)).unwrap();
    assert_eq!(peer.addresses[0].addr.to_string(), "/ip4/10.0.0.5/tcp/1");
    assert_eq!(store.snapshot().forgotten().count(), 0);
}

#[test]
fn a_file_that_was_emptied_or_deleted_is_written_again_and_an_empty_list_is_a_decision() {
    let place = Place::new();
    let store = place.open();
    create(&store, 1);
    place.write("");
    until("the emptied file is back", || {
        place.read().contains(&test_key(1).to_string())
    });
    fs::remove_file(&place.path).unwrap();
    until("the deleted file is back", || {
        place.path.exists() && place.read().contains(&test_key(1).to_string())
    });
    assert!(knows(&store, 1));
    place.write("# cleared on purpose\npeers: []\n");
    until("the empty list is taken over", || !knows(&store, 1));
    until("the mark is written", || {
        place.read().contains("forgotten:")
    });
    assert!(place.read().starts_with("# cleared on purpose\n"));
}

#[test]
fn touching_reading_and_our_own_saves_change_nothing() {
    let place = Place::new();
    let store = place.open();
    create(&store, 1);
    let mut events = store.subscribe();
    let generation = store.health().generation;
    for _ in 0..5 {
        place.write(place.read());
        fs::File::open(&place.path).unwrap();
        std::thread::sleep(Duration::from_millis(30));
    }
    store.reload().unwrap();
    assert_eq!(told(&mut events), []);
    assert_eq!(store.health().generation, generation);
}

#[test]
fn what_the_node_does_meanwhile_survives_an_edit_of_the_same_peer() {
    let place = Place::new();
    let store = place.open();
    create(&store, 1);
    let text = place.read();
    let touch = PeerOp::ContactFailed {
        key: test_key(1),
        addrs: Vec::new(),
    };
    store.apply(&PeerPatch::one(touch)).unwrap();
    place.write(text.replace("/tcp/1\n", "/tcp/1\n    note: by hand\n"));
    until("the edit is seen", || {
        store
            .snapshot()
            .get(&test_key(1))
            .is_some_and(|peer| peer.note.is_some())
    });
    store.flush().unwrap();
    let peer = store.snapshot().get(&test_key(1)).unwrap();
    assert_eq!(
        (peer.stats.failures, peer.note.as_deref()),
        (1, Some("by hand"))
    );
    let text = place.read();
    assert!(
        text.contains("failed: 1") && text.contains("note: by hand"),
        "{text}"
    );
    assert!(
        store
            .apply(&PeerPatch::create(test_record(2)))
            .unwrap()
            .durable
    );
}

#[test]
fn an_edit_written_into_the_file_that_a_save_just_replaced_is_not_lost() {
    let place = Place::new();
    let store = place.open();
    assert!(create(&store, 1) && create(&store, 2));
    for (number, pause) in [(5, 0), (6, 300)] {
        // An editor has the file open, the store saves, then the editor writes: into a file without a name.
        let mut editor = fs::OpenOptions::new()
            .write(true)
            .open(&place.path)
            .unwrap();
        let entry =
            keys("  - public_key: KEYX # late\n    addresses:\n      - /ip4/10.1.1.1/tcp/1\nbans:")
                .replace("KEYX", &test_key(number).to_string());
        let edited = place.read().replacen("bans:", &entry, 1);
        assert!(create(&store, 10 + number), "a save");
        editor.set_len(0).unwrap();
        std::thread::sleep(Duration::from_millis(pause));
        editor.write_all(edited.as_bytes()).unwrap();
        until("the late edit", || knows(&store, number));
        assert!(knows(&store, 10 + number), "the save is not undone");
        let key = test_key(number).to_string();
        until("the late edit in the file", || {
            place.read().contains(&format!("{key} # late"))
        });
    }
    assert_eq!(store.snapshot().len(), 6);
}

#[test]
fn a_deletion_written_into_the_file_that_a_save_just_replaced_is_a_deletion() {
    let place = Place::new();
    let store = place.open();
    assert!(create(&store, 1));
    let mut editor = fs::OpenOptions::new()
        .write(true)
        .open(&place.path)
        .unwrap();
    assert!(create(&store, 2));
    editor.set_len(0).unwrap();
    editor.write_all(b"peers: []\n").unwrap();
    until("the deletion", || !knows(&store, 1));
    assert!(
        knows(&store, 2),
        "what came after the editor opened the file stays"
    );
}

#[test]
fn an_old_unreadable_entry_does_not_undo_a_deletion() {
    let place = Place::with(keys(
        "peers:\n  - public_key: BADKEY\n  - public_key: KEY1\n  - public_key: KEY2\n",
    ));
    let store = place.open();
    place.write(place.read().replace(&keys("  - public_key: KEY1\n"), ""));
    until("the deletion", || !knows(&store, 1));
    assert!(knows(&store, 2));
    place.write(place.read().replace("BADKEY", &keys("KEY3")));
    until("the correction", || knows(&store, 3));
    assert!(create(&store, 4));
    assert!(!knows(&store, 1));
    let peers = place.read();
    let peers = peers.split_once("forgotten:").unwrap().0;
    assert!(!peers.contains(&keys("KEY1")), "{peers}");
}

#[test]
fn a_deletion_that_may_be_a_typo_waits_and_is_not_undone_later() {
    let place = Place::with(keys("peers:\n  - public_key: KEY1\n  - public_key: KEY2\n"));
    let store = place.open();
    place.write(place.read().replace(&keys("KEY1"), "TYPO"));
    until("the typo", || !store.skipped().is_empty());
    assert!(create(&store, 5));
    assert!(knows(&store, 1), "it may be the one with the typo");
    assert!(!place.read().contains(&keys("KEY1")), "and may not be");
    place.write(place.read().replace("KEY2", "KEY2 # looked at"));
    store.reload().unwrap();
    assert!(knows(&store, 1));
    place.write(place.read().replace("TYPO", &keys("KEY3")));
    until("it was another one", || !knows(&store, 1));
    assert!(knows(&store, 3) && knows(&store, 2));
    assert_eq!(store.snapshot().forgotten().count(), 1);
}
