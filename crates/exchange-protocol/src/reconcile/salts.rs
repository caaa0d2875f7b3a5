//! The salts of this node: for its questions, and for the cells it tells. Drawn anew from time to time.

use btcfed_core::rng::SeededRng;
use btcfed_core::time::MonotonicTime;

use crate::limits::SALT_LIFETIME;

/// Salts that are kept for a while, so that neighbours can keep ready what they compute with them.
#[derive(Debug, Default)]
pub(crate) struct Salts {
    questions: u32,
    cells: u64,
    until: Option<MonotonicTime>,
}

impl Salts {
    /// These salts, for a whole lifetime.
    pub(crate) fn fixed(now: MonotonicTime, questions: u32, cells: u64) -> Self {
        Self {
            questions,
            cells,
            until: Some(now.saturating_add(SALT_LIFETIME)),
        }
    }

    /// The salt of summaries this node asks with.
    pub(crate) fn of_questions(&mut self, now: MonotonicTime, rng: &mut SeededRng) -> u32 {
        self.renew(now, rng);
        self.questions
    }

    /// The salt of cells this node tells.
    pub(crate) fn of_cells(&mut self, now: MonotonicTime, rng: &mut SeededRng) -> u64 {
        self.renew(now, rng);
        self.cells
    }

    fn renew(&mut self, now: MonotonicTime, rng: &mut SeededRng) {
        if self.until.is_none_or(|until| until <= now) {
            let [a, b, c, d, ..] = rng.next_u64().to_le_bytes();
            *self = Self::fixed(now, u32::from_le_bytes([a, b, c, d]), rng.next_u64());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn salts_stay_for_their_lifetime_and_not_longer() {
        let (mut rng, mut salts) = (SeededRng::from_seed(1), Salts::default());
        let at = |span: Duration| MonotonicTime::ZERO.saturating_add(span);
        let first = salts.of_questions(at(Duration::ZERO), &mut rng);
        let cells = salts.of_cells(at(Duration::ZERO), &mut rng);
        let last = at(SALT_LIFETIME - Duration::from_nanos(1));
        assert_eq!(salts.of_questions(last, &mut rng), first);
        assert_eq!(salts.of_cells(last, &mut rng), cells);
        assert_ne!(salts.of_cells(at(SALT_LIFETIME), &mut rng), cells);
        assert_ne!(salts.of_questions(at(SALT_LIFETIME), &mut rng), first);
    }
}
