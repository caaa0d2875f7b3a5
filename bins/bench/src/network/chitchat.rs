//! Scuttlebutt gossip as `chitchat` does it, over UDP, neither encrypted nor signed.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use chitchat::transport::UdpTransport;
use chitchat::{
    ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, ProtocolVersion,
    spawn_chitchat,
};

use super::discover::{POLL, RECORD_BYTES};

/// The interval of its default configuration.
const INTERVAL: Duration = Duration::from_secs(1);

/// The key under which a node tells its record.
const KEY: &str = "record";

/// Starts `count` nodes that know the first one; how long until each has the record of all, at most `limit`.
pub(crate) async fn run(count: usize, limit: Duration) -> Result<Option<Duration>, String> {
    let addrs: Result<Vec<SocketAddr>, String> = free_ports(count);
    let addrs = addrs?;
    let started = Instant::now();
    let mut nodes = Vec::with_capacity(count);
    for (index, addr) in addrs.iter().enumerate() {
        let seeds = addrs.first().filter(|_| index > 0);
        nodes.push(start(index, *addr, seeds.map(ToString::to_string)).await?);
    }
    let all = loop {
        if all_know_all(&nodes, count).await {
            break Some(started.elapsed());
        }
        if started.elapsed() > limit {
            break None;
        }
        tokio::time::sleep(POLL).await;
    };
    for node in nodes {
        node.shutdown().await.map_err(|error| error.to_string())?;
    }
    Ok(all)
}

/// Ports of 127.0.0.1 that are free now.
fn free_ports(count: usize) -> Result<Vec<SocketAddr>, String> {
    let held: Result<Vec<_>, _> = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0")).collect();
    held.and_then(|held| held.iter().map(UdpSocket::local_addr).collect())
        .map_err(|error| error.to_string())
}

async fn start(
    index: usize,
    addr: SocketAddr,
    seed: Option<String>,
) -> Result<ChitchatHandle, String> {
    let config = ChitchatConfig {
        // As long as the text of a public key.
        chitchat_id: ChitchatId::new(format!("{index:044}"), 0, addr),
        cluster_id: "bench".to_owned(),
        gossip_interval: INTERVAL,
        listen_addr: addr,
        seed_nodes: seed.into_iter().collect(),
        failure_detector_config: FailureDetectorConfig::default(),
        marked_for_deletion_grace_period: Duration::from_secs(900),
        catchup_callback: None,
        extra_liveness_predicate: None,
        protocol_version: ProtocolVersion::V0,
    };
    let record = vec![(KEY.to_owned(), "x".repeat(RECORD_BYTES))];
    spawn_chitchat(config, record, &UdpTransport)
        .await
        .map_err(|error| error.to_string())
}

async fn all_know_all(nodes: &[ChitchatHandle], count: usize) -> bool {
    for node in nodes {
        let known = node.with_chitchat(|chitchat| {
            let states = chitchat.node_states().values();
            states.filter(|state| state.contains_key(KEY)).count()
        });
        if known.await < count {
            return false;
        }
    }
    true
}
