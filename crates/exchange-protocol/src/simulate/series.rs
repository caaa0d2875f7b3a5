//! A scenario over many seeds: the figures of the example and of the benchmark.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::scenario::{self, Idle};
use super::{SimOptions, Simulation};

/// How long an idle federation is watched.
const IDLE: Duration = Duration::from_secs(120);

/// What kind of links a federation has.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Links {
    /// How tables call them.
    pub name: &'static str,
    /// How long a frame takes from one end to the other.
    pub latency: Duration,
    /// Probability that a frame is lost on the way, and sent again.
    pub loss: f64,
}

/// Links of a local network.
pub const LAN: Links = Links {
    name: "20 ms",
    latency: Duration::from_millis(20),
    loss: 0.0,
};

/// Links across a continent that lose frames.
pub const WAN: Links = Links {
    name: "100 ms, 2 % loss",
    latency: Duration::from_millis(100),
    loss: 0.02,
};

/// What figures are taken on: these links, uplinks of 100 Mbit/s, eight links per node.
#[must_use]
pub fn options(links: Links, seed: u64) -> SimOptions {
    SimOptions {
        seed,
        degree: 8,
        uplink: Some(12_500_000),
        latency: links.latency,
        loss: links.loss,
        ..SimOptions::default()
    }
}

/// What newcomers cost, one in every seed.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Joins {
    /// Until everybody had the newcomer's record, in the order of the seeds; `None` where that did not happen.
    pub known_by_all: Vec<Option<Duration>>,
    /// Until the newcomer had everybody's.
    pub knows_all: Vec<Option<Duration>>,
    /// Records that came in at each other node, at worst.
    pub records_per_node: f64,
    /// Frames sent per node, at worst.
    pub messages_per_node: f64,
    /// What the federation of the first seed costs when nothing happens.
    pub idle: Idle,
}

/// One newcomer through the bootstrap of a settled federation of `nodes`, in every seed.
#[must_use]
pub fn joins(links: Links, nodes: usize, seeds: RangeInclusive<u64>) -> Joins {
    let first = *seeds.start();
    let mut joins = Joins::default();
    for seed in seeds {
        let mut sim = scenario::settled(options(links, seed), nodes);
        let join = scenario::join(&mut sim, Some(scenario::BOOTSTRAP));
        joins.known_by_all.push(join.known_by_all);
        joins.knows_all.push(join.knows_all);
        joins.records_per_node = joins.records_per_node.max(join.records_per_node);
        joins.messages_per_node = joins.messages_per_node.max(join.messages_per_node);
        if seed == first {
            joins.idle = scenario::idle(&mut sim, IDLE);
        }
    }
    joins
}

/// What a settled federation of `nodes` costs when nothing happens.
#[must_use]
pub fn idle(links: Links, nodes: usize, seed: u64) -> Idle {
    let mut sim: Simulation = scenario::settled(options(links, seed), nodes);
    scenario::idle(&mut sim, IDLE)
}

/// The longest; `None` when one never ended, or there is none.
#[must_use]
pub fn worst(times: &[Option<Duration>]) -> Option<Duration> {
    let ended: Option<Vec<Duration>> = times.iter().copied().collect();
    ended?.into_iter().max()
}

/// The one in the middle, those that never ended behind all others; `None` when it never ended, or there is none.
#[must_use]
pub fn median(times: &[Option<Duration>]) -> Option<Duration> {
    let mut times = times.to_vec();
    times.sort_unstable_by_key(|time| time.unwrap_or(Duration::MAX));
    times.get(times.len() / 2).copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_counts_and_one_that_never_ends_is_the_worst() {
        let ended = |millis| Some(Duration::from_millis(millis));
        let times = [ended(30), None, ended(10)];
        assert_eq!(median(&times), ended(30));
        assert_eq!(worst(&times), None);
        assert_eq!(worst(&[ended(30), ended(10)]), ended(30));
        assert_eq!((median(&[]), worst(&[])), (None, None));
        assert_eq!(median(&[None]), None);
    }

    #[test]
    fn newcomers_of_all_seeds_are_in_the_series() {
        let joins = joins(LAN, 10, 1..=2);
        assert_eq!((joins.known_by_all.len(), joins.knows_all.len()), (2, 2));
        assert!(worst(&joins.known_by_all).is_some(), "{joins:?}");
        assert!(
            joins.records_per_node > 0.0 && joins.idle.bytes > 0.0,
            "{joins:?}"
        );
    }
}
