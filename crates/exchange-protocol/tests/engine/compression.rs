//! Compressed frames: when, how much smaller, and what hostile ones cost.

use btcfed_core::limits::MAX_FRAME_BYTES;
use btcfed_core::network::Direction;
use btcfed_exchange_protocol::codec::{self, DecodeError};
use btcfed_exchange_protocol::limits;
use btcfed_exchange_protocol::message::{ErrorCode, ErrorReply, Message, Mode, PeerRequest};

use crate::bench::{Bench, hello, page, question, record_at};

/// An error whose frame is exactly so many bytes long.
fn frame_of(len: usize) -> Message {
    let text = |len| {
        Message::Error(ErrorReply {
            code: ErrorCode::Busy,
            message: "a".repeat(len),
            retry_after_ms: 0,
            version_min: 0,
            version_max: 0,
            alternatives: Vec::new(),
        })
    };
    let entries = |count, envelope: usize| {
        let mut message = page(None, &[]);
        message.records = vec![
            btcfed_exchange_protocol::message::RecordEntry {
                envelope: vec![7; envelope],
                age_s: 0,
            };
            count
        ];
        Message::Response(message)
    };
    if len < 200 {
        return text(len);
    }
    (0..=1024)
        .map(|envelope| entries(1, envelope))
        .find(|message| codec::encode(message).len() == len)
        .unwrap()
}

/// Field 6 of the envelope: size and bytes.
fn compressed(size: u64, bytes: &[u8]) -> Vec<u8> {
    let varint = |mut value: u64| {
        let mut out = Vec::new();
        while value >= 0x80 {
            out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        out.push(u8::try_from(value).unwrap());
        out
    };
    let mut inner = vec![0x08];
    inner.extend(varint(size));
    inner.push(0x12);
    inner.extend(varint(bytes.len() as u64));
    inner.extend(bytes);
    let mut frame = vec![0x32];
    frame.extend(varint(inner.len() as u64));
    frame.extend(inner);
    frame
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).unwrap()
}

#[test]
fn frames_above_the_threshold_are_compressed_and_read_back() {
    let at = frame_of(limits::COMPRESS_ABOVE_BYTES);
    assert_eq!(codec::encode_compressed(&at), codec::encode(&at));
    let above = frame_of(limits::COMPRESS_ABOVE_BYTES + 1);
    let frame = codec::encode_compressed(&above);
    assert!(frame.len() < 100, "{}", frame.len());
    assert_eq!(codec::decode(&frame), Ok(above));
}

#[test]
fn a_claimed_size_is_bounded_by_a_frame_and_must_be_true() {
    let plain = codec::encode(&frame_of(1000));
    assert!(codec::decode(&compressed(1000, &zstd(&plain))).is_ok());
    for wrong in [0, 1, 999, 1001, MAX_FRAME_BYTES as u64] {
        assert!(
            matches!(
                codec::decode(&compressed(wrong, &zstd(&plain))),
                Err(DecodeError::Malformed { .. })
            ),
            "{wrong}"
        );
    }
    for beyond in [MAX_FRAME_BYTES as u64 + 1, u64::from(u32::MAX)] {
        assert!(matches!(
            codec::decode(&compressed(beyond, &zstd(&plain))),
            Err(DecodeError::TooLarge { .. })
        ));
    }
    // A bomb: a thousand frames of zeros in a few bytes.
    let bomb = zstd(&vec![0; 1000 * MAX_FRAME_BYTES]);
    assert!(bomb.len() < MAX_FRAME_BYTES / 8, "{}", bomb.len());
    assert!(codec::decode(&compressed(MAX_FRAME_BYTES as u64, &bomb)).is_err());
}

#[test]
fn compression_within_compression_and_garbage_are_malformed() {
    let plain = codec::encode(&frame_of(1000));
    let once = compressed(1000, &zstd(&plain));
    let twice = compressed(once.len() as u64, &zstd(&once));
    for frame in [
        twice,
        compressed(10, b"not zstd at all"),
        compressed(0, b""),
        compressed(0, &zstd(b"")),
    ] {
        assert!(matches!(
            codec::decode(&frame),
            Err(DecodeError::Malformed { .. })
        ));
    }
}

/// What all pages of a list take when asked for by a peer with these features, and the same records in one piece.
fn download(size: u64, features: u64) -> (usize, usize) {
    let mut bench = Bench::new();
    let records: Vec<_> = (100..100 + size)
        .map(|n| {
            let ip = format!("/ip4/10.{}.{}.{}/tcp/9000", n % 7, n >> 8 & 0xff, n & 0xff);
            let name = format!("/dns4/node{n}.example.com/tcp/9000");
            record_at(n, 1_800_000_000_000 + n * 977, &[&ip, &name])
        })
        .collect();
    bench.store(records.iter().cloned());
    bench.connect(1, Direction::Inbound);
    let mut introduction = hello(None);
    introduction.features = features;
    let (mut total, mut received, mut first, mut cursor) =
        (0, Vec::new(), Some(introduction), None);
    loop {
        bench.outputs.clear();
        let asked = PeerRequest {
            cursor,
            mode: Mode::Page,
            ..question(first.take())
        };
        let Message::Response(response) = bench.ask(1, &Message::Request(asked)) else {
            panic!("no response");
        };
        total += bench.reply_bytes();
        received.extend(response.records.into_iter().flat_map(|r| r.envelope));
        cursor = response.next;
        if cursor.is_none() {
            break;
        }
    }
    let all: Vec<u8> = records.iter().flat_map(|r| r.envelope().to_vec()).collect();
    assert!(received.len() >= all.len());
    (total, zstd(&received).len())
}

#[test]
fn a_download_takes_at_most_a_tenth_more_than_zstd_makes_of_all_records_in_one_piece() {
    for size in [200, 1000] {
        let (paged, whole) = download(size, limits::FEATURE_ZSTD);
        let (plain, _) = download(size, 0);
        assert!(10 * paged <= 11 * whole, "{size}: {paged} of {whole}");
        assert!(paged < plain * 3 / 5, "{size}: {paged} of {plain}");
    }
}
