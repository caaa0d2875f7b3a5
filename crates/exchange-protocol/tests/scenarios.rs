//! The short form of the figures in `docs/benchmarks/exchange.md`: what a federation goes through, on virtual time.

use std::time::Duration;

use btcfed_exchange_protocol::simulate::scenario::{self, BOOTSTRAP};
use btcfed_exchange_protocol::simulate::{Behaviour, SimOptions, Simulation};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn options(seed: u64) -> SimOptions {
    let mut options = SimOptions::default();
    options.seed = seed;
    options.degree = 8;
    options.uplink = Some(12_500_000);
    options
}

/// Links between continents that lose every fiftieth frame, clocks an hour off, every tenth dial in vain.
fn rough(seed: u64) -> SimOptions {
    let mut options = options(seed);
    options.latency = 100 * MS;
    options.latency_jitter = 0.2;
    options.loss = 0.02;
    options.clock_skew = Duration::from_secs(3600);
    options.dial_failure = 0.1;
    options
}

#[test]
fn a_newcomer_is_soon_known_at_the_price_of_one_record_per_node() {
    for seed in 1..=3 {
        let mut sim = scenario::settled(options(seed), 150);
        let join = scenario::join(&mut sim, Some(BOOTSTRAP));
        assert!(join.known_by_all.unwrap() <= 275 * MS, "{seed}: {join:?}");
        assert!(join.knows_all.unwrap() <= 420 * MS, "{seed}: {join:?}");
        assert!(join.records_per_node <= 1.15, "{seed}: {join:?}");
        assert!(join.messages_per_node <= 6.2, "{seed}: {join:?}");
    }
}

#[test]
fn an_idle_federation_costs_the_same_whatever_its_size() {
    for nodes in [10, 200] {
        let mut sim = scenario::settled(options(1), nodes);
        let idle = scenario::idle(&mut sim, 60 * SECOND);
        assert!(idle.bytes > 0.0 && idle.bytes <= 20.0, "{nodes}: {idle:?}");
        assert!(idle.messages <= 0.25, "{nodes}: {idle:?}");
    }
}

#[test]
fn while_nodes_come_and_go_nearly_everybody_is_known() {
    let mut sim = scenario::settled(options(2), 150);
    let churn = scenario::churn(&mut sim, 30, 60 * SECOND);
    assert!(churn.least_share >= 0.97, "{churn:?}");
    assert!(churn.complete_after.unwrap() <= 5 * SECOND, "{churn:?}");
}

#[test]
fn a_healed_partition_is_forgotten_within_a_second() {
    let mut sim = scenario::settled(options(3), 100);
    let healing = scenario::partition(&mut sim, 5, 300 * SECOND);
    assert!(healing.took.unwrap() <= SECOND, "{healing:?}");
    assert!((0.0..4.0).contains(&healing.overhead), "{healing:?}");
    let mut sim = scenario::settled(options(3), 400);
    let healing = scenario::partition(&mut sim, 5, 300 * SECOND);
    assert!(healing.took.unwrap() <= SECOND, "{healing:?}");
    assert!((0.0..2.2).contains(&healing.overhead), "{healing:?}");
}

#[test]
fn rough_links_slow_a_federation_down_and_keep_nobody_out() {
    for seed in 1..=2 {
        let (sim, start) = scenario::mass_start(rough(seed), 40, 0, SECOND);
        assert!(start.complete.unwrap() <= 20 * SECOND, "{seed}: {start:?}");
        assert!(start.nearly <= start.complete);
        assert!(start.checks <= 1.1, "{seed}: {start:?}");
        assert_eq!(sim.verifier().distinct(), 40, "one per record");
    }
}

#[test]
fn honest_nodes_know_each_other_although_a_third_is_hostile() {
    for seed in 1..=4 {
        let (mut sim, start) = scenario::mass_start(options(seed), 36, 12, SECOND);
        assert!(start.complete.is_some(), "{seed}: {start:?}");
        // News still arrive everywhere.
        sim.run_for(20 * SECOND);
        sim.renew(BOOTSTRAP, false);
        let took = sim.run_until(60 * SECOND, Simulation::all_know_all);
        assert!(took.is_some(), "{seed}");
    }
}

#[test]
fn each_kind_of_hostile_node_is_survived_alone() {
    for behaviour in Behaviour::ALL {
        let mut sim = Simulation::new(options(5));
        let bootstrap = sim.add_node();
        for place in 0..12 {
            let node = if place % 3 == 0 {
                sim.add_hostile(behaviour)
            } else {
                sim.add_node()
            };
            sim.connect(node, bootstrap);
        }
        let took = sim.run_until(60 * SECOND, Simulation::all_know_all);
        assert!(took.is_some(), "{behaviour:?}");
    }
}

#[test]
fn rough_and_hostile_runs_replay_to_the_byte() {
    let run = |seed| {
        let mut options = rough(seed);
        options.degree = 4;
        let (mut sim, _) = scenario::mass_start(options, 18, 6, SECOND);
        sim.crash(BOOTSTRAP);
        sim.run_for(10 * SECOND);
        (sim.trace(), sim.steps(), sim.counters(), sim.messages())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn what_a_converged_federation_shares_changes_nothing() {
    let mut sim = scenario::settled(options(6), 60);
    assert!(sim.all_know_all());
    let mut bytes = sim.counters().bytes_out;
    let before = sim.trace();
    sim.run_for(200 * SECOND);
    bytes = sim.counters().bytes_out - bytes;
    // Only summaries are exchanged: nobody finds a difference that is none.
    assert!(bytes < 60 * 200 * 4, "{bytes}");
    assert_ne!(sim.trace(), before);
}

#[test]
fn a_crashed_node_counts_no_more_and_its_neighbours_look_for_others() {
    let mut sim = scenario::settled(options(7), 20);
    sim.crash(3);
    assert!(!sim.is_running(3) && sim.all_know_all());
    sim.run_for(5 * SECOND);
    assert!(
        sim.links()
            .iter()
            .all(|(one, other)| *one != 3 && *other != 3)
    );
    assert!(sim.links().len() >= 19 * 4, "{}", sim.links().len());
    sim.renew(4, false);
    assert!(!sim.is_known_by_all(4));
    let took = sim.run_until(SECOND, |sim| sim.is_known_by_all(4));
    assert!(took.is_some() && (sim.known_share() - 1.0).abs() < 1e-9);
}

#[test]
fn the_curve_of_a_newcomer_only_rises() {
    let mut sim = scenario::settled(options(8), 50);
    let curve = scenario::spread(&mut sim, 600 * MS);
    assert!(curve.is_sorted_by(|a, b| a.1 <= b.1));
    assert_eq!(curve.last().map(|(_, share)| *share), Some(1.0));
}
