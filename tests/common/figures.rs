//! What a stress test saw, beside its bars: a table for people, a JSON document for programs, and a failure for the test
//! when a bar was missed.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

/// One figure.
struct Figure {
    what: String,
    seen: f64,
    unit: &'static str,
    /// The least and the most allowed.
    bar: Option<(f64, f64)>,
}

impl Figure {
    fn is_met(&self) -> bool {
        self.bar
            .is_none_or(|(least, most)| (least..=most).contains(&self.seen))
    }

    fn bar_text(&self) -> String {
        match self.bar {
            None => "-".to_owned(),
            Some((least, f64::INFINITY)) => format!(">= {least}"),
            Some((f64::NEG_INFINITY, most)) => format!("<= {most}"),
            Some((least, _)) => format!("= {least}"),
        }
    }
}

/// All figures of one test.
pub struct Figures {
    name: &'static str,
    figures: Vec<Figure>,
}

impl Figures {
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            figures: Vec::new(),
        }
    }

    pub fn at_most(
        &mut self,
        what: &str,
        seen: impl Number,
        most: impl Number,
        unit: &'static str,
    ) {
        self.add(what, seen, unit, Some((f64::NEG_INFINITY, most.number())));
    }

    pub fn at_least(
        &mut self,
        what: &str,
        seen: impl Number,
        least: impl Number,
        unit: &'static str,
    ) {
        self.add(what, seen, unit, Some((least.number(), f64::INFINITY)));
    }

    pub fn exactly(&mut self, what: &str, seen: impl Number, wanted: impl Number) {
        let wanted = wanted.number();
        self.add(what, seen, "", Some((wanted, wanted)));
    }

    /// A figure without a bar.
    pub fn seen(&mut self, what: &str, seen: impl Number, unit: &'static str) {
        self.add(what, seen, unit, None);
    }

    fn add(&mut self, what: &str, seen: impl Number, unit: &'static str, bar: Option<(f64, f64)>) {
        self.figures.push(Figure {
            what: what.to_owned(),
            seen: (seen.number() * 1000.0).round() / 1000.0,
            unit,
            bar,
        });
    }

    /// Prints the table, writes the document, and fails when a bar was missed.
    pub fn finish(self) {
        let mut table = format!("| {} | seen | bar | met |\n|---|---|---|---|\n", self.name);
        for figure in &self.figures {
            let met = match (figure.bar, figure.is_met()) {
                (None, _) => "-",
                (_, true) => "yes",
                (_, false) => "NO",
            };
            writeln!(
                table,
                "| {} | {} {} | {} | {met} |",
                figure.what,
                figure.seen,
                figure.unit,
                figure.bar_text()
            )
            .unwrap();
        }
        let missed: Vec<&str> = self
            .figures
            .iter()
            .filter(|figure| !figure.is_met())
            .map(|figure| figure.what.as_str())
            .collect();
        print!("\n{table}\n");
        let file = folder().join(format!("{}.json", self.name));
        fs::create_dir_all(folder()).unwrap();
        fs::write(&file, format!("{:#}\n", self.document())).unwrap();
        println!("written to {}", file.display());
        assert!(missed.is_empty(), "missed: {missed:?}\n{table}");
    }

    fn document(&self) -> Value {
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|figure| {
                json!({
                    "what": figure.what,
                    "seen": figure.seen,
                    "unit": figure.unit,
                    "bar": figure.bar.map(|_| figure.bar_text()),
                    "met": figure.is_met(),
                })
            })
            .collect();
        json!({
            "schema": "btcfed.stress/1",
            "test": self.name,
            "met": self.figures.iter().all(Figure::is_met),
            "figures": figures,
        })
    }
}

/// Where documents go: `BTCFED_TEST_RESULTS`, else a folder below the build's.
fn folder() -> PathBuf {
    std::env::var_os("BTCFED_TEST_RESULTS").map_or_else(
        || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("stress"),
        PathBuf::from,
    )
}

/// What a figure can be given as. Times are seconds.
pub trait Number {
    fn number(self) -> f64;
}

impl Number for f64 {
    fn number(self) -> f64 {
        self
    }
}

impl Number for Duration {
    fn number(self) -> f64 {
        self.as_secs_f64()
    }
}

impl Number for usize {
    #[allow(clippy::cast_precision_loss, reason = "counts of a test are small")]
    fn number(self) -> f64 {
        self as f64
    }
}

impl Number for u64 {
    #[allow(clippy::cast_precision_loss, reason = "counts of a test are small")]
    fn number(self) -> f64 {
        self as f64
    }
}

/// The value below which `share` of `values` lie.
pub fn quantile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index into a short list"
    )]
    let index = (values.len() as f64 * share) as usize;
    values[index.min(values.len() - 1)]
}
