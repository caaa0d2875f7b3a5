//! Everything this node would list: the store's snapshot, what was accepted but is not in the snapshot yet, and the
//! node's own record. Indexes over the snapshot, never a second copy of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use btcfed_core::addr::AddrScope;
use btcfed_core::record::SignedView;
use btcfed_core::time::{MonotonicTime, Now, Timestamp};
use btcfed_core::{Issuer, PeerKey, PeerSet, PeerView, SignedRecord};

use crate::lease::Leases;
use crate::limits;
use crate::message::{Cell, RecordEntry, Summary};
use crate::reconcile::digest;
use crate::reconcile::ids::KeyPrefix;
use crate::reconcile::index::{Bookmark, Element, Index, Reach, Source};
use crate::reconcile::shared::Shared;
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
    index: Index,
    leases: Leases,
    /// Versions that were pending for too long: should the store show them yet, they are no younger for it.
    late: Versions,
}

/// A record to be listed, and its age.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listed<'a> {
    pub(crate) record: SignedView<'a>,
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
            index: Index::of(stored_elements(&set)),
            set,
            overlay: BTreeMap::new(),
            seen: BTreeMap::new(),
            expiry: VecDeque::new(),
            leases: Leases::default(),
            late: Versions::new(limits::MAX_PENDING_RECORDS),
        }
    }

    /// A view of what others of a simulation begin with too.
    pub(crate) fn sharing(own: PeerKey, shared: Arc<Shared>) -> Self {
        let mut leases = Leases::default();
        leases.begin(MonotonicTime::ZERO, std::iter::empty());
        Self {
            own,
            set: Arc::clone(shared.set()),
            index: Index::sharing(shared),
            overlay: BTreeMap::new(),
            seen: BTreeMap::new(),
            expiry: VecDeque::new(),
            leases,
            late: Versions::new(limits::MAX_PENDING_RECORDS),
        }
    }

    pub(crate) const fn own_key(&self) -> PeerKey {
        self.own
    }

    pub(crate) fn own_record(&self) -> Option<&SignedRecord> {
        self.overlay.get(&self.own)
    }

    pub(crate) fn set_own_record(&mut self, record: SignedRecord) {
        self.set_overlay(self.own, Some(record));
    }

    /// Sets or removes what is listed instead of what the store shows.
    fn set_overlay(&mut self, key: PeerKey, record: Option<SignedRecord>) {
        let before = self.element(&key);
        match record {
            Some(record) => self.overlay.insert(key, record),
            None => self.overlay.remove(&key),
        };
        self.index.change(before, self.element(&key));
    }

    /// Takes over a new snapshot; what it shows is pending no more.
    pub(crate) fn set_snapshot(&mut self, now: MonotonicTime, set: Arc<PeerSet>) {
        let shown = self.overlay.iter().filter(|(key, record)| {
            **key != self.own && stored_seq(&set, key) >= Some(record.seq())
        });
        let shown: Vec<PeerKey> = shown.map(|(key, _)| *key).collect();
        let mut changed = set.differing_peers(&self.set);
        changed.extend(&shown);
        changed.sort_unstable();
        changed.dedup();
        let before: Vec<Option<Element>> = changed.iter().map(|key| self.element(key)).collect();
        let old = std::mem::replace(&mut self.set, set);
        for key in &changed {
            self.note_lease(now, &old, key);
        }
        for key in shown {
            self.overlay.remove(&key);
        }
        for (key, before) in changed.into_iter().zip(before) {
            self.forget_lease(&key);
            self.index.change(before, self.element(&key));
        }
    }

    /// What the store learned on another way than by this protocol is new now.
    fn note_lease(&mut self, now: MonotonicTime, old: &PeerSet, key: &PeerKey) {
        let seq = |set: &PeerSet| set.view(key).and_then(PeerView::seq);
        let is_ours = *key == self.own || self.overlay.contains_key(key);
        let Some(new) = seq(&self.set).filter(|new| !is_ours && seq(old) < Some(*new)) else {
            return;
        };
        if !self.late.has(key, new) {
            self.leases.learned(now, *key, 0);
        }
        if self.late.is_at_most(key, new) {
            self.late.remove(key);
        }
    }

    /// Forgets how old a record is of which none is known and none is expected.
    fn forget_lease(&mut self, key: &PeerKey) {
        if self.record_of(key).is_none() && !self.late.has(key, 0) {
            self.leases.forget(key);
        }
    }

    /// A record was pending for too long. Its age is remembered, as long as there is room.
    fn expect_late(&mut self, key: PeerKey, seq: u64) {
        if self.late.is_full() {
            for (oldest, _) in self.late.take(1) {
                self.forget_lease(&oldest);
            }
        }
        self.late.add(key, seq);
    }

    /// A peer is connected; its record is as young as can be.
    pub(crate) fn met(&mut self, key: PeerKey) {
        let before = self.element(&key);
        self.leases.met(key);
        self.index.change(before, self.element(&key));
    }

    /// The last connection to a peer is gone.
    pub(crate) fn parted(&mut self, now: MonotonicTime, key: PeerKey) {
        let is_known = self.record_of(&key).is_some();
        self.leases.parted(now, key, is_known);
    }

    /// True when the record of this peer counts no more, or nearly so: it is told to nobody.
    pub(crate) fn is_over(&self, key: &PeerKey) -> bool {
        *key != self.own && self.leases.is_over(key)
    }

    /// How old the record of a peer is that goes out now.
    pub(crate) fn age_s(&self, now: MonotonicTime, key: &PeerKey) -> u32 {
        if *key == self.own {
            return 0;
        }
        self.leases.age_s(now, key)
    }

    /// Time passed: takes what is over off the list.
    pub(crate) fn pass(&mut self, now: Now) {
        self.expire(now.monotonic);
        if !self.leases.has_begun() {
            let ages = self.set.views().filter(|peer| peer.seq().is_some());
            let ages = ages.map(|peer| {
                let stats = peer.stats();
                let seen = stats.last_seen.max(stats.first_seen);
                let age = seen.map_or(0, |seen| now.wall.saturating_since(seen).as_secs());
                (*peer.key(), age)
            });
            self.leases.begin(now.monotonic, ages);
        }
        if !self.leases.is_due(now.monotonic) {
            return;
        }
        let stored = self.set.views().filter(|peer| peer.seq().is_some());
        let known = stored
            .map(|peer| *peer.key())
            .chain(self.overlay.keys().copied());
        let known = known.filter(|key| *key != self.own);
        for key in self.leases.take_due(now.monotonic, known) {
            let before = self.element(&key);
            self.leases.end(key);
            self.index.change(before, self.element(&key));
        }
    }

    /// The version of this peer's record that is listed.
    fn element(&self, key: &PeerKey) -> Option<Element> {
        element(&self.set, &self.overlay, &self.leases, key)
    }

    /// True when this version of a record needs no further look.
    pub(crate) fn knows(&self, key: &PeerKey, seq: u64) -> bool {
        stored_seq(&self.set, key) >= Some(seq)
            || self.seen.get(key).is_some_and(|seen| *seen >= seq)
    }

    pub(crate) fn is_banned(&self, key: &PeerKey, now: Timestamp) -> bool {
        self.set.ban_of(key, now).is_some()
    }

    /// Remembers an accepted record until the store shows it. A version of another number is as old as it was told to be.
    pub(crate) fn add_pending(&mut self, now: MonotonicTime, record: &SignedRecord, age_s: u32) {
        let (key, seq) = (record.key(), record.seq());
        self.remember(now, key, seq);
        let before = self.element(&key);
        let is_new = self.record_of(&key).is_none_or(|known| known.seq() < seq);
        if is_new && !self.late.has(&key, seq) {
            self.leases.learned(now, key, age_s);
        }
        self.overlay.insert(key, record.clone());
        self.index.change(before, self.element(&key));
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
                self.set_overlay(key, None);
                self.expect_late(key, seq);
            }
        }
    }

    /// What may be listed over a link, in the order of the keys.
    pub(crate) fn list<'a>(
        &'a self,
        after: Option<&PeerKey>,
        link: AddrScope,
        now: MonotonicTime,
    ) -> impl Iterator<Item = Listed<'a>> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut overlay = self
            .overlay
            .range((start, Bound::Unbounded))
            .map(|(_, record)| record.view())
            .peekable();
        let mut stored = self.set.views_after(after).filter_map(shown).peekable();
        let merged = std::iter::from_fn(move || {
            let fresh = overlay.peek().map(|record| record.key());
            let old = stored.peek().map(|record| record.key());
            match (fresh, old) {
                (None, None) => None,
                (Some(fresh), Some(old)) if old < fresh => stored.next(),
                (None, Some(_)) => stored.next(),
                (Some(fresh), old) => {
                    if old == Some(fresh) {
                        stored.next();
                    }
                    overlay.next()
                }
            }
        });
        merged
            .filter(move |record| is_told(*record, link) && !self.is_over(&record.key()))
            .map(move |record| Listed {
                record,
                age_s: self.age_s(now, &record.key()),
            })
    }

    /// The summary of the list over a link, and of the versions that the peer has and this node declined: what both sides
    /// count as known.
    pub(crate) fn summary(&mut self, salt: u32, link: AddrScope, declined: &Versions) -> Summary {
        let reach = Reach::of_link(link);
        let (set, overlay, leases) = (&self.set, &self.overlay, &self.leases);
        let source = Source {
            each: &|visit| visit_all(set, overlay, leases, visit),
            element: &|key| element(set, overlay, leases, key),
        };
        let root = self.index.root(salt, reach, &source);
        let mut summary = Summary {
            salt,
            root,
            count: self.index.count(reach),
        };
        for (key, seq) in self.unlisted(link, declined) {
            let part = digest::root_part(salt, &key, seq);
            summary.root = summary.root.wrapping_add(part);
            summary.count = summary.count.saturating_add(1);
        }
        summary
    }

    /// Remembers how the list is now, so that its cells under a salt can be told later.
    pub(crate) fn bookmark(&mut self, salt: u64, link: AddrScope) -> Bookmark {
        let (set, overlay, leases) = (&self.set, &self.overlay, &self.leases);
        let source = Source {
            each: &|visit| visit_all(set, overlay, leases, visit),
            element: &|key| element(set, overlay, leases, key),
        };
        self.index.bookmark(salt, Reach::of_link(link), &source)
    }

    /// Cells `first..first + count` of the list as it was then.
    pub(crate) fn cells(&mut self, mark: Bookmark, first: usize, count: usize) -> Vec<Cell> {
        let (set, overlay, leases) = (&self.set, &self.overlay, &self.leases);
        let source = Source {
            each: &|visit| visit_all(set, overlay, leases, visit),
            element: &|key| element(set, overlay, leases, key),
        };
        self.index.cells(mark, first, count, &source)
    }

    /// The records over a link that have one of these ids. Most differences are young, so the latest changes are looked at
    /// first, then the table of the salt's row. The list is walked only for a salt without a row.
    pub(crate) fn find(
        &mut self,
        salt: u64,
        ids: &BTreeSet<u64>,
        link: AddrScope,
        now: MonotonicTime,
    ) -> Vec<Listed<'_>> {
        let mut search = Search::new(salt, ids);
        let recent = self.index.recent();
        search.look_at(recent.filter_map(|key| self.item(key, link, now)));
        if !search.wanted.is_empty() {
            match self.hints(salt, &search.wanted, link) {
                Some(prefixes) => {
                    let keys = prefixes
                        .into_iter()
                        .flat_map(|prefix| self.keys_with(prefix));
                    search.look_at(keys.filter_map(|key| self.item(&key, link, now)));
                }
                None => search.look_at(self.list(None, link, now)),
            }
        }
        let found = search.found.iter();
        found.filter_map(|key| self.item(key, link, now)).collect()
    }

    /// How the keys begin that may stand behind these ids; `None` for a salt without a row.
    fn hints(
        &mut self,
        salt: u64,
        ids: &BTreeSet<u64>,
        link: AddrScope,
    ) -> Option<BTreeSet<KeyPrefix>> {
        let (set, overlay, leases) = (&self.set, &self.overlay, &self.leases);
        let source = Source {
            each: &|visit| visit_all(set, overlay, leases, visit),
            element: &|key| element(set, overlay, leases, key),
        };
        let table = self.index.ids(salt, Reach::of_link(link), &source)?;
        Some(ids.iter().flat_map(|id| table.prefixes(*id)).collect())
    }

    /// The keys of the list that begin like this.
    fn keys_with(&self, prefix: KeyPrefix) -> BTreeSet<PeerKey> {
        // No key ends in so many zeros. Two beginnings, 0 and 1 of the smallest byte, make weak points and no keys: then the
        // list is looked at from its start, which takes longer and misses nothing.
        let lowest = PeerKey::from_trusted_bytes(&prefix.lowest()).ok();
        let stored = self.set.views_after(lowest.as_ref());
        let stored = stored.map(|peer| *peer.key());
        let from = lowest.map_or(Bound::Unbounded, Bound::Included);
        let pending = self
            .overlay
            .range((from, Bound::Unbounded))
            .map(|(key, _)| *key);
        let is_it = move |key: &PeerKey| KeyPrefix::of(key) <= prefix;
        let keys = stored.take_while(is_it).chain(pending.take_while(is_it));
        keys.filter(|key| KeyPrefix::of(key) == prefix).collect()
    }

    /// What is listed of one peer over a link.
    fn item(&self, key: &PeerKey, link: AddrScope, now: MonotonicTime) -> Option<Listed<'_>> {
        let record = self.listed_over(key, link)?;
        let age_s = self.age_s(now, key);
        Some(Listed { record, age_s })
    }

    /// How long the list over a link is.
    pub(crate) fn count(&self, link: AddrScope) -> u32 {
        self.index.count(Reach::of_link(link))
    }

    /// Of these versions those of which the list over a link has none.
    pub(crate) fn unlisted(
        &self,
        link: AddrScope,
        declined: &Versions,
    ) -> impl Iterator<Item = (PeerKey, u64)> {
        declined
            .iter()
            .filter(move |(key, _)| self.listed_over(key, link).is_none())
    }

    /// The record of this peer that is listed over a link.
    fn listed_over(&self, key: &PeerKey, link: AddrScope) -> Option<SignedView<'_>> {
        current(&self.set, &self.overlay, &self.leases, key).filter(|record| is_told(*record, link))
    }

    /// True for a learned peer, in the store or on its way there, whose key was never proven to this node.
    pub(crate) fn is_unmet(&self, key: &PeerKey) -> bool {
        match self.set.view(key) {
            Some(peer) => !peer.is_reserved() && peer.stats().last_seen.is_none(),
            None => self.overlay.contains_key(key),
        }
    }

    /// Everybody in the store.
    pub(crate) fn peers(&self) -> impl Iterator<Item = PeerView<'_>> {
        self.set.views()
    }

    /// The record of a peer that counts, if it is known.
    pub(crate) fn record_of(&self, key: &PeerKey) -> Option<SignedView<'_>> {
        let stored = || self.set.view(key).and_then(PeerView::signed);
        let overlay = self.overlay.get(key).map(SignedRecord::view);
        overlay.or_else(stored)
    }

    /// How many records there are at most. Costs nothing.
    pub(crate) fn size_bound(&self) -> usize {
        self.set.len().saturating_add(self.overlay.len())
    }

    /// True for a known peer: in the store, with a record or without, or on its way there.
    pub(crate) fn has_peer(&self, key: &PeerKey) -> bool {
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

/// Records looked for by their ids.
struct Search {
    salt: u64,
    wanted: BTreeSet<u64>,
    found: BTreeSet<PeerKey>,
}

impl Search {
    fn new(salt: u64, ids: &BTreeSet<u64>) -> Self {
        Self {
            salt,
            wanted: ids.clone(),
            found: BTreeSet::new(),
        }
    }

    /// Looks at these until everything is found.
    fn look_at<'a>(&mut self, items: impl Iterator<Item = Listed<'a>>) {
        for item in items {
            if self.wanted.is_empty() {
                break;
            }
            let key = item.record.key();
            if self
                .wanted
                .remove(&digest::id(self.salt, &key, item.record.seq()))
            {
                self.found.insert(key);
            }
        }
    }
}

/// The highest sequence number that must not come again: the stored one, or the one it was forgotten with.
fn stored_seq(set: &PeerSet, key: &PeerKey) -> Option<u64> {
    let stored = set.view(key).and_then(PeerView::seq);
    let forgotten = set.forgotten_mark(key).map(|mark| match mark.by {
        Issuer::Operator => u64::MAX,
        Issuer::Node => mark.seq,
    });
    stored.max(forgotten)
}

/// The record of a stored peer, as far as it is shown to others.
fn shown(peer: PeerView<'_>) -> Option<SignedView<'_>> {
    peer.signed().filter(|_| !peer.is_banned())
}

/// What may be listed of one peer.
fn current<'a>(
    set: &'a PeerSet,
    overlay: &'a BTreeMap<PeerKey, SignedRecord>,
    leases: &Leases,
    key: &PeerKey,
) -> Option<SignedView<'a>> {
    let fresh = overlay.get(key).map(SignedRecord::view);
    fresh
        .or_else(|| set.view(key).and_then(shown))
        .filter(|_| !leases.is_over(key))
}

fn element(
    set: &PeerSet,
    overlay: &BTreeMap<PeerKey, SignedRecord>,
    leases: &Leases,
    key: &PeerKey,
) -> Option<Element> {
    current(set, overlay, leases, key).and_then(as_element)
}

/// Visits every element: those of the store that nothing stands before, then the others.
fn visit_all(
    set: &PeerSet,
    overlay: &BTreeMap<PeerKey, SignedRecord>,
    leases: &Leases,
    visit: &mut dyn FnMut(&Element),
) {
    let stored = stored_elements(set).filter(|element| !overlay.contains_key(&element.key));
    stored
        .chain(
            overlay
                .values()
                .map(SignedRecord::view)
                .filter_map(as_element),
        )
        .filter(|element| !leases.is_over(&element.key))
        .for_each(|element| visit(&element));
}

/// The elements of a store's snapshot.
pub(crate) fn stored_elements(set: &PeerSet) -> impl Iterator<Item = Element> {
    set.views()
        .filter_map(|peer| shown(peer).and_then(as_element))
}

/// The element of one peer of a store's snapshot.
pub(crate) fn stored_element(set: &PeerSet, key: &PeerKey) -> Option<Element> {
    set.view(key).and_then(shown).and_then(as_element)
}

/// A record without any address that means something to somebody is no element of any list.
fn as_element(record: SignedView<'_>) -> Option<Element> {
    let links = [
        (AddrScope::Public, Reach::Public),
        (AddrScope::Private, Reach::Private),
        (AddrScope::Loopback, Reach::Loopback),
    ];
    let reach = links.into_iter().find(|(link, _)| is_told(record, *link));
    reach.map(|(_, reach)| Element {
        key: record.key(),
        seq: record.seq(),
        reach,
    })
}

/// True when at least one address of `record` means something to the other end of a link of scope `link`.
pub(crate) fn is_meaningful(record: &SignedRecord, link: AddrScope) -> bool {
    is_told(record.view(), link)
}

fn is_told(record: SignedView<'_>, link: AddrScope) -> bool {
    record.has_scope(|scope| crosses(scope, link))
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
mod tests;
