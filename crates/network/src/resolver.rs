//! How names are looked up: the name servers of the machine, or those the wiring names; answers kept for their time.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use btcfed_core::config::NetworkConfig;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::system_conf::read_system_conf;

use crate::limits::{DNS_RETRIES, MAX_CACHED_NAMES};

/// What the look-up of names needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Naming {
    /// Instead of those of the machine.
    servers: Option<Vec<SocketAddr>>,
    timeout: Duration,
    max_ttl: Duration,
    negative_ttl: Duration,
}

impl Naming {
    /// As configured, at `servers` when they are given.
    pub(crate) fn new(config: &NetworkConfig, servers: Option<Vec<SocketAddr>>) -> Self {
        Self {
            servers,
            timeout: config.dns_timeout,
            max_ttl: config.dns_max_ttl,
            negative_ttl: config.dns_negative_ttl,
        }
    }

    /// The resolver's configuration. A machine without name servers gives one that knows only the hosts file.
    pub(crate) fn resolver(&self) -> (ResolverConfig, ResolverOpts) {
        let (config, mut options) = match &self.servers {
            Some(servers) => {
                let servers = servers.iter().map(name_server).collect();
                (
                    ResolverConfig::from_parts(None, Vec::new(), servers),
                    ResolverOpts::default(),
                )
            }
            None => read_system_conf().unwrap_or_else(|error| {
                tracing::warn!(%error, "no usable name server; only addresses and the hosts file are dialled");
                (ResolverConfig::default(), ResolverOpts::default())
            }),
        };
        options.timeout = self.timeout;
        options.attempts = DNS_RETRIES;
        options.cache_size = MAX_CACHED_NAMES;
        options.positive_max_ttl = Some(self.max_ttl);
        options.negative_max_ttl = Some(self.negative_ttl);
        (config, options)
    }
}

/// How names are looked up, changed while running: written by a reload, read by the next dial.
#[derive(Debug)]
pub(crate) struct LiveNaming(Mutex<(Naming, bool)>);

impl LiveNaming {
    pub(crate) const fn new(naming: Naming) -> Self {
        Self(Mutex::new((naming, false)))
    }

    /// From the next dial on. What is configured as before changes nothing: known answers are kept.
    pub(crate) fn reconfigure(&self, config: &NetworkConfig) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = Naming::new(config, state.0.servers.clone());
        if new != state.0 {
            *state = (new, true);
        }
    }

    /// How names are looked up now.
    pub(crate) fn current(&self) -> Naming {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.clone()
    }

    /// The same, once after every change.
    pub(crate) fn take_changed(&self) -> Option<Naming> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.1).then(|| state.0.clone())
    }
}

fn name_server(addr: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = addr.port();
        connection
    });
    NameServerConfig::new(addr.ip(), true, connections.into())
}
