//! Every line that the node logs at info and above is in the table of docs/OPERATIONS.md, with what to do.

use std::fs;
use std::path::{Path, PathBuf};

/// The levels an operator sees.
const MACROS: &[&str] = &["info!(", "warn!(", "error!("];

/// Where the text of a message ends and its details begin.
const ENDS: &[char] = &[';', ':', '{', '?', '\\'];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            sources(&path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            found.push(path);
        }
    }
}

/// The last text in the arguments of a call: the message. `rest` begins after the opening bracket.
fn message(rest: &str) -> Option<String> {
    let (mut depth, mut text, mut last) = (1, None::<String>, None);
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        if let Some(open) = &mut text {
            match c {
                '"' => last = text.take(),
                '\\' => {
                    open.push(c);
                    open.extend(chars.next());
                }
                _ => open.push(c),
            }
            continue;
        }
        match c {
            '"' => text = Some(String::new()),
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    last
}

/// The beginning of every message of a source file, without its tests.
fn messages(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut found = Vec::new();
    for name in MACROS {
        for (at, _) in code.match_indices(&format!("tracing::{name}")) {
            let rest = &code[at + "tracing::".len() + name.len()..];
            let text = message(rest).unwrap_or_default();
            let start = text.split(ENDS).next().unwrap().trim().to_owned();
            // Some lines are somebody else's words as a whole.
            if !start.is_empty() {
                found.push(start);
            }
        }
    }
    found
}

#[test]
fn every_line_of_the_log_is_in_the_table_of_the_manual() {
    let manual = fs::read_to_string(root().join("docs/OPERATIONS.md")).unwrap();
    let table = manual.split("## Log events").nth(1).unwrap();
    let table = table.split("\n## ").next().unwrap();
    let mut files = Vec::new();
    for dir in ["crates", "bins/btcfed/src"] {
        sources(&root().join(dir), &mut files);
    }
    let mut count = 0;
    let mut missing = Vec::new();
    for file in files
        .iter()
        .filter(|file| file.components().any(|part| part.as_os_str() == "src"))
    {
        for message in messages(&fs::read_to_string(file).unwrap()) {
            count += 1;
            if !table.contains(&format!("`{message}")) {
                missing.push(format!("{}: {message}", file.display()));
            }
        }
    }
    assert!(count > 50, "the sources were not found");
    assert!(
        missing.is_empty(),
        "not in docs/OPERATIONS.md, Log events:\n{}",
        missing.join("\n")
    );
}

#[test]
fn messages_are_found_whatever_stands_around_them() {
    let source = r#"
        tracing::info!("plain");
        tracing::warn!(a = f(1, ")"), "with fields; and details");
        tracing::error!(
            %error, "placeholders end it {x}"
        );
        tracing::warn!("{warning}");
        tracing::debug!("not for operators");
    "#;
    assert_eq!(
        messages(source),
        ["plain", "with fields", "placeholders end it"]
    );
}
