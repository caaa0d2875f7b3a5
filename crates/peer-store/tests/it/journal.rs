//! The file, its base and its journal together: what is durable before the file says it, and what recovery makes of them.

use std::fs;
use std::time::{Duration, Instant};

use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::testing::{test_key, test_record};
use btcfed_peer_store::{FilePeerStore, StoreOptions};

use crate::common::{Place, create, knows, until};

/// A store that writes the file only when it is told to.
fn patient(place: &Place) -> StoreOptions {
    place
        .options()
        .with_watch(false)
        .with_journal(true)
        .with_flush_interval(Duration::from_secs(3600))
}

/// The files of a process that was killed: peers 1 and 2 are in the checkpoint, 3 is in the journal.
fn killed() -> Place {
    let place = Place::new();
    let store = FilePeerStore::open(patient(&place)).unwrap();
    assert!(create(&store, 1) && create(&store, 2));
    store.flush().unwrap();
    assert!(create(&store, 3));
    let copy = Place::new();
    for name in ["peers.yaml", "peers.yaml.base", "peers.yaml.journal"] {
        fs::copy(place.dir.path().join(name), copy.dir.path().join(name)).unwrap();
    }
    copy
}

#[test]
fn a_durable_change_is_in_the_journal_first_and_in_the_file_soon_after() {
    let place = Place::new();
    let store = FilePeerStore::open(patient(&place)).unwrap();
    assert!(create(&store, 1), "the first change makes the file");
    let before = place.read();
    assert!(create(&store, 2) && store.health().durable);
    assert_eq!(place.read(), before, "only the journal was written");
    assert!(knows(&killed().open(), 3), "and it is read again");
    store.flush().unwrap();
    assert!(place.read().contains(&test_key(2).to_string()));
    store.close().unwrap();
    assert_eq!(place.beside("journal").len(), 0, "a clean end leaves none");

    let quick = FilePeerStore::open(place.options().with_journal(true)).unwrap();
    assert!(create(&quick, 3));
    until("the file follows", || {
        place.read().contains(&test_key(3).to_string())
    });
}

#[test]
fn soft_changes_go_to_the_journal_and_leave_the_file_alone() {
    let place = Place::new();
    let options = patient(&place).with_soft_interval(Duration::from_millis(30));
    let store = FilePeerStore::open(options).unwrap();
    assert!(create(&store, 1));
    let before = place.read();
    let op = PeerOp::ContactFailed {
        key: test_key(1),
        addrs: Vec::new(),
    };
    store.apply(&PeerPatch::one(op)).unwrap();
    assert!(!store.health().durable);
    until("the journal has it", || store.health().durable);
    assert_eq!(place.read(), before);
    let copy = Place::with(before);
    let journal = "peers.yaml.journal";
    fs::copy(
        place.dir.path().join(journal),
        copy.dir.path().join(journal),
    )
    .unwrap();
    let again = copy.open();
    assert_eq!(
        again.snapshot().get(&test_key(1)).unwrap().stats.failures,
        1
    );
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Good,
    Damaged,
    Missing,
}

const STATES: [Is; 3] = [Is::Good, Is::Damaged, Is::Missing];

/// Makes a file damaged or missing. Of the peers file the entry of peer 2 becomes unreadable.
fn make(place: &Place, name: &str, is: Is) {
    let path = place.dir.path().join(name);
    match is {
        Is::Good => {}
        Is::Missing => fs::remove_file(path).unwrap(),
        Is::Damaged if name == "peers.yaml" => {
            let text = place.read();
            let addr = test_record(2).addresses[0].addr.to_string();
            assert!(text.contains(&addr));
            place.write(text.replace(&addr, "/ip4/nonsense"));
        }
        Is::Damaged => {
            let mut bytes = fs::read(&path).unwrap();
            // In the header of a journal; in a base behind the line of the checksum.
            let at = if name.ends_with(".base") {
                bytes.len() / 2
            } else {
                20
            };
            bytes[at] ^= 0x40;
            fs::write(path, bytes).unwrap();
        }
    }
}

/// Which peers are known after a start, of 1 and 2 in the checkpoint and 3 in the journal. The table of docs/FILES.md.
fn expected(yaml: Is, base: Is, journal: Is) -> [bool; 3] {
    let known = match (yaml, base) {
        (Is::Good, _) | (_, Is::Good) => [true, true],
        (Is::Damaged, _) => [true, false],
        (Is::Missing, _) => [false, false],
    };
    [known[0], known[1], journal == Is::Good]
}

#[test]
fn every_combination_of_good_damaged_and_missing_files_starts_with_what_can_be_known() {
    for yaml in STATES {
        for base in STATES {
            for journal in STATES {
                for again in [true, false] {
                    let place = killed();
                    make(&place, "peers.yaml", yaml);
                    make(&place, "peers.yaml.base", base);
                    make(&place, "peers.yaml.journal", journal);
                    let what = format!("{yaml:?} {base:?} {journal:?}");
                    let wanted = expected(yaml, base, journal);
                    let store = FilePeerStore::open(patient(&place).with_journal(again)).unwrap();
                    let known = [1, 2, 3].map(|number| knows(&store, number));
                    assert_eq!(known, wanted, "{what}");
                    assert_eq!(store.health().degraded, None, "{what}");
                    assert!(create(&store, 5), "{what}");
                    store.close().unwrap();
                    let store = place.open();
                    let known = [1, 2, 3].map(|number| knows(&store, number));
                    assert_eq!(known, wanted, "{what}, the second time");
                    assert!(knows(&store, 5), "{what}");
                    let kept = place.beside("damaged").len();
                    assert_eq!(
                        kept > 0,
                        yaml == Is::Damaged || journal == Is::Damaged,
                        "{what}: {kept}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_journal_older_than_the_file_says_nothing_and_that_of_another_file_is_kept_aside() {
    let place = killed();
    let journal = place.dir.path().join("peers.yaml.journal");
    let old = fs::read(&journal).unwrap();
    let store = FilePeerStore::open(patient(&place)).unwrap();
    let remove = PeerOp::Remove {
        key: test_key(3),
        by: btcfed_core::Issuer::Node,
    };
    store.apply(&PeerPatch::one(remove)).unwrap();
    store.close().unwrap();
    fs::write(&journal, &old).unwrap();
    let store = place.open();
    assert!(!knows(&store, 3) && knows(&store, 2));
    store.close().unwrap();
    assert_eq!(place.beside("damaged").len(), 0);

    let other = Place::new();
    let store = other.open();
    assert!(create(&store, 8));
    store.close().unwrap();
    fs::write(other.dir.path().join("peers.yaml.journal"), &old).unwrap();
    let store = other.open();
    assert!(!knows(&store, 3) && knows(&store, 8));
    assert_eq!(fs::read(&other.beside("damaged")[0]).unwrap(), old);
}

#[test]
fn edits_made_after_a_kill_and_what_the_journal_held_are_merged() {
    let place = killed();
    let text = place.read();
    let one = test_record(1).addresses[0].addr.to_string();
    assert!(text.contains(&one));
    place.write(text.replace(
        &format!("- {one}\n"),
        &format!("- {one}\n    name: edited # mine\n"),
    ));
    let store = place.open();
    assert!(knows(&store, 2) && knows(&store, 3));
    let first = store.snapshot().get(&test_key(1)).unwrap();
    assert_eq!(first.name.as_deref(), Some("edited"));
    store.flush().unwrap();
    assert!(place.read().contains("# mine") && place.read().contains(&test_key(3).to_string()));
    assert_eq!(place.beside("damaged").len(), 0);
}

#[test]
fn a_store_without_a_journal_beside_one_that_has_one_loses_nothing_of_either() {
    let place = Place::new();
    let with = FilePeerStore::open(patient(&place)).unwrap();
    let without = FilePeerStore::open(patient(&place).with_journal(false)).unwrap();
    for number in 0..10 {
        assert!(create(&with, number) && create(&without, 100 + number));
    }
    with.reload().unwrap();
    without.reload().unwrap();
    for store in [&with, &without, &place.open()] {
        assert!((0..10).all(|number| knows(store, number) && knows(store, 100 + number)));
    }
}

#[test]
fn many_writers_at_once_are_all_durable_and_a_list_too_long_for_a_frame_is_written_as_a_file() {
    let place = Place::new();
    let store = FilePeerStore::open(patient(&place)).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..16 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..20 {
                    assert!(create(store, writer * 100 + number));
                }
            });
        }
    });
    let ops = (2000..8000).map(|number| PeerOp::Create(Box::new(test_record(number))));
    assert!(store.apply(&ops.collect()).unwrap().durable);
    let copy = Place::new();
    for path in place.beside("peers.yaml") {
        fs::copy(&path, copy.dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let again = copy.open();
    assert_eq!(again.snapshot().len(), 16 * 20 + 6000);
}

#[test]
fn a_lock_that_is_never_given_back_costs_the_timeout_and_no_more() {
    let place = Place::new();
    let store = FilePeerStore::open(patient(&place)).unwrap();
    assert!(create(&store, 1));
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(place.dir.path().join("peers.yaml.lock"))
        .unwrap();
    let mut lock = fd_lock::RwLock::new(file);
    let guard = lock.write().unwrap();
    let started = Instant::now();
    assert!(!create(&store, 2));
    let waited = started.elapsed();
    // The timeout of the tests is 500 ms; a tenth of it and what a busy machine takes to wake somebody.
    assert!(
        waited >= Duration::from_millis(500) && waited < Duration::from_millis(750),
        "{waited:?}"
    );
    assert!(store.health().degraded.unwrap().contains("is locked"));
    drop(guard);
    until("the store heals", || store.health().durable);
    assert!(create(&store, 3));
}
