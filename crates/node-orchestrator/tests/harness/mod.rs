//! A node whose every part is a fake, on virtual time.

#![allow(dead_code, reason = "each test file uses its own part of the harness")]

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use btcfed_core::addr::PeerAddr;
use btcfed_core::config::{ConfigError, ConfigSource, NodeConfig};
use btcfed_core::key::PeerKey;
use btcfed_core::network::{CommandId, Direction, NetworkCommand, NetworkEvent};
use btcfed_core::reconfigure::Reconfigure;
use btcfed_core::record::SignedRecord;
use btcfed_core::store::PeerStore;
use btcfed_core::testing::{
    MemoryStore, ScriptedExchange, ScriptedNetwork, test_addr, test_key, test_secret,
};
use btcfed_core::time::{Clock, MonotonicTime, Now, Timestamp};
use btcfed_node_orchestrator::{Node, NodeError, NodeHandle, NodeParts};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The number of the node's own test identity.
pub(crate) const OWN: u16 = 999;

/// Monotonic and wall time that both follow the paused time of the runtime.
#[derive(Debug)]
pub(crate) struct VirtualClock(tokio::time::Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Now {
        let elapsed = self.0.elapsed();
        Now {
            monotonic: MonotonicTime::from_origin(elapsed),
            wall: Timestamp::from_secs(1_800_000_000).saturating_add(elapsed),
        }
    }
}

/// A configuration that tests change between reloads.
#[derive(Clone, Debug)]
pub(crate) struct SharedConfig(pub Arc<Mutex<Result<NodeConfig, ConfigError>>>);

impl ConfigSource for SharedConfig {
    fn load(&self) -> Result<NodeConfig, ConfigError> {
        self.0.lock().unwrap().clone()
    }
}

pub(crate) struct Harness {
    pub clock: Arc<VirtualClock>,
    pub config: SharedConfig,
    pub events: mpsc::Sender<NetworkEvent>,
    pub exchange: ScriptedExchange,
    pub handle: NodeHandle,
    pub network: Arc<ScriptedNetwork>,
    pub running: JoinHandle<Result<(), NodeError>>,
    pub store: Arc<MemoryStore>,
    dials: VecDeque<Dial>,
    others: Vec<NetworkCommand>,
}

pub(crate) type Dial = (CommandId, Option<PeerKey>, Vec<PeerAddr>);

impl Harness {
    pub(crate) async fn start(change: impl FnOnce(&mut NodeConfig)) -> Self {
        Self::start_with_task(change, std::future::pending()).await
    }

    pub(crate) async fn start_with_task(
        change: impl FnOnce(&mut NodeConfig),
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self::start_full(change, task, Vec::new()).await
    }

    pub(crate) async fn start_full(
        change: impl FnOnce(&mut NodeConfig),
        task: impl Future<Output = ()> + Send + 'static,
        components: Vec<Arc<dyn Reconfigure>>,
    ) -> Self {
        Self::start_around(change, task, components, |store| store).await
    }

    /// The same with a store of the test's own around the one that remembers.
    pub(crate) async fn start_around(
        change: impl FnOnce(&mut NodeConfig),
        task: impl Future<Output = ()> + Send + 'static,
        components: Vec<Arc<dyn Reconfigure>>,
        around: impl FnOnce(Arc<MemoryStore>) -> Arc<dyn PeerStore>,
    ) -> Self {
        let mut config = NodeConfig::default();
        change(&mut config);
        let clock = Arc::new(VirtualClock(tokio::time::Instant::now()));
        let network = Arc::new(ScriptedNetwork::new(test_key(OWN).peer_id()));
        network.set_listen_addrs(vec![test_addr(3999)]);
        let store = Arc::new(MemoryStore::with_clock(Arc::clone(&clock) as Arc<dyn Clock>));
        let exchange = ScriptedExchange::new();
        let source = SharedConfig(Arc::new(Mutex::new(Ok(config.clone()))));
        let (events, network_events) = mpsc::channel(256);
        // Ends when the node is told to stop and drops its handle on the network, as the real task does.
        let node = Node::new(NodeParts {
            config: Arc::new(config),
            config_source: Arc::new(source.clone()),
            secret: test_secret(OWN),
            store: around(Arc::clone(&store)),
            network: Arc::clone(&network) as _,
            network_events,
            exchange: Box::new(exchange.clone()),
            components,
            clock: Arc::clone(&clock) as _,
            seed: 7,
            tasks: vec![("injected", tokio::spawn(task))],
        });
        let handle = node.handle();
        let running = tokio::spawn(node.run());
        let harness = Self {
            clock,
            config: source,
            events,
            exchange,
            handle,
            network,
            running,
            store,
            dials: VecDeque::new(),
            others: Vec::new(),
        };
        harness.settle().await;
        harness
    }

    /// Lets everything that can happen now happen. Virtual time: costs nothing and is exact.
    pub(crate) async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    pub(crate) fn wall(&self) -> Timestamp {
        self.clock.now().wall
    }

    pub(crate) async fn tell(&self, event: NetworkEvent) {
        self.events.send(event).await.unwrap();
    }

    pub(crate) async fn connect_as(
        &self,
        number: u16,
        direction: Direction,
        command: Option<CommandId>,
    ) {
        let addr = test_addr(number);
        let remote_ip = addr.ip();
        let peer = test_key(number);
        self.tell(NetworkEvent::Connected {
            peer,
            direction,
            addr,
            remote_ip,
            command,
        })
        .await;
        self.settle().await;
    }

    fn gather(&mut self) {
        for command in self.network.take_commands() {
            match command {
                NetworkCommand::Dial { id, peer, addrs } => self.dials.push_back((id, peer, addrs)),
                other => self.others.push(other),
            }
        }
    }

    /// Every dial so far that was not looked at yet.
    pub(crate) fn dials(&mut self) -> Vec<Dial> {
        self.gather();
        self.dials.drain(..).collect()
    }

    /// Every command so far that is no dial.
    pub(crate) fn commands(&mut self) -> Vec<NetworkCommand> {
        self.gather();
        self.others.clone()
    }

    /// Waits (in virtual time) for the next dial.
    pub(crate) async fn next_dial(&mut self) -> Dial {
        loop {
            self.gather();
            if let Some(dial) = self.dials.pop_front() {
                return dial;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The record that a peer signed for itself.
pub(crate) fn signed(number: u16, port: u16) -> SignedRecord {
    SignedRecord::sign(&test_secret(number), 1, &[test_addr(port)]).unwrap()
}
