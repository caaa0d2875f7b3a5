//! Why records are refused.

use crate::addr::PeerAddr;
use crate::error::{ErrorKind, ParseError};
use crate::key::PeerKey;
use crate::limits;

/// Why a record was refused. Nothing changed anywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The sender passed on a record whose signature is not its owner's.
    #[error("the signature of the record of {key} is wrong")]
    BadSignature {
        /// The key that did not sign it.
        key: PeerKey,
    },
    /// The signer speaks for another identity than its own.
    #[error("the record signed by {signer} names another peer")]
    ForeignPeerId {
        /// The key in the envelope.
        signer: PeerKey,
    },
    /// The bytes are no envelope with a peer record.
    #[error("not a signed peer record: {reason}")]
    Malformed {
        /// What is wrong with them.
        reason: String,
    },
    /// Our own node tried to announce an address that nobody can dial.
    #[error("cannot announce {addr}: nobody can dial it")]
    OwnAddressNotDialable {
        /// The address.
        addr: PeerAddr,
    },
    /// Our own node tried to announce more than a record holds.
    #[error(
        "cannot announce {addresses} addresses in {bytes} bytes: a record holds {} in {}",
        limits::MAX_RECORD_ADDRESSES,
        limits::MAX_RECORD_BYTES
    )]
    OwnRecordTooLarge {
        /// How many addresses.
        addresses: usize,
        /// How large the envelope would be; 0 when it was not built.
        bytes: usize,
    },
    /// The envelope is larger than [`limits::MAX_RECORD_BYTES`].
    #[error(
        "a signed record of {bytes} bytes is too large, at most {}",
        limits::MAX_RECORD_BYTES
    )]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The payload lists more than [`limits::MAX_RECORD_ADDRESSES`] addresses.
    #[error(
        "a signed record with {count} addresses, at most {}",
        limits::MAX_RECORD_ADDRESSES
    )]
    TooManyAddresses {
        /// How many.
        count: usize,
    },
    /// The signer's key is weak or of another kind.
    #[error("signed with an unsupported key: {0}")]
    UnsupportedKey(ParseError),
    /// The envelope carries something else than a peer record, or libp2p's old form of one.
    #[error("the envelope does not carry a peer record of type 0x0301")]
    WrongPayloadType,
}

impl RecordError {
    /// Who has to act: the operator for our own record, nobody but the peer for all others.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::OwnAddressNotDialable { .. } | Self::OwnRecordTooLarge { .. } => {
                ErrorKind::Config
            }
            Self::BadSignature { .. }
            | Self::ForeignPeerId { .. }
            | Self::Malformed { .. }
            | Self::TooLarge { .. }
            | Self::TooManyAddresses { .. }
            | Self::UnsupportedKey(_)
            | Self::WrongPayloadType => ErrorKind::Peer,
        }
    }

    /// False: the same bytes are refused every time.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        self.kind().is_retryable()
    }

    /// True when the bytes prove that whoever sent them did not check what it must check before passing a record on.
    /// The rest may come from software of another version.
    #[must_use]
    pub const fn is_ban_worthy(&self) -> bool {
        matches!(self, Self::BadSignature { .. } | Self::ForeignPeerId { .. })
    }
}
