//! How fast does a federation find itself, and at what price? The real engine on virtual time.
//!
//! `cargo run --release -p btcfed-exchange-protocol --example simulate_exchange -- [SEED] [--svg FILE] [--suite]`
//!
//! Without `--suite` in seconds; with it every figure of `docs/benchmarks/exchange.md` in about ten minutes of one core.

#[path = "simulate_exchange/plot.rs"]
mod plot;
#[path = "simulate_exchange/suite.rs"]
mod suite;

use std::process::ExitCode;
use std::time::Duration;

use btcfed_exchange_protocol::simulate::scenario;

#[expect(clippy::print_stdout, reason = "an example shows its result")]
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let seed = args.iter().find_map(|text| text.parse().ok()).unwrap_or(1);
    if args.iter().any(|arg| arg == "--suite") {
        suite::run(&mut |line| println!("{line}"));
        return ExitCode::SUCCESS;
    }
    println!("20 ms links, uplinks of 100 Mbit/s, 8 links per node; seed {seed}\n");
    suite::title(&mut |line| println!("{line}"));
    for nodes in [10, 100, 300] {
        println!("{}", suite::join_row(nodes, 1, suite::LAN, seed));
    }
    let at = args.iter().position(|arg| arg == "--svg");
    let Some(file) = at.and_then(|at| args.get(at + 1)) else {
        return ExitCode::SUCCESS;
    };
    let curves = [100, 300].map(|nodes| {
        let options = suite::options(suite::LAN, seed);
        let mut sim = scenario::settled(options, nodes);
        let curve = scenario::spread(&mut sim, Duration::from_millis(500));
        (format!("{nodes} nodes"), curve)
    });
    match std::fs::write(file, plot::svg("a newcomer becomes known", &curves)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{file}: {error}");
            ExitCode::FAILURE
        }
    }
}
