//! Several stores on one file.

use std::process::Command;

use btcfed_core::testing::test_key;

use crate::common::{Place, create, knows, until};

/// Names the file to the processes of the test below.
const PATH: &str = "BTCFED_TEST_PEERS_FILE";

/// Names the first peer that a process adds.
const FIRST: &str = "BTCFED_TEST_FIRST_PEER";

const PROCESSES: u16 = 4;
const EACH: u16 = 50;

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
    for number in first..first + EACH {
        assert!(create(&store, number), "{:?}", store.health());
    }
    store.close().unwrap();
}

#[test]
fn four_processes_adding_at_once_lose_nothing() {
    let place = Place::with("# shared\npeers: []\n");
    let helpers: Vec<_> = (0..PROCESSES)
        .map(|process| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "sharing::helper_process_adds_its_peers"])
                .env(PATH, &place.path)
                .env(FIRST, (process * 1000).to_string())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut helper in helpers {
        assert!(helper.wait().unwrap().success());
    }
    let store = place.open();
    for process in 0..PROCESSES {
        assert!(
            (0..EACH).all(|number| knows(&store, process * 1000 + number)),
            "process {process}"
        );
    }
    assert_eq!(store.snapshot().len(), usize::from(PROCESSES * EACH));
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
