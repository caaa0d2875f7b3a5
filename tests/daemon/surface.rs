//! Every command once more, in one table: help, the promised schema, and exit codes with the daemon stopped and running,
//! for a stranger, in a pipe and on a terminal.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::time::Duration;

use btcfed_core::testing::test_key;
use serde_json::Value;

use crate::common::config::yaml;
use crate::common::daemon::{Daemon, command, run, run_json};
use crate::common::terminal::on_terminal;
use crate::common::wait_for;
use crate::schemas::Shapes;
use crate::table::{ASKS, NO_DOCUMENT, Row, TABLE};

/// A user and a group that own nothing.
const STRANGER: u32 = 65_534;

/// The words of a command before its arguments, joined as in its schema.
fn name(args: &[&str]) -> String {
    let groups = ["config", "gen", "invite", "key", "log", "peers"];
    let words = if groups.contains(&args[0]) { 2 } else { 1 };
    args[..words].join("-")
}

/// The words, with ids in the places that stand for them.
fn words(row: &Row) -> Vec<String> {
    let fill = |word: &&str| {
        (1..=4).fold((*word).to_owned(), |word, n| {
            word.replace(&format!("{{{n}}}"), &test_key(n).peer_id().to_string())
        })
    };
    row.args.iter().map(fill).collect()
}

fn as_strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Runs every row but `stop`, and gathers what is not as the table says.
fn each(mut check: impl FnMut(&Row, &[&str]) -> Result<(), String>) {
    let told: Vec<String> = TABLE
        .iter()
        .filter(|row| row.args != ["stop"])
        .filter_map(|row| check(row, &as_strs(&words(row))).err())
        .collect();
    assert!(told.is_empty(), "not as promised:\n{}", told.join("\n"));
}

fn must(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// One document with its own schema or that of an error, and this exit code.
fn answers(dir: &Path, args: &[&str], expected: i32, shapes: &mut Shapes) -> Result<(), String> {
    let (code, document) = run_json(dir, args);
    must(code == expected, || {
        format!("{args:?}: {code}, not {expected}: {document}")
    })?;
    let is_error = document.get("error").is_some_and(Value::is_object);
    if NO_DOCUMENT.contains(&name(args).as_str()) && !is_error {
        return Ok(());
    }
    let schema = if is_error {
        "error".to_owned()
    } else {
        name(args)
    };
    let schema = format!("btcfed.{schema}/1");
    must(document["schema"] == schema, || {
        format!("{args:?}: {}", document["schema"])
    })?;
    if is_error {
        must(document["error"]["code"] == code, || {
            format!("{args:?}: {document}")
        })?;
        let message = document["error"]["message"].as_str();
        must(message.is_some_and(|text| !text.is_empty()), || {
            format!("{args:?} says nothing")
        })?;
    }
    shapes.see(&document);
    Ok(())
}

/// A node that knows alice, who cannot be reached, and has bob for company.
fn node() -> (tempfile::TempDir, tempfile::TempDir) {
    let (dir, bob) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&dir, &bob] {
        fs::write(dir.path().join("conf.yaml"), yaml(&[])).unwrap();
    }
    run(dir.path(), &["key", "generate", "-o", "node.key"]);
    let alice = format!("{}@127.0.0.1:1", test_key(1));
    run(dir.path(), &["peers", "add", &alice, "--name", "alice"]);
    let members = format!(
        "public_key,addresses\n{},/ip4/127.0.0.1/tcp/2\n",
        test_key(2)
    );
    fs::write(dir.path().join("members.csv"), members).unwrap();
    (dir, bob)
}

fn with_company(dir: &Path, bob: &Path) -> (Daemon, Daemon) {
    let (node, bob) = (Daemon::start(dir), Daemon::start(bob));
    node.json(&["peers", "add", &bob.full_addr(), "--name", "bob"]);
    wait_for("bob", Duration::from_secs(20), || {
        (!node.connected().is_empty()).then_some(())
    });
    (node, bob)
}

#[test]
fn every_command_keeps_its_promises_stopped_and_running() {
    let (dir, bob) = node();
    let mut shapes = Shapes::default();
    each(|row, args| answers(dir.path(), args, row.stopped, &mut shapes));
    let (mut node, _bob) = with_company(dir.path(), bob.path());
    each(|row, args| answers(dir.path(), args, row.running, &mut shapes));
    answers(dir.path(), &["stop"], 0, &mut shapes).unwrap();
    assert_eq!(node.wait(Duration::from_secs(10)).code(), Some(0));
    answers(dir.path(), &["key", "rotate", "--yes"], 0, &mut shapes).unwrap();
    let made = ["key", "generate", "-o", "other.key"];
    answers(dir.path(), &made, 0, &mut shapes).unwrap();
    shapes.compare();
}

#[test]
fn results_go_to_standard_output_talk_to_standard_error_and_a_terminal_changes_no_exit_code() {
    let (dir, bob) = node();
    let (_node, _bob) = with_company(dir.path(), bob.path());
    each(|row, args| {
        let piped = run(dir.path(), args);
        let (out, talk) = (
            piped.stdout,
            String::from_utf8_lossy(&piped.stderr).into_owned(),
        );
        let code = piped.status.code();
        must(code == Some(row.running), || {
            format!("{args:?}: {code:?} in a pipe: {talk}")
        })?;
        must(!out.contains(&0x1b) && !talk.contains('\u{1b}'), || {
            format!("{args:?}: colours in a pipe")
        })?;
        // Who says nothing for a while has nothing to be traced.
        let is_told = row.running != 0 || !out.is_empty() || args[0] == "trace";
        must(is_told, || format!("{args:?}: no result"))?;
        let failed = talk.contains("btcfed: ") || talk.starts_with("error: ");
        must(failed == out.is_empty() || args[0] == "trace", || {
            format!("{args:?}: {talk:?} beside {} bytes", out.len())
        })?;
        Ok(())
    });
    each(|row, args| {
        if ASKS.contains(&name(args).as_str()) {
            return Ok(());
        }
        let (status, screen) = on_terminal(dir.path(), args, &[], "");
        must(status.code() == Some(row.running), || {
            format!("{args:?}: {status} on a terminal: {screen}")
        })
    });
}

#[test]
fn a_user_without_permission_is_told_so_by_every_command() {
    let (dir, bob) = node();
    let (_node, _bob) = with_company(dir.path(), bob.path());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let as_stranger = |args: &[&str]| {
        let mut command = command(dir.path(), args);
        command.env_remove("TMPDIR");
        command.uid(STRANGER).gid(STRANGER).output()
    };
    // Only root may become somebody else, and only where that user may run the program.
    if !as_stranger(&["version"]).is_ok_and(|output| output.status.success()) {
        return;
    }
    each(|row, args| {
        let output = as_stranger(args).unwrap();
        let talk = String::from_utf8_lossy(&output.stderr);
        let code = output.status.code();
        must(code == Some(row.stranger), || {
            format!("{args:?}: {code:?}, not {}: {talk}", row.stranger)
        })?;
        let helps = code != Some(77) || talk.contains("hint: ");
        must(helps, || format!("{args:?}: what next? {talk}"))
    });
    let output = as_stranger(&["status"]).unwrap();
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(
        talk.contains("btcfed.sock: it belongs to user root and group root, mode 0660"),
        "{talk}"
    );
    let wrong = as_stranger(&["status", "--socket", "conf.yaml"]).unwrap();
    assert_eq!(wrong.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("not a socket"));
}

/// The names of all commands, as their man pages tell.
fn commands(dir: &Path) -> BTreeSet<String> {
    fs::create_dir(dir.join("man")).unwrap();
    assert!(run(dir, &["gen", "man", "man"]).status.success());
    let pages: BTreeSet<String> = fs::read_dir(dir.join("man"))
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .filter_map(|page| Some(page.strip_prefix("btcfed-")?.strip_suffix(".1")?.to_owned()))
        .collect();
    let is_group = |name: &String| {
        pages
            .iter()
            .any(|other| other.starts_with(&format!("{name}-")) && name != "support")
    };
    pages
        .iter()
        .filter(|name| !is_group(name))
        .cloned()
        .collect()
}

#[test]
fn no_command_is_missing_from_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let told: BTreeSet<String> = TABLE.iter().map(|row| name(row.args)).collect();
    assert_eq!(commands(dir.path()), told);
}

#[test]
fn every_command_has_help_and_refuses_what_it_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = BTreeSet::new();
    for Row { args, .. } in TABLE {
        let name = name(args);
        if !seen.insert(name.clone()) {
            continue;
        }
        let words = if name == args[0] {
            &args[..1]
        } else {
            &args[..2]
        };
        let help = run(dir.path(), &[words, &["--help"]].concat());
        let text = String::from_utf8(help.stdout).unwrap();
        let teaches = text.contains("Usage: btcfed") && text.contains("xample");
        assert!(help.status.success() && teaches, "{name}: {text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{name}: {text}"
        );
        let (code, document) = run_json(dir.path(), &[words, &["--frobnicate"]].concat());
        let told = document["error"]["code"].as_i64();
        assert_eq!((code, told), (2, Some(2)), "{name}");
    }
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 0, "help leaves nothing behind");
}
