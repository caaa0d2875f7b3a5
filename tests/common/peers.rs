//! Peers of a daemon, as nodes in this process: cheap enough for fifty at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use btcfed::{Node, NodeHandle};
use btcfed_core::addr::AddrWithId;
use btcfed_core::config::NodeConfig;
use btcfed_core::key::PeerKey;
use btcfed_core::testing::{MemoryStore, test_key, test_secret};

use super::daemon::Daemon;

/// Nodes that dial one daemon and nobody else. All end when dropped.
pub struct Peers {
    entry: AddrWithId,
    change: fn(&mut NodeConfig),
    up: BTreeMap<u16, NodeHandle>,
    runtime: tokio::runtime::Runtime,
}

impl Peers {
    /// Test identities 1 to `count` of `daemon`. They listen nowhere.
    pub fn of(daemon: &Daemon, count: u16) -> Self {
        let mut peers = Self::at(&daemon.full_addr(), |config| {
            config.network.addresses.clear();
        });
        for number in 1..=count {
            peers.start(number);
        }
        peers
    }

    /// Nobody yet; each that is started dials `entry`.
    pub fn at(entry: &str, change: fn(&mut NodeConfig)) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self {
            entry: entry.parse().unwrap(),
            change,
            up: BTreeMap::new(),
            runtime,
        }
    }

    /// Starts the node of a test identity.
    pub fn start(&mut self, number: u16) -> NodeHandle {
        let mut config = NodeConfig::default();
        config.network.addresses = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        config.network.target_outbound = 0;
        config.peers.bootstrap = vec![self.entry.clone()];
        (self.change)(&mut config);
        let handle = self.runtime.block_on(async {
            let node = Node::builder(config, test_secret(number))
                .store(Arc::new(MemoryStore::default()))
                .build()
                .await
                .unwrap();
            let handle = node.handle();
            tokio::spawn(node.run());
            handle
        });
        self.up.insert(number, handle.clone());
        handle
    }

    /// Ends the node of a test identity.
    pub fn stop(&mut self, number: u16) {
        if let Some(handle) = self.up.remove(&number) {
            self.runtime.block_on(handle.shutdown());
        }
    }

    /// Which identities run.
    pub fn running(&self) -> Vec<u16> {
        self.up.keys().copied().collect()
    }

    /// Which identities run and have finished the protocol handshake with `key`.
    pub fn handshaken(&self, key: &PeerKey) -> Vec<u16> {
        let all = self.up.iter();
        all.filter(|(_, handle)| self.is_handshaken(handle, key))
            .map(|(number, _)| *number)
            .collect()
    }

    pub fn is_handshaken(&self, handle: &NodeHandle, key: &PeerKey) -> bool {
        let status = self.runtime.block_on(handle.status());
        status.is_ok_and(|status| {
            let mut connections = status.connections.iter();
            connections.any(|connection| connection.peer == *key && connection.handshaken)
        })
    }

    /// How long the node `handle` takes until it has finished the handshake with `key` and knows `others`; `None` when
    /// that is longer than `limit`. The first time is that of the handshake alone.
    pub fn discovers(
        &self,
        handle: &NodeHandle,
        key: &PeerKey,
        others: &[u16],
        limit: Duration,
    ) -> (Option<Duration>, Option<Duration>) {
        let started = Instant::now();
        let mut shaken = None;
        while started.elapsed() < limit {
            if shaken.is_none() && self.is_handshaken(handle, key) {
                shaken = Some(started.elapsed());
            }
            let known = handle.store().snapshot();
            if shaken.is_some() && others.iter().all(|other| known.contains(&test_key(*other))) {
                return (shaken, Some(started.elapsed()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        (shaken, None)
    }
}
