//! Every bar of the design, and where in the tables of a run its figure stands.

use super::bar::{Bar, Goal, Seen, plain, ratio};
use super::lists;
use super::plan::{Plan, thousands};
use super::tables::{Tables, number, seconds};
use crate::network::GIVEN_UP;
use crate::simulate::NEVER;

use Goal::{AtLeast, AtMost};

/// The databases that write through a sync as we do.
const DATABASES: [&str; 3] = ["SQLite, WAL, FULL", "redb, Immediate", "fjall, SyncData"];

/// Calls in one timing of the table that times what takes nanoseconds.
const CALLS: f64 = 1000.0;

/// All of them, in the order of the design; the stress suite adds its own.
pub(crate) fn all(plan: &Plan, tables: &Tables) -> Vec<Bar> {
    [
        file(plan, tables),
        durable(plan, tables),
        memory(plan, tables),
        network(plan, tables),
        newcomers(plan, tables),
        discovery(plan, tables),
        simulated(plan, tables),
        lists::bars(plan, tables),
    ]
    .concat()
}

fn file(plan: &Plan, tables: &Tables) -> Vec<Bar> {
    let at = format!("{} peers", thousands(plan.peers));
    let (load, save) = (
        format!("load, {} peers", plan.peers),
        format!("save, {} peers", plan.peers),
    );
    let (ours, json) = ("store, as it was saved", "serde_json, text only");
    let load = |one, other| ratio(tables, &load, one, other);
    let mut bars = vec![
        Bar::new("load", &at, AtMost(2.0, "times"), json, load(ours, json)),
        Bar::new(
            "load beside plain YAML",
            &at,
            AtLeast(20.0, "times as fast"),
            "serde_yaml",
            load("serde_yaml, text only", ours),
        ),
        Bar::new(
            "load, 1 % edited by hand",
            &at,
            AtMost(1.6, "times"),
            "the file as it was saved",
            load("store, 1 % edited by hand", ours),
        ),
    ];
    for (what, row) in [
        ("save, one peer changed", "store, one peer changed"),
        ("save, 1 % changed", "store, 1 % of the peers changed"),
        ("save, every peer changed", "store, every peer changed"),
    ] {
        let seen = ratio(tables, &save, row, "serde_json, pretty");
        bars.push(Bar::new(
            what,
            &at,
            AtMost(0.8, "times"),
            "serde_json, pretty",
            seen,
        ));
    }
    bars
}

fn durable(plan: &Plan, tables: &Tables) -> Vec<Bar> {
    let (one, all) = ("one durable change, one writer", "store, all peers");
    let small = "store, 1000 peers";
    let raw = "raw: into room of fallocate, fdatasync";
    let at = format!("{} peers", thousands(plan.peers));
    let many = format!("64 writers, {at}");
    let crowd = "4096 durable changes by 64 writers";
    let fastest = DATABASES
        .into_iter()
        .map(|rival| ratio(tables, crowd, rival, all))
        .collect::<Option<Vec<_>>>()
        .and_then(|seen| seen.into_iter().min_by(|a, b| a.value.total_cmp(&b.value)));
    let (single, crowded) = ("one durable change", "64 durable writers");
    vec![
        Bar::new(
            single,
            "1 writer, 1,000 peers",
            AtMost(1.2, "times"),
            "a bare write and fdatasync",
            ratio(tables, one, small, raw),
        ),
        Bar::new(
            "one durable change beside SQLite",
            "1 writer, 1,000 peers",
            AtLeast(1.3, "times as fast"),
            DATABASES[0],
            ratio(tables, one, DATABASES[0], small),
        ),
        Bar::new(
            crowded,
            &many,
            AtLeast(1.8, "times as fast"),
            "the best of SQLite, redb, fjall",
            fastest,
        ),
        Bar::new(
            "one durable change in a longer list",
            &at,
            AtMost(1.1, "times"),
            "1,000 peers",
            ratio(tables, one, all, small),
        ),
    ]
}

fn memory(plan: &Plan, tables: &Tables) -> Vec<Bar> {
    let at = format!("{} peers", thousands(plan.peers));
    let snapshots = format!("1000 times, {} peers", plan.peers);
    let median = tables.cell(&snapshots, "snapshot, one flat-out writer", 1);
    let snapshot = median.and_then(number).map(|all| Seen {
        value: all / CALLS * 1e6,
        shown: seconds(all / CALLS),
        is_ratio: false,
    });
    let title = "memory, by the system";
    vec![
        Bar::new(
            "snapshot beside a writer",
            &at,
            AtMost(5.0, "us"),
            "-",
            snapshot,
        ),
        Bar::new(
            "memory of a plain peer",
            &at,
            AtMost(220.0, "B"),
            "-",
            plain(tables, title, "plain peers", 1),
        ),
        Bar::new(
            "memory of a peer with its record",
            &at,
            AtMost(450.0, "B"),
            "-",
            plain(tables, title, "peers with a signed record", 1),
        ),
    ]
}

fn network(plan: &Plan, tables: &Tables) -> Vec<Bar> {
    let (ours, raw) = ("btcfed-network", "raw libp2p");
    let dialled = format!("{} connections on loopback", plan.connections);
    let single = format!("{} connections", plan.connections);
    let once = "50 connections at once";
    let at_once = tables
        .cell(once, ours, 1)
        .and_then(number)
        .map(|time| Seen {
            value: time * 1e3,
            shown: seconds(time),
            is_ratio: false,
        });
    let idle = format!("{} idle connections", plan.idle);
    let beside_raw = |column| {
        let seen = plain(tables, &idle, ours, column + 1)?;
        let cell = |row| tables.cell(&idle, row, column).unwrap_or("-");
        Some(Seen {
            shown: format!("{} beside {}", cell(ours), cell(raw)),
            is_ratio: true,
            ..seen
        })
    };
    let idle_at = format!("{} connections", thousands(plan.idle));
    vec![
        Bar::new(
            "connection established",
            &single,
            AtMost(1.5, "times"),
            raw,
            ratio(tables, &dialled, ours, raw),
        ),
        Bar::new(
            "first answer",
            &single,
            AtMost(1.5, "times"),
            raw,
            ratio(tables, "established to the first answer", ours, raw),
        ),
        Bar::new(
            "50 connections at once, first answers included",
            "50 connections",
            AtMost(500.0, "ms"),
            "-",
            at_once,
        ),
        Bar::new(
            "memory of an idle connection",
            &idle_at,
            AtMost(1.3, "times"),
            raw,
            beside_raw(1),
        ),
        Bar::new(
            "processor time of an idle connection",
            &idle_at,
            AtMost(2.0, "times"),
            raw,
            beside_raw(3),
        ),
    ]
}

fn newcomers(plan: &Plan, tables: &Tables) -> Vec<Bar> {
    let title = format!("{} newcomers at one node at once", plan.newcomers);
    let mass = |row| {
        let time = tables.cell(&title, row, 1).and_then(number)?;
        Some(Seen {
            value: time * 1e3,
            shown: seconds(time),
            is_ratio: false,
        })
    };
    let at = format!("{} newcomers", plan.newcomers);
    vec![
        Bar::new(
            "newcomers at once connected",
            &at,
            AtMost(500.0, "ms"),
            "-",
            mass("all connected to it"),
        ),
        Bar::new(
            "newcomers at once know all",
            &at,
            AtMost(500.0, "ms"),
            "-",
            mass("all know all"),
        ),
    ]
}

fn discovery(plan: &Plan, tables: &Tables) -> Vec<Bar> {
    let nodes = plan.nodes.iter().max().copied().unwrap_or_default();
    let at = format!("{nodes} nodes");
    let title = format!("{nodes} nodes, all pairs known");
    let ours = "btcfed";
    let against = |one, other| ratio(tables, &title, one, other);
    let (chitchat, kad) = ("chitchat", "libp2p kad");
    let beside_rival = |rival, least| {
        let gave_up = tables.name(&title, rival)?.contains(GIVEN_UP);
        // The time of a rival that was given up is the least it can be: enough to meet a bar, never to miss one.
        against(rival, ours)
            .filter(|seen| !gave_up || seen.value >= least)
            .map(|seen| Seen {
                shown: if gave_up {
                    format!("more than {}", seen.shown)
                } else {
                    seen.shown
                },
                ..seen
            })
    };
    let traffic = format!("{nodes} nodes, exchange traffic of a node");
    let bytes = plain(tables, &traffic, ours, 2).map(|seen| Seen {
        shown: format!("{} B", tables.cell(&traffic, ours, 1).unwrap_or("-")),
        is_ratio: true,
        ..seen
    });
    vec![
        Bar::new(
            "mass start beside its cryptography",
            &at,
            AtMost(1.5, "times"),
            "its signatures and handshakes on all cores",
            against(ours, "its signatures and handshakes alone"),
        ),
        Bar::new(
            "mass start beside chitchat",
            &at,
            AtLeast(2.0, "times as fast"),
            "chitchat, default interval",
            beside_rival(chitchat, 2.0),
        ),
        Bar::new(
            "mass start beside kad",
            &at,
            AtLeast(30.0, "times as fast"),
            "libp2p kad, a walk a second",
            beside_rival(kad, 30.0),
        ),
        Bar::new(
            "bytes of a mass start",
            &at,
            AtMost(2.5, "times"),
            "the list itself",
            bytes,
        ),
    ]
}

fn simulated(plan: &Plan, tables: &Tables) -> Vec<Bar> {
    let title = crate::simulate::TITLE;
    let mut bars = Vec::new();
    let against = |nodes: &str, column, limit| {
        let cell = tables.cell(title, nodes, column)?;
        let limit = tables.cell(title, nodes, limit).and_then(number)?;
        if cell == NEVER {
            return Some(Seen {
                value: f64::INFINITY,
                shown: format!("never, beside {}", seconds(limit)),
                is_ratio: false,
            });
        }
        let time = number(cell)?;
        Some(Seen {
            value: time / limit,
            shown: format!("{} beside {}", seconds(time), seconds(limit)),
            is_ratio: true,
        })
    };
    let beside = "the limit of latency; worst of the seeds";
    for (what, bar, column) in [
        ("newcomer known by all", 1.25, 3),
        ("newcomer knows all", 1.5, 5),
    ] {
        for (nodes, seeds) in &plan.simulated {
            let at = format!("{} nodes, {seeds} seeds", thousands(*nodes));
            let seen = against(&nodes.to_string(), column, column + 1);
            bars.push(Bar::new(what, &at, AtMost(bar, "times"), beside, seen));
        }
    }
    for (what, goal, column) in [
        ("idle traffic of a node", AtMost(20.0, "B/s"), 9),
        ("idle messages of a node", AtMost(0.25, "a second"), 10),
    ] {
        for (nodes, _) in &plan.simulated {
            let at = format!("{} nodes", thousands(*nodes));
            let seen = plain(tables, title, &nodes.to_string(), column);
            bars.push(Bar::new(what, &at, goal, "-", seen));
        }
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::super::bar::Outcome;
    use super::*;

    fn outcome_beside(rival: &str) -> Outcome {
        let text = format!(
            "| 100 nodes, all pairs known, 1 runs | median | least to most | ours / this |\n|---|---|---|---|\n\
             | btcfed, signed and encrypted | 3s | 3s to 3s | 1 |\n{rival}\n"
        );
        let bars = discovery(&Plan::full(), &Tables::read(&text));
        let bar = bars.iter().find(|bar| bar.what.ends_with("beside kad"));
        bar.map_or(Outcome::NotMeasured, |bar| bar.outcome)
    }

    #[test]
    fn a_rival_that_was_given_up_can_meet_a_bar_and_not_miss_one() {
        let kad = "| libp2p kad, a walk a second";
        for (row, outcome) in [
            (format!("{kad} | 60s | | |"), Outcome::Missed),
            (
                format!("{kad} (1 of 1 {GIVEN_UP} 60s) | 60s | | |"),
                Outcome::NotMeasured,
            ),
            (
                format!("{kad} (1 of 1 {GIVEN_UP} 90s) | 90s | | |"),
                Outcome::Met,
            ),
        ] {
            assert_eq!(outcome_beside(&row), outcome, "{row}");
        }
    }

    #[test]
    fn idle_connections_and_newcomers_have_their_bars() {
        let text = "\
| 1000 idle connections | memory each | / raw | processor | / raw |
|---|---|---|---|---|
| btcfed-network | 45.8 KiB | 1.12 | 0.80 % of a core | 2.01 |
| raw libp2p | 41.0 KiB | 1.00 | 0.40 % of a core | 1.00 |

| 50 newcomers at one node at once, 5 runs | median | slowest |
|---|---|---|
| all connected to it | 166 ms | 243 ms |
| all know all | 501 ms | 1665 ms |
";
        let (plan, tables) = (Plan::full(), Tables::read(text));
        let bars = [network(&plan, &tables), newcomers(&plan, &tables)].concat();
        let outcomes: Vec<_> = bars[3..].iter().map(|bar| bar.outcome).collect();
        let (met, missed) = (Outcome::Met, Outcome::Missed);
        assert_eq!(outcomes, [met, missed, met, missed]);
    }
}
