//! Data, traits, identity and signed records of the btcfed peer layer.
//!
//! This crate is the only thing its siblings (config, peer-store, exchange-protocol, network) know of each other. It
//! does no I/O, needs no runtime, and knows neither libp2p nor serde: file and wire formats belong to the crates that
//! write them.
//!
//! ```
//! use btcfed_core::{PeerAddr, PeerRecord, PeerSet, PeerPatch, PeerSource, SecretKey, Now};
//!
//! let alice = SecretKey::from_seed([7; 32]).public();
//! let addr: PeerAddr = "/dns4/Node1.Example.com/tcp/9000".parse()?;
//! assert_eq!(addr.to_string(), "/dns4/node1.example.com/tcp/9000");
//!
//! let mut record = PeerRecord::new(alice, PeerSource::Operator);
//! record.add_address(addr, btcfed_core::AddressSource::Operator);
//! let (set, changes) = PeerSet::default().apply(&PeerPatch::create(record), Now::default())?;
//! assert_eq!((set.len(), changes.len()), (1, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | Module | Owns |
//! |---|---|
//! | [`key`], [`addr`] | identities and addresses: parse = validate, one spelling each |
//! | [`identity`], [`record`] | secret keys; libp2p signed envelopes: sign, verify |
//! | [`peer`], [`ban`], [`set`], [`patch`] | what is known of peers, and how it changes |
//! | [`store`], [`network`], [`exchange`], [`reconfigure`], [`config`] | the five component traits and their data |
//! | [`protocol`] | an application's own protocols on the node's connections |
//! | [`time`], [`metrics`] | the two hooks |
//! | [`backoff`], [`breaker`], [`rng`] | retry policies and deterministic randomness |
//! | [`error`], [`limits`] | error kinds; every shared bound by name |

pub mod addr;
pub mod backoff;
pub mod ban;
mod base58;
pub mod breaker;
pub mod config;
pub mod error;
pub mod exchange;
pub mod identity;
pub mod key;
pub mod limits;
pub mod metrics;
pub mod network;
mod packing;
pub mod patch;
pub mod peer;
pub mod protocol;
pub mod reconfigure;
pub mod record;
pub mod rng;
pub mod set;
pub mod store;
#[cfg(feature = "test-utils")]
pub mod testing;
pub mod time;

pub use addr::{AddrWithId, PeerAddr};
pub use ban::{Ban, BanReason, BanTarget, Issuer};
pub use config::{ConfigSource, NodeConfig};
pub use error::{ErrorKind, ParseError};
pub use exchange::Exchange;
pub use identity::SecretKey;
pub use key::{PeerId, PeerKey};
pub use metrics::Metrics;
pub use network::Network;
pub use patch::{PeerChange, PeerOp, PeerPatch};
pub use peer::{AddressSource, PeerRecord, PeerSource, PeerStatus};
pub use protocol::{Protocol, ProtocolName, ProtocolRequest, ProtocolRequests, Protocols};
pub use reconfigure::{Reconfigure, Staged};
pub use record::SignedRecord;
pub use set::{PeerSet, PeerView, SetBounds};
pub use store::{PeerStore, PeerStoreExt};
pub use time::{Clock, Now};
