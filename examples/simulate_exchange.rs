//! How fast does a federation find itself, and at what price? The real engine on virtual time.
//!
//! `cargo run --release -p btcfed-exchange-protocol --example simulate_exchange -- [SEED] [--svg | --suite]`
//!
//! Without an option a table in seconds; with `--svg` a picture on stdout; with `--suite` all scenarios of
//! `docs/benchmarks/exchange.md` over 20 seeds; that takes a while.

#[path = "simulate_exchange/plot.rs"]
mod plot;
#[path = "simulate_exchange/suite.rs"]
mod suite;

use std::time::Duration;

use btcfed_exchange_protocol::simulate::scenario;
use btcfed_exchange_protocol::simulate::series::{LAN, options};

#[expect(clippy::print_stdout, reason = "an example shows its result")]
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let seed = args.iter().find_map(|text| text.parse().ok()).unwrap_or(1);
    if args.iter().any(|arg| arg == "--suite") {
        suite::run(&mut |line| println!("{line}"));
        return;
    }
    if args.iter().any(|arg| arg == "--svg") {
        println!("{}", curves(seed));
        return;
    }
    println!("20 ms links, uplinks of 100 Mbit/s, 8 links per node; seed {seed}\n");
    suite::title(&mut |line| println!("{line}"));
    for nodes in [10, 100, 300] {
        println!("{}", suite::join_row(nodes, 1, LAN, seed));
    }
}

/// How fast newcomers become known, as an SVG.
fn curves(seed: u64) -> String {
    let curves = [100, 300].map(|nodes| {
        let mut sim = scenario::settled(options(LAN, seed), nodes);
        let curve = scenario::spread(&mut sim, Duration::from_millis(500));
        (format!("{nodes} nodes"), curve)
    });
    plot::svg("a newcomer becomes known", &curves)
}
