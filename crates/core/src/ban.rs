//! Bans: who is refused, why, since when, until when, and by whom.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::error::ParseError;
use crate::key::PeerKey;
use crate::time::Timestamp;

/// What a ban refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BanTarget {
    /// Every address of a network, in CIDR notation.
    Cidr(IpNet),
    /// One IP address.
    Ip(IpAddr),
    /// One identity, whatever address it comes from.
    Peer(PeerKey),
}

impl BanTarget {
    /// True when the canonical form of `ip` falls under this ban. Always false for identities.
    #[must_use]
    pub fn covers_ip(&self, ip: IpAddr) -> bool {
        match self {
            Self::Cidr(net) => net.contains(ip),
            Self::Ip(banned) => *banned == ip.to_canonical(),
            Self::Peer(_) => false,
        }
    }
}

/// An IP network in CIDR notation, with its host bits cleared and IPv4-mapped networks folded to IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpNet {
    addr: IpAddr,
    prefix: u8,
}

impl IpNet {
    /// The network of `prefix` bits around `addr`; `None` when `prefix` is longer than the address.
    #[must_use]
    pub fn new(addr: IpAddr, prefix: u8) -> Option<Self> {
        let (addr, prefix) = match addr {
            IpAddr::V6(v6) if prefix >= 96 && v6.to_ipv4_mapped().is_some() => {
                (addr.to_canonical(), prefix - 96)
            }
            _ => (addr, prefix),
        };
        let addr = match addr {
            IpAddr::V4(v4) if prefix <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V4((u32::from(v4) & mask).into())
            }
            IpAddr::V6(v6) if prefix <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
            }
            IpAddr::V4(_) | IpAddr::V6(_) => return None,
        };
        Some(Self { addr, prefix })
    }

    /// True when the canonical form of `ip` lies in this network.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.addr.is_ipv4()
            && Self::new(ip, self.prefix).is_some_and(|net| net.addr == self.addr)
    }

    /// The first address of the network.
    #[must_use]
    pub const fn addr(&self) -> IpAddr {
        self.addr
    }

    /// The number of fixed leading bits: 0 to 32 for IPv4, 0 to 128 for IPv6.
    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

impl FromStr for IpNet {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = || {
            ParseError::new(
                "network",
                "expected CIDR notation such as 10.0.0.0/8 or fd00::/8",
            )
        };
        let (addr, prefix) = text.split_once('/').ok_or_else(refuse)?;
        if prefix.is_empty() || prefix.len() > 3 || !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refuse());
        }
        let addr: IpAddr = addr.parse().map_err(|_| refuse())?;
        Self::new(addr, prefix.parse().map_err(|_| refuse())?).ok_or_else(refuse)
    }
}

/// Why somebody was banned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BanReason {
    /// The peer runs software this federation refuses.
    BannedUserAgent,
    /// The peer follows another chain.
    BlockchainMismatch,
    /// The peer sent data that is provably bad.
    Misbehaviour,
    /// The peer belongs to another Bitcoin network or another federation.
    NetworkMismatch,
    /// The operator's own words.
    Other(String),
}

impl BanReason {
    /// The text written to files: a fixed word, or the operator's own words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::BannedUserAgent => "banned_user_agent",
            Self::BlockchainMismatch => "blockchain_mismatch",
            Self::Misbehaviour => "misbehaviour",
            Self::NetworkMismatch => "network_mismatch",
            Self::Other(words) => words,
        }
    }

    /// The reason a text stands for. Never fails: unknown words are the operator's own.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        match text {
            "banned_user_agent" => Self::BannedUserAgent,
            "blockchain_mismatch" => Self::BlockchainMismatch,
            "misbehaviour" => Self::Misbehaviour,
            "network_mismatch" => Self::NetworkMismatch,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for BanReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who decided something about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Issuer {
    /// The node itself.
    Node,
    /// A person, by command or by editing the file.
    Operator,
}

impl Issuer {
    /// The stable lower-case name used in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Operator => "operator",
        }
    }
}

/// One ban.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ban {
    /// What it refuses.
    pub target: BanTarget,
    /// Why.
    pub reason: BanReason,
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None` means until somebody lifts it.
    pub until: Option<Timestamp>,
    /// Who issued it.
    pub by: Issuer,
    /// What proved it, in one line, if anything did.
    pub evidence: Option<String>,
}

impl Ban {
    /// True while the ban is in force.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_clears_its_host_bits_and_contains_its_edges_only() {
        let ten = net("10.1.2.3/8");
        assert_eq!(ten.to_string(), "10.0.0.0/8");
        assert!(ten.contains("10.255.255.255".parse().unwrap()));
        assert!(!ten.contains("11.0.0.0".parse().unwrap()));
        assert!(net("0.0.0.0/0").contains("255.255.255.255".parse().unwrap()));
        assert!(!net("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert!(net("::/0").contains("fd00::1".parse().unwrap()));
        assert!(net("1.2.3.4/32").contains("1.2.3.4".parse().unwrap()));
    }

    #[test]
    fn ipv4_mapped_addresses_and_networks_are_the_ipv4_ones() {
        assert!(net("10.0.0.0/8").contains("::ffff:10.9.9.9".parse().unwrap()));
        assert_eq!(net("::ffff:10.0.0.0/104"), net("10.0.0.0/8"));
        assert!(
            BanTarget::Ip("1.2.3.4".parse().unwrap()).covers_ip("::ffff:1.2.3.4".parse().unwrap())
        );
    }

    #[test]
    fn bad_networks_are_refused() {
        for bad in [
            "10.0.0.0",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0/8",
            "x/8",
            "10.0.0.0/0008",
        ] {
            assert!(bad.parse::<IpNet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_ban_ends_exactly_at_its_expiry() {
        let ban = Ban {
            target: BanTarget::Ip("1.2.3.4".parse().unwrap()),
            reason: BanReason::Misbehaviour,
            since: Timestamp::from_secs(1),
            until: Some(Timestamp::from_secs(10)),
            by: Issuer::Node,
            evidence: None,
        };
        assert!(ban.is_active(Timestamp::from_millis(9_999)));
        assert!(!ban.is_active(Timestamp::from_secs(10)));
        assert!(Ban { until: None, ..ban }.is_active(Timestamp::MAX));
    }

    #[test]
    fn every_reason_reads_back_as_itself() {
        for reason in [
            BanReason::BannedUserAgent,
            BanReason::BlockchainMismatch,
            BanReason::Misbehaviour,
            BanReason::NetworkMismatch,
            BanReason::Other("left the federation".into()),
        ] {
            assert_eq!(BanReason::from_text(reason.as_str()), reason);
        }
    }
}
