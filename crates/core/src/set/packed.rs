//! Peers as a set keeps them, and what they say, field by field.

use std::fmt;
use std::sync::Arc;

use crate::addr::PeerAddr;
use crate::key::{PeerId, PeerKey};
use crate::peer::{PeerAddress, PeerRecord, PeerSource, PeerStats, PeerStatus};
use crate::record::{SignedRecord, SignedView};
use crate::time::Timestamp;

/// Everything known of one peer, as sets keep it. Cheap to clone: shared with the set that it came from. Two are equal when
/// they say the same.
#[derive(Clone)]
pub struct PackedPeer(Arc<PeerRecord>);

impl PackedPeer {
    /// The identity.
    #[must_use]
    pub fn key(&self) -> &PeerKey {
        &self.0.key
    }

    /// What it says.
    #[must_use]
    pub const fn view(&self) -> PeerView<'_> {
        PeerView(self)
    }

    /// True when both are one copy in memory.
    #[must_use]
    pub fn is_one_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// All that it says.
    #[must_use]
    pub fn to_record(&self) -> PeerRecord {
        (*self.0).clone()
    }
}

impl From<PeerRecord> for PackedPeer {
    fn from(record: PeerRecord) -> Self {
        Self(Arc::new(record))
    }
}

impl PartialEq for PackedPeer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl PartialEq<PeerRecord> for PackedPeer {
    fn eq(&self, other: &PeerRecord) -> bool {
        *self.0 == *other
    }
}

impl fmt::Debug for PackedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Packs peers one after the other.
#[derive(Debug, Default)]
pub struct Packer(Vec<PackedPeer>);

impl Packer {
    /// Adds a peer.
    pub fn push(&mut self, record: PeerRecord) {
        self.0.push(record.into());
    }

    /// Adds a peer that is packed already.
    pub fn push_packed(&mut self, peer: PackedPeer) {
        self.0.push(peer);
    }

    /// All of them, in the order in which they were added.
    #[must_use]
    pub fn finish(self) -> Vec<PackedPeer> {
        self.0
    }
}

/// What is known of one peer of a set, read field by field from where it is kept. Costs nothing to make and to copy.
#[derive(Clone, Copy, PartialEq)]
pub struct PeerView<'a>(&'a PackedPeer);

impl<'a> PeerView<'a> {
    /// The identity.
    #[must_use]
    pub fn key(self) -> &'a PeerKey {
        &self.0.0.key
    }

    /// The identity in its libp2p text form.
    #[must_use]
    pub fn peer_id(self) -> PeerId {
        self.key().peer_id()
    }

    /// The operator's label.
    #[must_use]
    pub fn name(self) -> Option<&'a str> {
        self.0.0.name.as_deref()
    }

    /// The operator's remark.
    #[must_use]
    pub fn note(self) -> Option<&'a str> {
        self.0.0.note.as_deref()
    }

    /// True for a peer that the operator pinned.
    #[must_use]
    pub fn is_pinned(self) -> bool {
        self.0.0.pinned
    }

    /// Who vouches for the peer.
    #[must_use]
    pub fn source(self) -> PeerSource {
        self.0.0.source
    }

    /// What contact with it was like.
    #[must_use]
    pub fn status(self) -> PeerStatus {
        self.0.0.status
    }

    /// When the status last changed.
    #[must_use]
    pub fn status_since(self) -> Option<Timestamp> {
        self.0.0.status_since
    }

    /// Counters.
    #[must_use]
    pub fn stats(self) -> PeerStats {
        self.0.0.stats
    }

    /// True while refused.
    #[must_use]
    pub fn is_banned(self) -> bool {
        self.0.0.is_banned()
    }

    /// True when contact succeeded last.
    #[must_use]
    pub fn is_valid(self) -> bool {
        self.0.0.is_valid()
    }

    /// True when contact failed last.
    #[must_use]
    pub fn is_inaccessible(self) -> bool {
        self.0.0.is_inaccessible()
    }

    /// True for peers that are never evicted and never given up.
    #[must_use]
    pub fn is_reserved(self) -> bool {
        self.0.0.is_reserved()
    }

    /// The addresses, by precedence.
    pub fn addresses(self) -> impl Iterator<Item = PeerAddress> + 'a {
        self.0.0.addresses.iter().cloned()
    }

    /// True when this is one of its addresses.
    #[must_use]
    pub fn has_address(self, addr: &PeerAddr) -> bool {
        self.0.0.addresses.iter().any(|known| known.addr == *addr)
    }

    /// True when the peer has an address that can be dialled.
    #[must_use]
    pub fn is_dialable(self) -> bool {
        self.0
            .0
            .addresses
            .iter()
            .any(|known| known.addr.is_dialable())
    }

    /// Addresses of other transports, as written.
    pub fn undialable(self) -> impl Iterator<Item = &'a str> {
        self.0.0.undialable.iter().map(String::as_str)
    }

    /// Fields that this version does not know: name and text.
    pub fn extra(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let extra = &self.0.0.extra;
        extra
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The newest record the peer signed about itself.
    #[must_use]
    pub fn signed(self) -> Option<SignedView<'a>> {
        self.0.0.record.as_ref().map(SignedRecord::view)
    }

    /// The version number of that record.
    #[must_use]
    pub fn seq(self) -> Option<u64> {
        self.signed().map(SignedView::seq)
    }

    /// All that is known.
    #[must_use]
    pub fn to_record(self) -> PeerRecord {
        self.0.to_record()
    }

    /// The peer as the set keeps it, to be held without the set.
    #[must_use]
    pub fn to_packed(self) -> PackedPeer {
        self.0.clone()
    }
}

impl PartialEq<PeerRecord> for PeerView<'_> {
    fn eq(&self, other: &PeerRecord) -> bool {
        *self.0 == *other
    }
}

impl fmt::Debug for PeerView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
