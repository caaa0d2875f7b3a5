//! The asking side of a reconciliation: cells in, a difference out; what is missing here is asked for by its ids, what is
//! missing there is announced. Pages are the fallback.

pub(crate) mod digest;
pub(crate) mod ids;
pub(crate) mod index;
pub(crate) mod rateless;
pub(crate) mod salts;
pub(crate) mod shared;

use std::collections::BTreeSet;

use btcfed_core::time::Now;
use btcfed_core::{PeerKey, SignedRecord};

use crate::defence::validate;
use crate::engine::{Engine, Sent};
use crate::limits;
use crate::message::{
    Cell, CellBlock, CellRange, Message, Mode, PeerRequest, PeerResponse, RecordEntry, Want,
};
use crate::reconcile::index::Bookmark;
use crate::reconcile::rateless::{Decoded, Difference};
use crate::relay::Way;
use crate::session::Stage;

/// What is known of the difference so far.
#[derive(Clone, Debug)]
pub(crate) struct Reconciliation {
    /// The own list, as it was when the first cells came.
    mark: Bookmark,
    /// The ids of versions beside the list that count as listed towards this peer.
    declined: Vec<u64>,
    /// How long the other list was when its first cells were told.
    size: u32,
    difference: Difference,
    /// Ids that were found missing here and have not arrived.
    wanted: BTreeSet<u64>,
}

impl Engine {
    /// Takes in cells: the difference is found, or more are asked for, or the list is fetched in pages.
    pub(crate) fn on_cells(&mut self, now: Now, peer: PeerKey, block: &CellBlock, size: u32) {
        let Some(session) = self.sessions.get_mut(&peer) else {
            return;
        };
        let Some(round) = &mut session.round else {
            return;
        };
        if round.stage == Stage::Summary {
            let unlisted = self.view.unlisted(session.scope, &session.declined);
            let declined = unlisted.map(|(key, seq)| digest::id(block.salt, &key, seq));
            round.reconciliation = Some(Box::new(Reconciliation {
                declined: declined.collect(),
                mark: self.view.bookmark(block.salt, session.scope),
                size,
                difference: Difference::default(),
                wanted: BTreeSet::new(),
            }));
        }
        let Some(state) = &mut round.reconciliation else {
            return;
        };
        let known = state.difference.len();
        let fits = usize::try_from(block.first) == Ok(known)
            && (block.salt, size) == (state.mark.salt(), state.size)
            && !block.cells.is_empty()
            && known + block.cells.len() <= limits::MAX_CELLS;
        if !fits {
            self.wrong_answer(now, peer);
            return;
        }
        let mut ours = self.view.cells(state.mark, known, block.cells.len());
        for id in &state.declined {
            rateless::toggle_from(&mut ours, known, *id, 1);
        }
        state.difference.extend(&whole(block, size), &ours);
        if let Some(decoded) = state.difference.decode() {
            self.on_difference(now, peer, decoded);
        } else if let Some(next) = state.difference.next_size() {
            round.stage = Stage::Cells;
            let first = state.difference.len();
            let range = CellRange {
                salt: state.mark.salt(),
                first: u32::try_from(first).unwrap_or(u32::MAX),
                count: u32::try_from(next - first).unwrap_or(u32::MAX),
            };
            let request = PeerRequest {
                mode: Mode::Cells,
                cells: Some(range),
                ..PeerRequest::default()
            };
            self.send(now, peer, &Message::Request(request), Sent::Round);
        } else {
            round.stage = Stage::Page;
            round.reconciliation = None;
            self.ask_page(now, peer, None);
        }
    }

    /// The difference is known: everything else both sides have.
    fn on_difference(&mut self, now: Now, peer: PeerKey, decoded: Decoded) {
        let Some(session) = self.sessions.get_mut(&peer) else {
            return;
        };
        let Some(round) = &mut session.round else {
            return;
        };
        session.outbox.drop_before(round.outbox_mark);
        let Some(state) = &mut round.reconciliation else {
            return;
        };
        let (salt, ours) = (state.mark.salt(), &decoded.ours);
        state.declined = Vec::new();
        state.difference = Difference::default();
        state.wanted = decoded.theirs;
        for (key, seq) in self.replaced.iter() {
            state.wanted.remove(&digest::id(salt, &key, seq));
        }
        // In the first round each side finds out itself what it lacks, maybe from others at the same time. A feeler hangs up.
        let is_told = session.settled || session.feeling_since.is_some();
        if !ours.is_empty() {
            let is_ours = |key: &PeerKey, seq| ours.contains(&digest::id(salt, key, seq));
            session.declined.retain(|key, seq| !is_ours(key, seq));
            let found = self.view.find(salt, ours, session.scope, now.monotonic);
            let missing: Vec<SignedRecord> = found
                .into_iter()
                .filter(|item| item.record.key() != peer)
                .filter_map(|item| item.record.to_record())
                .collect();
            for record in missing.into_iter().filter(|_| is_told) {
                session.known.remove(&record.key());
                session.outbox.push(record);
            }
        }
        self.ask_wanted(now, peer);
    }

    /// Asks for what is still missing, or ends the round.
    fn ask_wanted(&mut self, now: Now, peer: PeerKey) {
        let Some(session) = self.sessions.get_mut(&peer) else {
            return;
        };
        let Some(round) = &mut session.round else {
            return;
        };
        let (pages, state) = (round.pages, round.reconciliation.as_ref());
        let Some(state) = state.filter(|state| !state.wanted.is_empty()) else {
            self.end_round(now, peer, true);
            return;
        };
        if pages >= limits::MAX_PAGES_PER_ROUND {
            self.end_round(now, peer, true);
            return;
        }
        let want = Want {
            salt: state.mark.salt(),
            ids: state
                .wanted
                .iter()
                .take(limits::MAX_RECORDS_PER_FRAME)
                .copied()
                .collect(),
        };
        round.stage = Stage::Want;
        let request = PeerRequest {
            mode: Mode::Want,
            want: Some(want),
            ..PeerRequest::default()
        };
        self.send(now, peer, &Message::Request(request), Sent::Round);
    }

    /// Takes in records asked for by their ids. Others do not belong into the answer.
    pub(crate) fn on_wanted(&mut self, now: Now, peer: PeerKey, response: &PeerResponse) {
        let envelopes = response.records.iter().map(RecordEntry::offered);
        let triage = validate::triage(&self.view, now, envelopes);
        let Some(session) = self.sessions.get_mut(&peer) else {
            return;
        };
        let Some(round) = &mut session.round else {
            return;
        };
        let Some(state) = &mut round.reconciliation else {
            return;
        };
        let salt = state.mark.salt();
        let is_asked = triage
            .listed
            .iter()
            .all(|(key, seq)| state.wanted.remove(&digest::id(salt, key, *seq)));
        if !is_asked {
            self.wrong_answer(now, peer);
            return;
        }
        let arrived = triage.listed.len();
        round.received += arrived;
        let intake = self.take_in(now, peer, triage, Way::Asked);
        self.react(now, peer, &intake);
        if let Some(round) = self
            .sessions
            .get_mut(&peer)
            .and_then(|session| session.round.as_mut())
        {
            round.learned += intake.learned;
            if arrived == 0 {
                // The peer has them no longer.
                self.end_round(now, peer, true);
            } else {
                self.ask_wanted(now, peer);
            }
        }
    }
}

/// The cells with whole counts.
fn whole(block: &CellBlock, size: u32) -> Vec<Cell> {
    let first = usize::try_from(block.first).unwrap_or(usize::MAX);
    let places = (0..).map(|place: usize| first.saturating_add(place));
    block
        .cells
        .iter()
        .zip(places)
        .map(|(cell, place)| Cell {
            count: cell.count.wrapping_add(rateless::expected(size, place)),
            ..*cell
        })
        .collect()
}
