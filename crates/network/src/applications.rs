//! Protocols of the application, as a part of libp2p's swarm: commands go to the connection of a peer, everything else
//! happens there, in [`handler`].
//!
//! Streams, queues and limits are separate from those of the node's own messages, and the swarm asks this part last.

mod handler;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use btcfed_core::network::RequestError;
use btcfed_core::protocol::{ProtocolCommand, ProtocolInbox, ProtocolPorts};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler,
    THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tokio::sync::{Semaphore, mpsc};

use self::handler::ApplicationHandler;
use crate::convert;
use crate::limits::MAX_APPLICATION_STREAMS;
use crate::stats::Counters;

/// What every connection needs to serve the registered protocols.
#[derive(Debug)]
pub(crate) struct Served {
    /// The names, in libp2p's form, with where their requests go.
    inboxes: Vec<(StreamProtocol, ProtocolInbox)>,
    /// One permit for each stream of a peer that is being served.
    permits: Arc<Semaphore>,
    timeout: Duration,
    counters: Arc<Counters>,
}

/// The part of the swarm that serves them.
#[derive(Debug)]
pub(crate) struct Applications {
    served: Arc<Served>,
    commands: mpsc::Receiver<ProtocolCommand>,
    connections: HashMap<PeerId, Vec<ConnectionId>>,
}

impl Applications {
    /// Serves these protocols. A request may take as long as `timeout`.
    pub(crate) fn new(ports: ProtocolPorts, timeout: Duration, counters: Arc<Counters>) -> Self {
        let inboxes = ports
            .inboxes
            .into_iter()
            .filter_map(|inbox| {
                // Every name that core accepts begins with a slash, which is all that libp2p wants.
                let name = StreamProtocol::try_from_owned(inbox.name().to_string()).ok()?;
                Some((name, inbox))
            })
            .collect();
        let served = Served {
            inboxes,
            permits: Arc::new(Semaphore::new(MAX_APPLICATION_STREAMS)),
            timeout,
            counters,
        };
        Self {
            served: Arc::new(served),
            commands: ports.commands,
            connections: HashMap::new(),
        }
    }

    fn opened(&mut self, peer: PeerId, id: ConnectionId) {
        self.connections.entry(peer).or_default().push(id);
    }

    fn closed(&mut self, peer: PeerId, id: ConnectionId) {
        if let Some(ids) = self.connections.get_mut(&peer) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.connections.remove(&peer);
            }
        }
    }

    /// The oldest connection to the peer a command is for. Of two that race, the tie-break closes either.
    fn route(&self, command: &ProtocolCommand) -> Option<(PeerId, ConnectionId)> {
        let peer = convert::peer_id(&command.peer)?;
        let id = *self.connections.get(&peer)?.first()?;
        Some((peer, id))
    }

    fn handler(&self, peer: &PeerId) -> Result<ApplicationHandler, ConnectionDenied> {
        // The gate has refused everybody whose key is of another kind.
        let peer = convert::peer_key(peer)
            .ok_or_else(|| ConnectionDenied::new(std::io::Error::other("unsupported key")))?;
        Ok(ApplicationHandler::new(peer, Arc::clone(&self.served)))
    }
}

impl NetworkBehaviour for Applications {
    type ConnectionHandler = ApplicationHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(&peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(&peer)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(c) => self.opened(c.peer_id, c.connection_id),
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                connection_id,
                ..
            }) => self.closed(peer_id, connection_id),
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

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        while let Poll::Ready(Some(command)) = self.commands.poll_recv(cx) {
            if command.is_abandoned() {
                continue;
            }
            match self.route(&command) {
                Some((peer_id, id)) => {
                    return Poll::Ready(ToSwarm::NotifyHandler {
                        peer_id,
                        handler: NotifyHandler::One(id),
                        event: command,
                    });
                }
                None => command.finish(Err(RequestError::NotConnected)),
            }
        }
        Poll::Pending
    }
}
