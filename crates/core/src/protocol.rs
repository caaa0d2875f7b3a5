//! Protocols of the application: requests and answers of opaque frames, on the connections the node has anyway.
//!
//! [`Protocols`] is where an application registers a name; it gets a [`Protocol`] to ask with and [`ProtocolRequests`]
//! to answer from. The network takes what is left, [`ProtocolPorts`], and moves the frames. Every queue is bounded: who
//! asks too much is told [`RequestError::Busy`], who answers too slowly makes its askers see
//! [`RequestError::NotAnswered`]. The node's own messages have queues and streams of their own and never wait for these.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::key::PeerKey;
use crate::limits::{
    MAX_FRAME_BYTES, MAX_PROTOCOL_NAME_BYTES, MAX_PROTOCOL_REQUESTS_IN_FLIGHT, MAX_PROTOCOLS,
    PROTOCOL_REQUEST_QUEUE,
};
use crate::network::{CommandId, RequestError};

/// Names that begin like this belong to the node and to libp2p.
const RESERVED: [&str; 7] = [
    "/vtcp/btc-foundation/",
    "/ipfs/",
    "/libp2p/",
    "/multistream/",
    "/noise",
    "/yamux/",
    "/mplex/",
];

/// The first correlation id of application requests: the node's own stay far below.
const FIRST_ID: u64 = 1 << 48;

/// The name under which peers negotiate a protocol, such as `/chat/1.0.0`: a slash, then visible ASCII, at most
/// [`MAX_PROTOCOL_NAME_BYTES`] long. By custom it ends in a version; another version is another protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProtocolName(Arc<str>);

impl ProtocolName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProtocolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ProtocolName {
    type Err = RegisterError;

    fn from_str(text: &str) -> Result<Self, RegisterError> {
        let is_name = text.len() > 1
            && text.len() <= MAX_PROTOCOL_NAME_BYTES
            && text.starts_with('/')
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_name {
            return Err(RegisterError::Name);
        }
        if RESERVED.iter().any(|prefix| text.starts_with(prefix)) {
            return Err(RegisterError::Reserved);
        }
        Ok(Self(text.into()))
    }
}

/// Why a protocol was not registered. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Not a protocol name.
    #[error(
        "a protocol name is a slash and visible ASCII, at most {MAX_PROTOCOL_NAME_BYTES} bytes: /chat/1.0.0"
    )]
    Name,
    /// Registered before.
    #[error("this protocol is registered already")]
    Registered,
    /// The name belongs to the node or to libp2p.
    #[error("protocol names that begin like this belong to the node itself")]
    Reserved,
    /// No more fit.
    #[error("at most {MAX_PROTOCOLS} protocols can be registered")]
    TooMany,
}

/// Where an application registers its protocols, before the network starts.
#[derive(Debug)]
pub struct Protocols {
    ids: Arc<AtomicU64>,
    inboxes: Vec<ProtocolInbox>,
    outgoing: mpsc::Sender<ProtocolCommand>,
    ports: mpsc::Receiver<ProtocolCommand>,
}

impl Default for Protocols {
    fn default() -> Self {
        let (outgoing, ports) = mpsc::channel(PROTOCOL_REQUEST_QUEUE);
        Self {
            ids: Arc::new(AtomicU64::new(FIRST_ID)),
            inboxes: Vec::new(),
            outgoing,
            ports,
        }
    }
}

impl Protocols {
    /// Registers a protocol. Peers that registered the same name can be asked with the first half of the result, and
    /// what they ask arrives at the second.
    ///
    /// # Errors
    /// The name is taken, or there are too many.
    pub fn register(
        &mut self,
        name: ProtocolName,
    ) -> Result<(Protocol, ProtocolRequests), RegisterError> {
        if self.inboxes.iter().any(|inbox| inbox.name == name) {
            return Err(RegisterError::Registered);
        }
        if self.inboxes.len() >= MAX_PROTOCOLS {
            return Err(RegisterError::TooMany);
        }
        let (requests, incoming) = mpsc::channel(PROTOCOL_REQUEST_QUEUE);
        self.inboxes.push(ProtocolInbox {
            ids: Arc::clone(&self.ids),
            name: name.clone(),
            requests,
        });
        let protocol = Protocol {
            ids: Arc::clone(&self.ids),
            in_flight: Arc::default(),
            name,
            outgoing: self.outgoing.clone(),
        };
        Ok((protocol, ProtocolRequests(incoming)))
    }

    /// The network's half.
    #[must_use]
    pub fn into_ports(self) -> ProtocolPorts {
        ProtocolPorts {
            commands: self.ports,
            inboxes: self.inboxes,
        }
    }
}

/// What a network serves: it takes commands, and delivers what peers ask.
#[derive(Debug)]
pub struct ProtocolPorts {
    /// What the application asks of peers. Ends when the application has dropped every [`Protocol`].
    pub commands: mpsc::Receiver<ProtocolCommand>,
    /// Where the requests of peers go, one for each registered protocol.
    pub inboxes: Vec<ProtocolInbox>,
}

type InFlight = Arc<Mutex<HashMap<PeerKey, usize>>>;

/// Asks peers, over one registered protocol. Clones are cheap and share their limits.
#[derive(Clone, Debug)]
pub struct Protocol {
    ids: Arc<AtomicU64>,
    in_flight: InFlight,
    name: ProtocolName,
    outgoing: mpsc::Sender<ProtocolCommand>,
}

impl Protocol {
    /// The name it was registered under.
    #[must_use]
    pub const fn name(&self) -> &ProtocolName {
        &self.name
    }

    /// Sends a frame of at most [`MAX_FRAME_BYTES`] to a connected peer and waits for the one that answers it, 10
    /// seconds at most unless the network was built with another limit. Nothing is sent twice.
    ///
    /// Cancellation: a dropped future gives the request up; the peer may have received it.
    ///
    /// # Errors
    /// [`RequestError::Busy`] at once when [`MAX_PROTOCOL_REQUESTS_IN_FLIGHT`] requests to the peer, or
    /// [`PROTOCOL_REQUEST_QUEUE`] requests altogether, wait; otherwise why there is no answer.
    pub async fn request(&self, peer: PeerKey, frame: Vec<u8>) -> Result<Vec<u8>, RequestError> {
        if frame.len() > MAX_FRAME_BYTES {
            return Err(RequestError::FrameTooLarge);
        }
        let slot = Slot::take(&self.in_flight, peer).ok_or(RequestError::Busy)?;
        let (answer, answered) = oneshot::channel();
        let command = ProtocolCommand {
            id: CommandId(self.ids.fetch_add(1, Ordering::Relaxed)),
            protocol: self.name.clone(),
            peer,
            frame,
            answer,
            _slot: slot,
        };
        self.outgoing
            .try_send(command)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => RequestError::Busy,
                mpsc::error::TrySendError::Closed(_) => RequestError::NotConnected,
            })?;
        answered
            .await
            .unwrap_or(Err(RequestError::ConnectionClosed))
    }
}

/// One place among the requests in flight to a peer.
#[derive(Debug)]
struct Slot {
    in_flight: InFlight,
    peer: PeerKey,
}

impl Slot {
    fn take(in_flight: &InFlight, peer: PeerKey) -> Option<Self> {
        let mut counts = in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(peer).or_default();
        if *count >= MAX_PROTOCOL_REQUESTS_IN_FLIGHT {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Self {
            in_flight: Arc::clone(in_flight),
            peer,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self
            .in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

/// A request on its way from the application to the network.
#[derive(Debug)]
pub struct ProtocolCommand {
    /// Correlates its log lines.
    pub id: CommandId,
    /// Over which protocol.
    pub protocol: ProtocolName,
    /// Whom to ask.
    pub peer: PeerKey,
    /// What to send; at most [`MAX_FRAME_BYTES`].
    pub frame: Vec<u8>,
    answer: oneshot::Sender<Result<Vec<u8>, RequestError>>,
    _slot: Slot,
}

impl ProtocolCommand {
    /// Answers the application. Dropping the command instead tells it that the connection ended.
    pub fn finish(self, outcome: Result<Vec<u8>, RequestError>) {
        // Err says that the application does not wait any more.
        drop(self.answer.send(outcome));
    }

    /// True when nobody waits for the answer any more.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }

    /// Resolves when nobody waits for the answer any more. Cancellation safe.
    pub async fn abandoned(&mut self) {
        self.answer.closed().await;
    }
}

/// Where the network delivers what peers ask over one protocol.
#[derive(Clone, Debug)]
pub struct ProtocolInbox {
    ids: Arc<AtomicU64>,
    name: ProtocolName,
    requests: mpsc::Sender<ProtocolRequest>,
}

impl ProtocolInbox {
    /// The protocol.
    #[must_use]
    pub const fn name(&self) -> &ProtocolName {
        &self.name
    }

    /// Hands a request to the application. The answer comes through the result; it ends without one when the application
    /// dropped the request.
    ///
    /// # Errors
    /// [`PROTOCOL_REQUEST_QUEUE`] requests wait already, or the application takes none any more.
    pub fn deliver(
        &self,
        peer: PeerKey,
        frame: Vec<u8>,
    ) -> Result<(CommandId, oneshot::Receiver<Vec<u8>>), RequestError> {
        let id = CommandId(self.ids.fetch_add(1, Ordering::Relaxed));
        let (answer, answered) = oneshot::channel();
        let request = ProtocolRequest {
            id,
            peer,
            frame,
            answer,
        };
        match self.requests.try_send(request) {
            Ok(()) => Ok((id, answered)),
            Err(_) => Err(RequestError::Busy),
        }
    }
}

/// What peers ask over one protocol. Dropping it refuses all of them.
#[derive(Debug)]
pub struct ProtocolRequests(mpsc::Receiver<ProtocolRequest>);

impl ProtocolRequests {
    /// The next request; `None` when the network has ended. Cancellation safe.
    pub async fn next(&mut self) -> Option<ProtocolRequest> {
        self.0.recv().await
    }
}

/// What a peer asks. Dropping it ends the request without an answer.
#[derive(Debug)]
pub struct ProtocolRequest {
    /// Correlates its log lines.
    pub id: CommandId,
    /// Who asks: they have proved this key.
    pub peer: PeerKey,
    /// Their words; at most [`MAX_FRAME_BYTES`] bytes of anything.
    pub frame: Vec<u8>,
    answer: oneshot::Sender<Vec<u8>>,
}

impl ProtocolRequest {
    /// Sends the one answer, at most [`MAX_FRAME_BYTES`] long.
    ///
    /// # Errors
    /// [`RequestError::FrameTooLarge`], or [`RequestError::ConnectionClosed`] when the peer does not wait any more. It is
    /// left without an answer in both cases.
    pub fn answer(self, frame: Vec<u8>) -> Result<(), RequestError> {
        if frame.len() > MAX_FRAME_BYTES {
            return Err(RequestError::FrameTooLarge);
        }
        self.answer
            .send(frame)
            .map_err(|_| RequestError::ConnectionClosed)
    }
}

#[cfg(test)]
#[path = "protocol/tests.rs"]
mod tests;
