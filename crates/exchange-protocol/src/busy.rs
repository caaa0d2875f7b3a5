//! When there is no room: whoever comes gets one answer that names others to ask, and whoever got such an answer waits.

use std::collections::BTreeMap;

use btcfed_core::PeerKey;
use btcfed_core::addr::AddrScope;
use btcfed_core::exchange::{Notice, Output};
use btcfed_core::time::{MonotonicTime, Now};

use crate::engine::Engine;
use crate::limits;
use crate::message::{ErrorCode, ErrorReply, Message, RecordEntry};

/// Peers for whom there was no room. Each gets one answer, then its connection ends.
#[derive(Debug, Default)]
pub(crate) struct TurnedAway {
    peers: BTreeMap<PeerKey, Guest>,
}

#[derive(Debug)]
struct Guest {
    scope: AddrScope,
    closes_at: MonotonicTime,
    was_answered: bool,
}

impl TurnedAway {
    /// A peer came for whom there is no room. False when there is not even room to tell it so.
    fn add(&mut self, now: MonotonicTime, peer: PeerKey, scope: AddrScope) -> bool {
        if self.peers.len() >= limits::MAX_TURNED_AWAY {
            return false;
        }
        let guest = Guest {
            scope,
            closes_at: now.saturating_add(limits::TURN_AWAY_PATIENCE),
            was_answered: false,
        };
        self.peers.insert(peer, guest);
        true
    }

    /// The peer is gone.
    pub(crate) fn remove(&mut self, peer: &PeerKey) {
        self.peers.remove(peer);
    }

    /// The scope of the link over which others may be named; `None` when that was done.
    fn answer(&mut self, now: MonotonicTime, peer: &PeerKey) -> Option<AddrScope> {
        let Some(guest) = self.peers.get_mut(peer) else {
            return Some(AddrScope::Public);
        };
        if std::mem::replace(&mut guest.was_answered, true) {
            return None;
        }
        guest.closes_at = now.saturating_add(limits::CLOSE_GRACE);
        Some(guest.scope)
    }

    /// When the next connection is to be closed.
    pub(crate) fn deadline(&self) -> Option<MonotonicTime> {
        self.peers.values().map(|guest| guest.closes_at).min()
    }

    fn take_due(&mut self, now: MonotonicTime) -> Vec<PeerKey> {
        let due = self.peers.iter().filter(|(_, g)| g.closes_at <= now);
        let due: Vec<PeerKey> = due.map(|(peer, _)| *peer).collect();
        for peer in &due {
            self.peers.remove(peer);
        }
        due
    }
}

/// Peers that had no room, and until when each asked to be left alone: a new connection is no new question.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    until: BTreeMap<PeerKey, MonotonicTime>,
}

impl Waits {
    /// Remembers a wait. At the bound the one that ends first is forgotten.
    fn add(&mut self, peer: PeerKey, until: MonotonicTime) {
        self.until.insert(peer, until);
        if self.until.len() > limits::MAX_WAITS
            && let Some((first, _)) = self.until.iter().min_by_key(|(_, until)| **until)
        {
            let first = *first;
            self.until.remove(&first);
        }
    }

    /// Until when a peer that was dialled now is to be left alone.
    pub(crate) fn of(&self, now: MonotonicTime, peer: &PeerKey) -> Option<MonotonicTime> {
        self.until.get(peer).copied().filter(|until| *until > now)
    }

    /// There is room: the peer came by itself, or answered.
    pub(crate) fn remove(&mut self, peer: &PeerKey) {
        self.until.remove(peer);
    }
}

impl Engine {
    /// There is no room for another conversation. Who dialled is told so before the connection ends.
    pub(crate) fn turn_away(
        &mut self,
        now: Now,
        peer: PeerKey,
        scope: AddrScope,
        was_dialled: bool,
    ) {
        if was_dialled || !self.turned_away.add(now.monotonic, peer, scope) {
            self.close_crowded(peer);
        }
    }

    pub(crate) fn close_turned_away(&mut self, now: Now) {
        for peer in self.turned_away.take_due(now.monotonic) {
            self.close_crowded(peer);
        }
    }

    fn close_crowded(&mut self, peer: PeerKey) {
        self.push(Output::Close {
            peer,
            reason: "too many conversations".to_owned(),
        });
    }

    /// Refuses a conversation for which there is no room and names others to ask: those that follow the asker in the order
    /// of the keys, which are different ones for everybody.
    pub(crate) fn busy(&mut self, now: Now, peer: &PeerKey) -> Message {
        let scope = self.turned_away.answer(now.monotonic, peer);
        let entries = |after: Option<&PeerKey>, most: usize| -> Vec<RecordEntry> {
            let Some(link) = scope else {
                return Vec::new();
            };
            let listed = self.view.list(after, link, now.monotonic);
            let others = listed.filter(|item| item.record.key() != *peer);
            others.take(most).map(|item| item.entry()).collect()
        };
        let mut alternatives = entries(Some(peer), limits::MAX_ALTERNATIVES);
        let missing = limits::MAX_ALTERNATIVES.saturating_sub(alternatives.len());
        let first = entries(None, missing);
        let is_new =
            |entry: &RecordEntry| alternatives.iter().all(|a| a.envelope != entry.envelope);
        let first: Vec<RecordEntry> = first.into_iter().filter(is_new).collect();
        alternatives.extend(first);
        // A question that came before its connection was told of may come again soon.
        let pause = if self.sessions.len() < limits::MAX_SESSIONS {
            limits::RETRY_PAUSE
        } else {
            let least = limits::BUSY_RETRY_AFTER;
            self.rng.between(least, 2 * least)
        };
        Message::Error(ErrorReply {
            code: ErrorCode::Busy,
            message: "no room for another conversation".to_owned(),
            retry_after_ms: u32::try_from(pause.as_millis()).unwrap_or(u32::MAX),
            version_min: 0,
            version_max: 0,
            alternatives,
        })
    }

    /// A peer has no room for this node: leaves it alone for as long as it asked, whoever closes the connection.
    pub(crate) fn on_busy(&mut self, now: Now, peer: PeerKey, pause: std::time::Duration) {
        let was_met = self.sessions.get(&peer).is_none_or(|session| session.met);
        if was_met || pause.is_zero() {
            return;
        }
        self.waits.add(peer, now.monotonic.saturating_add(pause));
        self.notice(Notice::Busy {
            peer,
            retry_after: pause,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use btcfed_core::SecretKey;

    use super::*;

    fn key(n: usize) -> PeerKey {
        let mut seed = [4; 32];
        seed[..8].copy_from_slice(&n.to_le_bytes());
        SecretKey::from_seed(seed).public()
    }

    fn at(millis: u64) -> MonotonicTime {
        MonotonicTime::from_origin(Duration::from_millis(millis))
    }

    #[test]
    fn waits_are_bounded_and_the_one_that_ends_first_is_forgotten() {
        let mut waits = Waits::default();
        for (n, millis) in (0..limits::MAX_WAITS).zip(1000..) {
            waits.add(key(n), at(millis));
        }
        assert_eq!(waits.of(at(999), &key(0)), Some(at(1000)));
        assert_eq!(waits.of(at(1000), &key(0)), None, "over");
        waits.add(key(limits::MAX_WAITS), at(9_000_000));
        assert_eq!(waits.until.len(), limits::MAX_WAITS);
        assert_eq!(waits.of(at(0), &key(0)), None);
        assert_eq!(waits.of(at(0), &key(1)), Some(at(1001)));
        waits.remove(&key(1));
        assert_eq!(waits.of(at(0), &key(1)), None);
    }

    #[test]
    fn so_many_are_told_that_there_is_no_room_and_one_more_is_not() {
        let mut turned = TurnedAway::default();
        for n in 0..limits::MAX_TURNED_AWAY {
            assert!(turned.add(at(0), key(n), AddrScope::Private));
        }
        assert!(!turned.add(at(0), key(limits::MAX_TURNED_AWAY), AddrScope::Private));
        assert_eq!(turned.answer(at(10), &key(0)), Some(AddrScope::Private));
        assert_eq!(turned.answer(at(10), &key(0)), None, "once");
        let grace = at(10).saturating_add(limits::CLOSE_GRACE);
        assert_eq!(turned.deadline(), Some(grace));
        assert_eq!(turned.take_due(grace), [key(0)]);
        let patience = MonotonicTime::ZERO.saturating_add(limits::TURN_AWAY_PATIENCE);
        assert_eq!(turned.deadline(), Some(patience));
        turned.remove(&key(1));
        let rest = limits::MAX_TURNED_AWAY - 2;
        assert_eq!(turned.take_due(patience).len(), rest);
        assert_eq!(turned.deadline(), None);
    }
}
