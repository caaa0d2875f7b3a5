//! What is known of a peer as bytes: the coding of packed peers, the key apart.
//!
//! In this order: a byte of status, source and marks (the bits below), a byte that tells which of the next are there; the
//! signed record (see [`SignedView::unpack`]), the time of the status, the counters, the name; the addresses with what is known
//! of each; the remark; the undialable addresses and the unknown fields. Equal records are equal bytes, and equal bytes equal
//! records.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::addr::PeerAddr;
use crate::addr::packed::KIND_BITS;
use crate::key::PeerKey;
use crate::packing::{Reader, put_bytes, put_number};
use crate::peer::{AddressSource, PeerAddress, PeerRecord, PeerSource, PeerStats, PeerStatus};
use crate::record::SignedRecord;
use crate::time::Timestamp;

/// The first byte: two bits of status, two of source, and these.
const PINNED: u8 = 0x10;
const SIGNED: u8 = 0x20;
const NOTE: u8 = 0x40;
const MORE: u8 = 0x80;

/// The second byte.
const SINCE: u8 = 0x01;
const SUCCESSES: u8 = 0x02;
const FAILURES: u8 = 0x04;
const CONSECUTIVE: u8 = 0x08;
const RTT: u8 = 0x10;
const FIRST_SEEN: u8 = 0x20;
const LAST_SEEN: u8 = 0x40;
const NAME: u8 = 0x80;

/// The first byte of an address, beside the bits of its kind: two bits of source, and this.
const SOURCE_SHIFT: u32 = 4;
const LEARNED: u8 = 3;
const TRIED: u8 = 0x40;

/// The signed record that goes into the bytes.
pub(super) enum Signed<'a> {
    /// The bytes of one that is packed already; none when they are empty.
    Packed(&'a [u8]),
    /// This one.
    Record(&'a SignedRecord),
}

/// Appends everything known of a peer but its key. The signed record that is appended with it is `signed`; that of `record`
/// is not looked at.
pub(super) fn pack(record: &PeerRecord, signed: &Signed<'_>, out: &mut Vec<u8>) {
    let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    let has_more = !record.undialable.is_empty() || !record.extra.is_empty();
    let stats = &record.stats;
    out.push(
        status_bits(record.status)
            | source_bits(record.source) << 2
            | bit(record.pinned, PINNED)
            | bit(!matches!(signed, Signed::Packed([])), SIGNED)
            | bit(record.note.is_some(), NOTE)
            | bit(has_more, MORE),
    );
    out.push(
        bit(record.status_since.is_some(), SINCE)
            | bit(stats.successes != 0, SUCCESSES)
            | bit(stats.failures != 0, FAILURES)
            | bit(stats.consecutive_failures != 0, CONSECUTIVE)
            | bit(stats.mean_rtt.is_some(), RTT)
            | bit(stats.first_seen.is_some(), FIRST_SEEN)
            | bit(stats.last_seen.is_some(), LAST_SEEN)
            | bit(record.name.is_some(), NAME),
    );
    match signed {
        Signed::Packed([]) => {}
        Signed::Packed(bytes) => put_bytes(bytes, out),
        Signed::Record(signed) => {
            let mut bytes = Vec::with_capacity(signed.envelope().len() + 48);
            signed.pack(&record.key, &mut bytes);
            put_bytes(&bytes, out);
        }
    }
    let numbers = [stats.successes, stats.failures];
    let times = [stats.first_seen, stats.last_seen];
    if let Some(at) = record.status_since {
        put_number(at.as_millis(), out);
    }
    for number in numbers.into_iter().filter(|number| *number != 0) {
        put_number(number, out);
    }
    if stats.consecutive_failures != 0 {
        put_number(stats.consecutive_failures.into(), out);
    }
    if let Some(rtt) = stats.mean_rtt {
        put_number(rtt.as_secs(), out);
        put_number(rtt.subsec_nanos().into(), out);
    }
    for at in times.into_iter().flatten() {
        put_number(at.as_millis(), out);
    }
    if let Some(name) = &record.name {
        put_bytes(name.as_bytes(), out);
    }
    put_count(record.addresses.len(), out);
    for known in &record.addresses {
        pack_address(known, out);
    }
    if let Some(note) = &record.note {
        put_bytes(note.as_bytes(), out);
    }
    if has_more {
        put_count(record.undialable.len(), out);
        for text in &record.undialable {
            put_bytes(text.as_bytes(), out);
        }
        put_count(record.extra.len(), out);
        for (name, text) in &record.extra {
            put_bytes(name.as_bytes(), out);
            put_bytes(text.as_bytes(), out);
        }
    }
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    put_number(u64::try_from(count).unwrap_or(u64::MAX), out);
}

fn pack_address(known: &PeerAddress, out: &mut Vec<u8>) {
    let kind = out.len();
    known.addr.pack(out);
    let (source, key) = match &known.source {
        AddressSource::Operator => (0, None),
        AddressSource::Signed => (1, None),
        AddressSource::Observed => (2, None),
        AddressSource::LearnedFrom(key) => (LEARNED, Some(key)),
    };
    let times = [known.last_success, known.last_failure];
    let was_tried = times != [None, None] || known.failures != 0;
    if let Some(kind) = out.get_mut(kind) {
        *kind |= source << SOURCE_SHIFT | if was_tried { TRIED } else { 0 };
    }
    if let Some(key) = key {
        out.extend_from_slice(key.as_bytes());
    }
    if was_tried {
        // Of a time one more than its milliseconds, so that zero is left for none.
        for at in times {
            put_number(at.map_or(0, |at| at.as_millis() + 1), out);
        }
        put_number(known.failures.into(), out);
    }
}

const fn status_bits(status: PeerStatus) -> u8 {
    match status {
        PeerStatus::Banned => 0,
        PeerStatus::Inaccessible => 1,
        PeerStatus::Unknown => 2,
        PeerStatus::Valid => 3,
    }
}

const fn source_bits(source: PeerSource) -> u8 {
    match source {
        PeerSource::Operator => 0,
        PeerSource::Bootstrap => 1,
        PeerSource::Signed => 2,
        PeerSource::Hearsay => 3,
    }
}

/// The bytes that [`pack`] wrote. Whatever they are, reading them comes to an end and asks for no memory beyond their length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Body<'a>(pub(super) &'a [u8]);

impl<'a> Body<'a> {
    fn marks(self) -> (u8, u8) {
        match self.0 {
            [first, second, ..] => (*first, *second),
            _ => (0, 0),
        }
    }

    pub(super) fn status(self) -> PeerStatus {
        match self.marks().0 & 3 {
            0 => PeerStatus::Banned,
            1 => PeerStatus::Inaccessible,
            2 => PeerStatus::Unknown,
            _ => PeerStatus::Valid,
        }
    }

    pub(super) fn source(self) -> PeerSource {
        match self.marks().0 >> 2 & 3 {
            0 => PeerSource::Operator,
            1 => PeerSource::Bootstrap,
            2 => PeerSource::Signed,
            _ => PeerSource::Hearsay,
        }
    }

    pub(super) fn is_pinned(self) -> bool {
        self.marks().0 & PINNED != 0
    }

    /// The bytes of the signed record; nothing when there is none.
    pub(super) fn signed(self) -> &'a [u8] {
        self.after_signed().map_or(&[], |(signed, _)| signed)
    }

    fn after_signed(self) -> Option<(&'a [u8], Reader<'a>)> {
        let mut reader = Reader(self.0.get(2..)?);
        let signed = match self.marks().0 & SIGNED {
            0 => &[],
            _ => reader.bytes()?,
        };
        Some((signed, reader))
    }

    pub(super) fn status_since(self) -> Option<Timestamp> {
        self.times()?.0
    }

    pub(super) fn stats(self) -> PeerStats {
        self.times()
            .map_or_else(PeerStats::default, |times| times.1)
    }

    /// The time of the status, the counters, and what follows them.
    fn times(self) -> Option<(Option<Timestamp>, PeerStats, Reader<'a>)> {
        let (_, mut reader) = self.after_signed()?;
        let marks = self.marks().1;
        let mut number = |bit: u8| match marks & bit {
            0 => Some(None),
            _ => reader.number().map(Some),
        };
        let since = number(SINCE)?.map(Timestamp::from_millis);
        let mut stats = PeerStats {
            successes: number(SUCCESSES)?.unwrap_or(0),
            failures: number(FAILURES)?.unwrap_or(0),
            consecutive_failures: u32::try_from(number(CONSECUTIVE)?.unwrap_or(0)).ok()?,
            ..PeerStats::default()
        };
        if let Some(secs) = number(RTT)? {
            let nanos = u32::try_from(number(RTT)?.unwrap_or(0)).ok()?;
            // What was packed has less than a second of them.
            stats.mean_rtt = (nanos < 1_000_000_000).then(|| Duration::new(secs, nanos));
        }
        stats.first_seen = number(FIRST_SEEN)?.map(Timestamp::from_millis);
        stats.last_seen = number(LAST_SEEN)?.map(Timestamp::from_millis);
        Some((since, stats, reader))
    }

    pub(super) fn name(self) -> Option<&'a str> {
        std::str::from_utf8(self.after_name()?.0?).ok()
    }

    fn after_name(self) -> Option<(Option<&'a [u8]>, Reader<'a>)> {
        let (_, mut reader) = self.after_signed()?;
        let marks = self.marks().1;
        // Each mark but that of the name stands for a number, and that of the response time for two.
        let numbers = (marks & !NAME).count_ones() + u32::from(marks & RTT != 0);
        reader.skip_numbers(usize::try_from(numbers).ok()?)?;
        let name = match marks & NAME {
            0 => None,
            _ => Some(reader.bytes()?),
        };
        Some((name, reader))
    }

    pub(super) fn addresses(self) -> Addresses<'a> {
        let listed = self.after_name().and_then(|(_, mut reader)| {
            let left = reader.number()?;
            Some(Addresses { reader, left })
        });
        listed.unwrap_or(Addresses {
            reader: Reader(&[]),
            left: 0,
        })
    }

    pub(super) fn note(self) -> Option<&'a str> {
        self.after_note()?.0
    }

    fn after_note(self) -> Option<(Option<&'a str>, Reader<'a>)> {
        let mut addresses = self.addresses();
        addresses.by_ref().for_each(drop);
        let mut reader = addresses.reader;
        let note = match self.marks().0 & NOTE {
            0 => None,
            _ => Some(reader.text()?),
        };
        Some((note, reader))
    }

    /// The undialable addresses.
    pub(super) fn undialable(self) -> impl Iterator<Item = &'a str> + use<'a> {
        let (mut reader, left) = self.more().unwrap_or((Reader(&[]), 0));
        (0..left).map_while(move |_| reader.text())
    }

    /// The unknown fields.
    pub(super) fn extra(self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let listed = self.more().and_then(|(mut reader, undialable)| {
            (0..undialable).try_for_each(|_| reader.text().map(drop))?;
            let left = reader.number()?;
            Some((reader, left))
        });
        let (mut reader, left) = listed.unwrap_or((Reader(&[]), 0));
        (0..left).map_while(move |_| Some((reader.text()?, reader.text()?)))
    }

    fn more(self) -> Option<(Reader<'a>, u64)> {
        if self.marks().0 & MORE == 0 {
            return None;
        }
        let (_, mut reader) = self.after_note()?;
        let left = reader.number()?;
        Some((reader, left))
    }

    /// All of it but the signed record.
    pub(super) fn unsigned(self, key: PeerKey) -> PeerRecord {
        let mut record = PeerRecord::new(key, self.source());
        record.pinned = self.is_pinned();
        record.status = self.status();
        let Some((since, stats, mut reader)) = self.times() else {
            return record;
        };
        (record.status_since, record.stats) = (since, stats);
        if self.marks().1 & NAME != 0 {
            record.name = reader.text().map(str::to_owned);
        }
        let left = reader.number().unwrap_or(0);
        let mut addresses = Addresses { reader, left };
        // An address has at least three bytes.
        let most = addresses.reader.0.len() / 3;
        record.addresses = Vec::with_capacity(usize::try_from(left).unwrap_or(most).min(most));
        record
            .addresses
            .extend(addresses.by_ref().filter_map(PackedAddress::unpack));
        if self.marks().0 & NOTE != 0 {
            record.note = addresses.reader.text().map(str::to_owned);
        }
        if self.marks().0 & MORE != 0 {
            record.undialable = self.undialable().map(str::to_owned).collect();
            let owned = |(name, text): (&str, &str)| (name.to_owned(), text.to_owned());
            record.extra = self.extra().map(owned).collect::<BTreeMap<_, _>>();
        }
        record
    }
}

/// The addresses of a peer.
pub(super) struct Addresses<'a> {
    reader: Reader<'a>,
    left: u64,
}

impl<'a> Iterator for Addresses<'a> {
    type Item = PackedAddress<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        PackedAddress::read(&mut self.reader)
    }
}

/// One address of a peer, and what is known of it.
pub(super) struct PackedAddress<'a> {
    kind: u8,
    /// Host and port.
    place: &'a [u8],
    /// The third party that named it.
    learned_from: Option<[u8; 32]>,
    /// What is known of it: three numbers, if anything is.
    history: &'a [u8],
}

impl<'a> PackedAddress<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let kind = reader.byte()?;
        let place = PeerAddr::skip(kind, reader)?;
        let learned_from = match kind >> SOURCE_SHIFT & 3 {
            LEARNED => Some(reader.array()?),
            _ => None,
        };
        let history = reader.skip_numbers(if kind & TRIED == 0 { 0 } else { 3 })?;
        Some(Self {
            kind,
            place,
            learned_from,
            history,
        })
    }

    pub(super) const fn source(&self) -> AddressSource {
        match (self.kind >> SOURCE_SHIFT & 3, self.learned_from) {
            (_, Some(key)) => AddressSource::LearnedFrom(PeerKey::of_known(key)),
            (0, None) => AddressSource::Operator,
            (1, None) => AddressSource::Signed,
            (_, None) => AddressSource::Observed,
        }
    }

    pub(super) fn addr(&self) -> Option<PeerAddr> {
        PeerAddr::unpack(self.kind, &mut Reader(self.place))
    }

    /// True when it is the address with these bytes.
    pub(super) fn is_at(&self, packed: &[u8]) -> bool {
        packed
            .split_first()
            .is_some_and(|(kind, place)| *kind == self.kind & KIND_BITS && place == self.place)
    }

    pub(super) fn unpack(self) -> Option<PeerAddress> {
        let time = |number: u64| number.checked_sub(1).map(Timestamp::from_millis);
        let mut address = PeerAddress::new(self.addr()?, self.source());
        if !self.history.is_empty() {
            let mut reader = Reader(self.history);
            address.last_success = time(reader.number()?);
            address.last_failure = time(reader.number()?);
            address.failures = u32::try_from(reader.number()?).unwrap_or(u32::MAX);
        }
        Some(address)
    }
}
