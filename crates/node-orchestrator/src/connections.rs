//! Who is connected. Pure bookkeeping over what the network reports.

use std::collections::BTreeMap;
use std::time::Duration;

use btcfed_core::addr::PeerAddr;
use btcfed_core::key::PeerKey;
use btcfed_core::network::{CommandId, Direction};
use btcfed_core::time::{Now, Timestamp};

/// One connected peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// Who proved their key.
    pub peer: PeerKey,
    /// Who dialled.
    pub direction: Direction,
    /// The remote end as this node sees it.
    pub addr: PeerAddr,
    /// The dial that opened it; it names the connection in the log. `None` for those of the remote.
    pub dial: Option<CommandId>,
    /// Since when.
    pub since: Timestamp,
    /// The last measured round-trip time.
    pub rtt: Option<Duration>,
    /// The software the peer claims to run; hearsay, cut to [`btcfed_core::limits::MAX_AGENT_BYTES`].
    pub agent: Option<String>,
    /// True once both sides agreed on version, network and federation.
    pub handshaken: bool,
    /// How far the peer's wall clock is ahead of this node's, in milliseconds, as it claimed when it introduced itself.
    pub clock_offset_ms: Option<i64>,
}

/// Every connected peer. Bounded by the network's connection limits.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    by_peer: BTreeMap<PeerKey, Connection>,
}

impl Connections {
    /// Notes a new connection. False when the peer was connected already.
    pub(crate) fn insert(
        &mut self,
        now: Now,
        peer: PeerKey,
        direction: Direction,
        addr: PeerAddr,
        dial: Option<CommandId>,
    ) -> bool {
        let new = Connection {
            peer,
            direction,
            addr,
            dial,
            since: now.wall,
            rtt: None,
            agent: None,
            handshaken: false,
            clock_offset_ms: None,
        };
        self.by_peer.insert(peer, new).is_none()
    }

    /// Notes that a peer is gone.
    pub(crate) fn remove(&mut self, peer: &PeerKey) -> Option<Connection> {
        self.by_peer.remove(peer)
    }

    /// The connection of a peer.
    pub(crate) fn get(&self, peer: &PeerKey) -> Option<&Connection> {
        self.by_peer.get(peer)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, peer: &PeerKey) -> Option<&mut Connection> {
        self.by_peer.get_mut(peer)
    }

    /// True while the peer is connected.
    pub(crate) fn contains(&self, peer: &PeerKey) -> bool {
        self.by_peer.contains_key(peer)
    }

    /// Everybody, in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.by_peer.values()
    }

    /// How many peers are connected.
    pub(crate) fn len(&self) -> usize {
        self.by_peer.len()
    }
}
