//! Who may depend on whom, and how large trees may grow.

use std::collections::{BTreeMap, BTreeSet};

use crate::nothing_breaks;
use crate::workspace::{packages, read, tree};

const BENCH: &str = "btcfed-bench";
const BINARY: &str = "btcfed";
const CONFIG: &str = "btcfed-config";
const CORE: &str = "btcfed-core";
const EXCHANGE: &str = "btcfed-exchange-protocol";
const NETWORK: &str = "btcfed-network";
const NODE: &str = "btcfed-node-orchestrator";
const STORE: &str = "btcfed-peer-store";

/// Which packages of ours each package may depend on. What is absent is forbidden; tests may use more.
const EDGES: [(&str, &[&str]); 8] = [
    (CORE, &[]),
    (CONFIG, &[CORE]),
    (STORE, &[CORE]),
    (EXCHANGE, &[CORE]),
    (NETWORK, &[CORE]),
    (NODE, &[CORE]),
    (BINARY, &[CONFIG, CORE, EXCHANGE, NETWORK, NODE, STORE]),
    (
        BENCH,
        &[BINARY, CONFIG, CORE, EXCHANGE, NETWORK, NODE, STORE],
    ),
];

/// Where a dependency lives. Benchmarks are exempt: they run rivals. `deny.toml` says the same to cargo-deny.
const HOMES: [(&str, &[&str]); 24] = [
    ("bech32", &[BINARY]),
    ("clap", &[BINARY]),
    ("clap_complete", &[BINARY]),
    ("clap_mangen", &[BINARY]),
    ("comfy-table", &[BINARY]),
    ("crc32fast", &[STORE]),
    ("fd-lock", &[BINARY, STORE]),
    ("fjall", &[]),
    ("flate2", &[BINARY]),
    ("foca", &[]),
    ("hickory-resolver", &[NETWORK]),
    ("libp2p", &[NETWORK]),
    ("notify", &[CONFIG, STORE]),
    ("prost", &[CORE, EXCHANGE]),
    ("qrcode", &[BINARY]),
    ("redb", &[]),
    ("rusqlite", &[]),
    ("serde_yaml", &[]),
    ("serde_yaml_ng", &[]),
    ("serde_yml", &[]),
    ("tar", &[BINARY]),
    ("tracing-subscriber", &[BINARY]),
    ("yaml_serde", &[CONFIG, STORE]),
    ("zstd", &[EXCHANGE]),
];

/// Most crates in core's tree, itself included: whoever wants only the data types should not wait for more.
const MAX_CORE_TREE: usize = 32;

/// Crates that run under any executor or none: of tokio they may use only channels.
const WITHOUT_RUNTIME: [&str; 3] = [CORE, EXCHANGE, STORE];

#[test]
fn every_package_is_in_the_table_of_edges() {
    let found: BTreeSet<String> = packages().into_iter().map(|package| package.name).collect();
    let listed: BTreeSet<String> = EDGES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found, listed, "left: in the workspace; right: in the table");
}

#[test]
fn packages_depend_on_each_other_only_as_the_table_allows() {
    let edges: BTreeMap<&str, &[&str]> = EDGES.into_iter().collect();
    let mut violations = Vec::new();
    for package in packages() {
        let allowed = edges
            .get(package.name.as_str())
            .copied()
            .unwrap_or_default();
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| dependency.ours)
        {
            if !allowed.contains(&dependency.name.as_str()) {
                violations.push(format!("{} -> {}", package.name, dependency.name));
            }
        }
    }
    nothing_breaks(
        "siblings depend on core only; forbidden edges:",
        &violations,
    );
}

#[test]
fn dependencies_live_only_in_their_homes() {
    let homes: BTreeMap<&str, &[&str]> = HOMES.into_iter().collect();
    let mut violations = Vec::new();
    for package in packages().iter().filter(|package| package.name != BENCH) {
        for dependency in &package.dependencies {
            // Parts of libp2p live where libp2p lives.
            let name = if dependency.name.starts_with("libp2p-") {
                "libp2p"
            } else {
                &dependency.name
            };
            if homes
                .get(name)
                .is_some_and(|homes| !homes.contains(&package.name.as_str()))
            {
                violations.push(format!("{} -> {}", package.name, dependency.name));
            }
        }
    }
    nothing_breaks("a dependency left its home:", &violations);
}

#[test]
fn cargo_deny_knows_the_same_homes() {
    let text = read("deny.toml");
    let (_, text) = text
        .split_once("\n[bans]\n")
        .expect("deny.toml has a section of bans");
    let mut violations = Vec::new();
    for (name, homes) in HOMES {
        let entry = text
            .lines()
            .find(|line| line.contains(&format!("{{ crate = \"{name}\"")));
        let Some(entry) = entry else {
            violations.push(format!("{name} is missing"));
            continue;
        };
        let wrappers = entry
            .split_once("wrappers = [")
            .and_then(|(_, rest)| rest.split_once(']'));
        let listed: BTreeSet<&str> = wrappers
            .map(|(list, _)| {
                list.split(',')
                    .map(|name| name.trim().trim_matches('"'))
                    .collect()
            })
            .unwrap_or_default();
        let ours = listed
            .iter()
            .copied()
            .filter(|name| name.starts_with(BINARY) && *name != BENCH);
        if ours.collect::<BTreeSet<_>>() != homes.iter().copied().collect() {
            violations.push(format!("{name}: {listed:?} in deny.toml, {homes:?} here"));
        }
    }
    nothing_breaks("deny.toml and the table of homes differ:", &violations);
}

#[test]
fn the_tree_of_core_stays_small() {
    let tree = tree(CORE);
    let names: Vec<String> = tree
        .iter()
        .map(|entry| format!("{} {}", entry.name, entry.version))
        .collect();
    assert!(
        tree.len() <= MAX_CORE_TREE,
        "{} crates, at most {MAX_CORE_TREE}: {names:#?}",
        tree.len()
    );
}

#[test]
fn crates_without_a_runtime_pull_in_neither_libp2p_nor_a_runtime() {
    let mut violations = Vec::new();
    for package in WITHOUT_RUNTIME {
        for entry in tree(package) {
            if entry.name.starts_with("libp2p") {
                violations.push(format!("{package}: {}", entry.name));
            }
            for feature in entry.features.iter().filter(|feature| *feature != "sync") {
                if entry.name == "tokio" {
                    violations.push(format!("{package}: tokio feature {feature}"));
                }
            }
        }
    }
    nothing_breaks("of tokio only `sync`, of libp2p nothing:", &violations);
}
