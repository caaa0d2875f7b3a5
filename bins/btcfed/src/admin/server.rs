//! The daemon's side of the admin socket.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use btcfed_core::config::ConfigSource;
use btcfed_core::time::Clock;
use btcfed_node_orchestrator::NodeHandle;
use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::admin::group;
use crate::admin::journal::Journal;
use crate::admin::places::Places;
use crate::admin::protocol::{self, MAX_REQUEST_BYTES};
use crate::admin::service::{Live, Reply, Service, Stream};
use crate::exit::{CliError, Exit};
use crate::logging::Logging;
use crate::trace::Tracer;

/// Most admin connections served at once. A further one takes the place of the one that has been silent the longest; where
/// all are busy, it waits.
pub const MAX_CONNECTIONS: usize = 128;

/// How long a connection may be silent before it is closed: commands speak at once, and a place is worth something.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a caller may leave an answer unread before the connection is closed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait after the operating system refused to accept, for example for want of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A bound admin socket. The file is removed when this is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    live: Live,
}

impl AdminSocket {
    /// Binds the socket at `path` with permission bits `mode` and, unless it is empty, for `group`. A socket that a dead process left behind is replaced;
    /// the caller holds the node lock, so nobody else is using it.
    ///
    /// # Errors
    /// The path is taken by something that is not a socket, too long, or not writable.
    pub fn bind(path: &Path, mode: u32, group: &str) -> Result<Self, CliError> {
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
        // The group first: whoever it was before must not get in meanwhile.
        if !group.is_empty() {
            group::give(path, group)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(|error| refuse(&error))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            live: Live::default(),
        })
    }

    /// Where a reload would find the next configuration, so that people can ask what it would change.
    #[must_use]
    pub fn with_config(mut self, source: Arc<dyn ConfigSource>) -> Self {
        self.live.config = Some(source);
        self
    }

    /// The log whose level people may change for a while.
    #[must_use]
    pub fn with_logging(mut self, logging: Logging) -> Self {
        self.live.logging = Some(logging);
        self
    }

    /// The messages people may look at.
    #[must_use]
    pub fn with_tracer(mut self, tracer: Tracer) -> Self {
        self.live.tracer = Some(tracer);
        self
    }

    /// Serves until the future is dropped.
    pub async fn serve(self, node: NodeHandle, clock: Arc<dyn Clock>) {
        let places = Arc::new(Places::new(MAX_CONNECTIONS));
        let journal = Arc::new(Journal::new(Arc::clone(node.store()), Arc::clone(&clock)));
        let feeding = Arc::clone(&journal).feed(node.subscribe());
        let service = Arc::new(Service::new(node, clock, self.live.clone(), journal));
        let accepting = self.accept(service, places);
        // Accepting never ends; both are dropped together.
        tokio::join!(feeding, accepting);
    }

    async fn accept(&self, service: Arc<Service>, places: Arc<Places>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let Some(place) = places.take().await else {
                        return;
                    };
                    let (service, places) = (Arc::clone(&service), Arc::clone(&places));
                    tokio::spawn(async move {
                        if let Err(error) = converse(stream, &service, &places).await {
                            tracing::debug!(%error, "admin connection ended");
                        }
                        drop(place);
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

async fn converse(mut stream: UnixStream, service: &Service, places: &Places) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    loop {
        let idle = places.idle();
        let line = tokio::select! {
            line = tokio::time::timeout(IDLE_TIMEOUT, next_line(&mut read)) => line,
            () = idle.evicted() => return Ok(()),
        };
        drop(idle);
        let Ok(line) = line else { return Ok(()) };
        let (reply, last) = match line? {
            None => return Ok(()),
            Some(Line::TooLong) => (Reply::from(protocol::too_long()), true),
            Some(Line::Whole(line)) => (service.answer(&line).await, false),
        };
        let sent = send(&mut write, &reply.answer).await;
        if reply.stops {
            service.stop().await;
        }
        sent?;
        if let Some(events) = reply.events {
            return stream_events(&mut read, &mut write, events).await;
        }
        if last {
            return Ok(());
        }
    }
}

/// Sends events until the caller hangs up or stops reading. What it says meanwhile is ignored.
async fn stream_events(
    read: &mut (impl AsyncBufRead + Unpin),
    write: &mut (impl AsyncWriteExt + Unpin),
    mut events: Stream,
) -> io::Result<()> {
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => send(write, &protocol::notification("event", &event)).await?,
                None => return Ok(()),
            },
            line = next_line(read) => match line? {
                Some(Line::Whole(_)) => {}
                Some(Line::TooLong) | None => return Ok(()),
            },
        }
    }
}

/// Writes a line. A caller that does not read is hung up on.
async fn send(write: &mut (impl AsyncWriteExt + Unpin), line: &Value) -> io::Result<()> {
    let mut text = line.to_string();
    text.push('\n');
    tokio::time::timeout(WRITE_TIMEOUT, write.write_all(text.as_bytes()))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
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
