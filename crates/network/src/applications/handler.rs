//! The streams of application protocols on one connection: one request and one answer each.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use btcfed_core::PeerKey;
use btcfed_core::network::RequestError;
use btcfed_core::protocol::{ProtocolCommand, ProtocolInbox};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{AsyncWriteExt as _, FutureExt as _, StreamExt as _};
use libp2p::StreamProtocol;
use libp2p::core::upgrade::{InboundUpgrade, ReadyUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, Stream, StreamUpgradeError, SubstreamProtocol,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::Served;
use crate::frame::{read_frame, write_frame};
use crate::limits::MAX_APPLICATION_STREAMS_PER_PEER;

/// Offers every registered name, and tells which one a peer chose.
#[derive(Debug)]
pub(crate) struct Offered(Vec<StreamProtocol>);

impl UpgradeInfo for Offered {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Offered {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, name: StreamProtocol) -> Self::Future {
        ready(Ok((stream, name)))
    }
}

/// Who opened a stream that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Ours,
    Theirs,
}

/// The application's part of one connection.
pub(crate) struct ApplicationHandler {
    peer: PeerKey,
    served: Arc<Served>,
    /// Requests that have no stream yet. Bounded by what one peer may be asked at once, over all protocols.
    waiting: VecDeque<ProtocolCommand>,
    streams: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// How many of the streams the peer opened.
    theirs: usize,
}

impl ApplicationHandler {
    pub(super) fn new(peer: PeerKey, served: Arc<Served>) -> Self {
        Self {
            peer,
            served,
            waiting: VecDeque::new(),
            streams: FuturesUnordered::new(),
            theirs: 0,
        }
    }

    /// A peer opened a stream. Without a free place it is dropped, which tells the peer that there is no answer.
    fn serve(&mut self, stream: Stream, name: &StreamProtocol) {
        let inbox = self.served.inboxes.iter().find(|(known, _)| known == name);
        let permit = Arc::clone(&self.served.permits).try_acquire_owned();
        let (Some((_, inbox)), Ok(permit), true) = (
            inbox,
            permit,
            self.theirs < MAX_APPLICATION_STREAMS_PER_PEER,
        ) else {
            self.served.counters.request_dropped();
            tracing::debug!(peer = %self.peer.peer_id(), protocol = %name, "too many requests, stream dropped");
            return;
        };
        self.theirs += 1;
        let (peer, served) = (self.peer, Arc::clone(&self.served));
        let serving = serve(stream, peer, inbox.clone(), served, permit);
        self.streams.push(serving.boxed());
    }

    fn ask(&self, stream: Stream, command: ProtocolCommand) {
        let asking = ask(stream, command, Arc::clone(&self.served));
        self.streams.push(asking.boxed());
    }
}

impl ConnectionHandler for ApplicationHandler {
    type FromBehaviour = ProtocolCommand;
    type ToBehaviour = Infallible;
    type InboundProtocol = Offered;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ProtocolCommand;

    fn listen_protocol(&self) -> SubstreamProtocol<Offered> {
        let names = self.served.inboxes.iter().map(|(name, _)| name.clone());
        SubstreamProtocol::new(Offered(names.collect()), ())
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, ProtocolCommand, Infallible>>
    {
        while let Poll::Ready(Some(ended)) = self.streams.poll_next_unpin(cx) {
            if ended == Ended::Theirs {
                self.theirs = self.theirs.saturating_sub(1);
            }
        }
        while let Some(command) = self.waiting.pop_front() {
            if command.is_abandoned() {
                continue;
            }
            let Ok(name) = StreamProtocol::try_from_owned(command.protocol.to_string()) else {
                command.finish(Err(RequestError::UnsupportedProtocol));
                continue;
            };
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(name), command)
                .with_timeout(self.served.timeout);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, command: ProtocolCommand) {
        self.waiting.push_back(command);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Offered, ReadyUpgrade<StreamProtocol>, (), ProtocolCommand>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, name),
                ..
            }) => self.serve(stream, &name),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                info: command,
            }) => self.ask(stream, command),
            ConnectionEvent::DialUpgradeError(DialUpgradeError {
                info: command,
                error,
            }) => {
                let error = match error {
                    StreamUpgradeError::Timeout => RequestError::Timeout,
                    StreamUpgradeError::NegotiationFailed => RequestError::UnsupportedProtocol,
                    StreamUpgradeError::Io(_) => RequestError::ConnectionClosed,
                    StreamUpgradeError::Apply(never) => match never {},
                };
                finish(command, Err(error));
            }
            _ => {}
        }
    }
}

/// Asks over a stream and waits for the answer, as long as somebody wants it and the deadline allows.
async fn ask(stream: Stream, mut command: ProtocolCommand, served: Arc<Served>) -> Ended {
    let (id, peer) = (command.id, command.peer.peer_id());
    let frame = std::mem::take(&mut command.frame);
    tracing::debug!(%id, %peer, protocol = %command.protocol, direction = "out", kind = "request", bytes = frame.len(), "message");
    let outcome = tokio::select! {
        outcome = timeout(served.timeout, converse(stream, &frame)) => outcome,
        () = command.abandoned() => return Ended::Ours,
    };
    let answer = match outcome {
        Ok(Ok(answer)) => {
            tracing::debug!(%id, %peer, protocol = %command.protocol, direction = "in", kind = "answer", bytes = answer.len(), "message");
            Ok(answer)
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
            served.counters.malformed_frame();
            Err(RequestError::Malformed)
        }
        Ok(Err(_)) => Err(RequestError::NotAnswered),
        Err(_) => Err(RequestError::Timeout),
    };
    finish(command, answer);
    Ended::Ours
}

async fn converse(mut stream: Stream, frame: &[u8]) -> io::Result<Vec<u8>> {
    write_frame(&mut stream, frame).await?;
    stream.close().await?;
    read_frame(&mut stream).await
}

fn finish(command: ProtocolCommand, outcome: Result<Vec<u8>, RequestError>) {
    if let Err(error) = &outcome {
        tracing::debug!(id = %command.id, peer = %command.peer.peer_id(), protocol = %command.protocol, %error, "request failed");
    }
    command.finish(outcome);
}

/// Reads what a peer asks, lets the application answer, and writes the answer. However it ends, the stream is closed.
async fn serve(
    mut stream: Stream,
    peer: PeerKey,
    inbox: ProtocolInbox,
    served: Arc<Served>,
    _place: OwnedSemaphorePermit,
) -> Ended {
    let protocol = inbox.name();
    let peer_id = peer.peer_id();
    let serving = async {
        let frame = read_frame(&mut stream).await?;
        let bytes = frame.len();
        let (id, answer) = inbox
            .deliver(peer, frame)
            .map_err(|_| io::Error::other("the application is busy"))?;
        tracing::debug!(%id, peer = %peer_id, %protocol, direction = "in", kind = "request", bytes, "message");
        let answer = answer
            .await
            .map_err(|_| io::Error::other("the application gave no answer"))?;
        tracing::debug!(%id, peer = %peer_id, %protocol, direction = "out", kind = "answer", bytes = answer.len(), "message");
        write_frame(&mut stream, &answer).await?;
        stream.close().await
    };
    match timeout(served.timeout, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            match error.kind() {
                io::ErrorKind::InvalidData => served.counters.malformed_frame(),
                io::ErrorKind::Other => served.counters.request_dropped(),
                _ => {}
            }
            tracing::debug!(peer = %peer_id, %protocol, %error, "a request was not answered");
        }
        Err(_) => {
            tracing::debug!(peer = %peer_id, %protocol, "a request was not answered in time");
        }
    }
    Ended::Theirs
}
