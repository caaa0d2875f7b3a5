//! The four kinds of error every component sorts its failures into.
//!
//! A kind answers one question: *what should happen now?* The orchestrator is the one place that maps kinds to
//! reactions; everybody else only reports them.

use std::fmt;

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An operator must act: refuse to start, or keep the old configuration on reload.
    Config,
    /// The process cannot continue safely: save what can be saved and exit non-zero.
    Fatal,
    /// The remote peer is at fault: score, throttle or ban it. Never logged at error level.
    Peer,
    /// May work later: retry with capped exponential back-off, then degrade.
    Transient,
}

impl ErrorKind {
    /// The stable lower-case name used in logs and in `--json` output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Fatal => "fatal",
            Self::Peer => "peer",
            Self::Transient => "transient",
        }
    }

    /// True when trying the same operation again later may succeed without anybody acting.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Transient)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text did not parse as a key, an id or an address. Nothing changed anywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{what}: {reason}")]
pub struct ParseError {
    /// What was being parsed: `public key`, `peer id`, `address`, `private key`, ...
    pub what: &'static str,
    /// Why it was refused, in words an operator understands. Never contains a secret.
    pub reason: String,
}

impl ParseError {
    /// A refusal of `what` because of `reason`.
    pub fn new(what: &'static str, reason: impl Into<String>) -> Self {
        Self {
            what,
            reason: reason.into(),
        }
    }
}
