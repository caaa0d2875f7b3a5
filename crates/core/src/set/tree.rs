//! A sorted map whose clones share everything that did not change: a clone costs a pointer, a change the path to it.
//!
//! A B+ tree of shared nodes. A change copies one leaf and the inner nodes above it, unless nobody else holds them.

mod difference;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Most entries of a node: a compromise between what a change copies and how deep the tree is.
const MAX_NODE: usize = 32;

/// Neighbours that together have no more entries than this become one node after a removal.
const MERGED_NODE: usize = MAX_NODE / 2;

#[derive(Clone)]
enum Node<K, V> {
    Leaf(Vec<(K, V)>),
    /// Children, each with a lower bound of its keys. All are equally deep, and none is empty.
    Inner(Vec<(K, Arc<Self>)>),
}

/// A child with a lower bound of its keys.
type Child<K, V> = (K, Arc<Node<K, V>>);

/// See the module.
pub(super) struct Tree<K, V> {
    root: Arc<Node<K, V>>,
    len: usize,
}

impl<K: Ord + Clone, V: Clone> Tree<K, V> {
    /// A map of these entries; of two with one key the first counts.
    pub(super) fn from_entries(mut entries: Vec<(K, V)>) -> Self {
        if !entries.is_sorted_by(|a, b| a.0 < b.0) {
            // Stable, so that the first of a kind stays the first.
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            entries.dedup_by(|later, earlier| later.0 == earlier.0);
        }
        let len = entries.len();
        let mut level: Vec<Child<K, V>> = Vec::with_capacity(len / MAX_NODE + 1);
        for leaf in packed(entries) {
            if let Some((key, _)) = leaf.first() {
                level.push((key.clone(), Arc::new(Node::Leaf(leaf))));
            }
        }
        while level.len() > 1 {
            let inner = packed(level).into_iter();
            level = inner
                .filter_map(|children| {
                    let key = children.first()?.0.clone();
                    Some((key, Arc::new(Node::Inner(children))))
                })
                .collect();
        }
        match level.pop() {
            Some((_, root)) => Self { root, len },
            None => Self::default(),
        }
    }

    pub(super) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Inner(children) => node = &*children.get(child(children, key))?.1,
                Node::Leaf(entries) => {
                    let at = position(entries, key).ok()?;
                    return entries.get(at).map(|(_, value)| value);
                }
            }
        }
    }

    /// The last of the entries whose keys are `before` something: those at the beginning, in the order of the keys.
    pub(super) fn last_where(&self, before: impl Fn(&K) -> bool) -> Option<(&K, &V)> {
        // The node before the path goes down, where a bound is lower than all keys that are left below it.
        let (mut node, mut left) = (&*self.root, None);
        loop {
            match node {
                Node::Inner(children) => {
                    let at = children.partition_point(|(bound, _)| before(bound));
                    let at = at.saturating_sub(1);
                    if let Some((_, child)) = at.checked_sub(1).and_then(|at| children.get(at)) {
                        left = Some(&**child);
                    }
                    node = &*children.get(at)?.1;
                }
                Node::Leaf(entries) => {
                    let at = entries.partition_point(|(key, _)| before(key));
                    match at.checked_sub(1).and_then(|at| entries.get(at)) {
                        Some((key, value)) => return Some((key, value)),
                        None => node = left.take()?,
                    }
                }
            }
        }
    }

    pub(super) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// The value to be changed in place; a key that is not there copies nothing.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        if !self.contains_key(key) {
            return None;
        }
        let mut node = Arc::make_mut(&mut self.root);
        loop {
            match node {
                Node::Inner(children) => {
                    let at = child(children, key);
                    node = Arc::make_mut(&mut children.get_mut(at)?.1);
                }
                Node::Leaf(entries) => {
                    let at = position(entries, key).ok()?;
                    return entries.get_mut(at).map(|(_, value)| value);
                }
            }
        }
    }

    /// Sets a value; returns the one before.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (before, right) = insert(Arc::make_mut(&mut self.root), key, value);
        if let Some(right) = right {
            let left = Arc::clone(&self.root);
            if let Some(key) = first_key(&left) {
                self.root = Arc::new(Node::Inner(vec![(key, left), right]));
            }
        }
        self.len += usize::from(before.is_none());
        before
    }

    /// Removes a key; returns its value.
    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        if !self.contains_key(key) {
            return None;
        }
        let removed = remove(Arc::make_mut(&mut self.root), key)?;
        self.len -= 1;
        let only_child = |node: &Node<K, V>| match node {
            Node::Inner(children) if children.len() == 1 => {
                children.first().map(|(_, child)| Arc::clone(child))
            }
            Node::Inner(_) | Node::Leaf(_) => None,
        };
        while let Some(child) = only_child(&self.root) {
            self.root = child;
        }
        if self.len == 0 {
            *self = Self::default();
        }
        Some(removed)
    }
}

impl<K: Ord, V> Tree<K, V> {
    /// The entries whose keys come after `after`, sorted.
    pub(super) fn iter_after(&self, after: Option<&K>) -> Iter<'_, K, V> {
        let mut iter = Iter {
            above: Vec::new(),
            leaf: [].iter(),
        };
        let mut node = &*self.root;
        loop {
            match node {
                Node::Inner(children) => {
                    let at = after.map_or(0, |key| child(children, key));
                    let mut rest = children.get(at..).unwrap_or_default().iter();
                    let Some((_, next)) = rest.next() else {
                        return iter;
                    };
                    node = &**next;
                    iter.above.push(rest);
                }
                Node::Leaf(entries) => {
                    let at = after.map_or(0, |key| entries.partition_point(|(k, _)| k <= key));
                    iter.leaf = entries.get(at..).unwrap_or_default().iter();
                    return iter;
                }
            }
        }
    }
}

impl<K, V> Tree<K, V> {
    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

impl<K: Ord, V> Tree<K, V> {
    pub(super) fn iter(&self) -> Iter<'_, K, V> {
        self.iter_after(None)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

impl<K, V> Default for Tree<K, V> {
    fn default() -> Self {
        Self {
            root: Arc::new(Node::Leaf(Vec::new())),
            len: 0,
        }
    }
}

impl<K, V> Clone for Tree<K, V> {
    fn clone(&self) -> Self {
        Self {
            root: Arc::clone(&self.root),
            len: self.len,
        }
    }
}

impl<K: Ord, V: PartialEq> PartialEq for Tree<K, V> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.root, &other.root)
            || (self.len == other.len && self.iter().eq(other.iter()))
    }
}

impl<K: Ord + fmt::Debug, V: fmt::Debug> fmt::Debug for Tree<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// The entries of a tree, sorted.
pub(super) struct Iter<'a, K, V> {
    /// What is still to be visited of the inner nodes above the leaf, the root first.
    above: Vec<std::slice::Iter<'a, Child<K, V>>>,
    leaf: std::slice::Iter<'a, (K, V)>,
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.leaf.next() {
                return Some((key, value));
            }
            let mut node = loop {
                match self.above.last_mut()?.next() {
                    Some((_, node)) => break &**node,
                    None => drop(self.above.pop()),
                }
            };
            loop {
                match node {
                    Node::Inner(children) => {
                        let mut rest = children.iter();
                        let (_, next) = rest.next()?;
                        self.above.push(rest);
                        node = &**next;
                    }
                    Node::Leaf(entries) => {
                        self.leaf = entries.iter();
                        break;
                    }
                }
            }
        }
    }
}

/// Cuts a list into lists of nearly equal length, none longer than a node.
fn packed<T>(items: Vec<T>) -> Vec<Vec<T>> {
    let nodes = items.len().div_ceil(MAX_NODE).max(1);
    let (each, more) = (items.len() / nodes, items.len() % nodes);
    let mut items = items.into_iter();
    (0..nodes)
        .map(|node| {
            let len = each + usize::from(node < more);
            items.by_ref().take(len).collect()
        })
        .collect()
}

fn position<K: Borrow<Q>, V, Q: Ord + ?Sized>(entries: &[(K, V)], key: &Q) -> Result<usize, usize> {
    entries.binary_search_by(|(known, _)| known.borrow().cmp(key))
}

/// Which child has the key, if any has it.
fn child<K: Borrow<Q>, V, Q: Ord + ?Sized>(children: &[(K, V)], key: &Q) -> usize {
    let after = children.partition_point(|(bound, _)| bound.borrow() <= key);
    after.saturating_sub(1)
}

fn first_key<K: Clone, V>(node: &Node<K, V>) -> Option<K> {
    match node {
        Node::Leaf(entries) => entries.first().map(|(key, _)| key.clone()),
        Node::Inner(children) => children.first().map(|(key, _)| key.clone()),
    }
}

/// What an insertion leaves: the value before, and the new right half of a node that became too full.
type Inserted<K, V> = (Option<V>, Option<Child<K, V>>);

fn insert<K: Ord + Clone, V: Clone>(node: &mut Node<K, V>, key: K, value: V) -> Inserted<K, V> {
    match node {
        Node::Leaf(entries) => match position(entries, &key) {
            Ok(at) => {
                let before = entries.get_mut(at);
                (
                    before.map(|(_, before)| std::mem::replace(before, value)),
                    None,
                )
            }
            Err(at) => {
                entries.insert(at, (key, value));
                (None, split(entries).map(|(k, r)| (k, Node::Leaf(r).into())))
            }
        },
        Node::Inner(children) => {
            let at = child(children, &key);
            let Some((bound, below)) = children.get_mut(at) else {
                return (None, None);
            };
            if key < *bound {
                bound.clone_from(&key);
            }
            let (before, right) = insert(Arc::make_mut(below), key, value);
            if let Some(right) = right {
                children.insert(at + 1, right);
            }
            let right = split(children).map(|(k, r)| (k, Node::Inner(r).into()));
            (before, right)
        }
    }
}

/// The right half of a list that is too long, with its first key.
fn split<K: Clone, T>(items: &mut Vec<(K, T)>) -> Option<(K, Vec<(K, T)>)> {
    if items.len() <= MAX_NODE {
        return None;
    }
    let right = items.split_off(items.len() / 2);
    let key = right.first()?.0.clone();
    Some((key, right))
}

fn remove<K: Ord + Clone, V: Clone>(node: &mut Node<K, V>, key: &K) -> Option<V> {
    match node {
        Node::Leaf(entries) => {
            let at = position(entries, key).ok()?;
            Some(entries.remove(at).1)
        }
        Node::Inner(children) => {
            let at = child(children, key);
            let removed = remove(Arc::make_mut(&mut children.get_mut(at)?.1), key)?;
            shrink(children, at);
            Some(removed)
        }
    }
}

/// Drops a child that became empty, or joins it with a neighbour when both are small.
fn shrink<K: Clone, V: Clone>(children: &mut Vec<Child<K, V>>, at: usize) {
    let len = |at: usize| match children.get(at).map(|(_, child)| &**child) {
        Some(Node::Leaf(entries)) => entries.len(),
        Some(Node::Inner(below)) => below.len(),
        None => MAX_NODE,
    };
    if len(at) == 0 {
        children.remove(at);
        return;
    }
    let fits = |left: usize| len(left) + len(left + 1) <= MERGED_NODE;
    let left = if fits(at) {
        at
    } else if at > 0 && fits(at - 1) {
        at - 1
    } else {
        return;
    };
    let (_, right) = children.remove(left + 1);
    if let Some((_, left)) = children.get_mut(left) {
        match (Arc::make_mut(left), Arc::unwrap_or_clone(right)) {
            (Node::Leaf(left), Node::Leaf(right)) => left.extend(right),
            (Node::Inner(left), Node::Inner(right)) => left.extend(right),
            (Node::Leaf(_), Node::Inner(_)) | (Node::Inner(_), Node::Leaf(_)) => {
                debug_assert!(false, "all children are equally deep");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::rng::SeededRng;

    fn check(tree: &Tree<u64, u64>, model: &BTreeMap<u64, u64>) {
        assert_eq!(tree.len(), model.len());
        assert!(tree.iter().eq(model.iter()));
        depth(&tree.root, true);
    }

    /// The depth, checked to be the same everywhere; no node is empty or too full, and bounds are in order.
    fn depth(node: &Node<u64, u64>, is_root: bool) -> usize {
        match node {
            Node::Leaf(entries) => {
                assert!(is_root || !entries.is_empty());
                assert!(entries.len() <= MAX_NODE);
                1
            }
            Node::Inner(children) => {
                assert!(!children.is_empty() && children.len() <= MAX_NODE);
                let depths: Vec<usize> = children.iter().map(|(_, c)| depth(c, false)).collect();
                assert!(depths.iter().all(|depth| *depth == depths[0]));
                assert!(children.is_sorted_by(|a, b| a.0 < b.0));
                for (bound, child) in children {
                    assert!(first_key(child).unwrap() >= *bound);
                }
                1 + depths[0]
            }
        }
    }

    #[test]
    fn a_tree_is_the_map_of_the_standard_library_after_any_operations() {
        for seed in 0..20 {
            let mut rng = SeededRng::from_seed(seed);
            let range = [8, 300, 5000][usize::try_from(seed % 3).unwrap()];
            let (mut tree, mut model) = (Tree::default(), BTreeMap::new());
            for step in 0..6000_u64 {
                // Growth first, then decline.
                let key = rng.next_u64() % range;
                let old = (tree.clone(), model.clone());
                if rng.next_u64() % 10 < if step < 3000 { 7 } else { 2 } {
                    assert_eq!(tree.insert(key, step), model.insert(key, step));
                } else if rng.next_u64().is_multiple_of(3) {
                    let changed = tree.get_mut(&key).map(|value| *value += 1);
                    assert_eq!(changed, model.get_mut(&key).map(|value| *value += 1));
                } else {
                    assert_eq!(tree.remove(&key), model.remove(&key));
                }
                assert_eq!(tree.get(&key), model.get(&key));
                if step % 250 == 0 {
                    check(&tree, &model);
                    check(&old.0, &old.1);
                    let after = tree.iter_after(Some(&key)).map(|(key, _)| *key);
                    assert!(after.eq(model.range(key + 1..).map(|(key, _)| *key)));
                }
            }
            for key in model.keys().copied().collect::<Vec<_>>() {
                tree.remove(&key);
            }
            assert!(tree.len() == 0 && tree.iter().next().is_none());
        }
    }

    #[test]
    fn building_at_once_gives_the_same_and_the_first_of_a_kind_counts() {
        for len in [0_u64, 1, 31, 32, 33, 64, 1000, 1025, 40_000] {
            let entries: Vec<_> = (0..len).rev().map(|key| (key, key * 2)).collect();
            let tree = Tree::from_entries(entries.clone());
            check(&tree, &entries.into_iter().collect());
        }
        let tree = Tree::from_entries(vec![(2, 'a'), (1, 'b'), (2, 'c')]);
        assert!(tree.iter().eq([(&1, &'b'), (&2, &'a')]));
    }

    #[test]
    fn equality_and_debug_are_those_of_a_map() {
        let one = Tree::from_entries(vec![(1, 'a'), (2, 'b')]);
        let mut two = one.clone();
        assert_eq!(one, two);
        two.insert(2, 'c');
        assert_ne!(one, two);
        two.insert(2, 'b');
        assert_eq!(one, two);
        two.remove(&1);
        assert_ne!(one, two);
        assert_eq!(format!("{one:?}"), "{1: 'a', 2: 'b'}");
    }
}
