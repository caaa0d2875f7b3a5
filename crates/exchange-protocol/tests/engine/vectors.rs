//! Golden bytes: what is written today must be read and written the same for as long as version 1 is spoken.
//!
//! Each file of `tests/vectors` holds a frame in hexadecimal and, on the second line, the debug form of the message.
//! After a deliberate change, `BTCFED_BLESS=1 cargo test -p btcfed-exchange-protocol vectors` writes them anew.

use btcfed_exchange_protocol::codec;
use btcfed_exchange_protocol::message::{
    CellRange, ErrorCode, ErrorReply, Hello, Message, Mode, PeerAnnouncement, PeerRequest,
    PeerResponse, PeerUpdate, Stripe, Summary, Want,
};

use crate::bench::{Bench, entry, key, record, record_at};

/// The introduction of the peer whose secret key is 32 bytes 0x5a with 01 00 00 00 00 00 00 00 in front.
fn introduction() -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        network: [0xf9, 0xbe, 0xb4, 0xd9],
        federation: "alpha".to_owned(),
        features: 0,
        agent: "btcfed/0.1.0".to_owned(),
        record: record(1, 1).envelope().to_vec(),
        wall_ms: 1_800_000_000_000,
    }
}

/// What an engine that has the records of peers 0 and 100 to 119 answers to a foreign summary; cells 0 to 31. The salt is
/// drawn by the engine.
fn real_cells() -> PeerResponse {
    let mut bench = Bench::new();
    bench.store((100..120).map(|n| record(n, 1)));
    bench.befriend(1);
    let asked = PeerRequest {
        mode: Mode::Summary,
        summary: Some(Summary {
            salt: 1,
            root: 2,
            count: 20,
        }),
        ..PeerRequest::default()
    };
    match bench.ask(1, &Message::Request(asked)) {
        Message::Response(response) => response,
        other => panic!("{other:?}"),
    }
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn vectors() -> Vec<(&'static str, &'static str, Message)> {
    let mut leaving = entry(&record_at(1, 3, &[]));
    leaving.age_s = 0;
    let request = PeerRequest {
        hello: Some(introduction()),
        mode: Mode::Page,
        cursor: None,
        limit: 256,
        summary: Some(Summary {
            salt: 0x0102_0304,
            root: 0x1112_1314_1516_1718,
            count: 1,
        }),
        ..PeerRequest::default()
    };
    let next_page = PeerRequest {
        hello: None,
        mode: Mode::Page,
        cursor: Some(key(2)),
        limit: 256,
        ..PeerRequest::default()
    };
    let response = PeerResponse {
        hello: Some(introduction()),
        records: vec![
            entry(&record(2, 7)),
            entry(&record_at(3, 8, &["/dns4/node.example/tcp/9000"])),
        ],
        next: Some(key(3)),
        count: 300,
        ..PeerResponse::default()
    };
    let cells_request = PeerRequest {
        mode: Mode::Cells,
        cells: Some(CellRange {
            salt: 0x2122_2324_2526_2728,
            first: 32,
            count: 16,
        }),
        ..PeerRequest::default()
    };
    let want = PeerRequest {
        mode: Mode::Want,
        want: Some(Want {
            salt: 0x2122_2324_2526_2728,
            ids: vec![0x3132_3334_3536_3738, 1],
        }),
        ..PeerRequest::default()
    };
    let summary = PeerRequest {
        mode: Mode::Summary,
        summary: request.summary,
        ..PeerRequest::default()
    };
    let sample = PeerRequest {
        mode: Mode::Sample,
        limit: 16,
        summary: request.summary,
        ..PeerRequest::default()
    };
    let stripe = PeerRequest {
        mode: Mode::Stripe,
        limit: 256,
        stripe: Some(Stripe {
            salt: 0x2122_2324_2526_2728,
            index: 1,
            of: 4,
        }),
        ..PeerRequest::default()
    };
    let equal = PeerResponse {
        equal: true,
        count: 1,
        ..PeerResponse::default()
    };
    let error = ErrorReply {
        code: ErrorCode::Version,
        message: "does not fit".to_owned(),
        retry_after_ms: 1500,
        version_min: 1,
        version_max: 1,
        alternatives: vec![entry(&record(2, 7))],
    };
    vec![
        (
            "peer_request",
            include_str!("../vectors/peer_request.txt"),
            Message::Request(request),
        ),
        (
            "peer_request_next",
            include_str!("../vectors/peer_request_next.txt"),
            Message::Request(next_page),
        ),
        (
            "peer_request_summary",
            include_str!("../vectors/peer_request_summary.txt"),
            Message::Request(summary),
        ),
        (
            "peer_request_cells",
            include_str!("../vectors/peer_request_cells.txt"),
            Message::Request(cells_request),
        ),
        (
            "peer_request_want",
            include_str!("../vectors/peer_request_want.txt"),
            Message::Request(want),
        ),
        (
            "peer_request_sample",
            include_str!("../vectors/peer_request_sample.txt"),
            Message::Request(sample),
        ),
        (
            "peer_request_stripe",
            include_str!("../vectors/peer_request_stripe.txt"),
            Message::Request(stripe),
        ),
        (
            "peer_response_cells",
            include_str!("../vectors/peer_response_cells.txt"),
            Message::Response(real_cells()),
        ),
        (
            "peer_response",
            include_str!("../vectors/peer_response.txt"),
            Message::Response(response),
        ),
        (
            "peer_response_equal",
            include_str!("../vectors/peer_response_equal.txt"),
            Message::Response(equal),
        ),
        (
            "peer_announcement",
            include_str!("../vectors/peer_announcement.txt"),
            Message::Announcement(PeerAnnouncement {
                records: vec![entry(&record(2, 7))],
                ..PeerAnnouncement::default()
            }),
        ),
        (
            "peer_announcement_ids",
            include_str!("../vectors/peer_announcement_ids.txt"),
            Message::Announcement(PeerAnnouncement {
                ids: vec![0x4142_4344_4546_4748, 2],
                ..PeerAnnouncement::default()
            }),
        ),
        (
            "peer_announcement_prune",
            include_str!("../vectors/peer_announcement_prune.txt"),
            Message::Announcement(PeerAnnouncement {
                prune: true,
                ..PeerAnnouncement::default()
            }),
        ),
        (
            "peer_update",
            include_str!("../vectors/peer_update.txt"),
            Message::Update(PeerUpdate { record: leaving }),
        ),
        (
            "error",
            include_str!("../vectors/error.txt"),
            Message::Error(error),
        ),
    ]
}

#[test]
fn every_message_is_written_and_read_as_recorded() {
    for (name, recorded, message) in vectors() {
        let frame = codec::encode(&message);
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        let current = format!("{hex}\n{}\n", message.to_debug_json());
        if bless(name, &current) {
            continue;
        }
        assert_eq!(recorded, current, "{name}");
        assert_eq!(codec::decode(&frame), Ok(message), "{name}");
    }
}

#[expect(clippy::disallowed_methods, reason = "writes test vectors on request")]
fn bless(name: &str, text: &str) -> bool {
    let wanted = std::env::var("BTCFED_BLESS").is_ok();
    if wanted {
        let path = format!("{}/tests/vectors/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(path, text).unwrap();
    }
    wanted
}

#[test]
fn every_error_code_survives_the_wire() {
    for code in ErrorCode::ALL {
        let message = Message::Error(ErrorReply {
            code,
            message: String::new(),
            retry_after_ms: 0,
            version_min: 0,
            version_max: 0,
            alternatives: Vec::new(),
        });
        assert_eq!(codec::decode(&codec::encode(&message)), Ok(message));
    }
    let unknown = [0x2a, 0x02, 0x08, 0x63];
    let Ok(Message::Error(error)) = codec::decode(&unknown) else {
        panic!("unreadable");
    };
    assert_eq!(
        error.code,
        ErrorCode::Unsupported,
        "code 99 of a later version"
    );
}
