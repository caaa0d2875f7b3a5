//! Keeping the list small, replacing it, and what is counted meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use btcfed_core::patch::{PeerChange, PeerOp};
use btcfed_core::testing::{ManualClock, test_key, test_record};
use btcfed_core::time::Timestamp;
use btcfed_core::{Metrics, PeerPatch, PeerRecord, PeerSet, PeerSource};
use btcfed_peer_store::{FilePeerStore, SectionStore};

use crate::common::{Place, create, keys, knows, until};

const DAY: Duration = Duration::from_secs(86_400);

fn stranger(number: u16, first: u64, last: Option<u64>) -> PeerRecord {
    let mut record = PeerRecord::new(test_key(number), PeerSource::Hearsay);
    record.stats.first_seen = Some(Timestamp::from_secs(first));
    record.stats.last_seen = last.map(Timestamp::from_secs);
    record
}

#[test]
fn pruning_removes_strangers_past_their_time_to_the_second_and_nobody_that_was_chosen() {
    let place = Place::new();
    let clock = ManualClock::starting_at(Timestamp::from_secs(10 * 86_400));
    let store = FilePeerStore::open(place.options().with_clock(Arc::new(clock))).unwrap();
    let limit = 9 * 86_400;
    let mut pinned = stranger(5, 0, None);
    pinned.pinned = true;
    let mut chosen = test_record(6);
    chosen.stats.first_seen = Some(Timestamp::from_secs(0));
    let records = vec![
        stranger(1, 0, Some(limit)),
        stranger(2, 0, Some(limit - 1)),
        stranger(3, limit - 1, None),
        stranger(4, 0, Some(11 * 86_400)),
        pinned,
        chosen,
    ];
    let ops = records.into_iter().map(|r| PeerOp::Create(Box::new(r)));
    store.apply(&ops.collect()).unwrap();
    let pruned = store.prune(DAY).unwrap();
    assert!(pruned.durable);
    let removed = |number| PeerChange::Removed(test_key(number));
    let mut gone = vec![removed(2), removed(3)];
    gone.sort_by_key(|change| change.key().copied());
    assert_eq!(pruned.changes, gone);
    assert_eq!(store.prune(DAY).unwrap().changes, []);
    store.close().unwrap();
    let again = place.open();
    let left: Vec<u16> = (1..=6).filter(|number| knows(&again, *number)).collect();
    assert_eq!(left, [1, 4, 5, 6]);
}

#[test]
fn replacing_everything_keeps_what_people_wrote_around_it() {
    let place = Place::with(keys(
        "# mine\npeers:\n  - public_key: KEY1 # one\n  - public_key: KEY2\nzone: a\n",
    ));
    let store = place.open();
    let (one, three) = (store.snapshot().get(&test_key(1)), test_record(3));
    let set = PeerSet::from_parts([one.unwrap(), three], [], []);
    let replaced = store.replace_all(&set).unwrap();
    assert!(replaced.durable && replaced.changes.len() == 2);
    assert_eq!(store.replace_all(&set).unwrap().changes, []);
    store.close().unwrap();
    let text = place.read();
    assert!(
        text.starts_with("# mine\n") && text.contains("zone: a\n"),
        "{text}"
    );
    assert!(
        text.contains(&keys("KEY1 # one\n")) && !text.contains(&keys("KEY2")),
        "{text}"
    );
    assert_eq!(*place.open().snapshot(), set);
}

#[derive(Debug, Default)]
struct Counts(Mutex<BTreeMap<&'static str, u64>>);

impl Metrics for Counts {
    fn count(&self, name: &'static str, by: u64) {
        *self.0.lock().unwrap().entry(name).or_default() += by;
    }

    fn time(&self, name: &'static str, _: Duration) {
        self.count(name, 1);
    }
}

#[test]
fn loads_saves_and_adopted_changes_are_counted() {
    let place = Place::with(keys("peers:\n  - public_key: KEY1\n  - public_key: x\n"));
    let counts = Arc::new(Counts::default());
    let metrics: Arc<Counts> = Arc::clone(&counts);
    let options = place.options().with_watch(false).with_metrics(metrics);
    let store = FilePeerStore::open(options).unwrap();
    assert!(create(&store, 2));
    place.write(place.read().replace("tcp/2\n", "tcp/22\n"));
    assert_eq!(store.reload().unwrap().changes.len(), 1);
    assert_eq!(store.apply(&PeerPatch::default()).unwrap().changes, []);
    let counted = |name| counts.0.lock().unwrap().get(name).copied().unwrap_or(0);
    assert_eq!(
        (counted("peer_store_loads"), counted("peer_store_load")),
        (2, 2)
    );
    assert_eq!(counted("peer_store_adopted_changes"), 2);
    assert_eq!(counted("peer_store_skipped_entries"), 2);
    assert!(counted("peer_store_saves") >= 1 && counted("peer_store_saved_bytes") > 100);
    assert_eq!(counted("peer_store_save_failures"), 0);
}

#[test]
fn auto_save_stops_begins_and_saves_once_more_at_the_end() {
    let place = Place::new();
    let store = place.open();
    assert!(create(&store, 1));
    let touch = || {
        let (key, addr) = (test_key(1), None);
        let patch = PeerPatch::one(PeerOp::ContactSucceeded { key, addr });
        assert!(store.apply(&patch).unwrap().durable);
    };
    store.stop_auto_save();
    touch();
    assert!(!store.health().durable);
    store.start_auto_save(Duration::from_millis(30));
    until("saved by itself", || store.health().durable);
    let saved = || {
        // What is on disk, in a place of its own: a second store would save for the first.
        let copy = Place::new();
        for file in place.beside("peers.yaml") {
            std::fs::copy(&file, copy.dir.path().join(file.file_name().unwrap())).unwrap();
        }
        let set = copy.open().snapshot();
        set.get(&test_key(1)).map(|peer| peer.stats.successes)
    };
    assert_eq!(saved(), Some(1));
    // Nothing else is due then, such as the file that follows the journal.
    store.flush().unwrap();
    store.stop_auto_save();
    touch();
    store.put("none", "k", "v").unwrap_err();
    store
        .define_section("some", 1, Duration::from_secs(60))
        .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(saved(), Some(1), "stopped");
    assert!(!place.read().contains("some"), "stopped");
    store.close().unwrap();
    assert!(
        place.read().contains("ok: 2") && place.read().contains("some"),
        "the last save"
    );
}
