//! A disk that fails: memory serves, the file is the old or the new one, and the store heals by itself.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use btcfed_core::store::StoreEvent;
use btcfed_peer_store::{Disk, FileInfo, FilePeerStore, LogFile, OsDisk, PendingFile};

use crate::common::{Place, create, keys, knows, say, told, until};

/// What disks fail with: EIO, ENOSPC, EACCES, EROFS, EMFILE, EDQUOT, EINTR, as Linux numbers them.
const ERRORS: [i32; 7] = [5, 28, 13, 30, 24, 122, 4];

/// Makes the matrix of faults whole: otherwise each operation fails with two of the errors, in turns.
const ALL_FAULTS: &str = "BTCFED_TEST_ALL_FAULTS";

/// Fails one operation, or all from one on, and counts.
#[derive(Debug, Default)]
struct Faulty {
    count: AtomicUsize,
    fail_at: AtomicUsize,
    for_ever: AtomicBool,
    /// The next sync of a journal panics.
    panics: AtomicBool,
    /// What the operating system says; 0 for an error without a number.
    error: AtomicI32,
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
        let error = self.error.load(Ordering::SeqCst);
        if fails && error > 0 {
            Err(io::Error::from_raw_os_error(error))
        } else if fails {
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

#[derive(Debug)]
struct Log(Arc<Faulty>, Box<dyn LogFile>);

impl LogFile for Log {
    fn info(&self) -> io::Result<FileInfo> {
        self.0.step("log info")?;
        self.1.info()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.step("log read")?;
        self.1.read_at(offset, buffer)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.0.step("log write") {
            // A part is written.
            self.1.write_at(offset, &bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.1.write_at(offset, bytes)
    }

    fn grow(&mut self, size: u64) -> io::Result<()> {
        self.0.step("log grow")?;
        self.1.grow(size)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let panics = self.0.panics.swap(false, Ordering::SeqCst);
        assert!(!panics, "injected");
        self.0.step("log sync")?;
        self.1.sync_data()
    }
}

impl Disk for Shared {
    fn open_log(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        self.0.step("open log")?;
        Ok(Box::new(Log(Arc::clone(&self.0), OsDisk.open_log(path)?)))
    }

    fn create_log(
        &self,
        path: &Path,
        size: u64,
        like: Option<&FileInfo>,
    ) -> io::Result<Box<dyn LogFile>> {
        self.0.step("create log")?;
        let log = OsDisk.create_log(path, size, like)?;
        Ok(Box::new(Log(Arc::clone(&self.0), log)))
    }

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

/// A session with a journal: opening, first change, two more, checkpoint, one more, a look. Returns what was acknowledged
/// as durable, and the store.
fn session(place: &Place, faulty: &Arc<Faulty>) -> (Vec<u16>, FilePeerStore) {
    let disk = Arc::new(Shared(Arc::clone(faulty)));
    let options = place.options().with_watch(false).with_journal(true);
    let options = options.with_flush_interval(std::time::Duration::from_secs(3600));
    let store = FilePeerStore::open(options.with_disk(disk)).unwrap();
    let mut durable: Vec<u16> = (1..=3).filter(|number| create(&store, *number)).collect();
    drop(store.flush());
    durable.extend(Some(4).filter(|number| create(&store, *number)));
    drop(store.reload());
    (durable, store)
}

/// What another process finds when this one is killed now.
fn killed(place: &Place) -> Place {
    let copy = Place::new();
    for path in place.beside("peers.yaml") {
        // A temporary file may go while it is copied.
        drop(std::fs::copy(
            &path,
            copy.dir.path().join(path.file_name().unwrap()),
        ));
    }
    copy
}

#[test]
fn whatever_fails_of_files_copies_and_journal_nothing_acknowledged_is_lost_and_all_heals() {
    let quiet = Arc::new(Faulty::default());
    let place = Place::new();
    let (durable, store) = session(&place, &quiet);
    assert_eq!(durable, [1, 2, 3, 4]);
    store.close().unwrap();
    let operations = quiet.count.load(Ordering::SeqCst);
    let is_all = std::env::var_os(ALL_FAULTS).is_some();
    let mut runs = 0;
    for at in 1..=operations {
        for (index, error) in ERRORS.into_iter().enumerate() {
            let is_chosen = |turn: usize| is_all || (at + turn) % ERRORS.len() == index;
            for for_ever in [false, true] {
                if is_chosen(if for_ever { 3 } else { 0 }) {
                    fail(at, error, for_ever);
                    runs += 1;
                }
            }
        }
    }
    say(&format!("{operations} operations, {runs} runs"));
    assert!(operations > 40);
}

fn fail(at: usize, error: i32, for_ever: bool) {
    let place = Place::new();
    let faulty = Arc::new(Faulty::default());
    faulty.error.store(error, Ordering::SeqCst);
    faulty.arm(at, for_ever);
    let what = |faulty: &Faulty| {
        let log = faulty.log.lock().unwrap();
        let name = log.get(at - 1).copied().unwrap_or_default();
        format!("operation {at} ({name}), error {error}, for ever {for_ever}")
    };
    let (durable, store) = session(&place, &faulty);
    let what = what(&faulty);
    assert!((1..=4).all(|number| knows(&store, number)), "{what}");
    let after_kill = killed(&place).open();
    let lost: Vec<_> = durable
        .iter()
        .filter(|number| !knows(&after_kill, **number))
        .collect();
    assert!(lost.is_empty(), "{what}: lost {lost:?} of {durable:?}");
    let is_clear = durable.len() == 4 || !for_ever || store.health().degraded.is_some();
    assert!(is_clear, "{what}: {durable:?}, {:?}", store.health());
    faulty.heal();
    until(&what, || store.health().durable);
    assert!(create(&store, 5), "{what}");
    store.close().unwrap();
    let again = place.open();
    assert!((1..=5).all(|number| knows(&again, number)), "{what}");
    assert_eq!(place.beside(".tmp-"), [] as [PathBuf; 0], "{what}");
}

#[test]
fn a_failed_sync_of_the_journal_is_followed_by_the_file_and_a_new_journal() {
    let place = Place::new();
    let faulty = Arc::new(Faulty::default());
    let disk = Arc::new(Shared(Arc::clone(&faulty)));
    let options = place.options().with_watch(false).with_journal(true);
    let options = options.with_flush_interval(std::time::Duration::from_secs(3600));
    let store = FilePeerStore::open(options.with_disk(disk)).unwrap();
    assert!(create(&store, 1) && create(&store, 4));
    let before = faulty.count.load(Ordering::SeqCst);
    assert!(create(&store, 2));
    let steps = faulty.log.lock().unwrap()[before..].to_vec();
    let sync = 1 + steps.iter().position(|step| *step == "log sync").unwrap();
    let before = faulty.count.load(Ordering::SeqCst);
    faulty.arm(sync, false);
    assert!(create(&store, 3), "the file was written instead");
    let steps = faulty.log.lock().unwrap()[before..].to_vec();
    let of = |wanted: &str| steps.iter().position(|step| *step == wanted).unwrap();
    assert_eq!(of("log sync") + 1, sync, "{steps:?}");
    assert!(of("rename") < of("create log"), "{steps:?}");
    let again = steps.iter().skip(sync).position(|step| *step == "log sync");
    assert!(again.unwrap() + sync > of("create log"), "{steps:?}");
    assert!(knows(&killed(&place).open(), 3));
}

#[test]
fn a_panic_while_one_writes_for_all_leaves_the_others_the_file_and_a_new_journal() {
    let place = Place::new();
    let faulty = Arc::new(Faulty::default());
    let disk = Arc::new(Shared(Arc::clone(&faulty)));
    let options = place.options().with_watch(false).with_journal(true);
    let store = FilePeerStore::open(options.with_disk(disk)).unwrap();
    assert!(create(&store, 1) && create(&store, 2));
    faulty.panics.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let failed = scope.spawn(|| create(&store, 3)).join();
        assert!(failed.is_err(), "whoever wrote for all");
    });
    assert!((4..=6).all(|number| create(&store, number)));
    store.close().unwrap();
    let again = place.open();
    assert!((1..=6).all(|number| knows(&again, number)));
}
