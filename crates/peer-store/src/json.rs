//! `peers.json`: the model of the peers file as one JSON document, for exports, for other programs, and for the file of a
//! [`MemoryStore`](crate::MemoryStore).
//!
//! Entries have the fields of `peers.yaml`; what a field means is said in `docs/FILES.md`. Reading back what was written gives
//! the same peers, bans, forgotten keys and tables as the YAML form does. Comments, order and what other programs keep under
//! `sections` belong to the YAML file and are not part of the model.
//!
//! ```
//! use btcfed_core::time::Timestamp;
//! use btcfed_peer_store::json::{self, Contents};
//!
//! let text = r#"{"peers": [{"public_key": "CAESIDbqTBxmLGQ3ZQiY66NGuu8Gcq8ctMtv1vDa612hR5X7", "zone": "eu"}]}"#;
//! let contents = json::read(text, Timestamp::UNIX_EPOCH)?;
//! assert_eq!(contents.peers.len(), 1);
//! assert_eq!(json::read(&json::write(&contents), Timestamp::UNIX_EPOCH)?, contents);
//!
//! let error = json::read("{\n\"peers\": [{\"public_key\": 7}]}", Timestamp::UNIX_EPOCH).unwrap_err();
//! assert_eq!(error.to_string(), "line 2: peers[0]: public_key: expected text");
//! # Ok::<(), json::JsonError>(())
//! ```
//!
//! # What it does not know
//! Files: reading them, bounding their size and replacing them safely is the caller's.

pub(crate) mod raw;
mod reader;

use std::fmt;

use btcfed_core::PeerSet;
use btcfed_core::peer::PeerRecord;
use btcfed_core::time::Timestamp;
use serde_yaml::{Mapping, Value};

use crate::sections::{Section, SectionEntry, Sections, term};
use crate::text::document::FORMAT_VERSION;
use crate::text::entry::Peer;
use crate::text::guard;
use crate::text::rows;
use crate::text::scalar;
use crate::text::spell::{self, Style};

/// The only key of what stands for an extra field that JSON cannot say, such as a mapping whose keys are numbers; its value
/// is the YAML text.
pub(crate) const YAML: &str = "$yaml";

/// Everything a document says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// Counts saves.
    pub generation: u64,
    /// Peers, bans and forgotten keys.
    pub peers: PeerSet,
    /// Tables of application state.
    pub sections: Sections,
}

/// Why a document is refused as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonError {
    /// 1-based line it is about.
    pub line: usize,
    /// The place in the document, such as `peers[3].state`; empty for the document itself.
    pub key: String,
    /// What is wrong there.
    pub reason: String,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, reason) = (self.key.escape_debug(), self.reason.escape_debug());
        match self.key.is_empty() {
            true => write!(f, "line {}: {reason}", self.line),
            false => write!(f, "line {}: {key}: {reason}", self.line),
        }
    }
}

impl std::error::Error for JsonError {}

/// Reads a document: an object with `peers`, or the list of peers alone. Entries of tables that are over their time at `now`
/// are left out, and times of the future count as `now`.
///
/// # Errors
/// The first thing that is wrong: no JSON, a key twice, a newer version, an entry that cannot be read, a second entry for the
/// same peer, a table beyond its bounds.
pub fn read(text: &str, now: Timestamp) -> Result<Contents, JsonError> {
    reader::contents(text, now)
}

/// Reads one peer: what [`write_peer`] wrote, or any object with the fields of an entry.
///
/// # Errors
/// What is wrong with it.
pub fn read_peer(text: &str) -> Result<PeerRecord, JsonError> {
    reader::peer(text)
}

/// The document that says `contents`, indented for people, with a line end at the end.
#[must_use]
pub fn write(contents: &Contents) -> String {
    let mut out = format!(
        "{{\n  \"version\": {FORMAT_VERSION},\n  \"generation\": {},\n",
        contents.generation
    );
    let set = &contents.peers;
    list(
        &mut out,
        "peers",
        set.iter().map(|record| peer_value(&record)),
    );
    list(
        &mut out,
        "bans",
        set.bans()
            .map(|ban| item(&rows::ban_text(ban, Style::default()))),
    );
    let forgotten = set.forgotten();
    list(
        &mut out,
        "forgotten",
        forgotten.map(|(key, mark)| item(&rows::forgotten_text(key, *mark, Style::default()))),
    );
    out.push_str("  \"sections\": {");
    for (index, (name, section)) in contents.sections.iter().enumerate() {
        out.push_str(if index == 0 { "\n" } else { ",\n" });
        out.push_str(&format!("    {}: ", json(&Value::from(name))));
        push_indented(&mut out, &section_value(section), 4);
    }
    out.push_str(if contents.sections.is_empty() {
        "}\n}\n"
    } else {
        "\n  }\n}\n"
    });
    out
}

/// One peer as a JSON object on one line.
#[must_use]
pub fn write_peer(record: &PeerRecord) -> String {
    json(&peer_value(record))
}

fn list(out: &mut String, name: &str, values: impl Iterator<Item = Value>) {
    out.push_str(&format!("  \"{name}\": ["));
    let mut is_first = true;
    for value in values {
        out.push_str(if std::mem::take(&mut is_first) {
            "\n    "
        } else {
            ",\n    "
        });
        push_indented(out, &value, 4);
    }
    out.push_str(if is_first { "],\n" } else { "\n  ],\n" });
}

fn push_indented(out: &mut String, value: &Value, indent: usize) {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    out.push_str(&text.replace('\n', &format!("\n{}", " ".repeat(indent))));
}

fn json(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// What the YAML spelling of a list item says.
fn item(text: &str) -> Value {
    guard::item(text).unwrap_or_default()
}

fn peer_value(record: &PeerRecord) -> Value {
    let record = spell::as_written(record);
    let extra: Vec<String> = record.extra.keys().cloned().collect();
    let state_extra = Vec::new();
    let text = spell::entry(
        &Peer {
            record,
            state_extra,
        },
        Style::default(),
    );
    let mut value = item(&text);
    for name in extra {
        if let Some(value) = value.get_mut(&name).filter(|value| !is_json(value)) {
            let yaml = Mapping::from_iter([(YAML.into(), scalar::flow(value).into())]);
            *value = Value::Mapping(yaml);
        }
    }
    value
}

/// True for values that come back from JSON as they are.
fn is_json(value: &Value) -> bool {
    let back = serde_json::to_string(value).ok();
    let back = back.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    back.as_ref() == Some(value) && value.get(YAML).is_none()
}

fn section_value(section: &Section) -> Value {
    let entry = |entry: &SectionEntry| {
        let mut fields = Mapping::from_iter([
            ("value".into(), entry.value.as_str().into()),
            ("at".into(), scalar::time_text(entry.at).into()),
        ]);
        fields.extend(entry.ttl.map(|ttl| ("ttl".into(), term::text(ttl).into())));
        Value::Mapping(fields)
    };
    let entries = section.entries().iter();
    let entries: Mapping = entries
        .map(|(key, value)| (key.as_str().into(), entry(value)))
        .collect();
    let fields = [
        ("version".into(), section.version.into()),
        ("ttl".into(), term::text(section.ttl).into()),
        ("entries".into(), entries.into()),
    ];
    Value::Mapping(fields.into_iter().collect())
}

#[cfg(test)]
mod tests;
