//! Documents of other programs: what they know of peers, as [`Contents`].
//!
//! Two forms are read; [`detect`] tells them apart.
//!
//! **State** is one object with `version` (1), `peers` (`peer_id`, `addresses`, `last_seen`), `reputation`, `dht_entries`,
//! `package_cache`, `bootstrap_nodes` and `saved_at`. Peers become the operator's, bootstrap nodes peers of that source;
//! counters of `reputation` become statistics of their peers. The three other lists become the tables `reputation`,
//! `dht_entries` and `package_cache`, each entry as JSON with its own time (else `saved_at`) and the time to live of its table.
//!
//! **Registry** is a list of peers by place (or an object of them by identifier): `id` (a UUID), `ip`, `port`, `status`
//! (`Valid`, `Inaccessible`, `Banned`, `Unknown`) with its time, and `ban_reason`. The UUID stays as the extra field `uuid`, other
//! fields stay too. A peer is known by its key here: an entry without `public_key` or `peer_id` becomes a ban of its IP address when
//! it is banned, and is listed as [`Keyless`] otherwise.
//!
//! ```
//! use btcfed_core::time::Timestamp;
//! use btcfed_peer_store::import::{self, Format};
//!
//! let text = r#"[{"id": "67e55044-10b1-426f-9247-bb680e5fe0c8", "ip": "203.0.113.7", "port": 8333, "status": "Valid"}]"#;
//! assert_eq!(import::detect(text), Some(Format::Registry));
//! let imported = import::read(text, Format::Registry, Timestamp::UNIX_EPOCH)?;
//! assert_eq!(imported.keyless[0].address, "/ip4/203.0.113.7/tcp/8333");
//! # Ok::<(), btcfed_peer_store::json::JsonError>(())
//! ```
//!
//! # What it does not know
//! Files and stores: what is read is merged by the caller.

mod registry;
mod state;

use btcfed_core::addr::{AddrWithId, PeerAddr};
use btcfed_core::key::{PeerId, PeerKey};
use btcfed_core::peer::{AddressSource, PeerRecord};
use btcfed_core::time::Timestamp;
use serde_yaml::Value;

use crate::json::raw::{Node, Source};
use crate::json::{Contents, JsonError};
use crate::text::entry::{self, Listed};
use crate::text::scalar;

pub use state::{DHT_TTL, PACKAGE_TTL, REPUTATION_TTL};

/// Which program wrote a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// A list of peers by place and UUID.
    Registry,
    /// The whole state of a program: peers, reputation, caches.
    State,
}

/// A place that nobody's key is known for: it can be dialled as a bootstrap address, and is no peer yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyless {
    /// 1-based line where it stands.
    pub line: usize,
    /// Where, as a multiaddr.
    pub address: String,
}

/// What a document says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imported {
    /// What fits into the model.
    pub contents: Contents,
    /// What cannot be a peer for want of a key.
    pub keyless: Vec<Keyless>,
    /// What was understood in another way than it was written, with its line.
    pub notes: Vec<(usize, String)>,
}

/// The form of a document, if it is one of these.
#[must_use]
pub fn detect(text: &str) -> Option<Format> {
    let root = Source(text).root().ok()?;
    let has = |node: &Node<'_>, name: &str| {
        let members = node.members().unwrap_or_default();
        members.iter().any(|(known, _)| known == name)
    };
    let state = [
        "reputation",
        "dht_entries",
        "package_cache",
        "bootstrap_nodes",
        "saved_at",
    ];
    if root.is_object() && has(&root, "peers") && state.iter().any(|name| has(&root, name)) {
        return Some(Format::State);
    }
    let entries = registry::entries(&root).ok()?;
    let is_place = |node: &Node<'_>| has(node, "ip") && has(node, "port");
    (!entries.is_empty() && entries.iter().all(is_place)).then_some(Format::Registry)
}

/// Reads a document. Entries of tables that are over their time at `now` are left out.
///
/// # Errors
/// The first thing that is wrong, with its line and place.
pub fn read(text: &str, format: Format, now: Timestamp) -> Result<Imported, JsonError> {
    let root = Source(text).root()?;
    match format {
        Format::Registry => registry::read(&root, now),
        Format::State => state::read(&root, now),
    }
}

/// The identity that a text names: a peer id or a public key.
fn identity(node: &Node<'_>) -> Result<PeerKey, JsonError> {
    let text = node.text()?;
    let id = text.parse::<PeerId>().map(PeerId::key);
    let key = id.map_err(|error| error.to_string()).or_else(|reason| {
        let key = text.parse::<PeerKey>();
        key.map_err(|_| {
            format!("{reason}; expected a peer id (12D3KooW...) or a public key (CAESI...)")
        })
    });
    key.map_err(|reason| node.refuse(reason))
}

/// Adds an address of the operator's.
fn add_address(record: &mut PeerRecord, node: &Node<'_>, text: &str) -> Result<(), JsonError> {
    match entry::address(text, &record.key) {
        Ok(Listed::Dialable(addr)) => {
            record.add_address(addr, AddressSource::Operator);
        }
        Ok(Listed::Foreign(text)) if !record.undialable.contains(&text) => {
            record.undialable.push(text)
        }
        Ok(Listed::Foreign(_)) => {}
        Err(reason) => return Err(node.refuse(reason)),
    }
    Ok(())
}

/// An address that may say whose it is.
fn place(node: &Node<'_>) -> Result<(PeerAddr, Option<PeerKey>), JsonError> {
    let parsed: AddrWithId = node.text()?.parse().map_err(|error| node.refuse(error))?;
    Ok((parsed.addr, parsed.peer_id.map(PeerId::key)))
}

/// A moment: RFC 3339 text, seconds since 1970, or those with nanoseconds as an object.
fn moment(node: &Node<'_>, now: Timestamp) -> Result<Timestamp, JsonError> {
    let at = match node.value()? {
        Value::String(text) => scalar::time_from(&text),
        Value::Number(number) => number.as_u64().map(Timestamp::from_secs),
        Value::Mapping(fields) => {
            let count = |name: &str| fields.get(name).map_or(Some(0), Value::as_u64);
            let secs = fields.get("secs_since_epoch").and_then(Value::as_u64);
            let nanos = count("nanos_since_epoch");
            secs.zip(nanos).map(|(secs, nanos)| {
                Timestamp::from_millis(secs.saturating_mul(1000).saturating_add(nanos / 1_000_000))
            })
        }
        _ => None,
    };
    let at = at.ok_or_else(|| node.refuse("expected a time such as 2026-11-20T17:00:00Z"))?;
    Ok(at.clamp_to(now))
}

#[cfg(test)]
mod tests;
