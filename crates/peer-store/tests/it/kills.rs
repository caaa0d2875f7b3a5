//! A process that is killed at any moment: what it acknowledged is there, and its leftovers are not.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use btcfed_core::rng::SeededRng;

use crate::common::{Place, create, knows, say};

/// Names the file to the process that is killed.
const PATH: &str = "BTCFED_TEST_KILLED_PEERS_FILE";

/// How many kills, if not [`KILLS`].
const COUNT: &str = "BTCFED_TEST_KILLS";

/// Kills of an ordinary run. `BTCFED_TEST_KILLS=2000 cargo test -p btcfed-peer-store kill` does more.
const KILLS: usize = 200;

/// Tells the process that is killed to work without a journal.
const ONE_FILE: &str = "BTCFED_TEST_KILLED_WITHOUT_JOURNAL";

/// Changes between two times of closing and opening, which write the copies too: without a journal and with it.
const BETWEEN: [usize; 2] = [4, 40];

/// Adds peers and says which, for ever. Does nothing unless it is started by the test below.
#[test]
fn helper_process_adds_peers_until_it_is_killed() {
    let Ok(path) = std::env::var(PATH) else {
        return;
    };
    let journal = std::env::var_os(ONE_FILE).is_none();
    let options = || {
        let options = btcfed_peer_store::StoreOptions::new(&path).with_watch(false);
        options
            .with_journal(journal)
            .with_flush_interval(Duration::from_millis(20))
    };
    loop {
        let store = btcfed_peer_store::FilePeerStore::open(options()).unwrap();
        for _ in 0..BETWEEN[usize::from(journal)] {
            let number = u16::try_from(store.snapshot().len()).unwrap();
            assert!(create(&store, number), "{:?}", store.health());
            let mut out = std::io::stdout().lock();
            out.write_all(format!("\nadded {number}\n").as_bytes())
                .and_then(|()| out.flush())
                .unwrap();
        }
    }
}

#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_acknowledged() {
    kill(true);
}

#[test]
fn a_kill_at_any_moment_without_a_journal_loses_nothing_that_was_acknowledged() {
    kill(false);
}

fn kill(journal: bool) {
    let count = std::env::var(COUNT).map_or(KILLS, |count| count.parse().unwrap());
    let mut rng = SeededRng::from_seed(11);
    let place = Place::with("# mine\npeers: []\n");
    let mut added = 0;
    for kill in 0..count {
        let mut command = Command::new(std::env::current_exe().unwrap());
        if !journal {
            command.env(ONE_FILE, "1");
        }
        let mut helper = command
            .args([
                "--exact",
                "kills::helper_process_adds_peers_until_it_is_killed",
            ])
            .arg("--nocapture")
            .env(PATH, &place.path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(helper.stdout.take().unwrap());
        let mut said = String::new();
        if kill % 4 == 0 {
            // While it starts.
            std::thread::sleep(Duration::from_micros(rng.below(60_000)));
        } else {
            while !said.contains("\nadded ") {
                assert!(out.read_line(&mut said).unwrap() > 0, "it ended: {said}");
            }
            std::thread::sleep(Duration::from_micros(rng.below(20_000)));
        }
        helper.kill().unwrap();
        out.read_to_string(&mut said).unwrap();
        helper.wait().unwrap();
        let last = said
            .lines()
            .filter_map(|line| line.strip_prefix("added ")?.parse().ok())
            .next_back();
        added = last.map_or(added, |last: u16| last + 1);
        let store = place.open();
        let all = (0..added).all(|number| knows(&store, number));
        assert!(
            all,
            "kill {kill}: {added} acknowledged, {} known",
            store.snapshot().len()
        );
        // What was in the journal is in the file, and nothing is being written.
        store.flush().unwrap();
        assert!(place.read().starts_with("# mine\n") && store.skipped().is_empty());
        assert_eq!(
            place.beside(".tmp-").len() + place.beside("damaged").len(),
            0
        );
    }
    say(&format!(
        "journal {journal}: {count} kills, {added} changes acknowledged, none lost"
    ));
    assert!(added > 0);
}
