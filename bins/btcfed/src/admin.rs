//! The admin socket: a unix socket that speaks one JSON-RPC 2.0 object a line. Beside it, if asked for, an HTTP endpoint
//! that only answers probes and scrapers.
//!
//! Whoever may open the socket may steer the node; its file mode (`admin.mode`) is the access control.

pub mod client;
mod group;
pub mod http;
mod journal;
mod places;
pub mod protocol;
pub mod server;
mod service;
