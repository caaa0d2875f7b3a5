//! A consistent picture of everything known: peers, bans, forgotten keys. Changed only by applying patches.

mod bounds;
mod chunk;
mod coding;
mod entry;
mod packed;
mod peers;
mod tree;
mod view;

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::HashSet;
use std::net::IpAddr;

use crate::addr::PeerAddr;
use crate::ban::{Ban, BanReason, BanTarget, Issuer};
use crate::key::PeerKey;
use crate::limits;
use crate::patch::{PatchError, PeerChange, PeerOp, PeerPatch};
use crate::peer::{AddressSource, Forgotten, PeerRecord, PeerSource, PeerStatus};
use crate::record::{SignedRecord, SignedView};
use crate::time::{Now, Timestamp};

pub use bounds::SetBounds;
pub use entry::{SetEntry, SetPlace};
pub use packed::{PackedPeer, Packer};
use peers::Peers;
use tree::Tree;
pub use view::PeerView;
use view::{packed, packed_again};

/// Peers, bans and forgotten keys at one moment. Cheap to clone, and cheap to change: clones share all that is alike, and
/// a patch costs what it changes, however many peers there are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PeerSet {
    peers: Peers,
    bans: Tree<BanTarget, Ban>,
    forgotten: Tree<PeerKey, Forgotten>,
}

impl PeerSet {
    /// A set with exactly these contents, as read from a file. Later duplicates of a key are ignored; everything else
    /// is taken as given, so that nothing a person wrote is lost to a bound. Peers named by a ban become banned.
    #[must_use]
    pub fn from_parts(
        peers: impl IntoIterator<Item = PeerRecord>,
        bans: impl IntoIterator<Item = Ban>,
        forgotten: impl IntoIterator<Item = (PeerKey, Forgotten)>,
    ) -> Self {
        let mut packer = Packer::default();
        peers.into_iter().for_each(|record| packer.push(&record));
        Self::from_packed(packer.finish(), bans, forgotten)
    }

    /// [`from_parts`](Self::from_parts) of peers that are packed already: none of them is copied where that can be avoided.
    #[must_use]
    pub fn from_packed(
        peers: impl IntoIterator<Item = PackedPeer>,
        bans: impl IntoIterator<Item = Ban>,
        forgotten: impl IntoIterator<Item = (PeerKey, Forgotten)>,
    ) -> Self {
        let mut set = Self {
            peers: Peers::of(peers.into_iter().collect()),
            ..Self::default()
        };
        for ban in bans {
            if let BanTarget::Peer(key) = ban.target
                && set.view(&key).is_some_and(|peer| !peer.is_banned())
            {
                set.change(&key, |record| {
                    record.update_status(PeerStatus::Banned, ban.since);
                });
            }
            set.bans.insert(ban.target, ban);
        }
        for (key, mark) in forgotten {
            set.forgotten.insert(key, mark);
        }
        set
    }

    /// The number of peers, banned ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// True when no peer is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.len() == 0
    }

    /// The peer with this key. Whoever wants to know one thing of it asks its [`view`](Self::view).
    #[must_use]
    pub fn get(&self, key: &PeerKey) -> Option<PeerRecord> {
        self.view(key).map(PeerView::to_record)
    }

    /// The peer with this key, to be read field by field.
    #[must_use]
    pub fn view(&self, key: &PeerKey) -> Option<PeerView<'_>> {
        self.peers.view(key)
    }

    /// True when the peer is known.
    #[must_use]
    pub fn contains(&self, key: &PeerKey) -> bool {
        self.view(key).is_some()
    }

    /// All peers in the order of their keys. Whoever looks for some of them walks over the [`views`](Self::views).
    pub fn iter(&self) -> impl Iterator<Item = PeerRecord> {
        self.views().map(PeerView::to_record)
    }

    /// All peers in the order of their keys, to be read field by field.
    pub fn views(&self) -> impl Iterator<Item = PeerView<'_>> {
        self.views_after(None)
    }

    /// Peers whose keys come after `after`, in the order of their keys: the basis of paging.
    pub fn views_after(&self, after: Option<&PeerKey>) -> impl Iterator<Item = PeerView<'_>> {
        self.peers.views_after(after)
    }

    /// Peers with this address.
    pub fn find_by_addr(&self, addr: &PeerAddr) -> impl Iterator<Item = PeerView<'_>> {
        let mut packed = Vec::new();
        addr.pack(&mut packed);
        self.views()
            .filter(move |peer| peer.has_packed_address(&packed))
    }

    /// Every ban, lapsed ones included.
    pub fn bans(&self) -> impl Iterator<Item = &Ban> {
        self.bans.values()
    }

    /// The ban in force against an identity.
    #[must_use]
    pub fn ban_of(&self, key: &PeerKey, now: Timestamp) -> Option<&Ban> {
        self.bans
            .get(&BanTarget::Peer(*key))
            .filter(|ban| ban.is_active(now))
    }

    /// The ban in force against an IP address.
    #[must_use]
    pub fn ban_of_ip(&self, ip: IpAddr, now: Timestamp) -> Option<&Ban> {
        self.bans
            .values()
            .find(|ban| ban.target.covers_ip(ip) && ban.is_active(now))
    }

    /// Every forgotten key.
    pub fn forgotten(&self) -> impl Iterator<Item = (&PeerKey, &Forgotten)> {
        self.forgotten.iter()
    }

    /// What is remembered of a forgotten key.
    #[must_use]
    pub fn forgotten_mark(&self, key: &PeerKey) -> Option<&Forgotten> {
        self.forgotten.get(key)
    }

    /// What has to be told to somebody who knows `old`, in the order of the keys, bans last.
    #[must_use]
    pub fn changes_since(&self, old: &Self) -> Vec<PeerChange> {
        let differences = self.peers.differences(&old.peers).into_iter();
        let mut changes: Vec<PeerChange> = differences
            .map(|(key, order)| match order {
                Ordering::Less => PeerChange::Added(key),
                Ordering::Equal => PeerChange::Updated(key),
                Ordering::Greater => PeerChange::Removed(key),
            })
            .collect();
        let lifted = old
            .bans
            .keys()
            .filter(|target| !self.bans.contains_key(target));
        changes.extend(lifted.map(|target| PeerChange::Unbanned(*target)));
        let issued = self
            .bans
            .iter()
            .filter(|(target, ban)| old.bans.get(target) != Some(ban));
        changes.extend(issued.map(|(target, _)| PeerChange::Banned(*target)));
        changes
    }

    /// The keys of the peers that differ from those of `old`, or that one of the two lacks, sorted. Costs what changed when
    /// one of the two came from the other by patches, however many peers there are.
    #[must_use]
    pub fn differing_peers(&self, old: &Self) -> Vec<PeerKey> {
        let differences = self.peers.differences(&old.peers).into_iter();
        differences.map(|(key, _)| key).collect()
    }

    /// Applies a patch: all of it or, on error, nothing.
    ///
    /// Returns the new set and what changed, each peer at most once per kind of change.
    ///
    /// # Errors
    /// The first operation that cannot be applied. `self` is never changed.
    pub fn apply(
        &self,
        patch: &PeerPatch,
        now: Now,
    ) -> Result<(Self, Vec<PeerChange>), PatchError> {
        self.apply_within(patch, now, &SetBounds::default())
    }

    /// [`apply`](Self::apply) to a set that may hold as much as `bounds` say.
    ///
    /// # Errors
    /// As for [`apply`](Self::apply).
    pub fn apply_within(
        &self,
        patch: &PeerPatch,
        now: Now,
        bounds: &SetBounds,
    ) -> Result<(Self, Vec<PeerChange>), PatchError> {
        let mut next = self.clone();
        let mut changes = Vec::new();
        for op in &patch.ops {
            next.apply_op(op, now.wall, bounds.max_peers, &mut changes)?;
        }
        next.limit_addresses_of(&changes, bounds);
        let mut told = HashSet::with_capacity(changes.len());
        changes.retain(|change| told.insert(change.clone()));
        Ok((next, changes))
    }

    fn apply_op(
        &mut self,
        op: &PeerOp,
        now: Timestamp,
        max_peers: usize,
        changes: &mut Vec<PeerChange>,
    ) -> Result<(), PatchError> {
        match op {
            PeerOp::Ban(ban) => self.ban(ban.clone(), now, changes)?,
            PeerOp::ContactFailed { key, addrs } => {
                self.touch(key, changes, |record| contact_failed(record, addrs, now));
            }
            PeerOp::ContactSucceeded { key, addr } => {
                self.touch(key, changes, |record| {
                    contact_succeeded(record, addr.as_ref(), now)
                });
            }
            PeerOp::Create(record) => self.create((**record).clone(), now, max_peers, changes)?,
            PeerOp::Learn(record) => self.learn(record, now, max_peers, changes),
            PeerOp::Measured { key, rtt } => {
                self.touch(key, changes, |record| record.stats.measured_rtt(*rtt))
            }
            PeerOp::Remove { key, by } => changes.push(self.remove(key, *by)?),
            PeerOp::Unban(target) => changes.push(self.unban(target, now)?),
            PeerOp::Update(record) => changes.push(self.update((**record).clone(), now)?),
        }
        Ok(())
    }

    fn create(
        &mut self,
        mut record: PeerRecord,
        now: Timestamp,
        max_peers: usize,
        changes: &mut Vec<PeerChange>,
    ) -> Result<(), PatchError> {
        if self.contains(&record.key) {
            return Err(PatchError::Duplicate(record.peer_id()));
        }
        check_texts(&record)?;
        changes.extend(self.make_room(record.is_reserved(), max_peers)?);
        if record.source.is_chosen_by_operator() {
            self.forgotten.remove(&record.key);
        }
        self.mark_if_banned(&mut record, now);
        record.stats.first_seen = record.stats.first_seen.or(Some(now));
        changes.push(PeerChange::Added(record.key));
        self.peers.put(&record.key, &packed(&record));
        Ok(())
    }

    fn update(&mut self, mut record: PeerRecord, now: Timestamp) -> Result<PeerChange, PatchError> {
        check_texts(&record)?;
        if !self.contains(&record.key) {
            return Err(PatchError::UnknownPeer(record.peer_id()));
        }
        self.mark_if_banned(&mut record, now);
        let key = record.key;
        self.peers.put(&key, &packed(&record));
        Ok(PeerChange::Updated(key))
    }

    fn remove(&mut self, key: &PeerKey, by: Issuer) -> Result<PeerChange, PatchError> {
        let peer = self
            .view(key)
            .ok_or_else(|| PatchError::UnknownPeer(key.peer_id()))?;
        let seq = peer.seq().unwrap_or(0);
        self.forget(*key, Forgotten { seq, by })?;
        self.peers.remove(key);
        Ok(PeerChange::Removed(*key))
    }

    fn learn(
        &mut self,
        signed: &SignedRecord,
        now: Timestamp,
        max_peers: usize,
        changes: &mut Vec<PeerChange>,
    ) {
        let key = signed.key();
        if self.ban_of(&key, now).is_some() {
            return;
        }
        if let Some(mark) = self.forgotten.get(&key)
            && (mark.by == Issuer::Operator || signed.seq() <= mark.seq)
        {
            return;
        }
        let Some(known) = self.view(&key) else {
            return self.learn_new(signed, now, max_peers, changes);
        };
        if known.signed().is_some_and(|known| !is_newer(signed, known)) {
            return;
        }
        if signed.is_leaving() && !known.is_reserved() {
            // Without room for the mark an older record would bring the peer back, so then it stays until it expires.
            if self
                .forget(
                    key,
                    Forgotten {
                        seq: signed.seq(),
                        by: Issuer::Node,
                    },
                )
                .is_ok()
            {
                self.peers.remove(&key);
                changes.push(PeerChange::Removed(key));
            }
            return;
        }
        self.change(&key, |record| {
            record.source = record.source.min(PeerSource::Signed);
            record.set_signed_addresses(signed.addresses());
            record.record = Some(signed.clone());
        });
        changes.push(PeerChange::Updated(key));
    }

    fn learn_new(
        &mut self,
        signed: &SignedRecord,
        now: Timestamp,
        max_peers: usize,
        changes: &mut Vec<PeerChange>,
    ) {
        if signed.is_leaving() {
            return;
        }
        let mut record = PeerRecord::new(signed.key(), PeerSource::Signed);
        record.set_signed_addresses(signed.addresses());
        record.record = Some(signed.clone());
        // A full list is no error for gossip: the newcomer is ignored.
        if self.create(record, now, max_peers, changes).is_ok() {
            self.forgotten.remove(&signed.key());
        }
    }

    fn ban(
        &mut self,
        ban: Ban,
        now: Timestamp,
        changes: &mut Vec<PeerChange>,
    ) -> Result<(), PatchError> {
        let target = ban.target;
        if self.bans.len() >= limits::MAX_BANS && !self.bans.contains_key(&target) {
            changes.push(self.evict_ban(now)?);
        }
        if let BanTarget::Peer(key) = &target
            && ban.is_active(now)
        {
            self.change(key, |record| {
                record.update_status(PeerStatus::Banned, ban.since);
            });
        }
        self.bans.insert(target, ban);
        changes.push(PeerChange::Banned(target));
        Ok(())
    }

    fn unban(&mut self, target: &BanTarget, now: Timestamp) -> Result<PeerChange, PatchError> {
        self.bans.remove(target).ok_or(PatchError::UnknownBan)?;
        if let BanTarget::Peer(key) = target {
            self.change(key, |record| record.update_status(PeerStatus::Unknown, now));
        }
        Ok(PeerChange::Unbanned(*target))
    }

    /// Keeps status and bans consistent: nobody lifts a ban by writing another status.
    fn mark_if_banned(&self, record: &mut PeerRecord, now: Timestamp) {
        if let Some(ban) = self.ban_of(&record.key, now) {
            record.update_status(PeerStatus::Banned, ban.since);
        }
    }

    /// Changes counters of a known peer; does nothing for an unknown one.
    fn touch(
        &mut self,
        key: &PeerKey,
        changes: &mut Vec<PeerChange>,
        change: impl FnOnce(&mut PeerRecord),
    ) {
        if self.change(key, change) {
            changes.push(PeerChange::Touched(*key));
        }
    }

    /// Changes a known peer; false, and nothing done, for an unknown one. `change` is shown no signed record, and the one there
    /// is stays unless it sets another.
    fn change(&mut self, key: &PeerKey, change: impl FnOnce(&mut PeerRecord)) -> bool {
        let Some(known) = self.view(key) else {
            return false;
        };
        let mut record = known.to_unsigned();
        change(&mut record);
        let body = packed_again(&record, known);
        self.peers.put(key, &body);
        true
    }

    /// Remembers a key. A full list drops what the node remembered for itself, never what the operator decided.
    fn forget(&mut self, key: PeerKey, mark: Forgotten) -> Result<(), PatchError> {
        if self.forgotten.len() >= limits::MAX_FORGOTTEN && !self.forgotten.contains_key(&key) {
            let victim = self
                .forgotten
                .iter()
                .find(|(_, mark)| mark.by == Issuer::Node)
                .map(|(key, _)| *key);
            let victim = victim.ok_or(PatchError::Full {
                what: "forgotten peers",
                limit: limits::MAX_FORGOTTEN,
            })?;
            self.forgotten.remove(&victim);
        }
        let known = self.forgotten.get(&key).copied().unwrap_or(mark);
        let newer = Forgotten {
            seq: known.seq.max(mark.seq),
            by: known.by.max(mark.by),
        };
        self.forgotten.insert(key, newer);
        Ok(())
    }

    /// Makes room for one more peer, unless the newcomer is reserved: evicts the worst peer nobody chose. A banned one
    /// goes first (its ban stays, and no flood of banned keys fills the list), then hearsay, then what fails most.
    fn make_room(
        &mut self,
        reserved: bool,
        max_peers: usize,
    ) -> Result<Option<PeerChange>, PatchError> {
        if reserved || self.peers.len() < max_peers {
            return Ok(None);
        }
        let victim = self
            .views()
            .filter(|peer| !peer.is_reserved())
            .map(|peer| (peer, peer.stats()))
            .filter(|(peer, stats)| {
                peer.is_banned()
                    || peer.source() == PeerSource::Hearsay
                    || stats.consecutive_failures > 0
            })
            .max_by_key(|(peer, stats)| {
                (
                    peer.is_banned(),
                    peer.source(),
                    stats.consecutive_failures,
                    stats.last_seen.is_none(),
                )
            })
            .map(|(peer, _)| *peer.key())
            .ok_or(PatchError::Full {
                what: "peers",
                limit: max_peers,
            })?;
        self.peers.remove(&victim);
        Ok(Some(PeerChange::Removed(victim)))
    }

    /// Makes room for one more ban: drops a lapsed one, else the oldest one the node issued.
    fn evict_ban(&mut self, now: Timestamp) -> Result<PeerChange, PatchError> {
        let victim = self
            .bans
            .values()
            .filter(|ban| !ban.is_active(now) || ban.by == Issuer::Node)
            .min_by_key(|ban| (ban.is_active(now), ban.since))
            .map(|ban| ban.target);
        let victim = victim.ok_or(PatchError::Full {
            what: "bans",
            limit: limits::MAX_BANS,
        })?;
        self.unban(&victim, now)
    }

    /// The words for why a peer is refused, if it is.
    #[must_use]
    pub fn ban_reason(&self, key: &PeerKey, now: Timestamp) -> Option<&BanReason> {
        self.ban_of(key, now).map(|ban| &ban.reason)
    }
}

/// True when a record takes the place of the one that is known.
fn is_newer(record: &SignedRecord, known: SignedView<'_>) -> bool {
    match record.seq().cmp(&known.seq()) {
        Ordering::Equal => known
            .to_record()
            .is_none_or(|known| record.supersedes(&known)),
        order => order.is_gt(),
    }
}

fn check_texts(record: &PeerRecord) -> Result<(), PatchError> {
    let fields = [
        ("name", &record.name, limits::MAX_NAME_BYTES),
        ("note", &record.note, limits::MAX_NOTE_BYTES),
    ];
    for (field, value, limit) in fields {
        if let Some(len) = value.as_ref().map(String::len).filter(|len| *len > limit) {
            return Err(PatchError::TooLong {
                peer: record.peer_id(),
                field,
                len,
                limit,
            });
        }
        if value
            .as_ref()
            .is_some_and(|text| text.chars().any(char::is_control))
        {
            return Err(PatchError::BadText {
                peer: record.peer_id(),
                field,
                reason: "holds a control character, such as a line break",
            });
        }
    }
    if record.name.as_deref() == Some("") {
        return Err(PatchError::BadText {
            peer: record.peer_id(),
            field: "name",
            reason: "is empty",
        });
    }
    Ok(())
}

fn contact_failed(record: &mut PeerRecord, addrs: &[PeerAddr], now: Timestamp) {
    record.stats.contact_failed();
    for known in record
        .addresses
        .iter_mut()
        .filter(|known| addrs.contains(&known.addr))
    {
        known.failures = known.failures.saturating_add(1);
        known.last_failure = Some(now);
    }
    if !record.is_banned() {
        record.update_status(PeerStatus::Inaccessible, now);
    }
}

fn contact_succeeded(record: &mut PeerRecord, addr: Option<&PeerAddr>, now: Timestamp) {
    record.stats.contact_succeeded(now);
    if let Some(addr) = addr {
        record.add_address(addr.clone(), AddressSource::Observed);
        for known in record
            .addresses
            .iter_mut()
            .filter(|known| known.addr == *addr)
        {
            known.failures = 0;
            known.last_success = Some(now);
        }
    }
    if !record.is_banned() {
        record.update_status(PeerStatus::Valid, now);
    }
}
