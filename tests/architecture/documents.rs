//! What the documents may claim.

use std::collections::BTreeSet;

use crate::nothing_breaks;
use crate::sources::rust;
use crate::workspace::read;

/// Longest `docs/ARCHITECTURE.md`: a map that takes longer to read than the code is no map.
const MAX_LINES: usize = 300;

#[test]
fn every_invariant_names_tests_that_exist() {
    let text = read("docs/ARCHITECTURE.md");
    let known = test_functions();
    let mut violations = Vec::new();
    let invariants = invariants(&text);
    assert!(
        !invariants.is_empty(),
        "docs/ARCHITECTURE.md has no numbered list under `## Invariants`"
    );
    for invariant in invariants {
        let names = tests_named_by(&invariant);
        if names.is_empty() {
            violations.push(format!("names no test: {invariant}"));
        }
        for name in names.into_iter().filter(|name| !known.contains(name)) {
            violations.push(format!("no test is called {name}: {invariant}"));
        }
    }
    nothing_breaks(
        "docs/ARCHITECTURE.md, invariants (write: test: `name`):",
        &violations,
    );
}

#[test]
fn the_map_stays_short() {
    let lines = read("docs/ARCHITECTURE.md").lines().count();
    assert!(
        lines <= MAX_LINES,
        "docs/ARCHITECTURE.md: {lines} lines, at most {MAX_LINES}"
    );
}

/// The items of the numbered list under the heading that speaks of invariants, each on one line.
fn invariants(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    let is_heading = |line: &str| line.starts_with('#');
    let section = text
        .lines()
        .skip_while(|line| !(is_heading(line) && line.to_lowercase().contains("invariant")));
    for line in section.skip(1).take_while(|line| !is_heading(line)) {
        let numbered = line
            .split_once(". ")
            .is_some_and(|(number, _)| number.parse::<u32>().is_ok());
        match items.last_mut() {
            _ if numbered => items.push(line.to_owned()),
            Some(item) if !line.trim().is_empty() => *item = format!("{item} {}", line.trim()),
            _ => {}
        }
    }
    items
}

/// The names in backticks after `test:` or `tests:`; of a path only the last part.
fn tests_named_by(invariant: &str) -> Vec<String> {
    let claims = invariant
        .split_once("test:")
        .or_else(|| invariant.split_once("tests:"));
    let quoted = claims
        .map_or("", |(_, rest)| rest)
        .split('`')
        .skip(1)
        .step_by(2);
    quoted
        .map(|name| name.rsplit("::").next().unwrap_or(name).to_owned())
        .collect()
}

/// The names of all functions that follow a test attribute or are cases of the conformance suite.
fn test_functions() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in rust(&["crates", "bins", "tests", "examples"]) {
        let suite = source.path.contains("/testing/conformance/");
        let mut marked = suite;
        for line in source.text.lines().map(str::trim) {
            let attribute = line.trim_start_matches("#[");
            marked |= attribute.starts_with("test]") || attribute.starts_with("tokio::test");
            if let Some(rest) = line
                .split_once("fn ")
                .map(|(_, rest)| rest)
                .filter(|_| marked)
            {
                let end = rest
                    .find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(rest.len());
                names.insert(rest[..end].to_owned());
                marked = suite;
            }
        }
    }
    names
}
