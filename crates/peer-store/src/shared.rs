//! What callers and the store's thread share: memory, the queue of wishes, and the way to wake the thread.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use btcfed_core::limits::STORE_EVENT_QUEUE;
use btcfed_core::patch::{PeerChange, PeerPatch};
use btcfed_core::store::{Reloaded, SkippedEntry, StoreError, StoreEvent, StoreHealth};
use btcfed_core::{PeerSet, time::Timestamp};
use tokio::sync::{broadcast, oneshot};

use crate::file::revise::{Revised, Revision};
use crate::options::{StoreOptions, Tuning};
use crate::tables::Tables;
use crate::text::document::FORMAT_VERSION;

/// Most callers that may wait for the disk at a time; further ones are told `durable: false` at once.
pub const MAX_WAITING: usize = 65_536;

/// Somebody who waits for an answer, with or without an executor.
#[derive(Debug)]
pub(crate) enum Reply<T> {
    Blocking(SyncSender<T>),
    Async(oneshot::Sender<T>),
}

impl<T> Reply<T> {
    /// Answers. Whoever stopped waiting has stopped caring.
    pub(crate) fn send(self, value: T) {
        let delivered = match self {
            Self::Blocking(sender) => sender.send(value).is_ok(),
            Self::Async(sender) => sender.send(value).is_ok(),
        };
        if !delivered {
            tracing::trace!("nobody waits for the answer any more");
        }
    }
}

/// What callers wish for.
#[derive(Debug)]
pub(crate) enum Request {
    Flush(Reply<Result<(), StoreError>>),
    Reload(Reply<Result<Reloaded, StoreError>>),
    Revise(Revision, Reply<Result<Revised, StoreError>>),
}

/// Memory, and what is to be done about it. Guarded by one mutex that is never held during I/O.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) set: Arc<PeerSet>,
    /// How the store works now; at first as its options say.
    pub(crate) tuning: Tuning,
    /// Counts changes of the set.
    pub(crate) ticket: u64,
    /// Since when hard changes wait that nobody waits for.
    pub(crate) hard_since: Option<Instant>,
    /// How long soft changes may wait; `None` while nothing is saved by itself.
    pub(crate) soft_interval: Option<Duration>,
    /// Since when soft changes wait.
    pub(crate) soft_since: Option<Instant>,
    /// Callers who wait for the next save.
    pub(crate) waiting: Vec<Reply<bool>>,
    pub(crate) requests: VecDeque<Request>,
    /// When to look at the file, because something happened to it.
    pub(crate) look_at: Option<Instant>,
    pub(crate) degraded: Option<String>,
    pub(crate) generation: u64,
    /// The version of the file, when it is too new to be written.
    pub(crate) newer_version: Option<u64>,
    pub(crate) skipped: Vec<SkippedEntry>,
    pub(crate) closing: bool,
    pub(crate) closed: bool,
    /// How the last save before closing went.
    pub(crate) farewell: Result<(), StoreError>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: StoreOptions,
    snapshot: RwLock<Arc<PeerSet>>,
    state: Mutex<State>,
    /// The sections. Their lock is taken after that of the state, or alone.
    pub(crate) tables: Tables,
    pub(crate) wake: Condvar,
    pub(crate) events: broadcast::Sender<StoreEvent>,
}

impl Shared {
    pub(crate) fn new(options: StoreOptions) -> Self {
        let set = Arc::new(PeerSet::default());
        let state = State {
            set: Arc::clone(&set),
            tuning: options.tuning,
            ticket: 0,
            hard_since: None,
            soft_interval: Some(options.soft_interval),
            soft_since: None,
            waiting: Vec::new(),
            requests: VecDeque::new(),
            look_at: None,
            degraded: None,
            generation: 0,
            newer_version: None,
            skipped: Vec::new(),
            closing: false,
            closed: false,
            farewell: Ok(()),
        };
        let (events, _) = broadcast::channel(STORE_EVENT_QUEUE);
        Self {
            options,
            snapshot: RwLock::new(set),
            state: Mutex::new(state),
            tables: Tables::default(),
            wake: Condvar::new(),
            events,
        }
    }

    /// The state. A panic elsewhere cannot leave it half-changed, so a poisoned lock is as good as any.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the store's thread, which may have a later moment to wait for than it knows.
    pub(crate) fn wake_up(&self) {
        drop(self.state());
        self.wake.notify_one();
    }

    pub(crate) fn tuning(&self) -> Tuning {
        self.state().tuning
    }

    /// Changes how the store works. The store's thread starts or stops watching by itself.
    pub(crate) fn tune(&self, tuning: Tuning) {
        let mut state = self.state();
        let old = std::mem::replace(&mut state.tuning, tuning);
        if old == tuning {
            return;
        }
        if !tuning.watch {
            state.look_at = None;
        } else if tuning.debounce != old.debounce {
            // A look that waits for an edit to settle need not wait longer than it would from now on.
            let soon = Instant::now() + tuning.debounce;
            state.look_at = state.look_at.map(|at| at.min(soon));
        }
        drop(state);
        tracing::info!(path = %self.options.path.display(), ?tuning, "storage settings changed");
        self.wake.notify_one();
    }

    pub(crate) fn snapshot(&self) -> Arc<PeerSet> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.options.clock.now().wall
    }

    /// Tells subscribers. Nobody listening is fine.
    pub(crate) fn tell(&self, event: StoreEvent) {
        if self.events.send(event).is_err() {
            tracing::trace!("no subscriber");
        }
    }

    /// Makes `set` what is known.
    pub(crate) fn publish(&self, state: &mut State, set: PeerSet, changes: &[PeerChange]) {
        state.set = Arc::new(set);
        state.ticket += 1;
        *self
            .snapshot
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::clone(&state.set);
        if !changes.is_empty() {
            self.tell(StoreEvent::Changed(changes.into()));
        }
    }

    /// Applies a patch to memory. `reply` is kept when the caller has to wait for the disk; otherwise the second value
    /// says whether everything hard is on disk.
    pub(crate) fn change(
        &self,
        patch: &PeerPatch,
        reply: Reply<bool>,
    ) -> Result<(Vec<PeerChange>, Option<bool>), StoreError> {
        let now = self.options.clock.now();
        let apply = |set: &PeerSet| Ok(set.apply(patch, now)?);
        self.change_with(patch.is_hard(), apply, reply)
    }

    /// Like [`change`](Self::change), of whatever is known at that moment.
    pub(crate) fn change_with(
        &self,
        is_hard: bool,
        work: impl FnOnce(&PeerSet) -> Result<(PeerSet, Vec<PeerChange>), StoreError>,
        reply: Reply<bool>,
    ) -> Result<(Vec<PeerChange>, Option<bool>), StoreError> {
        let mut state = self.state();
        if let Some(found) = state.newer_version.filter(|_| is_hard) {
            return Err(self.read_only(found));
        }
        let (set, changes) = work(&state.set)?;
        if changes.is_empty() {
            return Ok((changes, Some(true)));
        }
        self.publish(&mut state, set, &changes);
        let since = Instant::now();
        if !is_hard {
            if state.newer_version.is_none() {
                state.soft_since.get_or_insert(since);
            }
            self.wake.notify_one();
            return Ok((changes, Some(true)));
        }
        state.hard_since.get_or_insert(since);
        if state.degraded.is_some()
            || state.closing
            || state.closed
            || state.waiting.len() >= MAX_WAITING
        {
            self.wake.notify_one();
            return Ok((changes, Some(false)));
        }
        state.waiting.push(reply);
        self.wake.notify_one();
        Ok((changes, None))
    }

    /// Queues a wish for the store's thread.
    ///
    /// # Errors
    /// The store is closed.
    pub(crate) fn request(
        &self,
        operation: &'static str,
        request: Request,
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.closed || state.closing || state.requests.len() >= MAX_WAITING {
            return Err(self.is_closed(operation));
        }
        state.requests.push_back(request);
        self.wake.notify_one();
        Ok(())
    }

    pub(crate) fn is_closed(&self, operation: &'static str) -> StoreError {
        let path = self.options.path.display().to_string();
        StoreError::Io {
            operation,
            path,
            reason: "the store is closed".to_owned(),
        }
    }

    pub(crate) fn read_only(&self, found: u64) -> StoreError {
        let path = self.options.path.display().to_string();
        StoreError::ReadOnly {
            path,
            found,
            supported: FORMAT_VERSION,
        }
    }

    pub(crate) fn health(&self) -> StoreHealth {
        let state = self.state();
        let tables_wait = self.tables.since().is_some() && state.newer_version.is_none();
        let waits = state.hard_since.is_some() || state.soft_since.is_some() || tables_wait;
        StoreHealth {
            degraded: state.degraded.clone(),
            generation: state.generation,
            durable: !waits && state.degraded.is_none(),
        }
    }
}
