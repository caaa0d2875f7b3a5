//! Four ways in, one gate: whichever message brings records that nobody asked for, the same budget holds.

use std::time::Duration;

use btcfed_core::SignedRecord;
use btcfed_core::exchange::Input;
use btcfed_core::network::Direction;
use btcfed_exchange_protocol::limits;
use btcfed_exchange_protocol::message::{
    ErrorCode, ErrorReply, Hello, Message, Mode, PeerAnnouncement, PeerRequest, RecordEntry,
};

use crate::bench::{Bench, announcement, entry, hello, key, page, question, record, update};

/// How records arrive that nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// In the hello of a question: the sender's own.
    Request,
    /// In an answer: the alternatives of a refusal.
    Response,
    /// As news.
    Announcement,
    /// As the sender's own new record.
    Update,
}

const WAYS: [Way; 4] = [Way::Request, Way::Response, Way::Announcement, Way::Update];

/// Comes back on a new connection.
fn reconnect(bench: &mut Bench, direction: Direction) {
    bench.feed(Input::Disconnected { peer: key(1) });
    bench.outputs.clear();
    bench.connect(1, direction);
}

fn introduction(own: u64) -> Message {
    let hello = Hello {
        features: limits::FEATURES,
        ..hello(Some(&record(1, own)))
    };
    Message::Request(question(Some(hello)))
}

/// Offers records that are new to the node, about eight at a time: invented peers, or versions of peer 1.
fn offer(bench: &mut Bench, way: Way, round: u64) {
    let invented = || -> Vec<RecordEntry> {
        let first = 1_000_000 + round * 8;
        (first..first + 8).map(|n| entry(&record(n, 1))).collect()
    };
    let version = |n: u64| 1000 + round * 8 + n;
    match way {
        Way::Request => {
            for n in 0..8 {
                reconnect(bench, Direction::Inbound);
                bench.ask(1, &introduction(version(n)));
            }
        }
        Way::Response => {
            reconnect(bench, Direction::Outbound);
            let (id, _) = bench.sent_to(1).pop().unwrap();
            let busy = ErrorReply {
                code: ErrorCode::Busy,
                message: String::new(),
                retry_after_ms: 0,
                version_min: 0,
                version_max: 0,
                alternatives: invented(),
            };
            bench.answer(id, &Message::Error(busy));
        }
        Way::Announcement => {
            bench.ask(1, &announcement(&invented()));
        }
        Way::Update => {
            for n in 0..8 {
                bench.ask(1, &update(entry(&record(1, version(n)))));
            }
        }
    }
    bench.outputs.clear();
    if way == Way::Announcement || way == Way::Update {
        // However often it is hung up on.
        reconnect(bench, Direction::Inbound);
        bench.ask(1, &Message::Request(question(Some(hello(None)))));
    }
}

/// How many records the node took in of half as many again as the budget allows.
fn taken(bench: &mut Bench, way: Way) -> u64 {
    let before = bench.counters().records_accepted;
    let rounds = u64::from(limits::UNSOLICITED_BURST) / 8 * 3 / 2;
    for round in 0..rounds {
        offer(bench, way, round);
        bench.now += Duration::from_millis(1);
    }
    bench.counters().records_accepted - before
}

/// A node on which nothing but records is bounded.
fn node() -> Bench {
    let mut config = btcfed_core::NodeConfig::default();
    config.peers.rate_limit.messages_per_minute = u32::MAX;
    config.peers.rate_limit.records_per_minute = 0;
    config.peers.ban.threshold = u32::MAX;
    let mut bench = Bench::with_config(config);
    bench.connect(1, Direction::Inbound);
    bench.ask(1, &Message::Request(question(Some(hello(None)))));
    bench
}

#[test]
fn four_ways_in_have_one_budget_and_what_one_of_them_used_up_no_other_has_left() {
    let budget = u64::from(limits::UNSOLICITED_BURST);
    for way in WAYS {
        let mut bench = node();
        let counted = taken(&mut bench, way);
        assert_eq!(counted, budget, "{way:?}");
        for other in WAYS {
            assert_eq!(taken(&mut bench, other), 0, "{other:?} after {way:?}");
        }
    }
}

/// The ids by which another node tells of a record beside the tree.
pub(crate) fn told_ids(news: &SignedRecord) -> Vec<u64> {
    let mut teller = Bench::new();
    teller.befriend(2);
    teller.befriend(1);
    teller.ask(2, &announcement(&[entry(&record(8, 1))]));
    let prune = Message::Announcement(PeerAnnouncement {
        prune: true,
        ..PeerAnnouncement::default()
    });
    let (id, _) = teller.sent_to(1).pop().unwrap();
    teller.answer(id, &prune);
    teller.settle();
    teller.ask(2, &announcement(&[entry(news)]));
    teller.wait(limits::HINT_DELAY + limits::HINT_TURN);
    let told = teller
        .sent_to(1)
        .into_iter()
        .find_map(|(_, message)| match message {
            Message::Announcement(told) if !told.ids.is_empty() => Some(told.ids),
            _ => None,
        });
    told.unwrap()
}

#[test]
fn records_of_an_answer_that_nobody_asked_for_and_of_told_ids_are_no_fifth_and_sixth_way() {
    let mut bench = node();
    assert!(taken(&mut bench, Way::Announcement) > 0);
    let before = bench.counters().records_accepted;
    let news = record(2_000_000, 1);
    bench.ask(1, &Message::Response(page(None, &[entry(&news)])));
    // Told by its id first, so that the node asks for it.
    let told = PeerAnnouncement {
        ids: told_ids(&news),
        ..PeerAnnouncement::default()
    };
    bench.ask(1, &Message::Announcement(told));
    bench.wait(limits::GRAFT_PATIENCE);
    let mut answered = 0;
    for (id, message) in bench.sent_to(1) {
        if matches!(
            message,
            Message::Request(PeerRequest {
                mode: Mode::Want,
                ..
            })
        ) {
            let answer = page(None, &[entry(&news)]);
            bench.answer(id, &Message::Response(answer));
            answered += 1;
        }
    }
    assert_eq!(
        answered, 1,
        "it was asked for, but not of this node's own accord"
    );
    assert_eq!(bench.counters().records_accepted, before);
}
