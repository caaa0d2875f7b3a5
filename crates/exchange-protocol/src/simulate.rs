//! A federation on virtual time: the same engine that runs on sockets, thousands of times faster and replayable.
//!
//! Nodes, links and everything that happens are decided by one seed; two runs with the same calls are the same to the
//! byte ([`Simulation::trace`]). Links have latency, connections can be cut and partitions healed. A node takes a
//! store's place by applying every patch to its own [`PeerSet`].
//!
//! ```
//! use std::time::Duration;
//! use btcfed_exchange_protocol::simulate::{SimOptions, Simulation};
//!
//! let mut sim = Simulation::new(SimOptions::default());
//! let [a, b, c] = [sim.add_node(), sim.add_node(), sim.add_node()];
//! sim.connect(b, a);
//! sim.connect(c, b);
//! let took = sim.run_until(Duration::from_secs(5), Simulation::all_know_all);
//! assert!(took.is_some_and(|took| took < Duration::from_secs(1)));
//! ```

mod node;
mod verifier;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use btcfed_core::addr::AddrScope;
use btcfed_core::config::NodeConfig;
use btcfed_core::exchange::{Exchange, ExchangeCounters, Input, Output, Reaction};
use btcfed_core::network::{CommandId, Direction, RequestError};
use btcfed_core::rng::SeededRng;
use btcfed_core::time::{MonotonicTime, Now, Timestamp};
use btcfed_core::{PeerKey, PeerPatch, PeerSet, SignedRecord};

use self::node::Node;
pub use self::verifier::MemoVerifier;
use crate::Engine;

/// The wall clock at the start: any moment will do.
const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// TCP, Noise and Yamux take two and a half round trips.
const LATENCIES_PER_CONNECTION: u32 = 5;

/// What a simulation is made of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SimOptions {
    /// Decides everything that is random.
    pub seed: u64,
    /// How long a frame takes from one end of a link to the other.
    pub latency: Duration,
    /// Random share added to or taken from the latency of every frame.
    pub latency_jitter: f64,
    /// How long a store takes until it shows a change.
    pub store_latency: Duration,
    /// The configuration of every node.
    pub config: NodeConfig,
    /// What kind of addresses the nodes have; loopback, private or public.
    pub scope: AddrScope,
    /// How many connections a node opens on its own to peers it learned of.
    pub degree: usize,
}

impl Default for SimOptions {
    /// 20 ms links, no dialling on a node's own account, private addresses.
    fn default() -> Self {
        Self {
            seed: 1,
            latency: Duration::from_millis(20),
            latency_jitter: 0.0,
            store_latency: Duration::from_millis(1),
            config: NodeConfig::default(),
            scope: AddrScope::Private,
            degree: 0,
        }
    }
}

/// Names a node of a simulation; counts up from 0.
pub type NodeId = usize;

/// What will happen.
#[derive(Debug)]
enum Event {
    Dialled {
        from: NodeId,
        to: NodeId,
    },
    Closed {
        at: NodeId,
        peer: NodeId,
    },
    Request {
        from: NodeId,
        to: NodeId,
        id: CommandId,
        frame: Vec<u8>,
    },
    Response {
        to: NodeId,
        peer: NodeId,
        id: CommandId,
        frame: Vec<u8>,
    },
    Failed {
        at: NodeId,
        id: CommandId,
        error: RequestError,
    },
    Stored {
        at: NodeId,
        set: Arc<PeerSet>,
    },
    Wake {
        at: NodeId,
    },
}

/// A federation on virtual time.
#[derive(Debug)]
pub struct Simulation {
    options: SimOptions,
    config: Arc<NodeConfig>,
    verifier: Arc<MemoVerifier>,
    rng: SeededRng,
    now: Duration,
    serial: u64,
    events: BTreeMap<(Duration, u64), Event>,
    nodes: Vec<Node>,
    by_key: BTreeMap<PeerKey, NodeId>,
    /// Open connections and those on their way, smaller id first.
    links: BTreeSet<(NodeId, NodeId)>,
    /// Which side of the partition a node is on.
    sides: BTreeMap<NodeId, usize>,
    cut: Vec<(NodeId, NodeId)>,
    trace: u64,
    steps: u64,
}

impl Simulation {
    /// A world without nodes.
    #[must_use]
    pub fn new(options: SimOptions) -> Self {
        Self {
            config: Arc::new(options.config.clone()),
            verifier: Arc::new(MemoVerifier::default()),
            rng: SeededRng::from_seed(options.seed),
            now: Duration::ZERO,
            serial: 0,
            events: BTreeMap::new(),
            nodes: Vec::new(),
            by_key: BTreeMap::new(),
            links: BTreeSet::new(),
            sides: BTreeMap::new(),
            cut: Vec::new(),
            trace: 0xcbf2_9ce4_8422_2325,
            steps: 0,
            options,
        }
    }

    // --- what happens ------------------------------------------------------------------------------------------

    /// Starts a node with a signed record of one address.
    pub fn add_node(&mut self) -> NodeId {
        let config = Arc::clone(&self.config);
        self.add_node_with(config)
    }

    /// Starts a node with a configuration of its own.
    pub fn add_node_with(&mut self, config: Arc<NodeConfig>) -> NodeId {
        let id = self.nodes.len();
        let seed = self.rng.next_u64();
        let verifier = Arc::clone(&self.verifier);
        let node = Node::new(id, seed, self.options.scope, config, verifier);
        self.by_key.insert(node.key(), id);
        let record = node.record();
        self.nodes.push(node);
        if let Some(record) = record {
            self.feed(id, Input::OwnRecord(record));
        }
        id
    }

    /// `from` dials `to`. Does nothing if they are connected or a partition lies between them.
    pub fn connect(&mut self, from: NodeId, to: NodeId) {
        if from != to && self.reaches(from, to) && self.links.insert(pair(from, to)) {
            let delay = self.options.latency * LATENCIES_PER_CONNECTION;
            self.later(delay, Event::Dialled { from, to });
        }
    }

    /// Closes the connection between two nodes.
    pub fn disconnect(&mut self, one: NodeId, other: NodeId) {
        if self.links.remove(&pair(one, other)) {
            for (at, peer) in [(one, other), (other, one)] {
                self.later(Duration::ZERO, Event::Closed { at, peer });
            }
        }
    }

    /// Cuts the federation into sides: nodes with different numbers no longer reach each other.
    pub fn partition(&mut self, side: impl Fn(NodeId) -> usize) {
        self.sides = (0..self.nodes.len()).map(|id| (id, side(id))).collect();
        let cut: Vec<_> = self
            .links
            .iter()
            .copied()
            .filter(|(one, other)| !self.reaches(*one, *other))
            .collect();
        for (one, other) in &cut {
            self.disconnect(*one, *other);
        }
        self.cut.extend(cut);
    }

    /// Ends the partition and dials again what was cut.
    pub fn heal(&mut self) {
        self.sides.clear();
        for (one, other) in std::mem::take(&mut self.cut) {
            self.connect(one, other);
        }
    }

    /// The node signs a new record: its next sequence number, with or without addresses.
    pub fn renew(&mut self, node: NodeId, leaving: bool) {
        if let Some(record) = self
            .nodes
            .get_mut(node)
            .and_then(|node| node.renew(leaving))
        {
            self.feed(node, Input::OwnRecord(record));
        }
    }

    /// Feeds an input of the caller's choice to a node.
    pub fn inject(&mut self, node: NodeId, input: Input) {
        self.feed(node, input);
    }

    // --- time --------------------------------------------------------------------------------------------------

    /// Lets time pass until `goal` holds; says how long that took, or `None` when it did not within `limit`.
    pub fn run_until(&mut self, limit: Duration, goal: impl Fn(&Self) -> bool) -> Option<Duration> {
        let (start, end) = (self.now, self.now.saturating_add(limit));
        loop {
            // What happens at one moment is looked at once, or a large federation does little else.
            let is_over = |(at, _): &(Duration, u64)| *at > self.now;
            if self.events.keys().next().is_none_or(is_over) && goal(self) {
                return Some(self.now.saturating_sub(start));
            }
            if !self.step(end) {
                self.now = end;
                return goal(self).then_some(limit);
            }
        }
    }

    /// Lets time pass.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now.saturating_add(span);
        while self.step(end) {}
        self.now = end;
    }

    /// Lets the next thing happen, if it does so by `end`.
    fn step(&mut self, end: Duration) -> bool {
        let Some(entry) = self
            .events
            .first_entry()
            .filter(|entry| entry.key().0 <= end)
        else {
            return false;
        };
        let ((at, _), event) = entry.remove_entry();
        self.now = at;
        self.steps += 1;
        self.happen(event);
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Dialled { from, to } => {
                if self.links.contains(&pair(from, to)) {
                    self.open(from, to, Direction::Outbound);
                    self.open(to, from, Direction::Inbound);
                }
            }
            Event::Closed { at, peer } => {
                if let Some(peer) = self.key(peer) {
                    self.feed(at, Input::Disconnected { peer });
                }
            }
            Event::Request {
                from,
                to,
                id,
                frame,
            } => self.arrive(from, to, id, frame),
            Event::Response {
                to,
                peer,
                id,
                frame,
            } => {
                if self.are_connected(to, peer) {
                    self.note(to, &frame);
                    self.feed(to, Input::Response { id, frame });
                }
            }
            Event::Failed { at, id, error } => self.feed(at, Input::Failed { id, error }),
            Event::Stored { at, set } => {
                self.feed(
                    at,
                    Input::StoreChanged {
                        set,
                        changes: Arc::from([]),
                    },
                );
                self.dial_more(at);
            }
            Event::Wake { at } => {
                if self
                    .nodes
                    .get_mut(at)
                    .is_some_and(|node| node.wake.take_if(|due| *due <= self.now).is_some())
                {
                    self.feed(at, Input::Timeout);
                }
            }
        }
    }

    fn arrive(&mut self, from: NodeId, to: NodeId, id: CommandId, frame: Vec<u8>) {
        let token = self
            .nodes
            .get_mut(to)
            .map(|node| node.expect_reply(from, id));
        if let (Some(peer), Some(token), true) =
            (self.key(from), token, self.are_connected(from, to))
        {
            self.note(to, &frame);
            self.feed(to, Input::Request { peer, token, frame });
        } else {
            self.later(
                Duration::ZERO,
                Event::Failed {
                    at: from,
                    id,
                    error: RequestError::ConnectionClosed,
                },
            );
        }
    }

    fn open(&mut self, at: NodeId, peer: NodeId, direction: Direction) {
        if let Some(peer) = self.key(peer) {
            let scope = self.options.scope;
            self.feed(
                at,
                Input::Connected {
                    peer,
                    direction,
                    scope,
                },
            );
        }
    }

    /// Feeds one node and does what it asks for.
    fn feed(&mut self, id: NodeId, input: Input) {
        let now = self.clock();
        let Some(node) = self.nodes.get_mut(id) else {
            return;
        };
        node.engine.handle(now, input);
        let mut outputs = Vec::new();
        while let Some(output) = node.engine.poll_output() {
            outputs.push(output);
        }
        for output in outputs {
            self.perform(id, output);
        }
        self.set_alarm(id);
    }

    fn perform(&mut self, at: NodeId, output: Output) {
        match output {
            Output::Close { peer, .. }
            | Output::Penalty {
                peer,
                reaction: Reaction::Ban | Reaction::Disconnect,
                ..
            } => {
                if let Some(peer) = self.by_key.get(&peer).copied() {
                    self.disconnect(at, peer);
                }
            }
            Output::Dial { peer, .. } => {
                if let Some(peer) = self.by_key.get(&peer).copied() {
                    self.connect(at, peer);
                }
            }
            Output::Reply { token, frame } => {
                if let Some((to, id)) = self
                    .nodes
                    .get_mut(at)
                    .and_then(|node| node.replies.remove(&token))
                {
                    let delay = self.latency();
                    self.later(
                        delay,
                        Event::Response {
                            to,
                            peer: at,
                            id,
                            frame,
                        },
                    );
                }
            }
            Output::Send { peer, id, frame } => match self.by_key.get(&peer).copied() {
                Some(to) => {
                    let delay = self.latency();
                    self.later(
                        delay,
                        Event::Request {
                            from: at,
                            to,
                            id,
                            frame,
                        },
                    );
                }
                None => self.later(
                    Duration::ZERO,
                    Event::Failed {
                        at,
                        id,
                        error: RequestError::NotConnected,
                    },
                ),
            },
            Output::Store(patch) => self.store(at, &patch),
            Output::Notice(_) | Output::Penalty { .. } | _ => {}
        }
    }

    fn store(&mut self, at: NodeId, patch: &PeerPatch) {
        let now = self.clock();
        let Some(node) = self.nodes.get_mut(at) else {
            return;
        };
        if let Ok((set, _)) = node.set.apply(patch, now) {
            node.set = Arc::new(set);
            let set = Arc::clone(&node.set);
            let delay = self.options.store_latency;
            self.later(delay, Event::Stored { at, set });
        }
    }

    /// Dials random peers until the node has as many connections as it wants.
    fn dial_more(&mut self, at: NodeId) {
        if self.options.degree == 0 {
            return;
        }
        let open = self
            .links
            .iter()
            .filter(|(one, other)| *one == at || *other == at)
            .count();
        let Some(node) = self.nodes.get(at) else {
            return;
        };
        let mut strangers: Vec<NodeId> = node
            .set
            .iter()
            .filter_map(|peer| self.by_key.get(&peer.key).copied())
            .filter(|peer| *peer != at && !self.links.contains(&pair(at, *peer)))
            .collect();
        self.rng.shuffle(&mut strangers);
        for peer in strangers
            .into_iter()
            .take(self.options.degree.saturating_sub(open))
        {
            self.connect(at, peer);
        }
    }

    fn set_alarm(&mut self, at: NodeId) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(at) else {
            return;
        };
        let due = node
            .engine
            .next_deadline()
            .map(|due| due.since_origin().max(now));
        if due.is_some() && due != node.wake {
            node.wake = due;
            self.later(due.unwrap_or(now).saturating_sub(now), Event::Wake { at });
        }
    }

    // --- what can be seen --------------------------------------------------------------------------------------

    /// How much time has passed.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.now
    }

    /// How many things have happened.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// A hash of every frame with its receiver and time: equal for equal runs.
    #[must_use]
    pub const fn trace(&self) -> u64 {
        self.trace
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The open connections and those on their way, each once.
    #[must_use]
    pub fn links(&self) -> Vec<(NodeId, NodeId)> {
        self.links.iter().copied().collect()
    }

    /// The engine of a node.
    #[must_use]
    pub fn engine(&self, node: NodeId) -> Option<&Engine> {
        self.nodes.get(node).map(|node| &node.engine)
    }

    /// What a node's store holds.
    #[must_use]
    pub fn set(&self, node: NodeId) -> Option<&PeerSet> {
        self.nodes.get(node).map(|node| &*node.set)
    }

    /// The newest record a node has signed.
    #[must_use]
    pub fn record(&self, node: NodeId) -> Option<SignedRecord> {
        self.nodes.get(node).and_then(Node::record)
    }

    /// True when `node` has the newest record of `other`.
    #[must_use]
    pub fn knows(&self, node: NodeId, other: NodeId) -> bool {
        let (Some(node), Some(other)) = (self.nodes.get(node), self.nodes.get(other)) else {
            return false;
        };
        let stored = node
            .set
            .get(&other.key())
            .and_then(|peer| peer.record.as_ref());
        other
            .record()
            .is_some_and(|newest| stored.is_some_and(|stored| stored.seq() >= newest.seq()))
    }

    /// True when every other node has the newest record of `node`.
    #[must_use]
    pub fn is_known_by_all(&self, node: NodeId) -> bool {
        (0..self.nodes.len()).all(|other| other == node || self.knows(other, node))
    }

    /// True when every node has the newest record of every other.
    #[must_use]
    pub fn all_know_all(&self) -> bool {
        (0..self.nodes.len()).all(|node| self.is_known_by_all(node))
    }

    /// The counters of all nodes, added up.
    #[must_use]
    pub fn counters(&self) -> ExchangeCounters {
        let mut sum = ExchangeCounters::default();
        for one in self.nodes.iter().map(|node| node.engine.counters()) {
            sum.bytes_in += one.bytes_in;
            sum.bytes_out += one.bytes_out;
            sum.messages_in += one.messages_in;
            sum.messages_out += one.messages_out;
            sum.records_offered += one.records_offered;
            sum.records_accepted += one.records_accepted;
            sum.records_refused += one.records_refused;
            sum.signatures_checked += one.signatures_checked;
        }
        sum
    }

    // --- helpers -----------------------------------------------------------------------------------------------

    fn clock(&self) -> Now {
        Now {
            monotonic: MonotonicTime::from_origin(self.now),
            wall: START.saturating_add(self.now),
        }
    }

    fn key(&self, node: NodeId) -> Option<PeerKey> {
        self.nodes.get(node).map(Node::key)
    }

    fn reaches(&self, one: NodeId, other: NodeId) -> bool {
        self.sides.get(&one) == self.sides.get(&other)
    }

    fn are_connected(&self, one: NodeId, other: NodeId) -> bool {
        self.links.contains(&pair(one, other))
    }

    fn latency(&mut self) -> Duration {
        self.rng
            .jitter(self.options.latency, self.options.latency_jitter)
    }

    fn later(&mut self, delay: Duration, event: Event) {
        self.serial += 1;
        self.events
            .insert((self.now.saturating_add(delay), self.serial), event);
    }

    /// FNV-1a over receiver, time and bytes of a frame.
    fn note(&mut self, to: NodeId, frame: &[u8]) {
        let time = self.now.as_nanos().to_le_bytes();
        for byte in to.to_le_bytes().iter().chain(&time).chain(frame) {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

fn pair(one: NodeId, other: NodeId) -> (NodeId, NodeId) {
    (one.min(other), one.max(other))
}
