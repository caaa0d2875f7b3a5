//! Frames to messages and back: the only place where hostile bytes are read.
//!
//! Whatever the bytes, decoding never panics and never allocates more than a small multiple of the frame.

mod compress;
mod debug_json;
mod scan;
pub(crate) mod wire;

use btcfed_core::{ErrorKind, PeerKey, limits};
use prost::Message as _;

use crate::limits::{MAX_AGENT_BYTES, MAX_CELLS, MAX_ERROR_TEXT_BYTES, MAX_STRIPES};
use crate::message::{
    Cell, CellBlock, CellRange, ErrorCode, ErrorReply, Hello, Message, Mode, PeerAnnouncement,
    PeerRequest, PeerResponse, PeerUpdate, RecordEntry, Stripe, Summary, Want,
};

/// A frame that cannot be taken in. Caused by whoever wrote it; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are not the protobuf form of a message.
    #[error("malformed frame: {reason}")]
    Malformed {
        /// What is wrong.
        reason: &'static str,
    },
    /// A count or a length exceeds its bound.
    #[error("{what} exceeds its bound of {limit}")]
    TooLarge {
        /// Which field.
        what: &'static str,
        /// Its bound.
        limit: usize,
    },
    /// A message of a later version.
    #[error("unknown message")]
    Unsupported,
}

impl DecodeError {
    /// What to do about it: the remote is at fault.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Peer
    }

    /// The code to answer with.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed { .. } => ErrorCode::Malformed,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::Unsupported => ErrorCode::Unsupported,
        }
    }
}

/// Reads one frame, compressed or not.
///
/// # Errors
/// The frame is malformed, exceeds a bound or carries a message this version does not know.
pub fn decode(frame: &[u8]) -> Result<Message, DecodeError> {
    if frame.is_empty() {
        return Ok(Message::Ack);
    }
    let body = body(frame)?;
    if let wire::Body::Compressed(compressed) = &body {
        return message(self::body(&compress::inflate(compressed)?)?);
    }
    message(body)
}

/// The protobuf form of what is in a frame that is not empty.
fn body(frame: &[u8]) -> Result<wire::Body, DecodeError> {
    if frame.len() > limits::MAX_FRAME_BYTES {
        return Err(DecodeError::TooLarge {
            what: "frame",
            limit: limits::MAX_FRAME_BYTES,
        });
    }
    if !scan::check_frame(frame)? {
        return Err(DecodeError::Unsupported);
    }
    let envelope = wire::Envelope::decode(frame).map_err(|_| DecodeError::Malformed {
        reason: "text is not UTF-8",
    })?;
    envelope.body.ok_or(DecodeError::Unsupported)
}

fn message(body: wire::Body) -> Result<Message, DecodeError> {
    match body {
        wire::Body::Compressed(_) => Err(DecodeError::Malformed {
            reason: "compressed twice",
        }),
        wire::Body::Announcement(body) => Ok(Message::Announcement(PeerAnnouncement {
            records: entries(body.records),
            ids: ids(&body.ids)?,
            prune: body.prune,
        })),
        wire::Body::Error(body) => Ok(Message::Error(error(body))),
        wire::Body::Request(body) => request(body).map(Message::Request),
        wire::Body::Response(body) => response(body).map(Message::Response),
        wire::Body::Update(body) => Ok(Message::Update(PeerUpdate {
            record: body
                .record
                .map_or_else(RecordEntry::default, RecordEntry::from),
        })),
    }
}

/// Writes one frame. Texts beyond their bound are cut; counts are up to the caller.
#[must_use]
pub fn encode(message: &Message) -> Vec<u8> {
    let body = match message {
        Message::Ack => return Vec::new(),
        Message::Announcement(message) => wire::Body::Announcement(wire::PeerAnnouncement {
            records: wire_entries(&message.records),
            ids: id_bytes(&message.ids),
            prune: message.prune,
        }),
        Message::Error(message) => wire::Body::Error(wire_error(message)),
        Message::Request(message) => wire::Body::Request(wire_request(message)),
        Message::Response(message) => wire::Body::Response(wire::PeerResponse {
            hello: message.hello.as_ref().map(wire_hello),
            records: wire_entries(&message.records),
            next: key_bytes(message.next.as_ref()),
            equal: message.equal,
            count: message.count,
            cells: message.cells.as_ref().map(wire_cells),
        }),
        Message::Update(message) => wire::Body::Update(wire::PeerUpdate {
            record: Some(wire::RecordEntry::from(&message.record)),
        }),
    };
    wire::Envelope { body: Some(body) }.encode_to_vec()
}

/// The same, compressed if that makes a large frame smaller. Only for a peer that offers
/// [`FEATURE_ZSTD`](crate::limits::FEATURE_ZSTD).
#[must_use]
pub fn encode_compressed(message: &Message) -> Vec<u8> {
    let plain = encode(message);
    match compress::deflate(&plain) {
        Some(body) => {
            let body = Some(wire::Body::Compressed(body));
            let frame = wire::Envelope { body }.encode_to_vec();
            if frame.len() < plain.len() {
                frame
            } else {
                plain
            }
        }
        None => plain,
    }
}

/// How many bytes a record takes in a list: tag, length, envelope with tag and length, age with tag.
#[must_use]
pub const fn entry_bytes(envelope_len: usize) -> usize {
    envelope_len + 3 + 3 + 6
}

fn request(body: wire::PeerRequest) -> Result<PeerRequest, DecodeError> {
    Ok(PeerRequest {
        hello: body.hello.map(hello),
        mode: Mode::from_number(body.mode),
        cursor: key(&body.cursor)?,
        limit: body.limit,
        summary: body.summary.map(|summary| Summary {
            salt: summary.salt,
            root: summary.root,
            count: summary.count,
        }),
        cells: body.cells.map(|cells| CellRange {
            salt: cells.salt,
            first: cells.first,
            count: cells.count,
        }),
        want: body.want.as_ref().map(want).transpose()?,
        stripe: body.stripe.as_ref().map(stripe).transpose()?,
    })
}

fn wire_request(message: &PeerRequest) -> wire::PeerRequest {
    wire::PeerRequest {
        hello: message.hello.as_ref().map(wire_hello),
        mode: message.mode.number(),
        cursor: key_bytes(message.cursor.as_ref()),
        limit: message.limit,
        summary: message.summary.map(|summary| wire::Summary {
            salt: summary.salt,
            root: summary.root,
            count: summary.count,
        }),
        cells: message.cells.map(|range| wire::Cells {
            salt: range.salt,
            first: range.first,
            count: range.count,
            cells: Vec::new(),
        }),
        want: message.want.as_ref().map(|want| wire::Want {
            salt: want.salt,
            ids: id_bytes(&want.ids),
        }),
        stripe: message.stripe.map(|stripe| wire::Stripe {
            salt: stripe.salt,
            index: stripe.index,
            of: stripe.of,
        }),
    }
}

/// A part that exists.
const fn stripe(body: &wire::Stripe) -> Result<Stripe, DecodeError> {
    if body.of > MAX_STRIPES {
        return Err(DecodeError::TooLarge {
            what: "stripe.of",
            limit: MAX_STRIPES as usize,
        });
    }
    if body.index >= body.of {
        return Err(DecodeError::Malformed {
            reason: "no such stripe",
        });
    }
    Ok(Stripe {
        salt: body.salt,
        index: body.index,
        of: body.of,
    })
}

fn want(body: &wire::Want) -> Result<Want, DecodeError> {
    Ok(Want {
        salt: body.salt,
        ids: ids(&body.ids)?,
    })
}

fn ids(bytes: &[u8]) -> Result<Vec<u64>, DecodeError> {
    let (ids, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(DecodeError::Malformed {
            reason: "an id has 8 bytes",
        });
    }
    Ok(ids.iter().map(|id| u64::from_le_bytes(*id)).collect())
}

fn id_bytes(ids: &[u64]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}

fn cells(body: &wire::Cells) -> Result<CellBlock, DecodeError> {
    let (mut bytes, mut cells) = (&*body.cells, Vec::new());
    while let Some(((id, check), rest)) = bytes.split_first_chunk::<8>().and_then(|(id, rest)| {
        rest.split_first_chunk::<4>()
            .map(|(c, rest)| ((id, c), rest))
    }) {
        bytes = rest;
        let zigzag = scan::take_varint(&mut bytes)?;
        let half = (zigzag >> 1).cast_signed();
        cells.push(Cell {
            id: u64::from_le_bytes(*id),
            check: u32::from_le_bytes(*check),
            count: half ^ -(zigzag & 1).cast_signed(),
        });
        if cells.len() > MAX_CELLS {
            return Err(DecodeError::TooLarge {
                what: "cells",
                limit: MAX_CELLS,
            });
        }
    }
    if !bytes.is_empty() {
        return Err(DecodeError::Malformed {
            reason: "a cell is cut short",
        });
    }
    Ok(CellBlock {
        salt: body.salt,
        first: body.first,
        cells,
    })
}

fn wire_cells(block: &CellBlock) -> wire::Cells {
    let mut bytes = Vec::with_capacity(14 * block.cells.len());
    for cell in &block.cells {
        bytes.extend(cell.id.to_le_bytes());
        bytes.extend(cell.check.to_le_bytes());
        let zigzag = (cell.count << 1) ^ (cell.count >> 63);
        prost::encoding::encode_varint(zigzag.cast_unsigned(), &mut bytes);
    }
    wire::Cells {
        salt: block.salt,
        first: block.first,
        count: 0,
        cells: bytes,
    }
}

fn response(body: wire::PeerResponse) -> Result<PeerResponse, DecodeError> {
    Ok(PeerResponse {
        hello: body.hello.map(hello),
        records: entries(body.records),
        next: key(&body.next)?,
        equal: body.equal,
        count: body.count,
        cells: body.cells.as_ref().map(cells).transpose()?,
    })
}

fn hello(body: wire::Hello) -> Hello {
    Hello {
        version_min: body.version_min,
        version_max: body.version_max,
        network: body.network.to_be_bytes(),
        federation: body.federation,
        features: body.features,
        agent: body.agent,
        record: body.record,
        wall_ms: body.wall_ms,
    }
}

fn wire_hello(hello: &Hello) -> wire::Hello {
    wire::Hello {
        version_min: hello.version_min,
        version_max: hello.version_max,
        network: u32::from_be_bytes(hello.network),
        federation: hello.federation.clone(),
        features: hello.features,
        agent: cut(&hello.agent, MAX_AGENT_BYTES).to_owned(),
        record: hello.record.clone(),
        wall_ms: hello.wall_ms,
    }
}

fn error(body: wire::Error) -> ErrorReply {
    ErrorReply {
        code: code(wire::ErrorCode::try_from(body.code).unwrap_or(wire::ErrorCode::Unspecified)),
        message: body.message,
        retry_after_ms: body.retry_after_ms,
        version_min: body.version_min,
        version_max: body.version_max,
        alternatives: entries(body.alternatives),
    }
}

fn wire_error(error: &ErrorReply) -> wire::Error {
    wire::Error {
        code: wire_code(error.code).into(),
        message: cut(&error.message, MAX_ERROR_TEXT_BYTES).to_owned(),
        retry_after_ms: error.retry_after_ms,
        version_min: error.version_min,
        version_max: error.version_max,
        alternatives: wire_entries(&error.alternatives),
    }
}

/// A code this version does not know means what `UNSUPPORTED` means: nothing can be done about it.
const fn code(code: wire::ErrorCode) -> ErrorCode {
    match code {
        wire::ErrorCode::BadSignature => ErrorCode::BadSignature,
        wire::ErrorCode::Busy => ErrorCode::Busy,
        wire::ErrorCode::Denied => ErrorCode::Denied,
        wire::ErrorCode::FederationMismatch => ErrorCode::FederationMismatch,
        wire::ErrorCode::HelloRequired => ErrorCode::HelloRequired,
        wire::ErrorCode::Malformed => ErrorCode::Malformed,
        wire::ErrorCode::NetworkMismatch => ErrorCode::NetworkMismatch,
        wire::ErrorCode::Rate => ErrorCode::Rate,
        wire::ErrorCode::TooLarge => ErrorCode::TooLarge,
        wire::ErrorCode::Unspecified | wire::ErrorCode::Unsupported => ErrorCode::Unsupported,
        wire::ErrorCode::Version => ErrorCode::Version,
    }
}

const fn wire_code(code: ErrorCode) -> wire::ErrorCode {
    match code {
        ErrorCode::BadSignature => wire::ErrorCode::BadSignature,
        ErrorCode::Busy => wire::ErrorCode::Busy,
        ErrorCode::Denied => wire::ErrorCode::Denied,
        ErrorCode::FederationMismatch => wire::ErrorCode::FederationMismatch,
        ErrorCode::HelloRequired => wire::ErrorCode::HelloRequired,
        ErrorCode::Malformed => wire::ErrorCode::Malformed,
        ErrorCode::NetworkMismatch => wire::ErrorCode::NetworkMismatch,
        ErrorCode::Rate => wire::ErrorCode::Rate,
        ErrorCode::TooLarge => wire::ErrorCode::TooLarge,
        ErrorCode::Unsupported => wire::ErrorCode::Unsupported,
        ErrorCode::Version => wire::ErrorCode::Version,
    }
}

/// A cursor: nothing, or the 32 bytes of a valid key.
fn key(bytes: &[u8]) -> Result<Option<PeerKey>, DecodeError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let raw: &[u8; 32] = bytes.try_into().map_err(|_| DecodeError::Malformed {
        reason: "a key has 32 bytes",
    })?;
    PeerKey::from_bytes(raw)
        .map(Some)
        .map_err(|_| DecodeError::Malformed {
            reason: "not a key",
        })
}

fn key_bytes(key: Option<&PeerKey>) -> Vec<u8> {
    key.map_or_else(Vec::new, |key| key.as_bytes().to_vec())
}

fn entries(records: Vec<wire::RecordEntry>) -> Vec<RecordEntry> {
    records.into_iter().map(RecordEntry::from).collect()
}

fn wire_entries(records: &[RecordEntry]) -> Vec<wire::RecordEntry> {
    records.iter().map(wire::RecordEntry::from).collect()
}

impl From<wire::RecordEntry> for RecordEntry {
    fn from(entry: wire::RecordEntry) -> Self {
        Self {
            envelope: entry.envelope,
            age_s: entry.age_s,
        }
    }
}

impl From<&RecordEntry> for wire::RecordEntry {
    fn from(entry: &RecordEntry) -> Self {
        Self {
            envelope: entry.envelope.clone(),
            age_s: entry.age_s,
        }
    }
}

/// The longest part of `text` within `most` bytes.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    text.get(..end).unwrap_or_default()
}
