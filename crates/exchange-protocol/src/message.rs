//! The messages as plain data. Records are still the bytes that came: they are checked later, and only once.

use std::fmt;

use btcfed_core::PeerKey;

use crate::reconcile::digest;

/// Everything that fits into one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// An empty frame: an announcement or update arrived.
    Ack,
    /// Records that are new to the sender.
    Announcement(PeerAnnouncement),
    /// Something was refused.
    Error(ErrorReply),
    /// A question, and the introduction of the one who asks.
    Request(PeerRequest),
    /// The answer.
    Response(PeerResponse),
    /// The sender's own record changed.
    Update(PeerUpdate),
}

impl Message {
    /// The name used in logs and in the debug form.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ack => "Ack",
            Self::Announcement(_) => "PeerAnnouncement",
            Self::Error(_) => "Error",
            Self::Request(_) => "PeerRequest",
            Self::Response(_) => "PeerResponse",
            Self::Update(_) => "PeerUpdate",
        }
    }
}

/// Who somebody is and what they speak. Part of the first request and the first answer of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The lowest version spoken.
    pub version_min: u32,
    /// The highest version spoken.
    pub version_max: u32,
    /// The message-start bytes of the Bitcoin network.
    pub network: [u8; 4],
    /// The federation's id; empty is an id like any other.
    pub federation: String,
    /// Optional abilities, one bit each.
    pub features: u64,
    /// Software and version. Hearsay: escape before showing it.
    pub agent: String,
    /// The sender's own record as a signed envelope; empty when it publishes none.
    pub record: Vec<u8>,
    /// The sender's wall clock in milliseconds, for diagnosis only.
    pub wall_ms: u64,
}

/// A signed record with the age its sender attaches to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordEntry {
    /// The signed envelope.
    pub envelope: Vec<u8>,
    /// Seconds since the sender last had news of this peer. Not signed: it can make nothing younger.
    pub age_s: u32,
}

impl RecordEntry {
    /// The envelope and its age, as they were offered.
    pub(crate) fn offered(&self) -> Offered<'_> {
        (&self.envelope, self.age_s)
    }
}

/// A signed envelope and the age its sender attaches to it.
pub(crate) type Offered<'a> = (&'a [u8], u32);

/// A constant-size summary of everything one side would list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Chosen anew for every question, so that nobody can prepare sets that look equal.
    pub salt: u32,
    /// The sum of the keyed hashes of all (key, seq).
    pub root: u64,
    /// How many there are.
    pub count: u32,
}

/// One cell of a list coded for reconciliation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// The XOR of the ids in it.
    pub id: u64,
    /// The XOR of their checks.
    pub check: u32,
    /// How many there are; on the wire less what is to be expected.
    pub count: i64,
}

/// Which cells are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CellRange {
    /// The salt of the ids, as the answerer chose it.
    pub salt: u64,
    /// From this cell on.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// Cells in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CellBlock {
    /// The salt of the ids: chosen by the answerer, so that nobody can prepare elements that stall the decoding.
    pub salt: u64,
    /// The number of the first cell.
    pub first: u32,
    /// The cells.
    pub cells: Vec<Cell>,
}

/// Records asked for by their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// The salt of the ids.
    pub salt: u64,
    /// The ids.
    pub ids: Vec<u64>,
}

/// A part of a list: the hash space is cut into `of` equal parts, and this is number `index` of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stripe {
    /// Drawn by the asker, so that nobody can choose keys that all fall into one part.
    pub salt: u64,
    /// Which part, from 0.
    pub index: u32,
    /// How many parts there are, from 1 to [`MAX_STRIPES`](crate::limits::MAX_STRIPES).
    pub of: u32,
}

impl Stripe {
    /// True when this key falls into this part, whatever version of its record it is.
    #[must_use]
    pub fn holds(&self, key: &PeerKey) -> bool {
        let place = u128::from(digest::id(self.salt, key, 0));
        (place * u128::from(self.of)) >> 64 == u128::from(self.index)
    }
}

/// What kind of answer a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Records in the order of their keys, from a cursor on.
    #[default]
    Page,
    /// A few records chosen at random; of a list that fits into one answer, its first page.
    Sample,
    /// Records of one part of the hash space in the order of their keys, from a cursor on.
    Stripe,
    /// Compares; different lists are answered by cells, or by the first page when that is cheaper.
    Summary,
    /// More cells.
    Cells,
    /// Records by their ids.
    Want,
    /// A mode this version does not know.
    Other(u32),
}

impl Mode {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Page => 0,
            Self::Sample => 1,
            Self::Stripe => 2,
            Self::Summary => 3,
            Self::Cells => 4,
            Self::Want => 5,
            Self::Other(number) => number,
        }
    }

    /// The mode with this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Page,
            1 => Self::Sample,
            2 => Self::Stripe,
            3 => Self::Summary,
            4 => Self::Cells,
            5 => Self::Want,
            other => Self::Other(other),
        }
    }
}

/// A question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerRequest {
    /// Present in the first request of a connection.
    pub hello: Option<Hello>,
    /// What is asked for.
    pub mode: Mode,
    /// Records after this key; `None` from the start.
    pub cursor: Option<PeerKey>,
    /// Most records wanted, in [`Mode::Page`], [`Mode::Sample`] and [`Mode::Stripe`]; 0 only compares the summaries.
    pub limit: u32,
    /// What the sender has. When the receiver has the same, it answers `equal` and no records.
    pub summary: Option<Summary>,
    /// Which cells are wanted, in [`Mode::Cells`].
    pub cells: Option<CellRange>,
    /// Which records are wanted, in [`Mode::Want`].
    pub want: Option<Want>,
    /// Which part is wanted, in [`Mode::Stripe`].
    pub stripe: Option<Stripe>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerResponse {
    /// Present in the answer to a request with a hello.
    pub hello: Option<Hello>,
    /// The records.
    pub records: Vec<RecordEntry>,
    /// Ask for more after this key; `None` at the end of the list.
    pub next: Option<PeerKey>,
    /// The summaries were the same.
    pub equal: bool,
    /// How many records the whole list has.
    pub count: u32,
    /// The list coded as cells.
    pub cells: Option<CellBlock>,
}

/// News to the sender. Answered by an empty frame, or by one with nothing but `prune`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerAnnouncement {
    /// The records, along the tree.
    pub records: Vec<RecordEntry>,
    /// Only the ids, beside the tree.
    pub ids: Vec<u64>,
    /// In an answer: the records were known, tell ids from now on.
    pub prune: bool,
}

impl PeerAnnouncement {
    /// True when it says nothing but that records were known.
    #[must_use]
    pub const fn is_prune(&self) -> bool {
        self.prune && self.records.is_empty() && self.ids.is_empty()
    }
}

/// The sender's own new record; one without addresses says farewell. Answered by an empty frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerUpdate {
    /// The record.
    pub record: RecordEntry,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReply {
    /// What kind.
    pub code: ErrorCode,
    /// One line for people. Hearsay: escape before showing it.
    pub message: String,
    /// How long to wait before asking again, in milliseconds; 0 says nothing.
    pub retry_after_ms: u32,
    /// The lowest version the sender speaks.
    pub version_min: u32,
    /// The highest version the sender speaks.
    pub version_max: u32,
    /// Whom to ask instead.
    pub alternatives: Vec<RecordEntry>,
}

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorCode {
    /// A record's signature does not hold.
    BadSignature,
    /// No room for another conversation.
    Busy,
    /// The operator keeps this software away.
    Denied,
    /// The other federation.
    FederationMismatch,
    /// The sender has not introduced itself on this connection.
    HelloRequired,
    /// The frame cannot be read or breaks a rule.
    Malformed,
    /// The other Bitcoin network.
    NetworkMismatch,
    /// Too much, too fast.
    Rate,
    /// A bound on counts or lengths was exceeded.
    TooLarge,
    /// A message, mode or code this version does not know.
    Unsupported,
    /// No version in common.
    Version,
}

impl ErrorCode {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::BadSignature,
        Self::Busy,
        Self::Denied,
        Self::FederationMismatch,
        Self::HelloRequired,
        Self::Malformed,
        Self::NetworkMismatch,
        Self::Rate,
        Self::TooLarge,
        Self::Unsupported,
        Self::Version,
    ];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadSignature => "BAD_SIGNATURE",
            Self::Busy => "BUSY",
            Self::Denied => "DENIED",
            Self::FederationMismatch => "FEDERATION_MISMATCH",
            Self::HelloRequired => "HELLO_REQUIRED",
            Self::Malformed => "MALFORMED",
            Self::NetworkMismatch => "NETWORK_MISMATCH",
            Self::Rate => "RATE",
            Self::TooLarge => "TOO_LARGE",
            Self::Unsupported => "UNSUPPORTED",
            Self::Version => "VERSION",
        }
    }

    /// True when the conversation cannot go on after this refusal.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Denied | Self::FederationMismatch | Self::NetworkMismatch | Self::Version
        )
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
