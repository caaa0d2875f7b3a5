//! The peer exchange protocol as a sans-I/O engine.

#![warn(clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

mod bucket;
pub mod codec;
mod debug_json;
mod digest;
mod engine;
pub mod limits;
pub mod message;
mod phase;
mod relay;
mod scan;
mod schedule;
mod score;
mod session;
pub mod simulate;
mod sync;
mod validate;
mod view;
mod wire;

pub use engine::{Engine, EngineOptions};
pub use phase::Phase;
