//! How long the entries of a run are, a few at a time: enough to copy what did not change, at half a byte for each.

/// Most entries that are measured together. When one of them changes, all of them are spelled again.
const FEW: u32 = 16;

/// Entries that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Few {
    entries: u32,
    bytes: u32,
}

impl Few {
    /// How many entries.
    pub(crate) fn entries(self) -> usize {
        usize::try_from(self.entries).unwrap_or(usize::MAX)
    }

    /// How many bytes they have together.
    pub(crate) fn bytes(self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }
}

/// The lengths of entries, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lengths(Vec<Few>);

impl Lengths {
    /// Adds an entry of so many bytes. The largest file has fewer than four thousand million of them.
    pub(crate) fn push(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        match self.0.last_mut().filter(|last| last.entries < FEW) {
            Some(last) => {
                last.entries += 1;
                last.bytes = last.bytes.saturating_add(bytes);
            }
            None => self.0.push(Few { entries: 1, bytes }),
        }
    }

    /// Adds entries that were measured together. Where many were taken out, what is left of neighbours becomes one.
    pub(crate) fn push_few(&mut self, few: Few) {
        let fits = |last: &&mut Few| last.entries + few.entries <= FEW;
        match self.0.last_mut().filter(fits) {
            Some(last) => {
                last.entries += few.entries;
                last.bytes = last.bytes.saturating_add(few.bytes);
            }
            None => self.0.push(few),
        }
    }

    /// The entries, a few at a time.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Few> {
        self.0.iter().copied()
    }

    /// How many bytes all of them have.
    pub(crate) fn bytes(&self) -> usize {
        self.iter().map(Few::bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_kept_a_few_at_a_time_and_none_is_lost() {
        for count in [0, 1, 15, 16, 17, 33, 1000] {
            let mut lengths = Lengths::default();
            (1..=count).for_each(|bytes| lengths.push(bytes));
            assert_eq!(lengths.bytes(), count * (count + 1) / 2);
            assert_eq!(lengths.iter().map(Few::entries).sum::<usize>(), count);
            assert_eq!(lengths.0.len(), count.div_ceil(16));
        }
    }

    #[test]
    fn what_is_left_of_neighbours_becomes_one_as_far_as_it_fits() {
        let mut lengths = Lengths::default();
        let few = |entries| Few { entries, bytes: 10 };
        for (entries, expected) in [(16, 1), (1, 2), (15, 2), (1, 3), (16, 4)] {
            lengths.push_few(few(entries));
            assert_eq!(lengths.0.len(), expected, "{entries}");
        }
        assert_eq!(lengths.bytes(), 50);
    }
}
