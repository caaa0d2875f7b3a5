//! What the flags of the looking commands leave out, add, and bring in order.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use btcfed_core::testing::test_key;
use rustix::process::{Pid, Signal, kill_process};

use crate::common::config::yaml;
use crate::common::daemon::{Daemon, command, run, run_json};
use crate::common::wait_for;

fn text(output: &std::process::Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn peers_are_listed_by_state_in_an_order_and_whole() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&dir, &other] {
        fs::write(dir.path().join("conf.yaml"), yaml(&[])).unwrap();
    }
    let bob = Daemon::start(other.path());
    for (number, name) in [(1, "zoe"), (2, "adam")] {
        let target = format!("{}@127.0.0.1:1", test_key(number));
        run(dir.path(), &["peers", "add", &target, "--name", name]);
    }
    run(
        dir.path(),
        &["peers", "add", &bob.full_addr(), "--name", "bob"],
    );
    let node = Daemon::start(dir.path());
    wait_for("bob", Duration::from_secs(20), || {
        (node.connected().len() == 1).then_some(())
    });
    let names = |args: &[&str]| -> Vec<String> {
        let list = node.json(&[&["peers", "list"], args].concat());
        let peers = list["peers"].as_array().unwrap().iter();
        peers
            .map(|peer| peer["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&["--sort", "name"]), ["adam", "bob", "zoe"]);
    assert_eq!(names(&["--sort", "state"])[0], "bob");
    assert_eq!(names(&["--state", "connected"]), ["bob"]);
    assert_eq!(
        names(&["--state", "disconnected", "--sort", "name"]),
        ["adam", "zoe"]
    );
    assert_eq!(names(&["--state", "banned"]), [] as [String; 0]);
    let none = text(&run(dir.path(), &["peers", "list", "--state", "banned"]));
    assert_eq!(none, "none of 3 known peers is in this state\n");
    let wide = text(&run(dir.path(), &["peers", "list", "--wide"]));
    assert!(
        wide.contains(&bob.peer_id()) && wide.contains(&bob.addr()),
        "{wide}"
    );
    let status = node.json(&["status", "--peers"]);
    assert_eq!(status["peer_list"].as_array().unwrap().len(), 3);
    let shown = text(&run(dir.path(), &["status", "--peers"]));
    assert!(shown.contains("bob") && shown.contains(" now "), "{shown}");
}

#[test]
fn an_identity_comes_in_the_form_a_script_wants() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("conf.yaml"), yaml(&[])).unwrap();
    let node = Daemon::start(dir.path());
    let form = |form: &str| text(&run(dir.path(), &["id", "--format", form]));
    assert_eq!(form("peer-id"), node.peer_id() + "\n");
    let (_, id) = run_json(dir.path(), &["id"]);
    assert_eq!(
        form("public-key"),
        format!("{}\n", id["public_key"].as_str().unwrap())
    );
    assert_eq!(form("multiaddr"), node.full_addr() + "\n");
    let other = tempfile::tempdir().unwrap();
    let taken = run_json(other.path(), &["peers", "add", form("multiaddr").trim()]);
    assert_eq!(taken.0, 0, "another node takes it: {}", taken.1);
}

#[test]
fn events_before_a_time_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("conf.yaml"), yaml(&[])).unwrap();
    let node = Daemon::start(dir.path());
    node.json(&["peers", "ban", "203.0.113.7"]);
    let count = |since: &str| {
        let answer = node.json(&["events", "--since", since]);
        answer["events"].as_array().unwrap().len()
    };
    let all = node.json(&["events"])["events"].as_array().unwrap().len();
    assert!(all > 0);
    assert_eq!((count("1h"), count("2020-01-01T00:00:00Z")), (all, all));
    assert_eq!(count("2199-01-01T00:00:00Z"), 0);
}

#[test]
fn a_ban_of_everybody_is_warned_of_and_a_name_that_is_taken_away_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let target = format!("{}@127.0.0.1:1", test_key(1));
    run(dir.path(), &["peers", "add", &target, "--name", "alice"]);
    let output = run(dir.path(), &["peers", "ban", "::/0"]);
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && talk.contains("peers unban ::/0"),
        "{talk}"
    );
    let output = run(dir.path(), &["peers", "ban", "203.0.113.0/24"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("warning"));
    let told = text(&run(dir.path(), &["peers", "rename", "alice", ""]));
    assert!(told.ends_with("has no name now\n"), "{told}");
}

#[test]
fn an_interrupted_federation_leaves_nothing_behind() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        interrupted_by(signal);
    }
}

fn interrupted_by(signal: Signal) {
    let (dir, temporary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut child = command(dir.path(), &["devnet", "--nodes", "60"])
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let files = || fs::read_dir(temporary.path()).unwrap().count();
    let nodes = || {
        let made = fs::read_dir(temporary.path()).unwrap().next()?.unwrap();
        fs::read_dir(made.path()).ok().map(Iterator::count)
    };
    // Once several nodes are made, it listens to signals as well.
    wait_for("some nodes", Duration::from_secs(20), || {
        nodes().filter(|count| *count >= 5)
    });
    kill_process(Pid::from_child(&child), signal).unwrap();
    let status = wait_for("the end", Duration::from_secs(20), || {
        child.try_wait().unwrap()
    });
    assert_eq!((status.code(), files()), (Some(1), 0));
}
