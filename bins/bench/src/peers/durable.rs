//! One change on a real disk without a journal, acknowledged when it is durable, beside what the system needs for the same bytes.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use btcfed_core::{Issuer, PeerOp, PeerPatch, PeerRecord};
use btcfed_peer_store::{FilePeerStore, StoreOptions};

use crate::table::{Contender, race};

/// Sizes of the list. A change rewrites the file, so the size is what the cost depends on.
const SMALL: usize = 100;
const LARGE: usize = 1000;

/// The table.
pub(crate) fn run(rounds: usize, records: &[PeerRecord]) -> Result<String, String> {
    let place = tempfile::tempdir().map_err(|e| e.to_string())?;
    let small = Changing::new(place.path().join("small"), records, SMALL)?;
    let large = Changing::new(place.path().join("large"), records, LARGE)?;
    let contenders = vec![
        Contender::new("write, sync, rename, sync: the same bytes", || {
            replace(&large.path, &large.bytes)
        }),
        Contender::new("write, sync, rename, sync: 512 bytes", || {
            replace(&large.path, &large.bytes[..512.min(large.bytes.len())])
        }),
        Contender::new("store, 1000 peers", || large.change()),
        Contender::new("store, 100 peers", || small.change()),
    ];
    race("one durable change and back", rounds, contenders)
}

struct Changing {
    store: FilePeerStore,
    record: PeerRecord,
    path: std::path::PathBuf,
    bytes: Vec<u8>,
}

impl Changing {
    fn new(
        folder: std::path::PathBuf,
        records: &[PeerRecord],
        count: usize,
    ) -> Result<Self, String> {
        let path = folder.join("peers.yaml");
        let options = StoreOptions::new(&path)
            .with_watch(false)
            .with_journal(false);
        let store = FilePeerStore::open(options).map_err(|e| e.to_string())?;
        let (record, others) = records.split_first().ok_or("no peers")?;
        let others = others.iter().take(count).cloned().map(Box::new);
        super::apply(&store, &others.map(PeerOp::Create).collect())?;
        let bytes = fs::read(&path).map_err(|e| e.to_string())?;
        Ok(Self {
            store,
            record: record.clone(),
            path: folder.join("raw"),
            bytes,
        })
    }

    /// Two changes, so that the list is what it was.
    fn change(&self) -> Result<(), String> {
        super::apply(&self.store, &PeerPatch::create(self.record.clone()))?;
        let remove = PeerOp::Remove {
            key: self.record.key,
            by: Issuer::Node,
        };
        super::apply(&self.store, &PeerPatch::one(remove))
    }
}

/// The same two times.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let once = || -> std::io::Result<()> {
        let temp = path.with_extension("tmp");
        let mut file = File::create(&temp)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temp, path)?;
        path.parent()
            .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    once().and_then(|()| once()).map_err(|e| e.to_string())
}
