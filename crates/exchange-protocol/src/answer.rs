//! Answers to questions: pages, comparisons, cells, records by id.

use std::collections::BTreeSet;

use btcfed_core::PeerKey;
use btcfed_core::exchange::Reaction;
use btcfed_core::limits::MAX_FRAME_BYTES;
use btcfed_core::network::RequestToken;
use btcfed_core::time::Now;

use crate::codec;
use crate::defence::score::Offence;
use crate::engine::{Engine, rate_refusal, refusal};
use crate::limits;
use crate::message::{CellBlock, CellRange, ErrorCode, Mode, PeerRequest, PeerResponse, Want};
use crate::reconcile::digest;
use crate::reconcile::index::Bookmark;
use crate::reconcile::rateless;
use crate::relay::tree::OPEN_SALT;
use crate::view::Listed;

/// Lists whose lengths differ by more than this differ by more than the cells of one reconciliation can tell.
const MOST_DIFFERENCES: u32 = 2730;
const _: () = assert!(MOST_DIFFERENCES as usize * 3 / 2 < limits::MAX_CELLS);

/// A list as it was when its first cells were told.
#[derive(Debug)]
pub(crate) struct Snapshot {
    peer: PeerKey,
    mark: Bookmark,
    /// The ids of versions beside the list that count as listed towards this peer.
    declined: Vec<u64>,
    /// How many versions that are.
    size: u32,
}

impl Engine {
    /// Answers a question.
    pub(crate) fn on_query(
        &mut self,
        now: Now,
        peer: PeerKey,
        token: RequestToken,
        request: PeerRequest,
    ) {
        if let Some(hello) = &request.hello
            && let Err(code) = self.meet(now, peer, hello)
        {
            self.reply(token, &refusal(code, "does not fit"));
            let reaction = (code != ErrorCode::Version).then_some(Reaction::Disconnect);
            let at = now.monotonic.saturating_add(limits::CLOSE_GRACE);
            self.close_at(peer, at, reaction, &format!("does not fit: {code}"));
            return;
        }
        let listed = self.view.size_bound();
        if let Some(session) = self.sessions.get_mut(&peer)
            && let Some(wait) = session.budgets.answers.wait(now.monotonic, listed)
        {
            self.reply(token, &rate_refusal(wait));
            self.offend(now, peer, Offence::Rate);
            return;
        }
        let own_hello = request.hello.is_some().then(|| self.hello(now, &peer));
        let Some(session) = self.sessions.get_mut(&peer).filter(|session| session.met) else {
            self.reply(
                token,
                &refusal(ErrorCode::HelloRequired, "introduce yourself first"),
            );
            self.offend(now, peer, Offence::Unknown);
            return;
        };
        if let Mode::Other(mode) = request.mode {
            self.reply(
                token,
                &refusal(ErrorCode::Unsupported, &format!("unknown mode {mode}")),
            );
            self.offend(now, peer, Offence::Unknown);
            return;
        }
        if let Some(summary) = request.summary {
            session.count = Some(summary.count);
        }
        let mut response = match (request.mode, request.cells, &request.want) {
            (Mode::Summary, ..) => self.compare(now, peer, &request),
            (Mode::Sample, ..) => self.sample(now, peer, &request),
            (Mode::Stripe, ..) if request.stripe.is_some() => self.page(now, peer, &request),
            (Mode::Cells, Some(range), _) => self.more_cells(peer, range),
            (Mode::Want, _, Some(want)) => self.wanted(now, peer, want),
            (Mode::Cells | Mode::Stripe | Mode::Want, ..) => {
                self.reply(token, &refusal(ErrorCode::Malformed, "nothing asked for"));
                self.offend(now, peer, Offence::Malformed);
                return;
            }
            (Mode::Page | Mode::Other(_), ..) => self.page(now, peer, &request),
        };
        response.hello = own_hello;
        if let (true, Some(hello)) = (response.equal, &mut response.hello) {
            // The own record is part of the list, and the other side has the same list.
            hello.record = Vec::new();
        }
        self.respond(now, &peer, token, response);
        if let Some(hello) = &request.hello {
            self.take_own_record(now, peer, &hello.record);
        }
        // The other side knows this one now; find out what it has.
        if let Some(session) = self.sessions.get_mut(&peer)
            && !session.settled
            && session.round.is_none()
        {
            session.wants_round = true;
        }
    }

    fn page(&mut self, now: Now, peer: PeerKey, request: &PeerRequest) -> PeerResponse {
        let Some(session) = self.sessions.get_mut(&peer) else {
            return PeerResponse::default();
        };
        let mut response = PeerResponse::default();
        if let Some(asked) = request.summary {
            let own = self
                .view
                .summary(asked.salt, session.scope, &session.declined);
            response.count = own.count;
            if request.cursor.is_none() && own == asked {
                response.equal = true;
                session.has_all_before(session.outbox.mark(), session.hints.mark());
                return response;
            }
        }
        let most = usize::try_from(request.limit)
            .unwrap_or(usize::MAX)
            .min(limits::MAX_RECORDS_PER_FRAME);
        if most == 0 {
            return response;
        }
        let mut room = MAX_FRAME_BYTES - limits::FRAME_HEADROOM_BYTES;
        let mut last = None;
        let listed = self
            .view
            .list(request.cursor.as_ref(), session.scope, now.monotonic);
        for item in listed {
            let (key, seq) = (item.record.key(), item.record.seq());
            // Its own record it has, unless it lost its state and this is a later version than it told.
            if key == peer && session.known.has(&key, seq) {
                continue;
            }
            if request.stripe.is_some_and(|stripe| !stripe.holds(&key)) {
                continue;
            }
            let size = codec::entry_bytes(item.record.envelope().len());
            if response.records.len() == most || size > room {
                response.next = last;
                break;
            }
            room -= size;
            last = Some(key);
            session.has_version(&key, seq);
            response.records.push(item.entry());
        }
        response
    }

    /// A few records chosen at random, each with the same probability (reservoir sampling, Vitter 1985); of a list that
    /// fits into one answer, the first page.
    fn sample(&mut self, now: Now, peer: PeerKey, request: &PeerRequest) -> PeerResponse {
        let Some(session) = self.sessions.get_mut(&peer) else {
            return PeerResponse::default();
        };
        let salt = request.summary.map_or(0, |asked| asked.salt);
        let own = self.view.summary(salt, session.scope, &session.declined);
        let is_short = usize::try_from(own.count).is_ok_and(|c| c <= limits::MAX_RECORDS_PER_FRAME);
        if is_short || request.summary == Some(own) {
            let request = PeerRequest {
                limit: u32::MAX,
                ..request.clone()
            };
            return self.page(now, peer, &request);
        }
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let most = limit.min(limits::SAMPLE);
        let mut chosen = Vec::with_capacity(most);
        let listed = self.view.list(None, session.scope, now.monotonic);
        for (place, item) in listed.filter(|i| i.record.key() != peer).enumerate() {
            if chosen.len() < most {
                chosen.push(item);
            } else if let Some(slot) = chosen.get_mut(self.rng.index(place + 1)) {
                *slot = item;
            }
        }
        chosen.sort_by_key(|item| item.record.key());
        for item in &chosen {
            session.has_version(&item.record.key(), item.record.seq());
        }
        PeerResponse {
            records: chosen.iter().map(Listed::entry).collect(),
            count: own.count,
            ..PeerResponse::default()
        }
    }

    /// Compares. Different lists are answered by cells; by the first page when that is cheaper: a short list, one of
    /// which the asker has less than half, or one that differs by more than cells can tell. While this node fetches
    /// pages itself it has nothing to tell yet but the number of its records.
    fn compare(&mut self, now: Now, peer: PeerKey, request: &PeerRequest) -> PeerResponse {
        let Some(session) = self.sessions.get_mut(&peer) else {
            return PeerResponse::default();
        };
        let asked = request.summary.unwrap_or_default();
        let own = self
            .view
            .summary(asked.salt, session.scope, &session.declined);
        self.refresh(now);
        if own != asked && (self.sessions.is_paging() || self.download.is_some()) {
            return PeerResponse {
                count: own.count,
                ..PeerResponse::default()
            };
        }
        let Some(session) = self.sessions.get_mut(&peer) else {
            return PeerResponse::default();
        };
        let off = own.count.abs_diff(asked.count);
        let is_cheaper = own.count <= limits::SHORT_LIST
            || asked.count < own.count / 2
            || off > MOST_DIFFERENCES;
        if own == asked || is_cheaper {
            let limit = u32::MAX;
            return self.page(
                now,
                peer,
                &PeerRequest {
                    limit,
                    ..request.clone()
                },
            );
        }
        let salt = self.salts.of_cells(now.monotonic, &mut self.rng);
        let unlisted = self.view.unlisted(session.scope, &session.declined);
        let snapshot = Snapshot {
            peer,
            size: own.count,
            declined: unlisted
                .map(|(key, seq)| digest::id(salt, &key, seq))
                .collect(),
            mark: self.view.bookmark(salt, session.scope),
        };
        let count = rateless::first_block(own.count, asked.count);
        let response = self.block(&snapshot, 0, count);
        self.snapshots.retain(|snapshot| snapshot.peer != peer);
        if self.snapshots.len() >= limits::MAX_SNAPSHOTS {
            self.snapshots.pop_front();
        }
        self.snapshots.push_back(snapshot);
        response
    }

    /// Later cells of the list as it was when the first ones were told. One that is no longer remembered is told as it is
    /// now; if it changed, the other side finds no difference it can decode and fetches pages.
    fn more_cells(&mut self, peer: PeerKey, range: CellRange) -> PeerResponse {
        let Some(session) = self.sessions.get(&peer) else {
            return PeerResponse::default();
        };
        let at = self
            .snapshots
            .iter()
            .position(|known| known.peer == peer && known.mark.salt() == range.salt);
        let known = at.and_then(|at| self.snapshots.remove(at));
        let is_known = known.is_some();
        let snapshot = known.unwrap_or_else(|| Snapshot {
            peer,
            size: self.view.count(session.scope),
            declined: Vec::new(),
            mark: self.view.bookmark(range.salt, session.scope),
        });
        let first = usize::try_from(range.first).unwrap_or(usize::MAX);
        let count = usize::try_from(range.count).unwrap_or(usize::MAX);
        let response = self.block(&snapshot, first, count);
        if is_known {
            self.snapshots.push_back(snapshot);
        }
        response
    }

    /// The answer with these cells of a list.
    fn block(&mut self, list: &Snapshot, first: usize, count: usize) -> PeerResponse {
        let mut cells = self.view.cells(list.mark, first, count);
        for id in &list.declined {
            rateless::toggle_from(&mut cells, first, *id, 1);
        }
        for (cell, place) in cells.iter_mut().zip(first..) {
            cell.count = cell
                .count
                .wrapping_sub(rateless::expected(list.size, place));
        }
        PeerResponse {
            count: list.size,
            cells: Some(CellBlock {
                salt: list.mark.salt(),
                first: u32::try_from(first).unwrap_or(u32::MAX),
                cells,
            }),
            ..PeerResponse::default()
        }
    }

    /// The records with the ids asked for, as far as they fit into a frame.
    fn wanted(&mut self, now: Now, peer: PeerKey, want: &Want) -> PeerResponse {
        let Some(session) = self.sessions.get_mut(&peer) else {
            return PeerResponse::default();
        };
        // Whoever asks for what it was told of by its id lacks a branch of the tree.
        session.is_lazy &= want.salt != OPEN_SALT;
        let ids: BTreeSet<u64> = want.ids.iter().copied().collect();
        let mut response = PeerResponse::default();
        let mut room = MAX_FRAME_BYTES - limits::FRAME_HEADROOM_BYTES;
        for item in self
            .view
            .find(want.salt, &ids, session.scope, now.monotonic)
        {
            let (key, seq) = (item.record.key(), item.record.seq());
            let size = codec::entry_bytes(item.record.envelope().len());
            if response.records.len() == limits::MAX_RECORDS_PER_FRAME || size > room {
                break;
            }
            room -= size;
            session.has_version(&key, seq);
            response.records.push(item.entry());
        }
        response
    }
}
