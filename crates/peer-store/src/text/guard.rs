//! What stands between text from a file and the YAML library: bounds, and no feature that can blow up.
//!
//! The library replays aliases without a limit when it reads into types, and nested flow collections cost it quadratic
//! time. Neither can reach it through here: aliases are refused and nesting is capped before it sees a byte.

use std::collections::BTreeSet;

use btcfed_core::key::PeerKey;
use serde_yaml::Value;

use crate::text::scan::scan;

/// Largest entry that is read, in bytes: some thousand addresses. Larger ones are skipped, and stay in the file.
pub const MAX_ENTRY_BYTES: usize = 256 * 1024;

/// Longest line that is read, in bytes: a signed record takes 1.4 kB of base64. Entries with longer ones are skipped.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// Deepest flow nesting that is read; the node itself writes three levels.
pub const MAX_FLOW_DEPTH: usize = 16;

/// Why an entry is skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The line it is about, counted from 0 within the entry.
    pub(crate) line: usize,
    /// Why.
    pub(crate) reason: String,
    /// True when it is no YAML at all, so that its extent is in doubt.
    pub(crate) is_syntax: bool,
    /// Whose entry it is, where that could be read.
    pub(crate) key: Option<PeerKey>,
}

impl Refusal {
    /// A refusal because of what `needle` says; its line is looked up in `text`.
    pub(crate) fn at(text: &str, needle: &str, reason: impl Into<String>) -> Self {
        let line = text
            .lines()
            .position(|line| !needle.is_empty() && line.contains(needle))
            .unwrap_or(0);
        Self {
            line,
            reason: reason.into(),
            is_syntax: false,
            key: None,
        }
    }

    fn syntax(line: usize, reason: impl Into<String>) -> Self {
        Self {
            line,
            reason: reason.into(),
            is_syntax: true,
            key: None,
        }
    }
}

/// Reads guarded YAML.
pub(crate) fn value(text: &str) -> Result<Value, Refusal> {
    guard(text)?;
    serde_yaml::from_str(text).map_err(|error| {
        let line = error.location().map_or(0, |at| at.line().saturating_sub(1));
        let tab = text
            .lines()
            .position(|line| line.trim_start_matches(' ').starts_with('\t'));
        match tab {
            Some(line) => Refusal::syntax(line, "indented with a tab; YAML wants spaces"),
            None => Refusal::syntax(line, without_location(&error.to_string())),
        }
    })
}

/// Reads the text of one list item, dash included.
pub(crate) fn item(text: &str) -> Result<Value, Refusal> {
    match value(text)? {
        Value::Sequence(mut items) if items.len() == 1 => Ok(items.swap_remove(0)),
        _ => Err(Refusal::syntax(0, "not one list item")),
    }
}

fn guard(text: &str) -> Result<(), Refusal> {
    if text.len() > MAX_ENTRY_BYTES {
        let reason = format!(
            "{} bytes long; at most {MAX_ENTRY_BYTES} are read",
            text.len()
        );
        return Err(Refusal::at(text, "", reason));
    }
    if let Some(line) = text.lines().position(|line| line.len() > MAX_LINE_BYTES) {
        return Err(Refusal {
            line,
            ..Refusal::at(
                text,
                "",
                format!("line is longer than {MAX_LINE_BYTES} bytes"),
            )
        });
    }
    let seen = scan(text, &BTreeSet::new());
    if let Some(line) = seen.property {
        let reason = "anchors, aliases and tags (&, *, !) are not read here; write the value out or quote it";
        return Err(Refusal {
            line,
            ..Refusal::at(text, "", reason)
        });
    }
    if seen.depth > MAX_FLOW_DEPTH {
        return Err(Refusal::at(
            text,
            "",
            format!("brackets are nested deeper than {MAX_FLOW_DEPTH}"),
        ));
    }
    match seen.unclosed {
        Some(line) => Err(Refusal::syntax(
            line,
            "a quote or bracket that begins here is never closed",
        )),
        None => Ok(()),
    }
}

/// The library counts lines from the start of the entry, which would mislead whoever reads the message.
fn without_location(message: &str) -> String {
    let cut = message.find(" at line ").unwrap_or(message.len());
    message[..cut].trim_start_matches(".: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn what_blows_up_is_refused_before_the_library_sees_it() {
        let started = Instant::now();
        let deep = format!("- a: {}", "[".repeat(200_000));
        let laughs = format!("- a: &a [1, 2]\n  b: {}\n", "*a ".repeat(1000));
        let wide = format!("- a: {}\n", "x".repeat(MAX_LINE_BYTES));
        let long = "- a: 1\n".repeat(MAX_ENTRY_BYTES);
        for bad in [deep, laughs, wide, long] {
            assert!(item(&bad).is_err());
        }
        assert!(started.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn the_reason_names_the_line_and_not_the_librarys_own_count() {
        let refusal = item("- a: 1\n  b: [1\n").unwrap_err();
        assert_eq!((refusal.line, refusal.is_syntax), (1, true));
        let refusal = item("- a: 1\n  a: 2\n").unwrap_err();
        assert!(
            refusal.reason.contains("duplicate") && !refusal.reason.contains("line"),
            "{}",
            refusal.reason
        );
        let refusal = item("- a: 1\n\tb: 2\n").unwrap_err();
        assert_eq!(
            (refusal.line, refusal.reason.as_str()),
            (1, "indented with a tab; YAML wants spaces")
        );
        assert!(item("a: 1\n").unwrap_err().is_syntax);
        assert_eq!(item("  - a: 1\n").unwrap()["a"], Value::from(1));
    }
}
