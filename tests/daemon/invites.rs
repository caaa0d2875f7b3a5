//! `invite create`, `invite show`, `join`: from an empty directory into a federation, with one line.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::common::config::yaml;
use crate::common::daemon::{Daemon, run, run_json};
use crate::common::wait_for;

const LIMIT: Duration = Duration::from_secs(10);

fn member(dir: &Path) -> Daemon {
    fs::write(
        dir.join("conf.yaml"),
        yaml(&[]) + "node:\n  federation: alpha\n  network: regtest\n",
    )
    .unwrap();
    Daemon::start(dir)
}

fn invite(node: &Daemon, more: &[&str]) -> (String, Value) {
    let made = node.json(&[&["invite", "create"], more].concat());
    (made["invite"].as_str().unwrap().to_owned(), made)
}

#[test]
fn an_empty_directory_joins_although_the_issuer_is_down() {
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut alice = member(dirs[0].path());
    let bob = member(dirs[1].path());
    alice.json(&["peers", "add", &bob.full_addr(), "--name", "bob"]);
    wait_for("connected", LIMIT, || {
        (!alice.connected().is_empty()).then_some(())
    });
    let (code, made) = invite(&alice, &[]);
    assert_eq!(made["contacts"].as_array().unwrap().len(), 2, "{made}");
    assert_eq!(made["issuer"], alice.peer_id());
    alice.terminate();

    let carol = dirs[2].path();
    let shown = run_json(carol, &["invite", "show", &code]).1;
    assert_eq!(
        (
            shown["federation"].as_str(),
            shown["network"].as_str(),
            shown["expired"].as_bool()
        ),
        (Some("alpha"), Some("regtest"), Some(false))
    );
    assert_eq!(
        fs::read_dir(carol).unwrap().count(),
        0,
        "looking changes nothing"
    );
    assert_eq!(
        run(carol, &["join", &code]).status.code(),
        Some(2),
        "nobody there to be asked"
    );
    assert_eq!(fs::read_dir(carol).unwrap().count(), 0);
    let (exit, joined) = run_json(
        carol,
        &[
            "join",
            &code,
            "--name",
            "carol",
            "--yes",
            "--listen",
            "/ip4/127.0.0.1/tcp/0",
        ],
    );
    assert_eq!(
        (exit, joined["config_written"].as_bool()),
        (0, Some(true)),
        "{joined}"
    );
    let node = Daemon::start(carol);
    assert_eq!(node.peer_id(), joined["peer_id"].as_str().unwrap());
    wait_for("connected to bob", LIMIT, || {
        node.connected().contains(&bob.peer_id()).then_some(())
    });
    assert_eq!(
        node.json(&["status"])["config"]["values"]["node.federation"],
        "alpha"
    );

    // Again, and with the daemon running: nothing is new, and it is connected.
    let again = node.json(&["join", &code, "--yes"]);
    assert_eq!(
        (
            again["connected"].as_u64(),
            again["config_written"].as_bool()
        ),
        (Some(1), Some(false))
    );
    assert_eq!(node.json(&["peers", "add", &code])["changed"], false);
}

#[test]
fn tampered_expired_and_foreign_invites_are_refused_and_change_nothing() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let alice = member(dir.path());
    let (code, _) = invite(&alice, &[]);
    let swapped = if code.ends_with('Q') { "P" } else { "Q" };
    let tampered = format!("{}{swapped}", &code[..code.len() - 1]);
    let (over, _) = invite(&alice, &["--expires", "1ms"]);
    for (text, why) in [
        (tampered.as_str(), "damaged"),
        (&code[..40], "damaged"),
        (over.as_str(), "good until"),
    ] {
        for args in [&["join", text, "--yes"][..], &["peers", "add", text]] {
            let (exit, document) = run_json(other.path(), args);
            assert_eq!(exit, 65, "{document}");
            assert!(
                document["error"]["message"].as_str().unwrap().contains(why),
                "{document}"
            );
            assert!(document["error"]["hint"].is_string(), "{document}");
        }
    }
    assert_eq!(
        run_json(other.path(), &["invite", "show", &over]).1["expired"],
        true
    );
    assert_eq!(
        fs::read_dir(other.path()).unwrap().count(),
        0,
        "nothing was written"
    );
    fs::write(other.path().join("conf.yaml"), yaml(&[])).unwrap();
    for args in [&["join", &code, "--yes"][..], &["peers", "add", &code]] {
        let (exit, document) = run_json(other.path(), args);
        assert_eq!(
            (exit, document["error"]["key"].as_str()),
            (78, Some("node.federation")),
            "{document}"
        );
    }
    assert_eq!(
        run_json(other.path(), &["invite", "create"]).0,
        1,
        "no identity yet"
    );
    assert_eq!(
        run_json(dir.path(), &["invite", "create", "--address", "nonsense"]).0,
        65
    );
    let far = invite(&alice, &["--address", "/dns4/node1.example.com/tcp/9000"]).1;
    assert_eq!(
        far["contacts"][0]["addresses"][0],
        "/dns4/node1.example.com/tcp/9000"
    );
}

#[test]
fn a_qr_code_is_drawn_when_asked_for_and_never_into_a_pipe_by_surprise() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["key", "generate", "-o", "node.key"]);
    let create = ["invite", "create", "--address", "/ip4/203.0.113.7/tcp/9000"];
    let told = |args: &[&str]| {
        let output = run(dir.path(), args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    };
    let (piped, talk) = told(&[&create[..], &["--qr"]].concat());
    assert_eq!(piped.lines().count(), 1, "{piped}");
    assert!(talk.contains("--qr=always"), "{talk}");
    let (drawn, _) = told(&[&create[..], &["--qr=always"]].concat());
    let (invite, code) = drawn.split_once('\n').unwrap();
    let blocks = |line: &str| {
        line.chars()
            .all(|c| " \u{2580}\u{2584}\u{2588}".contains(c))
    };
    assert!(
        code.lines().count() > 20 && code.lines().all(blocks),
        "{code}"
    );
    let (again, _) = told(&["invite", "show", invite, "--qr=always"]);
    assert!(again.ends_with(code), "the same code for the same invite");
    let (coloured, _) = told(&["invite", "show", invite, "--qr=always", "--color", "always"]);
    assert!(coloured.contains("\u{1b}[0m\n"), "{coloured}");
    let (document, _) = told(&["invite", "show", invite, "--qr=always", "--json"]);
    assert!(!document.contains('\u{2588}'), "{document}");
}
