//! Group commit: the caller that finds nobody writing writes for all who wait, and hands over to one of those who came
//! meanwhile. What the journal cannot take is left to the store's thread, which makes a checkpoint.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use btcfed_core::PeerSet;
use btcfed_core::patch::PeerChange;
use btcfed_core::set::SetPlace;
use btcfed_core::store::StoreError;
use tokio::sync::oneshot;

use crate::disk::lock::{Access, LockFile};
use crate::journal::{Appended, Journal, Open, absorb};
use crate::shared::{Dirty, Shared, State, Verdict, Waiter};

/// How an attempt to write for all ended.
#[derive(Debug)]
pub(crate) enum Committed {
    /// All who waited were answered.
    Answered(bool),
    /// All still wait: the store's thread has to make a checkpoint.
    NeedsCheckpoint,
}

/// While somebody writes for all. A panic then leaves the rest to the store's thread, which writes the whole file.
struct Leading<'a>(&'a Shared);

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        // What of it was written is read again.
        self.0.journal().open = None;
        let mut state = self.0.state();
        state.is_committing = false;
        state.is_journaling = false;
        state.dirty.is_all = true;
        state.hard_since.get_or_insert_with(Instant::now);
        drop(state);
        self.0.wake.notify_one();
    }
}

impl Shared {
    /// Waits until the hard changes made so far are on disk; false when they cannot be written now.
    pub(crate) fn wait_durable(&self) -> bool {
        if !self.may_lead() {
            return self.wait_for(|_| ());
        }
        self.lead()
    }

    /// Answers as [`wait_durable`](Self::wait_durable) does, to somebody with an executor.
    pub(crate) fn answer_later(&self, sender: oneshot::Sender<bool>) {
        let mut state = self.state();
        if state.closed {
            drop(state);
            return Waiter::Async(sender).tell(false);
        }
        state.waiting.push(Waiter::Async(sender));
        drop(state);
        self.wake.notify_one();
    }

    /// True when the caller has to write for all: nobody else does, and there is a journal to write to.
    fn may_lead(&self) -> bool {
        let mut state = self.state();
        let may = state.is_journaling && !state.is_committing && !state.closed;
        state.is_committing |= may;
        may
    }

    /// Queues up, after `first` was done, and waits for an answer, which may be to lead.
    fn wait_for(&self, first: impl FnOnce(&mut State)) -> bool {
        let (sender, answer) = sync_channel(1);
        let mut state = self.state();
        first(&mut state);
        if state.closed {
            return false;
        }
        state.waiting.push(Waiter::Blocking(sender));
        let is_cared_for = state.is_committing;
        drop(state);
        if !is_cared_for {
            self.wake.notify_one();
        }
        self.obey(&answer)
    }

    fn obey(&self, answer: &Receiver<Verdict>) -> bool {
        match answer.recv() {
            Ok(Verdict::Durable(durable)) => durable,
            Ok(Verdict::Lead) => self.lead(),
            Err(_) => false,
        }
    }

    fn lead(&self) -> bool {
        match self.commit_for_all() {
            Committed::Answered(durable) => durable,
            Committed::NeedsCheckpoint => self.wait_for(|state| state.is_committing = false),
        }
    }

    /// Writes for all who wait. To be called by the one for whom `is_committing` was set.
    pub(crate) fn commit_for_all(&self) -> Committed {
        let _leading = Leading(self);
        let mut journal = self.journal();
        if self.state().degraded.is_some() {
            drop(journal);
            return self.give_up();
        }
        let mut dirty = Dirty::default();
        let mut waiting = Vec::new();
        let result = self.commit(&mut journal, &mut dirty, &mut waiting);
        drop(journal);
        match result {
            Ok(Appended::Durable) => {
                self.hand_over();
                waiting.into_iter().for_each(|waiter| waiter.tell(true));
                Committed::Answered(true)
            }
            Ok(Appended::NeedsCheckpoint) => {
                let mut state = self.state();
                state.is_journaling = false;
                state.dirty.merge(dirty);
                waiting.append(&mut state.waiting);
                state.waiting = waiting;
                Committed::NeedsCheckpoint
            }
            Err(error) => {
                let mut state = self.state();
                state.dirty.merge(dirty);
                waiting.append(&mut state.waiting);
                state.waiting = waiting;
                drop(state);
                self.settle(&Err(error));
                self.give_up()
            }
        }
    }

    /// Nobody waits for a sick disk; the store's thread tries again.
    fn give_up(&self) -> Committed {
        let mut state = self.state();
        state.is_committing = false;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(|waiter| waiter.tell(false));
        Committed::Answered(false)
    }

    /// Makes one of those who came meanwhile write for the others.
    fn hand_over(&self) {
        let mut state = self.state();
        let next = state
            .waiting
            .iter()
            .rposition(|waiter| matches!(waiter, Waiter::Blocking(_)))
            .map(|at| state.waiting.swap_remove(at));
        state.is_committing = next.is_some();
        let is_left = next.is_none() && !state.waiting.is_empty();
        drop(state);
        match next {
            Some(Waiter::Blocking(sender)) => {
                if sender.send(Verdict::Lead).is_err() {
                    // Cannot be: who blocks listens. Somebody else finds out.
                    self.state().is_committing = false;
                    self.wake.notify_one();
                }
            }
            Some(Waiter::Async(_)) | None if is_left => self.wake.notify_one(),
            Some(Waiter::Async(_)) | None => {}
        }
    }

    fn commit(
        &self,
        journal: &mut Journal,
        dirty: &mut Dirty,
        waiting: &mut Vec<Waiter>,
    ) -> Result<Appended, StoreError> {
        if !journal.is_usable() {
            return Ok(Appended::NeedsCheckpoint);
        }
        let path = &self.options.path;
        let mut lock = match journal.lock.take().filter(LockFile::is_in_place) {
            Some(lock) => lock,
            None => {
                let target = self.options.disk.resolve(path);
                LockFile::of(target.as_deref().unwrap_or(path))?
            }
        };
        let Some(open) = journal.open.as_mut() else {
            return Ok(Appended::NeedsCheckpoint);
        };
        let timeout = self.tuning().lock_timeout;
        let appended = lock.hold(Access::Exclusive, true, timeout, || {
            self.append(open, dirty, waiting)
        });
        journal.lock = Some(lock);
        appended
    }

    /// To be called while holding the lock.
    fn append(&self, open: &mut Open, dirty: &mut Dirty, waiting: &mut Vec<Waiter>) -> Appended {
        let disk = &*self.options.disk;
        let is_as_known = open.is_current(disk).unwrap_or(false)
            && disk.metadata(&self.options.path).ok() == open.beside;
        if !is_as_known || self.catch_up(open).is_err() {
            return Appended::NeedsCheckpoint;
        }
        let set = {
            let mut state = self.state();
            *dirty = std::mem::take(&mut state.dirty);
            *waiting = std::mem::take(&mut state.waiting);
            Arc::clone(&state.set)
        };
        if dirty.is_all {
            return Appended::NeedsCheckpoint;
        }
        match open.append(&set, &dirty.places) {
            Ok(Appended::Durable) => {
                self.note_commit(open, &set);
                Appended::Durable
            }
            Ok(Appended::NeedsCheckpoint) => Appended::NeedsCheckpoint,
            Err(error) => {
                tracing::warn!(%error, "the journal is given up; the peers file is written instead");
                Appended::NeedsCheckpoint
            }
        }
    }

    /// What is on disk now.
    fn note_commit(&self, open: &Open, set: &Arc<PeerSet>) {
        let mut state = self.state();
        let now = Instant::now();
        state.hard_since = if state.dirty.is_empty() {
            None
        } else {
            Some(now)
        };
        if open.has_frames() && state.lagging_since.is_none() {
            state.lagging_since = Some(now);
            self.wake.notify_one();
        }
        if Arc::ptr_eq(&state.set, set) && state.soft.is_empty() {
            state.soft_since = None;
        }
    }

    /// Takes what others appended to the journal into memory. Returns what changed.
    ///
    /// # Errors
    /// It cannot be read. What could be read is taken.
    pub(crate) fn catch_up(&self, open: &mut Open) -> Result<Vec<PeerChange>, StoreError> {
        let base = open.logged.clone();
        let mut places = BTreeSet::new();
        let result = open.read_on(&mut places);
        let changes = self.take_over(&base, &open.logged, &places);
        result.map(|()| changes)
    }

    /// Takes over into memory what is different at `places`. Returns what changed.
    pub(crate) fn take_over(
        &self,
        base: &PeerSet,
        theirs: &PeerSet,
        places: &BTreeSet<SetPlace>,
    ) -> Vec<PeerChange> {
        if places.is_empty() {
            return Vec::new();
        }
        let mut state = self.state();
        state.lagging_since.get_or_insert_with(Instant::now);
        let Some((merged, changes)) = absorb(base, theirs, &state.set, places) else {
            return Vec::new();
        };
        self.publish(&mut state, merged, &changes);
        changes
    }
}
