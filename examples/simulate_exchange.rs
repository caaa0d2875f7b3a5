//! How fast does a federation find itself, and at what price? The real engine on virtual time, in seconds.
//!
//! `cargo run --release -p btcfed-exchange-protocol --example simulate_exchange [SEED]`

use std::time::Duration;

use btcfed_exchange_protocol::simulate::{SimOptions, Simulation};

const SIZES: [usize; 4] = [3, 10, 20, 50];
const LIMIT: Duration = Duration::from_secs(60);

#[expect(clippy::print_stdout, reason = "an example shows its result")]
fn main() {
    let seed = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    println!(
        "20 ms links, one bootstrap, every node dials up to 8 others it learns of; seed {seed}\n"
    );
    println!(
        "                  mass start |                      newcomer |              idle, per node"
    );
    println!(
        "nodes  all know all  kB/node |  known by all  knows all  kB  |  messages/s   bytes/s   trace"
    );
    for nodes in SIZES {
        println!("{}", row(nodes, seed));
    }
}

fn row(nodes: usize, seed: u64) -> String {
    let mut options = SimOptions::default();
    options.seed = seed;
    options.degree = 8;
    let mut sim = Simulation::new(options);
    let ids: Vec<_> = (0..nodes).map(|_| sim.add_node()).collect();
    if let Some((bootstrap, others)) = ids.split_first() {
        for node in others {
            sim.connect(*node, *bootstrap);
        }
    }
    let start = sim.run_until(LIMIT, Simulation::all_know_all);
    let start_bytes = sim.counters().bytes_out;

    // Let the timers slow down before the next measurement.
    sim.run_for(Duration::from_secs(120));
    let before = sim.counters();
    sim.run_for(Duration::from_secs(300));
    let idle = sim.counters();

    let newcomer = sim.add_node();
    if let Some(anybody) = ids.last() {
        sim.connect(newcomer, *anybody);
    }
    let known = sim.run_until(LIMIT, |sim| sim.is_known_by_all(newcomer));
    let knows = sim.run_until(LIMIT, Simulation::all_know_all);
    let join_bytes = sim.counters().bytes_out - idle.bytes_out;

    let per_second = |value: u64| value as f64 / nodes as f64 / 300.0;
    format!(
        "{nodes:>5}  {:>12}  {:>7.1} |  {:>12}  {:>9}  {:>3.0} |  {:>10.3}  {:>8.2}   {:016x}",
        millis(start),
        start_bytes as f64 / 1000.0 / nodes as f64,
        millis(known),
        millis(known.zip(knows).map(|(known, more)| known + more)),
        join_bytes as f64 / 1000.0,
        per_second(idle.messages_out - before.messages_out),
        per_second(idle.bytes_out - before.bytes_out),
        sim.trace(),
    )
}

fn millis(took: Option<Duration>) -> String {
    took.map_or_else(
        || "never".to_owned(),
        |took| format!("{} ms", took.as_millis()),
    )
}
