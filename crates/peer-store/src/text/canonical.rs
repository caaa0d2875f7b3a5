//! Entries exactly as the store spells them, read from the start of a text of any length.
//!
//! What is read here, `spell::entry` spells as the same bytes, so that nothing but its meaning needs to be kept. Whatever
//! is not certain to be so is left to `quick` and the YAML library. Keys and signatures are taken on trust: whoever calls
//! decides whether what was read may be believed.

use btcfed_core::addr::PeerAddr;
use btcfed_core::key::PeerKey;
use btcfed_core::peer::{PeerRecord, PeerSource, PeerStatus};
use btcfed_core::time::Timestamp;

use crate::text::entry::{self, Trust};
use crate::text::guard::{MAX_ENTRY_BYTES, MAX_LINE_BYTES};
use crate::text::scalar;
use crate::text::spell::{self, MAX_INDENT};

/// An entry at the start of a text.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What it says.
    pub(crate) record: PeerRecord,
    /// Where it ends.
    pub(crate) extent: Extent,
}

/// How much of a text an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Its length, line ends included.
    pub(crate) bytes: usize,
    /// How many lines it has.
    pub(crate) lines: usize,
    /// Blanks before its dash.
    pub(crate) indent: usize,
}

/// Reads the entry that `text` begins with. `None` when it is not spelled exactly as the store spells it, or when the line
/// after it might belong to it.
pub(crate) fn read(text: &str) -> Option<Entry> {
    let blanks = text.bytes().take(MAX_INDENT + 1);
    let indent = blanks.take_while(|byte| *byte == b' ').count();
    let mut lines = Lines::of(text, indent);
    let key = lines.field(b"- public_key: ")?;
    let key = PeerKey::from_trusted_text(key).ok()?;
    lines.go_in();
    let source = match lines.field(b"source: ") {
        None => PeerSource::Operator,
        Some(name) => {
            PeerSource::from_name(name).filter(|source| *source != PeerSource::Operator)?
        }
    };
    let mut record = PeerRecord::new(key, source);
    addresses(&mut lines, &mut record)?;
    if let Some(text) = lines.field(b"name: ") {
        record.name = Some(word(text)?.to_owned());
    }
    if let Some(text) = lines.field(b"note: ") {
        record.note = Some(word(text)?.to_owned());
    }
    if let Some(value) = lines.field(b"pinned: ") {
        record.pinned = value == "true";
        record.pinned.then_some(())?;
    }
    if let Some(text) = lines.field(b"state: ") {
        state(text, &mut record)?;
    }
    let bytes = lines.at;
    let extent = Extent {
        bytes,
        lines: lines.count,
        indent,
    };
    let is_whole = bytes <= MAX_ENTRY_BYTES && begins_something(text.get(bytes..)?, indent);
    is_whole.then_some(Entry { record, extent })
}

/// True when an entry that is known to be canonical ends where `rest` begins.
pub(crate) fn ends_before(rest: &str, entry: &str) -> bool {
    begins_something(rest, spell::indent_of(entry))
}

/// True when what follows an entry certainly does not belong to it.
fn begins_something(rest: &str, indent: usize) -> bool {
    match rest.as_bytes().first() {
        None => true,
        Some(b' ' | b'-') => {
            let blanks = rest.bytes().take_while(|byte| *byte == b' ').count();
            blanks == indent
                && rest
                    .get(indent..)
                    .is_some_and(|rest| rest.starts_with("- "))
        }
        Some(byte) => byte.is_ascii_alphabetic(),
    }
}

/// The lines of an entry, one after the other.
struct Lines<'a> {
    text: &'a str,
    /// Where the next line begins.
    at: usize,
    /// Blanks before the fields that are read now.
    indent: usize,
    /// How many lines were read.
    count: usize,
}

impl<'a> Lines<'a> {
    const fn of(text: &'a str, indent: usize) -> Self {
        Self {
            text,
            at: 0,
            indent,
            count: 0,
        }
    }

    /// The next lines are fields of the entry.
    const fn go_in(&mut self) {
        self.indent += 2;
    }

    /// What the next line says after `name`, if it begins like that.
    #[inline]
    fn field<const N: usize>(&mut self, name: &[u8; N]) -> Option<&'a str> {
        let line = self.text.as_bytes().get(self.at..)?;
        let (blanks, body) = line.split_at_checked(self.indent)?;
        let (start, value) = body.split_first_chunk::<N>()?;
        if start != name || !are_blank(blanks) {
            return None;
        }
        let start = self.indent + N;
        let longest = value.len().min(MAX_LINE_BYTES.saturating_sub(start));
        let len = find(value.get(..longest)?, b'\n')?;
        let start = self.at + start;
        self.at = start + len + 1;
        self.count += 1;
        self.text.get(start..start + len)
    }
}

/// True for nothing but blanks. Lengths that occur are compared at once.
fn are_blank(bytes: &[u8]) -> bool {
    match bytes {
        [a, b, c, d] => [*a, *b, *c, *d] == *b"    ",
        _ => bytes.iter().all(|byte| *byte == b' '),
    }
}

/// How many lines end in a text. Sums of few bytes fit into one, so that many are made at once.
pub(crate) fn count_lines(bytes: &[u8]) -> usize {
    const FEW: usize = 255;
    let ends = |few: &[u8]| few.iter().map(|byte| u8::from(*byte == b'\n')).sum::<u8>();
    bytes.chunks(FEW).map(|few| usize::from(ends(few))).sum()
}

/// Where a byte is for the first time, eight bytes at a time: lines and values are too short for anything that must be
/// prepared.
pub(crate) fn find(bytes: &[u8], wanted: u8) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    let pattern = u64::from_le_bytes([wanted; 8]);
    let (words, rest) = bytes.as_chunks();
    for (place, word) in words.iter().enumerate() {
        // The lowest top bit that is set belongs to the first byte that is zero, which is the first one wanted.
        let other = u64::from_le_bytes(*word) ^ pattern;
        let zeros = other.wrapping_sub(ONES) & !other & TOPS;
        if zeros != 0 {
            return Some(place * 8 + usize::try_from(zeros.trailing_zeros() / 8).unwrap_or(0));
        }
    }
    let before = words.len() * 8;
    let place = rest.iter().position(|byte| *byte == wanted)?;
    Some(before + place)
}

fn addresses(lines: &mut Lines<'_>, record: &mut PeerRecord) -> Option<()> {
    let by = entry::default_source(record.source);
    match lines.field(b"addresses:")? {
        " []" => return Some(()),
        "" => {}
        _ => return None,
    }
    record.addresses.reserve_exact(2);
    while let Some(text) = lines.field(b"  - ") {
        let text = word(text)?;
        let is_first_foreign = record.undialable.is_empty();
        match PeerAddr::from_canonical_text(text) {
            Some(addr) if is_first_foreign => {
                let before = record.addresses.len();
                entry::push(record, addr, by);
                (record.addresses.len() > before).then_some(())?;
            }
            Some(_) => return None,
            None => match entry::address(text, &record.key).ok()? {
                entry::Listed::Foreign(text) => record.undialable.push(text),
                entry::Listed::Dialable(_) => return None,
            },
        }
    }
    (!record.addresses.is_empty() || !record.undialable.is_empty()).then_some(())
}

/// A text as `scalar::string` spells it, if nothing in it is escaped.
fn word(text: &str) -> Option<&str> {
    match text.strip_prefix('"') {
        None => scalar::is_plain(text).then_some(text),
        Some(rest) => {
            let inner = rest.strip_suffix('"')?;
            let is_simple = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
            (inner.bytes().all(is_simple) && !scalar::is_plain(inner)).then_some(inner)
        }
    }
}

/// Reads what stands between the braces of a `state` line.
struct Flow<'a> {
    rest: &'a str,
    is_first: bool,
}

impl<'a> Flow<'a> {
    /// The value of the next field, if it has this name, which is given with what parts it from the value.
    #[inline]
    fn field<const N: usize>(&mut self, name: &[u8; N]) -> Option<&'a str> {
        let value = self.open(name)?;
        let end = value.bytes().position(|byte| matches!(byte, b',' | b'}'))?;
        let (value, rest) = value.split_at_checked(end)?;
        self.rest = rest;
        Some(value)
    }

    /// What follows the name of the next field, if it is this one. The value is still to be taken.
    #[inline]
    fn open<const N: usize>(&mut self, name: &[u8; N]) -> Option<&'a str> {
        let start = if self.is_first { 0 } else { 2 };
        let (comma, field) = self.rest.as_bytes().split_at_checked(start)?;
        let (found, _) = field.split_first_chunk::<N>()?;
        if found != name || !(self.is_first || comma == b", ") {
            return None;
        }
        self.is_first = false;
        self.rest.get(start + N..)
    }

    #[inline]
    fn time<const N: usize>(&mut self, name: &[u8; N]) -> Option<Option<Timestamp>> {
        match self.field(name) {
            None => Some(None),
            Some(text) => scalar::exact_time(text).map(Some),
        }
    }

    /// A count that is not zero; zero when it is not there.
    #[inline]
    fn count<const N: usize>(&mut self, name: &[u8; N]) -> Option<u64> {
        match self.field(name) {
            None => Some(0),
            Some(text) => scalar::quick_count(text).filter(|count| *count > 0),
        }
    }

    #[inline]
    fn small_count<const N: usize>(&mut self, name: &[u8; N]) -> Option<u32> {
        u32::try_from(self.count(name)?).ok()
    }
}

fn state(text: &str, record: &mut PeerRecord) -> Option<()> {
    let mut flow = Flow {
        rest: text.strip_prefix('{')?,
        is_first: true,
    };
    if let Some(name) = flow.field(b"status: ") {
        record.status =
            PeerStatus::from_name(name).filter(|status| *status != PeerStatus::Unknown)?;
    }
    record.status_since = flow.time(b"since: ")?;
    let stats = &mut record.stats;
    stats.first_seen = flow.time(b"first: ")?;
    stats.last_seen = flow.time(b"seen: ")?;
    stats.successes = flow.count(b"ok: ")?;
    stats.failures = flow.count(b"failed: ")?;
    stats.consecutive_failures = flow.small_count(b"streak: ")?;
    if let Some(text) = flow.field(b"rtt_ms: ") {
        let rtt = scalar::quick_rtt(text)?;
        (!text.ends_with(".000")).then_some(())?;
        stats.mean_rtt = Some(rtt);
    }
    if let Some(rest) = flow.open(b"addrs: ") {
        flow.rest = contacts(rest.strip_prefix('[')?, record)?;
    }
    if let Some(rest) = flow.open(b"record: ") {
        let (text, rest) = rest.strip_prefix('"')?.split_once('"')?;
        let signed = entry::signed(text, &record.key, Trust::Ours).ok()?;
        let named = |addr| signed.addresses().contains(addr);
        let is_named = record.source.is_chosen_by_operator()
            || record.addresses.iter().all(|known| named(&known.addr));
        record.record = Some(signed).filter(|_| is_named);
        record.record.as_ref()?;
        flow.rest = rest;
    }
    (flow.rest == "}" && !flow.is_first).then_some(())
}

/// Reads what follows the bracket of `addrs`; returns what follows the closing one.
fn contacts<'a>(mut rest: &'a str, record: &mut PeerRecord) -> Option<&'a str> {
    let mut known = record.addresses.iter_mut();
    loop {
        let mut flow = Flow {
            rest: rest.strip_prefix('{')?,
            is_first: true,
        };
        let addr = PeerAddr::from_canonical_text(word(flow.field(b"addr: ")?)?)?;
        let known = known.find(|known| known.addr == addr)?;
        known.last_success = flow.time(b"ok: ")?;
        known.last_failure = flow.time(b"failed: ")?;
        known.failures = flow.small_count(b"streak: ")?;
        let is_met = known.last_success.is_some() || known.last_failure.is_some();
        (is_met || known.failures > 0).then_some(())?;
        rest = flow.rest.strip_prefix('}')?;
        match rest.strip_prefix(", ") {
            Some(more) => rest = more,
            None => return rest.strip_prefix(']'),
        }
    }
}

#[cfg(test)]
mod tests;
