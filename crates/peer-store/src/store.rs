//! The store: what callers see.

use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use btcfed_core::PeerSet;
use btcfed_core::ban::Issuer;
use btcfed_core::config::NodeConfig;
use btcfed_core::patch::{PeerChange, PeerOp, PeerPatch};
use btcfed_core::reconfigure::{Reconfigure, ReconfigureError, Staged, StagedFn};
use btcfed_core::set::PeerView;
use btcfed_core::store::{
    Applied, PeerStore, Reloaded, SkippedEntry, StoreError, StoreEvents, StoreHealth,
};
use btcfed_core::time::Timestamp;
use tokio::sync::oneshot;

use crate::disk::replace::failed;
use crate::file::revise::{Revised, Revision};
use crate::options::{StoreOptions, Tuning};
use crate::sections::{SectionError, SectionOp, SectionStore, Sections};
use crate::shared::{Fate, Reply, Request, Shared};
use crate::worker::Worker;

/// A peers file, open.
///
/// The methods of this type block and need no executor; the [`PeerStore`] implementation does the same for async code
/// and never blocks the executor on a disk. Several stores, in one process or in many, may have the same file open.
///
/// Dropping a store saves what waits and joins its thread; [`close`](Self::close) does the same and says how it went.
#[derive(Debug)]
pub struct FilePeerStore {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl FilePeerStore {
    /// Opens a peers file. A missing file is a first run. A file that is damaged, cannot be read or is no file at all is
    /// no error either: what can be read is served, and [`health`](Self::health) says what is wrong.
    ///
    /// # Errors
    /// The path has no file name, its directory cannot be created, or no thread can be started. Nothing was changed.
    pub fn open(options: StoreOptions) -> Result<Self, StoreError> {
        let path = options.path().to_path_buf();
        let error = |operation, reason: &str| StoreError::Io {
            operation,
            path: path.display().to_string(),
            reason: reason.to_owned(),
        };
        if path.file_name().is_none() {
            return Err(error("open", "names no file"));
        }
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            std::fs::create_dir_all(parent).map_err(|error| failed("create", parent, &error))?;
        }
        let shared = Arc::new(Shared::new(options));
        let worker = Worker::open(Arc::clone(&shared));
        shared.keep_within_bounds();
        let spawned = std::thread::Builder::new()
            .name("peer-store".to_owned())
            .spawn(move || worker.run());
        let thread = spawned.map_err(|spawn| error("start", &spawn.to_string()))?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Resolves when the thread that reads and writes the file has ended though nobody closed the store: nothing is saved
    /// any more, and only a new store helps. Does not keep the store open.
    ///
    /// Cancellation: safe.
    pub fn unexpected_end(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        async move { shared.unexpected_end().await }
    }

    /// Everything known, at one moment. Never blocks on I/O and never fails.
    #[must_use]
    pub fn snapshot(&self) -> Arc<PeerSet> {
        self.shared.snapshot()
    }

    /// Applies a patch, all or nothing. Memory has it at once; hard changes are waited for until they are on disk.
    /// Changes that wait at the same time share one save.
    ///
    /// While the disk is sick this does not wait: the answer is `durable: false`, and the store saves when it can.
    ///
    /// # Errors
    /// The patch cannot be applied, or the file is of a newer version and the patch has hard changes. Nothing changed.
    pub fn apply(&self, patch: &PeerPatch) -> Result<Applied, StoreError> {
        let (changes, fate) = self.shared.change(patch)?;
        Ok(self.applied(changes, fate))
    }

    /// Removes the peers nobody chose (see [`is_reserved`](btcfed_core::PeerRecord::is_reserved)) that were last heard of
    /// longer ago than `older_than`: by contact or, for want of that, when they became known. Peers without any time stay.
    /// A removed peer comes back with a newer record of its own.
    ///
    /// # Errors
    /// As for [`apply`](Self::apply), if any peer is that old. Nothing changed.
    pub fn prune(&self, older_than: Duration) -> Result<Applied, StoreError> {
        let now = self.shared.options.clock.now();
        let is_old = |peer: &PeerView<'_>| {
            let stats = peer.stats();
            let heard = stats.last_seen.or(stats.first_seen);
            !peer.is_reserved()
                && heard.is_some_and(|heard| now.wall.saturating_since(heard) > older_than)
        };
        let remove = |peer: PeerView<'_>| PeerOp::Remove {
            key: *peer.key(),
            by: Issuer::Node,
        };
        self.wait_for(|set| {
            let patch: PeerPatch = set.views().filter(is_old).map(remove).collect();
            Ok(set.apply(&patch, now)?)
        })
    }

    /// Makes `set` all that is known: its peers, bans and forgotten keys as they are, without regard to bounds. What the
    /// file says beyond that (comments, unknown keys, unreadable entries) stays.
    ///
    /// # Errors
    /// The file is of a newer version. Nothing changed.
    pub fn replace_all(&self, set: &PeerSet) -> Result<Applied, StoreError> {
        self.wait_for(|old| Ok((set.clone(), set.changes_since(old))))
    }

    /// Changes memory and waits for the disk.
    fn wait_for(
        &self,
        work: impl FnOnce(&PeerSet) -> Result<(PeerSet, Vec<PeerChange>), StoreError>,
    ) -> Result<Applied, StoreError> {
        let (changes, fate) = self.shared.change_with(true, true, work)?;
        Ok(self.applied(changes, fate))
    }

    fn applied(&self, changes: Vec<PeerChange>, fate: Fate) -> Applied {
        let durable = match fate {
            Fate::Known(durable) => durable,
            Fate::Open => self.shared.wait_durable(),
        };
        Applied { changes, durable }
    }

    /// Takes in what changed in the file since the last look, at once. A file that looks half-written is waited for only
    /// [`RELOAD_PATIENCE`](crate::RELOAD_PATIENCE); then it is treated as at [`open`](Self::open): what can be read is
    /// taken, the bytes are kept aside, and the answer says which lines are damaged.
    ///
    /// # Errors
    /// The file cannot be read, or the store is closed. Nothing changed.
    pub fn reload(&self) -> Result<Reloaded, StoreError> {
        let (reply, answer) = sync_channel(1);
        self.shared
            .request("reload", Request::Reload(Reply::Blocking(reply)))?;
        answer
            .recv()
            .unwrap_or_else(|_| Err(self.shared.is_closed("reload")))
    }

    /// Takes over an edit that people made in a copy of the file: `before` is the copy as they got it, `edited` as they left
    /// it. What the file and memory learned since the copy was made stays; where both changed the same peer, fields people
    /// write follow the edit. Comments, order and unknown fields are the edit's. Saved before it returns.
    ///
    /// # Errors
    /// Nothing was taken over, or it could not be saved: memory then keeps it, and the store keeps trying.
    pub fn adopt_edit(&self, before: &[u8], edited: &[u8]) -> Result<Revised, StoreError> {
        self.revise(Revision::Edit {
            before: before.into(),
            edited: edited.into(),
        })
    }

    /// Takes lines that cannot be read out of the file, once its bytes are kept in a file of their own. What was known of
    /// their peers is written anew. Saved before it returns.
    ///
    /// # Errors
    /// The bytes could not be kept and nothing changed, or the file could not be saved.
    pub fn repair(&self) -> Result<Revised, StoreError> {
        self.revise(Revision::Repair)
    }

    /// Saves what waits, and makes a copy of the file as `NAME.before`: to come back to from a change of much at once.
    ///
    /// # Errors
    /// It could not be written. The file is as it was, or saved.
    pub fn keep_before(&self) -> Result<Revised, StoreError> {
        self.flush()?;
        self.revise(Revision::Keep)
    }

    fn revise(&self, revision: Revision) -> Result<Revised, StoreError> {
        let (reply, answer) = sync_channel(1);
        self.shared
            .request("revise", Request::Revise(revision, Reply::Blocking(reply)))?;
        answer
            .recv()
            .unwrap_or_else(|_| Err(self.shared.is_closed("revise")))
    }

    /// Writes everything that waits, soft changes included.
    ///
    /// # Errors
    /// It could not be written, or the store is closed. Memory keeps it and the store keeps trying.
    pub fn flush(&self) -> Result<(), StoreError> {
        let (reply, answer) = sync_channel(1);
        self.shared
            .request("flush", Request::Flush(Reply::Blocking(reply)))?;
        answer
            .recv()
            .unwrap_or_else(|_| Err(self.shared.is_closed("flush")))
    }

    /// Saves soft changes by itself at the latest `interval` after the first of them, from now on. A store does so from the
    /// beginning, every [`with_soft_interval`](StoreOptions::with_soft_interval) (60 s); this changes the interval, or begins again
    /// after [`stop_auto_save`](Self::stop_auto_save).
    pub fn start_auto_save(&self, interval: Duration) {
        self.shared.state().soft_interval = Some(interval);
        self.shared.wake.notify_one();
    }

    /// Saves soft changes no more by itself. They wait for [`flush`](Self::flush), for the next hard change or for
    /// [`close`](Self::close), which saves everything once more.
    pub fn stop_auto_save(&self) {
        self.shared.state().soft_interval = None;
    }

    /// Subscribes to changes from now on.
    #[must_use]
    pub fn subscribe(&self) -> StoreEvents {
        StoreEvents::new(self.shared.events.subscribe())
    }

    /// How well the store does. Never blocks on I/O.
    #[must_use]
    pub fn health(&self) -> StoreHealth {
        self.shared.health()
    }

    /// The entries of the file that could not be read when it was last looked at, by line. Damaged lines are among them
    /// until the next save leaves them out.
    #[must_use]
    pub fn skipped(&self) -> Vec<SkippedEntry> {
        self.shared.state().skipped.clone()
    }

    /// The version of the file, when it is newer than [`FORMAT_VERSION`](crate::FORMAT_VERSION) and served read-only.
    #[must_use]
    pub fn newer_version(&self) -> Option<u64> {
        self.shared.state().newer_version
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shared.options.path()
    }

    /// Saves what waits and ends the store's thread. Memory still answers afterwards; changes are no longer saved. May be
    /// called more than once.
    ///
    /// # Errors
    /// What waited could not be saved, and is lost when the process ends.
    pub fn close(&self) -> Result<(), StoreError> {
        self.shared.state().closing = true;
        self.shared.wake.notify_one();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!(path = %self.path().display(), "the store's thread panicked");
        }
        self.shared.state().farewell.clone()
    }
}

impl Drop for FilePeerStore {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the last changes of the peers file are not saved");
        }
    }
}

#[async_trait]
impl PeerStore for FilePeerStore {
    fn snapshot(&self) -> Arc<PeerSet> {
        Self::snapshot(self)
    }

    async fn apply(&self, patch: PeerPatch) -> Result<Applied, StoreError> {
        let (changes, fate) = self.shared.change(&patch)?;
        let durable = match fate {
            Fate::Known(durable) => durable,
            Fate::Open => {
                let (sender, answer) = oneshot::channel();
                self.shared.answer_later(sender);
                answer.await.unwrap_or(false)
            }
        };
        Ok(Applied { changes, durable })
    }

    async fn reload(&self) -> Result<Reloaded, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.shared
            .request("reload", Request::Reload(Reply::Async(reply)))?;
        answer
            .await
            .unwrap_or_else(|_| Err(self.shared.is_closed("reload")))
    }

    async fn flush(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.shared
            .request("flush", Request::Flush(Reply::Async(reply)))?;
        answer
            .await
            .unwrap_or_else(|_| Err(self.shared.is_closed("flush")))
    }

    fn subscribe(&self) -> StoreEvents {
        Self::subscribe(self)
    }

    fn health(&self) -> StoreHealth {
        Self::health(self)
    }
}

impl SectionStore for FilePeerStore {
    fn sections(&self) -> Arc<Sections> {
        self.shared.tables.snapshot()
    }

    fn apply_sections(&self, ops: &[SectionOp]) -> Result<bool, SectionError> {
        let changed = self.shared.tables.apply(ops, self.shared.now())?;
        if changed {
            self.shared.wake_up();
        }
        Ok(changed)
    }

    fn sections_now(&self) -> Timestamp {
        self.shared.now()
    }
}

/// Takes `storage.*` of a configuration: lock timeout, watching, debounce and flush interval change while the store is
/// open. What did not change goes on undisturbed.
#[async_trait]
impl Reconfigure for FilePeerStore {
    async fn prepare(&self, config: &NodeConfig) -> Result<Box<dyn Staged>, ReconfigureError> {
        let tuning = Tuning::of(config);
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(StagedFn::new(move || shared.tune(tuning))))
    }
}
