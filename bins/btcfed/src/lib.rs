//! A btcfed node as a library: the wiring, the admin socket, and what commands answer.
//!
//! A node that knows its federation, in one program:
//!
//! ```
//! use btcfed::{Node, NodeConfig, SecretKey};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let dir = tempfile::tempdir()?;
//!     let mut config = NodeConfig::default();
//!     config.network.addresses = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
//!     config.peers.file = dir.path().join("peers.yaml");
//!
//!     let node = Node::builder(config, SecretKey::from_seed([7; 32])).build().await?;
//!     let handle = node.handle();
//!     let running = tokio::spawn(node.run());
//!
//!     let status = handle.status().await?;
//!     println!("{} listens on {:?}", status.peer_id, status.listen);
//!
//!     handle.shutdown().await;
//!     running.await??;
//!     Ok(())
//! }
//! ```
//!
//! The default feature `cli` adds the command line; embedders switch it off.

pub mod admin;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config_watch;
pub mod exit;
pub mod lock;
pub mod logging;
pub mod metrics;
pub mod peers;
pub mod signals;
pub mod systemd;
pub mod trace;
pub mod view;
pub mod wire;

pub use btcfed_core::network::RequestError;
pub use btcfed_core::protocol::{Protocol, ProtocolRequest, ProtocolRequests, RegisterError};
pub use btcfed_core::{NodeConfig, SecretKey};
pub use btcfed_node_orchestrator::{
    NodeError, NodeEvent, NodeEvents, NodeHandle, NodeStatus, ReloadReport,
};
pub use wire::{BuildError, Node, NodeBuilder};
