//! How far an address means the same thing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address is meaningful. Decides over which links it may be gossiped and whether hearsay of it may be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AddrScope {
    /// A name: what it stands for is known only after asking.
    Dns,
    /// One network segment (169.254/16, `fe80::/10`), or a cloud's metadata service, which answers secrets to whoever asks
    /// from the inside and must never be dialled on a stranger's word.
    LinkLocal,
    /// This host only.
    Loopback,
    /// One site: RFC 1918, carrier-grade NAT (100.64/10), unique and site-local IPv6.
    Private,
    /// Everywhere else.
    Public,
    /// No single host: unspecified (0/8 and ::), multicast, broadcast.
    Unspecified,
}

/// Metadata services outside the link-local ranges: Alibaba, Azure, Oracle.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// Metadata services in the unique-local range: Amazon, Google.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254),
];

impl AddrScope {
    /// The scope of an IP address. IPv6 forms that carry an IPv4 address (mapped, compatible, NAT64, 6to4) have the scope
    /// of what they carry, so that a loopback or private target cannot hide in a public-looking one.
    #[must_use]
    pub fn of_ip(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self::of_ipv4(v4),
            IpAddr::V6(v6) => Self::of_ipv6(v6),
        }
    }

    fn of_ipv4(ip: Ipv4Addr) -> Self {
        let [first, second, ..] = ip.octets();
        if first == 0 || ip.is_multicast() || ip.is_broadcast() {
            Self::Unspecified
        } else if ip.is_loopback() {
            Self::Loopback
        } else if ip.is_link_local() || METADATA_V4.contains(&ip) {
            Self::LinkLocal
        } else if ip.is_private() || (first == 100 && second & 0xc0 == 64) {
            Self::Private
        } else {
            Self::Public
        }
    }

    fn of_ipv6(ip: Ipv6Addr) -> Self {
        let [a, b, c, d, e, f, g, h] = ip.segments();
        let carried = |high: u16, low: u16| {
            let [[w, x], [y, z]] = [high.to_be_bytes(), low.to_be_bytes()];
            Self::of_ipv4(Ipv4Addr::new(w, x, y, z))
        };
        match [a, b, c, d, e, f] {
            _ if ip.is_loopback() => Self::Loopback,
            _ if ip.is_multicast() => Self::Unspecified,
            _ if METADATA_V6.contains(&ip) || a & 0xffc0 == 0xfe80 => Self::LinkLocal,
            _ if a & 0xfe00 == 0xfc00 || a & 0xffc0 == 0xfec0 => Self::Private,
            [0, 0, 0, 0, 0, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => carried(g, h),
            [0x64, 0xff9b, 1, ..] => Self::Private,
            [0x2002, ..] => carried(b, c),
            _ => Self::Public,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(ip: &str) -> AddrScope {
        AddrScope::of_ip(ip.parse().unwrap())
    }

    #[test]
    fn every_range_has_its_scope_at_both_edges() {
        use AddrScope::{LinkLocal, Loopback, Private, Public, Unspecified};
        for (first, last, expected) in [
            ("0.0.0.0", "0.255.255.255", Unspecified),
            ("1.0.0.0", "9.255.255.255", Public),
            ("10.0.0.0", "10.255.255.255", Private),
            ("100.64.0.0", "100.127.255.255", Private),
            ("100.63.255.255", "100.128.0.0", Public),
            ("127.0.0.0", "127.255.255.255", Loopback),
            ("169.254.0.0", "169.254.255.255", LinkLocal),
            ("172.16.0.0", "172.31.255.255", Private),
            ("172.15.255.255", "172.32.0.0", Public),
            ("192.168.0.0", "192.168.255.255", Private),
            ("224.0.0.0", "239.255.255.255", Unspecified),
            ("255.255.255.255", "::", Unspecified),
            ("::1", "::ffff:127.0.0.1", Loopback),
            ("fc00::", "fdff:ffff::", Private),
            ("fe80::", "febf::1", LinkLocal),
            ("fec0::", "feff::1", Private),
            ("ff00::", "ff02::1", Unspecified),
            ("2001:db8::1", "2606:4700::1111", Public),
        ] {
            assert_eq!(
                (scope(first), scope(last)),
                (expected, expected),
                "{first} {last}"
            );
        }
    }

    #[test]
    fn a_carried_ipv4_address_decides_the_scope() {
        assert_eq!(scope("64:ff9b::7f00:1"), AddrScope::Loopback);
        assert_eq!(scope("64:ff9b::808:808"), AddrScope::Public);
        assert_eq!(scope("64:ff9b:1::808:808"), AddrScope::Private);
        assert_eq!(scope("2002:a9fe:a9fe::"), AddrScope::LinkLocal);
        assert_eq!(scope("2002:c0a8:101::1"), AddrScope::Private);
        assert_eq!(scope("::10.0.0.1"), AddrScope::Private);
        assert_eq!(scope("::2"), AddrScope::Unspecified);
    }

    #[test]
    fn metadata_services_count_as_link_local() {
        for ip in [
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd20:ce::254",
        ] {
            assert_eq!(scope(ip), AddrScope::LinkLocal, "{ip}");
        }
    }
}
