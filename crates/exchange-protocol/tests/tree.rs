//! How news spreads through a federation: along a tree that heals itself.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use btcfed_core::rng::SeededRng;
use btcfed_exchange_protocol::simulate::{NodeId, SimOptions, Simulation};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// `n` nodes with eight random links each on average, that know each other and have found their tree.
fn federation(seed: u64, n: usize) -> (Simulation, Vec<NodeId>, SeededRng) {
    let mut options = SimOptions::default();
    options.seed = seed;
    let mut sim = Simulation::new(options);
    let mut rng = SeededRng::from_seed(seed);
    let nodes: Vec<NodeId> = (0..n).map(|_| sim.add_node()).collect();
    for (index, node) in nodes.iter().enumerate() {
        sim.connect(*node, nodes[(index + 1) % n]);
        for _ in 0..3 {
            sim.connect(*node, nodes[rng.index(n)]);
        }
    }
    sim.run_until(60 * SECOND, Simulation::all_know_all)
        .unwrap();
    sim.run_for(40 * SECOND);
    for _ in 0..3 {
        let node = nodes[rng.index(n)];
        renew(&mut sim, node);
        sim.run_for(5 * SECOND);
    }
    (sim, nodes, rng)
}

/// A node's news until all have it; how many records were sent for it, and how long it took.
fn renew(sim: &mut Simulation, node: NodeId) -> (u64, Duration) {
    let before = sim.counters().records_offered;
    sim.renew(node, false);
    let took = sim.run_until(10 * SECOND, |sim| sim.is_known_by_all(node));
    let took = took.unwrap();
    sim.run_for(SECOND);
    (sim.counters().records_offered - before, took)
}

#[test]
fn news_cost_about_one_record_per_node() {
    let n = 200;
    for seed in 0..1 {
        let (mut sim, nodes, mut rng) = federation(seed, n);
        let (mut offered, mut slowest) = (0, Duration::ZERO);
        for _ in 0..10 {
            let node = nodes[rng.index(n)];
            let (records, took) = renew(&mut sim, node);
            offered += records;
            slowest = slowest.max(took);
            sim.run_for(5 * SECOND);
        }
        let each = offered as f64 / 10.0 / (n - 1) as f64;
        assert!(each <= 1.1, "seed {seed}: {each} records per node");
        assert!(slowest <= 320 * MS, "seed {seed}: {slowest:?}");
    }
}

#[test]
fn a_newcomer_costs_about_one_record_per_node_and_is_known_by_all_soon() {
    let n = 200;
    for seed in 0..1 {
        let (mut sim, nodes, mut rng) = federation(seed, n);
        let offered = |sim: &Simulation| -> u64 {
            let of = |node: &NodeId| sim.engine(*node).map(offered_to);
            nodes.iter().filter_map(of).sum()
        };
        let mut records = 0;
        for _ in 0..5 {
            let before = offered(&sim);
            let newcomer = sim.add_node();
            for _ in 0..8 {
                sim.connect(newcomer, nodes[rng.index(n)]);
            }
            let known = sim.run_until(SECOND, |sim| sim.is_known_by_all(newcomer));
            assert!(known <= Some(400 * MS), "seed {seed}: {known:?}");
            sim.run_for(10 * SECOND);
            records += offered(&sim) - before;
        }
        let each = records as f64 / 5.0 / n as f64;
        // The goal is 1.1: some of its eight neighbours hear of it twice.
        assert!(each <= 1.15, "seed {seed}: {each} records per node");
        assert!(sim.all_know_all());
    }
}

fn offered_to(engine: &btcfed_exchange_protocol::Engine) -> u64 {
    use btcfed_core::Exchange as _;
    engine.counters().records_offered
}

#[test]
fn the_tree_heals_when_its_links_die() {
    let n = 60;
    for seed in 0..3 {
        let (mut sim, nodes, mut rng) = federation(seed, n);
        // A quarter of all links die, whichever branches they carried.
        for (one, other) in sim.links() {
            if rng.chance(0.25) {
                sim.disconnect(one, other);
            }
        }
        for round in 0..4 {
            let node = nodes[rng.index(n)];
            let (records, took) = renew(&mut sim, node);
            let limit = if round == 0 { 2 * SECOND } else { SECOND };
            assert!(took <= limit, "seed {seed}, round {round}: {took:?}");
            if round == 3 {
                let each = records as f64 / (n - 1) as f64;
                assert!(each <= 1.1, "seed {seed}: {each} records per node again");
            }
            sim.run_for(3 * SECOND);
        }
    }
}
