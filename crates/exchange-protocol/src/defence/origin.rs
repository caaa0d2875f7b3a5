//! Where identities that were never met come from: no source and no network may fill the list alone.
//!
//! An index over the store, never a copy of it: of every learned peer that was never met, who told of it first and in which
//! network it is. A peer that was met, or is gone, leaves the index. While the list is less than half full nothing is
//! refused, so a newcomer may fetch all of a federation from one neighbour.

use std::collections::BTreeMap;
use std::net::IpAddr;

use btcfed_core::addr::{AddrScope, Host};
use btcfed_core::{PeerAddr, PeerKey, SignedRecord};

use crate::limits;
use crate::view::View;

/// A part of the network that one party may hold as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    /// The first 16 bits of a public IPv4 address.
    Ip4([u8; 2]),
    /// The first 32 bits of a public IPv6 address.
    Ip6([u8; 4]),
    /// The last two labels of a name.
    Name(String),
}

/// The group of an address. Addresses of one machine or a private network have none: they are only told over links
/// within it, so no outsider makes them up, and a federation in one room shares a group.
fn group(addr: &PeerAddr) -> Option<Group> {
    match (addr.scope(), addr.host(), addr.ip()) {
        (AddrScope::Public, _, Some(IpAddr::V4(ip))) => {
            let [a, b, ..] = ip.octets();
            Some(Group::Ip4([a, b]))
        }
        (AddrScope::Public, _, Some(IpAddr::V6(ip))) => {
            let [a, b, c, d, ..] = ip.octets();
            Some(Group::Ip6([a, b, c, d]))
        }
        (AddrScope::Dns, Host::Dns(n) | Host::Dns4(n) | Host::Dns6(n) | Host::Dnsaddr(n), _) => {
            let name = n.to_string();
            let mut labels: Vec<&str> = name.rsplit('.').take(2).collect();
            labels.reverse();
            Some(Group::Name(labels.join(".")))
        }
        _ => None,
    }
}

#[derive(Clone, Debug)]
struct Origin {
    source: PeerKey,
    group: Option<Group>,
}

/// Who told of whom.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    of: BTreeMap<PeerKey, Origin>,
    by_source: BTreeMap<PeerKey, usize>,
    by_group: BTreeMap<Group, usize>,
    is_outdated: bool,
}

impl Origins {
    /// True when there is room for one more identity from this source, in a list of `listed` out of `most` peers.
    pub(crate) fn admits(
        &self,
        source: &PeerKey,
        record: &SignedRecord,
        listed: usize,
        most: usize,
    ) -> bool {
        if listed < limits::share(limits::CROWDED_ABOVE, most) {
            return true;
        }
        let of_source = self.by_source.get(source).copied().unwrap_or(0);
        let group = record.addresses().first().and_then(group);
        let of_group = group
            .and_then(|group| self.by_group.get(&group))
            .copied()
            .unwrap_or(0);
        of_source < limits::share(limits::MAX_UNMET_PER_SOURCE, most)
            && of_group < limits::share(limits::MAX_UNMET_PER_GROUP, most)
    }

    /// An identity that is new to this node came from this source.
    pub(crate) fn add(&mut self, source: PeerKey, record: &SignedRecord) {
        let key = record.key();
        if key == source || self.of.len() >= limits::MAX_ORIGINS || self.of.contains_key(&key) {
            return;
        }
        let group = record.addresses().first().and_then(group);
        *self.by_source.entry(source).or_default() += 1;
        if let Some(group) = &group {
            *self.by_group.entry(group.clone()).or_default() += 1;
        }
        self.of.insert(key, Origin { source, group });
    }

    /// The store changed: whoever was met or is gone counts against nobody. Without names anybody may have changed; they are
    /// looked at when it matters.
    pub(crate) fn update<'a>(
        &mut self,
        view: &View,
        mut changed: impl Iterator<Item = &'a PeerKey>,
    ) {
        let Some(first) = changed.next() else {
            self.is_outdated = true;
            return;
        };
        for key in std::iter::once(first).chain(changed) {
            if !view.is_unmet(key) {
                self.remove(key);
            }
        }
    }

    /// Looks at everybody, if that is due and a list of `most` peers is crowded.
    pub(crate) fn refresh(&mut self, view: &View, most: usize) {
        let is_crowded = view.size_bound() >= limits::share(limits::CROWDED_ABOVE, most);
        if !is_crowded || !std::mem::take(&mut self.is_outdated) {
            return;
        }
        let keys = self.of.keys().filter(|key| !view.is_unmet(key));
        let done: Vec<PeerKey> = keys.copied().collect();
        for key in &done {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: &PeerKey) {
        let Some(origin) = self.of.remove(key) else {
            return;
        };
        decrease(&mut self.by_source, &origin.source);
        if let Some(group) = &origin.group {
            decrease(&mut self.by_group, group);
        }
    }
}

fn decrease<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use btcfed_core::limits::MAX_PEERS;
    use btcfed_core::{Now, PeerOp, PeerPatch, PeerSet, SecretKey};

    use super::*;

    fn record(n: usize, addr: &str) -> SignedRecord {
        let mut seed = [8; 32];
        seed[..8].copy_from_slice(&n.to_le_bytes());
        SignedRecord::sign(&SecretKey::from_seed(seed), 1, &[addr.parse().unwrap()]).unwrap()
    }

    fn filled(source: usize, count: usize, addr: impl Fn(usize) -> String) -> Origins {
        let mut origins = Origins::default();
        for n in 0..count {
            origins.add(record(source, &addr(n)).key(), &record(1000 + n, &addr(n)));
        }
        origins
    }

    #[test]
    fn groups_are_those_of_public_addresses_and_names() {
        let of = |text: &str| group(&text.parse().unwrap());
        assert_eq!(of("/ip4/8.9.10.11/tcp/1"), Some(Group::Ip4([8, 9])));
        assert_eq!(
            of("/ip6/2a01:4f8:1:2::3/tcp/1"),
            Some(Group::Ip6([0x2a, 1, 4, 0xf8]))
        );
        let name = Some(Group::Name("example.com".to_owned()));
        assert_eq!(of("/dns4/a.b.example.com/tcp/1"), name);
        for none in [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/10.1.2.3/tcp/1",
            "/ip6/fd00::1/tcp/1",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn a_source_has_its_share_of_a_crowded_list_and_another_source_still_has_its_own() {
        let most = limits::MAX_UNMET_PER_SOURCE;
        let addr = |n: usize| format!("/ip4/{}.{}.1.1/tcp/1", 11 + n % 40, n % 200);
        let (own, fresh) = (
            record(1, "/ip4/8.8.8.8/tcp/1").key(),
            record(9, "/ip4/9.9.9.9/tcp/1"),
        );
        let crowded = limits::CROWDED_ABOVE;
        assert!(filled(1, most - 1, addr).admits(&own, &fresh, crowded, MAX_PEERS));
        let full = filled(1, most, addr);
        assert!(!full.admits(&own, &fresh, crowded, MAX_PEERS));
        assert!(
            full.admits(&own, &fresh, crowded - 1, MAX_PEERS),
            "there is room for all"
        );
        assert!(full.admits(&fresh.key(), &fresh, crowded, MAX_PEERS));
    }

    #[test]
    fn a_network_has_its_share_and_a_room_has_none() {
        let most = limits::MAX_UNMET_PER_GROUP;
        let addr = |n: usize| format!("/ip4/8.8.{}.{}/tcp/1", n / 250, 1 + n % 250);
        let source = record(5, "/ip4/7.7.7.7/tcp/1").key();
        let crowded = limits::CROWDED_ABOVE;
        let inside = record(9, "/ip4/8.8.200.1/tcp/1");
        assert!(filled(1, most - 1, addr).admits(&source, &inside, crowded, MAX_PEERS));
        assert!(!filled(1, most, addr).admits(&source, &inside, crowded, MAX_PEERS));
        assert!(filled(1, most, addr).admits(
            &source,
            &record(9, "/ip4/8.9.1.1/tcp/1"),
            crowded,
            MAX_PEERS
        ));
        let room = |n: usize| format!("/ip4/10.8.{}.{}/tcp/1", n / 250, 1 + n % 250);
        let neighbour = record(9, "/ip4/10.8.200.1/tcp/1");
        assert!(filled(1, most, room).admits(&source, &neighbour, crowded, MAX_PEERS));
    }

    #[test]
    fn a_short_list_has_the_same_shares_of_its_length() {
        let addr = |n: usize| format!("/ip4/{}.{}.1.1/tcp/1", 11 + n % 40, n % 200);
        let (own, fresh) = (
            record(1, "/ip4/8.8.8.8/tcp/1").key(),
            record(9, "/ip4/9.9.9.9/tcp/1"),
        );
        // 160 peers at most: crowded from 80 on, 60 of one source, 10 of one network.
        let full = filled(1, 60, addr);
        assert!(filled(1, 59, addr).admits(&own, &fresh, 80, 160));
        assert!(!full.admits(&own, &fresh, 80, 160));
        assert!(full.admits(&own, &fresh, 79, 160));
        let near = |n: usize| format!("/ip4/9.9.1.{}/tcp/1", 1 + n);
        let other = record(5, "/ip4/7.7.7.7/tcp/1").key();
        assert!(filled(1, 9, near).admits(&other, &fresh, 80, 160));
        assert!(!filled(1, 10, near).admits(&other, &fresh, 80, 160));
        // However short the list: one of each.
        assert!(filled(1, 0, near).admits(&own, &fresh, 1, 1));
        assert!(!filled(1, 1, near).admits(&own, &fresh, 1, 1));
    }

    #[test]
    fn the_index_is_bounded() {
        let origins = filled(1, limits::MAX_ORIGINS + 1, |_| {
            "/ip4/10.1.1.1/tcp/1".to_owned()
        });
        assert_eq!(origins.of.len(), limits::MAX_ORIGINS);
    }

    #[test]
    fn who_was_met_or_is_gone_counts_against_nobody() {
        let addr = |_| "/ip4/8.8.8.8/tcp/1".to_owned();
        let mut origins = filled(1, 3, addr);
        let records: Vec<_> = (1000..1003).map(|n| record(n, &addr(0))).collect();
        let mut patch: PeerPatch = records.iter().take(2).cloned().map(PeerOp::Learn).collect();
        let met = records[0].key();
        patch.ops.push(PeerOp::ContactSucceeded {
            key: met,
            addr: None,
        });
        let set = PeerSet::default().apply(&patch, Now::default()).unwrap().0;
        let view = |set| View::new(record(0, &addr(0)).key(), Arc::new(set));
        origins.update(&view(set), [met].iter());
        assert_eq!((origins.of.len(), origins.by_group.len()), (2, 1));
        let empty = view(PeerSet::default());
        origins.update(&empty, [].iter());
        origins.refresh(&empty, MAX_PEERS);
        assert_eq!(origins.of.len(), 2, "not crowded: nobody needs to know");
        origins.update(&empty, [records[1].key(), records[2].key()].iter());
        assert!(
            origins.of.is_empty() && origins.by_source.is_empty() && origins.by_group.is_empty()
        );
    }
}
