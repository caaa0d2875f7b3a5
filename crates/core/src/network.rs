//! The `Network` port: commands in, events out, nothing ever waits.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::addr::PeerAddr;
use crate::error::ErrorKind;
use crate::key::{PeerId, PeerKey};

/// Correlates a command with the event that answers it. Chosen by the caller; unique while outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId(pub u64);

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Names an inbound request until it is answered. Chosen by the network; never reused within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestToken(pub u64);

impl fmt::Display for RequestToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{:x}", self.0)
    }
}

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The remote dialled us.
    Inbound,
    /// We dialled the remote.
    Outbound,
}

impl Direction {
    /// The stable lower-case name used in `--json` output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// What the node asks of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkCommand {
    /// Replace the list of peers that may connect. Inbound connections of others are closed, and refused as soon as their
    /// key is known. Connections this node opens are not concerned: whom to dial is the caller's business.
    Admit {
        /// Everybody who may connect; `None` lets everybody in.
        peers: Option<Vec<PeerKey>>,
    },
    /// Give up a dial or a request that is not answered yet. It is answered at once, by [`NetworkEvent::DialFailed`] with
    /// [`DialError::Aborted`] or by [`NetworkEvent::RequestFailed`] with [`RequestError::Cancelled`]. An id that is
    /// unknown or answered already is dropped silently.
    Cancel {
        /// The command to give up.
        id: CommandId,
    },
    /// Open a connection. Answered by [`NetworkEvent::Connected`] or [`NetworkEvent::DialFailed`] with the same id.
    Dial {
        /// Correlation id.
        id: CommandId,
        /// The identity that must answer; `None` accepts whoever proves a key there (bootstrap without `/p2p`).
        peer: Option<PeerKey>,
        /// Addresses in order of preference. Undialable and own ones are filtered out.
        addrs: Vec<PeerAddr>,
    },
    /// Close every connection to a peer and abort dials to it. Idempotent.
    Disconnect {
        /// Whom to drop.
        peer: PeerKey,
    },
    /// Send a frame and expect one back. Answered by [`NetworkEvent::Response`] or [`NetworkEvent::RequestFailed`].
    Request {
        /// Correlation id.
        id: CommandId,
        /// A connected peer.
        peer: PeerKey,
        /// At most [`crate::limits::MAX_FRAME_BYTES`].
        frame: Vec<u8>,
    },
    /// Answer an inbound request. An unknown token (peer gone, too late) is dropped silently.
    Respond {
        /// From [`NetworkEvent::Request`].
        token: RequestToken,
        /// At most [`crate::limits::MAX_FRAME_BYTES`].
        frame: Vec<u8>,
    },
    /// Replace the list of refused peers and networks; existing connections that fall under it are closed.
    Refuse {
        /// Everybody who is refused from now on.
        targets: Vec<crate::ban::BanTarget>,
    },
    /// Replace the list of peers exempt from connection limits.
    Reserve {
        /// Pinned peers.
        peers: Vec<PeerKey>,
    },
}

/// What the network tells the node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkEvent {
    /// A peer is connected now and was not before.
    Connected {
        /// Who proved their key.
        peer: PeerKey,
        /// Who dialled.
        direction: Direction,
        /// The address that was dialled, or for inbound connections the remote end with its ephemeral port.
        addr: PeerAddr,
        /// The IP address at the other end, also when a name was dialled. It decides the scope of the link. `None` only
        /// when the transport cannot tell.
        remote_ip: Option<IpAddr>,
        /// The dial this answers; `None` for inbound connections.
        command: Option<CommandId>,
    },
    /// The last connection of a peer is gone.
    Disconnected {
        /// Who.
        peer: PeerKey,
        /// Why, as far as this side can know.
        reason: DisconnectReason,
    },
    /// A dial ended without a new connection.
    DialFailed {
        /// The dial this answers.
        id: CommandId,
        /// Who was to be reached, if known; of a dial without an identity, the connected peer it reached.
        peer: Option<PeerKey>,
        /// What happened at each address that was tried. Empty when nothing is wrong with the addresses: the peer is
        /// connected already, or another dial to it is under way.
        attempts: Vec<(PeerAddr, DialError)>,
    },
    /// An address failed of a dial that reached its peer at another one. Told before [`NetworkEvent::Connected`].
    AddressFailed {
        /// The dial.
        id: CommandId,
        /// Who was to be reached.
        peer: PeerKey,
        /// Where it was tried.
        addr: PeerAddr,
        /// What happened there.
        error: DialError,
    },
    /// A frame arrived and wants exactly one answer.
    Request {
        /// The authenticated sender.
        peer: PeerKey,
        /// Give it back with [`NetworkCommand::Respond`].
        token: RequestToken,
        /// At most [`crate::limits::MAX_FRAME_BYTES`].
        frame: Vec<u8>,
    },
    /// The answer to a request.
    Response {
        /// The request this answers.
        id: CommandId,
        /// The authenticated sender.
        peer: PeerKey,
        /// At most [`crate::limits::MAX_FRAME_BYTES`].
        frame: Vec<u8>,
    },
    /// A request ended without an answer. It may or may not have been processed.
    RequestFailed {
        /// The request this answers.
        id: CommandId,
        /// Who was asked.
        peer: PeerKey,
        /// Why.
        error: RequestError,
    },
    /// A peer told its software, protocols and our address as it sees it. All of it is hearsay.
    Identified {
        /// Who.
        peer: PeerKey,
        /// The agent version, cut to [`crate::limits::MAX_AGENT_BYTES`]; escape before logging.
        agent: String,
        /// True when it speaks this federation's protocol.
        speaks_protocol: bool,
    },
    /// A peer answered a ping.
    Ping {
        /// Who.
        peer: PeerKey,
        /// Round-trip time.
        rtt: Duration,
    },
    /// A listener accepts connections at this address. Wildcards are resolved to interface addresses.
    Listening {
        /// The concrete address.
        addr: PeerAddr,
    },
    /// A listener no longer accepts connections at this address.
    ListenClosed {
        /// The concrete address.
        addr: PeerAddr,
        /// Why; `None` when it was asked for.
        error: Option<String>,
    },
}

/// Why the last connection of a peer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// This node closed it.
    Local,
    /// No ping was answered within the liveness deadline.
    NotResponding,
    /// The remote closed it or the connection broke; TCP cannot tell these apart.
    Remote,
}

impl DisconnectReason {
    /// The stable lower-case name used in logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Local => "closed by this node",
            Self::NotResponding => "no ping answered in time",
            Self::Remote => "closed by the peer or broken",
        }
    }
}

/// Why one address could not be reached. Nothing changed on this side.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The dial was given up by this node.
    #[error("aborted")]
    Aborted,
    /// A local limit or ban forbade it.
    #[error("refused by this node: {reason}")]
    Denied {
        /// Which limit or ban.
        reason: String,
    },
    /// The name did not resolve.
    #[error("name resolution failed: {reason}")]
    Dns {
        /// The resolver's words.
        reason: String,
    },
    /// Something answered but did not complete the Noise or Yamux handshake.
    #[error("handshake failed: {reason}")]
    Handshake {
        /// What went wrong.
        reason: String,
    },
    /// The operating system refused or lost the connection.
    #[error("{reason}")]
    Io {
        /// The operating system's words.
        reason: String,
    },
    /// The address leads back to this node.
    #[error("this address is our own")]
    Own,
    /// Nothing listens there.
    #[error("connection refused")]
    Refused,
    /// No answer in time.
    #[error("timed out")]
    Timeout,
    /// This address cannot be dialled (transport, port 0, unspecified).
    #[error("address is not dialable")]
    Undialable,
    /// Somebody else answered.
    #[error("a different peer answered: {obtained}")]
    WrongPeer {
        /// Who proved their key there, as text: the key may be of a type this node does not support.
        obtained: String,
    },
}

impl DialError {
    /// What to do about it.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Undialable | Self::Own | Self::Denied { .. } => ErrorKind::Config,
            Self::WrongPeer { .. } | Self::Handshake { .. } => ErrorKind::Peer,
            Self::Aborted | Self::Dns { .. } | Self::Io { .. } | Self::Refused | Self::Timeout => {
                ErrorKind::Transient
            }
        }
    }

    /// True for refused, timed-out and reset connections, which the next round may reach (CO-15). Handshake failures
    /// end the current round (CO-16); the next one comes with the long back-off.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind(), ErrorKind::Transient)
    }
}

/// Why a request got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The peer's bounded queue on this side is full; nothing was sent.
    #[error("too many requests in flight to this peer")]
    Busy,
    /// This node gave it up; it may have been processed.
    #[error("cancelled")]
    Cancelled,
    /// The connection ended first; the request may have been processed.
    #[error("connection closed")]
    ConnectionClosed,
    /// The frame exceeds the frame limit; nothing was sent.
    #[error("frame larger than the limit")]
    FrameTooLarge,
    /// The peer sent something that is not a frame.
    #[error("malformed answer")]
    Malformed,
    /// The peer ended the request without an answer: it has too much to do, or does not want to. It may have been processed.
    #[error("the peer gave no answer")]
    NotAnswered,
    /// The peer is not connected; nothing was sent.
    #[error("not connected")]
    NotConnected,
    /// No answer in time; the request may have been processed.
    #[error("timed out")]
    Timeout,
    /// The peer does not speak the protocol: not a federation node.
    #[error("peer does not speak the protocol")]
    UnsupportedProtocol,
}

impl RequestError {
    /// What to do about it.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Busy
            | Self::Cancelled
            | Self::ConnectionClosed
            | Self::NotAnswered
            | Self::NotConnected
            | Self::Timeout => ErrorKind::Transient,
            Self::Malformed | Self::UnsupportedProtocol => ErrorKind::Peer,
            Self::FrameTooLarge => ErrorKind::Fatal,
        }
    }
}

/// Why a command was not taken, or why the network could not start or change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Another process holds the address. Nothing changed.
    #[error("cannot listen on {addr}: address in use")]
    AddressInUse {
        /// The configured address.
        addr: PeerAddr,
    },
    /// The command queue is full; nothing was queued. Try again after some events were handled.
    #[error("network command queue is full")]
    Busy,
    /// The network task has ended; nothing was queued.
    #[error("network task has ended")]
    Closed,
    /// The address cannot be listened on (not local, no permission, not ip + tcp). Nothing changed.
    #[error("cannot listen on {addr}: {reason}")]
    Listen {
        /// The configured address.
        addr: PeerAddr,
        /// The operating system's words.
        reason: String,
    },
    /// The transport could not be built. Nothing was started.
    #[error("cannot build the transport: {reason}")]
    Transport {
        /// What went wrong.
        reason: String,
    },
}

impl NetworkError {
    /// What to do about it.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Busy => ErrorKind::Transient,
            Self::AddressInUse { .. } | Self::Listen { .. } => ErrorKind::Config,
            Self::Closed | Self::Transport { .. } => ErrorKind::Fatal,
        }
    }
}

/// The port through which the node uses the network. Synchronous: no method ever waits.
pub trait Network: Send + Sync + fmt::Debug {
    /// This node's identity.
    fn local_peer(&self) -> PeerId;

    /// Queues a command. Its outcome comes back as a [`NetworkEvent`] with the command's id.
    ///
    /// # Errors
    /// [`NetworkError::Busy`] when the bounded queue is full, [`NetworkError::Closed`] when the network has ended. In
    /// both cases nothing was queued.
    fn submit(&self, command: NetworkCommand) -> Result<(), NetworkError>;

    /// The concrete addresses that accept connections now.
    fn listen_addrs(&self) -> Vec<PeerAddr>;
}
