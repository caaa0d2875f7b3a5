//! Bytes and sequences that no honest peer sends: nothing panics, nothing grows, the honest keep their records.

use std::time::Duration;

use btcfed_core::exchange::{Input, Output, Reaction};
use btcfed_core::network::{CommandId, Direction, RequestToken};
use btcfed_core::rng::SeededRng;
use btcfed_exchange_protocol::codec::{self, DecodeError};
use btcfed_exchange_protocol::limits;
use btcfed_exchange_protocol::message::{
    CellRange, ErrorCode, ErrorReply, Message, Mode, PeerAnnouncement, PeerRequest, PeerResponse,
    RecordEntry, Want,
};

use crate::bench::{
    Bench, announcement, cells, code, entry, forged, hello, key, odd_summary, page, question,
    record, update,
};

/// One well-formed frame of every message.
fn samples() -> Vec<Vec<u8>> {
    let records = vec![entry(&record(9, 1)), entry(&record(8, 2))];
    let messages = [
        Message::Request(PeerRequest {
            cursor: Some(key(3)),
            summary: Some(odd_summary()),
            ..question(Some(hello(Some(&record(1, 1)))))
        }),
        Message::Response(PeerResponse {
            next: Some(key(3)),
            ..page(Some(hello(None)), &records)
        }),
        Message::Request(PeerRequest {
            mode: Mode::Summary,
            summary: Some(odd_summary()),
            ..question(Some(hello(None)))
        }),
        Message::Request(PeerRequest {
            mode: Mode::Cells,
            cells: Some(CellRange {
                salt: 1,
                first: 30,
                count: 40,
            }),
            ..question(Some(hello(None)))
        }),
        Message::Request(PeerRequest {
            mode: Mode::Want,
            want: Some(Want {
                salt: 1,
                ids: vec![2, 3],
            }),
            ..question(Some(hello(None)))
        }),
        Message::Response(PeerResponse {
            cells: Some(cells(0, 4)),
            ..page(Some(hello(None)), &[])
        }),
        announcement(&records),
        update(entry(&record(1, 5))),
        Message::Error(ErrorReply {
            code: ErrorCode::Busy,
            message: "later".to_owned(),
            retry_after_ms: 5,
            version_min: 1,
            version_max: 1,
            alternatives: records.clone(),
        }),
    ];
    messages.iter().map(codec::encode).collect()
}

/// Offers bytes in every way bytes can arrive, to a fresh conversation each time.
fn offer(bench: &mut Bench, frame: &[u8]) {
    bench.connect(1, Direction::Outbound);
    let ids: Vec<CommandId> = bench.sent_to(1).into_iter().map(|(id, _)| id).collect();
    for id in ids {
        bench.feed(Input::Response {
            id,
            frame: frame.to_vec(),
        });
    }
    bench.connect(2, Direction::Inbound);
    bench.ask_raw(2, frame.to_vec());
    bench.ask(2, &Message::Request(question(Some(hello(None)))));
    bench.ask_raw(2, frame.to_vec());
    bench.outputs.clear();
    for n in 1..=2 {
        bench.feed(Input::Disconnected { peer: key(n) });
    }
    bench.outputs.clear();
}

fn bench_with_an_honest_record() -> Bench {
    let mut bench = Bench::new();
    bench.store([record(50, 1)]);
    bench
}

#[test]
fn every_truncation_of_every_message_is_survived() {
    let mut bench = bench_with_an_honest_record();
    for frame in samples() {
        for len in 0..frame.len() {
            let _ = codec::decode(&frame[..len]);
            if len % 7 == 0 {
                offer(&mut bench, &frame[..len]);
                bench.now += Duration::from_secs(1);
            }
        }
    }
    assert_eq!(bench.stored_seq(50), Some(1));
    assert_eq!(bench.engine.session_count(), 0);
}

#[test]
fn every_flipped_bit_of_every_message_is_survived() {
    let mut bench = bench_with_an_honest_record();
    for mut frame in samples() {
        for bit in 0..frame.len() * 8 {
            frame[bit / 8] ^= 1 << (bit % 8);
            if let Ok(message) = codec::decode(&frame) {
                let _ = message.to_debug_json();
            }
            if bit % 61 == 0 {
                offer(&mut bench, &frame);
                bench.now += Duration::from_secs(1);
            }
            frame[bit / 8] ^= 1 << (bit % 8);
        }
    }
    assert_eq!(bench.stored_seq(50), Some(1));
}

#[test]
fn random_bytes_are_survived() {
    let mut rng = SeededRng::from_seed(11);
    let mut bench = bench_with_an_honest_record();
    for round in 0..20_000 {
        let len = rng.index(200);
        let mut frame: Vec<u8> = (0..len).map(|_| rng.next_u64().to_le_bytes()[0]).collect();
        if let Some(first) = frame.first_mut() {
            // Half of them at least look like one of the messages.
            if rng.chance(0.5) {
                *first = [0x0a, 0x12, 0x1a, 0x22, 0x2a][rng.index(5)];
            }
        }
        let _ = codec::decode(&frame);
        if round % 100 == 0 {
            offer(&mut bench, &frame);
            bench.now += Duration::from_secs(1);
        }
    }
    assert_eq!(bench.stored_seq(50), Some(1));
}

#[test]
fn random_sequences_of_messages_keep_the_engine_sane() {
    for seed in 0..20 {
        let mut rng = SeededRng::from_seed(seed);
        let mut bench = bench_with_an_honest_record();
        let frames = samples();
        let mut open: Vec<CommandId> = Vec::new();
        for step in 0..300_u64 {
            let n = rng.below(4) + 1;
            match rng.below(8) {
                0 => bench.connect(
                    n,
                    if rng.chance(0.5) {
                        Direction::Inbound
                    } else {
                        Direction::Outbound
                    },
                ),
                1 => bench.feed(Input::Disconnected { peer: key(n) }),
                2 => bench.wait(Duration::from_millis(rng.below(3000))),
                3 | 4 => {
                    let token = RequestToken(1_000_000 + step);
                    let frame = rng.pick(&frames).cloned().unwrap_or_default();
                    bench.feed(Input::Request {
                        peer: key(n),
                        token,
                        frame,
                    });
                }
                5 => {
                    let own = record(n, rng.below(5));
                    let frame = codec::encode(&Message::Request(question(Some(hello(Some(&own))))));
                    bench.feed(Input::Request {
                        peer: key(n),
                        token: RequestToken(2_000_000 + step),
                        frame,
                    });
                }
                _ => {
                    if let Some(id) = rng.pick(&open).copied() {
                        let frame = rng.pick(&frames).cloned().unwrap_or_default();
                        bench.feed(Input::Response { id, frame });
                    }
                }
            }
            for output in std::mem::take(&mut bench.outputs) {
                if let Output::Send { id, frame, .. } = output {
                    assert!(frame.len() <= btcfed_core::limits::MAX_FRAME_BYTES);
                    open.push(id);
                }
            }
        }
        assert_eq!(bench.stored_seq(50), Some(1));
        assert!(bench.set.get(&key(0)).is_none());
    }
}

#[test]
fn lengths_and_counts_are_refused_before_they_cost_anything() {
    // A length prefix of 2^63 - 1, of 4 GiB, a varint of eleven bytes, a list of empty records beyond its bound.
    let huge = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let wide = [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f];
    let eleven = [
        0x0a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01,
    ];
    for frame in [&huge[..], &wide, &eleven] {
        assert!(
            matches!(codec::decode(frame), Err(DecodeError::Malformed { .. })),
            "{frame:x?}"
        );
    }
    let mut list = Vec::new();
    for _ in 0..limits::MAX_RECORDS_PER_ANNOUNCEMENT + 1 {
        list.extend([0x0a, 0x00]);
    }
    let mut frame = vec![0x1a];
    frame.extend([0x82, 0x01]); // 130 as varint
    assert_eq!(list.len(), 130);
    frame.extend(&list);
    assert!(matches!(
        codec::decode(&frame),
        Err(DecodeError::TooLarge { .. })
    ));

    let mut bench = Bench::new();
    bench.befriend(1);
    assert_eq!(code(&bench.ask_raw(1, frame)), ErrorCode::TooLarge);
    assert_eq!(code(&bench.ask_raw(1, huge.to_vec())), ErrorCode::Malformed);
    assert_eq!(
        code(&bench.ask_raw(1, vec![0; btcfed_core::limits::MAX_FRAME_BYTES + 1])),
        ErrorCode::TooLarge
    );
}

#[test]
fn unknown_fields_are_ignored_and_unknown_messages_are_answered() {
    let mut bench = Bench::new();
    bench.befriend(1);
    let mut frame = codec::encode(&Message::Request(question(None)));
    frame.extend([0xf8, 0x01, 0x2a]); // field 31, varint 42
    assert!(matches!(bench.ask_raw(1, frame), Message::Response(_)));
    assert_eq!(
        code(&bench.ask_raw(1, vec![0x3a, 0x00])),
        ErrorCode::Unsupported,
        "message 7"
    );
    for mode in [6, 7, u32::MAX] {
        let asked = PeerRequest {
            mode: Mode::Other(mode),
            ..question(None)
        };
        assert_eq!(
            code(&bench.ask(1, &Message::Request(asked))),
            ErrorCode::Unsupported
        );
    }
    assert!(bench.penalties(1).is_empty(), "newer peers are welcome");
}

#[test]
fn what_is_no_request_is_refused_as_one() {
    let mut bench = Bench::new();
    bench.befriend(1);
    let response = Message::Response(page(None, &[entry(&record(9, 1))]));
    let mut error = samples().pop().unwrap();
    assert_eq!(
        code(&bench.ask(1, &response)),
        ErrorCode::Malformed,
        "an answer nobody asked for"
    );
    assert_eq!(bench.stored_seq(9), None);
    assert_eq!(bench.penalties(1), [Reaction::Throttle]);
    assert_eq!(
        code(&bench.ask_raw(1, std::mem::take(&mut error))),
        ErrorCode::Malformed
    );
    assert_eq!(code(&bench.ask_raw(1, Vec::new())), ErrorCode::Malformed);
    assert_eq!(bench.stored_seq(9), None);
}

#[test]
fn answers_of_the_wrong_kind_count_against_the_peer() {
    for wrong in [
        Message::Ack,
        announcement(&[entry(&record(9, 1))]),
        update(entry(&record(1, 9))),
        Message::Request(question(None)),
        Message::Response(page(None, &[entry(&record(9, 1))])),
    ] {
        let mut bench = Bench::new();
        bench.connect(1, Direction::Outbound);
        let (id, _) = bench.sent_to(1).pop().unwrap();
        bench.answer(id, &wrong);
        assert_eq!(
            (bench.penalties(1), bench.stored_seq(9)),
            (vec![Reaction::Warn], None),
            "{}",
            wrong.name()
        );
    }
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.befriend(2);
    bench.ask(1, &announcement(&[entry(&record(8, 1))]));
    let (id, _) = bench.sent_to(2).pop().unwrap();
    bench.answer(id, &Message::Response(page(None, &[entry(&record(9, 1))])));
    assert_eq!(
        (bench.penalties(2), bench.stored_seq(9)),
        (vec![Reaction::Warn], None)
    );
}

#[test]
fn an_answer_without_a_question_is_ignored() {
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.answer(
        CommandId(9999),
        &Message::Response(page(Some(hello(None)), &[entry(&record(9, 1))])),
    );
    assert!(bench.outputs.is_empty());
}

#[test]
fn nobody_is_listened_to_before_the_introduction() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Inbound);
    for message in [
        Message::Request(question(None)),
        announcement(&[entry(&record(9, 1))]),
        update(entry(&record(1, 1))),
    ] {
        assert_eq!(code(&bench.ask(1, &message)), ErrorCode::HelloRequired);
    }
    assert!(bench.set.is_empty());
    assert_eq!(
        code(&bench.ask_raw(99, samples().remove(0))),
        ErrorCode::Busy,
        "not even connected"
    );
}

#[test]
fn pages_that_never_end_or_go_in_circles_are_ended() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    let (id, _) = bench.sent_to(1).pop().unwrap();
    let mut keys = [key(20), key(21)];
    keys.sort_unstable();
    let first = PeerResponse {
        next: Some(keys[1]),
        ..page(Some(hello(None)), &[entry(&record(20, 1))])
    };
    bench.answer(id, &Message::Response(first));
    let (id, _) = bench.sent_to(1).pop().unwrap();
    let back = PeerResponse {
        next: Some(keys[0]),
        ..page(None, &[entry(&record(21, 1))])
    };
    bench.answer(id, &Message::Response(back));
    assert_eq!(bench.penalties(1), [Reaction::Warn]);
    let asked = bench.sent_to(1).len();
    bench.wait(Duration::from_millis(500));
    assert_eq!(bench.sent_to(1).len(), asked, "the round is over");

    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    let (id, _) = bench.sent_to(1).pop().unwrap();
    let empty = PeerResponse {
        next: Some(key(20)),
        ..page(Some(hello(None)), &[])
    };
    bench.answer(id, &Message::Response(empty));
    assert_eq!(
        bench.penalties(1),
        [Reaction::Warn],
        "a page without records leads nowhere"
    );
}

#[test]
fn malformed_frames_escalate_to_a_closed_connection_and_reconnecting_does_not_wash_them_off() {
    let mut bench = Bench::new();
    bench.befriend(1);
    let mut reactions = Vec::new();
    for _ in 0..4 {
        bench.ask_raw(1, vec![0xff]);
        reactions.extend(bench.penalties(1));
        bench
            .outputs
            .retain(|output| !matches!(output, Output::Penalty { .. }));
    }
    assert_eq!(
        reactions,
        [Reaction::Warn, Reaction::Throttle, Reaction::Disconnect]
    );
    assert!(bench.is_closed(1));
    assert_eq!(
        code(&bench.ask_raw(1, vec![0xff])),
        ErrorCode::Busy,
        "no longer listened to"
    );
    bench.feed(Input::Disconnected { peer: key(1) });
    bench.befriend(1);
    bench.ask_raw(1, vec![0xff]);
    assert_eq!(bench.penalties(1), [Reaction::Disconnect]);
    bench.befriend(2);
    assert!(bench.penalties(2).is_empty(), "others are not concerned");
}

#[test]
fn a_flood_of_messages_is_refused_with_a_time_to_come_back() {
    let mut bench = Bench::new();
    bench.befriend(1);
    let mut refusals = 0;
    for _ in 0..limits::MESSAGE_BURST * 2 {
        if let Message::Error(error) = bench.ask(1, &Message::Request(question(None))) {
            refusals += 1;
            assert!(matches!(error.code, ErrorCode::Rate | ErrorCode::Busy));
            assert!(error.code == ErrorCode::Busy || (1..=1000).contains(&error.retry_after_ms));
        }
        bench
            .outputs
            .retain(|output| matches!(output, Output::Penalty { .. } | Output::Close { .. }));
    }
    assert!(refusals >= limits::MESSAGE_BURST - 1, "{refusals}");
    assert_eq!(
        bench.penalties(1),
        [Reaction::Warn, Reaction::Throttle, Reaction::Disconnect]
    );
}

#[test]
fn the_same_budget_holds_for_alternatives() {
    let mut bench = Bench::new();
    bench.stores = false;
    let mut learned = 0;
    for round in 0..200_u64 {
        bench.connect(1, Direction::Outbound);
        let (id, _) = bench.sent_to(1).pop().unwrap();
        bench.outputs.clear();
        let alternatives = (0..8)
            .map(|n| entry(&record(200_000 + round * 8 + n, 1)))
            .collect();
        let busy = ErrorReply {
            code: ErrorCode::Busy,
            message: String::new(),
            retry_after_ms: 0,
            version_min: 0,
            version_max: 0,
            alternatives,
        };
        bench.answer(id, &Message::Error(busy));
        learned = bench.counters().records_accepted;
        bench.outputs.clear();
    }
    // A new connection is no new budget.
    assert_eq!(learned, u64::from(limits::UNSOLICITED_BURST));
}

#[test]
fn forgeries_in_a_page_are_refused_and_blamed_on_whoever_sent_the_page() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    let (id, _) = bench.sent_to(1).pop().unwrap();
    let records = [
        forged(20, 1),
        entry(&record(21, 1)),
        RecordEntry {
            envelope: vec![1, 2, 3],
            age_s: 0,
        },
    ];
    bench.answer(id, &Message::Response(page(Some(hello(None)), &records)));
    assert_eq!(
        (bench.stored_seq(20), bench.stored_seq(21)),
        (None, Some(1))
    );
    assert_eq!(bench.penalties(1), [Reaction::Warn]);
    assert_eq!(bench.counters().records_refused, 2);
    assert!(
        bench.penalties(20).is_empty(),
        "never on whom the record is about"
    );
}

#[test]
fn an_agent_text_cannot_reach_a_terminal() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Inbound);
    let mut odd = hello(None);
    odd.agent = "a\u{1b}[2J\n".to_owned();
    bench.ask(1, &Message::Request(question(Some(odd))));
    let told = format!("{:?}", bench.notices());
    assert!(!told.contains('\u{1b}') && told.contains("u{1b}"), "{told}");
}

#[test]
fn a_decoded_announcement_holds_no_more_than_was_sent() {
    let message = announcement(&vec![
        RecordEntry::default();
        limits::MAX_RECORDS_PER_ANNOUNCEMENT
    ]);
    let decoded = codec::decode(&codec::encode(&message)).unwrap();
    let Message::Announcement(PeerAnnouncement { records, .. }) = decoded else {
        panic!("not an announcement");
    };
    assert_eq!(records.len(), limits::MAX_RECORDS_PER_ANNOUNCEMENT);
}

#[test]
fn cells_that_lead_nowhere_are_ended_and_blamed() {
    let answers = [
        ("from the middle", cells(7, 32), true),
        ("none", cells(0, 0), true),
        ("random ones", cells(0, 32), false),
    ];
    for (name, block, is_wrong) in answers {
        let mut bench = bench_with_an_honest_record();
        bench.store((100..120).map(|n| record(n, 1)));
        bench.connect(1, Direction::Outbound);
        let (id, _) = bench.sent_to(1).pop().unwrap();
        let response = PeerResponse {
            count: 10,
            cells: Some(block),
            ..page(Some(hello(None)), &[])
        };
        bench.answer(id, &Message::Response(response));
        let expected: &[_] = if is_wrong { &[Reaction::Warn] } else { &[] };
        assert_eq!(bench.penalties(1), expected, "{name}");
        if is_wrong {
            continue;
        }
        // Never decodable: the cells end at their cap, and pages follow.
        for _ in 0..50 {
            let (id, Message::Request(request)) = bench.sent_to(1).pop().unwrap() else {
                panic!("no request");
            };
            let Some(range) = request.cells else {
                assert_eq!((request.mode, request.limit), (Mode::Page, 256));
                break;
            };
            bench.outputs.clear();
            let response = PeerResponse {
                count: 10,
                cells: Some(cells(range.first, range.count)),
                ..page(None, &[])
            };
            bench.answer(id, &Message::Response(response));
        }
    }
}
