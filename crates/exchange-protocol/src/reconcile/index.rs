//! What is kept ready for comparisons: the roots of summaries and the rows of cells under the salts in use, changed along
//! with the list. A comparison then costs no walk over the list.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use btcfed_core::PeerKey;
use btcfed_core::addr::AddrScope;

use crate::limits;
use crate::message::Cell;
use crate::reconcile::ids::{self, Ids};
use crate::reconcile::shared::Shared;
use crate::reconcile::{digest, rateless};

/// How far records and links reach: a link carries the records that reach at least as far as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// Public addresses and names: every link.
    Public,
    /// Private addresses: links within a private network or a machine.
    Private,
    /// Loopback addresses: links within a machine.
    Loopback,
}

impl Reach {
    /// How many there are.
    pub(crate) const COUNT: usize = 3;

    /// Of a link: it carries records of this reach and of those before.
    pub(crate) const fn of_link(link: AddrScope) -> Self {
        match link {
            AddrScope::Loopback => Self::Loopback,
            AddrScope::LinkLocal | AddrScope::Private => Self::Private,
            AddrScope::Dns | AddrScope::Public | AddrScope::Unspecified => Self::Public,
        }
    }

    pub(crate) const fn place(self) -> usize {
        match self {
            Self::Public => 0,
            Self::Private => 1,
            Self::Loopback => 2,
        }
    }
}

/// A version in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) key: PeerKey,
    pub(crate) seq: u64,
    pub(crate) reach: Reach,
}

/// The sums of summaries under one salt, by reach.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Roots {
    sums: [u64; Reach::COUNT],
}

impl Roots {
    pub(crate) fn add(&mut self, salt: u32, element: &Element) {
        self.shift(element, digest::root_part(salt, &element.key, element.seq));
    }

    pub(crate) fn subtract(&mut self, salt: u32, element: &Element) {
        let part = digest::root_part(salt, &element.key, element.seq);
        self.shift(element, part.wrapping_neg());
    }

    fn shift(&mut self, element: &Element, by: u64) {
        if let Some(sum) = self.sums.get_mut(element.reach.place()) {
            *sum = sum.wrapping_add(by);
        }
    }
}

/// A row of cells under one salt, over links of one reach, and how it changed lately.
#[derive(Debug)]
struct Row {
    salt: u64,
    reach: Reach,
    cells: Vec<Cell>,
    /// Which keys stand behind the ids, since somebody asked.
    ids: Option<Ids>,
    /// The latest changes: an id, and whether it was added.
    log: VecDeque<(u64, bool)>,
    /// How many changes there were.
    version: u64,
    /// Tells it from an earlier row under the same salt.
    serial: u64,
}

impl Row {
    fn change(&mut self, element: &Element, is_added: bool) {
        if element.reach > self.reach {
            return;
        }
        let id = digest::id(self.salt, &element.key, element.seq);
        rateless::toggle(&mut self.cells, id, if is_added { 1 } else { -1 });
        self.log.push_back((id, is_added));
        self.version += 1;
        if is_added
            && self
                .ids
                .as_mut()
                .is_some_and(|ids| !ids.add(id, &element.key))
        {
            self.ids = None;
        }
        if self.log.len() > limits::MAX_ROW_LOG {
            self.log.pop_front();
        }
    }

    /// The changes since a version, latest first; `None` when they are forgotten.
    fn since(&self, version: u64) -> Option<impl Iterator<Item = (u64, bool)>> {
        let many = usize::try_from(self.version.checked_sub(version)?).ok()?;
        (many <= self.log.len()).then(|| self.log.iter().rev().take(many).copied())
    }
}

/// Which row, as it was when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bookmark {
    salt: u64,
    reach: Reach,
    version: u64,
    serial: u64,
}

impl Bookmark {
    pub(crate) const fn salt(&self) -> u64 {
        self.salt
    }
}

/// What is kept ready. Roots and rows that were not used for the longest time make room for others.
#[derive(Debug, Default)]
pub(crate) struct Index {
    counts: [u32; Reach::COUNT],
    /// The one used last is the last.
    roots: VecDeque<(u32, Roots)>,
    rows: VecDeque<Row>,
    /// The number of the latest row.
    serial: u64,
    /// Keys whose versions changed lately, the last one last: where differences are to be found most of the time.
    recent: VecDeque<PeerKey>,
    /// What many nodes of a simulation began with.
    shared: Option<Arc<Shared>>,
    /// What changed since; empty without the former.
    drift: BTreeSet<PeerKey>,
}

impl Index {
    /// The index of a list.
    pub(crate) fn of(elements: impl Iterator<Item = Element>) -> Self {
        let mut index = Self::default();
        elements.for_each(|element| index.add_count(&element, 1));
        index
    }

    /// The index of a list that others begin with too.
    pub(crate) fn sharing(shared: Arc<Shared>) -> Self {
        Self {
            counts: shared.counts(),
            shared: Some(shared),
            ..Self::default()
        }
    }

    fn add_count(&mut self, element: &Element, by: i32) {
        if let Some(count) = self.counts.get_mut(element.reach.place()) {
            *count = count.saturating_add_signed(by);
        }
    }

    /// Takes over that a key's listed version changed.
    pub(crate) fn change(&mut self, old: Option<Element>, new: Option<Element>) {
        if old == new {
            return;
        }
        for (element, is_added) in [(old, false), (new, true)] {
            let Some(element) = element else { continue };
            self.add_count(&element, if is_added { 1 } else { -1 });
            for (salt, roots) in &mut self.roots {
                if is_added {
                    roots.add(*salt, &element);
                } else {
                    roots.subtract(*salt, &element);
                }
            }
            for row in &mut self.rows {
                row.change(&element, is_added);
            }
        }
        let Some(key) = new.or(old).map(|element| element.key) else {
            return;
        };
        if self.shared.is_some() {
            self.drift.insert(key);
        }
        if self.recent.back() != Some(&key) {
            self.recent.push_back(key);
        }
        if self.recent.len() > limits::MAX_RECENT_CHANGES {
            self.recent.pop_front();
        }
    }

    /// How many records a link of this reach may carry.
    pub(crate) fn count(&self, reach: Reach) -> u32 {
        let counts = self.counts.iter().take(reach.place() + 1);
        counts.fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The keys whose versions changed lately, the last one first.
    pub(crate) fn recent(&self) -> impl Iterator<Item = &PeerKey> {
        self.recent.iter().rev()
    }

    /// The sum of a summary. `list` is walked when the salt is new.
    pub(crate) fn root(&mut self, salt: u32, reach: Reach, list: &Source<'_>) -> u64 {
        let known = self.roots.iter().position(|(known, _)| *known == salt);
        let entry = known.and_then(|at| self.roots.remove(at));
        let (_, roots) = entry.unwrap_or_else(|| (salt, self.new_roots(salt, list)));
        if self.roots.len() >= limits::MAX_ROOTS {
            self.roots.pop_front();
        }
        self.roots.push_back((salt, roots));
        let sums = roots.sums.iter().take(reach.place() + 1);
        sums.fold(0, |sum, part| sum.wrapping_add(*part))
    }

    fn new_roots(&self, salt: u32, list: &Source<'_>) -> Roots {
        let mut roots = Roots::default();
        if let Some(shared) = &self.shared {
            roots = shared.roots(salt);
            for key in &self.drift {
                if let Some(old) = shared.element(key) {
                    roots.subtract(salt, &old);
                }
                if let Some(new) = list.element(key) {
                    roots.add(salt, &new);
                }
            }
        } else {
            list.each(&mut |element| roots.add(salt, element));
        }
        roots
    }

    /// Remembers how the row under this salt is now; it is made when there is none.
    pub(crate) fn bookmark(&mut self, salt: u64, reach: Reach, list: &Source<'_>) -> Bookmark {
        let row = self.take_row(salt, reach, 0, list);
        let (version, serial) = (row.version, row.serial);
        self.rows.push_back(row);
        Bookmark {
            salt,
            reach,
            version,
            serial,
        }
    }

    /// Cells `first..first + count` of a row as it was then; as it is now when that is too long ago.
    pub(crate) fn cells(
        &mut self,
        mark: Bookmark,
        first: usize,
        count: usize,
        list: &Source<'_>,
    ) -> Vec<Cell> {
        let end = first.saturating_add(count).min(limits::MAX_CELLS);
        let row = self.take_row(mark.salt, mark.reach, end, list);
        let mut cells = row.cells.get(first..end).unwrap_or_default().to_vec();
        let is_same = row.serial == mark.serial;
        let changes = is_same.then(|| row.since(mark.version)).flatten();
        for (id, was_added) in changes.into_iter().flatten() {
            rateless::toggle_from(&mut cells, first, id, if was_added { -1 } else { 1 });
        }
        self.rows.push_back(row);
        cells
    }

    /// A row of at least `len` cells, taken out.
    fn take_row(&mut self, salt: u64, reach: Reach, len: usize, list: &Source<'_>) -> Row {
        let is_it = |row: &Row| (row.salt, row.reach) == (salt, reach);
        let known = self.rows.iter().position(is_it);
        if known.is_none() && self.rows.len() >= limits::MAX_ROWS {
            self.rows.pop_front();
        }
        let row = known.and_then(|at| self.rows.remove(at));
        self.serial += 1;
        let mut row = row.unwrap_or(Row {
            salt,
            reach,
            cells: Vec::new(),
            ids: None,
            log: VecDeque::new(),
            version: 0,
            serial: self.serial,
        });
        if row.cells.is_empty() || row.cells.len() < len {
            let len = limits::ROW_LENGTHS.into_iter().find(|fits| *fits >= len);
            row.cells = self.new_cells(salt, reach, len.unwrap_or(limits::MAX_CELLS), list);
        }
        row
    }

    /// Which keys stand behind the ids of a row; `None` when there is no such row. `list` is walked when nobody asked
    /// before.
    pub(crate) fn ids(&mut self, salt: u64, reach: Reach, list: &Source<'_>) -> Option<&Ids> {
        let is_it = |row: &Row| (row.salt, row.reach) == (salt, reach);
        let at = self.rows.iter().position(is_it)?;
        if self.rows.get(at).is_some_and(|row| row.ids.is_none()) {
            let made = self.new_ids(salt, reach, list);
            if let Some(row) = self.rows.get_mut(at) {
                row.ids = Some(made);
            }
        }
        self.rows.get(at)?.ids.as_ref()
    }

    fn new_ids(&self, salt: u64, reach: Reach, list: &Source<'_>) -> Ids {
        let version = |element: &Element| {
            let is_in = element.reach <= reach;
            is_in.then(|| (digest::id(salt, &element.key, element.seq), element.key))
        };
        let Some(shared) = &self.shared else {
            let mut versions = Vec::new();
            list.each(&mut |element| versions.extend(version(element)));
            return Ids::new(ids::sorted(versions.into_iter()));
        };
        let mut made = Ids::new(shared.ids(salt, reach));
        let drift = self.drift.iter().filter_map(|key| list.element(key));
        for (id, key) in drift.filter_map(|element| version(&element)) {
            // However many: a simulation is not bounded by what one node may hold.
            made.add(id, &key);
        }
        made
    }

    fn new_cells(&self, salt: u64, reach: Reach, len: usize, list: &Source<'_>) -> Vec<Cell> {
        let mut cells = vec![Cell::default(); len];
        let toggle = |cells: &mut [Cell], element: Option<Element>, times| {
            if let Some(element) = element.filter(|element| element.reach <= reach) {
                rateless::toggle(cells, digest::id(salt, &element.key, element.seq), times);
            }
        };
        if let Some(shared) = &self.shared {
            cells = shared.cells(salt, reach, len);
            for key in &self.drift {
                toggle(&mut cells, shared.element(key), -1);
                toggle(&mut cells, list.element(key), 1);
            }
        } else {
            list.each(&mut |element| toggle(&mut cells, Some(*element), 1));
        }
        cells
    }

    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        (self.roots.len(), self.rows.len(), self.recent.len())
    }
}

/// What is done with every element of the list.
type Visit<'a> = dyn FnMut(&Element) + 'a;

/// The list, for when something has to be made anew.
pub(crate) struct Source<'a> {
    pub(crate) each: &'a dyn Fn(&mut Visit<'_>),
    pub(crate) element: &'a dyn Fn(&PeerKey) -> Option<Element>,
}

impl Source<'_> {
    fn each(&self, visit: &mut Visit<'_>) {
        (self.each)(visit);
    }

    fn element(&self, key: &PeerKey) -> Option<Element> {
        (self.element)(key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use btcfed_core::SecretKey;
    use btcfed_core::rng::SeededRng;

    use super::*;

    /// A list, and the index that is kept beside it.
    #[derive(Default)]
    struct World {
        list: BTreeMap<PeerKey, Element>,
        index: Index,
    }

    fn key(n: u64) -> PeerKey {
        let mut seed = [5; 32];
        seed[..8].copy_from_slice(&n.to_le_bytes());
        SecretKey::from_seed(seed).public()
    }

    impl World {
        fn set(&mut self, key: PeerKey, version: Option<(u64, Reach)>) {
            let old = self.list.get(&key).copied();
            let new = version.map(|(seq, reach)| Element { key, seq, reach });
            match new {
                Some(new) => self.list.insert(key, new),
                None => self.list.remove(&key),
            };
            self.index.change(old, new);
        }

        fn add(&mut self, n: u64) {
            self.set(key(n), Some((1, Reach::Public)));
        }

        fn with<T>(&mut self, job: impl FnOnce(&mut Index, &Source<'_>) -> T) -> T {
            let list = &self.list;
            let source = Source {
                each: &|visit| list.values().for_each(visit),
                element: &|key| list.get(key).copied(),
            };
            job(&mut self.index, &source)
        }

        fn root(&mut self, salt: u32, reach: Reach) -> u64 {
            self.with(|index, source| index.root(salt, reach, source))
        }

        fn bookmark(&mut self, salt: u64) -> Bookmark {
            self.with(|index, source| index.bookmark(salt, Reach::Private, source))
        }

        fn cells(&mut self, mark: Bookmark, first: usize, count: usize) -> Vec<Cell> {
            self.with(|index, source| index.cells(mark, first, count, source))
        }
    }

    /// The same list, with everything computed anew.
    fn anew(world: &World) -> World {
        let list = world.list.clone();
        let index = Index::of(list.values().copied());
        World { list, index }
    }

    #[test]
    fn what_is_kept_is_what_would_be_computed_anew() {
        let mut rng = SeededRng::from_seed(1);
        let mut world = World::default();
        let keys: Vec<PeerKey> = (0..40).map(key).collect();
        let reaches = [Reach::Public, Reach::Private, Reach::Loopback];
        for step in 0..400_u64 {
            let key = keys[rng.index(keys.len())];
            let version = rng.chance(0.7).then(|| (step, reaches[rng.index(3)]));
            world.set(key, version);
            if step % 7 != 0 {
                continue;
            }
            let mut fresh = anew(&world);
            for reach in reaches {
                assert_eq!(world.root(3, reach), fresh.root(3, reach), "{step}");
                assert_eq!(world.index.count(reach), fresh.index.count(reach));
            }
            let (mark, other) = (world.bookmark(9), fresh.bookmark(9));
            let expected = fresh.cells(other, 10, 200);
            assert_eq!(world.cells(mark, 10, 200), expected, "{step}");
        }
    }

    #[test]
    fn a_bookmark_shows_the_row_as_it_was_until_too_much_has_changed() {
        let mut world = World::default();
        (0..50).for_each(|n| world.add(n));
        let mark = world.bookmark(7);
        let before = world.cells(mark, 0, 100);
        for n in 0..limits::MAX_ROW_LOG as u64 {
            world.add(100 + n);
        }
        assert_eq!(world.cells(mark, 0, 100), before);
        assert_eq!(world.cells(mark, 40, 60), before[40..]);
        world.add(9999);
        let mut fresh = anew(&world);
        let now = fresh.bookmark(7);
        let expected = fresh.cells(now, 0, 100);
        assert_eq!(world.cells(mark, 0, 100), expected, "forgotten: as it is");
    }

    #[test]
    fn a_bookmark_of_a_row_that_made_room_is_of_no_use_and_does_no_harm() {
        let mut world = World::default();
        (0..10).for_each(|n| world.add(n));
        let mark = world.bookmark(0);
        for salt in 1..=limits::MAX_ROWS as u64 {
            world.bookmark(salt);
        }
        world.add(10);
        let mut fresh = anew(&world);
        let now = fresh.bookmark(0);
        let expected = fresh.cells(now, 0, 64);
        assert_eq!(world.cells(mark, 0, 64), expected);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_least_used_goes_first() {
        let mut world = World::default();
        for n in 0..=limits::MAX_RECENT_CHANGES as u64 {
            world.add(n);
        }
        for salt in 0..u32::try_from(limits::MAX_ROOTS).unwrap() {
            world.root(salt, Reach::Public);
        }
        for salt in 0..limits::MAX_ROWS as u64 {
            world.bookmark(salt);
        }
        let full = (
            limits::MAX_ROOTS,
            limits::MAX_ROWS,
            limits::MAX_RECENT_CHANGES,
        );
        assert_eq!(world.index.sizes(), full);
        world.root(0, Reach::Public);
        world.root(u32::MAX, Reach::Public);
        world.bookmark(0);
        world.bookmark(u64::MAX);
        assert_eq!(world.index.sizes(), full);
        assert!(world.index.roots.iter().any(|(salt, _)| *salt == 0));
        assert!(world.index.roots.iter().all(|(salt, _)| *salt != 1));
        assert!(world.index.rows.iter().any(|row| row.salt == 0));
        assert!(world.index.rows.iter().all(|row| row.salt != 1));
    }
}
