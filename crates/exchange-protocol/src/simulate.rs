//! A federation on virtual time: the same engine that runs on sockets, thousands of times faster and replayable.
//!
//! Nodes, links and everything that happens are decided by one seed; two runs with the same calls are the same to the
//! byte ([`Simulation::trace`]). Links have latency, jitter, losses and uplinks; dials fail, nodes crash, clocks are off,
//! partitions come and go, and some nodes are hostile. In place of a store every patch is applied to the node's own
//! [`PeerSet`].
//!
//! What is left out: NAT, congestion control (an uplink is a queue), and the time that computing takes.
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

mod event;
mod hostile;
mod knowledge;
mod node;
mod options;
pub mod scenario;
pub mod series;
mod verifier;
mod wire;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use btcfed_core::config::NodeConfig;
use btcfed_core::exchange::{Exchange, ExchangeCounters, Input, Output, Reaction};
use btcfed_core::network::{CommandId, Direction, RequestError};
use btcfed_core::rng::SeededRng;
use btcfed_core::time::{MonotonicTime, Now, Timestamp};
use btcfed_core::{PeerKey, PeerOp, PeerPatch, PeerSet, SignedRecord};

use self::event::{Event, Events};
pub use self::hostile::Behaviour;
use self::knowledge::Knowledge;
use self::node::Node;
pub use self::options::SimOptions;
pub use self::verifier::MemoVerifier;
use self::world::ByKey;
use crate::Engine;

/// The earliest wall clock at the start: any moment will do.
const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// Names a node of a simulation; counts up from 0.
pub type NodeId = usize;

/// A federation on virtual time.
#[derive(Debug)]
pub struct Simulation {
    options: SimOptions,
    config: Arc<NodeConfig>,
    verifier: Arc<MemoVerifier>,
    rng: SeededRng,
    now: Duration,
    events: Events,
    nodes: Vec<Node>,
    by_key: ByKey,
    knowledge: Knowledge,
    /// Which side of the partition a node is on.
    sides: BTreeMap<NodeId, usize>,
    cut: Vec<(NodeId, NodeId)>,
    mischiefs: u64,
    messages: u64,
    trace: u64,
    steps: u64,
}

impl Simulation {
    /// A world without nodes.
    #[must_use]
    pub fn new(options: SimOptions) -> Self {
        Self {
            config: Arc::new(options.config.clone()),
            verifier: Arc::default(),
            rng: SeededRng::from_seed(options.seed),
            now: Duration::ZERO,
            events: Events::default(),
            nodes: Vec::new(),
            by_key: BTreeMap::new(),
            knowledge: Knowledge::default(),
            sides: BTreeMap::new(),
            cut: Vec::new(),
            mischiefs: 0,
            messages: 0,
            trace: 0xcbf2_9ce4_8422_2325,
            steps: 0,
            options,
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
            let is_over = self.events.next_at().is_none_or(|at| at > self.now);
            if is_over && goal(self) {
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
        let Some(at) = self.events.next_at().filter(|at| *at <= end) else {
            return false;
        };
        self.now = at;
        self.steps += 1;
        if let Some(event) = self.events.pop() {
            self.happen(event);
        }
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Closed { at, peer } => {
                if let Some(peer) = self.key(peer) {
                    self.feed(at, Input::Disconnected { peer });
                }
                self.dial_more(at);
            }
            Event::Dialled { from, to, failed } if self.are_connected(from, to) => {
                if failed {
                    self.disconnect(from, to);
                    // Who has nobody else tries again.
                    if self
                        .nodes
                        .get(from)
                        .is_some_and(|node| node.links.is_empty())
                    {
                        self.connect(from, to);
                    }
                } else {
                    self.open(from, to, Direction::Outbound);
                    self.open(to, from, Direction::Inbound);
                }
            }
            Event::Dialled { .. } => {}
            Event::Failed { at, id, error } => self.feed(at, Input::Failed { id, error }),
            Event::Mischief { at } => self.do_mischief(at),
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
            Event::Stored { at, set } => {
                let changes = Arc::from([]);
                self.feed(at, Input::StoreChanged { set, changes });
                self.dial_more(at);
            }
            Event::Wake { at } => {
                let node = self.nodes.get_mut(at);
                let is_due = |node: &mut Node| node.wake.take_if(|due| *due <= self.now).is_some();
                if node.is_some_and(is_due) {
                    self.feed(at, Input::Timeout);
                }
            }
        }
    }

    fn arrive(&mut self, from: NodeId, to: NodeId, id: CommandId, frame: Vec<u8>) {
        let is_up = self.are_connected(from, to);
        let node = self.nodes.get_mut(to).filter(|_| is_up);
        let token = node.map(|node| node.expect_reply(from, id));
        if let (Some(peer), Some(token)) = (self.key(from), token) {
            self.note(to, &frame);
            self.feed(to, Input::Request { peer, token, frame });
        } else {
            self.fail(from, id, RequestError::ConnectionClosed);
        }
    }

    fn open(&mut self, at: NodeId, peer: NodeId, direction: Direction) {
        if let Some(peer) = self.key(peer) {
            let scope = self.options.scope;
            let input = Input::Connected {
                peer,
                direction,
                scope,
            };
            self.feed(at, input);
        }
    }

    /// Feeds one node and does what it asks for.
    fn feed(&mut self, id: NodeId, input: Input) {
        let now = self.clock_of(id);
        let Some(node) = self.nodes.get_mut(id).filter(|node| node.is_running) else {
            return;
        };
        node.engine.handle(now, input);
        while let Some(output) = self
            .nodes
            .get_mut(id)
            .and_then(|node| node.engine.poll_output())
        {
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
                if let Some(peer) = self.node_of(&peer) {
                    self.disconnect(at, peer);
                }
            }
            Output::Dial { peer, .. } => {
                if let Some(peer) = self.node_of(&peer) {
                    self.connect(at, peer);
                }
            }
            Output::Reply { token, frame } => {
                if let Some(frame) = self.bent(at, frame) {
                    self.answer(at, token, frame);
                }
            }
            Output::Send { peer, id, frame } => match self.node_of(&peer) {
                Some(to) => {
                    if let Some(frame) = self.bent(at, frame) {
                        self.send(at, to, id, frame);
                    }
                }
                None => self.fail(at, id, RequestError::NotConnected),
            },
            Output::Store(patch) => self.store(at, &patch),
            Output::Notice(_) | Output::Penalty { .. } | _ => {}
        }
    }

    /// What becomes of a frame that a node sends.
    fn bent(&mut self, at: NodeId, frame: Vec<u8>) -> Option<Vec<u8>> {
        match self.nodes.get(at).and_then(|node| node.behaviour) {
            Some(behaviour) => behaviour.bend(frame, self.rng.next_u64()),
            None => Some(frame),
        }
    }

    fn store(&mut self, at: NodeId, patch: &PeerPatch) {
        let targets = patch.ops.iter().filter_map(|op| {
            let PeerOp::Learn(record) = op else {
                return None;
            };
            self.node_of(&record.key())
        });
        let before: BTreeMap<NodeId, bool> = targets.map(|to| (to, self.knows(at, to))).collect();
        let now = self.clock_of(at);
        let Some(node) = self.nodes.get_mut(at) else {
            return;
        };
        let Ok((set, _)) = node.set.apply(patch, now) else {
            return;
        };
        node.set = Arc::new(set);
        let set = Arc::clone(&node.set);
        for (to, known) in before {
            let knows = self.knows(at, to);
            if knows != known {
                self.knowledge.set(at, to, knows);
            }
        }
        self.later(self.options.store_latency, Event::Stored { at, set });
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

    /// How many frames were sent, without bare acknowledgements: those are empty.
    #[must_use]
    pub const fn messages(&self) -> u64 {
        self.messages
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
        self.nodes.get(node)?.record().cloned()
    }

    /// The signature checks of all nodes: each different one is computed once.
    #[must_use]
    pub fn verifier(&self) -> &MemoVerifier {
        &self.verifier
    }

    /// The counters of one node.
    #[must_use]
    pub fn counters_of(&self, node: NodeId) -> ExchangeCounters {
        let node = self.nodes.get(node);
        node.map(|node| node.engine.counters()).unwrap_or_default()
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

    /// The clock of a node: all count the same seconds, and take them for different times of day.
    fn clock_of(&self, node: NodeId) -> Now {
        let ahead = self.nodes.get(node).map(|node| node.clock_ahead);
        let now = self.clock();
        Now {
            wall: now.wall.saturating_add(ahead.unwrap_or_default()),
            ..now
        }
    }

    fn key(&self, node: NodeId) -> Option<PeerKey> {
        self.nodes.get(node).map(Node::key)
    }

    /// FNV-1a over receiver, time and bytes of a frame.
    fn note(&mut self, to: NodeId, frame: &[u8]) {
        let time = self.now.as_nanos().to_le_bytes();
        for byte in to.to_le_bytes().iter().chain(&time).chain(frame) {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
