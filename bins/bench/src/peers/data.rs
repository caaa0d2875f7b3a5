//! Peers that are the same in every run, as records and as plain text fields.

use std::time::Duration;

use btcfed_core::rng::SeededRng;
use btcfed_core::time::Timestamp;
use btcfed_core::{AddressSource, PeerRecord, PeerSource, PeerStatus, SecretKey, SignedRecord};
use serde::{Deserialize, Serialize};

/// When the deterministic peers were first seen.
const EPOCH: u64 = 1_795_000_000;

/// What JSON and YAML read and write: all the text of a peers file, nothing decoded.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct TextPeers {
    pub(crate) peers: Vec<TextPeer>,
}

/// One peer of it.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct TextPeer {
    pub(crate) public_key: String,
    addresses: Vec<String>,
    name: String,
    state: TextState,
}

#[derive(Debug, Deserialize, Serialize)]
struct TextState {
    status: String,
    since: String,
    first: String,
    seen: String,
    ok: u64,
    failed: u64,
    rtt_ms: f64,
}

/// Peers of the operator with two addresses each, all of which were met.
pub(crate) fn records(count: usize) -> Result<Vec<PeerRecord>, String> {
    let mut rng = SeededRng::from_seed(7);
    (0..count).map(|number| record(number, &mut rng)).collect()
}

/// The same peers, with their addresses signed by themselves.
pub(crate) fn signed_records(count: usize) -> Result<Vec<PeerRecord>, String> {
    let mut rng = SeededRng::from_seed(7);
    let signed = |number| {
        let secret = secret(&mut rng.clone());
        let mut record = record(number, &mut rng)?;
        let addrs = record.addresses.iter().map(|known| known.addr.clone());
        let signed = SignedRecord::sign(&secret, 1, &addrs.collect::<Vec<_>>());
        record.record = Some(signed.map_err(|e| e.to_string())?);
        Ok(record)
    };
    (0..count).map(signed).collect()
}

fn secret(rng: &mut SeededRng) -> SecretKey {
    let mut seed = [0; 32];
    for part in seed.chunks_exact_mut(8) {
        part.copy_from_slice(&rng.next_u64().to_le_bytes());
    }
    SecretKey::from_seed(seed)
}

fn record(number: usize, rng: &mut SeededRng) -> Result<PeerRecord, String> {
    let mut record = PeerRecord::new(secret(rng).public(), PeerSource::Operator);
    let ip = std::net::Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(0) | 0x0a00_0000);
    for text in [
        format!("/ip4/{ip}/tcp/9000"),
        format!("/dns4/node{number}.example.com/tcp/9000"),
    ] {
        let addr = text.parse().map_err(|e| format!("{text}: {e}"))?;
        record.add_address(addr, AddressSource::Operator);
    }
    record.name = Some(format!("node{number}"));
    let at = |rng: &mut SeededRng| Timestamp::from_secs(EPOCH + rng.below(1_000_000));
    record.update_status(PeerStatus::Valid, at(rng));
    record.stats.first_seen = Some(Timestamp::from_secs(EPOCH));
    record.stats.last_seen = Some(at(rng));
    record.stats.successes = 1 + rng.below(1000);
    record.stats.failures = 1 + rng.below(100);
    record.stats.mean_rtt = Some(Duration::from_micros(rng.below(300_000)));
    Ok(record)
}

/// The same peers as text.
pub(crate) fn text(records: &[PeerRecord]) -> TextPeers {
    let peer = |record: &PeerRecord| TextPeer {
        public_key: record.key.to_string(),
        addresses: record
            .addresses
            .iter()
            .map(|a| a.addr.to_string())
            .collect(),
        name: record.name.clone().unwrap_or_default(),
        state: TextState {
            status: record.status.to_string(),
            since: time(record.status_since),
            first: time(record.stats.first_seen),
            seen: time(record.stats.last_seen),
            ok: record.stats.successes,
            failed: record.stats.failures,
            rtt_ms: record.stats.mean_rtt.unwrap_or_default().as_secs_f64() * 1000.0,
        },
    };
    TextPeers {
        peers: records.iter().map(peer).collect(),
    }
}

/// As long as the RFC 3339 text of a moment.
fn time(at: Option<Timestamp>) -> String {
    format!(
        "2026-11-20T{:08}Z",
        at.unwrap_or_default().as_secs() % 100_000_000
    )
}

/// The file after somebody edited one record in `every`: another name, a remark, a spelling of their own.
pub(crate) fn edit(bytes: &[u8], every: usize) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
    let mut out = String::with_capacity(text.len() + text.len() / every);
    let mut entries = 0;
    for line in text.split_inclusive('\n') {
        entries += usize::from(line.contains("- public_key: "));
        match line.strip_prefix("    name: ") {
            Some(name) if entries % every == 0 => {
                out.push_str("    name:   'my ");
                out.push_str(name.trim_end());
                out.push_str("' # by hand\n");
            }
            _ => out.push_str(line),
        }
    }
    Ok(out.into_bytes())
}
