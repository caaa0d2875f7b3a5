//! Any edit of any file beside any change in memory: taking it in twice is taking it in once, and a restart shows what
//! was known. The input is three parts, divided by a line of four dashes: the file, the edited file, and the changes; a
//! change with its highest bit set makes the edit while the store is open, where a half-written file is waited for.
#![no_main]

use std::cell::RefCell;
use std::fs;

use btcfed_core::ban::Issuer;
use btcfed_core::store::StoreError;
use btcfed_core::{AddressSource, PeerOp, PeerPatch, PeerRecord, PeerSource, SecretKey};
use btcfed_peer_store::{FilePeerStore, StoreOptions};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

const DIVIDER: &[u8] = b"\n----\n";

thread_local! {
    static PARENT: RefCell<TempDir> = RefCell::new(
        TempDir::new_in(if fs::exists("/dev/shm").unwrap_or(false) { "/dev/shm" } else { "." })
            .expect("a folder"),
    );
}

/// The text before the first divider, and what follows it.
fn part(bytes: &[u8]) -> (&[u8], &[u8]) {
    let at = bytes
        .windows(DIVIDER.len())
        .position(|window| window == DIVIDER);
    at.map_or((bytes, &[]), |at| {
        (&bytes[..at], &bytes[at + DIVIDER.len()..])
    })
}

/// One change a byte: six bits for the peer, two for what happens to it.
fn change(store: &FilePeerStore, byte: u8) {
    let key = SecretKey::from_seed([byte & 0x3f; 32]).public();
    let op = match byte >> 6 {
        0 | 1 => {
            let mut record = PeerRecord::new(key, PeerSource::Operator);
            let port = 1000 + u16::from(byte);
            let addr = format!("/ip4/10.0.0.1/tcp/{port}")
                .parse()
                .expect("an address");
            record.add_address(addr, AddressSource::Operator);
            return drop(store.apply(&PeerPatch::create(record)));
        }
        2 => PeerOp::Remove {
            key,
            by: Issuer::Operator,
        },
        _ => PeerOp::Remove {
            key,
            by: Issuer::Node,
        },
    };
    // A peer that is not there cannot be removed: that is an answer, too.
    drop(store.apply(&[op].into_iter().collect()));
}

/// A file of a newer version is never rewritten: to say so is an answer, too.
fn close(store: &FilePeerStore) {
    match store.close() {
        Err(StoreError::ReadOnly { .. }) if store.newer_version().is_some() => {}
        other => other.expect("a save"),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (first, rest) = part(bytes);
    let (edited, changes) = part(rest);
    PARENT.with_borrow(|parent| {
        let folder = TempDir::new_in(parent.path()).expect("a folder");
        let path = folder.path().join("peers.yaml");
        fs::write(&path, first).expect("a file");
        let options = || StoreOptions::new(&path).with_watch(false);
        let store = FilePeerStore::open(options()).expect("any bytes are a valid file");
        for byte in changes.iter().take(16) {
            change(&store, *byte);
        }
        let store = if changes.first().is_some_and(|first| first & 0x80 != 0) {
            fs::write(&path, edited).expect("an edit");
            store.reload().expect("an edit is no error");
            store
        } else {
            close(&store);
            drop(store);
            fs::write(&path, edited).expect("an edit");
            FilePeerStore::open(options()).expect("any bytes are a valid file")
        };
        let once = store.snapshot();
        let twice = store.reload().expect("no edit is no error");
        assert!(twice.changes.is_empty(), "{:?}", twice.changes);
        let exact = store.skipped().is_empty() && store.newer_version().is_none();
        close(&store);
        if exact {
            let again = FilePeerStore::open(options())
                .expect("our own file")
                .snapshot();
            let keys = |set: &btcfed_core::PeerSet| -> Vec<_> {
                set.iter()
                    .map(|peer| (peer.key, peer.addresses))
                    .collect()
            };
            assert_eq!(keys(&again), keys(&once));
        }
    });
});
