//! What may stand behind a key: its kind, its range, and where the value goes.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use btcfed_core::config::format_duration;
use btcfed_core::{AddrWithId, PeerAddr};

use crate::draft::Draft;

/// The kind and range of a value, and the field it sets.
#[derive(Clone, Copy)]
pub(crate) enum Rule {
    /// Addresses others are told.
    Announce(fn(&mut Draft, Vec<PeerAddr>)),
    /// Addresses to dial, with or without a peer id.
    Bootstrap(fn(&mut Draft, Vec<AddrWithId>)),
    /// One of these words; the setter gets its index.
    Choice(&'static [&'static str], fn(&mut Draft, usize)),
    /// A whole number.
    Count {
        min: u16,
        max: u16,
        set: fn(&mut Draft, u16),
    },
    /// A duration, its range in milliseconds.
    Duration {
        min: u64,
        max: u64,
        set: fn(&mut Draft, Duration),
    },
    /// `true` or `false`.
    Flag(fn(&mut Draft, bool)),
    /// A number.
    Fraction {
        min: f64,
        max: f64,
        set: fn(&mut Draft, f64),
    },
    /// Addresses to listen on.
    Listen(fn(&mut Draft, Vec<PeerAddr>)),
    /// Levels of single parts of the program, at most so many bytes.
    LogFilter(usize, fn(&mut Draft, String)),
    /// Permission bits of a file.
    Mode(fn(&mut Draft, u32)),
    /// A file, or none.
    OptionalPath(fn(&mut Draft, Option<PathBuf>)),
    /// Patterns for the version texts of peers.
    Patterns(fn(&mut Draft, Vec<String>)),
    /// A file.
    Path(fn(&mut Draft, PathBuf)),
    /// A private key.
    Secret,
    /// An IP address and a port, or nothing.
    Socket(fn(&mut Draft, Option<SocketAddr>)),
    /// One line of text, at most so many bytes.
    Text(usize, fn(&mut Draft, String)),
    /// The version of the file's form.
    Version,
}

/// What kind of value stands behind a key, for programs.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number in this range.
    Count {
        /// The least.
        min: u16,
        /// The most.
        max: u16,
    },
    /// A duration such as `30s`.
    Duration,
    /// `true` or `false`.
    Flag,
    /// A number in this range.
    Fraction {
        /// The least.
        min: f64,
        /// The most.
        max: f64,
    },
    /// A list of at most so many addresses.
    List {
        /// The most entries.
        max: usize,
    },
    /// A text of at most so many bytes, where there is a bound.
    Text {
        /// The most bytes.
        max: Option<usize>,
    },
    /// The number of the file's form.
    Version,
}

impl Rule {
    /// The kind of value, for programs.
    pub(crate) const fn kind(&self) -> Kind {
        match *self {
            Self::Announce(_) => Kind::List {
                max: crate::value::MAX_ANNOUNCE,
            },
            Self::Bootstrap(_) => Kind::List {
                max: crate::value::MAX_BOOTSTRAP,
            },
            Self::Choice(words, _) => Kind::Choice(words),
            Self::Count { min, max, .. } => Kind::Count { min, max },
            Self::Duration { .. } => Kind::Duration,
            Self::Flag(_) => Kind::Flag,
            Self::Fraction { min, max, .. } => Kind::Fraction { min, max },
            Self::Listen(_) => Kind::List {
                max: crate::value::MAX_LISTEN,
            },
            Self::Mode(_)
            | Self::OptionalPath(_)
            | Self::Path(_)
            | Self::Secret
            | Self::Socket(_) => Kind::Text { max: None },
            Self::Patterns(_) => Kind::List {
                max: crate::value::MAX_PATTERNS,
            },
            Self::LogFilter(max, _) | Self::Text(max, _) => Kind::Text { max: Some(max) },
            Self::Version => Kind::Version,
        }
    }

    /// What may be written, for people.
    pub(crate) fn range(&self) -> String {
        match self {
            Self::Announce(_) => {
                format!("list of at most {} addresses", crate::value::MAX_ANNOUNCE)
            }
            Self::Bootstrap(_) => {
                format!(
                    "list of at most {} addresses, with or without /p2p/ID",
                    crate::value::MAX_BOOTSTRAP
                )
            }
            Self::Choice(words, _) => words.join(", "),
            Self::Count { min, max, .. } => format!("{min} to {max}"),
            Self::Duration { min, max, .. } => format!("{} to {}", show(*min), show(*max)),
            Self::Flag(_) => "true, false".to_owned(),
            Self::Fraction { min, max, .. } => format!("{min} to {max}"),
            Self::Listen(_) => format!("list of at most {} IP addresses", crate::value::MAX_LISTEN),
            Self::Mode(_) => "0600 to 0777, owner read and write included".to_owned(),
            Self::LogFilter(..) => "PART=LEVEL,PART=LEVEL, or empty".to_owned(),
            Self::OptionalPath(_) => "a file name, or empty".to_owned(),
            Self::Patterns(_) => format!(
                "list of at most {} patterns of at most {} bytes",
                crate::value::MAX_PATTERNS,
                btcfed_core::limits::MAX_AGENT_BYTES
            ),
            Self::Path(_) => "a file name".to_owned(),
            Self::Secret => "base64, or empty".to_owned(),
            Self::Socket(_) => "an IP address with a port, or empty".to_owned(),
            Self::Text(max, _) => format!("one line, at most {max} bytes"),
            Self::Version => "1".to_owned(),
        }
    }

    /// True when the value is a list.
    pub(crate) const fn is_list(&self) -> bool {
        matches!(
            self,
            Self::Announce(_) | Self::Bootstrap(_) | Self::Listen(_) | Self::Patterns(_)
        )
    }

    /// True when the default is written in quotes.
    pub(crate) const fn is_quoted(&self) -> bool {
        matches!(
            self,
            Self::LogFilter(..)
                | Self::Mode(_)
                | Self::OptionalPath(_)
                | Self::Secret
                | Self::Socket(_)
                | Self::Text(..)
        )
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.range())
    }
}

/// Milliseconds in the spelling of the file.
pub(crate) fn show(millis: u64) -> String {
    format_duration(Duration::from_millis(millis))
}
