//! What the network needs to start.

use std::net::SocketAddr;
use std::time::Duration;

use btcfed_core::config::{NetworkConfig, PeersMode};
use btcfed_core::limits::MAX_AGENT_BYTES;
use btcfed_core::{NodeConfig, Protocols, SecretKey};

use crate::error::cut;
use crate::limits::REQUEST_TIMEOUT;

/// What the network needs to start.
#[derive(Debug)]
pub struct SpawnOptions {
    pub(crate) secret: SecretKey,
    pub(crate) network: NetworkConfig,
    pub(crate) connection_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) agent: String,
    pub(crate) mode: PeersMode,
    pub(crate) protocols: Protocols,
    pub(crate) name_servers: Option<Vec<SocketAddr>>,
}

impl SpawnOptions {
    /// The identity `secret`, with the addresses, limits and intervals of `config`.
    #[must_use]
    pub fn new(secret: SecretKey, config: &NodeConfig) -> Self {
        Self {
            secret,
            network: config.network.clone(),
            connection_timeout: config.peers.connection_timeout,
            request_timeout: REQUEST_TIMEOUT,
            agent: concat!("btcfed/", env!("CARGO_PKG_VERSION")).to_owned(),
            mode: config.peers.mode,
            protocols: Protocols::default(),
            name_servers: None,
        }
    }

    /// Asks these name servers, over UDP and TCP, instead of those of the machine.
    #[must_use]
    pub fn name_servers(mut self, servers: Vec<SocketAddr>) -> Self {
        self.name_servers = Some(servers);
        self
    }

    /// The protocols of the application that are served beside the node's own. None unless given.
    #[must_use]
    pub fn protocols(mut self, protocols: Protocols) -> Self {
        self.protocols = protocols;
        self
    }

    /// How long a request may take, from its first byte to the last one of its answer, instead of 10 seconds. Also how
    /// long this node may think about the requests of others.
    #[must_use]
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// The software name told to peers instead of `btcfed/VERSION`; cut to
    /// [`MAX_AGENT_BYTES`](btcfed_core::limits::MAX_AGENT_BYTES).
    #[must_use]
    pub fn agent(mut self, agent: &str) -> Self {
        self.agent = cut(agent, MAX_AGENT_BYTES).to_owned();
        self
    }
}
