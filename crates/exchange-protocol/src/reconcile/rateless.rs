//! Rateless set reconciliation: two sides find out what one has and the other lacks, at a price per difference.
//!
//! A side codes its set as an endless row of cells. Every element is in cell 0 and in cell `i` with probability
//! `2 / (i + 2)`; a cell holds the XOR of its ids, the XOR of their checks, and how many there are. Subtracting the other
//! side's row leaves the cells of the difference alone. A cell with one element shows it; taken out of its other cells
//! it uncovers the next ones. About 1.4 cells per difference are enough, however large the sets are (Yang, Gilad and
//! Alizadeh, "Practical Rateless Set Reconciliation", SIGCOMM 2024).
//!
//! Ids are keyed hashes of 64 bits, so that nobody can choose elements that stall the decoding. Only integers are used:
//! the row is the same on every platform.

use std::collections::{BTreeSet, VecDeque};

use btcfed_core::rng::SeededRng;

use crate::limits::{FIRST_CELLS, MAX_CELLS, SPARE_CELLS};
use crate::message::Cell;

/// Where an element goes: cell 0, and from there on ever farther apart.
struct Places {
    rng: SeededRng,
    place: u64,
}

impl Places {
    /// The check of an element, and its places.
    fn of(id: u64) -> (u32, Self) {
        let mut rng = SeededRng::from_seed(id);
        let check = low(rng.next_u64());
        (check, Self { rng, place: 0 })
    }

    /// The next place: after place `i` comes `j` or a later one with probability `(i+1)(i+2) / (j(j+1))`.
    fn advance(&mut self) {
        let draw = u64::from(low(self.rng.next_u64())) + 1;
        let (one, two) = (self.place + 1, self.place + 2);
        let bound = (one * two).saturating_mul(1 << 32) / draw;
        let root = bound.isqrt();
        // The smallest m with m(m+1) > bound; the place is m - 1.
        self.place = if root * (root + 1) > bound {
            root - 1
        } else {
            root
        };
    }

    /// The places below `end`.
    fn below(mut self, end: usize) -> impl Iterator<Item = usize> {
        std::iter::from_fn(move || {
            let place = usize::try_from(self.place)
                .ok()
                .filter(|place| *place < end)?;
            self.advance();
            Some(place)
        })
    }
}

fn low(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

impl Cell {
    fn add(&mut self, id: u64, check: u32, times: i64) {
        self.id ^= id;
        self.check ^= check;
        self.count = self.count.wrapping_add(times);
    }
}

/// Adds an id to the first cells of a row so many times, or takes it out.
pub(crate) fn toggle(cells: &mut [Cell], id: u64, times: i64) {
    toggle_from(cells, 0, id, times);
}

/// The same for cells of which the first one has this number.
pub(crate) fn toggle_from(cells: &mut [Cell], first: usize, id: u64, times: i64) {
    let (check, places) = Places::of(id);
    for place in places.below(first.saturating_add(cells.len())) {
        if let Some(cell) = place.checked_sub(first).and_then(|at| cells.get_mut(at)) {
            cell.add(id, check, times);
        }
    }
}

/// How many elements of a set of `size` are to be expected in a cell: counts are told as differences from it.
pub(crate) fn expected(size: u32, place: usize) -> i64 {
    let place = u64::try_from(place).unwrap_or(u64::MAX);
    let share = 2 * u64::from(size) / place.saturating_add(2);
    i64::try_from(share).unwrap_or(i64::MAX)
}

/// How many cells to begin with, when the sizes of the sets are known.
pub(crate) fn first_block(one: u32, other: u32) -> usize {
    let least = usize::try_from(one.abs_diff(other)).unwrap_or(usize::MAX);
    least
        .saturating_add(least / 2)
        .saturating_add(SPARE_CELLS)
        .clamp(FIRST_CELLS, MAX_CELLS)
}

/// What one side has and the other lacks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// Ids only the other side has.
    pub(crate) theirs: BTreeSet<u64>,
    /// Ids only this side has.
    pub(crate) ours: BTreeSet<u64>,
}

/// The cells of the difference, as far as they are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Difference {
    cells: Vec<Cell>,
}

impl Difference {
    /// How many cells are known.
    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    /// Takes in the next cells of the other side, with whole counts, beside the own ones.
    pub(crate) fn extend(&mut self, theirs: &[Cell], ours: &[Cell]) {
        for (their, our) in theirs.iter().zip(ours) {
            let mut cell = *their;
            cell.add(our.id, our.check, our.count.wrapping_neg());
            self.cells.push(cell);
        }
    }

    /// The difference, or `None` when more cells are needed. Whatever the cells, the work is bounded by their number.
    pub(crate) fn decode(&self) -> Option<Decoded> {
        let mut cells = self.cells.clone();
        let mut decoded = Decoded::default();
        let mut ready: VecDeque<usize> = (0..cells.len()).collect();
        let mut left = cells.len();
        while let Some(place) = ready.pop_front() {
            let Some(cell) = cells.get(place).filter(|cell| is_single(cell)).copied() else {
                continue;
            };
            left = left.checked_sub(1)?;
            if cell.count > 0 {
                decoded.theirs.insert(cell.id);
            } else {
                decoded.ours.insert(cell.id);
            }
            let (check, places) = Places::of(cell.id);
            for place in places.below(cells.len()) {
                if let Some(other) = cells.get_mut(place) {
                    other.add(cell.id, check, cell.count.wrapping_neg());
                    if is_single(other) {
                        ready.push_back(place);
                    }
                }
            }
        }
        cells
            .iter()
            .all(|cell| *cell == Cell::default())
            .then_some(decoded)
    }

    /// How many cells there should be after the next block; `None` when so many differences are not worth decoding.
    ///
    /// Of `d` differences `d p (1 - p)` is the variance of the count of a cell whose share is `p`: the counts of the cells
    /// tell `d` within a quarter of it after 32 cells, within a tenth after 200.
    pub(crate) fn next_size(&self) -> Option<usize> {
        let balance = self.cells.first().map_or(0, |cell| i128::from(cell.count));
        let (mut sum, mut many) = (0_i128, 0_i128);
        for (cell, place) in self.cells.iter().zip(0_i128..).skip(1) {
            let off = (place + 2)
                .saturating_mul(cell.count.into())
                .saturating_sub(balance.saturating_mul(2));
            sum = sum.saturating_add(off.saturating_mul(off) / (2 * place));
            many += 1;
        }
        let guess = (sum / many.max(1)).max(balance.saturating_abs());
        let guess = usize::try_from(guess).unwrap_or(usize::MAX);
        let known = self.cells.len();
        // 1.4 cells per difference are needed; more are asked for while the guess is rough.
        let tenths = if known < 4 * FIRST_CELLS { 18 } else { 16 };
        let next = guess
            .saturating_mul(tenths)
            .div_euclid(10)
            .max(known.saturating_add(known / 2));
        if known >= MAX_CELLS || guess > MAX_CELLS {
            return None;
        }
        Some(next.min(MAX_CELLS))
    }
}

/// True when a cell shows exactly one element.
fn is_single(cell: &Cell) -> bool {
    matches!(cell.count, 1 | -1) && Places::of(cell.id).0 == cell.check
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(seed: u64, count: usize) -> Vec<u64> {
        let mut rng = SeededRng::from_seed(seed);
        (0..count).map(|_| rng.next_u64()).collect()
    }

    /// Cells `first..first + count` of a set of ids.
    fn encode(ids: &[u64], first: usize, count: usize) -> Vec<Cell> {
        let end = first.saturating_add(count).min(MAX_CELLS);
        let mut cells = vec![Cell::default(); end.saturating_sub(first)];
        ids.iter()
            .for_each(|id| toggle_from(&mut cells, first, *id, 1));
        cells
    }

    /// Reconciles as two engines would; cells and trips used.
    fn reconcile(common: usize, theirs: usize, ours: usize, seed: u64) -> (usize, usize) {
        let all = ids(seed, common + theirs + ours);
        let (common_ids, rest) = all.split_at(common);
        let (their_ids, our_ids) = rest.split_at(theirs);
        let them = [common_ids, their_ids].concat();
        let us = [common_ids, our_ids].concat();
        let size = |ids: &[u64]| u32::try_from(ids.len()).unwrap();
        let mut difference = Difference::default();
        let mut next = first_block(size(&them), size(&us));
        for trips in 1.. {
            let known = difference.len();
            let ours = encode(&us, known, next - known);
            difference.extend(&encode(&them, known, next - known), &ours);
            if let Some(decoded) = difference.decode() {
                assert_eq!(decoded.theirs, their_ids.iter().copied().collect());
                assert_eq!(decoded.ours, our_ids.iter().copied().collect());
                return (difference.len(), trips);
            }
            next = difference.next_size().expect("within the cap");
        }
        unreachable!()
    }

    #[test]
    fn every_difference_is_found_within_two_cells_each_and_few_trips() {
        for (common, seeds) in [(0, 20_u64), (1000, 20), (10_000, 3)] {
            for each in [0_usize, 1, 5, 16, 50, 200, 500] {
                let mut sum = 0;
                for seed in 0..seeds {
                    for (theirs, ours) in [(each, each), (2 * each, 0), (0, 2 * each)] {
                        let (cells, trips) = reconcile(common, theirs, ours, seed);
                        let what = format!("{common} + {theirs}/{ours}, seed {seed}");
                        assert!(
                            cells <= FIRST_CELLS + SPARE_CELLS + 8 * each,
                            "{what}: {cells} cells"
                        );
                        assert!(trips <= 4, "{what}: {trips} trips");
                        sum += cells;
                    }
                }
                let mean = sum / (3 * usize::try_from(seeds).unwrap());
                assert!(
                    mean <= FIRST_CELLS + 4 * each,
                    "{common} + {each}: {mean} cells"
                );
            }
        }
    }

    #[test]
    fn cells_are_the_same_whether_asked_for_at_once_or_in_parts() {
        let ids = ids(1, 300);
        let whole = encode(&ids, 0, 200);
        let parts = [encode(&ids, 0, 50), encode(&ids, 50, 150)].concat();
        assert_eq!(whole, parts);
        assert_eq!(whole[0].count, 300);
        for (place, cell) in whole.iter().enumerate() {
            let off = cell.count - expected(300, place);
            assert!(off.abs() < 45, "cell {place}: {off}");
        }
    }

    #[test]
    fn no_more_cells_than_the_cap_are_made_or_asked_for() {
        assert_eq!(encode(&ids(1, 3), 0, MAX_CELLS + 1).len(), MAX_CELLS);
        assert_eq!(encode(&ids(1, 3), MAX_CELLS, 1).len(), 0);
        assert_eq!(first_block(0, u32::MAX), MAX_CELLS);
        let mut difference = Difference::default();
        let none = [Cell::default(); MAX_CELLS];
        difference.extend(&encode(&ids(2, 9000), 0, FIRST_CELLS), &none);
        assert_eq!(difference.next_size(), None, "not worth it");
        difference.extend(&encode(&ids(2, 9000), FIRST_CELLS, MAX_CELLS), &none);
        assert_eq!(
            (difference.len(), difference.next_size()),
            (MAX_CELLS, None)
        );
    }

    #[test]
    fn whatever_the_cells_decoding_ends() {
        let mut rng = SeededRng::from_seed(3);
        for round in 0..200_u64 {
            let cells: Vec<Cell> = (0..300)
                .map(|_| {
                    let id = rng.next_u64();
                    // Half of them look like single elements, put where they do not belong.
                    let check = if rng.chance(0.5) { Places::of(id).0 } else { 7 };
                    let count = [1, -1, i64::MAX, i64::MIN, 0][rng.index(5)];
                    Cell { id, check, count }
                })
                .collect();
            let mut difference = Difference::default();
            difference.extend(&cells, &encode(&ids(round, 10), 0, cells.len()));
            assert_eq!(difference.decode(), None);
            let next = difference.next_size();
            assert!(next.is_none_or(|next| next > 300 && next <= MAX_CELLS));
        }
    }
}
