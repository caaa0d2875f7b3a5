//! Which keys stand behind the ids of a row, so that a version is found by its id without a walk over the list.
//!
//! Eight bytes for each version: the first half of the id and the beginning of the key. Both are hints: whoever looks
//! something up computes the whole id of what it finds, so an entry of a version that is gone does no harm.

use std::collections::BTreeSet;
use std::sync::Arc;

use btcfed_core::PeerKey;

use crate::limits;

/// How long the beginnings of keys are.
const PREFIX_BYTES: usize = 4;

/// The beginning of a key, in the order of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyPrefix(u32);

impl KeyPrefix {
    pub(crate) fn of(key: &PeerKey) -> Self {
        let first = key.as_bytes().first_chunk::<PREFIX_BYTES>();
        Self(first.map_or(0, |first| u32::from_be_bytes(*first)))
    }

    /// The bytes that begin the first key there could be with this beginning.
    pub(crate) fn lowest(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        if let Some(first) = bytes.first_chunk_mut::<PREFIX_BYTES>() {
            *first = self.0.to_be_bytes();
        }
        bytes
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ids {
    /// As the list was when this was made.
    base: Arc<[u64]>,
    /// What was added since.
    fresh: BTreeSet<u64>,
}

impl Ids {
    /// Of a list that is sorted already, see [`sorted`].
    pub(crate) const fn new(base: Arc<[u64]>) -> Self {
        Self {
            base,
            fresh: BTreeSet::new(),
        }
    }

    /// Takes in a version. False when so much was added since the beginning that it is time to begin anew.
    pub(crate) fn add(&mut self, id: u64, key: &PeerKey) -> bool {
        self.fresh.insert(entry(id, key));
        self.fresh.len() <= limits::MAX_FRESH_IDS
    }

    /// How the keys may begin that stand behind an id.
    pub(crate) fn prefixes(&self, id: u64) -> impl Iterator<Item = KeyPrefix> {
        let half = id & !u64::from(u32::MAX);
        let start = self.base.partition_point(|entry| *entry < half);
        let base = self.base.get(start..).unwrap_or_default().iter();
        let base = base.take_while(move |entry| **entry - half <= u64::from(u32::MAX));
        let fresh = self.fresh.range(half..=half | u64::from(u32::MAX));
        base.chain(fresh)
            .map(|entry| KeyPrefix(u32::try_from(entry & u64::from(u32::MAX)).unwrap_or(0)))
    }

    #[cfg(test)]
    pub(crate) fn fresh(&self) -> usize {
        self.fresh.len()
    }
}

/// What [`Ids`] begin with.
pub(crate) fn sorted(versions: impl Iterator<Item = (u64, PeerKey)>) -> Arc<[u64]> {
    let mut entries: Vec<u64> = versions.map(|(id, key)| entry(id, &key)).collect();
    entries.sort_unstable();
    entries.into()
}

fn entry(id: u64, key: &PeerKey) -> u64 {
    let half = id & !u64::from(u32::MAX);
    half | u64::from(KeyPrefix::of(key).0)
}

#[cfg(test)]
mod tests {
    use btcfed_core::SecretKey;

    use super::*;

    fn key(n: u64) -> PeerKey {
        let mut seed = [9; 32];
        seed[..8].copy_from_slice(&n.to_le_bytes());
        SecretKey::from_seed(seed).public()
    }

    #[test]
    fn what_was_there_and_what_came_later_is_found_by_its_id_and_nothing_else_is() {
        let id = |n: u64| n << 32 | 7;
        let mut ids = Ids::new(sorted((1..=50).rev().map(|n| (id(n), key(n)))));
        for n in 51..=60 {
            assert!(ids.add(id(n), &key(n)));
        }
        for n in 1..=60 {
            let found: Vec<_> = ids.prefixes(id(n)).collect();
            assert_eq!(found, [KeyPrefix::of(&key(n))], "{n}");
        }
        assert_eq!(ids.prefixes(id(0)).count(), 0);
        assert_eq!(ids.prefixes(id(61)).count(), 0);
        assert_eq!(ids.prefixes(u64::MAX).count(), 0);
    }

    #[test]
    fn versions_whose_ids_begin_alike_are_both_hinted_at_to_the_ends_of_the_range() {
        for half in [0, 1, u64::from(u32::MAX)] {
            let id = half << 32;
            let mut ids = Ids::new(sorted([(id, key(1)), (id | 5, key(2))].into_iter()));
            ids.add(id | u64::from(u32::MAX), &key(3));
            assert_eq!(ids.prefixes(id | 9).count(), 3, "{half}");
        }
    }

    #[test]
    fn it_says_when_more_was_added_than_it_may_hold() {
        let mut ids = Ids::new(sorted(std::iter::empty()));
        for n in 0..limits::MAX_FRESH_IDS as u64 {
            assert!(ids.add(n << 32, &key(1)));
        }
        assert!(!ids.add(u64::MAX, &key(1)), "one past the limit");
        assert_eq!(ids.fresh(), limits::MAX_FRESH_IDS + 1);
    }

    #[test]
    fn beginnings_stand_in_the_order_of_the_keys() {
        let mut keys: Vec<PeerKey> = (0..200).map(key).collect();
        keys.sort_unstable();
        assert!(keys.is_sorted_by_key(KeyPrefix::of));
        let lowest = KeyPrefix::of(&keys[7]).lowest();
        assert_eq!(lowest[..4], keys[7].as_bytes()[..4]);
        assert_eq!(lowest[4..], [0; 28]);
    }
}
