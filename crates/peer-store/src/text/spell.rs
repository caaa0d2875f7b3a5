//! One peer to text: the canonical spelling of new entries, and the node's one `state` line.

use std::time::Duration;

use btcfed_core::peer::{AddressSource, PeerAddress, PeerRecord, PeerStatus};
use btcfed_core::record::SignedRecord;
use btcfed_core::set::PeerView;
use btcfed_core::time::Timestamp;

use crate::text::entry::{FIELDS, Peer, default_source};
use crate::text::ink;
use crate::text::scalar::{self, FlowMap};

/// How a file is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    /// Blanks before the dash of an item.
    pub(crate) indent: usize,
    /// The line end.
    pub(crate) eol: &'static str,
}

/// Deepest indentation of an entry that is read without the YAML library.
pub(crate) const MAX_INDENT: usize = 8;

impl Default for Style {
    fn default() -> Self {
        Self {
            indent: 2,
            eol: "\n",
        }
    }
}

/// The fields of an entry, in the order they are written, each with its spelled value. `addresses` is not among them.
pub(crate) fn fields(peer: &Peer) -> Vec<(String, Option<String>)> {
    let record = &peer.record;
    let source = Some(record.source).filter(|source| *source != btcfed_core::PeerSource::Operator);
    let mut fields = vec![
        (
            "source".to_owned(),
            source.map(|source| source.as_str().to_owned()),
        ),
        ("hints".to_owned(), hints(record)),
        (
            "name".to_owned(),
            record.name.as_deref().map(scalar::string),
        ),
        (
            "note".to_owned(),
            record.note.as_deref().map(scalar::string),
        ),
        (
            "pinned".to_owned(),
            record.pinned.then(|| "true".to_owned()),
        ),
    ];
    fields.extend(
        record
            .extra
            .iter()
            .map(|(name, value)| (name.clone(), Some(value.clone()))),
    );
    fields.push(("state".to_owned(), state(peer)));
    fields
}

/// The texts of the addresses an entry lists.
pub(crate) fn listed(record: &PeerRecord) -> Vec<String> {
    let dialable = record
        .addresses
        .iter()
        .filter(|known| is_listed(known, record))
        .map(|known| known.addr.to_string());
    dialable.chain(record.undialable.iter().cloned()).collect()
}

/// The whole entry.
pub(crate) fn entry(peer: &Peer, style: Style) -> String {
    let mut out = Vec::with_capacity(LEN_HINT);
    push_entry(&mut out, &peer.record, &peer.state_extra, style);
    ink::into_text(out)
}

/// True when `text` is the entry of a record exactly as [`push_entry`] spells it, so that it need not be kept.
pub(crate) fn spells(record: &PeerRecord, style: Style, text: &str) -> bool {
    let mut spelled = Vec::with_capacity(text.len());
    push_entry(&mut spelled, record, &[], style);
    spelled == text.as_bytes() && style.indent <= MAX_INDENT
}

/// True when the record comes back from its entry as it is, except that times are less precise.
pub(crate) fn is_canonical(peer: PeerView<'_>) -> bool {
    let sources = peer.addresses().map(|known| known.source);
    peer.extra().next().is_none() && sources.is_sorted()
}

/// Blanks before the dash of an entry.
pub(crate) fn indent_of(text: &str) -> usize {
    text.len() - text.trim_start_matches(' ').len()
}

/// About how long an entry is, without a signed record.
pub(crate) const LEN_HINT: usize = 340;

/// Adds the whole entry to `out`.
pub(crate) fn push_entry(
    out: &mut Vec<u8>,
    record: &PeerRecord,
    state_extra: &[(String, String)],
    style: Style,
) {
    let eol = style.eol.as_bytes();
    push_blanks(out, style.indent);
    out.extend_from_slice(b"- public_key: ");
    ink::push_key(out, &record.key);
    push_eol(out, eol);
    let inner = style.indent + 2;
    if record.source != btcfed_core::PeerSource::Operator {
        push_blanks(out, inner);
        push_all(out, ["source: ", record.source.as_str()]);
        push_eol(out, eol);
    }
    push_addresses(out, record, style);
    if let Some(hints) = hints(record) {
        push_blanks(out, inner);
        push_all(out, ["hints: ", &hints]);
        push_eol(out, eol);
    }
    for (name, words) in [("name: ", &record.name), ("note: ", &record.note)] {
        if let Some(words) = words {
            push_blanks(out, inner);
            out.extend_from_slice(name.as_bytes());
            ink::push_string(out, words);
            push_eol(out, eol);
        }
    }
    if record.pinned {
        push_blanks(out, inner);
        out.extend_from_slice(b"pinned: true");
        push_eol(out, eol);
    }
    for (name, value) in &record.extra {
        push_blanks(out, inner);
        ink::push_string(out, name);
        push_all(out, [": ", value]);
        push_eol(out, eol);
    }
    let before = out.len();
    push_blanks(out, inner);
    out.extend_from_slice(b"state: ");
    if push_state(out, record, state_extra) {
        push_eol(out, eol);
    } else {
        out.truncate(before);
    }
}

fn push_addresses(out: &mut Vec<u8>, record: &PeerRecord, style: Style) {
    let eol = style.eol.as_bytes();
    push_blanks(out, style.indent + 2);
    out.extend_from_slice(b"addresses:");
    let empty = out.len();
    let listed = record
        .addresses
        .iter()
        .filter(|known| is_listed(known, record));
    for known in listed {
        push_eol(out, eol);
        push_blanks(out, style.indent + 4);
        out.extend_from_slice(b"- ");
        ink::push_addr(out, &known.addr);
    }
    for addr in &record.undialable {
        push_eol(out, eol);
        push_blanks(out, style.indent + 4);
        out.extend_from_slice(b"- ");
        ink::push_string(out, addr);
    }
    if out.len() == empty {
        out.extend_from_slice(b" []");
    }
    push_eol(out, eol);
}

/// Adds a line end. Lengths that are known when this is compiled are copied without a call.
#[inline]
fn push_eol(out: &mut Vec<u8>, eol: &[u8]) {
    match eol {
        b"\n" => out.push(b'\n'),
        _ => out.extend_from_slice(eol),
    }
}

#[inline]
fn push_blanks(out: &mut Vec<u8>, count: usize) {
    match count {
        0 => {}
        2 => out.extend_from_slice(b"  "),
        4 => out.extend_from_slice(b"    "),
        6 => out.extend_from_slice(b"      "),
        _ => out.extend(std::iter::repeat_n(b' ', count)),
    }
}

fn push_all(out: &mut Vec<u8>, parts: [&str; 2]) {
    parts
        .iter()
        .for_each(|part| out.extend_from_slice(part.as_bytes()));
}

/// A record as it comes back from the file: times and counts as precise as they are written, addresses sorted.
pub(crate) fn as_written(record: &PeerRecord) -> PeerRecord {
    let mut record = record.clone();
    let micros = record
        .stats
        .mean_rtt
        .map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX));
    record.stats.mean_rtt = micros.map(Duration::from_micros);
    record.addresses.sort_by_key(|known| known.source);
    record
        .extra
        .retain(|name, _| !FIELDS.contains(&name.as_str()));
    for value in record.extra.values_mut() {
        *value = one_line(value);
    }
    record
}

/// Extra fields may be any YAML or JSON text; on one line it cannot disturb its neighbours.
fn one_line(text: &str) -> String {
    match crate::text::guard::value(text) {
        Ok(value) => scalar::flow(&value),
        Err(_) => scalar::string(text),
    }
}

fn is_listed(known: &PeerAddress, record: &PeerRecord) -> bool {
    known.source == AddressSource::Operator || known.source == default_source(record.source)
}

fn hints(record: &PeerRecord) -> Option<String> {
    let hint = |known: &PeerAddress| match known.source {
        AddressSource::LearnedFrom(key) => FlowMap::default()
            .field("addr", Some(spelled(known)))
            .field("from", Some(key.to_string()))
            .finish(),
        _ => None,
    };
    let hints: Vec<String> = record.addresses.iter().filter_map(hint).collect();
    (!hints.is_empty()).then(|| format!("[{}]", hints.join(", ")))
}

fn spelled(known: &PeerAddress) -> String {
    scalar::string(&known.addr.to_string())
}

/// The value of the `state` line; `None` for a peer of which the node knows nothing.
fn state(peer: &Peer) -> Option<String> {
    let mut out = Vec::new();
    push_state(&mut out, &peer.record, &peer.state_extra).then(|| ink::into_text(out))
}

/// Adds the value of the `state` line; false when there is nothing to say.
fn push_state(out: &mut Vec<u8>, record: &PeerRecord, extra: &[(String, String)]) -> bool {
    let stats = &record.stats;
    let mut map = Braces::open(out);
    if record.status != PeerStatus::Unknown {
        let status = record.status.as_str().as_bytes();
        map.name(b"status: ").extend_from_slice(status);
    }
    map.time(b"since: ", record.status_since);
    map.time(b"first: ", stats.first_seen);
    map.time(b"seen: ", stats.last_seen);
    map.count(b"ok: ", stats.successes);
    map.count(b"failed: ", stats.failures);
    map.count(b"streak: ", stats.consecutive_failures.into());
    if let Some(rtt) = stats.mean_rtt {
        ink::push_rtt(map.name(b"rtt_ms: "), rtt);
    }
    let mut has_addrs = false;
    for known in &record.addresses {
        let Some(by) = vouched(known, record) else {
            continue;
        };
        if std::mem::replace(&mut has_addrs, true) {
            map.out.extend_from_slice(b", ");
        } else {
            map.name(b"addrs: ").push(b'[');
        }
        push_contact(map.out, known, by);
    }
    map.out.extend(has_addrs.then_some(b']'));
    for (name, value) in extra {
        let out = map.name(b"");
        ink::push_string(out, name);
        push_all(out, [": ", value]);
    }
    if let Some(signed) = &record.record {
        let out = map.name(b"record: ");
        out.push(b'"');
        ink::push_base64(out, signed.envelope());
        out.push(b'"');
    }
    map.close()
}

/// What the state has to say about who vouches for an address; `None` when nothing at all is to be said of it.
fn vouched(known: &PeerAddress, record: &PeerRecord) -> Option<Option<&'static str>> {
    let by = match known.source {
        AddressSource::LearnedFrom(_) => None,
        AddressSource::Operator => {
            (default_source(record.source) != known.source).then_some("operator")
        }
        AddressSource::Signed => {
            let named = |signed: &SignedRecord| signed.addresses().contains(&known.addr);
            let implied = is_listed(known, record) && record.record.as_ref().is_none_or(named);
            (!implied).then_some("signed")
        }
        _ => Some("observed"),
    };
    let is_untried =
        known.last_success.is_none() && known.last_failure.is_none() && known.failures == 0;
    (by.is_some() || !is_untried).then_some(by)
}

fn push_contact(out: &mut Vec<u8>, known: &PeerAddress, by: Option<&str>) {
    let mut map = Braces::open(out);
    ink::push_addr(map.name(b"addr: "), &known.addr);
    if let Some(by) = by {
        map.name(b"by: ").extend_from_slice(by.as_bytes());
    }
    map.time(b"ok: ", known.last_success);
    map.time(b"failed: ", known.last_failure);
    map.count(b"streak: ", known.failures.into());
    map.close();
}

/// `{a: b, c: d}` as it grows.
struct Braces<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Braces<'a> {
    fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        let is_empty = true;
        Self { out, is_empty }
    }

    /// Begins a field, given its name and what parts it from its value, which is to be added next.
    #[inline]
    fn name<const N: usize>(&mut self, name: &[u8; N]) -> &mut Vec<u8> {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.out.extend_from_slice(b", ");
        }
        self.out.extend_from_slice(name);
        self.out
    }

    fn time<const N: usize>(&mut self, name: &[u8; N], at: Option<Timestamp>) {
        if let Some(at) = at {
            ink::push_time(self.name(name), at);
        }
    }

    fn count<const N: usize>(&mut self, name: &[u8; N], count: u64) {
        if count > 0 {
            ink::push_count(self.name(name), count);
        }
    }

    /// Closes it; false when nothing is in it.
    fn close(self) -> bool {
        self.out.push(b'}');
        !self.is_empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::entry::{Trust, parse};
    use btcfed_core::peer::PeerSource;
    use btcfed_core::testing::{test_addr, test_key, test_secret};
    use btcfed_core::time::Timestamp;

    fn full(source: PeerSource) -> Peer {
        let mut record = PeerRecord::new(test_key(1), source);
        let seen = |ms| Some(Timestamp::from_millis(ms));
        for (port, by) in [
            (1, AddressSource::Operator),
            (2, AddressSource::Operator),
            (3, AddressSource::Signed),
            (4, AddressSource::Signed),
            (5, AddressSource::Observed),
            (6, AddressSource::LearnedFrom(test_key(9))),
        ] {
            record.add_address(test_addr(port), by);
        }
        record.addresses[1].last_success = seen(1000);
        record.addresses[3].last_failure = seen(2001);
        record.addresses[5].failures = 3;
        record.undialable.push("/ip4/1.2.3.4/udp/1/quic-v1".into());
        record.name = Some("alice: \"A\" #1".into());
        record.note = Some("two\nlines".into());
        record.pinned = true;
        record.status = PeerStatus::Valid;
        record.status_since = seen(5);
        record.stats.successes = 12;
        record.stats.failures = 3;
        record.stats.consecutive_failures = 1;
        record.stats.mean_rtt = Some(Duration::from_nanos(23_456_789));
        record.stats.first_seen = seen(1);
        record.stats.last_seen = seen(9);
        record.record = SignedRecord::sign(&test_secret(1), 7, &[test_addr(3)]).ok();
        record.extra.insert("uuid".into(), "{a: [1, x]}".into());
        record.extra.insert("odd name".into(), "not: [yaml".into());
        Peer {
            record,
            state_extra: vec![("later".into(), "[1]".into())],
        }
    }

    #[test]
    fn everything_known_of_a_peer_reads_back_from_every_source_and_layout() {
        for source in [
            PeerSource::Operator,
            PeerSource::Bootstrap,
            PeerSource::Signed,
            PeerSource::Hearsay,
        ] {
            for style in [
                Style::default(),
                Style {
                    indent: 0,
                    eol: "\r\n",
                },
            ] {
                let mut peer = full(source);
                peer.record = as_written(&peer.record);
                let text = entry(&peer, style);
                assert_eq!(parse(&text, Trust::Nobody).as_ref(), Ok(&peer), "{text}");
            }
        }
    }

    #[test]
    fn a_peer_of_which_only_the_key_is_known_takes_two_lines() {
        let record = PeerRecord::new(test_key(1), PeerSource::Operator);
        let text = entry(
            &Peer {
                record,
                state_extra: Vec::new(),
            },
            Style::default(),
        );
        assert_eq!(
            text,
            format!("  - public_key: {}\n    addresses: []\n", test_key(1))
        );
    }
}
