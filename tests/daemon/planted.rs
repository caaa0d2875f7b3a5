//! Faults that need company or a machine of their own: other clocks, other versions, other federations, a full disk.

use std::fmt;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use btcfed::wire::Node;
use btcfed::{NodeHandle, SecretKey};
use btcfed_core::time::{Clock, Now};
use btcfed_node_orchestrator::TokioClock;
use serde_json::Value;

use crate::common::config::{local, yaml};
use crate::common::daemon::{Daemon, run, run_json};
use crate::common::{skipped, wait_for};

const LOCAL: [&str; 2] = ["--listen", "/ip4/127.0.0.1/tcp/0"];
const LIMIT: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3600);

/// What the doctor says beside \"ok\": check, verdict and finding. Every alarm says what to do.
fn alarms(dir: &Path) -> Vec<(String, String, String)> {
    let (_, document) = run_json(dir, &["doctor", "--timeout", "2s"]);
    let text = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    let checks = document["checks"].as_array().unwrap().iter();
    let alarms = checks.filter(|check| check["verdict"] != "ok");
    let alarms = alarms.inspect(|check| assert!(check["fix"].is_string(), "{check}"));
    let parts = ["check", "verdict", "finding"];
    alarms
        .map(|check| parts.map(|part| text(check, part)).into())
        .collect()
}

fn only(dir: &Path, check: &str, verdict: &str, part: &str) {
    let found = alarms(dir);
    assert_eq!(found.len(), 1, "{check}: {found:?}");
    let (named, judged, finding) = &found[0];
    assert_eq!(
        (named.as_str(), judged.as_str()),
        (check, verdict),
        "{found:?}"
    );
    assert!(finding.contains(part), "{part}: {found:?}");
}

/// A clock that is an hour ahead.
struct Ahead(TokioClock);

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ahead")
    }
}

impl Clock for Ahead {
    fn now(&self) -> Now {
        let now = self.0.now();
        Now {
            wall: now.wall.saturating_add(HOUR),
            ..now
        }
    }
}

/// Members of a federation in this process.
struct Members {
    runtime: tokio::runtime::Runtime,
    dir: tempfile::TempDir,
    handles: Vec<NodeHandle>,
}

impl Members {
    fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Self {
            runtime: builder.worker_threads(1).enable_all().build().unwrap(),
            dir: tempfile::tempdir().unwrap(),
            handles: Vec::new(),
        }
    }

    /// Starts one more, and makes it known to `node`, which dials it.
    fn join(&mut self, node: &Daemon, is_ahead: bool, agent: &str) {
        let number = u8::try_from(self.handles.len() + 1).unwrap();
        let dir = self.dir.path().join(number.to_string());
        fs::create_dir(&dir).unwrap();
        let mut builder =
            Node::builder(local(&dir), SecretKey::from_seed([number; 32])).agent(agent);
        if is_ahead {
            builder = builder.clock(Arc::new(Ahead(TokioClock::new())));
        }
        let member = self.runtime.block_on(builder.build()).unwrap();
        let handle = member.handle();
        self.runtime.spawn(member.run());
        let status = self.runtime.block_on(handle.status()).unwrap();
        let target = format!("{}/p2p/{}", status.listen[0], status.peer_id);
        node.json(&["peers", "add", &target, "--name", &format!("m{number}")]);
        self.handles.push(handle);
    }

    /// Waits until the node has heard from everybody.
    fn gather(&self, node: &Daemon) {
        wait_for("everybody", LIMIT, || {
            let list = node.json(&["peers", "list"]);
            let peers = list["peers"].as_array().unwrap().iter();
            let told = peers.filter(|peer| {
                let connection = &peer["connection"];
                connection["clock_offset_ms"].is_i64() && connection["agent"].is_string()
            });
            (told.count() == self.handles.len()).then_some(())
        });
    }
}

fn agent() -> String {
    format!("btcfed/{}", btcfed::view::VERSION)
}

#[test]
fn a_skewed_clock_is_told_from_the_clocks_of_the_others() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("conf.yaml"), yaml(&[])).unwrap();
    let node = Daemon::start(dir.path());
    let mut members = Members::new();
    members.join(&node, true, &agent());
    members.gather(&node);
    only(dir.path(), "clock", "warn", "the clock of m1 is 3");
    for _ in 0..2 {
        members.join(&node, true, &agent());
    }
    members.gather(&node);
    only(dir.path(), "clock", "fail", "behind the clocks of 3 peers");
    for _ in 0..4 {
        members.join(&node, false, &agent());
    }
    members.gather(&node);
    let found = alarms(dir.path());
    let others = found
        .iter()
        .filter(|(check, verdict, _)| check == "clock" && verdict == "warn");
    assert_eq!(
        others.count(),
        3,
        "now the three are the odd ones: {found:?}"
    );
}

#[test]
fn a_newer_and_an_older_version_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("conf.yaml"), yaml(&[])).unwrap();
    let node = Daemon::start(dir.path());
    let mut members = Members::new();
    members.join(&node, false, "btcfed/99.0.0");
    members.gather(&node);
    only(dir.path(), "version", "warn", "m1 (btcfed/99.0.0)");
    members.join(&node, false, "btcfed/0.0.1");
    members.join(&node, false, "somebody-else/7");
    members.gather(&node);
    let found = alarms(dir.path());
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn another_federation_and_a_node_that_admits_nobody_are_told_apart_from_a_dead_one() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let conf = other_dir.path().join("conf.yaml");
    fs::write(&conf, yaml(&[]) + "node:\n  federation: beta\n").unwrap();
    let mut other = Daemon::start(other_dir.path());
    fs::write(
        dir.path().join("conf.yaml"),
        yaml(&[]) + "node:\n  federation: alpha\n",
    )
    .unwrap();
    run(dir.path(), &["key", "generate", "-o", "node.key"]);
    run(
        dir.path(),
        &["peers", "add", &other.full_addr(), "--name", "bob"],
    );
    only(
        dir.path(),
        "peer",
        "fail",
        "another federation than \"alpha\"",
    );
    let (code, ping) = run_json(dir.path(), &["ping", "bob"]);
    assert_eq!(
        (code, ping["probes"][0]["noise"]["ok"].as_bool()),
        (1, Some(true))
    );
    assert_eq!(ping["probes"][0]["protocol"]["ok"], false, "{ping}");

    let strict = yaml(&[]) + "  mode: allowlist\nnode:\n  federation: alpha\n";
    other.terminate();
    drop(other);
    fs::write(&conf, strict).unwrap();
    let other = Daemon::start(other_dir.path());
    run(dir.path(), &["peers", "add", &other.full_addr()]);
    let found = alarms(dir.path());
    let refused = |found: &[(String, String, String)]| {
        found.iter().any(|(check, verdict, finding)| {
            check == "peer" && verdict == "warn" && finding.contains("bob")
        })
    };
    assert!(refused(&found), "{found:?}");
    let id = run_json(dir.path(), &["id"]).1;
    let own = format!("{}@127.0.0.1:1", id["public_key"].as_str().unwrap());
    other.json(&["peers", "add", &own]);
    wait_for("admission", LIMIT, || {
        let left: Vec<_> = alarms(dir.path());
        let about_bob = |(_, _, finding): &(String, String, String)| finding.contains("bob cannot");
        (!left.iter().any(about_bob)).then_some(())
    });
}

#[test]
fn an_announced_address_that_leads_nowhere_or_elsewhere_is_told() {
    // An address of this machine that is not the loopback; nothing is sent.
    let probe = UdpSocket::bind("0.0.0.0:0").unwrap();
    let own = probe
        .connect("192.0.2.1:9")
        .and_then(|()| probe.local_addr());
    let Some(own) = own
        .ok()
        .filter(|own| own.is_ipv4() && !own.ip().is_loopback())
    else {
        skipped("this machine has no address beside the loopback");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind((own.ip(), 0)).unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let conf = |port: u16| {
        let place = format!("  announce:\n    - /ip4/{}/tcp/{port}\n", own.ip());
        let text = yaml(&[]).replace("network:\n", &format!("network:\n{place}"));
        fs::write(dir.path().join("conf.yaml"), text).unwrap();
    };
    conf(port);
    let mut node = Daemon::start(dir.path());
    only(dir.path(), "announce", "fail", "no TCP connection");
    let other_dir = tempfile::tempdir().unwrap();
    let listen = format!("/ip4/{}/tcp/0", own.ip());
    let other = Daemon::start_with(other_dir.path(), &["--listen", &listen]);
    let (_, other_port) = other
        .addr()
        .rsplit_once('/')
        .map(|(at, port)| (at.to_owned(), port.to_owned()))
        .unwrap();
    conf(other_port.parse().unwrap());
    node.json(&["reload"]);
    only(dir.path(), "announce", "fail", "another node answers there");
    node.terminate();
}

#[test]
fn a_full_disk_is_told_before_something_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
        .arg(dir.path())
        .output();
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        skipped("no disk can be mounted here; this needs root");
        return;
    }
    fs::write(dir.path().join("conf.yaml"), yaml(&[])).unwrap();
    run(dir.path(), &["key", "generate", "-o", "node.key"]);
    let before = alarms(dir.path());
    let full = fs::write(dir.path().join("filler"), vec![0; 512 * 1024]);
    let after = alarms(dir.path());
    let unmounted = Command::new("umount").arg("-l").arg(dir.path()).status();
    assert!(full.is_err() && unmounted.unwrap().success());
    let verdict = |found: &[(String, String, String)]| -> Vec<(String, String)> {
        found
            .iter()
            .map(|(check, verdict, _)| (check.clone(), verdict.clone()))
            .collect()
    };
    let disk = |verdict: &str| vec![("disk".to_owned(), verdict.to_owned())];
    assert_eq!(verdict(&before), disk("warn"));
    assert_eq!(verdict(&after), disk("fail"));
}

#[test]
fn a_healthy_federation_raises_no_alarm_on_any_member() {
    let dirs = [0; 3].map(|_| tempfile::tempdir().unwrap());
    let first = Daemon::start_with(dirs[0].path(), &LOCAL);
    let boot = [first.full_addr()];
    let others: Vec<Daemon> = dirs[1..]
        .iter()
        .map(|dir| {
            fs::write(dir.path().join("conf.yaml"), yaml(&boot)).unwrap();
            Daemon::start(dir.path())
        })
        .collect();
    for node in std::iter::once(&first).chain(&others) {
        wait_for("all connected", LIMIT, || {
            (node.connected().len() == 2).then_some(())
        });
    }
    for dir in &dirs {
        assert_eq!(alarms(dir.path()), vec![]);
    }
}
