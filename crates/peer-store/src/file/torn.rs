//! A file that is the last save up to some line: its end was cut off there, and nobody deleted what is missing.

use crate::file::recovery::is_edit_of;
use crate::text::checksum::Checksum;
use crate::text::document::{Document, is_sections};
use crate::text::piece::{Damage, Piece};

/// Notes as damage that the end of `file` is missing, when its bytes are the beginning of the save `known`, and more is
/// missing than the last entries of its last list: those somebody may have deleted, while the line that begins another list
/// goes by accident. Entries of sections are soft, so theirs are kept. `whole` gives the bytes of that save.
pub(super) fn note_cut(
    file: &mut Document,
    bytes: &[u8],
    known: &Document,
    whole: impl FnOnce() -> Vec<u8>,
) {
    let may_be =
        file.checksum == Checksum::Differs && file.damage.is_empty() && is_edit_of(file, known);
    if !may_be {
        return;
    }
    let whole = whole();
    let Some(missing) = whole.strip_prefix(bytes) else {
        return;
    };
    let is_whole_line = bytes.ends_with(b"\n") || missing.starts_with(b"\n");
    let begins_list = |line: &[u8]| {
        line.first()
            .is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'"')
    };
    let has_list = missing.split(|byte| *byte == b'\n').any(begins_list);
    let is_something = !missing.trim_ascii().is_empty();
    if is_something && (!is_whole_line || has_list || known.ends_in_sections()) {
        let line = bytes.iter().filter(|byte| **byte == b'\n').count().max(1);
        let what = "the end of the file is missing".to_owned();
        file.damage.push(Damage { line, what });
        complete_sections(file, known);
    }
}

/// A table that was cut off in its first lines would pass for that of another program, and stay as it is.
fn complete_sections(file: &mut Document, known: &Document) {
    let (cut, whole) = (file.sections(), known.sections());
    if cut.is_empty() || !whole.starts_with(cut) {
        return;
    }
    let is_the = |piece: &&mut Piece| matches!(piece, Piece::Text(text) if is_sections(text));
    if let Some(Piece::Text(text)) = file.pieces.last_mut().filter(is_the) {
        *text = whole.into();
    }
}
