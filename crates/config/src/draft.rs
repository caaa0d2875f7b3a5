//! A configuration while it is being put together: defaults first, then whatever was written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use btcfed_core::backoff::BackoffPolicy;
use btcfed_core::{NodeConfig, SecretKey};

/// Every value so far, each one valid in itself.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) config: NodeConfig,
    pub(crate) backoff: Backoff,
    pub(crate) private_key: Option<SecretKey>,
    pub(crate) private_key_file: Option<PathBuf>,
}

/// `network.backoff` before it becomes a policy, which would move values into range instead of refusing them.
#[derive(Debug)]
pub(crate) struct Backoff {
    pub(crate) initial: Duration,
    pub(crate) max: Duration,
    pub(crate) factor: f64,
    pub(crate) jitter: f64,
}

impl Draft {
    /// The defaults, with the node's own files in `state_dir`.
    pub(crate) fn new(state_dir: &Path) -> Self {
        let mut config = NodeConfig::default();
        config.peers.file = in_dir(state_dir, &config.peers.file);
        config.admin.socket = in_dir(state_dir, &config.admin.socket);
        let policy = config.network.backoff;
        let backoff = Backoff {
            initial: policy.initial(),
            max: policy.max(),
            factor: policy.factor(),
            jitter: policy.jitter(),
        };
        Self {
            config,
            backoff,
            private_key: None,
            private_key_file: None,
        }
    }

    /// Lets defaults follow the values they depend on. `is_set` tells which keys were written.
    pub(crate) fn adapt_defaults(&mut self, is_set: impl Fn(&str) -> bool) {
        let network = &mut self.config.network;
        if !is_set("network.limits.max_inbound") {
            network.max_inbound = network.max_inbound.min(network.max_connections);
        }
        if !is_set("network.target_outbound") {
            network.target_outbound = network.target_outbound.min(network.max_connections);
        }
        let peers = &mut self.config.peers;
        if !is_set("peers.stale_after") {
            peers.stale_after = peers.stale_after.min(peers.forget_after);
        }
        if !is_set("peers.forget_after") {
            peers.forget_after = peers.forget_after.max(peers.stale_after);
        }
        let backoff = &mut self.backoff;
        if !is_set("network.backoff.max") {
            backoff.max = backoff.max.max(backoff.initial);
        }
        if !is_set("network.backoff.initial") {
            backoff.initial = backoff.initial.min(backoff.max);
        }
    }

    /// The configuration, once nothing contradicts anything.
    pub(crate) fn finish(mut self) -> (NodeConfig, Option<SecretKey>, Option<PathBuf>) {
        let Backoff {
            initial,
            max,
            factor,
            jitter,
        } = self.backoff;
        self.config.network.backoff = BackoffPolicy::new(initial, max, factor, jitter)
            .with_stable_after(self.config.network.backoff.stable_after());
        (self.config, self.private_key, self.private_key_file)
    }
}

/// `file` in `dir`, without a leading `./`.
pub(crate) fn in_dir(dir: &Path, file: &Path) -> PathBuf {
    if dir == Path::new(".") {
        file.to_owned()
    } else {
        dir.join(file)
    }
}
