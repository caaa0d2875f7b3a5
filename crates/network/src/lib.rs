//! Authenticated connections and opaque frames over libp2p: TCP, Noise, Yamux.
//!
//! ```
//! use btcfed_core::network::{CommandId, NetworkCommand, NetworkEvent};
//! use btcfed_core::{Network, NodeConfig, SecretKey};
//! use btcfed_network::{SpawnOptions, spawn};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut config = NodeConfig::default();
//!     config.network.addresses = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
//!     let (alice, bob) = (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]));
//!     let bob_key = bob.public();
//!     let (alice, mut alice_events, _task) = spawn(SpawnOptions::new(alice, &config)).await?;
//!     let (bob, mut bob_events, _task) = spawn(SpawnOptions::new(bob, &config)).await?;
//!
//!     // Bob echoes what he is asked.
//!     let addrs = bob.listen_addrs();
//!     tokio::spawn(async move {
//!         while let Some(event) = bob_events.next().await {
//!             if let NetworkEvent::Request { token, frame, .. } = event {
//!                 bob.submit(NetworkCommand::Respond { token, frame }).ok();
//!             }
//!         }
//!     });
//!
//!     alice.submit(NetworkCommand::Dial { id: CommandId(1), peer: Some(bob_key), addrs })?;
//!     while let Some(event) = alice_events.next().await {
//!         match event {
//!             NetworkEvent::Connected { peer, .. } => {
//!                 let frame = b"hello".to_vec();
//!                 alice.submit(NetworkCommand::Request { id: CommandId(2), peer, frame })?;
//!             }
//!             NetworkEvent::Response { frame, .. } => {
//!                 assert_eq!(frame, b"hello");
//!                 return Ok(());
//!             }
//!             NetworkEvent::DialFailed { attempts, .. } => panic!("{attempts:?}"),
//!             _ => {}
//!         }
//!     }
//!     panic!("the network ended")
//! }
//! ```
//!
//! One task owns libp2p's swarm. The node holds a [`NetworkHandle`] for commands, which never waits, and
//! [`NetworkEvents`], whose bound reaches back to TCP: a node that does not keep up makes its peers wait.
//!
//! This crate moves frames of at most 64 KiB and knows nothing of what is in them. It decides who may connect (limits,
//! bans), which of two connections to a peer survives, and when a silent peer is gone. It never dials on its own, never
//! dials twice, and keeps nothing on disk: whom to reach and when is the orchestrator's business.
//!
//! # What the contract leaves open
//!
//! - A dial of a connected peer, or of one that is being dialled, is answered by `DialFailed` without attempts: nothing
//!   is wrong with the addresses. So is a dial without a key that reaches a connected peer; the event then names it.
//! - A request may arrive twice: when two nodes dial each other at once, one of the two connections is closed after a
//!   moment, and a request on it is sent once more on the other one. Everything else is sent at most once.
//! - Requests that were never sent end with `NotConnected`, those on their way with `ConnectionClosed`. The latter also
//!   stands for a stream that ended without an answer: the peer may be overloaded, stopping, or hostile.
//! - A peer that cannot deliver its events makes the others wait, and after their liveness deadline they give it up.
//!
//! No libp2p type appears in the public interface.

mod applications;
mod behaviour;
mod cancel;
mod connection;
mod convert;
mod descriptors;
mod dial;
mod error;
mod events;
mod frame;
mod gate;
mod handle;
mod host;
mod limits;
mod listen;
mod muxer;
mod names;
mod options;
mod refused;
mod reload;
mod requests;
mod resolved;
mod resolver;
mod shared;
mod stats;
#[cfg(feature = "test-utils")]
pub mod testing;
mod transport;
mod turns;

use btcfed_core::network::NetworkError;
use tokio::task::JoinHandle;

pub use handle::{NetworkEvents, NetworkHandle};
pub use options::SpawnOptions;
pub use stats::NetworkStats;

/// The name under which peers negotiate the frame protocol. One stream carries one request frame and one answer frame.
pub const PROTOCOL: &str = "/vtcp/btc-foundation/v1.0.0";

/// The part of the log that tells of each message, of the exchange and of registered protocols.
pub(crate) const MESSAGES: &str = "btcfed_network::messages";

/// Starts the network task. Every listener is bound, and its concrete addresses are known, when this returns.
///
/// The task ends when the last clone of the handle is dropped, or the events are: it writes the answers that were
/// already given, for half a second at most, and closes every connection. If it ends earlier or panics, the join
/// handle tells.
///
/// # Errors
/// An address cannot be listened on, or the transport cannot be built. Nothing is left running.
pub async fn spawn(
    options: SpawnOptions,
) -> Result<(NetworkHandle, NetworkEvents, JoinHandle<()>), NetworkError> {
    let (host, handle, events) = host::Host::start(options).await?;
    Ok((handle, events, tokio::spawn(host.run())))
}
