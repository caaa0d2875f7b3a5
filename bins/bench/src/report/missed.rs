//! Why bars are missed: `docs/benchmarks/missed.md` is the one place that says so.

use super::bar::{Bar, Outcome};
use super::tables::Tables;

const TEXT: &str = include_str!("../../../../docs/benchmarks/missed.md");

/// A line for every bar that was missed or not measured, with its reason.
pub(crate) fn lines(bars: &[Bar]) -> Vec<String> {
    of(TEXT, bars)
}

fn of(text: &str, bars: &[Bar]) -> Vec<String> {
    let reasons = Tables::read(text);
    let mut lines: Vec<String> = Vec::new();
    for bar in bars.iter().filter(|bar| bar.outcome != Outcome::Met) {
        let reason = reasons.cell("Bar", &bar.what, 1);
        let reason = reason.unwrap_or(match bar.outcome {
            Outcome::NotMeasured => "this run has no such figure.",
            _ => "not looked into yet.",
        });
        let line = format!("- **{}**: {reason}", bar.what);
        // Several sizes of one bar have one reason.
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::bar::{Goal, Seen};
    use crate::report::{bars, plan::Plan};

    const REASONS: &str =
        "| Bar | Why |\n|---|---|\n| load | the disk. |\n| save | nobody knows. |\n";

    fn bar(what: &str, value: Option<f64>) -> Bar {
        let seen = value.map(|value| Seen {
            value,
            shown: String::new(),
            is_ratio: true,
        });
        Bar::new(what, "", Goal::AtMost(1.0, "times"), "", seen)
    }

    #[test]
    fn only_what_is_not_met_is_explained_and_once() {
        let bars = [
            bar("save", Some(1.0)),
            bar("load", Some(2.0)),
            bar("load", Some(3.0)),
            bar("find", Some(2.0)),
            bar("idle", None),
        ];
        assert_eq!(
            of(REASONS, &bars),
            [
                "- **load**: the disk.",
                "- **find**: not looked into yet.",
                "- **idle**: this run has no such figure."
            ]
        );
    }

    #[test]
    fn every_reason_belongs_to_a_bar() {
        let bars = bars::all(&Plan::full(), &Tables::default());
        let reasons = Tables::read(TEXT);
        let reasons = reasons.table("Bar").expect("a table of reasons");
        for reason in &reasons.rows {
            // Those of the stress suite are named by its documents.
            let is_known = bars.iter().any(|bar| bar.what == reason[0]);
            let is_stress = ["reload", "crash", "hostile", "leak"]
                .iter()
                .any(|line| reason[0].starts_with(line));
            assert!(is_known || is_stress, "{}", reason[0]);
        }
    }
}
