//! What the stress suite recorded: its documents hold figures, bars and whether they were met.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::bar::{Bar, Goal, Outcome, Seen};

/// The form of a document that is understood.
const SCHEMA: &str = "btcfed.stress/1";

/// The bars of the design that only these tests can show.
const TESTS: [(&str, &str); 4] = [
    ("reload", "reloads"),
    ("crash", "kills"),
    ("hostile", "hostile"),
    ("leak", "churn"),
];

/// How often the design wants the program killed.
const KILLS: f64 = 2000.0;

/// The figures with a bar in the documents of a folder: `stress-NAME.json`, or `NAME.json` as the suite writes it.
pub(crate) fn bars(folder: &Path) -> Vec<Bar> {
    TESTS
        .into_iter()
        .flat_map(|(line, test)| {
            let names = [format!("stress-{test}.json"), format!("{test}.json")];
            let text = names
                .iter()
                .find_map(|name| fs::read_to_string(folder.join(name)).ok());
            of_test(line, test, text.as_deref())
        })
        .collect()
}

/// Its bars; one that was not measured when there is no document, or one that is not understood.
fn of_test(line: &str, test: &str, document: Option<&str>) -> Vec<Bar> {
    let document = document.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let document = document.filter(|document| document["schema"] == SCHEMA);
    let figures = document
        .as_ref()
        .and_then(|document| document["figures"].as_array());
    let Some(figures) = figures else {
        let mut bar = Bar::new(line, "", Goal::AtMost(0.0, ""), "-", None);
        bar.goal = format!("those of the stress test `{test}`");
        return vec![bar];
    };
    let mut bars: Vec<Bar> = figures
        .iter()
        .filter_map(|figure| recorded(line, test, figure))
        .collect();
    if test == "kills" {
        bars.push(kills(line, test, figures));
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
        {"what": "lost", "seen": 0.0, "unit": "", "bar": "= 0", "met": true},
        {"what": "slowest", "seen": 3.5, "unit": "s", "bar": "<= 3", "met": false}]}"#;

    #[test]
    fn figures_with_a_bar_stand_as_they_were_recorded() {
        let bars = of_test("crash", "kills", Some(DOCUMENT));
        let rows: Vec<String> = bars.iter().map(Bar::row).collect();
        assert_eq!(
            rows,
            [
                "| crash: lost | stress test `kills` | = 0 | - | 0 | - | met |",
                "| crash: slowest | stress test `kills` | <= 3 s | - | 3.5 s | - | **not met** |",
                "| crash: number of kills | stress test `kills` | at least 2000 times kill -9 | - | 200 | - | **not met** |",
            ]
        );
    }

    #[test]
    fn without_a_document_that_is_understood_nothing_was_measured() {
        for document in [
            None,
            Some("{"),
            Some(r#"{"schema": "other/1", "figures": []}"#),
        ] {
            let bars = of_test("leak", "churn", document);
            assert_eq!(bars.len(), 1);
            assert_eq!(bars[0].outcome, Outcome::NotMeasured);
        }
    }
}
