//! Writing a configuration file, and the reference of its keys.

use std::fmt::Write as _;
use std::path::Path;

use btcfed_core::config::ConfigError;

use crate::convert::Build;
use crate::disk;
use crate::env::{Environment, FlagValue, Overrides};
use crate::error::WriteError;
use crate::keys::{Key, keys};
use crate::rule::Rule;

/// The keys that stand in a new file without a `#`: the ones everybody looks for.
const SHOWN: [&str; 7] = [
    "version",
    "node.private_key",
    "network.addresses",
    "peers.exchange_interval",
    "peers.connection_timeout",
    "logging.level",
    "logging.format",
];

const HEAD: &str = "\
# The configuration of a btcfed node. Everything in it is optional: without a value, or without the whole file, the
# defaults shown here hold. A line that begins with # and a name is a default: remove the # to change it.
#
# Durations: 500ms, 30s, 1m30s, 24h. File names are meant from the folder of this file.
# Check it with `btcfed config check`; apply it to a running node with `btcfed reload` or SIGHUP.
# (live): changes at once. (rebind): listens anew, connections stay. (restart): at the next start.
";

/// A configuration file that explains every key and changes no default.
#[must_use]
pub fn default_text() -> String {
    render(&[])
}

/// The same with these values written in. Secrets are refused.
///
/// # Errors
/// Every value that is not allowed, by its flag.
pub fn text_with(values: &[FlagValue]) -> Result<String, ConfigError> {
    let overrides = Overrides {
        env: Environment::default(),
        flags: values.to_vec(),
    };
    let mut build = Build::new(Path::new("."));
    overrides.apply(&mut build);
    build.finish(None)?;
    Ok(render(values))
}

/// Writes `text` to `path` in one step. Unless `force` is set, a file that exists is left alone.
///
/// # Errors
/// The file exists, or cannot be written. Nothing was changed.
pub fn write_new_config(path: &Path, text: &str, force: bool) -> Result<(), WriteError> {
    let write = if force { disk::replace } else { disk::create };
    write(path, text.as_bytes(), 0o644).map_err(|source| WriteError {
        path: path.to_owned(),
        source,
    })
}

/// The table of every key, for the documentation.
#[must_use]
pub fn reference() -> String {
    let mut text =
        String::from("| Key | Default | Allowed | Change | Meaning |\n|---|---|---|---|---|\n");
    for key in keys() {
        let default = match key.default {
            "" => "empty".to_owned(),
            default => format!("`{default}`"),
        };
        let row = format!(
            "| `{key}` | {default} | {} | {} | {} |",
            key.range(),
            key.effect.as_str(),
            key.help
        );
        line(&mut text, &row);
    }
    text
}

fn render(values: &[FlagValue]) -> String {
    let mut text = HEAD.to_owned();
    let mut open = "";
    for key in keys() {
        let (section, leaf) = key.split();
        let depth = section.split('.').filter(|part| !part.is_empty()).count();
        if section != open {
            heading(&mut text, open, section);
            open = section;
        } else if depth == 0 {
            text.push('\n');
        }
        let indent = "  ".repeat(depth);
        line(
            &mut text,
            &format!(
                "{indent}# {}: {} ({})",
                key.help,
                key.range(),
                key.effect.as_str()
            ),
        );
        let given = values.iter().rev().find(|value| value.key == key.name);
        let off = if given.is_none() && !SHOWN.contains(&key.name) {
            "#"
        } else {
            ""
        };
        entry(
            &mut text,
            &format!("{indent}{off}"),
            leaf,
            key,
            given.map(|value| value.value.as_str()),
        );
    }
    text
}

/// Opens `section`, and whatever section around it is not open yet.
fn heading(text: &mut String, open: &str, section: &str) {
    let mut path = String::new();
    for (depth, part) in section.split('.').enumerate() {
        path = if path.is_empty() {
            part.to_owned()
        } else {
            format!("{path}.{part}")
        };
        if open == path || open.starts_with(&format!("{path}.")) {
            continue;
        }
        if depth == 0 {
            text.push('\n');
        }
        line(text, &format!("{}{part}:", "  ".repeat(depth)));
    }
}

fn entry(text: &mut String, indent: &str, leaf: &str, key: &Key, given: Option<&str>) {
    let value = given.unwrap_or(key.default);
    if !key.rule.is_list() {
        return line(
            text,
            &format!("{indent}{leaf}: {}", scalar(&key.rule, value)),
        );
    }
    let value = value
        .strip_prefix('[')
        .and_then(|value| value.strip_suffix(']'))
        .unwrap_or(value);
    let items: Vec<_> = value
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .collect();
    if items.is_empty() {
        return line(text, &format!("{indent}{leaf}: []"));
    }
    line(text, &format!("{indent}{leaf}:"));
    for item in items {
        line(text, &format!("{indent}  - {item}"));
    }
}

/// A value as YAML reads it back: plain where nothing can be misread, in quotes elsewhere.
fn scalar(rule: &Rule, value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let value = if matches!(rule, Rule::OptionalPath(_) | Rule::Path(_) | Rule::Text(..)) {
        value
    } else {
        value.trim()
    };
    // A file name that is a number would be read as one.
    let is_word =
        value.contains(|c: char| c.is_ascii_alphabetic()) || !matches!(rule, Rule::Path(_));
    let begins_plain = value.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    if !rule.is_quoted() && is_word && begins_plain && value.chars().all(is_plain) {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn line(text: &mut String, content: &str) {
    // Writing to a String cannot fail.
    writeln!(text, "{content}").unwrap_or_default();
}
