//! Things that are not so.

use std::time::Duration;

use btcfed_core::addr::AddrScope;
use btcfed_core::exchange::Output;
use btcfed_core::time::Timestamp;
use btcfed_exchange_protocol::message::{ErrorCode, Message, RecordEntry};

use crate::bench::{
    Bench, announcement, code, entry, forged, hello, key, question, record, record_at, update,
};

fn has_dialled(bench: &Bench) -> bool {
    let is_dial = |output: &Output| matches!(output, Output::Dial { .. });
    bench.outputs.iter().any(is_dial)
}

#[test]
fn a_hundred_liars_change_nothing_about_a_peers_address() {
    let mut bench = Bench::new();
    bench.store([record(50, 5)]);
    let truth = bench.set.get(&key(50)).unwrap().dial_order();
    for liar in 100..200 {
        bench.befriend(liar);
        bench.ask(liar, &announcement(&[forged(50, 6)]));
        assert_eq!(bench.set.get(&key(50)).unwrap().dial_order(), truth);
    }
}

#[test]
fn whatever_clocks_say_nothing_is_stored_in_the_future_or_made_younger() {
    let numbers = [0, 1, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
    for (n, number) in (10..).zip(numbers) {
        let mut bench = Bench::new();
        bench.connect(1, btcfed_core::network::Direction::Inbound);
        let mut introduction = hello(None);
        introduction.wall_ms = number;
        bench.ask(1, &Message::Request(question(Some(introduction))));
        for age in [0, 1, u32::MAX - 1, u32::MAX] {
            let told = RecordEntry {
                age_s: age,
                ..entry(&record(n, number))
            };
            bench.ask(1, &announcement(&[told]));
            let stats = bench.set.get(&key(n)).unwrap().stats;
            let now: Timestamp = bench.clock().wall;
            assert!(stats.first_seen <= Some(now), "{number}");
            assert_eq!(stats.last_seen, None, "told of is not met");
            bench.now += Duration::from_secs(10);
        }
        let first = bench.set.get(&key(n)).unwrap().stats.first_seen.unwrap();
        assert_eq!(
            bench.clock().wall.saturating_since(first),
            Duration::from_secs(40),
            "known since it was told of first"
        );
    }
}

#[test]
fn inner_addresses_from_the_internet_are_neither_stored_nor_dialled() {
    let mut bench = Bench::new();
    bench.befriend_over(1, AddrScope::Public);
    let inner = [
        "/ip4/127.0.0.1/tcp/22",
        "/ip4/169.254.169.254/tcp/80",
        "/ip4/10.0.0.1/tcp/22",
        "/ip4/172.16.0.1/tcp/22",
        "/ip4/192.168.0.1/tcp/22",
        "/ip6/::1/tcp/22",
        "/ip6/fd00::1/tcp/22",
        "/ip6/fe80::1/tcp/22",
    ];
    for (n, addr) in (20..).zip(inner) {
        bench.ask(1, &announcement(&[entry(&record_at(n, 1, &[addr]))]));
        assert_eq!(bench.stored_seq(n), None, "{addr}");
    }
    let met = bench.set.len();
    bench.wait(Duration::from_secs(600));
    assert_eq!(met, bench.set.len());
    let only_met = bench.outputs.iter().all(|output| match output {
        Output::Dial { peer, .. } => *peer == key(1),
        _ => true,
    });
    assert!(only_met, "0 dials");
}

#[test]
fn the_own_record_told_by_others_is_neither_stored_nor_dialled() {
    let mut bench = Bench::new();
    bench.befriend(1);
    for seq in [1, 10] {
        bench.ask(1, &announcement(&[entry(&record(0, seq))]));
    }
    assert_eq!(bench.stored_seq(0), None);
    bench.wait(Duration::from_secs(600));
    assert!(!has_dialled(&bench));
}

#[test]
fn nobody_but_the_owner_takes_a_peer_off_the_list() {
    let mut bench = Bench::new();
    bench.store([record(50, 5)]);
    for n in 100..120 {
        bench.befriend(n);
        let farewell = record_at(n, 9, &[]);
        // Somebody else's farewell as one's own update, and a forged one as news.
        let mut forged = entry(&record_at(50, 6, &[]));
        let last = forged.envelope.len() - 5;
        forged.envelope[last] ^= 1;
        assert_eq!(
            code(&bench.ask(n, &announcement(&[forged.clone()]))),
            ErrorCode::BadSignature
        );
        assert!(code(&bench.ask(n, &update(forged))) != ErrorCode::Rate);
        bench.ask(n, &update(entry(&farewell)));
        assert_eq!(bench.stored_seq(50), Some(5));
    }
}
