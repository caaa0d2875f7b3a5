//! The store's one thread: the only place that reads and writes the file while the store is open.
//!
//! It sleeps until somebody waits for a save, a deadline passes or the file was touched. Everything that waits is
//! written by one save.

use std::sync::Arc;
use std::time::{Duration, Instant};

use btcfed_core::store::{Reloaded, StoreError};

use crate::commit::Committed;
use crate::disk::lock::{Access, with_lock};
use crate::disk::watch::{POLL_INTERVAL, Watch};
use crate::file::revise::{Revised, Revision};
use crate::file::{Outcome, TheFile};
use crate::shared::{Request, Shared, State};

/// How long an edit that looks half-written is waited for before it is taken as it is.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// How long an explicit reload waits for such an edit. Whoever asks for a reload has finished writing, or wants to know.
pub const RELOAD_PATIENCE: Duration = Duration::from_millis(200);

/// The wait between two looks at an edit that looks half-written.
const RELOOK: Duration = Duration::from_millis(50);

/// A checkpoint of the journal is made so seldom that it takes at most one part in this many of the time.
const CHECKPOINT_SHARE: u32 = 100;

/// Most looks at replaced files when the store closes.
const MAX_LAST_LOOKS: u32 = 32;

/// The longest wait for the lock before a read: without it a read is still whole, because files are replaced by rename.
const READ_LOCK_WAIT: Duration = Duration::from_millis(200);

/// The moment when something has waited as long as it may.
fn after((since, wait): (Instant, Duration)) -> Instant {
    since + wait
}

enum Job {
    Base,
    Close,
    /// Changes are to be appended to the journal: hard ones that wait, or soft ones that waited long enough.
    Commit,
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
    poll_at: Option<Instant>,
    watch: Option<Watch>,
    /// Since when the lock could not be had to read.
    locked_since: Option<Instant>,
    /// Edits are noticed; without a watch by polling alone.
    is_watching: bool,
}

impl Worker {
    /// A worker whose memory holds what the file says.
    pub(crate) fn open(shared: Arc<Shared>) -> Self {
        let file = TheFile::new(Arc::clone(&shared));
        let mut worker = Self {
            shared,
            file,
            poll_at: None,
            watch: None,
            locked_since: None,
            is_watching: false,
        };
        // Watching begins before the first read, so that no edit falls between the two.
        if worker.shared.tuning().watch {
            worker.start_watching();
        }
        worker.file.remove_leftovers();
        let read = worker.read(true).map(drop);
        worker.shared.settle(&read);
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
                    let result = self.close();
                    self.shared.state().farewell = result;
                    return;
                }
                Job::Commit => self.commit(),
                Job::Look => self.look(),
                Job::Poll => self.poll(),
                Job::Request(Request::Flush(reply)) => reply.send(self.flush()),
                Job::Request(Request::Reload(reply)) => reply.send(self.reload()),
                Job::Request(Request::Revise(revision, reply)) => {
                    reply.send(self.revise(revision));
                }
                Job::Save => drop(self.save(false)),
                Job::Watch(on) => self.watch(on),
            }
        }
    }

    fn is_dirty(&self) -> bool {
        let state = self.shared.state();
        state.hard_since.is_some()
            || state.soft_since.is_some()
            || state.lagging_since.is_some()
            || self.tables_since(&state).is_some()
    }

    /// Saves what waits, and leaves no journal behind when all of it is in the file.
    fn close(&mut self) -> Result<(), StoreError> {
        let has_journal = {
            let mut state = self.shared.state();
            state.is_journaling = false;
            drop(state);
            self.shared.journal().open.is_some()
        };
        let mut result = if self.is_dirty() || has_journal {
            self.save(true)
        } else {
            Ok(())
        };
        // Each of these saves replaces a file of its own.
        for _ in 0..MAX_LAST_LOOKS {
            if result.is_err() || !self.file.expects_last_edits() {
                break;
            }
            result = self.save(true);
        }
        self.write_base();
        self.shared.journal().open = None;
        result
    }

    /// Appends to the journal what waits, or makes a checkpoint.
    fn commit(&mut self) {
        let may = {
            let mut state = self.shared.state();
            let soft = std::mem::take(&mut state.soft);
            let may = state.is_journaling && !state.is_committing && !soft.is_all;
            if may {
                state.dirty.merge(soft);
                state.soft_since = None;
            }
            state.is_committing |= may;
            may
        };
        if may && matches!(self.shared.commit_for_all(), Committed::Answered(_)) {
            return;
        }
        if may {
            self.shared.state().is_committing = false;
        }
        drop(self.save(false));
    }

    fn next_job(&self) -> Job {
        let mut state = self.shared.state();
        loop {
            if let Some(request) = state.requests.pop_front() {
                return Job::Request(request);
            }
            if !state.waiting.is_empty() && !state.is_committing {
                return Job::Commit;
            }
            if state.closing {
                return Job::Close;
            }
            if state.tuning.watch != self.is_watching {
                return Job::Watch(state.tuning.watch);
            }
            let save_at = state.retry_at.or_else(|| self.checkpoint_at(&state));
            let soft_at = state.soft_since.zip(state.soft_interval).map(after);
            let now = Instant::now();
            let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
            if is_due(state.look_at) {
                state.look_at = None;
                return Job::Look;
            }
            if is_due(save_at) {
                return Job::Save;
            }
            if is_due(soft_at) && state.retry_at.is_none() && !state.is_committing {
                return Job::Commit;
            }
            if is_due(self.poll_at) {
                return Job::Poll;
            }
            let base_at = self.file.base_due();
            if is_due(base_at) {
                return Job::Base;
            }
            let soft_at = soft_at.filter(|_| state.retry_at.is_none() && !state.is_committing);
            let next = [save_at, soft_at, state.look_at, self.poll_at, base_at]
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

    /// When the file has to be written: for changes nobody waits for, and when it says less than the journal.
    fn checkpoint_at(&self, state: &State) -> Option<Instant> {
        let interval = state.tuning.flush_interval;
        let hard = state.hard_since.filter(|_| !state.is_committing);
        let hard = hard.map(|since| since + interval);
        let lagging = state.lagging_since.map(|since| {
            let rest = state
                .checkpoint
                .map(|(ended, cost)| ended + cost * CHECKPOINT_SHARE);
            rest.unwrap_or(since).max(since + interval)
        });
        let tables = self.tables_since(state).zip(state.soft_interval).map(after);
        hard.into_iter().chain(lagging).chain(tables).min()
    }

    /// Since when sections wait that may be written.
    fn tables_since(&self, state: &State) -> Option<Instant> {
        let since = self.shared.tables.since();
        since.filter(|_| state.newer_version.is_none())
    }

    /// Something may have happened to the file.
    fn look(&mut self) {
        match self.read(false) {
            Ok(Outcome::Unfinished) => {
                self.look_again(RELOOK);
            }
            Ok(_) if self.is_retrying() => drop(self.save(false)),
            Ok(_) => {}
            Err(error) => self.shared.settle(&Err(error)),
        }
    }

    fn is_retrying(&self) -> bool {
        self.shared.state().retry_at.is_some()
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

    /// Reads the file if it changed, under the shared lock if that can be had. While somebody holds it, what is there may be
    /// about to be replaced by a save that does not know it: it is read later, unless `at_once` or the lock is held for long.
    fn read(&mut self, at_once: bool) -> Result<Outcome, StoreError> {
        let timeout = self.shared.tuning().lock_timeout;
        let wait = timeout.min(READ_LOCK_WAIT);
        let target = self.file.target()?;
        let shared = Arc::clone(&self.shared);
        let mut journal = shared.journal();
        let mut look = || self.file.look(&mut journal, &target, at_once);
        match with_lock(&target, Access::Shared, wait, &mut look) {
            Ok(outcome) => {
                self.locked_since = None;
                outcome
            }
            Err(StoreError::Locked { .. }) if !at_once => {
                let since = *self.locked_since.get_or_insert_with(Instant::now);
                if since.elapsed() < timeout {
                    return Ok(Outcome::Unfinished);
                }
                look()
            }
            Err(_) => look(),
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
        if self.is_retrying() && result.is_ok() {
            drop(self.save(false));
        }
        result.map(|changes| Reloaded { changes, skipped })
    }

    /// Does what people ask for with the file itself, and saves.
    fn revise(&mut self, revision: Revision) -> Result<Revised, StoreError> {
        if matches!(revision, Revision::Keep) && self.is_dirty() {
            // The copy is to say what is known, also where only the journal says it so far.
            self.save(false)?;
        }
        let target = self.file.target()?;
        let timeout = self.shared.tuning().lock_timeout;
        let shared = Arc::clone(&self.shared);
        let mut journal = shared.journal();
        let revised = with_lock(&target, Access::Exclusive, timeout, || {
            self.file.revise(&mut journal, &target, revision)
        })??;
        drop(journal);
        self.save(false)?;
        Ok(revised)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if self.is_dirty() || self.is_retrying() {
            self.save(false)
        } else {
            Ok(())
        }
    }

    /// Writes everything that waits into the file and answers everybody who waits.
    fn save(&mut self, is_last: bool) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let waiting = std::mem::take(&mut shared.state().waiting);
        let timeout = shared.tuning().lock_timeout;
        let result = loop {
            let attempt = self.file.target().and_then(|target| {
                let mut journal = shared.journal();
                with_lock(&target, Access::Exclusive, timeout, || {
                    self.file.save(&mut journal, &target, is_last)
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
        self.shared.settle(&result);
        for waiter in waiting {
            waiter.tell(result.is_ok());
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
}

impl Drop for Worker {
    /// Also when the thread panics: nobody may wait for a thread that is gone.
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closed = true;
        state.is_journaling = false;
        if std::thread::panicking() {
            state.degraded = Some("the store's thread ended".to_owned());
            state.farewell = Err(self.shared.is_closed("save"));
        }
        let (waiting, requests) = (
            std::mem::take(&mut state.waiting),
            std::mem::take(&mut state.requests),
        );
        drop(state);
        waiting.into_iter().for_each(|waiter| waiter.tell(false));
        drop(requests);
        self.shared.tell_end();
    }
}
