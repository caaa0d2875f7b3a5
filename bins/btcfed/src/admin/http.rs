//! The optional HTTP endpoint: `/livez`, `/readyz` and `/metrics` for probes and scrapers, and nothing else.
//!
//! It reads, and never changes anything. Every connection carries one request, has a deadline from its first byte to
//! its last, and takes one of a few places; who is slow loses the place, and who comes too many waits outside.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use btcfed_node_orchestrator::{NodeHandle, NodeState, NodeStatus};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::exit::{CliError, Exit};
use crate::metrics::prometheus;
use crate::view;

/// Longest request, its head's closing empty line included, in bytes.
pub const MAX_HTTP_REQUEST_BYTES: usize = 2048;

/// Most requests served at once; further ones wait in the listener's backlog.
pub const MAX_HTTP_CONNECTIONS: usize = 16;

/// How long one connection may take, from accepting it to the last byte of the answer.
pub const HTTP_DEADLINE: Duration = Duration::from_secs(5);

/// How long the node may take to say how it does. One that takes longer is stopping, or stuck.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// Most bytes beyond the request that are read before hanging up, so that the answer to a request that is too long
/// arrives.
const MAX_IGNORED_BYTES: usize = 64 * 1024;

/// How long to wait after the operating system refused to accept, for example for want of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The node the endpoint speaks of: nobody yet while it starts.
#[derive(Clone, Debug, Default)]
pub struct Subject(Arc<OnceLock<NodeHandle>>);

impl Subject {
    /// Tells which node it is. Only the first call counts.
    pub fn set(&self, node: NodeHandle) {
        if self.0.set(node).is_err() {
            tracing::debug!("the HTTP endpoint has its node already");
        }
    }

    async fn status(&self) -> Told {
        let Some(node) = self.0.get() else {
            return Told::Starting;
        };
        match tokio::time::timeout(STATUS_TIMEOUT, node.status()).await {
            Ok(Ok(status)) => Told::Status(Box::new(status)),
            Ok(Err(_)) | Err(_) => Told::Silent,
        }
    }
}

/// What the node says.
enum Told {
    Starting,
    Status(Box<NodeStatus>),
    Silent,
}

/// A bound endpoint.
#[derive(Debug)]
pub struct HttpEndpoint {
    listener: TcpListener,
    subject: Subject,
    deadline: Duration,
}

impl HttpEndpoint {
    /// Binds the endpoint.
    ///
    /// # Errors
    /// The address is taken, not this machine's, or not permitted.
    pub async fn bind(at: SocketAddr, subject: Subject) -> Result<Self, CliError> {
        let listener = TcpListener::bind(at).await.map_err(|error| {
            let (exit, hint) = match error.kind() {
                io::ErrorKind::AddrInUse => (
                    Exit::Unavailable,
                    "another program has this port: stop it, or set admin.http to another one",
                ),
                io::ErrorKind::PermissionDenied => (
                    Exit::Permission,
                    "ports below 1024 need a privilege: set admin.http to a higher one",
                ),
                _ => (Exit::Config, "set admin.http to 127.0.0.1:9100"),
            };
            let message = format!("cannot answer HTTP at {at}: {error}");
            let mut shown = CliError::new(exit, "config", message).hint(hint);
            shown.key = Some("admin.http".to_owned());
            shown
        })?;
        Ok(Self {
            listener,
            subject,
            deadline: HTTP_DEADLINE,
        })
    }

    /// Where it answers: the port is the real one also when any was asked for.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the future is dropped.
    pub async fn serve(self) {
        let slots = Arc::new(Semaphore::new(MAX_HTTP_CONNECTIONS));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (subject, deadline) = (self.subject.clone(), self.deadline);
                    tokio::spawn(async move {
                        let served = tokio::time::timeout(deadline, converse(stream, &subject));
                        if !matches!(served.await, Ok(Ok(()))) {
                            tracing::debug!("an HTTP connection was broken or too slow");
                        }
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the HTTP endpoint; trying again");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

/// One request, one answer.
async fn converse(mut stream: TcpStream, subject: &Subject) -> io::Result<()> {
    let mut head = Vec::with_capacity(256);
    let answer = match read_head(&mut stream, &mut head).await? {
        Head::Gone => return Ok(()),
        Head::TooLong => Answer::plain(431, "a request is at most 2048 bytes long"),
        Head::Whole => respond(&head, subject).await,
    };
    stream.write_all(&answer.to_bytes()).await?;
    stream.shutdown().await?;
    // Hanging up on bytes that nobody read would reset the connection and lose the answer.
    let mut ignored = 0;
    let mut buffer = [0; 1024];
    while ignored < MAX_IGNORED_BYTES {
        match stream.read(&mut buffer).await? {
            0 => break,
            count => ignored += count,
        }
    }
    Ok(())
}

enum Head {
    Gone,
    TooLong,
    Whole,
}

/// Reads up to the empty line, and never holds more than [`MAX_HTTP_REQUEST_BYTES`].
async fn read_head(stream: &mut TcpStream, head: &mut Vec<u8>) -> io::Result<Head> {
    let mut buffer = [0; 512];
    loop {
        let room = (MAX_HTTP_REQUEST_BYTES - head.len()).min(buffer.len());
        let Some(free) = buffer.get_mut(..room).filter(|free| !free.is_empty()) else {
            return Ok(Head::TooLong);
        };
        let count = stream.read(free).await?;
        if count == 0 {
            return Ok(Head::Gone);
        }
        head.extend(free.iter().take(count));
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            return Ok(Head::Whole);
        }
    }
}

/// What is asked for: method, path, query.
fn parse(head: &[u8]) -> Option<(&str, &str, &str)> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let is_http = version == "HTTP/1.1" || version == "HTTP/1.0";
    if !is_http || words.next().is_some() || !target.starts_with('/') {
        return None;
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Some((method, path, query))
}

async fn respond(head: &[u8], subject: &Subject) -> Answer {
    let Some((method, path, query)) = parse(head) else {
        return Answer::plain(400, "this is no HTTP/1.1 request");
    };
    let known = ["/livez", "/metrics", "/readyz"].contains(&path);
    let mut answer = match (known, method) {
        (false, _) => Answer::plain(404, "here are /livez, /readyz and /metrics"),
        (true, "GET" | "HEAD") => look(path, query, subject).await,
        (true, _) => Answer::plain(405, "only GET and HEAD"),
    };
    answer.body_is_sent = method != "HEAD";
    answer
}

async fn look(path: &str, query: &str, subject: &Subject) -> Answer {
    let told = subject.status().await;
    match (path, told) {
        ("/livez", Told::Starting | Told::Status(_)) => Answer::plain(200, "alive"),
        ("/readyz", Told::Starting) => Answer::plain(503, "the node is starting"),
        ("/readyz", Told::Status(status)) => match min_peers(query) {
            None => Answer::plain(400, "the one parameter is min-peers=NUMBER"),
            Some(min) => match reasons_against(&status, min) {
                reasons if reasons.is_empty() => Answer::plain(200, "ready"),
                reasons => Answer::plain(503, &reasons.join("; ")),
            },
        },
        ("/metrics", Told::Status(status)) => Answer {
            content: PROMETHEUS,
            ..Answer::whole(200, prometheus(&view::status(&status)))
        },
        ("/metrics", Told::Starting) => Answer::plain(503, "the node is starting"),
        (_, _) => Answer::plain(503, "the node does not answer: it is stopping, or stuck"),
    }
}

/// The fewest peers that `/readyz` demands; `None` when the query is not understood.
fn min_peers(query: &str) -> Option<usize> {
    if query.is_empty() {
        return Some(0);
    }
    query.strip_prefix("min-peers=")?.parse().ok()
}

/// Why a node should not be given work, as `btcfed health --ready` tells it.
fn reasons_against(status: &NodeStatus, min_peers: usize) -> Vec<String> {
    let mut reasons = Vec::new();
    if status.listen.is_empty() {
        reasons.push("the node listens nowhere".to_owned());
    }
    if status.state != NodeState::Running {
        reasons.push("the store is degraded".to_owned());
    }
    let connected = status.connections.len();
    if connected < min_peers {
        reasons.push(format!("{connected} of {min_peers} peers connected"));
    }
    reasons
}

/// What goes back.
#[derive(Debug)]
struct Answer {
    code: u16,
    content: &'static str,
    body: String,
    body_is_sent: bool,
}

impl Answer {
    const fn whole(code: u16, body: String) -> Self {
        Self {
            code,
            content: TEXT,
            body,
            body_is_sent: true,
        }
    }

    /// One line of text.
    fn plain(code: u16, line: &str) -> Self {
        Self::whole(code, format!("{line}\n"))
    }

    fn to_bytes(&self) -> Vec<u8> {
        let reason = match self.code {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed\r\nAllow: GET, HEAD",
            431 => "Request Header Fields Too Large",
            _ => "Service Unavailable",
        };
        let (code, content, length) = (self.code, self.content, self.body.len());
        let mut text = format!(
            "HTTP/1.1 {code} {reason}\r\nContent-Type: {content}\r\nContent-Length: {length}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        );
        if self.body_is_sent {
            text.push_str(&self.body);
        }
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests;
