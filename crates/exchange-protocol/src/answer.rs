//! Answers to questions: pages, comparisons, cells, records by id.

use std::collections::BTreeSet;
use std::sync::Arc;

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
use crate::reconcile::rateless;
use crate::relay::tree::OPEN_SALT;
use crate::view::Listed;

/// Lists whose lengths differ by more than this differ by more than the cells of one reconciliation can tell.
const MOST_DIFFERENCES: u32 = 2730;
const _: () = assert!(MOST_DIFFERENCES as usize * 3 / 2 < limits::MAX_CELLS);

/// The ids of a list as it was when its first cells were told.
#[derive(Debug)]
pub(crate) struct Snapshot {
    peer: PeerKey,
    salt: u64,
    ids: Arc<[u64]>,
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
            (Mode::Cells, Some(range), _) => self.more_cells(now, peer, range),
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
                .summary(asked.salt, session.scope, &session.declined, now);
            response.count = own.count;
            if request.cursor.is_none() && own == asked {
                response.equal = true;
                session.outbox.drop_before(session.outbox.mark());
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
            .list(request.cursor.as_ref(), session.scope, now.wall);
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
        let own = self
            .view
            .summary(salt, session.scope, &session.declined, now);
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
        let listed = self.view.list(None, session.scope, now.wall);
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
            .summary(asked.salt, session.scope, &session.declined, now);
        if own != asked && self.is_fetching() {
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
        let salt = self.rng.next_u64();
        let ids: Arc<[u64]> = self
            .view
            .elements(session.scope, &session.declined, now)
            .map(|(key, seq)| digest::id(salt, &key, seq))
            .collect();
        let count = rateless::first_block(own.count, asked.count);
        let response = block(salt, &ids, 0, count);
        self.snapshots.retain(|snapshot| snapshot.peer != peer);
        if self.snapshots.len() >= limits::MAX_SNAPSHOTS {
            self.snapshots.pop_front();
        }
        self.snapshots.push_back(Snapshot { peer, salt, ids });
        response
    }

    fn is_fetching(&self) -> bool {
        let is_downloading = self.download.is_some();
        is_downloading
            || self.sessions.values().any(|session| {
                session
                    .round
                    .as_ref()
                    .is_some_and(|round| round.cursor.is_some())
            })
    }

    /// Later cells of the list as it was when the first ones were told. One that is no longer there is told as it is
    /// now; if it changed, the other side finds no difference it can decode and fetches pages.
    fn more_cells(&self, now: Now, peer: PeerKey, range: CellRange) -> PeerResponse {
        let snapshot = self
            .snapshots
            .iter()
            .find(|snapshot| snapshot.peer == peer && snapshot.salt == range.salt);
        let ids = match (snapshot, self.sessions.get(&peer)) {
            (Some(snapshot), _) => Arc::clone(&snapshot.ids),
            (None, Some(session)) => self
                .view
                .elements(session.scope, &session.declined, now)
                .map(|(key, seq)| digest::id(range.salt, &key, seq))
                .collect(),
            (None, None) => return PeerResponse::default(),
        };
        let first = usize::try_from(range.first).unwrap_or(usize::MAX);
        let count = usize::try_from(range.count).unwrap_or(usize::MAX);
        block(range.salt, &ids, first, count)
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
        for item in self.view.list(None, session.scope, now.wall) {
            let (key, seq) = (item.record.key(), item.record.seq());
            if !ids.contains(&digest::id(want.salt, &key, seq)) {
                continue;
            }
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

/// The answer with these cells of a list.
fn block(salt: u64, ids: &[u64], first: usize, count: usize) -> PeerResponse {
    let size = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    let mut cells = rateless::encode(ids, first, count);
    for (cell, place) in cells.iter_mut().zip(first..) {
        cell.count = cell.count.wrapping_sub(rateless::expected(size, place));
    }
    PeerResponse {
        count: size,
        cells: Some(CellBlock {
            salt,
            first: u32::try_from(first).unwrap_or(u32::MAX),
            cells,
        }),
        ..PeerResponse::default()
    }
}
