//! A disk that fails: memory serves, the file is the old or the new one, and the store heals by itself.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use btcfed_core::store::StoreEvent;
use btcfed_peer_store::{Disk, FileInfo, FilePeerStore, OsDisk, PendingFile};

use crate::common::{Place, create, keys, knows, told, until};

/// Fails one operation, or all from one on, and counts.
#[derive(Debug, Default)]
struct Faulty {
    count: AtomicUsize,
    fail_at: AtomicUsize,
    for_ever: AtomicBool,
    log: Mutex<Vec<&'static str>>,
}

impl Faulty {
    fn arm(&self, at: usize, for_ever: bool) {
        self.for_ever.store(for_ever, Ordering::SeqCst);
        self.fail_at
            .store(self.count.load(Ordering::SeqCst) + at, Ordering::SeqCst);
    }

    fn heal(&self) {
        self.fail_at.store(0, Ordering::SeqCst);
    }

    fn step(&self, what: &'static str) -> io::Result<()> {
        self.log.lock().unwrap().push(what);
        let now = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        let at = self.fail_at.load(Ordering::SeqCst);
        let fails = at > 0 && (now == at || (now > at && self.for_ever.load(Ordering::SeqCst)));
        if fails {
            Err(io::Error::new(io::ErrorKind::StorageFull, "injected"))
        } else {
            Ok(())
        }
    }
}

#[derive(Debug)]
struct Shared(Arc<Faulty>);

#[derive(Debug)]
struct Pending(Arc<Faulty>, Box<dyn PendingFile>);

impl PendingFile for Pending {
    fn sync(self: Box<Self>) -> io::Result<()> {
        self.0.step("sync")?;
        self.1.sync()
    }
}

impl Disk for Shared {
    fn metadata(&self, path: &Path) -> io::Result<FileInfo> {
        self.0.step("metadata")?;
        OsDisk.metadata(path)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.0.step("read")?;
        OsDisk.read(path, limit)
    }

    fn write_new(
        &self,
        path: &Path,
        bytes: &[u8],
        like: Option<&FileInfo>,
    ) -> io::Result<Box<dyn PendingFile>> {
        if let Err(error) = self.0.step("write_new") {
            // A full disk leaves a part of the file.
            drop(OsDisk.write_new(path, &bytes[..bytes.len() / 2], like));
            return Err(error);
        }
        Ok(Box::new(Pending(
            Arc::clone(&self.0),
            OsDisk.write_new(path, bytes, like)?,
        )))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.step("rename")?;
        OsDisk.rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.step("sync_dir")?;
        OsDisk.sync_dir(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.step("remove")?;
        OsDisk.remove(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.0.step("list")?;
        OsDisk.list(path)
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.0.step("resolve")?;
        OsDisk.resolve(path)
    }
}

/// A store without a journal on a disk that can fail.
fn open(place: &Place) -> (FilePeerStore, Arc<Faulty>) {
    let faulty = Arc::new(Faulty::default());
    let disk = Arc::new(Shared(Arc::clone(&faulty)));
    let options = place.options().with_watch(false).with_journal(false);
    let store = FilePeerStore::open(options.with_disk(disk)).unwrap();
    (store, faulty)
}

/// How many operations one save takes.
fn operations_of_a_save() -> usize {
    let place = Place::with("peers: []\n");
    let (store, faulty) = open(&place);
    let before = faulty.count.load(Ordering::SeqCst);
    assert!(create(&store, 1));
    let steps = faulty.log.lock().unwrap()[before..].to_vec();
    let expected = [
        "resolve",
        "metadata",
        "read",
        "metadata",
        "write_new",
        "sync",
        "rename",
        "sync_dir",
        "metadata",
    ];
    assert_eq!(steps, expected, "the documented sequence");
    steps.len()
}

#[test]
fn failing_any_operation_of_a_save_leaves_the_old_or_the_new_file_and_heals() {
    let operations = operations_of_a_save();
    for for_ever in [false, true] {
        for at in 1..=operations {
            let place = Place::with(keys("# mine\npeers:\n  - public_key: KEY1 # c\n"));
            let (store, faulty) = open(&place);
            let old = place.read();
            let mut events = store.subscribe();
            faulty.arm(at, for_ever);
            let durable = create(&store, 2);
            assert!(
                knows(&store, 1) && knows(&store, 2),
                "memory serves, operation {at}"
            );
            let now = place.read();
            assert!(
                now == old || (now.contains("KEY1 # c") || now.contains(" # c\n")),
                "operation {at}: {now}"
            );
            if durable {
                assert!(
                    at == operations,
                    "only the last look may fail unnoticed, not operation {at}"
                );
                continue;
            }
            assert!(
                store
                    .health()
                    .degraded
                    .is_some_and(|reason| reason.contains("injected"))
            );
            assert!(!create(&store, 3), "no waiting for a sick disk");
            faulty.heal();
            until("the store heals", || store.health().durable);
            let told = told(&mut events);
            let count =
                |wanted: fn(&StoreEvent) -> bool| told.iter().filter(|event| wanted(event)).count();
            assert_eq!(
                count(|event| matches!(event, StoreEvent::Degraded { .. })),
                1,
                "operation {at}: {told:?}"
            );
            assert_eq!(
                count(|event| matches!(event, StoreEvent::Healed)),
                1,
                "operation {at}: {told:?}"
            );
            store.close().unwrap();
            let again = place.open();
            assert!((1..=3).all(|number| knows(&again, number)));
            assert!(place.read().starts_with("# mine\n") && place.read().contains(" # c\n"));
            assert_eq!(place.beside(".tmp-"), [] as [PathBuf; 0], "operation {at}");
        }
    }
}

#[test]
fn a_failed_sync_is_followed_by_a_new_file_and_never_by_a_second_try() {
    let place = Place::with("peers: []\n");
    let (store, faulty) = open(&place);
    let before = faulty.count.load(Ordering::SeqCst);
    faulty.arm(6, false);
    assert!(!create(&store, 1));
    until("the store heals", || store.health().durable);
    let steps = faulty.log.lock().unwrap()[before..].to_vec();
    let failed = steps.iter().position(|step| *step == "sync").unwrap();
    assert_eq!(steps[failed + 1], "remove");
    let next = steps[failed + 1..]
        .iter()
        .position(|step| *step == "sync")
        .unwrap();
    assert!(
        steps[failed + 1..][..next].contains(&"write_new"),
        "{steps:?}"
    );
}

#[test]
fn nothing_is_written_while_damaged_bytes_cannot_be_kept() {
    let place = Place::with("garbage\n");
    let faulty = Arc::new(Faulty::default());
    faulty.arm(5, true);
    let disk = Arc::new(Shared(Arc::clone(&faulty)));
    let store = FilePeerStore::open(place.options().with_watch(false).with_disk(disk)).unwrap();
    assert!(!create(&store, 1) || place.beside("damaged").len() == 1);
    assert!(place.read() == "garbage\n" || place.beside("damaged").len() == 1);
    faulty.heal();
    until("the store heals", || store.health().durable);
    assert_eq!(place.beside("damaged").len(), 1);
    assert_eq!(
        std::fs::read_to_string(&place.beside("damaged")[0]).unwrap(),
        "garbage\n"
    );
    assert!(place.read().contains("peers:"));
}

#[test]
fn a_disk_sick_at_the_end_makes_closing_say_so() {
    let place = Place::new();
    let (store, faulty) = open(&place);
    faulty.arm(1, true);
    assert!(!create(&store, 1));
    assert!(store.flush().is_err() && store.reload().is_err());
    assert!(store.close().unwrap_err().to_string().contains("injected"));
}
