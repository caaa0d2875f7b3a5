//! Contenders, timed in turns, and the table of their ratios.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// What is measured: a name and what to do once. It returns how long that took, so that preparation does not count.
pub(crate) struct Contender<'a> {
    name: &'static str,
    work: Box<dyn FnMut() -> Result<Duration, String> + 'a>,
}

impl<'a> Contender<'a> {
    /// A contender whose whole work counts.
    pub(crate) fn new(
        name: &'static str,
        mut work: impl FnMut() -> Result<(), String> + 'a,
    ) -> Self {
        Self::timed(name, move || {
            let start = Instant::now();
            work()?;
            Ok(start.elapsed())
        })
    }

    /// A contender that takes its own time.
    pub(crate) fn timed(
        name: &'static str,
        work: impl FnMut() -> Result<Duration, String> + 'a,
    ) -> Self {
        Self {
            name,
            work: Box::new(work),
        }
    }
}

/// Lets every contender work `rounds` times, in turns, and writes their medians and how many times as long the first one
/// takes as each of them.
pub(crate) fn race(
    title: &str,
    rounds: usize,
    mut contenders: Vec<Contender<'_>>,
) -> Result<String, String> {
    let mut times: Vec<Vec<Duration>> = contenders
        .iter()
        .map(|_| Vec::with_capacity(rounds))
        .collect();
    for round in 0..=rounds {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let time = (contender.work)()?;
            // The first round warms caches up.
            if round > 0 {
                times.push(time);
            }
        }
    }
    let named = contenders.iter().map(|contender| contender.name);
    compare(title, named.zip(times).collect())
}

/// The medians of what was timed, and how many times as long the first one takes as each of them.
pub(crate) fn compare(
    title: &str,
    mut named: Vec<(&str, Vec<Duration>)>,
) -> Result<String, String> {
    let mut table =
        format!("| {title} | median | p10 to p90 | first / this |\n|---|---|---|---|\n");
    let measure = named
        .first_mut()
        .map_or(Duration::ZERO, |(_, times)| percentile(times, 50));
    for (name, times) in &mut named {
        let (low, median, high) = (
            percentile(times, 10),
            percentile(times, 50),
            percentile(times, 90),
        );
        let ratio = measure.as_secs_f64() / median.as_secs_f64().max(f64::MIN_POSITIVE);
        writeln!(
            table,
            "| {name} | {median:.2?} | {low:.2?} to {high:.2?} | {ratio:.2} |"
        )
        .map_err(|e| e.to_string())?;
    }
    Ok(table)
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let index = times.len().saturating_sub(1) * percent / 100;
    times.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_medians_and_ratios_to_the_first() {
        let fixed = |millis| move || Ok(Duration::from_millis(millis));
        let contenders = vec![
            Contender::timed("ours", fixed(10)),
            Contender::timed("theirs", fixed(25)),
        ];
        let table = race("load", 3, contenders).unwrap();
        assert!(
            table.contains("| ours | 10.00ms | 10.00ms to 10.00ms | 1.00 |"),
            "{table}"
        );
        assert!(
            table.contains("| theirs | 25.00ms | 25.00ms to 25.00ms | 0.40 |"),
            "{table}"
        );
    }

    #[test]
    fn a_contender_that_fails_ends_the_race() {
        let contenders = vec![Contender::new("ours", || Err("no disk".to_owned()))];
        assert_eq!(race("load", 3, contenders), Err("no disk".to_owned()));
    }

    #[test]
    fn percentiles_are_taken_from_the_sorted_times() {
        let mut times: Vec<_> = [5, 1, 4, 2, 3].map(Duration::from_secs).to_vec();
        assert_eq!(percentile(&mut times, 50), Duration::from_secs(3));
        assert_eq!(percentile(&mut times, 0), Duration::from_secs(1));
        assert_eq!(percentile(&mut times, 100), Duration::from_secs(5));
        assert_eq!(percentile(&mut [], 50), Duration::ZERO);
    }
}
