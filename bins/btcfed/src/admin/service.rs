//! What the daemon does when it is asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use btcfed_core::config::{ConfigSource, KeyChange, NodeConfig, RESTART_KEYS};
use btcfed_core::time::Clock;
use btcfed_node_orchestrator::{NodeHandle, ReloadError, Stopped};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::admin::journal::{Events, Journal};
use crate::admin::protocol::{self, Request};
use crate::admin::server::MAX_CONNECTIONS;
use crate::exit::{CliError, Exit};
use crate::logging::Logging;
use crate::peers::{self, Desk};
use crate::trace::{MAX_TRACES, Trace, Tracer};
use crate::view;

/// Most callers that follow events at a time: half of the places of the socket, so that commands always find one.
const MAX_FOLLOWERS: usize = MAX_CONNECTIONS / 2;

/// Everything answers are made from.
#[derive(Debug)]
pub(super) struct Service {
    node: NodeHandle,
    clock: Arc<dyn Clock>,
    live: Live,
    journal: Arc<Journal>,
    followers: Arc<Semaphore>,
}

/// What of the running program people may look at and change, beside the node.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    pub(super) config: Option<Arc<dyn ConfigSource>>,
    pub(super) logging: Option<Logging>,
    pub(super) tracer: Option<Tracer>,
}

/// What follows an answer.
#[derive(Debug)]
pub(super) enum Stream {
    Events {
        events: Events,
        /// Held as long as somebody follows.
        _place: OwnedSemaphorePermit,
    },
    Trace(Trace),
}

impl Stream {
    /// The next document; `None` when there are no more.
    pub(super) async fn next(&mut self) -> Option<Value> {
        match self {
            Self::Events { events, .. } => events.next().await,
            Self::Trace(trace) => trace.next().await,
        }
    }
}

/// An answer, and what follows it until the caller hangs up.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) answer: Value,
    pub(super) events: Option<Stream>,
    /// The node is to stop once the answer is on its way: a process that ends answers nobody.
    pub(super) stops: bool,
}

impl From<Value> for Reply {
    fn from(answer: Value) -> Self {
        Self {
            answer,
            events: None,
            stops: false,
        }
    }
}

impl Service {
    pub(super) fn new(
        node: NodeHandle,
        clock: Arc<dyn Clock>,
        live: Live,
        journal: Arc<Journal>,
    ) -> Self {
        Self {
            node,
            clock,
            live,
            journal,
            followers: Arc::new(Semaphore::new(MAX_FOLLOWERS)),
        }
    }

    /// Answers one line with one line; `events` may be followed by more.
    pub(super) async fn answer(&self, line: &[u8]) -> Reply {
        let request = match Request::parse(line) {
            Ok(request) => request,
            Err(answer) => return answer.into(),
        };
        if request.method == "events" {
            return match self.events(&request) {
                Ok((result, events)) => Reply {
                    answer: protocol::success(&request.id, &result),
                    events,
                    stops: false,
                },
                Err(error) => protocol::error(&request.id, &error).into(),
            };
        }
        if request.method == "trace" {
            return match self.trace(&request) {
                Ok((result, trace)) => Reply {
                    answer: protocol::success(&request.id, &result),
                    events: Some(Stream::Trace(trace)),
                    stops: false,
                },
                Err(error) => protocol::error(&request.id, &error).into(),
            };
        }
        let answer = match self.run(&request).await {
            Some(Ok(result)) => protocol::success(&request.id, &result),
            Some(Err(error)) => protocol::error(&request.id, &error),
            None => protocol::unknown_method(&request.id, &request.method),
        };
        Reply {
            answer,
            events: None,
            stops: request.method == "stop",
        }
    }

    /// Stops the node.
    pub(super) async fn stop(&self) {
        self.node.shutdown().await;
    }

    /// Does what a request asks for; `None` for a method that does not exist.
    async fn run(&self, request: &Request) -> Option<Result<Value, CliError>> {
        let node = &self.node;
        Some(match request.method.as_str() {
            "config.diff" => self.config_diff().await,
            "status" => node
                .status()
                .await
                .map(|status| self.with_log(view::status(&status)))
                .map_err(stopped),
            "log.level" => self.log_level(request),
            "reload" => node
                .reload()
                .await
                .map(|report| {
                    // Also when the level in the configuration is the old one.
                    if let Ok(logging) = self.log() {
                        logging.use_configured();
                    }
                    view::reload(&report)
                })
                .map_err(reload_error),
            // Done by whoever sends the answer, after it.
            "stop" => Ok(view::with_schema("stop", json!({ "stopping": true }))),
            _ => return self.peers(request).await,
        })
    }

    fn log(&self) -> Result<&Logging, CliError> {
        self.live.logging.as_ref().ok_or_else(|| {
            let reason = "this node was started without a log of its own";
            CliError::new(Exit::Failed, "config", reason)
        })
    }

    fn with_log(&self, mut status: Value) -> Value {
        if let (Ok(logging), Value::Object(fields)) = (self.log(), &mut status) {
            fields.insert("log".to_owned(), view::log(&logging.state()));
        }
        status
    }

    fn log_level(&self, request: &Request) -> Result<Value, CliError> {
        let logging = self.log()?;
        let before = logging.state();
        if let Some(filter) = request.optional_text("filter") {
            let lasting = Duration::from_millis(request.number("for_ms").unwrap_or_default());
            let now = self.clock.now().wall;
            logging.use_for(filter, lasting, now).map_err(|error| {
                CliError::new(Exit::Data, "config", error.to_string())
                    .hint("write error, warn, info, debug or trace, or directives such as info,libp2p=debug")
            })?;
        } else if request.flag("reset") {
            logging.use_configured();
        }
        let mut answer = view::log(&logging.state());
        answer["changed"] = json!(logging.state() != before);
        Ok(view::with_schema("log-level", answer))
    }

    /// What happened lately and, for whoever wants to follow, what happens from now on.
    fn events(&self, request: &Request) -> Result<(Value, Option<Stream>), CliError> {
        let place = if request.flag("follow") {
            let place = Arc::clone(&self.followers).try_acquire_owned();
            Some(place.map_err(|_| {
                let reason = format!("{MAX_FOLLOWERS} callers follow the events already");
                CliError::new(Exit::Busy, "transient", reason)
                    .hint("end one of them, or ask without --follow")
            })?)
        } else {
            None
        };
        let (recent, events) = self.journal.follow();
        let result = view::with_schema("events", json!({ "events": recent }));
        Ok((
            result,
            place.map(|_place| Stream::Events { events, _place }),
        ))
    }

    fn trace(&self, request: &Request) -> Result<(Value, Trace), CliError> {
        let record = peers::find(&self.node.store().snapshot(), request.text("peer")?)?;
        let lasting = Duration::from_millis(request.number("for_ms").unwrap_or_default());
        let Some(tracer) = &self.live.tracer else {
            let reason = "this node was started without a tracer";
            return Err(CliError::new(Exit::Failed, "config", reason));
        };
        let trace = tracer.look(record.key, lasting).ok_or_else(|| {
            let reason = format!("{MAX_TRACES} traces run already");
            CliError::new(Exit::Busy, "transient", reason).hint("wait until one of them ends")
        })?;
        let result = json!({ "peer_id": record.peer_id().to_string(), "name": record.name });
        Ok((view::with_schema("trace", result), trace))
    }

    async fn peers(&self, request: &Request) -> Option<Result<Value, CliError>> {
        if !request.method.starts_with("peers.") {
            return None;
        }
        let status = match self.node.status().await {
            Ok(status) => status,
            Err(error) => return Some(Err(stopped(error))),
        };
        let desk = Desk {
            store: &**self.node.store(),
            own: Some(self.node.peer_id().key()),
            connections: &status.connections,
            config: Some(&status.config),
            contacts: &self.journal.contacts(),
            now: self.clock.now().wall,
        };
        desk.answer(request).await
    }

    /// What a reload would change, with the daemon's own flags and environment.
    async fn config_diff(&self) -> Result<Value, CliError> {
        let Some(source) = self.live.config.clone() else {
            let reason = "this node was started without a configuration source";
            return Err(CliError::new(Exit::Failed, "config", reason));
        };
        let status = self.node.status().await.map_err(stopped)?;
        let load = tokio::task::spawn_blocking(move || source.load());
        let next = load.await.map_err(|error| {
            CliError::new(Exit::Internal, "fatal", format!("loading failed: {error}"))
        })??;
        let changes = changes(&status.config, &next);
        Ok(view::config_diff(status.config_revision, &changes))
    }
}

/// What differs between the values in force and a configuration, in the order of the keys.
fn changes(running: &BTreeMap<&'static str, String>, next: &NodeConfig) -> Vec<KeyChange> {
    let differs = |(key, new): (&'static str, String)| {
        let old = running.get(key).filter(|old| **old != new)?;
        Some(KeyChange {
            key,
            old: old.clone(),
            new,
            needs_restart: RESTART_KEYS.contains(&key),
        })
    };
    next.values().into_iter().filter_map(differs).collect()
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
