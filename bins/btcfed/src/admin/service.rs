//! What the daemon does when it is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use btcfed_core::config::{ConfigSource, KeyChange, NodeConfig, RESTART_KEYS};
use btcfed_core::time::Clock;
use btcfed_node_orchestrator::{NodeHandle, ReloadError, Stopped};
use serde_json::{Value, json};

use crate::admin::journal::{Events, Journal};
use crate::admin::protocol::{self, Request};
use crate::exit::{CliError, Exit};
use crate::peers::Desk;
use crate::view;

/// Everything answers are made from.
#[derive(Debug)]
pub(super) struct Service {
    node: NodeHandle,
    clock: Arc<dyn Clock>,
    config: Option<Arc<dyn ConfigSource>>,
    journal: Arc<Journal>,
}

/// An answer, and what follows it until the caller hangs up.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) answer: Value,
    pub(super) events: Option<Events>,
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
    pub(super) const fn new(
        node: NodeHandle,
        clock: Arc<dyn Clock>,
        config: Option<Arc<dyn ConfigSource>>,
        journal: Arc<Journal>,
    ) -> Self {
        Self {
            node,
            clock,
            config,
            journal,
        }
    }

    /// Answers one line with one line; `events` may be followed by more.
    pub(super) async fn answer(&self, line: &[u8]) -> Reply {
        let request = match Request::parse(line) {
            Ok(request) => request,
            Err(answer) => return answer.into(),
        };
        if request.method == "events" {
            let (recent, events) = self.journal.follow();
            let result = view::with_schema("events", json!({ "events": recent }));
            return Reply {
                answer: protocol::success(&request.id, &result),
                events: request.flag("follow").then_some(events),
                stops: false,
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
                .map(|status| view::status(&status))
                .map_err(stopped),
            "reload" => node
                .reload()
                .await
                .map(|report| view::reload(&report))
                .map_err(reload_error),
            // Done by whoever sends the answer, after it.
            "stop" => Ok(view::with_schema("stop", json!({ "stopping": true }))),
            _ => return self.peers(request).await,
        })
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
        let Some(source) = self.config.clone() else {
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
