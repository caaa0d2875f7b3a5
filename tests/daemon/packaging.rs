//! What packages need: completions, man pages, the unit, and the conversation with systemd.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use btcfed_core::testing::test_key;

use crate::common::daemon::{command, run, run_json};
use crate::common::skipped;

fn text(args: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), args);
    assert_eq!(output.status.code(), Some(0), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn completions_are_accepted_by_the_shells_that_are_here() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&["completion", shell]);
        assert!(
            script.contains("complete-peers") && script.contains("topology"),
            "{shell}"
        );
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("script");
        fs::write(&file, script).unwrap();
        let checked = Command::new(shell).arg("-n").arg(&file).status();
        // A shell that is not installed cannot object.
        assert!(checked.is_err() || checked.unwrap().success(), "{shell}");
    }
}

#[test]
fn names_for_completion_are_told_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let target = format!("{}@127.0.0.1:1", test_key(1));
    run(dir.path(), &["peers", "add", &target, "--name", "alice"]);
    let names = String::from_utf8(run(dir.path(), &["complete-peers"]).stdout).unwrap();
    assert_eq!(names, "alice\n");
    let nowhere = tempfile::tempdir().unwrap();
    let nothing = run(nowhere.path(), &["complete-peers"]);
    assert_eq!(nothing.status.code(), Some(0));
}

#[test]
fn every_command_has_a_man_page() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(dir.path(), &["gen", "man", "."]).status.code(), Some(0));
    for page in [
        "btcfed.1",
        "btcfed-peers-ban.1",
        "btcfed-config-explain.1",
        "btcfed-gen-systemd.1",
    ] {
        let page = fs::read_to_string(dir.path().join(page)).unwrap();
        assert!(page.contains(".TH") && page.contains("SYNOPSIS"), "{page}");
    }
    assert_eq!(run_json(dir.path(), &["gen", "man", "new/man"]).0, 0);
    assert!(dir.path().join("new/man/btcfed.1").exists());
    fs::write(dir.path().join("file"), "").unwrap();
    assert_eq!(run_json(dir.path(), &["gen", "man", "file/man"]).0, 73);
}

#[test]
fn the_unit_is_accepted_and_hardened() {
    let dir = tempfile::tempdir().unwrap();
    let unit = text(&["gen", "systemd"]).replace("/usr/bin/btcfed", env!("CARGO_BIN_EXE_btcfed"));
    let file = dir.path().join("btcfed.service");
    fs::write(&file, unit).unwrap();
    let analyse = |args: &[&str]| {
        Command::new("systemd-analyze")
            .args(args)
            .arg(&file)
            .env("SYSTEMD_COLORS", "0")
            .output()
    };
    let (Ok(verified), Ok(rated)) = (
        analyse(&["verify", "--man=no"]),
        analyse(&["security", "--offline=true", "--no-pager", "--threshold=15"]),
    ) else {
        skipped("systemd-analyze is not installed");
        return;
    };
    let told = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(
        !told.contains("btcfed.service:") && !told.contains("Unknown"),
        "{told}"
    );
    let last = String::from_utf8_lossy(&rated.stdout)
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned();
    assert!(rated.status.success(), "worse than 1.5: {last}");
}

#[test]
fn systemd_is_told_when_the_node_is_ready_and_alive() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut node = command(dir.path(), &["run", "--listen", "/ip4/127.0.0.1/tcp/0"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut buffer = [0; 512];
    let mut next = || {
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let first = next();
    assert!(
        first.contains("READY=1") && first.contains("STATUS=0 of 0 peers"),
        "{first}"
    );
    let second = next();
    assert!(
        second.contains("WATCHDOG=1") && !second.contains("READY"),
        "{second}"
    );
    assert_eq!(run(dir.path(), &["stop"]).status.code(), Some(0));
    assert_eq!(node.wait().unwrap().code(), Some(0));
}
