//! Keeps made-up identities from making this node a weapon: an address that one learned peer names is not dialled for
//! another one for a while. A peer's own retries are the business of its back-off.

use std::collections::BTreeMap;
use std::time::Duration;

use btcfed_core::addr::PeerAddr;
use btcfed_core::key::PeerKey;
use btcfed_core::time::MonotonicTime;

/// How long an address dialled for one learned peer is not dialled for another.
pub(crate) const CLAIM_INTERVAL: Duration = Duration::from_secs(300);

/// Most addresses remembered. Beyond it new ones are dialled without being remembered; the dial rate still holds.
pub(crate) const MAX_CLAIMS: usize = 16_384;

/// Which address was dialled last for which learned peer, and when.
#[derive(Debug, Default)]
pub(crate) struct Claims(BTreeMap<PeerAddr, (MonotonicTime, PeerKey)>);

impl Claims {
    /// Leaves in `addrs` what may be dialled for `peer` now. When that is nothing, tells when the first one may be.
    pub(crate) fn retain_free(
        &self,
        now: MonotonicTime,
        peer: &PeerKey,
        addrs: &mut Vec<PeerAddr>,
    ) -> Option<MonotonicTime> {
        let taken_until = |addr: &PeerAddr| {
            let (at, by) = self.0.get(addr)?;
            let until = at.saturating_add(CLAIM_INTERVAL);
            (by != peer && until > now).then_some(until)
        };
        let first = addrs.iter().filter_map(taken_until).min();
        addrs.retain(|addr| taken_until(addr).is_none());
        first.filter(|_| addrs.is_empty())
    }

    /// `addrs` are being dialled for `peer`.
    pub(crate) fn note(&mut self, now: MonotonicTime, peer: PeerKey, addrs: &[PeerAddr]) {
        if self.0.len().saturating_add(addrs.len()) > MAX_CLAIMS {
            self.0
                .retain(|_, (at, _)| now.saturating_since(*at) < CLAIM_INTERVAL);
        }
        for addr in addrs {
            if self.0.len() < MAX_CLAIMS || self.0.contains_key(addr) {
                self.0.insert(addr.clone(), (now, peer));
            }
        }
    }

    /// A peer proved that it lives where it says, or is no longer known: its claims are no reason to wait.
    pub(crate) fn release(&mut self, peer: &PeerKey) {
        self.0.retain(|_, (_, by)| by != peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::testing::{test_addr, test_key};

    fn at(secs: u64) -> MonotonicTime {
        MonotonicTime::from_origin(Duration::from_secs(secs))
    }

    fn free(claims: &Claims, now: u64, peer: u16, ports: &[u16]) -> (usize, Option<MonotonicTime>) {
        let mut addrs: Vec<_> = ports.iter().copied().map(test_addr).collect();
        let first = claims.retain_free(at(now), &test_key(peer), &mut addrs);
        (addrs.len(), first)
    }

    #[test]
    fn an_address_is_dialled_for_one_peer_at_a_time_and_its_own_retries_are_free() {
        let mut claims = Claims::default();
        claims.note(at(10), test_key(1), &[test_addr(1)]);
        assert_eq!(free(&claims, 11, 1, &[1]), (1, None));
        assert_eq!(free(&claims, 11, 2, &[1]), (0, Some(at(310))));
        assert_eq!(free(&claims, 11, 2, &[1, 2]), (1, None), "others are free");
        assert_eq!(free(&claims, 310, 2, &[1]), (1, None));
        claims.release(&test_key(1));
        assert_eq!(free(&claims, 11, 2, &[1]), (1, None));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_lapsed_claims_make_room() {
        let mut claims = Claims::default();
        let addr = |n: usize| -> PeerAddr {
            format!("/ip4/10.{}.{}.1/tcp/1", n / 256, n % 256)
                .parse()
                .unwrap()
        };
        for n in 0..=MAX_CLAIMS {
            claims.note(at(1), test_key(1), &[addr(n)]);
        }
        assert_eq!(claims.0.len(), MAX_CLAIMS);
        claims.note(at(301), test_key(1), &[addr(0)]);
        assert_eq!(claims.0.len(), 1);
    }
}
