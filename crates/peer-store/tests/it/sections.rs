//! Sections in the file: ages to the second, restarts, edits, several writers, damage.

use std::sync::Arc;
use std::time::Duration;

use btcfed_core::testing::ManualClock;
use btcfed_core::time::Timestamp;
use btcfed_peer_store::{FilePeerStore, SectionStore};

use crate::common::{Place, create, until};

const FIVE_MINUTES: Duration = Duration::from_secs(300);
const START: Timestamp = Timestamp::from_secs(1_795_000_000);

fn open_at(place: &Place, second: u64) -> (FilePeerStore, Arc<ManualClock>) {
    let clock = ManualClock::starting_at(START.saturating_add(Duration::from_secs(second)));
    let clock = Arc::new(clock);
    let options = place
        .options()
        .with_clock(Arc::<ManualClock>::clone(&clock));
    (FilePeerStore::open(options).unwrap(), clock)
}

fn has(store: &FilePeerStore, key: &str) -> bool {
    store.get("packages", key).is_some()
}

#[test]
fn five_minutes_are_exact_when_asked_saved_and_loaded() {
    let place = Place::new();
    let (store, clock) = open_at(&place, 0);
    store.define_section("packages", 1, FIVE_MINUTES).unwrap();
    assert!(store.put("packages", "a", "1").unwrap());
    assert!(!store.health().durable);
    store.flush().unwrap();
    assert!(store.health().durable);
    clock.advance(Duration::from_secs(299));
    assert!(has(&store, "a"));
    store.put("packages", "b", "2").unwrap();
    store.flush().unwrap();
    assert!(place.read().contains("      a: {value"), "4:59: saved");
    clock.advance(Duration::from_secs(1));
    assert!(!has(&store, "a") && has(&store, "b"));
    assert_eq!(store.list("packages", None, 10).len(), 1);
    store.put("packages", "c", "3").unwrap();
    store.flush().unwrap();
    let text = place.read();
    assert!(
        !text.contains("      a: {value") && text.contains("      b: {value"),
        "5:00: dropped {text}"
    );
    store.close().unwrap();

    let (store, _) = open_at(&place, 598);
    assert!(has(&store, "b") && has(&store, "c"), "4:59 at load");
    let before = place.read();
    drop(store);
    assert_eq!(place.read(), before, "looking changes nothing");
    let (store, _) = open_at(&place, 599);
    assert!(!has(&store, "b") && has(&store, "c"), "5:00 at load");
    let (store, _) = (open_at(&place, 600), drop(store));
    assert_eq!(store.0.list("packages", None, 10), []);
    assert_eq!(
        place.read(),
        before,
        "what is over its time is no reason to write"
    );
}

#[test]
fn tables_survive_restarts_with_whatever_stands_around_them() {
    let around = "sections:\n  # of another program\n  theirs: {deep: [1, {a: ~}]}  # do not touch\nmore: 1\n";
    let place = Place::with(format!("# mine\npeers: []\n{around}"));
    let (store, _) = open_at(&place, 0);
    store.define_section("packages", 3, FIVE_MINUTES).unwrap();
    store
        .put_for(
            "packages",
            "a",
            "multi\nline: \u{7}",
            Duration::from_secs(3600),
        )
        .unwrap();
    assert!(
        store.define_section("theirs", 1, FIVE_MINUTES).is_ok(),
        "in memory, but never over another's text"
    );
    store.close().unwrap();
    let text = place.read();
    assert!(
        text.contains("  # of another program\n  theirs: {deep: [1, {a: ~}]}  # do not touch\n"),
        "{text}"
    );
    assert!(text.starts_with("# mine\n") && text.contains("\nmore: 1\n"));
    let (store, _) = open_at(&place, 301);
    assert_eq!(store.get("packages", "a").unwrap(), "multi\nline: \u{7}");
    assert_eq!(store.sections().get("packages").unwrap().version, 3);
    assert!(store.define_section("packages", 2, FIVE_MINUTES).is_err());
    assert!(create(&store, 1));
    assert!(store.remove("packages", "a").unwrap() && !store.remove("packages", "a").unwrap());
    store.close().unwrap();
    assert!(!place.read().contains("multi") && place.read().contains("theirs: {deep"));
}

#[test]
fn edits_by_hand_count_and_soft_changes_do_not_touch_the_file_by_themselves() {
    let place = Place::new();
    let (store, _) = open_at(&place, 0);
    store.define_section("packages", 1, FIVE_MINUTES).unwrap();
    store.put("packages", "a", "1").unwrap();
    store.put("packages", "b", "1").unwrap();
    store.flush().unwrap();
    let whole = place.read();
    store.put("packages", "c", "unsaved").unwrap();
    assert_eq!(place.read(), whole);
    let line = whole
        .lines()
        .find(|line| line.starts_with("      a:"))
        .unwrap();
    place.write(whole.replace(&format!("{line}\n"), "      d: typed\n"));
    until("the edit is seen", || has(&store, "d") && !has(&store, "a"));
    assert!(has(&store, "b") && has(&store, "c"));
    store.flush().unwrap();
    assert!(place.read().contains("      d: {value: typed, at: "));
    assert!(place.read().contains("      c: {value: unsaved"));
}

#[test]
fn two_writers_keep_both_their_entries() {
    let place = Place::new();
    let stores: Vec<_> = (0..2).map(|_| open_at(&place, 0).0).collect();
    for round in 0..10 {
        for (number, store) in stores.iter().enumerate() {
            store.define_section("packages", 1, FIVE_MINUTES).unwrap();
            store
                .put("packages", &format!("{number}-{round}"), "v")
                .unwrap();
            store.flush().unwrap();
        }
    }
    for store in &stores {
        store.reload().unwrap();
        assert_eq!(store.list("packages", None, 100).len(), 20);
        let page = store.list("packages", Some("0-8"), 2);
        let keys: Vec<_> = page.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["0-9", "1-0"]);
    }
}

#[test]
fn a_damaged_file_brings_tables_back_from_the_base_and_loses_none_while_running() {
    let place = Place::new();
    let (store, _) = open_at(&place, 0);
    assert!(create(&store, 1));
    store.define_section("packages", 1, FIVE_MINUTES).unwrap();
    store.put("packages", "a", "1").unwrap();
    store.flush().unwrap();
    let whole = place.read();
    let cut = whole.find("sections:").unwrap();
    place.write(&whole[..cut]);
    store.reload().unwrap();
    assert!(has(&store, "a"), "cut while running");
    store.close().unwrap();
    let whole = place.read();
    let sections = whole.find("sections:").unwrap();
    let base = place.beside("yaml.base")[0].clone();
    for cut in sections..whole.len() - 1 {
        place.write(&whole[..cut]);
        std::fs::write(&base, &whole).unwrap();
        let (store, _) = open_at(&place, 10);
        let known = store.get("packages", "a");
        let is_line_end = whole.as_bytes()[cut - 1] == b'\n' && cut > sections;
        assert!(
            known.as_deref() == Some("1") || (known.is_none() && is_line_end),
            "{cut}: {known:?} {:?}",
            &whole[sections..cut]
        );
    }
    place.write(&whole);
    std::fs::write(&base, &whole).unwrap();
    std::fs::remove_file(&place.path).unwrap();
    let (store, _) = open_at(&place, 20);
    assert!(has(&store, "a"), "deleted while nothing ran");
    drop(store);
    assert!(place.read().contains("      a: {value"));
}

#[test]
fn without_a_call_to_flush_the_auto_save_writes_them() {
    let place = Place::new();
    let options = place
        .options()
        .with_soft_interval(Duration::from_millis(30));
    let store = FilePeerStore::open(options).unwrap();
    store.define_section("packages", 1, FIVE_MINUTES).unwrap();
    store.put("packages", "a", "1").unwrap();
    until("auto-saved", || store.health().durable);
    assert!(place.read().contains("      a: {value"));
}

#[test]
fn in_a_file_of_a_newer_version_they_stay_in_memory() {
    let place = Place::with("version: 99\npeers: []\nsections: {}\n");
    let (store, _) = open_at(&place, 0);
    store.define_section("packages", 1, FIVE_MINUTES).unwrap();
    store.put("packages", "a", "1").unwrap();
    assert!(has(&store, "a") && store.health().durable);
    store.close().unwrap();
    assert_eq!(place.read(), "version: 99\npeers: []\nsections: {}\n");
}
