//! The real program under stress: churn, hostile sockets, bad networks, partitions, reloads, kills, odd machines. Every
//! test prints a table and writes a JSON document; `docs/TESTING.md` says how to run the long forms.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on may panic; the figures are half of the result"
)]

#[path = "../common/mod.rs"]
mod common;

mod churn;
mod connecting;
mod hostile;
mod kills;
mod machine;
mod partition;
mod reloads;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::daemon::Daemon;

/// One at a time: figures of tests that disturb each other say nothing.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a daemon accepts connections.
fn socket_addr(daemon: &Daemon) -> std::net::SocketAddr {
    let addr = daemon.addr().replace("/ip4/", "").replace("/tcp/", ":");
    addr.parse().unwrap()
}

fn connected(daemon: &Daemon) -> u64 {
    daemon.json(&["status"])["peers"]["connected"]
        .as_u64()
        .unwrap()
}

/// A new file in the place of an old one, at once.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, path).unwrap();
}

/// Lines of the log that tell of a panic.
fn panics(daemon: &Daemon) -> usize {
    let log = daemon.log();
    log.lines().filter(|line| line.contains("panicked")).count()
}
