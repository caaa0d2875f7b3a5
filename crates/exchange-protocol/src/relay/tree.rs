//! How news spreads: records along a tree, ids beside it, and the tree mends itself (Plumtree: Leitao, Pereira and
//! Rodrigues, "Epidemic Broadcast Trees", SRDS 2007).
//!
//! A link is eager until it brings a record that is known already: then both ends make it lazy, and only ids pass over it.
//! What is left of the eager links is a tree. An id that stays unknown for a while shows a broken branch: the record
//! is fetched from whoever told the id, and that link is eager again.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use btcfed_core::PeerKey;
use btcfed_core::time::{MonotonicTime, Now};

use crate::defence::bucket::TokenBucket;
use crate::defence::score::Offence;
use crate::defence::validate;
use crate::engine::{Engine, Sent};
use crate::limits;
use crate::message::{Message, Mode, PeerRequest, PeerResponse, RecordEntry, Want};
use crate::reconcile::digest;
use crate::relay::Way;

/// The salt of ids that are told unasked: everybody must compute the same ones. Nobody gains by two own versions that
/// have the same id, and nobody can find one for somebody else's.
pub(crate) const OPEN_SALT: u64 = 0;

/// The id of a version, as it is told beside the tree.
pub(crate) fn open_id(key: &PeerKey, seq: u64) -> u64 {
    digest::id(OPEN_SALT, key, seq)
}

/// What is known of news: the ids seen lately, and those that somebody told of and that have not arrived.
#[derive(Debug, Default)]
pub(crate) struct News {
    seen: BTreeMap<u64, Seen>,
    order: VecDeque<u64>,
    missing: BTreeMap<u64, Missing>,
    /// When which of them is to be asked for.
    due: BTreeSet<(MonotonicTime, u64)>,
    owners: BTreeMap<PeerKey, TokenBucket>,
    owner_order: VecDeque<PeerKey>,
    /// News went along the links of this node.
    has_tree: bool,
}

/// A version that arrived.
#[derive(Debug)]
struct Seen {
    key: PeerKey,
    seq: u64,
    /// Who was the first to send it along the tree.
    pushed_by: Option<PeerKey>,
}

/// An id without its record.
#[derive(Debug)]
struct Missing {
    /// When to ask for it.
    due: MonotonicTime,
    /// Who told of it and was not asked yet.
    told_by: VecDeque<PeerKey>,
}

impl News {
    /// A version arrived: it is missing no more.
    pub(crate) fn arrived(&mut self, key: PeerKey, seq: u64) {
        self.note(open_id(&key, seq), key, seq);
    }

    fn note(&mut self, id: u64, key: PeerKey, seq: u64) {
        if let Some(missing) = self.missing.remove(&id) {
            self.due.remove(&(missing.due, id));
        }
        if let Entry::Vacant(entry) = self.seen.entry(id) {
            entry.insert(Seen {
                key,
                seq,
                pushed_by: None,
            });
            self.order.push_back(id);
            if self.order.len() > limits::MAX_SEEN_IDS
                && let Some(oldest) = self.order.pop_front()
            {
                self.seen.remove(&oldest);
            }
        }
    }

    /// A version that arrived came along the tree.
    pub(crate) fn pushed(&mut self, id: u64, by: PeerKey) {
        if let Some(seen) = self.seen.get_mut(&id) {
            seen.pushed_by.get_or_insert(by);
        }
    }

    /// News went along the links of this node: there is a tree.
    pub(crate) const fn passed(&mut self) {
        self.has_tree = true;
    }

    /// True when there is a tree.
    pub(crate) const fn has_tree(&self) -> bool {
        self.has_tree
    }

    /// True when this version arrived lately, and not along the tree.
    pub(crate) fn is_off_the_tree(&self, id: u64) -> bool {
        let seen = self.seen.get(&id);
        seen.is_some_and(|seen| seen.pushed_by.is_none())
    }

    /// True when this version came along the tree lately, from somebody else.
    pub(crate) fn was_pushed(&self, id: u64, but: &PeerKey) -> bool {
        let by = self.seen.get(&id).and_then(|seen| seen.pushed_by.as_ref());
        by.is_some_and(|by| by != but)
    }

    /// The version with this id, if it arrived lately.
    fn version(&self, id: u64) -> Option<(PeerKey, u64)> {
        self.seen.get(&id).map(|seen| (seen.key, seen.seq))
    }

    /// Somebody told of an id.
    pub(crate) fn told(&mut self, due: MonotonicTime, id: u64, by: PeerKey) {
        if self.seen.contains_key(&id) {
            return;
        }
        if self.missing.len() >= limits::MAX_MISSING_IDS && !self.missing.contains_key(&id) {
            return;
        }
        let missing = self.missing.entry(id).or_insert_with(|| {
            self.due.insert((due, id));
            Missing {
                due,
                told_by: VecDeque::new(),
            }
        });
        if missing.told_by.len() < limits::MAX_TELLERS && !missing.told_by.contains(&by) {
            missing.told_by.push_back(by);
        }
    }

    /// When the next missing record is to be asked for.
    pub(crate) fn due(&self) -> Option<MonotonicTime> {
        self.due.first().map(|(due, _)| *due)
    }

    /// What is to be asked of whom now. One that nobody else can be asked for is given up; the next round finds it.
    fn take_due(&mut self, now: MonotonicTime) -> BTreeMap<PeerKey, Vec<u64>> {
        let mut asks: BTreeMap<PeerKey, Vec<u64>> = BTreeMap::new();
        let after = now.saturating_add(Duration::from_nanos(1));
        let later = self.due.split_off(&(after, 0));
        for (_, id) in std::mem::replace(&mut self.due, later) {
            let Some(missing) = self.missing.get_mut(&id) else {
                continue;
            };
            let Some(peer) = missing.told_by.pop_front() else {
                self.missing.remove(&id);
                continue;
            };
            missing.due = now.saturating_add(limits::GRAFT_RETRY);
            self.due.insert((missing.due, id));
            asks.entry(peer).or_default().push(id);
        }
        asks
    }

    /// True when an owner's new version may be passed on: one in ten seconds, three at once.
    pub(crate) fn may_relay(&mut self, now: MonotonicTime, owner: PeerKey) -> bool {
        if !self.owners.contains_key(&owner) {
            if self.owner_order.len() >= limits::MAX_OWNER_BUDGETS
                && let Some(oldest) = self.owner_order.pop_front()
            {
                self.owners.remove(&oldest);
            }
            self.owner_order.push_back(owner);
        }
        let price = limits::OWNER_SECONDS_PER_RELAY;
        let burst = limits::OWNER_RELAY_BURST * price;
        let bucket = self
            .owners
            .entry(owner)
            .or_insert_with(|| TokenBucket::new(burst, 1, now));
        bucket.take(now, price)
    }
}

impl Engine {
    /// Takes in ids that were told beside the tree.
    pub(crate) fn on_ids(&mut self, now: Now, peer: PeerKey, ids: &[u64]) {
        let has_branch = self.sessions.has_branch();
        let session = self.sessions.get(&peer).filter(|_| has_branch);
        let patience = session.map_or(Duration::ZERO, |session| session.round_trip.patience());
        for id in ids {
            let due = now.monotonic.saturating_add(patience);
            self.news.told(due, *id, peer);
            // Whoever tells of a version has it and need not be told.
            if let Some((key, seq)) = self.news.version(*id)
                && let Some(session) = self.sessions.get_mut(&peer)
            {
                session.has_version(&key, seq);
            }
        }
    }

    /// Asks for what was told of and did not arrive; the link is part of the tree from now on.
    pub(crate) fn graft_due(&mut self, now: Now) {
        if self.news.due().is_none_or(|due| due > now.monotonic) {
            return;
        }
        for (peer, mut ids) in self.news.take_due(now.monotonic) {
            let ready = self.sessions.get_mut(&peer);
            let Some(session) = ready.filter(|s| s.met && !s.is_paused(now.monotonic)) else {
                continue;
            };
            session.is_lazy = false;
            ids.truncate(limits::MAX_RECORDS_PER_FRAME);
            let want = Want {
                salt: OPEN_SALT,
                ids: ids.clone(),
            };
            let request = PeerRequest {
                mode: Mode::Want,
                want: Some(want),
                ..PeerRequest::default()
            };
            self.send(now, peer, &Message::Request(request), Sent::Graft(ids));
        }
    }

    /// Takes in records that were told of by their ids. They were not this node's idea: the budget holds.
    pub(crate) fn on_grafted(
        &mut self,
        now: Now,
        peer: PeerKey,
        ids: &[u64],
        response: &PeerResponse,
    ) {
        let envelopes = response.records.iter().map(RecordEntry::offered);
        let triage = validate::triage(&self.view, now, envelopes);
        let is_asked = triage
            .listed
            .iter()
            .all(|(key, seq)| ids.contains(&open_id(key, *seq)));
        if !is_asked || !self.sessions.get(&peer).is_some_and(|session| session.met) {
            self.offend(now, peer, Offence::WrongAnswer);
            return;
        }
        if response.records.is_empty() {
            self.offend(now, peer, Offence::EmptyPromise);
            return;
        }
        for (key, seq) in &triage.listed {
            self.news.arrived(*key, *seq);
        }
        let intake = self.take_in(now, peer, triage, Way::Along);
        self.react(now, peer, &intake);
    }
}

#[cfg(test)]
mod tests {
    use btcfed_core::SecretKey;

    use super::*;

    fn key(n: usize) -> PeerKey {
        let mut seed = [8; 32];
        seed[..8].copy_from_slice(&n.to_le_bytes());
        SecretKey::from_seed(seed).public()
    }

    fn at(millis: u64) -> MonotonicTime {
        MonotonicTime::from_origin(Duration::from_millis(millis))
    }

    #[test]
    fn what_does_not_arrive_is_asked_of_one_teller_after_the_other_and_then_given_up() {
        let mut news = News::default();
        news.note(1, key(0), 1);
        for (id, by) in [(1, 1), (2, 1), (2, 2), (2, 2), (3, 2)] {
            news.told(at(50), id, key(by));
        }
        let patience = 50;
        assert_eq!(news.due(), Some(at(patience)));
        assert!(news.take_due(at(patience - 1)).is_empty());
        let asks = news.take_due(at(patience));
        assert_eq!(asks, [(key(1), vec![2]), (key(2), vec![3])].into());
        news.note(3, key(0), 1);
        assert_eq!(news.take_due(at(60_000)), [(key(2), vec![2])].into());
        assert!(news.take_due(at(120_000)).is_empty());
        assert_eq!(news.due(), None);
    }

    #[test]
    fn the_memory_of_news_is_bounded() {
        let mut news = News::default();
        for id in 0..=u64::try_from(limits::MAX_SEEN_IDS).unwrap() {
            news.note(id, key(0), 1);
        }
        assert_eq!(news.seen.len(), limits::MAX_SEEN_IDS);
        assert!(!news.seen.contains_key(&0), "the oldest is forgotten");
        for id in 0..=u64::try_from(limits::MAX_MISSING_IDS).unwrap() {
            news.told(at(0), u64::MAX - id, key(0));
        }
        assert_eq!(news.missing.len(), limits::MAX_MISSING_IDS);
        assert_eq!(news.due.len(), limits::MAX_MISSING_IDS);
        for n in 0..=limits::MAX_TELLERS {
            news.told(at(0), u64::MAX, key(n));
        }
        assert_eq!(news.missing[&u64::MAX].told_by.len(), limits::MAX_TELLERS);
    }

    #[test]
    fn whatever_the_id_it_is_due_once_at_a_time() {
        let mut news = News::default();
        for id in [0, u64::MAX] {
            news.told(at(50), id, key(1));
        }
        assert_eq!(news.take_due(at(50)), [(key(1), vec![0, u64::MAX])].into());
        assert!(news.due() > Some(at(50)), "nothing is left for now");
    }

    #[test]
    fn an_owner_makes_everybody_relay_three_versions_at_once_and_one_in_ten_seconds() {
        let mut news = News::default();
        let count = |news: &mut News, millis, tries| {
            let tries = 0..tries;
            tries.filter(|_| news.may_relay(at(millis), key(1))).count()
        };
        assert_eq!(count(&mut news, 0, 10), 3);
        assert_eq!(count(&mut news, 9_999, 10), 0);
        assert_eq!(count(&mut news, 10_000, 10), 1);
        assert!(
            news.may_relay(at(10_000), key(2)),
            "others are not concerned"
        );
        for n in 0..=limits::MAX_OWNER_BUDGETS {
            news.may_relay(at(10_000), key(10 + n));
        }
        assert_eq!(news.owners.len(), limits::MAX_OWNER_BUDGETS);
    }
}
