//! What a store needs to know before it opens.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use btcfed_core::config::StorageConfig;
use btcfed_core::metrics::{Metrics, NoMetrics};
use btcfed_core::store::StoreError;
use btcfed_core::time::Clock;

use crate::clock::SystemClock;
use crate::disk::{Disk, OsDisk};
use crate::migration::Migration;

/// What can be changed while a store is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tuning {
    pub(crate) lock_timeout: Duration,
    pub(crate) watch: bool,
    pub(crate) debounce: Duration,
    pub(crate) flush_interval: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            lock_timeout: Duration::from_secs(5),
            watch: true,
            debounce: Duration::from_millis(250),
            flush_interval: Duration::from_secs(1),
        }
    }
}

impl Tuning {
    /// This, with whatever differs between an `old` configuration and a `new` one. What a configuration does not change
    /// stays as the options have it.
    pub(crate) fn follow(mut self, old: &Self, new: &Self) -> Self {
        fn take<T: Copy + PartialEq>(value: &mut T, old: T, new: T) {
            if old != new {
                *value = new;
            }
        }
        take(&mut self.lock_timeout, old.lock_timeout, new.lock_timeout);
        take(&mut self.watch, old.watch, new.watch);
        take(&mut self.debounce, old.debounce, new.debounce);
        take(
            &mut self.flush_interval,
            old.flush_interval,
            new.flush_interval,
        );
        self
    }

    pub(crate) const fn of(config: &StorageConfig) -> Self {
        Self {
            lock_timeout: config.lock_timeout,
            watch: config.watch,
            debounce: config.debounce,
            flush_interval: config.flush_interval,
        }
    }
}

/// Name of the directory below the user's state directory, and of the file in it.
const DEFAULT_PLACE: [&str; 2] = ["btcfed", "peers.yaml"];

/// How a store works. Made by [`StoreOptions::new`], changed by the `with_` methods.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    pub(crate) path: PathBuf,
    pub(crate) tuning: Tuning,
    /// What the configuration says that the next one is compared with.
    pub(crate) configured: Tuning,
    pub(crate) backups: bool,
    pub(crate) journal: bool,
    pub(crate) soft_interval: Duration,
    pub(crate) retry_after: Duration,
    pub(crate) max_file_bytes: u64,
    pub(crate) migrations: Vec<Migration>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<dyn Metrics>,
    pub(crate) disk: Arc<dyn Disk>,
}

impl StoreOptions {
    /// The usual behaviour for the peers file at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            tuning: Tuning::default(),
            configured: Tuning::default(),
            backups: true,
            journal: true,
            soft_interval: Duration::from_secs(60),
            retry_after: Duration::from_millis(200),
            max_file_bytes: 64 * 1024 * 1024,
            migrations: Vec::new(),
            clock: Arc::new(SystemClock),
            metrics: Arc::new(NoMetrics),
            disk: Arc::new(OsDisk),
        }
    }

    /// The peers file in the user's own directory: `$XDG_STATE_HOME/btcfed/peers.yaml`, else
    /// `~/.local/state/btcfed/peers.yaml`.
    ///
    /// # Errors
    /// Neither `XDG_STATE_HOME` nor `HOME` is an absolute path.
    pub fn in_user_directory() -> Result<Self, StoreError> {
        let path = default_path(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME"));
        path.map(Self::new).ok_or_else(|| StoreError::Io {
            operation: "find",
            path: "~/.local/state".to_owned(),
            reason: "neither XDG_STATE_HOME nor HOME is an absolute path".to_owned(),
        })
    }

    /// As `storage.*` of a configuration says. A reload changes what differs between two configurations; what is set by
    /// the other methods stays until a configuration changes that key.
    #[must_use]
    pub const fn with_config(mut self, config: &StorageConfig) -> Self {
        self.tuning = Tuning::of(config);
        self.configured = self.tuning;
        self.journal = config.journal;
        self
    }

    /// How long to wait for the lock before giving up for now. Default 5 s.
    #[must_use]
    pub const fn with_lock_timeout(mut self, timeout: Duration) -> Self {
        self.tuning.lock_timeout = timeout;
        self
    }

    /// Whether copies of the file are kept beside it: what it was when it was last saved, which makes edits and deletions
    /// made while no store is open known as such and brings back what is damaged, and a few older ones. Default true.
    #[must_use]
    pub const fn with_backups(mut self, backups: bool) -> Self {
        self.backups = backups;
        self
    }

    /// Whether hard changes are appended to a journal beside the file, which is much faster than writing the file; the file
    /// follows within the flush interval, or later where writing it takes more than a hundredth of the time. Default true.
    /// Without it the file is all there is, and every hard change writes it. What a journal holds is read in either case.
    #[must_use]
    pub const fn with_journal(mut self, journal: bool) -> Self {
        self.journal = journal;
        self
    }

    /// Whether edits made while the store is open are noticed on their own. Default true. Without it, edits are still
    /// taken in by `reload` and before every save.
    #[must_use]
    pub const fn with_watch(mut self, watch: bool) -> Self {
        self.tuning.watch = watch;
        self
    }

    /// How long the file must be quiet before an edit is read. Default 250 ms.
    #[must_use]
    pub const fn with_debounce(mut self, debounce: Duration) -> Self {
        self.tuning.debounce = debounce;
        self
    }

    /// How long the file may say less than the journal, and how long a hard change that nobody waits for, such as a mark
    /// left by an adopted edit, may wait before the file is rewritten. Default 1 s. Changes that somebody waits for are on
    /// disk at once.
    #[must_use]
    pub const fn with_flush_interval(mut self, interval: Duration) -> Self {
        self.tuning.flush_interval = interval;
        self
    }

    /// How long soft changes (counters, last seen) may wait before the file is rewritten. Default 60 s.
    #[must_use]
    pub const fn with_soft_interval(mut self, interval: Duration) -> Self {
        self.soft_interval = interval;
        self
    }

    /// How long to wait before a failed save is tried again; doubles with every failure up to 30 s. Default 200 ms.
    #[must_use]
    pub const fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = wait;
        self
    }

    /// The largest file that is read. A larger one is neither read nor overwritten. Default 64 MiB.
    #[must_use]
    pub const fn with_max_file_bytes(mut self, bytes: u64) -> Self {
        self.max_file_bytes = bytes;
        self
    }

    /// A step from an older version of the file to the next (see [`Migration`]). A file of such a version is converted when it is
    /// read; what it was is kept as `peers.yaml.before` first, and it is written in the new version with the next save.
    #[must_use]
    pub fn with_migration(mut self, step: Migration) -> Self {
        self.migrations.push(step);
        self
    }

    /// Where time comes from. Default [`SystemClock`]. Only what is recorded depends on it, never how long is waited.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Who is told what the store counts and times. Default nobody. Counters: `peer_store_loads`, `peer_store_saves`,
    /// `peer_store_saved_bytes`, `peer_store_save_failures`, `peer_store_adopted_changes` (differences taken over from the
    /// file) and `peer_store_skipped_entries` (of the last file read); times: `peer_store_load` and `peer_store_save`.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Arc<dyn Metrics>) -> Self {
        self.metrics = metrics;
        self
    }

    /// What carries out disk operations. Default [`OsDisk`].
    #[must_use]
    pub fn with_disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }

    /// The peers file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn default_path(
    state: Option<std::ffi::OsString>,
    home: Option<std::ffi::OsString>,
) -> Option<PathBuf> {
    let absolute = |value: Option<std::ffi::OsString>| {
        value.map(PathBuf::from).filter(|path| path.is_absolute())
    };
    let base =
        absolute(state).or_else(|| absolute(home).map(|home| home.join(".local").join("state")))?;
    Some(
        DEFAULT_PLACE
            .iter()
            .fold(base, |path, part| path.join(part)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_place_follows_the_environment_and_ignores_relative_paths() {
        let path = |state: &str, home: &str| default_path(Some(state.into()), Some(home.into()));
        assert_eq!(path("/s", "/h"), Some("/s/btcfed/peers.yaml".into()));
        assert_eq!(
            path("s", "/h"),
            Some("/h/.local/state/btcfed/peers.yaml".into())
        );
        assert_eq!(path("", ""), None);
        assert_eq!(default_path(None, None), None);
    }
}
