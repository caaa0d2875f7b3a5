//! What the stress suite recorded: its documents hold figures, bars and whether they were met.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::bar::{Bar, Goal, Outcome, Seen};

/// The form of a document that is understood.
const SCHEMA: &str = "btcfed.stress/1";

/// The bars of the design that only these tests can show.
const TESTS: [Test; 4] = [
    Test {
        line: "reload",
        name: "reload-under-load",
        figures: &[
            "reload, median",
            "reload, 99th percentile",
            "dropped",
            "connected",
        ],
    },
    Test {
        line: "crash",
        name: "kills",
        figures: &[
            "start, slowest",
            "acknowledged changes checked after kills",
            "acknowledged changes lost",
        ],
    },
    Test {
        line: "hostile",
        name: "hostile",
        figures: &[
            "sockets opened",
            "streams opened and reset",
            "requests of the one who never reads",
            "newcomer, slowest",
            "memory grown",
            "log per hostile peer and hour",
            "panics",
            "the friend stayed",
            "descriptors after",
        ],
    },
    Test {
        line: "leak",
        name: "churn",
        figures: &[
            "descriptors after",
            "threads after",
            "tasks after",
            "memory, last third / middle third",
            "newcomers that knew everybody within 10 s",
            "reloads",
            "bans",
            "edits",
            "panics",
            "store state ok",
        ],
    },
];

/// One test, and its figures that have a bar.
#[derive(Clone, Copy)]
struct Test {
    /// What its figures are about.
    line: &'static str,
    /// The name of its document.
    name: &'static str,
    figures: &'static [&'static str],
}

/// How often the design wants the program killed.
const KILLS: f64 = 2000.0;

/// The figures with a bar in the documents of a folder: `stress-NAME.json`, or `NAME.json` as the suite writes it.
pub(crate) fn bars(folder: &Path) -> Vec<Bar> {
    TESTS
        .into_iter()
        .flat_map(|test| {
            let names = [
                format!("stress-{}.json", test.name),
                format!("{}.json", test.name),
            ];
            let text = names
                .iter()
                .find_map(|name| fs::read_to_string(folder.join(name)).ok());
            of_test(test, text.as_deref())
        })
        .collect()
}

/// Its bars; one that was not measured when there is no document, or one that is not understood, and one for every figure
/// that is not in it.
fn of_test(test: Test, document: Option<&str>) -> Vec<Bar> {
    let Test { line, name, .. } = test;
    let document = document.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let document = document.filter(|document| document["schema"] == SCHEMA);
    let figures = document
        .as_ref()
        .and_then(|document| document["figures"].as_array());
    let Some(figures) = figures else {
        let mut bar = Bar::new(line, "", Goal::AtMost(0.0, ""), "-", None);
        bar.goal = format!("those of the stress test `{name}`");
        return vec![bar];
    };
    let mut bars: Vec<Bar> = figures
        .iter()
        .filter_map(|figure| recorded(line, name, figure))
        .collect();
    for figure in test.figures {
        let what = format!("{line}: {figure}");
        if bars.iter().all(|bar| bar.what != what) {
            let at = format!("stress test `{name}`");
            let mut bar = Bar::new(&what, &at, Goal::AtMost(0.0, ""), "-", None);
            bar.goal = "that of the test".to_owned();
            bars.push(bar);
        }
    }
    if name == "kills" {
        bars.push(kills(line, name, figures));
    }
    bars
}

/// A figure with its bar, as it stands in the document.
fn recorded(line: &str, test: &str, figure: &Value) -> Option<Bar> {
    let goal = figure["bar"].as_str()?;
    let (what, unit) = (figure["what"].as_str()?, figure["unit"].as_str()?);
    let seen = figure["seen"].as_f64().map(|value| Seen {
        value,
        shown: format!("{value} {unit}").trim_end().to_owned(),
        is_ratio: false,
    });
    let outcome = match (&seen, figure["met"].as_bool()) {
        (Some(_), Some(true)) => Outcome::Met,
        (Some(_), Some(false)) => Outcome::Missed,
        _ => Outcome::NotMeasured,
    };
    Some(Bar {
        what: format!("{line}: {what}"),
        at: format!("stress test `{test}`"),
        goal: format!("{goal} {unit}").trim_end().to_owned(),
        beside: "-",
        seen,
        outcome,
    })
}

/// The suite counts its kills; how many the design wants, it does not know.
fn kills(line: &str, test: &str, figures: &[Value]) -> Bar {
    let kills = figures.iter().find(|figure| figure["what"] == "kills");
    let seen = kills
        .and_then(|figure| figure["seen"].as_f64())
        .map(|value| Seen {
            value,
            shown: value.to_string(),
            is_ratio: false,
        });
    let what = format!("{line}: number of kills");
    let at = format!("stress test `{test}`");
    Bar::new(&what, &at, Goal::AtLeast(KILLS, "times kill -9"), "-", seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{"schema": "btcfed.stress/1", "test": "kills", "met": false, "figures": [
        {"what": "kills", "seen": 200.0, "unit": "", "bar": null, "met": true},
        {"what": "acknowledged changes lost", "seen": 0.0, "unit": "", "bar": "= 0", "met": true},
        {"what": "start, slowest", "seen": 3.5, "unit": "s", "bar": "<= 3", "met": false}]}"#;

    #[test]
    fn figures_with_a_bar_stand_as_they_were_recorded() {
        let bars = of_test(TESTS[1], Some(DOCUMENT));
        let rows: Vec<String> = bars.iter().map(Bar::row).collect();
        assert_eq!(
            rows,
            [
                "| crash: acknowledged changes lost | stress test `kills` | = 0 | - | 0 | - | met |",
                "| crash: start, slowest | stress test `kills` | <= 3 s | - | 3.5 s | - | **not met** |",
                "| crash: acknowledged changes checked after kills | stress test `kills` | that of the test | - | - | - | not measured |",
                "| crash: number of kills | stress test `kills` | at least 2000 times kill -9 | - | 200 | - | **not met** |",
            ]
        );
    }

    #[test]
    fn a_document_without_figures_has_a_line_for_each_that_is_missing() {
        for test in TESTS {
            let bars = of_test(
                test,
                Some(r#"{"schema": "btcfed.stress/1", "figures": []}"#),
            );
            assert!(bars.len() >= test.figures.len());
            assert!(bars.iter().all(|bar| bar.outcome == Outcome::NotMeasured));
        }
    }

    #[test]
    fn without_a_document_that_is_understood_nothing_was_measured() {
        for document in [
            None,
            Some("{"),
            Some(r#"{"schema": "other/1", "figures": []}"#),
        ] {
            let bars = of_test(TESTS[3], document);
            assert_eq!(bars.len(), 1);
            assert_eq!(bars[0].outcome, Outcome::NotMeasured);
        }
    }
}
