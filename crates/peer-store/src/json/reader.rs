//! A JSON document to the model.

use std::collections::HashSet;
use std::hash::Hash;

use btcfed_core::PeerSet;
use btcfed_core::peer::PeerRecord;
use btcfed_core::time::Timestamp;
use serde_yaml::Value;

use crate::json::raw::{Node, Source};
use crate::json::{Contents, JsonError, YAML};
use crate::sections::layout::entry_of;
use crate::sections::{DEFAULT_TTL, Section, SectionOp, Sections, term};
use crate::text::document::FORMAT_VERSION;
use crate::text::entry::{self, FIELDS, Trust};
use crate::text::guard::Refusal;
use crate::text::rows;
use crate::text::scalar;

pub(super) fn contents(text: &str, now: Timestamp) -> Result<Contents, JsonError> {
    let root = Source(text).root()?;
    let mut contents = Contents::default();
    let (mut peers, mut bans, mut forgotten) = (None, Vec::new(), Vec::new());
    if root.is_list() {
        peers = Some(records(&root)?);
    } else {
        for (name, node) in root.members()? {
            match name.as_str() {
                "version" => check_version(&node)?,
                "generation" => contents.generation = node.count()?,
                "peers" => peers = Some(records(&node)?),
                "bans" => {
                    let read = |node: &Node<'_>| row(node, |text| rows::ban(text, now));
                    bans = unique(&node, read, |ban| ban.target)?;
                }
                "forgotten" => {
                    forgotten = unique(&node, |node| row(node, rows::forgotten), |(key, _)| *key)?
                }
                "sections" => contents.sections = sections(&node, now)?,
                _ => {}
            }
        }
    }
    let peers =
        peers.ok_or_else(|| root.refuse("peers is missing; expected {\"peers\": [...]}"))?;
    contents.peers = PeerSet::from_parts(peers, bans, forgotten);
    Ok(contents)
}

pub(super) fn peer(text: &str) -> Result<PeerRecord, JsonError> {
    record(&Source(text).root()?)
}

fn check_version(node: &Node<'_>) -> Result<(), JsonError> {
    let version = node.count()?;
    if version > FORMAT_VERSION {
        let reason = format!(
            "{version} is newer than this program, which reads {FORMAT_VERSION}: upgrade it"
        );
        return Err(node.refuse(reason));
    }
    Ok(())
}

fn records(node: &Node<'_>) -> Result<Vec<PeerRecord>, JsonError> {
    unique(node, record, |record| record.key)
}

/// The elements of a list, each about something else.
fn unique<T, K: Eq + Hash>(
    list: &Node<'_>,
    read: impl Fn(&Node<'_>) -> Result<T, JsonError>,
    about: impl Fn(&T) -> K,
) -> Result<Vec<T>, JsonError> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for node in list.elements()? {
        let one = read(&node)?;
        if !seen.insert(about(&one)) {
            return Err(node.refuse("a second entry for the same thing"));
        }
        all.push(one);
    }
    Ok(all)
}

pub(crate) fn record(node: &Node<'_>) -> Result<PeerRecord, JsonError> {
    let mut text = String::new();
    let mut yaml = Vec::new();
    for (name, member) in node.members()? {
        let value = member.value()?;
        let inner = value.as_mapping().filter(|map| map.len() == 1);
        let inner = inner.and_then(|map| map.get(YAML)).and_then(Value::as_str);
        match inner {
            Some(inner) if !FIELDS.contains(&name.as_str()) => yaml.push((name, inner.to_owned())),
            _ => push_field(&mut text, &name, &value),
        }
    }
    if text.is_empty() {
        return Err(node.refuse("public_key is missing"));
    }
    let parsed =
        entry::parse(&text, Trust::Nobody).map_err(|refusal| refuse(node, &text, &refusal))?;
    let mut record = parsed.record;
    record.extra.extend(yaml);
    Ok(record)
}

/// Adds a field of an entry in its YAML form, lists line by line.
fn push_field(text: &mut String, name: &str, value: &Value) {
    let dash = if text.is_empty() { "- " } else { "  " };
    let name = scalar::string(name);
    match value {
        Value::Sequence(items) if !items.is_empty() => {
            text.push_str(&format!("{dash}{name}:\n"));
            for item in items {
                text.push_str(&format!("    - {}\n", scalar::flow(item)));
            }
        }
        value => text.push_str(&format!("{dash}{name}: {}\n", scalar::flow(value))),
    }
}

fn row<T>(node: &Node<'_>, read: impl Fn(&str) -> Result<T, Refusal>) -> Result<T, JsonError> {
    let text = format!("- {}\n", scalar::flow(&node.value()?));
    read(&text).map_err(|refusal| refuse(node, &text, &refusal))
}

/// A refusal of the YAML form, at the line of the JSON form.
fn refuse(node: &Node<'_>, text: &str, refusal: &Refusal) -> JsonError {
    let line = text.lines().nth(refusal.line).unwrap_or_default();
    let line = line.trim_start_matches([' ', '-']);
    let words = [
        line.trim_matches('"'),
        line.split(':').next().unwrap_or_default(),
    ];
    let lines = words.map(|words| node.line_with(words));
    JsonError {
        line: lines.into_iter().max().unwrap_or_default(),
        ..node.refuse(&refusal.reason)
    }
}

fn sections(node: &Node<'_>, now: Timestamp) -> Result<Sections, JsonError> {
    let mut sections = Sections::default();
    for (name, table) in node.members()? {
        section(&mut sections, name, &table, now)?;
    }
    Ok(sections)
}

fn section(
    sections: &mut Sections,
    section: String,
    node: &Node<'_>,
    now: Timestamp,
) -> Result<(), JsonError> {
    let (mut version, mut ttl, mut entries) = (1, DEFAULT_TTL, Vec::new());
    for (name, member) in node.members()? {
        match name.as_str() {
            "version" => version = member.count()?,
            "ttl" => {
                let parsed = term::parse(&member.text()?);
                ttl = parsed.ok_or_else(|| member.refuse("expected a time such as 5m or 24h"))?;
            }
            "entries" => entries = member.members()?,
            _ => return Err(member.refuse("unknown; expected version, ttl and entries")),
        }
    }
    let define = SectionOp::Define {
        section: section.clone(),
        version,
        ttl,
    };
    sections
        .apply(&[define], now)
        .map_err(|error| node.refuse(error))?;
    let table = Section::new(version, ttl);
    for (key, node) in entries {
        let entry = entry_of(&node.value()?, now);
        let entry = entry.ok_or_else(|| node.refuse("expected {value, at, ttl}"))?;
        if !table.is_live(&entry, now) {
            continue;
        }
        let put = SectionOp::Put {
            section: section.clone(),
            key,
            value: entry.value,
            ttl: entry.ttl,
            at: Some(entry.at),
        };
        sections
            .apply(&[put], now)
            .map_err(|error| node.refuse(error))?;
    }
    Ok(())
}
