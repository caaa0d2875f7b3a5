//! The task that owns the swarm: takes commands, polls libp2p, tells the node.
//!
//! Backpressure: the swarm is polled only while a slot for an event is free. A node that does not keep up makes this
//! task stop reading from connections, TCP fills up, and the peers wait. Commands and reloads are taken meanwhile.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use btcfed_core::config::{NetworkConfig, PeersMode};
use btcfed_core::limits::{MAX_FRAME_BYTES, NETWORK_EVENT_QUEUE};
use btcfed_core::network::{
    CommandId, DialError, Direction, NetworkCommand, NetworkError, NetworkEvent, RequestError,
    RequestToken,
};
use btcfed_core::time::MonotonicTime;
use btcfed_core::{BanTarget, PeerAddr, PeerId, PeerKey};
use futures::StreamExt as _;
use libp2p::Swarm;
use libp2p::core::transport::ListenerId;
use libp2p::request_response::{InboundRequestId, OutboundRequestId, ResponseChannel};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{Config, ConnectionId, SwarmEvent};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::behaviour::{Behaviour, BehaviourEvent};
use crate::cancel::Cancels;
use crate::connection::{Closing, ConnectionTable, Liveness};
use crate::convert;
use crate::dial::{Dial, Dials};
use crate::gate::{ConnectionLimits, Gate, Refusal};
use crate::handle::{NetworkEvents, NetworkHandle};
use crate::limits::{
    ANSWER_LINGER, CONTROL_QUEUE, FAREWELL_TIMEOUT, IDLE_TIMEOUT, LISTEN_DEADLINE, PORT_RETRY_PAUSE,
};
use crate::listen::{self, Listeners};
use crate::names::KnownNames;
use crate::options::SpawnOptions;
use crate::refused::Refused;
use crate::reload::{PendingReload, Prepare};
use crate::requests::{Admission, IncomingRequests, Outgoing, OutgoingRequests};
use crate::resolved::Resolved;
use crate::resolver::{LiveNaming, Naming};
use crate::stats::Counters;
use crate::transport::{self, SetupTimeout};
use crate::turns::Turns;
use crate::{MESSAGES, PROTOCOL};

/// What woke the task.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, on the stack, for a moment"
)]
enum Step {
    Command(NetworkCommand),
    Prepare(Prepare),
    Decided(bool),
    Room,
    Check,
    Listen,
    Swarm(SwarmEvent<BehaviourEvent>),
}

/// The state of the network task.
pub(crate) struct Host {
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) table: ConnectionTable<ConnectionId>,
    pub(crate) dials: Dials,
    pub(crate) outgoing: OutgoingRequests<OutboundRequestId>,
    pub(crate) incoming: IncomingRequests<InboundRequestId, ResponseChannel<Vec<u8>>>,
    /// Requests that failed on a connection which is about to be gone; they are sent again when it is.
    pub(crate) parked: Vec<(ConnectionId, Outgoing)>,
    /// Answers handed to libp2p and not written yet.
    pub(crate) answering: HashSet<InboundRequestId>,
    /// When the last answer was written.
    pub(crate) answered: Option<Instant>,
    pub(crate) listeners: Listeners,
    pub(crate) names: KnownNames<ConnectionId>,
    pub(crate) naming: Arc<LiveNaming>,
    pub(crate) turns: Turns,
    pub(crate) cancels: Cancels,
    /// The dial behind the connection of a peer, for the log.
    pub(crate) dialled: HashMap<PeerKey, CommandId>,
    pub(crate) refused: Arc<Refused>,
    pub(crate) setup_timeout: Arc<SetupTimeout>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) reload: Option<PendingReload>,
    local: PeerKey,
    commands: mpsc::Receiver<NetworkCommand>,
    reloads: mpsc::Receiver<Prepare>,
    events: mpsc::Sender<NetworkEvent>,
    /// Events that found no slot. The swarm is not polled before it is empty.
    outbox: VecDeque<NetworkEvent>,
    origin: Instant,
    /// Since when the node has not kept up.
    blocked_since: Option<Instant>,
}

/// In allowlist mode nobody is let in before the node says who may.
fn gate_at_start(options: &SpawnOptions, refused: &Arc<Refused>, resolved: Arc<Resolved>) -> Gate {
    let limits = ConnectionLimits::effective(&options.network);
    let mut gate = Gate::new(limits, Arc::clone(refused), resolved);
    if options.mode == PeersMode::Allowlist {
        gate.admit(Some(Vec::new()));
    }
    gate
}

impl Host {
    /// Builds everything and binds every listener. On error nothing is left behind.
    pub(crate) async fn start(
        mut options: SpawnOptions,
    ) -> Result<(Self, NetworkHandle, NetworkEvents), NetworkError> {
        listen::check(&options.network.addresses)?;
        let addresses = listen::without_missing_ipv6(options.network.addresses.clone());
        let keypair = convert::keypair(&options.secret)?;
        let (refused, counters) = (Arc::new(Refused::default()), Arc::new(Counters::default()));
        let setup_timeout = Arc::new(SetupTimeout::new(options.connection_timeout));
        let (resolved, cancels) = (Arc::new(Resolved::default()), Cancels::default());
        let naming = Naming::new(&options.network, options.name_servers.take());
        let (naming, turns) = (Arc::new(LiveNaming::new(naming)), Turns::default());
        let transport = transport::build(
            &keypair,
            Arc::clone(&setup_timeout),
            &refused,
            &resolved,
            &cancels,
            Arc::clone(&naming),
            turns.clone(),
        )?;
        let gate = gate_at_start(&options, &refused, resolved);
        let protocols = std::mem::take(&mut options.protocols).into_ports();
        let (public, counted) = (keypair.public(), Arc::clone(&counters));
        let behaviour = Behaviour::new(&options, public, gate, counted, protocols);
        let config = Config::with_tokio_executor().with_idle_connection_timeout(IDLE_TIMEOUT);
        let swarm = Swarm::new(transport, behaviour, keypair.public().to_peer_id(), config);
        let (command_sender, commands) = mpsc::channel(btcfed_core::limits::NETWORK_COMMAND_QUEUE);
        let (reload_sender, reloads) = mpsc::channel(CONTROL_QUEUE);
        let (events, event_receiver) = mpsc::channel(NETWORK_EVENT_QUEUE);
        let local: PeerId = options.secret.peer_id();
        let mut host = Self {
            swarm,
            table: ConnectionTable::new(local, Liveness::from(&options.network)),
            dials: Dials::default(),
            outgoing: OutgoingRequests::new(),
            incoming: IncomingRequests::new(),
            parked: Vec::new(),
            answering: HashSet::new(),
            answered: None,
            listeners: Listeners::default(),
            names: KnownNames::new(options.network.dns_serve_stale),
            naming,
            turns,
            cancels,
            dialled: HashMap::new(),
            refused,
            setup_timeout,
            counters: Arc::clone(&counters),
            reload: None,
            local: local.key(),
            commands,
            reloads,
            events,
            outbox: VecDeque::new(),
            origin: Instant::now(),
            blocked_since: None,
        };
        host.listen_at_start(&addresses, &options.network).await?;
        host.wait_for_listeners().await;
        let addrs = host.listeners.shared();
        let handle = NetworkHandle {
            local,
            commands: command_sender,
            reloads: reload_sender,
            addrs,
            counters,
        };
        Ok((host, handle, NetworkEvents(event_receiver)))
    }

    /// Binds every address. A busy port is tried again for a while, then the ports that follow it, as far as the
    /// configuration wants that.
    async fn listen_at_start(
        &mut self,
        addresses: &[PeerAddr],
        config: &NetworkConfig,
    ) -> Result<(), NetworkError> {
        let (mut retries, mut pause) = (config.port_retries, PORT_RETRY_PAUSE);
        for addr in addresses {
            while let Err(error) = self.listen(addr, &[]) {
                if !matches!(error, NetworkError::AddressInUse { .. }) {
                    return Err(error);
                }
                if retries > 0 {
                    tracing::warn!(%addr, ?pause, retries, "the port is busy; trying again");
                    tokio::time::sleep(pause).await;
                    (retries, pause) = (retries - 1, pause.saturating_mul(2));
                } else if self.listen_nearby(addr, addresses, config.port_fallback) {
                    break;
                } else {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Binds one of the ports that follow a busy one. The listener counts as the configured one, so that a reload of the
    /// same configuration leaves it alone.
    fn listen_nearby(&mut self, addr: &PeerAddr, configured: &[PeerAddr], count: u16) -> bool {
        for other in listen::following_ports(addr, count) {
            let is_wanted = configured.iter().any(|c| listen::overlaps(c, &other));
            if is_wanted || listen::probe(&other).is_err() {
                continue;
            }
            if let Ok(id) = self.swarm.listen_on(convert::multiaddr(&other)) {
                tracing::warn!(configured = %addr, instead = %other, "THE CONFIGURED PORT IS BUSY; listening on another one");
                self.listeners.insert(id, addr.clone());
                return true;
            }
        }
        false
    }

    /// Binds the addresses again whose listeners failed.
    fn listen_again(&mut self) {
        for addr in self.listeners.due(Instant::now()) {
            // The new listener tells when it accepts connections. The warning about the lost one stands until then.
            if let Err(error) = self.listen(&addr, &[]) {
                tracing::debug!(%addr, %error, "not bound again yet");
            }
        }
    }

    /// Binds one address. It is not probed where it overlaps one of our own that is about to be `leaving`.
    pub(crate) fn listen(
        &mut self,
        addr: &PeerAddr,
        leaving: &[PeerAddr],
    ) -> Result<ListenerId, NetworkError> {
        if !leaving.iter().any(|old| listen::overlaps(addr, old)) {
            listen::probe(addr)?;
        }
        let id = self
            .swarm
            .listen_on(convert::multiaddr(addr))
            .map_err(|e| listen::listen_refusal(addr, &e))?;
        self.listeners.insert(id, addr.clone());
        Ok(id)
    }

    /// Lets every listener tell its concrete addresses, so that they are complete when the node gets its handle.
    async fn wait_for_listeners(&mut self) {
        let until = Instant::now() + LISTEN_DEADLINE;
        while !self.listeners.are_ready() {
            match tokio::time::timeout_at(until, self.swarm.select_next_some()).await {
                Ok(event) => self.on_swarm_event(event),
                Err(_) => {
                    tracing::warn!(
                        "a listener has no address yet; is there any network interface?"
                    );
                    return;
                }
            }
        }
        // A wildcard tells one address per interface; the others are already waiting.
        while let Some(Some(event)) = futures::FutureExt::now_or_never(self.swarm.next()) {
            self.on_swarm_event(event);
        }
    }

    /// Runs until every handle, or the event queue, is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            self.flush();
            let may_poll = self.outbox.is_empty() && self.events.capacity() > 0;
            self.note_backpressure(may_poll);
            let may_command = self.outbox.len() < NETWORK_EVENT_QUEUE;
            let check = self
                .table
                .next_check()
                .and_then(|at| self.origin.checked_add(at.since_origin()));
            let step = tokio::select! {
                command = self.commands.recv(), if may_command => command.map(Step::Command),
                // Closed together with the commands, which are to be drained.
                Some(request) = self.reloads.recv() => Some(Step::Prepare(request)),
                is_commit = decided(self.reload.as_mut()) => Some(Step::Decided(is_commit)),
                // The slot is given back and taken again when the outbox is flushed: nobody else sends.
                slot = self.events.reserve(), if !may_poll => slot.ok().map(|_| Step::Room),
                () = self.events.closed() => None,
                () = until(check), if may_poll => Some(Step::Check),
                () = until(self.listeners.retry_at()), if may_poll => Some(Step::Listen),
                event = self.swarm.select_next_some(), if may_poll => Some(Step::Swarm(event)),
            };
            match step {
                Some(Step::Command(command)) => self.on_command(command),
                Some(Step::Prepare(request)) => self.prepare(request),
                Some(Step::Decided(is_commit)) => self.finish_reload(is_commit),
                Some(Step::Room) => {}
                Some(Step::Check) => self.close_overdue(),
                Some(Step::Listen) => self.listen_again(),
                Some(Step::Swarm(event)) => self.on_swarm_event(event),
                None => break,
            }
        }
        self.farewell().await;
    }

    /// Answers already given still reach their peers; then every connection is closed politely, which writes out what is
    /// still in its buffers.
    async fn farewell(&mut self) {
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            self.on_command(command);
            self.outbox.clear();
        }
        let ending = async {
            while !self.answering.is_empty() {
                self.ignore_next().await;
            }
            while let Some(left) = self
                .answered
                .and_then(|at| ANSWER_LINGER.checked_sub(at.elapsed()))
            {
                // An error says that the time is over.
                let _ = timeout(left, self.ignore_next()).await;
            }
            let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
            for peer in peers {
                // Err says that it has gone by itself.
                let _ = self.swarm.disconnect_peer_id(peer);
            }
            while self.table.established_count() > 0 {
                self.ignore_next().await;
            }
        };
        if timeout(FAREWELL_TIMEOUT, ending).await.is_err() {
            tracing::debug!("some peers did not take their leave in time");
        }
    }

    /// Lets libp2p go on, without anybody to tell.
    async fn ignore_next(&mut self) {
        let event = self.swarm.select_next_some().await;
        self.on_swarm_event(event);
        self.outbox.clear();
    }

    /// The time for the connection table.
    pub(crate) fn now(&self) -> MonotonicTime {
        MonotonicTime::from_origin(self.origin.elapsed())
    }

    /// Tells the node, now or as soon as it has room.
    pub(crate) fn tell(&mut self, event: NetworkEvent) {
        self.outbox.push_back(event);
    }

    fn flush(&mut self) {
        while !self.outbox.is_empty() {
            let Ok(slot) = self.events.try_reserve() else {
                return;
            };
            let Some(event) = self.outbox.pop_front() else {
                return;
            };
            slot.send(event);
        }
    }

    /// Time during which nobody listened is not held against the peers.
    fn note_backpressure(&mut self, may_poll: bool) {
        match (may_poll, self.blocked_since) {
            (false, None) => self.blocked_since = Some(Instant::now()),
            (true, Some(since)) => {
                self.blocked_since = None;
                let (pause, now) = (since.elapsed(), self.now());
                if pause > Duration::from_millis(1) {
                    self.table.forgive(pause, now);
                }
            }
            _ => {}
        }
    }

    fn close_overdue(&mut self) {
        for (id, why) in self.table.expire(self.now()) {
            match why {
                Closing::Duplicate => self.counters.duplicate_closed(),
                Closing::Local | Closing::Silent => {}
            }
            tracing::debug!(connection = %id, ?why, "closing");
            self.swarm.close_connection(id);
        }
    }

    fn on_command(&mut self, command: NetworkCommand) {
        match command {
            NetworkCommand::Admit { peers } => {
                self.swarm.behaviour_mut().gate.admit(peers);
                self.close_refused();
            }
            NetworkCommand::Cancel { id } => self.cancel(id),
            NetworkCommand::Dial { id, peer, addrs } => self.dial(id, peer, addrs),
            NetworkCommand::Disconnect { peer } => self.disconnect(&peer),
            NetworkCommand::Request { id, peer, frame } => self.request(id, peer, frame),
            NetworkCommand::Respond { token, frame } => self.respond(token, frame),
            NetworkCommand::Refuse { targets } => self.refuse(&targets),
            NetworkCommand::Reserve { peers } => self.swarm.behaviour_mut().gate.reserve(peers),
            other => tracing::warn!(?other, "a command this network does not know"),
        }
    }

    fn dial(&mut self, id: CommandId, peer: Option<PeerKey>, addrs: Vec<PeerAddr>) {
        if peer.is_some_and(|peer| self.table.is_up(&peer) || self.dials.is_dialling(&peer)) {
            // Nothing is wrong with the addresses: there is a connection, or another dial will tell.
            self.tell(NetworkEvent::DialFailed {
                id,
                peer,
                attempts: Vec::new(),
            });
            return;
        }
        tracing::debug!(dial = %id, peer = peer.map(|peer| tracing::field::display(peer.peer_id())), ?addrs, "dial command");
        let mut dial = Dial::new(id, peer, addrs, &self.listeners.addrs(), &self.refused);
        if peer == Some(self.local) {
            dial.give_up(&DialError::Own);
        } else if peer.is_some_and(|peer| self.refused.peer(&peer)) {
            dial.give_up(&DialError::Denied {
                reason: Refusal::BannedPeer.to_string(),
            });
        }
        self.advance(dial);
    }

    /// Tries the next addresses of a dial, or answers the command when there are none.
    pub(crate) fn advance(&mut self, mut dial: Dial) {
        let peer = match dial.peer.map(|peer| convert::peer_id(&peer)) {
            Some(None) => {
                dial.give_up(&DialError::Undialable);
                None
            }
            Some(known) => known,
            None => None,
        };
        let now = self.now();
        loop {
            let addrs: Vec<_> = dial.next().iter().map(convert::multiaddr).collect();
            let opts = match (peer, addrs.into_iter()) {
                (_, addrs) if addrs.len() == 0 => return self.tell(dial.into_event()),
                // Ours is the only dial of this peer, and the table knows whether it is connected.
                (Some(peer), addrs) => DialOpts::peer_id(peer)
                    .condition(PeerCondition::Always)
                    .addresses(addrs.collect())
                    .allocate_new_port()
                    .build(),
                (None, mut addrs) => match addrs.next() {
                    Some(addr) => DialOpts::unknown_peer_id()
                        .address(addr)
                        .allocate_new_port()
                        .build(),
                    None => continue,
                },
            };
            let connection = opts.connection_id();
            tracing::debug!(dial = %dial.id, %connection, addrs = ?dial.trying, "trying addresses");
            self.turns.begin();
            match self.swarm.dial(opts) {
                Ok(()) => {
                    self.table
                        .connecting(connection, dial.peer, Direction::Outbound, now);
                    self.dials.insert(connection, dial);
                    return;
                }
                Err(error) => dial.failed(error),
            }
        }
    }

    fn disconnect(&mut self, peer: &PeerKey) {
        let is_known = !self.table.close_peer(peer).is_empty() || self.dials.is_dialling(peer);
        if let Some(id) = convert::peer_id(peer).filter(|_| is_known) {
            // Err says that only dials were aborted.
            let _ = self.swarm.disconnect_peer_id(id);
        }
    }

    fn request(&mut self, id: CommandId, peer: PeerKey, frame: Vec<u8>) {
        let refusal = if frame.len() > MAX_FRAME_BYTES {
            RequestError::FrameTooLarge
        } else if !self.table.is_up(&peer) {
            RequestError::NotConnected
        } else {
            match self.outgoing.submit(Outgoing {
                id,
                peer,
                frame,
                is_retry: false,
            }) {
                Admission::Send(request) => return self.send(request),
                Admission::Queued => return,
                Admission::Busy => RequestError::Busy,
            }
        };
        self.tell(NetworkEvent::RequestFailed {
            id,
            peer,
            error: refusal,
        });
    }

    /// Sends a request that has a slot, and after it those that waited for slots of requests that cannot be sent.
    pub(crate) fn send(&mut self, request: Outgoing) {
        let mut next = Some(request);
        while let Some(request) = next.take() {
            let frames = &mut self.swarm.behaviour_mut().frames;
            // Without a connection libp2p would dial by itself.
            match convert::peer_id(&request.peer).filter(|peer| frames.is_connected(peer)) {
                Some(peer) => {
                    let to = request.peer.peer_id();
                    let dial = self.dialled.get(&request.peer).map(tracing::field::display);
                    tracing::debug!(target: MESSAGES, id = %request.id, dial, peer = %to, protocol = PROTOCOL, direction = "out", kind = "request", bytes = request.frame.len(), "message");
                    let name = frames.send_request(&peer, request.frame.clone());
                    self.outgoing.sent(name, request);
                }
                None => {
                    next = self.outgoing.release(&request.peer);
                    let Outgoing { id, peer, .. } = request;
                    self.tell(NetworkEvent::RequestFailed {
                        id,
                        peer,
                        error: RequestError::NotConnected,
                    });
                }
            }
        }
    }

    fn respond(&mut self, token: RequestToken, frame: Vec<u8>) {
        let Some((name, channel)) = self.incoming.answer(token) else {
            return;
        };
        tracing::debug!(target: MESSAGES, id = %token, protocol = PROTOCOL, direction = "out", kind = "answer", bytes = frame.len(), "message");
        if frame.len() > MAX_FRAME_BYTES {
            // Dropping the channel resets the stream: the peer is told at once that there is no answer.
            tracing::error!(
                bytes = frame.len(),
                "an answer larger than the frame limit was dropped"
            );
        } else if self
            .swarm
            .behaviour_mut()
            .frames
            .send_response(channel, frame)
            .is_ok()
        {
            self.answering.insert(name);
        }
    }

    fn refuse(&mut self, targets: &[BanTarget]) {
        self.refused.replace(targets);
        self.close_refused();
        let dialled: Vec<PeerKey> = self
            .dials
            .peers()
            .filter(|peer| self.refused.peer(peer))
            .copied()
            .collect();
        for peer in dialled {
            self.disconnect(&peer);
        }
    }

    /// Closes the connections that would not be let in any more.
    fn close_refused(&mut self) {
        for id in self.swarm.behaviour().gate.refused_connections() {
            if self.table.close(id, Closing::Local).is_some() {
                self.counters.connection_refused();
                self.swarm.close_connection(id);
            }
        }
    }
}

/// Resolves with the decision about a prepared reload: true to commit. Never resolves when there is none.
async fn decided(reload: Option<&mut PendingReload>) -> bool {
    match reload {
        Some(reload) => (&mut reload.decision).await.is_ok(),
        None => std::future::pending().await,
    }
}

/// Resolves at a time. Never resolves without one.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
