//! Two services in one program that exchange messages of their own over the connections of their nodes.
//!
//! Run it: `cargo run -p btcfed --example app_protocol`

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use btcfed::{
    Node, NodeConfig, NodeEvent, NodeHandle, Protocol, ProtocolRequests, RequestError, SecretKey,
};
use btcfed_core::PeerKey;
use btcfed_core::addr::AddrWithId;
use tokio::task::JoinHandle;

/// Whoever speaks this protocol registers it under this name.
const PRICES: &str = "/example/prices/1.0.0";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("btcfed-app-{}", std::process::id()));

    // A service that knows prices. Its node knows nobody.
    let shop = Service::start(config(&dir.join("shop"))?, 1).await?;
    let status = shop.node.status().await?;
    tokio::spawn(answer(shop.requests));

    // A service that asks for them. Its node knows the other one.
    let mut config = config(&dir.join("customer"))?;
    config.peers.bootstrap = vec![AddrWithId {
        addr: status.listen.first().ok_or("nowhere to listen")?.clone(),
        peer_id: Some(status.peer_id),
    }];
    let customer = Service::start(config, 2).await?;
    let peer = tokio::time::timeout(Duration::from_secs(5), connected(&customer.node)).await??;
    println!("connected with {}", peer.peer_id());

    for item in ["bread", "milk", "a yacht"] {
        match ask(&customer.protocol, peer, item).await {
            Ok(price) => println!("{item}: {price}"),
            // The shop did not answer: it may have too much to do. Ask again later, or somebody else.
            Err(error) => println!("{item}: {error}"),
        }
    }

    for (node, task) in [(customer.node, customer.task), (shop.node, shop.task)] {
        node.shutdown().await;
        task.await??;
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// A service with a node of its own.
struct Service {
    node: NodeHandle,
    protocol: Protocol,
    requests: ProtocolRequests,
    task: JoinHandle<Result<(), btcfed::NodeError>>,
}

impl Service {
    async fn start(config: NodeConfig, seed: u8) -> Result<Self, Box<dyn Error>> {
        let mut builder = Node::builder(config, SecretKey::from_seed([seed; 32]));
        let (protocol, requests) = builder.register_protocol(PRICES)?;
        let node = builder.build().await?;
        Ok(Self {
            node: node.handle(),
            protocol,
            requests,
            task: tokio::spawn(node.run()),
        })
    }
}

/// Answers requests one by one. While it thinks, a bounded number of them waits; more are turned away.
async fn answer(mut requests: ProtocolRequests) {
    while let Some(request) = requests.next().await {
        let price: &[u8] = match request.frame.as_slice() {
            b"bread" => b"250 sat",
            b"milk" => b"130 sat",
            // Not ours to say: dropping a request ends it without an answer.
            _ => continue,
        };
        if request.answer(price.to_vec()).is_err() {
            println!("whoever asked has gone");
        }
    }
}

async fn ask(prices: &Protocol, peer: PeerKey, item: &str) -> Result<String, RequestError> {
    let answer = prices.request(peer, item.as_bytes().to_vec()).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Waits for the first connection.
async fn connected(node: &NodeHandle) -> Result<PeerKey, Box<dyn Error>> {
    let mut events = node.subscribe();
    if let Some(first) = node.status().await?.connections.first() {
        return Ok(first.peer);
    }
    while let Some(event) = events.next().await {
        if let NodeEvent::Connected { peer, .. } = event {
            return Ok(peer);
        }
    }
    Err("the node stopped".into())
}

fn config(dir: &Path) -> Result<NodeConfig, Box<dyn Error>> {
    let mut config = NodeConfig::default();
    config.network.addresses = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
    config.peers.file = dir.join("peers.yaml");
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    #[test]
    fn the_example_runs_offline_within_five_seconds() {
        let begun = Instant::now();
        super::main().unwrap();
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    }
}
