//! Too much of everything.

use std::time::Duration;

use btcfed_core::exchange::{Input, Output, Reaction};
use btcfed_core::limits::MAX_PEERS;
use btcfed_core::network::Direction;
use btcfed_exchange_protocol::limits;
use btcfed_exchange_protocol::message::{Message, Mode, PeerRequest};
use btcfed_exchange_protocol::simulate::{SimOptions, Simulation};

use crate::bench::{Bench, announcement, entry, hello, key, page, question, record};

/// Connects again after having been closed, as a peer does that is not banned yet.
fn come_back(bench: &mut Bench, n: u64) {
    if bench.is_closed(n) {
        bench.feed(Input::Disconnected { peer: key(n) });
        bench.outputs.clear();
        bench.connect(n, Direction::Inbound);
        bench.ask(n, &Message::Request(question(Some(hello(None)))));
    }
    bench.outputs.clear();
}

#[test]
fn address_spam_stores_no_more_than_the_budget_and_drops_nobody_elses_records() {
    let mut bench = Bench::new();
    let honest: Vec<_> = (10..500).map(|n| record(n, 1)).collect();
    bench.store(honest.clone());
    bench.befriend(1);
    // 64 000 offers of 16 000 invented peers over ten minutes: every one refused is offered again.
    let invented: Vec<_> = (0..16_000_u64)
        .map(|n| entry(&record(1_000_000 + n, 1)))
        .collect();
    for batch in invented.chunks(64).cycle().take(1000) {
        bench.ask(1, &announcement(batch));
        come_back(&mut bench, 1);
        bench.now += Duration::from_millis(600);
    }
    let taken = bench.set.len() - honest.len();
    let seconds = 600 + 10;
    let budget =
        limits::UNSOLICITED_BURST as usize + seconds * limits::UNSOLICITED_PER_SECOND as usize;
    assert!(taken <= budget && bench.set.len() <= MAX_PEERS, "{taken}");
    assert!(honest.iter().all(|r| bench.set.contains(&r.key())), "100 %");
}

#[test]
fn bytes_out_are_at_most_ten_times_bytes_in_however_a_list_is_asked_for() {
    for (mode, features) in [
        (Mode::Page, 0),
        (Mode::Page, limits::FEATURE_ZSTD),
        (Mode::Sample, 0),
        (Mode::Summary, 0),
    ] {
        let mut bench = Bench::new();
        bench.store((100..1100).map(|n| record(n, 1)));
        let mut introduction = hello(None);
        introduction.features = features;
        bench.connect(1, Direction::Inbound);
        bench.ask(1, &Message::Request(question(Some(introduction))));
        let mut asked = PeerRequest {
            mode,
            ..question(None)
        };
        asked.summary = Some(crate::bench::odd_summary());
        let before = bench.counters();
        // Ten minutes of questions as fast as messages are taken.
        for _ in 0..20_000 {
            bench.ask(1, &Message::Request(asked.clone()));
            come_back(&mut bench, 1);
            bench.now += Duration::from_millis(30);
        }
        let after = bench.counters();
        let sent = after.bytes_out - before.bytes_out;
        let received = after.bytes_in - before.bytes_in;
        assert!(sent <= 10 * received, "{mode:?}: {sent} for {received}");
    }
}

#[test]
fn the_second_answer_nobody_asked_for_ends_the_connection_at_once_and_stores_nothing() {
    let mut bench = Bench::new();
    bench.befriend(1);
    let unasked = Message::Response(page(None, &[entry(&record(9, 1))]));
    bench.ask(1, &unasked);
    assert!(!bench.is_closed(1));
    let second = bench.now;
    bench.ask(1, &unasked);
    bench.wait(Duration::from_secs(1));
    assert!(bench.is_closed(1) && bench.now - second <= Duration::from_secs(1));
    assert_eq!(bench.stored_seq(9), None);
}

#[test]
fn an_hour_of_abuse_fills_no_log() {
    let mut bench = Bench::new();
    bench.befriend(1);
    let (mut lines, mut bytes, mut is_banned) = (0, 0, false);
    for _ in 0..3600 * 10 {
        if is_banned {
            break;
        }
        bench.ask_raw(1, vec![0xff; 100]);
        for output in &bench.outputs {
            match output {
                Output::Penalty {
                    reaction, reason, ..
                } => {
                    assert!(reason.len() <= 100);
                    bytes += reason.len();
                    lines += 1;
                    is_banned |= *reaction == Reaction::Ban;
                }
                Output::Close { reason, .. } => {
                    lines += 1;
                    bytes += reason.len();
                }
                Output::Notice(notice) => {
                    lines += 1;
                    bytes += format!("{notice:?}").len();
                }
                _ => {}
            }
        }
        come_back(&mut bench, 1);
        bench.now += Duration::from_millis(100);
    }
    assert!(is_banned && lines <= 30, "{lines} lines until the ban");
    assert!(bytes <= 4096, "{bytes} bytes in them");
}

#[test]
fn a_join_among_fifty_costs_a_few_messages_per_node_and_then_none() {
    let mut options = SimOptions::default();
    options.seed = 3;
    let mut sim = Simulation::new(options);
    let nodes: Vec<_> = (0..50).map(|_| sim.add_node()).collect();
    for (index, node) in nodes.iter().enumerate() {
        for step in 1..=4 {
            sim.connect(*node, nodes[(index + step) % 50]);
        }
    }
    sim.run_for(Duration::from_secs(200));
    sim.renew(nodes[0], false);
    sim.run_for(Duration::from_secs(60));
    let quiet = |sim: &mut Simulation| {
        let before = sim.counters();
        sim.run_for(Duration::from_secs(60));
        let after = sim.counters();
        after.records_offered - before.records_offered
    };
    assert_eq!(quiet(&mut sim), 0, "no record travels while nothing is new");
    let (before, told) = (sim.counters().messages_out, sim.messages());
    sim.renew(nodes[7], false);
    sim.run_for(Duration::from_millis(500));
    assert!(sim.is_known_by_all(nodes[7]));
    let told = sim.messages() - told;
    assert!(told > 0 && told <= 5 * 50, "{told} messages of 50 nodes");
    let messages = sim.counters().messages_out - before;
    // With the acknowledgements: over each of its eight links goes the record or its id, from one end or from both, and an acknowledgement each.
    assert!(messages <= 14 * 50, "{messages} messages of 50 nodes");
    sim.run_for(Duration::from_secs(1));
    assert_eq!(quiet(&mut sim), 0, "then silence");
}
