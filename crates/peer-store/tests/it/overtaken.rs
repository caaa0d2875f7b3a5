//! Saves and edits that overtake each other, step by step: what happens between two steps of a save is done there on purpose.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use btcfed_core::ban::{Ban, BanReason, BanTarget, Issuer};
use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::testing::{ManualClock, test_addr, test_key};
use btcfed_core::time::Timestamp;
use btcfed_peer_store::{
    Disk, FileInfo, FilePeerStore, HeldFile, LogFile, OsDisk, PendingFile, StoreOptions,
};

use crate::common::{Place, create, knows, until};

type Deed = Box<dyn FnOnce() + Send>;

/// The real disk, with something else happening just before the peers file is replaced; and it can refuse to sync the
/// directory once.
#[derive(Clone, Default)]
struct Interrupted(Arc<Mutex<Option<Deed>>>, Arc<AtomicBool>);

impl fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupted")
    }
}

impl Interrupted {
    /// At the next save, after it looked at the file for the last time, `deed` is done.
    fn before_the_next_save(&self, deed: impl FnOnce() + Send + 'static) {
        *self.0.lock().unwrap() = Some(Box::new(deed));
    }
}

impl Disk for Interrupted {
    fn metadata(&self, path: &Path) -> io::Result<FileInfo> {
        OsDisk.metadata(path)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        OsDisk.read(path, limit)
    }

    fn write_new(
        &self,
        path: &Path,
        bytes: &[u8],
        like: Option<&FileInfo>,
    ) -> io::Result<Box<dyn PendingFile>> {
        OsDisk.write_new(path, bytes, like)
    }

    fn hold(&self, path: &Path) -> io::Result<Box<dyn HeldFile>> {
        OsDisk.hold(path)
    }

    fn open_log(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        OsDisk.open_log(path)
    }

    fn create_log(
        &self,
        path: &Path,
        size: u64,
        like: Option<&FileInfo>,
    ) -> io::Result<Box<dyn LogFile>> {
        OsDisk.create_log(path, size, like)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<Option<Box<dyn HeldFile>>> {
        let deed = if to.ends_with("peers.yaml") {
            self.0.lock().unwrap().take()
        } else {
            None
        };
        if let Some(deed) = deed {
            deed();
        }
        OsDisk.replace(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if self.1.swap(false, Ordering::SeqCst) {
            return Err(io::Error::other("refused once"));
        }
        OsDisk.sync_dir(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        OsDisk.list(path)
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        OsDisk.resolve(path)
    }
}

/// A store that looks at the file only when it is told to, and saves only when it is told to or closed.
fn options(place: &Place, journal: bool) -> StoreOptions {
    let options = place.options().with_watch(false).with_journal(journal);
    options.with_flush_interval(Duration::from_secs(3600))
}

fn quiet(place: &Place, journal: bool) -> FilePeerStore {
    FilePeerStore::open(options(place, journal)).unwrap()
}

/// A store on a disk that can be interrupted.
fn interrupted(place: &Place, journal: bool) -> (FilePeerStore, Interrupted) {
    let disk = Interrupted::default();
    let options = options(place, journal).with_disk(Arc::new(disk.clone()));
    (FilePeerStore::open(options).unwrap(), disk)
}

fn with_entry(text: &str, number: u16) -> String {
    let entry = format!(
        "  - public_key: {} # by hand\n    addresses: []\nbans:",
        test_key(number)
    );
    text.replacen("bans:", &entry, 1)
}

fn without_entry(text: &str, number: u16) -> String {
    let start = text
        .find(&format!("  - public_key: {}", test_key(number)))
        .unwrap();
    let rest = &text[start + 4..];
    let end = rest.find("\n  - ").or_else(|| rest.find("\nbans:"));
    format!("{}{}", &text[..start], &rest[end.unwrap() + 1..])
}

/// Renames `text` over the file, as editors do.
fn rename_over(path: &Path, text: &str) {
    let temp = path.with_file_name("4913");
    std::fs::write(&temp, text).unwrap();
    std::fs::rename(temp, path).unwrap();
}

#[track_caller]
fn all(store: &FilePeerStore, numbers: &[u16]) {
    let lost: Vec<&u16> = numbers
        .iter()
        .filter(|number| !knows(store, **number))
        .collect();
    assert!(lost.is_empty(), "{lost:?} of {numbers:?} are gone");
}

#[test]
fn an_edit_renamed_over_the_file_at_the_moment_it_is_replaced_is_in_the_file_when_the_save_returns()
{
    for journal in [false, true] {
        let place = Place::with("peers: []\nbans: []\n");
        let (store, disk) = interrupted(&place, journal);
        assert!(create(&store, 1) && store.flush().is_ok());
        let (path, edited) = (place.path.clone(), with_entry(&place.read(), 9));
        disk.before_the_next_save(move || rename_over(&path, &edited));
        assert!(create(&store, 2) && store.flush().is_ok());
        all(&store, &[1, 2, 9]);
        let key = test_key(9).to_string();
        assert!(
            place.read().contains(&format!("{key} # by hand")),
            "journal {journal}: {}",
            place.read()
        );
        assert_eq!(store.snapshot().forgotten().count(), 0);
        assert_eq!(place.beside(".tmp-").len(), 0);
    }
}

#[test]
fn an_edit_renamed_over_a_large_file_at_the_moment_it_is_replaced_is_not_lost() {
    let remarks = format!("# {}\n", "x".repeat(1000)).repeat(9 * 1024);
    let place = Place::with(format!("{remarks}peers: []\nbans: []\n"));
    let (store, disk) = interrupted(&place, true);
    assert!(create(&store, 1) && store.flush().is_ok());
    let (path, edited) = (place.path.clone(), with_entry(&place.read(), 9));
    disk.before_the_next_save(move || rename_over(&path, &edited));
    assert!(create(&store, 2) && store.flush().is_ok());
    all(&store, &[1, 2, 9]);
    assert!(place.read().contains("# by hand"));
}

#[test]
fn an_edit_renamed_over_the_file_by_a_save_whose_last_step_fails_is_not_lost() {
    for journal in [false, true] {
        let place = Place::with("peers: []\nbans: []\n");
        let (store, disk) = interrupted(&place, journal);
        assert!(create(&store, 1) && store.flush().is_ok());
        let (path, edited) = (place.path.clone(), with_entry(&place.read(), 9));
        let refused = disk.clone();
        disk.before_the_next_save(move || {
            rename_over(&path, &edited);
            refused.1.store(true, Ordering::SeqCst);
        });
        create(&store, 2);
        until("the save succeeds", || store.flush().is_ok());
        assert!(!disk.1.load(Ordering::SeqCst), "nothing was refused");
        all(&store, &[1, 2, 9]);
        assert!(place.read().contains(&test_key(9).to_string()));
    }
}

/// A store that saved while an editor had the file open, which now writes into the replaced file.
fn edited_late(place: &Place) -> FilePeerStore {
    let store = quiet(place, false);
    assert!(create(&store, 1));
    let edited = with_entry(&place.read(), 9);
    let mut editor = std::fs::File::options()
        .write(true)
        .open(&place.path)
        .unwrap();
    assert!(create(&store, 2));
    editor.write_all(edited.as_bytes()).unwrap();
    store
}

#[test]
fn an_edit_found_while_the_file_itself_cannot_be_read_is_told_with_the_next_look() {
    let place = Place::with("peers: []\nbans: []\n");
    let store = edited_late(&place);
    let saved = place.read();
    std::fs::remove_file(&place.path).unwrap();
    std::fs::create_dir(&place.path).unwrap();
    until("the edit is found", || {
        assert!(store.reload().is_err());
        knows(&store, 9)
    });
    std::fs::remove_dir(&place.path).unwrap();
    place.write(saved);
    let changes = store.reload().unwrap().changes;
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(store.reload().unwrap().changes.is_empty());
}

#[test]
fn an_edit_found_in_a_replaced_file_keeps_its_words_when_the_file_is_emptied_then() {
    let place = Place::with("peers: []\nbans: []\n");
    let store = edited_late(&place);
    let saved = place.read();
    std::fs::remove_file(&place.path).unwrap();
    std::fs::create_dir(&place.path).unwrap();
    until("the edit is found", || {
        assert!(store.reload().is_err());
        knows(&store, 9)
    });
    std::fs::remove_dir(&place.path).unwrap();
    place.write(&saved[..saved.find("peers:").unwrap()]);
    store.reload().unwrap();
    store.flush().unwrap();
    all(&store, &[1, 2, 9]);
    assert!(place.read().contains("# by hand"), "{}", place.read());
}

#[test]
fn a_file_made_by_hand_at_the_moment_of_the_first_save_is_not_lost() {
    let place = Place::new();
    let (store, disk) = interrupted(&place, true);
    let path = place.path.clone();
    let made = with_entry("peers:\nbans: []\n", 9);
    disk.before_the_next_save(move || rename_over(&path, &made));
    assert!(create(&store, 1));
    all(&store, &[1, 9]);
    assert!(place.read().contains(&test_key(9).to_string()));
}

#[test]
fn an_edit_that_two_processes_replace_in_turns_is_lost_to_neither() {
    for journal in [false, true] {
        let place = Place::with("peers: []\nbans: []\n");
        let one = quiet(&place, journal);
        assert!(create(&one, 1) && one.flush().is_ok());
        let two = quiet(&place, journal);
        let edited = with_entry(&place.read(), 9);
        // An editor has the file open for writing while the first process replaces it, and writes when the second one has
        // saved already.
        let mut editor = std::fs::File::options()
            .write(true)
            .open(&place.path)
            .unwrap();
        assert!(create(&one, 2) && one.flush().is_ok());
        assert!(create(&two, 3) && two.flush().is_ok());
        editor.write_all(edited.as_bytes()).unwrap();
        one.reload().unwrap();
        assert!(create(&two, 4) && two.flush().is_ok());
        one.reload().unwrap();
        all(&one, &[1, 2, 3, 4, 9]);
        one.close().unwrap();
        two.reload().unwrap();
        all(&two, &[1, 2, 3, 4, 9]);
        two.close().unwrap();
        all(&place.open(), &[1, 2, 3, 4, 9]);
        assert_eq!(place.open().snapshot().forgotten().count(), 0);
    }
}

#[test]
fn two_processes_never_give_the_same_number_to_different_saves() {
    let place = Place::with("peers: []\nbans: []\n");
    let (one, two) = (quiet(&place, true), quiet(&place, true));
    assert!(create(&one, 1) && one.flush().is_ok());
    let old = place.read();
    assert!(create(&one, 2) && one.flush().is_ok());
    // The second process meets the edit of a save before the last, which it never read.
    rename_over(&place.path, &with_entry(&old, 9));
    assert!(create(&two, 3) && two.flush().is_ok());
    assert!(two.health().generation > one.health().generation);
    all(&two, &[1, 2, 3, 9]);
    one.reload().unwrap();
    all(&one, &[1, 2, 3, 9]);
}

#[test]
fn a_save_of_the_same_number_by_a_process_that_had_not_read_this_one_deletes_nothing() {
    let place = Place::with("peers: []\nbans: []\n");
    let (one, two) = (quiet(&place, false), quiet(&place, false));
    assert!(create(&one, 1));
    two.reload().unwrap();
    let old = place.read();
    assert!(create(&one, 2));
    rename_over(&place.path, &with_entry(&old, 9));
    // Without a journal nothing tells it that there was another save of that number.
    assert!(create(&two, 3));
    assert_eq!(two.health().generation, one.health().generation);
    one.reload().unwrap();
    all(&one, &[1, 2, 3, 9]);
    assert!(create(&one, 4));
    two.reload().unwrap();
    all(&two, &[1, 2, 3, 4, 9]);
    assert_eq!(two.snapshot().forgotten().count(), 0);
}

#[test]
fn an_edit_of_another_save_of_the_same_number_deletes_nothing() {
    let place = Place::with("peers: []\nbans: []\n");
    let store = quiet(&place, false);
    assert!(create(&store, 1));
    let other = place.read();
    assert!(create(&store, 2));
    let number = store.health().generation;
    let same = other.replace(
        &format!("generation: {}\n", number - 1),
        &format!("generation: {number}\n"),
    );
    rename_over(&place.path, &with_entry(&same, 9));
    store.reload().unwrap();
    all(&store, &[1, 2, 9]);
    // The same save, edited: what is missing was deleted.
    store.flush().unwrap();
    rename_over(&place.path, &without_entry(&place.read(), 9));
    store.reload().unwrap();
    assert!(!knows(&store, 9) && knows(&store, 2));
}

/// A ban of an address by the operator.
fn ban_of(ip: &str) -> Ban {
    Ban {
        target: BanTarget::Ip(ip.parse().unwrap()),
        reason: BanReason::Other("by the operator".into()),
        since: Timestamp::from_secs(1),
        until: None,
        by: Issuer::Operator,
        evidence: None,
    }
}

fn apply(store: &FilePeerStore, op: PeerOp) {
    store.apply(&PeerPatch::one(op)).unwrap();
}

fn rename(store: &FilePeerStore, number: u16, name: &str) {
    let mut record = store.snapshot().get(&test_key(number)).unwrap();
    record.name = Some(name.into());
    apply(store, PeerOp::Update(Box::new(record)));
}

fn name_of(store: &FilePeerStore, number: u16) -> Option<String> {
    store.snapshot().get(&test_key(number)).unwrap().name
}

/// An editor opened the file, the node changed and lifted and removed and ended, and then the editor saved: it named the
/// third peer, and added the ninth and a ban.
fn edited_since_before_the_last_saves(journal: bool) -> Place {
    let place = Place::with("peers: []\nbans: []\n");
    let clock = Arc::new(ManualClock::default());
    let open = || {
        clock.advance(Duration::from_secs(100));
        let clock = Arc::<ManualClock>::clone(&clock);
        FilePeerStore::open(options(&place, journal).with_clock(clock)).unwrap()
    };
    let store = open();
    for number in [1, 3, 4, 5] {
        assert!(create(&store, number));
    }
    apply(&store, PeerOp::Ban(ban_of("192.0.2.1")));
    store.close().unwrap();
    let store = open();
    let entry = |number| {
        let addr = test_addr(number);
        format!("- {addr}\n")
    };
    let named = format!("{}    name: by hand\n", entry(3));
    let edited = with_entry(&place.read(), 9)
        .replacen(&entry(3), &named, 1)
        .replacen(
            "bans:\n",
            "bans:\n  - {ip: 192.0.2.9, reason: by hand}\n",
            1,
        );
    assert!(edited.contains("name: by hand") && edited.contains("192.0.2.9"));
    rename(&store, 1, "later");
    apply(
        &store,
        PeerOp::Remove {
            key: test_key(4),
            by: Issuer::Operator,
        },
    );
    apply(&store, PeerOp::Unban(ban_of("192.0.2.1").target));
    assert!(create(&store, 2) && store.flush().is_ok());
    store.close().unwrap();
    rename_over(&place.path, &edited);
    place
}

#[track_caller]
fn nothing_was_undone(store: &FilePeerStore) {
    all(store, &[1, 2, 3, 5, 9]);
    assert_eq!(name_of(store, 1).as_deref(), Some("later"));
    assert!(!knows(store, 4), "removed, and back again");
    let set = store.snapshot();
    let marks: Vec<_> = set.forgotten().map(|(key, _)| *key).collect();
    assert_eq!(marks, [test_key(4)]);
    let bans: Vec<_> = set.bans().map(|ban| ban.target).collect();
    assert_eq!(bans, [ban_of("192.0.2.9").target]);
}

#[test]
fn an_editor_that_had_the_file_open_since_before_the_last_saves_of_a_node_that_ended_undoes_nothing()
 {
    for journal in [false, true] {
        let place = edited_since_before_the_last_saves(journal);
        let again = place.open();
        nothing_was_undone(&again);
        assert_eq!(name_of(&again, 3).as_deref(), Some("by hand"));
        let generation = again.health().generation;
        again.flush().unwrap();
        assert!(again.health().generation > generation);
        again.close().unwrap();
        nothing_was_undone(&place.open());
        assert_eq!(place.beside(".damaged-").len(), 0);
    }
}

#[test]
fn an_edit_of_a_save_that_no_copy_has_any_more_undoes_nothing_and_stays_beside() {
    for journal in [false, true] {
        let place = edited_since_before_the_last_saves(journal);
        for copy in place
            .beside(".old-")
            .into_iter()
            .chain(place.beside(".before"))
        {
            std::fs::remove_file(copy).unwrap();
        }
        let again = place.open();
        nothing_was_undone(&again);
        assert_eq!(name_of(&again, 3), None, "nobody knows who wrote it last");
        assert_eq!(place.beside(".damaged-").len(), 1);
        again.close().unwrap();
        nothing_was_undone(&place.open());
    }
}

#[test]
fn an_edit_of_the_save_before_the_last_one_does_not_undo_what_that_one_took_in() {
    for journal in [false, true] {
        let place = Place::with("peers: []\nbans: []\n");
        let (store, disk) = interrupted(&place, journal);
        assert!(create(&store, 1) && store.flush().is_ok() && create(&store, 2));
        let (path, first) = (place.path.clone(), place.path.with_file_name("first"));
        let edited = with_entry(&place.read(), 8);
        let again = disk.clone();
        let second = first.clone();
        disk.before_the_next_save(move || {
            rename_over(&path, &edited);
            // The save that overtakes the edit is followed by one that takes it in: in between the next edit begins.
            again.before_the_next_save(move || drop(std::fs::copy(&path, &second)));
        });
        if !journal {
            assert!(create(&store, 3));
        }
        store.close().unwrap();
        let begun = std::fs::read_to_string(&first).unwrap();
        assert!(!begun.contains(&test_key(8).to_string()), "{begun}");
        rename_over(&place.path, &with_entry(&begun, 9));
        all(&place.open(), &[1, 2, 8, 9]);
    }
}

#[test]
fn a_number_of_saves_that_cannot_grow_stops_nothing() {
    let place = Place::with(format!("generation: {}\npeers: []\nbans: []\n", u64::MAX));
    let store = quiet(&place, true);
    assert!(create(&store, 1) && store.flush().is_ok() && create(&store, 2));
    store.close().unwrap();
    all(&place.open(), &[1, 2]);
}
