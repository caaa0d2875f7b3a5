//! The bytes of a journal: a header that names the checkpoint, then frames.
//!
//! Header, 64 bytes: magic (8), version (4), generation of the checkpoint (8), its length (8), its CRC-32 (4), CRC-32 of the
//! bytes before (4), one byte that is not 0 once nothing may be appended any more, zeros. Frame: length of the payload (4),
//! CRC-32 (4), generation of the checkpoint (8), kind (1), payload. Numbers are little-endian. The CRC of a frame covers
//! the CRC before it, so a frame counts only behind the one it was written behind.

use crate::disk::displaced::Print;

/// Length of the header.
pub(super) const HEADER_BYTES: usize = 64;

/// Where in the header it says that the journal is closed.
pub(super) const CLOSED_AT: usize = 40;

/// Length of a frame without its payload.
pub(super) const FRAME_HEAD_BYTES: usize = 17;

/// The largest payload of a frame. What does not fit is written as a checkpoint instead.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;

const MAGIC: &[u8; 8] = b"btcfed-j";

const VERSION: u32 = 1;

/// The kind of the frames there are: entries of a set.
const ENTRIES: u8 = 1;

/// Which checkpoint a journal continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) generation: u64,
    /// Length and CRC-32 of the whole file.
    pub(crate) len: u64,
    pub(crate) crc: u32,
}

impl Identity {
    /// The checkpoint of this generation with this content.
    pub(crate) fn of(generation: u64, content: Print) -> Self {
        Self {
            generation,
            len: u64::try_from(content.bytes()).unwrap_or(u64::MAX),
            crc: content.crc(),
        }
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) identity: Identity,
    /// Nothing may be appended.
    pub(super) is_closed: bool,
    /// The CRC that the first frame covers.
    pub(super) chain: u32,
}

impl Header {
    /// The header of a new journal, and the CRC that its first frame covers.
    pub(super) fn encode(identity: Identity) -> ([u8; HEADER_BYTES], u32) {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&identity.generation.to_le_bytes());
        bytes.extend_from_slice(&identity.len.to_le_bytes());
        bytes.extend_from_slice(&identity.crc.to_le_bytes());
        let chain = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&chain.to_le_bytes());
        let mut header = [0; HEADER_BYTES];
        for (to, from) in header.iter_mut().zip(bytes) {
            *to = from;
        }
        (header, chain)
    }

    /// Reads a header; `None` when it is damaged or of another version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.get(..HEADER_BYTES)?;
        let is_closed = *bytes.get(CLOSED_AT)? != 0;
        if take::<8>(&mut rest)? != *MAGIC || u32::from_le_bytes(take(&mut rest)?) != VERSION {
            return None;
        }
        let identity = Identity {
            generation: u64::from_le_bytes(take(&mut rest)?),
            len: u64::from_le_bytes(take(&mut rest)?),
            crc: u32::from_le_bytes(take(&mut rest)?),
        };
        let chain = u32::from_le_bytes(take(&mut rest)?);
        let is_whole = crc32fast::hash(bytes.get(..HEADER_BYTES - rest.len() - 4)?) == chain;
        is_whole.then_some(Self {
            identity,
            is_closed,
            chain,
        })
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

fn sum(chain: u32, len: u32, generation: u64, kind: u8, payload: &[u8]) -> u32 {
    let mut digest = crc32fast::Hasher::new();
    digest.update(&chain.to_le_bytes());
    digest.update(&len.to_le_bytes());
    digest.update(&generation.to_le_bytes());
    digest.update(&[kind]);
    digest.update(payload);
    digest.finalize()
}

/// Fills in the head of a frame whose payload stands behind [`FRAME_HEAD_BYTES`] free bytes. Returns its CRC; `None` when
/// the payload is empty or too large.
pub(super) fn seal(frame: &mut [u8], chain: u32, generation: u64) -> Option<u32> {
    let (head, payload) = frame.split_first_chunk_mut::<FRAME_HEAD_BYTES>()?;
    if payload.is_empty() || payload.len() > MAX_FRAME_BYTES {
        return None;
    }
    let len = u32::try_from(payload.len()).ok()?;
    let crc = sum(chain, len, generation, ENTRIES, payload);
    let fields = len
        .to_le_bytes()
        .into_iter()
        .chain(crc.to_le_bytes())
        .chain(generation.to_le_bytes())
        .chain([ENTRIES]);
    for (to, from) in head.iter_mut().zip(fields) {
        *to = from;
    }
    Some(crc)
}

/// How many bytes the frame that begins like this has; `None` when none begins here.
pub(super) fn length(head: &[u8]) -> Option<usize> {
    let mut rest = head;
    let len = usize::try_from(u32::from_le_bytes(take(&mut rest)?)).ok()?;
    (1..=MAX_FRAME_BYTES)
        .contains(&len)
        .then_some(len + FRAME_HEAD_BYTES)
}

/// The payload of the frame at the front of `bytes` and its CRC; `None` when it is not whole or was written behind
/// another frame.
pub(super) fn open(bytes: &[u8], chain: u32, generation: u64) -> Option<(&[u8], u32)> {
    let whole = bytes.get(..length(bytes)?)?;
    let mut rest = whole;
    let len = u32::from_le_bytes(take(&mut rest)?);
    let crc = u32::from_le_bytes(take(&mut rest)?);
    let written_for = u64::from_le_bytes(take(&mut rest)?);
    let [kind] = take(&mut rest)?;
    let is_whole = written_for == generation
        && kind == ENTRIES
        && sum(chain, len, generation, kind, rest) == crc;
    is_whole.then_some((rest, crc))
}
