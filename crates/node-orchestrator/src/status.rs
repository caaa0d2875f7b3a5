//! What a node says about itself at one moment.

use std::collections::BTreeMap;
use std::time::Duration;

use btcfed_core::addr::PeerAddr;
use btcfed_core::exchange::ExchangeCounters;
use btcfed_core::key::PeerId;
use btcfed_core::store::StoreHealth;

use crate::connections::Connection;
use crate::lost_listeners::LostListener;

/// How a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeState {
    /// It works, but something is missing: the disk is sick.
    Degraded,
    /// All is well.
    Running,
}

impl NodeState {
    /// The stable lower-case name used in `--json` output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Degraded => "degraded",
            Self::Running => "running",
        }
    }
}

/// What the node itself counts. All values only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeCounters {
    /// Connections that were established.
    pub connections: u64,
    /// Dials that were started.
    pub dials: u64,
    /// Dials that ended without a connection.
    pub dials_failed: u64,
    /// Connections that ended.
    pub disconnections: u64,
    /// Peers that became known.
    pub peers_added: u64,
}

/// A consistent picture of a node.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NodeStatus {
    /// Its identity.
    pub peer_id: PeerId,
    /// How it does.
    pub state: NodeState,
    /// Time since it started.
    pub uptime: Duration,
    /// Tasks alive in the runtime it runs in: its own, those of its connections, and all others of the process.
    pub tasks: usize,
    /// The concrete addresses that accept connections.
    pub listen: Vec<PeerAddr>,
    /// Addresses that accepted connections and ceased to though they are configured; the node tries to bind them again.
    pub lost_listeners: Vec<LostListener>,
    /// What it tells others about where to find it.
    pub announced: Vec<PeerAddr>,
    /// Peers known, banned ones included.
    pub known: usize,
    /// Peers refused.
    pub banned: usize,
    /// Peers known that wait for the operator to add them; always 0 in mode `open`.
    pub waiting: usize,
    /// Who is connected.
    pub connections: Vec<Connection>,
    /// Counts configurations since the start, from 1.
    pub config_revision: u64,
    /// The configuration in force, by key.
    pub config: BTreeMap<&'static str, String>,
    /// How the store does.
    pub store: StoreHealth,
    /// What the node counted.
    pub counters: NodeCounters,
    /// What the exchange protocol counted.
    pub exchange: ExchangeCounters,
}
