//! `btcfed key ...`: secrets go to files and pipes, never into a document or onto a terminal.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Output, Stdio};

use crate::common::daemon::{command, run, run_json};
use crate::common::terminal::on_terminal;

fn with_stdin(dir: &Path, args: &[&str], stdin: &[u8]) -> Output {
    let mut child = command(dir, args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_key_is_made_shown_and_taken_over_and_never_replaced() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (code, made) = run_json(dir.path(), &["key", "generate", "-o", "spare.key"]);
    assert_eq!(code, 0, "{made}");
    let file = dir.path().join("spare.key");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = fs::read(&file).unwrap();
    let (code, _) = run_json(dir.path(), &["key", "generate", "-o", "spare.key"]);
    assert_eq!((code, fs::read(&file).unwrap()), (73, text.clone()));

    let shown = run_json(dir.path(), &["key", "show-public", "spare.key"]).1;
    assert_eq!(shown["peer_id"], made["peer_id"]);
    let piped = with_stdin(
        dir.path(),
        &["key", "show-public", "--stdin", "--json"],
        &text,
    );
    let piped: serde_json::Value = serde_json::from_slice(&piped.stdout).unwrap();
    assert_eq!(piped["public_key"], made["public_key"]);

    let taken = with_stdin(other.path(), &["key", "import", "--stdin"], &text);
    assert_eq!(taken.status.code(), Some(0));
    let key = other.path().join("node.key");
    assert_eq!(
        fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        run_json(other.path(), &["id"]).1["peer_id"],
        made["peer_id"]
    );
    let again = with_stdin(other.path(), &["key", "import", "--stdin", "--json"], &text);
    let again: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["changed"], false);
    let new = run(other.path(), &["key", "generate"]).stdout;
    let refused = with_stdin(other.path(), &["key", "import", "--stdin"], &new);
    assert_eq!(
        refused.status.code(),
        Some(73),
        "an identity is never replaced"
    );
    assert_eq!(
        fs::read_dir(other.path()).unwrap().count(),
        1,
        "no temporary file stays"
    );
}

#[test]
fn bad_keys_and_doubtful_wishes_are_refused_without_repeating_them() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bad.key"), "bm90IGEga2V5\n").unwrap();
    for (args, code) in [
        (&["key", "show-public", "bad.key"][..], 65),
        (&["key", "show-public", "nowhere.key"], 74),
        (&["key", "show-public"], 1),
        (&["key", "import"], 2),
        (&["key", "import", "bad.key"], 65),
        (&["key", "generate", "--json"], 2),
        (
            &[
                "key",
                "generate",
                "-o",
                "missing/../x/y/spare.key",
                "--reveal",
            ],
            2,
        ),
    ] {
        let output = run(dir.path(), args);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        assert!(!told.contains("bm90IGEga2V5"), "{told}");
    }
    let mut large = b"CAES".to_vec();
    large.resize(100_000, b'A');
    let output = with_stdin(
        dir.path(),
        &["key", "show-public", "--stdin"],
        &large[..4000],
    );
    assert_eq!(output.status.code(), Some(65));
}

#[test]
fn a_rotated_identity_is_new_in_one_step_and_the_old_one_stays_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("real.key");
    std::os::unix::fs::symlink("real.key", dir.path().join("node.key")).unwrap();
    run_json(dir.path(), &["key", "generate", "-o", "real.key"]);
    let before = fs::read(&key).unwrap();
    let (code, refused) = run_json(dir.path(), &["key", "rotate"]);
    assert_eq!(code, 2, "{refused}");
    assert_eq!(
        fs::read(&key).unwrap(),
        before,
        "nobody was asked, nothing is changed"
    );
    let (_, was) = run_json(dir.path(), &["id"]);
    let (code, told) = run_json(dir.path(), &["key", "rotate", "--yes"]);
    assert_eq!(code, 0, "{told}");
    let (_, is) = run_json(dir.path(), &["id"]);
    assert_eq!(told["old_peer_id"], was["peer_id"]);
    assert_eq!(told["peer_id"], is["peer_id"]);
    assert_ne!(was["peer_id"], is["peer_id"]);
    assert_eq!(fs::read(told["kept"].as_str().unwrap()).unwrap(), before);
    let mode = fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let step = told["next"][1].as_str().unwrap();
    let replace = format!(
        "peers replace {} {}",
        was["peer_id"].as_str().unwrap(),
        is["peer_id"].as_str().unwrap()
    );
    assert!(step.contains(&replace), "{step}");
    let secret = String::from_utf8(fs::read(&key).unwrap()).unwrap();
    assert!(!told.to_string().contains(secret.trim()));
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 3, "the link, the key and the old key");
    // Within the same second there is no second name for the old one: nothing is lost either way.
    let (again, _) = run_json(dir.path(), &["key", "rotate", "--yes"]);
    assert!(matches!(again, 0 | 73));
}

#[test]
fn a_person_is_asked_before_the_identity_changes() {
    let dir = tempfile::tempdir().unwrap();
    run_json(dir.path(), &["key", "generate", "-o", "node.key"]);
    let (_, was) = run_json(dir.path(), &["id"]);
    let (status, screen) = on_terminal(dir.path(), &["key", "rotate"], &[], "n\n");
    assert!(
        status.code() == Some(1) && screen.contains("every member has to"),
        "{screen}"
    );
    assert_eq!(run_json(dir.path(), &["id"]).1, was);
    let (status, screen) = on_terminal(dir.path(), &["key", "rotate"], &[], "y\n");
    assert!(status.success(), "{screen}");
    assert_ne!(run_json(dir.path(), &["id"]).1, was);
}
