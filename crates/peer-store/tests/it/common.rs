//! What the tests share.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use btcfed_core::patch::{PeerChange, PeerPatch};
use btcfed_core::store::{StoreEvent, StoreEvents, Subscribed};
use btcfed_core::testing::{test_key, test_record};
use btcfed_peer_store::{FilePeerStore, StoreOptions};
use tempfile::TempDir;

/// The longest any test waits for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// When it is set, the stores of the tests have no journal. `.ci/run` runs the tests both ways.
pub(crate) const ONE_FILE: &str = "BTCFED_TEST_ONE_FILE";

/// A directory with a path for a peers file.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    pub(crate) path: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peers.yaml");
        Self { dir, path }
    }

    pub(crate) fn with(text: impl AsRef<[u8]>) -> Self {
        let place = Self::new();
        place.write(text);
        place
    }

    pub(crate) fn write(&self, text: impl AsRef<[u8]>) {
        std::fs::write(&self.path, text).unwrap();
    }

    pub(crate) fn read(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap()
    }

    pub(crate) fn options(&self) -> StoreOptions {
        StoreOptions::new(&self.path)
            .with_debounce(Duration::from_millis(60))
            .with_flush_interval(Duration::from_millis(20))
            .with_retry_after(Duration::from_millis(20))
            .with_lock_timeout(Duration::from_millis(500))
            .with_journal(std::env::var_os(ONE_FILE).is_none())
    }

    pub(crate) fn open(&self) -> FilePeerStore {
        FilePeerStore::open(self.options()).unwrap()
    }

    /// Files beside the peers file whose name contains `part`.
    pub(crate) fn beside(&self, part: &str) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = std::fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.file_name().unwrap().to_str().unwrap().contains(part))
            .collect();
        found.sort();
        found
    }
}

/// `KEY1`, `ID1`, ... in a text replaced by the keys and ids of the tests.
pub(crate) fn keys(text: &str) -> String {
    (1..=9).fold(text.to_owned(), |text, number| {
        let key = test_key(number);
        text.replace(&format!("KEY{number}"), &key.to_string())
            .replace(&format!("ID{number}"), &key.peer_id().to_string())
    })
}

pub(crate) fn create(store: &FilePeerStore, number: u16) -> bool {
    store
        .apply(&PeerPatch::create(test_record(number)))
        .unwrap()
        .durable
}

pub(crate) fn knows(store: &FilePeerStore, number: u16) -> bool {
    store.snapshot().contains(&test_key(number))
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn until(what: &str, condition: impl FnMut() -> bool) {
    until_within(DEADLINE, what, condition);
}

/// [`until`], for what may take longer.
#[track_caller]
pub(crate) fn until_within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Everything that was told so far.
pub(crate) fn told(events: &mut StoreEvents) -> Vec<StoreEvent> {
    let mut told = Vec::new();
    while let Some(Subscribed::Event(event)) = events.try_next() {
        told.push(event);
    }
    told
}

/// The changes among some events.
pub(crate) fn changes(events: &[StoreEvent]) -> Vec<PeerChange> {
    let changed = events.iter().filter_map(|event| match event {
        StoreEvent::Changed(changes) => Some(changes.to_vec()),
        _ => None,
    });
    changed.flatten().collect()
}

/// True when the bytes are in any file of the directory.
pub(crate) fn survives(dir: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        std::fs::read(entry.unwrap().path()).is_ok_and(|kept| {
            kept.windows(bytes.len().max(1))
                .any(|window| window == bytes)
        })
    })
}

/// Talks to whoever runs the tests with `--nocapture`.
#[expect(
    clippy::print_stderr,
    reason = "a test says what it skips and measures"
)]
pub(crate) fn say(words: &str) {
    eprintln!("{words}");
}
