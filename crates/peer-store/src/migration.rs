//! Peers files of older versions, step by step to the one that is written now.
//!
//! There has been one version so far, so the store brings no steps of its own. A program with files in a format of before gives
//! its steps to [`StoreOptions::with_migration`](crate::StoreOptions::with_migration).

use std::borrow::Cow;

use crate::text::document::FORMAT_VERSION;

/// A step: the text of a file of version `from` to that of the next version.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// The version it begins with.
    pub from: u64,
    /// What it does. Gets the whole text; must not fail, and leaves alone what it does not know.
    pub convert: fn(&str) -> String,
}

/// The version a text says it has.
fn version_of(text: &str) -> Option<u64> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("version:"))?;
    let word = value.split_whitespace().next()?;
    word.trim_matches(['"', '\'']).parse().ok()
}

/// The text after all steps; `None` when it is of this version, or no step begins with its version.
pub(crate) fn run(text: &str, steps: &[Migration]) -> Option<String> {
    let mut version = version_of(text).filter(|version| *version < FORMAT_VERSION)?;
    let mut text = Cow::Borrowed(text);
    while version < FORMAT_VERSION {
        let step = steps.iter().find(|step| step.from == version)?;
        text = Cow::Owned((step.convert)(&text));
        version += 1;
    }
    Some(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_older_versions_with_a_step_are_converted() {
        let step = Migration {
            from: 0,
            convert: |text| text.replace("old", "new"),
        };
        let run = |text| run(text, &[step]);
        assert_eq!(
            run("version: \"0\" # x\nold: 1\n").as_deref(),
            Some("version: \"0\" # x\nnew: 1\n")
        );
        for other in [
            "old: 1\n",
            "version: 1\nold: 1\n",
            "version: 2\nold: 1\n",
            "version: x\n",
            "version:\n",
            " version: 0\n",
        ] {
            assert_eq!(run(other), None, "{other}");
        }
        assert_eq!(super::run("version: 0\n", &[]), None);
    }
}
