//! Multiaddr in binary form: a sequence of (varint code, value).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::assembly::{Assembly, Component};
use super::protocol::{self, Value};
use super::{AddrError, AddrWithId, DnsName, Host, PeerAddr, malformed};
use crate::key::PeerId;
use crate::limits;

/// The most bytes of a varint, as the multiformats specification bounds it.
const MAX_VARINT_BYTES: usize = 9;

/// Writes `addr`.
pub(super) fn write(addr: &PeerAddr, out: &mut Vec<u8>) {
    let (code, bytes): (u64, &[u8]) = match addr.host() {
        Host::Dns(name) => (protocol::DNS, name.as_str().as_bytes()),
        Host::Dns4(name) => (protocol::DNS4, name.as_str().as_bytes()),
        Host::Dns6(name) => (protocol::DNS6, name.as_str().as_bytes()),
        Host::Dnsaddr(name) => (protocol::DNSADDR, name.as_str().as_bytes()),
        Host::Ip4(ip) => (protocol::IP4, &ip.octets()),
        Host::Ip6(ip) => (protocol::IP6, &ip.octets()),
    };
    write_varint(code, out);
    if addr.ip().is_none() {
        write_length(bytes, out);
    }
    out.extend_from_slice(bytes);
    if let Some(port) = addr.port() {
        write_varint(protocol::TCP, out);
        out.extend_from_slice(&port.to_be_bytes());
    }
}

/// Writes the `/p2p/` component of `id`.
pub(super) fn write_id(id: PeerId, out: &mut Vec<u8>) {
    let id = id.to_bytes();
    write_varint(protocol::P2P, out);
    write_length(&id, out);
    out.extend_from_slice(&id);
}

/// Reads an address with or without `/p2p/` component.
pub(super) fn read(mut bytes: &[u8]) -> Result<AddrWithId, AddrError> {
    if bytes.len() > limits::MAX_ADDR_TEXT_BYTES {
        let max = limits::MAX_ADDR_TEXT_BYTES;
        return Err(malformed(format!(
            "{} bytes is too long, at most {max}",
            bytes.len()
        )));
    }
    let mut assembly = Assembly::default();
    while !bytes.is_empty() {
        assembly.push(take_component(&mut bytes)?);
    }
    assembly.finish()
}

fn take_component(bytes: &mut &[u8]) -> Result<Component, AddrError> {
    let code = take_varint(bytes)?;
    Ok(match code {
        protocol::DNS => Component::Host(Host::Dns(take_name(bytes)?)),
        protocol::DNS4 => Component::Host(Host::Dns4(take_name(bytes)?)),
        protocol::DNS6 => Component::Host(Host::Dns6(take_name(bytes)?)),
        protocol::DNSADDR => Component::Host(Host::Dnsaddr(take_name(bytes)?)),
        protocol::IP4 => Component::Host(Host::Ip4(Ipv4Addr::from(take_array::<4>(bytes)?))),
        protocol::IP6 => Component::Host(Host::Ip6(Ipv6Addr::from(take_array::<16>(bytes)?))),
        protocol::P2P => Component::P2p(PeerId::from_bytes(take_prefixed(bytes)?)),
        protocol::TCP => Component::Tcp(u16::from_be_bytes(take_array(bytes)?)),
        _ => {
            let Some(other) = protocol::by_code(code) else {
                return Err(malformed(format!("unknown protocol code {code:#x}")));
            };
            match other.value {
                Value::Fixed(len) => take(bytes, len)?,
                Value::None => &[],
                Value::Path | Value::Variable => take_prefixed(bytes)?,
                Value::Port => take(bytes, 2)?,
            };
            Component::Other(other.name)
        }
    })
}

fn take_name(bytes: &mut &[u8]) -> Result<DnsName, AddrError> {
    let name = std::str::from_utf8(take_prefixed(bytes)?)
        .map_err(|_| malformed("a name that is not UTF-8"))?;
    Ok(name.parse()?)
}

fn take_prefixed<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], AddrError> {
    let len = usize::try_from(take_varint(bytes)?).unwrap_or(usize::MAX);
    take(bytes, len)
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], AddrError> {
    take(bytes, N)?.try_into().map_err(|_| truncated())
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], AddrError> {
    let (taken, rest) = bytes.split_at_checked(len).ok_or_else(truncated)?;
    *bytes = rest;
    Ok(taken)
}

/// Reads an unsigned varint; a longer spelling of the same number is refused.
fn take_varint(bytes: &mut &[u8]) -> Result<u64, AddrError> {
    let mut value = 0;
    for index in 0..MAX_VARINT_BYTES {
        let [byte] = take_array(bytes)?;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return if byte == 0 && index > 0 {
                Err(malformed("a number in a longer form than needed"))
            } else {
                Ok(value)
            };
        }
    }
    Err(malformed("a number of more than 9 bytes"))
}

fn truncated() -> AddrError {
    malformed("ends in the middle of a component")
}

fn write_length(bytes: &[u8], out: &mut Vec<u8>) {
    write_varint(u64::try_from(bytes.len()).unwrap_or(u64::MAX), out);
}

/// Appends `value` as unsigned varint.
fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_form() {
        for value in [0, 1, 127, 128, 0x01a5, 16_383, 16_384, (1 << 63) - 1] {
            let mut bytes = Vec::new();
            write_varint(value, &mut bytes);
            let mut rest = bytes.as_slice();
            assert_eq!((take_varint(&mut rest), rest.len()), (Ok(value), 0));
        }
        for bad in [
            &[][..],
            &[0x80],
            &[0x80, 0x00],
            &[0xff, 0x80, 0x00],
            &[0xff; 9],
            &[0xff; 10],
        ] {
            assert!(take_varint(&mut &*bad).is_err(), "{bad:?}");
        }
    }
}
