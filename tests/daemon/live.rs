//! What of the running daemon people look at and change for a while: log level, messages of a peer; support bundles; and the
//! form of conf.yaml.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use btcfed_core::SecretKey;
use serde_json::Value;

use crate::common::config::yaml;
use crate::common::daemon::{Daemon, run, run_json};
use crate::common::wait_for;

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_log_level_holds_for_a_while_and_the_configured_one_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("conf.yaml"), yaml(&[])).unwrap();
    let node = Daemon::start(dir.path());
    let in_force = || {
        node.json(&["status"])["log"]["in_force"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(in_force(), "info");
    let set = node.json(&["log", "level", "trace", "--for", "10m"]);
    assert_eq!(
        (set["changed"].as_bool(), set["until"].is_string()),
        (Some(true), true)
    );
    // A dial is worth a line at debug.
    let target = format!("{}@127.0.0.1:1", btcfed_core::testing::test_key(1));
    node.json(&["peers", "add", &target]);
    wait_for("a line at debug or below", LIMIT, || {
        let log = node.log();
        (log.contains("\"DEBUG\"") || log.contains("\"TRACE\"")).then_some(())
    });
    node.json(&["reload"]);
    assert_eq!(in_force(), "info", "a reload returns");
    node.json(&["log", "level", "btcfed=debug,warn"]);
    assert_eq!(in_force(), "btcfed=debug,warn");
    node.json(&["log", "level", "--reset"]);
    assert_eq!(in_force(), "info");
    node.json(&["log", "level", "debug", "--for", "1s"]);
    wait_for("the return", LIMIT, || (in_force() == "info").then_some(()));
    assert_eq!(node.json(&["log", "level"])["changed"], false);
}

#[test]
fn the_messages_of_a_peer_are_shown_and_the_trace_ends_by_itself() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(one.path().join("conf.yaml"), yaml(&[])).unwrap();
    let first = Daemon::start(one.path());
    fs::write(two.path().join("conf.yaml"), yaml(&[first.full_addr()])).unwrap();
    let second = Daemon::start(two.path());
    wait_for("a connection", LIMIT, || {
        (first.connected().len() == 1).then_some(())
    });
    let args = ["trace", &second.peer_id(), "--duration", "6s", "--json"];
    let output = run(one.path(), &args);
    assert_eq!(output.status.code(), Some(0));
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (end, messages) = lines.split_last().unwrap();
    assert_eq!(
        (end["event"].as_str(), end["dropped"].as_u64()),
        (Some("end"), Some(0))
    );
    assert_eq!(end["messages"].as_u64(), Some(messages.len() as u64));
    let request = messages
        .iter()
        .find(|line| line["role"] == "request")
        .unwrap();
    let answer = messages
        .iter()
        .find(|line| line["role"] == "answer" && line["correlation"] == request["correlation"]);
    assert!(answer.is_some(), "{messages:#?}");
    assert!(request["bytes"].as_u64() > Some(0) && request["schema"] == "btcfed.trace/1");
}

/// Unpacks a bundle and returns its only folder.
fn unpack(bundle: &Path) -> PathBuf {
    let into = bundle.with_extension("d");
    fs::create_dir(&into).unwrap();
    let mut tar = Command::new("tar");
    let status = tar
        .arg("-xzf")
        .arg(bundle)
        .arg("-C")
        .arg(&into)
        .status()
        .unwrap();
    assert!(status.success());
    fs::read_dir(into).unwrap().next().unwrap().unwrap().path()
}

fn read_all(folder: &Path) -> String {
    let files = fs::read_dir(folder).unwrap();
    files
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect()
}

/// Everything that was told is there, and nothing that must not be.
fn check_inside(folder: &Path, told: &Value, secret: &SecretKey) {
    let inside = told["inside"].as_array().unwrap();
    for part in inside {
        let file = folder.join(part["file"].as_str().unwrap());
        assert!(file.exists(), "{part}");
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), inside.len() + 1);
    let all = read_all(folder);
    let base64 = secret.to_base64();
    let decimal = format!("{:?}", secret.seed().as_slice());
    let hex = hex(secret);
    let upper = hex.to_uppercase();
    for spelling in [base64.as_str(), &base64[8..40], &hex, &upper, &decimal] {
        assert!(!all.contains(spelling), "the key is in the bundle");
    }
    assert!(!all.contains("node7.example.com") && all.contains("host-"));
    assert!(all.contains("last") && all.contains("<redacted>"));
}

fn hex(secret: &SecretKey) -> String {
    let digits = secret.seed().iter();
    digits.map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_bundle_says_what_is_in_it_and_holds_no_secret_running_or_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let secret = SecretKey::from_seed([7; 32]);
    let base64 = secret.to_base64();
    let hex = hex(&secret);
    // The worst case: the key stands in conf.yaml, and somebody wrote it into the log.
    let conf = format!("node:\n  private_key: {}\n{}", base64.as_str(), yaml(&[]));
    fs::write(dir.join("conf.yaml"), conf).unwrap();
    let log = format!("one\nkey {} and {hex}\nlast\n", base64.as_str());
    fs::write(dir.join("node.log"), log).unwrap();
    let target = format!(
        "{}@node7.example.com:9000",
        btcfed_core::testing::test_key(1)
    );
    assert_eq!(run_json(dir, &["peers", "add", &target]).0, 0);
    for running in [false, true] {
        let node = running.then(|| Daemon::start(dir));
        let name = format!("bundle-{running}.tar.gz");
        let refused = run_json(dir, &["support-bundle", "--output", &name]);
        assert!(
            refused.0 == 2 && !dir.join(&name).exists(),
            "nobody was asked"
        );
        let args = [
            "support-bundle",
            "--yes",
            "--anonymous",
            "--log",
            "node.log",
            "--output",
            &name,
        ];
        let (code, told) = run_json(dir, &args);
        assert_eq!(code, 0, "{told}");
        let missing: Vec<&str> = told["missing"]
            .as_array()
            .unwrap()
            .iter()
            .map(|part| part["file"].as_str().unwrap())
            .collect();
        let expected: &[&str] = if running {
            &[]
        } else {
            &["status.json", "events.json", "metrics.json"]
        };
        assert_eq!(missing, expected, "{told}");
        check_inside(&unpack(&dir.join(&name)), &told, &secret);
        assert_eq!(run_json(dir, &args).0, 73, "nothing is replaced");
        drop(node);
    }
}

fn files(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

#[test]
fn an_older_configuration_gets_its_version_and_keeps_its_remarks() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("conf.yaml");
    assert_eq!(
        run_json(dir.path(), &["config", "migrate"]).0,
        1,
        "there is none"
    );
    let old = format!("# ours\n\n{}# the end\n", yaml(&[]));
    fs::write(&conf, &old).unwrap();
    let (code, dry) = run_json(dir.path(), &["config", "migrate", "--dry-run"]);
    assert_eq!(
        (
            code,
            dry["changed"].as_bool(),
            dry["steps"].as_array().unwrap().len()
        ),
        (0, Some(false), 1)
    );
    assert_eq!(fs::read_to_string(&conf).unwrap(), old);
    let (code, done) = run_json(dir.path(), &["config", "migrate"]);
    assert_eq!((code, done["changed"].as_bool()), (0, Some(true)), "{done}");
    assert_eq!(
        fs::read_to_string(&conf).unwrap(),
        old.replace("\n\n", "\n\nversion: 1\n")
    );
    assert_eq!(
        fs::read_to_string(done["kept"].as_str().unwrap()).unwrap(),
        old
    );
    assert_eq!(
        run_json(dir.path(), &["config", "migrate"]).1["changed"],
        false
    );
    assert_eq!(files(dir.path()), 2, "nothing else is left");
    let newer = "version: 2\nnode: {new_key: 1}\n";
    fs::write(&conf, newer).unwrap();
    assert_eq!(run_json(dir.path(), &["config", "migrate"]).0, 78);
    fs::write(&conf, "{node: {name: a}}\n").unwrap();
    assert_eq!(
        run_json(dir.path(), &["config", "migrate"]).0,
        1,
        "flow style is for people"
    );
    let key = SecretKey::from_seed([7; 32]).to_base64();
    fs::write(&conf, format!("node:\n  private_key: {}\n", key.as_str())).unwrap();
    let (_, done) = run_json(dir.path(), &["config", "migrate"]);
    assert_eq!(
        (done["changed"].as_bool(), &done["kept"]),
        (Some(true), &Value::Null)
    );
}
