//! How long until every node of a federation knows every other one, from nothing but the first one's address: ours with
//! its encryption and signatures, the cost of that cryptography alone, and others who find peers.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use btcfed::{Node, NodeHandle, SecretKey};
use btcfed_core::SignedRecord;
use btcfed_core::addr::AddrWithId;
use btcfed_core::identity::StrictVerifier;
use btcfed_core::record::{UnverifiedRecord, verify_all};

use super::foca::Tuning;
use super::process::Usage;
use super::{chitchat, connect, foca, kad};

/// How often the nodes are looked at.
pub(crate) const POLL: Duration = Duration::from_millis(5);

/// The size of what a node tells of itself: a signed record with one address.
pub(crate) const RECORD_BYTES: usize = 205;

/// How long a federation of ours may take.
const LIMIT: Duration = Duration::from_secs(90);

/// When a rival is given up.
const RIVAL_LIMIT: Duration = Duration::from_secs(60);

/// What the name of a rival says when it was given up in some runs.
pub(crate) const GIVEN_UP: &str = "not within";

/// Operations by which the price of cryptography is found.
const PRICED: usize = 200;

/// What one run of ours took.
struct Ours {
    all: Duration,
    bytes_each: u64,
    signatures: u64,
    connections: u64,
}

/// What cryptography costs on this machine now, in processor time.
struct Prices {
    signature: Duration,
    connection: Duration,
}

/// Federations of `count` nodes, ours and the others' in turns, `rounds` times.
pub(crate) fn run(rounds: usize, count: usize) -> Result<String, String> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut rows = Rows::default();
    for _ in 0..rounds {
        let prices = Prices::find()?;
        // Each in a runtime of its own: nothing of one contender runs on beside the next.
        let ours = super::runtime()?.block_on(federation(count))?;
        let connections = u32::try_from(ours.connections).unwrap_or(u32::MAX);
        let signatures = u32::try_from(ours.signatures).unwrap_or(u32::MAX);
        let cpu = prices.connection * connections + prices.signature * signatures;
        rows.floor.push(cpu / u32::try_from(cores).unwrap_or(1));
        rows.bytes.push(ours.bytes_each);
        rows.ours.push(ours.all);
        rows.chitchat
            .push(super::runtime()?.block_on(chitchat::run(count, RIVAL_LIMIT))?);
        for (tuning, times) in [
            (Tuning::Lan, &mut rows.foca),
            (Tuning::Fast, &mut rows.foca_fast),
        ] {
            times.push(super::runtime()?.block_on(foca::run(count, tuning, RIVAL_LIMIT))?);
        }
        rows.kad
            .push(super::runtime()?.block_on(kad::run(count, RIVAL_LIMIT))?);
    }
    Ok(rows.table(rounds, count))
}

#[derive(Default)]
struct Rows {
    ours: Vec<Duration>,
    floor: Vec<Duration>,
    bytes: Vec<u64>,
    chitchat: Vec<Option<Duration>>,
    foca: Vec<Option<Duration>>,
    foca_fast: Vec<Option<Duration>>,
    kad: Vec<Option<Duration>>,
}

impl Rows {
    fn table(mut self, rounds: usize, count: usize) -> String {
        let ours = middle(&mut self.ours);
        let row = |name: &str, times: &mut Vec<Duration>| {
            let time = middle(times);
            let ends = times.first().zip(times.last());
            let (least, most) = ends.map_or((time, time), |(least, most)| (*least, *most));
            let ratio = ours.as_secs_f64() / time.as_secs_f64().max(f64::MIN_POSITIVE);
            format!("| {name} | {time:.2?} | {least:.2?} to {most:.2?} | {ratio:.3} |")
        };
        let other = |name: &str, times: &[Option<Duration>]| {
            // One that does not finish counts with the whole limit: the ratio is then a bound.
            let mut all: Vec<_> = times
                .iter()
                .map(|time| time.unwrap_or(RIVAL_LIMIT))
                .collect();
            let missed = times.iter().filter(|time| time.is_none()).count();
            let name = match missed {
                0 => name.to_owned(),
                _ => format!("{name} ({missed} of {rounds} {GIVEN_UP} {RIVAL_LIMIT:?})"),
            };
            row(&name, &mut all)
        };
        let bytes = middle(&mut self.bytes);
        let list = u64::try_from((count - 1) * RECORD_BYTES).unwrap_or(u64::MAX);
        #[expect(clippy::cast_precision_loss, reason = "a ratio of small numbers")]
        let times_list = bytes as f64 / list.max(1) as f64;
        [
            format!(
                "| {count} nodes, all pairs known, {rounds} runs | median | least to most | ours / this |"
            ),
            "|---|---|---|---|".to_owned(),
            row("btcfed, signed and encrypted", &mut self.ours),
            row(
                "its signatures and handshakes alone, all cores",
                &mut self.floor,
            ),
            other("chitchat, default interval of 1 s", &self.chitchat),
            other("foca, its setting for local networks", &self.foca),
            other(
                "foca, gossip every 20 ms, announced every 200 ms",
                &self.foca_fast,
            ),
            other("libp2p kad, a walk a second", &self.kad),
            String::new(),
            format!(
                "| {count} nodes, exchange traffic of a node (median run) | bytes sent | / its list of {} records of \
                 {RECORD_BYTES} bytes |",
                count - 1
            ),
            "|---|---|---|".to_owned(),
            format!("| btcfed | {bytes} | {times_list:.2} |"),
        ]
        .join("\n")
    }
}

fn middle<T: Ord + Copy + Default>(values: &mut [T]) -> T {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

impl Prices {
    fn find() -> Result<Self, String> {
        let addr = "/ip4/127.0.0.1/tcp/40000"
            .parse()
            .map_err(|error| format!("{error}"))?;
        let record = SignedRecord::sign(&SecretKey::from_seed([9; 32]), 1, &[addr])
            .map_err(|error| error.to_string())?;
        let started = Usage::now()?;
        for _ in 0..10 {
            let decoded: Result<Vec<_>, _> = (0..PRICED)
                .map(|_| UnverifiedRecord::decode(record.envelope()))
                .collect();
            let decoded = decoded.map_err(|error| error.to_string())?;
            black_box(verify_all(decoded, &StrictVerifier));
        }
        let signature = started.since()? / u32::try_from(10 * PRICED).unwrap_or(1);
        let started = Usage::now()?;
        connect::handshakes(PRICED)?;
        let connection = started.since()? / u32::try_from(PRICED).unwrap_or(1);
        Ok(Self {
            signature,
            connection,
        })
    }
}

async fn federation(count: usize) -> Result<Ours, String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let started = Instant::now();
    let mut handles: Vec<NodeHandle> = Vec::with_capacity(count);
    let mut running = Vec::with_capacity(count);
    let mut first = None;
    for index in 0..count {
        let (handle, task) = start(index, dir.path(), first.clone()).await?;
        if first.is_none() {
            let status = handle.status().await.map_err(|error| error.to_string())?;
            let addr = status.listen.first().cloned().ok_or("listening nowhere")?;
            let peer_id = Some(status.peer_id);
            first = Some(AddrWithId { addr, peer_id });
        }
        handles.push(handle);
        running.push(task);
    }
    let knows_all = |handle: &NodeHandle| handle.store().snapshot().len() >= count - 1;
    while !handles.iter().all(knows_all) {
        if started.elapsed() > LIMIT {
            return Err(format!("our own federation took longer than {LIMIT:?}"));
        }
        tokio::time::sleep(POLL).await;
    }
    let all = started.elapsed();
    let (mut bytes, mut signatures, mut connections) = (0, 0, 0);
    for handle in &handles {
        let status = handle.status().await.map_err(|error| error.to_string())?;
        bytes += status.exchange.bytes_out;
        signatures += status.exchange.signatures_checked;
        connections += status.counters.connections;
    }
    for handle in &handles {
        handle.shutdown().await;
    }
    for task in running {
        task.await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
    }
    Ok(Ours {
        all,
        bytes_each: bytes / u64::try_from(count).unwrap_or(u64::MAX),
        signatures,
        // Both ends count a connection.
        connections: connections / 2,
    })
}

type Running = tokio::task::JoinHandle<Result<(), btcfed_node_orchestrator::NodeError>>;

async fn start(
    index: usize,
    dir: &Path,
    first: Option<AddrWithId>,
) -> Result<(NodeHandle, Running), String> {
    let mut config = connect::config()?;
    config.peers.file = dir.join(format!("node-{index}")).join("peers.yaml");
    config.peers.bootstrap = first.into_iter().collect();
    let node = Node::builder(config, connect::secret())
        .build()
        .await
        .map_err(|error| error.to_string())?;
    Ok((node.handle(), tokio::spawn(node.run())))
}
