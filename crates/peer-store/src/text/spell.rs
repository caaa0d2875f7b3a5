//! One peer to text: the canonical spelling of new entries, and the node's one `state` line.

use std::fmt::{self, Write as _};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use btcfed_core::peer::{AddressSource, PeerAddress, PeerRecord, PeerStatus};
use btcfed_core::record::SignedRecord;

use crate::text::entry::{FIELDS, Peer, default_source};
use crate::text::scalar::{self, FlowMap};

/// How a file is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    /// Blanks before the dash of an item.
    pub(crate) indent: usize,
    /// The line end.
    pub(crate) eol: &'static str,
}

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
    let record = &peer.record;
    let mut out = Lines {
        text: String::with_capacity(USUAL_LEN + record.record.as_ref().map_or(0, signed_len)),
        style,
    };
    out.line(0, "- public_key: ", record.key);
    if record.source != btcfed_core::PeerSource::Operator {
        out.line(2, "source: ", record.source.as_str());
    }
    let mut listed = record
        .addresses
        .iter()
        .filter(|known| is_listed(known, record))
        .peekable();
    let is_empty = listed.peek().is_none() && record.undialable.is_empty();
    out.line(2, "addresses:", if is_empty { " []" } else { "" });
    for known in listed {
        out.line(4, "- ", spelled(known));
    }
    for addr in &record.undialable {
        out.line(4, "- ", scalar::string(addr));
    }
    let hints = hints(record);
    let words = |text: &Option<String>| text.as_deref().map(scalar::string);
    for (name, value) in [
        ("hints: ", hints),
        ("name: ", words(&record.name)),
        ("note: ", words(&record.note)),
    ] {
        if let Some(value) = value {
            out.line(2, name, value);
        }
    }
    if record.pinned {
        out.line(2, "pinned: ", "true");
    }
    for (name, value) in &record.extra {
        out.line(2, "", format_args!("{}: {value}", scalar::string(name)));
    }
    if let Some(state) = state(peer) {
        out.line(2, "state: ", state);
    }
    out.text
}

/// About as long as an entry without a signed record.
const USUAL_LEN: usize = 320;

fn signed_len(signed: &SignedRecord) -> usize {
    signed.envelope().len() / 3 * 4 + 32
}

/// An entry as it grows.
struct Lines {
    text: String,
    style: Style,
}

impl Lines {
    fn line(&mut self, indent: usize, name: &str, value: impl fmt::Display) {
        let Style { indent: more, eol } = self.style;
        self.text.extend(std::iter::repeat_n(' ', indent + more));
        self.text.push_str(name);
        // Writing to a String cannot fail.
        write!(self.text, "{value}").unwrap_or_default();
        self.text.push_str(eol);
    }
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
    let record = &peer.record;
    let stats = &record.stats;
    let count = |count: u64| (count > 0).then(|| count.to_string());
    let addrs: Vec<String> = record
        .addresses
        .iter()
        .filter_map(|known| contact(known, record))
        .collect();
    let mut map = FlowMap::default();
    map.field(
        "status",
        (record.status != PeerStatus::Unknown).then(|| record.status.as_str()),
    )
    .field("since", record.status_since.map(scalar::time_text))
    .field("first", stats.first_seen.map(scalar::time_text))
    .field("seen", stats.last_seen.map(scalar::time_text))
    .field("ok", count(stats.successes))
    .field("failed", count(stats.failures))
    .field("streak", count(stats.consecutive_failures.into()))
    .field("rtt_ms", stats.mean_rtt.map(scalar::rtt_text))
    .field(
        "addrs",
        (!addrs.is_empty()).then(|| format!("[{}]", addrs.join(", "))),
    );
    for (name, value) in &peer.state_extra {
        map.field(&scalar::string(name), Some(value));
    }
    map.field(
        "record",
        record
            .record
            .as_ref()
            .map(|signed| format!("\"{}\"", STANDARD.encode(signed.envelope()))),
    );
    map.finish()
}

/// What the state says about one address; `None` when `addresses` and `hints` say it all.
fn contact(known: &PeerAddress, record: &PeerRecord) -> Option<String> {
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
    if by.is_none() && *known == PeerAddress::new(known.addr.clone(), known.source) {
        return None;
    }
    FlowMap::default()
        .field("addr", Some(spelled(known)))
        .field("by", by)
        .field("ok", known.last_success.map(scalar::time_text))
        .field("failed", known.last_failure.map(scalar::time_text))
        .field(
            "streak",
            (known.failures > 0).then(|| known.failures.to_string()),
        )
        .finish()
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
