//! Every bound that only the network knows, by name. Bounds shared with others are in [`btcfed_core::limits`].

use std::time::Duration;

/// Connections one peer may have for a moment: two when both sides dial at once, a third when it reconnects meanwhile.
/// A limit of one would close both connections of a simultaneous dial.
pub(crate) const MAX_CONNECTIONS_PER_PEER: usize = 3;

/// Most addresses tried in one dial. The rest is refused, so that a long list cannot occupy a dial slot for ever.
pub(crate) const MAX_DIAL_ADDRESSES: usize = 64;

/// The pause after which the next address of a dial is tried beside one that has not answered yet: RFC 8305 recommends
/// this value.
pub(crate) const MAX_ATTEMPT_PAUSE: Duration = Duration::from_millis(250);

/// So many attempts of one dial can begin before its time is over, however short that is configured: the pause between
/// them becomes shorter. Twice the addresses a node tries in one dial, so that the last one has half the time.
pub(crate) const MIN_ATTEMPTS_IN_TIME: u32 = 16;

/// Cancelled dials that a dial under way may not have noticed yet. The tasks of dials run as soon as they are woken.
pub(crate) const CANCEL_QUEUE: usize = 256;

/// How often a question that no name server answered is asked once more.
pub(crate) const DNS_RETRIES: usize = 1;

/// Answers of name servers kept until their time is over. The least useful one goes first.
pub(crate) const MAX_CACHED_NAMES: u64 = 1024;

/// Reloads waiting for the network task.
pub(crate) const CONTROL_QUEUE: usize = 4;

/// Longest text of somebody else's error that is passed on, in bytes.
pub(crate) const MAX_ERROR_TEXT_BYTES: usize = 200;

/// Inbound requests waiting for an answer of this node, over all peers. Further ones are dropped unanswered.
pub(crate) const MAX_INBOUND_REQUESTS: usize = 1024;

/// Requests sent to one peer and not answered yet.
pub(crate) const MAX_REQUESTS_IN_FLIGHT: usize = 8;

/// Requests to one peer waiting for one of the slots in flight. Further ones are answered with `Busy`.
pub(crate) const MAX_REQUESTS_QUEUED: usize = 64;

/// Streams of the frame protocol per connection, both ways together: our requests in flight and as many of the peer.
/// One stream holds at most one frame, so this also bounds the memory of a connection.
pub(crate) const MAX_STREAMS_PER_CONNECTION: usize = 2 * MAX_REQUESTS_IN_FLIGHT;

/// Streams of application protocols that one connection may have open towards this node. Further ones are dropped.
pub(crate) const MAX_APPLICATION_STREAMS_PER_PEER: usize = 16;

/// Streams of application protocols that all peers together may have open towards this node. One stream holds at most
/// one frame, so this bounds their memory to 64 MiB. Further ones are dropped.
pub(crate) const MAX_APPLICATION_STREAMS: usize = 1024;

/// Multiplexed streams per connection of all protocols; leaves room for identify and ping, and for the application.
pub(crate) const MAX_YAMUX_STREAMS: usize = 128;

/// How long a request may take from its first byte to the last one of its answer, unless the wiring says otherwise.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// libp2p closes connections without streams after this time. Never, in practice: liveness is decided by pings.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long starting waits for every listener to tell its concrete address.
pub(crate) const LISTEN_DEADLINE: Duration = Duration::from_secs(2);

/// The first pause before a busy port is tried again at the start. Each further one is twice as long, so that the five
/// of the default end after 1.55 s: enough for a node that is going away, short enough for whoever waits for a refusal.
pub(crate) const PORT_RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Two connections of one peer count as dialled at the same time when they are established within this time. A later
/// second connection means that the remote end of the first one is gone.
pub(crate) const RACE_WINDOW: Duration = Duration::from_secs(10);

/// How often an address is bound again whose listener failed.
pub(crate) const LISTENER_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Errors of one listener (no descriptors left, for example) are logged at most once in this time.
pub(crate) const LISTENER_ERROR_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How long closing a connection may take before it is simply dropped.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the end of the task may wait for answers that are being written.
pub(crate) const FAREWELL_TIMEOUT: Duration = Duration::from_millis(500);

/// Names whose last address is remembered for the time when no resolver answers. The oldest one goes first.
pub(crate) const MAX_KNOWN_NAMES: usize = 256;

/// Names whose address is remembered between the end of a dial and the established connection.
pub(crate) const MAX_RESOLVED: usize = 256;

/// How long a second connection stays open before it is closed. The other side needs a moment to see both of them come
/// up, and requests on their way need one to be answered.
pub(crate) const DUPLICATE_LINGER: Duration = Duration::from_millis(500);

/// How long a connection stays open after the last answer before the task ends. A peer that finds an answer and the end
/// of the connection at the same moment would see only the end.
pub(crate) const ANSWER_LINGER: Duration = Duration::from_millis(50);
