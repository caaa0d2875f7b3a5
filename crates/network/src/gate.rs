//! Who may connect: limits and bans, checked as early as each fact is known.
//!
//! Before any cryptography: bans of addresses, connections in their handshake. After Noise: the identity, bans of
//! peers, the allowlist, and the established connections in total, inbound and per address. Loopback is exempt from
//! the limit per address, reserved peers from every limit.
//!
//! Limits count peers, not connections: a second connection of a connected peer is always let in, because refusing it
//! on one side while the other side settles for it would leave none. The tie-break removes it at once.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use btcfed_core::PeerKey;
use btcfed_core::config::NetworkConfig;
use btcfed_core::network::Direction;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::dummy::ConnectionHandler;
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use crate::limits::MAX_CONNECTIONS_PER_PEER;
use crate::refused::Refused;
use crate::resolved::Resolved;
use crate::{convert, descriptors};

/// Why a connection was not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the address is banned")]
    BannedIp,
    #[error("the peer is banned")]
    BannedPeer,
    #[error("the peer's key is of a kind that is not supported: {0}")]
    Identity(String),
    #[error("too many inbound connections")]
    Inbound,
    #[error("the peer is not on the allowlist")]
    NotAdmitted,
    #[error("too many connections in their handshake")]
    Pending,
    #[error("too many connections from this address")]
    PerIp,
    #[error("too many connections of this peer")]
    PerPeer,
    #[error("too many connections")]
    Total,
}

/// The limits of `network.limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionLimits {
    max_connections: usize,
    max_inbound: usize,
    max_per_ip: usize,
    max_pending: usize,
}

impl ConnectionLimits {
    /// The configured limits, lowered where the process has too few file descriptors for them.
    pub(crate) fn effective(config: &NetworkConfig) -> Self {
        let wanted = Self {
            max_connections: config.max_connections,
            max_inbound: config.max_inbound,
            max_per_ip: config.max_per_ip,
            max_pending: config.max_pending,
        };
        let limits = wanted.within(descriptors::budget());
        if limits != wanted {
            tracing::warn!(
                max_connections = limits.max_connections,
                max_inbound = limits.max_inbound,
                max_pending = limits.max_pending,
                "the limit of open files is too low for network.limits; using lower ones"
            );
        }
        limits
    }

    /// Lowered so that established and pending connections together fit into so many descriptors. A quarter of the
    /// connections stays for those this node opens.
    fn within(self, descriptors: Option<usize>) -> Self {
        let all = |limits: &Self| {
            let pending = limits.max_pending.saturating_mul(2);
            limits.max_connections.saturating_add(pending)
        };
        let Some(budget) = descriptors.filter(|budget| all(&self) > *budget) else {
            return self;
        };
        let max_pending = self.max_pending.min((budget / 8).max(1));
        let max_connections = self.max_connections.min(budget - 2 * max_pending);
        Self {
            max_connections,
            max_inbound: self.max_inbound.min(max_connections - max_connections / 4),
            max_per_ip: self.max_per_ip,
            max_pending,
        }
    }
}

/// One established connection.
#[derive(Clone, Copy, Debug)]
struct Established {
    peer: PeerKey,
    direction: Direction,
    ip: Option<IpAddr>,
}

/// The gate, as a part of libp2p's swarm.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: ConnectionLimits,
    refused: Arc<Refused>,
    resolved: Arc<Resolved>,
    reserved: HashSet<PeerKey>,
    /// Who may connect; `None` lets everybody in.
    admitted: Option<HashSet<PeerKey>>,
    pending_inbound: HashMap<ConnectionId, Option<IpAddr>>,
    pending_outbound: HashSet<ConnectionId>,
    established: HashMap<ConnectionId, Established>,
}

impl Gate {
    /// A gate that lets in nobody `refused` names and keeps to `limits`.
    pub(crate) fn new(
        limits: ConnectionLimits,
        refused: Arc<Refused>,
        resolved: Arc<Resolved>,
    ) -> Self {
        Self {
            limits,
            refused,
            resolved,
            reserved: HashSet::new(),
            admitted: None,
            pending_inbound: HashMap::new(),
            pending_outbound: HashSet::new(),
            established: HashMap::new(),
        }
    }

    /// New limits; established connections stay.
    pub(crate) const fn set_limits(&mut self, limits: ConnectionLimits) {
        self.limits = limits;
    }

    /// Replaces the peers that are exempt from limits.
    pub(crate) fn reserve(&mut self, peers: Vec<PeerKey>) {
        self.reserved = peers.into_iter().collect();
    }

    /// Replaces the peers that may connect; `None` lets everybody in.
    pub(crate) fn admit(&mut self, peers: Option<Vec<PeerKey>>) {
        self.admitted = peers.map(|peers| peers.into_iter().collect());
    }

    fn is_admitted(&self, peer: &PeerKey) -> bool {
        self.admitted
            .as_ref()
            .is_none_or(|admitted| admitted.contains(peer))
    }

    /// The IP address at the other end of an established connection.
    pub(crate) fn remote_ip(&self, id: ConnectionId) -> Option<IpAddr> {
        self.established.get(&id)?.ip
    }

    /// Established connections that fall under the bans in force, or are not on the allowlist.
    pub(crate) fn refused_connections(&self) -> Vec<ConnectionId> {
        let falls = |c: &Established| {
            let is_stranger = c.direction == Direction::Inbound && !self.is_admitted(&c.peer);
            is_stranger || self.refused.peer(&c.peer) || c.ip.is_some_and(|ip| self.refused.ip(ip))
        };
        self.established
            .iter()
            .filter(|(_, c)| falls(c))
            .map(|(id, _)| *id)
            .collect()
    }

    /// A TCP connection was accepted: nothing but its address is known.
    fn check_pending_inbound(&self, ip: Option<IpAddr>) -> Result<(), Refusal> {
        if ip.is_some_and(|ip| self.refused.ip(ip)) {
            return Err(Refusal::BannedIp);
        }
        if self.pending_inbound.len() >= self.limits.max_pending {
            return Err(Refusal::Pending);
        }
        let Some(ip) = counted(ip) else { return Ok(()) };
        let handshakes = self
            .pending_inbound
            .values()
            .filter(|other| counted(**other) == Some(ip))
            .count();
        if handshakes >= self.limits.max_per_ip {
            return Err(Refusal::PerIp);
        }
        // The identity is not known yet. Only when nobody is reserved can the rest be decided without cryptography.
        if self.reserved.is_empty() {
            self.check_inbound(Some(ip))
        } else {
            Ok(())
        }
    }

    /// A dial is about to start.
    fn check_pending_outbound(&self, peer: Option<&PeerKey>) -> Result<(), Refusal> {
        if peer.is_some_and(|peer| self.refused.peer(peer)) {
            return Err(Refusal::BannedPeer);
        }
        if peer.is_some_and(|peer| self.reserved.contains(peer)) {
            return Ok(());
        }
        if self.pending_outbound.len() >= self.limits.max_pending {
            return Err(Refusal::Pending);
        }
        self.check_total()
    }

    /// A peer proved its key.
    fn check_established(
        &self,
        peer: &PeerKey,
        direction: Direction,
        ip: Option<IpAddr>,
    ) -> Result<(), Refusal> {
        if self.refused.peer(peer) {
            return Err(Refusal::BannedPeer);
        }
        if ip.is_some_and(|ip| self.refused.ip(ip)) {
            return Err(Refusal::BannedIp);
        }
        match self
            .established
            .values()
            .filter(|c| c.peer == *peer)
            .count()
        {
            0 if direction == Direction::Inbound && !self.is_admitted(peer) => {
                Err(Refusal::NotAdmitted)
            }
            0 if self.reserved.contains(peer) => Ok(()),
            0 => match direction {
                Direction::Inbound => self.check_inbound(ip),
                Direction::Outbound => self.check_total(),
            },
            connections if connections >= MAX_CONNECTIONS_PER_PEER => Err(Refusal::PerPeer),
            _ => Ok(()),
        }
    }

    fn check_inbound(&self, ip: Option<IpAddr>) -> Result<(), Refusal> {
        let inbound = |c: &&Established| c.direction == Direction::Inbound;
        if self.count(inbound) >= self.limits.max_inbound {
            return Err(Refusal::Inbound);
        }
        if let Some(ip) = counted(ip)
            && self.count(|c| inbound(c) && counted(c.ip) == Some(ip)) >= self.limits.max_per_ip
        {
            return Err(Refusal::PerIp);
        }
        self.check_total()
    }

    fn check_total(&self) -> Result<(), Refusal> {
        if self.count(|_| true) >= self.limits.max_connections {
            Err(Refusal::Total)
        } else {
            Ok(())
        }
    }

    /// Peers that are not reserved and have a connection like this.
    fn count(&self, like: impl Fn(&&Established) -> bool) -> usize {
        let counted = self
            .established
            .values()
            .filter(like)
            .map(|c| c.peer)
            .filter(|p| !self.reserved.contains(p));
        counted.collect::<HashSet<_>>().len()
    }

    fn establish(
        &mut self,
        id: ConnectionId,
        peer: &PeerId,
        direction: Direction,
        remote: &Multiaddr,
    ) -> Result<ConnectionHandler, ConnectionDenied> {
        self.pending_inbound.remove(&id);
        self.pending_outbound.remove(&id);
        let Some(key) = convert::peer_key(peer) else {
            return Err(ConnectionDenied::new(Refusal::Identity(peer.to_string())));
        };
        let ip = self.resolved.take(peer, remote);
        self.check_established(&key, direction, ip)
            .map_err(ConnectionDenied::new)?;
        self.established.insert(
            id,
            Established {
                peer: key,
                direction,
                ip,
            },
        );
        Ok(ConnectionHandler)
    }
}

/// The address that counts against the limit per address: canonical, never loopback.
fn counted(ip: Option<IpAddr>) -> Option<IpAddr> {
    ip.map(|ip| ip.to_canonical())
        .filter(|ip| !ip.is_loopback())
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let ip = convert::peer_addr(remote).and_then(|addr| addr.ip());
        self.check_pending_inbound(ip)
            .map_err(ConnectionDenied::new)?;
        self.pending_inbound.insert(id, ip);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.establish(id, &peer, Direction::Inbound, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let key = peer.and_then(|peer| convert::peer_key(&peer));
        self.check_pending_outbound(key.as_ref())
            .map_err(ConnectionDenied::new)?;
        self.pending_outbound.insert(id);
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.establish(id, &peer, Direction::Outbound, remote)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                self.established.remove(&connection_id);
            }
            FromSwarm::DialFailure(failure) => {
                self.pending_outbound.remove(&failure.connection_id);
            }
            FromSwarm::ListenFailure(failure) => {
                self.pending_inbound.remove(&failure.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
#[path = "gate/tests.rs"]
mod tests;
