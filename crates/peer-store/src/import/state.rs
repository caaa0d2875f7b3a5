//! The whole state of a program.

use std::collections::BTreeMap;
use std::time::Duration;

use btcfed_core::PeerSet;
use btcfed_core::key::PeerKey;
use btcfed_core::peer::{AddressSource, PeerRecord, PeerSource};
use btcfed_core::time::Timestamp;

use crate::import::{Imported, Keyless, add_address, identity, moment, place};
use crate::json::JsonError;
use crate::json::raw::Node;
use crate::sections::{Section, SectionOp};
use crate::text::scalar;

/// How long imported reputations live: a month says something about a peer, a year does not.
pub const REPUTATION_TTL: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long imported routing entries live: a day.
pub const DHT_TTL: Duration = Duration::from_secs(24 * 3600);

/// How long imported packages live: five minutes, as where they come from.
pub const PACKAGE_TTL: Duration = Duration::from_secs(300);

/// The newest version of such documents.
const VERSION: u64 = 1;

/// A list that becomes a table.
struct Table {
    name: &'static str,
    ttl: Duration,
    /// Fields that may hold the key of an entry, the best first.
    keys: &'static [&'static str],
    /// Fields that may hold its time.
    times: &'static [&'static str],
}

const TABLES: [Table; 3] = [
    Table {
        name: "reputation",
        ttl: REPUTATION_TTL,
        keys: &["peer_id"],
        times: &["last_seen"],
    },
    Table {
        name: "dht_entries",
        ttl: DHT_TTL,
        keys: &["key", "peer_id", "id"],
        times: &["stored_at", "last_seen", "timestamp"],
    },
    Table {
        name: "package_cache",
        ttl: PACKAGE_TTL,
        keys: &["package_id", "package", "key", "id", "name"],
        times: &["cached_at", "stored_at", "timestamp"],
    },
];

pub(super) fn read(root: &Node<'_>, now: Timestamp) -> Result<Imported, JsonError> {
    let members: BTreeMap<String, Node<'_>> = root.members()?.into_iter().collect();
    if let Some(node) = members.get("version") {
        let version = node.count()?;
        if version > VERSION {
            return Err(node.refuse(format!(
                "{version} is newer than this program, which reads {VERSION}"
            )));
        }
    }
    let saved = members
        .get("saved_at")
        .map_or(Ok(now), |node| moment(node, now))?;
    let mut imported = Imported::default();
    let mut records = BTreeMap::new();
    let list = |name: &str| {
        members
            .get(name)
            .map_or_else(|| Ok(Vec::new()), Node::elements)
    };
    for node in list("peers")? {
        let record = peer(&node, now)?;
        if records.insert(record.key, record).is_some() {
            return Err(node.refuse("a second entry for the same peer"));
        }
    }
    for node in list("bootstrap_nodes")? {
        let (addr, key) = place(&node)?;
        let Some(key) = key else {
            let (line, address) = (node.line(), addr.to_string());
            imported.keyless.push(Keyless { line, address });
            continue;
        };
        let record = records
            .entry(key)
            .or_insert_with(|| PeerRecord::new(key, PeerSource::Bootstrap));
        record.add_address(addr, AddressSource::Operator);
    }
    for node in list("reputation")? {
        reputation(&node, &mut records, now)?;
    }
    for table in TABLES {
        let nodes = list(table.name)?;
        if !nodes.is_empty() {
            fill(&mut imported, &table, &nodes, (saved, now))?;
        }
    }
    imported.contents.peers = PeerSet::from_parts(records.into_values(), [], []);
    Ok(imported)
}

fn peer(node: &Node<'_>, now: Timestamp) -> Result<PeerRecord, JsonError> {
    let members = node.members()?;
    let id = members.iter().find(|(name, _)| name == "peer_id");
    let (_, id) = id.ok_or_else(|| node.refuse("peer_id is missing"))?;
    let mut record = PeerRecord::new(identity(id)?, PeerSource::Operator);
    for (name, member) in &members {
        match name.as_str() {
            "peer_id" => {}
            "addresses" => {
                for address in member.elements()? {
                    add_address(&mut record, &address, &address.text()?)?;
                }
            }
            "last_seen" => record.stats.last_seen = Some(moment(member, now)?),
            _ => {
                record
                    .extra
                    .insert(name.clone(), scalar::flow(&member.value()?));
            }
        }
    }
    Ok(record)
}

/// Counters become statistics of peers that are known.
fn reputation(
    node: &Node<'_>,
    records: &mut BTreeMap<PeerKey, PeerRecord>,
    now: Timestamp,
) -> Result<(), JsonError> {
    let members = node.members()?;
    let member = |wanted: &str| {
        members
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, node)| node)
    };
    let id = member("peer_id").ok_or_else(|| node.refuse("peer_id is missing"))?;
    let key = identity(id)?;
    let count = |name: &str| member(name).map_or(Ok(0), Node::count);
    let (successes, failures) = (count("successful_retrievals")?, count("failed_retrievals")?);
    let rtt = count("avg_response_time_ms")?;
    let seen = member("last_seen")
        .map(|node| moment(node, now))
        .transpose()?;
    if let Some(record) = records.get_mut(&key) {
        let stats = &mut record.stats;
        (stats.successes, stats.failures) = (successes, failures);
        stats.mean_rtt = (rtt > 0).then(|| Duration::from_millis(rtt));
        stats.last_seen = stats.last_seen.max(seen);
    }
    Ok(())
}

fn fill(
    imported: &mut Imported,
    table: &Table,
    nodes: &[Node<'_>],
    (saved, now): (Timestamp, Timestamp),
) -> Result<(), JsonError> {
    let section = table.name.to_owned();
    let ttl = table.ttl;
    let mut ops = vec![(
        None,
        SectionOp::Define {
            section,
            version: 1,
            ttl,
        },
    )];
    for node in nodes {
        let members = node.members()?;
        let first = |names: &[&str]| {
            let mut found = names
                .iter()
                .filter_map(|wanted| members.iter().find(|(name, _)| name == wanted));
            found.next().map(|(_, node)| node)
        };
        let key = first(table.keys).ok_or_else(|| {
            node.refuse(format!(
                "expected one of the fields {}",
                table.keys.join(", ")
            ))
        })?;
        let at = first(table.times).map_or(Ok(saved), |node| moment(node, now))?;
        let value = node.compact()?;
        let entry = crate::sections::SectionEntry {
            value,
            at,
            ttl: None,
        };
        if Section::new(1, ttl).is_live(&entry, now) {
            let (section, key) = (table.name.to_owned(), key.text()?);
            let (value, at) = (entry.value, Some(entry.at));
            ops.push((
                Some(node),
                SectionOp::Put {
                    section,
                    key,
                    value,
                    ttl: None,
                    at,
                },
            ));
        }
    }
    for (node, op) in ops {
        let done = imported.contents.sections.apply(&[op], now);
        done.map_err(|error| {
            node.or_else(|| nodes.first())
                .map_or_else(JsonError::default, |node| node.refuse(error))
        })?;
    }
    Ok(())
}
