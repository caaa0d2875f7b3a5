//! Entries as the store itself spells them, read without the YAML library: some thirty times faster.
//!
//! Whatever is the least unusual (another order of characters, a comment, an unknown field, an error) is left to the
//! library. So this reader never refuses anything, and what it reads, the library reads as the same.

use btcfed_core::key::PeerKey;
use btcfed_core::peer::{AddressSource, PeerRecord, PeerSource, PeerStatus};
use btcfed_core::time::Timestamp;

use crate::text::entry::{self, Contact, Listed, Peer, Trust};
use crate::text::guard::{MAX_ENTRY_BYTES, MAX_LINE_BYTES};
use crate::text::scalar;

/// Deepest flow nesting that is read here: `state: {addrs: [{...}]}`.
const MAX_DEPTH: usize = 3;

/// Reads the text of one entry, dash included; `None` when it is not in the store's own spelling.
pub(crate) fn parse(text: &str, trust: Trust) -> Option<Peer> {
    if text.len() > MAX_ENTRY_BYTES {
        return None;
    }
    let fields = Fields::of(text)?;
    let key = trust.key(fields.public_key).ok()?;
    let source = match fields.source {
        None => PeerSource::Operator,
        Some(name) => PeerSource::from_name(name)?,
    };
    let mut record = PeerRecord::new(key, source);
    record.name = fields.name.map(str::to_owned);
    record.note = fields.note.map(str::to_owned);
    record.pinned = fields.pinned;
    record.addresses.reserve_exact(fields.addresses.len());
    let by = entry::default_source(source);
    for text in fields.addresses {
        match entry::address(text, &key).ok()? {
            Listed::Dialable(addr) => entry::push(&mut record, addr, by),
            Listed::Foreign(text) => record.undialable.push(text),
        }
    }
    for hint in fields.hints {
        let (addr, from) = hint_of(hint)?;
        match entry::address(addr, &key).ok()? {
            Listed::Dialable(addr) => {
                entry::push(&mut record, addr, AddressSource::LearnedFrom(from));
            }
            Listed::Foreign(_) => return None,
        }
    }
    state(fields.state, &mut record, trust)?;
    record.addresses.sort_by_key(|known| known.source);
    Some(Peer {
        record,
        state_extra: Vec::new(),
    })
}

/// The fields of an entry, as they are spelled.
#[derive(Default)]
struct Fields<'a> {
    public_key: &'a str,
    source: Option<&'a str>,
    addresses: Vec<&'a str>,
    hints: Vec<Flow<'a>>,
    name: Option<&'a str>,
    note: Option<&'a str>,
    pinned: bool,
    state: Vec<(&'a str, Flow<'a>)>,
}

impl<'a> Fields<'a> {
    /// Fields in the order in which the store writes them, so that none comes twice.
    fn of(text: &'a str) -> Option<Self> {
        let indent = text.len() - text.trim_start_matches(' ').len();
        let (first, rest) = line(text)?;
        let key = first.get(indent..)?.strip_prefix("- public_key: ")?;
        let mut lines = Lines {
            rest,
            indent: indent + 2,
        };
        let mut fields = Self {
            public_key: plain(key)?,
            ..Self::default()
        };
        if let Some(value) = lines.field("source") {
            fields.source = Some(plain(value?)?);
        }
        match lines.field("addresses")?? {
            "" => {
                while let Some(item) = lines.item() {
                    fields.addresses.push(word(item)?);
                }
                if fields.addresses.is_empty() {
                    return None;
                }
            }
            "[]" => {}
            _ => return None,
        }
        if let Some(value) = lines.field("hints") {
            match flow(value?)? {
                Flow::List(hints) => fields.hints = hints,
                Flow::Bare(_) | Flow::Word(_) | Flow::Map(_) => return None,
            }
        }
        if let Some(value) = lines.field("name") {
            fields.name = Some(word(value?)?);
        }
        if let Some(value) = lines.field("note") {
            fields.note = Some(word(value?)?);
        }
        if let Some(value) = lines.field("pinned") {
            fields.pinned = value? == "true";
            fields.pinned.then_some(())?;
        }
        if let Some(value) = lines.field("state") {
            match flow(value?)? {
                Flow::Map(state) => fields.state = state,
                Flow::Bare(_) | Flow::Word(_) | Flow::List(_) => return None,
            }
        }
        lines.rest.is_empty().then_some(fields)
    }
}

/// The first line of a text that has one, without its end, and what follows.
fn line(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| byte == b'\n')?;
    let (line, rest) = (text.get(..end)?, text.get(end + 1..)?);
    (line.len() < MAX_LINE_BYTES).then_some((line, rest))
}

struct Lines<'a> {
    rest: &'a str,
    indent: usize,
}

impl<'a> Lines<'a> {
    /// The next line, if it is indented by exactly this much.
    fn at(&self, indent: usize) -> Option<(&'a str, &'a str)> {
        let (line, rest) = line(self.rest)?;
        let (blanks, line) = line.split_at_checked(indent)?;
        (blanks.bytes().all(|byte| byte == b' ') && !line.starts_with(' ')).then_some((line, rest))
    }

    /// The value of the next field if it has this name: `Some(None)` when its value is not spelled as ours are.
    fn field(&mut self, name: &str) -> Option<Option<&'a str>> {
        let (line, rest) = self.at(self.indent)?;
        let value = line.strip_prefix(name)?.strip_prefix(':')?;
        self.rest = rest;
        Some(match value {
            "" => Some(value),
            _ => value.strip_prefix(' '),
        })
    }

    /// The next item of the list that is open.
    fn item(&mut self) -> Option<&'a str> {
        let (line, rest) = self.at(self.indent + 2)?;
        let item = line.strip_prefix("- ")?;
        self.rest = rest;
        Some(item)
    }
}

/// A text that is spelled without quotes.
fn plain(text: &str) -> Option<&str> {
    scalar::is_plain(text).then_some(text)
}

/// A text, plain or in quotes without anything escaped.
fn word(text: &str) -> Option<&str> {
    match text.strip_prefix('"') {
        Some(rest) => simple(rest.strip_suffix('"')?),
        None => plain(text),
    }
}

/// The content of quotes, if it means itself.
fn simple(text: &str) -> Option<&str> {
    let is_simple = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    text.bytes().all(is_simple).then_some(text)
}

/// A flow value.
#[derive(Debug)]
enum Flow<'a> {
    /// Without quotes, and perhaps no text: a number or a time.
    Bare(&'a str),
    Word(&'a str),
    List(Vec<Self>),
    Map(Vec<(&'a str, Self)>),
}

impl<'a> Flow<'a> {
    fn word(&self) -> Option<&'a str> {
        match self {
            Self::Word(text) => Some(text),
            Self::Bare(text) => plain(text),
            Self::List(_) | Self::Map(_) => None,
        }
    }

    const fn bare(&self) -> Option<&'a str> {
        match self {
            Self::Bare(text) => Some(text),
            Self::Word(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    fn time(&self) -> Option<Timestamp> {
        self.bare().and_then(scalar::quick_time)
    }

    fn count(&self) -> Option<u64> {
        self.bare().and_then(scalar::quick_count)
    }

    fn small_count(&self) -> Option<u32> {
        let count = self.count()?;
        Some(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

/// A whole flow value.
fn flow(text: &str) -> Option<Flow<'_>> {
    let mut rest = text;
    let value = value(&mut rest, MAX_DEPTH)?;
    rest.is_empty().then_some(value)
}

fn value<'a>(rest: &mut &'a str, depth: usize) -> Option<Flow<'a>> {
    let depth = || depth.checked_sub(1);
    if let Some(inner) = rest.strip_prefix('"') {
        let end = inner.bytes().position(|byte| byte == b'"')?;
        *rest = inner.get(end + 1..)?;
        return Some(Flow::Word(simple(inner.get(..end)?)?));
    }
    if let Some(inner) = rest.strip_prefix('[') {
        *rest = inner;
        let mut items = vec![value(rest, depth()?)?];
        while eat(rest, ", ") {
            items.push(value(rest, depth()?)?);
        }
        return eat(rest, "]").then_some(Flow::List(items));
    }
    if let Some(inner) = rest.strip_prefix('{') {
        *rest = inner;
        let mut fields = Vec::with_capacity(8);
        loop {
            let name = bare(rest)?.strip_suffix(':')?;
            if !eat(rest, " ") {
                return None;
            }
            fields.push((plain(name)?, value(rest, depth()?)?));
            if !eat(rest, ", ") {
                return eat(rest, "}").then_some(Flow::Map(fields));
            }
        }
    }
    let text = bare(rest)?;
    (!text.is_empty() && !text.ends_with(':')).then_some(Flow::Bare(text))
}

fn eat(rest: &mut &str, text: &str) -> bool {
    let after = rest.strip_prefix(text);
    *rest = after.unwrap_or(rest);
    after.is_some()
}

/// What is spelled without quotes, as far as it goes.
fn bare<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let end = rest.bytes().position(|byte| !scalar::is_plain_byte(byte));
    let (text, after) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
    *rest = after;
    Some(text)
}

fn hint_of(hint: Flow<'_>) -> Option<(&str, PeerKey)> {
    let Flow::Map(fields) = hint else { return None };
    match fields.as_slice() {
        [("addr", addr), ("from", from)] => Some((addr.word()?, from.word()?.parse().ok()?)),
        _ => None,
    }
}

/// Reads the `state` line. Its fields come in the order in which they are written, so that none comes twice.
fn state(fields: Vec<(&str, Flow<'_>)>, record: &mut PeerRecord, trust: Trust) -> Option<()> {
    const ORDER: [&str; 10] = [
        "status", "since", "first", "seen", "ok", "failed", "streak", "rtt_ms", "addrs", "record",
    ];
    let mut vouched = Vec::new();
    let mut contacts = Vec::new();
    let mut order = ORDER.iter();
    for (name, value) in fields {
        order.find(|known| **known == name)?;
        let stats = &mut record.stats;
        match name {
            "status" => record.status = PeerStatus::from_name(value.word()?)?,
            "since" => record.status_since = Some(value.time()?),
            "first" => stats.first_seen = Some(value.time()?),
            "seen" => stats.last_seen = Some(value.time()?),
            "ok" => stats.successes = value.count()?,
            "failed" => stats.failures = value.count()?,
            "streak" => stats.consecutive_failures = value.small_count()?,
            "rtt_ms" => stats.mean_rtt = Some(scalar::quick_rtt(value.bare()?)?),
            "addrs" => match value {
                Flow::List(items) => contacts = items,
                Flow::Bare(_) | Flow::Word(_) | Flow::Map(_) => return None,
            },
            _ => record.record = entry::signed(value.word()?, &record.key, trust).ok(),
        }
        if name == "record" && record.record.is_none() {
            return None;
        }
    }
    for item in contacts {
        entry::take_contact(record, contact(item)?, &mut vouched);
    }
    entry::adopt_edited(record, &vouched);
    Some(())
}

fn contact(item: Flow<'_>) -> Option<Contact> {
    const ORDER: [&str; 5] = ["addr", "by", "ok", "failed", "streak"];
    let Flow::Map(fields) = item else { return None };
    let (mut addr, mut by, mut ok, mut failed, mut streak) = (None, None, None, None, 0);
    let mut order = ORDER.iter();
    for (name, value) in fields {
        order.find(|known| **known == name)?;
        match name {
            "addr" => addr = Some(value.word()?.parse().ok()?),
            "by" => by = Some(entry::voucher(value.word()?)?),
            "ok" => ok = Some(value.time()?),
            "failed" => failed = Some(value.time()?),
            _ => streak = value.small_count()?,
        }
    }
    Some(Contact {
        addr: addr?,
        by,
        ok,
        failed,
        streak,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::text::spell::{self, Style};
    use btcfed_core::SignedRecord;
    use btcfed_core::testing::{test_addr, test_key, test_record, test_secret};
    use std::time::Duration;

    pub(crate) fn peers() -> Vec<PeerRecord> {
        let at = |secs| Some(Timestamp::from_secs(secs));
        let mut known = test_record(1);
        known.name = Some("alice".into());
        known.note = Some("rack 7: \u{27}left\u{27}".into());
        known.pinned = true;
        known.status = PeerStatus::Valid;
        known.status_since = at(1_795_000_000);
        known.stats.first_seen = at(0);
        known.stats.last_seen = at(9_000_000_000);
        (known.stats.successes, known.stats.failures) = (12, 3);
        known.stats.mean_rtt = Some(Duration::from_micros(23_450));
        known.addresses[0].last_success = at(7);
        known.addresses[0].failures = 2;
        known.undialable.push("/ip4/1.2.3.4/udp/1/quic-v1".into());
        let mut signed = PeerRecord::new(test_key(2), PeerSource::Signed);
        let addrs = [test_addr(1), test_addr(2)];
        signed.record = Some(SignedRecord::sign(&test_secret(2), 7, &addrs).unwrap());
        signed.set_signed_addresses(&addrs);
        signed.add_address(test_addr(3), AddressSource::Observed);
        signed.add_address(test_addr(4), AddressSource::LearnedFrom(test_key(3)));
        signed.addresses[2].last_failure = at(8);
        vec![
            test_record(5),
            PeerRecord::new(test_key(6), PeerSource::Hearsay),
            known,
            signed,
        ]
    }

    pub(crate) fn texts() -> Vec<String> {
        let spelled = |record| {
            let peer = Peer {
                record,
                state_extra: Vec::new(),
            };
            let style = Style {
                indent: 2,
                eol: "\n",
            };
            spell::entry(&peer, style)
        };
        peers().into_iter().map(spelled).collect()
    }

    #[test]
    fn everything_usual_is_read_quickly_and_as_it_was_written() {
        for (record, text) in peers().into_iter().zip(texts()) {
            let peer = parse(&text, Trust::Nobody).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(peer.record, record, "{text}");
            assert_eq!(entry::parse_yaml(&text, Trust::Nobody), Ok(peer));
        }
    }

    #[test]
    fn after_any_change_of_a_byte_it_is_the_same_to_the_library_or_left_to_it() {
        let mut agreed = 0;
        let mut check = |text: &str| {
            for trust in [Trust::Ours, Trust::Nobody] {
                let Some(peer) = parse(text, trust) else {
                    continue;
                };
                // Trust spares the curve check, which the library's way never leaves out.
                if PeerKey::from_bytes(peer.record.key.as_bytes()).is_err() {
                    assert_eq!(trust, Trust::Ours, "{text}");
                    continue;
                }
                agreed += 1;
                assert_eq!(entry::parse_yaml(text, trust), Ok(peer), "{text}");
            }
        };
        for text in texts() {
            for at in 0..text.len() {
                let (head, tail) = text.split_at(at);
                for new in [
                    " ", "\n", ":", "#", "\"", "0", "e", "-", ",", "\t", "\r", "{", "~",
                ] {
                    check(&format!("{head}{new}{tail}"));
                    check(&format!("{head}{new}{}", &tail[1..]));
                }
                check(&format!("{head}{}", &tail[1..]));
                check(head);
            }
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            for one in 0..lines.len() {
                for other in 0..lines.len() {
                    let mut changed = lines.clone();
                    changed.swap(one, other);
                    check(&changed.concat());
                    changed.insert(one, lines[other]);
                    check(&changed.concat());
                }
            }
        }
        assert!(agreed > 100, "{agreed}");
    }
}
