//! The peer exchange protocol as a sans-I/O engine: how the nodes of a federation find each other.
//!
//! An [`Engine`] takes in what happened (a peer connected, a frame arrived, the store changed, time passed) and says
//! what is to be done (send, answer, store, close). It reads no clock, opens no socket, touches no file and spawns
//! nothing; for the same seed and the same inputs it does the same. The node runs it on libp2p, the [`simulate`] module
//! on virtual time; it is the same engine.
//!
//! What it promises: a record is verified before it is stored or passed on; nothing hostile bytes can do makes it panic
//! or grow beyond the bounds in [`limits`]; equal lists cost a summary, not a list; a record is passed on once.
//!
//! Two engines and what carries frames between them:
//!
//! ```
//! use std::sync::Arc;
//! use btcfed_core::addr::AddrScope;
//! use btcfed_core::exchange::{Exchange, Input, Output};
//! use btcfed_core::identity::StrictVerifier;
//! use btcfed_core::network::{Direction, RequestToken};
//! use btcfed_core::{NodeConfig, Now, PeerSet, SecretKey, SignedRecord};
//! use btcfed_exchange_protocol::{Engine, EngineOptions};
//!
//! let now = Now::default();
//! let secrets = [1, 2].map(|n| SecretKey::from_seed([n; 32]));
//! let mut engines = secrets.clone().map(|secret| {
//!     let mut engine = Engine::new(EngineOptions {
//!         config: Arc::new(NodeConfig::default()),
//!         own: secret.public(),
//!         agent: "example/1".to_owned(),
//!         seed: 42,
//!         verifier: Arc::new(StrictVerifier),
//!         set: Arc::new(PeerSet::default()),
//!     });
//!     let addr = "/ip4/127.0.0.1/tcp/9000".parse().unwrap();
//!     engine.handle(now, Input::OwnRecord(SignedRecord::sign(&secret, 1, &[addr]).unwrap()));
//!     engine
//! });
//!
//! // The first dials the second.
//! let directions = [Direction::Outbound, Direction::Inbound];
//! for (me, direction) in directions.into_iter().enumerate() {
//!     let peer = secrets[1 - me].public();
//!     engines[me].handle(now, Input::Connected { peer, direction, scope: AddrScope::Loopback });
//! }
//!
//! // Frames go back and forth until nobody has anything to say.
//! let mut stored = [0, 0];
//! let mut asked = [Vec::new(), Vec::new()];
//! while let Some((me, output)) = (0..2).find_map(|me| Some((me, engines[me].poll_output()?))) {
//!     let (peer, other) = (secrets[me].public(), 1 - me);
//!     match output {
//!         Output::Send { id, frame, .. } => {
//!             let token = RequestToken(asked[other].len() as u64);
//!             asked[other].push(id);
//!             engines[other].handle(now, Input::Request { peer, token, frame });
//!         }
//!         Output::Reply { token, frame } => {
//!             let id = asked[me][token.0 as usize];
//!             engines[other].handle(now, Input::Response { id, frame });
//!         }
//!         Output::Store(patch) => stored[me] += patch.ops.len(),
//!         _ => {}
//!     }
//! }
//! assert_eq!(stored, [1, 1], "each learned of the other");
//! ```
//!
//! | Module | Owns |
//! |---|---|
//! | [`message`], [`codec`] | messages as plain data; the only place where hostile bytes are read |
//! | [`limits`] | every bound and interval by name |
//! | [`simulate`] | a federation on virtual time |
//! | engine, relay, tree | routing; records in and on; along which links |
//! | introduce, busy, sync, answer | who is who; what is said when there is no room; rounds of questions; their answers |
//! | download, feeler | what a newcomer fetches from several neighbours at once; trying peers that are not connected |
//! | reconcile, rateless, index | finding the difference of two lists; the code behind it; what is kept ready for it |
//! | validate, view, lease, digest | the gate for records; what would be listed; for how long; its summary and ids |
//! | session, sessions, schedule, phase | one peer; all of them; the periodic timer; where the node stands |
//! | bucket, budget, score, origin | rates; what a peer may send; misbehaviour and reactions; who told of whom |
//!
//! The wire format and the rules are in `docs/PROTOCOL.md`.

#![warn(clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

mod answer;
mod busy;
pub mod codec;
mod defence;
mod download;
mod engine;
mod feeler;
mod introduce;
mod lease;
pub mod limits;
pub mod message;
mod phase;
mod reconcile;
mod relay;
mod schedule;
mod session;
mod sessions;
pub mod simulate;
mod sync;
mod view;

pub use engine::{Engine, EngineOptions};
pub use phase::Phase;
