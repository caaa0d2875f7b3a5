//! What waits to be announced to one peer.

use std::collections::BTreeMap;

use btcfed_core::{PeerKey, SignedRecord};

use crate::limits;

/// Records waiting to be announced to one peer, each key once, in the order they came; bounded.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    by_key: BTreeMap<PeerKey, (u64, SignedRecord)>,
    order: BTreeMap<u64, PeerKey>,
    next: u64,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Everything that enters from now on is at or after the mark.
    pub(crate) const fn mark(&self) -> u64 {
        self.next
    }

    /// Adds a record, replacing an older version of it.
    pub(crate) fn push(&mut self, record: SignedRecord) {
        let key = record.key();
        if self
            .by_key
            .get(&key)
            .is_some_and(|(_, known)| known.seq() >= record.seq())
        {
            return;
        }
        self.remove(&key);
        if self.by_key.len() >= limits::MAX_OUTBOX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.by_key.remove(&oldest);
        }
        self.order.insert(self.next, key);
        self.by_key.insert(key, (self.next, record));
        self.next += 1;
    }

    /// Drops a record because the peer has this version of it.
    pub(crate) fn drop_known(&mut self, key: &PeerKey, seq: u64) {
        if self
            .by_key
            .get(key)
            .is_some_and(|(_, record)| record.seq() <= seq)
        {
            self.remove(key);
        }
    }

    /// Drops everything that came before the mark.
    pub(crate) fn drop_before(&mut self, mark: u64) {
        let later = self.order.split_off(&mark);
        for key in std::mem::replace(&mut self.order, later).into_values() {
            self.by_key.remove(&key);
        }
    }

    /// Takes the oldest records, as many as fit into `count` and `bytes`.
    pub(crate) fn take(
        &mut self,
        count: usize,
        bytes: usize,
        size: impl Fn(&SignedRecord) -> usize,
    ) -> Vec<SignedRecord> {
        let (mut taken, mut room) = (Vec::new(), bytes);
        while taken.len() < count {
            let Some((serial, key)) = self
                .order
                .first_key_value()
                .map(|(serial, key)| (*serial, *key))
            else {
                break;
            };
            let Some((_, record)) = self.by_key.get(&key) else {
                self.order.remove(&serial);
                continue;
            };
            let Some(left) = room.checked_sub(size(record)) else {
                break;
            };
            room = left;
            taken.push(record.clone());
            self.remove(&key);
        }
        taken
    }

    fn remove(&mut self, key: &PeerKey) {
        if let Some((serial, _)) = self.by_key.remove(key) {
            self.order.remove(&serial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::samples::record;

    fn size(record: &SignedRecord) -> usize {
        record.envelope().len()
    }

    #[test]
    fn a_full_outbox_drops_the_oldest_record() {
        let mut outbox = Outbox::default();
        for n in 0..limits::MAX_OUTBOX {
            outbox.push(record(n, 1));
        }
        assert_eq!(outbox.len(), limits::MAX_OUTBOX);
        outbox.push(record(limits::MAX_OUTBOX, 1));
        assert_eq!(outbox.len(), limits::MAX_OUTBOX);
        assert_eq!(outbox.take(1, usize::MAX, size), [record(1, 1)]);
    }

    #[test]
    fn an_outbox_holds_the_newest_version_of_a_record_once() {
        let mut outbox = Outbox::default();
        for seq in [2, 1, 3, 3] {
            outbox.push(record(1, seq));
        }
        outbox.drop_known(&record(1, 0).key(), 2);
        assert_eq!(outbox.take(9, usize::MAX, size), [record(1, 3)]);
        outbox.push(record(1, 3));
        outbox.drop_known(&record(1, 0).key(), 3);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_batch_ends_where_count_or_bytes_run_out() {
        let mut outbox = Outbox::default();
        for n in 0..5 {
            outbox.push(record(n, 1));
        }
        let one = size(&record(0, 1));
        assert_eq!(outbox.take(2, usize::MAX, size).len(), 2);
        assert_eq!(outbox.take(9, 2 * one + one / 2, size).len(), 2);
        assert_eq!(outbox.take(9, one - 1, size).len(), 0);
        assert_eq!(outbox.len(), 1);
    }

    #[test]
    fn what_came_before_a_mark_is_dropped_and_what_came_later_stays() {
        let mut outbox = Outbox::default();
        outbox.push(record(1, 1));
        outbox.push(record(2, 1));
        let mark = outbox.mark();
        outbox.push(record(2, 2));
        outbox.push(record(3, 1));
        outbox.drop_before(mark);
        assert_eq!(
            outbox.take(9, usize::MAX, size),
            [record(2, 2), record(3, 1)]
        );
    }
}
