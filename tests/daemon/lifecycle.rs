//! First run, stop, second node, secrets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::process::Signal;

use crate::common::config::yaml;
use crate::common::daemon::{Daemon, command, run, run_json};

const LOCAL: [&str; 2] = ["--listen", "/ip4/127.0.0.1/tcp/0"];

#[test]
fn the_first_run_needs_no_file_and_the_identity_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Daemon::start_with(dir.path(), &LOCAL);
    assert_eq!(first.ready["schema"], "btcfed.run/1");
    assert!(first.addr().starts_with("/ip4/127.0.0.1/tcp/"));
    let mode = fs::metadata(dir.path().join("node.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let (status, took) = first.terminate();
    assert_eq!(status.code(), Some(0), "{}", first.log());
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(
        !dir.path().join("btcfed.sock").exists(),
        "the socket is removed"
    );

    let again = Daemon::start_with(dir.path(), &LOCAL);
    assert_eq!(again.peer_id(), first.peer_id());
    let (code, id) = run_json(dir.path(), &["id"]);
    assert_eq!(
        (code, id["peer_id"].as_str()),
        (0, Some(first.peer_id().as_str()))
    );
}

#[test]
fn sigint_stops_as_sigterm_does_and_sigpipe_and_sighup_do_not_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start_with(dir.path(), &LOCAL);
    daemon.signal(Signal::PIPE);
    daemon.signal(Signal::HUP);
    assert_eq!(daemon.json(&["status"])["state"], "running");
    daemon.signal(Signal::INT);
    assert_eq!(daemon.wait(Duration::from_secs(5)).code(), Some(0));
}

#[test]
fn a_second_node_is_refused_in_the_same_directory_and_on_the_same_port() {
    let (first_dir, second_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Daemon::start_with(first_dir.path(), &LOCAL);

    let same_dir = run(first_dir.path(), &["run", LOCAL[0], LOCAL[1]]);
    assert_eq!(same_dir.status.code(), Some(75));
    let told = String::from_utf8(same_dir.stderr).unwrap();
    assert!(
        told.contains("another node is running in this directory (process"),
        "{told}"
    );
    assert_eq!(
        first.json(&["status"])["state"],
        "running",
        "the first is not disturbed"
    );

    let (code, document) = run_json(second_dir.path(), &["run", "--listen", &first.addr()]);
    assert_eq!(code, 69);
    let message = document["error"]["message"].as_str().unwrap();
    assert!(
        message.contains(&first.addr()) && message.contains("in use"),
        "{message}"
    );
    assert_eq!(document["error"]["key"], "network.addresses");
}

#[test]
fn a_killed_node_leaves_nothing_that_stops_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start_with(dir.path(), &LOCAL);
    daemon.kill();
    assert!(
        dir.path().join("btcfed.sock").exists(),
        "a dead socket is left behind"
    );
    let (code, document) = run_json(dir.path(), &["status"]);
    assert_eq!(code, 69, "{document}");
    assert!(
        document["error"]["message"]
            .as_str()
            .unwrap()
            .contains("not running"),
        "{document}"
    );
    let again = Daemon::start_with(dir.path(), &LOCAL);
    assert_eq!(again.json(&["status"])["state"], "running");
}

#[test]
fn the_stop_command_ends_the_daemon_with_its_state_saved() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start_with(dir.path(), &LOCAL);
    let other = btcfed_core::testing::test_key(1).peer_id();
    daemon.json(&[
        "peers",
        "add",
        &format!("{other}@127.0.0.1:1"),
        "--name",
        "alice",
    ]);
    assert_eq!(daemon.json(&["stop"])["stopping"], true);
    assert_eq!(daemon.wait(Duration::from_secs(5)).code(), Some(0));
    let text = fs::read_to_string(dir.path().join("peers.yaml")).unwrap();
    assert!(text.contains("alice"), "{text}");
}

#[test]
fn the_admin_socket_has_the_configured_mode() {
    let dir = tempfile::tempdir().unwrap();
    let _daemon = Daemon::start_with(dir.path(), &LOCAL);
    let mode = fs::metadata(dir.path().join("btcfed.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
}

/// Every command that answers something.
const EVERYTHING: &[&[&str]] = &[
    &["status"],
    &["id"],
    &["config", "dump", "--origin"],
    &["config", "check"],
    &["peers", "list"],
    &["peers", "pin", "other"],
    &["peers", "unpin", "other"],
    &["peers", "rename", "other", "another"],
    &["peers", "ban", "another"],
    &["peers", "bans"],
    &["peers", "unban", "another"],
    &["peers", "show", "another"],
    &["peers", "export"],
    &["peers", "export", "--format", "csv"],
    &["peers", "import", "node.key"],
    &["peers", "import", "node.key", "--format", "csv"],
    &["peers", "import", "node.key", "--format", "json"],
    &["peers", "verify"],
    &["peers", "verify", "node.key"],
    &["peers", "verify", "conf.yaml"],
    &["key", "show-public"],
    &["key", "show-public", "node.key"],
    &["key", "show-public", "conf.yaml"],
    &["key", "import", "node.key"],
    &["key", "import", "node.key", "-o", "copy.key"],
    &["config", "explain", "node"],
    &["config", "diff"],
    &["config", "diff", "--defaults"],
    &["config", "schema"],
    &["peers", "why", "another"],
    &["doctor"],
    &["config", "check", "--runtime"],
    &["ping", "127.0.0.1:1"],
    &["invite", "create", "--address", "/ip4/203.0.113.7/tcp/9000"],
    &["events"],
    &["metrics"],
    &["topology"],
    &["topology", "--format", "dot"],
    &["reload", "--dry-run"],
    &["log", "level", "trace"],
    &["trace", "other", "--duration", "10ms"],
    &["peers", "approve", "--list"],
    &["peers", "approve", "other"],
    &["peers", "history"],
    &["peers", "repair"],
    &["config", "migrate", "--dry-run"],
    &["support-bundle"],
    &["reload"],
];

#[test]
fn no_output_log_or_file_but_the_key_file_holds_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("conf.yaml"), yaml(&[])).unwrap();
    let mut daemon = Daemon::start_with(dir.path(), &["--log-level", "trace"]);
    let secret: btcfed_core::SecretKey = fs::read_to_string(dir.path().join("node.key"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let other = btcfed_core::testing::test_key(1).peer_id();
    let mut said = String::new();
    let target = format!("{other}@127.0.0.1:1");
    let add = ["peers", "add", &target, "--name", "other"];
    for args in [&add[..]].into_iter().chain(EVERYTHING.iter().copied()) {
        for format in [&[][..], &["--json"]] {
            let output = command(dir.path(), &[args, format, &["-v"]].concat())
                .output()
                .unwrap();
            said.push_str(&String::from_utf8_lossy(&output.stdout));
            said.push_str(&String::from_utf8_lossy(&output.stderr));
        }
    }
    daemon.terminate();
    said.push_str(&daemon.log());
    said.push_str(&fs::read_to_string(dir.path().join("peers.yaml")).unwrap());
    let seed = secret.seed();
    let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
    let base64 = secret.to_base64();
    let decimal = format!("{:?}", seed.as_slice());
    for (name, spelling) in [
        ("base64", base64.as_str()),
        ("part of base64", &base64[8..40]),
        ("hex", &hex),
        ("HEX", &hex.to_uppercase()),
        ("decimal", &decimal),
    ] {
        assert!(!said.contains(spelling), "the secret leaks as {name}");
        // Whoever changes its case gives most of it away.
        let lower = spelling.to_lowercase();
        assert!(
            !said.to_lowercase().contains(&lower),
            "the secret leaks as {name}, in another case"
        );
    }
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    let dir = tempfile::tempdir().unwrap();
    let args = [&["run", "--json", "--log-level", "trace"], &LOCAL[..]].concat();
    let mut child = command(dir.path(), &args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The pipe of standard error is held open and never read.
    let unread = child.stderr.take().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    for _ in 0..400 {
        let (code, answer) = run_json(dir.path(), &["reload"]);
        assert_eq!(code, 0, "{answer}");
    }
    assert_eq!(run_json(dir.path(), &["status"]).1["state"], "running");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    let status = crate::common::wait_for("the end", Duration::from_secs(5), || {
        child.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(0));
    drop(unread);
}
