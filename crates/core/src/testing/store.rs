//! A store without a disk.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::{ManualClock, lock};
use crate::limits;
use crate::patch::{PeerChange, PeerPatch};
use crate::set::PeerSet;
use crate::store::{
    Applied, PeerStore, Reloaded, SkippedEntry, StoreError, StoreEvent, StoreEvents, StoreHealth,
};
use crate::time::Clock;

/// What [`StoreError::Io`] calls the place where a [`MemoryStore`] keeps things.
const PLACE: &str = "memory";

/// A [`PeerStore`] that keeps everything in memory, with a switch that makes its disk sick.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    events: broadcast::Sender<StoreEvent>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    set: Arc<PeerSet>,
    outside: Option<(PeerSet, Vec<SkippedEntry>)>,
    sick: Option<String>,
    unsaved: bool,
    generation: u64,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::with_clock(Arc::new(ManualClock::default()))
    }
}

impl MemoryStore {
    /// An empty store whose clock stands still.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store that stamps changes with the time of `clock`.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let (events, _) = broadcast::channel(limits::STORE_EVENT_QUEUE);
        Self {
            clock,
            events,
            state: Mutex::default(),
        }
    }

    /// Replaces the contents without a word to subscribers: the state a test starts from.
    #[must_use]
    pub fn holding(self, set: PeerSet) -> Self {
        lock(&self.state).set = Arc::new(set);
        self
    }

    /// From now on nothing can be saved, and nothing read from outside: memory serves.
    pub fn fail(&self, reason: &str) {
        let mut state = lock(&self.state);
        if state.sick.replace(reason.to_owned()).is_none() {
            self.tell(StoreEvent::Degraded {
                reason: reason.to_owned(),
            });
        }
    }

    /// The disk is well again, and what waited is saved.
    pub fn heal(&self) {
        let mut state = lock(&self.state);
        if state.sick.take().is_some() {
            state.save();
            self.tell(StoreEvent::Healed);
        }
    }

    /// Plays an edit from outside, to be taken in by the next [`PeerStore::reload`].
    pub fn edit_outside(&self, set: PeerSet, skipped: Vec<SkippedEntry>) {
        lock(&self.state).outside = Some((set, skipped));
    }

    /// Tells subscribers; that there are none is no failure.
    fn tell(&self, event: StoreEvent) {
        let _ = self.events.send(event);
    }

    fn tell_changes(&self, changes: &[PeerChange]) {
        if !changes.is_empty() {
            self.tell(StoreEvent::Changed(changes.into()));
        }
    }
}

impl State {
    fn save(&mut self) {
        if std::mem::take(&mut self.unsaved) {
            self.generation += 1;
        }
    }

    fn check_disk(&self, operation: &'static str) -> Result<(), StoreError> {
        match &self.sick {
            None => Ok(()),
            Some(reason) => Err(StoreError::Io {
                operation,
                path: PLACE.to_owned(),
                reason: reason.clone(),
            }),
        }
    }
}

#[async_trait]
impl PeerStore for MemoryStore {
    fn snapshot(&self) -> Arc<PeerSet> {
        Arc::clone(&lock(&self.state).set)
    }

    async fn apply(&self, patch: PeerPatch) -> Result<Applied, StoreError> {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let (set, changes) = state.set.apply(&patch, now)?;
        state.set = Arc::new(set);
        state.unsaved |= !changes.is_empty();
        let durable = state.sick.is_none();
        if durable {
            state.save();
        }
        self.tell_changes(&changes);
        Ok(Applied { changes, durable })
    }

    async fn reload(&self) -> Result<Reloaded, StoreError> {
        let mut state = lock(&self.state);
        state.check_disk("read")?;
        let Some((set, skipped)) = state.outside.take() else {
            return Ok(Reloaded::default());
        };
        let changes = set.changes_since(&state.set);
        state.set = Arc::new(set);
        self.tell_changes(&changes);
        for entry in &skipped {
            self.tell(StoreEvent::Skipped(entry.clone()));
        }
        Ok(Reloaded { changes, skipped })
    }

    async fn flush(&self) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        state.check_disk("write")?;
        state.save();
        Ok(())
    }

    fn subscribe(&self) -> StoreEvents {
        StoreEvents::new(self.events.subscribe())
    }

    fn health(&self) -> StoreHealth {
        let state = lock(&self.state);
        StoreHealth {
            degraded: state.sick.clone(),
            generation: state.generation,
            durable: !state.unsaved,
        }
    }
}
