//! Addresses in few bytes, for what is kept in memory only: a byte that tells the kind, the host, the port.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{DnsName, Host, PeerAddr};
use crate::packing::Reader;

/// The bits of the first byte that tell the kind of host and whether there is a port. The others are free for the caller.
pub(crate) const KIND_BITS: u8 = 0x0f;

const IP4: u8 = 0;
const IP6: u8 = 1;
const DNS: u8 = 2;
const DNS4: u8 = 3;
const DNS6: u8 = 4;
const DNSADDR: u8 = 5;
const HOST_BITS: u8 = 0x07;
const HAS_PORT: u8 = 0x08;

impl PeerAddr {
    /// Appends the address. Of its first byte only the [`KIND_BITS`] are used.
    pub(crate) fn pack(&self, out: &mut Vec<u8>) {
        let port = if self.port.is_some() { HAS_PORT } else { 0 };
        let mut named = |kind: u8, name: &DnsName| {
            // A name has at most 253 bytes.
            let len = u8::try_from(name.as_str().len()).unwrap_or(u8::MAX);
            out.extend_from_slice(&[kind | port, len]);
            out.extend_from_slice(name.as_str().as_bytes());
        };
        match &self.host {
            Host::Dns(name) => named(DNS, name),
            Host::Dns4(name) => named(DNS4, name),
            Host::Dns6(name) => named(DNS6, name),
            Host::Dnsaddr(name) => named(DNSADDR, name),
            Host::Ip4(ip) => {
                out.push(IP4 | port);
                out.extend_from_slice(&ip.octets());
            }
            Host::Ip6(ip) => {
                out.push(IP6 | port);
                out.extend_from_slice(&ip.octets());
            }
        }
        if let Some(port) = self.port {
            out.extend_from_slice(&port.to_be_bytes());
        }
    }

    /// Reads what follows the first byte of an address that [`pack`](Self::pack) wrote.
    pub(crate) fn unpack(kind: u8, reader: &mut Reader<'_>) -> Option<Self> {
        let host = match kind & HOST_BITS {
            IP4 => Host::Ip4(Ipv4Addr::from(reader.array::<4>()?)),
            IP6 => Host::Ip6(Ipv6Addr::from(reader.array::<16>()?)),
            DNS => Host::Dns(name(reader)?),
            DNS4 => Host::Dns4(name(reader)?),
            DNS6 => Host::Dns6(name(reader)?),
            DNSADDR => Host::Dnsaddr(name(reader)?),
            _ => return None,
        };
        let port = match kind & HAS_PORT {
            0 => None,
            _ => Some(u16::from_be_bytes(reader.array()?)),
        };
        Some(Self { host, port })
    }

    /// Takes what follows the first byte of an address, without reading it.
    pub(crate) fn skip<'a>(kind: u8, reader: &mut Reader<'a>) -> Option<&'a [u8]> {
        let host = match kind & HOST_BITS {
            IP4 => 4,
            IP6 => 16,
            _ => 1 + usize::from(*reader.0.first()?),
        };
        reader.take(host + if kind & HAS_PORT == 0 { 0 } else { 2 })
    }
}

fn name(reader: &mut Reader<'_>) -> Option<DnsName> {
    let len = usize::from(reader.byte()?);
    std::str::from_utf8(reader.take(len)?)
        .ok()
        .map(DnsName::of_known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_address_comes_back_and_is_as_long_as_it_says() {
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        for text in [
            "/ip4/192.0.2.1/tcp/0".to_owned(),
            "/ip4/255.255.255.255/tcp/65535".to_owned(),
            "/ip6/2001:db8::1/tcp/9000".to_owned(),
            "/dns/a.b/tcp/1".to_owned(),
            "/dns4/node1.example.com/tcp/9000".to_owned(),
            format!("/dns6/{longest}/tcp/9000"),
            "/dnsaddr/example.com".to_owned(),
            "/dnsaddr/example.com/tcp/7".to_owned(),
        ] {
            let addr: PeerAddr = text.parse().unwrap();
            let mut bytes = Vec::new();
            addr.pack(&mut bytes);
            assert_eq!(bytes[0] & !KIND_BITS, 0);
            let mut reader = Reader(&bytes[1..]);
            assert_eq!(PeerAddr::unpack(bytes[0], &mut reader), Some(addr));
            assert!(reader.0.is_empty());
            let skipped = PeerAddr::skip(bytes[0], &mut Reader(&bytes[1..]));
            assert_eq!(skipped, Some(&bytes[1..]));
            for len in 1..bytes.len() {
                let cut = || Reader(&bytes[1..len]);
                assert_eq!(PeerAddr::unpack(bytes[0], &mut cut()), None, "{text}");
                assert_eq!(PeerAddr::skip(bytes[0], &mut cut()), None, "{text}");
            }
        }
    }
}
