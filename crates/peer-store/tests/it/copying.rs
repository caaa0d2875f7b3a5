//! A save copies what did not change out of the file it replaces.

use std::time::Duration;

use btcfed_core::PeerOp;
use btcfed_core::patch::PeerPatch;
use btcfed_core::testing::{test_key, test_record};
use btcfed_peer_store::FilePeerStore;

use crate::common::{Place, create, keys};

const BY_HAND: &str = "# mine\n\nzone: [a,\n  b]\npeers:   # all\n# one\n-   public_key: KEY1\n    addresses: [ /ip4/10.0.0.1/tcp/1 ] # here\n\
                       \n- {public_key: KEY2, addresses: [], name: alice}\n# end\nsections: {}";

/// Counts a contact, and saves.
fn touch(store: &FilePeerStore, number: u16) {
    let op = PeerOp::ContactFailed {
        key: test_key(number),
        addrs: Vec::new(),
    };
    assert!(store.apply(&PeerPatch::one(op)).unwrap().durable);
    store.flush().unwrap();
}

fn open(place: &Place) -> FilePeerStore {
    let options = place.options().with_watch(false);
    FilePeerStore::open(options.with_soft_interval(Duration::from_secs(3600))).unwrap()
}

/// The lines that only this text has, but for those that every save rewrites.
fn lines_only_in(text: &str, other: &str) -> Vec<String> {
    let is_head = |line: &str| {
        ["checksum:", "generation:", "last_modified:"]
            .iter()
            .any(|head| line.starts_with(head))
    };
    let others: Vec<&str> = other.split_inclusive('\n').collect();
    let lines = text.split_inclusive('\n');
    lines
        .filter(|line| !others.contains(line) && !is_head(line))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_contact_changes_one_line_of_a_file_that_people_wrote_and_the_store_went_on_with() {
    for eol in ["\n", "\r\n"] {
        let place = Place::with(keys(BY_HAND).replace('\n', eol));
        let store = open(&place);
        (3..=40).for_each(|number| assert!(create(&store, number)));
        store.flush().unwrap();
        let mut before = place.read();
        for (number, new) in [(1, 1), (3, 1), (40, 1), (20, 1), (21, 1)] {
            touch(&store, number);
            let after = place.read();
            let changed = lines_only_in(&after, &before);
            assert_eq!(changed.len(), new, "{number}: {changed:?}");
            assert!(changed[0].contains("failed: 1"), "{changed:?}");
            before = after;
        }
        assert!(before.contains(&keys("# one\n-   public_key: KEY1\n").replace('\n', eol)));
        drop(store);
        let copies = btcfed_peer_store::copies(&place.path).unwrap();
        assert!(copies[0].is_intact && copies[1].is_intact);
        assert_eq!(copies[0].bytes, copies[1].bytes, "the base is the file");
    }
}

#[test]
fn an_edit_of_the_same_length_between_two_saves_is_taken_in_and_nothing_old_is_copied_over_it() {
    let place = Place::with(keys(BY_HAND));
    let store = open(&place);
    assert!(create(&store, 3));
    touch(&store, 3);
    let text = place.read();
    let edited = text.replace("alice", "carol").replace("# one", "# two");
    assert!(edited.len() == text.len() && edited != text);
    place.write(&edited);
    touch(&store, 3);
    let written = place.read();
    assert!(
        written.contains("name: carol") && written.contains("# two"),
        "{written}"
    );
    assert!(!written.contains("alice") && written.contains("failed: 2"));
    let name = |number| store.snapshot().get(&test_key(number)).unwrap().name;
    assert_eq!(name(2).as_deref(), Some("carol"));
    touch(&store, 3);
    assert!(place.read().contains("failed: 3"));
    drop(store);
    let again = open(&place);
    assert!(again.skipped().is_empty());
    let known = again.snapshot();
    assert_eq!(
        (
            known.len(),
            known.get(&test_key(3)).unwrap().addresses.len()
        ),
        (3, test_record(3).addresses.len())
    );
}
