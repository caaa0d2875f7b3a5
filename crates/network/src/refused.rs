//! Who is refused, in the form that answers fastest: every question takes the same time however long the list is.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};

use btcfed_core::PeerKey;
use btcfed_core::ban::{BanTarget, IpNet};

/// The refused peers and networks, shared by the gate (who connects) and the transport (where names lead to).
#[derive(Debug, Default)]
pub(crate) struct Refused(RwLock<Lists>);

#[derive(Debug, Default)]
struct Lists {
    peers: HashSet<PeerKey>,
    ips: HashSet<IpAddr>,
    nets: HashSet<IpNet>,
    /// The prefix lengths that occur in `nets`, by family: at most 162 probes per question.
    prefixes: BTreeSet<(bool, u8)>,
}

impl Refused {
    /// Replaces the whole list.
    pub(crate) fn replace(&self, targets: &[BanTarget]) {
        let mut lists = Lists::default();
        for target in targets {
            match *target {
                BanTarget::Cidr(net) => {
                    lists.nets.insert(net);
                    lists.prefixes.insert((net.addr().is_ipv4(), net.prefix()));
                }
                BanTarget::Ip(ip) => {
                    lists.ips.insert(ip.to_canonical());
                }
                BanTarget::Peer(peer) => {
                    lists.peers.insert(peer);
                }
            }
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = lists;
    }

    /// True when this identity is refused.
    pub(crate) fn peer(&self, peer: &PeerKey) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .peers
            .contains(peer)
    }

    /// True when this address is refused, in whatever spelling it comes.
    pub(crate) fn ip(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let lists = self.0.read().unwrap_or_else(PoisonError::into_inner);
        lists.ips.contains(&ip)
            || lists.prefixes.iter().any(|&(is_ipv4, prefix)| {
                is_ipv4 == ip.is_ipv4()
                    && IpNet::new(ip, prefix).is_some_and(|net| lists.nets.contains(&net))
            })
    }
}

#[cfg(test)]
mod tests {
    use btcfed_core::SecretKey;

    use super::*;

    #[test]
    fn peers_addresses_and_networks_are_refused_in_every_spelling_until_the_list_is_replaced() {
        let refused = Refused::default();
        let peer = SecretKey::from_seed([1; 32]).public();
        refused.replace(&[
            BanTarget::Peer(peer),
            BanTarget::Ip("192.0.2.1".parse().unwrap()),
            BanTarget::Cidr("10.0.0.0/8".parse().unwrap()),
            BanTarget::Cidr("2001:db8::/32".parse().unwrap()),
        ]);
        assert!(refused.peer(&peer));
        assert!(!refused.peer(&SecretKey::from_seed([2; 32]).public()));
        for ip in [
            "192.0.2.1",
            "::ffff:192.0.2.1",
            "10.0.0.0",
            "10.255.255.255",
            "::ffff:10.1.1.1",
            "2001:db8::1",
        ] {
            assert!(refused.ip(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["192.0.2.2", "11.0.0.0", "2001:db9::", "::1", "0.0.0.0"] {
            assert!(!refused.ip(ip.parse().unwrap()), "{ip}");
        }
        refused.replace(&[]);
        assert!(!refused.peer(&peer) && !refused.ip("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn the_default_routes_cover_their_own_family_only() {
        let refused = Refused::default();
        refused.replace(&[BanTarget::Cidr("0.0.0.0/0".parse().unwrap())]);
        assert!(refused.ip("255.255.255.255".parse().unwrap()));
        assert!(!refused.ip("::1".parse().unwrap()));
    }
}
