//! Clocks that jump, times of files that lie, links, umasks and storms of changes.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use btcfed_core::Metrics;
use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::testing::{ManualClock, test_key};
use btcfed_core::time::Timestamp;
use btcfed_peer_store::FilePeerStore;

use crate::common::{Place, create, keys, knows, until};

const DAY: Duration = Duration::from_secs(86_400);

fn add_by_hand(place: &Place, number: u16) {
    let entry = keys("  - public_key: NEW\nbans:").replace("NEW", &test_key(number).to_string());
    place.write(place.read().replacen("bans:", &entry, 1));
}

#[test]
fn a_clock_that_jumps_loses_no_edit_and_no_change() {
    let now = Timestamp::from_secs(1_795_000_000);
    let clock = Arc::new(ManualClock::starting_at(now));
    let place = Place::new();
    let options = place
        .options()
        .with_clock(Arc::<ManualClock>::clone(&clock));
    let store = FilePeerStore::open(options).unwrap();
    assert!(create(&store, 1));
    let back = Timestamp::from_secs(now.as_secs() - DAY.as_secs());
    let later = now.saturating_add(3650 * DAY);
    for (number, wall) in
        (2..)
            .step_by(2)
            .zip([back, later, Timestamp::UNIX_EPOCH, Timestamp::MAX, now])
    {
        clock.set_wall(wall);
        assert!(create(&store, number));
        add_by_hand(&place, number + 1);
        until("the edit is seen", || knows(&store, number + 1));
        assert!(create(&store, number + 100));
    }
    store.close().unwrap();
    assert_eq!(place.open().snapshot().len(), 16);
}

#[test]
fn edits_count_by_content_whatever_the_time_of_the_file_says() {
    let place = Place::new();
    let store = place.open();
    assert!(create(&store, 1));
    let stamp = fs::metadata(&place.path).unwrap().modified().unwrap();
    let times = [
        stamp,
        stamp - DAY,
        SystemTime::UNIX_EPOCH,
        stamp + 3650 * DAY,
        stamp,
    ];
    for (number, time) in (2..).zip(times) {
        add_by_hand(&place, number);
        fs::File::options()
            .write(true)
            .open(&place.path)
            .unwrap()
            .set_modified(time)
            .unwrap();
        until("the edit is seen", || knows(&store, number));
        fs::File::options()
            .write(true)
            .open(&place.path)
            .unwrap()
            .set_modified(time + DAY)
            .unwrap();
        assert_eq!(
            store.reload().unwrap(),
            Default::default(),
            "a time alone is no change"
        );
    }
    // The same length, and a time that says that nothing happened: only the next save or reload can tell.
    let text = place.read();
    let time = fs::metadata(&place.path).unwrap().modified().unwrap();
    place.write(text.replacen("/tcp/1\n", "/tcp/7\n", 1));
    fs::File::options()
        .write(true)
        .open(&place.path)
        .unwrap()
        .set_modified(time)
        .unwrap();
    assert!(create(&store, 90));
    assert!(place.read().contains("/tcp/7\n") && !place.read().contains("/tcp/1\n"));
}

#[test]
fn an_edit_written_into_a_file_that_the_last_save_replaced_is_not_lost_when_the_store_closes() {
    use std::io::Write as _;
    let place = Place::new();
    let store = place.open();
    assert!(create(&store, 1) && store.flush().is_ok());
    let entry = keys("peers:\n  - public_key: KEY3\n    addresses: []\n");
    let edited = place.read().replacen("peers:\n", &entry, 1);
    let mut editor = fs::File::options().write(true).open(&place.path).unwrap();
    assert!(create(&store, 2) && store.flush().is_ok());
    editor.write_all(edited.as_bytes()).unwrap();
    editor.set_len(edited.len() as u64).unwrap();
    store.close().unwrap();
    let again = place.open();
    assert!((1..=3).all(|number| knows(&again, number)));
}

#[derive(Debug, Default)]
struct Saves(AtomicU64);

impl Metrics for Saves {
    fn count(&self, name: &'static str, by: u64) {
        if name == "peer_store_saves" {
            self.0.fetch_add(by, Ordering::Relaxed);
        }
    }

    fn time(&self, _: &'static str, _: Duration) {}
}

#[test]
fn a_storm_of_soft_changes_costs_few_saves_and_starves_nobody() {
    const STORM: u64 = 10_000;
    let place = Place::new();
    let saves = Arc::new(Saves::default());
    let options = place
        .options()
        .with_soft_interval(Duration::from_millis(500));
    let store = FilePeerStore::open(options.with_metrics(Arc::<Saves>::clone(&saves))).unwrap();
    assert!(create(&store, 1));
    let (before, started) = (saves.0.load(Ordering::Relaxed), Instant::now());
    let (key, addr) = (test_key(1), None);
    let touch = PeerPatch::one(PeerOp::ContactSucceeded { key, addr });
    for _ in 0..STORM {
        assert!(store.apply(&touch).unwrap().durable);
    }
    until("the storm is on disk", || store.health().durable);
    store.flush().unwrap();
    let most = 2 * started.elapsed().as_secs() + 3;
    let cost = saves.0.load(Ordering::Relaxed) - before;
    assert!(
        (1..=most).contains(&cost),
        "{cost} saves in {:?}",
        started.elapsed()
    );
    assert!(place.read().contains(&format!("ok: {STORM}")));
    std::thread::scope(|scope| {
        let storm = scope.spawn(|| (0..STORM).for_each(|_| drop(store.apply(&touch).unwrap())));
        assert!(
            create(&store, 2),
            "a hard change in a storm is on disk when it returns"
        );
        assert!(knows(&place.open(), 2));
        storm.join().unwrap();
    });
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::process::Command;

    /// Names the directory to the process with another umask.
    const DIRECTORY: &str = "BTCFED_TEST_UMASK_DIRECTORY";

    fn mode(path: &std::path::Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_hard_link_keeps_what_the_file_was_and_is_never_written() {
        let place = Place::with("peers: []\n");
        let link = place.dir.path().join("link.yaml");
        fs::hard_link(&place.path, &link).unwrap();
        let store = place.open();
        assert!(create(&store, 1));
        assert_eq!(fs::read_to_string(&link).unwrap(), "peers: []\n");
        assert!(place.read().contains(&test_key(1).to_string()));
    }

    #[test]
    fn a_relative_link_is_followed_from_where_it_stands() {
        let place = Place::new();
        fs::create_dir(place.dir.path().join("real")).unwrap();
        let target = place.dir.path().join("real/peers.yaml");
        fs::write(&target, "peers: []\n").unwrap();
        std::os::unix::fs::symlink("real/../real/peers.yaml", &place.path).unwrap();
        let store = place.open();
        assert!(create(&store, 1));
        assert!(fs::symlink_metadata(&place.path).unwrap().is_symlink());
        assert!(
            fs::read_to_string(&target)
                .unwrap()
                .contains(&test_key(1).to_string())
        );
        assert!(
            !place.dir.path().join("peers.yaml.base").exists(),
            "copies stand beside the target"
        );
    }

    /// Makes a file. Does nothing unless it is started by the test below.
    #[test]
    fn helper_process_makes_a_file() {
        let Some(directory) = std::env::var_os(DIRECTORY) else {
            return;
        };
        let path = std::path::Path::new(&directory).join("peers.yaml");
        let store = FilePeerStore::open(btcfed_peer_store::StoreOptions::new(path)).unwrap();
        (0..20).for_each(|number| assert!(create(&store, number)));
        store.close().unwrap();
    }

    #[test]
    fn new_files_follow_the_umask_and_old_ones_keep_their_mode_under_any() {
        for (umask, new) in [("000", 0o666), ("022", 0o644), ("077", 0o600)] {
            for old in [None, Some(0o600), Some(0o640)] {
                let place = Place::new();
                if let Some(old) = old {
                    place.write("peers: []\n");
                    fs::set_permissions(&place.path, fs::Permissions::from_mode(old)).unwrap();
                }
                let script = format!(
                    "umask {umask}; exec \"$0\" --exact hazards::unix::helper_process_makes_a_file"
                );
                let mut helper = Command::new("sh");
                helper
                    .args(["-c", &script])
                    .arg(std::env::current_exe().unwrap());
                let output = helper.env(DIRECTORY, place.dir.path()).output().unwrap();
                assert!(output.status.success(), "{output:?}");
                let wanted = old.unwrap_or(new);
                assert_eq!(mode(&place.path), wanted, "umask {umask}, was {old:?}");
                let base = place.dir.path().join("peers.yaml.base");
                assert_eq!(
                    mode(&base) & !wanted,
                    0,
                    "a copy is never wider: umask {umask}"
                );
            }
        }
    }
}
