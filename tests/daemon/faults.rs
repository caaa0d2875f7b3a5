//! Storms of signals, frozen and killed peers, few descriptors: the node keeps working, and the figures say how well.

#![expect(
    clippy::print_stdout,
    reason = "the figures are half of the result; shown with --nocapture"
)]

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use btcfed_core::rng::SeededRng;
use btcfed_core::testing::test_key;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::config::yaml;
use crate::common::daemon::{Daemon, command, run_json, tasks};
use crate::common::peers::Peers;
use crate::common::process::entries;
use crate::common::{rounds, wait_for};

const LOCAL: [&str; 2] = ["--listen", "/ip4/127.0.0.1/tcp/0"];
const LIMIT: Duration = Duration::from_secs(20);

fn connected(daemon: &Daemon) -> u64 {
    daemon.json(&["status"])["peers"]["connected"]
        .as_u64()
        .unwrap()
}

/// A configuration that notices a silent peer within 2.5 seconds.
fn watchful(bootstrap: &[String]) -> String {
    let keepalive = "  keepalive:\n    interval: 1s\n    timeout: 500ms\n    failures: 2\n";
    yaml(bootstrap).replace("peers:\n", &format!("{keepalive}peers:\n"))
}

#[test]
fn a_thousand_sighups_while_the_file_changes_drop_nothing_leak_nothing_and_the_last_file_wins() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("conf.yaml");
    fs::write(&conf, yaml(&[])).unwrap();
    let node = Daemon::start(dir.path());
    let _peers = Peers::of(&node, 20);
    wait_for("20 peers", LIMIT, || (connected(&node) == 20).then_some(()));
    let (descriptors, threads) = (entries(node.pid(), "fd"), entries(node.pid(), "task"));
    let tasks_before = tasks(&node);

    let started = Instant::now();
    for round in 0..1000_u32 {
        if round % 5 == 0 {
            let (interval, level) = (round % 50 + 3, ["info", "warn"][(round / 5 % 2) as usize]);
            let text = yaml(&[]).replace("2s", &format!("{interval}s"));
            fs::write(&conf, text + &format!("logging:\n  level: {level}\n")).unwrap();
        }
        node.signal(Signal::HUP);
        std::thread::sleep(Duration::from_millis(4));
    }
    let storm = started.elapsed();
    fs::write(&conf, yaml(&[]).replace("2s", "99s")).unwrap();
    node.signal(Signal::HUP);
    let last = Instant::now();
    let status = wait_for("the last file in force", LIMIT, || {
        let status = node.json(&["status"]);
        (status["config"]["values"]["peers.exchange_interval"] == "1m39s").then_some(status)
    });
    let settled = last.elapsed();
    println!("1000 signals in {storm:?}, settled {settled:?} after the last");
    assert!(storm < Duration::from_secs(10), "{storm:?}");
    assert!(settled < Duration::from_secs(2), "{settled:?}");
    assert_eq!(status["connections"]["ended"], 0);
    assert_eq!(status["peers"]["connected"], 20);
    wait_for(
        "descriptors, threads and tasks back to where they were",
        LIMIT,
        || {
            // Threads for blocking work end by themselves after a while.
            let threads_now = entries(node.pid(), "task");
            let is_back = entries(node.pid(), "fd") <= descriptors
                && threads_now <= threads + 2
                && tasks(&node) <= tasks_before;
            is_back.then_some(())
        },
    );
}

#[test]
fn sighup_and_sigterm_at_any_moment_end_cleanly() {
    let rounds = rounds(50);
    let mut slowest = Duration::ZERO;
    let mut rng = SeededRng::from_seed(5);
    for round in 0..rounds {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("conf.yaml"), yaml(&[])).unwrap();
        let mut child = command(dir.path(), &["run", "--json"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // The lock is taken after the program listens to signals; all the rest of the start is still to come.
        wait_for("the lock", LIMIT, || {
            dir.path().join("node.lock").exists().then_some(())
        });
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        for _ in 0..rng.below(4) {
            kill_process(pid, Signal::HUP).unwrap();
            std::thread::sleep(Duration::from_micros(rng.below(20_000)));
        }
        kill_process(pid, Signal::TERM).unwrap();
        let asked = Instant::now();
        if rng.below(2) == 0 {
            // It may be gone already.
            let _ = kill_process(pid, Signal::HUP);
        }
        let status = wait_for("the end", LIMIT, || child.try_wait().unwrap());
        slowest = slowest.max(asked.elapsed());
        assert_eq!(status.code(), Some(0), "round {round}");
        assert!(!dir.path().join("btcfed.sock").exists(), "round {round}");
    }
    println!("{rounds} rounds, the slowest end took {slowest:?}");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
}

#[test]
fn with_64_descriptors_a_flood_takes_none_from_the_store_and_the_admin_socket() {
    let dir = tempfile::tempdir().unwrap();
    let node = Daemon::start_after(dir.path(), "ulimit -n 64", &LOCAL);
    let _peers = Peers::of(&node, 40);
    let addr = node.addr().replace("/ip4/", "").replace("/tcp/", ":");
    let _sockets: Vec<_> = (0..100)
        .filter_map(|_| TcpStream::connect(&addr).ok())
        .collect();
    wait_for("as many peers as fit", LIMIT, || {
        (connected(&node) >= 12).then_some(())
    });
    let other = test_key(999).peer_id();
    let added = node.json(&[
        "peers",
        "add",
        &format!("{other}@127.0.0.1:1"),
        "--name",
        "saved",
    ]);
    assert_eq!(added["durable"], true, "{added}");
    let text = fs::read_to_string(dir.path().join("peers.yaml")).unwrap();
    assert!(text.contains("saved"), "{text}");
    let status = node.json(&["status"]);
    assert_eq!(status["store"]["state"], "ok", "{status}");
    let descriptors = entries(node.pid(), "fd");
    println!(
        "{descriptors} descriptors, {} peers",
        status["peers"]["connected"]
    );
    assert!(descriptors < 64);
    assert!(
        !node.log().contains("Too many open files"),
        "{}",
        node.log()
    );
    assert!(node.log().contains("limit of open files"), "{}", node.log());
}

#[test]
fn a_frozen_peer_is_gone_within_the_deadline_and_back_when_it_thaws() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(dir.path().join("conf.yaml"), watchful(&[])).unwrap();
    let node = Daemon::start(dir.path());
    fs::write(
        other_dir.path().join("conf.yaml"),
        watchful(&[node.full_addr()]),
    )
    .unwrap();
    let other = Daemon::start(other_dir.path());
    wait_for("connected", LIMIT, || (connected(&node) == 1).then_some(()));

    other.signal(Signal::STOP);
    let frozen = Instant::now();
    wait_for("gone", LIMIT, || (connected(&node) == 0).then_some(()));
    let noticed = frozen.elapsed();
    other.signal(Signal::CONT);
    let thawed = Instant::now();
    wait_for("back", LIMIT, || (connected(&node) == 1).then_some(()));
    let back = thawed.elapsed();
    println!("noticed after {noticed:?}, back after {back:?}");
    // Two missed pings and a timeout: 2.5 s, and a fifth of it. The rest is what asking takes on a busy machine.
    assert!(noticed < Duration::from_millis(3000 + 500), "{noticed:?}");
    assert!(back < Duration::from_secs(5), "{back:?}");
}

#[test]
fn a_peer_that_is_killed_and_started_again_is_connected_within_five_seconds() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut first = Daemon::start_with(dir.path(), &LOCAL);
    let addr = first.addr();
    let other = Daemon::start_with(
        other_dir.path(),
        &[LOCAL[0], LOCAL[1], "--bootstrap", &first.full_addr()],
    );
    let mut slowest = Duration::ZERO;
    for round in 0..3 {
        wait_for("connected", LIMIT, || {
            (connected(&other) == 1).then_some(())
        });
        first.kill();
        wait_for("gone", LIMIT, || (connected(&other) == 0).then_some(()));
        // On the same port as before: also right after a crash.
        first = Daemon::start_with(dir.path(), &["--listen", &addr]);
        let started = Instant::now();
        wait_for("connected again", LIMIT, || {
            (connected(&other) == 1).then_some(())
        });
        slowest = slowest.max(started.elapsed());
        assert!(
            slowest < Duration::from_secs(5),
            "round {round}: {slowest:?}"
        );
    }
    println!("back after at most {slowest:?}");
}

#[test]
fn a_node_killed_again_and_again_is_up_at_once_with_all_it_promised() {
    const ROUNDS: u16 = 15;
    let dir = tempfile::tempdir().unwrap();
    let mut rng = SeededRng::from_seed(9);
    let (mut slowest, mut identity) = (Duration::ZERO, None);
    for round in 0..ROUNDS {
        let started = Instant::now();
        let mut node = Daemon::start_with(dir.path(), &LOCAL);
        slowest = slowest.max(started.elapsed());
        assert_eq!(
            *identity.get_or_insert_with(|| node.peer_id()),
            node.peer_id()
        );
        assert_eq!(node.known().len(), usize::from(round), "nothing is lost");
        let target = format!("{}@127.0.0.1:1", test_key(100 + round).peer_id());
        assert_eq!(node.json(&["peers", "add", &target])["durable"], true);
        std::thread::sleep(Duration::from_millis(rng.below(100)));
        node.kill();
    }
    println!("{ROUNDS} kills, the slowest start took {slowest:?}");
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
}

#[test]
fn a_reload_that_fails_at_any_stage_changes_nothing_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("conf.yaml");
    fs::write(&conf, yaml(&[])).unwrap();
    let node = Daemon::start(dir.path());
    let _peers = Peers::of(&node, 3);
    wait_for("3 peers", LIMIT, || (connected(&node) == 3).then_some(()));
    let before = node.json(&["status"])["config"].clone();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port());
    // Everything else in the file is new as well, and would be applied before the part that fails.
    let all_new = yaml(&[]).replace("2s", "44s")
        + "  connection_timeout: 3s\n  mode: allowlist\nlogging:\n  level: trace\n  format: text\n";
    let listen = |addr: &str| all_new.replace("/ip4/127.0.0.1/tcp/0", addr);
    for (stage, text) in [
        ("syntax", all_new.clone() + "x: ["),
        ("key", all_new.clone() + "shutdown:\n  timout: 5s\n"),
        ("bound", all_new.clone() + "shutdown:\n  timeout: 5h\n"),
        ("busy port", listen(&busy)),
        ("not our address", listen("/ip4/192.0.2.1/tcp/0")),
        (
            "covered",
            listen("/ip4/0.0.0.0/tcp/39999\n    - /ip4/127.0.0.1/tcp/39999"),
        ),
    ] {
        refused(&node, &conf, stage, &text, &before);
    }
    // The last of several listeners fails: those before it are closed again.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free_port = free.local_addr().unwrap().port();
    drop(free);
    let both = format!("/ip4/127.0.0.1/tcp/{free_port}\n    - /ip4/192.0.2.1/tcp/1");
    refused(&node, &conf, "the second listener", &listen(&both), &before);
    wait_for("the first one closed", LIMIT, || {
        TcpStream::connect(("127.0.0.1", free_port)).err()
    });
    assert_eq!(connected(&node), 3);
    assert!(!node.log().contains("\"TRACE\""), "the level never changed");
}

/// Reloads `text`, which must be refused without a trace.
fn refused(node: &Daemon, conf: &Path, stage: &str, text: &str, before: &Value) {
    fs::write(conf, text).unwrap();
    let (code, document) = run_json(&node.dir, &["reload", "--socket", "btcfed.sock"]);
    assert_ne!(code, 0, "{stage}: {document}");
    let status = node.json(&["status", "--socket", "btcfed.sock"]);
    assert_eq!(&status["config"], before, "{stage}");
    assert_eq!(status["connections"]["ended"], 0, "{stage}");
    let addr = node.addr().replace("/ip4/", "").replace("/tcp/", ":");
    assert!(TcpStream::connect(addr).is_ok(), "{stage}: still listening");
}

#[test]
fn a_node_without_standard_streams_works() {
    let dir = tempfile::tempdir().unwrap();
    let shell = "\"$0\" \"$@\" >&- 2>&- <&- & echo $!; wait $!";
    let daemon = command(dir.path(), &["run", LOCAL[0], LOCAL[1], "-v"]);
    let mut child = std::process::Command::new("/bin/sh")
        .env_clear()
        .current_dir(dir.path())
        .args(["-c", shell])
        .arg(daemon.get_program())
        .args(daemon.get_args())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for("healthy", LIMIT, || {
        (run_json(dir.path(), &["health"]).0 == 0).then_some(())
    });
    let (code, stopped) = run_json(dir.path(), &["stop"]);
    assert_eq!(code, 0, "{stopped}");
    let status = wait_for("the end", LIMIT, || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}
