//! The bytes of a document that is being made, piece by piece, and its checksum at the end.

use std::ops::Range;

use btcfed_core::set::PeerView;

use crate::text::canonical::count_lines;
use crate::text::checksum::checksum_of;
use crate::text::content::{Content, Stretch};
use crate::text::document::Document;
use crate::text::piece::Piece;
use crate::text::spell::{self, Style};
use crate::text::split::Head;

/// The words in place of a checksum until it is known; as long as one.
pub(crate) const NO_CHECKSUM: &str = "crc32:00000000";

/// Where the bytes of a piece come from.
#[derive(Debug)]
struct Source {
    /// The place of the piece in the document.
    piece: usize,
    /// `None` for the text that the piece has.
    stretch: Option<Stretch>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Sheet<'a> {
    content: Content<'a>,
    sources: Vec<Source>,
}

impl<'a> Sheet<'a> {
    /// An empty one. Stretches can be copied out of `old`.
    pub(crate) fn beside(old: &'a [u8]) -> Self {
        Self {
            content: Content::beside(old),
            sources: Vec::new(),
        }
    }

    /// The text of a piece comes next, whatever it will be at the end.
    pub(crate) fn spell_later(&mut self, piece: usize) {
        self.sources.push(Source {
            piece,
            stretch: None,
        });
    }

    /// The last piece is not as it was copied.
    pub(crate) fn spell_instead(&mut self, piece: usize) {
        if let Some(last) = self.sources.last_mut().filter(|last| last.piece == piece) {
            last.stretch = None;
        }
    }

    /// A piece of the file before comes next.
    pub(crate) fn copy(&mut self, piece: usize, place: Range<usize>) {
        self.add(piece, Stretch::Old(place));
    }

    /// A stretch of a piece comes next.
    pub(crate) fn add(&mut self, piece: usize, stretch: Stretch) {
        let stretch = Some(stretch);
        self.sources.push(Source { piece, stretch });
    }

    /// Spells an entry; [`add`](Self::add) says where it belongs.
    pub(crate) fn spell(&mut self, peer: PeerView<'_>, style: Style) -> Range<usize> {
        let start = self.content.spelled();
        spell::push_entry(self.content.ink(), &peer.to_record(), &[], style);
        start..self.content.spelled()
    }

    /// Numbers the entries, and fills in the checksum of the bytes after its line. Returns all bytes.
    pub(crate) fn seal(self, document: &mut Document) -> Content<'a> {
        let Self {
            mut content,
            sources,
        } = self;
        // The lines of entries are told to people where an entry is bad; else nobody needs to count them.
        let counts = document.bad().next().is_some();
        let (mut line, mut numbered, mut sum_at) = (1, None, None);
        content.push(document.mark().as_bytes());
        for Source { piece, stretch } in sources {
            let Some(piece_there) = document.pieces.get_mut(piece) else {
                continue;
            };
            if numbered.replace(piece) != Some(piece) {
                piece_there.set_line(line);
            }
            let stretch = stretch.unwrap_or_else(|| {
                let start = content.spelled();
                piece_there.write(content.ink());
                Stretch::New(start..content.spelled())
            });
            if counts {
                line += count_lines(content.bytes(&stretch));
            }
            let is_sum = matches!(piece_there, Piece::Head(Head::Checksum, _));
            match &stretch {
                Stretch::New(place) if is_sum && sum_at.is_none() => {
                    sum_at = Some((piece, place.clone()));
                }
                Stretch::New(_) | Stretch::Old(_) => {}
            }
            content.add(stretch);
        }
        if let Some((piece, place)) = sum_at
            && let Some(Piece::Head(_, text)) = document.pieces.get_mut(piece)
        {
            let sum = checksum_of(content.after(place.end));
            debug_assert_eq!(sum.len(), NO_CHECKSUM.len());
            *text = text.replacen(NO_CHECKSUM, &sum, 1).into();
            let line = content.ink_at(place);
            if let Some(line) = line.filter(|line| line.len() == text.len()) {
                line.copy_from_slice(text.as_bytes());
            }
        }
        content
    }
}
