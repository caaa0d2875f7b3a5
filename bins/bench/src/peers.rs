//! The peers file: reading, writing and changing it, beside JSON and plain YAML of the same data.

pub(crate) mod child;
mod data;
mod disk;
mod durable;
mod journal;
mod rivals;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use btcfed_core::store::{Applied, StoreError};
use btcfed_core::{Issuer, Now, PeerKey, PeerOp, PeerPatch, PeerRecord, PeerSet, PeerView};
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
        bench.finding(rounds)?,
        durable::run(rounds, &bench.records)?,
    ];
    Ok(tables.join("\n"))
}

/// What the worst files cost.
pub(crate) fn hostile() -> Result<String, String> {
    let place = tempfile::tempdir().map_err(|e| e.to_string())?;
    child::hostile_table(place.path())
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

    /// Opens a store on a file, beside the copy that the last save left, if there is one.
    fn load(&self, bytes: &[u8], base: Option<&[u8]>) -> Result<Duration, String> {
        let disk = Arc::new(MemoryDisk::with(&self.path(), bytes));
        if let Some(base) = base {
            disk.put(&self.path().with_file_name("peers.yaml.base"), base);
        }
        let start = Instant::now();
        let store = self.open(&disk)?;
        let time = start.elapsed();
        if store.snapshot().len() != self.records.len() || !store.skipped().is_empty() {
            return Err(format!("{} peers read", store.snapshot().len()));
        }
        Ok(time)
    }

    /// Plain peers, and the same with what they signed.
    fn memory(&self) -> Result<String, String> {
        let disk = Arc::new(MemoryDisk::default());
        let store = self.open(&disk)?;
        let signed = data::signed_records(self.records.len())?;
        let ops = signed.into_iter().map(Box::new).map(PeerOp::Create);
        apply(&store, &ops.collect())?;
        close(&store)?;
        let signed = disk.content(&self.path());
        let files = [
            ("plain peers", self.canonical.as_slice()),
            ("peers with a signed record", &signed),
        ];
        // Not the program itself runs the tests, and another one cannot be asked.
        if cfg!(test) {
            return Ok("Memory: SKIPPED in tests.\n".to_owned());
        }
        child::memory_table(self.place.path(), &files)
    }

    /// Lookups that walk over all peers.
    fn finding(&self, rounds: usize) -> Result<String, String> {
        let set = PeerSet::from_parts(self.records.iter().cloned(), [], []);
        let last = self.records.last().and_then(|last| last.addresses.first());
        let addr = last.map(|known| known.addr.clone()).ok_or("no peers")?;
        let count = |found: usize| match found {
            0 => Err("nothing found".to_owned()),
            _ => Ok(()),
        };
        let valid = |peer: &PeerView<'_>| peer.is_valid();
        let contenders = vec![
            Contender::new("by key, each once", || {
                let keys = self.records.iter().map(|record| &record.key);
                count(keys.filter(|key| set.contains(key)).count())
            }),
            Contender::new("by address, once", || {
                count(set.find_by_addr(&addr).count())
            }),
            Contender::new("by status, once", || {
                count(set.views().filter(valid).count())
            }),
        ];
        race(&self.title("find"), rounds, contenders)
    }

    fn loading(&self, rounds: usize) -> Result<String, String> {
        let yaml = std::str::from_utf8(&self.canonical).map_err(|e| e.to_string())?;
        let contenders = vec![
            Contender::new("serde_json, text only", || {
                serde_json::from_slice::<TextPeers>(&self.json)
                    .map(drop)
                    .map_err(|e| e.to_string())
            }),
            Contender::timed("store, as it was saved", || {
                self.load(&self.canonical, None)
            }),
            Contender::timed("store, 1 % edited by hand", || {
                self.load(&self.edited, Some(&self.canonical))
            }),
            Contender::timed("store, 1 % edited, without its copy", || {
                self.load(&self.edited, None)
            }),
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
        let touched = |count: usize| -> Result<(Duration, Duration), String> {
            let ops = keys.iter().take(count).map(|key| PeerOp::ContactSucceeded {
                key: *key,
                addr: None,
            });
            apply(&store, &ops.collect())?;
            disk.spent();
            let start = Instant::now();
            store.flush().map_err(|e| e.to_string())?;
            Ok((start.elapsed(), disk.spent()))
        };
        let whole = |count: usize| touched(count).map(|(all, _)| all);
        let without_disk =
            |count: usize| touched(count).map(|(all, disk)| all.saturating_sub(disk));
        let all = self.records.len();
        let set = PeerSet::from_parts(self.records.iter().cloned(), [], []);
        let contenders = vec![
            Contender::new("serde_json, pretty", || {
                serde_json::to_vec_pretty(&self.text)
                    .map(drop)
                    .map_err(|e| e.to_string())
            }),
            Contender::timed("store, one peer changed", || whole(1)),
            Contender::timed("the same, without the disk", || without_disk(1)),
            Contender::timed("store, 1 % of the peers changed", || whole(all / 100)),
            Contender::timed("the same, without the disk", || without_disk(all / 100)),
            Contender::timed("store, every peer changed", || whole(all)),
            Contender::timed("the same, without the disk", || without_disk(all)),
            Contender::timed("store, every peer new", || {
                self.save_new(|store| store.replace_all(&set))
            }),
            Contender::timed("store, every peer new, by a patch", || {
                let patch = self.create_all();
                self.save_new(|store| store.apply(&patch))
            }),
            Contender::new("serde_yaml", || {
                serde_yaml::to_string(&self.text)
                    .map(drop)
                    .map_err(|e| e.to_string())
            }),
        ];
        race(&self.title("save"), rounds, contenders)
    }

    /// Memory included: the caller waits for both. Preparing the change is not.
    fn save_new(
        &self,
        change: impl Fn(&FilePeerStore) -> Result<Applied, StoreError>,
    ) -> Result<Duration, String> {
        let store = self.open(&Arc::new(MemoryDisk::default()))?;
        let start = Instant::now();
        let applied = change(&store).map_err(|e| e.to_string())?;
        let time = start.elapsed();
        applied
            .durable
            .then_some(time)
            .ok_or_else(|| "not saved".to_owned())
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
