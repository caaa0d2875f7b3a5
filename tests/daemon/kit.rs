//! What operators do to the peers file as a whole - edit, history, restore, repair - and who waits to be let in.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use btcfed_core::testing::test_key;
use serde_json::Value;

use crate::common::config::yaml;
use crate::common::daemon::{Daemon, command, run_json};
use crate::common::wait_for;

/// Runs `check` in a directory without a daemon, and in one with. The peers alice and bob are known.
fn stopped_and_running(check: impl Fn(&Path)) {
    for running in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("conf.yaml"), yaml(&[])).unwrap();
        for (n, name) in [(1, "alice"), (2, "bob")] {
            let target = format!("{}@127.0.0.1:1", test_key(n));
            ok(dir.path(), &["peers", "add", &target, "--name", name]);
        }
        let node = running.then(|| Daemon::start(dir.path()));
        check(dir.path());
        drop(node);
    }
}

fn ok(dir: &Path, args: &[&str]) -> Value {
    let (code, document) = run_json(dir, args);
    assert_eq!(code, 0, "{args:?}: {document}");
    document
}

fn edit(dir: &Path, editor: &str) -> Output {
    let mut command = command(dir, &["peers", "edit", "--json"]);
    command.env("EDITOR", editor).env("PATH", "/usr/bin:/bin");
    command.env("TMPDIR", dir).output().unwrap()
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let list = ok(dir, &["peers", "list"]);
    let peers = list["peers"].as_array().unwrap().iter();
    let mut names: Vec<String> = peers
        .filter_map(|peer| peer["name"].as_str().map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// Directories of copies that are left of edits.
fn left(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap();
    let is_left = |name: &str| name.starts_with("btcfed-edit");
    entries
        .filter(|entry| is_left(entry.as_ref().unwrap().file_name().to_str().unwrap()))
        .count()
}

#[test]
fn an_edit_is_checked_merged_and_shown() {
    stopped_and_running(|dir| {
        // Meanwhile the node learns somebody, and the copy is for its owner alone.
        let add = format!(
            "{} --state-dir {} peers add {}@127.0.0.1:1 --name carol",
            env!("CARGO_BIN_EXE_btcfed"),
            dir.display(),
            test_key(3)
        );
        let script = dir.join("editor.sh");
        let text = format!(
            "#!/bin/sh\nset -e\nstat -c %a \"$1\" > mode\n{add}\nsed -i 's/name: alice/name: alicia # why not/' \"$1\"\n"
        );
        fs::write(&script, text).unwrap();
        let done = edit(dir, &format!("sh {}", script.display()));
        let answer = document(&done);
        assert_eq!(done.status.code(), Some(0), "{answer}");
        assert_eq!(answer["counts"]["updated"], 1, "{answer}");
        assert_eq!(answer["changes"][0]["details"][0], "name: alice -> alicia");
        assert_eq!(fs::read_to_string(dir.join("mode")).unwrap().trim(), "600");
        assert_eq!(names(dir), ["alicia", "bob", "carol"]);
        let saved = fs::read_to_string(dir.join("peers.yaml")).unwrap();
        assert!(saved.contains("# why not"), "{saved}");
        assert_eq!(document(&edit(dir, "true"))["changed"], false);
        assert_eq!(left(dir), 0);
    });
}

#[test]
fn a_bad_edit_or_a_crashed_editor_changes_nothing_and_loses_nothing() {
    stopped_and_running(|dir| {
        let bad = edit(dir, "sed -i s/CAESI/CAESX/");
        let answer = document(&bad);
        assert_eq!(bad.status.code(), Some(65), "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        let kept = message.rsplit("kept in ").next().unwrap();
        assert!(
            fs::read_to_string(kept).unwrap().contains("CAESX"),
            "{message}"
        );
        assert!(answer["error"]["line"].as_u64() > Some(0), "{answer}");
        let crashed = edit(dir, "echo '# typed' >> \"$1\"; kill -9 $$; :");
        let answer = document(&crashed);
        assert_eq!((crashed.status.code(), left(dir)), (Some(1), 2), "{answer}");
        assert_eq!(edit(dir, "false").status.code(), Some(1));
        assert_eq!(left(dir), 2, "a copy nobody touched is not kept");
        assert_eq!(edit(dir, "").status.code(), Some(2));
        let key = "cp node.key \"$1\"; :";
        if !dir.join("node.key").exists() {
            ok(dir, &["key", "generate", "-o", "node.key"]);
        }
        assert_eq!(edit(dir, key).status.code(), Some(65));
        assert_eq!(names(dir), ["alice", "bob"]);
    });
}

#[test]
fn a_restore_goes_back_and_can_be_taken_back() {
    stopped_and_running(|dir| {
        wait_for("the base", Duration::from_secs(10), || {
            let base = fs::read(dir.join("peers.yaml.base")).ok()?;
            (base == fs::read(dir.join("peers.yaml")).ok()?).then_some(())
        });
        fs::copy(
            dir.join("peers.yaml"),
            dir.join("peers.yaml.old-20200101T000000Z"),
        )
        .unwrap();
        ok(dir, &["peers", "remove", "bob"]);
        ok(dir, &["peers", "rename", "alice", "eve"]);
        let target = format!("{}@127.0.0.1:1", test_key(3));
        ok(dir, &["peers", "add", &target, "--name", "carol"]);
        ok(dir, &["peers", "ban", "203.0.113.7"]);
        let copy = "peers.yaml.old-20200101T000000Z";
        let listed = ok(dir, &["peers", "history"]);
        let copies = listed["copies"].as_array().unwrap();
        let old = copies.iter().find(|found| found["file"] == copy).unwrap();
        assert_eq!(
            old["restoring"],
            serde_json::json!({"added": 1, "updated": 1, "removed": 1, "banned": 0, "unbanned": 1})
        );
        let dry = ok(dir, &["peers", "restore", copy, "--dry-run"]);
        assert_eq!(
            (names(dir), dry["changed"].as_bool()),
            (vec!["carol".into(), "eve".into()], Some(false))
        );
        let done = ok(dir, &["peers", "restore", copy]);
        assert_eq!(done["changes"], dry["changes"]);
        assert_eq!(names(dir), ["alice", "bob"]);
        assert_eq!(ok(dir, &["peers", "bans"])["bans"], serde_json::json!([]));
        assert!(Path::new(done["kept"].as_str().unwrap()).exists());
        assert_eq!(ok(dir, &["peers", "restore", copy])["changed"], false);
        ok(dir, &["peers", "restore", "before"]);
        assert_eq!(names(dir), ["carol", "eve"]);
        let generation = old["generation"].to_string();
        ok(dir, &["peers", "restore", &generation, "--dry-run"]);
        ok(
            dir,
            &["peers", "restore", "2099-01-01T00:00:00Z", "--dry-run"],
        );
        assert_eq!(
            run_json(dir, &["peers", "restore", "2000-01-01T00:00:00Z"]).0,
            1
        );
    });
}

#[test]
fn a_repair_brings_back_what_a_copy_has_and_tells_what_none_has() {
    stopped_and_running(|dir| {
        assert_eq!(ok(dir, &["peers", "repair"])["changed"], false);
        let path = dir.join("peers.yaml");
        let text = fs::read_to_string(&path).unwrap();
        let good = "/ip4/127.0.0.1/tcp/1";
        fs::write(&path, text.replacen(good, "/ip4/127.0.0.1/tcp/x", 1)).unwrap();
        let dry = ok(dir, &["peers", "repair", "--dry-run"]);
        let back = dry["from_copies"][0]["name"].as_str().unwrap();
        assert!(["alice", "bob"].contains(&back), "{dry}");
        assert!(fs::read_to_string(&path).unwrap().contains("tcp/x"));
        let done = ok(dir, &["peers", "repair"]);
        let kept = fs::read_to_string(done["kept"].as_str().unwrap()).unwrap();
        assert!(kept.contains("tcp/x"), "{kept}");
        assert_eq!(ok(dir, &["peers", "verify"])["peers"], 2);
        assert_eq!(names(dir), ["alice", "bob"]);
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("tcp/x"), "{text}");
        let shown = ok(dir, &["peers", "show", back]);
        assert_eq!(shown["peer"]["addresses"][0], good);
        let bad = text.replacen(
            "  - public_key",
            "  - public_key: nonsense\n  - public_key",
            1,
        );
        fs::write(&path, bad).unwrap();
        let (code, lost) = run_json(dir, &["peers", "repair"]);
        let lines = lost["lost"].as_array().unwrap();
        assert_eq!((code, lines.len()), (65, 1), "{lost}");
        assert!(lines[0]["line"].as_u64() > Some(1));
        assert_eq!(ok(dir, &["peers", "repair"])["changed"], false);
    });
}

#[test]
fn a_learned_peer_waits_where_the_list_decides_until_it_is_approved() {
    let dir = tempfile::tempdir().unwrap();
    let conf = format!("{}  mode: allowlist\n", yaml(&[]));
    fs::write(dir.path().join("conf.yaml"), conf).unwrap();
    let peers = format!(
        "peers:\n  - public_key: {}\n    source: signed\n",
        test_key(1)
    );
    fs::write(dir.path().join("peers.yaml"), peers).unwrap();
    let node = Daemon::start(dir.path());
    let id = test_key(1).peer_id().to_string();
    let waiting = node.json(&["peers", "approve"]);
    assert_eq!(waiting["waiting"][0]["peer_id"], id, "{waiting}");
    assert_eq!(node.json(&["peers", "approve", &id])["changed"], true);
    assert_eq!(
        node.json(&["peers", "approve", "--list"])["waiting"],
        serde_json::json!([])
    );
    let saved = fs::read_to_string(dir.path().join("peers.yaml")).unwrap();
    assert!(!saved.contains("source: signed"), "{saved}");
}
