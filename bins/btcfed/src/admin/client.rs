//! The command line's side of the admin socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::admin::group;
use crate::admin::protocol::{MAX_ANSWER_BYTES, Request, parse_answer};
use crate::exit::{CliError, Exit};

/// An open conversation with a daemon.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
    next_id: u64,
}

impl Client {
    /// Connects to the socket at `path`; every later call takes at most `timeout`.
    ///
    /// # Errors
    /// The daemon is not running, the socket is not ours to open, or the path is wrong: each with its own words.
    pub fn connect(path: &Path, timeout: Duration) -> Result<Self, CliError> {
        let stream = UnixStream::connect(path).map_err(|error| unreachable(path, &error))?;
        let set = |error: io::Error| unreachable(path, &error);
        stream.set_read_timeout(Some(timeout)).map_err(set)?;
        stream.set_write_timeout(Some(timeout)).map_err(set)?;
        Ok(Self {
            path: path.to_owned(),
            stream: BufReader::new(stream),
            next_id: 1,
        })
    }

    /// Asks for something that is followed by events, and hands each to `each` until it answers false. Waits for events
    /// as long as it takes.
    ///
    /// # Errors
    /// The daemon's own error, or that it is gone.
    pub fn follow(
        &mut self,
        method: &str,
        params: Value,
        mut each: impl FnMut(&Value) -> bool,
    ) -> Result<Value, CliError> {
        let first = self.call(method, params)?;
        for event in first["events"].as_array().into_iter().flatten() {
            if !each(event) {
                return Ok(first);
            }
        }
        let failed = |error: io::Error| lost(&self.path, &error);
        self.stream
            .get_ref()
            .set_read_timeout(None)
            .map_err(failed)?;
        loop {
            let line = self.line()?;
            let event: Value = serde_json::from_slice(&line).unwrap_or_default();
            if !each(&event["params"]) {
                return Ok(first);
            }
        }
    }

    /// Asks for one thing and waits for the answer.
    ///
    /// # Errors
    /// The daemon's own error, or that it did not answer.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, CliError> {
        let request = Request {
            id: json!(self.next_id),
            method: method.to_owned(),
            params,
        };
        self.next_id += 1;
        let mut line = request.to_json().to_string();
        line.push('\n');
        let failed = |error: io::Error| lost(&self.path, &error);
        self.stream
            .get_mut()
            .write_all(line.as_bytes())
            .map_err(failed)?;
        parse_answer(&self.line()?)
    }

    fn line(&mut self) -> Result<Vec<u8>, CliError> {
        let failed = |error: io::Error| lost(&self.path, &error);
        let mut answer = Vec::new();
        let limit = u64::try_from(MAX_ANSWER_BYTES).unwrap_or(u64::MAX);
        (&mut self.stream)
            .take(limit)
            .read_until(b'\n', &mut answer)
            .map_err(failed)?;
        if answer.last() != Some(&b'\n') {
            return Err(lost(
                &self.path,
                &io::Error::from(io::ErrorKind::UnexpectedEof),
            ));
        }
        Ok(answer)
    }
}

/// True when the error says that no daemon listens, so that a command may work on the files instead.
#[must_use]
pub fn is_not_running(error: &CliError) -> bool {
    error.exit == Exit::Unavailable && error.kind == "transient"
}

fn unreachable(path: &Path, error: &io::Error) -> CliError {
    let shown = path.display();
    let found = std::fs::metadata(path).ok();
    if let Some(other) = found
        .as_ref()
        .filter(|found| !found.file_type().is_socket())
    {
        let what = if other.is_dir() {
            "a directory"
        } else {
            "a file"
        };
        return CliError::new(
            Exit::Unavailable,
            "config",
            format!("the admin socket cannot be {shown}: that is {what}, not a socket"),
        )
        .hint("name the daemon's socket with --socket, or its directory with --state-dir");
    }
    match error.kind() {
        io::ErrorKind::NotFound => {
            CliError::new(Exit::Unavailable, "transient", format!("the daemon is not running: there is no socket at {shown}"))
                .hint("start it with `btcfed run`, or name the right file with --config, --state-dir or --socket")
        }
        io::ErrorKind::ConnectionRefused => {
            CliError::new(Exit::Unavailable, "transient", format!("the daemon is not running: nobody answers at {shown}"))
                .hint("start it with `btcfed run`")
        }
        io::ErrorKind::PermissionDenied => {
            let Some(found) = found else {
                return CliError::new(
                    Exit::Permission,
                    "config",
                    format!("not permitted to look for the admin socket {shown}: a directory on the way is closed"),
                )
                .hint("run as the daemon's user or as root");
            };
            let (user, group) = group::names(found.uid(), found.gid());
            let mode = found.mode() & 0o777;
            CliError::new(
                Exit::Permission,
                "config",
                format!("not permitted to open the admin socket {shown}: it belongs to user {user} and group {group}, mode {mode:04o}"),
            )
            .hint(format!("run as user {user}, or join the group (usermod -aG {group} YOU, then log in again)"))
        }
        io::ErrorKind::InvalidInput => {
            CliError::new(Exit::Unavailable, "config", format!("the path of the admin socket is too long: {shown}"))
                .hint("at most 107 bytes are possible: set admin.socket, or name a shorter one with --socket")
        }
        _ => CliError::new(Exit::Unavailable, "config", format!("cannot open the admin socket {shown}: {error}"))
            .hint("check --socket or admin.socket"),
    }
}

fn lost(path: &Path, error: &io::Error) -> CliError {
    let reason = match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "did not answer in time".to_owned(),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset => "closed the connection".to_owned(),
        _ => format!("failed: {error}"),
    };
    CliError::new(
        Exit::Unavailable,
        "config",
        format!("the daemon at {} {reason}", path.display()),
    )
    .hint("it may be stopping or overloaded; try again, or raise --timeout")
}
