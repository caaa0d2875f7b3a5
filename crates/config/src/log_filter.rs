//! Levels of single parts of the program: `btcfed_network=debug,libp2p=warn`.

use btcfed_core::config::LogLevel;

use crate::quote::quote;
use crate::raw::Raw;
use crate::suggest;
use crate::value::{Remark, line};

/// The level that silences a part.
const OFF: &str = "off";

/// A list of parts with their levels, of at most `max` bytes; white space around its elements goes.
pub(crate) fn log_filter(raw: &Raw, max: usize) -> Result<String, Remark> {
    let text = line(raw, max)?;
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let parts: Result<Vec<_>, _> = parts.map(part).collect();
    Ok(parts?.join(","))
}

fn part(text: &str) -> Result<String, Remark> {
    let example = || Some("write PART=LEVEL, such as btcfed_network=debug".to_owned());
    let Some((name, level)) = text.split_once('=') else {
        return Err(Remark::new(
            format!("{} has no level", quote(text)),
            example(),
        ));
    };
    let (name, level) = (name.trim(), level.trim());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err(Remark::new(
            format!("{} is no part of the program", quote(name)),
            example(),
        ));
    }
    let levels = || {
        LogLevel::ALL
            .iter()
            .map(|level| level.as_str())
            .chain([OFF])
    };
    if !levels().any(|known| known == level) {
        let hint = suggest::nearest(level, levels()).map_or_else(
            || format!("allowed: {}", levels().collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean {near}?"),
        );
        return Err(Remark::new(
            format!("{} is no level", quote(level)),
            Some(hint),
        ));
    }
    Ok(format!("{name}={level}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        log_filter(&Raw::text(text), 40).map_err(|remark| remark.reason)
    }

    #[test]
    fn parts_have_a_name_and_a_level_and_white_space_does_not_count() {
        assert_eq!(read(""), Ok(String::new()));
        assert_eq!(
            read("libp2p = off , a::b=trace,"),
            Ok("libp2p=off,a::b=trace".to_owned())
        );
    }

    #[test]
    fn what_is_no_list_of_levels_is_refused_by_its_part() {
        for (text, told) in [
            ("debug", "\"debug\" has no level"),
            ("=debug", "\"\" is no part of the program"),
            ("a b=debug", "\"a b\" is no part of the program"),
            ("a[x]=info", "\"a[x]\" is no part of the program"),
            ("network=loud", "\"loud\" is no level"),
        ] {
            assert_eq!(read(text), Err(told.to_owned()), "{text}");
        }
        let longest = format!("{}=info", "a".repeat(35));
        assert!(read(&longest).is_ok() && read(&format!("{longest}x")).is_err());
    }

    #[test]
    fn a_misspelt_level_is_guessed() {
        let remark = log_filter(&Raw::text("network=debg"), 40).unwrap_err();
        assert_eq!(remark.hint.as_deref(), Some("did you mean debug?"));
    }
}
