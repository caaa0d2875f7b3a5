//! A consistent picture of everything known: peers, bans, forgotten keys. Changed only by applying patches.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::addr::PeerAddr;
use crate::ban::{Ban, BanReason, BanTarget, Issuer};
use crate::key::PeerKey;
use crate::limits;
use crate::patch::{PatchError, PeerChange, PeerOp, PeerPatch};
use crate::peer::{AddressSource, Forgotten, PeerRecord, PeerSource, PeerStatus};
use crate::record::SignedRecord;
use crate::time::{Now, Timestamp};

/// Peers, bans and forgotten keys at one moment. Cheap to clone: records are shared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PeerSet {
    peers: BTreeMap<PeerKey, Arc<PeerRecord>>,
    bans: BTreeMap<BanTarget, Ban>,
    forgotten: BTreeMap<PeerKey, Forgotten>,
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
        let mut set = Self::default();
        for record in peers {
            set.peers.entry(record.key).or_insert_with(|| Arc::new(record));
        }
        for ban in bans {
            if let BanTarget::Peer(key) = ban.target
                && let Some(record) = set.peers.get_mut(&key)
                && !record.is_banned()
            {
                Arc::make_mut(record).update_status(PeerStatus::Banned, ban.since);
            }
            set.bans.insert(ban.target, ban);
        }
        set.forgotten = forgotten.into_iter().collect();
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
        self.peers.is_empty()
    }

    /// The peer with this key.
    #[must_use]
    pub fn get(&self, key: &PeerKey) -> Option<&Arc<PeerRecord>> {
        self.peers.get(key)
    }

    /// True when the peer is known.
    #[must_use]
    pub fn contains(&self, key: &PeerKey) -> bool {
        self.peers.contains_key(key)
    }

    /// All peers in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<PeerRecord>> {
        self.peers.values()
    }

    /// Peers whose keys come after `after`, in the order of their keys: the basis of paging.
    pub fn iter_after(&self, after: Option<&PeerKey>) -> impl Iterator<Item = &Arc<PeerRecord>> {
        use std::ops::Bound;
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.peers.range((start, Bound::Unbounded)).map(|(_, record)| record)
    }

    /// Peers with this address.
    pub fn find_by_addr<'a>(&'a self, addr: &'a PeerAddr) -> impl Iterator<Item = &'a Arc<PeerRecord>> {
        self.iter().filter(move |record| record.addresses.iter().any(|known| known.addr == *addr))
    }

    /// Every ban, lapsed ones included.
    pub fn bans(&self) -> impl Iterator<Item = &Ban> {
        self.bans.values()
    }

    /// The ban in force against an identity.
    #[must_use]
    pub fn ban_of(&self, key: &PeerKey, now: Timestamp) -> Option<&Ban> {
        self.bans.get(&BanTarget::Peer(*key)).filter(|ban| ban.is_active(now))
    }

    /// The ban in force against an IP address.
    #[must_use]
    pub fn ban_of_ip(&self, ip: IpAddr, now: Timestamp) -> Option<&Ban> {
        self.bans.values().find(|ban| ban.target.covers_ip(ip) && ban.is_active(now))
    }

    /// Every forgotten key.
    pub fn forgotten(&self) -> impl Iterator<Item = (&PeerKey, &Forgotten)> {
        self.forgotten.iter()
    }

    /// Applies a patch: all of it or, on error, nothing.
    ///
    /// Returns the new set and what changed, each peer at most once per kind of change.
    ///
    /// # Errors
    /// The first operation that cannot be applied. `self` is never changed.
    pub fn apply(&self, patch: &PeerPatch, now: Now) -> Result<(Self, Vec<PeerChange>), PatchError> {
        let mut next = self.clone();
        let mut changes = Vec::new();
        for op in &patch.ops {
            if let Some(change) = next.apply_op(op, now.wall)?
                && !changes.contains(&change)
            {
                changes.push(change);
            }
        }
        Ok((next, changes))
    }

    fn apply_op(&mut self, op: &PeerOp, now: Timestamp) -> Result<Option<PeerChange>, PatchError> {
        match op {
            PeerOp::Ban(ban) => self.ban(ban.clone()).map(Some),
            PeerOp::ContactFailed { key, addrs } => Ok(self.touch(key, |record| contact_failed(record, addrs, now))),
            PeerOp::ContactSucceeded { key, addr } => {
                Ok(self.touch(key, |record| contact_succeeded(record, addr.as_ref(), now)))
            }
            PeerOp::Create(record) => self.create((**record).clone(), now).map(Some),
            PeerOp::Learn(record) => self.learn(record, now),
            PeerOp::Measured { key, rtt } => Ok(self.touch(key, |record| record.stats.measured_rtt(*rtt))),
            PeerOp::Remove { key, by } => self.remove(key, *by).map(Some),
            PeerOp::Unban(target) => self.unban(target, now).map(Some),
            PeerOp::Update(record) => self.update((**record).clone()).map(Some),
        }
    }

    fn create(&mut self, mut record: PeerRecord, now: Timestamp) -> Result<PeerChange, PatchError> {
        if self.contains(&record.key) {
            return Err(PatchError::Duplicate(record.peer_id()));
        }
        check_lengths(&record)?;
        self.make_room(record.is_reserved())?;
        if record.source.is_chosen_by_operator() {
            self.forgotten.remove(&record.key);
        }
        if self.bans.contains_key(&BanTarget::Peer(record.key)) {
            record.update_status(PeerStatus::Banned, now);
        }
        record.stats.first_seen = record.stats.first_seen.or(Some(now));
        let key = record.key;
        self.peers.insert(key, Arc::new(record));
        Ok(PeerChange::Added(key))
    }

    fn update(&mut self, record: PeerRecord) -> Result<PeerChange, PatchError> {
        check_lengths(&record)?;
        let slot = self.peers.get_mut(&record.key).ok_or(PatchError::UnknownPeer(record.peer_id()))?;
        let key = record.key;
        *slot = Arc::new(record);
        Ok(PeerChange::Updated(key))
    }

    fn remove(&mut self, key: &PeerKey, by: Issuer) -> Result<PeerChange, PatchError> {
        let record = self.peers.remove(key).ok_or(PatchError::UnknownPeer(key.peer_id()))?;
        let seq = record.record.as_ref().map_or(0, SignedRecord::seq);
        self.forget(*key, Forgotten { seq, by });
        Ok(PeerChange::Removed(*key))
    }

    fn learn(&mut self, signed: &SignedRecord, now: Timestamp) -> Result<Option<PeerChange>, PatchError> {
        let key = signed.key();
        if self.ban_of(&key, now).is_some() {
            return Ok(None);
        }
        if let Some(mark) = self.forgotten.get(&key) {
            if mark.by == Issuer::Operator || signed.seq() <= mark.seq {
                return Ok(None);
            }
        }
        let Some(known) = self.peers.get_mut(&key) else {
            return self.learn_new(signed, now);
        };
        if known.record.as_ref().is_some_and(|record| record.seq() >= signed.seq()) {
            return Ok(None);
        }
        if signed.is_leaving() && !known.is_reserved() {
            self.peers.remove(&key);
            self.forget(key, Forgotten { seq: signed.seq(), by: Issuer::Node });
            return Ok(Some(PeerChange::Removed(key)));
        }
        let record = Arc::make_mut(known);
        record.set_signed_addresses(signed.addresses());
        record.record = Some(signed.clone());
        Ok(Some(PeerChange::Updated(key)))
    }

    fn learn_new(&mut self, signed: &SignedRecord, now: Timestamp) -> Result<Option<PeerChange>, PatchError> {
        if signed.is_leaving() || self.make_room(false).is_err() {
            return Ok(None);
        }
        self.forgotten.remove(&signed.key());
        let mut record = PeerRecord::new(signed.key(), PeerSource::Signed);
        record.set_signed_addresses(signed.addresses());
        record.record = Some(signed.clone());
        self.create(record, now).map(Some)
    }

    fn ban(&mut self, ban: Ban) -> Result<PeerChange, PatchError> {
        let target = ban.target;
        if self.bans.len() >= limits::MAX_BANS && !self.bans.contains_key(&target) {
            self.evict_ban(ban.since)?;
        }
        if let BanTarget::Peer(key) = &target
            && let Some(record) = self.peers.get_mut(key)
        {
            Arc::make_mut(record).update_status(PeerStatus::Banned, ban.since);
        }
        self.bans.insert(target, ban);
        Ok(PeerChange::Banned(target))
    }

    fn unban(&mut self, target: &BanTarget, now: Timestamp) -> Result<PeerChange, PatchError> {
        self.bans.remove(target).ok_or(PatchError::UnknownBan)?;
        if let BanTarget::Peer(key) = target
            && let Some(record) = self.peers.get_mut(key)
        {
            Arc::make_mut(record).update_status(PeerStatus::Unknown, now);
        }
        Ok(PeerChange::Unbanned(*target))
    }

    /// Changes counters of a known peer; does nothing for an unknown one.
    fn touch(&mut self, key: &PeerKey, change: impl FnOnce(&mut PeerRecord)) -> Option<PeerChange> {
        let record = self.peers.get_mut(key)?;
        change(Arc::make_mut(record));
        Some(PeerChange::Touched(*key))
    }

    fn forget(&mut self, key: PeerKey, mark: Forgotten) {
        if self.forgotten.len() >= limits::MAX_FORGOTTEN
            && let Some(victim) = self.forgotten.iter().find(|(_, m)| m.by == Issuer::Node).map(|(k, _)| *k)
        {
            self.forgotten.remove(&victim);
        }
        let entry = self.forgotten.entry(key).or_insert(mark);
        entry.seq = entry.seq.max(mark.seq);
        entry.by = entry.by.max(mark.by);
    }

    /// Makes room for one more peer: evicts the worst peer nobody chose, unless the newcomer is reserved.
    fn make_room(&mut self, reserved: bool) -> Result<(), PatchError> {
        if reserved || self.peers.len() < limits::MAX_PEERS {
            return Ok(());
        }
        let victim = self
            .peers
            .values()
            .filter(|record| !record.is_reserved() && !record.is_banned())
            .max_by_key(|record| (record.source, record.stats.consecutive_failures, record.stats.last_seen.is_none()))
            .filter(|record| record.stats.consecutive_failures > 0 || record.source == PeerSource::Hearsay)
            .map(|record| record.key);
        let victim = victim.ok_or(PatchError::Full { what: "peers", limit: limits::MAX_PEERS })?;
        self.peers.remove(&victim);
        Ok(())
    }

    /// Makes room for one more ban: drops a lapsed one, else the oldest one the node issued.
    fn evict_ban(&mut self, now: Timestamp) -> Result<(), PatchError> {
        let victim = self
            .bans
            .values()
            .filter(|ban| !ban.is_active(now) || ban.by == Issuer::Node)
            .min_by_key(|ban| (ban.is_active(now), ban.since))
            .map(|ban| ban.target);
        let victim = victim.ok_or(PatchError::Full { what: "bans", limit: limits::MAX_BANS })?;
        self.unban(&victim, now).map(drop)
    }

    /// The words for why a peer is refused, if it is.
    #[must_use]
    pub fn ban_reason(&self, key: &PeerKey, now: Timestamp) -> Option<&BanReason> {
        self.ban_of(key, now).map(|ban| &ban.reason)
    }
}

fn check_lengths(record: &PeerRecord) -> Result<(), PatchError> {
    let fields =
        [("name", &record.name, limits::MAX_NAME_BYTES), ("note", &record.note, limits::MAX_NOTE_BYTES)];
    for (field, value, limit) in fields {
        if let Some(len) = value.as_ref().map(String::len).filter(|len| *len > limit) {
            return Err(PatchError::TooLong { peer: record.peer_id(), field, len, limit });
        }
    }
    Ok(())
}

fn contact_failed(record: &mut PeerRecord, addrs: &[PeerAddr], now: Timestamp) {
    record.stats.contact_failed();
    for known in record.addresses.iter_mut().filter(|known| addrs.contains(&known.addr)) {
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
        for known in record.addresses.iter_mut().filter(|known| known.addr == *addr) {
            known.failures = 0;
            known.last_success = Some(now);
        }
    }
    if !record.is_banned() {
        record.update_status(PeerStatus::Valid, now);
    }
}
