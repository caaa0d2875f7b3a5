//! Entries exactly as the store spells them, read from the start of a text of any length.
//!
//! What is read here, `spell::entry` spells as the same bytes, so that nothing but its meaning needs to be kept. Whatever
//! is not certain to be so is left to `quick` and the YAML library. Keys and signatures are taken on trust: whoever calls
//! decides whether what was read may be believed.

use btcfed_core::addr::PeerAddr;
use btcfed_core::key::PeerKey;
use btcfed_core::peer::{PeerRecord, PeerSource, PeerStatus};

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
    let mut lines = Lines {
        rest: text,
        indent,
        count: 0,
    };
    let first = lines.line()?;
    let key = first.get(indent..)?.strip_prefix("- public_key: ")?;
    let key = PeerKey::from_trusted_text(key).ok()?;
    lines.indent = indent + 2;
    let source = match lines.field("source: ") {
        None => PeerSource::Operator,
        Some(name) => {
            PeerSource::from_name(name).filter(|source| *source != PeerSource::Operator)?
        }
    };
    let mut record = PeerRecord::new(key, source);
    addresses(&mut lines, &mut record)?;
    if let Some(text) = lines.field("name: ") {
        record.name = Some(word(text)?.to_owned());
    }
    if let Some(text) = lines.field("note: ") {
        record.note = Some(word(text)?.to_owned());
    }
    if let Some(value) = lines.field("pinned: ") {
        record.pinned = value == "true";
        record.pinned.then_some(())?;
    }
    if let Some(text) = lines.field("state: ") {
        state(text, &mut record)?;
    }
    let bytes = text.len() - lines.rest.len();
    let extent = Extent {
        bytes,
        lines: lines.count,
        indent,
    };
    let is_whole = bytes <= MAX_ENTRY_BYTES && begins_something(lines.rest, indent);
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

struct Lines<'a> {
    rest: &'a str,
    indent: usize,
    count: usize,
}

impl<'a> Lines<'a> {
    /// The next line, without its end.
    fn line(&mut self) -> Option<&'a str> {
        let (line, rest) = self.rest.split_once('\n')?;
        self.rest = rest;
        self.count += 1;
        (line.len() < MAX_LINE_BYTES).then_some(line)
    }

    /// What the next line says after `name`, if it begins like that.
    fn field(&mut self, name: &str) -> Option<&'a str> {
        let (blanks, text) = self.rest.split_at_checked(self.indent)?;
        let is_field = text.starts_with(name) && blanks.bytes().all(|byte| byte == b' ');
        if !is_field {
            return None;
        }
        let skipped = self.indent + name.len();
        self.line()?.get(skipped..)
    }
}

fn addresses(lines: &mut Lines<'_>, record: &mut PeerRecord) -> Option<()> {
    let by = entry::default_source(record.source);
    match lines.field("addresses:")? {
        " []" => return Some(()),
        "" => {}
        _ => return None,
    }
    record.addresses.reserve_exact(2);
    while let Some(text) = lines.field("  - ") {
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
    /// The value of the next field, if it has this name.
    fn field(&mut self, name: &str) -> Option<&'a str> {
        let value = self.open(name)?;
        let end = value.bytes().position(|byte| matches!(byte, b',' | b'}'))?;
        let (value, rest) = value.split_at_checked(end)?;
        self.rest = rest;
        Some(value)
    }

    /// What follows the name of the next field, if it is this one. The value is still to be taken.
    fn open(&mut self, name: &str) -> Option<&'a str> {
        let rest = match self.is_first {
            true => self.rest,
            false => self.rest.strip_prefix(", ")?,
        };
        let value = rest.strip_prefix(name)?.strip_prefix(": ")?;
        self.is_first = false;
        Some(value)
    }

    fn time(&mut self, name: &str) -> Option<Option<btcfed_core::time::Timestamp>> {
        match self.field(name) {
            None => Some(None),
            Some(text) => scalar::exact_time(text).map(Some),
        }
    }

    /// A count that is not zero; zero when it is not there.
    fn count(&mut self, name: &str) -> Option<u64> {
        match self.field(name) {
            None => Some(0),
            Some(text) => scalar::quick_count(text).filter(|count| *count > 0),
        }
    }

    fn small_count(&mut self, name: &str) -> Option<u32> {
        u32::try_from(self.count(name)?).ok()
    }
}

fn state(text: &str, record: &mut PeerRecord) -> Option<()> {
    let mut flow = Flow {
        rest: text.strip_prefix('{')?,
        is_first: true,
    };
    if let Some(name) = flow.field("status") {
        record.status =
            PeerStatus::from_name(name).filter(|status| *status != PeerStatus::Unknown)?;
    }
    record.status_since = flow.time("since")?;
    let stats = &mut record.stats;
    stats.first_seen = flow.time("first")?;
    stats.last_seen = flow.time("seen")?;
    stats.successes = flow.count("ok")?;
    stats.failures = flow.count("failed")?;
    stats.consecutive_failures = flow.small_count("streak")?;
    if let Some(text) = flow.field("rtt_ms") {
        let rtt = scalar::quick_rtt(text)?;
        (!text.ends_with(".000")).then_some(())?;
        stats.mean_rtt = Some(rtt);
    }
    if let Some(rest) = flow.open("addrs") {
        flow.rest = contacts(rest.strip_prefix('[')?, record)?;
    }
    if let Some(rest) = flow.open("record") {
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
        let addr = PeerAddr::from_canonical_text(word(flow.field("addr")?)?)?;
        let known = known.find(|known| known.addr == addr)?;
        known.last_success = flow.time("ok")?;
        known.last_failure = flow.time("failed")?;
        known.failures = flow.small_count("streak")?;
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
