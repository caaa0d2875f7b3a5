//! Some packed peers in one piece of memory, sorted. Never changed: a change makes another one.

use std::ops::Range;

use super::coding::Body;
use crate::key::PeerKey;

/// Most peers of a chunk: a compromise between what a change copies and what a chunk costs beside its peers.
pub(super) const MAX_PEERS: usize = 32;

/// Most bytes of a chunk of several peers, their keys apart.
pub(super) const MAX_BYTES: usize = 16 * 1024;

/// Peers in the order of their keys, or, until they are in a set, in any order.
pub(super) struct Chunk {
    keys: Box<[PeerKey]>,
    /// Where the bytes of each peer start. Those of the last one end with all of them.
    starts: Box<[u32]>,
    bytes: Box<[u8]>,
}

impl Chunk {
    pub(super) fn of_one(key: &PeerKey, body: &[u8]) -> Self {
        Self {
            keys: [*key].into(),
            starts: [0].into(),
            bytes: body.into(),
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.keys.len()
    }

    #[cfg(test)]
    pub(super) const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn keys(&self) -> &[PeerKey] {
        &self.keys
    }

    /// The key of a peer that is there.
    pub(super) fn key(&self, at: usize) -> &PeerKey {
        &self.keys[at]
    }

    pub(super) fn body(&self, at: usize) -> Body<'_> {
        Body(self.bytes.get(self.range(at..at + 1)).unwrap_or_default())
    }

    pub(super) fn position(&self, key: &PeerKey) -> Result<usize, usize> {
        self.keys.binary_search(key)
    }

    /// Where the bytes of some of its peers are.
    fn range(&self, peers: Range<usize>) -> Range<usize> {
        let start = |at: usize| {
            let start = self.starts.get(at).copied();
            start.map_or(self.bytes.len(), |start| {
                usize::try_from(start).unwrap_or(usize::MAX)
            })
        };
        start(peers.start)..start(peers.end)
    }

    /// This chunk with other peers in place of some: one chunk, or several when they are too many for one, or none.
    pub(super) fn edited(
        &self,
        replaced: Range<usize>,
        new: Option<(&PeerKey, &[u8])>,
    ) -> Vec<Self> {
        let after = replaced.end..self.len();
        let before = 0..replaced.start;
        let entries = before.len() + usize::from(new.is_some()) + after.len();
        let new_bytes = new.map_or(0, |(_, body)| body.len());
        let bytes = self.range(before.clone()).len() + new_bytes + self.range(after.clone()).len();
        let mut builder = if entries <= MAX_PEERS && (bytes <= MAX_BYTES || entries <= 1) {
            Builder::with_room(entries, bytes)
        } else {
            Builder::halving(entries, bytes)
        };
        builder.extend(self, before);
        if let Some((key, body)) = new {
            builder.push(key, body);
        }
        builder.extend(self, after);
        builder.finish()
    }

    /// This chunk and the one after it as one, if that one would not be half full.
    pub(super) fn joined(&self, next: &Self) -> Option<Self> {
        let (entries, bytes) = (self.len() + next.len(), self.bytes.len() + next.bytes.len());
        if entries > MAX_PEERS / 2 || bytes > MAX_BYTES / 2 {
            return None;
        }
        let mut builder = Builder::with_room(entries, bytes);
        builder.extend(self, 0..self.len());
        builder.extend(next, 0..next.len());
        builder.finish().pop()
    }
}

/// Makes chunks of peers that come one after the other.
pub(super) struct Builder {
    full: Vec<Chunk>,
    max_peers: usize,
    max_bytes: usize,
    keys: Vec<PeerKey>,
    starts: Vec<u32>,
    bytes: Vec<u8>,
}

impl Default for Builder {
    /// Chunks as large as they may be.
    fn default() -> Self {
        Self::with_limits(MAX_PEERS, MAX_BYTES)
    }
}

impl Builder {
    const fn with_limits(max_peers: usize, max_bytes: usize) -> Self {
        Self {
            full: Vec::new(),
            max_peers,
            max_bytes,
            keys: Vec::new(),
            starts: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// One chunk, of so much.
    fn with_room(entries: usize, bytes: usize) -> Self {
        Self {
            keys: Vec::with_capacity(entries),
            starts: Vec::with_capacity(entries),
            bytes: Vec::with_capacity(bytes),
            ..Self::with_limits(entries, usize::MAX)
        }
    }

    /// Chunks of about half of so much.
    const fn halving(entries: usize, bytes: usize) -> Self {
        Self::with_limits(entries.div_ceil(2), bytes.div_ceil(2))
    }

    pub(super) fn push(&mut self, key: &PeerKey, body: &[u8]) {
        let is_full = self.keys.len() >= self.max_peers
            || self.bytes.len().saturating_add(body.len()) > self.max_bytes;
        if is_full {
            self.close();
        }
        // A chunk that has several peers is far below this limit, and of a single one the start is zero.
        self.starts
            .push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        self.keys.push(*key);
        self.bytes.extend_from_slice(body);
    }

    fn extend(&mut self, chunk: &Chunk, peers: Range<usize>) {
        for at in peers {
            self.push(chunk.key(at), chunk.body(at).0);
        }
    }

    /// Ends the chunk that is being made, if there is anything in it.
    pub(super) fn close(&mut self) {
        if self.keys.is_empty() {
            return;
        }
        let (keys, starts) = (self.keys.as_slice(), self.starts.as_slice());
        // The room is kept for the next chunk.
        self.full.push(Chunk {
            keys: keys.into(),
            starts: starts.into(),
            bytes: self.bytes.as_slice().into(),
        });
        self.keys.clear();
        self.starts.clear();
        self.bytes.clear();
    }

    /// The chunks that were ended since the last call.
    pub(super) fn take(&mut self) -> Vec<Chunk> {
        std::mem::take(&mut self.full)
    }

    pub(super) fn finish(mut self) -> Vec<Chunk> {
        if self.keys.is_empty() {
            return self.full;
        }
        self.full.push(Chunk {
            keys: self.keys.into_boxed_slice(),
            starts: self.starts.into_boxed_slice(),
            bytes: self.bytes.into_boxed_slice(),
        });
        self.full
    }
}
