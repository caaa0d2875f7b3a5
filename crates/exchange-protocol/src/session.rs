//! What is known of one connected peer.

mod outbox;
#[cfg(test)]
mod samples;
mod versions;

use std::collections::BTreeSet;

use btcfed_core::addr::AddrScope;
use btcfed_core::exchange::Reaction;
use btcfed_core::network::Direction;
use btcfed_core::time::MonotonicTime;
use btcfed_core::{PeerKey, SignedRecord};

use crate::defence::budget::Budgets;
use crate::limits;
use crate::message::Stripe;
use crate::reconcile::Reconciliation;
use crate::relay::patience::{RoundTrip, Turn};
use crate::view::is_meaningful;

pub(crate) use self::outbox::Outbox;
pub(crate) use self::versions::Versions;

/// The conversation with one peer, from the first connection to the end of the last.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) scope: AddrScope,
    /// The peer introduced itself and fits.
    pub(crate) met: bool,
    /// What it said its software is, as it said it.
    pub(crate) agent: String,
    /// This side dialled.
    pub(crate) dialled: bool,
    /// The peer asks but cannot be asked: it does not offer the protocol itself. Nothing is sent to it.
    pub(crate) only_asks: bool,
    /// A request of ours carried a hello and was not refused for the lack of one.
    pub(crate) introduced: bool,
    /// How many records the peer has, as it said last.
    pub(crate) count: Option<u32>,
    /// The highest seq of the own record that was told on this connection.
    pub(crate) told_own: Option<u64>,
    /// When to speak first, although the other side dialled.
    pub(crate) hello_due: Option<MonotonicTime>,
    pub(crate) budgets: Budgets,
    pub(crate) known: Versions,
    /// What the peer has and this node declined: banned, left, meaningless here. Towards this peer it counts as listed,
    /// or the same difference would be found for ever.
    pub(crate) declined: Versions,
    /// The peer does not know summaries and cells.
    pub(crate) pages_only: bool,
    /// The peer refused to give a sample or a part, whatever it offers.
    pub(crate) refuses_stripes: bool,
    /// Optional abilities both sides offer; `None` until the peer introduced itself.
    pub(crate) features: Option<u64>,
    pub(crate) outbox: Outbox,
    /// It was decided whether the link begins as part of the tree.
    pub(crate) placed: bool,
    /// Beside the tree: this peer is told ids, not records.
    pub(crate) is_lazy: bool,
    /// Versions to be told by their ids.
    pub(crate) hints: Versions,
    pub(crate) hints_due: Option<MonotonicTime>,
    /// What the link takes.
    pub(crate) round_trip: RoundTrip,
    /// Announcements and updates without an answer yet.
    pub(crate) in_flight: usize,
    pub(crate) last_announced: Option<MonotonicTime>,
    pub(crate) round: Option<Round>,
    /// Parts it is asked for beside the round.
    pub(crate) parts: BTreeSet<u32>,
    /// A round is due as soon as there is a slot for it.
    pub(crate) wants_round: bool,
    /// It gave the sample to this node when it was a newcomer: of many that may be asked it is the last.
    pub(crate) gave_sample: bool,
    /// The first round is over, however it ended. Nothing is announced before.
    pub(crate) settled: bool,
    pub(crate) last_synced: Option<MonotonicTime>,
    /// The peer asked for silence, or failed.
    pub(crate) paused_until: Option<MonotonicTime>,
    pub(crate) closing: Option<Closing>,
    /// Made only to try the peer; since when.
    pub(crate) feeling_since: Option<MonotonicTime>,
}

/// The connection is to be closed.
#[derive(Clone, Debug)]
pub(crate) struct Closing {
    /// When to say so; `None` once it was said.
    pub(crate) at: Option<MonotonicTime>,
    pub(crate) reaction: Option<Reaction>,
    pub(crate) reason: String,
}

/// One synchronisation: compare, then fetch pages until the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Round {
    pub(crate) started: MonotonicTime,
    /// Holds one of the slots for rounds that fetch pages.
    pub(crate) fetches: bool,
    /// Asks for no records, because there was no slot.
    pub(crate) compares_only: bool,
    pub(crate) cursor: Option<PeerKey>,
    /// The part of the list that is fetched, if not all of it.
    pub(crate) stripe: Option<Stripe>,
    pub(crate) pages: u32,
    pub(crate) received: usize,
    pub(crate) learned: usize,
    /// Which answer is awaited.
    pub(crate) stage: Stage,
    pub(crate) reconciliation: Option<Box<Reconciliation>>,
    /// What entered the outbox before this mark was part of the summary that is being compared.
    pub(crate) outbox_mark: u64,
    /// The same for ids that wait to be told.
    pub(crate) hints_mark: u64,
}

/// How far a round is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A page is awaited.
    #[default]
    Page,
    /// Records chosen at random are awaited, or the first page.
    Sample,
    /// The result of the comparison is awaited, and what follows from it.
    Summary,
    /// More cells are awaited.
    Cells,
    /// Records are awaited that were asked for by their ids.
    Want,
}

impl Session {
    pub(crate) fn new(
        direction: Direction,
        scope: AddrScope,
        now: MonotonicTime,
        budgets: Budgets,
    ) -> Self {
        let hello_due = match direction {
            Direction::Inbound => Some(now.saturating_add(limits::HELLO_PATIENCE)),
            Direction::Outbound => Some(now),
        };
        Self {
            scope,
            met: false,
            agent: String::new(),
            dialled: direction == Direction::Outbound,
            only_asks: false,
            introduced: false,
            count: None,
            told_own: None,
            hello_due,
            budgets,
            known: Versions::new(limits::MAX_KNOWN_TO_PEER),
            declined: Versions::new(limits::MAX_DECLINED),
            pages_only: false,
            refuses_stripes: false,
            features: None,
            outbox: Outbox::default(),
            placed: false,
            is_lazy: false,
            hints: Versions::new(limits::MAX_HINTS),
            hints_due: None,
            round_trip: RoundTrip::default(),
            in_flight: 0,
            last_announced: None,
            round: None,
            parts: BTreeSet::new(),
            wants_round: false,
            gave_sample: false,
            settled: false,
            last_synced: None,
            paused_until: None,
            closing: None,
            feeling_since: None,
        }
    }

    /// True while nothing may be asked or told.
    pub(crate) fn is_paused(&self, now: MonotonicTime) -> bool {
        self.closing.is_some() || self.paused_until.is_some_and(|until| now < until)
    }

    /// True when a new round may start.
    pub(crate) fn can_start_round(&self, now: MonotonicTime) -> bool {
        self.round.is_none() && !self.only_asks && !self.is_paused(now)
    }

    /// True when the list of the peer is known to be so short that it needs no slot.
    pub(crate) fn is_short(&self) -> bool {
        self.count.is_some_and(|count| count <= limits::SHORT_LIST)
    }

    /// True unless the peer said that it gives no samples and parts.
    pub(crate) fn may_have_stripes(&self) -> bool {
        let offers = |both| both & limits::FEATURE_STRIPES != 0;
        !self.pages_only && !self.refuses_stripes && self.features.is_none_or(offers)
    }

    /// True when the peer has not heard of the newest own record on this connection.
    pub(crate) fn owes_own_record(&self, own: Option<&SignedRecord>) -> bool {
        own.is_some_and(|own| {
            let fits = own.is_leaving() || is_meaningful(own, self.scope);
            let is_told_whole = own.is_leaving() || !self.is_lazy;
            fits && is_told_whole && self.told_own < Some(own.seq())
        })
    }

    /// When the next announcement may go out; `None` while there is nothing to say or nobody to hear it.
    pub(crate) fn announce_due(&self, own: Option<&SignedRecord>) -> Option<MonotonicTime> {
        let ready = self.met && self.settled && !self.only_asks && self.closing.is_none();
        let free = self.in_flight < limits::MAX_ANNOUNCEMENTS_IN_FLIGHT;
        if !ready || !free {
            return None;
        }
        let due = if self.outbox.is_empty() && !self.owes_own_record(own) {
            self.hints_due?
        } else {
            MonotonicTime::ZERO
        };
        let spaced = self
            .last_announced
            .map(|last| last.saturating_add(limits::ANNOUNCE_INTERVAL));
        spaced.max(self.paused_until).max(Some(due))
    }

    /// True when no record waits to be announced.
    pub(crate) fn outbox_is_empty(&self) -> bool {
        self.outbox.is_empty()
    }

    /// True when records come and go along this link.
    pub(crate) fn is_branch(&self) -> bool {
        self.met && !self.is_lazy && self.closing.is_none()
    }

    /// Puts a new version on its way to the peer: the record along the tree, its id beside it. A farewell is in nobody's
    /// list and could not be asked for, so it is always told whole. With `by_id` the id is told along the tree, too.
    pub(crate) fn tell(
        &mut self,
        now: MonotonicTime,
        turn: Turn,
        record: &SignedRecord,
        by_id: bool,
    ) {
        if (self.is_lazy || by_id) && !record.is_leaving() {
            self.hints.add(record.key(), record.seq());
            let due = now.saturating_add(turn.wait(self.round_trip));
            self.hints_due = Some(self.hints_due.map_or(due, |before| before.min(due)));
        } else {
            self.outbox.push(record.clone());
        }
    }

    /// A record whose id waits to be told goes whole to a peer on the tree. False when nothing changed.
    pub(crate) fn tell_whole(&mut self, record: &SignedRecord) -> bool {
        if self.is_lazy || !self.hints.has(&record.key(), record.seq()) {
            return false;
        }
        self.hints.remove(&record.key());
        if self.hints.is_empty() {
            self.hints_due = None;
        }
        self.outbox.push(record.clone());
        true
    }

    /// The own record is new. Along the tree it goes as an update, beside it the id is enough.
    pub(crate) fn tell_own(&mut self, now: MonotonicTime, turn: Turn, own: &SignedRecord) {
        if self.is_lazy && !own.is_leaving() && is_meaningful(own, self.scope) {
            self.told_own = Some(own.seq());
            self.tell(now, turn, own, false);
        }
    }

    /// The peer has what waited to be told before these marks.
    pub(crate) fn has_all_before(&mut self, outbox: u64, hints: u64) {
        self.outbox.drop_before(outbox);
        self.hints.clear_until(hints);
        if self.hints.is_empty() {
            self.hints_due = None;
        }
    }

    /// The peer has this version.
    pub(crate) fn has_version(&mut self, key: &PeerKey, seq: u64) {
        self.known.add(*key, seq);
        self.outbox.drop_known(key, seq);
        if self.hints.is_at_most(key, seq) {
            self.hints.remove(key);
            if self.hints.is_empty() {
                self.hints_due = None;
            }
        }
    }

    /// When this session needs attention next.
    pub(crate) fn deadline(&self, own: Option<&SignedRecord>) -> Option<MonotonicTime> {
        if let Some(closing) = &self.closing {
            return closing.at;
        }
        let idle = self.round.is_none() && !self.only_asks;
        let hello = self
            .hello_due
            .filter(|_| idle)
            .map(|due| due.max(self.paused_until.unwrap_or(due)));
        let queued = self.paused_until.filter(|_| idle && self.wants_round);
        let stay = self
            .feeling_since
            .map(|since| since.saturating_add(limits::FEELER_STAY));
        [hello, queued, stay, self.announce_due(own)]
            .into_iter()
            .flatten()
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::samples::record;

    #[test]
    fn ids_to_be_told_and_versions_declined_are_bounded_and_the_oldest_goes() {
        let now = MonotonicTime::ZERO;
        let budgets = Budgets::new(now, &btcfed_core::config::RateLimit::DEFAULT);
        let mut session = Session::new(Direction::Inbound, AddrScope::Private, now, budgets);
        session.is_lazy = true;
        for n in 0..limits::MAX_HINTS {
            session.tell(now, Turn::AtOnce, &record(n, 1), false);
        }
        assert_eq!(session.hints.iter().count(), limits::MAX_HINTS);
        session.tell(now, Turn::AtOnce, &record(limits::MAX_HINTS, 1), false);
        assert_eq!(session.hints.iter().count(), limits::MAX_HINTS);
        assert!(
            !session.hints.has(&record(0, 1).key(), 1) && session.hints.has(&record(1, 1).key(), 1)
        );
        for n in 0..limits::MAX_DECLINED {
            session.declined.add(record(n, 1).key(), 1);
        }
        assert!(session.declined.has(&record(0, 1).key(), 1));
        session
            .declined
            .add(record(limits::MAX_DECLINED, 1).key(), 1);
        assert_eq!(session.declined.iter().count(), limits::MAX_DECLINED);
        assert!(!session.declined.has(&record(0, 1).key(), 1));
    }
}
