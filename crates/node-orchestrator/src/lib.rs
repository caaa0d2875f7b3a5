//! The node: one task, one loop, one closed set of events. It drives store, network and exchange through the traits of
//! [`btcfed_core`] and knows nothing else, so every part can be replaced and every test runs on fakes.
//!
//! Embedders usually start from the `btcfed` crate, which wires the real parts together; this crate is for those who
//! bring parts of their own:
//!
//! ```no_run
//! use btcfed_node_orchestrator::{Node, NodeParts};
//!
//! async fn serve(parts: NodeParts) -> Result<(), Box<dyn std::error::Error>> {
//!     let node = Node::new(parts);
//!     let handle = node.handle();
//!     let running = tokio::spawn(node.run());
//!
//!     let status = handle.status().await?;
//!     println!("{} knows {} peers", status.peer_id, status.known);
//!
//!     handle.shutdown().await;
//!     running.await??;
//!     Ok(())
//! }
//! ```
//!
//! | Module | Owns |
//! |---|---|
//! | `admission` | who may be a peer: everybody, or an allowlist |
//! | `logic` | what to do about each event; synchronous, no I/O |
//! | `churn` | how much strangers can make the node log |
//! | `claims` | no address is dialled for many learned peers at once |
//! | `staleness` | who is too old to be dialled first, or to be kept |
//! | `dialer` | whom to dial and when |
//! | `lost_listeners` | where nobody can connect any more, and since when |
//! | `misled` | at which addresses somebody else answers |
//! | `own_record` | what this node says about itself |
//! | `penalty` | the one place that maps misbehaviour to a reaction |
//! | `reload` | the reload transaction |
//! | `run` | the task: waiting, order, back-pressure, shutdown |

mod admission;
mod churn;
mod claims;
mod clock;
mod connections;
mod dialer;
mod event;
mod failures;
mod families;
mod handle;
mod logic;
mod lost_listeners;
mod misled;
mod outbox;
mod own_record;
mod penalty;
mod reload;
mod run;
mod staleness;
mod status;

pub use clock::TokioClock;
pub use connections::Connection;
pub use event::NodeEvent;
pub use handle::{NODE_EVENT_QUEUE, NodeEvents, NodeHandle, Stopped};
pub use lost_listeners::LostListener;
pub use reload::{ReloadError, ReloadReport};
pub use run::{MAX_RELOAD_WAITERS, Node, NodeError, NodeParts};
pub use status::{NodeCounters, NodeState, NodeStatus};
