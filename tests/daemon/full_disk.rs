//! A disk that runs full below a running node: memory serves, nothing answered as durable is lost, and it heals.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use btcfed_core::testing::test_key;

use crate::common::config::yaml;
use crate::common::daemon::Daemon;
use crate::common::{skipped, wait_for};

const LIMIT: Duration = Duration::from_secs(60);

/// A small disk of its own at `disk` in a directory. Unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(dir: &Path, size: &str) -> Option<Self> {
        let disk = Self(dir.join("disk"));
        fs::create_dir(&disk.0).unwrap();
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]);
        let mounted = mount.arg(&disk.0).output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(disk);
        }
        skipped("no disk can be mounted here; this needs root");
        None
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Takes all room there is.
    fn fill(&self) {
        use std::io::Write as _;
        let mut filler = fs::File::options()
            .create(true)
            .append(true)
            .open(self.filler())
            .unwrap();
        while filler.write_all(&[7; 512]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        if !std::thread::panicking() {
            assert!(unmounted.unwrap().success());
        }
    }
}

/// Fills the disk when the node has let go of the files that it replaced: until then they take room that comes back.
fn fill_for_good(disk: &SmallDisk, node: &Daemon) {
    let holds_replaced = || {
        let open = fs::read_dir(format!("/proc/{}/fd", node.pid())).unwrap();
        let mut leads_to = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        leads_to
            .any(|path| path.starts_with(&disk.0) && path.to_string_lossy().ends_with("(deleted)"))
    };
    wait_for("replaced files let go", LIMIT, || {
        (!holds_replaced()).then_some(())
    });
    disk.fill();
}

/// Adds a peer; says whether that was durable.
fn add(node: &Daemon, number: u16) -> bool {
    let target = format!("{}@127.0.0.1:1", test_key(number).peer_id());
    let added = node.json(&["peers", "add", &target]);
    added["durable"].as_bool().unwrap()
}

fn knows(node: &Daemon, numbers: impl IntoIterator<Item = u16>) {
    let known = node.known();
    for number in numbers {
        let id = test_key(number).peer_id().to_string();
        assert!(known.contains(&id), "{number} is gone");
    }
}

fn count(node: &Daemon, words: &str) -> usize {
    node.log().matches(words).count()
}

/// Until the store is degraded because of this disk, which stays full; or, without one, until it is well again.
fn wait_for_degraded(node: &Daemon, full: Option<&SmallDisk>) {
    let is_degraded = full.is_some();
    wait_for("what the store says of itself", LIMIT, || {
        if let Some(disk) = full {
            disk.fill();
        }
        let store = &node.json(&["status"])["store"];
        let wanted = if is_degraded { "degraded" } else { "ok" };
        (store["state"] == wanted && store["durable"] == !is_degraded).then_some(())
    });
}

/// The node serves while the disk of this size is full, also after a kill, and heals.
fn serves_and_heals(size: &str, has_journal: bool) {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path(), size) else {
        return;
    };
    let file = disk.0.join("peers.yaml");
    let text = yaml(&[]).replace("peers:\n", &format!("peers:\n  file: {}\n", file.display()));
    fs::write(dir.path().join("conf.yaml"), text).unwrap();
    let mut node = Daemon::start(dir.path());
    assert!((0..5).all(|number| add(&node, number)));
    let journal = file.with_file_name("peers.yaml.journal");
    assert_eq!(journal.exists(), has_journal, "{size}");

    fill_for_good(&disk, &node);
    let durable: Vec<u16> = (5..40).filter(|number| add(&node, *number)).collect();
    // What was acknowledged is in the room the journal had; the file cannot follow.
    assert_eq!(!durable.is_empty(), has_journal, "{size}: {durable:?}");
    wait_for_degraded(&node, Some(&disk));
    let cannot = "cannot be saved";
    wait_for("the warning", LIMIT, || {
        (count(&node, cannot) > 0).then_some(())
    });
    assert!(!add(&node, 40));
    knows(&node, 0..41);
    assert_eq!(node.json(&["status"])["state"], "degraded");
    assert_eq!(count(&node, cannot), 1, "{}", node.log());

    // Killed while nothing can be written: what was durable is known by the next one, which cannot write either.
    node.kill();
    let mut node = Daemon::start(dir.path());
    knows(&node, (0..5).chain(durable.iter().copied()));
    // The start removed what the interrupted save had left.
    fill_for_good(&disk, &node);
    add(&node, 50);
    add(&node, 51);
    wait_for_degraded(&node, Some(&disk));
    knows(&node, [50, 51]);

    disk.free();
    wait_for_degraded(&node, None);
    assert!(add(&node, 52));
    assert_eq!(count(&node, cannot), 1, "{}", node.log());
    assert_eq!(count(&node, "is saved again"), 1, "{}", node.log());
    node.kill();
    let mut node = Daemon::start(dir.path());
    knows(&node, (0..5).chain(50..53).chain(durable));
    node.terminate();
}

#[test]
fn a_disk_too_small_for_a_journal_that_runs_full_stops_nothing_and_loses_nothing_durable() {
    serves_and_heals("64k", false);
}

#[test]
fn a_disk_that_runs_full_beside_the_journal_stops_nothing_and_loses_nothing_durable() {
    serves_and_heals("1200k", true);
}
