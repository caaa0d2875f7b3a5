//! Where the log goes and what is in it.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use crate::common::config::yaml;
use crate::common::daemon::{Daemon, run_json};
use crate::common::wait_for;

const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn the_log_goes_to_its_file_and_follows_a_rotation_and_a_reload() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("conf.yaml");
    let with = |file: &str| yaml(&[]) + &format!("logging:\n  file: {file}\n");
    fs::write(&conf, with("first.log")).unwrap();
    let node = Daemon::start(dir.path());
    let text = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap_or_default();
    wait_for("lines in the file", LIMIT, || {
        (!text("first.log").is_empty()).then_some(())
    });
    assert_eq!(node.log(), "", "nothing on standard error");

    fs::rename(dir.path().join("first.log"), dir.path().join("first.log.1")).unwrap();
    node.signal(Signal::HUP);
    wait_for("a new file", LIMIT, || {
        text("first.log")
            .contains("asked to reload by a signal")
            .then_some(())
    });

    fs::write(&conf, with("second.log")).unwrap();
    let (code, answer) = run_json(dir.path(), &["reload"]);
    assert_eq!(code, 0, "{answer}");
    node.signal(Signal::HUP);
    wait_for("lines in the other file", LIMIT, || {
        text("second.log")
            .contains("asked to reload by a signal")
            .then_some(())
    });
    for line in text("second.log").lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("one JSON object a line");
    }
}

#[test]
fn a_log_file_that_cannot_be_opened_refuses_the_start_and_a_reload_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("conf.yaml");
    let bad = yaml(&[]).replace("2s", "7s") + "logging:\n  file: missing/folder/btcfed.log\n";
    fs::write(&conf, &bad).unwrap();
    let (code, answer) = run_json(dir.path(), &["run"]);
    assert_eq!(code, 73, "{answer}");
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("missing/folder/btcfed.log")
    );

    fs::write(&conf, yaml(&[])).unwrap();
    let node = Daemon::start(dir.path());
    fs::write(&conf, &bad).unwrap();
    let (code, answer) = run_json(dir.path(), &["reload"]);
    assert_ne!(code, 0, "{answer}");
    assert_eq!(answer["error"]["key"], "logging.file", "{answer}");
    let status = node.json(&["status"]);
    assert_eq!(status["config"]["revision"], 1);
    assert_eq!(status["config"]["values"]["peers.exchange_interval"], "2s");
}

#[test]
fn the_level_of_one_part_can_be_raised_alone() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("conf.yaml");
    let filter = "logging:\n  level: warn\n  filter: btcfed_node_orchestrator=debug\n";
    fs::write(&conf, yaml(&[]) + filter).unwrap();
    let node = Daemon::start(dir.path());
    let debug = wait_for("a debug line", LIMIT, || {
        node.log()
            .lines()
            .find(|line| line.contains("\"DEBUG\""))
            .map(str::to_owned)
    });
    assert!(debug.contains("btcfed_node_orchestrator"), "{debug}");
    assert!(!node.log().contains("\"target\":\"btcfed_network\""));
}

#[test]
fn the_socket_is_given_to_the_group_that_is_named_or_not_made_at_all() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("conf.yaml");
    let own = dir.path().metadata().unwrap().gid();
    fs::write(&conf, yaml(&[]) + &format!("admin:\n  group: \"{own}\"\n")).unwrap();
    let node = Daemon::start(dir.path());
    let socket = dir.path().join("btcfed.sock").metadata().unwrap();
    assert_eq!((socket.gid(), socket.mode() & 0o777), (own, 0o660));
    drop(node);

    fs::write(&conf, yaml(&[]) + "admin:\n  group: no-such-group\n").unwrap();
    let (code, answer) = run_json(dir.path(), &["run"]);
    assert_eq!(code, 78, "{answer}");
    assert_eq!(answer["error"]["key"], "admin.group");
    assert!(!dir.path().join("btcfed.sock").exists());
}

#[test]
fn messages_are_logged_at_every_level_when_that_is_asked_for_and_not_when_it_is_taken_back() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = Daemon::start_with(other_dir.path(), &["--listen", "/ip4/127.0.0.1/tcp/0"]);
    let conf = dir.path().join("conf.yaml");
    let with = |traced: bool| {
        yaml(&[]) + &format!("logging:\n  level: error\n  trace_messages: {traced}\n")
    };
    fs::write(&conf, with(true)).unwrap();
    let node = Daemon::start(dir.path());
    node.json(&["peers", "add", &other.full_addr()]);
    let kinds = |node: &Daemon, direction: &str, kind: &str| {
        node.log().lines().any(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["target"] == "btcfed_network::messages"
                && line["fields"]["direction"] == direction
                && line["fields"]["kind"] == kind
        })
    };
    for (direction, kind) in [("out", "request"), ("in", "answer"), ("in", "request")] {
        wait_for(kind, LIMIT * 4, || {
            kinds(&node, direction, kind).then_some(())
        });
    }
    let other_lines = node.log();
    assert!(
        other_lines
            .lines()
            .all(|line| line.contains("btcfed_network::messages")),
        "nothing else is told at this level: {other_lines}"
    );
    fs::write(&conf, with(false)).unwrap();
    let (code, answer) = run_json(dir.path(), &["reload"]);
    assert_eq!(
        (code, &answer["applied"][0]["key"]),
        (0, &"logging.trace_messages".into()),
        "{answer}"
    );
    assert!(
        !other.log().contains("btcfed_network::messages"),
        "nobody asked this one"
    );
}
