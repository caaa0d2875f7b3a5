//! Addresses: the multiaddrs this federation dials, in their one spelling.
//!
//! Grammar: `/ip4|ip6|dns|dns4|dns6|dnsaddr/HOST/tcp/PORT`, where `dnsaddr` may come without a port. Parsing validates
//! and folds: case and trailing dot of names, IPv6 text (RFC 5952), IPv4-mapped IPv6. Other transports are told apart
//! from nonsense, so that a file can keep what nobody here dials.

mod assembly;
mod binary;
mod dns_name;
pub(crate) mod packed;
mod protocol;
mod scope;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

pub use self::dns_name::DnsName;
pub use self::scope::AddrScope;

use self::assembly::{Assembly, Component};
use self::protocol::Value;
use crate::error::ParseError;
use crate::key::PeerId;
use crate::limits;

/// How much of a hostile text a refusal repeats, in characters after escaping.
const MAX_QUOTED: usize = 64;

/// Why a text or bytes are no [`PeerAddr`]. Two outcomes on purpose: refuse it, or keep it without dialling.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddrError {
    /// Not an address.
    #[error(transparent)]
    Malformed(#[from] ParseError),
    /// A multiaddr, but of a transport that is not spoken here: worth keeping, never dialled.
    #[error(
        "protocol {protocol} is not supported, only tcp over ip4, ip6, dns, dns4, dns6 or dnsaddr"
    )]
    Unsupported {
        /// The first protocol that is not spoken here.
        protocol: String,
    },
}

/// Where a peer may be reached, without saying who it is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerAddr {
    host: Host,
    port: Option<u16>,
}

/// The host part of a [`PeerAddr`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// An IPv4 address.
    Ip4(Ipv4Addr),
    /// An IPv6 address.
    Ip6(Ipv6Addr),
    /// A name with addresses of either family.
    Dns(DnsName),
    /// A name, of which only IPv4 addresses count.
    Dns4(DnsName),
    /// A name, of which only IPv6 addresses count.
    Dns6(DnsName),
    /// A name whose `_dnsaddr` TXT records hold whole multiaddrs.
    Dnsaddr(DnsName),
}

impl PeerAddr {
    /// The address of a TCP port at `host`. IPv4-mapped IPv6 folds to IPv4.
    #[must_use]
    pub fn new(host: Host, port: u16) -> Self {
        let host = match host {
            Host::Ip6(v6) => v6.to_ipv4_mapped().map_or(Host::Ip6(v6), Host::Ip4),
            other => other,
        };
        Self {
            host,
            port: Some(port),
        }
    }

    /// The address that stands for the TXT records of `name`.
    #[must_use]
    pub const fn dnsaddr(name: DnsName) -> Self {
        Self {
            host: Host::Dnsaddr(name),
            port: None,
        }
    }

    /// The address of a TCP socket. Flow label and zone of IPv6 are dropped.
    #[must_use]
    pub fn from_socket_addr(addr: SocketAddr) -> Self {
        let host = match addr.ip() {
            IpAddr::V4(v4) => Host::Ip4(v4),
            IpAddr::V6(v6) => Host::Ip6(v6),
        };
        Self::new(host, addr.port())
    }

    /// The host part.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The TCP port; `None` only for a `dnsaddr` without one.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// The IP address, if the host is one.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        match &self.host {
            Host::Ip4(v4) => Some(IpAddr::V4(*v4)),
            Host::Ip6(v6) => Some(IpAddr::V6(*v6)),
            Host::Dns(_) | Host::Dns4(_) | Host::Dns6(_) | Host::Dnsaddr(_) => None,
        }
    }

    /// The socket address, if the host is an IP address.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.ip()?, self.port?))
    }

    /// Where this address is meaningful.
    #[must_use]
    pub fn scope(&self) -> AddrScope {
        self.ip().map_or(AddrScope::Dns, AddrScope::of_ip)
    }

    /// True when a connection to it can be attempted at all: not port 0, not unspecified, multicast or broadcast.
    #[must_use]
    pub fn is_dialable(&self) -> bool {
        self.port != Some(0) && self.scope() != AddrScope::Unspecified
    }

    /// True when a node can listen on it: an IP address of one host or the unspecified one, with any port, 0 included.
    #[must_use]
    pub fn is_listenable(&self) -> bool {
        self.ip()
            .is_some_and(|ip| ip.is_unspecified() || AddrScope::of_ip(ip) != AddrScope::Unspecified)
    }

    /// Reads exactly what [`Display`](fmt::Display) writes, and faster than [`FromStr`], which takes other spellings too.
    /// `None` for every other text, whether or not it is an address.
    #[must_use]
    pub fn from_canonical_text(text: &str) -> Option<Self> {
        let (protocol, rest) = split_at_slash(text.strip_prefix('/')?)?;
        let (value, port) = match split_at_slash(rest) {
            Some((value, rest)) => (value, Some(read_port(rest.strip_prefix("tcp/")?).ok()?)),
            None => (rest, None),
        };
        let name = || DnsName::from_canonical(value);
        let host = match protocol.as_bytes() {
            b"ip4" => Host::Ip4(value.parse().ok()?),
            b"ip6" => {
                let ip: Ipv6Addr = value.parse().ok()?;
                let is_canonical = ip.to_ipv4_mapped().is_none() && ip.to_string() == value;
                is_canonical.then_some(Host::Ip6(ip))?
            }
            b"dns" => Host::Dns(name()?),
            b"dns4" => Host::Dns4(name()?),
            b"dns6" => Host::Dns6(name()?),
            b"dnsaddr" => Host::Dnsaddr(name()?),
            _ => return None,
        };
        let is_whole = port.is_some() || matches!(host, Host::Dnsaddr(_));
        is_whole.then_some(Self { host, port })
    }

    /// The binary multiaddr.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32);
        binary::write(self, &mut bytes);
        bytes
    }

    /// Reads a binary multiaddr.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AddrError> {
        binary::read(bytes)?.without_id()
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip4(v4) => write!(f, "/ip4/{v4}")?,
            Host::Ip6(v6) => write!(f, "/ip6/{v6}")?,
            Host::Dns(name) => write!(f, "/dns/{name}")?,
            Host::Dns4(name) => write!(f, "/dns4/{name}")?,
            Host::Dns6(name) => write!(f, "/dns6/{name}")?,
            Host::Dnsaddr(name) => write!(f, "/dnsaddr/{name}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, "/tcp/{port}"))
    }
}

impl fmt::Debug for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerAddr({self})")
    }
}

impl From<SocketAddr> for PeerAddr {
    fn from(addr: SocketAddr) -> Self {
        Self::from_socket_addr(addr)
    }
}

impl FromStr for PeerAddr {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        text.parse::<AddrWithId>()?.without_id()
    }
}

/// An address that may also say who is expected there: a [`PeerAddr`], optionally followed by `/p2p/ID`.
///
/// The old spelling `/ipfs/ID` is read as `/p2p/ID`, as libp2p does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddrWithId {
    /// Where.
    pub addr: PeerAddr,
    /// Who, if the address says so.
    pub peer_id: Option<PeerId>,
}

impl AddrWithId {
    /// The binary multiaddr.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.addr.to_bytes();
        if let Some(id) = self.peer_id {
            binary::write_id(id, &mut bytes);
        }
        bytes
    }

    /// Reads a binary multiaddr.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AddrError> {
        binary::read(bytes)
    }

    fn without_id(self) -> Result<PeerAddr, AddrError> {
        match self.peer_id {
            None => Ok(self.addr),
            Some(_) => Err(malformed(
                "ends in a peer id (/p2p/ID), which has no place here",
            )),
        }
    }
}

impl From<PeerAddr> for AddrWithId {
    fn from(addr: PeerAddr) -> Self {
        Self {
            addr,
            peer_id: None,
        }
    }
}

impl fmt::Display for AddrWithId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.addr)?;
        self.peer_id.map_or(Ok(()), |id| write!(f, "/p2p/{id}"))
    }
}

impl FromStr for AddrWithId {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        if text.len() > limits::MAX_ADDR_TEXT_BYTES {
            let max = limits::MAX_ADDR_TEXT_BYTES;
            return Err(malformed(format!(
                "{} bytes is too long, at most {max}",
                text.len()
            )));
        }
        let Some(components) = text.strip_prefix('/') else {
            return Err(malformed(format!(
                "{} is not a multiaddr such as /ip4/192.0.2.1/tcp/9000",
                quote(text)
            )));
        };
        let mut parts = components.split('/');
        let mut assembly = Assembly::default();
        while let Some(name) = parts.next() {
            assembly.push(read_component(name, &mut parts)?);
        }
        assembly.finish()
    }
}

/// What is before the first slash, and what is after it. The parts of an address are short.
fn split_at_slash(text: &str) -> Option<(&str, &str)> {
    let place = text.bytes().position(|byte| byte == b'/')?;
    Some((text.get(..place)?, text.get(place + 1..)?))
}

/// Reads the component called `name`, taking its value from `parts`.
fn read_component<'a>(
    name: &str,
    parts: &mut impl Iterator<Item = &'a str>,
) -> Result<Component, AddrError> {
    let mut value = || match parts.next() {
        Some(value) if !value.is_empty() => Ok(value),
        _ => Err(malformed(format!(
            "nothing follows /{}",
            name.escape_default()
        ))),
    };
    Ok(match name {
        "dns" => Component::Host(Host::Dns(value()?.parse()?)),
        "dns4" => Component::Host(Host::Dns4(value()?.parse()?)),
        "dns6" => Component::Host(Host::Dns6(value()?.parse()?)),
        "dnsaddr" => Component::Host(Host::Dnsaddr(value()?.parse()?)),
        "ip4" => Component::Host(Host::Ip4(read_ip(value()?)?)),
        "ip6" => Component::Host(Host::Ip6(read_ip(value()?)?)),
        "ipfs" | "p2p" => Component::P2p(value()?.parse()),
        "tcp" => Component::Tcp(read_port(value()?)?),
        "" => {
            return Err(malformed(
                "an empty component: '/' is doubled or stands at the end",
            ));
        }
        _ => {
            let other = protocol::by_name(name)
                .ok_or_else(|| malformed(format!("{} is not a known protocol", quote(name))))?;
            match other.value {
                Value::None => {}
                Value::Port => read_port(value()?).map(|_| ())?,
                Value::Fixed(_) | Value::Variable => read_plain(value()?)?,
                Value::Path => {
                    read_plain(value()?)?;
                    parts.try_for_each(read_plain)?;
                }
            }
            Component::Other(other.name)
        }
    })
}

fn read_ip<T: FromStr>(text: &str) -> Result<T, AddrError> {
    text.parse().map_err(|_| {
        malformed(format!(
            "{} is not an IP address of that family",
            quote(text)
        ))
    })
}

/// Reads a decimal port without sign or leading zeros: one port, one spelling.
fn read_port(text: &str) -> Result<u16, AddrError> {
    canonical_port(text)
        .ok_or_else(|| malformed(format!("{} is not a port (0 to 65535)", quote(text))))
}

fn canonical_port(text: &str) -> Option<u16> {
    let is_canonical = matches!(text.as_bytes(), [b'0'] | [b'1'..=b'9', ..]);
    if !is_canonical || text.len() > 5 {
        return None;
    }
    let number = text.bytes().try_fold(0_u32, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        Some(sum * 10 + u32::from(digit))
    });
    number.and_then(|port| port.try_into().ok())
}

/// Accepts any value that cannot disturb a terminal or a line of a file.
fn read_plain(text: &str) -> Result<(), AddrError> {
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(malformed(format!(
            "{} contains white space or control characters",
            quote(text)
        )));
    }
    Ok(())
}

/// A refusal of an address.
fn malformed(reason: impl Into<String>) -> AddrError {
    AddrError::Malformed(ParseError::new("address", reason))
}

/// `text` in quotes, ASCII only, control characters escaped, cut.
fn quote(text: &str) -> String {
    let mut escaped = text.escape_default();
    let mut quoted: String = escaped.by_ref().take(MAX_QUOTED).collect();
    if escaped.next().is_some() {
        quoted.push_str("...");
    }
    format!("\"{quoted}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRng;

    const ID: &str = "12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7";

    fn addr(text: &str) -> PeerAddr {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    fn hex(text: &str) -> Vec<u8> {
        text.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn is_malformed(result: Result<PeerAddr, AddrError>) -> bool {
        matches!(result, Err(AddrError::Malformed(_)))
    }

    #[test]
    fn binary_forms_are_the_ones_libp2p_writes() {
        // Written by multiaddr 0.19.1.
        for (text, bytes) in [
            ("/ip4/1.2.3.4/tcp/80", "0401020304060050"),
            (
                "/ip6/2001:db8::1/tcp/65535",
                "2920010db800000000000000000000000106ffff",
            ),
            ("/dns/example.com/tcp/1", "350b6578616d706c652e636f6d060001"),
            (
                "/dns4/example.com/tcp/1",
                "360b6578616d706c652e636f6d060001",
            ),
            (
                "/dns6/example.com/tcp/1",
                "370b6578616d706c652e636f6d060001",
            ),
            ("/dnsaddr/example.com", "380b6578616d706c652e636f6d"),
            (
                "/dnsaddr/example.com/tcp/9",
                "380b6578616d706c652e636f6d060009",
            ),
        ] {
            assert_eq!(addr(text).to_string(), text);
            assert_eq!(addr(text).to_bytes(), hex(bytes), "{text}");
            assert_eq!(PeerAddr::from_bytes(&hex(bytes)), Ok(addr(text)));
        }
        let with_id: AddrWithId = format!("/ip4/1.2.3.4/tcp/80/p2p/{ID}").parse().unwrap();
        let bytes = hex(concat!(
            "0401020304060050a50326002408011220",
            "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c"
        ));
        assert_eq!(with_id.to_bytes(), bytes);
        assert_eq!(AddrWithId::from_bytes(&bytes), Ok(with_id));
    }

    #[test]
    fn one_address_has_one_spelling() {
        for (spelling, canonical) in [
            (
                "/dns4/Node1.EXAMPLE.com./tcp/9000",
                "/dns4/node1.example.com/tcp/9000",
            ),
            ("/ip6/2001:DB8:0:0:0:0:0:1/tcp/1", "/ip6/2001:db8::1/tcp/1"),
            ("/ip6/::ffff:10.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1"),
            ("/ip6/::ffff:a00:1/tcp/1", "/ip4/10.0.0.1/tcp/1"),
            ("/ip6/1:0:0:2:0:0:0:3/tcp/0", "/ip6/1:0:0:2::3/tcp/0"),
            ("/dnsaddr/Example.com", "/dnsaddr/example.com"),
        ] {
            assert_eq!(addr(spelling).to_string(), canonical);
            assert_eq!(addr(spelling), addr(canonical));
        }
        let mapped = Host::Ip6("::ffff:1.2.3.4".parse().unwrap());
        assert_eq!(PeerAddr::new(mapped, 5), addr("/ip4/1.2.3.4/tcp/5"));
        assert_eq!(
            PeerAddr::from_bytes(&hex("2900000000000000000000ffff01020304060050")),
            Ok(addr("/ip4/1.2.3.4/tcp/80"))
        );
    }

    #[test]
    fn canonical_text_is_what_is_written_and_no_other_spelling() {
        let texts = [
            "/ip4/1.2.3.4/tcp/80",
            "/ip4/0.0.0.0/tcp/0",
            "/ip6/2001:db8::1/tcp/65535",
            "/ip6/::/tcp/1",
            "/ip6/::102:304/tcp/1",
            "/dns/example.com/tcp/1",
            "/dns4/a-b_c.example.com/tcp/1",
            "/dns6/example.com/tcp/1",
            "/dnsaddr/example.com",
            "/dnsaddr/example.com/tcp/9",
        ];
        for text in texts {
            // Every text after every change of one character is read as by the other parser, or not at all.
            for at in 0..text.len() {
                for new in ["", "0", "/", ".", "A", ":", "x", " ", "00"] {
                    let changed = format!("{}{new}{}", &text[..at], &text[at + 1..]);
                    if let Some(read) = PeerAddr::from_canonical_text(&changed) {
                        assert_eq!(changed.parse(), Ok(read.clone()), "{changed}");
                        assert_eq!(read.to_string(), changed);
                    } else if let Ok(other) = changed.parse::<PeerAddr>() {
                        assert_ne!(other.to_string(), changed);
                    }
                }
            }
            assert_eq!(
                PeerAddr::from_canonical_text(text),
                Some(addr(text)),
                "{text}"
            );
        }
    }

    #[test]
    fn malformed_addresses_are_refused() {
        for bad in [
            "",
            "/",
            "//",
            "ip4/1.2.3.4/tcp/1",
            "1.2.3.4:80",
            "/ip4",
            "/ip4/",
            "/ip4/1.2.3.4",
            "/ip4/1.2.3.4/",
            "/ip4/1.2.3.4/tcp",
            "/ip4/1.2.3.4/tcp/",
            "/ip4/1.2.3.4/tcp/1/",
            "/ip4/1.2.3.4//tcp/1",
            "/ip4/1.2.3/tcp/1",
            "/ip4/01.2.3.4/tcp/1",
            "/ip4/::1/tcp/1",
            "/ip6/1.2.3.4/tcp/1",
            "/ip6/fe80::1%eth0/tcp/1",
            "/ip4/1.2.3.4/tcp/65536",
            "/ip4/1.2.3.4/tcp/080",
            "/ip4/1.2.3.4/tcp/00",
            "/ip4/1.2.3.4/tcp/+80",
            "/ip4/1.2.3.4/tcp/-1",
            "/ip4/1.2.3.4/tcp/ 80",
            "/ip4/1.2.3.4/tcp/٣",
            "/ip4/1.2.3.4/tcp/1/tcp/2",
            "/ip4/1.2.3.4/ip4/1.2.3.4/tcp/1",
            "/ip4/1.2.3.4/tcp/1/dns/a",
            "/tcp/1/ip4/1.2.3.4",
            "/tcp/1",
            "/dns4/1.2.3.4/tcp/1",
            "/dns/bücher.example/tcp/1",
            "/dns/a.example",
            "/IP4/1.2.3.4/tcp/1",
            "/foo/bar",
            "/ip4/1.2.3.4/tcp/1 ",
            "/ip4/1.2.3.4/udp/x/quic-v1",
            "/ip4/999.2.3.4/udp/1/quic-v1",
            "/unix/a b",
            "/sni/a\u{1b}[2J/tcp/1",
        ] {
            assert!(is_malformed(bad.parse()), "{bad:?}");
        }
    }

    #[test]
    fn other_transports_are_told_apart_from_nonsense() {
        for (text, first) in [
            ("/ip4/1.2.3.4/udp/9000/quic-v1", "udp"),
            ("/ip4/1.2.3.4/tcp/80/ws", "ws"),
            ("/dns4/a.example/tcp/443/wss", "wss"),
            ("/dns4/a.example/tcp/443/tls/ws", "tls"),
            ("/ip4/1.2.3.4/tcp/80/x-parity-ws/%2Fpath", "x-parity-ws"),
            ("/ip4/1.2.3.4/sctp/80", "sctp"),
            ("/ip4/1.2.3.4/udp/1/webrtc-direct/certhash/uEiAabc", "udp"),
            (
                "/ip4/1.2.3.4/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N/p2p-circuit",
                "p2p-circuit",
            ),
            (
                "/p2p/12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7/p2p-circuit",
                "p2p-circuit",
            ),
            ("/unix/tmp/a.sock", "unix"),
            ("/memory/1234", "memory"),
            ("/ip6zone/eth0/ip6/fe80::1/tcp/80", "ip6zone"),
            (
                "/onion3/vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd:1234",
                "onion3",
            ),
            ("/ip4/1.2.3.4/tcp/80/http", "http"),
        ] {
            let expected = AddrError::Unsupported {
                protocol: first.to_owned(),
            };
            assert_eq!(text.parse::<PeerAddr>(), Err(expected.clone()), "{text}");
            assert_eq!(text.parse::<AddrWithId>(), Err(expected));
        }
        // Written by multiaddr 0.19.1.
        for (bytes, first) in [
            ("040102030491020009cd03", "udp"),
            ("0401020304060009de03", "wss"),
            ("90030161", "unix"),
        ] {
            let expected = AddrError::Unsupported {
                protocol: first.to_owned(),
            };
            assert_eq!(PeerAddr::from_bytes(&hex(bytes)), Err(expected));
        }
    }

    #[test]
    fn a_peer_id_is_read_where_it_belongs_and_refused_elsewhere() {
        for protocol in ["p2p", "ipfs"] {
            let text = format!("/dns4/a.example/tcp/9000/{protocol}/{ID}");
            let parsed: AddrWithId = text.parse().unwrap();
            assert_eq!(parsed.addr, addr("/dns4/a.example/tcp/9000"));
            assert_eq!(parsed.peer_id.unwrap().to_string(), ID);
            assert_eq!(
                parsed.to_string(),
                format!("/dns4/a.example/tcp/9000/p2p/{ID}")
            );
            assert!(is_malformed(text.parse()));
        }
        let plain: AddrWithId = "/dnsaddr/a.example".parse().unwrap();
        assert_eq!(plain, AddrWithId::from(addr("/dnsaddr/a.example")));
        assert_eq!(AddrWithId::from_bytes(&plain.to_bytes()), Ok(plain));
        for bad in [
            format!("/p2p/{ID}"),
            format!("/p2p/{ID}/ip4/1.2.3.4/tcp/1"),
            format!("/ip4/1.2.3.4/p2p/{ID}"),
            format!("/ip4/1.2.3.4/p2p/{ID}/tcp/1"),
            format!("/ip4/1.2.3.4/tcp/1/p2p/{ID}/p2p/{ID}"),
            "/ip4/1.2.3.4/tcp/1/p2p/".to_owned(),
        ] {
            assert!(bad.parse::<AddrWithId>().is_err(), "{bad}");
        }
        let foreign = "/ip4/1.2.3.4/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
        assert!(
            foreign
                .parse::<AddrWithId>()
                .unwrap_err()
                .to_string()
                .contains("only Ed25519")
        );
    }

    #[test]
    fn dialable_and_listenable_are_what_sockets_can_do() {
        for (text, dialable, listenable) in [
            ("/ip4/1.2.3.4/tcp/1", true, true),
            ("/ip4/1.2.3.4/tcp/0", false, true),
            ("/ip4/0.0.0.0/tcp/9000", false, true),
            ("/ip6/::/tcp/9000", false, true),
            ("/ip4/0.1.2.3/tcp/9000", false, false),
            ("/ip4/224.0.0.1/tcp/9000", false, false),
            ("/ip6/ff02::1/tcp/9000", false, false),
            ("/ip4/255.255.255.255/tcp/9000", false, false),
            ("/dns/a.example/tcp/9000", true, false),
            ("/dns/a.example/tcp/0", false, false),
            ("/dnsaddr/a.example", true, false),
        ] {
            assert_eq!(
                (addr(text).is_dialable(), addr(text).is_listenable()),
                (dialable, listenable),
                "{text}"
            );
        }
    }

    #[test]
    fn socket_addresses_convert_both_ways() {
        for text in ["1.2.3.4:80", "[2001:db8::1]:9000"] {
            let socket: SocketAddr = text.parse().unwrap();
            assert_eq!(PeerAddr::from(socket).socket_addr(), Some(socket));
        }
        let mapped: SocketAddr = "[::ffff:1.2.3.4]:80".parse().unwrap();
        assert_eq!(
            PeerAddr::from_socket_addr(mapped).socket_addr(),
            "1.2.3.4:80".parse().ok()
        );
        assert_eq!(addr("/dns/a.example/tcp/1").socket_addr(), None);
        assert_eq!(addr("/dns/a.example/tcp/1").scope(), AddrScope::Dns);
        assert_eq!(addr("/ip4/10.0.0.1/tcp/1").scope(), AddrScope::Private);
    }

    #[test]
    fn refusals_repeat_hostile_text_escaped_and_cut() {
        for hostile in [
            format!("/{}", "\u{1b}]0;owned\u{7}".repeat(30)),
            format!("/ip4/{}/tcp/1", "\u{202e}\n".repeat(100)),
            format!("/dns/{}/tcp/1", "\u{1b}[31m".repeat(50)),
            format!("/{}", "x".repeat(511)),
            format!("/ip4/1.2.3.4/tcp/{}", "9".repeat(400)),
            "\u{1b}".repeat(100),
            "x".repeat(1_000_000),
        ] {
            let refusal = hostile.parse::<PeerAddr>().unwrap_err().to_string();
            assert!(
                refusal.len() < 200 && refusal.bytes().all(|b| (b' '..=b'~').contains(&b)),
                "{refusal}"
            );
        }
        assert_eq!(quote("a\"b\n"), r#""a\"b\n""#);
    }

    #[test]
    fn the_longest_address_fits_and_one_byte_more_does_not() {
        let name = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        let text = format!("/dnsaddr/{name}/tcp/65535/p2p/{ID}");
        assert!(text.len() < limits::MAX_ADDR_TEXT_BYTES);
        let longest: AddrWithId = text.parse().unwrap();
        assert_eq!(AddrWithId::from_bytes(&longest.to_bytes()), Ok(longest));
        let fill = |len: usize| format!("/unix/{}", "a".repeat(len - 6));
        let unsupported =
            |text: &str| matches!(text.parse::<PeerAddr>(), Err(AddrError::Unsupported { .. }));
        assert!(unsupported(&fill(limits::MAX_ADDR_TEXT_BYTES)));
        assert!(!unsupported(&fill(limits::MAX_ADDR_TEXT_BYTES + 1)));
    }

    #[test]
    fn damaged_binary_never_panics_and_what_is_accepted_is_canonical() {
        let mut rng = SeededRng::from_seed(1);
        let whole = format!("/dns4/node1.example.com/tcp/9000/p2p/{ID}")
            .parse::<AddrWithId>()
            .unwrap()
            .to_bytes();
        for len in 0..whole.len() {
            let read = AddrWithId::from_bytes(&whole[..len]);
            assert_eq!(read.is_ok(), len == whole.len() - 41, "{len}");
        }
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            bytes.truncate(1 + rng.index(whole.len()));
            for _ in 0..=rng.below(3) {
                let at = rng.index(bytes.len());
                bytes[at] = rng.next_u64().to_le_bytes()[0];
            }
            if let Ok(read) = AddrWithId::from_bytes(&bytes) {
                assert_eq!(read.to_string().parse(), Ok(read.clone()));
                assert_eq!(AddrWithId::from_bytes(&read.to_bytes()), Ok(read));
            }
        }
        assert!(PeerAddr::from_bytes(&[0x35; 100_000]).is_err());
        assert!(PeerAddr::from_bytes(&hex("ffffffffffffffff7f")).is_err());
        assert!(PeerAddr::from_bytes(&hex("35ffffffffffffffff7f")).is_err());
        assert!(PeerAddr::from_bytes(&hex("04010203040600508400")).is_err());
    }

    #[test]
    fn damaged_text_never_panics_and_what_is_accepted_is_canonical() {
        let mut rng = SeededRng::from_seed(2);
        let pieces = [
            "/", "ip4", "ip6", "dns", "dnsaddr", "tcp", "p2p", "1.2.3.4", "::1", "a.b", "80", ID,
            "udp", "é", "0",
        ];
        let mut accepted = 0;
        for _ in 0..50_000 {
            let count = rng.below(10);
            let text: String = (0..count)
                .flat_map(|_| ["/", rng.pick(&pieces).unwrap()])
                .collect();
            if let Ok(read) = text.parse::<AddrWithId>() {
                accepted += 1;
                assert_eq!(read.to_string().parse(), Ok(read.clone()));
                assert_eq!(AddrWithId::from_bytes(&read.to_bytes()), Ok(read));
            }
        }
        assert!(accepted > 10, "{accepted}");
    }

    #[test]
    fn an_address_stays_small_in_memory() {
        assert!(size_of::<PeerAddr>() <= 32);
    }
}
