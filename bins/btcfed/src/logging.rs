//! The log: to standard error or a file, as text or JSON. Place, level and form change while running.

mod queue;
mod target;
mod temporary;

use std::fmt;
use std::future::Future;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use btcfed_core::config::{LogColor, LogFormat, LogLevel, LoggingConfig, NodeConfig};
use btcfed_core::error::ErrorKind;
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
use self::target::Target;
use self::temporary::Levels;
pub use self::temporary::{LevelError, LogState, MAX_FILTER_BYTES, MAX_TEMPORARY};

/// Changes the place, the level and the form of the running log.
#[derive(Clone, Debug)]
pub struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
    look: Arc<Look>,
    queue: LogQueue,
    file: Arc<Mutex<Option<PathBuf>>>,
    levels: Arc<Mutex<Levels>>,
}

/// How lines look; read for each of them.
#[derive(Debug)]
struct Look {
    json: AtomicBool,
    color: AtomicBool,
    /// What the command line says about colours goes before the configuration.
    asked: Option<bool>,
}

impl Look {
    fn adopt(&self, config: &LoggingConfig) {
        let color = self.asked.unwrap_or_else(|| wants_color(config));
        self.json.store(wants_json(config), Ordering::Relaxed);
        self.color
            .store(color && config.file.is_none(), Ordering::Relaxed);
    }
}

/// Logging could not be started. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Something in this process set up logging before.
    #[error("logging is set up already in this process")]
    AlreadySetUp,
    /// The log file cannot be opened.
    #[error(transparent)]
    File(FileError),
    /// The operating system gives no thread to write with.
    #[error("cannot start the log: {0}")]
    Thread(#[from] io::Error),
}

/// A log file that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the log file {}: {error}; set logging.file to a file in a folder the node may write to", .path.display())]
pub struct FileError {
    path: PathBuf,
    error: io::Error,
}

/// The part that tells of each message, of the exchange and of registered protocols; without the prefix.
const MESSAGES: &str = "network::messages";

/// Our crates, without their common prefix.
const OUR_CRATES: [&str; 6] = [
    "core",
    "config",
    "peer_store",
    "exchange_protocol",
    "network",
    "node_orchestrator",
];

impl Logging {
    /// Starts logging. `color` goes before what the configuration says about colours.
    ///
    /// # Errors
    /// Something in this process set up logging before, the log file cannot be opened, or there is no thread to write with.
    /// Nothing changed.
    pub fn start(config: &LoggingConfig, color: Option<bool>) -> Result<Self, StartError> {
        let target = open(config.file.as_deref()).map_err(StartError::File)?;
        let queue = LogQueue::start(target)?;
        let (filter, handle) = reload::Layer::new(filter(config));
        let look = Arc::new(Look {
            json: AtomicBool::new(false),
            color: AtomicBool::new(false),
            asked: color,
        });
        look.adopt(config);
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(queue.clone())
            // Whether there are colours is decided line by line; the library would ask NO_COLOR once more.
            .with_ansi(true)
            // A closed standard error must not stop the node.
            .log_internal_errors(false)
            .event_format(Switch {
                look: Arc::clone(&look),
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
            look,
            queue,
            file: Arc::new(Mutex::new(config.file.clone())),
            levels: Arc::new(Mutex::new(Levels::new(config.clone()))),
        })
    }

    /// Waits until everything that was logged before is written, but not longer than `limit`. False when it was not.
    pub fn flush(&self, limit: Duration) -> bool {
        self.queue.flush(limit)
    }

    /// Resolves when the thread that writes the log has ended, which it never should. Cancellation: safe.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        self.queue.ended()
    }

    fn use_filter(&self, filter: EnvFilter) {
        if let Err(error) = self.filter.reload(filter) {
            tracing::warn!(%error, "log level not changed");
        }
    }

    fn apply(&self, config: &LoggingConfig, target: Option<Target>) {
        self.look.adopt(config);
        {
            let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
            levels.configure(config.clone());
            self.use_filter(filter(config));
        }
        let Some(target) = target else { return };
        if self.queue.switch(target) {
            self.current_file().clone_from(&config.file);
        } else {
            tracing::warn!("the log stays where it was: too many lines wait; reload again");
        }
    }

    fn current_file(&self) -> MutexGuard<'_, Option<PathBuf>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Reconfigure for Logging {
    async fn prepare(&self, config: &NodeConfig) -> Result<Box<dyn Staged>, ReconfigureError> {
        let (logging, config) = (self.clone(), config.logging.clone());
        let moved = *self.current_file() != config.file;
        let target = if moved {
            let opened = open(config.file.as_deref());
            Some(opened.map_err(|error| ReconfigureError {
                component: "logging",
                key: Some("logging.file"),
                kind: ErrorKind::Config,
                reason: error.to_string(),
            })?)
        } else {
            None
        };
        Ok(Box::new(StagedFn::new(move || {
            logging.apply(&config, target)
        })))
    }
}

fn open(file: Option<&Path>) -> Result<Target, FileError> {
    Target::open(file).map_err(|error| FileError {
        path: file.map(Path::to_owned).unwrap_or_default(),
        error,
    })
}

/// The parts that were named at their levels; else our own crates at the configured level; libraries only when they warn
/// (libp2p not even then: strangers could make it talk), or when everything is asked for.
fn filter(config: &LoggingConfig) -> EnvFilter {
    let level = config.level.as_str();
    let mut text = match config.level {
        LogLevel::Trace | LogLevel::Error => level.to_owned(),
        LogLevel::Warn | LogLevel::Info | LogLevel::Debug => {
            let mut text = format!("warn,libp2p=error,btcfed={level}");
            for name in OUR_CRATES {
                text.push_str(&format!(",btcfed_{name}={level}"));
            }
            text
        }
    };
    if config.trace_messages {
        text.push_str(&format!(",btcfed_{MESSAGES}=debug"));
    }
    if !config.filter.is_empty() {
        text.push(',');
        text.push_str(&config.filter);
    }
    EnvFilter::new(text)
}

/// Text on a terminal, JSON otherwise, unless one is asked for.
fn wants_json(config: &LoggingConfig) -> bool {
    match config.format {
        LogFormat::Auto => config.file.is_some() || !io::stderr().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Text => false,
    }
}

fn wants_color(config: &LoggingConfig) -> bool {
    match config.color {
        LogColor::Always => true,
        LogColor::Auto => {
            io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        }
        LogColor::Never => false,
    }
}

/// Writes each event in whichever format is in force.
struct Switch {
    look: Arc<Look>,
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
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.look.json.load(Ordering::Relaxed) {
            self.object.format_event(ctx, writer, event)
        } else if self.look.color.load(Ordering::Relaxed) {
            self.text.format_event(ctx, writer, event)
        } else {
            self.text.format_event(ctx, Writer::new(&mut writer), event)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(level: LogLevel) -> LoggingConfig {
        let mut config = LoggingConfig::default();
        config.level = level;
        config
    }

    #[test]
    fn every_level_is_a_valid_filter_that_keeps_libraries_quiet() {
        for level in LogLevel::ALL {
            let text = filter(&with(level)).to_string();
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
    fn messages_are_told_at_every_level_when_that_is_asked_for() {
        for level in LogLevel::ALL {
            let mut config = with(level);
            let tells = |config: &LoggingConfig| {
                let text = filter(config).to_string();
                text.split(',')
                    .any(|part| part == "btcfed_network::messages=debug")
            };
            assert!(!tells(&config));
            config.trace_messages = true;
            assert!(tells(&config), "{level:?}");
        }
    }

    #[test]
    fn parts_that_are_named_go_before_the_level() {
        let mut config = with(LogLevel::Info);
        config.filter = "btcfed_network=trace,libp2p=off".to_owned();
        let text = filter(&config).to_string();
        let parts: Vec<_> = text.split(',').collect();
        for part in ["btcfed_network=trace", "libp2p=off", "btcfed_core=info"] {
            assert!(parts.contains(&part), "{part} in {text}");
        }
        assert!(!text.contains("btcfed_network=info"), "{text}");
    }

    #[test]
    fn an_explicit_format_wins_over_the_terminal_and_a_file_is_no_terminal() {
        let mut config = LoggingConfig::default();
        config.file = Some("btcfed.log".into());
        assert!(wants_json(&config));
        config.format = LogFormat::Text;
        assert!(!wants_json(&config));
        config.format = LogFormat::Json;
        config.file = None;
        assert!(wants_json(&config));
    }
}
