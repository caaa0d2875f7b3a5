//! What can happen to a node, what it can decide to do, and what it tells the application.

use std::sync::Arc;
use std::time::Duration;

use btcfed_core::addr::PeerAddr;
use btcfed_core::ban::BanTarget;
use btcfed_core::config::NodeConfig;
use btcfed_core::key::PeerKey;
use btcfed_core::network::{
    CommandId, Direction, DisconnectReason, NetworkCommand, NetworkEvent, RequestError,
};
use btcfed_core::patch::{PeerChange, PeerPatch};
use btcfed_core::set::PeerSet;

/// Everything the node reacts to. Closed: whatever is not here cannot influence it.
#[derive(Debug)]
pub(crate) enum Event {
    /// A deadline has come.
    Deadline,
    /// The network says something.
    Network(NetworkEvent),
    /// Every component has committed this configuration.
    Reconfigured(Arc<NodeConfig>),
    /// A request could not even be queued.
    RequestNotQueued {
        /// The request.
        id: CommandId,
        /// Why.
        error: RequestError,
    },
    /// The store changed.
    StoreChanged {
        /// Everything known now.
        set: Arc<PeerSet>,
        /// What changed; empty means anything may have.
        changes: Arc<[PeerChange]>,
    },
}

/// What the node decided to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Hand this to the network.
    Network(NetworkCommand),
    /// Hand this to the store.
    Store(PeerPatch),
    /// Tell the application.
    Tell(NodeEvent),
}

/// What a node tells the application it is embedded in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeEvent {
    /// Somebody is refused now.
    Banned(BanTarget),
    /// A peer is connected now and was not before.
    Connected {
        /// Who.
        peer: PeerKey,
        /// Who dialled.
        direction: Direction,
        /// The remote end.
        addr: PeerAddr,
        /// The dial that opened the connection; `None` when the remote dialled.
        dial: Option<CommandId>,
    },
    /// A peer could not be reached.
    DialFailed {
        /// Names this dial in the log.
        dial: CommandId,
        /// Whom, where it is known.
        peer: Option<PeerKey>,
        /// What was tried and what happened, for people.
        reason: String,
        /// How long until the next attempt.
        retry_in: Duration,
    },
    /// The last connection of a peer is gone.
    Disconnected {
        /// Who.
        peer: PeerKey,
        /// Why.
        reason: DisconnectReason,
        /// The dial that had opened the connection; `None` when the remote had dialled.
        dial: Option<CommandId>,
    },
    /// A listener accepts connections.
    Listening(PeerAddr),
    /// A listener is gone.
    ListenClosed(PeerAddr),
    /// A peer is known now and was not before.
    PeerAdded(PeerKey),
    /// A peer is no longer known.
    PeerRemoved(PeerKey),
    /// A new configuration is in force.
    Reloaded {
        /// Counts configurations since the start, from 1.
        revision: u64,
    },
    /// Somebody is no longer refused.
    Unbanned(BanTarget),
}
