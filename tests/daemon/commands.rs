//! What commands answer, with the daemon running and stopped.

use std::fs;
use std::time::Duration;

use crate::common::config::yaml;
use crate::common::daemon::{Daemon, command, run, run_json};
use crate::common::wait_for;

const LOCAL: [&str; 2] = ["--listen", "/ip4/127.0.0.1/tcp/0"];

#[test]
fn status_has_every_promised_key() {
    let dir = tempfile::tempdir().unwrap();
    let node = Daemon::start_with(dir.path(), &LOCAL);
    let status = node.json(&["status"]);
    assert_eq!(status["schema"], "btcfed.status/1");
    for path in [
        "/peer_id",
        "/public_key",
        "/version",
        "/uptime_s",
        "/state",
        "/listen",
        "/peers/known",
        "/peers/connected",
        "/peers/banned",
        "/config/revision",
        "/config/values",
        "/store/state",
        "/store/generation",
        "/store/durable",
    ] {
        assert!(status.pointer(path).is_some(), "{path}");
    }
    assert_eq!(status["config"]["values"]["peers.exchange_interval"], "30s");
    let text = String::from_utf8(run(dir.path(), &["status"]).stdout).unwrap();
    assert!(
        text.contains(&node.peer_id()) && text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

#[test]
fn peers_are_added_shown_and_removed_with_the_daemon_running() {
    let dir = tempfile::tempdir().unwrap();
    let node = Daemon::start_with(dir.path(), &LOCAL);
    let key = btcfed_core::testing::test_key(1);
    let id = key.peer_id().to_string();
    let target = format!("{key}@127.0.0.1:1");
    let added = node.json(&["peers", "add", &target, "--name", "alice", "--pin"]);
    assert_eq!(
        (added["schema"].as_str(), added["changed"].as_bool()),
        (Some("btcfed.peers-add/1"), Some(true))
    );
    assert_eq!(added["durable"], true);
    assert_eq!(node.json(&["peers", "add", &target])["changed"], false);

    let list = node.json(&["peers", "list"]);
    let peer = &list["peers"][0];
    for field in [
        "peer_id",
        "public_key",
        "name",
        "pinned",
        "source",
        "status",
        "connection",
        "addresses",
        "last_seen",
    ] {
        assert!(peer.get(field).is_some(), "{field}");
    }
    assert_eq!(
        (peer["name"].as_str(), peer["pinned"].as_bool()),
        (Some("alice"), Some(true))
    );
    assert_eq!(peer["source"], "operator");
    for name in ["alice", &id, &key.to_string(), &id[..20]] {
        assert_eq!(
            node.json(&["peers", "show", name])["peer"]["peer_id"],
            id,
            "{name}"
        );
    }
    // Nobody listens there.
    wait_for("the failure is counted", Duration::from_secs(5), || {
        let shown = node.json(&["peers", "show", "alice"]);
        (shown["peer"]["status"] == "inaccessible").then_some(())
    });
    assert_eq!(node.json(&["peers", "remove", "alice"])["changed"], true);
    assert_eq!(node.json(&["peers", "remove", &id])["changed"], false);
    assert_eq!(node.known(), [] as [String; 0]);

    let own = format!("{}@127.0.0.1:1", node.peer_id());
    assert_eq!(
        run_json(dir.path(), &["peers", "add", &own]).0,
        65,
        "oneself"
    );
}

#[test]
fn peers_are_added_shown_and_removed_with_the_daemon_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let key = btcfed_core::testing::test_key(1);
    let (code, added) = run_json(
        dir.path(),
        &[
            "peers",
            "add",
            &format!("{key}@127.0.0.1:1"),
            "--name",
            "alice",
        ],
    );
    assert_eq!(
        (code, added["changed"].as_bool()),
        (0, Some(true)),
        "{added}"
    );
    let (_, list) = run_json(dir.path(), &["peers", "list"]);
    assert_eq!(list["peers"][0]["name"], "alice");
    assert_eq!(list["peers"][0]["connection"]["state"], "disconnected");
    let (_, shown) = run_json(dir.path(), &["peers", "show", "alice"]);
    assert_eq!(shown["peer"]["public_key"], key.to_string());
    assert!(
        fs::read_to_string(dir.path().join("peers.yaml"))
            .unwrap()
            .contains(&key.to_string())
    );
    assert_eq!(
        run_json(dir.path(), &["peers", "remove", "alice"]).1["changed"],
        true
    );
    assert_eq!(
        run_json(dir.path(), &["peers", "list"]).1["peers"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    let text = String::from_utf8(run(dir.path(), &["peers", "list"]).stdout).unwrap();
    assert!(text.contains("no peers are known"), "{text}");
}

#[test]
fn health_and_wait_follow_the_connections() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = Daemon::start_with(dir.path(), &LOCAL);
    assert_eq!(
        run_json(dir.path(), &["health"]),
        (
            0,
            serde_json::json!({
                "schema": "btcfed.health/1", "healthy": true, "reasons": [],
            })
        )
    );
    assert_eq!(run_json(dir.path(), &["health", "--ready"]).0, 0);
    assert_eq!(run_json(dir.path(), &["health", "--min-peers", "1"]).0, 1);
    let (code, waited) = run_json(dir.path(), &["wait", "--peers", "1", "--timeout", "200ms"]);
    assert_eq!((code, waited["reached"].as_bool()), (1, Some(false)));
    let mut waiting = command(dir.path(), &["wait", "--peers", "1", "--timeout", "20s"])
        .spawn()
        .unwrap();
    let _other = Daemon::start_with(
        other_dir.path(),
        &[&LOCAL[..], &["--bootstrap", &node.full_addr()]].concat(),
    );
    assert_eq!(waiting.wait().unwrap().code(), Some(0));
    assert_eq!(
        run_json(dir.path(), &["health", "--ready", "--min-peers", "1"]).0,
        0
    );
}

#[test]
fn init_writes_a_commented_configuration_once_and_run_uses_it() {
    let dir = tempfile::tempdir().unwrap();
    let (code, made) = run_json(
        dir.path(),
        &[
            "init",
            "--name",
            "alice",
            "--listen",
            "/ip4/127.0.0.1/tcp/0",
        ],
    );
    assert_eq!(code, 0, "{made}");
    let text = fs::read_to_string(dir.path().join("conf.yaml")).unwrap();
    assert!(
        text.contains("exchange_interval") && text.contains("alice"),
        "{text}"
    );
    let (code, refused) = run_json(dir.path(), &["init"]);
    assert_eq!(code, 73, "{refused}");
    assert_eq!(
        fs::read_to_string(dir.path().join("conf.yaml")).unwrap(),
        text,
        "nothing was changed"
    );
    let (code, again) = run_json(dir.path(), &["init", "--force"]);
    assert_eq!(
        (code, &again["peer_id"]),
        (0, &made["peer_id"]),
        "the key is never replaced"
    );
    let (code, elsewhere) = run_json(dir.path(), &["--config", "deep/er/mine.yaml", "init"]);
    assert_eq!(
        (code, elsewhere["config"].as_str()),
        (0, Some("deep/er/mine.yaml"))
    );
    assert_eq!(
        elsewhere["peer_id"], made["peer_id"],
        "the key is in the state directory"
    );
    fs::write(dir.path().join("conf.yaml"), text).unwrap();
    let node = Daemon::start(dir.path());
    assert_eq!(node.ready["peer_id"], made["peer_id"]);
    assert_eq!(
        node.json(&["status"])["config"]["values"]["node.name"],
        "alice"
    );
}

#[test]
fn the_configuration_is_checked_printed_and_explained() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(
        run_json(dir.path(), &["config", "check"]).1["ok"],
        true,
        "no file: the defaults hold"
    );
    fs::write(dir.path().join("conf.yaml"), yaml(&[])).unwrap();
    let (_, dumped) = run_json(dir.path(), &["config", "dump", "--origin"]);
    assert_eq!(dumped["values"]["peers.exchange_interval"]["value"], "2s");
    assert_eq!(
        dumped["values"]["peers.exchange_interval"]["origin"],
        "file, line 5"
    );
    assert_eq!(dumped["values"]["logging.level"]["origin"], "default");
    let output = command(dir.path(), &["config", "dump", "--json", "--origin"])
        .env("BTCFED_LOGGING__LEVEL", "debug")
        .output()
        .unwrap();
    let dumped: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(dumped["values"]["logging.level"]["value"], "debug");
    let default = String::from_utf8(run(dir.path(), &["config", "default"]).stdout).unwrap();
    fs::write(dir.path().join("conf.yaml"), default).unwrap();
    assert_eq!(run_json(dir.path(), &["config", "check"]).0, 0);
}
