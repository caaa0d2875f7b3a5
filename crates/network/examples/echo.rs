//! A node that answers every frame with itself: something for other implementations to talk to.
//!
//! `cargo run -p btcfed-network --example echo [LISTEN_ADDRESS...]` prints one multiaddr a line and runs until it is killed.

use std::io::Write as _;

use btcfed_core::network::{NetworkCommand, NetworkEvent};
use btcfed_core::{Network as _, NodeConfig, SecretKey};
use btcfed_network::{SpawnOptions, spawn};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listen = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "/ip4/127.0.0.1/tcp/0".to_owned());
    let mut config = NodeConfig::default();
    config.network.addresses = vec![listen.parse()?];
    // A fixed key: the peer id in the printed address is the same every time.
    let (node, mut events, _task) =
        spawn(SpawnOptions::new(SecretKey::from_seed([7; 32]), &config)).await?;
    let mut out = std::io::stdout();
    for addr in node.listen_addrs() {
        writeln!(out, "{addr}/p2p/{}", node.local_peer())?;
    }
    out.flush()?;
    while let Some(event) = events.next().await {
        if let NetworkEvent::Request { token, frame, .. } = event {
            // Busy: the peer asks again.
            let _ = node.submit(NetworkCommand::Respond { token, frame });
        }
    }
    Ok(())
}
