//! The node task: waits for whatever happens first, asks the logic, does what it says. The only asynchronous file that
//! decides anything about order: control first, then the store, then deadlines, then the network.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use btcfed_core::config::{ConfigSource, NodeConfig};
use btcfed_core::exchange::Exchange;
use btcfed_core::identity::SecretKey;
use btcfed_core::limits;
use btcfed_core::network::{Network, NetworkCommand, NetworkError, NetworkEvent, RequestError};
use btcfed_core::patch::{PeerChange, PeerPatch};
use btcfed_core::reconfigure::Reconfigure;
use btcfed_core::store::{Applied, PeerStore, StoreError, StoreEvent, StoreEvents, Subscribed};
use btcfed_core::time::{Clock, MonotonicTime};
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::event::{Action, Event, NodeEvent};
use crate::handle::{Control, NODE_EVENT_QUEUE, NodeHandle};
use crate::logic::NodeLogic;
use crate::outbox::{CommandQueue, PatchQueue};
use crate::reload::{ReloadError, ReloadReport, Reloaded, reload};
use crate::status::{NodeState, NodeStatus};

/// Most network events handled before control, store and deadlines get their turn again.
const MAX_EVENTS_PER_TURN: usize = 64;

/// Most callers that wait for the outcome of a reload.
pub const MAX_RELOAD_WAITERS: usize = 64;

/// How long to wait before commands are offered again to a network that was busy.
const BUSY_RETRY: Duration = Duration::from_millis(5);

/// Everything a node is made of. Only the wiring names concrete types.
#[derive(Debug)]
pub struct NodeParts {
    /// The configuration to start with.
    pub config: Arc<NodeConfig>,
    /// Where a reload finds the next one.
    pub config_source: Arc<dyn ConfigSource>,
    /// The identity: signs this node's own record.
    pub secret: SecretKey,
    /// Where peers are kept.
    pub store: Arc<dyn PeerStore>,
    /// The connections.
    pub network: Arc<dyn Network>,
    /// What the network reports.
    pub network_events: mpsc::Receiver<NetworkEvent>,
    /// The exchange protocol.
    pub exchange: Box<dyn Exchange>,
    /// Who takes part in a reload, in order: logging, store, network. The exchange follows by itself.
    pub components: Vec<Arc<dyn Reconfigure>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Seeds jitter and random choices.
    pub seed: u64,
    /// Tasks that must live as long as the node, by name. One that ends early stops the node.
    pub tasks: Vec<(&'static str, JoinHandle<()>)>,
}

/// Why a node ended other than by request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The last state could not be written. The file is the complete last version that could be.
    #[error("state not saved: {0}")]
    NotSaved(StoreError),
    /// The shutdown deadline passed before the state was written.
    #[error("state not saved within {0:?}")]
    SaveTimedOut(Duration),
    /// A task the node depends on ended or panicked. State was saved.
    #[error("task {0} ended unexpectedly")]
    TaskEnded(&'static str),
}

type ReloadOutcome = Result<Reloaded, ReloadError>;
type StoreOutcome = (PeerPatch, Result<Applied, StoreError>);
type InFlight<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// A node, ready to run.
pub struct Node {
    clock: Arc<dyn Clock>,
    commands: CommandQueue,
    components: Vec<Arc<dyn Reconfigure>>,
    config_source: Arc<dyn ConfigSource>,
    control: mpsc::Receiver<Control>,
    handle: NodeHandle,
    logic: NodeLogic,
    network: Arc<dyn Network>,
    network_events: mpsc::Receiver<NetworkEvent>,
    patches: PatchQueue,
    reload_in_flight: InFlight<ReloadOutcome>,
    reload_running: Vec<oneshot::Sender<Result<ReloadReport, ReloadError>>>,
    reload_waiting: Vec<oneshot::Sender<Result<ReloadReport, ReloadError>>>,
    revision: u64,
    started: MonotonicTime,
    store: Arc<dyn PeerStore>,
    store_events: StoreEvents,
    store_in_flight: InFlight<StoreOutcome>,
    tasks: JoinSet<&'static str>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("peer_id", &self.handle.peer_id)
            .finish_non_exhaustive()
    }
}

/// What woke the node up.
enum Wake {
    Control(Control),
    Deadline,
    Network(Option<NetworkEvent>),
    Reloaded(ReloadOutcome),
    Store(Subscribed),
    Stored(StoreOutcome),
    TaskEnded(&'static str),
}

impl Node {
    /// Puts the parts together. Nothing runs yet.
    ///
    /// Must be called within a tokio runtime: supervision of `tasks` starts at once.
    #[must_use]
    pub fn new(parts: NodeParts) -> Self {
        let (sender, control) = mpsc::channel(limits::NODE_CONTROL_QUEUE);
        let handle = NodeHandle {
            control: sender,
            events: broadcast::Sender::new(NODE_EVENT_QUEUE),
            peer_id: parts.secret.peer_id(),
            store: Arc::clone(&parts.store),
        };
        let mut tasks = JoinSet::new();
        for (name, task) in parts.tasks {
            tasks.spawn(async move {
                if let Err(error) = task.await {
                    tracing::error!(task = name, %error, "task failed");
                }
                name
            });
        }
        // Subscribed before the snapshot is taken, so that no change falls between the two.
        let store_events = parts.store.subscribe();
        let set = parts.store.snapshot();
        Self {
            started: parts.clock.now().monotonic,
            clock: parts.clock,
            commands: CommandQueue::default(),
            components: parts.components,
            config_source: parts.config_source,
            control,
            handle,
            logic: NodeLogic::new(parts.config, parts.secret, parts.exchange, set, parts.seed),
            network: parts.network,
            network_events: parts.network_events,
            patches: PatchQueue::default(),
            reload_in_flight: None,
            reload_running: Vec::new(),
            reload_waiting: Vec::new(),
            revision: 1,
            store: parts.store,
            store_events,
            store_in_flight: None,
            tasks,
        }
    }

    /// A handle to this node.
    #[must_use]
    pub fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// Runs until [`NodeHandle::shutdown`] is called or a task the node depends on ends; then closes all connections and
    /// saves the state.
    ///
    /// Cancellation: a dropped future stops the node at once; what the store has not written yet is lost.
    ///
    /// # Errors
    /// The node had to stop, or its last state could not be saved.
    pub async fn run(mut self) -> Result<(), NodeError> {
        let listen = self.network.listen_addrs();
        let actions = self.logic.start(self.clock.now(), listen);
        self.execute(actions);
        let ended = loop {
            self.send_commands();
            self.start_store();
            self.start_reload();
            match self.wait().await {
                Wake::Control(Control::Shutdown) => break None,
                Wake::Control(Control::Reload(answer)) => self.queue_reload(answer),
                Wake::Control(Control::Status(answer)) => {
                    // Whoever asked may have gone; then nobody misses the answer.
                    drop(answer.send(self.status()));
                }
                Wake::Deadline => self.react(Event::Deadline),
                Wake::Network(Some(event)) => self.on_network(event),
                Wake::Network(None) => break Some("network"),
                Wake::Reloaded(outcome) => self.on_reloaded(outcome),
                Wake::Store(subscribed) => self.on_store(subscribed),
                Wake::Stored(outcome) => self.on_stored(outcome),
                Wake::TaskEnded(name) => break Some(name),
            }
        };
        self.shut_down(ended).await
    }

    /// Waits for whatever happens first, in order of precedence.
    async fn wait(&mut self) -> Wake {
        let sleep = self.until_deadline();
        tokio::select! {
            biased;
            Some(control) = self.control.recv() => Wake::Control(control),
            Some(ended) = self.tasks.join_next() => Wake::TaskEnded(ended.unwrap_or("supervisor")),
            outcome = poll_in_flight(&mut self.store_in_flight) => Wake::Stored(outcome),
            outcome = poll_in_flight(&mut self.reload_in_flight) => Wake::Reloaded(outcome),
            event = self.store_events.next() => Wake::Store(event),
            () = async { tokio::time::sleep(sleep.unwrap_or_default()).await }, if sleep.is_some() => Wake::Deadline,
            event = self.network_events.recv() => Wake::Network(event),
        }
    }

    fn until_deadline(&self) -> Option<Duration> {
        let now = self.clock.now();
        let deadline = self
            .logic
            .next_deadline(now)
            .map(|at| at.saturating_since(now.monotonic));
        if self.commands.is_empty() {
            deadline
        } else {
            Some(deadline.map_or(BUSY_RETRY, |d| d.min(BUSY_RETRY)))
        }
    }

    fn react(&mut self, event: Event) {
        let actions = self.logic.on_event(self.clock.now(), event);
        self.execute(actions);
    }

    fn execute(&mut self, actions: Vec<Action>) {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Network(command) => {
                    if let Some(refused) = self.commands.push(command) {
                        tracing::warn!("the network is too slow; a command was dropped");
                        actions.extend(self.not_queued(&refused));
                    }
                }
                Action::Store(patch) => self.patches.push(patch),
                Action::Tell(event) => self.tell(event),
            }
        }
    }

    fn tell(&self, event: NodeEvent) {
        // An error only means that nobody subscribed.
        drop(self.handle.events.send(event));
    }

    fn send_commands(&mut self) {
        while let Some(command) = self.commands.pop() {
            match self.network.submit(command.clone()) {
                Ok(()) => {}
                Err(NetworkError::Busy) => return self.commands.unpop(command),
                // The supervision of the network task ends the node; nothing to do here.
                Err(error) => return tracing::debug!(%error, "command not sent"),
            }
        }
    }

    /// Lets the logic know that a command was dropped; returns what it makes of that.
    fn not_queued(&mut self, command: &NetworkCommand) -> Vec<Action> {
        match command {
            NetworkCommand::Request { id, .. } => {
                let error = RequestError::Busy;
                self.logic
                    .on_event(self.clock.now(), Event::RequestNotQueued { id: *id, error })
            }
            NetworkCommand::Dial { id, .. } => {
                self.logic.dial_not_queued(*id);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn on_network(&mut self, first: NetworkEvent) {
        self.react(Event::Network(first));
        for _ in 1..MAX_EVENTS_PER_TURN {
            let Ok(event) = self.network_events.try_recv() else {
                return;
            };
            self.react(Event::Network(event));
        }
    }

    fn start_store(&mut self) {
        if self.store_in_flight.is_none()
            && let Some(patch) = self.patches.pop()
        {
            let store = Arc::clone(&self.store);
            self.store_in_flight = Some(Box::pin(async move {
                let result = store.apply(patch.clone()).await;
                (patch, result)
            }));
        }
    }

    fn on_stored(&mut self, (patch, result): StoreOutcome) {
        if let Err(error) = result
            && !self.patches.split(patch)
        {
            tracing::debug!(%error, "the store refused a change");
        }
    }

    /// Gathers every change that waits, so that a burst is handled once.
    fn on_store(&mut self, first: Subscribed) {
        let mut changes: Vec<PeerChange> = Vec::new();
        let mut lagged = false;
        let mut next = Some(first);
        while let Some(subscribed) = next {
            match subscribed {
                Subscribed::Event(StoreEvent::Changed(some)) => {
                    changes.extend(some.iter().cloned())
                }
                Subscribed::Event(_) => {}
                Subscribed::Lagged(_) => lagged = true,
                Subscribed::Closed => break,
            }
            next = self.store_events.try_next();
        }
        if lagged {
            changes.clear();
        } else if changes.is_empty() {
            return;
        }
        let set = self.store.snapshot();
        self.react(Event::StoreChanged {
            set,
            changes: changes.into(),
        });
    }

    fn queue_reload(&mut self, answer: oneshot::Sender<Result<ReloadReport, ReloadError>>) {
        if self.reload_waiting.len() >= MAX_RELOAD_WAITERS {
            drop(answer.send(Err(ReloadError::Busy)));
        } else {
            self.reload_waiting.push(answer);
        }
    }

    /// Starts one reload for everybody who waits, unless one is running.
    fn start_reload(&mut self) {
        if self.reload_in_flight.is_some() || self.reload_waiting.is_empty() {
            return;
        }
        self.reload_running = std::mem::take(&mut self.reload_waiting);
        self.reload_in_flight = Some(Box::pin(reload(
            Arc::clone(&self.config_source),
            self.components.clone(),
            Arc::clone(&self.store),
            Arc::clone(&self.logic.config),
            self.revision,
        )));
    }

    fn on_reloaded(&mut self, outcome: ReloadOutcome) {
        let answer = outcome.map(|Reloaded { config, report }| {
            if self.revision != report.revision {
                self.revision = report.revision;
                self.react(Event::Reconfigured(config));
                self.tell(NodeEvent::Reloaded {
                    revision: report.revision,
                });
            }
            log_reload(&report);
            report
        });
        if let Err(error) = &answer {
            tracing::error!(%error, "reload refused; the old configuration stays in force");
        }
        for waiting in std::mem::take(&mut self.reload_running) {
            drop(waiting.send(answer.clone()));
        }
    }

    fn status(&self) -> NodeStatus {
        let now = self.clock.now();
        let set = &self.logic.set;
        let store = self.store.health();
        let state = if store.degraded.is_some() {
            NodeState::Degraded
        } else {
            NodeState::Running
        };
        NodeStatus {
            peer_id: self.handle.peer_id,
            state,
            uptime: now.monotonic.saturating_since(self.started),
            tasks: Handle::current().metrics().num_alive_tasks(),
            listen: self.logic.listen.clone(),
            lost_listeners: self.logic.lost.all().to_vec(),
            announced: self.logic.announced(),
            known: set.len(),
            banned: set.views().filter(|peer| peer.is_banned()).count(),
            waiting: self.logic.waiting(),
            connections: self.logic.connections.iter().cloned().collect(),
            config_revision: self.revision,
            config: self.logic.config.values(),
            store,
            counters: self.logic.counters,
            exchange: self.logic.exchange.counters(),
        }
    }

    /// Closes the connections, then saves, all within the configured deadline.
    async fn shut_down(mut self, ended: Option<&'static str>) -> Result<(), NodeError> {
        let timeout = self.logic.config.shutdown_timeout;
        tracing::info!(
            connections = self.logic.connections.len(),
            ?timeout,
            "stopping"
        );
        self.send_commands();
        let Self {
            network,
            components,
            network_events,
            reload_in_flight,
            patches,
            store,
            store_in_flight,
            mut tasks,
            ..
        } = self;
        // The network task ends when its last handle is gone.
        drop((network, components, network_events, reload_in_flight));
        let deadline = tokio::time::Instant::now() + timeout;
        let (saved, joined) = tokio::join!(
            tokio::time::timeout_at(deadline, save(store, store_in_flight, patches)),
            tokio::time::timeout_at(deadline, async {
                while tasks.join_next().await.is_some() {}
            }),
        );
        if joined.is_err() {
            tracing::warn!("a task did not end in time; it is left behind");
        }
        match (saved, ended) {
            (_, Some(name)) => Err(NodeError::TaskEnded(name)),
            (Err(_), None) => Err(NodeError::SaveTimedOut(timeout)),
            (Ok(Err(error)), None) => Err(NodeError::NotSaved(error)),
            (Ok(Ok(())), None) => Ok(()),
        }
    }
}

/// Applies what waits and writes everything.
async fn save(
    store: Arc<dyn PeerStore>,
    mut in_flight: InFlight<StoreOutcome>,
    mut patches: PatchQueue,
) -> Result<(), StoreError> {
    loop {
        if in_flight.is_some() {
            let (patch, result) = poll_in_flight(&mut in_flight).await;
            if result.is_err() {
                patches.split(patch);
            }
        }
        let Some(patch) = patches.pop() else { break };
        if let Err(error) = store.apply(patch.clone()).await
            && !patches.split(patch)
        {
            tracing::debug!(%error, "the store refused a change");
        }
    }
    store.flush().await
}

/// Resolves when the operation in flight does, and clears it; never resolves while there is none.
async fn poll_in_flight<T>(slot: &mut InFlight<T>) -> T {
    match slot {
        Some(future) => {
            let output = future.await;
            *slot = None;
            output
        }
        None => std::future::pending().await,
    }
}

fn log_reload(report: &ReloadReport) {
    for change in &report.applied {
        tracing::info!(key = change.key, old = %change.old, new = %change.new, "configuration changed");
    }
    for change in &report.needs_restart {
        tracing::warn!(key = change.key, old = %change.old, new = %change.new, "takes effect at the next start");
    }
    if let Some(error) = &report.peers_error {
        tracing::warn!(error, "peers file not read again");
    }
    tracing::info!(
        revision = report.revision,
        applied = report.applied.len(),
        needs_restart = report.needs_restart.len(),
        peers_changed = report.peers_changed,
        "reloaded"
    );
}
