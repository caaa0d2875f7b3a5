//! What can go wrong with files. Problems with the content of `conf.yaml` are `ConfigError`s of the core.

use std::io;
use std::path::{Path, PathBuf};

use btcfed_core::ErrorKind;

/// No private key. In every case no existing file was changed, and no identity was made up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file is missing and cannot be made: a full or read-only disk, a missing directory. Nothing was left behind.
    #[error("{}: the private key file cannot be made: {source}", path.display())]
    Create {
        /// The key file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something stands there that is no private key. An operator put it there, or a disk lost it.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The key file.
        path: PathBuf,
        /// What is wrong, and what to do. Holds no part of the content.
        reason: String,
    },
    /// This user may not read or make it.
    #[error("{}: {action}: {source}", path.display())]
    Permission {
        /// The key file.
        path: PathBuf,
        /// What was not permitted.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The operating system has no random numbers.
    #[error("no random numbers for a private key: {reason}")]
    Random {
        /// What the system says.
        reason: String,
    },
    /// The file exists and reading it failed.
    #[error("{}: the private key file cannot be read: {source}", path.display())]
    Read {
        /// The key file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl KeyError {
    /// What to do about it.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid { .. } | Self::Permission { .. } => ErrorKind::Config,
            Self::Create { .. } | Self::Random { .. } | Self::Read { .. } => ErrorKind::Fatal,
        }
    }

    pub(crate) fn invalid(path: &Path, reason: impl Into<String>) -> Self {
        Self::Invalid {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn create(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::PermissionDenied {
            return Self::Permission {
                path,
                action: "the private key file cannot be made",
                source,
            };
        }
        Self::Create { path, source }
    }

    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::PermissionDenied {
            return Self::Permission {
                path,
                action: "the private key file cannot be read",
                source,
            };
        }
        Self::Read { path, source }
    }
}

/// A configuration file that could not be written. An older file is unchanged.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", path.display(), if self.already_exists() { "exists already".to_owned() } else { source.to_string() })]
#[non_exhaustive]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl WriteError {
    /// True when a file stands there and may not be replaced.
    #[must_use]
    pub fn already_exists(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }

    /// True when this user may not write there.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }

    /// What to do about it: an operator must act.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }
}
