//! Frames made smaller, and back: the size is known and bounded before anything is allocated.

use btcfed_core::limits::MAX_FRAME_BYTES;

use crate::codec::{DecodeError, wire};
use crate::limits::{COMPRESS_ABOVE_BYTES, COMPRESSION_LEVEL};

/// A frame compressed, if it is large enough to be worth it.
pub(super) fn deflate(plain: &[u8]) -> Option<wire::Compressed> {
    if plain.len() <= COMPRESS_ABOVE_BYTES {
        return None;
    }
    let size = u32::try_from(plain.len()).ok()?;
    let frame = zstd::bulk::compress(plain, COMPRESSION_LEVEL).ok()?;
    Some(wire::Compressed { size, frame })
}

/// The frame that was compressed. It is written into a buffer of the size it claims, which is at most a frame.
pub(super) fn inflate(compressed: &wire::Compressed) -> Result<Vec<u8>, DecodeError> {
    let size = usize::try_from(compressed.size).unwrap_or(usize::MAX);
    if size > MAX_FRAME_BYTES {
        return Err(DecodeError::TooLarge {
            what: "compressed.size",
            limit: MAX_FRAME_BYTES,
        });
    }
    match zstd::bulk::decompress(&compressed.frame, size) {
        Ok(plain) if plain.len() == size && size > 0 => Ok(plain),
        Ok(_) | Err(_) => Err(DecodeError::Malformed {
            reason: "not what was compressed",
        }),
    }
}
