//! What a simulation is made of.

use std::time::Duration;

use btcfed_core::addr::AddrScope;
use btcfed_core::config::NodeConfig;

/// What a simulation is made of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SimOptions {
    /// Decides everything that is random.
    pub seed: u64,
    /// How long a frame takes from one end of a link to the other.
    pub latency: Duration,
    /// Random share added to or taken from the latency of every frame.
    pub latency_jitter: f64,
    /// Probability that a frame is lost on the way. As on TCP it is sent again, 200 ms or more later, and whatever follows
    /// it on the same link waits.
    pub loss: f64,
    /// How many bytes a node sends per second; frames queue for it. `None` does not limit it.
    pub uplink: Option<u64>,
    /// Probability that a dial fails.
    pub dial_failure: f64,
    /// How far the wall clocks of nodes are off, at most, in either direction.
    pub clock_skew: Duration,
    /// How long a store takes until it shows a change.
    pub store_latency: Duration,
    /// The configuration of every node.
    pub config: NodeConfig,
    /// What kind of addresses the nodes have; loopback, private or public.
    pub scope: AddrScope,
    /// How many connections a node opens on its own to peers it learned of.
    pub degree: usize,
}

impl Default for SimOptions {
    /// 20 ms links that lose nothing, unlimited uplinks, dials that succeed, exact clocks, no dialling on a node's own
    /// account, private addresses.
    fn default() -> Self {
        Self {
            seed: 1,
            latency: Duration::from_millis(20),
            latency_jitter: 0.0,
            loss: 0.0,
            uplink: None,
            dial_failure: 0.0,
            clock_skew: Duration::ZERO,
            store_latency: Duration::from_millis(1),
            config: NodeConfig::default(),
            scope: AddrScope::Private,
            degree: 0,
        }
    }
}
