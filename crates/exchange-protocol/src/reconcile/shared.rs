//! What many nodes of a simulation begin with: the digests of one list, computed once and not by everybody.
//!
//! It changes no outcome, as a memory of checked signatures changes none: whoever begins with this list would come to the
//! same roots and cells.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use btcfed_core::{PeerKey, PeerSet};

use crate::message::Cell;
use crate::reconcile::index::{Element, Reach, Roots};
use crate::reconcile::{digest, ids, rateless};
use crate::view;

/// What [`ids::sorted`] makes.
type Table = Arc<[u64]>;

/// The digests of one list under the salts that were asked for: grows with their number, so it is for simulations only.
#[derive(Debug)]
pub(crate) struct Shared {
    set: Arc<PeerSet>,
    counts: [u32; Reach::COUNT],
    roots: Mutex<BTreeMap<u32, Roots>>,
    cells: Mutex<BTreeMap<(u64, Reach, usize), Vec<Cell>>>,
    ids: Mutex<BTreeMap<(u64, Reach), Table>>,
}

impl Shared {
    pub(crate) fn new(set: Arc<PeerSet>) -> Self {
        let mut counts = [0_u32; Reach::COUNT];
        for element in view::stored_elements(&set) {
            if let Some(count) = counts.get_mut(element.reach.place()) {
                *count = count.saturating_add(1);
            }
        }
        Self {
            set,
            counts,
            roots: Mutex::new(BTreeMap::new()),
            cells: Mutex::new(BTreeMap::new()),
            ids: Mutex::new(BTreeMap::new()),
        }
    }

    pub(crate) const fn set(&self) -> &Arc<PeerSet> {
        &self.set
    }

    pub(crate) const fn counts(&self) -> [u32; Reach::COUNT] {
        self.counts
    }

    pub(crate) fn element(&self, key: &PeerKey) -> Option<Element> {
        view::stored_element(&self.set, key)
    }

    fn elements(&self) -> impl Iterator<Item = Element> {
        view::stored_elements(&self.set)
    }

    pub(crate) fn roots(&self, salt: u32) -> Roots {
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        *roots.entry(salt).or_insert_with(|| {
            let mut roots = Roots::default();
            self.elements()
                .for_each(|element| roots.add(salt, &element));
            roots
        })
    }

    pub(crate) fn cells(&self, salt: u64, reach: Reach, len: usize) -> Vec<Cell> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let made = cells.entry((salt, reach, len)).or_insert_with(|| {
            let mut cells = vec![Cell::default(); len];
            for element in self.elements().filter(|element| element.reach <= reach) {
                rateless::toggle(&mut cells, digest::id(salt, &element.key, element.seq), 1);
            }
            cells
        });
        made.clone()
    }

    /// The table of ids that a row begins with.
    pub(crate) fn ids(&self, salt: u64, reach: Reach) -> Table {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let made = ids.entry((salt, reach)).or_insert_with(|| {
            let elements = self.elements().filter(|element| element.reach <= reach);
            ids::sorted(elements.map(|element| {
                let id = digest::id(salt, &element.key, element.seq);
                (id, element.key)
            }))
        });
        Arc::clone(made)
    }
}
