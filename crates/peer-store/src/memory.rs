//! A store in memory, with one JSON file if that is wanted.

mod autosave;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use btcfed_core::PeerSet;
use btcfed_core::limits::STORE_EVENT_QUEUE;
use btcfed_core::metrics::{Metrics, NoMetrics};
use btcfed_core::patch::{PeerChange, PeerPatch};
use btcfed_core::store::{
    Applied, PeerStore, Reloaded, StoreError, StoreEvent, StoreEvents, StoreHealth,
};
use btcfed_core::time::{Clock, Timestamp};
use tokio::sync::broadcast;

use crate::clock::SystemClock;
use crate::disk::displaced::Print;
use crate::disk::replace::{failed, keep_aside, replace};
use crate::disk::{Disk, OsDisk};
use crate::json::{self, Contents};
use crate::memory::autosave::AutoSave;
use crate::sections::{SectionError, SectionOp, SectionStore, Sections};
use crate::tables::Tables;

/// Largest file that is read, in bytes.
pub const MAX_JSON_BYTES: u64 = 64 * 1024 * 1024;

/// Peers, bans and tables in memory. With a file, everything is in one JSON document (see [`json`]): hard changes are in it,
/// durably, before [`apply`](Self::apply) returns, soft ones with the next save.
///
/// The file belongs to one process and is rewritten as a whole with every hard change: fit for hundreds of peers and for
/// programs that want JSON. For a file that people edit, several processes, comments or thousands of peers there is
/// [`FilePeerStore`](crate::FilePeerStore). A file that somebody else changed is kept aside before it is written over, and
/// taken in by [`reload`](Self::reload).
///
/// ```
/// use btcfed_core::{PeerPatch, PeerRecord, PeerSource, SecretKey};
/// use btcfed_peer_store::MemoryStore;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// let path = directory.path().join("peers.json");
/// let store = MemoryStore::open(&path)?;
/// let alice = PeerRecord::new(SecretKey::from_seed([7; 32]).public(), PeerSource::Operator);
/// assert!(store.apply(&PeerPatch::create(alice))?.durable);
/// drop(store);
/// assert_eq!(MemoryStore::open(&path)?.snapshot().len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MemoryStore {
    inner: Arc<Inner>,
    autosave: Mutex<Option<AutoSave>>,
}

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    metrics: Arc<dyn Metrics>,
    disk: Arc<dyn Disk>,
    path: Option<PathBuf>,
    snapshot: RwLock<Arc<PeerSet>>,
    tables: Tables,
    state: Mutex<State>,
    /// What the file was when it was last read or written. Held during I/O, and taken before the state.
    file: Mutex<Option<Print>>,
    events: broadcast::Sender<StoreEvent>,
}

#[derive(Debug, Default)]
struct State {
    /// Counts changes.
    ticket: u64,
    saved: u64,
    generation: u64,
    degraded: Option<String>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store without a file. What it is told is as durable as it gets: until the process ends.
    #[must_use]
    pub fn new() -> Self {
        Self::with(
            None,
            Arc::new(SystemClock),
            Arc::new(NoMetrics),
            Arc::new(OsDisk),
        )
    }

    /// A store without a file that stamps changes with the time of `clock`.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self::with(None, clock, Arc::new(NoMetrics), Arc::new(OsDisk))
    }

    /// A store with the JSON file at `path`. A missing file is a first run; missing directories are made.
    ///
    /// # Errors
    /// The file cannot be read, or is no such document: the message names line and key. Nothing was changed.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_with(
            path,
            Arc::new(SystemClock),
            Arc::new(NoMetrics),
            Arc::new(OsDisk),
        )
    }

    /// [`open`](Self::open) with a clock, a listener of what is counted (`peer_store_loads`, `peer_store_saves`,
    /// `peer_store_saved_bytes`, `peer_store_save_failures`, and the time `peer_store_save`) and a disk.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_with(
        path: impl Into<PathBuf>,
        clock: Arc<dyn Clock>,
        metrics: Arc<dyn Metrics>,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, StoreError> {
        let path = path.into();
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent {
            std::fs::create_dir_all(parent).map_err(|error| failed("create", parent, &error))?;
        }
        let store = Self::with(Some(path), clock, metrics, disk);
        store.reload()?;
        Ok(store)
    }

    fn with(
        path: Option<PathBuf>,
        clock: Arc<dyn Clock>,
        metrics: Arc<dyn Metrics>,
        disk: Arc<dyn Disk>,
    ) -> Self {
        let (events, _) = broadcast::channel(STORE_EVENT_QUEUE);
        let inner = Inner {
            clock,
            metrics,
            disk,
            path,
            snapshot: RwLock::default(),
            tables: Tables::default(),
            state: Mutex::default(),
            file: Mutex::default(),
            events,
        };
        Self {
            inner: Arc::new(inner),
            autosave: Mutex::default(),
        }
    }

    /// Everything known, at one moment. Never blocks on I/O and never fails.
    #[must_use]
    pub fn snapshot(&self) -> Arc<PeerSet> {
        self.inner.snapshot()
    }

    /// Everything known as one document.
    #[must_use]
    pub fn to_json(&self) -> String {
        let generation = locked(&self.inner.state).generation;
        json::write(&self.inner.contents(generation).0)
    }

    /// Applies a patch, all or nothing. With a file, hard changes are saved first; `durable: false` says that this failed, and
    /// the next save tries again.
    ///
    /// # Errors
    /// The patch cannot be applied. Nothing changed.
    pub fn apply(&self, patch: &PeerPatch) -> Result<Applied, StoreError> {
        let changes = self.inner.apply(patch)?;
        let is_hard = patch.is_hard() && !changes.is_empty();
        let durable = !is_hard || self.inner.path.is_none() || self.inner.save().is_ok();
        Ok(Applied { changes, durable })
    }

    /// Takes what the file says, if it was changed outside: all of it, also in place of changes that could not be saved.
    /// Without a file, or when it is missing, nothing happens.
    ///
    /// # Errors
    /// It cannot be read, or is no such document: the message names line and key. Nothing changed.
    pub fn reload(&self) -> Result<Reloaded, StoreError> {
        self.inner.load()
    }

    /// Saves what waits. Does nothing without a file.
    ///
    /// # Errors
    /// It could not be saved. Memory keeps it.
    pub fn flush(&self) -> Result<(), StoreError> {
        match self.inner.is_saved() {
            true => Ok(()),
            false => self.inner.save(),
        }
    }

    /// From now on saves soft changes, and what could not be saved before, every `interval`, on a thread of its own. Replaces an
    /// earlier interval. At the end (drop, [`stop_auto_save`](Self::stop_auto_save)) everything is saved once more. Usual: 60 s.
    ///
    /// # Errors
    /// No thread can be started. Nothing changed.
    pub fn start_auto_save(&self, interval: Duration) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.inner);
        let save = move || {
            if !inner.is_saved()
                && let Err(error) = inner.save()
            {
                tracing::debug!(%error, "saved later");
            }
        };
        let started = AutoSave::start(interval, save).map_err(|error| {
            let path = self.inner.path.clone().unwrap_or_default();
            failed("start", &path, &error)
        })?;
        *locked(&self.autosave) = Some(started);
        Ok(())
    }

    /// Ends saving by itself, after one last save. Does nothing when it was not begun.
    pub fn stop_auto_save(&self) {
        drop(locked(&self.autosave).take());
    }

    /// Subscribes to changes from now on.
    #[must_use]
    pub fn subscribe(&self) -> StoreEvents {
        StoreEvents::new(self.inner.events.subscribe())
    }

    /// How well the store does. Never blocks on I/O.
    #[must_use]
    pub fn health(&self) -> StoreHealth {
        let durable = self.inner.is_saved();
        let state = locked(&self.inner.state);
        StoreHealth {
            degraded: state.degraded.clone(),
            generation: state.generation,
            durable,
        }
    }

    /// The file, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.inner.path.as_deref()
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.stop_auto_save();
        if let Err(error) = self.flush() {
            tracing::error!(%error, "the last changes of the peers are not saved");
        }
    }
}

impl Inner {
    fn snapshot(&self) -> Arc<PeerSet> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn now(&self) -> Timestamp {
        self.clock.now().wall
    }

    fn tell(&self, event: StoreEvent) {
        if self.events.send(event).is_err() {
            tracing::trace!("no subscriber");
        }
    }

    fn publish(&self, set: PeerSet, changes: &[PeerChange]) {
        *self
            .snapshot
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
        if !changes.is_empty() {
            self.tell(StoreEvent::Changed(changes.into()));
        }
    }

    fn apply(&self, patch: &PeerPatch) -> Result<Vec<PeerChange>, StoreError> {
        let now = self.clock.now();
        let mut state = locked(&self.state);
        let (set, changes) = self.snapshot().apply(patch, now)?;
        if !changes.is_empty() {
            state.ticket += 1;
            self.publish(set, &changes);
        }
        if self.path.is_none() {
            (state.saved, state.generation) = (state.ticket, state.ticket);
        }
        Ok(changes)
    }

    /// True when nothing waits to be written.
    fn is_saved(&self) -> bool {
        let state = locked(&self.state);
        let is_saved = state.ticket == state.saved && self.tables.since().is_none();
        self.path.is_none() || (is_saved && state.degraded.is_none())
    }

    /// What is to be saved, and the tickets to answer with.
    fn contents(&self, generation: u64) -> (Contents, u64, u64) {
        let (sections, tables_ticket) = self.tables.to_save(self.now());
        let state = locked(&self.state);
        let contents = Contents {
            generation,
            peers: (*self.snapshot()).clone(),
            sections: (*sections).clone(),
        };
        (contents, state.ticket, tables_ticket)
    }

    fn save(&self) -> Result<(), StoreError> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let started = Instant::now();
        let mut print = locked(&self.file);
        let generation = locked(&self.state).generation + 1;
        let (contents, ticket, tables_ticket) = self.contents(generation);
        let bytes = json::write(&contents).into_bytes();
        let written = self.write(path, &bytes, &mut print);
        let mut state = locked(&self.state);
        match &written {
            Ok(()) => {
                (state.saved, state.generation) = (ticket, generation);
                self.tables.saved(tables_ticket);
                self.metrics.count("peer_store_saves", 1);
                let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                self.metrics.count("peer_store_saved_bytes", count);
                self.metrics.time("peer_store_save", started.elapsed());
                if state.degraded.take().is_some() {
                    tracing::info!(path = %path.display(), "the peers are saved again");
                    self.tell(StoreEvent::Healed);
                }
            }
            Err(error) => {
                self.metrics.count("peer_store_save_failures", 1);
                let reason = error.to_string();
                if state.degraded.replace(reason.clone()).is_none() {
                    tracing::warn!(
                        reason,
                        "the peers cannot be saved; memory keeps everything until they can"
                    );
                    self.tell(StoreEvent::Degraded { reason });
                }
            }
        }
        written
    }

    fn write(
        &self,
        path: &Path,
        bytes: &[u8],
        print: &mut Option<Print>,
    ) -> Result<(), StoreError> {
        let target = self
            .disk
            .resolve(path)
            .map_err(|error| failed("resolve", path, &error))?;
        let like = self.disk.metadata(&target).ok();
        let found = self.read(&target)?;
        if let Some(found) = found.filter(|found| Some(Print::of(found)) != *print) {
            let kept = keep_aside(&*self.disk, &target, &found, like.as_ref(), self.now(), &[])?;
            tracing::warn!(path = %target.display(), kept = %kept.display(), "the file was changed by somebody else; what it said is kept aside");
        }
        // Until the last step is done nobody knows which content is there.
        *print = None;
        replace(&*self.disk, &target, &[bytes], like.as_ref())?;
        *print = Some(Print::of(bytes));
        Ok(())
    }

    fn read(&self, target: &Path) -> Result<Option<Vec<u8>>, StoreError> {
        let bytes = match self.disk.read(target, MAX_JSON_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", target, &error)),
        };
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_JSON_BYTES {
            let error = io::Error::other(format!("larger than {MAX_JSON_BYTES} bytes"));
            return Err(failed("read", target, &error));
        }
        Ok(Some(bytes))
    }

    fn load(&self) -> Result<Reloaded, StoreError> {
        let Some(path) = &self.path else {
            return Ok(Reloaded::default());
        };
        let mut print = locked(&self.file);
        let target = self
            .disk
            .resolve(path)
            .map_err(|error| failed("resolve", path, &error))?;
        let Some(bytes) = self.read(&target)? else {
            return Ok(Reloaded::default());
        };
        let found = Print::of(&bytes);
        if *print == Some(found) {
            return Ok(Reloaded::default());
        }
        let refused = |reason: String| failed("read", &target, &io::Error::other(reason));
        let text = String::from_utf8(bytes).map_err(|error| refused(error.to_string()))?;
        let contents = json::read(&text, self.now()).map_err(|error| refused(error.to_string()))?;
        *print = Some(found);
        let mut state = locked(&self.state);
        let changes = contents.peers.changes_since(&self.snapshot());
        state.ticket += 1;
        (state.saved, state.generation) = (state.ticket, state.generation.max(contents.generation));
        self.tables.replace(contents.sections);
        self.publish(contents.peers, &changes);
        self.metrics.count("peer_store_loads", 1);
        let skipped = Vec::new();
        Ok(Reloaded { changes, skipped })
    }
}

impl SectionStore for MemoryStore {
    fn sections(&self) -> Arc<Sections> {
        self.inner.tables.snapshot()
    }

    fn apply_sections(&self, ops: &[SectionOp]) -> Result<bool, SectionError> {
        self.inner.tables.apply(ops, self.inner.now())
    }

    fn sections_now(&self) -> Timestamp {
        self.inner.now()
    }
}

/// With a file, `apply`, `reload` and `flush` do their I/O where they are polled.
#[async_trait]
impl PeerStore for MemoryStore {
    fn snapshot(&self) -> Arc<PeerSet> {
        Self::snapshot(self)
    }

    async fn apply(&self, patch: PeerPatch) -> Result<Applied, StoreError> {
        Self::apply(self, &patch)
    }

    async fn reload(&self) -> Result<Reloaded, StoreError> {
        Self::reload(self)
    }

    async fn flush(&self) -> Result<(), StoreError> {
        Self::flush(self)
    }

    fn subscribe(&self) -> StoreEvents {
        Self::subscribe(self)
    }

    fn health(&self) -> StoreHealth {
        Self::health(self)
    }
}
