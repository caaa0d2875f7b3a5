//! `devnet`: a whole federation on this machine.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use btcfed_core::addr::{AddrWithId, PeerAddr};
use btcfed_core::config::NodeConfig;
use btcfed_core::identity::SecretKey;
use btcfed_node_orchestrator::{NodeError, NodeHandle, NodeStatus};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::cli::args::{DevnetOptions, Global};
use crate::cli::context;
use crate::cli::devnet_table;
use crate::cli::output::Output;
use crate::cli::temp_dir::TempDir;
use crate::exit::{CliError, Exit};
use crate::signals::Signals;
use crate::wire::Node;

/// How long to wait for all to know all unless `--timeout` says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// How often the nodes are looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// How often progress is told.
const TELL_INTERVAL: Duration = Duration::from_millis(100);

/// How long what is under way may take to end after a second signal.
const FORCED_END: Duration = Duration::from_secs(1);

/// One member of the federation.
struct Member {
    handle: NodeHandle,
    running: JoinHandle<Result<(), NodeError>>,
    knows_all_after: Option<Duration>,
}

/// What is wanted, and whether it still is.
struct Plan {
    count: usize,
    timeout: Duration,
    interrupted: Arc<AtomicBool>,
}

impl Plan {
    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

/// What is told at the end.
pub(super) struct Outcome {
    pub(super) converged: Option<Duration>,
    pub(super) elapsed: Duration,
    pub(super) members: Vec<(NodeStatus, Option<Duration>)>,
}

pub(super) fn run(
    global: &Global,
    options: &DevnetOptions,
    output: &Output,
) -> Result<Exit, CliError> {
    // Removed last: when the runtime has ended, nothing of a node that failed writes into it any more.
    let dir;
    let runtime = context::runtime()?;
    let interrupted = Arc::new(AtomicBool::new(false));
    // Before there is a folder: a signal must not leave it behind.
    let forced = listen_to_signals(&runtime, &interrupted);
    dir = TempDir::create("devnet", options.keep)?;
    if options.keep {
        output.talk(&format!("keeping every file in {}", dir.path().display()));
    }
    let timeout = global.timeout.unwrap_or(DEFAULT_TIMEOUT);
    let count = usize::from(options.nodes);
    let plan = Plan {
        count,
        timeout,
        interrupted,
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = federate(&plan, dir.path(), output) => Some(outcome),
            Ok(()) = forced => None,
        }
    });
    let Some(outcome) = outcome else {
        runtime.shutdown_timeout(FORCED_END);
        return Err(failed(&"forced to stop by a second signal"));
    };
    let outcome = outcome?;
    if plan.is_interrupted() {
        return Err(failed(&"interrupted; the nodes are stopped"));
    }
    output.result(&devnet_table::document(&outcome), |_| {
        devnet_table::text(&outcome)
    });
    Ok(if outcome.converged.is_some() {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

/// The first signal interrupts. The result resolves at the second one, and only then.
fn listen_to_signals(runtime: &Runtime, interrupted: &Arc<AtomicBool>) -> oneshot::Receiver<()> {
    let (force, forced) = oneshot::channel();
    let interrupted = Arc::clone(interrupted);
    let _entered = runtime.enter();
    // Where signals cannot be listened to, they end the process at once, as ever.
    if let Ok(mut signals) = Signals::listen(None) {
        runtime.spawn(async move {
            // Whichever it is: a terminal that was closed wants no answer either.
            signals.next().await;
            interrupted.store(true, Ordering::Relaxed);
            signals.next().await;
            // Err says that the program is about to end anyway.
            let _ = force.send(());
        });
    }
    forced
}

async fn federate(plan: &Plan, dir: &Path, output: &Output) -> Result<Outcome, CliError> {
    let count = plan.count;
    let started = Instant::now();
    let mut members = vec![start(0, dir, count, None).await?];
    let first = bootstrap_entry(&members).await?;
    for index in 1..count {
        if plan.is_interrupted() {
            break;
        }
        members.push(start(index, dir, count, Some(first.clone())).await?);
    }
    let converged = watch(&mut members, started, plan, output).await;
    let elapsed = started.elapsed();
    let mut told = Vec::with_capacity(count);
    for member in &members {
        let status = member
            .handle
            .status()
            .await
            .map_err(|error| failed(&error))?;
        told.push((status, member.knows_all_after));
    }
    for member in &members {
        member.handle.shutdown().await;
    }
    for member in members {
        member
            .running
            .await
            .map_err(|error| failed(&error))?
            .map_err(|error| failed(&error))?;
    }
    Ok(Outcome {
        converged,
        elapsed,
        members: told,
    })
}

/// Starts one node that knows at most the first one.
async fn start(
    index: usize,
    dir: &Path,
    count: usize,
    first: Option<AddrWithId>,
) -> Result<Member, CliError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| failed(&error))?;
    let mut config = NodeConfig::default();
    config.name = format!("node-{index}");
    config.network.addresses = vec![PeerAddr::from_socket_addr(([127, 0, 0, 1], 0).into())];
    // Everybody may connect to the first node.
    config.network.max_connections = config.network.max_connections.max(2 * count);
    config.network.max_inbound = config.network.max_inbound.max(2 * count);
    config.network.max_pending = config.network.max_pending.max(count);
    config.peers.file = dir.join(format!("node-{index}")).join("peers.yaml");
    config.peers.bootstrap = first.into_iter().collect();
    let node = Node::builder(config, SecretKey::from_seed(seed))
        .build()
        .await
        .map_err(|error| failed(&error))?;
    Ok(Member {
        handle: node.handle(),
        running: tokio::spawn(node.run()),
        knows_all_after: None,
    })
}

/// Where the first node is.
async fn bootstrap_entry(members: &[Member]) -> Result<AddrWithId, CliError> {
    let first = members.first().ok_or_else(|| failed(&"no node"))?;
    let status = first
        .handle
        .status()
        .await
        .map_err(|error| failed(&error))?;
    let addr = status
        .listen
        .first()
        .cloned()
        .ok_or_else(|| failed(&"the first node listens nowhere"))?;
    Ok(AddrWithId {
        addr,
        peer_id: Some(status.peer_id),
    })
}

/// Watches until all know all, or the time is up; tells progress.
async fn watch(
    members: &mut [Member],
    started: Instant,
    plan: &Plan,
    output: &Output,
) -> Option<Duration> {
    let others = members.len() - 1;
    let mut told: Option<(Instant, usize)> = None;
    loop {
        let mut known = 0;
        for member in members.iter_mut() {
            let now_known = member.handle.store().snapshot().len().min(others);
            known += now_known;
            if now_known == others && member.knows_all_after.is_none() {
                member.knows_all_after = Some(started.elapsed());
            }
        }
        let all = members.len() * others;
        let done = known == all;
        if done || told.is_none_or(|(at, last)| last != known && at.elapsed() >= TELL_INTERVAL) {
            told = Some((Instant::now(), known));
            output.talk(&devnet_table::progress(started.elapsed(), known, all));
        }
        if done {
            return Some(started.elapsed());
        }
        if started.elapsed() >= plan.timeout || plan.is_interrupted() {
            return None;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn failed(error: &dyn std::fmt::Display) -> CliError {
    CliError::new(Exit::Failed, "fatal", error.to_string())
}
