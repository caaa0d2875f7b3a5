//! How long a record counts: its age is measured by this node's monotonic clock, and no clock of the wall is asked.
//!
//! A record has a lease of [`LEASE`]. It begins anew when this node meets the owner, and when a higher number of the owner
//! arrives. What arrives for the first time comes with the age it had at the sender; a known version is never made
//! younger by what others say. In the last tenth of its lease a record is told to nobody: two nodes that learned it at
//! different times would find the same difference again and again.

use std::collections::{BTreeMap, BTreeSet};

use btcfed_core::PeerKey;
use btcfed_core::time::MonotonicTime;

use crate::limits::{LEASE, LEASE_MARGIN, RESTORED_AGE_MAX};

/// Until when records count. Holds nothing of peers that are not known, but for those that are connected.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    /// When this process began to count, in seconds. What was known then counts from then on, unless it has an entry.
    start: Option<u64>,
    /// When the lease of a record ends, in seconds.
    ends: BTreeMap<PeerKey, u64>,
    /// What was known at the start has entries by now.
    is_complete: bool,
    /// Connected peers: nobody is younger.
    present: BTreeSet<PeerKey>,
    /// Whose records are told to nobody.
    over: BTreeSet<PeerKey>,
    /// When the next record is over, at the earliest.
    next: u64,
}

impl Leases {
    /// Begins to count, once. `ages` are what the times of an earlier process say about records. A clock that was set
    /// meanwhile makes them wrong, so they are cut: whoever lives renews its record before it is told no more.
    pub(crate) fn begin(&mut self, now: MonotonicTime, ages: impl Iterator<Item = (PeerKey, u64)>) {
        let start = seconds(now);
        self.start = Some(start);
        self.next = start.saturating_add(TOLD_FOR);
        for (key, age) in ages.filter(|(_, age)| *age > 0) {
            let age = age.min(RESTORED_AGE_MAX.as_secs());
            self.set(key, start.saturating_add(LEASE.as_secs() - age));
        }
    }

    pub(crate) const fn has_begun(&self) -> bool {
        self.start.is_some()
    }

    /// A version is new to this node; it was so old at whoever told of it.
    pub(crate) fn learned(&mut self, now: MonotonicTime, key: PeerKey, age_s: u32) {
        let end = seconds(now).saturating_add(LEASE.as_secs());
        self.set(key, end.saturating_sub(age_s.into()));
        if u64::from(age_s) >= TOLD_FOR && !self.present.contains(&key) {
            self.over.insert(key);
        } else {
            self.over.remove(&key);
        }
    }

    /// The peer is connected: its key was proven.
    pub(crate) fn met(&mut self, key: PeerKey) {
        self.present.insert(key);
        self.over.remove(&key);
    }

    /// The last connection is gone. A peer of which no record is known leaves nothing behind.
    pub(crate) fn parted(&mut self, now: MonotonicTime, key: PeerKey, is_known: bool) {
        if self.present.remove(&key) && is_known {
            self.learned(now, key, 0);
        }
    }

    /// The peer is known no more.
    pub(crate) fn forget(&mut self, key: &PeerKey) {
        self.ends.remove(key);
        self.over.remove(key);
    }

    /// How old the record of a peer is, in seconds.
    pub(crate) fn age_s(&self, now: MonotonicTime, key: &PeerKey) -> u32 {
        if self.present.contains(key) {
            return 0;
        }
        let default = self
            .start
            .unwrap_or_default()
            .saturating_add(LEASE.as_secs());
        let end = self.ends.get(key).copied().unwrap_or(default);
        let age = seconds(now)
            .saturating_add(LEASE.as_secs())
            .saturating_sub(end);
        u32::try_from(age).unwrap_or(u32::MAX)
    }

    /// True when the record of a peer is told to nobody.
    pub(crate) fn is_over(&self, key: &PeerKey) -> bool {
        !self.over.is_empty() && self.over.contains(key)
    }

    /// True when some record may be over now.
    pub(crate) const fn is_due(&self, now: MonotonicTime) -> bool {
        self.has_begun() && seconds(now) >= self.next
    }

    /// Whose records are over since the last look. `known` is everybody with a record.
    pub(crate) fn take_due(
        &mut self,
        now: MonotonicTime,
        known: impl Iterator<Item = PeerKey>,
    ) -> Vec<PeerKey> {
        let first = self.start.unwrap_or_default();
        let now = seconds(now);
        if !self.is_complete && now >= first.saturating_add(TOLD_FOR) {
            self.is_complete = true;
            let end = first.saturating_add(LEASE.as_secs());
            for key in known {
                self.ends.entry(key).or_insert(end);
            }
        }
        let mut due = Vec::new();
        self.next = if self.is_complete {
            u64::MAX
        } else {
            first.saturating_add(TOLD_FOR)
        };
        for (key, end) in &self.ends {
            let at = told_until(*end);
            if self.present.contains(key) || self.over.contains(key) {
                continue;
            }
            if at <= now {
                due.push(*key);
            } else {
                self.next = self.next.min(at);
            }
        }
        due
    }

    /// The record of this peer is told no more.
    pub(crate) fn end(&mut self, key: PeerKey) {
        self.over.insert(key);
    }

    fn set(&mut self, key: PeerKey, end: u64) {
        self.ends.insert(key, end);
        self.next = self.next.min(told_until(end));
    }

    /// How many records have a time of their own, and how many are over.
    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.ends.len(), self.over.len())
    }
}

/// How old a record is told to others at most, in seconds.
const TOLD_FOR: u64 = LEASE.as_secs() - LEASE_MARGIN.as_secs();

const fn told_until(end: u64) -> u64 {
    end.saturating_sub(LEASE_MARGIN.as_secs())
}

const fn seconds(at: MonotonicTime) -> u64 {
    at.since_origin().as_secs()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use btcfed_core::SecretKey;

    use super::*;

    fn key(n: u8) -> PeerKey {
        SecretKey::from_seed([n; 32]).public()
    }

    fn at(secs: u64) -> MonotonicTime {
        MonotonicTime::from_origin(Duration::from_secs(secs))
    }

    fn begun() -> Leases {
        let mut leases = Leases::default();
        leases.begin(at(100), std::iter::empty());
        leases
    }

    /// Lets everything end that is due.
    fn look(leases: &mut Leases, now: u64) -> Vec<PeerKey> {
        if !leases.is_due(at(now)) {
            return Vec::new();
        }
        let due = leases.take_due(at(now), [key(1), key(2)].into_iter());
        for key in &due {
            leases.end(*key);
        }
        due
    }

    #[test]
    fn a_record_is_told_until_the_last_tenth_of_its_lease_begins() {
        let mut leases = begun();
        leases.learned(at(100), key(3), 40);
        assert_eq!(leases.age_s(at(100), &key(3)), 40);
        assert_eq!(leases.age_s(at(160), &key(3)), 100);
        let last = 100 + TOLD_FOR - 40;
        assert_eq!(look(&mut leases, last - 1), []);
        assert!(!leases.is_over(&key(3)));
        assert_eq!(look(&mut leases, last), [key(3)]);
        assert!(leases.is_over(&key(3)));
        assert_eq!(look(&mut leases, last), [], "told once");
        assert_eq!(u64::from(leases.age_s(at(last), &key(3))), TOLD_FOR);
    }

    #[test]
    fn what_was_known_at_the_start_counts_from_then_on_and_hints_are_cut() {
        let mut leases = Leases::default();
        let year = 365 * 24 * 3600;
        assert!(!leases.has_begun() && !leases.is_due(at(u64::MAX)));
        let hints = [(key(1), 0), (key(2), 3600), (key(3), year)];
        leases.begin(at(100), hints.into_iter());
        assert!(leases.has_begun());
        assert_eq!(leases.sizes().0, 2, "no age needs no entry");
        let ages = [1, 2, 3].map(|n| u64::from(leases.age_s(at(100), &key(n))));
        assert_eq!(ages, [0, 3600, RESTORED_AGE_MAX.as_secs()]);
        let rest = TOLD_FOR - RESTORED_AGE_MAX.as_secs();
        assert!(
            rest > 10 * 3600,
            "whoever lives renews its record within ten hours"
        );
        assert_eq!(look(&mut leases, 100 + rest - 1), []);
        assert_eq!(look(&mut leases, 100 + rest), [key(3)]);
        assert_eq!(look(&mut leases, 100 + TOLD_FOR - 3600), [key(2)]);
        assert_eq!(look(&mut leases, 100 + TOLD_FOR - 1), []);
        assert_eq!(look(&mut leases, 100 + TOLD_FOR), [key(1)]);
    }

    #[test]
    fn who_is_connected_does_not_age_and_begins_anew_when_it_parts() {
        let mut leases = begun();
        leases.learned(at(100), key(1), 7);
        leases.met(key(1));
        assert_eq!(leases.age_s(at(100), &key(1)), 0);
        let late = 100 + 3 * TOLD_FOR;
        assert_eq!(look(&mut leases, late), [key(2)]);
        leases.parted(at(late), key(1), true);
        assert_eq!(leases.age_s(at(late + 5), &key(1)), 5);
        assert_eq!(look(&mut leases, late + TOLD_FOR - 1), []);
        assert_eq!(look(&mut leases, late + TOLD_FOR), [key(1)]);
        leases.met(key(1));
        assert!(!leases.is_over(&key(1)), "met again");
        leases.parted(at(late), key(9), true);
        leases.met(key(8));
        leases.parted(at(late), key(8), false);
        leases.forget(&key(1));
        leases.forget(&key(2));
        assert_eq!(leases.sizes(), (0, 0));
    }

    #[test]
    fn what_comes_old_is_told_to_nobody_and_numbers_at_their_edges_do_no_harm() {
        let mut leases = begun();
        let told_for = u32::try_from(TOLD_FOR).unwrap();
        for (age, is_over) in [
            (0, false),
            (told_for - 1, false),
            (told_for, true),
            (u32::MAX, true),
        ] {
            leases.learned(at(100), key(1), age);
            assert_eq!(leases.is_over(&key(1)), is_over, "{age}");
        }
        leases.learned(MonotonicTime::from_origin(Duration::MAX), key(1), 0);
        assert_eq!(leases.age_s(at(0), &key(1)), 0);
        assert!(!leases.is_over(&key(1)));
    }
}
