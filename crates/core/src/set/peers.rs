//! The peers of a set: chunks of packed peers, found by the tree over their first keys.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::chunk::{Builder, Chunk};
use super::tree::Tree;
use super::{PackedPeer, PeerView};
use crate::key::PeerKey;

/// Fewest peers of a chunk that is taken over as it is from where it was packed.
const MIN_TAKEN_OVER: usize = super::chunk::MAX_PEERS / 4;

/// Peers by their keys. A clone costs a pointer; a change copies one chunk and the path to it.
#[derive(Clone, Default)]
pub(super) struct Peers {
    /// Each chunk by a bound: none of its keys is below, and none of the chunk before is not. No chunk is empty.
    chunks: Tree<PeerKey, Arc<Chunk>>,
    len: usize,
}

impl Peers {
    /// These peers; of two with one key the first counts.
    pub(super) fn of(mut peers: Vec<PackedPeer>) -> Self {
        if !peers.is_sorted_by(|a, b| a.key() < b.key()) {
            // Stable, so that the first of a kind stays the first.
            peers.sort_by(|a, b| a.key().cmp(b.key()));
            peers.dedup_by(|later, earlier| later.key() == earlier.key());
        }
        let mut chunks = Vec::with_capacity(peers.len() / MIN_TAKEN_OVER + 1);
        let mut builder = Builder::default();
        let mut rest = peers.as_slice();
        while let Some(first) = rest.first() {
            let (chunk, at) = first.place();
            let whole = rest.get(..chunk.len()).filter(|peers| {
                let mut peers = peers.iter().enumerate();
                at == 0 && peers.all(|(at, peer)| peer.is_at(chunk, at))
            });
            match whole.filter(|peers| peers.len() >= MIN_TAKEN_OVER) {
                Some(whole) => {
                    builder.close();
                    chunks.extend(builder.take().into_iter().map(Arc::new));
                    chunks.push(Arc::clone(chunk));
                    rest = rest.get(whole.len()..).unwrap_or_default();
                }
                None => {
                    builder.push(first.key(), chunk.body(at).0);
                    chunks.extend(builder.take().into_iter().map(Arc::new));
                    rest = rest.get(1..).unwrap_or_default();
                }
            }
        }
        chunks.extend(builder.finish().into_iter().map(Arc::new));
        let chunks = chunks.into_iter().map(|chunk| (*chunk.key(0), chunk));
        Self {
            chunks: Tree::from_entries(chunks.collect()),
            len: peers.len(),
        }
    }

    #[cfg(test)]
    pub(super) fn chunks(&self) -> impl Iterator<Item = &Arc<Chunk>> {
        self.chunks.values()
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn view(&self, key: &PeerKey) -> Option<PeerView<'_>> {
        let (_, chunk) = self.chunks.last_where(|bound| bound <= key)?;
        let at = chunk.position(key).ok()?;
        Some(PeerView::new(chunk, at))
    }

    /// The peers whose keys come after `after`, sorted.
    pub(super) fn views_after(
        &self,
        after: Option<&PeerKey>,
    ) -> impl Iterator<Item = PeerView<'_>> {
        let first = after.and_then(|after| {
            let (_, chunk) = self.chunks.last_where(|bound| bound <= after)?;
            Some((chunk, chunk.keys().partition_point(|key| key <= after)))
        });
        let others = self.chunks.iter_after(after).map(|(_, chunk)| (chunk, 0));
        first
            .into_iter()
            .chain(others)
            .flat_map(|(chunk, start)| (start..chunk.len()).map(|at| PeerView::new(chunk, at)))
    }

    /// Makes these bytes what is known of a peer.
    pub(super) fn put(&mut self, key: &PeerKey, body: &[u8]) {
        let found = self.chunks.last_where(|bound| bound <= key);
        let found = found.or_else(|| self.chunks.iter().next());
        let Some((bound, chunk)) = found else {
            self.replace(None, vec![Chunk::of_one(key, body)]);
            self.len = 1;
            return;
        };
        let replaced = match chunk.position(key) {
            Ok(at) => at..at + 1,
            Err(at) => at..at,
        };
        let (bound, is_new) = (*bound, replaced.is_empty());
        let chunks = chunk.edited(replaced, Some((key, body)));
        self.replace(Some(&bound), chunks);
        self.len += usize::from(is_new);
    }

    /// Removes a peer, if it is known.
    pub(super) fn remove(&mut self, key: &PeerKey) {
        let Some((bound, chunk)) = self.chunks.last_where(|bound| bound <= key) else {
            return;
        };
        let Ok(at) = chunk.position(key) else {
            return;
        };
        let (bound, chunks) = (*bound, chunk.edited(at..at + 1, None));
        self.replace(Some(&bound), chunks);
        self.len -= 1;
        self.join_around(key);
    }

    /// Puts chunks that follow one another in place of the one with this bound.
    fn replace(&mut self, bound: Option<&PeerKey>, chunks: Vec<Chunk>) {
        let mut chunks = chunks.into_iter().map(Arc::new);
        if let Some(bound) = bound {
            match chunks.next() {
                // As before, it is found under its bound.
                Some(first) if bound <= first.key(0) => {
                    if let Some(chunk) = self.chunks.get_mut(bound) {
                        *chunk = first;
                    }
                }
                Some(first) => {
                    self.chunks.remove(bound);
                    self.chunks.insert(*first.key(0), first);
                }
                None => drop(self.chunks.remove(bound)),
            }
        }
        for chunk in chunks {
            self.chunks.insert(*chunk.key(0), chunk);
        }
    }

    /// Makes one chunk of two that became small, where a peer was removed.
    fn join_around(&mut self, key: &PeerKey) {
        let Some((bound, here)) = self.chunks.last_where(|bound| bound <= key) else {
            return;
        };
        let before = self.chunks.last_where(|other| other < bound);
        let after = self.chunks.iter_after(Some(bound)).next();
        let pairs = [
            before.map(|before| (before, (bound, here))),
            after.map(|after| ((bound, here), after)),
        ];
        let joined = pairs.into_iter().flatten().find_map(|(left, right)| {
            let chunk = left.1.joined(right.1)?;
            Some((*left.0, *right.0, chunk))
        });
        if let Some((left, right, chunk)) = joined {
            self.chunks.remove(&right);
            self.replace(Some(&left), vec![chunk]);
        }
    }

    /// The keys of the peers that differ, or that one side lacks, sorted: less are those that only this side has, greater those
    /// that only the other has. Chunks that both sides share are skipped.
    pub(super) fn differences(&self, other: &Self) -> Vec<(PeerKey, Ordering)> {
        let bounds = self.chunks.differing_keys(&other.chunks, Arc::ptr_eq);
        let (mut here, mut there) = (self.views_of(&bounds), other.views_of(&bounds));
        let (mut one, mut two) = (here.next(), there.next());
        let mut differing = Vec::new();
        loop {
            let order = match (one, two) {
                (None, None) => return differing,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(one), Some(two)) => one.key().cmp(two.key()),
            };
            let next = if order.is_le() { one } else { two };
            differing.extend(
                next.filter(|_| order.is_ne() || one != two)
                    .map(|peer| (*peer.key(), order)),
            );
            if order.is_le() {
                one = here.next();
            }
            if order.is_ge() {
                two = there.next();
            }
        }
    }

    /// The peers of the chunks with these bounds.
    fn views_of(&self, bounds: &[PeerKey]) -> impl Iterator<Item = PeerView<'_>> {
        let chunks = bounds.iter().filter_map(|bound| self.chunks.get(bound));
        chunks.flat_map(|chunk| (0..chunk.len()).map(|at| PeerView::new(chunk, at)))
    }
}

impl PartialEq for Peers {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.differences(other).is_empty()
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.views_after(None)).finish()
    }
}
