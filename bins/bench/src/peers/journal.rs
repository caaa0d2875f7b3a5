//! Durable changes through the journal, beside the least that the system asks for the same bytes, and beside rivals.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use btcfed_core::{PeerOp, PeerPatch, PeerRecord};
use btcfed_peer_store::{FilePeerStore, StoreOptions};

use super::rivals::Group;
use crate::table::{Contender, compare, race};

/// Changes in one timing, by every writer.
const CHANGES: usize = 64;

/// About as many bytes as one change has in the journal; the records of the rivals have as many.
const BYTES: usize = 200;

/// Room that is reserved for the raw writes.
const RESERVED: usize = 1024 * 1024;

/// Peers in the small store, and in the rivals.
const SMALL: usize = 1000;

/// How many write at a time.
const WRITERS: [usize; 4] = [1, 4, 16, 64];

/// Somewhere a change of one of a few peers is made durable.
pub(super) trait Writer: Sync {
    /// Returns when the change is on the medium. `count` is different every time.
    fn write(&self, peer: usize, count: u64) -> Result<(), String>;
}

/// The tables.
pub(crate) fn run(rounds: usize, records: &[PeerRecord]) -> Result<String, String> {
    let place = tempfile::tempdir().map_err(|e| e.to_string())?;
    let at = |name: &str| place.path().join(name);
    let small = Changing::new(&at("small"), records, SMALL)?;
    let large = Changing::new(&at("large"), records, records.len())?;
    let stores: [(&str, &dyn Writer); 5] = [
        ("store, 1000 peers", &small),
        ("store, all peers", &large),
        (
            "SQLite, WAL, FULL",
            &Group::sqlite(&at("sqlite"), BYTES, SMALL)?,
        ),
        ("redb, Immediate", &Group::redb(&at("redb"), BYTES, SMALL)?),
        (
            "fjall, SyncData",
            &Group::fjall(&at("fjall"), BYTES, SMALL)?,
        ),
    ];
    let mut tables = vec![latencies(rounds, place.path(), &stores)?];
    for writers in WRITERS {
        let mut raw = Raw::new(&at("raw"), Room::Zeros)?;
        let mut contenders = Vec::new();
        for (name, store) in stores {
            contenders.push(Contender::new(name, move || change(store, writers)));
        }
        contenders.push(Contender::new(
            "one of each in turn: write into reserved room, fdatasync",
            || (0..CHANGES).try_for_each(|_| raw.append(writers)),
        ));
        let title = format!(
            "{} durable changes by {writers} writers, all = {} peers",
            CHANGES * writers,
            records.len()
        );
        tables.push(race(&title, rounds, contenders)?);
    }
    small.close()?;
    large.close()?;
    Ok(tables.join("\n"))
}

/// Single changes of one writer, each of all in turns.
fn latencies(
    rounds: usize,
    place: &Path,
    stores: &[(&'static str, &dyn Writer)],
) -> Result<String, String> {
    let mut zeros = Raw::new(&place.join("zeros"), Room::Zeros)?;
    let mut reserved = Raw::new(&place.join("reserved"), Room::Reserved)?;
    let mut times: Vec<(&str, Vec<Duration>)> = Vec::new();
    let mut note = |name: &'static str, work: &mut dyn FnMut() -> Result<(), String>| {
        let start = Instant::now();
        work()?;
        let time = start.elapsed();
        match times.iter_mut().find(|(known, _)| *known == name) {
            Some((_, times)) => times.push(time),
            None => times.push((name, vec![time])),
        }
        Ok::<(), String>(())
    };
    for count in 0..u64::try_from(rounds * CHANGES).unwrap_or(u64::MAX) {
        note("raw: written over zeros, fdatasync", &mut || {
            zeros.append(1)
        })?;
        note("raw: into room of fallocate, fdatasync", &mut || {
            reserved.append(1)
        })?;
        for (name, store) in stores {
            note(name, &mut || store.write(0, count))?;
        }
    }
    compare("one durable change, one writer", times)
}

/// As many changes by each of so many writers at once.
fn change(store: &dyn Writer, writers: usize) -> Result<(), String> {
    static COUNT: AtomicU64 = AtomicU64::new(1 << 32);
    let one = |peer: usize| {
        (0..CHANGES).try_for_each(|_| store.write(peer, COUNT.fetch_add(1, Ordering::Relaxed)))
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..writers)
            .map(|peer| scope.spawn(move || one(peer)))
            .collect();
        let mut ended = threads.into_iter().map(|thread| thread.join());
        ended.try_for_each(|ended| ended.unwrap_or_else(|_| Err("a writer panicked".to_owned())))
    })
}

/// How room is made for raw writes.
#[derive(Clone, Copy)]
enum Room {
    /// By the file system, as the journal does.
    Reserved,
    /// By writing zeros.
    Zeros,
}

/// Writes behind each other into room that was made before.
struct Raw {
    file: File,
    at: usize,
    room: Room,
}

impl Raw {
    fn new(path: &Path, room: Room) -> Result<Self, String> {
        let create = || -> std::io::Result<File> {
            let file = File::create(path)?;
            let mut raw = Self { file, at: 0, room };
            raw.make_room()?;
            Ok(raw.file)
        };
        let file = create().map_err(|e| e.to_string())?;
        Ok(Self { file, at: 0, room })
    }

    /// Begins the file anew.
    fn make_room(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.at = 0;
        match self.room {
            Room::Zeros => self.file.write_all(&vec![0; RESERVED])?,
            Room::Reserved => reserve(&self.file)?,
        }
        self.file.sync_all()
    }

    /// As many bytes as that many changes have.
    fn append(&mut self, changes: usize) -> Result<(), String> {
        let bytes = vec![7; BYTES * changes];
        let write = |raw: &mut Self| -> std::io::Result<()> {
            if raw.at + bytes.len() > RESERVED {
                raw.make_room()?;
            }
            let at = u64::try_from(raw.at).unwrap_or_default();
            raw.file.seek(SeekFrom::Start(at))?;
            raw.file.write_all(&bytes)?;
            raw.at += bytes.len();
            raw.file.sync_data()
        };
        write(self).map_err(|e| e.to_string())
    }
}

#[cfg(target_os = "linux")]
fn reserve(file: &File) -> std::io::Result<()> {
    let len = u64::try_from(RESERVED).unwrap_or_default();
    rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, len)
        .map_err(std::io::Error::from)
}

#[cfg(not(target_os = "linux"))]
fn reserve(mut file: &File) -> std::io::Result<()> {
    file.write_all(&vec![0; RESERVED])
}

struct Changing {
    store: FilePeerStore,
    records: Vec<PeerRecord>,
}

impl Changing {
    fn new(folder: &Path, records: &[PeerRecord], count: usize) -> Result<Self, String> {
        fs::create_dir_all(folder).map_err(|e| e.to_string())?;
        // The file follows as usual: what is measured includes its share.
        let options = StoreOptions::new(folder.join("peers.yaml")).with_lock_timeout(LOCK_WAIT);
        let store = FilePeerStore::open(options).map_err(|e| e.to_string())?;
        let ops = records.iter().take(count).cloned().map(Box::new);
        super::apply(&store, &ops.map(PeerOp::Create).collect())?;
        let records = records.iter().take(64).cloned().collect();
        Ok(Self { store, records })
    }

    fn close(&self) -> Result<(), String> {
        self.store.close().map_err(|e| e.to_string())
    }
}

impl Writer for Changing {
    fn write(&self, peer: usize, count: u64) -> Result<(), String> {
        let mut record = self.records.get(peer).ok_or("too many writers")?.clone();
        record.name = Some(format!("n{count}"));
        let op = PeerOp::Update(Box::new(record));
        super::apply(&self.store, &PeerPatch::one(op))
    }
}

/// Long enough for a checkpoint of a large list on a busy machine.
const LOCK_WAIT: Duration = Duration::from_secs(30);
