//! What the tests of whole nodes share: builders for configurations, messages and handshakes; running daemons; waiting.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on may panic"
)]
#![allow(
    clippy::print_stdout,
    reason = "figures are half of the result; shown with --nocapture"
)]

pub mod config;
pub mod daemon;
pub mod figures;
pub mod messages;
pub mod namespace;
pub mod peers;
pub mod process;
pub mod proxy;
pub mod terminal;

use std::time::{Duration, Instant};

/// Asks `probe` again and again until it answers, or panics with `what` when `limit` is over.
pub fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The same for asynchronous tests.
pub async fn wait_for_async<T>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How often a long test repeats itself: `BTCFED_TEST_ROUNDS`, else `short`.
pub fn rounds(short: u64) -> u64 {
    let given = std::env::var("BTCFED_TEST_ROUNDS").ok();
    given.map_or(short, |text| {
        text.parse().expect("BTCFED_TEST_ROUNDS is a number")
    })
}

/// Says, past whatever captures the output of tests, that something could not be tried on this machine.
pub fn skipped(why: &str) {
    use std::io::Write as _;
    let mut out = std::io::stderr().lock();
    writeln!(out, "SKIPPED: {why}").unwrap();
}
