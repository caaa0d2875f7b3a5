//! Who knows whom, counted along with every change instead of asked of every pair.

use btcfed_core::PeerView;

use super::{NodeId, Simulation};

/// For every node how many of the nodes that count have its newest record, and how many newest records it has. A node counts
/// while it runs and is honest.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    counts: Vec<bool>,
    knowers: Vec<usize>,
    known: Vec<usize>,
    nodes: usize,
    pairs: usize,
}

impl Knowledge {
    /// A node joins that nobody knows and that knows nobody.
    pub(super) fn add(&mut self, counts: bool) {
        self.counts.push(counts);
        self.knowers.push(0);
        self.known.push(0);
        self.nodes += usize::from(counts);
    }

    /// All know all.
    pub(super) fn fill(&mut self) {
        let others = self.nodes.saturating_sub(1);
        self.knowers.fill(others);
        self.known.fill(others);
        self.pairs = self.nodes * others;
    }

    pub(super) fn counts(&self, node: NodeId) -> bool {
        self.counts.get(node) == Some(&true)
    }

    /// From now on `node` knows the newest record of `other`, or no longer.
    pub(super) fn set(&mut self, node: NodeId, other: NodeId, knows: bool) {
        if node == other || !self.counts(node) || !self.counts(other) {
            return;
        }
        let (knowers, known) = (self.knowers.get_mut(other), self.known.get_mut(node));
        if let (Some(knowers), Some(known)) = (knowers, known) {
            let shift = |value: &mut usize| {
                *value = if knows {
                    *value + 1
                } else {
                    value.saturating_sub(1)
                };
            };
            shift(knowers);
            shift(known);
            shift(&mut self.pairs);
        }
    }

    /// A node counts no more; nothing it knows and nobody who knows it may be left.
    fn retire(&mut self, node: NodeId) {
        if let Some(counts) = self.counts.get_mut(node)
            && std::mem::take(counts)
        {
            self.nodes -= 1;
        }
    }
}

impl Simulation {
    /// True when `node` has the newest record of `other`.
    #[must_use]
    pub fn knows(&self, node: NodeId, other: NodeId) -> bool {
        let (Some(node), Some(other)) = (self.nodes.get(node), self.nodes.get(other)) else {
            return false;
        };
        let stored = node.set.view(&other.key()).and_then(PeerView::seq);
        other
            .record()
            .is_some_and(|newest| stored >= Some(newest.seq()))
    }

    /// True when every other honest running node has the newest record of `node`.
    #[must_use]
    pub fn is_known_by_all(&self, node: NodeId) -> bool {
        let others = self.knowledge.nodes.saturating_sub(1);
        self.knowledge.knowers.get(node) == Some(&others)
    }

    /// True when `node` has the newest record of every other honest running node.
    #[must_use]
    pub fn knows_all(&self, node: NodeId) -> bool {
        let others = self.knowledge.nodes.saturating_sub(1);
        self.knowledge.known.get(node) == Some(&others)
    }

    /// True when every honest running node has the newest record of every other.
    #[must_use]
    pub fn all_know_all(&self) -> bool {
        let nodes = self.knowledge.nodes;
        self.knowledge.pairs == nodes * nodes.saturating_sub(1)
    }

    /// Of all pairs of honest running nodes the share of those in which the first has the newest record of the second.
    #[must_use]
    pub fn known_share(&self) -> f64 {
        let nodes = self.knowledge.nodes;
        let pairs = nodes * nodes.saturating_sub(1);
        if pairs == 0 {
            1.0
        } else {
            self.knowledge.pairs as f64 / pairs as f64
        }
    }

    /// The node signs something newer: nobody knows it any more.
    pub(super) fn forget_newest(&mut self, node: NodeId) {
        for other in 0..self.nodes.len() {
            if self.knows(other, node) {
                self.knowledge.set(other, node, false);
            }
        }
    }

    /// The node stops: what it knows and who knows it counts no more.
    pub(super) fn retire(&mut self, node: NodeId) {
        self.forget_newest(node);
        for other in 0..self.nodes.len() {
            if self.knows(node, other) {
                self.knowledge.set(node, other, false);
            }
        }
        self.knowledge.retire(node);
    }
}
