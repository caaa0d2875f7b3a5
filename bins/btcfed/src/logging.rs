//! The log: to standard error, as text or JSON, with a level and a format that change while running.

mod queue;

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use btcfed_core::config::{LogFormat, LogLevel, LoggingConfig, NodeConfig};
use btcfed_core::reconfigure::{Reconfigure, ReconfigureError, Staged, StagedFn};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use self::queue::LogQueue;
pub use self::queue::MAX_WAITING_LINES;

/// Changes the level and the format of the running log.
#[derive(Clone, Debug)]
pub struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
    json: Arc<AtomicBool>,
    queue: LogQueue,
}

/// Logging could not be started. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Something in this process set up logging before.
    #[error("logging is set up already in this process")]
    AlreadySetUp,
    /// The operating system gives no thread to write with.
    #[error("cannot start the log: {0}")]
    Thread(#[from] io::Error),
}

impl Logging {
    /// Starts logging to standard error, with or without colours in the text format.
    ///
    /// # Errors
    /// Something in this process set up logging before, or there is no thread to write with. Nothing changed.
    pub fn start(config: LoggingConfig, colour: bool) -> Result<Self, StartError> {
        let queue = LogQueue::start(io::stderr())?;
        let (filter, handle) = reload::Layer::new(filter(config.level));
        let json = Arc::new(AtomicBool::new(wants_json(config.format)));
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(queue.clone())
            .with_ansi(colour)
            // A closed standard error must not stop the node.
            .log_internal_errors(false)
            .event_format(Switch {
                json: Arc::clone(&json),
                text: Format::default(),
                // Without spans: the formatter panics on fields that were recorded for the text format.
                object: Format::default()
                    .json()
                    .with_current_span(false)
                    .with_span_list(false),
            });
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .try_init()
            .map_err(|_| StartError::AlreadySetUp)?;
        Ok(Self {
            filter: handle,
            json,
            queue,
        })
    }

    /// Waits until everything that was logged before is written, but not longer than `limit`. False when it was not.
    pub fn flush(&self, limit: Duration) -> bool {
        self.queue.flush(limit)
    }

    fn apply(&self, config: LoggingConfig) {
        self.json
            .store(wants_json(config.format), Ordering::Relaxed);
        if let Err(error) = self.filter.reload(filter(config.level)) {
            tracing::warn!(%error, "log level not changed");
        }
    }
}

#[async_trait]
impl Reconfigure for Logging {
    async fn prepare(&self, config: &NodeConfig) -> Result<Box<dyn Staged>, ReconfigureError> {
        let (logging, config) = (self.clone(), config.logging);
        Ok(Box::new(StagedFn::new(move || logging.apply(config))))
    }
}

/// Our own crates at the configured level; libraries only when they warn (libp2p not even then: strangers could make it
/// talk), or when everything is asked for.
fn filter(level: LogLevel) -> EnvFilter {
    let directives = match level {
        LogLevel::Trace => "trace".to_owned(),
        LogLevel::Error => "error".to_owned(),
        _ => {
            let ours = [
                "core",
                "config",
                "peer_store",
                "exchange_protocol",
                "network",
                "node_orchestrator",
            ];
            let mut text = format!("warn,libp2p=error,btcfed={}", level.as_str());
            for name in ours {
                text.push_str(&format!(",btcfed_{name}={}", level.as_str()));
            }
            text
        }
    };
    EnvFilter::new(directives)
}

/// Text on a terminal, JSON otherwise, unless one is asked for.
fn wants_json(format: LogFormat) -> bool {
    match format {
        LogFormat::Auto => !io::stderr().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Text => false,
    }
}

/// Writes each event in whichever format is in force.
struct Switch {
    json: Arc<AtomicBool>,
    text: Format<Full>,
    object: Format<Json>,
}

impl<S, N> FormatEvent<S, N> for Switch
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.json.load(Ordering::Relaxed) {
            self.object.format_event(ctx, writer, event)
        } else {
            self.text.format_event(ctx, writer, event)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_a_valid_filter_that_keeps_libraries_quiet() {
        for level in LogLevel::ALL {
            let text = filter(level).to_string();
            assert!(!text.is_empty());
            if level == LogLevel::Debug {
                assert!(
                    text.contains("btcfed_network=debug") && text.contains("warn"),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn an_explicit_format_wins_over_the_terminal() {
        assert!(wants_json(LogFormat::Json));
        assert!(!wants_json(LogFormat::Text));
    }
}
