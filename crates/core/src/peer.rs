//! What is known of one peer.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::addr::PeerAddr;
use crate::ban::Issuer;
use crate::key::{PeerId, PeerKey};
use crate::limits;
use crate::record::SignedRecord;
use crate::time::Timestamp;

/// The state of a peer as this node sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum PeerStatus {
    /// Refused. See the bans of the [`crate::PeerSet`] for the reason.
    Banned,
    /// Contact was tried and failed.
    Inaccessible,
    /// Never contacted.
    #[default]
    Unknown,
    /// Contact succeeded and the key was proven.
    Valid,
}

impl PeerStatus {
    /// The stable lower-case name used in files and `--json` output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Banned => "banned",
            Self::Inaccessible => "inaccessible",
            Self::Unknown => "unknown",
            Self::Valid => "valid",
        }
    }

    /// The status a stable name stands for.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Banned, Self::Inaccessible, Self::Unknown, Self::Valid]
            .into_iter()
            .find(|s| s.as_str() == name)
    }
}

impl fmt::Display for PeerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who vouches for the existence of a peer. Ordered: a later one never overrides an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum PeerSource {
    /// The operator wrote it into `peers.yaml` or added it by command.
    #[default]
    Operator,
    /// The operator wrote it into `peers.bootstrap`.
    Bootstrap,
    /// The peer itself, by a signed record.
    Signed,
    /// Somebody else.
    Hearsay,
}

impl PeerSource {
    /// The stable lower-case name used in files and `--json` output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bootstrap => "bootstrap",
            Self::Hearsay => "hearsay",
            Self::Operator => "operator",
            Self::Signed => "signed",
        }
    }

    /// The source a stable name stands for.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Bootstrap, Self::Hearsay, Self::Operator, Self::Signed]
            .into_iter()
            .find(|s| s.as_str() == name)
    }

    /// True for peers the operator chose: never evicted, never expired, always retried.
    #[must_use]
    pub const fn is_chosen_by_operator(self) -> bool {
        matches!(self, Self::Operator | Self::Bootstrap)
    }
}

/// Who vouches for an address. Ordered by precedence: operator, owner's signature, own contact, hearsay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AddressSource {
    /// The operator.
    Operator,
    /// The owner's signed record.
    Signed,
    /// This node reached the peer there.
    Observed,
    /// A third party, named by its key.
    LearnedFrom(PeerKey),
}

/// One address of a peer with what is known about it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddress {
    /// Where.
    pub addr: PeerAddr,
    /// Who says so.
    pub source: AddressSource,
    /// When the peer last proved its key there.
    pub last_success: Option<Timestamp>,
    /// When an attempt last failed there.
    pub last_failure: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
}

impl PeerAddress {
    /// An address nobody has tried yet.
    #[must_use]
    pub const fn new(addr: PeerAddr, source: AddressSource) -> Self {
        Self {
            addr,
            source,
            last_success: None,
            last_failure: None,
            failures: 0,
        }
    }
}

/// Counters of contact with a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PeerStats {
    /// Connections that succeeded.
    pub successes: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// Smoothed response time (exponential moving average, weight 1/8 as in RFC 6298).
    pub mean_rtt: Option<Duration>,
    /// When this node first heard of the peer.
    pub first_seen: Option<Timestamp>,
    /// When the peer last proved its key to this node.
    pub last_seen: Option<Timestamp>,
}

impl PeerStats {
    /// Counts a successful contact at `at`.
    pub fn contact_succeeded(&mut self, at: Timestamp) {
        self.successes = self.successes.saturating_add(1);
        self.consecutive_failures = 0;
        self.last_seen = self.last_seen.max(Some(at));
        self.first_seen = self.first_seen.or(Some(at));
    }

    /// Counts a failed attempt.
    pub fn contact_failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
    }

    /// Blends one measured response time into the mean.
    pub fn measured_rtt(&mut self, rtt: Duration) {
        self.mean_rtt = Some(match self.mean_rtt {
            None => rtt,
            Some(mean) => mean.saturating_mul(7).saturating_add(rtt) / 8,
        });
    }
}

/// Everything known of one peer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PeerRecord {
    /// The identity.
    pub key: PeerKey,
    /// The operator's label; at most [`limits::MAX_NAME_BYTES`].
    pub name: Option<String>,
    /// The operator's remark; at most [`limits::MAX_NOTE_BYTES`].
    pub note: Option<String>,
    /// Reserved: never evicted, never given up, exempt from connection limits.
    pub pinned: bool,
    /// Who vouches for the peer.
    pub source: PeerSource,
    /// Addresses of supported transports, by precedence; at most [`limits::MAX_ADDRESSES_PER_PEER`] that the operator
    /// did not write.
    pub addresses: Vec<PeerAddress>,
    /// Addresses of other transports, kept as written and never dialled.
    pub undialable: Vec<String>,
    /// What contact with it was like.
    pub status: PeerStatus,
    /// When the status last changed.
    pub status_since: Option<Timestamp>,
    /// Counters.
    pub stats: PeerStats,
    /// The newest record the peer signed about itself.
    pub record: Option<SignedRecord>,
    /// Fields this version does not know, as YAML or JSON text by field name; kept and written back.
    pub extra: BTreeMap<String, String>,
}

impl PeerRecord {
    /// A peer of which only the key is known.
    #[must_use]
    pub const fn new(key: PeerKey, source: PeerSource) -> Self {
        Self {
            key,
            name: None,
            note: None,
            pinned: false,
            source,
            addresses: Vec::new(),
            undialable: Vec::new(),
            status: PeerStatus::Unknown,
            status_since: None,
            stats: PeerStats {
                successes: 0,
                failures: 0,
                consecutive_failures: 0,
                mean_rtt: None,
                first_seen: None,
                last_seen: None,
            },
            record: None,
            extra: BTreeMap::new(),
        }
    }

    /// The identity in its libp2p text form.
    #[must_use]
    pub const fn peer_id(&self) -> PeerId {
        self.key.peer_id()
    }

    /// Sets the status; refreshes its time when it changes.
    pub fn update_status(&mut self, status: PeerStatus, at: Timestamp) {
        if self.status != status || self.status_since.is_none() {
            self.status = status;
            self.status_since = Some(at);
        }
    }

    /// True while refused.
    #[must_use]
    pub const fn is_banned(&self) -> bool {
        matches!(self.status, PeerStatus::Banned)
    }

    /// True when contact succeeded last.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        matches!(self.status, PeerStatus::Valid)
    }

    /// True when contact failed last.
    #[must_use]
    pub const fn is_inaccessible(&self) -> bool {
        matches!(self.status, PeerStatus::Inaccessible)
    }

    /// True for peers that are never evicted and never given up.
    #[must_use]
    pub const fn is_reserved(&self) -> bool {
        self.pinned || self.source.is_chosen_by_operator()
    }

    /// Adds an address, or raises the precedence of a known one. Returns whether anything changed.
    ///
    /// Addresses stay sorted by precedence; within one source, the order in which they were added is kept. Beyond
    /// [`limits::MAX_ADDRESSES_PER_PEER`] addresses the operator did not write, the least trusted one is dropped.
    pub fn add_address(&mut self, addr: PeerAddr, source: AddressSource) -> bool {
        match self.addresses.iter_mut().find(|known| known.addr == addr) {
            Some(known) if known.source <= source => return false,
            Some(known) => known.source = source,
            None => self.addresses.push(PeerAddress::new(addr.clone(), source)),
        }
        self.addresses.sort_by_key(|known| known.source);
        let by_others = |known: &PeerAddress| known.source != AddressSource::Operator;
        if self
            .addresses
            .iter()
            .filter(|known| by_others(known))
            .count()
            > limits::MAX_ADDRESSES_PER_PEER
        {
            self.addresses.pop();
        }
        self.addresses.iter().any(|known| known.addr == addr)
    }

    /// True when more addresses than `max` were not written by the operator.
    pub(crate) fn has_more_addresses_than(&self, max: usize) -> bool {
        let by_others = self.addresses.iter().rev();
        by_others
            .take_while(|known| known.source != AddressSource::Operator)
            .nth(max)
            .is_some()
    }

    /// Drops addresses, the least trusted first, until at most `max` are left that the operator did not write.
    pub(crate) fn limit_addresses(&mut self, max: usize) {
        while self.has_more_addresses_than(max) {
            self.addresses.pop();
        }
    }

    /// Replaces the addresses vouched for by the owner's signature, keeping what is known about the ones that stay.
    /// Addresses of higher precedence are untouched. Returns whether anything changed.
    pub fn set_signed_addresses(&mut self, signed: &[PeerAddr]) -> bool {
        let before = self.addresses.clone();
        self.addresses
            .retain(|known| known.source != AddressSource::Signed || signed.contains(&known.addr));
        for addr in signed {
            self.add_address(addr.clone(), AddressSource::Signed);
        }
        self.addresses != before
    }

    /// The addresses in the order they should be dialled: last good first, then by precedence, failing ones last.
    #[must_use]
    pub fn dial_order(&self) -> Vec<PeerAddr> {
        let mut order: Vec<&PeerAddress> = self
            .addresses
            .iter()
            .filter(|known| known.addr.is_dialable())
            .collect();
        order.sort_by_key(|known| {
            (
                known.failures,
                std::cmp::Reverse(known.last_success),
                known.source,
            )
        });
        order.into_iter().map(|known| known.addr.clone()).collect()
    }
}

/// A key that must not come back below a sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Forgotten {
    /// Records of the owner up to and including this sequence number are ignored.
    pub seq: u64,
    /// Who decided it. What an operator forgot comes back only by an operator.
    pub by: Issuer,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;

    fn record() -> PeerRecord {
        PeerRecord::new(SecretKey::from_seed([1; 32]).public(), PeerSource::Operator)
    }

    fn addr(port: u16) -> PeerAddr {
        format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn a_new_peer_is_unknown_and_a_status_change_refreshes_its_time() {
        let mut peer = record();
        assert_eq!(
            (peer.status, peer.status_since),
            (PeerStatus::Unknown, None)
        );
        peer.update_status(PeerStatus::Valid, Timestamp::from_secs(1));
        assert!(peer.is_valid() && !peer.is_banned() && !peer.is_inaccessible());
        peer.update_status(PeerStatus::Valid, Timestamp::from_secs(2));
        assert_eq!(peer.status_since, Some(Timestamp::from_secs(1)));
        peer.update_status(PeerStatus::Inaccessible, Timestamp::from_secs(3));
        assert_eq!(peer.status_since, Some(Timestamp::from_secs(3)));
        assert!(peer.is_inaccessible());
    }

    #[test]
    fn hearsay_never_outranks_or_replaces_what_others_vouch_for() {
        let liar = SecretKey::from_seed([2; 32]).public();
        let mut peer = record();
        assert!(peer.add_address(addr(1), AddressSource::Operator));
        assert!(!peer.add_address(addr(1), AddressSource::LearnedFrom(liar)));
        assert!(peer.add_address(addr(2), AddressSource::LearnedFrom(liar)));
        assert!(peer.add_address(addr(3), AddressSource::Signed));
        let order: Vec<_> = peer.addresses.iter().map(|a| a.source).collect();
        assert_eq!(
            order,
            [
                AddressSource::Operator,
                AddressSource::Signed,
                AddressSource::LearnedFrom(liar)
            ]
        );
        assert!(
            peer.add_address(addr(2), AddressSource::Signed),
            "precedence rises"
        );
    }

    #[test]
    fn the_address_cap_drops_the_least_trusted_and_never_the_operators() {
        let liar = SecretKey::from_seed([2; 32]).public();
        let mut peer = record();
        for port in 1..=20 {
            assert!(peer.add_address(addr(port), AddressSource::Operator));
        }
        let full = u16::try_from(limits::MAX_ADDRESSES_PER_PEER).unwrap();
        for port in 100..100 + full {
            assert!(peer.add_address(addr(port), AddressSource::LearnedFrom(liar)));
        }
        assert!(
            !peer.add_address(addr(999), AddressSource::LearnedFrom(liar)),
            "one past the cap is dropped"
        );
        assert!(
            peer.add_address(addr(998), AddressSource::Signed),
            "a better one pushes hearsay out"
        );
        assert_eq!(peer.addresses.len(), 20 + limits::MAX_ADDRESSES_PER_PEER);
        assert_eq!(
            peer.addresses
                .iter()
                .filter(|a| a.source == AddressSource::Operator)
                .count(),
            20
        );
    }

    #[test]
    fn a_newer_signed_record_replaces_signed_addresses_only() {
        let mut peer = record();
        peer.add_address(addr(1), AddressSource::Operator);
        peer.add_address(addr(2), AddressSource::Signed);
        assert!(peer.set_signed_addresses(&[addr(3)]));
        assert!(!peer.set_signed_addresses(&[addr(3)]));
        let known: Vec<_> = peer.addresses.iter().map(|a| a.addr.clone()).collect();
        assert_eq!(known, [addr(1), addr(3)]);
    }

    #[test]
    fn the_last_good_address_is_dialled_first_and_failing_ones_last() {
        let mut peer = record();
        for port in [1, 2, 3] {
            peer.add_address(addr(port), AddressSource::Operator);
        }
        peer.addresses[0].failures = 2;
        peer.addresses[2].last_success = Some(Timestamp::from_secs(9));
        assert_eq!(peer.dial_order(), [addr(3), addr(2), addr(1)]);
    }

    #[test]
    fn the_mean_response_time_moves_an_eighth_of_the_way() {
        let mut stats = PeerStats::default();
        stats.measured_rtt(Duration::from_millis(80));
        stats.measured_rtt(Duration::from_millis(160));
        assert_eq!(stats.mean_rtt, Some(Duration::from_millis(90)));
        stats.measured_rtt(Duration::MAX);
        assert!(stats.mean_rtt.is_some());
    }
}
