//! A reload is a transaction: every component prepares, then all commit or none does.

use std::fmt;

use async_trait::async_trait;

use crate::config::NodeConfig;
use crate::error::ErrorKind;

/// A component refused a new configuration. The component is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{component}: {reason}")]
pub struct ReconfigureError {
    /// Which component: `logging`, `store`, `exchange`, `network`.
    pub component: &'static str,
    /// The configuration key at fault, where one is.
    pub key: Option<&'static str>,
    /// What to do about it.
    pub kind: ErrorKind,
    /// Why, in words an operator understands.
    pub reason: String,
}

/// A component that can change its configuration while running.
#[async_trait]
pub trait Reconfigure: Send + Sync + fmt::Debug {
    /// Does everything that can fail (bind, open, parse) for `config`, without any visible effect yet.
    ///
    /// Cancellation: dropping the future before it returns leaves the component unchanged.
    ///
    /// # Errors
    /// The component cannot take this configuration; it is unchanged.
    async fn prepare(&self, config: &NodeConfig) -> Result<Box<dyn Staged>, ReconfigureError>;
}

/// A prepared change. Dropping it rolls the preparation back.
pub trait Staged: Send + fmt::Debug {
    /// Makes the change visible. Cannot fail.
    fn commit(self: Box<Self>);
}

/// A staged change for components that have nothing to undo: commits by running a closure.
pub struct StagedFn<F>(F);

impl<F: FnOnce() + Send> StagedFn<F> {
    /// Runs `commit` on commit; does nothing when dropped.
    pub const fn new(commit: F) -> Self {
        Self(commit)
    }
}

impl<F> fmt::Debug for StagedFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StagedFn")
    }
}

impl<F: FnOnce() + Send> Staged for StagedFn<F> {
    fn commit(self: Box<Self>) {
        (self.0)();
    }
}
