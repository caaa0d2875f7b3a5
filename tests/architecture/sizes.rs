//! How large things may grow.

use crate::nothing_breaks;
use crate::sources::rust;
use crate::workspace::{packages, read};

/// Most lines of code in a file, tests at its end not counted: what a reader can still hold together.
const MAX_FILE_LINES: usize = 800;

/// Most lines of a function, as clippy counts them.
const MAX_FUNCTION_LINES: usize = 70;

/// Most lines of `main.rs`: it parses, wires, runs and maps the exit code.
const MAX_MAIN_LINES: usize = 130;

#[test]
fn no_file_is_too_long() {
    let mut violations = Vec::new();
    for source in rust(&["crates", "bins"]) {
        let lines = source.code().count();
        if lines > MAX_FILE_LINES {
            violations.push(format!("{}: {lines} lines of code", source.path));
        }
    }
    nothing_breaks("a file may have 800 lines of code:", &violations);
}

#[test]
fn main_stays_short() {
    for path in ["bins/btcfed/src/main.rs", "bins/bench/src/main.rs"] {
        let lines = read(path).lines().count();
        assert!(
            lines <= MAX_MAIN_LINES,
            "{path}: {lines} lines, at most {MAX_MAIN_LINES}"
        );
    }
}

#[test]
fn the_length_of_functions_is_left_to_clippy_and_every_exception_has_a_reason() {
    let mut violations = Vec::new();
    let mut configurations = vec![".clippy.toml".to_owned()];
    for package in packages() {
        let own = package.folder.join("clippy.toml");
        let manifest = package.folder.join("Cargo.toml");
        if !read(&manifest).contains("\n[lints]\nworkspace = true\n") {
            violations.push(format!(
                "{}: no `[lints] workspace = true`",
                manifest.display()
            ));
        }
        configurations.extend(own.is_file().then(|| own.display().to_string()));
    }
    let threshold = format!("too-many-lines-threshold = {MAX_FUNCTION_LINES}\n");
    for path in configurations {
        if !read(&path).contains(&threshold) {
            violations.push(format!("{path}: no `{}`", threshold.trim()));
        }
    }
    if !read("Cargo.toml").contains("\ntoo_many_lines = \"warn\"\n") {
        violations.push("Cargo.toml: too_many_lines is not on".to_owned());
    }
    for source in rust(&["crates", "bins", "tests", "examples"]) {
        violations.extend(bare_exceptions(&source.path, &source.text));
    }
    nothing_breaks("functions of at most 70 lines, or a reason:", &violations);
}

/// Attributes that switch a lint off without `reason = "..."`, or with `allow`, which outlives its cause.
fn bare_exceptions(path: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    for (start, _) in text.match_indices("#[").chain(text.match_indices("#![")) {
        let attribute = text[start..]
            .split_once(']')
            .map_or("", |(attribute, _)| attribute);
        let inner = attribute.trim_start_matches(['#', '!', '[']);
        let silences = inner.starts_with("expect(") || inner.starts_with("allow(");
        let about_length = attribute.contains("too_many_lines");
        if silences
            && (!attribute.contains("reason = \"") || about_length && inner.starts_with("allow("))
        {
            let line = text[..start].lines().count() + 1;
            violations.push(format!("{path}:{line}: {}", attribute.replace('\n', " ")));
        }
    }
    violations
}
