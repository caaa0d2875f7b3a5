//! A directory for the time of one command.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::exit::{CliError, Exit};

/// A directory that is removed with everything in it, unless it is to be kept.
#[derive(Debug)]
pub(super) struct TempDir {
    path: PathBuf,
    keep: bool,
}

impl TempDir {
    /// Makes one; `what` becomes part of its name.
    pub(super) fn create(what: &str, keep: bool) -> Result<Self, CliError> {
        use std::os::unix::fs::DirBuilderExt as _;
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("btcfed-{what}-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // Not recursive: somebody else's directory of this name must not be used.
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| {
            let reason = format!("cannot create a temporary directory: {error}");
            CliError::new(Exit::CannotCreate, "fatal", reason).file(path.display())
        })?;
        Ok(Self { path, keep })
    }

    /// Leaves it where it is.
    pub(super) const fn keep(&mut self) {
        self.keep = true;
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "temporary directory not removed");
        }
    }
}
