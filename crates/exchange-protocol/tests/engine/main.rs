//! One engine, driven by hand through every kind of conversation.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../attacks/mod.rs"]
mod attacks;
mod bench;
mod bounds;
mod compression;
mod conversation;
mod denied;
mod download;
mod edges;
mod equivocation;
mod hostile;
mod lease;
mod neighbours;
mod rates;
mod records;
mod table;
mod vectors;
