//! The daemon's side of the admin socket.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use btcfed_core::time::Clock;
use btcfed_node_orchestrator::{NodeHandle, ReloadError, Stopped};
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::admin::protocol::{self, MAX_REQUEST_BYTES, Request};
use crate::exit::{CliError, Exit};
use crate::peers::Desk;
use crate::view;

/// Most admin connections served at once; further ones wait in the socket's backlog.
pub const MAX_CONNECTIONS: usize = 128;

/// How long a connection may be silent before it is closed: commands speak at once, and a place is worth something.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait after the operating system refused to accept, for example for want of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A bound admin socket. The file is removed when this is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Binds the socket at `path` with permission bits `mode`. A socket that a dead process left behind is replaced;
    /// the caller holds the node lock, so nobody else is using it.
    ///
    /// # Errors
    /// The path is taken by something that is not a socket, too long, or not writable.
    pub fn bind(path: &Path, mode: u32) -> Result<Self, CliError> {
        let refuse = |error: &io::Error| {
            let (exit, hint) = match error.kind() {
                io::ErrorKind::PermissionDenied => (
                    Exit::Permission,
                    "set admin.socket to a place you may write to",
                ),
                _ => (
                    Exit::CannotCreate,
                    "set admin.socket to a shorter path in an existing directory",
                ),
            };
            CliError::new(
                exit,
                "config",
                format!("cannot create the admin socket: {error}"),
            )
            .file(path.display())
            .hint(hint)
        };
        match fs::symlink_metadata(path) {
            Ok(found) if is_socket(&found) => {
                fs::remove_file(path).map_err(|error| refuse(&error))?
            }
            Ok(_) => {
                let error = io::Error::new(io::ErrorKind::AlreadyExists, "something else is there");
                return Err(refuse(&error));
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(|error| refuse(&error))?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(|error| refuse(&error))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// Serves until the future is dropped.
    pub async fn serve(self, node: NodeHandle, clock: Arc<dyn Clock>) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (node, clock) = (node.clone(), Arc::clone(&clock));
                    tokio::spawn(async move {
                        if let Err(error) = converse(stream, &node, &*clock).await {
                            tracing::debug!(%error, "admin connection ended");
                        }
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the admin socket; trying again");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "admin socket not removed");
        }
    }
}

fn is_socket(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    metadata.file_type().is_socket()
}

async fn converse(mut stream: UnixStream, node: &NodeHandle, clock: &dyn Clock) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    loop {
        let Ok(line) = tokio::time::timeout(IDLE_TIMEOUT, next_line(&mut read)).await else {
            return Ok(());
        };
        let (answer, last) = match line? {
            None => return Ok(()),
            Some(Line::TooLong) => (protocol::too_long(), true),
            Some(Line::Whole(line)) => (answer(&line, node, clock).await, false),
        };
        let mut text = answer.to_string();
        text.push('\n');
        write.write_all(text.as_bytes()).await?;
        if last {
            return Ok(());
        }
    }
}

enum Line {
    TooLong,
    Whole(Vec<u8>),
}

/// Reads up to the next line feed without ever holding more than [`MAX_REQUEST_BYTES`].
async fn next_line(read: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    loop {
        let chunk = read.fill_buf().await?;
        if chunk.is_empty() {
            return Ok((!line.is_empty()).then_some(Line::Whole(line)));
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(chunk.len(), |at| at + 1);
        line.extend_from_slice(&chunk[..end.unwrap_or(taken)]);
        read.consume(taken);
        if line.len() > MAX_REQUEST_BYTES {
            return Ok(Some(Line::TooLong));
        }
        if end.is_some() {
            return Ok(Some(Line::Whole(line)));
        }
    }
}

async fn answer(line: &[u8], node: &NodeHandle, clock: &dyn Clock) -> Value {
    let request = match Request::parse(line) {
        Ok(request) => request,
        Err(answer) => return answer,
    };
    match run(&request, node, clock).await {
        Some(Ok(result)) => protocol::success(&request.id, &result),
        Some(Err(error)) => protocol::error(&request.id, &error),
        None => protocol::unknown_method(&request.id, &request.method),
    }
}

/// Does what a request asks for; `None` for a method that does not exist.
async fn run(
    request: &Request,
    node: &NodeHandle,
    clock: &dyn Clock,
) -> Option<Result<Value, CliError>> {
    Some(match request.method.as_str() {
        "status" => node
            .status()
            .await
            .map(|status| view::status(&status))
            .map_err(stopped),
        "reload" => node
            .reload()
            .await
            .map(|report| view::reload(&report))
            .map_err(reload_error),
        "stop" => {
            node.shutdown().await;
            Ok(view::with_schema("stop", json!({ "stopping": true })))
        }
        _ => return peers_answer(request, node, clock).await,
    })
}

async fn peers_answer(
    request: &Request,
    node: &NodeHandle,
    clock: &dyn Clock,
) -> Option<Result<Value, CliError>> {
    if !request.method.starts_with("peers.") {
        return None;
    }
    let status = match node.status().await {
        Ok(status) => status,
        Err(error) => return Some(Err(stopped(error))),
    };
    let desk = Desk {
        store: &**node.store(),
        own: Some(node.peer_id().key()),
        connections: &status.connections,
        now: clock.now().wall,
    };
    desk.answer(request).await
}

fn stopped(error: Stopped) -> CliError {
    CliError::new(Exit::Unavailable, "transient", error.to_string())
}

fn reload_error(error: ReloadError) -> CliError {
    match error {
        ReloadError::Config(error) => error.into(),
        ReloadError::Component(error) => {
            let key = error.key.map(str::to_owned);
            let mut shown = CliError::new(
                Exit::Failed,
                error.kind.as_str(),
                format!("nothing changed: {error}"),
            );
            shown.key = key;
            shown
        }
        ReloadError::Busy => CliError::new(Exit::Busy, "transient", error.to_string()),
        other => CliError::new(Exit::Unavailable, "transient", other.to_string()),
    }
}
