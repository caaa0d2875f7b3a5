//! What libp2p tells, turned into the events of the contract.

use std::io;

use btcfed_core::PeerKey;
use btcfed_core::limits::MAX_AGENT_BYTES;
use btcfed_core::network::{Direction, NetworkEvent, RequestError};
use libp2p::core::ConnectedPoint;
use libp2p::request_response::{self, Message, OutboundFailure, OutboundRequestId};
use libp2p::swarm::{ConnectionId, DialError, ListenError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, TransportError, identify, ping};
use tokio::time::Instant;
use tracing::field::display;

use crate::behaviour::BehaviourEvent;
use crate::connection::Change;
use crate::error::{chain, classify, cut};
use crate::host::Host;
use crate::requests::Outgoing;
use crate::{PROTOCOL, convert};

type FrameEvent = request_response::Event<Vec<u8>, Vec<u8>>;

impl Host {
    pub(crate) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Frames(event)) => self.on_frame_event(event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.on_identify_event(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.on_ping_event(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                concurrent_dial_errors,
                ..
            } => {
                self.on_addresses_failed(
                    connection_id,
                    &concurrent_dial_errors.unwrap_or_default(),
                );
                self.on_established(connection_id, &peer_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { connection_id, .. } => self.on_closed(connection_id),
            SwarmEvent::IncomingConnection { connection_id, .. } => {
                let now = self.now();
                self.table
                    .connecting(connection_id, None, Direction::Inbound, now);
            }
            SwarmEvent::IncomingConnectionError {
                connection_id,
                send_back_addr,
                error,
                ..
            } => {
                self.table.failed(connection_id);
                match error {
                    ListenError::Denied { .. } => self.counters.connection_refused(),
                    _ => self.counters.inbound_failed(),
                }
                tracing::debug!(remote = %send_back_addr, error = %chain(&error), "inbound connection failed");
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                error,
                ..
            } => {
                self.on_dial_error(connection_id, error);
            }
            other => self.on_listener_event(other),
        }
    }

    fn on_listener_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr {
                listener_id,
                address,
            } => {
                if let Some(addr) = convert::peer_addr(&address)
                    && self.listeners.opened(listener_id, addr.clone())
                {
                    tracing::info!(%addr, "listening");
                    self.tell(NetworkEvent::Listening { addr });
                }
            }
            SwarmEvent::ExpiredListenAddr {
                listener_id,
                address,
            } => {
                if let Some(addr) = convert::peer_addr(&address)
                    && self.listeners.expired(listener_id, &addr)
                {
                    // Not asked for: the interface went away, or lost the address.
                    let error = Some("the interface lost this address".to_owned());
                    self.tell(NetworkEvent::ListenClosed { addr, error });
                }
            }
            SwarmEvent::ListenerClosed {
                listener_id,
                reason,
                ..
            } => {
                let error = reason.err().map(|e| chain(&e));
                if error.is_some() {
                    self.listeners.lose(listener_id, Instant::now());
                }
                for addr in self.listeners.closed(listener_id) {
                    match &error {
                        None => tracing::info!(%addr, "no longer listening"),
                        Some(error) => {
                            tracing::warn!(%addr, %error, "listener failed; trying to bind it again")
                        }
                    }
                    self.tell(NetworkEvent::ListenClosed {
                        addr,
                        error: error.clone(),
                    });
                }
            }
            SwarmEvent::ListenerError { listener_id, error }
                if self.listeners.may_log_error(listener_id, Instant::now()) =>
            {
                tracing::warn!(error = %chain(&error), "a connection could not be accepted");
            }
            _ => {}
        }
    }

    /// A dial is through; these addresses of it had failed before.
    fn on_addresses_failed(
        &mut self,
        connection: ConnectionId,
        errors: &[(Multiaddr, TransportError<io::Error>)],
    ) {
        let Some((id, Some(peer))) = self.dials.of(connection) else {
            return;
        };
        for (addr, error) in errors {
            let Some(addr) = convert::peer_addr(addr) else {
                continue;
            };
            let error = classify(error);
            tracing::debug!(dial = %id, %addr, error = %error.to_string().escape_debug(), "address failed");
            self.tell(NetworkEvent::AddressFailed {
                id,
                peer,
                addr,
                error,
            });
        }
    }

    fn on_established(
        &mut self,
        connection: ConnectionId,
        peer: &PeerId,
        endpoint: &ConnectedPoint,
    ) {
        let dial = self.dials.remove(connection);
        let remote = convert::peer_key(peer).zip(convert::peer_addr(endpoint.get_remote_address()));
        let Some((peer, addr)) = remote else {
            // The gate lets nobody in whose key or address has no form here.
            self.swarm.close_connection(connection);
            return;
        };
        let direction = if endpoint.is_dialer() {
            Direction::Outbound
        } else {
            Direction::Inbound
        };
        tracing::debug!(peer = %peer.peer_id(), %addr, direction = direction.as_str(), %connection, dial = dial.as_ref().map(|dial| display(dial.id)), "established");
        let now = self.now();
        if let (Direction::Outbound, Some(ip)) =
            (direction, self.swarm.behaviour().gate.remote_ip(connection))
        {
            self.names.connected(now, connection, &addr, ip);
        }
        let change = self.table.established(connection, peer, direction, now);
        self.counters
            .set_connections(self.table.established_count());
        match (change, dial) {
            (Some(_), dial) => {
                if let Some(dial) = &dial {
                    self.dialled.insert(peer, dial.id);
                }
                let (command, remote_ip) = (
                    dial.map(|dial| dial.id),
                    self.swarm.behaviour().gate.remote_ip(connection),
                );
                self.tell(NetworkEvent::Connected {
                    peer,
                    direction,
                    addr,
                    remote_ip,
                    command,
                });
            }
            // The peer was connected before this dial came through: no new connection, and nobody is to blame.
            (None, Some(dial)) => {
                self.tell(NetworkEvent::DialFailed {
                    id: dial.id,
                    peer: Some(peer),
                    attempts: Vec::new(),
                });
            }
            (None, None) => {}
        }
    }

    fn on_closed(&mut self, connection: ConnectionId) {
        let now = self.now();
        self.names.closed(now, connection);
        let change = self.table.closed(connection);
        self.counters
            .set_connections(self.table.established_count());
        if let Some(Change::Down(peer, reason)) = change {
            let dial = self.dialled.remove(&peer).map(display);
            tracing::debug!(peer = %peer.peer_id(), dial, reason = reason.as_str(), "disconnected");
            for request in self.outgoing.drain_waiting(&peer) {
                let error = RequestError::NotConnected;
                self.tell(NetworkEvent::RequestFailed {
                    id: request.id,
                    peer,
                    error,
                });
            }
            self.tell(NetworkEvent::Disconnected { peer, reason });
        }
        for request in self
            .parked
            .extract_if(.., |(on, _)| *on == connection)
            .map(|(_, r)| r)
            .collect::<Vec<_>>()
        {
            self.retry(request);
        }
    }

    fn on_dial_error(&mut self, connection: ConnectionId, error: DialError) {
        self.table.failed(connection);
        if matches!(error, DialError::Denied { .. }) {
            self.counters.connection_refused();
        }
        if let Some(mut dial) = self.dials.remove(connection) {
            tracing::debug!(dial = %dial.id, %connection, error = %chain(&error).escape_debug(), "attempt failed");
            dial.failed(error);
            let (now, names) = (self.now(), &self.names);
            dial.replace_failed(
                |addr, error| names.instead_of(now, addr, error),
                &self.refused,
            );
            self.advance(dial);
        }
    }

    fn on_ping_event(&mut self, event: ping::Event) {
        let Some(peer) = convert::peer_key(&event.peer) else {
            return;
        };
        match event.result {
            Ok(rtt) => {
                let now = self.now();
                self.table.alive(event.connection, now);
                self.tell(NetworkEvent::Ping { peer, rtt });
            }
            Err(error) => {
                let dial = self.dialled.get(&peer).map(display);
                tracing::debug!(peer = %peer.peer_id(), dial, error = %chain(&error).escape_debug(), "ping failed")
            }
        }
    }

    fn on_identify_event(&mut self, event: identify::Event) {
        if let identify::Event::Received { peer_id, info, .. } = event
            && let Some(peer) = convert::peer_key(&peer_id)
        {
            let agent = cut(&info.agent_version, MAX_AGENT_BYTES).to_owned();
            let speaks_protocol = info
                .protocols
                .iter()
                .any(|protocol| protocol.as_ref() == PROTOCOL);
            let dial = self.dialled.get(&peer).map(display);
            tracing::debug!(peer = %peer.peer_id(), dial, agent = %agent.escape_debug(), speaks_protocol, "identified");
            self.tell(NetworkEvent::Identified {
                peer,
                agent,
                speaks_protocol,
            });
        }
    }

    fn on_frame_event(&mut self, event: FrameEvent) {
        match event {
            FrameEvent::Message {
                peer,
                connection_id,
                message,
            } => {
                let now = self.now();
                self.table.alive(connection_id, now);
                self.on_frame(&peer, message);
            }
            FrameEvent::OutboundFailure {
                connection_id,
                request_id,
                error,
                ..
            } => {
                self.on_request_error(connection_id, request_id, &error);
            }
            FrameEvent::InboundFailure {
                peer,
                request_id,
                error,
                ..
            } => {
                tracing::debug!(%peer, error = %chain(&error), "a request was not answered");
                self.incoming.expired(request_id);
                self.answering.remove(&request_id);
            }
            FrameEvent::ResponseSent { request_id, .. } => {
                self.answering.remove(&request_id);
                self.answered = Some(Instant::now());
            }
        }
    }

    fn on_frame(&mut self, peer: &PeerId, message: Message<Vec<u8>, Vec<u8>>) {
        let Some(peer) = convert::peer_key(peer) else {
            return;
        };
        let dial = self.dialled.get(&peer).map(display);
        match message {
            Message::Request {
                request_id,
                request,
                channel,
            } => match self.incoming.insert(request_id, channel) {
                Some(token) => {
                    tracing::debug!(id = %token, dial, peer = %peer.peer_id(), protocol = PROTOCOL, direction = "in", kind = "request", bytes = request.len(), "message");
                    self.tell(NetworkEvent::Request {
                        peer,
                        token,
                        frame: request,
                    });
                }
                None => self.counters.request_dropped(),
            },
            Message::Response {
                request_id,
                response,
            } => {
                if let Some(request) = self.outgoing.finished(request_id) {
                    tracing::debug!(id = %request.id, dial, peer = %peer.peer_id(), protocol = PROTOCOL, direction = "in", kind = "answer", bytes = response.len(), "message");
                    self.tell(NetworkEvent::Response {
                        id: request.id,
                        peer,
                        frame: response,
                    });
                    self.send_next(&peer);
                }
            }
        }
    }

    fn on_request_error(
        &mut self,
        connection: ConnectionId,
        name: OutboundRequestId,
        error: &OutboundFailure,
    ) {
        let Some(request) = self.outgoing.finished(name) else {
            return;
        };
        let is_gone = matches!(error, OutboundFailure::ConnectionClosed);
        let error = request_error(error);
        if error != RequestError::ConnectionClosed || request.is_retry {
            self.fail(request, error);
        } else if is_gone {
            self.retry(request);
        } else if self.table.is_surplus(connection) {
            // The other side closes it already. libp2p would pick it again: wait until it is gone.
            self.swarm.close_connection(connection);
            self.parked.push((connection, request));
        } else {
            self.fail(request, error);
        }
    }

    /// Sends a request again whose connection is gone, when there is another one: this one had lost a tie-break.
    fn retry(&mut self, mut request: Outgoing) {
        let peer = convert::peer_id(&request.peer);
        if peer.is_some_and(|peer| self.swarm.behaviour().frames.is_connected(&peer)) {
            request.is_retry = true;
            self.send(request);
        } else {
            self.fail(request, RequestError::ConnectionClosed);
        }
    }

    fn fail(&mut self, request: Outgoing, error: RequestError) {
        let Outgoing { id, peer, .. } = request;
        let dial = self.dialled.get(&peer).map(display);
        tracing::debug!(%id, dial, peer = %peer.peer_id(), %error, "request failed");
        self.tell(NetworkEvent::RequestFailed { id, peer, error });
        self.send_next(&peer);
    }

    pub(crate) fn send_next(&mut self, peer: &PeerKey) {
        if let Some(next) = self.outgoing.release(peer) {
            self.send(next);
        }
    }
}

/// What a failed request means. A stream that ends without an answer says as little as a closed connection: the peer
/// may be overloaded, stopping, or hostile.
fn request_error(error: &OutboundFailure) -> RequestError {
    match error {
        OutboundFailure::ConnectionClosed => RequestError::ConnectionClosed,
        OutboundFailure::DialFailure => RequestError::NotConnected,
        OutboundFailure::Timeout => RequestError::Timeout,
        OutboundFailure::UnsupportedProtocols => RequestError::UnsupportedProtocol,
        OutboundFailure::Io(error) => match error.kind() {
            io::ErrorKind::InvalidData => RequestError::Malformed,
            // libp2p's words for a connection whose streams are all in use.
            io::ErrorKind::Other => RequestError::Busy,
            _ => RequestError::ConnectionClosed,
        },
    }
}
