//! The sections in memory: what callers and the store's thread share of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use btcfed_core::time::Timestamp;

use crate::sections::layout::Layout;
use crate::sections::merge::merge;
use crate::sections::{SectionError, SectionOp, Sections};

#[derive(Debug, Default)]
pub(crate) struct Tables(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    sections: Arc<Sections>,
    /// Counts changes.
    ticket: u64,
    /// Since when changes wait to be written.
    since: Option<Instant>,
}

impl State {
    fn change(&mut self) {
        self.ticket += 1;
        self.since.get_or_insert_with(Instant::now);
    }
}

impl Tables {
    /// A panic elsewhere cannot leave the state half-changed, so a poisoned lock is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn snapshot(&self) -> Arc<Sections> {
        Arc::clone(&self.state().sections)
    }

    /// Since when changes wait.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.state().since
    }

    pub(crate) fn apply(&self, ops: &[SectionOp], now: Timestamp) -> Result<bool, SectionError> {
        let mut state = self.state();
        let changed = Arc::make_mut(&mut state.sections).apply(ops, now)?;
        if changed {
            state.change();
        }
        Ok(changed)
    }

    /// Takes what was known when the store was last open. What was changed since goes on top.
    pub(crate) fn recall(&self, sections: Sections) {
        let mut state = self.state();
        let merged = merge(
            &Sections::default(),
            &state.sections,
            &sections,
            &Default::default(),
            true,
        );
        state.sections = Arc::new(merged);
    }

    /// Merges what a file changed. Entries over their time do not come in.
    pub(crate) fn adopt(&self, base: &Layout, file: &Layout, keeps_missing: bool, now: Timestamp) {
        let mut state = self.state();
        let (base, said) = (base.sections(), file.sections());
        let mut merged = merge(&base, &said, &state.sections, &file.unread(), keeps_missing);
        merged.expire(now);
        if merged != *state.sections {
            state.sections = Arc::new(merged);
            state.ticket += 1;
        }
        if !file.says(&state.sections, now) {
            state.since.get_or_insert_with(Instant::now);
        }
    }

    /// What is to be written, without what is over its time, and the ticket to answer with once it is.
    pub(crate) fn to_save(&self, now: Timestamp) -> (Arc<Sections>, u64) {
        let mut state = self.state();
        let is_expired = state.sections.iter().any(|(_, table)| {
            let live = table.iter_after(None, now).count();
            live < table.entries().len()
        });
        if is_expired {
            Arc::make_mut(&mut state.sections).expire(now);
        }
        (Arc::clone(&state.sections), state.ticket)
    }

    /// What was asked for with this ticket is written.
    pub(crate) fn saved(&self, ticket: u64) {
        let mut state = self.state();
        if state.ticket == ticket {
            state.since = None;
        }
    }

    /// Makes `sections` all that is known and saved.
    pub(crate) fn replace(&self, sections: Sections) {
        let mut state = self.state();
        state.sections = Arc::new(sections);
        state.ticket += 1;
        state.since = None;
    }
}
