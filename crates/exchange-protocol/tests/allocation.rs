//! What decoding costs in memory, whatever the bytes: at most four times the largest frame.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::System;

use btcfed_core::limits::MAX_FRAME_BYTES;
use btcfed_core::rng::SeededRng;
use btcfed_exchange_protocol::codec;
use btcfed_exchange_protocol::limits;
use btcfed_exchange_protocol::message::{
    Cell, CellBlock, CellRange, ErrorCode, ErrorReply, Hello, Message, Mode, PeerAnnouncement,
    PeerRequest, PeerResponse, PeerUpdate, RecordEntry, Summary, Want,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Decodes and says how many bytes were asked for meanwhile, freed ones included. A reallocation counts what it grew by.
fn allocated(frame: &[u8]) -> usize {
    let region = Region::new(ALLOCATOR);
    let result = codec::decode(frame);
    let bytes = region.change().bytes_allocated;
    drop(result);
    bytes
}

fn assert_bounded(frame: &[u8], what: &str) {
    let bytes = allocated(frame);
    assert!(bytes <= 4 * MAX_FRAME_BYTES, "{what}: {bytes} bytes");
}

fn entry(len: usize) -> RecordEntry {
    RecordEntry {
        envelope: vec![7; len],
        age_s: u32::MAX,
    }
}

/// The largest message of every kind, and those that promise most per byte.
fn largest() -> Vec<Message> {
    let records = |count: usize| (0..count).map(|_| entry(200)).collect();
    let cell = Cell {
        id: u64::MAX,
        check: u32::MAX,
        count: 0,
    };
    vec![
        Message::Request(PeerRequest {
            mode: Mode::Want,
            want: Some(Want {
                salt: 1,
                ids: vec![u64::MAX; limits::MAX_WANTED],
            }),
            ..PeerRequest::default()
        }),
        Message::Response(PeerResponse {
            records: records(limits::MAX_RECORDS_PER_FRAME),
            ..PeerResponse::default()
        }),
        Message::Response(PeerResponse {
            records: (0..limits::MAX_RECORDS_PER_FRAME)
                .map(|_| entry(0))
                .collect(),
            ..PeerResponse::default()
        }),
        Message::Response(PeerResponse {
            cells: Some(CellBlock {
                salt: 1,
                first: 0,
                cells: vec![cell; limits::MAX_CELLS],
            }),
            ..PeerResponse::default()
        }),
        Message::Announcement(PeerAnnouncement {
            records: records(limits::MAX_RECORDS_PER_ANNOUNCEMENT),
            ids: vec![1; limits::MAX_IDS_PER_ANNOUNCEMENT],
            prune: false,
        }),
        Message::Update(PeerUpdate {
            record: entry(limits::MAX_RECORD_BYTES),
        }),
        Message::Error(ErrorReply {
            code: ErrorCode::Busy,
            message: "x".repeat(limits::MAX_ERROR_TEXT_BYTES),
            retry_after_ms: u32::MAX,
            version_min: 0,
            version_max: 0,
            alternatives: records(limits::MAX_ALTERNATIVES),
        }),
    ]
}

/// The allocator counts for the whole process, so this is one test and not several that run beside each other.
#[test]
fn no_frame_makes_the_decoder_ask_for_more_than_four_frames() {
    let mut rng = SeededRng::from_seed(1);
    for message in largest() {
        let frame = codec::encode(&message);
        assert!(frame.len() <= MAX_FRAME_BYTES, "{}", message.name());
        assert_bounded(&frame, message.name());
        for _ in 0..300 {
            let mut broken = frame.clone();
            for _ in 0..=rng.index(4) {
                let at = rng.index(broken.len());
                broken[at] = rng.next_u64().to_le_bytes()[0];
            }
            broken.truncate(rng.index(broken.len()) + 1);
            assert_bounded(&broken, message.name());
        }
    }
    for _ in 0..300 {
        let noise: Vec<u8> = (0..rng.index(MAX_FRAME_BYTES))
            .map(|_| rng.next_u64().to_le_bytes()[0])
            .collect();
        assert_bounded(&noise, "noise");
    }
    // Full of the shortest fields of each kind.
    for tag in 0..=u8::MAX {
        for value in [1, 0x7f] {
            let inner = [tag, value].repeat(MAX_FRAME_BYTES / 2 - 4);
            for kind in [0x0a, 0x12, 0x1a, 0x22, 0x2a] {
                let mut frame = vec![kind];
                let mut len = inner.len();
                while len > 0x7f {
                    frame.push(len.to_le_bytes()[0] | 0x80);
                    len >>= 7;
                }
                frame.push(len.to_le_bytes()[0]);
                frame.extend_from_slice(&inner);
                assert_bounded(&frame, &format!("{kind:#x} of {tag:#x} {value}"));
            }
        }
    }
    boundaries();
}

/// Zero, one, the largest less one and the largest.
fn numbers() -> [u64; 7] {
    [
        0,
        1,
        0x7f,
        0x80,
        u64::from(u32::MAX) - 1,
        u64::from(u32::MAX),
        u64::MAX - 1,
    ]
}

/// Every number of every message at its bounds is read as it was written, and draws no panic.
fn boundaries() {
    for value in numbers().into_iter().chain([u64::MAX]) {
        let small = u32::try_from(value).unwrap_or(u32::MAX);
        let hello = Hello {
            version_min: small,
            version_max: small,
            network: small.to_be_bytes(),
            federation: String::new(),
            features: value,
            agent: String::new(),
            record: Vec::new(),
            wall_ms: value,
        };
        let summary = Summary {
            salt: small,
            root: value,
            count: small,
        };
        let record = RecordEntry {
            envelope: vec![1],
            age_s: small,
        };
        let request = PeerRequest {
            hello: Some(hello.clone()),
            limit: small,
            summary: Some(summary),
            cells: Some(CellRange {
                salt: value,
                first: small,
                count: small,
            }),
            want: Some(Want {
                salt: value,
                ids: vec![value],
            }),
            ..PeerRequest::default()
        };
        let response = PeerResponse {
            hello: Some(hello),
            records: vec![record.clone()],
            count: small,
            cells: Some(CellBlock {
                salt: value,
                first: small,
                cells: vec![Cell {
                    id: value,
                    check: small,
                    count: i64::from_le_bytes(value.to_le_bytes()),
                }],
            }),
            ..PeerResponse::default()
        };
        let others = others(value, small, record);
        let messages = [Message::Request(request), Message::Response(response)];
        for message in messages.into_iter().chain(others) {
            let frame = codec::encode(&message);
            assert_eq!(codec::decode(&frame).unwrap(), message, "{value}");
        }
    }
}

/// The messages that are neither questions nor answers, with numbers of this size.
fn others(value: u64, small: u32, record: RecordEntry) -> [Message; 3] {
    [
        Message::Announcement(PeerAnnouncement {
            records: vec![record.clone()],
            ids: vec![value],
            prune: false,
        }),
        Message::Update(PeerUpdate { record }),
        Message::Error(ErrorReply {
            code: ErrorCode::Rate,
            message: String::new(),
            retry_after_ms: small,
            version_min: small,
            version_max: small,
            alternatives: Vec::new(),
        }),
    ]
}
