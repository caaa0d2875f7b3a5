//! The admin socket: a unix socket that speaks one JSON-RPC 2.0 object a line.
//!
//! Whoever may open the socket may steer the node; its file mode (`admin.mode`) is the access control.

pub mod client;
mod group;
mod journal;
pub mod protocol;
pub mod server;
mod service;
