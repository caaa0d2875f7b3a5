//! Repeating what somebody wrote, without repeating a secret and without disturbing a terminal.

use btcfed_core::SecretKey;
use zeroize::Zeroizing;

/// How much of a text is repeated, in characters.
const MAX_QUOTED: usize = 64;

/// `text` in double quotes: control characters escaped, cut, and a private key replaced by a remark.
pub(crate) fn quote(text: &str) -> String {
    if looks_secret(text) {
        return "(a private key, not shown)".to_owned();
    }
    format!("\"{}\"", plain(text))
}

/// The same without quotes, for the names of keys.
pub(crate) fn plain(text: &str) -> String {
    if looks_secret(text) {
        return "(not shown)".to_owned();
    }
    let mut escaped = text.chars().flat_map(|c| {
        let escape = c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if escape { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] }
    });
    let mut shown: String = escaped.by_ref().take(MAX_QUOTED).collect();
    if escaped.next().is_some() {
        shown.push_str("...");
    }
    shown
}

/// True when `text` holds something that may be a private key, or most of one: a key pasted into the wrong place.
pub(crate) fn looks_secret(text: &str) -> bool {
    let hex = text.bytes().filter(u8::is_ascii_hexdigit).count();
    if text.contains("CAESQ") || (hex >= 60 && hex * 10 >= text.len() * 9) {
        return true;
    }
    let in_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let squeezed: Zeroizing<String> = Zeroizing::new(text.split_whitespace().collect());
    squeezed
        .split(|c| !in_base64(c))
        .any(|part| part.trim_start_matches('/').parse::<SecretKey>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_is_repeated_and_long_text_is_cut() {
        assert_eq!(quote("30"), "\"30\"");
        assert_eq!(quote("größe"), "\"größe\"");
        assert_eq!(
            quote(&"x".repeat(500)),
            format!("\"{}...\"", "x".repeat(64))
        );
    }

    #[test]
    fn control_and_direction_characters_are_escaped() {
        assert_eq!(
            quote("a\u{1b}[2Jb\n\u{202e}"),
            "\"a\\u{1b}[2Jb\\u{a}\\u{202e}\""
        );
    }

    #[test]
    fn anything_that_may_be_a_private_key_is_not_repeated() {
        let key = SecretKey::from_seed([7; 32]).to_base64();
        let seed = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
        for text in [
            key.as_str(),
            seed,
            &key[..40],
            &format!(" {} ", *key),
            &"07".repeat(32),
            &format!("x{}", &*key),
        ] {
            assert!(!quote(text).contains(&text[3..10]), "{text}");
            assert!(!plain(text).contains(&text[3..10]), "{text}");
        }
        assert!(!looks_secret(
            "12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7"
        ));
    }
}
