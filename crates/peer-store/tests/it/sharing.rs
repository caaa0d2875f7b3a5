//! Several stores on one file.

use std::process::{Command, Stdio};
use std::time::Duration;

use btcfed_core::testing::test_key;

use crate::common::{DEADLINE, ONE_FILE, Place, create, knows, say, until_within};

/// Names the file to the processes of the test below.
const PATH: &str = "BTCFED_TEST_PEERS_FILE";

/// Names the first peer that a process adds.
const FIRST: &str = "BTCFED_TEST_FIRST_PEER";

const PROCESSES: u16 = 4;

/// Peers that each process adds. `BTCFED_TEST_ADDS=250 cargo test -p btcfed-peer-store four_processes` does more.
const EACH: u16 = 50;

/// How many each process adds, if not [`EACH`].
const ADDS: &str = "BTCFED_TEST_ADDS";

/// How often the test with the editor is done, if not once:
/// `BTCFED_TEST_ADDS=250 BTCFED_TEST_ROUNDS=20 cargo test -p btcfed-peer-store --test it writes_over_the_file -- --nocapture`.
const ROUNDS: &str = "BTCFED_TEST_ROUNDS";

/// The first peer that is added by hand.
const FIRST_EDIT: u16 = 20_000;

/// The pause after an edit.
const BETWEEN_EDITS: Duration = Duration::from_millis(100);

/// How long an editor has the file open, or twice that, or no time at all.
const THINKING: Duration = Duration::from_millis(20);

fn each() -> u16 {
    std::env::var(ADDS).map_or(EACH, |count| count.parse().unwrap())
}

/// Does nothing unless it is started by the test below.
#[test]
fn helper_process_adds_its_peers() {
    let (Ok(path), Ok(first)) = (std::env::var(PATH), std::env::var(FIRST)) else {
        return;
    };
    let options = btcfed_peer_store::StoreOptions::new(path)
        .with_lock_timeout(DEADLINE * 6)
        .with_journal(std::env::var_os(ONE_FILE).is_none());
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
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect()
}

/// Adds an entry to the file and renames the result over it, as editors do: some read long before they write.
fn edit(place: &Place, number: u16) {
    let text = place.read();
    let entry = format!(
        "  - public_key: {} # by hand\n    addresses: [/ip4/10.9.9.9/tcp/9]\nbans:",
        test_key(number)
    );
    std::thread::sleep(THINKING * u32::from(number % 3));
    let temp = place.dir.path().join("4913");
    std::fs::write(&temp, text.replacen("bans:", &entry, 1)).unwrap();
    std::fs::rename(temp, &place.path).unwrap();
}

/// Peers and edits of one run that are gone at its end.
fn lost_beside_an_editor() -> (Vec<u16>, u16) {
    let place = Place::with("# shared\npeers: []\nbans: []\n");
    // Without the lines of its head nobody can tell from what an edit was made.
    let first = place.open();
    assert!(create(&first, 30_000));
    first.close().unwrap();
    let mut helpers = start(&place);
    let mut edits = 0;
    while helpers
        .iter_mut()
        .any(|helper| helper.try_wait().unwrap().is_none())
    {
        edit(&place, FIRST_EDIT + edits);
        edits += 1;
        std::thread::sleep(BETWEEN_EDITS);
    }
    for mut helper in helpers {
        assert!(helper.wait().unwrap().success());
    }
    assert!(edits > 0);
    let store = place.open();
    let added = (0..PROCESSES).flat_map(|process| (0..each()).map(move |n| process * 1000 + n));
    let edited = FIRST_EDIT..FIRST_EDIT + edits;
    let lost = added
        .chain(edited)
        .filter(|number| !knows(&store, *number))
        .collect();
    (lost, edits)
}

#[test]
fn four_processes_adding_at_once_lose_nothing_to_an_editor_that_writes_over_the_file() {
    let rounds = std::env::var(ROUNDS).map_or(1, |count| count.parse().unwrap());
    let mut all_edits = 0;
    for round in 1..=rounds {
        let (lost, edits) = lost_beside_an_editor();
        assert!(lost.is_empty(), "round {round}, {edits} edits: {lost:?}");
        all_edits += edits;
    }
    say(&format!(
        "{rounds} rounds of {PROCESSES} processes with {} changes each beside {all_edits} edits: nothing lost",
        each()
    ));
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
    // The file follows the journal after a hundred times what the last save took: on a busy machine that is a while.
    let until = |what: &str, condition: &mut dyn FnMut() -> bool| {
        until_within(DEADLINE * 18, what, condition);
    };
    until("both know all", &mut || {
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
    until("the removal is known", &mut || !knows(&two, 5));
    assert!(create(&two, 50) && !knows(&two, 5));
    assert_eq!(two.snapshot().forgotten().count(), 1);
}
