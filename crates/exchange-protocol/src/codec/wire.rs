//! The protobuf form. Nothing outside [`codec`](crate::codec) sees these types.

use prost::{Enumeration, Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Envelope {
    #[prost(oneof = "Body", tags = "1, 2, 3, 4, 5, 6")]
    pub(crate) body: Option<Body>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Body {
    #[prost(message, tag = "1")]
    Request(PeerRequest),
    #[prost(message, tag = "2")]
    Response(PeerResponse),
    #[prost(message, tag = "3")]
    Announcement(PeerAnnouncement),
    #[prost(message, tag = "4")]
    Update(PeerUpdate),
    #[prost(message, tag = "5")]
    Error(Error),
    #[prost(message, tag = "6")]
    Compressed(Compressed),
}

/// Another envelope, compressed with zstd.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Compressed {
    /// How long it is uncompressed.
    #[prost(uint32, tag = "1")]
    pub(crate) size: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) frame: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Hello {
    #[prost(uint32, tag = "1")]
    pub(crate) version_min: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) version_max: u32,
    #[prost(fixed32, tag = "3")]
    pub(crate) network: u32,
    #[prost(string, tag = "4")]
    pub(crate) federation: String,
    #[prost(uint64, tag = "5")]
    pub(crate) features: u64,
    #[prost(string, tag = "6")]
    pub(crate) agent: String,
    #[prost(bytes = "vec", tag = "7")]
    pub(crate) record: Vec<u8>,
    #[prost(uint64, tag = "8")]
    pub(crate) wall_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Summary {
    #[prost(fixed32, tag = "1")]
    pub(crate) salt: u32,
    #[prost(fixed64, tag = "2")]
    pub(crate) root: u64,
    #[prost(uint32, tag = "3")]
    pub(crate) count: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RecordEntry {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) envelope: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(crate) age_s: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PeerRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) hello: Option<Hello>,
    #[prost(uint32, tag = "2")]
    pub(crate) mode: u32,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) cursor: Vec<u8>,
    #[prost(uint32, tag = "4")]
    pub(crate) limit: u32,
    #[prost(message, optional, tag = "5")]
    pub(crate) summary: Option<Summary>,
    #[prost(message, optional, tag = "6")]
    pub(crate) cells: Option<Cells>,
    #[prost(message, optional, tag = "7")]
    pub(crate) want: Option<Want>,
    #[prost(message, optional, tag = "8")]
    pub(crate) stripe: Option<Stripe>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Stripe {
    #[prost(fixed64, tag = "1")]
    pub(crate) salt: u64,
    #[prost(uint32, tag = "2")]
    pub(crate) index: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) of: u32,
}

/// In a request which cells are wanted, in a response the cells.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Cells {
    #[prost(fixed64, tag = "1")]
    pub(crate) salt: u64,
    #[prost(uint32, tag = "2")]
    pub(crate) first: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) count: u32,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) cells: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Want {
    #[prost(fixed64, tag = "1")]
    pub(crate) salt: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) ids: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PeerResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) hello: Option<Hello>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) records: Vec<RecordEntry>,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) next: Vec<u8>,
    #[prost(bool, tag = "4")]
    pub(crate) equal: bool,
    #[prost(uint32, tag = "5")]
    pub(crate) count: u32,
    #[prost(message, optional, tag = "6")]
    pub(crate) cells: Option<Cells>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PeerAnnouncement {
    #[prost(message, repeated, tag = "1")]
    pub(crate) records: Vec<RecordEntry>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) ids: Vec<u8>,
    #[prost(bool, tag = "3")]
    pub(crate) prune: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PeerUpdate {
    #[prost(message, optional, tag = "1")]
    pub(crate) record: Option<RecordEntry>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Error {
    #[prost(enumeration = "ErrorCode", tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(uint32, tag = "3")]
    pub(crate) retry_after_ms: u32,
    #[prost(uint32, tag = "4")]
    pub(crate) version_min: u32,
    #[prost(uint32, tag = "5")]
    pub(crate) version_max: u32,
    #[prost(message, repeated, tag = "6")]
    pub(crate) alternatives: Vec<RecordEntry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(crate) enum ErrorCode {
    Unspecified = 0,
    Version = 1,
    Unsupported = 2,
    Busy = 3,
    Rate = 4,
    TooLarge = 5,
    Malformed = 6,
    BadSignature = 7,
    NetworkMismatch = 8,
    FederationMismatch = 9,
    HelloRequired = 10,
    Denied = 11,
}
