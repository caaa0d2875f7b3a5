//! How much of what nobody chose a set may hold, and what goes when that is lowered.

use std::cmp::Reverse;

use super::{PeerSet, PeerView};
use crate::key::PeerKey;
use crate::limits;
use crate::patch::PeerChange;
use crate::peer::AddressSource;

/// How much a set may hold. What the operator wrote is outside of both bounds: it is never refused and never dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetBounds {
    /// The most peers; at that number a newcomer takes the place of the worst peer nobody chose.
    pub max_peers: usize,
    /// The most addresses of one peer that the operator did not write.
    pub max_addresses: usize,
}

impl Default for SetBounds {
    /// The largest there are: [`limits::MAX_PEERS`] and [`limits::MAX_ADDRESSES_PER_PEER`].
    fn default() -> Self {
        Self {
            max_peers: limits::MAX_PEERS,
            max_addresses: limits::MAX_ADDRESSES_PER_PEER,
        }
    }
}

impl PeerSet {
    /// This set without what is beyond `bounds`, and what changed. Peers go in this order: banned ones (their bans stay),
    /// hearsay, those that fail most, those never met, those met longest ago. Reserved peers stay, however many there are.
    #[must_use]
    pub fn shrunk_to(&self, bounds: &SetBounds) -> (Self, Vec<PeerChange>) {
        let mut next = self.clone();
        let mut changes = Vec::new();
        let excess = self.len().saturating_sub(bounds.max_peers);
        if excess > 0 {
            let mut worst: Vec<PeerView<'_>> =
                self.views().filter(|peer| !peer.is_reserved()).collect();
            worst.sort_by_cached_key(|peer| {
                let stats = peer.stats();
                Reverse((
                    peer.is_banned(),
                    peer.source(),
                    stats.consecutive_failures,
                    Reverse(stats.last_seen),
                ))
            });
            for peer in worst.into_iter().take(excess) {
                next.peers.remove(peer.key());
                changes.push(PeerChange::Removed(*peer.key()));
            }
        }
        let crowded: Vec<PeerKey> = next
            .views()
            .filter(|peer| is_crowded(*peer, bounds.max_addresses))
            .map(|peer| *peer.key())
            .collect();
        changes.extend(crowded.into_iter().map(PeerChange::Updated));
        next.limit_addresses_of(&changes, bounds);
        (next, changes)
    }

    /// Drops addresses beyond the bound from the peers that changed.
    pub(super) fn limit_addresses_of(&mut self, changes: &[PeerChange], bounds: &SetBounds) {
        if bounds.max_addresses >= limits::MAX_ADDRESSES_PER_PEER {
            return;
        }
        for change in changes {
            let (PeerChange::Added(key) | PeerChange::Updated(key) | PeerChange::Touched(key)) =
                change
            else {
                continue;
            };
            let is_crowded = |peer| is_crowded(peer, bounds.max_addresses);
            if self.view(key).is_some_and(is_crowded) {
                self.change(key, |record| record.limit_addresses(bounds.max_addresses));
            }
        }
    }
}

/// True when more addresses than `max` were not written by the operator.
fn is_crowded(peer: PeerView<'_>, max: usize) -> bool {
    let sources: Vec<AddressSource> = peer.address_sources().collect();
    let by_others = sources.iter().rev();
    by_others
        .take_while(|source| **source != AddressSource::Operator)
        .nth(max)
        .is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::{PeerOp, PeerPatch};
    use crate::peer::{PeerRecord, PeerSource};
    use crate::testing::test_key;
    use crate::time::{Now, Timestamp};

    fn peer(number: u16, source: PeerSource, addresses: u16) -> PeerRecord {
        let mut record = PeerRecord::new(test_key(number), source);
        for port in 1..=addresses {
            let addr = format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap();
            record.add_address(addr, AddressSource::Observed);
        }
        record
    }

    fn set(records: Vec<PeerRecord>) -> PeerSet {
        PeerSet::from_parts(records, [], [])
    }

    fn bounds(max_peers: usize, max_addresses: usize) -> SetBounds {
        SetBounds {
            max_peers,
            max_addresses,
        }
    }

    #[test]
    fn at_the_bound_nobody_goes_and_past_it_hearsay_before_proved_peers_and_never_reserved_ones() {
        let mut proved = peer(3, PeerSource::Signed, 1);
        proved.stats.last_seen = Some(Timestamp::from_secs(7));
        let mut pinned = peer(4, PeerSource::Hearsay, 1);
        pinned.pinned = true;
        let all = set(vec![
            peer(1, PeerSource::Operator, 1),
            peer(2, PeerSource::Hearsay, 1),
            proved,
            pinned,
            peer(5, PeerSource::Signed, 1),
        ]);
        assert_eq!(all.shrunk_to(&bounds(5, 8)), (all.clone(), Vec::new()));
        for (max, gone) in [
            (4, vec![2]),
            (3, vec![2, 5]),
            (2, vec![2, 5, 3]),
            (1, vec![2, 5, 3]),
        ] {
            let (left, changes) = all.shrunk_to(&bounds(max, 8));
            let removed = |number: &u16| PeerChange::Removed(test_key(*number));
            assert_eq!(
                changes,
                gone.iter().map(removed).collect::<Vec<_>>(),
                "{max}"
            );
            assert_eq!(left.len(), 5 - gone.len());
        }
    }

    #[test]
    fn a_newcomer_is_refused_or_takes_the_place_of_hearsay_as_the_bound_says() {
        let full = set(vec![
            peer(1, PeerSource::Signed, 1),
            peer(2, PeerSource::Hearsay, 1),
        ]);
        let create = |set: &PeerSet, record| {
            let patch = PeerPatch::one(PeerOp::Create(Box::new(record)));
            set.apply_within(&patch, Now::default(), &bounds(2, 8))
        };
        let (next, changes) = create(&full, peer(3, PeerSource::Signed, 1)).unwrap();
        assert_eq!(next.len(), 2);
        assert!(changes.contains(&PeerChange::Removed(test_key(2))));
        let refused = create(&next, peer(4, PeerSource::Signed, 1)).unwrap_err();
        assert!(refused.to_string().contains('2'), "{refused}");
        let (next, _) = create(&next, peer(5, PeerSource::Operator, 1)).unwrap();
        assert_eq!(next.len(), 3, "what the operator adds always has room");
    }

    #[test]
    fn addresses_beyond_the_bound_go_the_least_trusted_first_and_never_the_operators() {
        let mut record = peer(1, PeerSource::Operator, 3);
        for port in 10..14 {
            let addr = format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap();
            record.add_address(addr, AddressSource::Operator);
        }
        let all = set(vec![record.clone(), peer(2, PeerSource::Hearsay, 2)]);
        let (left, changes) = all.shrunk_to(&bounds(10, 2));
        assert_eq!(changes, [PeerChange::Updated(test_key(1))]);
        let kept = &left.get(&test_key(1)).unwrap().addresses;
        assert_eq!((kept.len(), &kept[..6]), (6, &record.addresses[..6]));
        let patch = PeerPatch::one(PeerOp::Update(Box::new(record)));
        let (left, _) = left
            .apply_within(&patch, Now::default(), &bounds(10, 1))
            .unwrap();
        assert_eq!(left.get(&test_key(1)).unwrap().addresses.len(), 5);
        assert_eq!(
            left.get(&test_key(2)).unwrap().addresses.len(),
            2,
            "not touched"
        );
    }
}
