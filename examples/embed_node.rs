//! Two nodes inside one program: they find each other, and the program hears of it.
//!
//! Run it: `cargo run -p btcfed --example embed_node`

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::time::Duration;

use btcfed::{Node, NodeConfig, NodeEvent, SecretKey};
use btcfed_core::addr::AddrWithId;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("btcfed-embed-{}", std::process::id()));

    // The first node listens on a free port and knows nobody.
    let first = Node::builder(config(&dir, "first")?, SecretKey::from_seed([1; 32]))
        .build()
        .await?;
    let first_handle = first.handle();
    let first_task = tokio::spawn(first.run());
    let status = first_handle.status().await?;
    let entry = AddrWithId {
        addr: status.listen.first().ok_or("nowhere to listen")?.clone(),
        peer_id: Some(status.peer_id),
    };

    // The second knows the first.
    let mut second_config = config(&dir, "second")?;
    second_config.peers.bootstrap = vec![entry];
    let second = Node::builder(second_config, SecretKey::from_seed([2; 32]))
        .build()
        .await?;
    let second_handle = second.handle();
    let mut events = first_handle.subscribe();
    let second_task = tokio::spawn(second.run());

    // The first learns of the second by its signed record, and remembers it in its peers file.
    let learned = async {
        while let Some(event) = events.next().await {
            println!("first: {event:?}");
            if let NodeEvent::PeerAdded(peer) = event {
                return Some(peer);
            }
        }
        None
    };
    let peer = tokio::time::timeout(Duration::from_secs(5), learned)
        .await?
        .ok_or("the node stopped")?;
    println!("the first node now knows {}", peer.peer_id());

    first_handle.shutdown().await;
    second_handle.shutdown().await;
    first_task.await??;
    second_task.await??;
    println!("{}", std::fs::read_to_string(dir.join("first/peers.yaml"))?);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

fn config(dir: &std::path::Path, name: &str) -> Result<NodeConfig, Box<dyn Error>> {
    let mut config = NodeConfig::default();
    config.network.addresses = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
    config.peers.file = dir.join(name).join("peers.yaml");
    Ok(config)
}
