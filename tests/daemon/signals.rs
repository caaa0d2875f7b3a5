//! Signals that come early.

#![expect(
    clippy::print_stdout,
    reason = "a measurement is told to whoever looks"
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::daemon::command;
use crate::common::wait_for;

const LIMIT: Duration = Duration::from_secs(20);

fn spawn(dir: &std::path::Path) -> Child {
    command(dir, &["run", "--listen", "/ip4/127.0.0.1/tcp/0"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn spawn_with_log(dir: &std::path::Path, log: &std::path::Path) -> Child {
    command(dir, &["run", "--listen", "/ip4/127.0.0.1/tcp/0"])
        .stdout(Stdio::null())
        .stderr(fs::File::create(log).unwrap())
        .spawn()
        .unwrap()
}

fn send(child: &Child, signal: Signal) {
    // It may have ended.
    let _ = kill_process(Pid::from_child(child), signal);
}

/// True when the process has a handler for SIGHUP.
fn catches_hangup(child: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & 1 != 0)
}

#[test]
fn sighup_never_kills_from_the_first_step_of_main_on() {
    let mut unprotected = Vec::new();
    for round in 0..50 {
        let dir = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        let mut child = spawn(dir.path());
        while !catches_hangup(&child) {
            assert!(begun.elapsed() < LIMIT, "no handler");
        }
        unprotected.push(begun.elapsed());
        // At once, and then at every millisecond of the start.
        send(&child, Signal::HUP);
        std::thread::sleep(Duration::from_millis(round));
        send(&child, Signal::HUP);
        wait_for("the admin socket", LIMIT, || {
            let ended = child.try_wait().unwrap();
            assert_eq!(ended, None, "round {round}");
            dir.path().join("btcfed.sock").exists().then_some(())
        });
        send(&child, Signal::HUP);
        send(&child, Signal::TERM);
        let ended = wait_for("the end", LIMIT, || child.try_wait().unwrap());
        assert!(ended.success(), "round {round}: {ended}");
    }
    unprotected.sort();
    println!(
        "from spawn to the handler: median {:?}, most {:?}",
        unprotected[25], unprotected[49]
    );
}

#[test]
fn a_hangup_before_the_node_is_ready_is_acted_on_when_it_is() {
    for round in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut child = spawn_with_log(dir.path(), &log);
        while !catches_hangup(&child) {
            assert_eq!(child.try_wait().unwrap(), None, "round {round}");
        }
        send(&child, Signal::HUP);
        wait_for("the line about the reload", LIMIT, || {
            assert_eq!(child.try_wait().unwrap(), None, "round {round}");
            let log = fs::read_to_string(&log).unwrap();
            log.contains("asked to reload by a signal").then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_parent_that_ignores_hangup_covers_the_time_in_which_the_program_is_loaded() {
    for round in 0..50 {
        let dir = tempfile::tempdir().unwrap();
        let direct = command(dir.path(), &["run", "--listen", "/ip4/127.0.0.1/tcp/0"]);
        let mut child = Command::new("/bin/sh")
            .env_clear()
            .current_dir(dir.path())
            .arg("-c")
            .arg("trap '' HUP; echo; exec \"$0\" \"$@\"")
            .arg(direct.get_program())
            .args(direct.get_args())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The shell says that it ignores the signal; from there on, at every tenth of a millisecond of the start.
        let mut said = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut said).unwrap();
        std::thread::sleep(Duration::from_micros(100 * round));
        send(&child, Signal::HUP);
        wait_for("the handler", LIMIT, || {
            assert_eq!(child.try_wait().unwrap(), None, "round {round}");
            catches_hangup(&child).then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn sigterm_ends_an_early_start_cleanly() {
    for round in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let mut child = spawn(dir.path());
        std::thread::sleep(Duration::from_millis(3 * round));
        send(&child, Signal::TERM);
        let ended = wait_for("the end", LIMIT, || child.try_wait().unwrap());
        let is_clean = ended.success() || ended.signal() == Some(Signal::TERM.as_raw());
        assert!(is_clean, "round {round}: {ended}");
        // Nothing is left that keeps the next one from starting.
        let mut next = spawn(dir.path());
        wait_for("the next start", LIMIT, || {
            assert_eq!(next.try_wait().unwrap(), None, "round {round}");
            dir.path().join("btcfed.sock").exists().then_some(())
        });
        next.kill().unwrap();
        next.wait().unwrap();
    }
}
