//! Addresses at which somebody else answers than the peer they belong to. That says nothing about the peer, which is
//! dialled at its other addresses at once, and nothing about whoever answered: the address alone is left out for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use btcfed_core::addr::PeerAddr;
use btcfed_core::key::PeerKey;
use btcfed_core::time::MonotonicTime;

/// For how long such an address is left out of the dials of the peer, while the peer has others.
pub(crate) const PAUSE: Duration = Duration::from_secs(600);

/// Most addresses left out. Beyond it, the one that is let back in first makes room.
const MAX_MISLED: usize = 1024;

/// The addresses, with the time when they are tried again.
#[derive(Debug, Default)]
pub(crate) struct Misled {
    until: BTreeMap<(PeerKey, PeerAddr), MonotonicTime>,
}

impl Misled {
    /// Somebody else answered at an address of `peer`.
    pub(crate) fn note(&mut self, now: MonotonicTime, peer: PeerKey, addr: PeerAddr) {
        if self.until.len() >= MAX_MISLED {
            let first = self.until.iter().min_by_key(|(_, until)| **until);
            if let Some(first) = first.map(|(key, _)| key.clone()) {
                self.until.remove(&first);
            }
        }
        self.until.insert((peer, addr), now.saturating_add(PAUSE));
    }

    /// Leaves such addresses out, unless the peer has no other.
    pub(crate) fn leave_out(&self, now: MonotonicTime, peer: PeerKey, addrs: &mut Vec<PeerAddr>) {
        let is_good = |addr: &PeerAddr| {
            self.until
                .get(&(peer, addr.clone()))
                .is_none_or(|until| *until <= now)
        };
        if addrs.iter().any(is_good) {
            addrs.retain(is_good);
        }
    }

    /// The operator changed something about the peer, or it is gone: every address may be tried.
    pub(crate) fn forget(&mut self, peer: &PeerKey) {
        self.until.retain(|(other, _), _| other != peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::testing::{test_addr, test_key};

    fn at(secs: u64) -> MonotonicTime {
        MonotonicTime::from_origin(Duration::from_secs(secs))
    }

    fn left(misled: &Misled, now: MonotonicTime, peer: u16, ports: &[u16]) -> Vec<PeerAddr> {
        let mut addrs = ports.iter().map(|port| test_addr(*port)).collect();
        misled.leave_out(now, test_key(peer), &mut addrs);
        addrs
    }

    #[test]
    fn an_address_is_left_out_for_its_peer_alone_and_for_a_while() {
        let mut misled = Misled::default();
        misled.note(at(0), test_key(1), test_addr(7));
        assert_eq!(left(&misled, at(599), 1, &[7, 8]), [test_addr(8)]);
        assert_eq!(left(&misled, at(600), 1, &[7, 8]).len(), 2);
        assert_eq!(left(&misled, at(1), 2, &[7, 8]).len(), 2, "another peer");
        assert_eq!(left(&misled, at(1), 1, &[7]).len(), 1, "the only one");
        misled.forget(&test_key(1));
        assert_eq!(left(&misled, at(1), 1, &[7, 8]).len(), 2);
    }

    #[test]
    fn at_the_limit_the_oldest_makes_room() {
        let mut misled = Misled::default();
        for n in 0..=u16::try_from(MAX_MISLED).unwrap() {
            misled.note(at(n.into()), test_key(1), test_addr(n + 1));
        }
        assert_eq!(misled.until.len(), MAX_MISLED);
        assert_eq!(left(&misled, at(500), 1, &[1, 9]), [test_addr(1)]);
    }
}
