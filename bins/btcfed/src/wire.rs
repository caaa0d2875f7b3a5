//! The wiring: the only place that names the concrete parts of a node.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use btcfed_core::config::{ConfigError, ConfigSource, NodeConfig};
use btcfed_core::exchange::Exchange;
use btcfed_core::identity::{SecretKey, StrictVerifier};
use btcfed_core::network::{Network, NetworkError, NetworkEvent};
use btcfed_core::protocol::{Protocol, ProtocolRequests, Protocols, RegisterError};
use btcfed_core::reconfigure::Reconfigure;
use btcfed_core::set::PeerSet;
use btcfed_core::store::{PeerStore, StoreError};
use btcfed_core::time::{Clock, Timestamp};
use btcfed_exchange_protocol::{Engine, EngineOptions, codec};
use btcfed_network::SpawnOptions;
use btcfed_node_orchestrator::{
    Node as Orchestrator, NodeError, NodeHandle, NodeParts, TokioClock,
};
use btcfed_peer_store::{FilePeerStore, StoreOptions};
use tokio::sync::mpsc::Receiver;

use crate::trace::Tracer;
use crate::view::VERSION;

/// A configuration that never changes: for embedders and tests without a file.
#[derive(Clone, Debug)]
struct FixedConfig(Arc<NodeConfig>);

impl ConfigSource for FixedConfig {
    fn load(&self) -> Result<NodeConfig, ConfigError> {
        Ok((*self.0).clone())
    }
}

/// A node could not be put together. Nothing is left running.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// It cannot listen, or the transport cannot be built.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The operating system gives no random numbers.
    #[error("no randomness: {0}")]
    Randomness(String),
    /// The peers cannot be kept where the configuration says.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Puts a node together. Every part has a default; each can be replaced.
#[derive(Debug)]
pub struct NodeBuilder {
    agent: String,
    clock: Option<Arc<dyn Clock>>,
    components: Vec<Arc<dyn Reconfigure>>,
    config: Arc<NodeConfig>,
    config_source: Option<Arc<dyn ConfigSource>>,
    exchange: Option<Box<dyn Exchange>>,
    protocols: Protocols,
    secret: SecretKey,
    seed: Option<u64>,
    store: Option<Arc<dyn PeerStore>>,
    tracer: Tracer,
}

impl NodeBuilder {
    /// A node with this configuration and identity.
    #[must_use]
    pub fn new(config: NodeConfig, secret: SecretKey) -> Self {
        Self {
            agent: format!("btcfed/{VERSION}"),
            clock: None,
            components: Vec::new(),
            config: Arc::new(config),
            config_source: None,
            exchange: None,
            protocols: Protocols::default(),
            secret,
            seed: None,
            store: None,
            tracer: Tracer::default(),
        }
    }

    /// What peers are told about this software, instead of `btcfed/VERSION`.
    #[must_use]
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = agent.into();
        self
    }

    /// The clock, instead of the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Lets `component` take part in reloads, before store and network.
    #[must_use]
    pub fn component(mut self, component: Arc<dyn Reconfigure>) -> Self {
        self.components.push(component);
        self
    }

    /// Where a reload finds the next configuration, instead of the one given at the start.
    #[must_use]
    pub fn config_source(mut self, source: Arc<dyn ConfigSource>) -> Self {
        self.config_source = Some(source);
        self
    }

    /// The exchange protocol, instead of this workspace's engine.
    #[must_use]
    pub fn exchange(mut self, exchange: Box<dyn Exchange>) -> Self {
        self.exchange = Some(exchange);
        self
    }

    /// Registers a protocol of the application, for example `/chat/1.0.0`, on the connections of the node. Peers that
    /// registered the same name can be asked with the first half of the result; what they ask arrives at the second.
    ///
    /// # Errors
    /// Not a protocol name, or one that is taken, or there are too many. Nothing changed.
    pub fn register_protocol(
        &mut self,
        name: &str,
    ) -> Result<(Protocol, ProtocolRequests), RegisterError> {
        self.protocols.register(name.parse()?)
    }

    /// Seeds jitter and random choices, instead of the operating system's randomness.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Where peers are kept, instead of the file `peers.file` of the configuration.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn PeerStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// Where messages are handed to people who look for a fault.
    #[must_use]
    pub fn tracer(mut self, tracer: Tracer) -> Self {
        self.tracer = tracer;
        self
    }

    /// Opens the store and the network. The node accepts connections when this returns, and talks when it runs.
    ///
    /// # Errors
    /// A part cannot be built; nothing is left running.
    pub async fn build(self) -> Result<Node, BuildError> {
        let started = Instant::now();
        let mut components = self.components;
        let store = match self.store {
            Some(store) => store,
            None => {
                let store = Arc::new(open_store(&self.config)?);
                components.push(Arc::clone(&store) as Arc<dyn Reconfigure>);
                store
            }
        };
        let options = SpawnOptions::new(self.secret.clone(), &self.config)
            .agent(&self.agent)
            .protocols(self.protocols);
        let (network, events, task) = btcfed_network::spawn(options).await?;
        let seed = match self.seed {
            Some(seed) => seed,
            None => random_seed()?,
        };
        let exchange = self.exchange.unwrap_or_else(|| {
            Box::new(Engine::new(EngineOptions {
                config: Arc::clone(&self.config),
                own: self.secret.public(),
                agent: self.agent,
                seed,
                verifier: Arc::new(StrictVerifier),
                set: store.snapshot(),
            }))
        });
        let exchange = self.tracer.watch(exchange);
        components.push(Arc::new(network.clone()));
        let inner = Orchestrator::new(NodeParts {
            config_source: self
                .config_source
                .unwrap_or_else(|| Arc::new(FixedConfig(Arc::clone(&self.config)))),
            config: self.config,
            secret: self.secret,
            store,
            network: Arc::new(network),
            network_events: events.into_inner(),
            exchange,
            components,
            clock: self.clock.unwrap_or_else(|| Arc::new(TokioClock::new())),
            seed,
            tasks: vec![("network", task)],
        });
        Ok(Node {
            inner,
            build_time: started.elapsed(),
        })
    }
}

/// A node with every part in place.
#[derive(Debug)]
pub struct Node {
    inner: Orchestrator,
    build_time: Duration,
}

impl Node {
    /// Starts to put a node together.
    #[must_use]
    pub fn builder(config: NodeConfig, secret: SecretKey) -> NodeBuilder {
        NodeBuilder::new(config, secret)
    }

    /// How long it took to open store and network.
    #[must_use]
    pub const fn build_time(&self) -> Duration {
        self.build_time
    }

    /// A handle to the node: status, reload, events, shutdown.
    #[must_use]
    pub fn handle(&self) -> NodeHandle {
        self.inner.handle()
    }

    /// Runs until [`NodeHandle::shutdown`] is called; then closes all connections and saves the state.
    ///
    /// # Errors
    /// A task the node depends on ended, or its last state could not be saved.
    pub async fn run(self) -> Result<(), NodeError> {
        self.inner.run().await
    }
}

/// Opens the peers file a configuration names.
///
/// # Errors
/// It cannot be opened. A damaged file is no error.
pub fn open_store(config: &NodeConfig) -> Result<FilePeerStore, StoreError> {
    FilePeerStore::open(StoreOptions::new(&config.peers.file).with_config(&config.storage))
}

/// Opens a peers file for one command: nobody watches it, and what is changed goes straight into the file.
///
/// # Errors
/// It cannot be opened.
pub fn open_store_once(path: &Path, lock_timeout: Duration) -> Result<FilePeerStore, StoreError> {
    FilePeerStore::open(
        StoreOptions::new(path)
            .with_lock_timeout(lock_timeout)
            .with_watch(false)
            .with_journal(false),
    )
}

/// What a document in the form of `peers.json` says of peers and bans.
///
/// # Errors
/// What is wrong with it, with line and key.
pub fn read_document(text: &str, now: Timestamp) -> Result<PeerSet, String> {
    let contents = btcfed_peer_store::json::read(text, now);
    contents
        .map(|contents| contents.peers)
        .map_err(|error| error.to_string())
}

/// Opens the network for one command: it listens nowhere, and has an identity nobody knows unless one is given.
///
/// # Errors
/// The transport cannot be built, or there is no randomness.
pub async fn open_network_once(
    timeout: Duration,
    secret: Option<SecretKey>,
) -> Result<(Arc<dyn Network>, Receiver<NetworkEvent>), BuildError> {
    let mut config = NodeConfig::default();
    config.network.addresses = Vec::new();
    config.peers.connection_timeout = timeout;
    let secret = match secret {
        Some(secret) => secret,
        None => {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed)
                .map_err(|error| BuildError::Randomness(error.to_string()))?;
            SecretKey::from_seed(seed)
        }
    };
    let options = SpawnOptions::new(secret, &config).agent(&format!("btcfed/{VERSION} ping"));
    let (network, events, _task) = btcfed_network::spawn(options).await?;
    Ok((Arc::new(network), events.into_inner()))
}

/// The kind of a message of the exchange protocol, and what it says on one line of printable ASCII.
#[must_use]
pub fn describe_frame(frame: &[u8]) -> (&'static str, String) {
    match codec::decode(frame) {
        Ok(message) => (message.name(), message.to_debug_json()),
        Err(error) => ("malformed", error.to_string().escape_default().to_string()),
    }
}

fn random_seed() -> Result<u64, BuildError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| BuildError::Randomness(error.to_string()))?;
    Ok(u64::from_le_bytes(bytes))
}
