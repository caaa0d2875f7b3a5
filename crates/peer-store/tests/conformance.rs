//! The file store keeps the promises of every store, also when its file is full of comments.

use std::sync::{Arc, Mutex};

use btcfed_core::testing::store_conformance;
use btcfed_peer_store::{FilePeerStore, MemoryStore, StoreOptions};
use tempfile::TempDir;

#[expect(clippy::unwrap_used, reason = "a test may")]
fn stores(
    prepare: impl Fn(&std::path::Path) + 'static,
) -> (Arc<Mutex<Vec<TempDir>>>, impl FnMut() -> FilePeerStore) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let dirs = Arc::clone(&kept);
    let make = move || {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peers.yaml");
        prepare(&path);
        dirs.lock().unwrap().push(dir);
        FilePeerStore::open(StoreOptions::new(path)).unwrap()
    };
    (kept, make)
}

#[tokio::test]
async fn a_store_on_a_new_file_passes_the_suite() {
    let (dirs, make) = stores(|_| {});
    store_conformance(make).await;
    assert!(!dirs.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_store_on_a_hand_written_file_passes_the_suite() {
    let (dirs, make) = stores(|path| std::fs::write(path, "# mine\npeers:\n# none yet\n").unwrap());
    store_conformance(make).await;
    for dir in dirs.lock().unwrap().iter() {
        let text = std::fs::read_to_string(dir.path().join("peers.yaml")).unwrap();
        assert!(
            text.starts_with("# mine\n") && text.contains("# none yet\n"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_store_in_memory_passes_the_suite_with_and_without_its_file() {
    store_conformance(MemoryStore::new).await;
    let directory = tempfile::tempdir().unwrap();
    let mut number = 0;
    store_conformance(|| {
        number += 1;
        MemoryStore::open(directory.path().join(format!("{number}.json"))).unwrap()
    })
    .await;
}
