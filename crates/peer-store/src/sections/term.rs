//! How times to live are spelled: `500ms`, `30s`, `1m30s`, `24h`, `7d`.

use std::time::Duration;

/// The units, largest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// The spelling of a duration, to the millisecond, in hours and smaller units.
pub(crate) fn text(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut out = String::new();
    for (name, size) in &UNITS[1..] {
        let (count, left) = (rest / size, rest % size);
        rest = left;
        if count > 0 {
            out.push_str(&format!("{count}{name}"));
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

/// The duration that a spelling stands for; each unit at most once, from large to small.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let (mut rest, mut sum, mut next_unit) = (text.trim(), 0_u64, 0);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        let letters = rest[digits..].find(|c: char| !c.is_ascii_alphabetic());
        let end = letters.map_or(rest.len(), |len| digits + len);
        let unit = UNITS
            .iter()
            .position(|(name, _)| *name == &rest[digits..end])?;
        if unit < next_unit {
            return None;
        }
        next_unit = unit + 1;
        sum = sum.checked_add(count.checked_mul(UNITS[unit].1)?)?;
        rest = &rest[end..];
    }
    Some(Duration::from_millis(sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_read_back_and_nonsense_is_refused() {
        for millis in [
            0,
            1,
            999,
            1000,
            300_000,
            90_500,
            86_400_000,
            315_360_000_000,
        ] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse(&text(duration)), Some(duration), "{}", text(duration));
        }
        assert_eq!(text(Duration::from_secs(90)), "1m30s");
        assert_eq!(parse("7d"), Some(Duration::from_secs(604_800)));
        for bad in [
            "",
            "5",
            "m",
            "5x",
            "1s1m",
            "1s 1ms",
            "-1s",
            "1.5s",
            "1s1s",
            "99999999999999999999d",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
