//! A list of peers by place and UUID.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use btcfed_core::PeerSet;
use btcfed_core::addr::{Host, PeerAddr};
use btcfed_core::ban::{Ban, BanReason, BanTarget, Issuer};
use btcfed_core::key::PeerKey;
use btcfed_core::peer::{AddressSource, PeerRecord, PeerSource, PeerStatus};
use btcfed_core::time::Timestamp;
use serde_yaml::Value;

use crate::import::{Imported, Keyless, identity, moment};
use crate::json::JsonError;
use crate::json::raw::Node;
use crate::text::scalar;

/// The extra field that keeps the identifier of the other program.
const UUID: &str = "uuid";

/// An entry as read.
struct Entry {
    key: Option<PeerKey>,
    uuid: Option<String>,
    ip: IpAddr,
    port: u16,
    status: PeerStatus,
    since: Option<Timestamp>,
    reason: BanReason,
    extra: BTreeMap<String, String>,
}

/// The entries of a list, of `{"peers": ...}` or of an object by identifier.
pub(super) fn entries<'a>(root: &Node<'a>) -> Result<Vec<Node<'a>>, JsonError> {
    if root.is_list() {
        return root.elements();
    }
    let members = root.members()?;
    match members.iter().find(|(name, _)| name == "peers") {
        Some((_, list)) if list.is_list() => list.elements(),
        Some((_, object)) => Ok(object
            .members()?
            .into_iter()
            .map(|(_, node)| node)
            .collect()),
        None => Ok(members.into_iter().map(|(_, node)| node).collect()),
    }
}

pub(super) fn read(root: &Node<'_>, now: Timestamp) -> Result<Imported, JsonError> {
    let mut imported = Imported::default();
    let (mut records, mut bans) = (BTreeMap::new(), BTreeMap::new());
    let (mut uuids, mut places) = (HashSet::new(), HashSet::new());
    for node in entries(root)? {
        let entry = entry(&node, now, &mut imported.notes)?;
        if entry
            .uuid
            .as_ref()
            .is_some_and(|uuid| !uuids.insert(uuid.clone()))
        {
            return Err(node.refuse("a second entry with the same id"));
        }
        if !places.insert((entry.ip, entry.port)) {
            return Err(node.refuse("a second entry for the same ip and port"));
        }
        let host = match entry.ip {
            IpAddr::V4(ip) => Host::Ip4(ip),
            IpAddr::V6(ip) => Host::Ip6(ip),
        };
        let addr = PeerAddr::new(host, entry.port);
        let is_banned = entry.status == PeerStatus::Banned;
        if is_banned {
            let target = entry.key.map_or(BanTarget::Ip(entry.ip), BanTarget::Peer);
            bans.insert(
                target,
                Ban {
                    target,
                    reason: entry.reason.clone(),
                    since: entry.since.unwrap_or(now),
                    until: None,
                    by: Issuer::Node,
                    evidence: entry.uuid.as_ref().map(|uuid| format!("{UUID} {uuid}")),
                },
            );
        }
        match entry.key {
            Some(key) => {
                let known = records.insert(key, record(key, entry, addr));
                if known.is_some() {
                    return Err(node.refuse("a second entry for the same peer"));
                }
            }
            None if is_banned => {}
            None => imported.keyless.push(Keyless {
                line: node.line(),
                address: addr.to_string(),
            }),
        }
    }
    imported.contents.peers = PeerSet::from_parts(records.into_values(), bans.into_values(), []);
    Ok(imported)
}

fn record(key: PeerKey, entry: Entry, addr: PeerAddr) -> PeerRecord {
    let mut record = PeerRecord::new(key, PeerSource::Operator);
    record.add_address(addr, AddressSource::Operator);
    (record.status, record.status_since) = (entry.status, entry.since);
    record.extra = entry.extra;
    if let Some(uuid) = entry.uuid {
        record.extra.insert(UUID.to_owned(), scalar::string(&uuid));
    }
    record
}

fn entry(
    node: &Node<'_>,
    now: Timestamp,
    notes: &mut Vec<(usize, String)>,
) -> Result<Entry, JsonError> {
    let mut entry = Entry {
        key: None,
        uuid: None,
        ip: IpAddr::from([0, 0, 0, 0]),
        port: 0,
        status: PeerStatus::Unknown,
        since: None,
        reason: BanReason::from_text(""),
        extra: BTreeMap::new(),
    };
    let mut has_ip = false;
    for (name, member) in node.members()? {
        match name.as_str() {
            _ if member.is_null() => {}
            "id" | "uuid" => entry.uuid = Some(member.text()?),
            "public_key" | "peer_id" => entry.key = Some(identity(&member)?),
            "ip" => {
                let ip = member.text()?.parse::<IpAddr>();
                entry.ip = ip
                    .map_err(|_| member.refuse("expected an IP address"))?
                    .to_canonical();
                has_ip = true;
            }
            "port" => {
                let port = u16::try_from(member.count()?).ok().filter(|port| *port > 0);
                entry.port =
                    port.ok_or_else(|| member.refuse("expected a port from 1 to 65535"))?;
            }
            "status" => entry.status = status(&member, notes)?,
            "status_timestamp" | "status_updated_at" | "status_changed_at" | "status_time"
            | "timestamp" => {
                entry.since = Some(moment(&member, now)?);
            }
            "ban_reason" => entry.reason = BanReason::from_text(&snake(&reason(&member)?)),
            _ => drop(entry.extra.insert(name, scalar::flow(&member.value()?))),
        }
    }
    if !has_ip || entry.port == 0 {
        return Err(node.refuse("ip or port is missing"));
    }
    Ok(entry)
}

/// A status by its name, whatever its case. What has no such status here is unknown, and noted.
fn status(node: &Node<'_>, notes: &mut Vec<(usize, String)>) -> Result<PeerStatus, JsonError> {
    let name = node.text()?;
    let status = PeerStatus::from_name(&name.to_ascii_lowercase());
    if status.is_none() {
        let note = format!("{}: {} is taken as unknown", node.key, name.escape_debug());
        notes.push((node.line(), note));
    }
    Ok(status.unwrap_or(PeerStatus::Unknown))
}

/// The name of a reason, or of one with details.
fn reason(node: &Node<'_>) -> Result<String, JsonError> {
    Ok(match node.value()? {
        Value::String(name) => name,
        Value::Mapping(fields) if fields.len() == 1 => {
            let name = fields.keys().next().and_then(Value::as_str);
            name.unwrap_or_default().to_owned()
        }
        _ => return Err(node.refuse("expected the name of a reason")),
    })
}

/// `NetworkMismatch` as `network_mismatch`; text that is no such name stays.
pub(super) fn snake(name: &str) -> String {
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return name.to_owned();
    }
    let mut out = String::with_capacity(name.len() + 4);
    for (at, letter) in name.char_indices() {
        if at > 0 && letter.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
