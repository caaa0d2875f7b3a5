//! The checksum line: whether the bytes after it are as the store wrote them.

use crate::text::split::Head;

/// What the checksum says about the bytes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// There is none.
    Absent,
    /// They are as the store wrote them.
    Matches,
    /// They were edited or damaged.
    Differs,
}

/// Compares the checksum line, if there is one, with the bytes after it.
pub(crate) fn check(text: &str) -> Checksum {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        start += line.len();
        if let Some(written) = claim(line) {
            let matches = written.eq_ignore_ascii_case(&checksum_of(&text.as_bytes()[start..]));
            return if matches {
                Checksum::Matches
            } else {
                Checksum::Differs
            };
        }
    }
    Checksum::Absent
}

/// What a line says the checksum is, if it is the line of the checksum.
pub(crate) fn claim(line: &str) -> Option<&str> {
    let value = line
        .strip_prefix(Head::Checksum.as_str())?
        .strip_prefix(':')?;
    let written = value.split_whitespace().next().unwrap_or_default();
    Some(written.trim_matches(['"', '\'']))
}

/// The checksum of the bytes after the checksum line, as it is written.
pub(crate) fn checksum_of(bytes: &[u8]) -> String {
    format!("crc32:{:08x}", crc32fast::hash(bytes))
}
