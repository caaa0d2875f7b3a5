//! What the frames of the journal say: entries of a set, each as it stands after a change.
//!
//! After-images and not operations, so that replaying a frame twice, late, or with another clock gives the same. Numbers
//! are LEB128 varints; texts and byte strings follow their length. Decoding allocates only what the bytes hold.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use btcfed_core::ban::{Ban, BanReason, BanTarget, IpNet, Issuer};
use btcfed_core::peer::{
    AddressSource, Forgotten, PeerAddress, PeerRecord, PeerSource, PeerStats, PeerStatus,
};
use btcfed_core::record::SignedRecord;
use btcfed_core::set::SetEntry;
use btcfed_core::time::Timestamp;
use btcfed_core::{PeerAddr, PeerKey};

use crate::text::entry;

/// Kinds of entries.
const PEER: u8 = 0;
const NO_PEER: u8 = 1;
const BAN: u8 = 2;
const NO_BAN: u8 = 3;
const MARK: u8 = 4;
const NO_MARK: u8 = 5;

const SOURCES: [PeerSource; 4] = [
    PeerSource::Operator,
    PeerSource::Bootstrap,
    PeerSource::Signed,
    PeerSource::Hearsay,
];
const STATUSES: [PeerStatus; 4] = [
    PeerStatus::Unknown,
    PeerStatus::Valid,
    PeerStatus::Inaccessible,
    PeerStatus::Banned,
];
const ISSUERS: [Issuer; 2] = [Issuer::Node, Issuer::Operator];

/// Appends an entry. `None` when it holds something this format has no word for; `out` is then to be dropped.
pub(super) fn encode(entry: &SetEntry, out: &mut Vec<u8>) -> Option<()> {
    match entry {
        SetEntry::Ban(target, None) => {
            out.push(NO_BAN);
            put_target(target, out);
        }
        SetEntry::Ban(_, Some(ban)) => {
            out.push(BAN);
            put_ban(ban, out)?;
        }
        SetEntry::Forgotten(key, None) => {
            out.push(NO_MARK);
            out.extend_from_slice(key.as_bytes());
        }
        SetEntry::Forgotten(key, Some(mark)) => {
            out.push(MARK);
            out.extend_from_slice(key.as_bytes());
            put_number(mark.seq, out);
            out.push(index_in(&ISSUERS, &mark.by)?);
        }
        SetEntry::Peer(key, None) => {
            out.push(NO_PEER);
            out.extend_from_slice(key.as_bytes());
        }
        SetEntry::Peer(_, Some(peer)) => {
            out.push(PEER);
            put_record(&peer.to_record(), out)?;
        }
    }
    Some(())
}

/// Reads all entries; `None` when the bytes are not exactly entries.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<SetEntry>> {
    let mut reader = Reader(bytes);
    let mut entries = Vec::new();
    while !reader.0.is_empty() {
        entries.push(reader.entry()?);
    }
    Some(entries)
}

fn index_in<T: PartialEq>(table: &[T], value: &T) -> Option<u8> {
    let at = table.iter().position(|known| known == value)?;
    u8::try_from(at).ok()
}

fn put_number(mut number: u64, out: &mut Vec<u8>) {
    loop {
        let low = (number & 0x7f).to_le_bytes()[0];
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    put_number(u64::try_from(count).unwrap_or(u64::MAX), out);
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_count(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// A value that may be missing: its presence, then itself.
fn put_option<T>(value: Option<T>, out: &mut Vec<u8>, put: impl FnOnce(T, &mut Vec<u8>)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(value, out);
    }
}

fn put_time(time: Option<Timestamp>, out: &mut Vec<u8>) {
    put_option(time, out, |time, out| put_number(time.as_millis(), out));
}

fn put_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => put_bytes(&ip.octets(), out),
        IpAddr::V6(ip) => put_bytes(&ip.octets(), out),
    }
}

fn put_target(target: &BanTarget, out: &mut Vec<u8>) {
    match target {
        BanTarget::Peer(key) => {
            out.push(0);
            out.extend_from_slice(key.as_bytes());
        }
        BanTarget::Ip(ip) => {
            out.push(1);
            put_ip(*ip, out);
        }
        BanTarget::Cidr(net) => {
            out.push(2);
            put_ip(net.addr(), out);
            out.push(net.prefix());
        }
    }
}

fn put_ban(ban: &Ban, out: &mut Vec<u8>) -> Option<()> {
    put_target(&ban.target, out);
    put_bytes(ban.reason.as_str().as_bytes(), out);
    put_number(ban.since.as_millis(), out);
    put_time(ban.until, out);
    out.push(index_in(&ISSUERS, &ban.by)?);
    put_option(ban.evidence.as_ref(), out, |text, out| {
        put_bytes(text.as_bytes(), out);
    });
    Some(())
}

fn put_record(record: &PeerRecord, out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(record.key.as_bytes());
    for text in [&record.name, &record.note] {
        put_option(text.as_ref(), out, |text, out| {
            put_bytes(text.as_bytes(), out);
        });
    }
    out.push(u8::from(record.pinned));
    out.push(index_in(&SOURCES, &record.source)?);
    put_count(record.addresses.len(), out);
    for known in &record.addresses {
        put_address(known, out)?;
    }
    put_count(record.undialable.len(), out);
    for text in &record.undialable {
        put_bytes(text.as_bytes(), out);
    }
    out.push(index_in(&STATUSES, &record.status)?);
    put_time(record.status_since, out);
    let stats = &record.stats;
    put_number(stats.successes, out);
    put_number(stats.failures, out);
    put_number(u64::from(stats.consecutive_failures), out);
    put_option(stats.mean_rtt, out, |rtt, out| {
        put_number(u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX), out);
    });
    put_time(stats.first_seen, out);
    put_time(stats.last_seen, out);
    put_option(record.record.as_ref(), out, |signed, out| {
        put_bytes(signed.envelope(), out);
    });
    put_count(record.extra.len(), out);
    for (name, value) in &record.extra {
        put_bytes(name.as_bytes(), out);
        put_bytes(value.as_bytes(), out);
    }
    Some(())
}

fn put_address(known: &PeerAddress, out: &mut Vec<u8>) -> Option<()> {
    put_bytes(&known.addr.to_bytes(), out);
    match known.source {
        AddressSource::Operator => out.push(0),
        AddressSource::Signed => out.push(1),
        AddressSource::Observed => out.push(2),
        AddressSource::LearnedFrom(key) => {
            out.push(3);
            out.extend_from_slice(key.as_bytes());
        }
        _ => return None,
    }
    put_time(known.last_success, out);
    put_time(known.last_failure, out);
    put_number(u64::from(known.failures), out);
    Some(())
}

/// Takes values off the front of some bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                return None;
            }
            number |= part << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        self.take(len)
    }

    fn text(&mut self) -> Option<String> {
        std::str::from_utf8(self.bytes()?).ok().map(str::to_owned)
    }

    fn option<T>(&mut self, take: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? {
            take(self).map(Some)
        } else {
            Some(None)
        }
    }

    fn of<T: Copy>(&mut self, table: &[T]) -> Option<T> {
        table.get(usize::from(self.byte()?)).copied()
    }

    fn key(&mut self) -> Option<PeerKey> {
        PeerKey::from_bytes(self.take(32)?.try_into().ok()?).ok()
    }

    fn time(&mut self) -> Option<Timestamp> {
        self.number().map(Timestamp::from_millis)
    }

    fn ip(&mut self) -> Option<IpAddr> {
        let bytes = self.bytes()?;
        let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
        v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
            .ok()
    }

    fn target(&mut self) -> Option<BanTarget> {
        match self.byte()? {
            0 => self.key().map(BanTarget::Peer),
            1 => self.ip().map(BanTarget::Ip),
            2 => {
                let (addr, prefix) = (self.ip()?, self.byte()?);
                IpNet::new(addr, prefix).map(BanTarget::Cidr)
            }
            _ => None,
        }
    }

    fn entry(&mut self) -> Option<SetEntry> {
        Some(match self.byte()? {
            PEER => {
                let record = self.record()?;
                SetEntry::Peer(record.key, Some(record.into()))
            }
            NO_PEER => SetEntry::Peer(self.key()?, None),
            BAN => {
                let ban = self.ban()?;
                SetEntry::Ban(ban.target, Some(ban))
            }
            NO_BAN => SetEntry::Ban(self.target()?, None),
            MARK => {
                let key = self.key()?;
                let (seq, by) = (self.number()?, self.of(&ISSUERS)?);
                SetEntry::Forgotten(key, Some(Forgotten { seq, by }))
            }
            NO_MARK => SetEntry::Forgotten(self.key()?, None),
            _ => return None,
        })
    }

    fn ban(&mut self) -> Option<Ban> {
        Some(Ban {
            target: self.target()?,
            reason: BanReason::from_text(&self.text()?),
            since: self.time()?,
            until: self.option(Self::time)?,
            by: self.of(&ISSUERS)?,
            evidence: self.option(Self::text)?,
        })
    }

    fn record(&mut self) -> Option<PeerRecord> {
        let mut record = PeerRecord::new(self.key()?, PeerSource::Operator);
        record.name = self.option(Self::text)?;
        record.note = self.option(Self::text)?;
        record.pinned = self.flag()?;
        record.source = self.of(&SOURCES)?;
        for _ in 0..self.number()? {
            record.addresses.push(self.address()?);
        }
        for _ in 0..self.number()? {
            record.undialable.push(self.text()?);
        }
        record.status = self.of(&STATUSES)?;
        record.status_since = self.option(Self::time)?;
        record.stats = PeerStats {
            successes: self.number()?,
            failures: self.number()?,
            consecutive_failures: self.small()?,
            mean_rtt: self.option(|reader| reader.number().map(Duration::from_nanos))?,
            first_seen: self.option(Self::time)?,
            last_seen: self.option(Self::time)?,
        };
        let key = record.key;
        record.record = self.option(|reader| reader.signed(&key))?;
        let mut extra = BTreeMap::new();
        for _ in 0..self.number()? {
            extra.insert(self.text()?, self.text()?);
        }
        record.extra = extra;
        Some(record)
    }

    fn signed(&mut self, key: &PeerKey) -> Option<SignedRecord> {
        entry::trusted_record(self.bytes()?, key).ok()
    }

    fn address(&mut self) -> Option<PeerAddress> {
        let addr = PeerAddr::from_bytes(self.bytes()?).ok()?;
        let source = match self.byte()? {
            0 => AddressSource::Operator,
            1 => AddressSource::Signed,
            2 => AddressSource::Observed,
            3 => AddressSource::LearnedFrom(self.key()?),
            _ => return None,
        };
        let mut known = PeerAddress::new(addr, source);
        known.last_success = self.option(Self::time)?;
        known.last_failure = self.option(Self::time)?;
        known.failures = self.small()?;
        Some(known)
    }
}
