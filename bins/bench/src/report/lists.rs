//! The bars of finding the difference of two lists: the worst of all sizes, and the bytes of a rival.

use super::bar::{Bar, Goal, Seen};
use super::plan::{Plan, thousands};
use super::tables::{Tables, number};
use crate::reconcile::DIFFERENCES;

use Goal::{AtLeast, AtMost};

/// All of them.
pub(crate) fn bars(plan: &Plan, tables: &Tables) -> Vec<Bar> {
    let mut bars = within(plan, tables);
    bars.extend(beside_negentropy(tables));
    bars
}

/// What finding one difference cost.
struct Found {
    at: String,
    d: f64,
    sides: [f64; 2],
    trips: f64,
}

/// Bytes and round trips against what the design allows.
fn within(plan: &Plan, tables: &Tables) -> Vec<Bar> {
    let found = found(plan, tables);
    let worst = |of: &dyn Fn(&Found) -> Option<Seen>| {
        // Not every size is there: nothing can be said about all of them.
        let all: Vec<Seen> = found.as_ref()?.iter().filter_map(of).collect();
        all.into_iter().max_by(|a, b| a.value.total_cmp(&b.value))
    };
    let total = |found: &Found| found.sides.iter().sum::<f64>();
    let equal = worst(&|found| {
        let [asked, answered] = found.sides;
        (found.d == 0.0).then(|| Seen {
            value: asked.max(answered),
            shown: format!("{asked} + {answered} B, {}", found.at),
            is_ratio: false,
        })
    });
    let bytes = worst(&|found| {
        let allowed = 40.0 * found.d + 512.0;
        (found.d > 0.0).then(|| Seen {
            value: total(found) / allowed,
            shown: format!("{} of {allowed} B, {}", total(found), found.at),
            is_ratio: true,
        })
    });
    let trips = worst(&|found| {
        let allowed = 1.0 + (found.d / 32.0).log2().max(0.0);
        (found.d > 0.0).then(|| Seen {
            value: found.trips / allowed,
            shown: format!("{} of {allowed:.1}, {}", found.trips, found.at),
            is_ratio: true,
        })
    });
    let every = format!(
        "{} records",
        plan.lists
            .iter()
            .map(|size| thousands(*size))
            .collect::<Vec<_>>()
            .join(", ")
    );
    vec![
        Bar::new(
            "sync of equal lists",
            &every,
            AtMost(24.0, "B a side"),
            "-",
            equal,
        ),
        Bar::new(
            "bytes of a sync",
            &every,
            AtMost(1.0, "times"),
            "40 B per difference + 512 B; worst",
            bytes,
        ),
        Bar::new(
            "round trips of a sync",
            &every,
            AtMost(1.0, "times"),
            "1 + log2(d / 32); worst",
            trips,
        ),
    ]
}

fn beside_negentropy(tables: &Tables) -> Vec<Bar> {
    let mut bars = Vec::new();
    for (size, d, least) in [(10_000, 100, 8.0), (100_000, 1_000, 16.0)] {
        let first = [size.to_string(), d.to_string(), "ours".to_owned()];
        let first = first.each_ref().map(String::as_str);
        let seen = match tables.rows("records", &first)[..] {
            [row] => row.get(6).and_then(|cell| number(cell)).map(|value| Seen {
                value,
                shown: format!("{} B", row.get(3).map_or("-", String::as_str)),
                is_ratio: true,
            }),
            _ => None,
        };
        let at = format!("{} records, {} differences", thousands(size), thousands(d));
        let what = "bytes of a sync beside negentropy";
        bars.push(Bar::new(
            what,
            &at,
            AtLeast(least, "times fewer"),
            "negentropy",
            seen,
        ));
    }
    bars
}

/// All rows of ours, with every number of differences at every size that was asked for; nothing when one is missing or
/// cannot be read.
fn found(plan: &Plan, tables: &Tables) -> Option<Vec<Found>> {
    let rows = &tables.table("records")?.rows;
    let ours = rows
        .iter()
        .filter(|row| row.get(2).is_some_and(|name| name == "ours"));
    let found: Option<Vec<Found>> = ours.clone().map(|row| read(row)).collect();
    let is_there = |size: &usize, d: usize| {
        let pair = [size.to_string(), d.to_string()];
        ours.clone().any(|row| row.starts_with(&pair))
    };
    let are_there = |size: &usize| DIFFERENCES.into_iter().all(|d| is_there(size, d));
    found.filter(|_| plan.lists.iter().all(are_there))
}

fn read(row: &[String]) -> Option<Found> {
    let [size, d, _, bytes, trips, ..] = row else {
        return None;
    };
    let (asked, answered) = bytes.split_once(" + ")?;
    Some(Found {
        at: format!("{} records, d = {d}", thousands(size.parse().ok()?)),
        d: number(d)?,
        sides: [number(asked)?, number(answered)?],
        trips: number(trips)?,
    })
}
