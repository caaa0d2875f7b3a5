//! What this node speaks on every connection, as one libp2p behaviour.

use std::sync::Arc;

use btcfed_core::config::NetworkConfig;
use btcfed_core::protocol::ProtocolPorts;
use libp2p::identity::PublicKey;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{StreamProtocol, identify, ping};

use crate::PROTOCOL;
use crate::applications::Applications;
use crate::frame::FrameCodec;
use crate::gate::Gate;
use crate::limits::MAX_STREAMS_PER_CONNECTION;
use crate::options::SpawnOptions;
use crate::stats::Counters;

/// The gate comes first: nobody else hears of a connection that it refuses. The application comes last.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
pub(crate) struct Behaviour {
    pub(crate) gate: Gate,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) frames: request_response::Behaviour<FrameCodec>,
    pub(crate) applications: Applications,
}

impl Behaviour {
    pub(crate) fn new(
        options: &SpawnOptions,
        public_key: PublicKey,
        gate: Gate,
        counters: Arc<Counters>,
        protocols: ProtocolPorts,
    ) -> Self {
        // Without a signed record: libp2p's Rust implementation signs a form that others refuse, and the whole exchange
        // with it. Without an address cache: the orchestrator alone decides whom to dial.
        let identify = identify::Config::new(PROTOCOL.to_owned(), public_key)
            .with_agent_version(options.agent.clone())
            .with_cache_size(0);
        let frames = request_response::Config::default()
            .with_request_timeout(options.request_timeout)
            .with_max_concurrent_streams(MAX_STREAMS_PER_CONNECTION);
        let protocol = (StreamProtocol::new(PROTOCOL), ProtocolSupport::Full);
        let applications =
            Applications::new(protocols, options.request_timeout, Arc::clone(&counters));
        Self {
            gate,
            identify: identify::Behaviour::new(identify),
            ping: pinging(&options.network),
            frames: request_response::Behaviour::with_codec(
                FrameCodec::new(counters),
                [protocol],
                frames,
            ),
            applications,
        }
    }
}

/// Pings as configured. It keeps no state but its configuration: putting a new one in place of the old one changes how
/// new connections are pinged.
pub(crate) fn pinging(config: &NetworkConfig) -> ping::Behaviour {
    let config = ping::Config::new()
        .with_interval(config.keepalive_interval)
        .with_timeout(config.keepalive_timeout);
    ping::Behaviour::new(config)
}
