//! How single values are spelled in the file: times, words, and one-line flow collections.

use std::time::Duration;

use btcfed_core::time::Timestamp;
use serde_yaml::Value;

use crate::text::ink;

/// Deepest nesting that is written or compared; deeper values cannot come out of the guarded parser.
const MAX_DEPTH: usize = 32;

/// Seconds of a day.
const DAY: u64 = 86_400;

/// The first moment that the quick ways leave to the library: the year 2400, the end of a cycle of the calendar.
const QUICK_END: Timestamp = Timestamp::from_secs(13_569_465_600);

/// The RFC 3339 text of a moment, in UTC.
pub(crate) fn time_text(at: Timestamp) -> String {
    let mut out = Vec::with_capacity(24);
    ink::push_time(&mut out, at);
    ink::into_text(out)
}

/// Year, month and day of a moment, in UTC; `None` from [`QUICK_END`] on.
pub(crate) fn date_of(at: Timestamp) -> Option<(u32, u32, u32)> {
    let day = u32::try_from(at.as_secs() / DAY).ok()?;
    (at < QUICK_END).then(|| date(day))
}

/// Year, month and day of a day since 1970: Howard Hinnant's `civil_from_days`.
const fn date(days: u32) -> (u32, u32, u32) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

/// Days from 1970 to a date: the inverse of [`date`].
const fn days(year: u32, month: u32, day: u32) -> u32 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let shifted = (month + 9) % 12;
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// How many days a month has.
const fn days_in(year: u32, month: u32) -> u32 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The moment a text stands for that is spelled as the store spells it; `None` leaves it to the library.
pub(crate) fn quick_time(text: &str) -> Option<Timestamp> {
    let (second, fraction) = text.as_bytes().split_first_chunk::<19>()?;
    let millis = match fraction {
        [b'Z'] => 0,
        [b'.', digits @ .., b'Z'] if matches!(digits.len(), 1..=3) => {
            let digits = digits.iter().chain(b"00").take(3);
            quick_digits(digits)?
        }
        _ => return None,
    };
    let [
        y1,
        y2,
        y3,
        y4,
        b'-',
        m1,
        m2,
        b'-',
        d1,
        d2,
        b'T',
        h1,
        h2,
        b':',
        n1,
        n2,
        b':',
        s1,
        s2,
    ] = second
    else {
        return None;
    };
    let (century, year) = (two(*y1, *y2)?, two(*y3, *y4)?);
    let (month, day) = (two(*m1, *m2)?, two(*d1, *d2)?);
    let (hour, minute, second) = (two(*h1, *h2)?, two(*n1, *n2)?, two(*s1, *s2)?);
    let year = century * 100 + year;
    let is_date = (1970..2400).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let since = u64::from(days(year, month, day)) * DAY;
    let of_day = u64::from(hour * 3600 + minute * 60 + second);
    Some(Timestamp::from_millis((since + of_day) * 1000 + millis))
}

/// The number that two digits stand for.
const fn two(tens: u8, ones: u8) -> Option<u32> {
    match (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0')) {
        (tens @ 0..=9, ones @ 0..=9) => Some(tens as u32 * 10 + ones as u32),
        _ => None,
    }
}

/// The moment a text stands for that is spelled exactly as [`time_text`] spells it.
pub(crate) fn exact_time(text: &str) -> Option<Timestamp> {
    let is_cut = text.len() == 20 || !text.ends_with("0Z");
    quick_time(text).filter(|_| is_cut)
}

fn quick_digits<'a>(mut digits: impl Iterator<Item = &'a u8>) -> Option<u64> {
    digits.try_fold(0, |sum: u64, digit| {
        digit
            .is_ascii_digit()
            .then(|| sum * 10 + u64::from(digit - b'0'))
    })
}

/// The number that plain digits without a leading zero stand for, if it is certain to be one.
pub(crate) fn quick_count(text: &str) -> Option<u64> {
    let is_canonical = matches!(text.as_bytes(), [b'0'] | [b'1'..=b'9', ..]);
    if !is_canonical || text.len() > 18 {
        return None;
    }
    quick_digits(text.as_bytes().iter())
}

/// The response time that [`ink::push_rtt`] spelled.
pub(crate) fn quick_rtt(text: &str) -> Option<Duration> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "000"));
    let digits = part.bytes().all(|digit| digit.is_ascii_digit());
    if part.len() != 3 || !digits || whole.len() > 9 {
        return None;
    }
    let micros = quick_count(whole)? * 1000 + part.parse::<u64>().ok()?;
    Some(Duration::from_micros(micros))
}

/// The moment an RFC 3339 text stands for. Times before 1970 are 1970.
pub(crate) fn time_from(text: &str) -> Option<Timestamp> {
    if let Some(at) = quick_time(text) {
        return Some(at);
    }
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

/// The moment that [`time_name`] spelled.
pub(crate) fn time_of_name(name: &str) -> Option<Timestamp> {
    let part = |range| name.get(range);
    let date = [part(0..4)?, part(4..6)?, part(6..8)?].join("-");
    let time = [part(9..11)?, part(11..13)?, part(13..15)?].join(":");
    quick_time(&format!("{date}T{time}Z")).filter(|at| time_name(*at) == name)
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
    let mut out = Vec::with_capacity(text.len() + 2);
    ink::push_string(&mut out, text);
    ink::into_text(out)
}

/// True for bytes that may stand in a text without quotes.
pub(crate) const fn is_plain_byte(byte: u8) -> bool {
    PLAIN[byte as usize]
}

/// For every byte whether it may stand in a text without quotes.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        plain[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'/' | b'_' | b'.' | b'+' | b'=' | b'-' | b':' | b'@');
        byte += 1;
    }
    plain
};

/// True for texts that are spelled without quotes.
pub(crate) fn is_plain(text: &str) -> bool {
    const NOT_STRINGS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    matches!(text.as_bytes(), [b'a'..=b'z' | b'A'..=b'Z' | b'/', ..])
        && text.bytes().all(is_plain_byte)
        && !text.ends_with(':')
        && !(text.len() <= 5
            && NOT_STRINGS
                .iter()
                .any(|word| text.eq_ignore_ascii_case(word)))
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
        let moment = Timestamp::from_secs(1_795_000_001);
        assert_eq!(time_of_name(&time_name(moment)), Some(moment));
        for other in [
            "",
            "19700101T000001",
            "19700101T000001Z-1",
            "19701301T000001Z",
            "é9700101T000001Z",
        ] {
            assert_eq!(time_of_name(other), None, "{other}");
        }
    }

    #[test]
    fn the_quick_ways_agree_with_the_libraries() {
        let library = |millis: u64| {
            let millis = i64::try_from(millis).unwrap();
            jiff::Timestamp::from_millisecond(millis)
                .unwrap()
                .to_string()
        };
        let end = QUICK_END.as_millis();
        let usual = (0..end).step_by(86_399_123 * 7);
        for millis in usual.chain([0, 10, 900, 951_782_400_000, end - 1]) {
            let (at, text) = (Timestamp::from_millis(millis), library(millis));
            assert!(date_of(at).is_some());
            assert_eq!(time_text(at), text);
            assert_eq!(quick_time(&text), Some(at), "{text}");
        }
        assert_eq!(library(end), "2400-01-01T00:00:00Z");
        for other in [
            "2026-02-29T00:00:00Z",
            "2026-03-00T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:60Z",
            "1969-12-31T23:59:59Z",
            "2026-01-01T00:00:0xZ",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00+",
        ] {
            assert_eq!(quick_time(other), None, "{other}");
        }
        for (text, number) in [
            ("0", Some(0)),
            ("907", Some(907)),
            ("07", None),
            ("", None),
            ("1x", None),
        ] {
            assert_eq!(quick_count(text), number);
        }
        for (text, micros) in [
            ("0.500", Some(500)),
            ("12", Some(12_000)),
            ("1.5", None),
            ("1.50x", None),
            (".500", None),
        ] {
            assert_eq!(quick_rtt(text), micros.map(Duration::from_micros), "{text}");
        }
    }

    #[test]
    fn response_times_read_back_to_the_microsecond() {
        for micros in [0, 1, 23_000, 23_450, 1_999_999] {
            let rtt = Duration::from_micros(micros);
            let mut text = Vec::new();
            ink::push_rtt(&mut text, rtt);
            let text = ink::into_text(text);
            let value: Value = serde_yaml::from_str(&text).unwrap();
            assert_eq!(rtt_from(&value), Some(rtt), "{text}");
        }
        for (rtt, expected) in [
            (Duration::from_millis(23), "23"),
            (Duration::from_secs(u64::MAX), "18446744073709551615000"),
            (Duration::MAX, "18446744073709551615999.999"),
        ] {
            let mut text = Vec::new();
            ink::push_rtt(&mut text, rtt);
            assert_eq!(ink::into_text(text), expected);
        }
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
