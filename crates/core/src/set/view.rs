//! What is known of one peer of a set, field by field.

use std::fmt;
use std::sync::Arc;

use super::PackedPeer;
use super::chunk::Chunk;
use super::coding::{Body, PackedAddress, Signed, pack};
use crate::addr::PeerAddr;
use crate::key::{PeerId, PeerKey};
use crate::peer::{AddressSource, PeerAddress, PeerRecord, PeerSource, PeerStats, PeerStatus};
use crate::record::{SignedRecord, SignedView};
use crate::time::Timestamp;

/// What is known of one peer of a set, read field by field from where it is kept. Costs nothing to make and to copy; each
/// answer reads some bytes, the later fields more of them. Two are equal when they say the same.
#[derive(Clone, Copy)]
pub struct PeerView<'a> {
    chunk: &'a Arc<Chunk>,
    at: usize,
}

impl<'a> PeerView<'a> {
    /// The view of a peer that is there.
    pub(super) const fn new(chunk: &'a Arc<Chunk>, at: usize) -> Self {
        Self { chunk, at }
    }

    pub(super) fn body(self) -> Body<'a> {
        self.chunk.body(self.at)
    }

    /// The identity.
    #[must_use]
    pub fn key(self) -> &'a PeerKey {
        self.chunk.key(self.at)
    }

    /// The identity in its libp2p text form.
    #[must_use]
    pub fn peer_id(self) -> PeerId {
        self.key().peer_id()
    }

    /// The operator's label.
    #[must_use]
    pub fn name(self) -> Option<&'a str> {
        self.body().name()
    }

    /// The operator's remark.
    #[must_use]
    pub fn note(self) -> Option<&'a str> {
        self.body().note()
    }

    /// True for a peer that the operator pinned.
    #[must_use]
    pub fn is_pinned(self) -> bool {
        self.body().is_pinned()
    }

    /// Who vouches for the peer.
    #[must_use]
    pub fn source(self) -> PeerSource {
        self.body().source()
    }

    /// What contact with it was like.
    #[must_use]
    pub fn status(self) -> PeerStatus {
        self.body().status()
    }

    /// When the status last changed.
    #[must_use]
    pub fn status_since(self) -> Option<Timestamp> {
        self.body().status_since()
    }

    /// Counters.
    #[must_use]
    pub fn stats(self) -> PeerStats {
        self.body().stats()
    }

    /// True while refused.
    #[must_use]
    pub fn is_banned(self) -> bool {
        self.status() == PeerStatus::Banned
    }

    /// True when contact succeeded last.
    #[must_use]
    pub fn is_valid(self) -> bool {
        self.status() == PeerStatus::Valid
    }

    /// True when contact failed last.
    #[must_use]
    pub fn is_inaccessible(self) -> bool {
        self.status() == PeerStatus::Inaccessible
    }

    /// True for peers that are never evicted and never given up.
    #[must_use]
    pub fn is_reserved(self) -> bool {
        self.is_pinned() || self.source().is_chosen_by_operator()
    }

    /// The addresses, by precedence.
    pub fn addresses(self) -> impl Iterator<Item = PeerAddress> + use<'a> {
        self.body().addresses().filter_map(PackedAddress::unpack)
    }

    /// Who vouches for each of the addresses, in their order.
    pub fn address_sources(self) -> impl Iterator<Item = AddressSource> + use<'a> {
        self.body().addresses().map(|known| known.source())
    }

    /// True when this is one of its addresses.
    #[must_use]
    pub fn has_address(self, addr: &PeerAddr) -> bool {
        let mut packed = Vec::new();
        addr.pack(&mut packed);
        self.has_packed_address(&packed)
    }

    /// [`has_address`](Self::has_address), of an address that is packed already.
    pub(super) fn has_packed_address(self, packed: &[u8]) -> bool {
        self.body().addresses().any(|known| known.is_at(packed))
    }

    /// True when the peer has an address that can be dialled.
    #[must_use]
    pub fn is_dialable(self) -> bool {
        let mut addrs = self.body().addresses().filter_map(|known| known.addr());
        addrs.any(|addr| addr.is_dialable())
    }

    /// Addresses of other transports, as written.
    pub fn undialable(self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.body().undialable()
    }

    /// Fields that this version does not know: name and text.
    pub fn extra(self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.body().extra()
    }

    /// The newest record the peer signed about itself.
    #[must_use]
    pub fn signed(self) -> Option<SignedView<'a>> {
        SignedView::unpack(self.body().signed(), *self.key())
    }

    /// The version number of that record.
    #[must_use]
    pub fn seq(self) -> Option<u64> {
        self.signed().map(SignedView::seq)
    }

    /// All that is known.
    #[must_use]
    pub fn to_record(self) -> PeerRecord {
        let mut record = self.to_unsigned();
        record.record = self.signed().and_then(SignedView::to_record);
        record
    }

    /// All that is known but the signed record.
    pub(super) fn to_unsigned(self) -> PeerRecord {
        self.body().unsigned(*self.key())
    }

    /// The peer as the set keeps it, to be held without the set.
    #[must_use]
    pub fn to_packed(self) -> PackedPeer {
        PackedPeer::new(Arc::clone(self.chunk), self.at)
    }
}

/// The bytes of a record, its key apart.
pub(super) fn packed(record: &PeerRecord) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    pack_whole(record, &mut bytes);
    bytes
}

/// Appends the bytes of a record, its key apart.
pub(super) fn pack_whole(record: &PeerRecord, out: &mut Vec<u8>) {
    let signed = record.record.as_ref();
    let signed = signed.map_or(Signed::Packed(&[]), Signed::Record);
    pack(record, &signed, out);
}

/// [`packed`], of a record whose signed record, if it has none itself, is that of a view.
pub(super) fn packed_again(record: &PeerRecord, known: PeerView<'_>) -> Vec<u8> {
    let signed: Option<&SignedRecord> = record.record.as_ref();
    let kept = known.body().signed();
    let signed = signed.map_or(Signed::Packed(kept), Signed::Record);
    let mut bytes = Vec::with_capacity(128 + kept.len());
    pack(record, &signed, &mut bytes);
    bytes
}

impl PartialEq for PeerView<'_> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.chunk, other.chunk) && self.at == other.at
            || self.key() == other.key() && self.body() == other.body()
    }
}

impl PartialEq<PeerRecord> for PeerView<'_> {
    fn eq(&self, other: &PeerRecord) -> bool {
        *self.key() == other.key && self.body().0 == packed(other)
    }
}

impl fmt::Debug for PeerView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_record().fmt(f)
    }
}
