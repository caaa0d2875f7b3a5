//! Many newcomers at once, who know one node and nobody else: how long until all of them are connected to it, and until
//! everybody knows everybody.

use std::path::Path;
use std::time::{Duration, Instant};

use btcfed::{Node, NodeHandle};
use btcfed_core::addr::AddrWithId;

use super::connect;
use super::discover::POLL;
use super::process::Usage;

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What one run took.
struct Took {
    connected: Duration,
    synced: Duration,
    processor: Duration,
}

/// `count` newcomers at one node, `rounds` times.
pub(crate) fn run(rounds: usize, count: usize) -> Result<String, String> {
    let mut all = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        // Each in a runtime of its own: nothing of one run goes on beside the next.
        all.push(super::runtime()?.block_on(join(count))?);
    }
    let row = |name: &str, of: fn(&Took) -> Duration| {
        let mut times: Vec<Duration> = all.iter().map(of).collect();
        times.sort_unstable();
        let middle = times.get(times.len() / 2).copied().unwrap_or_default();
        let most = times.last().copied().unwrap_or_default();
        format!(
            "| {name} | {} ms | {} ms |",
            middle.as_millis(),
            most.as_millis()
        )
    };
    Ok([
        format!("| {count} newcomers at one node at once, {rounds} runs | median | slowest |"),
        "|---|---|---|".to_owned(),
        row("all connected to it", |took| took.connected),
        row("all know all", |took| took.synced),
        row("processor time of all nodes until then", |took| {
            took.processor
        }),
    ]
    .join("\n"))
}

async fn join(count: usize) -> Result<Took, String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let node = build(0, dir.path(), None).await?;
    let first = node.handle();
    let mut running = vec![tokio::spawn(node.run())];
    let status = first.status().await.map_err(|error| error.to_string())?;
    let contact = AddrWithId {
        addr: status.listen.first().cloned().ok_or("listening nowhere")?,
        peer_id: Some(status.peer_id),
    };
    let mut newcomers = Vec::with_capacity(count);
    for index in 1..=count {
        newcomers.push(build(index, dir.path(), Some(contact.clone())).await?);
    }
    let mut handles: Vec<NodeHandle> = newcomers.iter().map(Node::handle).collect();
    let (started, usage) = (Instant::now(), Usage::now()?);
    running.extend(newcomers.into_iter().map(|node| tokio::spawn(node.run())));
    let mut connected = None;
    handles.push(first.clone());
    let synced = loop {
        if connected.is_none() {
            let status = first.status().await.map_err(|error| error.to_string())?;
            connected = (status.connections.len() >= count).then(|| started.elapsed());
        }
        let know_all = handles
            .iter()
            .all(|handle| handle.store().snapshot().len() >= count);
        if let (true, Some(connected)) = (know_all, connected) {
            break Took {
                connected,
                synced: started.elapsed(),
                processor: usage.since()?,
            };
        }
        if started.elapsed() > LIMIT {
            return Err(format!("{count} newcomers took longer than {LIMIT:?}"));
        }
        tokio::time::sleep(POLL).await;
    };
    for handle in &handles {
        handle.shutdown().await;
    }
    for task in running {
        task.await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
    }
    Ok(synced)
}

async fn build(index: usize, dir: &Path, contact: Option<AddrWithId>) -> Result<Node, String> {
    let mut config = connect::config()?;
    config.peers.file = dir.join(format!("node-{index}")).join("peers.yaml");
    config.peers.bootstrap = contact.into_iter().collect();
    let node = Node::builder(config, connect::secret()).build().await;
    node.map_err(|error| error.to_string())
}
