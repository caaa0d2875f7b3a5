//! A log level for a while: the one of the configuration comes back by itself.

use std::sync::PoisonError;
use std::time::Duration;

use btcfed_core::config::{LogLevel, LoggingConfig};
use btcfed_core::time::Timestamp;
use tokio::task::AbortHandle;
use tracing_subscriber::EnvFilter;

use super::{Logging, filter};

/// Longest filter that is taken, in bytes.
pub const MAX_FILTER_BYTES: usize = 1024;

/// Longest time for which a level other than the configured one holds.
pub const MAX_TEMPORARY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is logged.
#[derive(Debug)]
pub(super) struct Levels {
    configured: LoggingConfig,
    temporary: Option<(String, Timestamp)>,
    /// Counts changes, so that a return that comes late returns nothing.
    turn: u64,
    /// Waits to bring the configured level back. There is at most one.
    waits: Option<AbortHandle>,
}

/// What is logged, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// The level of the configuration, followed by the levels of single parts.
    pub configured: String,
    /// What holds instead, and until when.
    pub temporary: Option<(String, Timestamp)>,
}

/// A filter was refused. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LevelError {
    /// It is no level and no list of directives.
    #[error("not a log filter: {0}")]
    BadFilter(String),
    /// It is too long, in text or in time.
    #[error("at most {MAX_FILTER_BYTES} bytes of filter, and at most 24h, are taken")]
    TooLong,
}

impl Levels {
    pub(super) const fn new(configured: LoggingConfig) -> Self {
        Self {
            configured,
            temporary: None,
            turn: 0,
            waits: None,
        }
    }

    /// The level of the configuration holds, a new one or the old one.
    pub(super) fn configure(&mut self, config: LoggingConfig) {
        self.configured = config;
        self.temporary = None;
        self.next_turn();
    }

    fn next_turn(&mut self) -> u64 {
        if let Some(waits) = self.waits.take() {
            waits.abort();
        }
        self.turn += 1;
        self.turn
    }

    fn configured_text(&self) -> String {
        let (level, parts) = (self.configured.level.as_str(), &self.configured.filter);
        if parts.is_empty() {
            level.to_owned()
        } else {
            format!("{level},{parts}")
        }
    }
}

impl Logging {
    /// What is logged.
    #[must_use]
    pub fn state(&self) -> LogState {
        let levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        LogState {
            configured: levels.configured_text(),
            temporary: levels.temporary.clone(),
        }
    }

    /// Logs by `wanted`, a level or a list of directives, until `lasting` after `now`; then, or with the next reload, the
    /// level of the configuration holds again. To be called in a runtime.
    ///
    /// # Errors
    /// The filter or the time is refused. Nothing changed.
    pub fn use_for(
        &self,
        wanted: &str,
        lasting: Duration,
        now: Timestamp,
    ) -> Result<(), LevelError> {
        let parsed = allowed(wanted, lasting)?;
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        levels.temporary = Some((wanted.to_owned(), now.saturating_add(lasting)));
        let turn = levels.next_turn();
        self.use_filter(parsed);
        let logging = self.clone();
        let waits = tokio::spawn(async move {
            tokio::time::sleep(lasting).await;
            logging.come_back(Some(turn));
        });
        levels.waits = Some(waits.abort_handle());
        drop(levels);
        let filter = wanted.escape_debug().to_string();
        tracing::info!(filter, ?lasting, "log level changed for a while");
        Ok(())
    }

    /// Logs by the configuration again.
    pub fn use_configured(&self) {
        self.come_back(None);
    }

    fn come_back(&self, turn: Option<u64>) {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        if levels.temporary.is_none() || turn.is_some_and(|turn| turn != levels.turn) {
            return;
        }
        let config = levels.configured.clone();
        self.use_filter(filter(&config));
        levels.configure(config);
        let level = levels.configured_text();
        drop(levels);
        tracing::info!(level, "log level of the configuration again");
    }
}

fn allowed(wanted: &str, lasting: Duration) -> Result<EnvFilter, LevelError> {
    if wanted.len() > MAX_FILTER_BYTES || lasting > MAX_TEMPORARY {
        return Err(LevelError::TooLong);
    }
    parse(wanted)
}

/// A level means what it means in the configuration.
fn parse(wanted: &str) -> Result<EnvFilter, LevelError> {
    let is_level = |level: &LogLevel| level.as_str() == wanted;
    if let Some(level) = LogLevel::ALL.into_iter().find(is_level) {
        let mut config = LoggingConfig::default();
        config.level = level;
        return Ok(filter(&config));
    }
    let bad = |reason: String| LevelError::BadFilter(reason.escape_debug().to_string());
    if wanted.trim().is_empty() {
        return Err(bad("it is empty".to_owned()));
    }
    // A bare word is taken for the name of a target by the library; people mean a level, and mistyped it.
    if !wanted.contains(['=', ',', '[']) {
        return Err(bad(format!("{wanted} is no level")));
    }
    EnvFilter::builder()
        .parse(wanted)
        .map_err(|error| bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_taken_and_mistakes_are_told() {
        for good in ["debug", "trace", "info,btcfed_network=trace", "btcfed=off"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["", " ", "debgu", "btcfed=louder", "a=b=c=d", "[{"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_filter_and_a_time_may_be_as_long_as_is_said_and_no_longer() {
        let longest = format!("{:,<MAX_FILTER_BYTES$}", "btcfed=info,");
        assert_eq!(longest.len(), MAX_FILTER_BYTES);
        assert!(allowed(&longest, MAX_TEMPORARY).is_ok());
        let too_long = format!("{longest},");
        let too_late = MAX_TEMPORARY + Duration::from_millis(1);
        for refused in [allowed(&too_long, MAX_TEMPORARY), allowed("info", too_late)] {
            assert_eq!(refused.err(), Some(LevelError::TooLong));
        }
    }

    #[test]
    fn the_configuration_ends_what_holds_for_a_while() {
        let mut config = LoggingConfig::default();
        let mut levels = Levels::new(config.clone());
        levels.temporary = Some(("debug".to_owned(), Timestamp::from_secs(1)));
        config.level = LogLevel::Warn;
        config.filter = "btcfed_network=debug".to_owned();
        levels.configure(config);
        assert_eq!(levels.configured_text(), "warn,btcfed_network=debug");
        assert_eq!(levels.temporary, None);
    }
}
