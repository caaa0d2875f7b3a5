//! The peers file: reading, writing and changing it, beside JSON and plain YAML of the same data.

mod data;
mod disk;
mod durable;
mod journal;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use btcfed_core::{Issuer, Now, PeerKey, PeerOp, PeerPatch, PeerRecord, PeerSet};
use btcfed_peer_store::{FilePeerStore, StoreOptions};

use crate::table::{Contender, race};
use data::TextPeers;
use disk::MemoryDisk;

/// Operations in one timing of what takes microseconds.
const BATCH: u64 = 1000;

/// One record in this many is edited by hand.
const EDITED: usize = 100;

/// All tables, for `count` peers.
pub(crate) fn run(rounds: usize, count: usize) -> Result<String, String> {
    let bench = Bench::new(count)?;
    let tables = [
        bench.memory()?,
        bench.loading(rounds)?,
        bench.saving(rounds)?,
        bench.changing(rounds)?,
        durable::run(rounds, &bench.records)?,
    ];
    Ok(tables.join("\n"))
}

/// The tables of durable changes through the journal, for `count` peers.
pub(crate) fn run_journal(rounds: usize, count: usize) -> Result<String, String> {
    journal::run(rounds, &data::records(count)?)
}

struct Bench {
    records: Vec<PeerRecord>,
    text: TextPeers,
    /// Where locks are; everything else happens in memory.
    place: tempfile::TempDir,
    canonical: Vec<u8>,
    edited: Vec<u8>,
    json: Vec<u8>,
}

impl Bench {
    fn new(count: usize) -> Result<Self, String> {
        let records = data::records(count)?;
        let text = data::text(&records);
        let json = serde_json::to_vec_pretty(&text).map_err(|e| e.to_string())?;
        let mut bench = Self {
            records,
            text,
            place: tempfile::tempdir().map_err(|e| e.to_string())?,
            canonical: Vec::new(),
            edited: Vec::new(),
            json,
        };
        let disk = Arc::new(MemoryDisk::default());
        let store = bench.open(&disk)?;
        apply(&store, &bench.create_all())?;
        close(&store)?;
        bench.canonical = disk.content(&bench.path());
        bench.edited = data::edit(&bench.canonical, EDITED)?;
        Ok(bench)
    }

    fn path(&self) -> std::path::PathBuf {
        self.place.path().join("peers.yaml")
    }

    fn open(&self, disk: &Arc<MemoryDisk>) -> Result<FilePeerStore, String> {
        let disk: Arc<MemoryDisk> = Arc::clone(disk);
        let options = StoreOptions::new(self.path())
            .with_watch(false)
            .with_soft_interval(Duration::from_secs(3600))
            .with_flush_interval(Duration::from_secs(3600))
            .with_disk(disk);
        FilePeerStore::open(options).map_err(|e| e.to_string())
    }

    fn create_all(&self) -> PeerPatch {
        let ops = self.records.iter().cloned().map(Box::new);
        ops.map(PeerOp::Create).collect()
    }

    fn load(&self, bytes: &[u8]) -> Result<Duration, String> {
        let disk = Arc::new(MemoryDisk::with(&self.path(), bytes));
        let start = Instant::now();
        let store = self.open(&disk)?;
        let time = start.elapsed();
        if store.snapshot().len() != self.records.len() || !store.skipped().is_empty() {
            return Err(format!("{} peers read", store.snapshot().len()));
        }
        Ok(time)
    }

    /// What the process grows by, measured once. Understated by what is put into memory that was freed before.
    fn memory(&self) -> Result<String, String> {
        let Some(before) = resident() else {
            return Ok("Memory: SKIPPED, no /proc/self/status here.\n".to_owned());
        };
        let store = self.open(&Arc::new(MemoryDisk::with(&self.path(), &self.canonical)))?;
        let grown = resident().unwrap_or(before).saturating_sub(before);
        let peers = store.snapshot().len().max(1);
        let file = self.canonical.len() / peers;
        Ok(format!(
            "| memory, {peers} peers | bytes per peer |\n|---|---|\n| the file | {file} |\n\
             | an open store and the disk in memory, at least | {} |\n",
            grown / peers
        ))
    }

    fn loading(&self, rounds: usize) -> Result<String, String> {
        let yaml = std::str::from_utf8(&self.canonical).map_err(|e| e.to_string())?;
        let contenders = vec![
            Contender::new("serde_json, text only", || {
                serde_json::from_slice::<TextPeers>(&self.json)
                    .map(drop)
                    .map_err(|e| e.to_string())
            }),
            Contender::timed("store, as it was saved", || self.load(&self.canonical)),
            Contender::timed("store, 1 % edited by hand", || self.load(&self.edited)),
            Contender::new("keys alone: base64 and curve check", || {
                let texts = self.text.peers.iter().map(|peer| &peer.public_key);
                texts
                    .map(|text| text.parse::<PeerKey>().map(drop))
                    .try_for_each(|parsed| parsed.map_err(|e| e.to_string()))
            }),
            Contender::new("serde_yaml, text only", || {
                serde_yaml::from_str::<TextPeers>(yaml)
                    .map(drop)
                    .map_err(|e| e.to_string())
            }),
        ];
        race(&self.title("load"), rounds, contenders)
    }

    fn saving(&self, rounds: usize) -> Result<String, String> {
        let disk = Arc::new(MemoryDisk::with(&self.path(), &self.canonical));
        let store = self.open(&disk)?;
        let keys: Vec<PeerKey> = self.records.iter().map(|record| record.key).collect();
        let touched = |count: usize| -> Result<Duration, String> {
            let ops = keys.iter().take(count).map(|key| PeerOp::ContactSucceeded {
                key: *key,
                addr: None,
            });
            apply(&store, &ops.collect())?;
            let start = Instant::now();
            store.flush().map_err(|e| e.to_string())?;
            Ok(start.elapsed())
        };
        let contenders = vec![
            Contender::new("serde_json, pretty", || {
                serde_json::to_vec_pretty(&self.text)
                    .map(drop)
                    .map_err(|e| e.to_string())
            }),
            Contender::timed("store, one peer changed", || touched(1)),
            Contender::timed("store, 1 % of the peers changed", || {
                touched(self.records.len() / 100)
            }),
            Contender::timed("store, every peer changed", || touched(self.records.len())),
            Contender::timed("store, every peer new", || self.save_new()),
            Contender::new("serde_yaml", || {
                serde_yaml::to_string(&self.text)
                    .map(drop)
                    .map_err(|e| e.to_string())
            }),
        ];
        race(&self.title("save"), rounds, contenders)
    }

    /// Memory included: the caller waits for both.
    fn save_new(&self) -> Result<Duration, String> {
        let store = self.open(&Arc::new(MemoryDisk::default()))?;
        let patch = self.create_all();
        let start = Instant::now();
        apply(&store, &patch)?;
        Ok(start.elapsed())
    }

    fn changing(&self, rounds: usize) -> Result<String, String> {
        let large = PeerSet::from_parts(self.records.iter().cloned(), [], []);
        let small = PeerSet::from_parts(self.records.iter().take(1000).cloned(), [], []);
        let key = self.records.first().map(|record| record.key);
        let key = key.ok_or("no peers")?;
        let patch_of = |set: &PeerSet| {
            let patch = PeerPatch::one(PeerOp::Remove {
                key,
                by: Issuer::Node,
            });
            (0..BATCH).try_for_each(|_| {
                let applied = set.apply(std::hint::black_box(&patch), Now::default());
                applied.map(drop).map_err(|e| e.to_string())
            })
        };
        let disk = Arc::new(MemoryDisk::with(&self.path(), &self.canonical));
        let store = self.open(&disk)?;
        let contenders = vec![
            Contender::new("one patch, 1000 peers", || patch_of(&small)),
            Contender::new("one patch, all peers", || patch_of(&large)),
            Contender::timed("snapshot, no writer", || Ok(snapshots(&store))),
            Contender::timed("snapshot, one flat-out writer", || {
                beside_a_writer(&store, key)
            }),
        ];
        race(&self.title(&format!("{BATCH} times")), rounds, contenders)
    }

    fn title(&self, what: &str) -> String {
        format!("{what}, {} peers", self.records.len())
    }
}

/// Bytes of memory that the process has, where the system says so.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: usize = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

fn snapshots(store: &FilePeerStore) -> Duration {
    let start = Instant::now();
    (0..BATCH).for_each(|_| drop(std::hint::black_box(store.snapshot())));
    start.elapsed()
}

fn beside_a_writer(store: &FilePeerStore, key: PeerKey) -> Result<Duration, String> {
    let (stop, started) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let patch = PeerPatch::one(PeerOp::ContactSucceeded { key, addr: None });
            while !stop.load(Ordering::Relaxed) {
                apply(store, &patch)?;
                started.store(true, Ordering::Relaxed);
            }
            Ok(())
        });
        while !started.load(Ordering::Relaxed) && !writer.is_finished() {
            std::thread::yield_now();
        }
        let time = snapshots(store);
        stop.store(true, Ordering::Relaxed);
        let written: Result<(), String> = writer.join().map_err(|_| "the writer panicked")?;
        written.map(|()| time)
    })
}

fn apply(store: &FilePeerStore, patch: &PeerPatch) -> Result<(), String> {
    let applied = store.apply(patch).map_err(|e| e.to_string())?;
    if applied.durable {
        Ok(())
    } else {
        Err("not saved".to_owned())
    }
}

fn close(store: &FilePeerStore) -> Result<(), String> {
    store.close().map_err(|e| e.to_string())
}

/// Most peers a benchmark may be asked for.
pub(crate) const MAX_PEERS: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_round_of_everything_gives_all_tables() {
        let report = run(1, 1000).unwrap();
        for row in ["| store, as it was saved |", "| store, every peer new |"] {
            assert!(report.contains(row), "{report}");
        }
    }
}
