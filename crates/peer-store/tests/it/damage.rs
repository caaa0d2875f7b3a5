//! Damaged files: the store starts, keeps what can be read, and the bad bytes survive.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use btcfed_core::testing::{ManualClock, test_key};
use btcfed_core::time::Timestamp;
use btcfed_peer_store::{FilePeerStore, MAX_DAMAGED_KEPT, RELOAD_PATIENCE};

use crate::common::{Place, create, keys, knows, survives, until};

/// A file of three peers as the store writes it.
pub(crate) fn three_peers() -> String {
    let place = Place::new();
    let clock = ManualClock::starting_at(Timestamp::from_secs(1_795_000_000));
    let store = FilePeerStore::open(place.options().with_clock(Arc::new(clock))).unwrap();
    (1..=3).for_each(|number| assert!(create(&store, number)));
    store.close().unwrap();
    place.read()
}

/// Opens a store on `bytes`, changes something, and returns which of the three peers it knew.
fn after_damage(bytes: &[u8]) -> Vec<u16> {
    let place = Place::with(bytes);
    let store = place.open();
    let known: Vec<u16> = (1..=3).filter(|number| knows(&store, *number)).collect();
    if store.newer_version().is_some() {
        assert!(survives(place.dir.path(), bytes));
        return known;
    }
    assert!(create(&store, 9), "{:?}", store.health());
    store.close().unwrap();
    let again = place.open();
    assert!(knows(&again, 9));
    assert!(
        known.iter().all(|number| knows(&again, *number)),
        "{known:?} in {}",
        place.read()
    );
    assert!(place.beside("damaged").len() <= 1, "damage is kept once");
    known
}

/// Where the records of the three peers end.
fn record_ends(whole: &str) -> Vec<(u16, usize)> {
    let ends = (1..=3).map(|number| {
        let start = whole
            .find(&format!("  - public_key: {}", test_key(number)))
            .unwrap();
        let end = whole[start + 5..]
            .find("  - public_key")
            .or_else(|| whole[start + 5..].find("bans:"));
        (number, start + 5 + end.unwrap())
    });
    ends.collect()
}

#[test]
fn a_file_cut_at_any_byte_starts_and_keeps_every_whole_record_and_the_bytes() {
    let whole = three_peers();
    let ends = record_ends(&whole);
    for cut in 0..whole.len() {
        let bytes = &whole.as_bytes()[..cut];
        let place = Place::with(bytes);
        let store = place.open();
        for (number, end) in &ends {
            assert!(
                *end > cut || knows(&store, *number),
                "cut at {cut}: peer {number} is lost"
            );
        }
        let ours = store.snapshot().iter().all(|peer| {
            peer.addresses
                .iter()
                .all(|known| whole.contains(&format!("- {}\n", known.addr)))
        });
        assert!(ours, "cut at {cut}: an address was altered silently");
        assert!(create(&store, 9), "cut at {cut}: {:?}", store.health());
        store.close().unwrap();
        assert!(
            survives(place.dir.path(), bytes)
                || whole.as_bytes().starts_with(bytes.trim_ascii_end())
        );
        let header_is_whole = cut > whole.find("peers:").unwrap();
        if header_is_whole && cut < whole.find("sections").unwrap() - 20 {
            assert!(
                survives(place.dir.path(), bytes),
                "cut at {cut}: the bytes are gone"
            );
        }
        let again = place.open();
        assert_eq!(
            again.snapshot().len(),
            store.snapshot().len(),
            "cut at {cut}"
        );
    }
}

#[test]
fn flipped_bits_stop_nothing_and_cost_the_records_they_hit() {
    let whole = three_peers();
    for at in (0..whole.len()).step_by(3) {
        let mut bytes = whole.clone().into_bytes();
        bytes[at] ^= 1 << (at % 8);
        let known = after_damage(&bytes);
        // A line end between two records belongs to both.
        let hit = if whole.as_bytes()[at] == b'\n' { 2 } else { 1 };
        assert!(
            known.len() + hit >= 3,
            "bit {} of byte {at}: {known:?}",
            at % 8
        );
    }
}

#[test]
fn garbage_is_kept_aside_once_and_said() {
    let noise: Vec<u8> = (0..4096_u32)
        .map(|n| u8::try_from(n.wrapping_mul(2_654_435_761) >> 24).unwrap())
        .collect();
    let page = vec![0_u8; 4096];
    let utf16: Vec<u8> = "\u{feff}peers: []\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for bytes in [
        noise,
        page,
        utf16,
        b"garbage\n".to_vec(),
        b"\xff\xfe".to_vec(),
        b"<html>\n<body>\n".to_vec(),
    ] {
        let place = Place::with(&bytes);
        let store = place.open();
        assert!(store.snapshot().is_empty());
        assert_eq!(place.beside("damaged").len(), 1);
        assert_eq!(
            std::fs::read(&place.beside("damaged")[0]).unwrap(),
            bytes,
            "kept before anything is written"
        );
        assert!(create(&store, 1));
        store.close().unwrap();
        drop(place.open());
        assert_eq!(place.beside("damaged").len(), 1, "and once");
    }
}

#[test]
fn records_on_both_sides_of_a_torn_page_are_kept() {
    let whole = three_peers();
    let middle = &record_ends(&whole);
    let mut ends: Vec<usize> = middle.iter().map(|(_, end)| *end).collect();
    ends.sort_unstable();
    let mut bytes = whole.into_bytes();
    bytes[ends[0] + 20..ends[0] + 60].fill(0);
    let known = after_damage(&bytes);
    assert_eq!(known.len(), 2);
}

#[test]
fn a_bad_entry_keeps_its_bytes_while_everything_around_it_changes() {
    let bad = "  - public_key: CAESInonsense   # typo\n    addresses: [ /ip4/1.2.3.4/tcp/1 ]\n";
    let place = Place::with(keys(&format!(
        "peers:\n  - public_key: KEY1\n{bad}  - public_key: KEY2\n"
    )));
    let store = place.open();
    assert_eq!(store.skipped().len(), 1);
    assert_eq!(store.skipped()[0].line, 3);
    for number in 3..=6 {
        assert!(create(&store, number));
        assert!(place.read().contains(bad));
    }
    assert_eq!(
        place.beside("damaged").len(),
        0,
        "a file without checksum was edited, not damaged"
    );
    store.close().unwrap();
    assert_eq!(place.open().skipped().len(), 1);
}

#[test]
fn damage_while_running_deletes_nobody() {
    let place = Place::new();
    let store = place.open();
    (1..=3).for_each(|number| assert!(create(&store, number)));
    store.flush().unwrap();
    let whole = place.read();
    let cut = record_ends(&whole)
        .iter()
        .map(|(_, end)| *end)
        .min()
        .unwrap()
        + 30;
    place.write(&whole[..cut]);
    until("the file is whole again", || {
        (1..=3).all(|n| place.read().contains(&test_key(n).to_string()))
    });
    assert!((1..=3).all(|number| knows(&store, number)));
    assert_eq!(store.snapshot().forgotten().count(), 0);
    assert_eq!(place.beside("damaged").len(), 1);
    place.write("garbage");
    until("the garbage is gone", || place.read().contains("peers:"));
    assert_eq!(store.snapshot().len(), 3);
    std::thread::sleep(Duration::from_millis(100));
    assert!(create(&store, 4));
}

#[test]
fn hostile_files_cost_linear_time() {
    const LEN: usize = 128 * 1024;
    /// How much more the larger file is.
    const MORE: usize = 8;
    /// So much more time it may take; 64 times would be quadratic.
    const FACTOR: u32 = 24;
    let entry = keys("  - public_key: KEY1\n");
    for (head, unit) in [
        (format!("peers:\n{entry}  - a: "), "["),
        (format!("peers:\n{entry}"), "  - a: \"\n"),
        (format!("peers:\n{entry}"), "  - *a\n"),
        (format!("peers:\n{entry}x: "), "y"),
        ("peers: [".to_owned(), "["),
        (format!("peers:\n{entry}"), "'\n"),
        (format!("peers:\n{entry}"), "\t- a\n"),
        (format!("peers:\n{entry}x: "), "\0"),
        (format!("peers:\n{entry}"), "  - public_key: CAESI\n"),
        (format!("peers:\n{entry}x: |\n"), " - public_key: z\n"),
    ] {
        let time = |len: usize| {
            let hostile = format!("{head}{}", unit.repeat(len / unit.len()));
            let once = || {
                let place = Place::with(&hostile);
                let started = worked();
                let store = FilePeerStore::open(place.options().with_watch(false)).unwrap();
                let time = worked().saturating_sub(started);
                assert!(hostile.starts_with("peers: [") || knows(&store, 1));
                time
            };
            once().min(once())
        };
        let (small, large) = (time(LEN), time(MORE * LEN));
        // What is too short to be measured says nothing.
        let floor = Duration::from_millis(10);
        assert!(
            large < small.max(floor) * FACTOR,
            "{unit:?}: {small:?}, {MORE} times as much: {large:?}"
        );
    }
}

/// How long this thread has been working: where the system tells it, without what others do meanwhile.
fn worked() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let said = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = said.split(' ').next().and_then(|word| word.parse().ok());
    nanos.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

#[test]
fn edits_beside_a_bad_entry_make_no_further_copies_and_copies_are_bounded() {
    let place = Place::new();
    let store = place.open();
    assert!(create(&store, 1));
    let bad = "  - public_key: BAD0\nbans:";
    place.write(place.read().replacen("bans:", bad, 1));
    store.reload().unwrap();
    assert_eq!(place.beside("damaged").len(), 1, "a damaged key, perhaps");
    for number in 0..8 {
        let remark = format!("# {number}\npeers:");
        place.write(place.read().replacen("peers:", &remark, 1));
        store.reload().unwrap();
        assert!(create(&store, 2 + number));
    }
    assert_eq!(place.beside("damaged").len(), 1, "the same bad entry");
    for number in 0..9 {
        let (old, new) = (format!("BAD{number}"), format!("BAD{}", number + 1));
        place.write(place.read().replace(&old, &new));
        store.reload().unwrap();
        assert!(place.beside("damaged").len() <= MAX_DAMAGED_KEPT);
    }
    let kept = place.beside("damaged");
    let has = |words: &str| {
        let holds = |path| std::fs::read_to_string(path).unwrap().contains(words);
        kept.iter().any(holds)
    };
    assert!(has("BAD0") && has("BAD9") && !has("BAD4"));
}

#[test]
fn a_reload_waits_for_a_torn_file_only_briefly_and_says_what_is_damaged() {
    let place = Place::with(three_peers());
    let options = place.options().with_watch(false);
    let store = FilePeerStore::open(options.with_flush_interval(Duration::from_secs(60))).unwrap();
    let whole = place.read();
    let torn = whole.replacen("  - public_key", "garbage {\n  - public_key", 1);
    let line = 1 + torn.lines().position(|line| line == "garbage {").unwrap();
    place.write(&torn);
    let started = Instant::now();
    let reloaded = store.reload().unwrap();
    let took = started.elapsed();
    assert!(
        took >= RELOAD_PATIENCE && took < Duration::from_millis(1500),
        "{took:?}"
    );
    let said = reloaded.skipped.iter().find(|skipped| skipped.line == line);
    assert!(said.unwrap().reason.contains("garbage"), "{reloaded:?}");
    assert_eq!(store.skipped(), reloaded.skipped);
    assert!((1..=3).all(|number| knows(&store, number)));
    assert_eq!(
        std::fs::read_to_string(&place.beside("damaged")[0]).unwrap(),
        torn
    );
    assert!(create(&store, 4));
    assert!(!place.read().contains("garbage") && store.skipped().is_empty());
    assert!(store.reload().unwrap().skipped.is_empty());
}
