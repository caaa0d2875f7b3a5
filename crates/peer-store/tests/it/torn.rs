//! A file cut off exactly at the end of a line, beside deletions by hand that look alike.

use std::time::Duration;

use btcfed_core::testing::test_key;
use btcfed_core::{BanReason, BanTarget, Issuer, PeerOp, PeerPatch, ban::Ban};
use btcfed_peer_store::{FilePeerStore, SectionStore};

use crate::common::{Place, create, knows};

/// A file with two peers, two bans and a table of three entries, as the store writes it.
fn whole() -> Place {
    let place = Place::with("# mine\npeers: []\n");
    let store = place.open();
    assert!(create(&store, 1) && create(&store, 2));
    for text in ["192.0.2.1", "192.0.2.2"] {
        let ban = Ban {
            target: BanTarget::Ip(text.parse().unwrap()),
            reason: BanReason::Other("x".into()),
            since: btcfed_core::time::Timestamp::UNIX_EPOCH,
            until: None,
            by: Issuer::Operator,
            evidence: None,
        };
        store.apply(&PeerPatch::one(PeerOp::Ban(ban))).unwrap();
    }
    let day = Duration::from_secs(86_400);
    store.define_section("packages", 1, day).unwrap();
    for key in ["a", "b", "c"] {
        store.put("packages", key, "1").unwrap();
    }
    store.close().unwrap();
    place
}

/// Puts `text` in the place of the file, while nothing runs or while a store has it open, and lets the store look.
fn changed(place: &Place, is_running: bool, text: &str) -> FilePeerStore {
    if is_running {
        let store = FilePeerStore::open(place.options().with_watch(false)).unwrap();
        place.write(text);
        store.reload().unwrap();
        store
    } else {
        place.write(text);
        place.open()
    }
}

fn counts(store: &FilePeerStore) -> [usize; 3] {
    let set = store.snapshot();
    let entries = store.list("packages", None, 10).len();
    [set.len(), set.bans().count(), entries]
}

#[test]
fn a_file_cut_off_at_the_end_of_any_line_deletes_nothing() {
    let text = whole().read();
    let at = |start: &str| {
        text.lines()
            .position(|line| line.starts_with(start))
            .unwrap()
    };
    // The last list is that of bans: whoever deletes the last of these lines lifts a ban.
    for lines in at("peers:") + 1..=at("bans:") {
        for is_running in [false, true] {
            let place = whole();
            let text = place.read();
            let cut: String = text.split_inclusive('\n').take(lines).collect();
            let store = changed(&place, is_running, &cut);
            let tail = cut.lines().next_back().unwrap();
            assert_eq!(counts(&store), [2, 2, 3], "running {is_running}: {tail}");
            assert!(!place.beside("damaged").is_empty(), "{tail}");
            store.close().unwrap();
            assert_eq!(
                counts(&place.open()),
                [2, 2, 3],
                "running {is_running}, after a restart: {tail}\n{}",
                place.read()
            );
        }
    }
}

fn without(text: &str, from: &str, to: &str) -> String {
    let start = text.find(from).unwrap();
    let end = start + text[start..].find(to).unwrap();
    format!("{}{}", &text[..start], &text[end..])
}

#[test]
fn the_last_entry_of_a_list_deleted_by_hand_is_deleted() {
    for is_running in [false, true] {
        let place = whole();
        let last = format!("  - public_key: {}", test_key(2));
        let text = without(&place.read(), &last, "sections:");
        let store = changed(&place, is_running, &text);
        assert_eq!(counts(&store), [1, 2, 3]);
        drop(store);
        let text = without(&place.read(), "      b: {", "      c: {");
        let store = changed(&place, is_running, &text);
        assert_eq!(counts(&store), [1, 2, 2]);
        assert!(place.beside("damaged").is_empty());
    }
}

#[test]
fn the_last_line_of_the_file_deleted_by_hand_lifts_the_ban_it_was() {
    for is_running in [false, true] {
        let place = whole();
        let text = place.read();
        let last = text.trim_end().rfind('\n').unwrap() + 1;
        assert!(text[last..].contains("192.0.2.2"), "{text}");
        let store = changed(&place, is_running, &text[..last]);
        assert_eq!(counts(&store), [2, 1, 3]);
        assert!(place.beside("damaged").is_empty());
        // In the middle of a line it is no decision.
        drop(store);
        let place = whole();
        let text = place.read();
        let store = changed(&place, is_running, &text[..last + 9]);
        assert_eq!(counts(&store), [2, 2, 3]);
    }
}

#[test]
fn where_the_list_of_peers_comes_last_its_last_entry_can_be_deleted() {
    for is_running in [false, true] {
        let place = Place::with("sections: {}\nbans: []\nforgotten: []\npeers: []\n");
        let store = place.open();
        assert!(create(&store, 1) && create(&store, 2));
        store.close().unwrap();
        let text = place.read();
        let last = text
            .find(&format!("  - public_key: {}", test_key(2)))
            .unwrap();
        assert!(!text[last..].contains("\nbans"), "{text}");
        let store = changed(&place, is_running, &text[..last]);
        assert!(knows(&store, 1) && !knows(&store, 2));
    }
}
