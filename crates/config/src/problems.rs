//! Collecting everything that is wrong, so that it can be said at once.

use btcfed_core::config::{ConfigError, ConfigProblem};

/// Most problems told in one go. A file with more is not a configuration.
pub(crate) const MAX_PROBLEMS: usize = 200;

/// Where a problem is: the file, variable or flag, and the line and key in it.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) origin: String,
    pub(crate) line: Option<usize>,
    pub(crate) key: Option<String>,
}

impl Site {
    /// The whole of a file.
    pub(crate) fn file(origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            line: None,
            key: None,
        }
    }

    /// A line of a file.
    pub(crate) fn line(origin: &str, line: Option<usize>) -> Self {
        Self {
            origin: origin.to_owned(),
            line,
            key: None,
        }
    }

    /// A problem at this place.
    pub(crate) fn problem(&self, reason: impl Into<String>, hint: Option<String>) -> ConfigProblem {
        ConfigProblem {
            origin: self.origin.clone(),
            line: self.line,
            key: self.key.clone(),
            reason: reason.into(),
            hint,
        }
    }
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<ConfigProblem>,
    more: usize,
}

impl Problems {
    /// Adds one. Beyond [`MAX_PROBLEMS`] they are only counted.
    pub(crate) fn add(&mut self, problem: ConfigProblem) {
        if self.is_full() {
            self.more += 1;
        } else {
            self.found.push(problem);
        }
    }

    /// True when further problems are only counted.
    pub(crate) fn is_full(&self) -> bool {
        self.found.len() >= MAX_PROBLEMS
    }

    /// Nothing, or everything in the order of the file, then of the environment, then of the flags.
    pub(crate) fn into_result(mut self) -> Result<(), ConfigError> {
        let Some(first) = self.found.first() else {
            return Ok(());
        };
        let origin = first.origin.clone();
        self.found
            .sort_by_key(|problem| (problem.line.is_none(), problem.line));
        if self.more > 0 {
            self.found
                .push(Site::file(&origin).problem(format!("{} more problems", self.more), None));
        }
        Err(ConfigError {
            problems: self.found,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_found_is_no_error() {
        assert_eq!(Problems::default().into_result(), Ok(()));
    }

    #[test]
    fn problems_come_in_the_order_of_lines_and_a_flood_is_counted() {
        let mut problems = Problems::default();
        for line in (1..=MAX_PROBLEMS + 5).rev() {
            problems.add(Site::line("conf.yaml", Some(line)).problem("bad", None));
        }
        let told = problems.into_result().unwrap_err().problems;
        assert_eq!(told.len(), MAX_PROBLEMS + 1);
        assert!(
            told.windows(2)
                .take(MAX_PROBLEMS - 1)
                .all(|pair| pair[0].line < pair[1].line)
        );
        assert_eq!(told[MAX_PROBLEMS].to_string(), "conf.yaml: 5 more problems");
    }
}
