//! Peers as sets keep them: packed, many in one piece of memory.

use std::fmt;
use std::sync::Arc;

use super::PeerView;
use super::chunk::{Builder, Chunk};
use super::view::{pack_whole, packed};
use crate::key::PeerKey;
use crate::peer::PeerRecord;

/// Everything known of one peer, as sets keep it. Cheap to clone: it shares the memory of the set that it came from, and
/// keeps that of its neighbours there, too. Two are equal when they say the same.
#[derive(Clone)]
pub struct PackedPeer {
    chunk: Arc<Chunk>,
    /// Its place in the chunk: there is a peer.
    at: usize,
}

impl PackedPeer {
    /// The peer at a place of a chunk where there is one.
    pub(super) const fn new(chunk: Arc<Chunk>, at: usize) -> Self {
        Self { chunk, at }
    }

    /// The chunk it is in, and its place there.
    pub(super) const fn place(&self) -> (&Arc<Chunk>, usize) {
        (&self.chunk, self.at)
    }

    /// True when it is the one at this place of this chunk.
    pub(super) fn is_at(&self, chunk: &Arc<Chunk>, at: usize) -> bool {
        Arc::ptr_eq(&self.chunk, chunk) && self.at == at
    }

    /// The identity.
    #[must_use]
    pub fn key(&self) -> &PeerKey {
        self.chunk.key(self.at)
    }

    /// What it says, field by field.
    #[must_use]
    pub const fn view(&self) -> PeerView<'_> {
        PeerView::new(&self.chunk, self.at)
    }

    /// True when both are one copy in memory.
    #[must_use]
    pub fn is_one_with(&self, other: &Self) -> bool {
        self.is_at(&other.chunk, other.at)
    }

    /// All that it says.
    #[must_use]
    pub fn to_record(&self) -> PeerRecord {
        self.view().to_record()
    }
}

impl From<PeerRecord> for PackedPeer {
    fn from(record: PeerRecord) -> Self {
        Self::new(Arc::new(Chunk::of_one(&record.key, &packed(&record))), 0)
    }
}

impl PartialEq for PackedPeer {
    fn eq(&self, other: &Self) -> bool {
        self.view() == other.view()
    }
}

impl PartialEq<PeerRecord> for PackedPeer {
    fn eq(&self, other: &PeerRecord) -> bool {
        self.view() == *other
    }
}

impl fmt::Debug for PackedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

/// Packs peers one after the other, so that those that come together share memory. A set of all of them takes over what is in
/// the order of the keys, and copies what is not.
#[derive(Default)]
pub struct Packer {
    packed: Vec<PackedPeer>,
    builder: Builder,
    /// The bytes of the one that is added.
    bytes: Vec<u8>,
}

impl Packer {
    /// Adds a peer.
    pub fn push(&mut self, record: &PeerRecord) {
        self.bytes.clear();
        pack_whole(record, &mut self.bytes);
        self.builder.push(&record.key, &self.bytes);
        self.take();
    }

    /// Adds a peer that is packed already, without copying it.
    pub fn push_packed(&mut self, peer: PackedPeer) {
        self.builder.close();
        self.take();
        self.packed.push(peer);
    }

    /// All of them, in the order in which they were added.
    #[must_use]
    pub fn finish(mut self) -> Vec<PackedPeer> {
        self.builder.close();
        self.take();
        self.packed
    }

    fn take(&mut self) {
        for chunk in self.builder.take() {
            let chunk = Arc::new(chunk);
            let places = 0..chunk.len();
            self.packed
                .extend(places.map(|at| PackedPeer::new(Arc::clone(&chunk), at)));
        }
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Packer").field(&self.packed.len()).finish()
    }
}
