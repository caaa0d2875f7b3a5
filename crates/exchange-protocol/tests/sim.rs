//! Federations of engines on virtual time.

use std::time::Duration;

use btcfed_exchange_protocol::simulate::{SimOptions, Simulation};

const SECOND: Duration = Duration::from_secs(1);

fn sim(seed: u64) -> Simulation {
    let mut options = SimOptions::default();
    options.seed = seed;
    Simulation::new(options)
}

#[test]
fn two_nodes_know_each_other_after_one_round_trip() {
    let mut sim = sim(1);
    let (a, b) = (sim.add_node(), sim.add_node());
    sim.connect(a, b);
    let took = sim.run_until(SECOND, Simulation::all_know_all).unwrap();
    assert_eq!(
        took,
        Duration::from_millis(140),
        "five latencies to connect, two for question and answer"
    );
}

#[test]
fn the_ends_of_a_chain_know_each_other() {
    let mut sim = sim(1);
    let nodes: Vec<_> = (0..3).map(|_| sim.add_node()).collect();
    sim.connect(nodes[1], nodes[0]);
    sim.run_for(SECOND);
    sim.connect(nodes[2], nodes[1]);
    let took = sim.run_until(SECOND, Simulation::all_know_all).unwrap();
    assert!(took <= Duration::from_millis(200), "{took:?}");
}
