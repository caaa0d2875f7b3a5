//! What is written into a file: stretches of the file before, copied, and what was spelled anew between them.

use std::ops::Range;

/// A stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stretch {
    /// Of the file before.
    Old(Range<usize>),
    /// Of what was spelled anew.
    New(Range<usize>),
}

/// The bytes of a file, in order. No stretch of the file before is copied before it is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content<'a> {
    old: &'a [u8],
    new: Vec<u8>,
    stretches: Vec<Stretch>,
}

impl<'a> Content<'a> {
    /// Nothing yet. Stretches can be copied out of `old`.
    pub(crate) fn beside(old: &'a [u8]) -> Self {
        Self {
            old,
            ..Self::default()
        }
    }

    /// Where text is spelled that belongs into the file; [`add`](Self::add) says where.
    pub(crate) fn ink(&mut self) -> &mut Vec<u8> {
        &mut self.new
    }

    /// How much was spelled so far.
    pub(crate) fn spelled(&self) -> usize {
        self.new.len()
    }

    /// What was spelled at a place.
    pub(crate) fn ink_at(&mut self, place: Range<usize>) -> Option<&mut [u8]> {
        self.new.get_mut(place)
    }

    /// The stretch comes next. One that continues the last one becomes part of it.
    pub(crate) fn add(&mut self, stretch: Stretch) {
        match (self.stretches.last_mut(), stretch) {
            (Some(Stretch::Old(last)), Stretch::Old(next)) if last.end == next.start => {
                last.end = next.end;
            }
            (Some(Stretch::New(last)), Stretch::New(next)) if last.end == next.start => {
                last.end = next.end;
            }
            (_, stretch) => self.stretches.push(stretch),
        }
    }

    /// The text comes next.
    pub(crate) fn push(&mut self, text: &[u8]) {
        let start = self.new.len();
        self.new.extend_from_slice(text);
        self.add(Stretch::New(start..self.new.len()));
    }

    /// The bytes of a stretch.
    pub(crate) fn bytes(&self, stretch: &Stretch) -> &[u8] {
        let (from, range) = match stretch {
            Stretch::Old(range) => (self.old, range),
            Stretch::New(range) => (self.new.as_slice(), range),
        };
        from.get(range.clone()).unwrap_or_default()
    }

    /// The bytes that come after what was spelled up to a place.
    pub(crate) fn after(&self, place: usize) -> impl Iterator<Item = &[u8]> {
        let is_before = move |stretch: &&Stretch| match stretch {
            Stretch::New(range) => !range.contains(&place.saturating_sub(1)),
            Stretch::Old(_) => true,
        };
        let mut rest = self.stretches.iter().skip_while(is_before);
        let first = rest.next().and_then(|stretch| match stretch {
            Stretch::New(range) => self.new.get(place..range.end),
            Stretch::Old(_) => None,
        });
        first
            .into_iter()
            .chain(rest.map(|stretch| self.bytes(stretch)))
    }

    /// All bytes, in as few pieces as there are.
    pub(crate) fn parts(&self) -> Vec<&[u8]> {
        let stretches = self.stretches.iter();
        stretches.map(|stretch| self.bytes(stretch)).collect()
    }

    /// All bytes in one piece.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        self.parts().concat()
    }

    /// How many bytes come out of the file before.
    #[cfg(test)]
    pub(crate) fn copied(&self) -> usize {
        let old = |stretch: &&Stretch| matches!(stretch, Stretch::Old(_));
        let copied = self.stretches.iter().filter(old);
        copied.map(|stretch| self.bytes(stretch).len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_that_continue_each_other_are_one_and_all_bytes_come_in_order() {
        let mut content = Content::beside(b"0123456789");
        content.add(Stretch::Old(0..2));
        content.add(Stretch::Old(2..4));
        content.push(b"a");
        content.push(b"b");
        content.add(Stretch::Old(6..7));
        content.add(Stretch::Old(8..10));
        assert_eq!(content.parts(), [&b"0123"[..], b"ab", b"6", b"89"]);
        assert_eq!(content.to_vec(), b"0123ab689");
        assert_eq!((content.copied(), content.spelled()), (7, 2));
        for (place, rest) in [(1, &b"b689"[..]), (2, b"689")] {
            let after: Vec<&[u8]> = content.after(place).collect();
            assert_eq!(after.concat(), rest);
        }
    }
}
