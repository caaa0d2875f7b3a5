//! Every figure of `docs/benchmarks/exchange.md` that is simulated, as tables.

use std::time::Duration;

use btcfed_exchange_protocol::simulate::scenario;
use btcfed_exchange_protocol::simulate::series::{self, LAN, Links, WAN, median, options, worst};

/// A list of peers has room for 10,000: with the newcomer that is all of it.
const MOST: usize = 9_990;
const SEEDS: u64 = 20;

type Say<'a> = &'a mut dyn FnMut(String);

/// All tables.
pub(crate) fn run(say: Say<'_>) {
    title(say);
    say(idle_row(10));
    for (nodes, seeds) in [(100, SEEDS), (1_000, SEEDS), (MOST, SEEDS)] {
        say(join_row(nodes, seeds, LAN, 1));
    }
    for nodes in [100, 1_000] {
        say(join_row(nodes, SEEDS, WAN, 1));
    }
    say("\n| start within 1 s | N | hostile | seeds | 95 % of pairs, worst | all, worst | x records, worst | checks per record |\n|---|---|---|---|---|---|---|---|".to_owned());
    for (links, nodes, hostile, seeds) in [
        (LAN, 100, 0, SEEDS),
        (WAN, 100, 0, SEEDS),
        (LAN, 60, 20, SEEDS),
        (LAN, 1_000, 0, 1),
    ] {
        say(start_row(links, nodes, hostile, seeds));
    }
    say("\n| | N | seeds | least share known at any second | all known after, worst |\n|---|---|---|---|---|".to_owned());
    for (links, nodes, seeds) in [(LAN, 100, SEEDS), (WAN, 100, SEEDS), (LAN, 1_000, 2)] {
        say(churn_row(links, nodes, seeds));
    }
    for (links, nodes, seeds) in [(LAN, 100, SEEDS), (WAN, 100, SEEDS), (LAN, 1_000, 3)] {
        say(partition_row(links, nodes, seeds));
    }
}

/// The head of the table of joins.
pub(crate) fn title(say: Say<'_>) {
    say("| links | N | seeds | known by all: median, worst | knows all, worst | records per node, worst | messages per node, worst | idle: B/s, messages/s |\n|---|---|---|---|---|---|---|---|".to_owned());
}

/// One newcomer through the bootstrap in every seed; idle is measured in the first one.
pub(crate) fn join_row(nodes: usize, seeds: u64, links: Links, first: u64) -> String {
    let joins = series::joins(links, nodes, first..=first + seeds - 1);
    format!(
        "| {} | {nodes} | {seeds} | {}, {} | {} | {:.3} | {:.2} | {:.1}, {:.3} |",
        links.name,
        millis(median(&joins.known_by_all)),
        millis(worst(&joins.known_by_all)),
        millis(worst(&joins.knows_all)),
        joins.records_per_node,
        joins.messages_per_node,
        joins.idle.bytes,
        joins.idle.messages,
    )
}

fn idle_row(nodes: usize) -> String {
    let idle = series::idle(LAN, nodes, 1);
    format!(
        "| {} | {nodes} | 1 | | | | | {:.1}, {:.3} |",
        LAN.name, idle.bytes, idle.messages
    )
}

fn start_row(links: Links, nodes: usize, hostile: usize, seeds: u64) -> String {
    let (mut nearly, mut complete, mut overhead, mut checks) = (Vec::new(), Vec::new(), 0.0, 0.0);
    for seed in 1..=seeds {
        let options = options(links, seed);
        let (_, start) = scenario::mass_start(options, nodes, hostile, Duration::from_secs(1));
        nearly.push(start.nearly);
        complete.push(start.complete);
        overhead = f64::max(overhead, start.overhead);
        checks = f64::max(checks, start.checks);
    }
    format!(
        "| {} | {nodes} | {hostile} | {seeds} | {} | {} | {overhead:.2} | {checks:.2} |",
        links.name,
        millis(worst(&nearly)),
        millis(worst(&complete))
    )
}

fn churn_row(links: Links, nodes: usize, seeds: u64) -> String {
    let (mut least, mut after) = (1.0, Vec::new());
    for seed in 1..=seeds {
        let mut sim = scenario::settled(options(links, seed), nodes);
        let churn = scenario::churn(&mut sim, 30, Duration::from_secs(60));
        least = f64::min(least, churn.least_share);
        after.push(churn.complete_after);
    }
    format!(
        "| churn: 30 % crash and as many join in 60 s, {} | {nodes} | {seeds} | {:.2} % | {} |",
        links.name,
        least * 100.0,
        millis(worst(&after))
    )
}

fn partition_row(links: Links, nodes: usize, seeds: u64) -> String {
    let (mut took, mut overhead) = (Vec::new(), 0.0);
    for seed in 1..=seeds {
        let mut sim = scenario::settled(options(links, seed), nodes);
        let healing = scenario::partition(&mut sim, 5, Duration::from_secs(300));
        took.push(healing.took);
        overhead = f64::max(overhead, healing.overhead);
    }
    format!(
        "| partition: halves for 5 min, in each 5 % of all with news, {} | {nodes} | {seeds} | | {}; {overhead:.2} x the missing bytes |",
        links.name,
        millis(worst(&took))
    )
}

fn millis(time: Option<Duration>) -> String {
    time.map_or_else(
        || "never".to_owned(),
        |time| format!("{} ms", time.as_millis()),
    )
}
