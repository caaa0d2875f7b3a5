//! What two maps that share nodes do not have in common: found by skipping what they share.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::{Node, Tree};

impl<K: Ord + Clone, V> Tree<K, V> {
    /// The keys whose values differ, or that one side lacks, sorted. `is_same` compares two values. Costs what was changed
    /// since one of the two was a clone of the other, however many entries they have.
    pub(in crate::set) fn differing_keys(
        &self,
        other: &Self,
        is_same: impl Fn(&V, &V) -> bool,
    ) -> Vec<K> {
        let (mut here, mut there) = (vec![&self.root], vec![&other.root]);
        loop {
            drop_shared(&mut here, &mut there);
            // All leaves of a tree are equally deep: the deeper tree goes down alone until both are level.
            let (left, right) = (height(&here), height(&there));
            if left == 0 && right == 0 {
                break;
            }
            if left >= right {
                here = children(&here);
            }
            if right >= left {
                there = children(&there);
            }
        }
        let mut values: BTreeMap<&K, (Option<&V>, Option<&V>)> = BTreeMap::new();
        for (key, value) in entries(&here) {
            values.entry(key).or_default().0 = Some(value);
        }
        for (key, value) in entries(&there) {
            values.entry(key).or_default().1 = Some(value);
        }
        let differing = values.into_iter().filter(|(_, pair)| match pair {
            (Some(one), Some(other)) => !is_same(one, other),
            _ => true,
        });
        differing.map(|(key, _)| key.clone()).collect()
    }
}

/// Nodes of one level of a tree.
type Level<'a, K, V> = Vec<&'a Arc<Node<K, V>>>;

fn drop_shared<K, V>(here: &mut Level<'_, K, V>, there: &mut Level<'_, K, V>) {
    let ours: HashSet<_> = here.iter().map(|node| Arc::as_ptr(node)).collect();
    let theirs: HashSet<_> = there.iter().map(|node| Arc::as_ptr(node)).collect();
    here.retain(|node| !theirs.contains(&Arc::as_ptr(node)));
    there.retain(|node| !ours.contains(&Arc::as_ptr(node)));
}

/// How far the leaves are below a level; 0 when nothing is left of it.
fn height<K, V>(level: &Level<'_, K, V>) -> usize {
    let mut height = 0;
    let mut node = level.first().copied();
    while let Some(Node::Inner(children)) = node.map(|node| &**node) {
        height += 1;
        node = children.first().map(|(_, child)| child);
    }
    height
}

fn children<'a, K, V>(level: &Level<'a, K, V>) -> Level<'a, K, V> {
    let inner = level.iter().filter_map(|node| match &***node {
        Node::Inner(children) => Some(children),
        Node::Leaf(_) => None,
    });
    inner.flatten().map(|(_, child)| child).collect()
}

fn entries<'a, K, V>(level: &Level<'a, K, V>) -> impl Iterator<Item = (&'a K, &'a V)> {
    let leaves = level.iter().filter_map(|node| match &***node {
        Node::Leaf(entries) => Some(entries),
        Node::Inner(_) => None,
    });
    leaves.flatten().map(|(key, value)| (key, value))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::rng::SeededRng;

    fn tree(count: u64) -> Tree<u64, u64> {
        Tree::from_entries((0..count).map(|n| (n * 10, n)).collect())
    }

    fn keys(one: &Tree<u64, u64>, other: &Tree<u64, u64>) -> Vec<u64> {
        one.differing_keys(other, |a, b| a == b)
    }

    #[test]
    fn every_key_that_differs_is_found_whatever_the_shapes() {
        let mut rng = SeededRng::from_seed(4);
        for size in [0, 1, 2, 31, 33, 1000, 5000] {
            let base = tree(size);
            for changes in [0, 1, 5, 300] {
                let (mut one, mut other) = (base.clone(), base.clone());
                for _ in 0..changes {
                    let key = rng.below(size * 10 + 10);
                    match rng.index(4) {
                        0 => drop(one.insert(key, 1_000_000 + rng.below(9))),
                        1 => drop(other.insert(key, 1_000_000 + rng.below(9))),
                        2 => drop(one.remove(&(key / 10 * 10))),
                        _ => drop(other.remove(&(key / 10 * 10))),
                    }
                }
                let all: BTreeMap<u64, ()> = one
                    .keys()
                    .chain(other.keys())
                    .map(|key| (*key, ()))
                    .collect();
                let expected: Vec<u64> = all
                    .into_keys()
                    .filter(|key| one.get(key) != other.get(key))
                    .collect();
                assert_eq!(keys(&one, &other), expected, "{size}, {changes}");
                assert_eq!(keys(&other, &one), expected, "{size}, {changes}");
            }
        }
    }

    #[test]
    fn one_tree_much_deeper_than_the_other_is_no_obstacle() {
        let (small, large) = (tree(3), tree(40_000));
        assert_eq!(keys(&small, &large).len(), 39_997);
        assert_eq!(keys(&large, &tree(0)).len(), 40_000);
    }

    #[test]
    fn what_is_shared_is_not_looked_at() {
        let base = tree(100_000);
        let mut changed = base.clone();
        changed.insert(5, 5);
        changed.remove(&500_000);
        let compared = Cell::new(0);
        let found = base.differing_keys(&changed, |a, b| {
            compared.set(compared.get() + 1);
            a == b
        });
        assert_eq!(found, [5, 500_000]);
        assert!(compared.get() < 4 * 32, "{} compared", compared.get());
    }
}
