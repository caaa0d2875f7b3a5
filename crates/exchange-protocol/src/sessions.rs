//! All conversations, and which of them need attention: found by looking at those that changed and not at all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use btcfed_core::time::MonotonicTime;
use btcfed_core::{PeerKey, SignedRecord};

use crate::limits;
use crate::session::Session;

/// What decides whether a conversation needs attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Facts {
    due: Option<MonotonicTime>,
    is_branch: bool,
    /// Holds a slot.
    fetches: bool,
    /// Fetches pages right now.
    pages: bool,
    /// A round is wanted that needs no slot.
    wants: bool,
    /// A round is wanted that needs a slot.
    queues: bool,
}

impl Facts {
    fn of(session: &Session, now: MonotonicTime, own: Option<&SignedRecord>) -> Self {
        let round = session.round.as_ref();
        let wants = session.wants_round && session.can_start_round(now);
        let needs_slot = session.introduced && !session.is_short();
        let slot = round.filter(|round| round.fetches).map(|round| {
            let patience = limits::ROUND_PATIENCE;
            round.started.saturating_add(patience)
        });
        // From then on others may fetch, too.
        let slot = slot.filter(|at| *at > now);
        Self {
            due: session.deadline(own).into_iter().chain(slot).min(),
            is_branch: session.is_branch(),
            fetches: round.is_some_and(|round| round.fetches),
            pages: round.is_some_and(|round| round.cursor.is_some()),
            wants: wants && !needs_slot,
            queues: wants && needs_slot,
        }
    }
}

/// The conversations by peer. Whoever was handed out to be changed is looked at again by [`Sessions::refresh`].
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_peer: BTreeMap<PeerKey, (Session, Facts)>,
    touched: BTreeSet<PeerKey>,
    due: BTreeSet<(MonotonicTime, PeerKey)>,
    branches: BTreeSet<PeerKey>,
    fetching: BTreeSet<PeerKey>,
    paging: BTreeSet<PeerKey>,
    wanting: BTreeSet<PeerKey>,
    queued: BTreeSet<PeerKey>,
}

impl Sessions {
    pub(crate) fn len(&self) -> usize {
        self.by_peer.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_peer.is_empty()
    }

    pub(crate) fn get(&self, peer: &PeerKey) -> Option<&Session> {
        self.by_peer.get(peer).map(|(session, _)| session)
    }

    pub(crate) fn get_mut(&mut self, peer: &PeerKey) -> Option<&mut Session> {
        let (session, _) = self.by_peer.get_mut(peer)?;
        self.touched.insert(*peer);
        Some(session)
    }

    /// All of them in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&PeerKey, &Session)> {
        self.by_peer
            .iter()
            .map(|(peer, (session, _))| (peer, session))
    }

    pub(crate) fn insert(&mut self, peer: PeerKey, session: Session) {
        self.remove(&peer);
        self.by_peer.insert(peer, (session, Facts::default()));
        self.touched.insert(peer);
    }

    pub(crate) fn remove(&mut self, peer: &PeerKey) -> Option<Session> {
        let (session, facts) = self.by_peer.remove(peer)?;
        self.touched.remove(peer);
        self.note(peer, facts, Facts::default());
        Some(session)
    }

    /// Shows each of them; `visit` says whether it changed one.
    pub(crate) fn visit(&mut self, mut visit: impl FnMut(&PeerKey, &mut Session) -> bool) {
        for (peer, (session, _)) in &mut self.by_peer {
            if visit(peer, session) {
                self.touched.insert(*peer);
            }
        }
    }

    /// Looks again at those that may have changed; pauses that are over are forgotten.
    pub(crate) fn refresh(&mut self, now: MonotonicTime, own: Option<&SignedRecord>) {
        for peer in std::mem::take(&mut self.touched) {
            let Some((session, facts)) = self.by_peer.get_mut(&peer) else {
                continue;
            };
            session.paused_until.take_if(|until| *until <= now);
            let before = std::mem::replace(facts, Facts::of(session, now, own));
            let after = *facts;
            self.note(&peer, before, after);
        }
    }

    fn note(&mut self, peer: &PeerKey, before: Facts, after: Facts) {
        if before.due != after.due {
            if let Some(due) = before.due {
                self.due.remove(&(due, *peer));
            }
            if let Some(due) = after.due {
                self.due.insert((due, *peer));
            }
        }
        for (set, was, is) in [
            (&mut self.branches, before.is_branch, after.is_branch),
            (&mut self.fetching, before.fetches, after.fetches),
            (&mut self.paging, before.pages, after.pages),
            (&mut self.wanting, before.wants, after.wants),
            (&mut self.queued, before.queues, after.queues),
        ] {
            if was && !is {
                set.remove(peer);
            } else if is && !was {
                set.insert(*peer);
            }
        }
    }

    // --- what was found when they were refreshed -----------------------------------------------------------------

    /// When the first of them needs attention.
    pub(crate) fn next_due(&self) -> Option<MonotonicTime> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Those that need attention now, in the order of their keys. They are looked at again.
    pub(crate) fn take_due(&mut self, now: MonotonicTime) -> BTreeSet<PeerKey> {
        let due = self.due.iter().take_while(|(due, _)| *due <= now);
        let peers: BTreeSet<PeerKey> = due.map(|(_, peer)| *peer).collect();
        self.touched.extend(&peers);
        peers
    }

    /// How many slots are taken.
    pub(crate) fn fetching(&self) -> usize {
        self.fetching.len()
    }

    /// True when all that hold a slot have had it for so long.
    pub(crate) fn has_fetched_for(&self, span: Duration, now: MonotonicTime) -> bool {
        let mut rounds = self
            .fetching
            .iter()
            .filter_map(|peer| self.get(peer)?.round.as_ref());
        rounds.all(|round| round.started.saturating_add(span) <= now)
    }

    /// True while pages are fetched from somebody.
    pub(crate) fn is_paging(&self) -> bool {
        !self.paging.is_empty()
    }

    /// Those with whom a round is to start: all that need no slot, and as many others as there are slots.
    pub(crate) fn wanting(&self) -> impl Iterator<Item = PeerKey> {
        let free = limits::MAX_PARALLEL_ROUNDS.saturating_sub(self.fetching());
        let gave_sample = |peer: &&PeerKey| self.get(peer).is_some_and(|s| s.gave_sample);
        let others = self.queued.iter().filter(move |peer| !gave_sample(peer));
        let samplers = self.queued.iter().filter(gave_sample);
        let queued = others.chain(samplers).take(free);
        self.wanting.iter().chain(queued).copied()
    }

    /// True when records come and go along some link other than this one, as of now.
    pub(crate) fn has_branch_beside(&self, peer: &PeerKey) -> bool {
        self.branches_beside(peer).next().is_some()
    }

    /// True when records come and go along as many other links as a node may have, as of now.
    pub(crate) fn has_all_branches_beside(&self, peer: &PeerKey) -> bool {
        let last = limits::MAX_BRANCHES.saturating_sub(1);
        self.branches_beside(peer).nth(last).is_some()
    }

    fn branches_beside(&self, peer: &PeerKey) -> impl Iterator<Item = &PeerKey> {
        let is_branch = |p: &&PeerKey| self.get(p).is_some_and(Session::is_branch);
        let others = self.branches.union(&self.touched);
        others.filter(move |p| *p != peer).filter(is_branch)
    }

    /// True when records come and go along some link, as of now.
    pub(crate) fn has_branch(&self) -> bool {
        let is_branch = |peer: &PeerKey| self.get(peer).is_some_and(Session::is_branch);
        let mut rest = self.branches.difference(&self.touched);
        rest.next().is_some() || self.touched.iter().any(is_branch)
    }
}

#[cfg(test)]
mod tests {
    use btcfed_core::SecretKey;
    use btcfed_core::addr::AddrScope;
    use btcfed_core::network::Direction;

    use super::*;
    use crate::defence::budget::Budgets;

    fn key(n: usize) -> PeerKey {
        let mut seed = [3; 32];
        seed[..8].copy_from_slice(&n.to_le_bytes());
        SecretKey::from_seed(seed).public()
    }

    fn at(millis: u64) -> MonotonicTime {
        MonotonicTime::from_origin(Duration::from_millis(millis))
    }

    fn sessions(count: usize) -> Sessions {
        let mut sessions = Sessions::default();
        for n in 0..count {
            let budgets = Budgets::new(at(0), &btcfed_core::config::RateLimit::DEFAULT);
            let session = Session::new(Direction::Inbound, AddrScope::Private, at(0), budgets);
            sessions.insert(key(n), session);
        }
        sessions.refresh(at(0), None);
        sessions
    }

    #[test]
    fn who_is_due_is_found_and_looked_at_again() {
        let mut sessions = sessions(3);
        let patience = 250;
        assert_eq!(sessions.next_due(), Some(at(patience)));
        assert!(sessions.take_due(at(patience - 1)).is_empty());
        sessions.get_mut(&key(1)).unwrap().hello_due = Some(at(7));
        assert_eq!(sessions.next_due(), Some(at(patience)), "not refreshed");
        sessions.refresh(at(0), None);
        assert_eq!(sessions.take_due(at(7)), [key(1)].into());
        sessions.remove(&key(1));
        assert_eq!(sessions.next_due(), Some(at(patience)));
        assert_eq!(sessions.take_due(at(patience)).len(), 2);
    }

    #[test]
    fn a_pause_that_is_over_is_forgotten_when_its_time_comes() {
        let mut sessions = sessions(1);
        let session = sessions.get_mut(&key(0)).unwrap();
        (session.paused_until, session.wants_round) = (Some(at(900)), true);
        sessions.refresh(at(0), None);
        assert_eq!(sessions.wanting().count(), 0);
        sessions.take_due(at(900));
        sessions.refresh(at(900), None);
        assert_eq!(sessions.get(&key(0)).unwrap().paused_until, None);
        assert_eq!(sessions.wanting().collect::<Vec<_>>(), [key(0)]);
    }

    #[test]
    fn as_many_wait_for_slots_as_there_are_slots() {
        let mut sessions = sessions(5);
        for n in 0..5 {
            let session = sessions.get_mut(&key(n)).unwrap();
            (session.wants_round, session.introduced) = (true, n > 0);
        }
        sessions.refresh(at(0), None);
        let first = 1 + limits::MAX_PARALLEL_ROUNDS;
        assert_eq!(sessions.wanting().count(), first, "one needs no slot");
    }

    #[test]
    fn who_gave_the_sample_waits_until_all_others_had_their_turn() {
        let mut sessions = sessions(4);
        let mut keys: Vec<PeerKey> = (0..4).map(key).collect();
        keys.sort_unstable();
        for peer in &keys {
            let session = sessions.get_mut(peer).unwrap();
            (session.wants_round, session.introduced) = (true, true);
        }
        sessions.get_mut(&keys[0]).unwrap().gave_sample = true;
        sessions.refresh(at(0), None);
        assert_eq!(
            sessions.wanting().collect::<Vec<_>>(),
            keys[1..=limits::MAX_PARALLEL_ROUNDS]
        );
        for peer in &keys[1..] {
            sessions.get_mut(peer).unwrap().wants_round = false;
        }
        sessions.refresh(at(0), None);
        assert_eq!(sessions.wanting().collect::<Vec<_>>(), keys[..1]);
    }

    #[test]
    fn all_branches_are_there_from_the_limit_on_and_the_link_itself_does_not_count() {
        let mut sessions = sessions(limits::MAX_BRANCHES + 1);
        for n in 1..limits::MAX_BRANCHES {
            sessions.get_mut(&key(n)).unwrap().met = true;
        }
        sessions.get_mut(&key(0)).unwrap().met = true;
        assert!(!sessions.has_all_branches_beside(&key(0)), "one is free");
        let last = key(limits::MAX_BRANCHES);
        assert!(sessions.has_all_branches_beside(&last));
        sessions.get_mut(&last).unwrap().met = true;
        assert!(sessions.has_all_branches_beside(&key(0)));
        sessions.refresh(at(0), None);
        assert!(sessions.has_all_branches_beside(&key(0)));
    }

    #[test]
    fn a_branch_is_one_as_soon_as_it_changes() {
        let mut sessions = sessions(2);
        assert!(!sessions.has_branch());
        sessions.get_mut(&key(1)).unwrap().met = true;
        assert!(sessions.has_branch(), "before the next look");
        sessions.refresh(at(0), None);
        assert!(sessions.has_branch());
        sessions.get_mut(&key(1)).unwrap().is_lazy = true;
        assert!(!sessions.has_branch());
    }
}
