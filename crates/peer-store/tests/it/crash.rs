//! Power cuts: every state that a crash may leave of everything the store does to a disk, one after the other.
//!
//! A simulated disk logs what changes it. For every prefix of that log, what was not synced may be there or not: of names
//! any subset, of new files none of the bytes, a half, zeros or all, of writes into the journal any subset, whole, torn or
//! as zeros. A store opened on any of these states knows what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use btcfed_core::testing::{test_key, test_record};
use btcfed_core::{Issuer, PeerOp, PeerPatch};
use btcfed_peer_store::{Disk, FileInfo, FilePeerStore, LogFile, PendingFile, StoreOptions};

use crate::common::{Place, say};

/// Most names whose fate is undecided at a crash: all subsets of them are tried.
const MAX_PENDING: usize = 12;

/// Most writes whose fate is undecided at a crash.
const MAX_WRITES: usize = 3;

/// One recovery in this many is itself cut short at every step: without a journal, and with the longer ones with it.
const CUT_RECOVERIES: [usize; 2] = [3, 9];

type Names = BTreeMap<String, usize>;

#[derive(Clone, Debug)]
enum Op {
    Create(String, usize),
    Sync(usize),
    Rename(String, String),
    Remove(String),
    SyncDir,
    /// Bytes at a place of a file, which may reach the medium in any order.
    Write(usize, usize, Vec<u8>),
}

type Fate = fn(&[u8]) -> Vec<u8>;

/// How a write that was not synced may have ended up.
const FATES: [Fate; 4] = [
    |_| Vec::new(),
    <[u8]>::to_vec,
    |bytes| bytes[..bytes.len() / 2].to_vec(),
    |bytes| vec![0; bytes.len()],
];

#[derive(Clone, Debug, Default)]
struct Content {
    names: Names,
    files: Vec<Vec<u8>>,
    /// What files said when they were created.
    created: BTreeMap<usize, Vec<u8>>,
    log: Vec<Op>,
}

#[derive(Debug, Default)]
struct Sim(Arc<Mutex<Content>>);

#[derive(Debug)]
struct Pending(Arc<Mutex<Content>>, usize);

impl PendingFile for Pending {
    fn sync(self: Box<Self>) -> io::Result<()> {
        self.0.lock().unwrap().log.push(Op::Sync(self.1));
        Ok(())
    }
}

#[derive(Debug)]
struct Log(Arc<Mutex<Content>>, usize);

fn info(content: &Content, inode: usize) -> FileInfo {
    FileInfo {
        is_file: true,
        len: content.files[inode].len().try_into().unwrap(),
        modified: None,
        inode: inode.try_into().unwrap(),
        mode: None,
        owner: None,
    }
}

fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[at..end].copy_from_slice(bytes);
}

impl LogFile for Log {
    fn info(&self) -> io::Result<FileInfo> {
        Ok(info(&self.0.lock().unwrap(), self.1))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let content = self.0.lock().unwrap();
        let file = &content.files[self.1];
        let start = usize::try_from(offset).unwrap().min(file.len());
        let len = buffer.len().min(file.len() - start);
        buffer[..len].copy_from_slice(&file[start..start + len]);
        Ok(len)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut content = self.0.lock().unwrap();
        let at = usize::try_from(offset).unwrap();
        put(&mut content.files[self.1], at, bytes);
        content.log.push(Op::Write(self.1, at, bytes.to_vec()));
        Ok(())
    }

    /// As if it were a file with a hole: zeros cost nothing here.
    fn grow(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.0.lock().unwrap().log.push(Op::Sync(self.1));
        Ok(())
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

impl Disk for Sim {
    fn metadata(&self, path: &Path) -> io::Result<FileInfo> {
        let content = self.0.lock().unwrap();
        let inode = *content
            .names
            .get(&name(path))
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(info(&content, inode))
    }

    fn open_log(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let content = self.0.lock().unwrap();
        let inode = content.names.get(&name(path));
        let inode = *inode.ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Log(Arc::clone(&self.0), inode)))
    }

    fn create_log(
        &self,
        path: &Path,
        _: u64,
        _: Option<&FileInfo>,
    ) -> io::Result<Box<dyn LogFile>> {
        drop(self.write_new(path, &[], None)?);
        self.open_log(path)
    }

    fn read(&self, path: &Path, _: u64) -> io::Result<Vec<u8>> {
        let content = self.0.lock().unwrap();
        let inode = *content
            .names
            .get(&name(path))
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(content.files[inode].clone())
    }

    fn write_new(
        &self,
        path: &Path,
        bytes: &[u8],
        _: Option<&FileInfo>,
    ) -> io::Result<Box<dyn PendingFile>> {
        let mut content = self.0.lock().unwrap();
        if content.names.contains_key(&name(path)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = content.files.len();
        content.files.push(bytes.to_vec());
        content.created.insert(inode, bytes.to_vec());
        content.names.insert(name(path), inode);
        content.log.push(Op::Create(name(path), inode));
        Ok(Box::new(Pending(Arc::clone(&self.0), inode)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut content = self.0.lock().unwrap();
        let op = Op::Rename(name(from), name(to));
        apply(&mut content.names, &op).ok_or(io::ErrorKind::NotFound)?;
        content.log.push(op);
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.0.lock().unwrap().log.push(Op::SyncDir);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut content = self.0.lock().unwrap();
        let op = Op::Remove(name(path));
        apply(&mut content.names, &op).ok_or(io::ErrorKind::NotFound)?;
        content.log.push(op);
        Ok(())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().names.keys().cloned().collect())
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_path_buf())
    }
}

/// What an operation does to the names of a directory; `None` when it cannot be.
fn apply(names: &mut Names, op: &Op) -> Option<()> {
    match op {
        Op::Create(name, inode) => drop(names.insert(name.clone(), *inode)),
        Op::Rename(from, to) => {
            let inode = names.remove(from)?;
            names.insert(to.clone(), inode);
        }
        Op::Remove(name) => drop(names.remove(name)?),
        Op::Sync(_) | Op::SyncDir | Op::Write(..) => {}
    }
    Some(())
}

/// What a crash after some operations finds undecided.
struct Undecided<'a> {
    names: Names,
    files: Vec<Vec<u8>>,
    /// Operations on names since the directory was synced.
    pending: Vec<&'a Op>,
    /// New files that were not synced.
    unsynced: BTreeSet<usize>,
    /// Writes that were not synced: file, place, bytes.
    writes: Vec<(usize, usize, &'a [u8])>,
}

impl<'a> Undecided<'a> {
    fn after(start: &Content, content: &'a Content, steps: usize) -> Self {
        let mut undecided = Self {
            names: start.names.clone(),
            files: start.files.clone(),
            pending: Vec::new(),
            unsynced: BTreeSet::new(),
            writes: Vec::new(),
        };
        for op in &content.log[..steps] {
            undecided.take(op, content);
        }
        undecided.drop_unreachable();
        assert!(undecided.pending.len() <= MAX_PENDING);
        assert!(undecided.writes.len() <= MAX_WRITES);
        undecided
    }

    /// What is written into a file that no name can lead to any more does not matter.
    fn drop_unreachable(&mut self) {
        let created = self.pending.iter().filter_map(|op| match op {
            Op::Create(_, inode) => Some(*inode),
            _ => None,
        });
        let named: BTreeSet<usize> = self.names.values().copied().chain(created).collect();
        self.writes.retain(|(inode, ..)| named.contains(inode));
    }

    fn take(&mut self, op: &'a Op, content: &Content) {
        match op {
            Op::Sync(inode) => {
                self.unsynced.remove(inode);
                let writes = std::mem::take(&mut self.writes);
                for write in writes {
                    if write.0 == *inode {
                        put(&mut self.files[*inode], write.1, write.2);
                    } else {
                        self.writes.push(write);
                    }
                }
            }
            Op::SyncDir => {
                for op in self.pending.drain(..) {
                    apply(&mut self.names, op);
                }
            }
            Op::Create(_, inode) => {
                self.files
                    .resize(self.files.len().max(inode + 1), Vec::new());
                self.files[*inode].clone_from(&content.created[inode]);
                self.unsynced.insert(*inode);
                self.pending.push(op);
            }
            Op::Rename(..) | Op::Remove(_) => self.pending.push(op),
            Op::Write(inode, at, bytes) => self.writes.push((*inode, *at, bytes)),
        }
    }
}

/// Every state that a crash after `steps` operations may leave, starting from `start`.
fn states(start: &Content, content: &Content, steps: usize) -> Vec<Content> {
    let undecided = Undecided::after(start, content, steps);
    let tears: [fn(&mut Vec<u8>); 4] = [
        |_| {},
        Vec::clear,
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.fill(0),
    ];
    let tears = &tears[..if undecided.unsynced.is_empty() {
        1
    } else {
        tears.len()
    }];
    let fates = FATES
        .len()
        .pow(u32::try_from(undecided.writes.len()).unwrap());
    let mut states = Vec::new();
    for subset in 0..1_u32 << undecided.pending.len() {
        let mut names = undecided.names.clone();
        for (index, op) in undecided.pending.iter().enumerate() {
            if subset >> index & 1 == 1 {
                apply(&mut names, op);
            }
        }
        for (tear, fates) in tears
            .iter()
            .flat_map(|tear| (0..fates).map(move |fates| (tear, fates)))
        {
            let mut files = undecided.files.clone();
            let mut rest = fates;
            for inode in &undecided.unsynced {
                tear(&mut files[*inode]);
            }
            for (inode, at, bytes) in &undecided.writes {
                put(&mut files[*inode], *at, &FATES[rest % FATES.len()](bytes));
                rest /= FATES.len();
            }
            states.push(Content {
                names: names.clone(),
                files,
                ..Content::default()
            });
        }
    }
    states
}

/// A peer whose presence was changed, and between which steps of the log.
struct Change {
    number: u16,
    is_there: bool,
    begun: usize,
    acknowledged: usize,
}

/// Runs stores on one disk, and what they acknowledged when.
struct Run {
    place: Place,
    disk: Arc<Sim>,
    changes: Vec<Change>,
    journal: bool,
}

impl Run {
    fn new(journal: bool) -> Self {
        Self {
            journal,
            place: Place::new(),
            disk: Arc::default(),
            changes: Vec::new(),
        }
    }

    fn open(&self) -> FilePeerStore {
        open_with(&self.place, &self.disk, self.journal)
    }

    fn steps(&self) -> usize {
        self.disk.0.lock().unwrap().log.len()
    }

    fn change(&mut self, store: &FilePeerStore, number: u16, is_there: bool) {
        let begun = self.steps();
        let patch = if is_there {
            PeerPatch::create(test_record(number))
        } else {
            PeerPatch::one(PeerOp::Remove {
                key: test_key(number),
                by: Issuer::Operator,
            })
        };
        assert!(store.apply(&patch).unwrap().durable);
        self.changes.push(Change {
            number,
            is_there,
            begun,
            acknowledged: self.steps(),
        });
    }

    /// Somebody edits the file, durably.
    fn edit(&self, change: impl Fn(String) -> String) {
        let mut content = self.disk.0.lock().unwrap();
        let inode = content.names["peers.yaml"];
        let text = String::from_utf8(content.files[inode].clone()).unwrap();
        let new = content.files.len();
        let text = change(text).into_bytes();
        content.created.insert(new, text.clone());
        content.files.push(text);
        content.names.insert("peers.yaml".to_owned(), new);
        let ops = [
            Op::Create("edited".to_owned(), new),
            Op::Sync(new),
            Op::Rename("edited".to_owned(), "peers.yaml".to_owned()),
            Op::SyncDir,
        ];
        content.log.extend(ops);
    }

    fn check(
        &self,
        state: Content,
        steps: usize,
        expected: &BTreeMap<u16, Option<bool>>,
    ) -> Content {
        let what = format!("step {steps}, {:?}", state.names);
        let disk = Arc::new(Sim(Arc::new(Mutex::new(state))));
        let store = open_with(&self.place, &disk, self.journal);
        let set = store.snapshot();
        for (number, is_there) in expected {
            let knows = set.contains(&test_key(*number));
            assert!(
                is_there.is_none_or(|wanted| wanted == knows),
                "{what}: peer {number}, wanted {is_there:?}"
            );
        }
        let strangers = set
            .iter()
            .filter(|peer| !expected.keys().any(|number| test_key(*number) == peer.key));
        assert_eq!(strangers.count(), 0, "{what}");
        store.close().unwrap();
        assert_eq!(store.health().degraded, None, "{what}");
        disk.0.lock().unwrap().clone()
    }

    /// What must be known after `steps`: true or false where it was acknowledged, `None` while it was under way.
    fn expected(&self, steps: usize) -> BTreeMap<u16, Option<bool>> {
        let mut expected: BTreeMap<u16, Option<bool>> = BTreeMap::new();
        for change in &self.changes {
            let wanted = if steps >= change.acknowledged {
                Some(change.is_there)
            } else if steps > change.begun {
                None
            } else {
                continue;
            };
            expected.insert(change.number, wanted);
        }
        expected
    }

    /// Cuts the power after every step, and after every step of some recoveries. Returns how many states there were.
    fn cut_everywhere(&self) -> usize {
        let content = self.disk.0.lock().unwrap().clone();
        let mut count = 0;
        for steps in 0..=content.log.len() {
            let expected = self.expected(steps);
            for state in states(&Content::default(), &content, steps) {
                let start = state.clone();
                let after = self.check(state, steps, &expected);
                count += 1;
                if count % CUT_RECOVERIES[usize::from(self.journal)] == 0 {
                    for again in 0..=after.log.len() {
                        for state in states(&start, &after, again) {
                            self.check(state, steps, &expected);
                            count += 1;
                        }
                    }
                }
            }
        }
        count
    }
}

fn open_with(place: &Place, disk: &Arc<Sim>, journal: bool) -> FilePeerStore {
    let disk: Arc<Sim> = Arc::clone(disk);
    let options: StoreOptions = place.options().with_watch(false).with_disk(disk);
    FilePeerStore::open(options.with_journal(journal)).unwrap()
}

/// Two sessions, a merge, and damage that is kept aside. The last two leave the peers as they are.
fn live(run: &mut Run) {
    for round in 0..2 {
        let store = run.open();
        for number in 1..=3 {
            run.change(&store, round * 10 + number, true);
        }
        if round == 1 {
            store.flush().unwrap();
        }
        run.change(&store, round * 10 + 2, false);
        store.close().unwrap();
    }
    run.edit(|text| format!("# by hand\n{}", text.replace("tcp/1\n", "tcp/1111\n")));
    let store = run.open();
    run.change(&store, 4, true);
    run.change(&store, 6, true);
    run.edit(|text| text.replace("bans:", "\0garbage\nbans:"));
    run.change(&store, 5, true);
    store.close().unwrap();
}

#[test]
fn no_power_cut_at_any_step_loses_what_was_acknowledged() {
    for journal in [false, true] {
        let mut run = Run::new(journal);
        live(&mut run);
        let count = run.cut_everywhere();
        let steps = run.steps();
        say(&format!(
            "journal {journal}: {count} states after {steps} operations"
        ));
        assert!(count > 1000, "{count}");
    }
}

#[test]
fn no_power_cut_while_two_stores_share_a_journal_loses_what_either_acknowledged() {
    let mut run = Run::new(true);
    let (one, two) = (run.open(), run.open());
    for number in 1..=3 {
        run.change(&one, number, true);
        run.change(&two, 10 + number, true);
    }
    run.change(&two, 1, false);
    run.change(&one, 11, false);
    one.close().unwrap();
    run.change(&two, 4, true);
    two.close().unwrap();
    let count = run.cut_everywhere();
    say(&format!("{count} states after {} operations", run.steps()));
    assert!(count > 1000, "{count}");
}
