//! `wait`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::args::{Global, WaitOptions};
use crate::cli::context;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::exit::{CliError, Exit};
use crate::view::with_schema;

/// How long to wait unless `--timeout` says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// How often to look.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

pub(super) fn run(
    global: &Global,
    options: &WaitOptions,
    output: &Output,
) -> Result<Exit, CliError> {
    let timeout = global.timeout.unwrap_or(DEFAULT_TIMEOUT);
    let started = Instant::now();
    // A daemon that is still starting is waited for, too; a bad configuration or a missing permission is not.
    let mut progress = Progress::new("waiting for peers", output);
    let (connected, last_error) = loop {
        let (connected, error) = match look(global) {
            Ok(connected) => (connected, None),
            Err(error) if error.exit == Exit::Unavailable => (0, Some(error.message)),
            Err(error) => return Err(error),
        };
        if (error.is_none() && connected >= options.peers) || started.elapsed() >= timeout {
            break (connected, error);
        }
        progress.at(connected as u64, options.peers as u64);
        std::thread::sleep(POLL_INTERVAL.min(timeout.saturating_sub(started.elapsed())));
    };
    drop(progress);
    let reached = last_error.is_none() && connected >= options.peers;
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let document = with_schema(
        "wait",
        json!({ "reached": reached, "connected": connected, "wanted": options.peers, "waited_ms": millis, "error": last_error }),
    );
    output.result(&document, |_| {
        let state = format!(
            "{connected} of {} peers connected after {millis} ms",
            options.peers
        );
        last_error
            .as_ref()
            .map_or_else(|| state.clone(), |error| format!("{state}: {error}"))
    });
    Ok(if reached { Exit::Ok } else { Exit::Failed })
}

fn look(global: &Global) -> Result<usize, CliError> {
    let status = context::connect(global)?.call("status", json!({}))?;
    let connected = status
        .pointer("/peers/connected")
        .and_then(Value::as_u64)
        .unwrap_or(0);
    Ok(usize::try_from(connected).unwrap_or(usize::MAX))
}
