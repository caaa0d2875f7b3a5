//! One durable change through the journal, beside the least that the system asks for the same bytes.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use btcfed_core::{PeerOp, PeerPatch, PeerRecord};
use btcfed_peer_store::{FilePeerStore, StoreOptions};

use crate::table::{Contender, race};

/// Changes in one timing, by every writer.
const CHANGES: usize = 64;

/// About as many bytes as one change has.
const BYTES: usize = 200;

/// Room that is reserved for the raw writes.
const RESERVED: usize = 1024 * 1024;

/// How many write at a time.
const WRITERS: [usize; 4] = [1, 4, 16, 64];

/// The tables.
pub(crate) fn run(rounds: usize, records: &[PeerRecord]) -> Result<String, String> {
    let place = tempfile::tempdir().map_err(|e| e.to_string())?;
    let small = Changing::new(&place.path().join("small"), records, 1000)?;
    let large = Changing::new(&place.path().join("large"), records, records.len())?;
    let mut tables = Vec::new();
    for writers in WRITERS {
        let mut raw = Raw::new(&place.path().join("raw"))?;
        let contenders = vec![
            Contender::new(
                "one of each in turn: write into reserved room, fdatasync",
                || (0..CHANGES).try_for_each(|_| raw.append(writers)),
            ),
            Contender::new("store, 1000 peers", || small.change(writers)),
            Contender::new("store, all peers", || large.change(writers)),
        ];
        let peers = records.len();
        let title = format!(
            "{} durable changes by {writers} writers, all = {peers} peers",
            CHANGES * writers
        );
        tables.push(race(&title, rounds, contenders)?);
    }
    small.close()?;
    large.close()?;
    Ok(tables.join("\n"))
}

/// Writes behind each other into room that was reserved and filled with zeros.
struct Raw {
    file: File,
    at: usize,
}

impl Raw {
    fn new(path: &Path) -> Result<Self, String> {
        let create = || -> std::io::Result<File> {
            let mut file = File::create(path)?;
            file.write_all(&vec![0; RESERVED])?;
            file.sync_all()?;
            Ok(file)
        };
        let file = create().map_err(|e| e.to_string())?;
        Ok(Self { file, at: 0 })
    }

    /// As many bytes as that many changes have.
    fn append(&mut self, changes: usize) -> Result<(), String> {
        let bytes = vec![7; BYTES * changes];
        let write = |file: &mut File, at: usize| -> std::io::Result<()> {
            file.seek(SeekFrom::Start(u64::try_from(at).unwrap_or_default()))?;
            file.write_all(&bytes)?;
            file.sync_data()
        };
        write(&mut self.file, self.at).map_err(|e| e.to_string())?;
        self.at = (self.at + bytes.len()) % (RESERVED - bytes.len());
        Ok(())
    }
}

struct Changing {
    store: FilePeerStore,
    records: Vec<PeerRecord>,
    count: AtomicU64,
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
        Ok(Self {
            store,
            records,
            count: AtomicU64::new(0),
        })
    }

    fn change(&self, writers: usize) -> Result<(), String> {
        std::thread::scope(|scope| {
            let one = |record: &PeerRecord| self.change_one(record.clone());
            let threads: Vec<_> = self
                .records
                .iter()
                .take(writers)
                .map(|record| scope.spawn(move || one(record)))
                .collect();
            let mut ended = threads.into_iter().map(|thread| thread.join());
            ended
                .try_for_each(|ended| ended.unwrap_or_else(|_| Err("a writer panicked".to_owned())))
        })
    }

    fn change_one(&self, mut record: PeerRecord) -> Result<(), String> {
        for _ in 0..CHANGES {
            record.name = Some(format!("n{}", self.count.fetch_add(1, Ordering::Relaxed)));
            let op = PeerOp::Update(Box::new(record.clone()));
            super::apply(&self.store, &PeerPatch::one(op))?;
        }
        Ok(())
    }

    fn close(&self) -> Result<(), String> {
        self.store.close().map_err(|e| e.to_string())
    }
}

/// Long enough for a checkpoint of a large list on a busy machine.
const LOCK_WAIT: Duration = Duration::from_secs(30);
