//! Why connections fail: one own error type carried through libp2p's transports, so that its class survives.

use std::error::Error;
use std::io;

use btcfed_core::network::DialError;
use libp2p::TransportError;

use crate::limits::MAX_ERROR_TEXT_BYTES;

/// What went wrong below libp2p's swarm. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// This node gave it up.
    #[error("aborted")]
    Aborted,
    /// A ban forbids the address a name resolved to.
    #[error("the address is banned")]
    Banned,
    /// The name did not resolve.
    #[error("{0}")]
    Dns(String),
    /// The remote failed at Noise or Yamux.
    #[error("{0}")]
    Handshake(String),
    /// We reached ourselves.
    #[error("this address is our own")]
    Own,
    /// The operating system said no.
    #[error("{0}")]
    Tcp(io::Error),
    /// Not done in time.
    #[error("timed out")]
    Timeout,
    /// Not an address that can be dialled or listened on.
    #[error("address not supported")]
    Unsupported,
    /// Somebody else answered.
    #[error("a different peer answered: {0}")]
    WrongPeer(String),
}

impl Failure {
    /// The same in the words of the contract.
    pub(crate) fn to_dial_error(&self) -> DialError {
        match self {
            Self::Aborted => DialError::Aborted,
            Self::Banned => DialError::Denied {
                reason: self.to_string(),
            },
            Self::Dns(reason) => DialError::Dns {
                reason: reason.clone(),
            },
            Self::Handshake(reason) => DialError::Handshake {
                reason: reason.clone(),
            },
            Self::Own => DialError::Own,
            Self::Tcp(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => DialError::Refused,
                io::ErrorKind::TimedOut => DialError::Timeout,
                _ => DialError::Io {
                    reason: error.to_string(),
                },
            },
            Self::Timeout => DialError::Timeout,
            Self::Unsupported => DialError::Undialable,
            Self::WrongPeer(obtained) => DialError::WrongPeer {
                obtained: obtained.clone(),
            },
        }
    }

    /// How much this failure says about the address. Of several, the one that came furthest is told.
    pub(crate) const fn rank(&self) -> u8 {
        match self {
            Self::Unsupported => 0,
            Self::Dns(_) => 1,
            Self::Timeout => 2,
            Self::Tcp(_) => 3,
            Self::Banned => 4,
            Self::Handshake(_) => 5,
            Self::Own | Self::WrongPeer(_) => 6,
            Self::Aborted => 7,
        }
    }
}

/// What a transport error means for the one address it belongs to.
pub(crate) fn classify(error: &TransportError<io::Error>) -> DialError {
    match error {
        TransportError::MultiaddrNotSupported(_) => DialError::Undialable,
        TransportError::Other(error) => match failure(error) {
            Some(failure) => failure.to_dial_error(),
            None => DialError::Io {
                reason: cut(&error.to_string(), MAX_ERROR_TEXT_BYTES).to_owned(),
            },
        },
    }
}

/// Finds our own error inside the one libp2p hands out.
pub(crate) fn failure(error: &io::Error) -> Option<&Failure> {
    error.get_ref()?.downcast_ref()
}

/// An error with its causes in one line, repetitions dropped, cut.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    cut(&text, MAX_ERROR_TEXT_BYTES).to_owned()
}

/// At most `max` bytes of `text`, never half a character.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_a_character_boundary() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abc", 2), "ab");
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("é", 0), "");
    }

    #[test]
    fn the_class_of_an_operating_system_error_survives_the_wrapping() {
        let wrap = |kind: io::ErrorKind| {
            TransportError::Other(io::Error::other(Failure::Tcp(kind.into())))
        };
        assert_eq!(
            classify(&wrap(io::ErrorKind::ConnectionRefused)),
            DialError::Refused
        );
        assert_eq!(classify(&wrap(io::ErrorKind::TimedOut)), DialError::Timeout);
        assert!(matches!(
            classify(&wrap(io::ErrorKind::NetworkUnreachable)),
            DialError::Io { .. }
        ));
    }

    #[test]
    fn foreign_errors_are_told_in_their_own_words_cut() {
        let DialError::Io { reason } =
            classify(&TransportError::Other(io::Error::other("x".repeat(1000))))
        else {
            panic!("not an I/O error");
        };
        assert_eq!(reason.len(), MAX_ERROR_TEXT_BYTES);
    }
}
