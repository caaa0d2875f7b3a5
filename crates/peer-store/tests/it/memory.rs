//! The store in memory and its JSON file.

use std::sync::Arc;
use std::time::Duration;

use btcfed_core::metrics::NoMetrics;
use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::store::StoreEvent;
use btcfed_core::testing::{ManualClock, test_key, test_record};
use btcfed_core::time::Timestamp;
use btcfed_peer_store::json::{self, Contents};
use btcfed_peer_store::{MAX_JSON_BYTES, MemoryStore, OsDisk, SectionStore};

use crate::common::{Place, told, until};

const FIVE_MINUTES: Duration = Duration::from_secs(300);

fn create(store: &MemoryStore, number: u16) -> bool {
    let patch = PeerPatch::create(test_record(number));
    store.apply(&patch).unwrap().durable
}

fn touch(store: &MemoryStore, number: u16) {
    let key = test_key(number);
    let patch = PeerPatch::one(PeerOp::ContactSucceeded { key, addr: None });
    assert!(
        store.apply(&patch).unwrap().durable,
        "soft changes are never waited for"
    );
}

fn on_disk(place: &Place) -> Contents {
    json::read(&place.read(), Timestamp::MAX).unwrap()
}

#[test]
fn hard_changes_are_on_disk_at_once_and_soft_ones_at_the_latest_at_the_end() {
    let place = Place::new();
    let nested = place.dir.path().join("a/b/peers.json");
    assert!(create(&MemoryStore::open(&nested).unwrap(), 1));
    assert_eq!(MemoryStore::open(&nested).unwrap().snapshot().len(), 1);

    let store = MemoryStore::open(&place.path).unwrap();
    assert!(!place.path.exists() && store.path() == Some(place.path.as_path()));
    assert!(create(&store, 1));
    assert_eq!(on_disk(&place).peers, *store.snapshot());
    assert_eq!(store.health().generation, 1);
    touch(&store, 1);
    store.define_section("a", 1, FIVE_MINUTES).unwrap();
    store.put("a", "k", "v").unwrap();
    assert!(!store.health().durable && on_disk(&place).generation == 1);
    let all = store.to_json();
    drop(store);
    assert_eq!(
        place.read(),
        all.replace("\"generation\": 1", "\"generation\": 2")
    );
    let store = MemoryStore::open(&place.path).unwrap();
    assert_eq!(
        store.snapshot().get(&test_key(1)).unwrap().stats.successes,
        1
    );
    assert_eq!(store.get("a", "k").as_deref(), Some("v"));
    assert!(store.health().durable && store.health().generation == 2);
    let before = place.read();
    store.flush().unwrap();
    drop(store);
    assert_eq!(place.read(), before, "nothing to save, nothing written");
}

#[test]
fn auto_save_writes_soft_changes_until_it_is_stopped_and_once_more_then() {
    let place = Place::new();
    let store = MemoryStore::open(&place.path).unwrap();
    assert!(create(&store, 1));
    store.start_auto_save(Duration::from_millis(10)).unwrap();
    touch(&store, 1);
    until("saved by itself", || store.health().durable);
    store.start_auto_save(Duration::from_secs(3600)).unwrap();
    touch(&store, 1);
    assert!(!store.health().durable);
    store.stop_auto_save();
    assert!(store.health().durable);
    assert_eq!(
        on_disk(&place)
            .peers
            .get(&test_key(1))
            .unwrap()
            .stats
            .successes,
        2
    );
    touch(&store, 1);
    store.stop_auto_save();
    assert!(!store.health().durable, "nobody saves any more");
}

#[test]
fn what_somebody_else_wrote_is_taken_by_a_reload_and_never_written_over() {
    let place = Place::new();
    let store = MemoryStore::open(&place.path).unwrap();
    assert!(create(&store, 1) && create(&store, 2));
    let mut events = store.subscribe();
    let other = MemoryStore::open(&place.path).unwrap();
    assert!(create(&other, 3));
    let theirs = place.read();
    assert_eq!(store.reload().unwrap().changes.len(), 1);
    assert_eq!(told(&mut events).len(), 1);
    assert_eq!(store.reload().unwrap(), Default::default());
    assert!(create(&other, 4));
    let unseen = place.read();
    assert!(create(&store, 5));
    assert_ne!(theirs, unseen);
    assert_eq!(
        std::fs::read_to_string(&place.beside("damaged")[0]).unwrap(),
        unseen
    );
    assert_eq!(on_disk(&place).peers.len(), 4);
    std::fs::remove_file(&place.path).unwrap();
    assert_eq!(
        store.reload().unwrap(),
        Default::default(),
        "a missing file says nothing"
    );
    drop(store);
    assert_eq!(MemoryStore::new().reload().unwrap(), Default::default());
}

#[test]
fn a_bad_file_is_refused_with_its_line_and_stays() {
    for (bytes, why) in [
        (
            b"{\n\"peers\": 7}".to_vec(),
            "line 2: peers: expected [...]",
        ),
        (b"\xff".to_vec(), "utf-8"),
        (
            vec![b' '; usize::try_from(MAX_JSON_BYTES).unwrap() + 1],
            "larger than",
        ),
    ] {
        let place = Place::with(&bytes);
        let error = MemoryStore::open(&place.path).unwrap_err().to_string();
        assert!(
            error.contains(why) && error.contains("peers.yaml"),
            "{error}"
        );
        assert!(std::fs::read(&place.path).unwrap() == bytes);
    }
    let place = Place::new();
    std::fs::create_dir(&place.path).unwrap();
    assert!(MemoryStore::open(&place.path).is_err());
    assert!(MemoryStore::open("/dev/null/x/peers.json").is_err());
}

#[test]
fn a_sick_disk_degrades_once_and_heals_with_the_next_save() {
    let place = Place::new();
    let store = MemoryStore::open(&place.path).unwrap();
    let mut events = store.subscribe();
    std::fs::create_dir(&place.path).unwrap();
    assert!(!create(&store, 1) && !create(&store, 2));
    assert!(store.flush().is_err() && store.health().degraded.is_some());
    assert_eq!(store.snapshot().len(), 2);
    std::fs::remove_dir(&place.path).unwrap();
    store.flush().unwrap();
    assert!(store.health().degraded.is_none() && store.health().durable);
    let kinds: Vec<_> = told(&mut events)
        .into_iter()
        .filter(|event| !matches!(event, StoreEvent::Changed(_)))
        .collect();
    assert!(
        matches!(kinds[..], [StoreEvent::Degraded { .. }, StoreEvent::Healed]),
        "{kinds:?}"
    );
}

#[test]
fn tables_age_by_the_clock_of_the_store_also_in_the_file() {
    let place = Place::new();
    let clock = Arc::new(ManualClock::starting_at(Timestamp::from_secs(
        1_795_000_000,
    )));
    let open = || {
        let clock = Arc::<ManualClock>::clone(&clock);
        MemoryStore::open_with(&place.path, clock, Arc::new(NoMetrics), Arc::new(OsDisk)).unwrap()
    };
    let store = open();
    store.define_section("a", 1, FIVE_MINUTES).unwrap();
    store.put("a", "k", "v").unwrap();
    drop(store);
    clock.advance(Duration::from_secs(299));
    assert!(open().get("a", "k").is_some(), "4:59");
    clock.advance(Duration::from_secs(1));
    assert!(open().get("a", "k").is_none(), "5:00");
    let without_file = MemoryStore::with_clock(Arc::<ManualClock>::clone(&clock));
    without_file.define_section("a", 1, FIVE_MINUTES).unwrap();
    without_file.put("a", "k", "v").unwrap();
    assert!(without_file.health().durable && without_file.path().is_none());
    clock.advance(FIVE_MINUTES);
    assert!(without_file.get("a", "k").is_none());
}
