//! What the operator sets about rates and bans, and that a reload holds at once.

use std::sync::Arc;
use std::time::Duration;

use btcfed_core::config::NodeConfig;
use btcfed_core::exchange::{Input, Reaction};
use btcfed_core::network::Direction;
use btcfed_exchange_protocol::limits;
use btcfed_exchange_protocol::message::{ErrorCode, Message, RecordEntry};

use crate::bench::{Bench, announcement, code, entry, hello, key, page, question, record};

fn config(change: impl FnOnce(&mut NodeConfig)) -> NodeConfig {
    let mut config = NodeConfig::default();
    change(&mut config);
    config
}

fn slow() -> NodeConfig {
    config(|config| {
        config.peers.rate_limit.messages_per_minute = 60;
        config.peers.rate_limit.records_per_minute = 60;
        config.peers.rate_limit.burst = 64;
    })
}

fn reload(bench: &mut Bench, config: NodeConfig) {
    bench.feed(Input::Reconfigured(Arc::new(config)));
}

fn invented(from: u64, count: u64) -> Vec<RecordEntry> {
    let numbers = 1_000_000 + from..1_000_000 + from + count;
    numbers.map(|n| entry(&record(n, 1))).collect()
}

fn is_answered(bench: &mut Bench) -> bool {
    let answer = bench.ask(1, &Message::Request(question(None)));
    matches!(answer, Message::Response(_)) || code(&answer) != ErrorCode::Rate
}

#[test]
fn so_many_messages_at_once_and_one_a_second_as_configured_and_more_after_a_reload() {
    let mut bench = Bench::with_config(slow());
    bench.connect(1, Direction::Inbound);
    bench.ask(1, &Message::Request(question(Some(hello(None)))));
    let burst = 32;
    assert!((1..burst).all(|_| is_answered(&mut bench)));
    assert!(!is_answered(&mut bench));
    bench.now += Duration::from_secs(1);
    assert!(is_answered(&mut bench) && !is_answered(&mut bench));
    reload(&mut bench, NodeConfig::default());
    let gained = limits::MESSAGE_BURST - burst;
    assert!((0..gained).all(|_| is_answered(&mut bench)));
    assert!(!is_answered(&mut bench));
}

#[test]
fn unasked_records_are_bounded_as_configured_and_answers_are_not_over_connections_too() {
    let mut bench = Bench::with_config(slow());
    bench.befriend(1);
    // The introduction brought one.
    bench.ask(1, &announcement(&invented(0, 63)));
    assert_eq!(bench.set.len(), 64);
    let refused = bench.ask(1, &announcement(&invented(100, 1)));
    assert_eq!(code(&refused), ErrorCode::Rate);
    bench.feed(Input::Disconnected { peer: key(1) });
    bench.outputs.clear();
    bench.connect(1, Direction::Outbound);
    let (id, _) = bench.sent_to(1).pop().unwrap();
    let answer = page(Some(hello(None)), &invented(200, 200));
    bench.answer(id, &Message::Response(answer));
    assert_eq!(bench.set.len(), 264, "asked for");
    let refused = bench.ask(1, &announcement(&invented(500, 1)));
    assert_eq!(code(&refused), ErrorCode::Rate, "still nothing unasked");
    let faster = config(|config| config.peers.rate_limit.records_per_minute = 6000);
    reload(&mut bench, faster);
    assert_eq!(
        bench.ask(1, &announcement(&invented(600, 64))),
        Message::Ack
    );
}

#[test]
fn a_ban_comes_at_the_configured_threshold_and_a_reload_moves_it() {
    for (first, then, offences) in [(39, 39, 3), (40, 40, 4), (1000, 26, 2)] {
        let mut bench = Bench::with_config(config(|c| c.peers.ban.threshold = first));
        bench.befriend(1);
        for _ in 1..offences {
            bench.ask_raw(1, vec![0xff; 9]);
            assert!(!bench.penalties(1).contains(&Reaction::Ban));
            if bench.is_closed(1) {
                bench.feed(Input::Disconnected { peer: key(1) });
                bench.connect(1, Direction::Inbound);
            }
        }
        reload(&mut bench, config(|c| c.peers.ban.threshold = then));
        bench.outputs.clear();
        bench.ask_raw(1, vec![0xff; 9]);
        assert_eq!(bench.penalties(1), [Reaction::Ban], "{first} {then}");
    }
}
