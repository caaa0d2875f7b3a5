//! Files that are wrong: told exactly, never rewritten, never fatal where they need not be.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::daemon::{Daemon, run, run_json};

#[test]
fn every_problem_of_a_configuration_is_listed_with_line_and_hint_and_nothing_is_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    let text = "\
# mine
node:
  private_key: \"bm90IGEga2V5\"
network:
  adresses: []
  addresses:
    - /ip4/0.0.0.0/udp/9000/quic-v1
peers:
  exchange_interval: 30
logging:
  level: loud
";
    let conf = dir.path().join("conf.yaml");
    fs::write(&conf, text).unwrap();
    for args in [&["run"][..], &["config", "check"]] {
        let output = run(dir.path(), args);
        assert_eq!(output.status.code(), Some(78), "{args:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        for part in [
            "conf.yaml:3: node.private_key",
            "conf.yaml:5: network.adresses: unknown key; did you mean addresses?",
            "conf.yaml:7: network.addresses[0]",
            "conf.yaml:9: peers.exchange_interval",
            "conf.yaml:11: logging.level",
        ] {
            assert!(told.contains(part), "{part} is missing in:\n{told}");
        }
        assert!(!told.contains("bm90IGEga2V5"), "a secret is never echoed");
    }
    let (code, document) = run_json(dir.path(), &["config", "check"]);
    assert_eq!((code, document["ok"].as_bool()), (78, Some(false)));
    assert_eq!(document["problems"].as_array().unwrap().len(), 5);
    assert!(
        document["problems"]
            .as_array()
            .unwrap()
            .iter()
            .all(|problem| problem["line"].is_u64())
    );
    assert_eq!(fs::read_to_string(&conf).unwrap(), text);
    let names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["conf.yaml"], "nothing else was written");
}

#[test]
fn a_configuration_that_is_named_must_exist() {
    let dir = tempfile::tempdir().unwrap();
    let (code, document) = run_json(dir.path(), &["--config", "nowhere.yaml", "run"]);
    assert_eq!(code, 78);
    assert!(
        document["error"]["message"]
            .as_str()
            .unwrap()
            .contains("nowhere.yaml"),
        "{document}"
    );
}

/// True when some file in `dir` holds these bytes: as a whole, or their last line where it stood.
fn still_there(dir: &Path, bytes: &[u8]) -> bool {
    let last_line = bytes.rsplit(|byte| *byte == b'\n').next().unwrap();
    fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        let found = if path.is_file() {
            fs::read(path).unwrap()
        } else {
            Vec::new()
        };
        found == bytes
            || (!last_line.is_empty()
                && found.windows(last_line.len()).any(|part| part == last_line))
    })
}

#[test]
fn a_damaged_peers_file_never_stops_the_node_and_its_bytes_are_kept() {
    let key = |n| btcfed_core::testing::test_key(n);
    let good = format!(
        "peers:\n  - public_key: {}\n    addresses:\n      - /ip4/127.0.0.1/tcp/1\n  - public_key: {}\n    addresses:\n      - /ip4/127.0.0.1/tcp/2\n",
        key(1),
        key(2)
    );
    let cases: [(&str, Vec<u8>, usize); 4] = [
        (
            "cut in the second key",
            good.as_bytes()[..good.find(&key(2).to_string()).unwrap() + 20].to_vec(),
            1,
        ),
        (
            "garbage",
            (0..4096_u32)
                .map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0])
                .collect(),
            0,
        ),
        ("empty", Vec::new(), 0),
        ("brackets", vec![b'['; 50_000], 0),
    ];
    for (name, bytes, known) in cases {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("peers.yaml"), &bytes).unwrap();
        let mut daemon = Daemon::start_with(dir.path(), &["--listen", "/ip4/127.0.0.1/tcp/0"]);
        assert_eq!(daemon.known().len(), known, "{name}");
        let id = btcfed_core::testing::test_key(9).peer_id();
        daemon.json(&["peers", "add", &format!("{id}@127.0.0.1:9")]);
        let (status, _) = daemon.terminate();
        assert_eq!(status.code(), Some(0), "{name}");
        assert!(
            bytes.is_empty() || still_there(dir.path(), &bytes),
            "{name}: the bad bytes are gone"
        );
        let log = daemon.log();
        let warnings = log
            .lines()
            .filter(|line| line.contains("\"WARN\"") && line.contains("peers.yaml"));
        assert_eq!(warnings.count(), 1, "{name}: not said once:\n{log}");
        let again = Daemon::start_with(dir.path(), &["--listen", "/ip4/127.0.0.1/tcp/0"]);
        assert_eq!(
            again.known().len(),
            known + 1,
            "{name}: what was added survives"
        );
    }
}

#[test]
fn a_bad_entry_is_skipped_with_its_line_and_stays_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let good = btcfed_core::testing::test_key(1);
    let text = format!(
        "peers:\n  - public_key: not-a-key   # typed by hand\n    addresses: [/ip4/127.0.0.1/tcp/1]\n  - public_key: {good}\n    addresses: [/ip4/127.0.0.1/tcp/2]\n"
    );
    fs::write(dir.path().join("peers.yaml"), text).unwrap();
    let mut daemon = Daemon::start_with(dir.path(), &["--listen", "/ip4/127.0.0.1/tcp/0"]);
    assert_eq!(daemon.known(), [good.peer_id().to_string()]);
    let id = btcfed_core::testing::test_key(9).peer_id();
    daemon.json(&["peers", "add", &format!("{id}@127.0.0.1:9")]);
    daemon.terminate();
    let log = daemon.log();
    let told: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert!(
        told.iter()
            .any(|line| line.to_string().contains("\"line\":2") || line.to_string().contains(":2")),
        "{log}"
    );
    let saved = fs::read_to_string(dir.path().join("peers.yaml")).unwrap();
    assert!(
        saved.contains(
            "  - public_key: not-a-key   # typed by hand\n    addresses: [/ip4/127.0.0.1/tcp/1]\n"
        ),
        "{saved}"
    );
    assert!(saved.contains(&id.key().to_string()), "{saved}");
}

#[test]
fn the_command_line_answers_mistakes_with_the_promised_codes() {
    let dir = tempfile::tempdir().unwrap();
    for (args, code) in [
        (&["frobnicate"][..], 2),
        (&["wait", "--timeout", "soon"], 2),
        (&["peers", "add", "nonsense"], 65),
        (&["status"], 69),
        (&["reload"], 69),
        (&["health"], 1),
        (&["wait", "--timeout", "100ms"], 1),
        (&["id"], 1),
        (&["peers", "show", "nobody"], 1),
        (&["--version"], 0),
        (&["run", "--help"], 0),
    ] {
        let output = run(dir.path(), args);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert!(
        fs::read_dir(dir.path()).unwrap().count() <= 1,
        "looking around leaves nothing but a lock file behind"
    );
}

#[test]
fn a_broken_configuration_does_not_hide_a_daemon_that_runs() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("conf.yaml");
    fs::write(&conf, "network:\n  addresses: [/ip4/127.0.0.1/tcp/0]\n").unwrap();
    let node = Daemon::start(dir.path());
    for broken in ["nonsense: true\n", "admin:\n  socket: elsewhere.sock\n"] {
        fs::write(&conf, broken).unwrap();
        assert_eq!(node.json(&["status"])["state"], "running", "{broken}");
        assert_eq!(run_json(dir.path(), &["health"]).0, 0, "{broken}");
        assert_eq!(
            run_json(dir.path(), &["wait", "--peers", "0"]).0,
            0,
            "{broken}"
        );
    }
}

#[test]
fn an_empty_or_too_short_name_removes_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let id = btcfed_core::testing::test_key(1).peer_id();
    assert_eq!(
        run_json(dir.path(), &["peers", "add", &format!("{id}@127.0.0.1:1")]).0,
        0
    );
    for wanted in ["", "1", "12D3KooW"] {
        assert_ne!(
            run_json(dir.path(), &["peers", "remove", wanted]).0,
            0,
            "{wanted:?}"
        );
    }
    for name in ["", "a\nb", "\u{1b}[31mred"] {
        let target = format!("{id}@127.0.0.1:1");
        assert_eq!(
            run_json(dir.path(), &["peers", "add", &target, "--name", name]).0,
            65,
            "{name:?}"
        );
    }
    assert_eq!(
        run_json(dir.path(), &["peers", "list"]).1["peers"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure_and_a_wrong_command_line_is_told_as_json_too() {
    let dir = tempfile::tempdir().unwrap();
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = crate::common::daemon::command(dir.path(), &["config", "dump"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(74));
    let (code, document) = run_json(dir.path(), &["frobnicate"]);
    assert_eq!(
        (code, document["error"]["kind"].as_str()),
        (2, Some("usage"))
    );
}

#[test]
fn something_else_in_place_of_the_node_lock_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        dir.path().join("node.lock"),
        rustix::fs::Mode::RUSR,
    )
    .unwrap();
    let (code, document) = run_json(dir.path(), &["run", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    assert_eq!(code, 73, "{document}");
}

#[test]
fn a_peers_file_that_somebody_holds_locked_is_told_as_busy_within_the_timeout() {
    let dir = tempfile::tempdir().unwrap();
    let id = btcfed_core::testing::test_key(1).peer_id();
    let target = format!("{id}@127.0.0.1:1");
    assert_eq!(run_json(dir.path(), &["peers", "add", &target]).0, 0);
    let file = fs::File::open(dir.path().join("peers.yaml.lock")).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let args = [
        "peers",
        "add",
        &target,
        "--name",
        "alice",
        "--timeout",
        "200ms",
    ];
    let (code, document) = run_json(dir.path(), &args);
    assert_eq!(code, 75, "{document}");
    drop(file);
    assert_eq!(
        run_json(dir.path(), &["peers", "list"]).1["peers"][0]["name"],
        Value::Null
    );
}
