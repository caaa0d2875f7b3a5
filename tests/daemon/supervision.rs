//! Tasks that the program depends on, each ended or made to panic while it runs: the program stops in order and says which.

// The fault on demand is only in debug builds.
#![cfg(debug_assertions)]

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use btcfed_core::testing::test_key;

use crate::common::config::yaml;
use crate::common::daemon::{Daemon, command, run_json};

const LIMIT: Duration = Duration::from_secs(20);

/// A daemon with every task there is, one of which ends when the file `fault` appears.
fn start(dir: &Path, task: &str) -> Daemon {
    let http = "admin:\n  http: 127.0.0.1:0\n";
    fs::write(dir.join("conf.yaml"), yaml(&[]) + http).unwrap();
    let mut daemon = command(dir, &["run", "--json"]);
    daemon.env("NOTIFY_SOCKET", dir.join("notify"));
    daemon.env(
        "BTCFED_TEST_FAULT",
        format!("{task}={}", dir.join("fault").display()),
    );
    Daemon::of(dir, daemon)
}

/// A program whose task fails this way ends in order, says so and has its state saved.
fn fails(task: &str, how: &str) {
    let dir = tempfile::tempdir().unwrap();
    let _systemd = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    let mut node = start(dir.path(), task);
    let key = test_key(1).to_string();
    node.json(&["peers", "add", &format!("{key}@192.0.2.1:9000")]);
    fs::write(dir.path().join("fault.new"), how).unwrap();
    fs::rename(dir.path().join("fault.new"), dir.path().join("fault")).unwrap();
    let status = node.wait(LIMIT);
    let log = node.log();
    assert_eq!(status.code(), Some(70), "{task}: {log}");
    // A log that has ended says nothing any more; the message on standard error does.
    assert!(
        log.contains(&format!("task {task} ended unexpectedly")),
        "{task}: {log}"
    );
    assert!(!dir.path().join("btcfed.sock").exists(), "{task}");
    let (code, list) = run_json(dir.path(), &["peers", "list"]);
    assert_eq!(
        (code, list["peers"][0]["public_key"].as_str()),
        (0, Some(key.as_str())),
        "{task}: {list}"
    );
}

#[test]
fn the_end_of_the_signals_task_stops_the_program_with_its_state_saved() {
    fails("signals", "end");
    fails("signals", "panic");
}

#[test]
fn the_end_of_the_config_watch_stops_the_program_with_its_state_saved() {
    fails("config watch", "end");
    fails("config watch", "panic");
}

#[test]
fn the_end_of_the_systemd_task_stops_the_program_with_its_state_saved() {
    fails("systemd", "end");
    fails("systemd", "panic");
}

#[test]
fn the_end_of_the_admin_socket_stops_the_program_with_its_state_saved() {
    fails("admin", "end");
    fails("admin", "panic");
}

#[test]
fn the_end_of_the_http_endpoint_stops_the_program_with_its_state_saved() {
    fails("http", "end");
    fails("http", "panic");
}

#[test]
fn the_end_of_the_log_stops_the_program_with_its_state_saved() {
    fails("logging", "end");
    fails("logging", "panic");
}
