//! IPv4 and IPv6 by turns (RFC 8305, section 4): where one of them leads nowhere, the second attempt gets through.

use std::net::IpAddr;

use btcfed_core::addr::{Host, PeerAddr};

/// What an address leads over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Ipv4,
    Ipv6,
    /// A name: whatever the resolver says.
    Either,
}

fn family(addr: &PeerAddr) -> Family {
    match (addr.ip(), addr.host()) {
        (Some(IpAddr::V4(_)), _) | (None, Host::Dns4(_)) => Family::Ipv4,
        (Some(IpAddr::V6(_)), _) | (None, Host::Dns6(_)) => Family::Ipv6,
        _ => Family::Either,
    }
}

/// The same addresses: the first stays the first; of the others, each is of another family than the one before it as long
/// as there is one. Within a family the order is kept.
pub(crate) fn by_turns(addrs: Vec<PeerAddr>) -> Vec<PeerAddr> {
    let mut rest: Vec<(Family, PeerAddr)> = addrs
        .into_iter()
        .map(|addr| (family(&addr), addr))
        .collect();
    let mut ordered = Vec::with_capacity(rest.len());
    let mut last = None;
    while !rest.is_empty() {
        let next = rest.iter().position(|(family, _)| Some(*family) != last);
        let (family, addr) = rest.remove(next.unwrap_or_default());
        last = Some(family);
        ordered.push(addr);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(addrs: &[&str]) -> Vec<String> {
        let addrs = addrs.iter().map(|text| text.parse().unwrap()).collect();
        by_turns(addrs).iter().map(ToString::to_string).collect()
    }

    const V4: [&str; 3] = [
        "/ip4/192.0.2.1/tcp/1",
        "/ip4/192.0.2.2/tcp/1",
        "/dns4/c.example.com/tcp/1",
    ];
    const V6: [&str; 3] = [
        "/ip6/2001:db8::1/tcp/1",
        "/ip6/2001:db8::2/tcp/1",
        "/dns6/c.example.com/tcp/1",
    ];
    const NAME: &str = "/dns/d.example.com/tcp/1";

    #[test]
    fn the_first_stays_the_first_and_then_the_families_take_turns() {
        let [a, b, c] = V4;
        let [x, y, z] = V6;
        assert_eq!(ordered(&[a, b, c, x, y, z]), [a, x, b, y, c, z]);
        assert_eq!(ordered(&[x, y, a, b]), [x, a, y, b]);
        assert_eq!(ordered(&[a, b, NAME, x]), [a, NAME, b, x]);
    }

    #[test]
    fn one_family_alone_none_and_a_surplus_keep_their_order() {
        let [a, b, c] = V4;
        assert_eq!(ordered(&V4), V4);
        assert_eq!(ordered(&[]), Vec::<String>::new());
        assert_eq!(ordered(&[a, b, c, V6[0]]), [a, V6[0], b, c]);
        // IPv6 that only wraps IPv4 is IPv4.
        let mapped = "/ip6/::ffff:192.0.2.9/tcp/1";
        let seen = ordered(&[a, b, mapped, V6[0]]);
        assert_eq!(seen[1], V6[0], "{seen:?}");
    }
}
