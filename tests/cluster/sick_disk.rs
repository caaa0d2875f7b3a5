//! A disk that stops answering, and a store whose thread dies.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use btcfed::Node;
use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::peer::{PeerRecord, PeerSource};
use btcfed_core::testing::{test_key, test_secret};
use btcfed_node_orchestrator::NodeError;
use btcfed_peer_store::{Disk, FileInfo, OsDisk, PendingFile, StoreOptions};

use crate::common::{config, wait_for_async};
use crate::{LIMIT, Member};

/// How long a node may take to answer, whatever its disk does.
const ANSWER: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Blocks,
    Panics,
    Works,
}

/// The disk of the system, as long as it is in the mood to write.
#[derive(Debug)]
struct Moody {
    mood: Mutex<Mood>,
    changed: Condvar,
}

impl Moody {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            mood: Mutex::new(Mood::Works),
            changed: Condvar::new(),
        })
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let mut mood = self.mood.lock().unwrap();
        while *mood == Mood::Blocks {
            mood = self.changed.wait(mood).unwrap();
        }
        let panics = *mood == Mood::Panics;
        drop(mood);
        assert!(!panics, "injected");
    }
}

impl Disk for Moody {
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
        self.wait();
        OsDisk.write_new(path, bytes, like)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
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

/// A node on this disk; the same as any other in every other way.
fn node_on(disk: &Arc<Moody>, dir: &Path) -> btcfed::NodeBuilder {
    let mut config = config::local(dir);
    config.peers.exchange_interval = Duration::from_secs(1);
    let options = StoreOptions::new(&config.peers.file)
        .with_config(&config)
        .with_disk(Arc::clone(disk) as Arc<dyn Disk>);
    Node::builder(config, test_secret(1)).store_options(options)
}

fn add(number: u16) -> PeerPatch {
    let record = PeerRecord::new(test_key(number), PeerSource::Operator);
    PeerPatch::one(PeerOp::Create(Box::new(record)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_blocks_goes_on_answering_its_peers_and_its_operator() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Moody::new());
    let node = node_on(&disk, dir.path()).build().await.unwrap();
    let handle = node.handle();
    let running = tokio::spawn(node.run());
    let addr = handle.status().await.unwrap().listen[0].clone();
    let key = test_secret(1).public();
    disk.set(Mood::Blocks);
    // Somebody waits for the disk, and so does the thread of the store from now on.
    let store = Arc::clone(handle.store());
    let waiting = tokio::spawn(async move { store.apply(add(77)).await });

    let entry = format!("{addr}/p2p/{}", key.peer_id()).parse().unwrap();
    let peer = Member::start_in(tempfile::tempdir().unwrap(), 2, |config| {
        config.peers.bootstrap = vec![entry];
    })
    .await;
    wait_for_async("a newcomer is let in", LIMIT, async || {
        peer.is_connected_to(&key).await.then_some(())
    })
    .await;
    for _ in 0..20 {
        let asked = Instant::now();
        let status = handle.status().await.unwrap();
        assert!(asked.elapsed() < ANSWER, "{:?}", asked.elapsed());
        assert!(!status.store.durable, "something waits for the disk");
        assert!(status.connections.iter().any(|c| c.peer == peer.key));
    }
    let report = tokio::time::timeout(ANSWER, handle.status()).await;
    assert!(report.is_ok() && !waiting.is_finished());
    assert!(handle.store().snapshot().contains(&test_key(77)));

    disk.set(Mood::Works);
    assert!(waiting.await.unwrap().unwrap().durable);
    handle.shutdown().await;
    running.await.unwrap().unwrap();
    peer.stop().await;
    let saved = std::fs::read_to_string(dir.path().join("peers.yaml")).unwrap();
    assert!(saved.contains(&peer_text(77)) && saved.contains(&peer_text(2)));
}

fn peer_text(number: u16) -> String {
    test_secret(number).public().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_store_dies_ends_by_itself_and_names_it() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Moody::new());
    let node = node_on(&disk, dir.path()).build().await.unwrap();
    let handle = node.handle();
    let running = tokio::spawn(node.run());
    assert!(handle.store().apply(add(7)).await.unwrap().durable);
    assert!(!running.is_finished(), "all is well");
    disk.set(Mood::Panics);
    assert!(!handle.store().apply(add(8)).await.unwrap().durable);
    let ended = tokio::time::timeout(LIMIT, running).await.unwrap().unwrap();
    assert_eq!(ended, Err(NodeError::TaskEnded("store")));
    let saved = std::fs::read_to_string(dir.path().join("peers.yaml")).unwrap();
    assert!(
        saved.contains(&test_key(7).to_string()),
        "what was acknowledged is there"
    );
}
