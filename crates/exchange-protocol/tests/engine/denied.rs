//! Software that an operator keeps away.

use std::sync::Arc;

use btcfed_core::config::NodeConfig;
use btcfed_core::exchange::{Input, Reaction};
use btcfed_core::network::Direction;
use btcfed_exchange_protocol::limits;
use btcfed_exchange_protocol::message::{ErrorCode, Hello, Message};

use crate::bench::{Bench, code, hello, page, question, record};

fn denying(patterns: &[&str]) -> NodeConfig {
    let mut config = NodeConfig::default();
    config.peers.deny_agents = patterns.iter().map(|text| (*text).to_owned()).collect();
    config
}

fn from(agent: &str) -> Hello {
    Hello {
        agent: agent.to_owned(),
        ..hello(Some(&record(1, 1)))
    }
}

#[test]
fn patterns_describe_the_whole_text() {
    let denies = |pattern: &str, agent: &str| denying(&[pattern]).peers.matches_agent(agent);
    for (pattern, agent) in [
        ("evil/1", "evil/1"),
        ("EVIL/*", "evil/1.2.3"),
        ("*", ""),
        ("*bot*", "a Bot b"),
        ("a*b*c", "a-b-b-c"),
        ("**", "x"),
    ] {
        assert!(denies(pattern, agent), "{pattern} {agent}");
    }
    for (pattern, agent) in [
        ("evil/1", "evil/10"),
        ("evil", "evil/1"),
        ("a*b", "a-b-c"),
        ("a*b*c", "a-c"),
        ("?", "x"),
    ] {
        assert!(!denies(pattern, agent), "{pattern} {agent}");
    }
    let (pattern, agent) = ("a*".repeat(64), "a".repeat(127) + "b");
    assert!(denies(&pattern, &agent) && !denies(&(pattern + "c"), &agent));
}

#[test]
fn denied_software_is_told_so_and_hung_up_on_whoever_dialled() {
    let mut bench = Bench::with_config(denying(&["evil/*"]));
    bench.connect(1, Direction::Inbound);
    let answer = bench.ask(1, &Message::Request(question(Some(from("evil/2")))));
    let Message::Error(error) = answer else {
        panic!("no error")
    };
    assert_eq!(error.code, ErrorCode::Denied);
    assert_eq!(
        u128::from(error.retry_after_ms),
        limits::MAX_RETRY_AFTER.as_millis()
    );
    bench.wait(limits::CLOSE_GRACE);
    assert!(bench.is_closed(1));
    assert_eq!(bench.stored_seq(1), None, "nothing of it is taken");

    let mut bench = Bench::with_config(denying(&["evil/*"]));
    bench.connect(1, Direction::Outbound);
    let (id, _) = bench.sent_to(1).pop().unwrap();
    bench.answer(id, &Message::Response(page(Some(from("Evil/2")), &[])));
    assert!(bench.is_closed(1));

    let mut bench = Bench::with_config(denying(&["evil/*"]));
    bench.connect(1, Direction::Inbound);
    let answer = bench.ask(1, &Message::Request(question(Some(from("good/1")))));
    assert!(matches!(answer, Message::Response(_)));
}

#[test]
fn a_new_list_holds_for_connections_that_are_up() {
    let mut bench = Bench::new();
    for (n, agent) in [(1, "evil/1"), (2, "good/1")] {
        bench.connect(n, Direction::Inbound);
        let answer = bench.ask(n, &Message::Request(question(Some(from(agent)))));
        assert!(matches!(answer, Message::Response(_)));
    }
    bench.feed(Input::Reconfigured(Arc::new(denying(&["evil/1"]))));
    assert!(bench.is_closed(1) && !bench.is_closed(2));
    assert_eq!(bench.penalties(1), [Reaction::Disconnect]);
}

#[test]
fn being_denied_ends_the_conversation() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    let (id, _) = bench.sent_to(1).pop().unwrap();
    bench.answer(id, &crate::conversation::refused(ErrorCode::Denied));
    assert!(bench.is_closed(1));
    let answer = bench.ask(1, &Message::Request(question(Some(hello(None)))));
    assert_eq!(code(&answer), ErrorCode::Busy, "closing");
}
