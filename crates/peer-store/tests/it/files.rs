//! Odd things at the path: links, pipes, directories, permissions, locks.

use std::fs;
use std::time::{Duration, Instant};

use btcfed_core::store::StoreEvent;
use btcfed_core::testing::test_key;
use btcfed_peer_store::{FilePeerStore, StoreOptions};

use crate::common::{Place, create, keys, knows, say, told, until};

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
    use std::process::Command;

    fn mode(path: &std::path::Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn permissions_and_owner_are_kept_over_many_saves() {
        for wanted in [0o600, 0o644, 0o640, 0o660] {
            let place = Place::with("peers: []\n");
            fs::set_permissions(&place.path, fs::Permissions::from_mode(wanted)).unwrap();
            let owner = fs::metadata(&place.path).unwrap().uid();
            let store = place.open();
            for number in 0..100 {
                assert!(create(&store, number));
                assert_eq!(mode(&place.path), wanted);
            }
            assert_eq!(fs::metadata(&place.path).unwrap().uid(), owner);
        }
    }

    #[test]
    fn another_owner_stays_the_owner_when_root_saves() {
        let place = Place::with("peers: []\n");
        if std::os::unix::fs::chown(&place.path, Some(12_345), Some(12_346)).is_err() {
            say("SKIPPED: only root may give files away");
            return;
        }
        let store = place.open();
        assert!(create(&store, 1));
        let metadata = fs::metadata(&place.path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (12_345, 12_346));
    }

    #[test]
    fn a_symbolic_link_stays_a_link_and_its_target_is_written_and_watched() {
        let place = Place::new();
        let other = tempfile::tempdir().unwrap();
        let target = other.path().join("real.yaml");
        fs::write(&target, "# real\npeers: []\n").unwrap();
        symlink(&target, &place.path).unwrap();
        let store = place.open();
        assert!(create(&store, 1));
        assert!(fs::symlink_metadata(&place.path).unwrap().is_symlink());
        let text = fs::read_to_string(&target).unwrap();
        assert!(text.starts_with("# real\n") && text.contains(&test_key(1).to_string()));
        let entry = keys("  - public_key: KEY2\nsections:");
        fs::write(
            &target,
            fs::read_to_string(&target)
                .unwrap()
                .replacen("sections:", &entry, 1),
        )
        .unwrap();
        until("an edit of the target is noticed", || knows(&store, 2));
        fs::write(&target, "peers: []\n").unwrap();
        until("and another one", || store.snapshot().is_empty());
    }

    #[test]
    fn a_dangling_link_is_a_first_run_and_a_loop_is_degraded() {
        let place = Place::new();
        let target = place.dir.path().join("real.yaml");
        symlink("real.yaml", &place.path).unwrap();
        let store = place.open();
        assert!(create(&store, 1) && target.exists());
        let place = Place::new();
        symlink(&place.path, &place.path).unwrap();
        let store = place.open();
        assert!(store.health().degraded.is_some());
        assert!(!create(&store, 1) && knows(&store, 1));
    }

    #[test]
    fn a_pipe_a_directory_and_a_device_never_block_and_heal_when_they_are_gone() {
        for kind in ["pipe", "directory", "device", "socket"] {
            let place = Place::new();
            match kind {
                "pipe" => assert!(
                    Command::new("mkfifo")
                        .arg(&place.path)
                        .status()
                        .unwrap()
                        .success()
                ),
                "directory" => fs::create_dir(&place.path).unwrap(),
                "socket" => drop(std::os::unix::net::UnixListener::bind(&place.path).unwrap()),
                _ => symlink("/dev/zero", &place.path).unwrap(),
            }
            let started = Instant::now();
            let store = place.open();
            assert!(started.elapsed() < Duration::from_secs(2), "{kind}");
            assert!(
                store
                    .health()
                    .degraded
                    .unwrap()
                    .contains("not a regular file"),
                "{kind}"
            );
            let mut events = store.subscribe();
            assert!(!create(&store, 1) && knows(&store, 1), "{kind}");
            match kind {
                "directory" => fs::remove_dir(&place.path).unwrap(),
                _ => fs::remove_file(&place.path).unwrap(),
            }
            until("the store heals", || store.health().durable);
            assert!(told(&mut events).contains(&StoreEvent::Healed), "{kind}");
            assert!(place.read().contains(&test_key(1).to_string()));
        }
        assert!(
            fs::metadata("/dev/zero")
                .unwrap()
                .file_type()
                .is_char_device()
        );
    }

    #[test]
    fn a_read_only_directory_degrades_and_heals() {
        let place = Place::with(keys("peers:\n  - public_key: KEY1\n"));
        fs::set_permissions(place.dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
        if fs::write(place.dir.path().join("probe"), "x").is_ok() {
            say("SKIPPED: permission bits do not bind this user (root)");
            fs::remove_file(place.dir.path().join("probe")).unwrap();
            return;
        }
        let store = place.open();
        assert!(
            knows(&store, 1) && store.health().degraded.is_none(),
            "reading needs no lock file"
        );
        assert!(!create(&store, 2) && knows(&store, 2));
        fs::set_permissions(place.dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        until("the store heals", || store.health().durable);
    }
}

#[test]
fn a_lock_held_by_somebody_else_degrades_within_the_timeout_and_heals() {
    let place = Place::with(keys("peers:\n  - public_key: KEY1\n"));
    let store = place.open();
    let lock = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(place.path.with_extension("yaml.lock"));
    let mut lock = fd_lock::RwLock::new(lock.unwrap());
    let guard = lock.write().unwrap();
    let started = Instant::now();
    assert!(!create(&store, 2) && knows(&store, 2));
    assert!(
        started.elapsed() < Duration::from_millis(800),
        "{:?}",
        started.elapsed()
    );
    assert!(store.health().degraded.unwrap().contains("is locked"));
    let second = place.open();
    assert!(knows(&second, 1), "reading goes on without the lock");
    drop(guard);
    until("both are whole again", || {
        store.health().durable && second.health().durable
    });
    assert!(place.read().contains(&test_key(2).to_string()));
}

#[test]
fn a_file_larger_than_allowed_is_neither_read_nor_overwritten() {
    let text = format!("# {}\n", "x".repeat(5000));
    let place = Place::with(&text);
    let store = FilePeerStore::open(place.options().with_max_file_bytes(4096)).unwrap();
    assert!(
        store
            .health()
            .degraded
            .unwrap()
            .contains("larger than 4096 bytes")
    );
    assert!(!create(&store, 1));
    drop(store);
    assert_eq!(place.read(), text);
}

#[test]
fn leftovers_of_a_crashed_save_are_removed_at_the_next_start() {
    let place = Place::with("peers: []\n");
    fs::write(place.dir.path().join(".peers.yaml.tmp-999-0"), "half").unwrap();
    let store = place.open();
    assert_eq!(place.beside(".tmp-").len(), 0);
    assert!(create(&store, 1));
}

#[test]
fn a_directory_deleted_under_the_store_degrades_it_and_a_new_one_heals_it() {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("state");
    let path = dir.join("peers.yaml");
    let options = StoreOptions::new(&path).with_retry_after(Duration::from_millis(20));
    let store = FilePeerStore::open(options).unwrap();
    assert!(create(&store, 1));
    fs::remove_dir_all(&dir).unwrap();
    assert!(!create(&store, 2));
    fs::create_dir(&dir).unwrap();
    until("the store heals", || store.health().durable);
    let text = fs::read_to_string(&path).unwrap();
    assert!((1..=2).all(|number| text.contains(&test_key(number).to_string())));
}

/// Makes the test below count its threads instead of starting a process.
const COUNTING: &str = "BTCFED_TEST_COUNT_THREADS";

#[test]
fn closing_leaves_no_thread_behind() {
    if std::env::var_os(COUNTING).is_none() {
        // A process of its own, because the other tests of this one have threads too.
        let mut counting = std::process::Command::new(std::env::current_exe().unwrap());
        counting
            .args(["--exact", "files::closing_leaves_no_thread_behind"])
            .env(COUNTING, "1");
        assert!(counting.status().unwrap().success());
        return;
    }
    let Ok(threads) = fs::read_dir("/proc/self/task").map(Iterator::count) else {
        return say("SKIPPED: threads can be counted on Linux only");
    };
    for _ in 0..20 {
        let place = Place::new();
        let store = place.open();
        assert!(create(&store, 1));
        drop(store);
    }
    until("all threads are gone", || {
        fs::read_dir("/proc/self/task").unwrap().count() <= threads
    });
}
