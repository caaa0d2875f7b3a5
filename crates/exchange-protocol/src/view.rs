//! Everything this node would list: the store's snapshot, what was accepted but is not in the snapshot yet, and the
//! node's own record. Indexes over the snapshot, never a second copy of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use btcfed_core::addr::AddrScope;
use btcfed_core::time::{MonotonicTime, Now, Timestamp};
use btcfed_core::{Issuer, PeerKey, PeerRecord, PeerSet, SignedRecord};

use crate::limits;
use crate::message::{RecordEntry, Summary};
use crate::reconcile::digest;
use crate::session::Versions;

/// The list, as of now.
#[derive(Debug)]
pub(crate) struct View {
    own: PeerKey,
    set: Arc<PeerSet>,
    /// Own record, and accepted ones until the store shows them.
    overlay: BTreeMap<PeerKey, SignedRecord>,
    /// Verified or refused lately; `(key, seq)` known without a second check until the time given.
    seen: BTreeMap<PeerKey, u64>,
    expiry: VecDeque<(MonotonicTime, PeerKey, u64)>,
}

/// A record to be listed, and its age.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listed<'a> {
    pub(crate) record: &'a SignedRecord,
    pub(crate) age_s: u32,
}

impl Listed<'_> {
    pub(crate) fn entry(&self) -> RecordEntry {
        RecordEntry {
            envelope: self.record.envelope().to_vec(),
            age_s: self.age_s,
        }
    }
}

impl View {
    pub(crate) fn new(own: PeerKey, set: Arc<PeerSet>) -> Self {
        Self {
            own,
            set,
            overlay: BTreeMap::new(),
            seen: BTreeMap::new(),
            expiry: VecDeque::new(),
        }
    }

    pub(crate) const fn own_key(&self) -> PeerKey {
        self.own
    }

    pub(crate) fn own_record(&self) -> Option<&SignedRecord> {
        self.overlay.get(&self.own)
    }

    pub(crate) fn set_own_record(&mut self, record: SignedRecord) {
        self.overlay.insert(self.own, record);
    }

    /// Takes over a new snapshot; what it shows is pending no more.
    pub(crate) fn set_snapshot(&mut self, set: Arc<PeerSet>) {
        self.set = set;
        let (own, set) = (self.own, &self.set);
        self.overlay
            .retain(|key, record| *key == own || stored_seq(set, key) < Some(record.seq()));
    }

    /// True when this version of a record needs no further look.
    pub(crate) fn knows(&self, key: &PeerKey, seq: u64) -> bool {
        stored_seq(&self.set, key) >= Some(seq)
            || self.seen.get(key).is_some_and(|seen| *seen >= seq)
    }

    pub(crate) fn is_banned(&self, key: &PeerKey, now: Timestamp) -> bool {
        self.set.ban_of(key, now).is_some()
    }

    /// Remembers an accepted record until the store shows it.
    pub(crate) fn add_pending(&mut self, now: MonotonicTime, record: &SignedRecord) {
        self.remember(now, record.key(), record.seq());
        self.overlay.insert(record.key(), record.clone());
    }

    /// Remembers for a while that this version was looked at.
    pub(crate) fn remember(&mut self, now: MonotonicTime, key: PeerKey, seq: u64) {
        while self.expiry.len() >= limits::MAX_PENDING_RECORDS {
            self.forget_oldest();
        }
        self.seen.insert(key, seq);
        self.expiry
            .push_back((now.saturating_add(limits::PENDING_TTL), key, seq));
    }

    /// Forgets what the store had its time to show.
    pub(crate) fn expire(&mut self, now: MonotonicTime) {
        while self.expiry.front().is_some_and(|(until, ..)| *until <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, key, seq)) = self.expiry.pop_front() else {
            return;
        };
        if self.seen.get(&key) == Some(&seq) {
            self.seen.remove(&key);
            if key != self.own
                && self
                    .overlay
                    .get(&key)
                    .is_some_and(|record| record.seq() == seq)
            {
                self.overlay.remove(&key);
            }
        }
    }

    /// What may be listed over a link, in the order of the keys.
    pub(crate) fn list<'a>(
        &'a self,
        after: Option<&PeerKey>,
        link: AddrScope,
        now: Timestamp,
    ) -> impl Iterator<Item = Listed<'a>> {
        use std::ops::Bound;
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut overlay = self
            .overlay
            .range((start, Bound::Unbounded))
            .map(|(_, record)| record)
            .peekable();
        let mut stored = self
            .set
            .iter_after(after)
            .filter_map(move |peer| listed(peer, now))
            .peekable();
        let merged = std::iter::from_fn(move || {
            let fresh = overlay.peek().map(|record| record.key());
            let old = stored.peek().map(|listed| listed.record.key());
            match (fresh, old) {
                (None, None) => None,
                (Some(fresh), Some(old)) if old < fresh => stored.next(),
                (None, Some(_)) => stored.next(),
                (Some(fresh), old) => {
                    if old == Some(fresh) {
                        stored.next();
                    }
                    overlay.next().map(|record| Listed { record, age_s: 0 })
                }
            }
        });
        merged.filter(move |listed| is_meaningful(listed.record, link))
    }

    /// The versions in that list, and those the peer has and this node declined: what both sides count as known.
    pub(crate) fn elements(
        &self,
        link: AddrScope,
        declined: &Versions,
        now: Now,
    ) -> impl Iterator<Item = (PeerKey, u64)> {
        let listed = self
            .list(None, link, now.wall)
            .map(|item| (item.record.key(), item.record.seq()));
        let declined = declined
            .iter()
            .filter(move |(key, _)| !self.lists(key, link, now.wall));
        listed.chain(declined)
    }

    /// The summary of these.
    pub(crate) fn summary(
        &self,
        salt: u32,
        link: AddrScope,
        declined: &Versions,
        now: Now,
    ) -> Summary {
        digest::summarize(salt, self.elements(link, declined, now))
    }

    /// True when some version of this peer's record is listed over a link.
    fn lists(&self, key: &PeerKey, link: AddrScope, now: Timestamp) -> bool {
        let stored = || self.set.get(key).and_then(|peer| listed(peer, now));
        let record = self
            .overlay
            .get(key)
            .or_else(|| stored().map(|item| item.record));
        record.is_some_and(|record| is_meaningful(record, link))
    }

    /// True for a learned peer, in the store or on its way there, whose key was never proven to this node.
    pub(crate) fn is_unmet(&self, key: &PeerKey) -> bool {
        match self.set.get(key) {
            Some(peer) => !peer.is_reserved() && peer.stats.last_seen.is_none(),
            None => self.overlay.contains_key(key),
        }
    }

    /// Everybody in the store.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &Arc<PeerRecord>> {
        self.set.iter()
    }

    /// The record of a peer that counts, if it is known.
    pub(crate) fn record_of(&self, key: &PeerKey) -> Option<&SignedRecord> {
        let stored = || self.set.get(key).and_then(|peer| peer.record.as_ref());
        self.overlay.get(key).or_else(stored)
    }

    /// How many records there are at most. Costs nothing.
    pub(crate) fn size_bound(&self) -> usize {
        self.set.len().saturating_add(self.overlay.len())
    }

    /// True when some version of this peer's record is known.
    pub(crate) fn has_record(&self, key: &PeerKey) -> bool {
        self.overlay.contains_key(key) || self.set.contains(key)
    }

    /// True when the peer left or was removed, and this version does not bring it back.
    pub(crate) fn has_forgotten(&self, key: &PeerKey, seq: u64) -> bool {
        self.set
            .forgotten_mark(key)
            .is_some_and(|mark| mark.by == Issuer::Operator || seq <= mark.seq)
    }

    /// How many records wait for the store, and how many versions are remembered.
    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.overlay.len(), self.seen.len())
    }
}

/// The highest sequence number that must not come again: the stored one, or the one it was forgotten with.
fn stored_seq(set: &PeerSet, key: &PeerKey) -> Option<u64> {
    let stored = set
        .get(key)
        .and_then(|peer| peer.record.as_ref())
        .map(SignedRecord::seq);
    let forgotten = set.forgotten_mark(key).map(|mark| match mark.by {
        Issuer::Operator => u64::MAX,
        Issuer::Node => mark.seq,
    });
    stored.max(forgotten)
}

fn listed(peer: &Arc<PeerRecord>, now: Timestamp) -> Option<Listed<'_>> {
    let record = peer.record.as_ref().filter(|_| !peer.is_banned())?;
    let news = peer.stats.last_seen.max(peer.stats.first_seen);
    let age = news.map_or(0, |news| now.saturating_since(news).as_secs());
    Some(Listed {
        record,
        age_s: u32::try_from(age).unwrap_or(u32::MAX),
    })
}

/// True when at least one address of `record` means something to the other end of a link of scope `link`.
pub(crate) fn is_meaningful(record: &SignedRecord, link: AddrScope) -> bool {
    record
        .addresses()
        .iter()
        .any(|addr| crosses(addr.scope(), link))
}

/// True when an address of scope `addr` may be told over a link of scope `link`. Link-local addresses and metadata
/// services never are, and what has no single host means nothing to anybody.
const fn crosses(addr: AddrScope, link: AddrScope) -> bool {
    match addr {
        AddrScope::Dns | AddrScope::Public => true,
        AddrScope::LinkLocal | AddrScope::Unspecified => false,
        AddrScope::Loopback => matches!(link, AddrScope::Loopback),
        AddrScope::Private => matches!(
            link,
            AddrScope::LinkLocal | AddrScope::Loopback | AddrScope::Private
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use btcfed_core::{PeerOp, PeerPatch, SecretKey};

    use super::*;

    fn record(n: usize, seq: u64) -> SignedRecord {
        let mut seed = [6; 32];
        seed[..8].copy_from_slice(&n.to_le_bytes());
        let addr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
        SignedRecord::sign(&SecretKey::from_seed(seed), seq, &[addr]).unwrap()
    }

    fn set(records: &[SignedRecord]) -> Arc<PeerSet> {
        let patch: PeerPatch = records.iter().cloned().map(PeerOp::Learn).collect();
        Arc::new(PeerSet::default().apply(&patch, Now::default()).unwrap().0)
    }

    fn at(millis: u64) -> MonotonicTime {
        MonotonicTime::from_origin(Duration::from_millis(millis))
    }

    fn listed(view: &View, after: Option<&PeerKey>) -> Vec<SignedRecord> {
        let list = view.list(after, AddrScope::Private, Timestamp::UNIX_EPOCH);
        list.map(|item| item.record.clone()).collect()
    }

    #[test]
    fn the_list_is_the_newest_of_store_pending_and_own_in_the_order_of_keys() {
        let mut view = View::new(
            record(0, 1).key(),
            set(&[record(1, 1), record(2, 5), record(3, 1)]),
        );
        view.set_own_record(record(0, 1));
        view.add_pending(at(0), &record(2, 6));
        view.add_pending(at(0), &record(4, 1));
        let mut expected = vec![
            record(0, 1),
            record(1, 1),
            record(2, 6),
            record(3, 1),
            record(4, 1),
        ];
        expected.sort_by_key(SignedRecord::key);
        assert_eq!(listed(&view, None), expected);
        for (index, record) in expected.iter().enumerate() {
            assert_eq!(listed(&view, Some(&record.key())), expected[index + 1..]);
        }
        let summary = view.summary(7, AddrScope::Private, &Versions::new(0), Now::default());
        view.set_snapshot(set(&expected
            .iter()
            .filter(|r| r.key() != view.own_key())
            .cloned()
            .collect::<Vec<_>>()));
        assert_eq!(
            view.sizes().0,
            1,
            "only the own record is left beside the store"
        );
        assert_eq!(
            view.summary(7, AddrScope::Private, &Versions::new(0), Now::default()),
            summary,
            "the list is the same"
        );
    }

    #[test]
    fn pending_records_are_forgotten_when_the_store_never_shows_them() {
        let mut view = View::new(record(0, 1).key(), Arc::default());
        view.set_own_record(record(0, 1));
        view.add_pending(at(0), &record(1, 1));
        view.add_pending(at(5), &record(1, 2));
        assert!(view.knows(&record(1, 0).key(), 2));
        view.expire(at(10_000));
        assert!(
            view.knows(&record(1, 0).key(), 2),
            "the later version has its own time"
        );
        view.expire(at(10_005));
        assert!(!view.knows(&record(1, 0).key(), 1));
        assert_eq!(view.sizes(), (1, 0));
    }

    #[test]
    fn the_memory_of_pending_records_is_bounded() {
        let mut view = View::new(record(0, 1).key(), Arc::default());
        let keys: Vec<PeerKey> = (1..=20).map(|n| record(n, 1).key()).collect();
        for seq in 0..u64::try_from(limits::MAX_PENDING_RECORDS).unwrap() {
            view.remember(at(0), keys[(seq % 20) as usize], seq);
        }
        assert_eq!(view.expiry.len(), limits::MAX_PENDING_RECORDS);
        view.remember(at(0), record(99, 1).key(), 1);
        assert_eq!(view.expiry.len(), limits::MAX_PENDING_RECORDS);
        assert!(view.sizes().1 <= 21);
    }
}
