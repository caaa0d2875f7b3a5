//! What a federation goes through: the scenarios whose figures `docs/benchmarks/exchange.md` shows.

use std::time::Duration;

use btcfed_core::exchange::ExchangeCounters;

use super::{Behaviour, NodeId, SimOptions, Simulation};

/// How long nodes take to introduce themselves over links that came up together.
const INTRODUCTIONS: Duration = Duration::from_secs(3);

/// News before a measurement: they find the tree.
const EARLIER_NEWS: usize = 3;

/// Longest wait for a goal.
const PATIENCE: Duration = Duration::from_secs(120);

/// The node through which newcomers come, if they come through a bootstrap.
pub const BOOTSTRAP: NodeId = 0;

/// A federation as it is after a while: converged, introduced, with a tree that the news of its bootstrap and of others have
/// found.
#[must_use]
pub fn settled(options: SimOptions, nodes: usize) -> Simulation {
    let mut sim = Simulation::converged(options, nodes);
    sim.run_for(INTRODUCTIONS);
    for place in 0..EARLIER_NEWS {
        let other = sim.rng.index(nodes);
        sim.renew(if place == 0 { BOOTSTRAP } else { other }, false);
        sim.run_for(Duration::from_secs(2));
    }
    sim
}

/// What one newcomer cost.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Join {
    /// Until everybody had its record, from its first dial on.
    pub known_by_all: Option<Duration>,
    /// Until it had everybody's.
    pub knows_all: Option<Duration>,
    /// Records that came in at each other node.
    pub records_per_node: f64,
    /// Frames sent per node, bare acknowledgements and its download left out.
    pub messages_per_node: f64,
    /// Bytes of frames sent per node, its download left out.
    pub bytes_per_node: f64,
    /// Bytes of frames it received.
    pub downloaded: u64,
}

/// A newcomer dials `contact`, a random node if none is given, and then whom it learns of.
pub fn join(sim: &mut Simulation, contact: Option<NodeId>) -> Join {
    let others = sim.len();
    let (before, messages, start) = (sim.counters(), sim.messages(), sim.elapsed());
    let newcomer = sim.add_node();
    let contact = contact.unwrap_or_else(|| running(sim, newcomer));
    sim.connect(newcomer, contact);
    let one = sim.run_until(PATIENCE, |sim| {
        sim.is_known_by_all(newcomer) || sim.knows_all(newcomer)
    });
    let (mut known, mut knows) = (None, None);
    if one.is_some() {
        if sim.is_known_by_all(newcomer) {
            known = Some(sim.elapsed() - start);
        }
        if sim.knows_all(newcomer) {
            knows = Some(sim.elapsed() - start);
        }
        let both = |sim: &Simulation| sim.is_known_by_all(newcomer) && sim.knows_all(newcomer);
        let end = sim.run_until(PATIENCE, both).map(|_| sim.elapsed() - start);
        known = known.or(end);
        knows = knows.or(end);
    }
    // Ids beside the tree are told a little later.
    sim.run_for(Duration::from_millis(500));
    let (after, own) = (sim.counters(), sim.counters_of(newcomer));
    let per_node = |value: u64| value as f64 / others as f64;
    let records = after.records_offered - before.records_offered - own.records_offered;
    let of_newcomer = own.messages_in + own.messages_out;
    let messages = (sim.messages() - messages).saturating_sub(of_newcomer);
    let bytes = after.bytes_out - before.bytes_out;
    Join {
        known_by_all: known,
        knows_all: knows,
        records_per_node: per_node(records),
        messages_per_node: per_node(messages),
        bytes_per_node: per_node(bytes.saturating_sub(own.bytes_in)),
        downloaded: own.bytes_in,
    }
}

/// How large a share of the others knows a newcomer that comes through the bootstrap, every 10 ms.
pub fn spread(sim: &mut Simulation, span: Duration) -> Vec<(Duration, f64)> {
    let (start, others) = (sim.elapsed(), sim.len());
    let newcomer = sim.add_node();
    sim.connect(newcomer, BOOTSTRAP);
    let mut curve = Vec::new();
    while sim.elapsed() < start + span {
        let knowers = (0..others)
            .filter(|node| sim.knows(*node, newcomer))
            .count();
        curve.push((sim.elapsed() - start, knowers as f64 / others as f64));
        sim.run_for(Duration::from_millis(10));
    }
    curve
}

/// What a federation costs in which nothing happens, per node and second.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Idle {
    /// Bytes of frames sent.
    pub bytes: f64,
    /// Frames sent, answers included.
    pub messages: f64,
}

/// Waits until the timers have slowed down, then measures.
pub fn idle(sim: &mut Simulation, span: Duration) -> Idle {
    sim.run_for(Duration::from_secs(120));
    let (before, messages) = (sim.counters(), sim.messages());
    sim.run_for(span);
    let after = sim.counters();
    let rate = |value: u64| value as f64 / sim.len() as f64 / span.as_secs_f64();
    Idle {
        bytes: rate(after.bytes_out - before.bytes_out),
        messages: rate(sim.messages() - messages),
    }
}

/// What is known while nodes come and go.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Churn {
    /// The least share of live pairs of which one knew the other, looked at every second.
    pub least_share: f64,
    /// Until everybody alive knew everybody alive, after it ended.
    pub complete_after: Option<Duration>,
}

/// Within `span` so many percent of the nodes crash and as many newcomers join, at random moments.
pub fn churn(sim: &mut Simulation, percent: usize, span: Duration) -> Churn {
    let changes = sim.len() * percent / 100;
    let mut times: Vec<Duration> = (0..changes)
        .map(|_| sim.rng.between(Duration::ZERO, span))
        .collect();
    times.sort_unstable();
    let mut times = times.into_iter().peekable();
    let start = sim.elapsed();
    let mut least_share = 1.0_f64;
    for second in 1..=span.as_secs() {
        let look = Duration::from_secs(second);
        while let Some(time) = times.next_if(|time| *time <= look) {
            sim.run_for((start + time).saturating_sub(sim.elapsed()));
            let victim = running(sim, BOOTSTRAP);
            sim.crash(victim);
            let newcomer = sim.add_node();
            for _ in 0..2 {
                let contact = running(sim, newcomer);
                sim.connect(newcomer, contact);
            }
        }
        sim.run_for((start + look).saturating_sub(sim.elapsed()));
        least_share = least_share.min(sim.known_share());
    }
    Churn {
        least_share,
        complete_after: sim.run_until(PATIENCE, Simulation::all_know_all),
    }
}

/// What healing a partition took.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Healing {
    /// Until everybody had everything, from the moment on when the sides could dial each other again.
    pub took: Option<Duration>,
    /// Bytes received in that time, compared with those of the records that were missing.
    pub overhead: f64,
}

/// Two halves do not reach each other for `span`; in each half so many percent of all sign a new record meanwhile, which the
/// other half lacks then.
pub fn partition(sim: &mut Simulation, percent: usize, span: Duration) -> Healing {
    let nodes = sim.len();
    sim.partition(|node| node % 2);
    let news = 2 * (nodes * percent / 100).max(1);
    let mut sides = (0..nodes).filter(|node| sim.is_running(*node));
    let renewed: Vec<NodeId> = sides.by_ref().take(news).collect();
    for node in renewed {
        sim.run_for(span / u32::try_from(news).unwrap_or(u32::MAX));
        sim.renew(node, false);
    }
    sim.run_for(Duration::from_secs(5));
    let missing = (1.0 - sim.known_share()) * (nodes * nodes) as f64;
    let before = sim.counters();
    sim.heal();
    let took = sim.run_until(PATIENCE, Simulation::all_know_all);
    let bytes = sim.counters().bytes_in - before.bytes_in;
    let record = sim.record(0).map_or(1, |record| record.envelope().len());
    Healing {
        took,
        overhead: bytes as f64 / (missing * record as f64).max(1.0),
    }
}

/// What it took a federation to find itself.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Start {
    /// Until 95 of 100 pairs were known, from the first dial on.
    pub nearly: Option<Duration>,
    /// Until all were.
    pub complete: Option<Duration>,
    /// Bytes of frames received per node, compared with the records of all others.
    pub overhead: f64,
    /// Signatures checked per record and node that needed it.
    pub checks: f64,
    /// What was counted in all.
    pub counters: ExchangeCounters,
}

/// Nodes that know one address start within `span` and find each other; `hostile` of them do harm.
#[must_use]
pub fn mass_start(
    options: SimOptions,
    nodes: usize,
    hostile: usize,
    span: Duration,
) -> (Simulation, Start) {
    let mut sim = Simulation::new(options);
    let bootstrap = sim.add_node();
    let start = sim.elapsed();
    let mut behaviours = Behaviour::ALL.into_iter().cycle();
    let mut times: Vec<Duration> = (1..nodes)
        .map(|_| sim.rng.between(Duration::ZERO, span))
        .collect();
    times.sort_unstable();
    for (place, time) in (1..nodes).zip(times) {
        sim.run_for((start + time).saturating_sub(sim.elapsed()));
        let is_hostile = place * hostile / nodes > (place - 1) * hostile / nodes;
        let node = match behaviours.next().filter(|_| is_hostile) {
            Some(behaviour) => sim.add_hostile(behaviour),
            None => sim.add_node(),
        };
        sim.connect(node, bootstrap);
    }
    let nearly = sim.run_until(PATIENCE, |sim| sim.known_share() >= 0.95);
    let nearly = nearly.map(|_| sim.elapsed() - start);
    let complete = sim.run_until(PATIENCE, Simulation::all_know_all);
    let complete = complete.map(|_| sim.elapsed() - start);
    let counters = sim.counters();
    let record = sim
        .record(bootstrap)
        .map_or(1, |record| record.envelope().len());
    let pairs = (nodes * (nodes - 1)) as f64;
    let start = Start {
        nearly,
        complete,
        overhead: counters.bytes_in as f64 / (pairs * record as f64),
        checks: counters.signatures_checked as f64 / pairs,
        counters,
    };
    (sim, start)
}

/// A random running honest node other than `but`.
fn running(sim: &mut Simulation, but: NodeId) -> NodeId {
    loop {
        let node = sim.rng.index(sim.len());
        if node != but && sim.knowledge.counts(node) {
            return node;
        }
    }
}
