//! Every command once more, in one table: help, the promised schema, and exit codes with the daemon stopped and running.

use std::fs;
use std::path::Path;

use btcfed_core::testing::test_key;
use serde_json::Value;

use crate::common::config::yaml;
use crate::common::daemon::{Daemon, run, run_json};

/// A command, its exit code with the daemon stopped, and with the daemon running. The peer `alice` is known.
const TABLE: &[(&[&str], i32, i32)] = &[
    (&["status"], 69, 0),
    (&["health"], 1, 0),
    (&["wait", "--peers", "0", "--timeout", "100ms"], 1, 0),
    (&["events"], 69, 0),
    (&["metrics"], 69, 0),
    (&["topology"], 69, 0),
    (&["log", "level"], 69, 0),
    (&["log", "level", "debug", "--for", "1s"], 69, 0),
    (&["log", "level", "loud"], 69, 65),
    (&["log", "level", "debug", "--for", "2d"], 2, 2),
    (&["trace", "alice", "--duration", "10ms"], 69, 0),
    (&["trace", "nobody"], 69, 1),
    (&["support-bundle"], 2, 2),
    (&["reload", "--dry-run"], 69, 0),
    (&["reload"], 69, 0),
    (&["id"], 0, 0),
    (&["key", "show-public"], 0, 0),
    (&["key", "import", "node.key"], 0, 0),
    (&["config", "check"], 0, 0),
    (&["config", "default"], 0, 0),
    (&["config", "dump"], 0, 0),
    (&["config", "diff"], 69, 0),
    (&["config", "explain", "peers"], 0, 0),
    (&["config", "migrate", "--dry-run"], 0, 0),
    (&["peers", "list"], 0, 0),
    (&["peers", "show", "alice"], 0, 0),
    (&["peers", "why", "alice"], 0, 0),
    (&["peers", "pin", "alice"], 0, 0),
    (&["peers", "unpin", "alice"], 0, 0),
    (&["peers", "rename", "alice", "alice"], 0, 0),
    (&["peers", "approve", "--list"], 69, 0),
    (&["peers", "approve", "alice"], 0, 0),
    (&["peers", "approve", "nobody"], 1, 1),
    (&["peers", "edit"], 2, 2),
    (&["peers", "history"], 0, 0),
    (&["peers", "restore", "base", "--dry-run"], 0, 0),
    (&["peers", "restore", "nothing"], 1, 1),
    (&["peers", "repair"], 0, 0),
    (&["peers", "ban", "alice"], 0, 0),
    (&["peers", "bans"], 0, 0),
    (&["peers", "unban", "alice"], 0, 0),
    (&["peers", "export"], 0, 0),
    (&["peers", "verify"], 0, 0),
    (&["peers", "show", "nobody"], 1, 1),
    (
        &["invite", "create", "--address", "/ip4/203.0.113.7/tcp/9000"],
        0,
        0,
    ),
    (&["invite", "show", "BTCFED1QQQQ"], 65, 65),
    (&["join", "BTCFED1QQQQ", "--yes"], 65, 65),
    (&["ping", "127.0.0.1:1"], 1, 1),
    (&["doctor", "--offline"], 0, 0),
    (&["completion", "bash"], 0, 0),
    (&["gen", "conf"], 0, 0),
    (&["gen", "systemd"], 0, 0),
    (&["gen", "sysusers"], 0, 0),
    (&["gen", "tmpfiles"], 0, 0),
    (&["gen", "package", "beside"], 0, 0),
    (&["gen", "logrotate"], 0, 0),
    (&["stop"], 69, 0),
];

/// The words of a command before its arguments, joined as in its schema.
fn name(args: &[&str]) -> String {
    let groups = ["config", "gen", "invite", "key", "log", "peers"];
    let words = if groups.contains(&args[0]) { 2 } else { 1 };
    args[..words].join("-")
}

fn check(dir: &Path, args: &[&str], expected: i32) {
    let (code, document) = run_json(dir, args);
    assert_eq!(code, expected, "{args:?}: {document}");
    let is_error = document.get("error").is_some_and(Value::is_object);
    let schema = if is_error {
        "error".to_owned()
    } else {
        name(args)
    };
    assert_eq!(document["schema"], format!("btcfed.{schema}/1"), "{args:?}");
    if is_error {
        assert_eq!(document["error"]["code"], code, "{args:?}");
        assert!(!document["error"]["message"].as_str().unwrap().is_empty());
    }
}

#[test]
fn every_command_keeps_its_promises_stopped_and_running() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("conf.yaml"), yaml(&[])).unwrap();
    run(dir.path(), &["key", "generate", "-o", "node.key"]);
    let alice = format!("{}@127.0.0.1:1", test_key(1));
    run(dir.path(), &["peers", "add", &alice, "--name", "alice"]);
    for (args, stopped, _) in TABLE {
        check(dir.path(), args, *stopped);
    }
    let mut node = Daemon::start(dir.path());
    for (args, _, running) in TABLE {
        check(dir.path(), args, *running);
    }
    assert_eq!(
        node.wait(std::time::Duration::from_secs(10)).code(),
        Some(0)
    );
}

#[test]
fn every_command_has_help_and_refuses_what_it_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for (args, ..) in TABLE {
        let name = name(args);
        if seen.contains(&name) {
            continue;
        }
        let words: Vec<&str> = name.splitn(2, '-').collect();
        let words = if args[0] == words[0] {
            words
        } else {
            vec![args[0]]
        };
        let words = if name == args[0] {
            vec![args[0]]
        } else {
            words
        };
        let help = run(dir.path(), &[&words[..], &["--help"]].concat());
        let text = String::from_utf8(help.stdout).unwrap();
        assert!(
            help.status.success() && text.contains("Usage: btcfed"),
            "{name}: {text}"
        );
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{name}: {text}"
        );
        assert!(
            text.contains("xample") || name == "health",
            "{name} teaches nothing: {text}"
        );
        let (code, document) = run_json(dir.path(), &[&words[..], &["--frobnicate"]].concat());
        assert_eq!(
            (code, document["error"]["code"].as_i64()),
            (2, Some(2)),
            "{name}"
        );
        seen.push(name);
    }
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        0,
        "help leaves nothing behind"
    );
}
