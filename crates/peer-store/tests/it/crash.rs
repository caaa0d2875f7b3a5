//! Power cuts: every state that a crash may leave of everything the store does to a disk, one after the other.
//!
//! A simulated disk logs what changes it. For every prefix of that log, what was not synced may be there or not: of names
//! any subset, of bytes none, a half, zeros or all. A store opened on any of these states knows what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use btcfed_core::testing::{test_key, test_record};
use btcfed_core::{Issuer, PeerOp, PeerPatch};
use btcfed_peer_store::{Disk, FileInfo, FilePeerStore, PendingFile, StoreOptions};

use crate::common::{Place, say};

/// Most names whose fate is undecided at a crash: all subsets of them are tried.
const MAX_PENDING: usize = 12;

/// One recovery in this many is itself cut short at every step.
const CUT_RECOVERIES: usize = 3;

type Names = BTreeMap<String, usize>;

#[derive(Clone, Debug)]
enum Op {
    Create(String, usize),
    Sync(usize),
    Rename(String, String),
    Remove(String),
    SyncDir,
}

#[derive(Clone, Debug, Default)]
struct Content {
    names: Names,
    files: Vec<Vec<u8>>,
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
        Ok(FileInfo {
            is_file: true,
            len: content.files[inode].len().try_into().unwrap(),
            modified: None,
            inode: inode.try_into().unwrap(),
            mode: None,
            owner: None,
        })
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
        Op::Sync(_) | Op::SyncDir => {}
    }
    Some(())
}

/// Every state that a crash after `steps` operations may leave, starting from `start`.
fn states(start: &Names, content: &Content, steps: usize) -> Vec<Content> {
    let mut durable = start.clone();
    let mut pending: Vec<&Op> = Vec::new();
    let mut unsynced: BTreeSet<usize> = BTreeSet::new();
    for op in &content.log[..steps] {
        match op {
            Op::Sync(inode) => drop(unsynced.remove(inode)),
            Op::SyncDir => pending.drain(..).for_each(|op| _ = apply(&mut durable, op)),
            Op::Create(_, inode) => {
                unsynced.insert(*inode);
                pending.push(op);
            }
            Op::Rename(..) | Op::Remove(_) => pending.push(op),
        }
    }
    assert!(pending.len() <= MAX_PENDING, "{pending:?}");
    let tears: [fn(&mut Vec<u8>); 4] = [
        |_| {},
        Vec::clear,
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.fill(0),
    ];
    let mut states = Vec::new();
    for subset in 0..1_u32 << pending.len() {
        let mut names = durable.clone();
        for (index, op) in pending.iter().enumerate() {
            if subset >> index & 1 == 1 {
                apply(&mut names, op);
            }
        }
        for tear in &tears[..if unsynced.is_empty() { 1 } else { tears.len() }] {
            let mut files = content.files.clone();
            unsynced.iter().for_each(|inode| tear(&mut files[*inode]));
            states.push(Content {
                names: names.clone(),
                files,
                log: Vec::new(),
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
}

impl Run {
    fn new() -> Self {
        Self {
            place: Place::new(),
            disk: Arc::default(),
            changes: Vec::new(),
        }
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
        content.files.push(change(text).into_bytes());
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
        let store = open(&self.place, &disk);
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
            for state in states(&Names::new(), &content, steps) {
                let start = state.names.clone();
                let after = self.check(state, steps, &expected);
                count += 1;
                if count % CUT_RECOVERIES == 0 {
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

fn open(place: &Place, disk: &Arc<Sim>) -> FilePeerStore {
    let disk: Arc<Sim> = Arc::clone(disk);
    let options: StoreOptions = place.options().with_watch(false).with_disk(disk);
    FilePeerStore::open(options).unwrap()
}

#[test]
fn no_power_cut_at_any_step_loses_what_was_acknowledged() {
    let mut run = Run::new();
    for round in 0..2 {
        let store = open(&run.place, &run.disk);
        for number in 1..=3 {
            run.change(&store, round * 10 + number, true);
        }
        run.change(&store, round * 10 + 2, false);
        store.close().unwrap();
    }
    // A merge, and damage that is kept aside. Both leave the peers as they are.
    run.edit(|text| format!("# by hand\n{}", text.replace("tcp/1\n", "tcp/1111\n")));
    let store = open(&run.place, &run.disk);
    run.change(&store, 4, true);
    run.edit(|text| text.replace("bans:", "\0garbage\nbans:"));
    run.change(&store, 5, true);
    store.close().unwrap();
    let count = run.cut_everywhere();
    say(&format!("{count} states after {} operations", run.steps()));
    assert!(count > 1000, "{count}");
}
