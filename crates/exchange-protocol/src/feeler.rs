//! Feelers: now and then a known peer that is not connected is dialled, compared with, and hung up on. That tells which
//! peers are alive before anything depends on it, and joins parts of a federation that lost each other.

use btcfed_core::PeerKey;
use btcfed_core::exchange::Output;
use btcfed_core::network::Direction;
use btcfed_core::rng::SeededRng;
use btcfed_core::time::{MonotonicTime, Now};

use crate::engine::Engine;
use crate::limits;
use crate::session::Session;

/// The feeler that is out, and when the next one goes.
#[derive(Debug)]
pub(crate) struct Feeler {
    /// Its own, so that feelers change no other choice.
    rng: SeededRng,
    dialled: Option<PeerKey>,
    due: Option<MonotonicTime>,
}

impl Feeler {
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            rng: SeededRng::from_seed(seed ^ u64::from_le_bytes(*b"feeler\0\0")),
            dialled: None,
            due: None,
        }
    }

    /// When the next one goes out; `None` while nobody is connected.
    pub(crate) const fn deadline(&self) -> Option<MonotonicTime> {
        self.due
    }

    /// True when this connection is the feeler's.
    pub(crate) fn is_arrived(&mut self, peer: &PeerKey, direction: Direction) -> bool {
        direction == Direction::Outbound && self.dialled.take_if(|out| out == peer).is_some()
    }

    /// Nobody is connected any more: finding somebody is not a feeler's business.
    pub(crate) const fn stop(&mut self) {
        self.due = None;
        self.dialled = None;
    }
}

impl Engine {
    /// Sends the feeler that is due, and hangs up on those that have done their work.
    pub(crate) fn feel(&mut self, now: Now) {
        let at = now.monotonic;
        let done: Vec<PeerKey> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.is_done_feeling(at))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in done {
            self.close_at(peer, at, None, "compared; not needed further");
            self.close_due(now);
        }
        if self.sessions.is_empty() {
            return;
        }
        let is_due = self.feeler.due.is_some_and(|due| due <= at);
        if is_due && let Some((peer, addrs)) = self.pick_feeler(now) {
            self.feeler.dialled = Some(peer);
            self.push(Output::Dial { peer, addrs });
        }
        if is_due || self.feeler.due.is_none() {
            let wait = self
                .feeler
                .rng
                .jitter(limits::FEELER_INTERVAL, limits::FEELER_JITTER);
            self.feeler.due = Some(at.saturating_add(wait));
        }
    }

    /// A random known peer that is not connected, one that was never met if there is one and the coin says so.
    fn pick_feeler(&mut self, now: Now) -> Option<(PeerKey, Vec<btcfed_core::PeerAddr>)> {
        let prefers_unmet = self.feeler.rng.chance(0.5);
        let (mut found, mut met_found) = ((None, 0), (None, 0));
        for peer in self.view.peers() {
            let is_out_of_reach = self.sessions.get(peer.key()).is_some()
                || *peer.key() == self.view.own_key()
                || peer.is_banned()
                || self.view.is_banned(peer.key(), now.wall);
            if is_out_of_reach || !peer.is_dialable() {
                continue;
            }
            let is_unmet = peer.stats().last_seen.is_none();
            let (slot, count) = if is_unmet == prefers_unmet {
                &mut found
            } else {
                &mut met_found
            };
            // Reservoir sampling of one: each with the same probability.
            *count += 1;
            if self.feeler.rng.index(*count) == 0 {
                *slot = Some(peer);
            }
        }
        let record = found.0.or(met_found.0)?.to_record();
        let mut addrs = record.dial_order();
        addrs.truncate(limits::FEELER_ADDRESSES);
        Some((record.key, addrs))
    }
}

impl Session {
    /// True when a feeler compared and told what there was to tell, or had its time.
    fn is_done_feeling(&self, now: MonotonicTime) -> bool {
        let Some(since) = self.feeling_since.filter(|_| self.closing.is_none()) else {
            return false;
        };
        let has_compared = self.settled && self.round.is_none() && !self.wants_round;
        let has_told = self.outbox_is_empty() && self.in_flight == 0;
        has_compared && has_told || now >= since.saturating_add(limits::FEELER_STAY)
    }
}
