//! Rounds: what is asked of whom, and when. A round compares, then finds the difference or fetches pages.

use btcfed_core::PeerKey;
use btcfed_core::exchange::{Notice, Reaction};
use btcfed_core::time::Now;

use crate::defence::score::Offence;
use crate::engine::{Engine, Sent};
use crate::limits;
use crate::message::{ErrorCode, Message, Mode, PeerRequest, PeerResponse, RecordEntry};
use crate::phase::{Phase, PhaseEvent};
use crate::session::{Round, Stage};

/// A page.
pub(crate) const PAGE: u32 = 256;
const _: () = assert!(PAGE as usize == limits::MAX_RECORDS_PER_FRAME);

/// A sample.
const SAMPLE: u32 = 16;
const _: () = assert!(SAMPLE as usize == limits::SAMPLE);

impl Engine {
    // --- asking ------------------------------------------------------------------------------------------------

    /// Starts every round that is due: first words, queued rounds, the periodic one.
    pub(crate) fn start_due_rounds(&mut self, now: Now) {
        self.assign_stripes(now);
        let mut due = self.sessions.take_due(now.monotonic);
        self.refresh(now);
        due.retain(|peer| {
            self.sessions.get(peer).is_some_and(|session| {
                let is_hello_due = session.hello_due.is_some_and(|due| due <= now.monotonic);
                session.can_start_round(now.monotonic) && is_hello_due
            })
        });
        due.extend(self.sessions.wanting());
        for peer in due {
            self.start_round(now, peer);
        }
        if self.timer.due().is_some_and(|due| due <= now.monotonic) {
            if let Some(peer) = self.pick_peer(now) {
                self.start_round(now, peer);
            }
            self.timer.fired(now.monotonic, &mut self.rng);
        }
    }

    /// The peer that was not asked for the longest time; a random one of several.
    fn pick_peer(&mut self, now: Now) -> Option<PeerKey> {
        let ready = || {
            self.sessions
                .iter()
                .filter(|(_, session)| session.can_start_round(now.monotonic))
        };
        let oldest = ready().map(|(_, session)| session.last_synced).min()?;
        let ties: Vec<PeerKey> = ready()
            .filter(|(_, session)| session.last_synced == oldest)
            .map(|(peer, _)| *peer)
            .collect();
        self.rng.pick(&ties).copied()
    }

    /// True when one more round may fetch.
    fn has_slot(&self, now: Now) -> bool {
        let is_calm = self.phase() == Phase::Maintenance;
        let is_first = self.sessions.fetching() == 0;
        let is_late = || {
            self.sessions
                .has_fetched_for(limits::ROUND_PATIENCE, now.monotonic)
        };
        self.sessions.fetching() < limits::MAX_PARALLEL_ROUNDS
            && (!is_calm || is_first || is_late())
    }

    fn start_round(&mut self, now: Now, peer: PeerKey) {
        self.refresh(now);
        let has_slot = self.download.is_none() && self.has_slot(now);
        let is_newcomer = self.is_newcomer();
        let Some(session) = self.sessions.get_mut(&peer) else {
            return;
        };
        let is_short = session.is_short();
        // Somebody who was compared before and waits for a slot gains nothing from another comparison.
        if session.wants_round && session.introduced && !is_short && !has_slot {
            return;
        }
        let (scope, is_first) = (session.scope, !session.introduced);
        // Without a slot only the summaries are compared; a peer that knows no other mode is asked for pages.
        let samples = is_newcomer && !session.settled && session.may_have_stripes();
        let (mode, limit, stage) = match (is_short || has_slot, session.pages_only) {
            (true, false) if samples => (Mode::Sample, SAMPLE, Stage::Sample),
            (true, false) => (Mode::Summary, 0, Stage::Summary),
            (true, true) => (Mode::Page, PAGE, Stage::Page),
            (false, _) => (Mode::Page, 0, Stage::Page),
        };
        session.hello_due = None;
        session.wants_round = false;
        session.introduced = true;
        session.round = Some(Round {
            started: now.monotonic,
            fetches: !is_short && has_slot,
            compares_only: !is_short && !has_slot,
            outbox_mark: session.outbox.mark(),
            hints_mark: session.hints.mark(),
            stage,
            ..Round::default()
        });
        let hello = is_first.then(|| self.hello(now, &peer));
        let salt = self.salts.of_questions(now.monotonic, &mut self.rng);
        let Some(session) = self.sessions.get(&peer) else {
            return;
        };
        let summary = self.view.summary(salt, scope, &session.declined);
        let request = PeerRequest {
            hello,
            mode,
            limit,
            summary: Some(summary),
            ..PeerRequest::default()
        };
        self.send(now, peer, &Message::Request(request), Sent::Round);
    }

    /// Takes in an answer to a round's question; asks the next one or ends the round.
    pub(crate) fn on_response(&mut self, now: Now, peer: PeerKey, response: PeerResponse) {
        if let Some(hello) = &response.hello {
            if let Err(code) = self.meet(now, peer, hello) {
                let reaction = (code != ErrorCode::Version).then_some(Reaction::Disconnect);
                self.close_at(
                    peer,
                    now.monotonic,
                    reaction,
                    &format!("does not fit: {code}"),
                );
                return;
            }
            self.take_own_record(now, peer, &hello.record);
        }
        let Some(session) = self.sessions.get_mut(&peer).filter(|session| session.met) else {
            self.wrong_answer(now, peer);
            return;
        };
        let Some(round) = &mut session.round else {
            return;
        };
        round.pages += 1;
        match (round.stage, &response.cells) {
            (Stage::Summary | Stage::Cells, Some(block)) => {
                session.count = Some(response.count);
                self.on_cells(now, peer, block, response.count);
            }
            (Stage::Sample, None) => {
                session.count = Some(response.count);
                self.on_sample(now, peer, &response);
            }
            (Stage::Summary | Stage::Page, None) => {
                // Later pages and parts tell nothing of the whole.
                if round.cursor.is_none() && round.stripe.is_none() {
                    session.count = Some(response.count);
                }
                self.on_page(now, peer, &response);
            }
            (Stage::Want, None) => self.on_wanted(now, peer, &response),
            (Stage::Cells, None) | (Stage::Page | Stage::Sample | Stage::Want, Some(_)) => {
                self.wrong_answer(now, peer);
            }
        }
    }

    pub(crate) fn on_page(&mut self, now: Now, peer: PeerKey, response: &PeerResponse) {
        let Some(session) = self.sessions.get_mut(&peer) else {
            return;
        };
        let Some(round) = &mut session.round else {
            return;
        };
        round.stage = Stage::Page;
        let (pages, before) = (round.pages, round.cursor);
        if response.equal {
            let (outbox, hints) = (round.outbox_mark, round.hints_mark);
            session.has_all_before(outbox, hints);
        }
        let intake = self.intake(
            now,
            peer,
            response.records.iter().map(RecordEntry::offered),
            true,
        );
        let Some(session) = self.sessions.get_mut(&peer) else {
            return;
        };
        let Some(round) = &mut session.round else {
            return;
        };
        round.received += response.records.len();
        round.learned += intake.learned;
        let is_empty = response.records.is_empty();
        let stripe = round.stripe;
        if let Some(stripe) = stripe {
            let is_last = response.next.is_none();
            self.on_stripe_page(now, peer, stripe, is_last);
        }
        let Some(session) = self.sessions.get_mut(&peer) else {
            return;
        };
        let Some(round) = &mut session.round else {
            return;
        };
        match response.next {
            Some(next) if before.is_none_or(|before| before < next) && !is_empty => {
                if pages >= limits::MAX_PAGES_PER_ROUND {
                    self.end_round(now, peer, true);
                    return;
                }
                round.cursor = Some(next);
                self.ask_page(now, peer, Some(next));
            }
            Some(_) => self.wrong_answer(now, peer),
            None => {
                // Only compared so far, and not the same: fetch as soon as there is a slot.
                session.wants_round = stripe.is_some()
                    || round.compares_only && !response.equal && response.count > 0;
                self.end_round(now, peer, true);
            }
        }
    }

    pub(crate) fn ask_page(&mut self, now: Now, peer: PeerKey, cursor: Option<PeerKey>) {
        let round = self.sessions.get(&peer).and_then(|s| s.round.as_ref());
        let stripe = round.and_then(|round| round.stripe);
        let request = PeerRequest {
            mode: stripe.map_or(Mode::Page, |_| Mode::Stripe),
            cursor,
            limit: PAGE,
            stripe,
            ..PeerRequest::default()
        };
        self.send(now, peer, &Message::Request(request), Sent::Round);
    }

    /// The answer does not fit the question: the round is over.
    pub(crate) fn wrong_answer(&mut self, now: Now, peer: PeerKey) {
        self.failed_request(now, peer, Sent::Round);
        self.offend(now, peer, Offence::WrongAnswer);
    }

    /// Ends a round. One that succeeded decides how soon the next one comes.
    pub(crate) fn end_round(&mut self, now: Now, peer: PeerKey, succeeded: bool) {
        let Some(session) = self.sessions.get_mut(&peer) else {
            return;
        };
        let Some(round) = session.round.take() else {
            return;
        };
        session.last_synced = Some(now.monotonic);
        session.settled |= !session.wants_round;
        if !succeeded {
            return;
        }
        if round.learned > 0 {
            self.timer.found_difference(now.monotonic, &mut self.rng);
            self.enter(PhaseEvent::Difference);
        } else {
            self.enter(PhaseEvent::Agreement);
        }
        self.notice(Notice::SyncCompleted {
            peer,
            received: round.received,
            learned: round.learned,
        });
    }
}
