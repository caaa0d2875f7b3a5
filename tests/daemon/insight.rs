//! What operators see: events, reasons, counters, drawings.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use btcfed_core::testing::test_key;
use serde_json::Value;

use crate::common::daemon::{Daemon, command, run, run_json};
use crate::common::wait_for;

const LOCAL: [&str; 2] = ["--listen", "/ip4/127.0.0.1/tcp/0"];
const LIMIT: Duration = Duration::from_secs(10);

fn rules(answer: &Value) -> Vec<&str> {
    let reasons = answer["reasons"].as_array().unwrap().iter();
    reasons
        .map(|reason| reason["rule"].as_str().unwrap())
        .collect()
}

#[test]
fn why_names_the_rule_the_last_error_and_the_next_try() {
    let dir = tempfile::tempdir().unwrap();
    let target = format!("{}@127.0.0.1:1", test_key(1));
    run(dir.path(), &["peers", "add", &target, "--name", "alice"]);
    let (code, stopped) = run_json(dir.path(), &["peers", "why", "alice"]);
    assert_eq!((code, rules(&stopped)), (0, vec!["stopped"]));
    let node = Daemon::start_with(dir.path(), &LOCAL);
    let answer = wait_for("a failed dial", LIMIT, || {
        let answer = node.json(&["peers", "why", "alice"]);
        answer["reasons"][0]["last_error"]
            .is_string()
            .then_some(answer)
    });
    assert_eq!(rules(&answer), ["backing off"]);
    let reason = &answer["reasons"][0];
    assert!(
        reason["last_error"].as_str().unwrap().contains("refused"),
        "{answer}"
    );
    assert!(
        reason["next_try"].is_string() && reason["fix"].is_string(),
        "{answer}"
    );
    node.json(&["peers", "ban", "alice"]);
    assert_eq!(rules(&node.json(&["peers", "why", "alice"]))[0], "banned");
    assert_eq!(run_json(dir.path(), &["peers", "why", "nobody"]).0, 1);

    let other_dir = tempfile::tempdir().unwrap();
    let other = Daemon::start_with(other_dir.path(), &LOCAL);
    node.json(&["peers", "add", &other.full_addr(), "--name", "bob"]);
    wait_for("connected", LIMIT, || {
        (rules(&node.json(&["peers", "why", "bob"])) == ["connected"]).then_some(())
    });
    let text = String::from_utf8(run(dir.path(), &["peers", "why", "bob"]).stdout).unwrap();
    assert!(
        text.contains("connected: outbound via /ip4/127.0.0.1"),
        "{text}"
    );
}

#[test]
fn events_are_remembered_and_followed_line_by_line() {
    let dir = tempfile::tempdir().unwrap();
    let node = Daemon::start_with(dir.path(), &LOCAL);
    let mut child = command(dir.path(), &["events", "--follow", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    node.json(&[
        "peers",
        "add",
        &format!("{}@127.0.0.1:1", test_key(1)),
        "--name",
        "alice",
    ]);
    node.json(&["peers", "ban", "203.0.113.0/24"]);
    let mut seen = Vec::new();
    while !seen.iter().any(|event: &Value| event["event"] == "banned") {
        let line = lines.next().unwrap().unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["schema"], "btcfed.event/1");
        seen.push(event);
    }
    assert!(
        seen.iter()
            .any(|event| event["event"] == "peer_added" && event["name"] == "alice"),
        "{seen:?}"
    );
    assert_eq!(seen.last().unwrap()["target"], "203.0.113.0/24");
    let known = node.json(&["events"]);
    assert!(
        known["events"].as_array().unwrap().len() >= seen.len(),
        "{known}"
    );
    assert_eq!(
        node.json(&["events", "--times", "1"])["events"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let text = String::from_utf8(run(dir.path(), &["events"]).stdout).unwrap();
    assert!(text.contains("peer_added    alice"), "{text}");
    node.json(&["stop"]);
    assert_eq!(child.wait().unwrap().code(), Some(69), "the daemon is gone");
}

#[test]
fn a_follower_that_leaves_frees_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let node = Daemon::start_with(dir.path(), &LOCAL);
    let added = format!("{}@127.0.0.1:1", test_key(1));
    node.json(&["peers", "add", &added]);
    for _ in 0..40 {
        let output = run(dir.path(), &["events", "--follow", "--times", "1"]);
        assert_eq!(output.status.code(), Some(0));
    }
    assert_eq!(node.json(&["status"])["state"], "running");
}

#[test]
fn counters_and_drawings_come_in_every_form() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = Daemon::start_with(dir.path(), &LOCAL);
    let other = Daemon::start_with(other_dir.path(), &LOCAL);
    node.json(&["peers", "add", &other.full_addr(), "--name", "bob"]);
    wait_for("connected", LIMIT, || {
        (!node.connected().is_empty()).then_some(())
    });
    let text = |args: &[&str]| String::from_utf8(run(dir.path(), args).stdout).unwrap();
    let metrics = text(&["metrics"]);
    assert!(
        metrics.contains("btcfed_peers{state=\"connected\"} 1\n"),
        "{metrics}"
    );
    assert_eq!(node.json(&["metrics"])["schema"], "btcfed.metrics/1");
    for (form, part) in [
        ("ascii", "-----> bob"),
        ("dot", "[label=\"bob\"]"),
        ("mermaid", "[\"bob\"]"),
        ("json", "\"connected\": true"),
        ("svg", ">bob</text>"),
    ] {
        let drawn = text(&["topology", "--format", form]);
        assert!(drawn.contains(part), "{form}: {drawn}");
    }
    let watched = text(&["status", "--watch", "100ms", "--times", "2"]);
    assert_eq!(watched.matches("is running").count(), 2, "{watched}");
    let lines = text(&["status", "--watch", "100ms", "--times", "3", "--json"]);
    assert_eq!(lines.lines().count(), 3, "{lines}");
    drop(node);
    for args in [
        &["metrics"][..],
        &["topology"],
        &["events"],
        &["status", "--watch"],
    ] {
        assert_eq!(run(dir.path(), args).status.code(), Some(69), "{args:?}");
    }
}
