//! Killed without a word, again and again, while peers come and go and the list changes: up at once, with everything that
//! was acknowledged.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use btcfed_core::rng::SeededRng;
use btcfed_core::testing::test_key;

use crate::alone;
use crate::common::config::yaml;
use crate::common::daemon::{Daemon, run_json};
use crate::common::figures::{Figures, quantile};
use crate::common::peers::Peers;
use crate::common::rounds;

/// Peers that stay connected as well as they can.
const PEERS: u16 = 5;

/// Entries that come and go by commands.
const ENTRIES: u64 = 60;

/// What was acknowledged: whether each entry must be there. One with an unacknowledged command under way is absent.
type Promised = Arc<Mutex<BTreeMap<u16, bool>>>;

/// Adds and removes entries by commands until told to stop.
fn editor(dir: std::path::PathBuf, promised: Promised, stop: Arc<AtomicBool>, seed: u64) {
    let mut rng = SeededRng::from_seed(seed);
    while !stop.load(Ordering::Relaxed) {
        let number = 100 + u16::try_from(rng.below(ENTRIES)).unwrap();
        let before = promised.lock().unwrap().remove(&number);
        let id = test_key(number).peer_id().to_string();
        let adds = before != Some(true);
        let target = format!("{id}@127.0.0.1:1");
        let (code, answer) = if adds {
            run_json(&dir, &["peers", "add", &target])
        } else {
            run_json(&dir, &["peers", "remove", &id])
        };
        if code == 0 && answer["durable"] == true {
            promised.lock().unwrap().insert(number, adds);
        }
    }
}

#[test]
fn a_node_killed_at_any_moment_is_up_within_three_seconds_with_all_it_acknowledged() {
    let _alone = alone();
    let rounds = rounds(10);
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let text = yaml(&[]).replace("tcp/0", &format!("tcp/{port}"));
    fs::write(dir.path().join("conf.yaml"), text).unwrap();
    let mut rng = SeededRng::from_seed(9);
    let promised = Promised::default();
    let (mut starts, mut kept, mut lost) = (Vec::new(), 0_usize, 0_usize);
    let (mut identity, mut peers) = (None, None);
    for round in 0..rounds {
        let started = Instant::now();
        let mut node = Daemon::start(dir.path());
        starts.push(started.elapsed());
        assert_eq!(
            *identity.get_or_insert_with(|| node.peer_id()),
            node.peer_id()
        );
        let known = node.known();
        for (number, is_there) in promised.lock().unwrap().iter() {
            let id = test_key(*number).peer_id().to_string();
            if known.contains(&id) == *is_there {
                kept += 1;
            } else {
                println!("round {round}: peer {number}: acknowledged {is_there}");
                lost += 1;
            }
        }
        peers.get_or_insert_with(|| Peers::of(&node, PEERS));
        let stop = Arc::new(AtomicBool::default());
        let seed = rng.below(u64::MAX);
        let editing = {
            let (dir, promised, stop) = (
                dir.path().to_owned(),
                Arc::clone(&promised),
                Arc::clone(&stop),
            );
            std::thread::spawn(move || editor(dir, promised, stop, seed))
        };
        std::thread::sleep(rng.between(Duration::from_millis(200), Duration::from_secs(3)));
        // Killed while commands are under way, which then answer anything but success, or succeeded before.
        node.kill();
        stop.store(true, Ordering::Relaxed);
        editing.join().unwrap();
        let (code, answer) = run_json(dir.path(), &["peers", "verify"]);
        assert_eq!(code, 0, "round {round}: {answer}");
    }
    let mut figures = Figures::new("kills");
    figures.seen("kills", rounds, "");
    figures.seen("start, median", quantile(&mut starts, 0.5), "s");
    figures.at_most("start, slowest", quantile(&mut starts, 1.0), 3.0, "s");
    figures.at_least("acknowledged changes checked after kills", kept, rounds, "");
    figures.exactly("acknowledged changes lost", lost, 0.0);
    figures.finish();
}
