//! Every figure of `docs/benchmarks/exchange.md` that is simulated, as tables.

use std::time::Duration;

use btcfed_exchange_protocol::simulate::{SimOptions, scenario};

/// A list of peers has room for 10,000: with the newcomer that is all of it.
const MOST: usize = 9_990;
const SEEDS: u64 = 20;

/// What kind of links.
#[derive(Clone, Copy)]
pub(crate) struct Links {
    name: &'static str,
    latency_ms: u64,
    loss: f64,
}

pub(crate) const LAN: Links = Links {
    name: "20 ms",
    latency_ms: 20,
    loss: 0.0,
};

const WAN: Links = Links {
    name: "100 ms, 2 % loss",
    latency_ms: 100,
    loss: 0.02,
};

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

pub(crate) fn options(links: Links, seed: u64) -> SimOptions {
    let mut options = SimOptions::default();
    options.seed = seed;
    options.degree = 8;
    options.uplink = Some(12_500_000);
    options.latency = Duration::from_millis(links.latency_ms);
    options.loss = links.loss;
    options
}

/// One newcomer through the bootstrap in every seed; idle is measured in the first one.
pub(crate) fn join_row(nodes: usize, seeds: u64, links: Links, first: u64) -> String {
    let (mut known, mut knows, mut records, mut messages) = (Vec::new(), Vec::new(), 0.0, 0.0);
    let mut idle = String::new();
    for seed in first..first + seeds {
        let mut sim = scenario::settled(options(links, seed), nodes);
        let join = scenario::join(&mut sim, Some(scenario::BOOTSTRAP));
        known.push(join.known_by_all);
        knows.push(join.knows_all);
        records = f64::max(records, join.records_per_node);
        messages = f64::max(messages, join.messages_per_node);
        if seed == first {
            let cost = scenario::idle(&mut sim, Duration::from_secs(120));
            idle = format!("{:.1}, {:.3}", cost.bytes, cost.messages);
        }
    }
    let median = middle(&mut known);
    let worst = [&known, &knows].map(|times| millis(worst(times)));
    let [known, knows] = worst;
    format!(
        "| {} | {nodes} | {seeds} | {}, {known} | {knows} | {records:.3} | {messages:.2} | {idle} |",
        links.name,
        millis(median),
    )
}

fn idle_row(nodes: usize) -> String {
    let mut sim = scenario::settled(options(LAN, 1), nodes);
    let idle = scenario::idle(&mut sim, Duration::from_secs(300));
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

/// The longest; `None` when one never ended.
fn worst(times: &[Option<Duration>]) -> Option<Duration> {
    let ended: Option<Vec<Duration>> = times.iter().copied().collect();
    ended?.into_iter().max()
}

fn middle(times: &mut [Option<Duration>]) -> Option<Duration> {
    times.sort_unstable_by_key(|time| time.unwrap_or(Duration::MAX));
    times.get(times.len() / 2).copied().flatten()
}

fn millis(time: Option<Duration>) -> String {
    time.map_or_else(
        || "never".to_owned(),
        |time| format!("{} ms", time.as_millis()),
    )
}
