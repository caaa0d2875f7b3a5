//! The same commands on a terminal and in a pipe: colours and progress only there, and nothing wider than 80 columns.

use std::fs;
use std::path::Path;

use btcfed_core::testing::test_key;

use crate::common::config::yaml;
use crate::common::daemon::{Daemon, command, run};
use crate::common::terminal::{on_terminal, plain};

const ESCAPE: char = '\u{1b}';

/// Commands whose whole output are tables and lines for people.
const SAMPLE: &[&[&str]] = &[
    &["peers", "list"],
    &["peers", "show", "alice"],
    &["peers", "bans"],
    &["peers", "history"],
    &["peers", "approve", "--list"],
    &["peers", "repair", "--dry-run"],
    &["status"],
    &["log", "level"],
    &["events"],
    &["id"],
];

fn node() -> (tempfile::TempDir, Daemon) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("conf.yaml"), yaml(&[])).unwrap();
    let long = "/dns4/a-rather-long-name-of-a-machine.in-a-rather-long.domain.example.com/tcp/9000";
    let target = format!("{long}/p2p/{}", test_key(1).peer_id());
    run(dir.path(), &["peers", "add", &target, "--name", "alice"]);
    run(
        dir.path(),
        &["peers", "ban", "203.0.113.0/24", "--reason", "floods us"],
    );
    let node = Daemon::start(dir.path());
    (dir, node)
}

fn is_table(args: &[&str]) -> bool {
    !matches!(args[0], "events" | "id") && args[..2.min(args.len())] != ["peers", "show"]
}

#[test]
fn a_terminal_and_a_pipe_get_the_same_words_and_tables_fit() {
    let (dir, _node) = node();
    for args in SAMPLE {
        let piped = String::from_utf8(run(dir.path(), args).stdout).unwrap();
        assert!(!piped.contains(ESCAPE), "{args:?}: {piped:?}");
        let (status, screen) = on_terminal(dir.path(), args, &[], "");
        assert!(status.success(), "{args:?}: {screen}");
        let shown = plain(&screen);
        for line in shown.lines().filter(|_| is_table(args)) {
            assert!(line.chars().count() <= 80, "{args:?}: {line}");
        }
        // Only what changes by itself may differ.
        let word = |text: &str| {
            text.split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        assert_eq!(word(&shown), word(&piped), "{args:?}");
        let (_, bare) = on_terminal(dir.path(), args, &[("NO_COLOR", "1")], "");
        assert!(!bare.contains(ESCAPE), "{args:?}: {bare:?}");
    }
}

/// What a start that fails for want of a port logs in text.
fn log_of(dir: &Path, color: &[&str], env: &[(&str, &str)]) -> String {
    let args = [&["run", "--log-level", "debug"], color].concat();
    on_terminal(dir, &args, env, "").1
}

#[test]
fn the_log_has_colours_on_a_terminal_unless_somebody_says_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let conf = format!(
        "network:\n  port_retries: 1\n  addresses: [/ip4/127.0.0.1/tcp/{port}]\nlogging:\n  format: text\n"
    );
    fs::write(dir.path().join("conf.yaml"), conf).unwrap();
    let colour = "\u{1b}[";
    let seen = log_of(dir.path(), &[], &[]);
    assert!(seen.contains(colour) && seen.contains("port"), "{seen:?}");
    assert!(!log_of(dir.path(), &[], &[("NO_COLOR", "1")]).contains(colour));
    assert!(!log_of(dir.path(), &["--color", "never"], &[]).contains(colour));
    assert!(log_of(dir.path(), &["--color", "always"], &[("NO_COLOR", "1")]).contains(colour));
    let piped = command(dir.path(), &["run"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&piped.stderr).contains(colour));
    let forced = command(dir.path(), &["run", "--color", "always"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&forced.stderr).contains(colour));
}

#[test]
fn progress_is_shown_on_a_terminal_only_and_goes_away() {
    let (dir, _node) = node();
    let args = ["wait", "--peers", "1", "--timeout", "800ms"];
    let (status, screen) = on_terminal(dir.path(), &args, &[], "");
    assert_eq!(status.code(), Some(1));
    let (_, last) = screen.rsplit_once("\u{1b}[K").unwrap();
    assert!(
        screen.contains("[....") && !last.contains("[...."),
        "{screen:?}"
    );
    let (_, quiet) = on_terminal(dir.path(), &[&args[..], &["--quiet"]].concat(), &[], "");
    assert!(!quiet.contains("[...."), "{quiet:?}");
    let piped = run(dir.path(), &args);
    assert!(!String::from_utf8_lossy(&piped.stderr).contains("[...."));
}

#[test]
fn a_bad_edit_is_shown_and_may_be_edited_again_or_discarded() {
    let (dir, _node) = node();
    // The first time it makes a mistake, the second time it does well.
    let editor = "n=$(cat n 2>/dev/null); echo x$n > n; if [ -z \"$n\" ]; then sed -i s/CAESI/CAESX/ \"$1\"; else sed -i 's/CAESX/CAESI/; s/alice/alicia/' \"$1\"; fi; :";
    let env = [("EDITOR", editor)];
    let (status, screen) = on_terminal(dir.path(), &["peers", "edit"], &env, "s\ne\n");
    assert!(status.success(), "{screen}");
    assert!(
        screen.contains("line ") && screen.contains("CAESX"),
        "{screen}"
    );
    assert!(screen.contains("name: alice -> alicia"), "{screen}");
    let env = [("EDITOR", "sed -i s/CAESI/CAESX/")];
    let (status, screen) = on_terminal(dir.path(), &["peers", "edit"], &env, "d\n");
    assert!(
        status.success() && screen.contains("nothing changed"),
        "{screen}"
    );
}

#[test]
fn a_bundle_asks_before_it_is_written() {
    let (dir, _node) = node();
    let args = ["support-bundle", "--output", "b.tar.gz"];
    let (status, screen) = on_terminal(dir.path(), &args, &[], "n\n");
    assert!(
        screen.contains("inside:") && screen.contains("status.json"),
        "{screen}"
    );
    assert!(status.code() == Some(1) && !dir.path().join("b.tar.gz").exists());
    let (status, screen) = on_terminal(dir.path(), &args, &[], "y\n");
    assert!(
        status.success() && dir.path().join("b.tar.gz").exists(),
        "{screen}"
    );
}
