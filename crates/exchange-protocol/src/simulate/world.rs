//! What happens to a federation: nodes come and go, partitions, news; and federations that have found themselves already.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use btcfed_core::config::NodeConfig;
use btcfed_core::exchange::Input;
use btcfed_core::time::MonotonicTime;
use btcfed_core::{PeerKey, PeerOp, PeerPatch, PeerSet};

use super::event::Event;
use super::hostile::Behaviour;
use super::node::{Identity, Node};
use super::{NodeId, SimOptions, Simulation};
use crate::reconcile::salts::Salts;
use crate::reconcile::shared::Shared;
use crate::{Engine, EngineOptions};

/// The nodes of a federation that begins converged draw their first salts from so many, so that what their lists look like
/// under them is computed once and not by everybody.
const SALTS: u64 = 16;

/// How often a node that looks for a stranger picks at random before it goes through its list.
const RANDOM_PICKS: usize = 16;

impl Simulation {
    /// Starts a node with a signed record of one address.
    pub fn add_node(&mut self) -> NodeId {
        self.add(None)
    }

    /// Starts a node with a configuration of its own.
    pub fn add_node_with(&mut self, config: Arc<NodeConfig>) -> NodeId {
        let usual = std::mem::replace(&mut self.config, config);
        let id = self.add(None);
        self.config = usual;
        id
    }

    pub(super) fn add(&mut self, behaviour: Option<Behaviour>) -> NodeId {
        let id = self.nodes.len();
        let seed = self.rng.next_u64();
        let identity = Identity::new(id, seed, self.options.scope);
        let set = Arc::new(PeerSet::default());
        let options = self.engine_options(identity.key(), seed, Arc::clone(&set));
        let node = Node::new(identity, Engine::new(options), set);
        self.enter(node, behaviour);
        id
    }

    fn engine_options(&self, own: PeerKey, seed: u64, set: Arc<PeerSet>) -> EngineOptions {
        EngineOptions {
            config: Arc::clone(&self.config),
            own,
            agent: "btcfed-simulate/1".to_owned(),
            seed,
            verifier: Arc::clone(&self.verifier) as _,
            set,
        }
    }

    fn enter(&mut self, mut node: Node, behaviour: Option<Behaviour>) {
        let id = self.nodes.len();
        node.behaviour = behaviour;
        node.clock_ahead = self
            .rng
            .between(Duration::ZERO, self.options.clock_skew * 2);
        self.by_key.insert(node.key(), id);
        self.knowledge.add(behaviour.is_none());
        let record = node.record().cloned();
        self.nodes.push(node);
        if let Some(record) = record {
            self.feed(id, Input::OwnRecord(record));
        }
    }

    /// A federation of `count` nodes that know each other, each with as many random connections as the degree of
    /// `options` says, rounded up to an even number. They are still to introduce themselves: let some seconds pass.
    ///
    /// All nodes share one list, so that tens of thousands of them fit into memory.
    #[must_use]
    pub fn converged(options: SimOptions, count: usize) -> Self {
        let mut sim = Self::new(options);
        let seeds: Vec<u64> = (0..count).map(|_| sim.rng.next_u64()).collect();
        let scope = sim.options.scope;
        let identities = seeds.iter().enumerate();
        let identities: Vec<Identity> = identities
            .map(|(id, seed)| Identity::new(id, *seed, scope))
            .collect();
        let records = identities.iter().filter_map(Identity::record);
        let patch: PeerPatch = records.cloned().map(PeerOp::Learn).collect();
        let set = PeerSet::default().apply(&patch, sim.clock());
        let set = Arc::new(set.map(|(set, _)| set).unwrap_or_default());
        let shared = Arc::new(Shared::new(Arc::clone(&set)));
        let first_salt = sim.rng.next_u64();
        for (identity, seed) in identities.into_iter().zip(seeds) {
            let options = sim.engine_options(identity.key(), seed, Arc::default());
            let mut engine = Engine::sharing(options, Arc::clone(&shared));
            let salt = first_salt ^ (seed % SALTS);
            let [a, b, c, d, ..] = salt.to_le_bytes();
            let question = u32::from_le_bytes([a, b, c, d]);
            engine.salts = Salts::fixed(MonotonicTime::ZERO, question, salt);
            sim.enter(Node::new(identity, engine, Arc::clone(&set)), None);
        }
        sim.knowledge.fill();
        // Circles through all nodes in random orders: connected, and every node has the same number of links.
        let mut order: Vec<NodeId> = (0..count).collect();
        for _ in 0..sim.options.degree.div_ceil(2) {
            sim.rng.shuffle(&mut order);
            let next = order.iter().cycle().skip(1);
            for (one, other) in order.iter().zip(next) {
                sim.connect(*one, *other);
            }
        }
        sim
    }

    /// The node stops without a word; its neighbours notice that the connections are gone.
    pub fn crash(&mut self, node: NodeId) {
        if !self.is_running(node) {
            return;
        }
        self.retire(node);
        if let Some(node) = self.nodes.get_mut(node) {
            node.is_running = false;
        }
        let links = self.nodes.get(node).map(|node| node.links.clone());
        for peer in links.unwrap_or_default().into_keys() {
            self.disconnect(node, peer);
        }
    }

    /// True until the node crashes.
    #[must_use]
    pub fn is_running(&self, node: NodeId) -> bool {
        self.nodes.get(node).is_some_and(|node| node.is_running)
    }

    /// Cuts the federation into sides: nodes with different numbers no longer reach each other.
    pub fn partition(&mut self, side: impl Fn(NodeId) -> usize) {
        self.sides = (0..self.nodes.len()).map(|id| (id, side(id))).collect();
        let cut: Vec<_> = self
            .links()
            .into_iter()
            .filter(|(one, other)| !self.reaches(*one, *other))
            .collect();
        for (one, other) in &cut {
            self.disconnect(*one, *other);
        }
        self.cut.extend(cut);
    }

    /// Says on which side of the partition a node is that joined after it began.
    pub fn put_on_side(&mut self, node: NodeId, side: usize) {
        self.sides.insert(node, side);
    }

    /// Ends the partition and dials again what was cut.
    pub fn heal(&mut self) {
        self.sides.clear();
        for (one, other) in std::mem::take(&mut self.cut) {
            self.connect(one, other);
        }
    }

    pub(super) fn reaches(&self, one: NodeId, other: NodeId) -> bool {
        self.sides.get(&one) == self.sides.get(&other)
    }

    /// The node signs a new record: its next sequence number, with or without addresses.
    pub fn renew(&mut self, node: NodeId, leaving: bool) {
        self.forget_newest(node);
        let renewed = self.nodes.get_mut(node);
        if let Some(record) = renewed.and_then(|node| node.renew(leaving)) {
            self.feed(node, Input::OwnRecord(record));
        }
    }

    /// A node that has stopped or is not connected enough dials somebody it knows, chosen at random.
    pub(super) fn dial_more(&mut self, at: NodeId) {
        let Some(node) = self.nodes.get(at).filter(|node| node.is_running) else {
            return;
        };
        let missing = self.options.degree.saturating_sub(node.links.len());
        for _ in 0..missing {
            let Some(peer) = self.pick_stranger(at) else {
                return;
            };
            self.connect(at, peer);
        }
    }

    /// Somebody the node knows and is not connected to. A node that was not dialled for lack of an answer is as good as any.
    fn pick_stranger(&mut self, at: NodeId) -> Option<NodeId> {
        for _ in 0..RANDOM_PICKS {
            let peer = self.rng.index(self.nodes.len());
            if self.is_stranger(at, peer) && self.nodes.get(at)?.set.contains(&self.key(peer)?) {
                return Some(peer);
            }
        }
        let node = self.nodes.get(at)?;
        if node.set.len() > RANDOM_PICKS * RANDOM_PICKS {
            return None;
        }
        let known = node.set.iter();
        let known = known.filter_map(|peer| self.by_key.get(&peer.key).copied());
        let strangers: Vec<NodeId> = known.filter(|peer| self.is_stranger(at, *peer)).collect();
        self.rng.pick(&strangers).copied()
    }

    fn is_stranger(&self, at: NodeId, peer: NodeId) -> bool {
        at != peer
            && self.is_running(peer)
            && self.reaches(at, peer)
            && !self.are_connected(at, peer)
    }

    pub(super) fn later(&mut self, delay: Duration, event: Event) {
        self.events.add(self.now.saturating_add(delay), event);
    }

    /// Which node has this key.
    pub(super) fn node_of(&self, key: &PeerKey) -> Option<NodeId> {
        self.by_key.get(key).copied()
    }
}

/// By key, which node it is.
pub(super) type ByKey = BTreeMap<PeerKey, NodeId>;
