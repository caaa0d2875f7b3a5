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
pub(crate) fn check(bytes: &[u8]) -> Checksum {
    let mut start = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        start += line.len();
        if let Some(written) = claim(line) {
            let rest = bytes.get(start..).unwrap_or_default();
            let matches = written.eq_ignore_ascii_case(&checksum_of([rest]));
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
pub(crate) fn claim(line: &[u8]) -> Option<&str> {
    let value = line
        .strip_prefix(Head::Checksum.as_str().as_bytes())?
        .strip_prefix(b":")?;
    let value = str::from_utf8(value).unwrap_or_default();
    let written = value.split_whitespace().next().unwrap_or_default();
    Some(written.trim_matches(['"', '\'']))
}

/// The checksum of the bytes after the checksum line, as it is written.
pub(crate) fn checksum_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut crc = crc32fast::Hasher::new();
    parts.into_iter().for_each(|part| crc.update(part));
    format!("crc32:{:08x}", crc.finalize())
}
