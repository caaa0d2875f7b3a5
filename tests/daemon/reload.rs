//! SIGHUP and `btcfed reload`.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::common::config::yaml;
use crate::common::daemon::{Daemon, run_json};
use crate::common::wait_for;

const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn sighup_applies_a_new_interval_and_level_and_keeps_every_connection() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let conf = dir.path().join("conf.yaml");
    fs::write(&conf, yaml(&[])).unwrap();
    let node = Daemon::start(dir.path());
    let _other = Daemon::start_with(
        other_dir.path(),
        &[
            "--listen",
            "/ip4/127.0.0.1/tcp/0",
            "--bootstrap",
            &node.full_addr(),
        ],
    );
    wait_for("connected", LIMIT, || {
        (!node.connected().is_empty()).then_some(())
    });

    fs::write(
        &conf,
        yaml(&[]).replace("2s", "7s") + "logging:\n  level: debug\n",
    )
    .unwrap();
    node.signal(Signal::HUP);
    let status = wait_for("the new revision", LIMIT, || {
        let status = node.json(&["status"]);
        (status["config"]["revision"] == 2).then_some(status)
    });
    assert_eq!(status["config"]["values"]["peers.exchange_interval"], "7s");
    assert_eq!(status["config"]["values"]["logging.level"], "debug");
    assert_eq!(status["peers"]["connected"], 1);
    assert_eq!(status["connections"]["ended"], 0);
    wait_for("debug lines", LIMIT, || {
        node.log().contains("\"DEBUG\"").then_some(())
    });
}

#[test]
fn a_bad_file_changes_nothing_and_the_command_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("conf.yaml");
    fs::write(&conf, yaml(&[])).unwrap();
    let node = Daemon::start(dir.path());
    for bad in [
        "peers:\n  exchange_interval: 0s\nlogging:\n  level: debug\n",
        "peers: [",
        "\u{0}",
    ] {
        fs::write(&conf, bad).unwrap();
        let (code, document) = run_json(dir.path(), &["reload"]);
        assert_eq!(code, 78, "{document}");
        assert!(document["error"]["line"].is_u64(), "{document}");
    }
    fs::remove_file(&conf).unwrap();
    assert_eq!(
        run_json(dir.path(), &["--socket", "btcfed.sock", "reload"]).0,
        78,
        "a file that is gone is bad, too"
    );
    let status = node.json(&["status", "--socket", "btcfed.sock"]);
    assert_eq!(status["config"]["revision"], 1);
    assert_eq!(status["config"]["values"]["logging.level"], "info");
}

#[test]
fn a_reload_answers_key_by_key() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("conf.yaml");
    fs::write(&conf, yaml(&[])).unwrap();
    let node = Daemon::start(dir.path());
    let unchanged = node.json(&["reload"]);
    assert_eq!(unchanged["applied"].as_array().unwrap().len(), 0);
    fs::write(
        &conf,
        yaml(&[]).replace("2s", "9s") + "node:\n  network: regtest\n",
    )
    .unwrap();
    let report = node.json(&["reload"]);
    assert_eq!(report["applied"][0]["key"], "peers.exchange_interval");
    assert_eq!(report["applied"][0]["new"], "9s");
    assert_eq!(report["needs_restart"][0]["key"], "node.network");
}

#[test]
fn a_new_listener_is_opened_and_the_old_one_closed_without_dropping_a_connection() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let conf = dir.path().join("conf.yaml");
    fs::write(&conf, yaml(&[])).unwrap();
    let node = Daemon::start(dir.path());
    let _other = Daemon::start_with(
        other_dir.path(),
        &[
            "--listen",
            "/ip4/127.0.0.1/tcp/0",
            "--bootstrap",
            &node.full_addr(),
        ],
    );
    wait_for("connected", LIMIT, || {
        (!node.connected().is_empty()).then_some(())
    });
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    fs::write(&conf, yaml(&[]).replace("tcp/0", &format!("tcp/{port}"))).unwrap();
    node.json(&["reload"]);
    let status = wait_for("only the new listener", LIMIT, || {
        let status = node.json(&["status"]);
        (status["listen"] == serde_json::json!([format!("/ip4/127.0.0.1/tcp/{port}")]))
            .then_some(status)
    });
    assert_eq!(status["connections"]["ended"], 0);
    assert_eq!(status["peers"]["connected"], 1);

    // A port that is taken: nothing changes.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_port = taken.local_addr().unwrap().port();
    let text = yaml(&[])
        .replace("tcp/0", &format!("tcp/{taken_port}"))
        .replace("2s", "11s");
    fs::write(&conf, text).unwrap();
    let (code, document) = run_json(dir.path(), &["reload"]);
    assert_ne!(code, 0, "{document}");
    let status = node.json(&["status"]);
    assert_eq!(status["config"]["values"]["peers.exchange_interval"], "2s");
    assert_eq!(
        status["listen"],
        serde_json::json!([format!("/ip4/127.0.0.1/tcp/{port}")])
    );
}

#[test]
fn storage_keys_take_effect_and_are_not_only_told() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("conf.yaml");
    fs::write(&conf, yaml(&[])).unwrap();
    let node = Daemon::start(dir.path());
    let peers = dir.path().join("peers.yaml");
    let entry = |number| {
        let key = btcfed_core::testing::test_key(number);
        format!("  - public_key: {key}\n    addresses: [/ip4/127.0.0.1/tcp/1]\n")
    };
    fs::write(&peers, format!("peers:\n{}", entry(1))).unwrap();
    wait_for("the first edit", LIMIT, || {
        (node.known().len() == 1).then_some(())
    });

    fs::write(&conf, yaml(&[]) + "storage:\n  watch: false\n").unwrap();
    let report = node.json(&["reload"]);
    assert_eq!(report["applied"][0]["key"], "storage.watch");
    let text = fs::read_to_string(&peers).unwrap();
    fs::write(
        &peers,
        text.replacen("peers:\n", &format!("peers:\n{}", entry(2)), 1),
    )
    .unwrap();
    // Nobody watches: for longer than a watcher and its poll need together, nothing happens.
    let looked = Instant::now();
    while looked.elapsed() < Duration::from_millis(1500) {
        assert_eq!(node.known().len(), 1);
    }
    let report = node.json(&["reload"]);
    assert_eq!(report["peers"]["changed"], 1, "{report}");
    assert_eq!(node.known().len(), 2);
}

#[test]
fn a_changed_file_is_loaded_by_itself_where_the_operator_wants_that() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("conf.yaml");
    let wanted =
        |interval: &str| yaml(&[]).replace("2s", interval) + "admin:\n  reload_on_change: true\n";
    fs::write(&conf, wanted("2s")).unwrap();
    let node = Daemon::start(dir.path());
    let revision = |wanted: u64| {
        wait_for("the revision", LIMIT, || {
            let status = node.json(&["status"]);
            (status["config"]["revision"] == wanted).then_some(status)
        })
    };
    // Half of an edit, a bad one, then a good one by way of a rename, as editors save.
    fs::write(&conf, "peers:\n  exchange_int").unwrap();
    wait_for("the refusal", LIMIT, || {
        node.log().contains("reload refused").then_some(())
    });
    fs::write(dir.path().join("new.yaml"), wanted("7s")).unwrap();
    fs::rename(dir.path().join("new.yaml"), &conf).unwrap();
    let status = revision(2);
    assert_eq!(status["config"]["values"]["peers.exchange_interval"], "7s");
    // Switched off by the file itself: from here on nothing is loaded unless it is asked for.
    fs::write(&conf, wanted("8s").replace("true", "false")).unwrap();
    revision(3);
    fs::write(&conf, wanted("9s")).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let status = node.json(&["status"]);
    assert_eq!(status["config"]["revision"], 3, "{}", node.log());
    node.signal(Signal::HUP);
    revision(4);
}
