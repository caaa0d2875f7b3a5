//! Loading and saving the peers file, beside parsers and writers of plain text records.
//!
//! What is compared is not the same work: a store checks keys, addresses and its checksum, keeps comments and merges;
//! a rival turns text into strings and back. That is the point: the ratio says what the checks cost.

use std::path::Path;
use std::time::{Duration, Instant};

use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::{AddressSource, PeerRecord, PeerSource, SecretKey};
use btcfed_peer_store::{FilePeerStore, StoreOptions};

use crate::table::{Contender, race};

/// Both tables for every number of peers, in a directory below `parent`.
pub(crate) fn run(rounds: usize, sizes: &[usize], parent: &Path) -> Result<String, String> {
    let mut tables = Vec::new();
    for size in sizes {
        let folder = tempfile::tempdir_in(parent).map_err(|e| e.to_string())?;
        let path = folder.path().join("peers.yaml");
        let bytes = fill(&path, *size)?;
        tables.push(loading(rounds, *size, bytes, &path)?);
        tables.push(saving(rounds, *size, &path)?);
    }
    Ok(tables.join("\n"))
}

fn options(path: &Path) -> StoreOptions {
    StoreOptions::new(path)
        .with_watch(false)
        .with_journal(false)
}

fn open(path: &Path) -> Result<FilePeerStore, String> {
    FilePeerStore::open(options(path)).map_err(|e| e.to_string())
}

fn close(store: FilePeerStore) -> Result<(), String> {
    store.close().map(drop).map_err(|e| e.to_string())
}

/// Writes a file of `size` peers through the store and returns its length.
fn fill(path: &Path, size: usize) -> Result<u64, String> {
    let store = open(path)?;
    let records: Result<Vec<PeerRecord>, String> = (0..size).map(record).collect();
    let ops = records?
        .into_iter()
        .map(|record| PeerOp::Create(Box::new(record)));
    store.apply(&ops.collect()).map_err(|e| e.to_string())?;
    close(store)?;
    std::fs::metadata(path)
        .map(|meta| meta.len())
        .map_err(|e| e.to_string())
}

/// An operator's peer with a name, an IP address and a DNS address.
fn record(number: usize) -> Result<PeerRecord, String> {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes());
    let mut record = PeerRecord::new(SecretKey::from_seed(seed).public(), PeerSource::Operator);
    record.name = Some(format!("node-{number}"));
    let (high, low) = (number / 250 % 250, number % 250);
    for text in [
        format!("/ip4/10.{}.{high}.{low}/tcp/9000", number / 62_500),
        format!("/dns4/node{number}.example.com/tcp/9000"),
    ] {
        let addr = text.parse().map_err(|e| format!("{text}: {e}"))?;
        record.add_address(addr, AddressSource::Operator);
    }
    Ok(record)
}

fn loading(rounds: usize, size: usize, bytes: u64, path: &Path) -> Result<String, String> {
    let contenders = vec![Contender::timed("FilePeerStore: open", || {
        let start = Instant::now();
        let store = open(path)?;
        let time = start.elapsed();
        let found = store.snapshot().len();
        close(store)?;
        if found == size {
            Ok(time)
        } else {
            Err(format!("{found} of {size} peers were read"))
        }
    })];
    #[cfg(feature = "rivals")]
    let contenders = [contenders, rivals::loading(path)?]
        .into_iter()
        .flatten()
        .collect();
    race(
        &format!("load {size} peers, {bytes} bytes"),
        rounds,
        contenders,
    )
}

fn saving(rounds: usize, size: usize, path: &Path) -> Result<String, String> {
    let store = open(path)?;
    let mut changed = record(0)?;
    let mut round = 0_u64;
    let contenders = vec![Contender::timed(
        "FilePeerStore: one change, durable",
        || {
            round += 1;
            changed.note = Some(format!("round {round}"));
            let patch = PeerPatch::one(PeerOp::Update(Box::new(changed.clone())));
            let start = Instant::now();
            let applied = store.apply(&patch).map_err(|e| e.to_string())?;
            let time: Duration = start.elapsed();
            if applied.durable {
                Ok(time)
            } else {
                Err("the change is not on disk".to_owned())
            }
        },
    )];
    #[cfg(feature = "rivals")]
    let contenders = [contenders, rivals::saving(path)?]
        .into_iter()
        .flatten()
        .collect();
    let table = race(&format!("save {size} peers"), rounds, contenders)?;
    close(store)?;
    Ok(table)
}

#[cfg(feature = "rivals")]
mod rivals {
    use std::fs::File;
    use std::hint::black_box;
    use std::io::Write as _;
    use std::path::Path;

    use serde::{Deserialize, Serialize};

    use crate::table::Contender;

    #[derive(Deserialize, Serialize)]
    struct Plain {
        version: u32,
        peers: Vec<Peer>,
    }

    #[derive(Deserialize, Serialize)]
    struct Peer {
        public_key: String,
        addresses: Vec<String>,
        #[serde(default)]
        name: Option<String>,
    }

    fn read(path: &Path) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|e| e.to_string())
    }

    /// The text-only model of the peers file at `path`.
    fn plain(path: &Path) -> Result<Plain, String> {
        serde_yaml::from_str(&read(path)?).map_err(|e| e.to_string())
    }

    pub(super) fn loading(path: &Path) -> Result<Vec<Contender<'_>>, String> {
        let json = path.with_extension("json");
        let text = serde_json::to_string_pretty(&plain(path)?).map_err(|e| e.to_string())?;
        std::fs::write(&json, text).map_err(|e| e.to_string())?;
        Ok(vec![
            Contender::new("serde_json: text to strings", move || {
                let parsed: Result<Plain, _> = serde_json::from_str(&read(&json)?);
                parsed
                    .map(|plain| drop(black_box(plain)))
                    .map_err(|e| e.to_string())
            }),
            Contender::new("yaml_serde: text to strings", || {
                plain(path).map(|plain| drop(black_box(plain)))
            }),
        ])
    }

    pub(super) fn saving(path: &Path) -> Result<Vec<Contender<'_>>, String> {
        let (for_json, for_yaml) = (plain(path)?, plain(path)?);
        let (json, yaml) = (
            path.with_extension("out.json"),
            path.with_extension("out.yaml"),
        );
        Ok(vec![
            Contender::new("serde_json pretty, replaced durably", move || {
                let text = serde_json::to_string_pretty(&for_json).map_err(|e| e.to_string())?;
                replace(&json, &text)
            }),
            Contender::new("yaml_serde, replaced durably", move || {
                let text = serde_yaml::to_string(&for_yaml).map_err(|e| e.to_string())?;
                replace(&yaml, &text)
            }),
        ])
    }

    /// Temporary file, fsync, rename, fsync of the folder: what durable means for everybody here.
    fn replace(path: &Path, text: &str) -> Result<(), String> {
        let temporary = path.with_extension("tmp");
        let mut file = File::create(&temporary).map_err(|e| e.to_string())?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(|e| e.to_string())?;
        std::fs::rename(&temporary, path).map_err(|e| e.to_string())?;
        let folder = path.parent().ok_or("no folder")?;
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_round_with_a_few_peers_gives_both_tables() {
        let folder = tempfile::tempdir().unwrap();
        let report = run(1, &[10], folder.path()).unwrap();
        assert!(
            report.contains("load 10 peers") && report.contains("save 10 peers"),
            "{report}"
        );
    }
}
