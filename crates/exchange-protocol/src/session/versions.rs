//! A bounded memory of versions.

use std::collections::{BTreeMap, VecDeque};

use btcfed_core::PeerKey;

/// Versions of records, one per key, the newest: bounded, the oldest knowledge goes first.
#[derive(Debug)]
pub(crate) struct Versions {
    most: usize,
    /// How many were ever added.
    added: u64,
    seqs: BTreeMap<PeerKey, u64>,
    order: VecDeque<PeerKey>,
}

impl Versions {
    /// None yet, and never more than `most`.
    pub(crate) const fn new(most: usize) -> Self {
        Self {
            most,
            added: 0,
            seqs: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.seqs.is_empty()
    }

    /// True when the next key pushes out the oldest one.
    pub(crate) fn is_full(&self) -> bool {
        self.order.len() >= self.most
    }

    /// Takes the oldest ones, at most so many.
    pub(crate) fn take(&mut self, most: usize) -> Vec<(PeerKey, u64)> {
        let count = most.min(self.order.len());
        let keys: Vec<PeerKey> = self.order.drain(..count).collect();
        let seqs = &mut self.seqs;
        keys.into_iter()
            .filter_map(|key| seqs.remove(&key).map(|seq| (key, seq)))
            .collect()
    }

    /// True when this key is here with this version or an older one.
    pub(crate) fn is_at_most(&self, key: &PeerKey, seq: u64) -> bool {
        self.seqs.get(key).is_some_and(|known| *known <= seq)
    }

    /// All of them in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerKey, u64)> {
        self.seqs.iter().map(|(key, seq)| (*key, *seq))
    }

    /// Keeps those for which `keep` holds.
    pub(crate) fn retain(&mut self, keep: impl Fn(&PeerKey, u64) -> bool) {
        self.seqs.retain(|key, seq| keep(key, *seq));
        let seqs = &self.seqs;
        self.order.retain(|key| seqs.contains_key(key));
    }

    /// Tells later whether something was added since.
    pub(crate) const fn mark(&self) -> u64 {
        self.added
    }

    /// Forgets all of them, if none was added since the mark.
    pub(crate) fn clear_until(&mut self, mark: u64) {
        if self.added == mark {
            self.seqs.clear();
            self.order.clear();
        }
    }

    pub(crate) fn add(&mut self, key: PeerKey, seq: u64) {
        self.added += 1;
        if let Some(known) = self.seqs.get_mut(&key) {
            *known = seq.max(*known);
            return;
        }
        if self.order.len() >= self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.seqs.remove(&oldest);
        }
        self.seqs.insert(key, seq);
        self.order.push_back(key);
    }

    pub(crate) fn has(&self, key: &PeerKey, seq: u64) -> bool {
        self.seqs.get(key).is_some_and(|known| *known >= seq)
    }

    /// Takes back what was assumed of an announcement that failed.
    pub(crate) fn remove(&mut self, key: &PeerKey) {
        if self.seqs.remove(key).is_some() {
            self.order.retain(|known| known != key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use crate::session::samples::record;

    #[test]
    fn what_was_added_since_a_mark_is_not_forgotten() {
        let mut versions = Versions::new(9);
        versions.add(record(1, 1).key(), 1);
        let mark = versions.mark();
        versions.add(record(1, 1).key(), 2);
        versions.clear_until(mark);
        assert!(versions.has(&record(1, 1).key(), 2));
        versions.clear_until(versions.mark());
        assert!(versions.is_empty());
        versions.add(record(1, 1).key(), 1);
        assert_eq!(versions.take(9), [(record(1, 1).key(), 1)]);
    }

    #[test]
    fn the_memory_of_what_a_peer_has_is_bounded() {
        let mut replaced = Versions::new(limits::MAX_REPLACED);
        for n in 0..=limits::MAX_REPLACED {
            replaced.add(record(n, 1).key(), 5);
        }
        assert_eq!(replaced.iter().count(), limits::MAX_REPLACED);
        assert!(!replaced.has(&record(0, 1).key(), 5) && replaced.has(&record(1, 1).key(), 5));
        let mut known = Versions::new(limits::MAX_KNOWN_TO_PEER);
        let keys: Vec<PeerKey> = (0..=limits::MAX_KNOWN_TO_PEER)
            .map(|n| record(n, 1).key())
            .collect();
        for key in &keys[..limits::MAX_KNOWN_TO_PEER] {
            known.add(*key, 5);
        }
        assert!(known.has(&keys[0], 5) && known.has(&keys[0], 4) && !known.has(&keys[0], 6));
        known.add(keys[limits::MAX_KNOWN_TO_PEER], 1);
        assert!(!known.has(&keys[0], 5), "the oldest is forgotten");
        known.add(keys[1], 3);
        assert!(known.has(&keys[1], 5), "never lowered");
        known.remove(&keys[1]);
        assert!(!known.has(&keys[1], 0));
        assert_eq!(
            (known.seqs.len(), known.order.len()),
            (limits::MAX_KNOWN_TO_PEER - 1, limits::MAX_KNOWN_TO_PEER - 1)
        );
    }
}
