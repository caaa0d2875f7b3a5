//! From the bytes of a file to text that is safe to parse.

use btcfed_core::config::ConfigProblem;
use zeroize::Zeroizing;

use crate::problems::Site;

/// Largest `conf.yaml` that is read: thousands of bootstrap peers take a tenth of it.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;

/// Most opening brackets outside of remarks. The time libyaml takes grows with the square of their nesting.
const MAX_BRACKETS: usize = 1000;

/// The text that `bytes` hold, or why they are not read. `origin` names the file.
pub(crate) fn decode(bytes: &[u8], origin: &str) -> Result<Zeroizing<String>, ConfigProblem> {
    let bytes = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
    let refuse = |at: Option<usize>, reason: &str, hint: &str| {
        let line = at.map(|at| 1 + bytes[..at].iter().filter(|&&byte| byte == b'\n').count());
        Err(Site::line(origin, line).problem(reason, Some(hint.to_owned())))
    };
    if bytes.len() > MAX_CONFIG_BYTES {
        return refuse(
            None,
            "larger than 1 MiB",
            "this does not look like a configuration",
        );
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return refuse(Some(0), "written in UTF-16", "save it as UTF-8");
    }
    if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
        return refuse(
            Some(at),
            "holds a NUL byte",
            "the file is damaged, or not text; restore it or remove that line",
        );
    }
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            return refuse(
                Some(error.valid_up_to()),
                "not valid UTF-8",
                "save it as UTF-8",
            );
        }
    };
    let brackets = |line: &str| {
        line.bytes()
            .filter(|byte| matches!(byte, b'[' | b'{'))
            .count()
    };
    // Every line end that libyaml knows, so that nothing hides behind a remark.
    let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']);
    let all: usize = lines
        .filter(|line| !line.trim_start().starts_with('#'))
        .map(brackets)
        .sum();
    if all > MAX_BRACKETS {
        return refuse(
            None,
            "more than 1000 opening brackets",
            "write lists with a dash before each element",
        );
    }
    // The line ends of old Macintosh programs would leave every message without its line.
    let has_other_ends = text.contains('\r') && !text.contains('\n');
    Ok(Zeroizing::new(if has_other_ends {
        text.replace('\r', "\n")
    } else {
        text.to_owned()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> String {
        decode(bytes, "conf.yaml").unwrap_err().to_string()
    }

    #[test]
    fn ordinary_text_passes_and_a_byte_order_mark_is_dropped() {
        assert_eq!(decode(b"a: 1\r\n", "c").unwrap().as_str(), "a: 1\r\n");
        assert_eq!(
            decode(b"\xef\xbb\xbfa: 1\n", "c").unwrap().as_str(),
            "a: 1\n"
        );
        assert_eq!(decode(b"", "c").unwrap().as_str(), "");
        assert_eq!(
            decode(b"a: 1\rb: 2\r", "c").unwrap().as_str(),
            "a: 1\nb: 2\n"
        );
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_line() {
        for (bytes, expected) in [
            (&b"a: 1\nb: \0\n"[..], "conf.yaml:2: holds a NUL byte"),
            (b"a: 1\n\nb: \xff\n", "conf.yaml:3: not valid UTF-8"),
            (b"\xff\xfea\0", "conf.yaml:1: written in UTF-16"),
            (b"\xfe\xff\0a", "conf.yaml:1: written in UTF-16"),
        ] {
            assert!(told(bytes).starts_with(expected), "{}", told(bytes));
        }
    }

    #[test]
    fn size_and_brackets_have_a_limit_and_not_less() {
        assert!(decode(&vec![b'#'; MAX_CONFIG_BYTES], "c").is_ok());
        assert!(told(&vec![b'#'; MAX_CONFIG_BYTES + 1]).contains("1 MiB"));
        assert!(decode("[".repeat(MAX_BRACKETS).as_bytes(), "c").is_ok());
        assert!(told("[".repeat(MAX_BRACKETS + 1).as_bytes()).contains("brackets"));
        assert!(decode(format!("  # {}", "[".repeat(5000)).as_bytes(), "c").is_ok());
        assert!(decode(format!("  #\r{}", "[".repeat(5000)).as_bytes(), "c").is_err());
    }
}
