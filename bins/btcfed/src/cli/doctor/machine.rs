//! The machine: key, files, disk, descriptors, lock, socket, clock.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use btcfed_config::{KeySource, is_there, load_key};

use super::Daemon;
use super::finding::Finding;
use crate::cli::context::Loaded;
use crate::exit::Exit;
use crate::lock::NodeLock;

/// Less free space than this is a matter of days.
const LOW_DISK_BYTES: u64 = 100 << 20;

/// Descriptors a node needs beside its connections: files, listeners, the admin socket.
const SPARE_DESCRIPTORS: u64 = 64;

/// A file from further in the future means that the clock was set back.
const CLOCK_SLACK: Duration = Duration::from_secs(5);

/// No machine that runs this program has an honest clock before 2025.
const EARLIEST: Duration = Duration::from_secs(1_735_689_600);

pub(super) fn key(loaded: &Loaded) -> Finding {
    let KeySource::File(path) = &loaded.full.key else {
        return Finding::ok("key", "in conf.yaml (node.private_key)");
    };
    let shown = path.display();
    if !is_there(path) {
        return Finding::ok("key", format!("{shown}: none yet; the first run makes it"));
    }
    match load_key(path) {
        Ok(loaded) => match loaded.warning {
            Some(warning) => {
                let fix = warning.hint.clone().unwrap_or_default();
                Finding::fail("key", format!("{shown}: {}", warning.reason), fix)
            }
            None => Finding::ok("key", format!("{shown}: {}", loaded.key.peer_id())),
        },
        Err(error) => {
            let fix = "restore it from a backup, and check its owner: the daemon's user must be able to read it";
            Finding::fail("key", error.to_string(), fix)
        }
    }
}

pub(super) fn state_dir(loaded: &Loaded) -> Vec<Finding> {
    let dir = &loaded.state_dir;
    let shown = dir.display();
    let metadata = match std::fs::metadata(dir) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => {
            let fix = "name a directory with --state-dir";
            return vec![Finding::fail(
                "state",
                format!("{shown} is no directory"),
                fix,
            )];
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return vec![Finding::ok(
                "state",
                format!("{shown}: the first run makes it"),
            )];
        }
        Err(error) => {
            let fix = "run as the daemon's user";
            return vec![Finding::fail("state", format!("{shown}: {error}"), fix)];
        }
    };
    let mut findings = Vec::new();
    let mode = metadata.permissions().mode() & 0o7777;
    let writable = rustix::fs::access(
        dir,
        rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
    );
    findings.push(match writable {
        Err(error) => {
            let text = format!("{shown}: not writable (mode {mode:04o}): {error}");
            Finding::fail(
                "state",
                text,
                format!("chown it to the daemon's user, or chmod u+rwx {shown}"),
            )
        }
        Ok(()) if mode & 0o002 != 0 && mode & 0o1000 == 0 => {
            let text = format!("{shown}: every user can replace files in it (mode {mode:04o})");
            Finding::warn("state", text, format!("chmod o-w {shown}"))
        }
        Ok(()) => Finding::ok("state", format!("{shown} is writable")),
    });
    findings.push(disk(dir));
    findings
}

fn disk(dir: &Path) -> Finding {
    match rustix::fs::statvfs(dir) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let text = format!("{} MiB free", free >> 20);
            let fix = "free some space: changes of the peers file are kept in memory only when it is full";
            match free {
                0 => Finding::fail("disk", text, fix),
                free if free < LOW_DISK_BYTES => Finding::warn("disk", text, fix),
                _ => Finding::ok("disk", text),
            }
        }
        Err(error) => Finding::warn(
            "disk",
            format!("free space unknown: {error}"),
            "look with df",
        ),
    }
}

pub(super) fn descriptors(loaded: &Loaded) -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let connections = loaded.full.config.network.max_connections as u64;
    let wanted = connections.saturating_add(SPARE_DESCRIPTORS);
    match limit.current {
        Some(limit) if limit < wanted => {
            let text =
                format!("{limit} descriptors, {wanted} wanted for network.limits.max_connections");
            let fix = format!("LimitNOFILE={wanted} in the unit, or ulimit -n {wanted}");
            Finding::warn("nofile", text, fix)
        }
        Some(limit) => Finding::ok("nofile", format!("{limit} descriptors, {wanted} wanted")),
        None => Finding::ok("nofile", "no limit"),
    }
}

pub(super) fn lock(loaded: &Loaded, daemon: &Daemon) -> Finding {
    let holder = NodeLock::holder(&loaded.state_dir);
    let process = holder.map(|holder| {
        holder.map_or_else(
            || "a process".to_owned(),
            |holder| format!("process {}", holder.process),
        )
    });
    match (process, daemon) {
        (Some(process), Daemon::Running(_)) => {
            Finding::ok("lock", format!("held by the daemon, {process}"))
        }
        (Some(process), Daemon::Unreachable(error)) if error.exit == Exit::Permission => {
            Finding::ok(
                "lock",
                format!("held by {process}, which this user may not ask"),
            )
        }
        (Some(process), _) => {
            let text = format!(
                "{process} runs a node in {} and does not answer",
                loaded.state_dir.display()
            );
            Finding::fail(
                "lock",
                text,
                "is --config or --socket another one than the daemon's? else stop that process",
            )
        }
        (None, Daemon::Running(_)) => {
            let text = "the daemon that answers runs in another state directory";
            Finding::warn(
                "lock",
                text,
                "give this command the daemon's --config and --state-dir",
            )
        }
        (None, _) => Finding::ok("lock", "free"),
    }
}

pub(super) fn socket(loaded: &Loaded, daemon: &Daemon) -> Finding {
    let shown = loaded.full.config.admin.socket.display();
    match daemon {
        Daemon::Running(status) => {
            let state = status["state"].as_str().unwrap_or("?");
            let text = format!("{shown}: the daemon is {state}");
            match status
                .pointer("/store/reason")
                .and_then(serde_json::Value::as_str)
            {
                Some(reason) => Finding::fail(
                    "daemon",
                    format!("{text}: {reason}"),
                    "make the peers file writable; nothing is lost while the daemon runs",
                ),
                None => Finding::ok("daemon", text),
            }
        }
        Daemon::Stopped => Finding::ok("daemon", "not running; start it with `btcfed run`"),
        Daemon::Unreachable(error) => {
            let fix = match (&error.hint, error.exit) {
                (Some(hint), _) => hint.clone(),
                (None, Exit::Permission) => "join the socket's group".to_owned(),
                (None, _) => "try again, or look at its log".to_owned(),
            };
            Finding::fail("daemon", error.message.clone(), fix)
        }
    }
}

pub(super) fn clock(loaded: &Loaded) -> Vec<Finding> {
    let fix = "set the clock and keep it set (chrony, systemd-timesyncd)";
    let now = SystemTime::now();
    let since = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    if since < EARLIEST {
        let text = format!("it says {} seconds after 1970", since.as_secs());
        return vec![Finding::fail("clock", text, fix)];
    }
    let changed =
        std::fs::metadata(&loaded.full.config.peers.file).and_then(|file| file.modified());
    let ahead = changed
        .ok()
        .and_then(|changed| changed.duration_since(now).ok());
    match ahead {
        Some(ahead) if ahead > CLOCK_SLACK => {
            let text = format!(
                "peers.yaml was written {} s in the future: the clock was set back",
                ahead.as_secs()
            );
            vec![Finding::fail("clock", text, fix)]
        }
        // The peers have the last word.
        _ => Vec::new(),
    }
}
