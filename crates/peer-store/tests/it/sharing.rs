//! Several stores on one file.

use std::process::Command;

use btcfed_core::testing::test_key;

use crate::common::{Place, create, knows, until};

/// Names the file to the processes of the test below.
const PATH: &str = "BTCFED_TEST_PEERS_FILE";

/// Names the first peer that a process adds.
const FIRST: &str = "BTCFED_TEST_FIRST_PEER";

const PROCESSES: u16 = 4;

/// Peers that each process adds. `BTCFED_TEST_ADDS=250 cargo test -p btcfed-peer-store four_processes` does more.
const EACH: u16 = 50;

/// How many each process adds, if not [`EACH`].
const ADDS: &str = "BTCFED_TEST_ADDS";

fn each() -> u16 {
    std::env::var(ADDS).map_or(EACH, |count| count.parse().unwrap())
}

/// Does nothing unless it is started by the test below.
#[test]
fn helper_process_adds_its_peers() {
    let (Ok(path), Ok(first)) = (std::env::var(PATH), std::env::var(FIRST)) else {
        return;
    };
    let options =
        btcfed_peer_store::StoreOptions::new(path).with_lock_timeout(crate::common::DEADLINE * 6);
    let store = btcfed_peer_store::FilePeerStore::open(options).unwrap();
    let first: u16 = first.parse().unwrap();
    for number in first..first + each() {
        assert!(create(&store, number), "{:?}", store.health());
    }
    store.close().unwrap();
}

fn start(place: &Place) -> Vec<std::process::Child> {
    (0..PROCESSES)
        .map(|process| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "sharing::helper_process_adds_its_peers"])
                .env(PATH, &place.path)
                .env(FIRST, (process * 1000).to_string())
                .spawn()
                .unwrap()
        })
        .collect()
}

/// Adds an entry to the file and renames the result over it, as editors do.
fn edit(place: &Place, number: u16) {
    let text = place.read();
    let entry = format!(
        "  - public_key: {} # by hand\n    addresses: [/ip4/10.9.9.9/tcp/9]\nbans:",
        test_key(number)
    );
    let temp = place.dir.path().join("4913");
    std::fs::write(&temp, text.replacen("bans:", &entry, 1)).unwrap();
    std::fs::rename(temp, &place.path).unwrap();
}

#[test]
fn four_processes_adding_at_once_lose_nothing_to_an_editor_that_writes_over_the_file() {
    let place = Place::with("# shared\npeers: []\nbans: []\n");
    let mut helpers = start(&place);
    let mut edits = 0;
    while helpers
        .iter_mut()
        .any(|helper| helper.try_wait().unwrap().is_none())
    {
        edit(&place, 20_000 + edits);
        edits += 1;
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    for mut helper in helpers {
        assert!(helper.wait().unwrap().success());
    }
    let store = place.open();
    let lost = |numbers: std::ops::Range<u16>| -> Vec<u16> {
        numbers.filter(|number| !knows(&store, *number)).collect()
    };
    for process in 0..PROCESSES {
        let first = process * 1000;
        assert_eq!(
            lost(first..first + each()),
            [] as [u16; 0],
            "process {process}, {edits} edits"
        );
    }
    assert!(edits > 0);
}

#[test]
fn four_processes_adding_at_once_lose_nothing() {
    let place = Place::with("# shared\npeers: []\n");
    let helpers = start(&place);
    for mut helper in helpers {
        assert!(helper.wait().unwrap().success());
    }
    let store = place.open();
    for process in 0..PROCESSES {
        assert!(
            (0..each()).all(|number| knows(&store, process * 1000 + number)),
            "process {process}"
        );
    }
    assert_eq!(store.snapshot().len(), usize::from(PROCESSES * each()));
    assert!(place.read().starts_with("# shared\n"));
    assert_eq!(
        (place.beside("damaged").len(), place.beside(".tmp-").len()),
        (0, 0)
    );
}

#[test]
fn two_stores_in_one_process_see_each_others_changes() {
    let place = Place::new();
    let (one, two) = (place.open(), place.open());
    std::thread::scope(|scope| {
        scope.spawn(|| (0..20).for_each(|number| assert!(create(&one, number))));
        scope.spawn(|| (20..40).for_each(|number| assert!(create(&two, number))));
    });
    until("both know all", || {
        (0..40).all(|number| knows(&one, number) && knows(&two, number))
    });
    let remove = btcfed_core::PeerOp::Remove {
        key: test_key(5),
        by: btcfed_core::Issuer::Operator,
    };
    assert!(
        one.apply(&btcfed_core::PeerPatch::one(remove))
            .unwrap()
            .durable
    );
    until("the removal is known", || !knows(&two, 5));
    assert!(create(&two, 50) && !knows(&two, 5));
    assert_eq!(two.snapshot().forgotten().count(), 1);
}
