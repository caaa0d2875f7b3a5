//! The `Exchange` port: a sans-I/O engine. Feed it inputs, then drain its outputs until there are none.
//!
//! The engine reads no clock, opens no socket, touches no file and spawns nothing. For the same seed and the same
//! inputs it gives the same outputs, on sockets and in a simulator alike.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::addr::{AddrScope, PeerAddr};
use crate::config::NodeConfig;
use crate::key::PeerKey;
use crate::network::{CommandId, Direction, RequestError, RequestToken};
use crate::patch::{PeerChange, PeerPatch};
use crate::record::SignedRecord;
use crate::set::PeerSet;
use crate::time::{MonotonicTime, Now};

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// A peer is connected now.
    Connected {
        /// Who.
        peer: PeerKey,
        /// Who dialled.
        direction: Direction,
        /// Which addresses are meaningful over this link.
        scope: AddrScope,
    },
    /// The last connection of a peer is gone.
    Disconnected {
        /// Who.
        peer: PeerKey,
    },
    /// A request got no answer.
    Failed {
        /// From [`Output::Send`].
        id: CommandId,
        /// Why.
        error: RequestError,
    },
    /// This node's own record was made or renewed.
    OwnRecord(SignedRecord),
    /// The configuration changed.
    Reconfigured(Arc<NodeConfig>),
    /// A frame arrived that wants an answer.
    Request {
        /// The authenticated sender.
        peer: PeerKey,
        /// Names the request.
        token: RequestToken,
        /// The bytes, as hostile as they come.
        frame: Vec<u8>,
    },
    /// An answer arrived.
    Response {
        /// From [`Output::Send`].
        id: CommandId,
        /// The bytes, as hostile as they come.
        frame: Vec<u8>,
    },
    /// The store changed, by whomever.
    StoreChanged {
        /// Everything known now.
        set: Arc<PeerSet>,
        /// What changed; empty means anything may have.
        changes: Arc<[PeerChange]>,
    },
    /// The deadline of [`Exchange::next_deadline`] has come.
    Timeout,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Close the connection.
    Close {
        /// To whom.
        peer: PeerKey,
        /// Why, for the log.
        reason: String,
    },
    /// Try to connect: the engine wants to talk to this peer.
    Dial {
        /// Whom.
        peer: PeerKey,
        /// Where; in order of preference.
        addrs: Vec<PeerAddr>,
    },
    /// Something worth a line in the log or an event for the application.
    Notice(Notice),
    /// A peer misbehaved.
    Penalty {
        /// Who.
        peer: PeerKey,
        /// What to do about it.
        reaction: Reaction,
        /// Why, for the log and the ban list.
        reason: String,
    },
    /// Answer a request.
    Reply {
        /// From [`Input::Request`].
        token: RequestToken,
        /// At most [`crate::limits::MAX_FRAME_BYTES`].
        frame: Vec<u8>,
    },
    /// Send a request.
    Send {
        /// A connected peer.
        peer: PeerKey,
        /// Comes back with the answer or the failure.
        id: CommandId,
        /// At most [`crate::limits::MAX_FRAME_BYTES`].
        frame: Vec<u8>,
    },
    /// Apply this to the store.
    Store(PeerPatch),
}

/// How hard to react to misbehaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reaction {
    /// One line in the log.
    Warn,
    /// The engine answers less; nothing for others to do.
    Throttle,
    /// Close the connection.
    Disconnect,
    /// Close the connection and ban the peer for a while.
    Ban,
}

/// What the engine wants known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A peer has no room for a conversation with this node, and asks to be left alone for a while.
    Busy {
        /// Who.
        peer: PeerKey,
        /// For how long; bounded by the engine.
        retry_after: Duration,
    },
    /// Hello was exchanged with a peer: version and network agree.
    HandshakeCompleted {
        /// Who.
        peer: PeerKey,
        /// Its software, escaped and cut.
        agent: String,
        /// How far its wall clock is ahead of this node's, in milliseconds; behind is negative. Hearsay, and late by the
        /// time its message was on the way: for diagnosis only.
        clock_offset_ms: i64,
    },
    /// A peer signed two different records with one number. Told once for each pair; both are proof.
    Equivocation {
        /// Who signed them.
        peer: PeerKey,
        /// The number both have.
        seq: u64,
        /// The one that counts from now on, for everybody: the one with the smaller signed bytes.
        kept: SignedRecord,
        /// The other one.
        dropped: SignedRecord,
    },
    /// A record of this node's own identity is around that is newer than the own one: sign one with a higher number.
    OwnRecordAhead {
        /// Its sequence number.
        seq: u64,
    },
    /// A round of synchronisation with a peer ended.
    SyncCompleted {
        /// With whom.
        peer: PeerKey,
        /// Records received, known ones included.
        received: usize,
        /// Records that were new or newer.
        learned: usize,
    },
}

/// What the engine counts. All values only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExchangeCounters {
    /// Bytes of frames received.
    pub bytes_in: u64,
    /// Bytes of frames sent.
    pub bytes_out: u64,
    /// Frames received.
    pub messages_in: u64,
    /// Frames sent.
    pub messages_out: u64,
    /// Records received from others, known ones included: discovery attempts.
    pub records_offered: u64,
    /// Records that were new or newer and passed every check: additions.
    pub records_accepted: u64,
    /// Records refused: malformed, bad signature, out of scope, over a budget.
    pub records_refused: u64,
    /// Signatures checked.
    pub signatures_checked: u64,
}

/// The port through which the node drives the exchange protocol.
pub trait Exchange: Send + fmt::Debug {
    /// Takes in what happened. Never panics, whatever the input; follow it by draining [`Exchange::poll_output`].
    fn handle(&mut self, now: Now, input: Input);

    /// The next thing to do; `None` when there is nothing left.
    fn poll_output(&mut self) -> Option<Output>;

    /// When to feed [`Input::Timeout`] at the latest.
    fn next_deadline(&self) -> Option<MonotonicTime>;

    /// What was counted so far.
    fn counters(&self) -> ExchangeCounters;
}
