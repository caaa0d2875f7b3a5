//! The store's one thread: the only place that reads and writes the file while the store is open.
//!
//! It sleeps until somebody waits for a save, a deadline passes or the file was touched. Everything that waits is
//! written by one save.

use std::sync::Arc;
use std::time::{Duration, Instant};

use btcfed_core::store::{Reloaded, StoreError, StoreEvent};

use crate::disk::lock::{Access, with_lock};
use crate::disk::watch::{POLL_INTERVAL, Watch};
use crate::file::revise::{Revised, Revision};
use crate::file::{Outcome, TheFile};
use crate::shared::{Reply, Request, Shared};

/// How long an edit that looks half-written is waited for before it is taken as it is.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// How long an explicit reload waits for such an edit. Whoever asks for a reload has finished writing, or wants to know.
pub const RELOAD_PATIENCE: Duration = Duration::from_millis(200);

/// The wait between two looks at an edit that looks half-written.
const RELOOK: Duration = Duration::from_millis(50);

/// The longest wait between two tries to save.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// The longest wait for the lock before a read: without it a read is still whole, because files are replaced by rename.
const READ_LOCK_WAIT: Duration = Duration::from_millis(200);

enum Job {
    Base,
    Close,
    Look,
    Poll,
    Request(Request),
    Save,
    /// Watching is to begin or to end.
    Watch(bool),
}

pub(crate) struct Worker {
    shared: Arc<Shared>,
    file: TheFile,
    retry_at: Option<Instant>,
    retry_wait: Duration,
    poll_at: Option<Instant>,
    watch: Option<Watch>,
    /// Edits are noticed; without a watch by polling alone.
    is_watching: bool,
}

impl Worker {
    /// A worker whose memory holds what the file says.
    pub(crate) fn open(shared: Arc<Shared>) -> Self {
        let retry_wait = shared.options.retry_after;
        let file = TheFile::new(Arc::clone(&shared));
        let mut worker = Self {
            shared,
            file,
            retry_at: None,
            retry_wait,
            poll_at: None,
            watch: None,
            is_watching: false,
        };
        // Watching begins before the first read, so that no edit falls between the two.
        if worker.shared.tuning().watch {
            worker.start_watching();
        }
        worker.file.remove_leftovers();
        let read = worker.read(true).map(drop);
        worker.settle(&read);
        worker
    }

    fn start_watching(&mut self) {
        self.is_watching = true;
        self.watch = Watch::start(&self.shared, &self.file.paths());
        self.poll_at = Some(Instant::now() + POLL_INTERVAL);
    }

    /// Begins or ends watching. What was edited while nobody watched is noticed as if it had just happened.
    fn watch(&mut self, on: bool) {
        if on {
            self.start_watching();
            self.poll();
        } else {
            self.is_watching = false;
            self.watch = None;
            self.poll_at = None;
        }
    }

    /// Works until the store is closed.
    pub(crate) fn run(mut self) {
        loop {
            match self.next_job() {
                Job::Base => self.write_base(),
                Job::Close => {
                    let result = if self.is_dirty() { self.save() } else { Ok(()) };
                    self.write_base();
                    self.shared.state().farewell = result;
                    return;
                }
                Job::Look => self.look(),
                Job::Poll => self.poll(),
                Job::Request(Request::Flush(reply)) => reply.send(self.flush()),
                Job::Request(Request::Reload(reply)) => reply.send(self.reload()),
                Job::Request(Request::Revise(revision, reply)) => {
                    reply.send(self.revise(revision));
                }
                Job::Save => drop(self.save()),
                Job::Watch(on) => self.watch(on),
            }
        }
    }

    fn is_dirty(&self) -> bool {
        let state = self.shared.state();
        state.hard_since.is_some()
            || state.soft_since.is_some()
            || (state.newer_version.is_none() && self.shared.tables.since().is_some())
    }

    fn next_job(&self) -> Job {
        let after = |(since, wait): (Instant, Duration)| since + wait;
        let mut state = self.shared.state();
        loop {
            if let Some(request) = state.requests.pop_front() {
                return Job::Request(request);
            }
            if !state.waiting.is_empty() {
                return Job::Save;
            }
            if state.closing {
                return Job::Close;
            }
            if state.tuning.watch != self.is_watching {
                return Job::Watch(state.tuning.watch);
            }
            let save_at = match self.retry_at {
                Some(at) => Some(at),
                None => [
                    state
                        .hard_since
                        .map(|since| since + state.tuning.flush_interval),
                    state.soft_since.zip(state.soft_interval).map(after),
                    self.shared
                        .tables
                        .since()
                        .filter(|_| state.newer_version.is_none())
                        .zip(state.soft_interval)
                        .map(after),
                ]
                .into_iter()
                .flatten()
                .min(),
            };
            let now = Instant::now();
            let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
            if is_due(state.look_at) {
                state.look_at = None;
                return Job::Look;
            }
            if is_due(save_at) {
                return Job::Save;
            }
            if is_due(self.poll_at) {
                return Job::Poll;
            }
            let base_at = self.file.base_due();
            if is_due(base_at) {
                return Job::Base;
            }
            let next = [save_at, state.look_at, self.poll_at, base_at]
                .into_iter()
                .flatten()
                .min();
            let poisoned = std::sync::PoisonError::into_inner;
            state = match next {
                None => self.shared.wake.wait(state).unwrap_or_else(poisoned),
                Some(at) => {
                    let waited = self
                        .shared
                        .wake
                        .wait_timeout(state, at.saturating_duration_since(now));
                    waited.map_or_else(|error| error.into_inner().0, |(state, _)| state)
                }
            };
        }
    }

    /// Something may have happened to the file.
    fn look(&mut self) {
        match self.read(false) {
            Ok(Outcome::Unfinished) => {
                self.look_again(RELOOK);
            }
            Ok(_) if self.retry_at.is_some() => drop(self.save()),
            Ok(_) => {}
            Err(error) => self.settle(&Err(error)),
        }
    }

    fn poll(&mut self) {
        self.poll_at = Some(Instant::now() + POLL_INTERVAL);
        if self.file.is_touched() {
            self.look_again(Duration::ZERO);
        }
    }

    /// Plans a look after the debounce time, and not before `least`.
    fn look_again(&self, least: Duration) {
        let mut state = self.shared.state();
        let wait = state.tuning.debounce.max(least);
        if state.tuning.watch {
            state.look_at.get_or_insert_with(|| Instant::now() + wait);
        }
    }

    /// Reads the file if it changed, under the shared lock if that can be had.
    fn read(&mut self, at_once: bool) -> Result<Outcome, StoreError> {
        let wait = self.shared.tuning().lock_timeout.min(READ_LOCK_WAIT);
        let target = self.file.target()?;
        match with_lock(&target, Access::Shared, wait, || {
            self.file.take_in(&target, at_once)
        }) {
            Ok(outcome) => outcome,
            Err(_) => self.file.take_in(&target, at_once),
        }
    }

    fn reload(&mut self) -> Result<Reloaded, StoreError> {
        let started = Instant::now();
        let result = loop {
            match self.read(started.elapsed() >= RELOAD_PATIENCE) {
                Ok(Outcome::Unfinished) => std::thread::sleep(RELOOK),
                Ok(Outcome::Adopted(changes)) => break Ok(changes),
                Ok(Outcome::Same | Outcome::Missing) => break Ok(Vec::new()),
                Err(error) => break Err(error),
            }
        };
        // Before a save heals what is damaged.
        let skipped = self.shared.state().skipped.clone();
        if self.retry_at.is_some() && result.is_ok() {
            drop(self.save());
        }
        result.map(|changes| Reloaded { changes, skipped })
    }

    /// Does what people ask for with the file itself, and saves.
    fn revise(&mut self, revision: Revision) -> Result<Revised, StoreError> {
        let target = self.file.target()?;
        let timeout = self.shared.tuning().lock_timeout;
        let revised = with_lock(&target, Access::Exclusive, timeout, || {
            self.file.revise(&target, revision)
        })??;
        self.save()?;
        Ok(revised)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if self.is_dirty() || self.retry_at.is_some() {
            self.save()
        } else {
            Ok(())
        }
    }

    /// Writes everything that waits and answers everybody who waits.
    fn save(&mut self) -> Result<(), StoreError> {
        let waiting = std::mem::take(&mut self.shared.state().waiting);
        let timeout = self.shared.tuning().lock_timeout;
        let result = loop {
            let attempt = self.file.target().and_then(|target| {
                with_lock(&target, Access::Exclusive, timeout, || {
                    self.file.save(&target)
                })?
            });
            match attempt {
                Ok(true) => break Ok(()),
                Ok(false) => std::thread::sleep(RELOOK),
                Err(error) => break Err(error),
            }
        };
        if result.is_err() {
            let metrics = &self.shared.options.metrics;
            metrics.count("peer_store_save_failures", 1);
        }
        self.settle(&result);
        for reply in waiting {
            reply.send(result.is_ok());
        }
        result
    }

    /// Brings the base up to date, unless somebody holds the lock: then a later save does it.
    fn write_base(&mut self) {
        if self.file.base_due().is_none() {
            return;
        }
        let wait = self.shared.tuning().lock_timeout.min(READ_LOCK_WAIT);
        let written = self.file.target().and_then(|target| {
            with_lock(&target, Access::Exclusive, wait, || {
                self.file.write_base(&target);
            })
        });
        if let Err(error) = written {
            self.file.put_off_base();
            tracing::debug!(%error, "the copy of the peers file follows later");
        }
    }

    /// Speaks of the first failure and of the recovery, and plans the next try.
    fn settle(&mut self, result: &Result<(), StoreError>) {
        let mut state = self.shared.state();
        match result {
            Ok(()) => {
                self.retry_at = None;
                self.retry_wait = self.shared.options.retry_after;
                if let Some(reason) = state.degraded.take() {
                    tracing::info!(path = %self.shared.options.path.display(), was = reason, "the peers file is saved again");
                    self.shared.tell(StoreEvent::Healed);
                }
            }
            // Upgrading is the only cure; trying again is not.
            Err(StoreError::ReadOnly { .. }) => {
                self.retry_at = None;
                (state.hard_since, state.soft_since, state.degraded) = (None, None, None);
            }
            Err(error) => {
                self.retry_at = Some(Instant::now() + self.retry_wait);
                self.retry_wait = (self.retry_wait * 2).min(MAX_RETRY);
                let reason = error.to_string();
                if state.degraded.is_none() {
                    tracing::warn!(
                        reason,
                        "the peers file cannot be saved; memory keeps everything until it can"
                    );
                    self.shared.tell(StoreEvent::Degraded {
                        reason: reason.clone(),
                    });
                }
                state.degraded = Some(reason);
            }
        }
    }
}

impl Drop for Worker {
    /// Also when the thread panics: nobody may wait for a thread that is gone.
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closed = true;
        if std::thread::panicking() {
            state.degraded = Some("the store's thread ended".to_owned());
            state.farewell = Err(self.shared.is_closed("save"));
        }
        let (waiting, requests) = (
            std::mem::take(&mut state.waiting),
            std::mem::take(&mut state.requests),
        );
        drop(state);
        waiting
            .into_iter()
            .for_each(|reply: Reply<bool>| reply.send(false));
        drop(requests);
    }
}
