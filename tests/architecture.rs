//! The rules of the house, as tests: who may depend on whom, where a dependency lives, how large things may grow, and
//! what the documents may claim. Run alone with `cargo arch`.
//!
//! Each test collects every violation before it fails, and names file, line and rule.
#![expect(
    clippy::expect_used,
    reason = "helpers of tests: a panic is the failure report"
)]

#[path = "architecture/dependencies.rs"]
mod dependencies;
#[path = "architecture/documents.rs"]
mod documents;
#[path = "architecture/sizes.rs"]
mod sizes;
#[path = "architecture/sources.rs"]
mod sources;
#[path = "architecture/style.rs"]
mod style;
#[path = "architecture/workspace.rs"]
mod workspace;

/// Fails with every violation of a rule, one a line.
#[track_caller]
fn nothing_breaks(rule: &str, violations: &[String]) {
    assert!(
        violations.is_empty(),
        "{rule}\n  {}\n",
        violations.join("\n  ")
    );
}
