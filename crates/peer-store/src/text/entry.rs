//! One peer of the file: YAML fields to a [`PeerRecord`].

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use btcfed_core::ParseError;
use btcfed_core::addr::{AddrError, AddrWithId, PeerAddr};
use btcfed_core::identity::{SignatureCheck, StrictVerifier, Verifier};
use btcfed_core::key::PeerKey;
use btcfed_core::peer::{AddressSource, PeerAddress, PeerRecord, PeerSource, PeerStatus};
use btcfed_core::record::{SignedRecord, UnverifiedRecord};
use btcfed_core::time::Timestamp;
use serde_yaml::{Mapping, Value};

use crate::text::guard::{self, Refusal};
use crate::text::quick;
use crate::text::scalar;

/// Fields of an entry that have a meaning here; all others are kept as they are.
pub(crate) const FIELDS: [&str; 8] = [
    "public_key",
    "source",
    "addresses",
    "hints",
    "name",
    "note",
    "pinned",
    "state",
];

/// Fields of the `state` line that have a meaning here.
const STATE_FIELDS: [&str; 10] = [
    "status", "since", "first", "seen", "ok", "failed", "streak", "rtt_ms", "addrs", "record",
];

/// A peer as read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Peer {
    /// What it says.
    pub(crate) record: PeerRecord,
    /// Fields of the `state` line that are unknown here, spelled as flow YAML.
    pub(crate) state_extra: Vec<(String, String)>,
}

/// How far a text is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The checksum matches: keys and signatures were checked before they were written.
    Ours,
    /// Everything is checked.
    Nobody,
    /// Everything but this key, which was checked before.
    Key(PeerKey),
}

impl Trust {
    /// The key that a text stands for.
    pub(crate) fn key(self, text: &str) -> Result<PeerKey, ParseError> {
        match self {
            Self::Ours => PeerKey::from_trusted_text(text),
            Self::Key(known) if PeerKey::from_trusted_text(text).as_ref() == Ok(&known) => {
                Ok(known)
            }
            Self::Key(_) | Self::Nobody => text.parse(),
        }
    }
}

/// Reads the text of one entry, dash included.
pub(crate) fn parse(text: &str, trust: Trust) -> Result<Peer, Refusal> {
    match quick::parse(text, trust) {
        Some(peer) => Ok(peer),
        None => parse_yaml(text, trust),
    }
}

/// Reads the text of one entry, however it is spelled.
pub(crate) fn parse_yaml(text: &str, trust: Trust) -> Result<Peer, Refusal> {
    let value = guard::item(text).map_err(|refusal| Refusal {
        key: key_in(text),
        ..refusal
    })?;
    let Value::Mapping(fields) = value else {
        return Err(Refusal::at(text, "", "expected public_key and addresses"));
    };
    let reader = Reader {
        text,
        fields: &fields,
    };
    let key = reader.key(trust)?;
    reader.peer(key, trust).map_err(|refusal| Refusal {
        key: Some(key),
        ..refusal
    })
}

/// The key in the text of an entry that is no YAML, if a line of it can still be read.
fn key_in(text: &str) -> Option<PeerKey> {
    key_words(text).find_map(|word| word.parse().ok())
}

/// The key that an entry seems to have, not checked: to look it up among those that were.
pub(crate) fn likely_key(text: &str) -> Option<PeerKey> {
    PeerKey::from_trusted_text(key_words(text).next()?).ok()
}

/// What stands where keys do.
fn key_words(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let (_, rest) = line.split_once("public_key")?;
        let word = rest.trim_start_matches(['"', '\'', ':', ' ']);
        let end = word.find([' ', '"', '\'', ',', '}']).unwrap_or(word.len());
        word.get(..end)
    })
}

/// What an address text says about who is expected there, checked against `key`.
pub(crate) fn address(text: &str, key: &PeerKey) -> Result<Listed, String> {
    match text.parse::<AddrWithId>() {
        Ok(AddrWithId {
            peer_id: Some(id), ..
        }) if id.key() != *key => Err(format!("the address names another peer ({id})")),
        Ok(AddrWithId { addr, .. }) => Ok(Listed::Dialable(addr)),
        Err(AddrError::Unsupported { .. }) => Ok(Listed::Foreign(text.to_owned())),
        Err(AddrError::Malformed(error)) => Err(error.to_string()),
    }
}

/// An element of `addresses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// Of a transport that is spoken here.
    Dialable(PeerAddr),
    /// Of another one; as written.
    Foreign(String),
}

/// The source that addresses listed in an entry have unless its state says otherwise.
pub(crate) const fn default_source(source: PeerSource) -> AddressSource {
    if source.is_chosen_by_operator() {
        AddressSource::Operator
    } else {
        AddressSource::Signed
    }
}

struct Reader<'a> {
    text: &'a str,
    fields: &'a Mapping,
}

impl Reader<'_> {
    fn refuse(&self, needle: &str, reason: impl Into<String>) -> Refusal {
        Refusal::at(self.text, needle, reason)
    }

    fn key(&self, trust: Trust) -> Result<PeerKey, Refusal> {
        match self.fields.get("public_key") {
            None => Err(self.refuse("", "public_key is missing")),
            // What is spelled like nobody but people spell it is not taken on trust.
            Some(Value::String(text)) if trust == Trust::Ours => text
                .parse()
                .map_err(|error| self.refuse("public_key", format!("{error}"))),
            Some(Value::String(text)) => trust
                .key(text)
                .map_err(|error| self.refuse("public_key", format!("{error}"))),
            Some(_) => Err(self.refuse("public_key", "public_key: expected text")),
        }
    }

    fn peer(&self, key: PeerKey, trust: Trust) -> Result<Peer, Refusal> {
        let mut record = PeerRecord::new(key, self.source()?);
        record.name = self.words("name")?;
        record.note = self.words("note")?;
        record.pinned = match self.fields.get("pinned") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(pinned)) => *pinned,
            Some(_) => return Err(self.refuse("pinned", "pinned: expected true or false")),
        };
        record.extra = self.extra()?;
        let by = default_source(record.source);
        for listed in self.addresses(&key)? {
            match listed {
                Listed::Dialable(addr) => push(&mut record, addr, by),
                Listed::Foreign(text) => record.undialable.push(text),
            }
        }
        for (addr, from) in self.hints(&key)? {
            push(&mut record, addr, AddressSource::LearnedFrom(from));
        }
        let state_extra = self.state(&mut record, trust)?;
        record.addresses.sort_by_key(|known| known.source);
        Ok(Peer {
            record,
            state_extra,
        })
    }

    fn source(&self) -> Result<PeerSource, Refusal> {
        match self.fields.get("source") {
            None | Some(Value::Null) => Ok(PeerSource::Operator),
            Some(value) => value
                .as_str()
                .and_then(PeerSource::from_name)
                .ok_or_else(|| {
                    self.refuse(
                        "source",
                        "source: expected operator, bootstrap, signed or hearsay",
                    )
                }),
        }
    }

    fn words(&self, field: &str) -> Result<Option<String>, Refusal> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let words = scalar::text_of(value);
                words
                    .map(Some)
                    .ok_or_else(|| self.refuse(field, format!("{field}: expected text")))
            }
        }
    }

    fn extra(&self) -> Result<BTreeMap<String, String>, Refusal> {
        let mut extra = BTreeMap::new();
        for (name, value) in self.fields {
            match name {
                Value::String(name) if FIELDS.contains(&name.as_str()) => {}
                Value::String(name) => drop(extra.insert(name.clone(), scalar::flow(value))),
                other => {
                    return Err(
                        self.refuse("", format!("{}: field names are text", scalar::flow(other)))
                    );
                }
            }
        }
        Ok(extra)
    }

    fn list(&self, field: &str) -> Result<&[Value], Refusal> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(&[]),
            Some(Value::Sequence(items)) => Ok(items),
            Some(_) => Err(self.refuse(field, format!("{field}: expected a list"))),
        }
    }

    fn addresses(&self, key: &PeerKey) -> Result<Vec<Listed>, Refusal> {
        let read = |value: &Value| {
            let text = value.as_str().ok_or_else(|| {
                self.refuse(
                    "addresses",
                    format!("addresses: expected text, found {}", scalar::flow(value)),
                )
            })?;
            address(text, key).map_err(|reason| self.refuse(text, reason))
        };
        self.list("addresses")?.iter().map(read).collect()
    }

    fn hints(&self, key: &PeerKey) -> Result<Vec<(PeerAddr, PeerKey)>, Refusal> {
        let mut hints = Vec::new();
        for value in self.list("hints")? {
            let (text, from) = match value {
                Value::String(text) => (text.as_str(), None),
                other => (
                    other
                        .get("addr")
                        .and_then(Value::as_str)
                        .unwrap_or_default(),
                    other.get("from"),
                ),
            };
            let from = from.and_then(Value::as_str).map_or(Ok(*key), str::parse);
            let from = from.map_err(|error| self.refuse("hints", format!("hints: {error}")))?;
            match address(text, key)
                .map_err(|reason| self.refuse("hints", format!("hints: {reason}")))?
            {
                Listed::Dialable(addr) => hints.push((addr, from)),
                Listed::Foreign(_) => {}
            }
        }
        Ok(hints)
    }

    fn state(
        &self,
        record: &mut PeerRecord,
        trust: Trust,
    ) -> Result<Vec<(String, String)>, Refusal> {
        let state = match self.fields.get("state") {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Mapping(state)) => state,
            Some(_) => return Err(self.refuse("state:", "state: expected {...}")),
        };
        let refuse = |reason: String| self.refuse("state:", reason);
        let reader = State(state);
        if let Some(status) = state.get("status") {
            record.status = status
                .as_str()
                .and_then(PeerStatus::from_name)
                .ok_or_else(|| {
                    let expected = "banned, inaccessible, unknown or valid";
                    refuse(format!(
                        "state: unknown status {}; expected {expected}",
                        scalar::flow(status)
                    ))
                })?;
        }
        record.status_since = reader.time("since").map_err(refuse)?;
        record.stats.first_seen = reader.time("first").map_err(refuse)?;
        record.stats.last_seen = reader.time("seen").map_err(refuse)?;
        record.stats.successes = reader.count("ok").map_err(refuse)?;
        record.stats.failures = reader.count("failed").map_err(refuse)?;
        record.stats.consecutive_failures = reader.small_count("streak").map_err(refuse)?;
        record.stats.mean_rtt = match state.get("rtt_ms") {
            None => None,
            Some(value) => Some(
                scalar::rtt_from(value)
                    .ok_or_else(|| refuse("state: rtt_ms: expected milliseconds".into()))?,
            ),
        };
        record.record = reader.record(&record.key, trust).map_err(refuse)?;
        reader.contacts(record).map_err(refuse)?;
        let unknown = |(name, value): (&Value, &Value)| {
            let name = name.as_str().filter(|name| !STATE_FIELDS.contains(name))?;
            Some((name.to_owned(), scalar::flow(value)))
        };
        Ok(state.iter().filter_map(unknown).collect())
    }
}

/// Adds an address unless the entry has it already.
pub(crate) fn push(record: &mut PeerRecord, addr: PeerAddr, source: AddressSource) {
    if !record.addresses.iter().any(|known| known.addr == addr) {
        record.addresses.push(PeerAddress::new(addr, source));
    }
}

struct State<'a>(&'a Mapping);

impl State<'_> {
    fn time(&self, field: &str) -> Result<Option<Timestamp>, String> {
        time_in(self.0, field)
    }

    fn count(&self, field: &str) -> Result<u64, String> {
        count_in(self.0, field)
    }

    fn small_count(&self, field: &str) -> Result<u32, String> {
        self.count(field)
            .map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    }

    fn record(&self, key: &PeerKey, trust: Trust) -> Result<Option<SignedRecord>, String> {
        let Some(value) = self.0.get("record") else {
            return Ok(None);
        };
        let text = value.as_str().ok_or("state: record: expected text")?;
        signed(text, key, trust).map(Some)
    }

    /// What is known about single addresses, and the addresses that the operator did not list.
    fn contacts(&self, record: &mut PeerRecord) -> Result<(), String> {
        let items = match self.0.get("addrs") {
            None => &[][..],
            Some(Value::Sequence(items)) => items,
            Some(_) => return Err("state: addrs: expected a list".into()),
        };
        let mut vouched = Vec::new();
        for item in items {
            let fields = item
                .as_mapping()
                .ok_or("state: addrs: expected {addr: ...}")?;
            let text = fields
                .get("addr")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let addr: PeerAddr = text
                .parse()
                .map_err(|error| format!("state: addrs: {error}"))?;
            let by = match fields.get("by") {
                None => None,
                Some(value) => Some(
                    value
                        .as_str()
                        .and_then(voucher)
                        .ok_or("state: addrs: by: expected operator, signed or observed")?,
                ),
            };
            let contact = Contact {
                addr,
                by,
                ok: time_in(fields, "ok")?,
                failed: time_in(fields, "failed")?,
                streak: u32::try_from(count_in(fields, "streak")?).unwrap_or(u32::MAX),
            };
            take_contact(record, contact, &mut vouched);
        }
        adopt_edited(record, &vouched);
        Ok(())
    }
}

/// The record in a `state` line: checked to be the peer's own, and its signature as far as the text is not trusted.
pub(crate) fn signed(text: &str, key: &PeerKey, trust: Trust) -> Result<SignedRecord, String> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|error| format!("state: record: {error}"))?;
    checked(&bytes, key, trust).map_err(|error| format!("state: record: {error}"))
}

/// A record from the store's own journal, whose signature was checked before it was written.
pub(crate) fn trusted_record(bytes: &[u8], key: &PeerKey) -> Result<SignedRecord, String> {
    checked(bytes, key, Trust::Ours)
}

fn checked(bytes: &[u8], key: &PeerKey, trust: Trust) -> Result<SignedRecord, String> {
    let unverified =
        UnverifiedRecord::decode_of(bytes, Some(*key)).map_err(|error| error.to_string())?;
    if unverified.key() != *key {
        return Err("signed by another peer".into());
    }
    let verifier: &dyn Verifier = match trust {
        Trust::Ours => &VerifiedBefore,
        Trust::Nobody | Trust::Key(_) => &StrictVerifier,
    };
    unverified
        .verify(verifier)
        .map_err(|error| error.to_string())
}

/// What the state says about one address.
pub(crate) struct Contact {
    pub(crate) addr: PeerAddr,
    pub(crate) by: Option<AddressSource>,
    pub(crate) ok: Option<Timestamp>,
    pub(crate) failed: Option<Timestamp>,
    pub(crate) streak: u32,
}

/// Who vouches for an address, by the name that `by` has for it.
pub(crate) fn voucher(name: &str) -> Option<AddressSource> {
    match name {
        "operator" => Some(AddressSource::Operator),
        "signed" => Some(AddressSource::Signed),
        "observed" => Some(AddressSource::Observed),
        _ => None,
    }
}

/// Adds to the record what the state says about one address; `vouched` collects those with a `by`.
pub(crate) fn take_contact(record: &mut PeerRecord, contact: Contact, vouched: &mut Vec<PeerAddr>) {
    let Contact { addr, by, .. } = contact;
    if let Some(by) = by {
        push(record, addr.clone(), by);
    }
    let known = record.addresses.iter_mut().find(|known| known.addr == addr);
    let Some(known) = known else {
        return;
    };
    if by == Some(AddressSource::Operator) {
        known.source = AddressSource::Operator;
    }
    known.last_success = contact.ok;
    known.last_failure = contact.failed;
    known.failures = contact.streak;
    vouched.extend(by.map(|_| addr));
}

/// Addresses of a discovered peer that its signed record does not name were written by the operator: from then on all
/// listed ones are the operator's, and so is the peer.
pub(crate) fn adopt_edited(record: &mut PeerRecord, vouched: &[PeerAddr]) {
    let Some(signed) = record
        .record
        .as_ref()
        .filter(|_| record.source == PeerSource::Signed)
    else {
        return;
    };
    let is_edited = |known: &PeerAddress| {
        known.source == AddressSource::Signed
            && !signed.addresses().contains(&known.addr)
            && !vouched.contains(&known.addr)
    };
    if record.addresses.iter().any(is_edited) {
        record.source = PeerSource::Operator;
        for known in record
            .addresses
            .iter_mut()
            .filter(|known| known.source == AddressSource::Signed)
        {
            known.source = AddressSource::Operator;
        }
    }
}

fn time_in(fields: &Mapping, field: &str) -> Result<Option<Timestamp>, String> {
    let Some(value) = fields.get(field) else {
        return Ok(None);
    };
    let time = value.as_str().and_then(scalar::time_from);
    time.map(Some)
        .ok_or_else(|| format!("state: {field}: expected a time such as 2026-11-20T17:00:00Z"))
}

fn count_in(fields: &Mapping, field: &str) -> Result<u64, String> {
    let Some(value) = fields.get(field) else {
        return Ok(0);
    };
    value
        .as_u64()
        .ok_or_else(|| format!("state: {field}: expected a whole number"))
}

/// Accepts what was verified before it was written to a file whose checksum still matches.
#[derive(Debug)]
struct VerifiedBefore;

impl Verifier for VerifiedBefore {
    fn verify_batch(&self, checks: &[SignatureCheck<'_>]) -> Vec<bool> {
        vec![true; checks.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::testing::test_key;

    #[test]
    fn a_key_that_was_checked_is_trusted_and_no_other_is() {
        let off_the_curve = (0..=255_u8)
            .filter_map(|byte| PeerKey::from_trusted_bytes(&[byte; 32]).ok())
            .find(|key| PeerKey::from_bytes(key.as_bytes()).is_err())
            .unwrap();
        let known = test_key(1);
        for trust in [Trust::Nobody, Trust::Key(known)] {
            assert_eq!(trust.key(&known.to_string()), Ok(known));
            assert!(trust.key(&off_the_curve.to_string()).is_err());
        }
        let trust = Trust::Key(off_the_curve);
        assert_eq!(trust.key(&off_the_curve.to_string()), Ok(off_the_curve));
        assert_eq!(trust.key(&known.to_string()), Ok(known));
        let text = format!("- public_key: '{known}' # mine\n  addresses: []\n");
        assert_eq!(likely_key(&text), Some(known));
    }
}
