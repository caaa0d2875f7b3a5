//! `doctor`, `ping` and `config check --runtime`: every planted fault is named, a healthy node raises no alarm.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use btcfed_core::testing::test_key;
use serde_json::Value;

use crate::common::config::yaml;
use crate::common::daemon::{Daemon, run, run_json};
use crate::common::wait_for;

const LOCAL: [&str; 2] = ["--listen", "/ip4/127.0.0.1/tcp/0"];

fn examine(dir: &Path) -> (i32, Value) {
    let (code, document) = run_json(dir, &["doctor", "--timeout", "2s"]);
    assert_eq!(document["schema"], "btcfed.doctor/1");
    (code, document)
}

/// The checks that found something, and what.
fn alarms(document: &Value) -> Vec<(String, String)> {
    let text = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    let checks = document["checks"].as_array().unwrap().iter();
    let alarms = checks.filter(|check| check["verdict"] != "ok");
    alarms
        .inspect(|check| assert!(check["fix"].is_string(), "{check}"))
        .map(|check| (text(check, "check"), text(check, "finding")))
        .collect()
}

#[test]
fn a_healthy_node_raises_no_alarm_running_or_stopped() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(dir.path().join("conf.yaml"), yaml(&[])).unwrap();
    let (code, found) = examine(dir.path());
    assert_eq!(
        (code, alarms(&found)),
        (0, vec![]),
        "before the first start"
    );
    let other = Daemon::start_with(other_dir.path(), &LOCAL);
    let mut node = Daemon::start(dir.path());
    node.json(&["peers", "add", &other.full_addr(), "--name", "other"]);
    wait_for("connected", Duration::from_secs(10), || {
        (!node.connected().is_empty()).then_some(())
    });
    let (code, found) = examine(dir.path());
    assert_eq!((code, alarms(&found)), (0, vec![]), "running");
    assert_eq!(run_json(dir.path(), &["config", "check", "--runtime"]).0, 0);
    let told = found.to_string();
    for good in ["agrees with the files and with 1 peers", "as 1 peers"] {
        assert!(told.contains(good), "{good}: {found:#}");
    }
    node.terminate();
    let (code, found) = examine(dir.path());
    assert_eq!((code, alarms(&found)), (0, vec![]), "stopped");
    let text = String::from_utf8(run(dir.path(), &["doctor"]).stdout).unwrap();
    assert!(
        text.contains("ok    peer      other answers at") && text.ends_with("all is well\n"),
        "{text}"
    );
}

/// Plants a fault in a healthy directory; the doctor must name this check, with this text, and nothing else.
fn planted(check: &str, part: &str, plant: impl FnOnce(&Path)) {
    planted_in(tempfile::tempdir().unwrap().path(), 1, check, part, plant);
}

/// The same in this directory, with this exit code: 0 for what is only worth a warning.
fn planted_in(dir: &Path, expected: i32, check: &str, part: &str, plant: impl FnOnce(&Path)) {
    fs::write(dir.join("conf.yaml"), yaml(&[])).unwrap();
    assert_eq!(run_json(dir, &["key", "generate", "-o", "node.key"]).0, 0);
    plant(dir);
    let (code, found) = examine(dir);
    let alarms = alarms(&found);
    assert_eq!(code, expected, "{check}: {found:#}");
    assert_eq!(alarms.len(), 1, "{check}: {alarms:?}");
    assert!(
        alarms[0].0 == check && alarms[0].1.contains(part),
        "{check}: {alarms:?}"
    );
}

#[test]
fn every_planted_fault_is_named_and_nothing_else() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let conf = |dir: &Path, text: String| fs::write(dir.join("conf.yaml"), text).unwrap();
    planted("listen", "in use", |dir| {
        conf(dir, yaml(&[]).replace("tcp/0", &format!("tcp/{port}")))
    });
    planted("listen", "in use", |dir| {
        conf(dir, yaml(&[]).replace("tcp/0", &format!("tcp/{port}")));
        let (_, found) = examine(dir);
        let who = format!("process {} (", std::process::id());
        assert!(found.to_string().contains(&who), "who holds it: {found:#}");
    });
    let over = "version: 1\npeers: []\nbans:\n  - {ip: 203.0.113.7, reason: misbehaviour, since: 2020-01-01T00:00:00Z, until: 2020-01-02T00:00:00Z, by: operator}\n";
    let dir = tempfile::tempdir().unwrap();
    planted_in(dir.path(), 0, "bans", "203.0.113.7", |dir| {
        fs::write(dir.join("peers.yaml"), over).unwrap();
    });
    assert_eq!(
        run_json(dir.path(), &["peers", "unban", "203.0.113.7"]).0,
        0
    );
    assert_eq!(alarms(&examine(dir.path()).1), vec![], "as the fix said");
    planted("listen", "assign", |dir| {
        conf(dir, yaml(&[]).replace("127.0.0.1", "203.0.113.1"))
    });
    planted("config", "exchange_intervall", |dir| {
        conf(dir, yaml(&[]).replace("interval", "intervall"))
    });
    planted("dns", "does-not-exist.invalid", |dir| {
        conf(dir, yaml(&["/dns/does-not-exist.invalid/tcp/1".to_owned()]))
    });
    planted("key", "other users can read", |dir| {
        fs::set_permissions(dir.join("node.key"), fs::Permissions::from_mode(0o644)).unwrap();
    });
    planted("key", "holds no private key", |dir| {
        fs::write(dir.join("node.key"), "nonsense").unwrap()
    });
    planted("file", "peers.yaml:2", |dir| {
        fs::write(dir.join("peers.yaml"), "peers:\n  - public_key: nonsense\n").unwrap()
    });
    planted("clock", "in the future", |dir| {
        let file = fs::File::create(dir.join("peers.yaml")).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(3600))
            .unwrap();
    });
    planted("peer", "no TCP connection", |dir| {
        run(
            dir,
            &["peers", "add", &format!("{}@127.0.0.1:1", test_key(1))],
        );
    });
    planted("peer", "handshake failed", |dir| {
        run(
            dir,
            &["peers", "add", &format!("{}@127.0.0.1:{port}", test_key(1))],
        );
    });
}

#[test]
fn a_wrong_key_and_a_held_lock_are_told_apart_from_what_they_look_like() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = Daemon::start_with(other_dir.path(), &LOCAL);
    fs::write(dir.path().join("conf.yaml"), yaml(&[])).unwrap();
    let place = other.addr().replace("/ip4/", "").replace("/tcp/", ":");
    run(
        dir.path(),
        &[
            "peers",
            "add",
            &format!("{}@{place}", test_key(1)),
            "--name",
            "carol",
        ],
    );
    let (code, found) = examine(dir.path());
    let alarms_found = alarms(&found);
    assert_eq!((code, alarms_found.len()), (1, 1), "{alarms_found:?}");
    assert!(
        alarms_found[0].1.contains("another node answers")
            && alarms_found[0].1.contains(&other.peer_id())
    );

    fs::remove_file(other_dir.path().join("btcfed.sock")).unwrap();
    let (_, found) = examine(other_dir.path());
    assert!(
        alarms(&found)
            .iter()
            .any(|(check, text)| check == "lock" && text.contains("process")),
        "{found:#}"
    );
}

#[test]
fn ping_splits_the_way_and_tells_who_answers() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = Daemon::start_with(other_dir.path(), &LOCAL);
    let place = other.addr().replace("/ip4/", "").replace("/tcp/", ":");
    run(
        dir.path(),
        &["peers", "add", &other.full_addr(), "--name", "other"],
    );
    let full = other.full_addr();
    for target in [
        place.as_str(),
        "other",
        &full,
        &place.replace("127.0.0.1", "localhost"),
    ] {
        let (code, found) = run_json(dir.path(), &["ping", target]);
        assert_eq!(code, 0, "{found}");
        let probe = found["probes"]
            .as_array()
            .unwrap()
            .iter()
            .find(|probe| probe["ok"] == true)
            .unwrap();
        assert_eq!(probe["answered_by"], other.peer_id());
        for step in ["tcp", "noise", "protocol"] {
            assert!(probe[step]["ms"].is_f64(), "{step}: {probe}");
        }
        let agent = probe["agent"].as_str().unwrap();
        assert!(agent.starts_with("btcfed/"), "{probe}");
        assert!(probe["clock_offset_ms"].as_i64().unwrap().abs() < 2000);
        assert_eq!(probe["dns"].is_object(), target.starts_with("localhost"));
    }
    let text = String::from_utf8(run(dir.path(), &["ping", "other", "-n", "2"]).stdout).unwrap();
    assert_eq!(text.matches("protocol").count(), 2, "{text}");
    assert!(text.contains("\n2 of 2 ok; min/mean/max "), "{text}");
    let wrong = format!("{}@{place}", test_key(1));
    for (target, code) in [
        (wrong.as_str(), 1),
        ("127.0.0.1:1", 1),
        ("nobody", 1),
        ("/ip4/nonsense", 65),
        ("host:port", 65),
    ] {
        assert_eq!(run_json(dir.path(), &["ping", target]).0, code, "{target}");
    }
    assert_eq!(
        other.json(&["peers", "list"])["peers"],
        serde_json::json!([]),
        "whoever pings stays unknown"
    );
}

#[test]
fn what_is_safe_is_put_right_when_asked_and_only_then() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("conf.yaml"), yaml(&[])).unwrap();
    run(dir.path(), &["key", "generate", "-o", "node.key"]);
    let key = dir.path().join("node.key");
    let mode = || fs::metadata(&key).unwrap().permissions().mode() & 0o777;
    let (stale, fresh) = (
        dir.path().join("node.key.17.new"),
        dir.path().join("node.key.18.new"),
    );
    for path in [&stale, &fresh] {
        fs::write(path, "half a key").unwrap();
    }
    let old = SystemTime::now() - Duration::from_secs(2 * 3600);
    fs::File::open(&stale).unwrap().set_modified(old).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(run_json(dir.path(), &["doctor", "--offline"]).0, 1);
    assert!(mode() == 0o644 && stale.exists(), "it only looked");
    let (code, document) = run_json(dir.path(), &["doctor", "--offline", "--fix"]);
    assert_eq!(code, 0, "{document}");
    let checks = document["checks"].as_array().unwrap().iter();
    assert_eq!(
        checks.filter(|check| check["verdict"] == "fixed").count(),
        2,
        "{document}"
    );
    assert!(mode() == 0o600 && !stale.exists() && fresh.exists());
    let (_, again) = run_json(dir.path(), &["doctor", "--offline", "--fix"]);
    assert_eq!(alarms(&again), [], "nothing is left to be done");
}
