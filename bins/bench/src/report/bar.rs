//! One bar of the design: what is to be reached, and what a run reached.

use super::tables::{Tables, number, seconds};

/// Two figures this near are the same one: dividing rounds.
const ROUNDING: f64 = 1e-9;

/// What is to be reached.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    AtMost(f64, &'static str),
    AtLeast(f64, &'static str),
}

impl Goal {
    fn text(self) -> String {
        match self {
            Self::AtMost(value, unit) => format!("at most {value} {unit}").trim_end().to_owned(),
            Self::AtLeast(value, unit) => format!("at least {value} {unit}").trim_end().to_owned(),
        }
    }

    /// Exactly the bar is met.
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most, _) => value <= most + most.abs() * ROUNDING,
            Self::AtLeast(least, _) => value >= least - least.abs() * ROUNDING,
        }
    }
}

/// What a run reached.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// What is compared with the goal.
    pub(crate) value: f64,
    /// The figures behind it.
    pub(crate) shown: String,
    /// Whether `value` is how many times one is the other.
    pub(crate) is_ratio: bool,
}

/// Whether a bar was reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    Met,
    Missed,
    NotMeasured,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    /// Names it, also where reasons are given.
    pub(crate) what: String,
    /// The size at which it was measured.
    pub(crate) at: String,
    pub(crate) goal: String,
    /// The rival or the floor of the same run.
    pub(crate) beside: &'static str,
    pub(crate) seen: Option<Seen>,
    pub(crate) outcome: Outcome,
}

impl Bar {
    pub(crate) fn new(
        what: &str,
        at: &str,
        goal: Goal,
        beside: &'static str,
        seen: Option<Seen>,
    ) -> Self {
        let outcome = match &seen {
            None => Outcome::NotMeasured,
            Some(seen) if goal.is_met(seen.value) => Outcome::Met,
            Some(_) => Outcome::Missed,
        };
        Self {
            what: what.to_owned(),
            at: at.to_owned(),
            goal: goal.text(),
            beside,
            seen,
            outcome,
        }
    }

    /// One line of the table.
    pub(crate) fn row(&self) -> String {
        let (shown, ratio) = self.seen.as_ref().map_or_else(
            || ("-".to_owned(), "-".to_owned()),
            |seen| {
                let ratio = seen.is_ratio.then(|| format!("{:.2}", seen.value));
                (seen.shown.clone(), ratio.unwrap_or_else(|| "-".to_owned()))
            },
        );
        let met = match self.outcome {
            Outcome::Met => "met",
            Outcome::Missed => "**not met**",
            Outcome::NotMeasured => "not measured",
        };
        let Self {
            what,
            at,
            goal,
            beside,
            ..
        } = self;
        format!("| {what} | {at} | {goal} | {beside} | {shown} | {ratio} | {met} |")
    }
}

/// How many times the median of one row is that of another.
pub(crate) fn ratio(tables: &Tables, title: &str, one: &str, other: &str) -> Option<Seen> {
    let median = |row| tables.cell(title, row, 1).and_then(number);
    let (one, other) = (median(one)?, median(other)?);
    (other > 0.0).then(|| Seen {
        value: one / other,
        shown: format!("{} beside {}", seconds(one), seconds(other)),
        is_ratio: true,
    })
}

/// A cell as it stands.
pub(crate) fn plain(tables: &Tables, title: &str, row: &str, column: usize) -> Option<Seen> {
    let cell = tables.cell(title, row, column)?;
    Some(Seen {
        value: number(cell)?,
        shown: cell.to_owned(),
        is_ratio: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(goal: Goal, value: Option<f64>) -> Outcome {
        let seen = value.map(|value| Seen {
            value,
            shown: value.to_string(),
            is_ratio: true,
        });
        Bar::new("w", "", goal, "", seen).outcome
    }

    #[test]
    fn exactly_the_bar_is_met_and_a_figure_that_is_missing_is_neither() {
        let (most, least) = (Goal::AtMost(1.5, "times"), Goal::AtLeast(20.0, "times"));
        assert_eq!(outcome(most, Some(1.5)), Outcome::Met);
        assert_eq!(outcome(most, Some(0.15 / 0.1)), Outcome::Met);
        assert_eq!(outcome(most, Some(1.51)), Outcome::Missed);
        assert_eq!(outcome(most, Some(f64::NAN)), Outcome::Missed);
        assert_eq!(outcome(most, None), Outcome::NotMeasured);
        assert_eq!(outcome(least, Some(20.0)), Outcome::Met);
        assert_eq!(outcome(least, Some(19.99)), Outcome::Missed);
        assert_eq!(outcome(Goal::AtMost(0.0, ""), Some(0.0)), Outcome::Met);
        assert_eq!(outcome(Goal::AtMost(0.0, ""), Some(1.0)), Outcome::Missed);
    }

    #[test]
    fn a_ratio_needs_both_figures() {
        let tables =
            Tables::read("| t | median |\n|---|---|\n| a | 30ms |\n| b | 20ms |\n| c | 0s |\n");
        let seen = ratio(&tables, "t", "a", "b").unwrap();
        assert_eq!(seen.shown, "30.00ms beside 20.00ms");
        let bar = Bar::new("w", "n", Goal::AtMost(1.5, "times"), "b", Some(seen));
        assert_eq!(
            bar.row(),
            "| w | n | at most 1.5 times | b | 30.00ms beside 20.00ms | 1.50 | met |"
        );
        assert!(ratio(&tables, "t", "a", "d").is_none());
        assert!(ratio(&tables, "t", "a", "c").is_none());
    }
}
