//! The node's decisions. Synchronous: takes the time and an event, returns actions; reads no clock and does no I/O.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use btcfed_core::addr::{AddrScope, PeerAddr};
use btcfed_core::ban::{BanTarget, Issuer};
use btcfed_core::config::NodeConfig;
use btcfed_core::exchange::{Exchange, Input, Notice, Output};
use btcfed_core::identity::SecretKey;
use btcfed_core::key::PeerKey;
use btcfed_core::network::{
    CommandId, DialError, Direction, DisconnectReason, NetworkCommand, NetworkEvent,
};
use btcfed_core::patch::{PeerChange, PeerOp, PeerPatch};
use btcfed_core::peer::{AddressSource, PeerRecord, PeerSource};
use btcfed_core::record::{RecordError, SignedRecord};
use btcfed_core::rng::SeededRng;
use btcfed_core::set::PeerSet;
use btcfed_core::time::{MonotonicTime, Now};
use tracing::field::{DisplayValue, display};

use crate::admission::Admission;
use crate::churn::ChurnLog;
use crate::connections::Connections;
use crate::dialer::{Dialer, View};
use crate::event::{Action, Event, NodeEvent};
use crate::failures::describe;
use crate::lost_listeners::LostListeners;
use crate::own_record::{OwnRecord, published_addresses, unreachable_reason};
use crate::penalty;
use crate::staleness::Sweeper;
use crate::status::NodeCounters;

/// Most outputs drained from the exchange engine in one go: an engine that never stops talking is a bug, and must not
/// take the node with it. What is left is drained in the next turn.
const MAX_OUTPUTS_PER_EVENT: usize = 10_000;

/// Most addresses for which it is remembered that the log has told of them.
const MAX_TOLD: usize = 1024;

/// Everything a node knows besides its store.
#[derive(Debug)]
pub(crate) struct NodeLogic {
    churn: ChurnLog,
    pub(crate) config: Arc<NodeConfig>,
    pub(crate) connections: Connections,
    pub(crate) counters: NodeCounters,
    pub(crate) exchange: Box<dyn Exchange>,
    pub(crate) listen: Vec<PeerAddr>,
    /// Where a listener is missing.
    pub(crate) lost: LostListeners,
    pub(crate) set: Arc<PeerSet>,
    admission: Admission,
    dialer: Dialer,
    next_id: u64,
    own: PeerKey,
    own_record: OwnRecord,
    /// Why others cannot reach this node, as it was last told.
    unreachable: Option<&'static str>,
    refused: Vec<BanTarget>,
    reserved: BTreeSet<PeerKey>,
    rng: SeededRng,
    /// The engine has more to say than one turn allows.
    undrained: bool,
    /// Addresses at which somebody else answered, told once each.
    told_wrong_peer: BTreeSet<PeerAddr>,
    told_own_entry: bool,
    sweeper: Sweeper,
    actions: Vec<Action>,
}

impl NodeLogic {
    pub(crate) fn new(
        config: Arc<NodeConfig>,
        secret: SecretKey,
        exchange: Box<dyn Exchange>,
        set: Arc<PeerSet>,
        seed: u64,
    ) -> Self {
        Self {
            churn: ChurnLog::default(),
            config,
            connections: Connections::default(),
            counters: NodeCounters::default(),
            exchange,
            listen: Vec::new(),
            lost: LostListeners::default(),
            set,
            admission: Admission::default(),
            dialer: Dialer::default(),
            next_id: 1 << 32,
            own: secret.public(),
            own_record: OwnRecord::new(secret),
            unreachable: None,
            refused: Vec::new(),
            reserved: BTreeSet::new(),
            rng: SeededRng::from_seed(seed),
            undrained: false,
            told_wrong_peer: BTreeSet::new(),
            told_own_entry: false,
            sweeper: Sweeper::default(),
            actions: Vec::new(),
        }
    }

    /// The first decisions: what is refused and reserved, what is told about this node, whom to dial.
    pub(crate) fn start(&mut self, now: Now, listen: Vec<PeerAddr>) -> Vec<Action> {
        self.listen = listen;
        self.tell_own_entry();
        self.sweeper.start(now, &mut self.rng);
        self.update_refused(now);
        self.update_reserved();
        self.update_admission();
        self.update_own_record(now);
        self.plan_dials(now);
        std::mem::take(&mut self.actions)
    }

    /// Takes in one event and returns what to do about it.
    pub(crate) fn on_event(&mut self, now: Now, event: Event) -> Vec<Action> {
        match event {
            Event::Deadline => self.on_deadline(now),
            Event::Network(event) => self.on_network(now, event),
            Event::Reconfigured(config) => self.on_reconfigured(now, config),
            Event::RequestNotQueued { id, error } => self.feed(now, Input::Failed { id, error }),
            Event::StoreChanged { set, changes } => self.on_store_changed(now, set, changes),
        }
        std::mem::take(&mut self.actions)
    }

    /// A dial could not be queued: nobody's failure, it is planned again.
    pub(crate) fn dial_not_queued(&mut self, id: CommandId) {
        self.dialer.cancelled(id);
    }

    /// What is told about where to find this node.
    pub(crate) fn announced(&self) -> Vec<PeerAddr> {
        published_addresses(&self.config.network.announce, &self.listen)
    }

    /// How many peers wait for the operator to add them.
    pub(crate) fn waiting(&self) -> usize {
        self.admission.waiting(&self.set)
    }

    /// When [`Event::Deadline`] is due at the latest.
    pub(crate) fn next_deadline(&self, now: Now) -> Option<MonotonicTime> {
        let until_unban = self
            .set
            .bans()
            .filter_map(|ban| ban.until)
            .filter(|until| *until > now.wall)
            .min()
            .map(|until| {
                now.monotonic
                    .saturating_add(until.saturating_since(now.wall))
            });
        [
            self.undrained.then_some(now.monotonic),
            self.exchange.next_deadline(),
            self.dialer.next_deadline(),
            self.own_record.next_deadline(),
            self.sweeper.next_deadline(),
            until_unban,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn on_deadline(&mut self, now: Now) {
        if self.undrained {
            self.drain(now);
        }
        if self
            .exchange
            .next_deadline()
            .is_some_and(|at| at <= now.monotonic)
        {
            self.feed(now, Input::Timeout);
        }
        self.lift_lapsed_bans(now);
        self.forget_silent_peers(now);
        self.update_own_record(now);
        self.plan_dials(now);
    }

    fn on_network(&mut self, now: Now, event: NetworkEvent) {
        match event {
            NetworkEvent::Connected {
                peer,
                direction,
                addr,
                remote_ip,
                command,
            } => {
                let scope = link_scope(&addr, remote_ip);
                self.on_connected(now, peer, direction, addr, scope, command);
            }
            NetworkEvent::Disconnected { peer, reason } => self.on_disconnected(now, peer, reason),
            NetworkEvent::DialFailed { id, peer, attempts } => {
                self.on_dial_failed(now, id, peer, &attempts)
            }
            NetworkEvent::AddressFailed {
                peer, addr, error, ..
            } => self.on_wrong_peer(now, Some(peer), &[(addr, error)]),
            NetworkEvent::Request { peer, token, frame } => {
                self.feed(now, Input::Request { peer, token, frame })
            }
            NetworkEvent::Response { id, frame, .. } => {
                self.feed(now, Input::Response { id, frame })
            }
            NetworkEvent::RequestFailed { id, error, .. } => {
                self.feed(now, Input::Failed { id, error })
            }
            NetworkEvent::Identified {
                peer,
                agent,
                speaks_protocol,
            } => {
                if let Some(connection) = self.connections.get_mut(&peer) {
                    let dial = connection.dial.map(display);
                    tracing::debug!(peer = %peer.peer_id(), dial, agent = ?agent, speaks_protocol, "peer identified itself");
                    connection.agent = Some(agent);
                }
            }
            NetworkEvent::Ping { peer, rtt } => {
                if let Some(connection) = self.connections.get_mut(&peer) {
                    connection.rtt = Some(rtt);
                    self.store(PeerOp::Measured { key: peer, rtt });
                }
            }
            NetworkEvent::Listening { addr } => self.on_listening(now, addr),
            NetworkEvent::ListenClosed { addr, error } => {
                self.on_listen_closed(now, &addr, error.as_deref())
            }
            other => tracing::debug!(event = ?other, "a network event this node does not know"),
        }
    }

    fn on_connected(
        &mut self,
        now: Now,
        peer: PeerKey,
        direction: Direction,
        addr: PeerAddr,
        scope: AddrScope,
        command: Option<CommandId>,
    ) {
        let bootstrap = self.dialer.connected(now.monotonic, peer, command);
        if bootstrap.is_some() {
            self.update_admission();
        }
        if !self.admission.admits(&peer) {
            // Let in before the network had the list; it never was a peer.
            return self.network(NetworkCommand::Disconnect { peer });
        }
        if !self
            .connections
            .insert(now, peer, direction, addr.clone(), command)
        {
            return;
        }
        self.counters.connections += 1;
        if let Some(left_out) = self.churn.admit(now.monotonic) {
            let direction = direction.as_str();
            let dial = command.map(display);
            tracing::info!(peer = %peer.peer_id(), dial, direction, %addr, left_out, "connected");
        }
        let dialled = (direction == Direction::Outbound).then(|| addr.clone());
        let chosen =
            bootstrap.or_else(|| dialled.clone().filter(|_| self.is_bootstrap_peer(&peer)));
        if let Some(addr) = chosen.filter(|_| !self.set.contains(&peer)) {
            let mut record = PeerRecord::new(peer, PeerSource::Bootstrap);
            record.add_address(addr, AddressSource::Operator);
            self.store(PeerOp::Create(Box::new(record)));
        }
        self.store(PeerOp::ContactSucceeded {
            key: peer,
            addr: dialled,
        });
        self.actions.push(Action::Tell(NodeEvent::Connected {
            peer,
            direction,
            addr,
            dial: command,
        }));
        self.feed(
            now,
            Input::Connected {
                peer,
                direction,
                scope,
            },
        );
        self.plan_dials(now);
    }

    fn on_disconnected(&mut self, now: Now, peer: PeerKey, reason: DisconnectReason) {
        let Some(connection) = self.connections.remove(&peer) else {
            return;
        };
        let dial = connection.dial;
        self.counters.disconnections += 1;
        if let Some(left_out) = self.churn.admit(now.monotonic) {
            let reason = reason.as_str();
            tracing::info!(peer = %peer.peer_id(), dial = dial.map(display), reason, left_out, "disconnected");
        }
        self.dialer
            .disconnected(now.monotonic, peer, &self.config, &mut self.rng);
        self.actions
            .push(Action::Tell(NodeEvent::Disconnected { peer, reason, dial }));
        self.feed(now, Input::Disconnected { peer });
        self.plan_dials(now);
    }

    fn on_dial_failed(
        &mut self,
        now: Now,
        id: CommandId,
        peer: Option<PeerKey>,
        attempts: &[(PeerAddr, DialError)],
    ) {
        let connected = peer.filter(|peer| self.connections.contains(peer));
        if connected.is_some() || attempts.is_empty() {
            self.dialer
                .redundant(now.monotonic, id, connected, &mut self.rng);
            self.plan_dials(now);
            return;
        }
        let found_self = attempts
            .iter()
            .any(|(_, error)| matches!(error, DialError::Own));
        let Some(retry_in) = self
            .dialer
            .failed(now.monotonic, id, found_self, &mut self.rng)
        else {
            return;
        };
        self.counters.dials_failed += 1;
        self.on_wrong_peer(now, peer, attempts);
        let reason = describe(attempts);
        let who = peer.map(|peer| display(peer.peer_id()));
        tracing::debug!(dial = %id, peer = who, %reason, ?retry_in, "dial failed");
        if let Some(key) = peer {
            let addrs = attempts.iter().map(|(addr, _)| addr.clone()).collect();
            self.store(PeerOp::ContactFailed { key, addrs });
        }
        self.actions.push(Action::Tell(NodeEvent::DialFailed {
            dial: id,
            peer,
            reason,
            retry_in,
        }));
        self.plan_dials(now);
    }

    fn on_listening(&mut self, now: Now, addr: PeerAddr) {
        self.lost.found(&addr);
        if self.listen.contains(&addr) {
            return;
        }
        tracing::info!(%addr, "listening");
        self.listen.push(addr.clone());
        self.actions.push(Action::Tell(NodeEvent::Listening(addr)));
        self.update_own_record(now);
    }

    fn on_listen_closed(&mut self, now: Now, addr: &PeerAddr, error: Option<&str>) {
        if !self.listen.contains(addr) {
            return;
        }
        self.lost.closed(now.wall, addr, error);
        self.listen.retain(|known| known != addr);
        self.actions
            .push(Action::Tell(NodeEvent::ListenClosed(addr.clone())));
        self.update_own_record(now);
    }

    fn on_reconfigured(&mut self, now: Now, config: Arc<NodeConfig>) {
        self.config = config;
        self.lost.reconfigured(&self.config.network.addresses);
        self.dialer.reconfigured(&self.config);
        self.update_admission();
        self.feed(now, Input::Reconfigured(Arc::clone(&self.config)));
        self.update_own_record(now);
        self.plan_dials(now);
    }

    fn on_store_changed(&mut self, now: Now, set: Arc<PeerSet>, changes: Arc<[PeerChange]>) {
        let before = std::mem::replace(&mut self.set, Arc::clone(&set));
        // No change named means that some were missed.
        let is_hard = changes.is_empty()
            || changes
                .iter()
                .any(|change| !matches!(change, PeerChange::Touched(_)));
        if is_hard {
            self.update_admission();
        }
        for change in changes.iter() {
            self.on_change(&before, change);
        }
        if is_hard {
            self.tell_own_entry();
            self.update_refused(now);
            self.update_reserved();
            self.plan_dials(now);
        }
        self.feed(now, Input::StoreChanged { set, changes });
    }

    fn on_change(&mut self, before: &PeerSet, change: &PeerChange) {
        match change {
            PeerChange::Added(key) => {
                self.counters.peers_added += 1;
                let source = self.set.view(key).map(|peer| peer.source().as_str());
                if self.admission.admits(key) {
                    tracing::info!(peer = %key.peer_id(), source, known = self.set.len(), "peer added");
                } else {
                    tracing::info!(peer = %key.peer_id(), source, waiting = self.waiting(), "peer added; it waits until it is allowed with `peers add`");
                }
                self.dialer.changed(key);
                self.note_contact_with_new(key);
                self.actions.push(Action::Tell(NodeEvent::PeerAdded(*key)));
            }
            PeerChange::Removed(key) => {
                tracing::info!(peer = %key.peer_id(), known = self.set.len(), "peer removed");
                self.dialer.forget(key);
                if self.connections.contains(key) {
                    self.network(NetworkCommand::Disconnect { peer: *key });
                }
                self.actions
                    .push(Action::Tell(NodeEvent::PeerRemoved(*key)));
            }
            PeerChange::Updated(key) => {
                let addrs = |set: &PeerSet, is_chosen: fn(AddressSource) -> bool| {
                    let addresses = set.view(key).map(|peer| peer.addresses());
                    let addresses = addresses.into_iter().flatten();
                    let addresses = addresses.filter(|known| is_chosen(known.source));
                    addresses.map(|known| known.addr).collect::<BTreeSet<_>>()
                };
                let differ = |which| addrs(before, which) != addrs(&self.set, which);
                if differ(|source| source == AddressSource::Operator) {
                    self.dialer.reset(key);
                } else if differ(|_| true) {
                    self.dialer.changed(key);
                }
            }
            PeerChange::Banned(target) => {
                self.actions.push(Action::Tell(NodeEvent::Banned(*target)))
            }
            PeerChange::Unbanned(target) => {
                if let BanTarget::Peer(key) = target {
                    self.dialer.reset(key);
                }
                self.actions
                    .push(Action::Tell(NodeEvent::Unbanned(*target)));
            }
            _ => {}
        }
    }

    /// A peer that connected before its record arrived is known only now: its proof of identity counts from here.
    fn note_contact_with_new(&mut self, key: &PeerKey) {
        let is_noted = self
            .set
            .get(key)
            .is_none_or(|record| record.stats.last_seen.is_some());
        let Some(connection) = self.connections.get(key).filter(|_| !is_noted) else {
            return;
        };
        let dialled = connection.direction == Direction::Outbound;
        let addr = dialled.then(|| connection.addr.clone());
        self.store(PeerOp::ContactSucceeded { key: *key, addr });
    }

    /// Tells once what an operator has to mend: an entry for this node itself, somebody else at an address.
    fn tell_own_entry(&mut self) {
        if self.set.contains(&self.own) && !std::mem::replace(&mut self.told_own_entry, true) {
            tracing::warn!(peer = %self.own.peer_id(), "this node itself is listed as a peer; the entry is ignored");
        }
    }

    /// Somebody else, or this node itself, answers at an address: told once, and left out of the next dials of the peer.
    fn on_wrong_peer(
        &mut self,
        now: Now,
        peer: Option<PeerKey>,
        attempts: &[(PeerAddr, DialError)],
    ) {
        for (addr, error) in attempts {
            let found = match (error, peer) {
                (DialError::WrongPeer { obtained }, _) => obtained.clone(),
                (DialError::Own, Some(_)) => self.own.peer_id().to_string(),
                _ => continue,
            };
            if let Some(peer) = peer {
                self.dialer.misled(now.monotonic, peer, addr.clone());
            }
            if self.told_wrong_peer.len() < MAX_TOLD && self.told_wrong_peer.insert(addr.clone()) {
                let wanted = peer.map(|peer| peer.peer_id().to_string());
                tracing::warn!(%addr, wanted, ?found, "a different peer answers at this address");
            }
        }
    }

    /// Feeds the engine and turns everything it wants into actions.
    fn feed(&mut self, now: Now, input: Input) {
        self.exchange.handle(now, input);
        self.drain(now);
    }

    fn drain(&mut self, now: Now) {
        self.undrained = false;
        for _ in 0..MAX_OUTPUTS_PER_EVENT {
            let Some(output) = self.exchange.poll_output() else {
                return;
            };
            self.on_output(now, output);
        }
        tracing::warn!(
            limit = MAX_OUTPUTS_PER_EVENT,
            "the exchange engine produced too much at once"
        );
        self.undrained = true;
    }

    fn on_output(&mut self, now: Now, output: Output) {
        match output {
            Output::Close { peer, reason } => {
                if let Some(left_out) = self.churn.admit(now.monotonic) {
                    tracing::info!(peer = %peer.peer_id(), reason, left_out, "closing connection");
                }
                self.network(NetworkCommand::Disconnect { peer });
            }
            Output::Dial { peer, .. } if !self.admission.admits(&peer) => {}
            Output::Dial { peer, addrs } => {
                let id = self.next_id();
                self.network(NetworkCommand::Dial {
                    id,
                    peer: Some(peer),
                    addrs,
                });
            }
            Output::Notice(notice) => self.on_notice(now, notice),
            Output::Penalty {
                peer,
                reaction,
                reason,
            } => {
                let ban_for = self.config.peers.ban.duration;
                let actions = penalty::react(&self.set, now.wall, peer, reaction, &reason, ban_for);
                self.actions.extend(actions);
            }
            Output::Reply { token, frame } => {
                self.network(NetworkCommand::Respond { token, frame })
            }
            Output::Send { peer, id, frame } => {
                self.network(NetworkCommand::Request { id, peer, frame })
            }
            Output::Store(patch) => self.actions.push(Action::Store(patch)),
            other => tracing::debug!(output = ?other, "an engine output this node does not know"),
        }
    }

    /// The dial that made the connection to a peer, for the log.
    fn dial_of(&self, peer: &PeerKey) -> Option<DisplayValue<CommandId>> {
        self.connections.get(peer)?.dial.map(display)
    }

    fn on_notice(&mut self, now: Now, notice: Notice) {
        match notice {
            Notice::Busy { peer, retry_after } => {
                tracing::debug!(peer = %peer.peer_id(), ?retry_after, "the peer has no room; leaving it alone");
                let until = now.monotonic.saturating_add(retry_after);
                self.dialer.hold(until, peer, &self.config);
            }
            Notice::HandshakeCompleted {
                peer,
                agent,
                clock_offset_ms,
            } => {
                let dial = self.dial_of(&peer);
                tracing::debug!(peer = %peer.peer_id(), dial, agent, clock_offset_ms, "handshake completed");
                if let Some(connection) = self.connections.get_mut(&peer) {
                    connection.handshaken = true;
                    connection.clock_offset_ms = Some(clock_offset_ms);
                }
            }
            Notice::Equivocation {
                peer,
                seq,
                kept,
                dropped,
            } => {
                tracing::warn!(peer = %peer.peer_id(), seq, kept = ?kept.addresses(), dropped = ?dropped.addresses(), "a peer signed two different records with one number; does a second node run with its key?");
            }
            Notice::OwnRecordAhead { seq } => {
                tracing::warn!(
                    seq,
                    "a newer record of this node's own identity is around; signing a newer one"
                );
                let signed = self.own_record.overtake(now, seq, &mut self.rng);
                self.publish(now, signed);
            }
            Notice::SyncCompleted {
                peer,
                received,
                learned,
            } => {
                let dial = self.dial_of(&peer);
                tracing::debug!(peer = %peer.peer_id(), dial, received, learned, "synchronised");
            }
            other => tracing::debug!(notice = ?other, "a notice this node does not know"),
        }
    }

    fn update_own_record(&mut self, now: Now) {
        let addresses = self.announced();
        let bootstrap = &self.config.peers.bootstrap;
        let unreachable = unreachable_reason(&addresses, &self.listen, bootstrap);
        if let Some(reason) = unreachable.filter(|_| unreachable != self.unreachable) {
            tracing::warn!(announced = ?addresses, reason, "others may be unable to reach this node; set network.announce");
        }
        self.unreachable = unreachable;
        let signed = self.own_record.update(now, addresses, &mut self.rng);
        self.publish(now, signed);
    }

    fn publish(&mut self, now: Now, signed: Result<Option<SignedRecord>, RecordError>) {
        match signed {
            Ok(Some(record)) => {
                tracing::debug!(
                    seq = record.seq(),
                    addresses = record.addresses().len(),
                    "signed own record"
                );
                self.feed(now, Input::OwnRecord(record));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot sign the own record; others keep the old one")
            }
        }
    }

    fn plan_dials(&mut self, now: Now) {
        let view = View {
            now,
            config: &self.config,
            set: &self.set,
            connections: &self.connections,
            own: self.own,
            admission: &self.admission,
        };
        let next_id = &mut self.next_id;
        let dials = self
            .dialer
            .plan(&view, &mut self.rng, &mut || take_id(next_id));
        for dial in dials {
            self.counters.dials += 1;
            tracing::debug!(dial = %dial.id, peer = dial.peer.map(|p| p.peer_id().to_string()), addrs = ?dial.addrs, "dialling");
            self.network(NetworkCommand::Dial {
                id: dial.id,
                peer: dial.peer,
                addrs: dial.addrs,
            });
        }
    }

    fn update_refused(&mut self, now: Now) {
        let refused: Vec<BanTarget> = self
            .set
            .bans()
            .filter(|ban| ban.is_active(now.wall))
            .map(|ban| ban.target)
            .collect();
        if refused != self.refused {
            self.refused.clone_from(&refused);
            self.network(NetworkCommand::Refuse { targets: refused });
        }
    }

    fn update_reserved(&mut self) {
        let reserved: BTreeSet<PeerKey> = self
            .set
            .iter()
            .filter(|record| record.pinned)
            .map(|record| record.key)
            .collect();
        if reserved != self.reserved {
            self.network(NetworkCommand::Reserve {
                peers: reserved.iter().copied().collect(),
            });
            self.reserved = reserved;
        }
    }

    /// Tells the network who may connect, and parts from those who may not any more.
    fn update_admission(&mut self) {
        let admission = Admission::of(&self.config, &self.set, self.dialer.resolved());
        if admission == self.admission {
            return;
        }
        self.admission = admission;
        let waiting = self.waiting();
        tracing::info!(
            mode = self.config.peers.mode.as_str(),
            waiting,
            "admission changed"
        );
        self.network(NetworkCommand::Admit {
            peers: self.admission.list(),
        });
        let strangers: Vec<PeerKey> = self
            .connections
            .iter()
            .map(|connection| connection.peer)
            .filter(|peer| !self.admission.admits(peer))
            .collect();
        for peer in strangers {
            self.network(NetworkCommand::Disconnect { peer });
        }
    }

    fn lift_lapsed_bans(&mut self, now: Now) {
        let lapsed: Vec<PeerOp> = self
            .set
            .bans()
            .filter(|ban| !ban.is_active(now.wall))
            .map(|ban| PeerOp::Unban(ban.target))
            .collect();
        for op in lapsed {
            self.store(op);
        }
    }

    fn forget_silent_peers(&mut self, now: Now) {
        let connections = &self.connections;
        let silent = self.sweeper.sweep(
            now,
            &self.config.peers,
            &self.set,
            |peer| connections.contains(peer),
            &mut self.rng,
        );
        if !silent.is_empty() {
            let after = self.config.peers.forget_after;
            tracing::info!(
                peers = silent.len(),
                ?after,
                "forgetting learned peers that nobody has heard of"
            );
        }
        for key in silent {
            let by = Issuer::Node;
            self.store(PeerOp::Remove { key, by });
        }
    }

    fn is_bootstrap_peer(&self, peer: &PeerKey) -> bool {
        self.config
            .peers
            .bootstrap
            .iter()
            .any(|entry| entry.peer_id.is_some_and(|id| id.key() == *peer))
    }

    fn network(&mut self, command: NetworkCommand) {
        self.actions.push(Action::Network(command));
    }

    fn store(&mut self, op: PeerOp) {
        self.actions.push(Action::Store(PeerPatch::one(op)));
    }

    fn next_id(&mut self) -> CommandId {
        take_id(&mut self.next_id)
    }
}

/// Ids of this side start at 2^32, those of the engine at 0: they never meet.
const fn take_id(next: &mut u64) -> CommandId {
    let id = CommandId(*next);
    *next += 1;
    id
}

/// Which addresses mean something over a link: what the IP address at its other end says. Where that is not known, a name
/// counts as public, which never leaks a private address.
fn link_scope(addr: &PeerAddr, remote_ip: Option<IpAddr>) -> AddrScope {
    let scope = remote_ip.map_or_else(
        || addr.scope(),
        |ip| PeerAddr::from_socket_addr((ip, 0).into()).scope(),
    );
    if scope == AddrScope::Dns {
        AddrScope::Public
    } else {
        scope
    }
}
