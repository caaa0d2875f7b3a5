//! `doctor --fix`: what can be put right without a question: modes, and what interrupted commands left behind.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use btcfed_config::{CONFIG_FILE, KEY_FILE, KeySource};

use super::Daemon;
use super::finding::Finding;
use crate::cli::context::Loaded;
use crate::lock::NodeLock;

/// A temporary file younger than this may belong to a command that runs.
const STALE_AFTER: Duration = Duration::from_secs(3600);

/// Digits in the name of a temporary file.
const STAMP_DIGITS: usize = 16;

/// Mends, and tells what was done. Nothing that is right is touched.
pub(super) fn mend(loaded: &Loaded, daemon: &Daemon) -> Vec<Finding> {
    let mut done = Vec::new();
    if let KeySource::File(path) = &loaded.full.key {
        done.extend(close(path, 0o077, "key"));
    }
    let sticky = mode(&loaded.state_dir).is_some_and(|mode| mode & 0o1000 != 0);
    if !sticky {
        done.extend(close(&loaded.state_dir, 0o002, "state"));
    }
    let is_free =
        matches!(daemon, Daemon::Stopped) && NodeLock::holder(&loaded.state_dir).is_none();
    if is_free {
        for path in leftovers(&loaded.state_dir, SystemTime::now()) {
            let removed = std::fs::remove_file(&path);
            done.push(told(
                "state",
                &path,
                "removed, left by an interrupted command",
                removed,
            ));
        }
    }
    done
}

fn mode(path: &Path) -> Option<u32> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    let is_plain = metadata.is_file() || metadata.is_dir();
    is_plain.then(|| metadata.permissions().mode() & 0o7777)
}

/// Takes these rights away, where they are given.
fn close(path: &Path, rights: u32, check: &'static str) -> Option<Finding> {
    let before = mode(path).filter(|mode| mode & rights != 0)?;
    let after = before & !rights;
    let set = std::fs::set_permissions(path, std::fs::Permissions::from_mode(after));
    Some(told(
        check,
        path,
        &format!("mode {before:04o} -> {after:04o}"),
        set,
    ))
}

fn told(check: &'static str, path: &Path, what: &str, done: std::io::Result<()>) -> Finding {
    let shown = path.display();
    match done {
        Ok(()) => Finding::fixed(check, format!("{shown}: {what}")),
        Err(error) => Finding::warn(
            check,
            format!("{shown}: cannot be put right: {error}"),
            "run as the file's owner or as root",
        ),
    }
}

/// Temporary files of this program for conf.yaml and node.key that nobody finished.
fn leftovers(dir: &Path, now: SystemTime) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_temporary))
        .filter(|entry| {
            entry.metadata().is_ok_and(|metadata| {
                let age = metadata
                    .modified()
                    .ok()
                    .and_then(|at| now.duration_since(at).ok());
                metadata.is_file() && age.is_some_and(|age| age >= STALE_AFTER)
            })
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

fn is_temporary(name: &str) -> bool {
    let of_config = |file: &str| {
        let stamp = name
            .strip_prefix('.')
            .and_then(|rest| rest.strip_prefix(file));
        let stamp = stamp.and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".tmp"));
        stamp.is_some_and(|stamp| {
            stamp.len() == STAMP_DIGITS && stamp.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    };
    let of_key = |end: &str| {
        let rest = name
            .strip_prefix(KEY_FILE)
            .and_then(|rest| rest.strip_prefix('.'));
        let process = rest.and_then(|rest| rest.strip_suffix(end));
        process.is_some_and(|process| {
            !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    of_config(CONFIG_FILE) || of_config(KEY_FILE) || of_key(".new") || of_key(".next")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_temporary_files_are_taken_for_such() {
        for name in [
            ".conf.yaml.0123456789abcdef.tmp",
            ".node.key.0123456789abcdef.tmp",
            "node.key.17.new",
            "node.key.17.next",
        ] {
            assert!(is_temporary(name), "{name}");
        }
        for name in [
            "conf.yaml",
            "node.key",
            "node.key.before-20261120T160000Z",
            ".conf.yaml.0123456789abcde.tmp",
            ".conf.yaml.0123456789abcdeg.tmp",
            "node.key..new",
            "node.key.mine.new",
            "peers.yaml.before",
            "node.key.17.next2",
        ] {
            assert!(!is_temporary(name), "{name}");
        }
    }

    #[test]
    fn a_file_is_left_until_the_hour_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key.17.new");
        std::fs::write(&path, "x").unwrap();
        let written = path.metadata().unwrap().modified().unwrap();
        let just_before = written + STALE_AFTER - Duration::from_secs(1);
        assert!(leftovers(dir.path(), just_before).is_empty());
        assert_eq!(leftovers(dir.path(), written + STALE_AFTER), [path]);
    }

    #[test]
    fn rights_are_taken_away_and_nothing_else_is_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(close(&path, 0o077, "key").is_some());
        assert_eq!(mode(&path), Some(0o600));
        assert!(close(&path, 0o077, "key").is_none(), "it is right now");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(
            close(&link, 0o777, "key").is_none(),
            "a link is not followed"
        );
    }
}
