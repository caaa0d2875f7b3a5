//! Any bytes as `peers.yaml`: the store opens, and what it read is still there after a save and a restart.
#![no_main]

use std::cell::RefCell;
use std::fs;

use btcfed_core::{PeerPatch, PeerRecord, PeerSource, SecretKey};
use btcfed_peer_store::{FilePeerStore, StoreOptions};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

thread_local! {
    static PARENT: RefCell<TempDir> = RefCell::new(
        TempDir::new_in(if fs::exists("/dev/shm").unwrap_or(false) { "/dev/shm" } else { "." })
            .expect("a folder"),
    );
}

fuzz_target!(|bytes: &[u8]| {
    PARENT.with_borrow(|parent| {
        let folder = TempDir::new_in(parent.path()).expect("a folder");
        let path = folder.path().join("peers.yaml");
        fs::write(&path, bytes).expect("a file");
        let options = || StoreOptions::new(&path).with_watch(false);
        let store = FilePeerStore::open(options()).expect("any bytes are a valid file");
        let read = store.snapshot();
        let mut added =
            PeerRecord::new(SecretKey::from_seed([7; 32]).public(), PeerSource::Operator);
        added.name = Some("added".to_owned());
        if read.get(&added.key).is_none() && store.newer_version().is_none() {
            let patch = PeerPatch::create(added.clone());
            assert!(store.apply(&patch).expect("a new peer").durable);
        }
        store.close().expect("a save");
        let again = FilePeerStore::open(options()).expect("our own file");
        let found = again.snapshot();
        for peer in read.iter() {
            let kept = found.get(&peer.key).expect("a peer that was read is kept");
            assert_eq!(kept.addresses, peer.addresses);
            assert_eq!((&kept.name, kept.pinned), (&peer.name, peer.pinned));
        }
        if store.newer_version().is_none() {
            assert!(found.get(&added.key).is_some(), "what was durable is there");
        } else {
            assert_eq!(fs::read(&path).expect("the file"), bytes, "never written");
        }
    });
});
