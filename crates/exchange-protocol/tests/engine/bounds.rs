//! Every bound at its limit and one past it.

use std::time::Duration;

use btcfed_core::addr::AddrScope;
use btcfed_core::exchange::{Input, Output};
use btcfed_core::network::Direction;
use btcfed_core::{SecretKey, SignedRecord};
use btcfed_exchange_protocol::codec::{self, DecodeError};
use btcfed_exchange_protocol::limits;
use btcfed_exchange_protocol::message::{
    Cell, CellBlock, CellRange, ErrorCode, ErrorReply, Hello, Message, Mode, PeerAnnouncement,
    PeerRequest, PeerResponse, RecordEntry, Want,
};

use crate::bench::{Bench, announcement, code, entry, hello, key, page, question, record, update};

const MS: Duration = Duration::from_millis(1);

fn decodes(message: &Message) -> bool {
    match codec::decode(&codec::encode(message)) {
        Ok(decoded) => {
            assert_eq!(decoded, *message);
            true
        }
        Err(DecodeError::TooLarge { .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

fn blank(count: usize) -> Vec<RecordEntry> {
    vec![
        RecordEntry {
            envelope: vec![1],
            age_s: 0
        };
        count
    ]
}

fn error(message: String, alternatives: Vec<RecordEntry>) -> Message {
    Message::Error(ErrorReply {
        code: ErrorCode::Busy,
        message,
        retry_after_ms: 1,
        version_min: 1,
        version_max: 2,
        alternatives,
    })
}

#[test]
fn counts_within_a_frame() {
    let response = |count| {
        Message::Response(PeerResponse {
            records: blank(count),
            ..PeerResponse::default()
        })
    };
    assert!(decodes(&response(limits::MAX_RECORDS_PER_FRAME)));
    assert!(!decodes(&response(limits::MAX_RECORDS_PER_FRAME + 1)));
    assert!(decodes(&announcement(&blank(
        limits::MAX_RECORDS_PER_ANNOUNCEMENT
    ))));
    assert!(!decodes(&announcement(&blank(
        limits::MAX_RECORDS_PER_ANNOUNCEMENT + 1
    ))));
    assert!(decodes(&error(
        String::new(),
        blank(limits::MAX_ALTERNATIVES)
    )));
    assert!(!decodes(&error(
        String::new(),
        blank(limits::MAX_ALTERNATIVES + 1)
    )));
}

#[test]
fn cells_and_ids_within_a_frame() {
    let block = |count| {
        Message::Response(PeerResponse {
            cells: Some(CellBlock {
                cells: vec![Cell::default(); count],
                ..CellBlock::default()
            }),
            ..PeerResponse::default()
        })
    };
    assert!(decodes(&block(limits::MAX_CELLS)));
    assert!(!decodes(&block(limits::MAX_CELLS + 1)));
    let ids = |count| {
        Message::Announcement(PeerAnnouncement {
            ids: vec![7; count],
            ..PeerAnnouncement::default()
        })
    };
    assert!(decodes(&ids(limits::MAX_IDS_PER_ANNOUNCEMENT)));
    assert!(!decodes(&ids(limits::MAX_IDS_PER_ANNOUNCEMENT + 1)));
    let want = |count| {
        Message::Request(PeerRequest {
            want: Some(Want {
                salt: 1,
                ids: vec![7; count],
            }),
            ..question(None)
        })
    };
    assert!(decodes(&want(limits::MAX_WANTED)));
    assert!(!decodes(&want(limits::MAX_WANTED + 1)));
    for count in [i64::MIN, -1, 0, 1, i64::MAX] {
        let cell = Cell {
            id: u64::MAX,
            check: u32::MAX,
            count,
        };
        let mut bench = Bench::new();
        let message = Message::Response(PeerResponse {
            count: u32::MAX,
            cells: Some(CellBlock {
                cells: vec![cell; 40],
                ..CellBlock::default()
            }),
            ..page(Some(hello(None)), &[])
        });
        assert!(decodes(&message));
        bench.connect(1, Direction::Outbound);
        let (id, _) = bench.sent_to(1).pop().unwrap();
        bench.answer(id, &message);
    }
}

#[test]
fn cells_and_ids_asked_for_beyond_their_bounds_cost_no_more_than_at_them() {
    let mut bench = Bench::new();
    bench.store((10..40).map(|n| record(n, 1)));
    bench.befriend(1);
    for (first, count, expected) in [
        (0, 4096, 4096),
        (0, u32::MAX, 4096),
        (4095, 2, 1),
        (4096, 1, 0),
        (u32::MAX, u32::MAX, 0),
    ] {
        let asked = PeerRequest {
            mode: Mode::Cells,
            cells: Some(CellRange {
                salt: 3,
                first,
                count,
            }),
            ..question(None)
        };
        let answer = bench.ask(1, &Message::Request(asked));
        assert!(codec::encode(&answer).len() <= btcfed_core::limits::MAX_FRAME_BYTES);
        let Message::Response(response) = answer else {
            panic!("no response");
        };
        assert_eq!(response.cells.unwrap().cells.len(), expected);
    }
    for mode in [Mode::Cells, Mode::Want] {
        let asked = PeerRequest {
            mode,
            ..question(None)
        };
        let answer = bench.ask(1, &Message::Request(asked));
        assert_eq!(code(&answer), ErrorCode::Malformed, "asks for nothing");
    }
}

#[test]
fn lengths_within_a_frame() {
    let federation = |len| {
        Message::Request(question(Some(Hello {
            federation: "f".repeat(len),
            ..hello(None)
        })))
    };
    assert!(decodes(&federation(limits::MAX_FEDERATION_BYTES)));
    assert!(!decodes(&federation(limits::MAX_FEDERATION_BYTES + 1)));
    let envelope = |len| {
        update(RecordEntry {
            envelope: vec![0; len],
            age_s: 0,
        })
    };
    assert!(decodes(&envelope(limits::MAX_RECORD_BYTES)));
    assert!(!decodes(&envelope(limits::MAX_RECORD_BYTES + 1)));
    let own = |len| {
        Message::Request(question(Some(Hello {
            record: vec![0; len],
            ..hello(None)
        })))
    };
    assert!(decodes(&own(limits::MAX_RECORD_BYTES)));
    assert!(!decodes(&own(limits::MAX_RECORD_BYTES + 1)));
}

#[test]
fn own_texts_beyond_their_bound_are_cut_between_characters() {
    let long = error("é".repeat(limits::MAX_ERROR_TEXT_BYTES), Vec::new());
    let Ok(Message::Error(read)) = codec::decode(&codec::encode(&long)) else {
        panic!("unreadable");
    };
    assert_eq!(read.message, "é".repeat(limits::MAX_ERROR_TEXT_BYTES / 2));
    let odd = error(
        "a".to_owned() + &"é".repeat(limits::MAX_ERROR_TEXT_BYTES),
        Vec::new(),
    );
    let Ok(Message::Error(read)) = codec::decode(&codec::encode(&odd)) else {
        panic!("unreadable");
    };
    assert_eq!(read.message.len(), limits::MAX_ERROR_TEXT_BYTES - 1);
    let agent = Message::Request(question(Some(Hello {
        agent: "x".repeat(limits::MAX_AGENT_BYTES + 1),
        ..hello(None)
    })));
    let Ok(Message::Request(read)) = codec::decode(&codec::encode(&agent)) else {
        panic!("unreadable");
    };
    assert_eq!(read.hello.unwrap().agent.len(), limits::MAX_AGENT_BYTES);
}

#[test]
fn numbers_at_their_edges_are_taken_without_harm() {
    for value in [0, 1, u32::MAX - 1, u32::MAX] {
        let mut bench = Bench::new();
        bench.befriend(1);
        let mut asked = question(Some(Hello {
            wall_ms: u64::MAX,
            features: u64::MAX,
            ..hello(None)
        }));
        asked.limit = value;
        asked.summary = Some(btcfed_exchange_protocol::message::Summary {
            salt: u32::MAX,
            root: u64::MAX,
            count: value,
        });
        assert!(matches!(
            bench.ask(1, &Message::Request(asked)),
            Message::Response(_)
        ));
        bench.connect(2, Direction::Outbound);
        let (id, _) = bench.sent_to(2).pop().unwrap();
        let aged = RecordEntry {
            age_s: value,
            ..entry(&record(9, u64::from(value)))
        };
        bench.answer(
            id,
            &Message::Response(PeerResponse {
                count: value,
                ..page(Some(hello(None)), &[aged])
            }),
        );
        let is_young = u64::from(value) < limits::LEASE.as_secs();
        let expected = is_young.then_some(u64::from(value));
        assert_eq!(bench.stored_seq(9), expected);
        bench.now = Duration::MAX;
        bench.feed(Input::Timeout);
    }
}

#[test]
fn conversations() {
    let mut bench = Bench::new();
    let secret = |n: usize| {
        let mut seed = [3; 32];
        seed[..8].copy_from_slice(&n.to_le_bytes());
        SecretKey::from_seed(seed).public()
    };
    for n in 0..=limits::MAX_SESSIONS {
        let peer = secret(n);
        bench.feed(Input::Connected {
            peer,
            direction: Direction::Inbound,
            scope: AddrScope::Private,
        });
    }
    assert_eq!(bench.engine.session_count(), limits::MAX_SESSIONS);
    bench.outputs.clear();
    // One past the limit is told so, once with others to ask, and hung up on.
    let late = secret(limits::MAX_SESSIONS);
    let asked = || Message::Request(question(Some(hello(None))));
    bench.store([record(9, 1)]);
    bench.outputs.clear();
    for alternatives in [2, 0] {
        let Message::Error(error) = bench.ask_as(late, &asked()) else {
            panic!("no error");
        };
        assert_eq!(error.code, ErrorCode::Busy);
        assert_eq!(error.alternatives.len(), alternatives);
        let retry = Duration::from_millis(error.retry_after_ms.into());
        assert!((limits::BUSY_RETRY_AFTER..=2 * limits::BUSY_RETRY_AFTER).contains(&retry));
    }
    let closed = |bench: &mut Bench, peer| {
        let is_close =
            |output: Output| matches!(output, Output::Close { peer: p, .. } if p == peer);
        bench.outputs.drain(..).any(is_close)
    };
    bench.now += limits::CLOSE_GRACE - MS;
    bench.feed(Input::Timeout);
    assert!(!closed(&mut bench, late), "the answer arrives first");
    bench.now += MS;
    bench.feed(Input::Timeout);
    assert!(closed(&mut bench, late));
    // Whom this node dialled has nothing to be told, and who says nothing is not waited for.
    let (dialled, silent) = (secret(5000), secret(5001));
    for (peer, direction) in [(dialled, Direction::Outbound), (silent, Direction::Inbound)] {
        let scope = AddrScope::Private;
        bench.feed(Input::Connected {
            peer,
            direction,
            scope,
        });
    }
    assert!(closed(&mut bench, dialled));
    bench.now += limits::TURN_AWAY_PATIENCE;
    bench.feed(Input::Timeout);
    assert!(closed(&mut bench, silent));
    bench.outputs.clear();
    bench.feed(Input::Disconnected { peer: secret(0) });
    bench.feed(Input::Connected {
        peer: secret(limits::MAX_SESSIONS),
        direction: Direction::Inbound,
        scope: AddrScope::Private,
    });
    assert!(bench.outputs.is_empty());
}

#[test]
fn a_stranger_without_a_conversation_is_told_of_others() {
    let mut bench = Bench::new();
    bench.store((10..30).map(|n| crate::bench::record_at(n, 1, &["/ip4/20.0.0.1/tcp/1"])));
    bench.store([record(40, 1)]);
    let Message::Error(error) = bench.ask(99, &Message::Request(question(Some(hello(None)))))
    else {
        panic!("no error");
    };
    assert_eq!(
        (error.code, error.alternatives.len()),
        (ErrorCode::Busy, limits::MAX_ALTERNATIVES)
    );
    let private = record(40, 1);
    assert!(
        error
            .alternatives
            .iter()
            .all(|entry| entry.envelope != private.envelope()),
        "only public ones"
    );
}

#[test]
fn messages_of_one_peer() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Inbound);
    bench.ask(1, &Message::Request(question(Some(hello(None)))));
    for _ in 1..limits::MESSAGE_BURST {
        assert!(matches!(
            bench.ask(1, &Message::Request(question(None))),
            Message::Response(_)
        ));
        bench.outputs.clear();
    }
    assert_eq!(
        code(&bench.ask(1, &Message::Request(question(None)))),
        ErrorCode::Rate
    );
    bench.now += Duration::from_secs(1);
    for _ in 0..limits::MESSAGES_PER_SECOND {
        assert!(matches!(
            bench.ask(1, &Message::Request(question(None))),
            Message::Response(_)
        ));
        bench.outputs.clear();
    }
    assert_eq!(
        code(&bench.ask(1, &Message::Request(question(None)))),
        ErrorCode::Rate
    );
}

#[test]
fn records_of_one_peer_sent_unasked() {
    let mut bench = Bench::new();
    bench.stores = false;
    bench.connect(1, Direction::Inbound);
    bench.ask(1, &Message::Request(question(Some(hello(None)))));
    let burst = u64::from(limits::UNSOLICITED_BURST);
    let records: Vec<RecordEntry> = (0..=burst).map(|n| entry(&record(1000 + n, 1))).collect();
    for batch in records[..records.len() - 1].chunks(limits::MAX_RECORDS_PER_ANNOUNCEMENT) {
        assert_eq!(bench.ask(1, &announcement(batch)), Message::Ack);
    }
    let last = announcement(&records[records.len() - 1..]);
    let Message::Error(error) = bench.ask(1, &last) else {
        panic!("no error");
    };
    assert_eq!(error.code, ErrorCode::Rate);
    let wait = Duration::from_millis(error.retry_after_ms.into());
    assert_eq!(
        wait,
        Duration::from_millis(3200),
        "until there is room for a whole announcement"
    );
    bench.now += wait;
    assert_eq!(bench.ask(1, &last), Message::Ack);
}

#[test]
fn announcements_in_flight_and_records_waiting_behind_them() {
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.befriend(2);
    bench.outputs.clear();
    let total = u64::try_from(limits::MAX_OUTBOX).unwrap() + 200;
    for chunk in (0..total).collect::<Vec<_>>().chunks(64) {
        let records: Vec<RecordEntry> = chunk.iter().map(|n| entry(&record(5000 + n, 1))).collect();
        // Many sources, or the budget of one would end it.
        let source = 100 + chunk[0];
        bench.connect(source, Direction::Outbound);
        let (id, _) = bench.sent_to(source).pop().unwrap();
        bench.answer(id, &Message::Response(page(Some(hello(None)), &records)));
        bench.feed(Input::Disconnected { peer: key(source) });
        bench.now += limits::ANNOUNCE_INTERVAL;
        bench
            .outputs
            .retain(|output| matches!(output, Output::Send { peer, .. } if *peer == key(1)));
    }
    let sent: Vec<_> = bench
        .sent_to(1)
        .into_iter()
        .filter(|(_, message)| matches!(message, Message::Announcement(_)))
        .collect();
    assert_eq!(
        sent.len(),
        limits::MAX_ANNOUNCEMENTS_IN_FLIGHT,
        "nothing more until one is answered"
    );
    // Everything that is still in the outbox follows as the peer answers.
    let mut told = bench.announced_to(1).len();
    let mut open: Vec<_> = sent.into_iter().map(|(id, _)| id).collect();
    bench.outputs.clear();
    while let Some(id) = open.pop() {
        bench.now += limits::ANNOUNCE_INTERVAL;
        bench.answer(id, &Message::Ack);
        told += bench.announced_to(1).len();
        open.extend(
            bench
                .sent_to(1)
                .into_iter()
                .filter(|(_, m)| matches!(m, Message::Announcement(_)))
                .map(|(id, _)| id),
        );
        bench.outputs.clear();
    }
    assert_eq!(
        told,
        limits::MAX_OUTBOX + 128,
        "two batches in flight and one full outbox"
    );
}

#[test]
fn pages_of_one_round() {
    let mut bench = Bench::new();
    bench.stores = false;
    bench.connect(1, Direction::Outbound);
    let mut cursors: Vec<SignedRecord> = (0..=u64::from(limits::MAX_PAGES_PER_ROUND))
        .map(|n| record(n + 1, 1))
        .collect();
    cursors.sort_by_key(SignedRecord::key);
    for (index, cursor) in cursors.iter().enumerate() {
        let Some((id, Message::Request(_))) = bench.sent_to(1).pop() else {
            assert_eq!(index, usize::try_from(limits::MAX_PAGES_PER_ROUND).unwrap());
            return;
        };
        bench.outputs.clear();
        let hello = (index == 0).then(|| hello(None));
        let response = PeerResponse {
            next: Some(cursor.key()),
            ..page(hello, &[entry(&record(1, 1))])
        };
        bench.answer(id, &Message::Response(response));
    }
    panic!("one page too many");
}

#[test]
fn lists_kept_for_later_cells() {
    let mut bench = Bench::new();
    bench.store((1000..1040).map(|n| record(n, 1)));
    let peers = 1..=u64::try_from(limits::MAX_SNAPSHOTS).unwrap() + 1;
    let mut salts = Vec::new();
    for n in peers.clone() {
        bench.befriend(n);
    }
    for n in peers {
        let asked = PeerRequest {
            mode: Mode::Summary,
            summary: Some(btcfed_exchange_protocol::message::Summary {
                count: 50,
                ..crate::bench::odd_summary()
            }),
            ..question(None)
        };
        let Message::Response(response) = bench.ask(n, &Message::Request(asked)) else {
            panic!("no response");
        };
        salts.push((n, response.cells.unwrap().salt, response.count));
    }
    bench.store([record(2000, 1)]);
    for (n, salt, before) in salts {
        let asked = PeerRequest {
            mode: Mode::Cells,
            cells: Some(CellRange {
                salt,
                first: 32,
                count: 1,
            }),
            ..question(None)
        };
        let Message::Response(response) = bench.ask(n, &Message::Request(asked)) else {
            panic!("no response");
        };
        let now = before + u32::from(n == 1);
        assert_eq!(
            response.count, now,
            "only the oldest list is told as it is now"
        );
    }
}
