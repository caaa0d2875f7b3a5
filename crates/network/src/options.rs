//! What the network needs to start.

use std::time::Duration;

use btcfed_core::config::NetworkConfig;
use btcfed_core::limits::MAX_AGENT_BYTES;
use btcfed_core::{NodeConfig, SecretKey};

use crate::error::cut;

/// What the network needs to start.
#[derive(Clone, Debug)]
pub struct SpawnOptions {
    pub(crate) secret: SecretKey,
    pub(crate) network: NetworkConfig,
    pub(crate) connection_timeout: Duration,
    pub(crate) agent: String,
}

impl SpawnOptions {
    /// The identity `secret`, with the addresses, limits and intervals of `config`.
    #[must_use]
    pub fn new(secret: SecretKey, config: &NodeConfig) -> Self {
        Self {
            secret,
            network: config.network.clone(),
            connection_timeout: config.peers.connection_timeout,
            agent: concat!("btcfed/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// The software name told to peers instead of `btcfed/VERSION`; cut to
    /// [`MAX_AGENT_BYTES`](btcfed_core::limits::MAX_AGENT_BYTES).
    #[must_use]
    pub fn agent(mut self, agent: &str) -> Self {
        self.agent = cut(agent, MAX_AGENT_BYTES).to_owned();
        self
    }
}
