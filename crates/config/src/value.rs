//! One value against the rule of its key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use btcfed_core::SecretKey;
use btcfed_core::error::ParseError;
use btcfed_core::limits::MAX_AGENT_BYTES;

use crate::address;
use crate::draft::{Draft, in_dir};
use crate::duration::parse_duration;
use crate::keys::VERSION;
use crate::log_filter::log_filter;
use crate::quote::{looks_secret, quote};
use crate::raw::Raw;
use crate::rule::{Rule, show};
use crate::suggest;

/// Most addresses to announce: as many as fit a signed record.
pub(crate) const MAX_ANNOUNCE: usize = btcfed_core::limits::MAX_RECORD_ADDRESSES;
/// Most peers to ask first: a whole federation has fewer guardians.
pub(crate) const MAX_BOOTSTRAP: usize = 1024;
/// Most patterns for the version texts of peers: releases to keep away are few.
pub(crate) const MAX_PATTERNS: usize = 64;
/// Most listeners.
pub(crate) const MAX_LISTEN: usize = 64;
/// Longest file name, as the kernel allows.
const MAX_PATH_BYTES: usize = 4095;
/// Longest name of a unix socket, as the kernel allows with its ending zero.
pub(crate) const MAX_SOCKET_BYTES: usize = 107;

/// Something to say about a value, or about one element of a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Remark {
    pub(crate) item: Option<usize>,
    pub(crate) reason: String,
    pub(crate) hint: Option<String>,
}

impl Remark {
    pub(crate) fn new(reason: impl Into<String>, hint: Option<String>) -> Self {
        Self {
            item: None,
            reason: reason.into(),
            hint,
        }
    }
}

/// What came of a value.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) refused: Vec<Remark>,
    pub(crate) noted: Vec<Remark>,
}

/// Sets what `raw` says, unless something about it is refused. Relative file names are meant from `base`.
pub(crate) fn set(rule: &Rule, raw: &Raw, base: &Path, draft: &mut Draft) -> Outcome {
    let mut outcome = Outcome::default();
    let result = match rule {
        Rule::Announce(set) => list(raw, MAX_ANNOUNCE, false, address::announce, &mut outcome)
            .map(|value| set(draft, value)),
        Rule::Bootstrap(set) => list(raw, MAX_BOOTSTRAP, false, address::bootstrap, &mut outcome)
            .map(|value| set(draft, value)),
        Rule::Listen(set) => list(raw, MAX_LISTEN, true, address::listen, &mut outcome)
            .map(|value| set(draft, value)),
        Rule::Choice(words, set) => choice(raw, words).map(|value| set(draft, value)),
        Rule::Count { min, max, set } => count(raw, *min, *max).map(|value| set(draft, value)),
        Rule::Duration { min, max, set } => span(raw, *min, *max).map(|value| set(draft, value)),
        Rule::Flag(set) => flag(raw).map(|value| set(draft, value)),
        Rule::Fraction { min, max, set } => {
            fraction(raw, *min, *max).map(|value| set(draft, value))
        }
        Rule::LogFilter(max, set) => log_filter(raw, *max).map(|value| set(draft, value)),
        Rule::Mode(set) => mode(raw, &mut outcome).map(|value| set(draft, value)),
        Rule::OptionalPath(set) => optional_path(raw, base).map(|value| set(draft, value)),
        Rule::Patterns(set) => patterns(raw, &mut outcome).map(|value| set(draft, value)),
        Rule::Path(set) => path(raw, base).map(|value| set(draft, value)),
        Rule::Secret => secret(raw).map(|value| draft.private_key = value),
        Rule::Socket(set) => socket(raw).map(|value| set(draft, value)),
        Rule::Text(max, set) => line(raw, *max).map(|value| set(draft, value)),
        Rule::Version => version(raw),
    };
    if let Err(remark) = result {
        outcome.refused.push(remark);
    }
    outcome
}

fn expected(what: &str, found: &Raw) -> Remark {
    Remark::new(format!("expected {what}, found {}", found.describe()), None)
}

/// Patterns for the version texts of peers: texts of one line.
fn patterns(raw: &Raw, outcome: &mut Outcome) -> Result<Vec<String>, Remark> {
    let Raw::List(items) = raw else {
        return Err(expected("a list of patterns such as \"old-node/0.*\"", raw));
    };
    if items.len() > MAX_PATTERNS {
        let reason = format!(
            "{} patterns are too many, at most {MAX_PATTERNS}",
            items.len()
        );
        return Err(Remark::new(reason, None));
    }
    let mut values = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match line(item, MAX_AGENT_BYTES) {
            Ok(text) if text.is_empty() => outcome.refused.push(Remark {
                item: Some(index),
                ..Remark::new("an empty pattern fits nothing", None)
            }),
            Ok(text) => values.push(text),
            Err(remark) => outcome.refused.push(Remark {
                item: Some(index),
                ..remark
            }),
        }
    }
    Ok(values)
}

fn list<T: PartialEq>(
    raw: &Raw,
    max: usize,
    unique: bool,
    read: fn(&str) -> Result<T, Remark>,
    outcome: &mut Outcome,
) -> Result<Vec<T>, Remark> {
    let Raw::List(items) = raw else {
        let hint = "write each address on its own line, after a dash";
        return Err(Remark {
            hint: Some(hint.to_owned()),
            ..expected("a list of addresses", raw)
        });
    };
    if items.len() > max {
        return Err(Remark::new(
            format!("{} addresses are too many, at most {max}", items.len()),
            None,
        ));
    }
    let mut values: Vec<(usize, T)> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let read = match item {
            Raw::Text(text) => read(text),
            Raw::Flag(_)
            | Raw::Integer(_)
            | Raw::List(_)
            | Raw::Map(_)
            | Raw::Null
            | Raw::Number(_) => Err(expected("an address such as /ip4/192.0.2.1/tcp/9000", item)),
        };
        match read {
            Err(remark) => outcome.refused.push(Remark {
                item: Some(index),
                ..remark
            }),
            Ok(value) => match values.iter().find(|(_, other)| *other == value) {
                Some((first, _)) => {
                    let reason = format!("the same address as element {first}");
                    let remark = Remark {
                        item: Some(index),
                        reason,
                        hint: Some("remove one of them".to_owned()),
                    };
                    if unique {
                        outcome.refused.push(remark)
                    } else {
                        outcome.noted.push(remark)
                    }
                }
                None => values.push((index, value)),
            },
        }
    }
    Ok(values.into_iter().map(|(_, value)| value).collect())
}

fn choice(raw: &Raw, words: &[&'static str]) -> Result<usize, Remark> {
    let allowed = Some(format!("allowed: {}", words.join(", ")));
    let Raw::Text(text) = raw else {
        return Err(Remark {
            hint: allowed,
            ..expected("one of a few words", raw)
        });
    };
    if let Some(index) = words.iter().position(|word| *word == text.as_str()) {
        return Ok(index);
    }
    let hint = suggest::nearest(text, words.iter().copied())
        .map(|word| format!("did you mean {word}?"))
        .or(allowed);
    Err(Remark::new(format!("{} is not allowed", quote(text)), hint))
}

fn count(raw: &Raw, min: u16, max: u16) -> Result<u16, Remark> {
    let allowed = Some(format!("allowed: {min} to {max}"));
    let Raw::Integer(number) = raw else {
        return Err(Remark {
            hint: allowed,
            ..expected("a whole number", raw)
        });
    };
    let value = u16::try_from(*number)
        .ok()
        .filter(|value| (min..=max).contains(value));
    value.ok_or_else(|| {
        Remark::new(
            format!("{number} is too {}", side(*number < min.into())),
            allowed,
        )
    })
}

fn fraction(raw: &Raw, min: f64, max: f64) -> Result<f64, Remark> {
    let allowed = Some(format!("allowed: {min} to {max}"));
    let value = match raw {
        Raw::Number(number) => *number,
        // Whatever is not exact lies far outside of every range.
        Raw::Integer(number) => i32::try_from(*number).map_or_else(
            |_| f64::INFINITY.copysign(if *number < 0 { -1.0 } else { 1.0 }),
            f64::from,
        ),
        Raw::Flag(_) | Raw::List(_) | Raw::Map(_) | Raw::Null | Raw::Text(_) => {
            return Err(Remark {
                hint: allowed,
                ..expected("a number", raw)
            });
        }
    };
    if (min..=max).contains(&value) {
        return Ok(value + 0.0);
    }
    let reason = if value.is_nan() {
        "not a number".to_owned()
    } else {
        format!("{value} is too {}", side(value < min))
    };
    Err(Remark::new(reason, allowed))
}

const fn side(below: bool) -> &'static str {
    if below { "small" } else { "large" }
}

fn span(raw: &Raw, min: u64, max: u64) -> Result<Duration, Remark> {
    let (least, most) = (show(min), show(max));
    let refuse = |reason: String, example: &str| {
        Remark::new(
            reason,
            Some(format!(
                "write a duration such as {example} (allowed: {least} to {most})"
            )),
        )
    };
    let text = match raw {
        Raw::Text(text) => text,
        Raw::Integer(number) => {
            let reason = if *number < 0 {
                "is negative"
            } else {
                "has no unit"
            };
            return Err(refuse(
                format!("{number} {reason}"),
                &least_of_unit(*number, &least),
            ));
        }
        Raw::Flag(_) | Raw::List(_) | Raw::Map(_) | Raw::Null | Raw::Number(_) => {
            return Err(Remark::new(
                format!(
                    "expected a duration such as {least}, found {}",
                    raw.describe()
                ),
                Some(format!("allowed: {least} to {most}")),
            ));
        }
    };
    let value =
        parse_duration(text).map_err(|why| refuse(format!("{} {why}", quote(text)), &least))?;
    if value < Duration::from_millis(min) {
        return Err(Remark::new(
            format!("{} is too short", quote(text)),
            Some(format!("allowed: {least} to {most}")),
        ));
    }
    if value > Duration::from_millis(max) {
        return Err(Remark::new(
            format!("{} is too long", quote(text)),
            Some(format!("allowed: {least} to {most}")),
        ));
    }
    Ok(value)
}

/// The example for a number without a unit: seconds are what people mean.
fn least_of_unit(number: i128, least: &str) -> String {
    if (1..=86_400).contains(&number) {
        format!("{number}s")
    } else {
        least.to_owned()
    }
}

fn flag(raw: &Raw) -> Result<bool, Remark> {
    match raw {
        Raw::Flag(value) => Ok(*value),
        Raw::Integer(_) | Raw::List(_) | Raw::Map(_) | Raw::Null | Raw::Number(_) => {
            Err(expected("true or false", raw))
        }
        Raw::Text(text) => Err(Remark::new(
            format!("expected true or false, found {}", quote(text)),
            None,
        )),
    }
}

fn mode(raw: &Raw, outcome: &mut Outcome) -> Result<u32, Remark> {
    let hint = || {
        Some("write four octal digits such as 0660 (allowed: 0600 to 0777, owner read and write included)".to_owned())
    };
    let Raw::Text(text) = raw else {
        // 660 and 0o660 are different numbers to YAML and the same to people.
        return Err(Remark {
            hint: hint(),
            ..expected("permission bits", raw)
        });
    };
    let octal = text.len() <= 4 && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let bits = if octal {
        u32::from_str_radix(text, 8).ok()
    } else {
        None
    };
    let bits =
        bits.ok_or_else(|| Remark::new(format!("{} is no permission bits", quote(text)), hint()))?;
    if bits & 0o600 != 0o600 || bits > 0o777 {
        return Err(Remark::new(format!("{bits:04o} is not allowed"), hint()));
    }
    if bits & 0o007 != 0 {
        let reason = format!("{bits:04o} lets every user of this machine command the node");
        outcome.noted.push(Remark::new(
            reason,
            Some("write 0660 and use a group".to_owned()),
        ));
    }
    Ok(bits)
}

fn optional_path(raw: &Raw, base: &Path) -> Result<Option<PathBuf>, Remark> {
    match raw {
        Raw::Text(text) if text.trim().is_empty() => Ok(None),
        _ => path(raw, base).map(Some),
    }
}

fn path(raw: &Raw, base: &Path) -> Result<PathBuf, Remark> {
    let Raw::Text(text) = raw else {
        return Err(expected("a file name", raw));
    };
    let refuse =
        |reason: &str, hint: Option<&str>| Err(Remark::new(reason, hint.map(str::to_owned)));
    if looks_secret(text) {
        return refuse(
            "this is a private key, not the name of a file",
            Some("write the key into a file and its name here"),
        );
    }
    if text.trim().is_empty() {
        return refuse(
            "a file name cannot be empty",
            Some("remove the line to use the default"),
        );
    }
    if text.starts_with("~/") || text.starts_with('$') {
        return refuse(
            "~ and variables are not expanded",
            Some("write the whole name"),
        );
    }
    if text.contains(char::is_control) {
        return refuse("a file name cannot hold control characters", None);
    }
    if text.ends_with('/') || text.as_str() == "." || text.ends_with("/.") || text.ends_with("..") {
        return refuse("this is the name of a folder, not of a file", None);
    }
    let path = in_dir(base, Path::new(text.as_str()));
    if path.as_os_str().len() > MAX_PATH_BYTES {
        return refuse("the name is too long", None);
    }
    Ok(path)
}

fn secret(raw: &Raw) -> Result<Option<SecretKey>, Remark> {
    let Raw::Text(text) = raw else {
        return Err(expected("a private key in base64", raw));
    };
    if text.trim().is_empty() {
        return Ok(None);
    }
    let hint = "leave it empty to have one made, or copy the whole key";
    text.trim()
        .parse()
        .map(Some)
        .map_err(|ParseError { reason, .. }| {
            Remark::new(format!("bad private key: {reason}"), Some(hint.to_owned()))
        })
}

fn socket(raw: &Raw) -> Result<Option<SocketAddr>, Remark> {
    let hint = "write 127.0.0.1:9100 or [::1]:9100, or leave it empty";
    let Raw::Text(text) = raw else {
        return Err(Remark {
            hint: Some(hint.to_owned()),
            ..expected("an IP address with a port", raw)
        });
    };
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        let reason = format!("{} is no IP address with a port", quote(text));
        Remark::new(reason, Some(hint.to_owned()))
    })
}

pub(crate) fn line(raw: &Raw, max: usize) -> Result<String, Remark> {
    let Raw::Text(text) = raw else {
        let quotes = matches!(raw, Raw::Flag(_) | Raw::Integer(_) | Raw::Number(_));
        return Err(Remark {
            hint: quotes.then(|| "put it in quotes".to_owned()),
            ..expected("text", raw)
        });
    };
    if text.len() > max {
        return Err(Remark::new(
            format!("{} bytes are too many, at most {max}", text.len()),
            None,
        ));
    }
    if text.contains(char::is_control) {
        return Err(Remark::new("control characters are not allowed", None));
    }
    if text.trim() != text.as_str() {
        return Err(Remark::new("white space at its beginning or end", None));
    }
    if looks_secret(text) {
        return Err(Remark::new(
            "this is a private key, which has no place here",
            None,
        ));
    }
    Ok(text.to_string())
}

fn version(raw: &Raw) -> Result<(), Remark> {
    match raw {
        Raw::Integer(number) if *number == VERSION => Ok(()),
        Raw::Integer(number) if *number > VERSION => {
            let reason =
                format!("written for a newer btcfed, version {number}; this one reads {VERSION}");
            Err(Remark::new(
                reason,
                Some("upgrade btcfed, or write the file anew".to_owned()),
            ))
        }
        Raw::Integer(number) => Err(Remark::new(
            format!("there is no version {number}"),
            Some(format!("write {VERSION}")),
        )),
        Raw::Flag(_) | Raw::List(_) | Raw::Map(_) | Raw::Null | Raw::Number(_) | Raw::Text(_) => {
            Err(Remark {
                hint: Some(format!("write {VERSION}")),
                ..expected("a whole number", raw)
            })
        }
    }
}
