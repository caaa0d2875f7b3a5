//! The admin socket against clients that do not behave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::daemon::{Daemon, run, run_json};

const LOCAL: [&str; 2] = ["--listen", "/ip4/127.0.0.1/tcp/0"];

fn open(dir: &Path) -> UnixStream {
    let stream = UnixStream::connect(dir.join("btcfed.sock")).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream
}

/// Sends a line and reads the answer.
fn ask(stream: &UnixStream, line: &str) -> Value {
    let mut stream = stream;
    writeln!(stream, "{line}").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn nonsense_is_answered_with_the_standard_codes_and_the_connection_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let node = Daemon::start_with(dir.path(), &LOCAL);
    let stream = open(dir.path());
    for (line, code) in [
        ("nonsense", -32700),
        ("[]", -32600),
        (r#"{"id":1}"#, -32600),
        (r#"{"id":1,"method":"frobnicate"}"#, -32601),
        (r#"{"id":1,"method":"peers.show"}"#, -32602),
        (
            r#"{"id":1,"method":"peers.show","params":{"peer":"nobody"}}"#,
            -32000,
        ),
        (
            r#"{"id":1,"method":"peers.add","params":{"target":"nonsense"}}"#,
            -32000,
        ),
        (
            r#"{"id":1,"method":"peers.remove","params":{"peer":7}}"#,
            -32602,
        ),
    ] {
        let answer = ask(&stream, line);
        assert_eq!(answer["error"]["code"], json!(code), "{line}: {answer}");
    }
    let answer = ask(
        &stream,
        r#"{"jsonrpc":"2.0","id":"mine","method":"status"}"#,
    );
    assert_eq!(answer["id"], "mine");
    assert_eq!(answer["result"]["peer_id"], json!(node.peer_id()));
}

#[test]
fn an_endless_line_is_cut_off_and_half_closed_and_silent_clients_hurt_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let node = Daemon::start_with(dir.path(), &LOCAL);
    let mut endless = open(dir.path());
    let block = vec![b'a'; 4096];
    // The daemon hangs up after 64 KiB; how much fits into the socket before that is the system's business.
    while endless.write_all(&block).is_ok() {}
    let mut rest = Vec::new();
    if endless.read_to_end(&mut rest).is_ok() && !rest.is_empty() {
        assert!(
            String::from_utf8_lossy(&rest).contains("at most"),
            "{rest:?}"
        );
    }
    let mut half = open(dir.path());
    half.write_all(br#"{"id":1,"method":"status"}"#).unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    half.read_to_string(&mut answer).unwrap();
    assert!(
        answer.contains("peer_id"),
        "a last line without its end is a line: {answer}"
    );
    let silent: Vec<UnixStream> = (0..20).map(|_| open(dir.path())).collect();
    assert_eq!(node.json(&["status"])["state"], "running");
    drop(silent);
}

#[test]
fn many_clients_at_once_are_all_served() {
    let dir = tempfile::tempdir().unwrap();
    let _node = Daemon::start_with(dir.path(), &LOCAL);
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let path = dir.path().to_owned();
            std::thread::spawn(move || ask(&open(&path), r#"{"id":1,"method":"peers.list"}"#))
        })
        .collect();
    for client in clients {
        assert_eq!(
            client.join().unwrap()["result"]["schema"],
            "btcfed.peers-list/1"
        );
    }
}

#[test]
fn a_place_where_no_socket_can_be_is_told_and_nothing_there_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("btcfed.sock"), "mine").unwrap();
    let (code, document) = run_json(dir.path(), &["run", LOCAL[0], LOCAL[1]]);
    assert_eq!(code, 73, "{document}");
    assert_eq!(
        std::fs::read_to_string(dir.path().join("btcfed.sock")).unwrap(),
        "mine"
    );
    let (code, document) = run_json(dir.path(), &["--socket", "no/such/place", "status"]);
    assert_eq!(code, 69, "{document}");
}

#[test]
fn people_get_text_that_tells_what_happened() {
    let dir = tempfile::tempdir().unwrap();
    let node = Daemon::start_with(dir.path(), &LOCAL);
    let text = |args: &[&str]| String::from_utf8(run(dir.path(), args).stdout).unwrap();
    let key = btcfed_core::testing::test_key(1);
    let target = format!("{key}@127.0.0.1:1");
    assert!(text(&["peers", "add", &target, "--name", "alice"]).starts_with("added 12D3KooW"));
    assert!(text(&["peers", "add", &target]).contains("nothing changed"));
    assert!(text(&["peers", "list"]).contains("alice"));
    assert!(text(&["peers", "show", "alice"]).contains("name: alice"));
    assert!(text(&["peers", "remove", "alice"]).starts_with("removed"));
    assert!(text(&["peers", "remove", &key.to_string()]).contains("nothing changed"));
    assert_eq!(text(&["reload"]), "nothing changed\nrevision 1\n");
    assert!(text(&["id"]).contains(&node.peer_id()));
    assert_eq!(text(&["health"]), "healthy\n");
    assert!(text(&["config", "check"]).contains("the defaults hold"));
    assert!(text(&["config", "dump", "--origin"]).contains("# default"));
    assert_eq!(text(&["stop"]), "stopping\n");
    let table = text(&["devnet", "--nodes", "3", "--timeout", "30s"]);
    assert!(
        table.contains("KNOWS ALL AFTER") && table.contains("all 3 nodes know all"),
        "{table}"
    );
    assert!(
        table.lines().all(|line| line.chars().count() <= 80),
        "{table}"
    );
}

#[test]
fn idle_clients_lock_nobody_out() {
    let dir = tempfile::tempdir().unwrap();
    let node = Daemon::start_with(dir.path(), &LOCAL);
    // More than there are places, and none of them says a word.
    let idle: Vec<UnixStream> = (0..140).map(|_| open(dir.path())).collect();
    let begun = std::time::Instant::now();
    node.json(&["status"]);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    // Those who came last are still served.
    let answer = ask(&idle[139], r#"{"id":1,"method":"status"}"#);
    assert!(answer["result"].is_object(), "{answer}");
}
