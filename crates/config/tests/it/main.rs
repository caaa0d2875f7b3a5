//! The crate from outside: files in, configuration or problems out.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its files may stop"
)]

mod bounds;
mod common;
mod golden;
mod hostile;
mod secrets;
mod sources;
mod template;
