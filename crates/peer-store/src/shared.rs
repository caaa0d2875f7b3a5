//! What callers and the store's thread share: memory, the queue of wishes, and the way to wake the thread.

use std::collections::{BTreeSet, VecDeque};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use btcfed_core::limits::{MAX_FORGOTTEN, STORE_EVENT_QUEUE};
use btcfed_core::patch::{PeerChange, PeerPatch};
use btcfed_core::set::SetPlace;
use btcfed_core::store::{Reloaded, SkippedEntry, StoreError, StoreEvent, StoreHealth};
use btcfed_core::{PeerSet, time::Timestamp};
use tokio::sync::{broadcast, oneshot};

use crate::file::revise::{Revised, Revision};
use crate::journal::Journal;
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

/// The longest wait between two tries to save.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// What somebody who waits for the disk is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Whether the change is on disk.
    Durable(bool),
    /// The one who wrote for others is done: write for those who wait now.
    Lead,
}

/// Somebody who waits for the disk. Only those who block can be asked to write for others.
#[derive(Debug)]
pub(crate) enum Waiter {
    Blocking(SyncSender<Verdict>),
    Async(oneshot::Sender<bool>),
}

impl Waiter {
    /// Answers. Whoever stopped waiting has stopped caring.
    pub(crate) fn tell(self, durable: bool) {
        let delivered = match self {
            Self::Blocking(sender) => sender.send(Verdict::Durable(durable)).is_ok(),
            Self::Async(sender) => sender.send(durable).is_ok(),
        };
        if !delivered {
            tracing::trace!("nobody waits for the answer any more");
        }
    }
}

/// Whether a change is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is known already.
    Known(bool),
    /// It has to be waited for.
    Open,
}

/// Most places with hard changes that are remembered one by one; beyond that the next save is a checkpoint.
const MAX_DIRTY: usize = 4096;

/// Hard changes that are not on disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dirty {
    pub(crate) places: BTreeSet<SetPlace>,
    /// They are too many, or not known one by one.
    pub(crate) is_all: bool,
}

impl Dirty {
    pub(crate) fn add(&mut self, places: impl IntoIterator<Item = SetPlace>) {
        for place in places {
            if self.places.len() >= MAX_DIRTY {
                self.is_all = true;
                self.places.clear();
            }
            if self.is_all {
                return;
            }
            self.places.insert(place);
        }
    }

    /// Gives back what could not be written.
    pub(crate) fn merge(&mut self, other: Self) {
        self.is_all |= other.is_all;
        self.add(other.places);
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.is_all && self.places.is_empty()
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
    pub(crate) configured: Tuning,
    /// Counts changes of the set.
    pub(crate) ticket: u64,
    /// Since when hard changes wait that nobody waits for.
    pub(crate) hard_since: Option<Instant>,
    /// How long soft changes may wait; `None` while nothing is saved by itself.
    pub(crate) soft_interval: Option<Duration>,
    /// Since when soft changes wait.
    pub(crate) soft_since: Option<Instant>,
    pub(crate) dirty: Dirty,
    /// Where soft changes wait; as many as there are peers.
    pub(crate) soft: Dirty,
    /// Since when the file says less than the journal.
    pub(crate) lagging_since: Option<Instant>,
    /// When the last checkpoint ended and what it took.
    pub(crate) checkpoint: Option<(Instant, Duration)>,
    /// Somebody writes for all who wait.
    pub(crate) is_committing: bool,
    /// The journal takes changes, as far as known.
    pub(crate) is_journaling: bool,
    /// When and after how long a failed save is tried again.
    pub(crate) retry_at: Option<Instant>,
    pub(crate) retry_wait: Duration,
    /// Callers who wait for the next save.
    pub(crate) waiting: Vec<Waiter>,
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
    journal: Mutex<Journal>,
    pub(crate) wake: Condvar,
    pub(crate) events: broadcast::Sender<StoreEvent>,
}

impl Shared {
    pub(crate) fn new(options: StoreOptions) -> Self {
        let set = Arc::new(PeerSet::default());
        let state = State {
            set: Arc::clone(&set),
            tuning: options.tuning,
            configured: options.configured,
            ticket: 0,
            hard_since: None,
            soft_interval: Some(options.soft_interval),
            soft_since: None,
            dirty: Dirty::default(),
            soft: Dirty::default(),
            lagging_since: None,
            checkpoint: None,
            is_committing: false,
            is_journaling: false,
            retry_at: None,
            retry_wait: options.retry_after,
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
            journal: Mutex::default(),
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

    /// The journal. Locked before the lock file and before the state, and held while the disk works.
    pub(crate) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tuning(&self) -> Tuning {
        self.state().tuning
    }

    /// Changes how the store works, as far as a new configuration differs from the last one. The store's thread starts or stops watching by itself.
    pub(crate) fn tune(&self, configured: Tuning) {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.configured, configured);
        let tuning = state.tuning.follow(&before, &configured);
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

    /// Applies a patch to memory.
    pub(crate) fn change(&self, patch: &PeerPatch) -> Result<(Vec<PeerChange>, Fate), StoreError> {
        let now = self.options.clock.now();
        let apply = |set: &PeerSet| Ok(set.apply(patch, now)?);
        self.change_with(patch.is_hard(), false, apply)
    }

    /// Like [`change`](Self::change), of whatever is known at that moment. `is_vast` when the changes do not name
    /// everything that is different afterwards.
    pub(crate) fn change_with(
        &self,
        is_hard: bool,
        is_vast: bool,
        work: impl FnOnce(&PeerSet) -> Result<(PeerSet, Vec<PeerChange>), StoreError>,
    ) -> Result<(Vec<PeerChange>, Fate), StoreError> {
        let mut state = self.state();
        if let Some(found) = state.newer_version.filter(|_| is_hard) {
            return Err(self.read_only(found));
        }
        let (set, changes) = work(&state.set)?;
        if changes.is_empty() {
            return Ok((changes, Fate::Known(true)));
        }
        let counts = [state.set.counts(), set.counts()];
        self.publish(&mut state, set, &changes);
        let since = Instant::now();
        let places = changes.iter().flat_map(SetPlace::of);
        if !is_hard {
            state.soft.add(places);
            if state.newer_version.is_none() && state.soft_since.is_none() {
                state.soft_since = Some(since);
                self.wake.notify_one();
            }
            return Ok((changes, Fate::Known(true)));
        }
        state.dirty.add(places);
        state.dirty.is_all |= is_vast || makes_room(counts);
        state.hard_since.get_or_insert(since);
        if state.degraded.is_some()
            || state.closing
            || state.closed
            || state.waiting.len() >= MAX_WAITING
        {
            self.wake.notify_one();
            return Ok((changes, Fate::Known(false)));
        }
        Ok((changes, Fate::Open))
    }

    /// Speaks of the first failure and of the recovery, and plans the next try.
    pub(crate) fn settle(&self, result: &Result<(), StoreError>) {
        let mut state = self.state();
        match result {
            Ok(()) => {
                state.retry_at = None;
                state.retry_wait = self.options.retry_after;
                if let Some(reason) = state.degraded.take() {
                    tracing::info!(path = %self.options.path.display(), was = reason, "the peers file is saved again");
                    self.tell(StoreEvent::Healed);
                }
            }
            // Upgrading is the only cure; trying again is not.
            Err(StoreError::ReadOnly { .. }) => {
                state.retry_at = None;
                (state.hard_since, state.soft_since, state.degraded) = (None, None, None);
            }
            Err(error) => {
                state.retry_at = Some(Instant::now() + state.retry_wait);
                state.retry_wait = (state.retry_wait * 2).min(MAX_RETRY);
                let reason = error.to_string();
                if state.degraded.is_none() {
                    tracing::warn!(
                        reason,
                        "the peers file cannot be saved; memory keeps everything until it can"
                    );
                    self.tell(StoreEvent::Degraded {
                        reason: reason.clone(),
                    });
                }
                state.degraded = Some(reason);
            }
        }
        drop(state);
        self.wake.notify_one();
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

/// True when the list of forgotten keys was and is full: then a mark may have given way that no change names.
fn makes_room([[.., before], [.., after]]: [[usize; 3]; 2]) -> bool {
    before >= MAX_FORGOTTEN && after >= MAX_FORGOTTEN
}
