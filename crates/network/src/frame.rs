//! The frame codec: an unsigned-varint length and that many opaque bytes, one frame each way per stream.
//!
//! Bytes of a stream come from strangers. The length is checked before anything is allocated, memory grows with what
//! really arrives. A frame ends where its length says: nothing waits for the sender to close its half of the stream, and
//! bytes behind the frame are not read.

use std::io;
use std::sync::Arc;

use btcfed_core::limits::MAX_FRAME_BYTES;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;

use crate::stats::Counters;

/// Bytes a length may take: three carry 21 bits, [`MAX_FRAME_BYTES`] needs 17.
const MAX_LENGTH_BYTES: usize = 3;

/// Memory reserved before the first byte of a frame arrived.
const FIRST_ALLOCATION_BYTES: usize = 1024;

/// Reads and writes frames for libp2p's request-response protocol.
#[derive(Clone, Debug)]
pub(crate) struct FrameCodec {
    counters: Arc<Counters>,
}

impl FrameCodec {
    /// A codec that counts malformed frames in `counters`.
    pub(crate) const fn new(counters: Arc<Counters>) -> Self {
        Self { counters }
    }

    async fn read<T: AsyncRead + Unpin + Send>(&self, io: &mut T) -> io::Result<Vec<u8>> {
        let read = read_frame(io).await;
        if let Err(error) = &read
            && error.kind() == io::ErrorKind::InvalidData
        {
            self.counters.malformed_frame();
            tracing::debug!(%error, "malformed frame, stream reset");
        }
        read
    }
}

impl Codec for FrameCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read(io).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        frame: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &frame).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        frame: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &frame).await
    }
}

/// Reads one frame, and nothing behind it.
///
/// `InvalidData` when the bytes are not a frame, `UnexpectedEof` when the stream ended too early.
pub(crate) async fn read_frame<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<Vec<u8>> {
    let length = read_length(io).await?;
    let mut frame = Vec::with_capacity(length.min(FIRST_ALLOCATION_BYTES));
    let limit = u64::try_from(length).unwrap_or(u64::MAX);
    io.take(limit).read_to_end(&mut frame).await?;
    if frame.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(frame)
}

/// Reads the length: little-endian groups of seven bits, the shortest spelling only.
async fn read_length<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<usize> {
    let mut length = 0;
    for index in 0..MAX_LENGTH_BYTES {
        let mut byte = [0];
        io.read_exact(&mut byte).await?;
        let [byte] = byte;
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 != 0 {
            continue;
        }
        return match (byte, index) {
            (0, 1..) => Err(malformed("length not in its shortest form")),
            _ if length > MAX_FRAME_BYTES => Err(malformed("frame larger than the limit")),
            _ => Ok(length),
        };
    }
    Err(malformed("length of more than three bytes"))
}

/// Writes one frame. The caller ends the stream.
pub(crate) async fn write_frame<T: AsyncWrite + Unpin + Send>(
    io: &mut T,
    frame: &[u8],
) -> io::Result<()> {
    if frame.len() > MAX_FRAME_BYTES {
        return Err(malformed("frame larger than the limit"));
    }
    // Length and body in one write: one packet for the usual small frame.
    let mut bytes = Vec::with_capacity(MAX_LENGTH_BYTES + frame.len());
    let mut rest = frame.len();
    loop {
        let group = u8::try_from(rest & 0x7f).unwrap_or_default();
        rest >>= 7;
        if rest == 0 {
            bytes.push(group);
            break;
        }
        bytes.push(group | 0x80);
    }
    bytes.extend_from_slice(frame);
    io.write_all(&bytes).await?;
    io.flush().await
}

fn malformed(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::Cursor;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<u8>, io::ErrorKind> {
        block_on(read_frame(&mut Cursor::new(bytes))).map_err(|e| e.kind())
    }

    fn written(frame: &[u8]) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        block_on(write_frame(&mut bytes, frame)).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_frame_reads_back_as_itself_at_every_length_that_changes_the_prefix() {
        for length in [
            0,
            1,
            127,
            128,
            129,
            16_383,
            16_384,
            MAX_FRAME_BYTES - 1,
            MAX_FRAME_BYTES,
        ] {
            let frame = vec![0x5a; length];
            assert_eq!(read(&written(&frame)), Ok(frame));
        }
    }

    #[test]
    fn the_bytes_are_the_documented_ones() {
        assert_eq!(written(b""), [0]);
        assert_eq!(written(b"abc"), *b"\x03abc");
        assert_eq!(written(&[7; 300])[..3], [0xac, 0x02, 7]);
        assert_eq!(written(&[7; MAX_FRAME_BYTES])[..4], [0x80, 0x80, 0x04, 7]);
    }

    #[test]
    fn bytes_that_are_not_a_frame_are_malformed() {
        for (bytes, what) in [
            (&[0x81, 0x80, 0x04][..], "one more than the largest frame"),
            (&[0xff, 0xff, 0x7f], "the largest length of three bytes"),
            (&[0x80, 0x80, 0x80, 0x00], "a fourth length byte"),
            (&[0xff; 11], "a length that never ends"),
            (&[0x80, 0x00], "a padded zero"),
            (&[0x81, 0x80, 0x00, 7], "a padded one"),
        ] {
            assert_eq!(read(bytes), Err(io::ErrorKind::InvalidData), "{what}");
        }
    }

    #[test]
    fn a_frame_is_complete_before_the_sender_closes_and_nothing_behind_it_is_read() {
        assert_eq!(read(&[0x01, 7, 8]), Ok(vec![7]));
        assert_eq!(read(&[0x00, 0x00]), Ok(Vec::new()));
        // A stream that stays open: only the bytes of the frame are ever asked for.
        let open_ended = Cursor::new([0x01, 7]).chain(Never);
        assert_eq!(block_on(read_frame(&mut { open_ended })).unwrap(), [7]);
    }

    /// Reading from this would wait for ever; here it fails instead.
    struct Never;

    impl AsyncRead for Never {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            panic!("read beyond the frame")
        }
    }

    #[test]
    fn a_stream_that_ends_early_is_not_blamed_for_its_content() {
        for bytes in [
            &[][..],
            &[0x80],
            &[0x80, 0x80],
            &[0x05, 1, 2, 3, 4],
            &[0x80, 0x80, 0x04, 1],
        ] {
            assert_eq!(read(bytes), Err(io::ErrorKind::UnexpectedEof), "{bytes:?}");
        }
    }

    #[test]
    fn a_frame_above_the_limit_is_not_written() {
        let mut bytes = Cursor::new(Vec::new());
        assert!(block_on(write_frame(&mut bytes, &[0; MAX_FRAME_BYTES + 1])).is_err());
        assert!(bytes.into_inner().is_empty());
    }
}
