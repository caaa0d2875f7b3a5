//! How single values are spelled in the file: times, words, and one-line flow collections.

use std::fmt::Write as _;
use std::time::Duration;

use btcfed_core::time::Timestamp;
use serde_yaml::Value;

/// Deepest nesting that is written or compared; deeper values cannot come out of the guarded parser.
const MAX_DEPTH: usize = 32;

/// The RFC 3339 text of a moment, in UTC.
pub(crate) fn time_text(at: Timestamp) -> String {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_string()
}

/// The moment an RFC 3339 text stands for. Times before 1970 are 1970.
pub(crate) fn time_from(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_millis(
        u64::try_from(at.as_millisecond()).unwrap_or(0),
    ))
}

/// A compact UTC moment for file names, such as `20261120T170000Z`.
pub(crate) fn time_name(at: Timestamp) -> String {
    let text = time_text(Timestamp::from_secs(at.as_secs()));
    text.chars().filter(|c| !matches!(c, '-' | ':')).collect()
}

/// Milliseconds with at most three decimals: what is written of a response time.
pub(crate) fn rtt_text(rtt: Duration) -> String {
    let micros = rtt.as_micros();
    match micros % 1000 {
        0 => format!("{}", micros / 1000),
        part => format!("{}.{part:03}", micros / 1000),
    }
}

/// The response time a number of milliseconds stands for.
pub(crate) fn rtt_from(value: &Value) -> Option<Duration> {
    let millis = value
        .as_f64()
        .filter(|millis| (0.0..1e12).contains(millis))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to lie in 0..1e15"
    )]
    let micros = (millis * 1000.0).round() as u64;
    Some(Duration::from_micros(micros))
}

/// A string as a YAML scalar on one line: plain where every YAML tool reads it as that string, else double-quoted.
pub(crate) fn string(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

fn is_plain(text: &str) -> bool {
    const NOT_STRINGS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"/_.+=-:@".contains(&b))
        && !text.ends_with(':')
        && !NOT_STRINGS
            .iter()
            .any(|word| text.eq_ignore_ascii_case(word))
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control()
                || matches!(
                    c,
                    '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
                ) =>
            {
                push_escape(&mut out, c);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn push_escape(out: &mut String, c: char) {
    // Writing to a String cannot fail.
    write!(out, "\\u{:04x}", u32::from(c)).unwrap_or_default();
}

/// Any value on one line.
pub(crate) fn flow(value: &Value) -> String {
    let mut out = String::new();
    push_flow(&mut out, value, 0);
    out
}

fn push_flow(out: &mut String, value: &Value, depth: usize) {
    match value {
        _ if depth > MAX_DEPTH => out.push('~'),
        Value::Null => out.push('~'),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => out.push_str(&string(text)),
        Value::Sequence(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                push_flow(out, item, depth + 1);
            }
            out.push(']');
        }
        Value::Mapping(fields) => {
            out.push('{');
            for (index, (key, item)) in fields.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                push_flow(out, key, depth + 1);
                out.push_str(": ");
                push_flow(out, item, depth + 1);
            }
            out.push('}');
        }
        Value::Tagged(tagged) => push_flow(out, &tagged.value, depth + 1),
    }
}

/// A scalar a person may have written without quotes, as the text it looks like.
pub(crate) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

/// Builds `{a: b, c: d}`; fields that are `None` are left out.
#[derive(Debug, Default)]
pub(crate) struct FlowMap(String);

impl FlowMap {
    /// Adds a field whose value is already spelled.
    pub(crate) fn field(&mut self, name: &str, value: Option<impl AsRef<str>>) -> &mut Self {
        if let Some(value) = value {
            if !self.0.is_empty() {
                self.0.push_str(", ");
            }
            self.0.push_str(name);
            self.0.push_str(": ");
            self.0.push_str(value.as_ref());
        }
        self
    }

    /// The text; `None` when there is no field.
    pub(crate) fn finish(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| format!("{{{}}}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back_and_foreign_spellings_are_understood() {
        for millis in [0, 1, 1_795_000_000_123, Timestamp::MAX.as_millis()] {
            let at = Timestamp::from_millis(millis);
            assert_eq!(time_from(&time_text(at)), Some(at));
        }
        assert_eq!(time_text(Timestamp::from_secs(0)), "1970-01-01T00:00:00Z");
        assert_eq!(
            time_from("1970-01-01T01:00:00+01:00"),
            Some(Timestamp::UNIX_EPOCH)
        );
        assert_eq!(
            time_from("1969-01-01T01:00:00Z"),
            Some(Timestamp::UNIX_EPOCH)
        );
        assert_eq!(time_from("yesterday"), None);
        assert_eq!(time_name(Timestamp::from_millis(1500)), "19700101T000001Z");
    }

    #[test]
    fn response_times_read_back_to_the_microsecond() {
        for micros in [0, 1, 23_000, 23_450, 1_999_999] {
            let rtt = Duration::from_micros(micros);
            let value: Value = serde_yaml::from_str(&rtt_text(rtt)).unwrap();
            assert_eq!(rtt_from(&value), Some(rtt), "{}", rtt_text(rtt));
        }
        assert_eq!(rtt_text(Duration::from_millis(23)), "23");
        assert_eq!(rtt_from(&Value::from(-1)), None);
        assert_eq!(rtt_from(&Value::from("x")), None);
    }

    #[test]
    fn every_string_reads_back_as_itself() {
        let hard = [
            "",
            " ",
            "a",
            "true",
            "No",
            "~",
            "null",
            "12",
            "0x1f",
            "1e3",
            ".inf",
            "-",
            "- a",
            "a: b",
            "a #b",
            "#a",
            "a:",
            "it's",
            "\"q\"",
            "back\\slash",
            "line\nfeed\ttab\r",
            "\u{7}\u{85}\u{2028}\u{feff}",
            "naïve – 名前",
            "/ip4/1.2.3.4/tcp/1",
            "CAESI+/=",
            "[x]",
            "{y}",
            "&a",
            "*a",
            "!a",
            "%a",
            "@a",
            "`a",
            "=",
            "<<",
            "2026-11-20",
        ];
        for text in hard {
            for document in [
                string(text),
                format!("{{k: {}}}", string(text)),
                format!("k: {}", string(text)),
            ] {
                let value: Value = serde_yaml::from_str(&document).unwrap();
                let value = value.get("k").cloned().unwrap_or(value);
                assert_eq!(value, Value::String(text.to_owned()), "{document}");
            }
        }
        assert_eq!(string("/ip4/1.2.3.4/tcp/1"), "/ip4/1.2.3.4/tcp/1");
    }

    #[test]
    fn any_value_reads_back_from_one_line() {
        let source = "{a: [1, -2.5, true, ~, \"x y\"], \"b c\": {}, 5: [], d: [{e: f}]}";
        let value: Value = serde_yaml::from_str(source).unwrap();
        assert_eq!(flow(&value), source);
        let tagged: Value = serde_yaml::from_str("!x 1").unwrap();
        assert_eq!(flow(&tagged), "1");
        assert_eq!(text_of(&Value::from(5)).as_deref(), Some("5"));
        assert_eq!(text_of(&Value::from(true)).as_deref(), Some("true"));
        assert_eq!(text_of(&Value::Null), None);
    }

    #[test]
    fn an_empty_flow_map_is_nothing() {
        assert_eq!(FlowMap::default().finish(), None);
        let mut map = FlowMap::default();
        map.field("a", Some("1"))
            .field("b", None::<&str>)
            .field("c", Some(String::from("2")));
        assert_eq!(map.finish().as_deref(), Some("{a: 1, c: 2}"));
    }
}
