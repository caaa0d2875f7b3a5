//! Durations as `conf.yaml` writes them: `500ms`, `30s`, `1m30s`, `24h`.

use std::time::Duration;

/// Units, longest first. `ms` stands before `m` and `s` so that the longer name wins.
const UNITS: [(&str, u8); 5] = [("d", 0), ("h", 1), ("ms", 4), ("m", 2), ("s", 3)];

/// Reads a duration as `conf.yaml` writes it: whole numbers with their units, longest unit first, each unit once, no
/// spaces. The units are `ms`, `s`, `m`, `h` and `d`.
///
/// # Errors
/// What is wrong, without repeating the text, such as `has no unit`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    check(text)?;
    humantime::parse_duration(text).map_err(|_| "is too long".to_owned())
}

/// The grammar of this file: narrower than humantime's, which also reads `1month` and `30s 1m`.
fn check(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.starts_with('-') {
        return Err("is negative".to_owned());
    }
    let (mut rest, mut longest) = (text, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let after = &rest[digits..];
        if digits == 0 {
            return Err("is not a duration".to_owned());
        }
        if after.starts_with(['.', ',']) {
            return Err("has a fraction; use a smaller unit".to_owned());
        }
        let letters = after.bytes().take_while(|b| !b.is_ascii_digit()).count();
        if letters == 0 {
            return Err("has no unit".to_owned());
        }
        let name = &after[..letters];
        let Some((_, rank)) = UNITS.iter().find(|(unit, _)| *unit == name) else {
            return Err("has an unknown unit; the units are ms, s, m, h and d".to_owned());
        };
        if *rank < longest {
            return Err("must name longer units first, each once".to_owned());
        }
        longest = rank + 1;
        rest = &after[letters..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_spellings_are_read() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("24h", 86_400_000),
            ("1d", 86_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("0s", 0),
            ("007s", 7000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_the_grammar_does_not_have_is_refused_with_its_reason() {
        for (text, why) in [
            ("", "empty"),
            ("30", "no unit"),
            ("1m30", "no unit"),
            ("-5s", "negative"),
            ("s", "not a duration"),
            ("+5s", "not a duration"),
            ("1.5s", "fraction"),
            ("1,5s", "fraction"),
            ("30sec", "unknown unit"),
            ("30 s", "unknown unit"),
            ("1m 30s", "unknown unit"),
            ("1w", "unknown unit"),
            ("1M", "unknown unit"),
            ("30s1m", "longer units first"),
            ("5s5s", "longer units first"),
            ("99999999999999999999s", "too long"),
            ("18446744073709551615d", "too long"),
            ("5µs", "unknown unit"),
            ("٣s", "not a duration"),
        ] {
            let refusal = parse_duration(text).unwrap_err();
            assert!(refusal.contains(why), "{text}: {refusal}");
        }
    }
}
