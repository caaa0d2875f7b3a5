//! `run`: the daemon.

#[cfg(debug_assertions)]
mod fault;
mod supervised;

use std::future::pending;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use btcfed_config::{FlagValue, LoadedConfig, is_blank, keep_last_good, last_good_path};
use btcfed_core::config::{AdminConfig, ConfigError, ConfigSource, LoggingConfig, NodeConfig};
use btcfed_core::identity::SecretKey;
use btcfed_core::key::PeerKey;
use btcfed_core::network::NetworkError;
use btcfed_core::reconfigure::{Reconfigure, ReconfigureError, Staged, StagedFn};
use btcfed_node_orchestrator::{NodeError, NodeHandle, NodeStatus, TokioClock};
use serde_json::json;
use tokio::sync::oneshot;

use self::supervised::Supervised;
use crate::admin::http::{HttpEndpoint, Subject};
use crate::admin::server::AdminSocket;
use crate::cli::args::{Color, Global, RunOptions};
use crate::cli::context::{self, Loaded, create_dir};
use crate::cli::output::Output;
use crate::config_watch::ConfigWatch;
use crate::exit::{CliError, Exit};
use crate::lock::NodeLock;
use crate::logging::{Logging, StartError};
use crate::signals::{EarlyHangup, Signals};
use crate::systemd;
use crate::trace::Tracer;
use crate::view::{self, with_schema};
use crate::wire::{BuildError, Node};

pub(super) fn run(
    global: &Global,
    options: &RunOptions,
    output: &Output,
    hangup: Option<EarlyHangup>,
) -> Result<Exit, CliError> {
    let started = Instant::now();
    let runtime = context::runtime()?;
    let result = runtime.block_on(serve(global, options, output, started, hangup));
    // Blocking work that hangs (a dead disk) must not keep a stopped node alive.
    runtime.shutdown_background();
    result
}

async fn serve(
    global: &Global,
    options: &RunOptions,
    output: &Output,
    started: Instant,
    hangup: Option<EarlyHangup>,
) -> Result<Exit, CliError> {
    let signals = listen_to_signals(hangup)?;
    let loaded = context::load_with(global, flags(global, options))
        .map_err(|error| with_last_good(error, global))?;
    let logging = start_logging(global, &loaded.full.config.logging)?;
    let _written_at_the_end = FlushOnDrop(logging.clone());
    tell_about(&loaded.full);
    create_dir(&loaded.state_dir)?;
    let mut lock = NodeLock::open(&loaded.state_dir)?;
    let _held_for_life = lock.acquire(&loaded.full.config.admin.socket)?;

    let secret = identity(&loaded)?;
    let Loaded {
        source,
        full,
        state_dir,
    } = loaded;
    let kept = LastGood {
        path: full.path.clone(),
        state_dir,
    };
    kept.warn_if_blank();
    let admin = full.config.admin.clone();
    let subject = Subject::default();
    let http = answer_http(&admin, &subject).await?;
    let watch = watch_of(&full);
    let live = LiveConfig::shared(source, secret.public());
    let tracer = Tracer::default();
    let mut builder = Node::builder(full.config, secret)
        .tracer(tracer.clone())
        .config_source(Arc::clone(&live))
        .component(Arc::new(logging.clone()))
        .component(Arc::new(kept.clone()));
    if let Some(watch) = &watch {
        builder = builder.component(Arc::new(watch.clone()));
    }
    let node = builder.build().await.map_err(build_error)?;
    let socket = AdminSocket::bind(&admin.socket, admin.mode, &admin.group)?
        .with_config(live)
        .with_logging(logging.clone())
        .with_tracer(tracer);
    kept.keep();
    let handle = node.handle();
    subject.set(handle.clone());
    let mut tasks = supervise(&logging, socket, http, watch, &handle);
    let forced = serve_signals(&mut tasks, signals.with_logging(logging.clone()), &handle);
    let announce = tokio::spawn(announce_ready(handle.clone(), *output, started));

    let ended = until_the_end(Box::pin(node.run()), &mut tasks, handle.shutdown(), forced).await;
    announce.abort();
    // The admin socket removes its file when it is dropped: before the lock of the node goes.
    tasks.stop().await;
    how_it_ended(ended)
}

/// Runs a node to its end, which the end of a task brings about as well; `None` when a second signal cut it short.
async fn until_the_end(
    running: impl Future<Output = Result<(), NodeError>>,
    tasks: &mut Supervised,
    stop: impl Future<Output = ()>,
    forced: oneshot::Receiver<()>,
) -> Option<Result<(), NodeError>> {
    let ended = async {
        let mut running = pin!(running);
        tokio::select! {
            ended = &mut running => ended,
            // A node that nobody can steer or watch any more is of no use: it saves its state and makes room for a new one.
            name = tasks.first_end() => {
                stop.await;
                running.await.and(Err(NodeError::TaskEnded(name)))
            }
        }
    };
    tokio::select! {
        ended = ended => Some(ended),
        Ok(()) = forced => None,
    }
}

/// Starts what must live as long as the node.
fn supervise(
    logging: &Logging,
    socket: AdminSocket,
    http: Option<HttpEndpoint>,
    watch: Option<ConfigWatch>,
    node: &NodeHandle,
) -> Supervised {
    let mut tasks = Supervised::default();
    tasks.spawn("logging", logging.ended());
    tasks.spawn(
        "admin",
        socket.serve(node.clone(), Arc::new(TokioClock::new())),
    );
    if let Some(http) = http {
        tasks.spawn("http", http.serve());
    }
    if let Some(watch) = watch {
        tasks.spawn("config watch", watch.serve(node.clone()));
    }
    if let Some(supervisor) = systemd::supervisor() {
        tasks.spawn("systemd", systemd::serve(supervisor, node.clone()));
    }
    tasks
}

/// Serves the signals. The result resolves when a second one asks to stop at once, and only then.
fn serve_signals(
    tasks: &mut Supervised,
    signals: Signals,
    node: &NodeHandle,
) -> oneshot::Receiver<()> {
    let (force, forced) = oneshot::channel();
    let node = node.clone();
    tasks.spawn("signals", async move {
        signals.serve(node).await;
        // Err says that the program is about to end anyway.
        let _ = force.send(());
        pending::<()>().await;
    });
    forced
}

fn listen_to_signals(hangup: Option<EarlyHangup>) -> Result<Signals, CliError> {
    Signals::listen(hangup).map_err(|error| {
        CliError::new(
            Exit::Internal,
            "fatal",
            format!("cannot listen to signals: {error}"),
        )
    })
}

/// The HTTP endpoint, if the configuration asks for one.
async fn answer_http(
    admin: &AdminConfig,
    subject: &Subject,
) -> Result<Option<HttpEndpoint>, CliError> {
    let Some(at) = admin.http else {
        return Ok(None);
    };
    let endpoint = HttpEndpoint::bind(at, subject.clone()).await?;
    let at = endpoint.local_addr().unwrap_or(at);
    tracing::info!(%at, "answering HTTP: /livez, /readyz, /metrics");
    if !at.ip().is_loopback() {
        tracing::warn!(%at, "ANYBODY WHO REACHES THIS ADDRESS MAY READ THE COUNTERS OF THIS NODE: admin.http_insecure is set");
    }
    Ok(Some(endpoint))
}

/// What people should know of a configuration that is right.
fn tell_about(full: &LoadedConfig) {
    for warning in &full.warnings {
        tracing::warn!("{warning}");
    }
}

/// Watches the configuration file. Without one there is nothing to watch.
fn watch_of(full: &LoadedConfig) -> Option<ConfigWatch> {
    let path = full.path.clone()?;
    Some(ConfigWatch::new(path, &full.config))
}

/// The identity, generated now if there is none.
fn identity(loaded: &Loaded) -> Result<SecretKey, CliError> {
    let (secret, generated, warning) = loaded.key_or_new()?;
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    if generated {
        tracing::info!(peer_id = %secret.peer_id(), "generated a new identity");
    }
    Ok(secret)
}

/// The outcome of a run; `None` when a second signal cut it short.
fn how_it_ended(ended: Option<Result<(), NodeError>>) -> Result<Exit, CliError> {
    match ended {
        Some(Ok(())) => {
            tracing::info!("stopped; state saved");
            Ok(Exit::Ok)
        }
        Some(Err(error)) => Err(node_error(&error)),
        None => Err(CliError::new(
            Exit::Failed,
            "transient",
            "forced to stop by a second signal; the last changes may not be saved",
        )),
    }
}

/// How long the last log lines may take to be written.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Lets the last log lines out, however a run ends.
struct FlushOnDrop(Logging);

impl Drop for FlushOnDrop {
    fn drop(&mut self) {
        self.0.flush(LAST_LINES);
    }
}

/// The configuration file of a running node. The identity never changes while it runs.
#[derive(Debug)]
struct LiveConfig {
    source: btcfed_config::FileSource,
    identity: PeerKey,
}

impl LiveConfig {
    fn shared(source: btcfed_config::FileSource, identity: PeerKey) -> Arc<dyn ConfigSource> {
        Arc::new(Self { source, identity })
    }
}

impl ConfigSource for LiveConfig {
    fn load(&self) -> Result<NodeConfig, ConfigError> {
        let full = self.source.load_full()?;
        if let Some(change) = full.identity_change(self.identity) {
            tracing::warn!(key = change.key, running = %change.old, configured = %change.new, "the identity stays until the next start");
        }
        Ok(full.config)
    }
}

/// Keeps a copy of every configuration file the node runs with. See [`btcfed_config::keep_last_good`].
#[derive(Clone, Debug)]
struct LastGood {
    path: Option<PathBuf>,
    state_dir: PathBuf,
}

impl LastGood {
    fn keep(&self) {
        if let Some(path) = &self.path
            && let Err(error) = keep_last_good(path, &self.state_dir)
        {
            tracing::warn!(%error, "no copy of the configuration is kept");
        }
    }

    fn warn_if_blank(&self) {
        let copy = last_good_path(&self.state_dir);
        if let Some(path) = self.path.as_ref().filter(|path| is_blank(path))
            && copy.exists()
        {
            tracing::warn!(file = %path.display(), last_good = %copy.display(), "THE CONFIGURATION FILE IS EMPTY: defaults are in force; the last one with content is kept");
        }
    }
}

#[async_trait]
impl Reconfigure for LastGood {
    async fn prepare(&self, _: &NodeConfig) -> Result<Box<dyn Staged>, ReconfigureError> {
        let kept = self.clone();
        // Written once every component has the new configuration, and never by the thread that runs the node.
        Ok(Box::new(StagedFn::new(move || {
            tokio::task::spawn_blocking(move || kept.keep());
        })))
    }
}

/// Tells where the last configuration that worked is, if one was kept.
fn with_last_good(mut error: CliError, global: &Global) -> CliError {
    let (state_dir, _) = context::source(global, Vec::new());
    let copy = last_good_path(&state_dir);
    if error.exit == Exit::Config && error.hint.is_none() && copy.exists() {
        let place = copy.display();
        error.hint = Some(format!(
            "the last configuration this node ran with is kept in {place}: compare, and copy it back"
        ));
    }
    error
}

fn flags(global: &Global, options: &RunOptions) -> Vec<FlagValue> {
    let mut flags = Vec::new();
    let mut set =
        |flag: &str, key: &str, value: String| flags.push(FlagValue::new(flag, key, value));
    if global.verbose {
        set("--verbose", "logging.level", "debug".to_owned());
    }
    if global.quiet {
        set("--quiet", "logging.level", "warn".to_owned());
    }
    if let Some(level) = &options.log_level {
        set("--log-level", "logging.level", level.clone());
    }
    flags.extend(context::common_flags(
        options.name.as_deref(),
        &options.listen,
        &options.bootstrap,
    ));
    flags
}

fn start_logging(global: &Global, config: &LoggingConfig) -> Result<Logging, CliError> {
    let color = match global.color {
        Color::Always => Some(true),
        Color::Auto => None,
        Color::Never => Some(false),
    };
    Logging::start(config, color).map_err(|error| {
        let (exit, kind) = match &error {
            StartError::File(_) => (Exit::CannotCreate, "config"),
            _ => (Exit::Internal, "fatal"),
        };
        CliError::new(exit, kind, error.to_string())
    })
}

/// Prints the one line that says that the node is up.
async fn announce_ready(handle: NodeHandle, output: Output, started: Instant) {
    let Ok(status) = handle.status().await else {
        return;
    };
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let document = ready(&status, millis);
    if output.is_json() {
        output.line(&document.to_string());
    } else {
        let listen: Vec<String> = status.listen.iter().map(ToString::to_string).collect();
        let place = if listen.is_empty() {
            "nowhere".to_owned()
        } else {
            listen.join(" ")
        };
        output.line(&format!(
            "ready in {millis} ms; id {}; listening on {place}; {} peers known",
            status.peer_id, status.known
        ));
    }
}

fn ready(status: &NodeStatus, millis: u64) -> serde_json::Value {
    with_schema(
        "run",
        json!({
            "event": "ready",
            "version": view::VERSION,
            "peer_id": status.peer_id.to_string(),
            "public_key": status.peer_id.key().to_string(),
            "listen": status.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "peers": { "known": status.known },
            "ready_ms": millis,
        }),
    )
}

fn build_error(error: BuildError) -> CliError {
    match error {
        BuildError::Network(NetworkError::AddressInUse { .. }) => {
            let mut shown = CliError::new(Exit::Unavailable, "config", error.to_string())
                .hint("another program (or another node) listens there: stop it, or change network.addresses or --listen");
            shown.key = Some("network.addresses".to_owned());
            shown
        }
        BuildError::Network(NetworkError::Listen { .. }) => {
            let mut shown = CliError::new(Exit::Config, "config", error.to_string())
                .hint("listen on an address of this machine that you may use, or on /ip4/0.0.0.0/tcp/PORT");
            shown.key = Some("network.addresses".to_owned());
            shown
        }
        BuildError::Store(error) => error.into(),
        other => CliError::new(Exit::Internal, "fatal", other.to_string()),
    }
}

fn node_error(error: &NodeError) -> CliError {
    match error {
        NodeError::TaskEnded(_) => CliError::new(Exit::Internal, "fatal", error.to_string())
            .hint("this is a bug: report it with the log; the state was saved"),
        _ => CliError::new(Exit::Io, "transient", error.to_string())
            .hint("the peers file is the last version that could be written"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_signal_forces_the_end_also_when_a_task_has_failed_and_the_node_does_not_stop()
    {
        let mut tasks = Supervised::default();
        tasks.spawn("http", async {});
        let (force, forced) = oneshot::channel();
        let stop = async move { force.send(()).unwrap() };
        let ended = until_the_end(pending(), &mut tasks, stop, forced);
        let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
        assert!(ended.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_task_that_ends_stops_the_node_and_is_named() {
        let mut tasks = Supervised::default();
        tasks.spawn("http", async {});
        let (told, stopped) = oneshot::channel();
        let running = async { stopped.await.map_err(|_| NodeError::TaskEnded("none")) };
        let stop = async move { told.send(()).unwrap() };
        let (_force, forced) = oneshot::channel();
        let ended = until_the_end(running, &mut tasks, stop, forced).await;
        assert!(matches!(ended, Some(Err(NodeError::TaskEnded("http")))));
    }

    #[test]
    fn flags_become_configuration_values_and_lists_are_joined() {
        let global = Global {
            config: None,
            state_dir: None,
            socket: None,
            json: false,
            color: Color::Auto,
            verbose: true,
            quiet: false,
            timeout: None,
        };
        let options = RunOptions {
            listen: vec!["/ip4/127.0.0.1/tcp/1".into(), "/ip4/127.0.0.1/tcp/2".into()],
            bootstrap: Vec::new(),
            name: Some("alice".into()),
            log_level: None,
        };
        let flags: Vec<_> = flags(&global, &options)
            .into_iter()
            .map(|flag| (flag.key, flag.value))
            .collect();
        assert_eq!(
            flags,
            [
                ("logging.level".to_owned(), "debug".to_owned()),
                ("node.name".to_owned(), "alice".to_owned()),
                (
                    "network.addresses".to_owned(),
                    "/ip4/127.0.0.1/tcp/1,/ip4/127.0.0.1/tcp/2".to_owned()
                ),
            ]
        );
    }
}
