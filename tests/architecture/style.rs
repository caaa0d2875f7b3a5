//! What sources may not contain.

use crate::nothing_breaks;
use crate::sources::{Source, files, rust};
use crate::workspace::{read, root};

/// The crates that the binary wires together, as they are named in code.
const SIBLINGS: [&str; 4] = [
    "btcfed_config",
    "btcfed_exchange_protocol",
    "btcfed_network",
    "btcfed_peer_store",
];

/// Files and folders of the binary that may name siblings, which ones, and why.
const NAMES_SIBLINGS: [(&str, &[&str]); 5] = [
    // The wiring: the one place where every concrete type of the running node is built.
    ("wire.rs", &SIBLINGS),
    // A first question to a peer, asked without a node, in the messages of the protocol.
    ("cli/probe/talk.rs", &["btcfed_exchange_protocol"]),
    // Only the names of its series begin like the crate.
    ("metrics.rs", &["btcfed_config"]),
    // Commands that work without a running node, straight on its files: check a configuration, edit the peers.
    ("cli.rs", &["btcfed_config", "btcfed_peer_store"]),
    ("cli/", &["btcfed_config", "btcfed_peer_store"]),
];

/// What the engine must not be able to call, as `crates/exchange-protocol/clippy.toml` lists it.
const IMPURE: [&str; 11] = [
    "std::fs::File::create",
    "std::fs::File::open",
    "std::fs::read",
    "std::fs::write",
    "std::hash::RandomState::new",
    "std::net::TcpListener::bind",
    "std::net::TcpStream::connect",
    "std::net::UdpSocket::bind",
    "std::thread::spawn",
    "std::time::Instant::now",
    "std::time::SystemTime::now",
];

/// Words that mean I/O, a clock, a process or a runtime. Neither core nor the engine contains one.
const SIDE_EFFECTS: [&str; 14] = [
    "Instant::now",
    "RandomState",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "getrandom",
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
    "tokio::net",
    "tokio::spawn",
    "tokio::time",
];

/// Queues without a bound.
const UNBOUNDED: [&str; 6] = [
    "mpsc::channel()",
    "mpsc::unbounded",
    "std::sync::mpsc::channel",
    "std::sync::mpsc::{channel",
    "unbounded_channel",
    "unbounded()",
];

#[test]
fn no_queue_is_unbounded() {
    let sources = rust(&["crates", "bins", "examples"]);
    nothing_breaks(
        "every queue is bounded and its bound has a name:",
        &places(&sources, &UNBOUNDED),
    );
}

#[test]
fn core_and_engine_touch_neither_clock_nor_file_nor_socket() {
    let sources = rust(&["crates/core/src", "crates/exchange-protocol/src"]);
    assert!(!sources.is_empty());
    nothing_breaks(
        "core and engine do no I/O:",
        &places(&sources, &SIDE_EFFECTS),
    );
}

#[test]
fn clippy_refuses_every_impure_method_in_the_engine() {
    let text = read("crates/exchange-protocol/clippy.toml");
    let listed = |method: &&str| text.contains(&format!("{{ path = \"{method}\", reason = "));
    let missing: Vec<String> = IMPURE
        .iter()
        .filter(|m| !listed(m))
        .map(ToString::to_string)
        .collect();
    nothing_breaks("missing in crates/exchange-protocol/clippy.toml:", &missing);
}

#[test]
fn only_the_wiring_names_concrete_types_of_siblings() {
    let mut violations = Vec::new();
    let folder = "bins/btcfed/src/";
    for source in rust(&[folder]) {
        let file = source.path.trim_start_matches(folder);
        let matches = |name: &str| file == name || name.ends_with('/') && file.starts_with(name);
        let allowed = NAMES_SIBLINGS.iter().find(|(name, _)| matches(name));
        let allowed = allowed.map_or(&[][..], |(_, list)| list);
        let refused: Vec<&str> = SIBLINGS
            .into_iter()
            .filter(|name| !allowed.contains(name))
            .collect();
        violations.extend(source.find(&refused));
    }
    nothing_breaks(
        "only the wiring names concrete types of siblings:",
        &violations,
    );
}

#[test]
fn the_table_of_files_that_name_siblings_is_not_stale() {
    let missing = NAMES_SIBLINGS
        .iter()
        .map(|(name, _)| format!("bins/btcfed/src/{name}"));
    let missing: Vec<String> = missing.filter(|path| !root().join(path).exists()).collect();
    nothing_breaks("these files are gone:", &missing);
}

#[test]
fn sources_are_ascii_but_for_the_text_that_tests_feed_in() {
    let sources = rust(&["crates", "bins", "examples"]);
    let mut violations = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let lines = source.lines_before_tests().enumerate();
        for (index, line) in lines.filter(|(_, line)| !line.is_ascii()) {
            violations.push(format!("{}:{}: {line}", source.path, index + 1));
        }
    }
    nothing_breaks("write \\u{...} in sources:", &violations);
}

#[test]
fn no_source_hides_text_from_its_reader() {
    let folders = [
        "crates", "bins", "tests", "examples", "docs", ".ci", ".cargo",
    ];
    let kinds = ["rs", "toml", "md", "js", "mjs", "yaml", "json"];
    let mut violations = Vec::new();
    for source in kinds.into_iter().flat_map(|kind| files(&folders, kind)) {
        for (index, line) in source.text.lines().enumerate() {
            if line.contains(is_hidden) {
                violations.push(format!(
                    "{}:{}: {}",
                    source.path,
                    index + 1,
                    line.escape_unicode()
                ));
            }
        }
    }
    nothing_breaks("characters that turn or hide text:", &violations);
}

/// Bidirectional overrides and characters without width: "Trojan Source", CVE-2021-42574.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn places(sources: &[Source], patterns: &[&str]) -> Vec<String> {
    sources
        .iter()
        .flat_map(|source| source.find(patterns))
        .collect()
}
