//! Configurations for tests: everything on loopback, every port free, every file in one directory.

use std::fmt::Write as _;
use std::path::Path;

use btcfed_core::config::NodeConfig;

/// A configuration for a node in this process: listens on a free port of 127.0.0.1, keeps peers in `dir`.
pub fn local(dir: &Path) -> NodeConfig {
    let mut config = NodeConfig::default();
    config.network.addresses = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.peers.file = dir.join("peers.yaml");
    config
}

/// The text of a `conf.yaml` for a daemon on a free port of 127.0.0.1, with these bootstrap entries.
pub fn yaml(bootstrap: &[String]) -> String {
    let mut text = String::from(
        "network:\n  addresses:\n    - /ip4/127.0.0.1/tcp/0\npeers:\n  exchange_interval: 2s\n",
    );
    if !bootstrap.is_empty() {
        text.push_str("  bootstrap:\n");
        for entry in bootstrap {
            writeln!(text, "    - {entry}").unwrap();
        }
    }
    text
}
