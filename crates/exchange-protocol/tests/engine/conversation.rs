//! Introduction, comparison, pages, announcements: what a well-behaved peer sees.

use std::sync::Arc;
use std::time::Duration;

use btcfed_core::SignedRecord;
use btcfed_core::config::NodeConfig;
use btcfed_core::exchange::{Exchange as _, Input, Notice, Reaction};
use btcfed_core::network::{Direction, RequestError};
use btcfed_exchange_protocol::message::{
    ErrorCode, ErrorReply, Hello, Message, Mode, PeerRequest, PeerResponse,
};
use btcfed_exchange_protocol::{Phase, limits};

use crate::bench::{
    Bench, announcement, code, entry, hello, key, odd_summary, page, question, record, update,
};

const MS: Duration = Duration::from_millis(1);

pub(crate) fn first_request(bench: &Bench, n: u64) -> PeerRequest {
    match bench.sent_to(n).into_iter().next() {
        Some((_, Message::Request(request))) => request,
        other => panic!("no request: {other:?}"),
    }
}

pub(crate) fn refused(code: ErrorCode) -> Message {
    Message::Error(ErrorReply {
        code,
        message: "no".to_owned(),
        retry_after_ms: 0,
        version_min: 0,
        version_max: 0,
        alternatives: Vec::new(),
    })
}

#[test]
fn the_side_that_dialled_introduces_itself_and_asks_at_once() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    let request = first_request(&bench, 1);
    let hello = request.hello.unwrap();
    assert_eq!(hello.record, record(0, 10).envelope());
    assert_eq!(
        (hello.version_min, hello.version_max, hello.agent.as_str()),
        (1, 1, "bench/1")
    );
    assert_eq!(hello.wall_ms, 1_800_000_000_000);
    assert_eq!(
        (request.mode, request.cursor, request.limit),
        (Mode::Sample, None, 16),
        "a newcomer asks for a sample"
    );
    assert_eq!(
        request.summary.unwrap().count,
        1,
        "its own record is part of its list"
    );
}

#[test]
fn the_side_that_was_dialled_waits_for_the_first_word_but_not_for_ever() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Inbound);
    bench.wait(249 * MS);
    assert!(bench.sent_to(1).is_empty());
    bench.wait(MS);
    assert!(first_request(&bench, 1).hello.is_some());
}

#[test]
fn the_own_record_is_told_once_per_connection() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Inbound);
    let Message::Response(response) = bench.ask(1, &Message::Request(question(Some(hello(None)))))
    else {
        panic!("no response");
    };
    assert_eq!(response.hello.unwrap().record, record(0, 10).envelope());
    let own_question = first_request(&bench, 1).hello.unwrap();
    assert!(own_question.record.is_empty(), "told in the answer already");
    bench.wait(Duration::from_secs(60));
    assert!(bench.announced_to(1).is_empty());
}

#[test]
fn a_peer_that_introduces_itself_is_stored_and_told_of() {
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.connect(2, Direction::Inbound);
    bench.ask(
        2,
        &Message::Request(question(Some(hello(Some(&record(2, 5)))))),
    );
    assert_eq!(bench.stored_seq(2), Some(5));
    assert_eq!(bench.announced_to(1), [(key(2), 5)]);
    let greeting = Notice::HandshakeCompleted {
        peer: key(2),
        agent: "test/1".to_owned(),
        clock_offset_ms: -1_800_000_000_000,
    };
    assert_eq!(bench.notices(), [greeting]);
}

#[test]
fn lists_are_fetched_page_by_page_and_stored() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    let mut records: Vec<SignedRecord> = (10..14).map(|n| record(n, 1)).collect();
    records.sort_by_key(SignedRecord::key);
    let pages = [&records[..2], &records[2..]];
    for (index, part) in pages.iter().enumerate() {
        let (id, _) = bench.sent_to(1).pop().unwrap();
        let entries: Vec<_> = part.iter().map(entry).collect();
        let next = (index == 0).then(|| records[1].key());
        let hello = (index == 0).then(|| hello(None));
        bench.answer(
            id,
            &Message::Response(PeerResponse {
                next,
                ..page(hello, &entries)
            }),
        );
    }
    assert!((10..14).all(|n| bench.stored_seq(n) == Some(1)));
    let (_, Message::Request(second)) = bench.sent_to(1).pop().unwrap() else {
        panic!("no second question");
    };
    assert_eq!(
        (second.cursor, second.hello, second.summary),
        (Some(records[1].key()), None, None)
    );
    let done = Notice::SyncCompleted {
        peer: key(1),
        received: 4,
        learned: 4,
    };
    assert!(bench.notices().contains(&done), "{:?}", bench.notices());
}

#[test]
fn a_list_is_served_in_the_order_of_keys_with_a_cursor_and_the_limit_asked_for() {
    let mut bench = Bench::new();
    bench.store((10..20).map(|n| record(n, 1)));
    bench.befriend(1);
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let asked = PeerRequest {
            cursor,
            limit: 4,
            ..question(None)
        };
        let Message::Response(response) = bench.ask(1, &Message::Request(asked)) else {
            panic!("no response");
        };
        assert!(response.records.len() <= 4 && response.hello.is_none());
        seen.extend(response.records.into_iter().map(|entry| entry.envelope));
        cursor = response.next;
        if cursor.is_none() {
            break;
        }
    }
    let mut expected: Vec<SignedRecord> = (10..20)
        .map(|n| record(n, 1))
        .chain([record(0, 10)])
        .collect();
    expected.sort_by_key(SignedRecord::key);
    let expected: Vec<Vec<u8>> = expected
        .iter()
        .map(|record| record.envelope().to_vec())
        .collect();
    assert_eq!(seen, expected, "everything but its own record, each once");
}

#[test]
fn a_full_page_fits_into_a_frame() {
    let mut bench = Bench::new();
    let long = |n: u64| {
        let name = |i: u64| format!("/dns4/{}.{n}-{i}.example/tcp/9000", "x".repeat(60));
        let names: Vec<String> = (0..8).map(name).collect();
        crate::bench::record_at(n, 1, &names.iter().map(String::as_str).collect::<Vec<_>>())
    };
    bench.store((100..200).map(long));
    bench.befriend(1);
    let answer = bench.ask(1, &Message::Request(question(Some(hello(None)))));
    let frame = btcfed_exchange_protocol::codec::encode(&answer);
    let Message::Response(response) = answer else {
        panic!("no response");
    };
    assert!(
        frame.len() <= btcfed_core::limits::MAX_FRAME_BYTES,
        "{}",
        frame.len()
    );
    assert!(
        response.next.is_some() && response.records.len() > 50,
        "{}",
        response.records.len()
    );
}

#[test]
fn equal_lists_cost_a_summary_and_nothing_else() {
    let mut bench = Bench::new();
    bench.befriend(1);
    let Message::Response(_) = bench.ask(1, &Message::Request(question(None))) else {
        panic!("no response");
    };
    bench.wait(Duration::from_secs(2));
    let (_, Message::Request(periodic)) = bench.sent_to(1).pop().unwrap() else {
        panic!("no periodic question");
    };
    let answer = bench.ask(1, &Message::Request(periodic));
    let frame = btcfed_exchange_protocol::codec::encode(&answer);
    let Message::Response(response) = answer else {
        panic!("no response");
    };
    assert!(response.equal && response.records.is_empty() && response.next.is_none());
    assert!(frame.len() <= 8, "{} bytes", frame.len());
}

#[test]
fn different_lists_are_not_equal_and_a_limit_of_zero_only_compares() {
    let mut bench = Bench::new();
    bench.befriend(1);
    let asked = PeerRequest {
        limit: 0,
        summary: Some(odd_summary()),
        ..question(None)
    };
    let Message::Response(response) = bench.ask(1, &Message::Request(asked)) else {
        panic!("no response");
    };
    assert_eq!(
        (response.equal, response.records.len(), response.count),
        (false, 0, 2)
    );
}

#[test]
fn a_record_is_passed_on_once_to_everybody_who_may_lack_it() {
    let mut bench = Bench::new();
    for n in 1..=4 {
        bench.befriend(n);
    }
    bench.settle();
    let news = announcement(&[entry(&record(9, 1))]);
    assert_eq!(bench.ask(1, &news), Message::Ack);
    let pruned = bench.ask(2, &news);
    assert!(
        matches!(&pruned, Message::Announcement(answer) if answer.is_prune()),
        "known: {pruned:?}"
    );
    bench.wait(30 * MS);
    bench.acknowledge();
    bench.wait(Duration::from_secs(5));
    assert_eq!(
        bench.announced_to(1),
        [],
        "never back to where it came from"
    );
    assert_eq!(bench.announced_to(3), [(key(9), 1)]);
    assert_eq!(bench.announced_to(4), [(key(9), 1)]);
    assert_eq!(
        bench.counters().signatures_checked,
        4 + 1,
        "one check per new record"
    );
}

#[test]
fn announcements_are_batched_and_the_first_goes_out_at_once() {
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.befriend(2);
    bench.wait(30 * MS);
    bench.outputs.clear();
    for n in 10..15 {
        bench.ask(1, &announcement(&[entry(&record(n, 1))]));
    }
    assert_eq!(bench.announced_to(2), [(key(10), 1)]);
    bench.wait(24 * MS);
    assert_eq!(bench.sent_to(2).len(), 1);
    bench.wait(MS);
    assert_eq!(bench.sent_to(2).len(), 2);
    assert_eq!(bench.announced_to(2).len(), 5);
}

#[test]
fn what_arrives_from_a_peer_meanwhile_is_not_announced_to_it() {
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.befriend(2);
    bench.wait(30 * MS);
    bench.outputs.clear();
    bench.ask(1, &announcement(&[entry(&record(10, 1))]));
    bench.ask(
        1,
        &announcement(&[entry(&record(11, 1)), entry(&record(12, 1))]),
    );
    bench.ask(2, &announcement(&[entry(&record(11, 1))]));
    bench.wait(100 * MS);
    assert_eq!(bench.announced_to(2), [(key(10), 1), (key(12), 1)]);
}

#[test]
fn an_announcement_that_failed_is_made_again() {
    for failure in ["timeout", "rate", "hello", "malformed"] {
        let mut bench = Bench::new();
        bench.befriend(1);
        bench.befriend(2);
        bench.ask(1, &announcement(&[entry(&record(9, 1))]));
        let (id, _) = bench.sent_to(2).pop().unwrap();
        bench.outputs.clear();
        match failure {
            "timeout" => bench.feed(Input::Failed {
                id,
                error: RequestError::Timeout,
            }),
            "rate" => bench.answer(id, &refused(ErrorCode::Rate)),
            "hello" => bench.answer(id, &refused(ErrorCode::HelloRequired)),
            _ => bench.answer(id, &refused(ErrorCode::Malformed)),
        }
        bench.wait(500 * MS);
        assert_eq!(bench.announced_to(2), [], "{failure}: not at once");
        bench.wait(Duration::from_secs(1));
        let expected: &[_] = if failure == "malformed" {
            &[]
        } else {
            &[(key(9), 1)]
        };
        assert_eq!(bench.announced_to(2), expected, "{failure}");
        let introduced_again = bench
            .sent_to(2)
            .iter()
            .any(|(_, m)| matches!(m, Message::Request(r) if r.hello.is_some()));
        assert_eq!(introduced_again, failure == "hello", "{failure}");
    }
}

#[test]
fn a_new_own_record_reaches_everybody_as_update() {
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.befriend(2);
    bench.settle();
    bench.feed(Input::OwnRecord(record(0, 11)));
    for n in 1..=2 {
        let sent = bench.sent_to(n);
        assert!(
            matches!(sent.as_slice(), [(_, Message::Update(_))]),
            "{sent:?}"
        );
        assert_eq!(bench.announced_to(n), [(key(0), 11)]);
    }
    bench.outputs.clear();
    bench.feed(Input::OwnRecord(record(0, 11)));
    bench.feed(Input::OwnRecord(record(0, 3)));
    bench.feed(Input::OwnRecord(record(5, 99)));
    bench.wait(30 * MS);
    assert_eq!(
        bench.announced_to(1),
        [],
        "an old or foreign record is no news"
    );
}

#[test]
fn an_update_that_failed_is_sent_again_and_one_that_was_refused_is_not() {
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.feed(Input::OwnRecord(record(0, 11)));
    let (id, _) = bench.sent_to(1).pop().unwrap();
    bench.outputs.clear();
    bench.feed(Input::Failed {
        id,
        error: RequestError::Busy,
    });
    bench.wait(Duration::from_millis(1500));
    assert_eq!(bench.announced_to(1), [(key(0), 11)]);
    let (id, _) = bench
        .sent_to(1)
        .into_iter()
        .find(|(_, m)| matches!(m, Message::Update(_)))
        .unwrap();
    bench.outputs.clear();
    bench.answer(id, &refused(ErrorCode::Malformed));
    bench.wait(Duration::from_secs(5));
    assert_eq!(bench.announced_to(1), []);
}

#[test]
fn a_farewell_removes_the_peer_everywhere_and_nobody_brings_it_back() {
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.befriend(2);
    let farewell = crate::bench::record_at(1, 2, &[]);
    assert_eq!(bench.ask(1, &update(entry(&farewell))), Message::Ack);
    assert_eq!(bench.stored_seq(1), None);
    assert_eq!(bench.announced_to(2), [(key(1), 2)]);
    bench.ask(
        2,
        &announcement(&[entry(&record(1, 1)), entry(&record(1, 2))]),
    );
    assert_eq!(bench.stored_seq(1), None);
    bench.ask(2, &announcement(&[entry(&record(1, 3))]));
    assert_eq!(
        bench.stored_seq(1),
        Some(3),
        "only the owner's next word does"
    );
}

#[test]
fn versions_networks_and_federations_must_match() {
    let version = |min, max| Hello {
        version_min: min,
        version_max: max,
        ..hello(None)
    };
    let cases = [
        (version(1, 9), None, None),
        (version(0, 1), None, None),
        (version(2, 3), Some(ErrorCode::Version), None),
        (version(0, 0), Some(ErrorCode::Version), None),
        (version(u32::MAX, 0), Some(ErrorCode::Version), None),
        (
            Hello {
                network: [1, 2, 3, 4],
                ..hello(None)
            },
            Some(ErrorCode::NetworkMismatch),
            Some(Reaction::Disconnect),
        ),
        (
            Hello {
                federation: "other".to_owned(),
                ..hello(None)
            },
            Some(ErrorCode::FederationMismatch),
            Some(Reaction::Disconnect),
        ),
    ];
    for (hello, refusal, reaction) in cases {
        let mut bench = Bench::new();
        bench.connect(1, Direction::Inbound);
        let answer = bench.ask(1, &Message::Request(question(Some(hello.clone()))));
        let Some(expected) = refusal else {
            assert!(matches!(answer, Message::Response(_)), "{hello:?}");
            continue;
        };
        assert_eq!(code(&answer), expected);
        if let Message::Error(error) = &answer {
            let told = if expected == ErrorCode::Version {
                (1, 1)
            } else {
                (0, 0)
            };
            assert_eq!((error.version_min, error.version_max), told);
        }
        assert!(!bench.is_closed(1), "the reason needs time to arrive");
        assert_eq!(
            code(&bench.ask(1, &Message::Request(question(None)))),
            ErrorCode::Busy
        );
        bench.wait(limits::CLOSE_GRACE);
        assert!(bench.is_closed(1));
        assert_eq!(bench.penalties(1), reaction.into_iter().collect::<Vec<_>>());
        assert_eq!(bench.counters().records_accepted, 0);

        // The same, when the other side was asked.
        let mut bench = Bench::new();
        bench.connect(1, Direction::Outbound);
        let (id, _) = bench.sent_to(1).pop().unwrap();
        bench.answer(
            id,
            &Message::Response(page(Some(hello), &[entry(&record(9, 1))])),
        );
        assert!(bench.is_closed(1));
        assert_eq!(bench.penalties(1), reaction.into_iter().collect::<Vec<_>>());
        assert_eq!(bench.stored_seq(9), None);
    }
}

#[test]
fn a_mismatch_is_told_even_when_the_peer_hangs_up_first() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Inbound);
    let stranger = Hello {
        federation: "other".to_owned(),
        ..hello(None)
    };
    bench.ask(1, &Message::Request(question(Some(stranger))));
    bench.feed(Input::Disconnected { peer: key(1) });
    assert_eq!(bench.penalties(1), [Reaction::Disconnect]);
}

#[test]
fn a_final_refusal_by_the_peer_ends_the_conversation() {
    for (code, reactions) in [
        (ErrorCode::Version, &[][..]),
        (ErrorCode::NetworkMismatch, &[Reaction::Disconnect]),
        (ErrorCode::FederationMismatch, &[Reaction::Disconnect]),
    ] {
        let mut bench = Bench::new();
        bench.connect(1, Direction::Outbound);
        let (id, _) = bench.sent_to(1).pop().unwrap();
        bench.answer(id, &refused(code));
        assert!(bench.is_closed(1), "{code}");
        assert_eq!(bench.penalties(1), reactions);
    }
}

#[test]
fn a_peer_that_does_not_speak_the_protocol_is_left_alone() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    let (id, _) = bench.sent_to(1).pop().unwrap();
    bench.feed(Input::Failed {
        id,
        error: RequestError::UnsupportedProtocol,
    });
    assert!(bench.is_closed(1) && bench.penalties(1).is_empty());
    bench.outputs.clear();
    bench.wait(Duration::from_secs(120));
    assert!(bench.outputs.is_empty(), "said once, and nothing more");
}

#[test]
fn a_peer_that_only_asks_is_answered_and_never_asked() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Inbound);
    bench.wait(Duration::from_secs(1));
    let (id, _) = bench.sent_to(1).pop().unwrap();
    bench.outputs.clear();
    bench.feed(Input::Failed {
        id,
        error: RequestError::UnsupportedProtocol,
    });
    bench.wait(Duration::from_secs(120));
    assert!(bench.outputs.is_empty(), "neither closed nor asked again");
    for _ in 0..2 {
        assert!(matches!(
            bench.ask(1, &Message::Request(question(Some(hello(None))))),
            Message::Response(_)
        ));
    }
    bench.wait(Duration::from_secs(120));
    assert!(bench.sent_to(1).is_empty() && !bench.is_closed(1));
}

#[test]
fn the_introduction_is_repeated_until_it_arrives() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    for _ in 0..3 {
        let (id, _) = bench.sent_to(1).pop().unwrap();
        bench.outputs.clear();
        bench.feed(Input::Failed {
            id,
            error: RequestError::Timeout,
        });
        bench.wait(Duration::from_secs(60));
        let hello = first_request(&bench, 1).hello.unwrap();
        assert_eq!(hello.record, record(0, 10).envelope());
    }
}

#[test]
fn a_request_without_an_answer_ends_by_the_engines_own_deadline() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    let (id, _) = bench.sent_to(1).pop().unwrap();
    bench.outputs.clear();
    bench.wait(limits::REQUEST_TIMEOUT + Duration::from_secs(40));
    assert!(!bench.sent_to(1).is_empty(), "asked again");
    let before = bench.outputs.len();
    bench.answer(id, &Message::Response(page(None, &[entry(&record(9, 1))])));
    assert_eq!(
        (bench.outputs.len(), bench.stored_seq(9)),
        (before, None),
        "too late"
    );
}

#[test]
fn the_own_deadline_comes_when_it_was_named() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.engine.next_deadline(),
        None,
        "nothing to do without peers"
    );
    bench.connect(1, Direction::Inbound);
    assert_eq!(
        bench.engine.next_deadline().unwrap().since_origin(),
        limits::HELLO_PATIENCE
    );
    bench.feed(Input::Disconnected { peer: key(1) });
    assert_eq!(bench.engine.next_deadline(), None);
}

#[test]
fn periodic_rounds_take_turns_and_slow_down() {
    let mut config = NodeConfig::default();
    config.peers.exchange_jitter = 0.0;
    config.peers.exchange_interval = Duration::from_secs(8);
    let mut bench = Bench::with_config(config.clone());
    for n in 1..=3 {
        bench.befriend(n);
    }
    let mut turns = Vec::new();
    for _ in 0..60 {
        bench.wait(Duration::from_secs(1));
        for n in 1..=3 {
            for (id, message) in bench.sent_to(n) {
                if matches!(message, Message::Request(_)) {
                    turns.push((bench.now.as_secs(), n));
                    bench.answer(
                        id,
                        &Message::Response(PeerResponse {
                            equal: true,
                            ..page(None, &[])
                        }),
                    );
                }
            }
        }
        bench.outputs.clear();
    }
    let times: Vec<u64> = turns.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [1, 3, 7, 15, 23, 31, 39, 47, 55]);
    for three in turns
        .chunks(3)
        .map(|three| three.iter().map(|(_, n)| *n).collect::<Vec<_>>())
    {
        let mut sorted = three.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [1, 2, 3], "everybody before anybody twice");
    }
    assert_eq!(bench.engine.phase(), Phase::Maintenance);

    config.peers.exchange_interval = Duration::from_secs(1);
    bench.feed(Input::Reconfigured(Arc::new(config)));
    bench.wait(Duration::from_secs(1));
    let asked: usize = (1..=3).map(|n| bench.sent_to(n).len()).sum();
    assert_eq!(asked, 1, "a new interval holds at once");
}

#[test]
fn phases_follow_what_happens() {
    let mut bench = Bench::new();
    assert_eq!(bench.engine.phase(), Phase::Discovery);
    bench.connect(1, Direction::Outbound);
    assert_eq!(
        bench.engine.phase(),
        Phase::Discovery,
        "a connection is not a conversation"
    );
    let (id, _) = bench.sent_to(1).pop().unwrap();
    bench.answer(
        id,
        &Message::Response(page(Some(hello(None)), &[entry(&record(9, 1))])),
    );
    assert_eq!(bench.engine.phase(), Phase::Sync);
    bench.wait(Duration::from_secs(2));
    let (id, _) = bench.sent_to(1).pop().unwrap();
    bench.answer(id, &Message::Response(page(None, &[])));
    assert_eq!(bench.engine.phase(), Phase::Maintenance);
    bench.feed(Input::Disconnected { peer: key(1) });
    assert_eq!(bench.engine.phase(), Phase::Discovery);
}
