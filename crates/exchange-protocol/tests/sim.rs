//! Federations of engines on virtual time. Nothing here sleeps or opens a socket.

use std::time::Duration;

use btcfed_core::addr::AddrScope;
use btcfed_core::config::{BitcoinNetwork, NodeConfig};
use btcfed_exchange_protocol::Phase;
use btcfed_exchange_protocol::simulate::{NodeId, SimOptions, Simulation};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn sim_with(seed: u64, change: impl FnOnce(&mut SimOptions)) -> Simulation {
    let mut options = SimOptions::default();
    options.seed = seed;
    change(&mut options);
    Simulation::new(options)
}

fn sim(seed: u64) -> Simulation {
    sim_with(seed, |_| {})
}

/// `n` nodes, each connected to the next ones around a ring.
fn ring(sim: &mut Simulation, n: usize, links: usize) -> Vec<NodeId> {
    let nodes: Vec<NodeId> = (0..n).map(|_| sim.add_node()).collect();
    for (index, node) in nodes.iter().enumerate() {
        for step in 1..=links {
            sim.connect(*node, nodes[(index + step) % n]);
        }
    }
    nodes
}

#[test]
fn two_nodes_know_each_other_after_one_round_trip() {
    let mut sim = sim(1);
    let (a, b) = (sim.add_node(), sim.add_node());
    sim.connect(a, b);
    let took = sim.run_until(SECOND, Simulation::all_know_all).unwrap();
    assert_eq!(
        took,
        140 * MS,
        "five latencies to connect, two for question and answer"
    );
    sim.run_for(SECOND);
    assert_eq!(sim.counters().signatures_checked, 2, "one each");
}

#[test]
fn the_ends_of_a_chain_know_each_other() {
    let mut sim = sim(1);
    let nodes: Vec<_> = (0..3).map(|_| sim.add_node()).collect();
    sim.connect(nodes[1], nodes[0]);
    sim.run_for(SECOND);
    sim.connect(nodes[2], nodes[1]);
    let took = sim.run_until(SECOND, Simulation::all_know_all).unwrap();
    assert!(took <= 160 * MS, "{took:?}");
}

#[test]
fn everybody_learns_of_everybody_through_one_bootstrap() {
    for seed in 0..20 {
        let mut sim = sim_with(seed, |options| options.latency_jitter = 0.3);
        let nodes: Vec<_> = (0..20).map(|_| sim.add_node()).collect();
        for node in &nodes[1..] {
            sim.connect(*node, nodes[0]);
        }
        let took = sim.run_until(3 * SECOND, Simulation::all_know_all);
        assert!(took.is_some(), "seed {seed}");
        assert!(took < Some(500 * MS), "seed {seed}: {took:?}");
        sim.run_for(SECOND);
        assert_eq!(
            sim.counters().signatures_checked,
            20 * 19,
            "seed {seed}: every record once at every node"
        );
        assert_eq!(sim.counters().records_refused, 0);
    }
}

#[test]
fn a_newcomer_is_known_by_all_and_knows_all() {
    for seed in 0..20 {
        let mut sim = sim(seed);
        let nodes = ring(&mut sim, 30, 3);
        sim.run_until(30 * SECOND, Simulation::all_know_all)
            .unwrap();
        sim.run_for(60 * SECOND);
        let newcomer = sim.add_node();
        sim.connect(newcomer, nodes[0]);
        let known = sim
            .run_until(SECOND, |sim| sim.is_known_by_all(newcomer))
            .unwrap();
        // Five latencies to connect, one for the question, then at most ceil(15 / 3) hops around the ring.
        assert!(
            known <= (5 + 1 + 5) * 20 * MS + 25 * MS * 5,
            "seed {seed}: {known:?}"
        );
        let knows = sim.run_until(SECOND, Simulation::all_know_all);
        assert!(knows.is_some(), "seed {seed}");
    }
}

#[test]
fn a_record_is_relayed_once_over_every_link_and_then_never_again() {
    let mut sim = sim(3);
    let nodes = ring(&mut sim, 50, 4);
    sim.run_until(30 * SECOND, Simulation::all_know_all)
        .unwrap();
    sim.run_for(300 * SECOND);
    let before = sim.counters();
    sim.renew(nodes[7], false);
    sim.run_until(SECOND, |sim| sim.is_known_by_all(nodes[7]))
        .unwrap();
    sim.run_for(300 * MS);
    let after = sim.counters();
    let offered = after.records_offered - before.records_offered;
    // 200 links; a record crosses each at most once each way, and mostly once.
    assert!((49..=400).contains(&offered), "{offered}");
    assert_eq!(after.records_accepted - before.records_accepted, 49);
    assert_eq!(
        after.signatures_checked - before.signatures_checked,
        49,
        "duplicates cost no check"
    );
    sim.run_for(60 * SECOND);
    let later = sim.counters();
    assert_eq!(
        later.records_offered, after.records_offered,
        "silence afterwards: equal lists exchange no records"
    );
}

#[test]
fn an_idle_federation_is_nearly_silent() {
    let mut sim = sim(5);
    ring(&mut sim, 10, 3);
    sim.run_until(30 * SECOND, Simulation::all_know_all)
        .unwrap();
    sim.run_for(120 * SECOND);
    let before = sim.counters();
    sim.run_for(600 * SECOND);
    let after = sim.counters();
    let per_node_second = |value: u64| value as f64 / 10.0 / 600.0;
    let bytes = per_node_second(after.bytes_out - before.bytes_out);
    let messages = per_node_second(after.messages_out - before.messages_out);
    assert!(bytes <= 4.0, "{bytes} bytes per node and second");
    assert!(messages <= 0.25, "{messages} messages per node and second");
}

#[test]
fn what_was_missed_during_a_partition_is_known_after_it() {
    for seed in 0..5 {
        let mut sim = sim(seed);
        let nodes = ring(&mut sim, 20, 3);
        sim.run_until(30 * SECOND, Simulation::all_know_all)
            .unwrap();
        sim.run_for(10 * SECOND);
        sim.partition(|node| node % 2);
        sim.run_for(SECOND);
        for node in &nodes {
            if node % 5 == 0 {
                sim.renew(*node, false);
            }
        }
        sim.run_for(300 * SECOND);
        assert!(
            !sim.all_know_all(),
            "seed {seed}: the sides cannot know of each other's news"
        );
        sim.heal();
        let took = sim.run_until(5 * SECOND, Simulation::all_know_all);
        assert!(
            took.is_some_and(|took| took <= SECOND),
            "seed {seed}: {took:?}"
        );
    }
}

#[test]
fn a_crashed_and_returned_node_catches_up() {
    let mut sim = sim(8);
    let nodes = ring(&mut sim, 10, 2);
    sim.run_until(30 * SECOND, Simulation::all_know_all)
        .unwrap();
    for other in 1..10 {
        sim.disconnect(nodes[0], nodes[other]);
    }
    sim.run_for(SECOND);
    assert_eq!(
        sim.engine(nodes[0]).map(|engine| engine.phase()),
        Some(Phase::Discovery)
    );
    sim.renew(nodes[5], false);
    sim.renew(nodes[0], false);
    sim.run_for(SECOND);
    sim.connect(nodes[0], nodes[3]);
    assert!(sim.run_until(SECOND, Simulation::all_know_all).is_some());
}

#[test]
fn a_farewell_reaches_everybody_and_the_peer_stays_gone() {
    let mut sim = sim(9);
    let nodes = ring(&mut sim, 12, 2);
    sim.run_until(30 * SECOND, Simulation::all_know_all)
        .unwrap();
    sim.run_for(SECOND);
    let gone = sim.record(nodes[4]).unwrap().key();
    sim.renew(nodes[4], true);
    sim.run_for(SECOND);
    for node in nodes.iter().filter(|node| **node != nodes[4]) {
        assert!(!sim.set(*node).unwrap().contains(&gone), "node {node}");
    }
    sim.run_for(120 * SECOND);
    let newcomer = sim.add_node();
    sim.connect(newcomer, nodes[0]);
    sim.run_for(60 * SECOND);
    assert!(!sim.set(newcomer).unwrap().contains(&gone));
}

#[test]
fn lost_announcements_are_repaired_by_the_next_round() {
    let mut sim = sim(10);
    let nodes = ring(&mut sim, 6, 1);
    sim.run_until(30 * SECOND, Simulation::all_know_all)
        .unwrap();
    sim.run_for(SECOND);
    // News while the only two links of a node are down, and no announcement left to repeat.
    sim.disconnect(nodes[0], nodes[1]);
    sim.disconnect(nodes[0], nodes[5]);
    sim.renew(nodes[3], false);
    sim.run_for(30 * SECOND);
    sim.connect(nodes[0], nodes[1]);
    assert!(sim.run_until(SECOND, Simulation::all_know_all).is_some());
}

#[test]
fn nodes_dial_whom_they_learn_of() {
    let mut sim = sim_with(2, |options| options.degree = 4);
    let nodes: Vec<_> = (0..30).map(|_| sim.add_node()).collect();
    for node in &nodes[1..] {
        sim.connect(*node, nodes[0]);
    }
    assert!(
        sim.run_until(3 * SECOND, Simulation::all_know_all)
            .is_some()
    );
    // The bootstrap goes away; the rest is a federation of its own.
    for node in &nodes[1..] {
        sim.disconnect(*node, nodes[0]);
    }
    sim.renew(nodes[9], false);
    let rest = |sim: &Simulation| {
        nodes[1..]
            .iter()
            .all(|node| *node == nodes[9] || sim.knows(*node, nodes[9]))
    };
    assert!(sim.run_until(2 * SECOND, rest).is_some());
}

#[test]
fn the_other_federation_and_the_other_network_stay_strangers() {
    let mut federation = NodeConfig::default();
    federation.federation = "other".to_owned();
    let mut network = NodeConfig::default();
    network.bitcoin_network = BitcoinNetwork::Regtest;
    for config in [federation, network] {
        let mut sim = sim(4);
        let (a, b) = (sim.add_node(), sim.add_node());
        let stranger = sim.add_node_with(config.into());
        sim.connect(a, b);
        sim.connect(stranger, a);
        sim.run_for(10 * SECOND);
        assert!(sim.knows(a, b) && sim.knows(b, a));
        assert!(!sim.knows(a, stranger) && !sim.knows(b, stranger) && !sim.knows(stranger, a));
        assert_eq!(
            sim.engine(stranger).map(|engine| engine.session_count()),
            Some(0),
            "hung up"
        );
    }
}

#[test]
fn a_federation_on_one_machine_and_one_on_the_internet_work_without_a_switch() {
    for scope in [AddrScope::Loopback, AddrScope::Private, AddrScope::Public] {
        let mut sim = sim_with(6, |options| options.scope = scope);
        ring(&mut sim, 5, 1);
        assert!(
            sim.run_until(SECOND, Simulation::all_know_all).is_some(),
            "{scope:?}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_run_to_the_byte() {
    let run = |seed| {
        let mut sim = sim_with(seed, |options| {
            options.degree = 3;
            options.latency_jitter = 0.5;
        });
        let nodes: Vec<_> = (0..15).map(|_| sim.add_node()).collect();
        for node in &nodes[1..] {
            sim.connect(*node, nodes[0]);
        }
        sim.run_for(5 * SECOND);
        sim.partition(|node| node / 8);
        sim.renew(nodes[3], false);
        sim.run_for(20 * SECOND);
        sim.heal();
        sim.run_for(30 * SECOND);
        (sim.trace(), sim.steps(), sim.counters())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn a_long_list_crosses_in_parts() {
    let mut sim = sim(12);
    let hub = sim.add_node();
    let many: Vec<_> = (0..600).map(|_| sim.add_node()).collect();
    for node in &many {
        sim.connect(*node, hub);
    }
    sim.run_until(60 * SECOND, |sim| {
        sim.set(hub).is_some_and(|set| set.len() == 600)
    })
    .unwrap();
    for node in &many {
        sim.disconnect(*node, hub);
    }
    let newcomer = sim.add_node();
    sim.connect(newcomer, hub);
    let before = sim.counters().messages_in;
    let took = sim
        .run_until(SECOND, |sim| {
            sim.set(newcomer).is_some_and(|set| set.len() == 601)
        })
        .unwrap();
    // A sample; then nobody else comes, and the hub is asked for the four parts after a wait.
    let wait = 400 * MS;
    assert!(took <= wait + (5 + 2 * 5) * 20 * MS, "{took:?}");
    assert!(sim.counters().messages_in - before <= 16);
}

#[test]
fn the_simulation_never_livelocks() {
    let mut sim = sim(13);
    ring(&mut sim, 10, 3);
    sim.run_for(3600 * SECOND);
    // An hour of ten nodes: a round of two frames per node and half a minute, and the timers around it.
    assert!(sim.steps() < 20_000, "{} steps", sim.steps());
}

#[test]
fn who_died_is_told_of_for_a_lease_and_who_lives_for_as_long_as_it_lives() {
    let mut sim = sim_with(21, |options| options.clock_skew = 365 * 24 * 3600 * SECOND);
    let nodes = ring(&mut sim, 8, 1);
    sim.run_until(10 * SECOND, Simulation::all_know_all)
        .unwrap();
    let dead = nodes[7];
    sim.crash(dead);
    sim.connect(nodes[6], nodes[0]);
    for _ in 0..3 {
        sim.run_for(8 * 3600 * SECOND);
        for node in &nodes[..7] {
            sim.renew(*node, false);
        }
        sim.run_for(SECOND);
        assert!(sim.all_know_all(), "the living");
    }
    let newcomer = sim.add_node();
    sim.connect(newcomer, nodes[3]);
    sim.run_for(60 * SECOND);
    let known = sim.set(newcomer).unwrap();
    let knows = |node| known.contains(&sim.record(node).unwrap().key());
    assert!(nodes[..7].iter().all(|node| knows(*node)) && !knows(dead));
    let still = sim.set(nodes[3]).unwrap();
    assert!(still.contains(&sim.record(dead).unwrap().key()));
}
