//! Several neighbours at once: whom to ask, what to tell, and what spreads along the tree.

use std::sync::Arc;
use std::time::Duration;

use btcfed_core::exchange::{Input, Notice, Output, Reaction};
use btcfed_core::network::Direction;
use btcfed_exchange_protocol::limits;
use btcfed_exchange_protocol::message::{
    ErrorCode, ErrorReply, Message, Mode, PeerAnnouncement, PeerRequest, PeerResponse, Want,
};

use crate::bench::{Bench, announcement, entry, hello, key, page, question, record};
use crate::conversation::{first_request, refused};

#[test]
fn a_refusal_with_alternatives_is_worth_something() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    let (id, _) = bench.sent_to(1).pop().unwrap();
    let busy = Message::Error(ErrorReply {
        code: ErrorCode::Busy,
        message: "full".to_owned(),
        retry_after_ms: 5000,
        version_min: 0,
        version_max: 0,
        alternatives: vec![entry(&record(8, 1)), entry(&record(9, 1))],
    });
    bench.answer(id, &busy);
    assert_eq!(
        (bench.stored_seq(8), bench.stored_seq(9)),
        (Some(1), Some(1))
    );
    bench.outputs.clear();
    bench.wait(Duration::from_millis(4990));
    assert!(bench.sent_to(1).is_empty(), "asked to wait");
    bench.wait(Duration::from_secs(60));
    assert!(!bench.sent_to(1).is_empty());
}

#[test]
fn a_peer_without_room_is_left_alone_over_connections_until_it_comes_by_itself() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    let (id, _) = bench.sent_to(1).pop().unwrap();
    let Message::Error(error) = refused(ErrorCode::Busy) else {
        unreachable!()
    };
    let busy = ErrorReply {
        retry_after_ms: 40_000,
        ..error
    };
    bench.answer(id, &Message::Error(busy));
    let told = bench.outputs.iter().any(|output| {
        let pause = Duration::from_secs(40);
        matches!(output, Output::Notice(Notice::Busy { retry_after, .. }) if *retry_after == pause)
    });
    assert!(told, "the node does not dial it meanwhile");
    bench.feed(Input::Disconnected { peer: key(1) });
    bench.outputs.clear();
    bench.now += Duration::from_secs(39);
    bench.connect(1, Direction::Outbound);
    assert!(
        bench.sent_to(1).is_empty(),
        "a connection is no new question"
    );
    bench.wait(Duration::from_secs(1));
    assert!(!bench.sent_to(1).is_empty());
    bench.connect(2, Direction::Outbound);
    let other = first_request(&bench, 2);
    assert!(other.hello.is_some(), "others are asked at once");
}

#[test]
fn records_beside_other_refusals_are_not_taken() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    let (id, _) = bench.sent_to(1).pop().unwrap();
    let Message::Error(error) = refused(ErrorCode::Rate) else {
        unreachable!()
    };
    let alternatives = vec![entry(&record(8, 1))];
    bench.answer(
        id,
        &Message::Error(ErrorReply {
            alternatives,
            ..error
        }),
    );
    assert_eq!(bench.stored_seq(8), None);
}

#[test]
fn no_peer_can_ask_for_silence_for_good() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    let (id, _) = bench.sent_to(1).pop().unwrap();
    let Message::Error(error) = refused(ErrorCode::Busy) else {
        unreachable!()
    };
    bench.answer(
        id,
        &Message::Error(ErrorReply {
            retry_after_ms: u32::MAX,
            ..error
        }),
    );
    bench.outputs.clear();
    bench.wait(limits::MAX_RETRY_AFTER + Duration::from_secs(60));
    assert!(!bench.sent_to(1).is_empty());
}

#[test]
fn a_newcomer_fetches_from_two_at_a_time_and_only_compares_with_the_rest() {
    let mut bench = Bench::new();
    for n in 1..=5 {
        bench.connect(n, Direction::Outbound);
    }
    let modes: Vec<Mode> = (1..=5).map(|n| first_request(&bench, n).mode).collect();
    let (full, compare) = (Mode::Sample, Mode::Page);
    assert_eq!(modes, [full, full, compare, compare, compare]);
    assert_eq!(first_request(&bench, 3).limit, 0, "a page without records");
    let (id, _) = bench.sent_to(3).pop().unwrap();
    bench.answer(
        id,
        &Message::Response(PeerResponse {
            count: 100,
            ..page(Some(hello(None)), &[])
        }),
    );
    assert_eq!(bench.sent_to(3).len(), 1, "no slot yet");
    let (id, _) = bench.sent_to(1).pop().unwrap();
    bench.answer(
        id,
        &Message::Response(page(Some(hello(None)), &[entry(&record(9, 1))])),
    );
    let (_, Message::Request(request)) = bench.sent_to(3).pop().unwrap() else {
        panic!("no request");
    };
    assert_eq!(
        (bench.sent_to(3).len(), request.mode, request.hello),
        (2, Mode::Summary, None)
    );
}

#[test]
fn a_list_with_the_higher_version_of_the_askers_own_record_says_so() {
    let mut bench = Bench::new();
    bench.store([record(1, 50)]);
    bench.connect(1, Direction::Inbound);
    let Message::Response(response) = bench.ask(1, &Message::Request(question(Some(hello(None)))))
    else {
        panic!("no response");
    };
    assert!(
        response
            .records
            .iter()
            .any(|entry| entry.envelope == record(1, 50).envelope())
    );
}

#[test]
fn a_dial_only_node_publishes_nothing() {
    let mut bench = Bench::new();
    bench.engine = btcfed_exchange_protocol::Engine::new(btcfed_exchange_protocol::EngineOptions {
        config: Arc::default(),
        own: key(0),
        agent: String::new(),
        seed: 1,
        verifier: Arc::new(btcfed_core::identity::StrictVerifier),
        set: Arc::default(),
    });
    bench.connect(1, Direction::Outbound);
    assert!(first_request(&bench, 1).hello.unwrap().record.is_empty());
    bench.befriend(2);
    bench.wait(Duration::from_secs(5));
    assert!(
        bench
            .outputs
            .iter()
            .all(|output| !matches!(output, Output::Store(_)))
    );
    assert_eq!(bench.announced_to(1), []);
}

#[test]
fn a_peer_that_knows_no_summaries_is_asked_for_pages() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    for mode in [Mode::Sample, Mode::Summary] {
        assert_eq!(first_request(&bench, 1).mode, mode);
        let (id, _) = bench.sent_to(1).pop().unwrap();
        bench.outputs.clear();
        bench.answer(id, &refused(ErrorCode::Unsupported));
        bench.wait(limits::RETRY_PAUSE);
    }
    let (id, Message::Request(request)) = bench.sent_to(1).pop().unwrap() else {
        panic!("no request");
    };
    assert_eq!((request.mode, request.limit), (Mode::Page, 256));
    let records = [entry(&record(9, 1))];
    bench.answer(id, &Message::Response(page(Some(hello(None)), &records)));
    assert_eq!(bench.stored_seq(9), Some(1));
}

#[test]
fn beside_the_tree_only_ids_are_told_and_whoever_lacks_the_record_gets_it() {
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.befriend(2);
    bench.befriend(3);
    bench.settle();
    // Peer 2 says that it knows what this node tells it: from now on it is told ids.
    bench.ask(1, &announcement(&[entry(&record(8, 1))]));
    let (id, _) = bench.sent_to(2).pop().unwrap();
    let prune = Message::Announcement(PeerAnnouncement {
        prune: true,
        ..PeerAnnouncement::default()
    });
    bench.answer(id, &prune);
    bench.settle();
    bench.ask(1, &announcement(&[entry(&record(9, 1))]));
    assert_eq!(bench.announced_to(3), [(key(9), 1)]);
    bench.wait(limits::HINT_DELAY + limits::HINT_TURN);
    assert_eq!(bench.announced_to(2), []);
    let (_, Message::Announcement(told)) = bench.sent_to(2).pop().unwrap() else {
        panic!("not told");
    };
    assert_eq!((told.records.len(), told.ids.len()), (0, 1));
    // It asks for the record, and is part of the tree again.
    let want = Message::Request(PeerRequest {
        mode: Mode::Want,
        want: Some(Want {
            salt: 0,
            ids: told.ids,
        }),
        ..question(None)
    });
    let Message::Response(response) = bench.ask(2, &want) else {
        panic!("no response");
    };
    assert_eq!(response.records[0].envelope, record(9, 1).envelope());
    bench.settle();
    bench.ask(1, &announcement(&[entry(&record(10, 1))]));
    assert_eq!(bench.announced_to(2), [(key(10), 1)]);
}

#[test]
fn a_node_with_all_its_branches_begins_no_other_and_tells_a_crowd_late() {
    let most = u64::try_from(limits::MAX_BRANCHES).unwrap();
    let (last, crowd) = (most, most + 1);
    let ids = |bench: &Bench, n| match bench.sent_to(n).pop() {
        Some((_, Message::Announcement(told))) => told.ids,
        _ => Vec::new(),
    };
    let mut bench = Bench::new();
    for n in 1..=crowd {
        bench.befriend(n);
    }
    bench.settle();
    bench.ask(1, &announcement(&[entry(&record(999, 1))]));
    assert_eq!(bench.announced_to(last), [(key(999), 1)]);
    bench.wait(limits::CROWD_DELAY - Duration::from_millis(1));
    assert_eq!(bench.announced_to(crowd), []);
    assert_eq!(ids(&bench, crowd), [], "others may tell it meanwhile");
    bench.wait(Duration::from_millis(1));
    assert_eq!(
        (bench.announced_to(crowd), ids(&bench, crowd).len()),
        (vec![], 1)
    );
    let ids = ids(&bench, crowd);
    // While lists are being found out the link stays beside the tree, whatever is pushed over it.
    bench.connect(960, Direction::Inbound);
    bench.ask(960, &Message::Request(question(Some(hello(None)))));
    let found = Message::Response(page(Some(hello(None)), &[entry(&record(997, 1))]));
    for (id, message) in bench.sent_to(960) {
        if matches!(message, Message::Request(_)) {
            bench.answer(id, &found);
        }
    }
    bench.settle();
    let pushed = bench.ask(crowd, &announcement(&[entry(&record(998, 1))]));
    assert!(
        matches!(&pushed, Message::Announcement(answer) if answer.is_prune()),
        "{pushed:?}"
    );
    // Whoever heard of the record from nobody else gets a branch all the same.
    let want = Message::Request(PeerRequest {
        mode: Mode::Want,
        want: Some(Want { salt: 0, ids }),
        ..question(None)
    });
    bench.ask(crowd, &want);
    bench.settle();
    bench.ask(1, &announcement(&[entry(&record(996, 1))]));
    assert_eq!(bench.announced_to(crowd), [(key(996), 1)]);
}

#[test]
fn an_id_that_stays_unknown_is_asked_for_and_an_empty_promise_is_counted() {
    for is_kept in [true, false] {
        let mut teller = Bench::new();
        teller.befriend(7);
        let ids = {
            // What an honest node tells about record 9.
            teller.befriend(8);
            teller.ask(7, &announcement(&[entry(&record(5, 1))]));
            let (id, _) = teller.sent_to(8).pop().unwrap();
            let prune = PeerAnnouncement {
                prune: true,
                ..PeerAnnouncement::default()
            };
            teller.answer(id, &Message::Announcement(prune));
            teller.settle();
            teller.ask(7, &announcement(&[entry(&record(9, 1))]));
            teller.wait(limits::HINT_DELAY + limits::HINT_TURN);
            match teller.sent_to(8).pop() {
                Some((_, Message::Announcement(told))) => told.ids,
                other => panic!("{other:?}"),
            }
        };
        let mut bench = Bench::new();
        bench.befriend(1);
        bench.settle();
        let told = Message::Announcement(PeerAnnouncement {
            ids: ids.clone(),
            ..PeerAnnouncement::default()
        });
        assert_eq!(bench.ask(1, &told), Message::Ack);
        bench.wait(limits::GRAFT_PATIENCE);
        let (id, Message::Request(request)) = bench.sent_to(1).pop().unwrap() else {
            panic!("no request");
        };
        assert_eq!(request.want.unwrap().ids, ids);
        if is_kept {
            bench.answer(id, &Message::Response(page(None, &[entry(&record(9, 1))])));
            assert_eq!(bench.stored_seq(9), Some(1));
        } else {
            bench.answer(id, &Message::Response(page(None, &[entry(&record(10, 1))])));
            assert_eq!(bench.stored_seq(10), None, "not what it told of");
            assert_eq!(bench.penalties(1), [Reaction::Warn]);
        }
    }
}

/// Answers the question of the next round with these records; says who was asked, and who was not.
fn let_a_round_find(bench: &mut Bench, records: std::ops::Range<u64>) -> (u64, u64) {
    let asked = |bench: &Bench, n| {
        let mut sent = bench.sent_to(n).into_iter();
        sent.find_map(|(id, message)| matches!(message, Message::Request(_)).then_some((n, id)))
    };
    bench.outputs.clear();
    let mut found = None;
    for _ in 0..400 {
        bench.wait(Duration::from_millis(100));
        found = asked(bench, 1).or_else(|| asked(bench, 2));
        if found.is_some() {
            break;
        }
    }
    let (peer, id) = found.unwrap();
    let records: Vec<_> = records.map(|n| entry(&record(n, 1))).collect();
    bench.answer(id, &Message::Response(page(None, &records)));
    (peer, 3 - peer)
}

#[test]
fn a_few_records_that_a_round_found_are_told_by_their_ids_until_they_come_along_the_tree() {
    let few = u64::try_from(limits::FEW_NEWS).unwrap();
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.befriend(2);
    bench.settle();
    let (asked, other) = let_a_round_find(&mut bench, 100..100 + few);
    assert_eq!(bench.announced_to(other), []);
    bench.ask(asked, &announcement(&[entry(&record(100, 1))]));
    assert_eq!(bench.announced_to(other), [(key(100), 1)], "on its way");
    bench.wait(limits::HINT_DELAY + limits::HINT_TURN);
    let told = bench.sent_to(other).into_iter().map(|(_, message)| message);
    let ids = told.map(|message| match message {
        Message::Announcement(announcement) => announcement.ids.len(),
        _ => 0,
    });
    assert_eq!(ids.sum::<usize>(), limits::FEW_NEWS - 1);
    bench.settle();
    let (_, other) = let_a_round_find(&mut bench, 200..201 + few);
    assert_eq!(bench.announced_to(other).len(), limits::FEW_NEWS + 1);
}

#[test]
fn of_links_that_come_up_together_one_shows_the_difference_and_the_others_only_compare() {
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.settle();
    let fetches = |bench: &Bench, n| match bench.sent_to(n).pop() {
        Some((_, Message::Request(request))) => request.mode != Mode::Page,
        other => panic!("{other:?}"),
    };
    for n in 2..=4 {
        bench.connect(n, Direction::Outbound);
    }
    assert!(fetches(&bench, 2) && !fetches(&bench, 3) && !fetches(&bench, 4));
    // One that does not come to an end does not keep the others from fetching.
    bench.wait(limits::ROUND_PATIENCE - Duration::from_millis(1));
    bench.connect(5, Direction::Outbound);
    assert!(!fetches(&bench, 5));
    bench.wait(Duration::from_millis(1));
    bench.connect(6, Direction::Outbound);
    bench.connect(7, Direction::Outbound);
    assert!(fetches(&bench, 6) && !fetches(&bench, 7));
}

#[test]
fn a_few_records_pushed_beside_the_tree_make_no_branch_and_many_do() {
    let few = u64::try_from(limits::FEW_NEWS).unwrap();
    let prune = Message::Announcement(PeerAnnouncement {
        prune: true,
        ..PeerAnnouncement::default()
    });
    let push = |bench: &mut Bench, from, numbers: std::ops::Range<u64>| {
        let records: Vec<_> = numbers.map(|n| entry(&record(n, 1))).collect();
        bench.ask(from, &announcement(&records))
    };
    let mut bench = Bench::new();
    for n in 1..=3 {
        bench.befriend(n);
    }
    bench.settle();
    assert_eq!(push(&mut bench, 1, 8..9), Message::Ack);
    assert_eq!(push(&mut bench, 2, 8..9), prune, "a circle");
    bench.settle();
    assert_eq!(push(&mut bench, 2, 100..100 + few), prune);
    assert_eq!(bench.announced_to(3), [], "they come along the tree");
    assert_eq!(push(&mut bench, 1, 100..100 + few), Message::Ack);
    assert_eq!(bench.announced_to(3).len(), limits::FEW_NEWS);
    bench.settle();
    assert_eq!(push(&mut bench, 2, 200..201 + few), Message::Ack);
    assert_eq!(bench.announced_to(3).len(), limits::FEW_NEWS + 1);
}

#[test]
fn a_link_between_two_who_have_their_branches_begins_beside_the_tree_and_a_newcomers_does_not() {
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.befriend(2);
    bench.settle();
    bench.ask(1, &announcement(&[entry(&record(9, 1))]));
    bench.settle();
    // Known already: a connection among settled nodes. Never heard of: a newcomer.
    bench.ask(1, &announcement(&[entry(&record(3, 1))]));
    bench.settle();
    for n in [3, 4] {
        bench.connect(n, Direction::Inbound);
        let own = record(n, 1);
        bench.ask(n, &Message::Request(question(Some(hello(Some(&own))))));
        for (id, message) in bench.sent_to(n) {
            if matches!(message, Message::Request(_)) {
                bench.answer(id, &Message::Response(page(Some(hello(None)), &[])));
            }
        }
    }
    bench.settle();
    bench.ask(1, &announcement(&[entry(&record(10, 1))]));
    assert_eq!(bench.announced_to(3), []);
    assert_eq!(bench.announced_to(4), [(key(10), 1)]);
}
