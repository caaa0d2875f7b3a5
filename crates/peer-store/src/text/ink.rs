//! Values straight into the bytes of a file: numbers, times, words, keys and addresses, without a text of their own.

use std::io::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use btcfed_core::addr::{Host, PeerAddr};
use btcfed_core::key::PeerKey;
use btcfed_core::time::Timestamp;

use crate::text::scalar;

/// All numbers of two digits.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [*b"00"; 100];
    let mut number = 0_u8;
    while (number as usize) < pairs.len() {
        pairs[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    pairs
};

/// Two digits of a number below 100.
fn pair(number: u32) -> [u8; 2] {
    let place = usize::try_from(number).unwrap_or(0);
    PAIRS.get(place).copied().unwrap_or(*b"00")
}

/// Adds the digits of a number.
pub(crate) fn push_count(out: &mut Vec<u8>, count: u64) {
    match u32::try_from(count) {
        Ok(count) if count < 10_000 => push_small(out, count),
        _ => {
            push_count(out, count / 10_000);
            let rest = u32::try_from(count % 10_000).unwrap_or(0);
            let ([a, b], [c, d]) = (pair(rest / 100), pair(rest % 100));
            out.extend_from_slice(&[a, b, c, d]);
        }
    }
}

/// Adds the digits of a number below 10,000.
fn push_small(out: &mut Vec<u8>, count: u32) {
    let ([a, b], [c, d]) = (pair(count / 100), pair(count % 100));
    match count {
        0..10 => out.push(d),
        10..100 => out.extend_from_slice(&[c, d]),
        100..1000 => out.extend_from_slice(&[b, c, d]),
        _ => out.extend_from_slice(&[a, b, c, d]),
    }
}

/// Adds the RFC 3339 text of a moment, in UTC.
pub(crate) fn push_time(out: &mut Vec<u8>, at: Timestamp) {
    let Some((year, month, day)) = scalar::date_of(at) else {
        return push_late_time(out, at);
    };
    let second = u32::try_from(at.as_secs() % 86_400).unwrap_or(0);
    let ([y1, y2], [y3, y4]) = (pair(year / 100), pair(year % 100));
    let ([m1, m2], [d1, d2]) = (pair(month), pair(day));
    let ([h1, h2], [n1, n2]) = (pair(second / 3600), pair(second / 60 % 60));
    let [s1, s2] = pair(second % 60);
    out.extend_from_slice(&[
        y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2,
    ]);
    let millis = u32::try_from(at.as_millis() % 1000).unwrap_or(0);
    if millis > 0 {
        let ([a, b], [_, c]) = (pair(millis / 10), pair(millis % 10));
        match (b, c) {
            (b'0', b'0') => out.extend_from_slice(&[b'.', a]),
            (_, b'0') => out.extend_from_slice(&[b'.', a, b]),
            _ => out.extend_from_slice(&[b'.', a, b, c]),
        }
    }
    out.push(b'Z');
}

/// Adds the text of a moment beyond the years that are spelled here.
#[cold]
fn push_late_time(out: &mut Vec<u8>, at: Timestamp) {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    // Writing to memory cannot fail.
    write!(out, "{at}").unwrap_or_default();
}

/// Adds milliseconds with at most three decimals: what is written of a response time.
pub(crate) fn push_rtt(out: &mut Vec<u8>, rtt: Duration) {
    let micros = rtt.as_micros();
    match u64::try_from(micros) {
        Ok(micros) => {
            push_count(out, micros / 1000);
            let part = u32::try_from(micros % 1000).unwrap_or(0);
            if part > 0 {
                let ([a, b], [_, c]) = (pair(part / 10), pair(part % 10));
                out.extend_from_slice(&[b'.', a, b, c]);
            }
        }
        // Writing to memory cannot fail.
        Err(_) if micros.is_multiple_of(1000) => {
            write!(out, "{}", micros / 1000).unwrap_or_default()
        }
        Err(_) => write!(out, "{}.{:03}", micros / 1000, micros % 1000).unwrap_or_default(),
    }
}

/// Adds a text as a YAML scalar on one line: plain where every YAML tool reads it as that text, else in double quotes.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    if scalar::is_plain(text) {
        out.extend_from_slice(text.as_bytes());
    } else {
        push_quoted(out, text);
    }
}

fn push_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for c in text.chars() {
        let is_odd = |c| {
            matches!(
                c,
                '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
            )
        };
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\r' => out.extend_from_slice(b"\\r"),
            // Writing to memory cannot fail.
            c if c.is_control() || is_odd(c) => {
                write!(out, "\\u{:04x}", u32::from(c)).unwrap_or_default();
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

/// Adds the text of a key.
pub(crate) fn push_key(out: &mut Vec<u8>, key: &PeerKey) {
    let mut text = [0; 48];
    // Cannot fail: 36 bytes take 48 characters.
    let len = STANDARD
        .encode_slice(key.to_protobuf(), &mut text)
        .unwrap_or(0);
    match len {
        48 => out.extend_from_slice(&text),
        _ => out.extend_from_slice(key.to_string().as_bytes()),
    }
}

/// Adds the base64 of some bytes.
pub(crate) fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    let text = out.get_mut(start..).unwrap_or_default();
    // Cannot fail: the room is exactly what the text takes.
    let len = STANDARD.encode_slice(bytes, text).unwrap_or(0);
    out.truncate(start + len);
}

/// Adds an address in its one spelling, which is always plain.
pub(crate) fn push_addr(out: &mut Vec<u8>, addr: &PeerAddr) {
    match addr.host() {
        Host::Ip4(ip) => {
            let [a, b, c, d] = ip.octets();
            out.extend_from_slice(b"/ip4/");
            push_count(out, a.into());
            for byte in [b, c, d] {
                out.push(b'.');
                push_count(out, byte.into());
            }
        }
        // Writing to memory cannot fail.
        Host::Ip6(ip) => write!(out, "/ip6/{ip}").unwrap_or_default(),
        Host::Dns(name) => push_name(out, b"/dns/", name.as_str()),
        Host::Dns4(name) => push_name(out, b"/dns4/", name.as_str()),
        Host::Dns6(name) => push_name(out, b"/dns6/", name.as_str()),
        Host::Dnsaddr(name) => push_name(out, b"/dnsaddr/", name.as_str()),
    }
    if let Some(port) = addr.port() {
        out.extend_from_slice(b"/tcp/");
        push_count(out, port.into());
    }
}

fn push_name(out: &mut Vec<u8>, protocol: &[u8], name: &str) {
    out.extend_from_slice(protocol);
    out.extend_from_slice(name.as_bytes());
}

/// What was added as a text. Only whole characters are ever added, so nothing is lost.
pub(crate) fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
