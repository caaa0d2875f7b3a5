//! How a [`PeerSet`](crate::PeerSet) changes: a patch is a list of operations that applies as a whole or not at all.

use std::time::Duration;

use crate::addr::PeerAddr;
use crate::ban::{Ban, BanTarget, Issuer};
use crate::error::ErrorKind;
use crate::key::{PeerId, PeerKey};
use crate::peer::PeerRecord;
use crate::record::SignedRecord;

/// One operation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PeerOp {
    /// Refuse somebody. Replaces an earlier ban of the same target.
    Ban(Ban),
    /// A connection attempt failed. Never changes a banned peer's status; does nothing for an unknown peer.
    ContactFailed {
        /// Who was to be reached.
        key: PeerKey,
        /// Where, for every address that was tried.
        addrs: Vec<PeerAddr>,
    },
    /// The peer proved its key. Does nothing for an unknown peer.
    ContactSucceeded {
        /// Who.
        key: PeerKey,
        /// Where, when this node dialled; `None` for inbound connections, whose port means nothing.
        addr: Option<PeerAddr>,
    },
    /// Add a peer. Fails when it exists. Lifts an operator's earlier `Remove` when the new source is the operator.
    Create(Box<PeerRecord>),
    /// Take in what a peer signed about itself. Older or equal sequence numbers, forgotten and banned peers are
    /// ignored; of two records with one number the one with the smaller signed bytes stays. A record without addresses means that the peer left.
    Learn(SignedRecord),
    /// A response time was measured. Does nothing for an unknown peer.
    Measured {
        /// Who answered.
        key: PeerKey,
        /// How fast.
        rtt: Duration,
    },
    /// Delete a peer and remember its newest sequence number, so that gossip does not bring it back. Fails when the
    /// peer does not exist.
    Remove {
        /// Whom.
        key: PeerKey,
        /// Who decided it.
        by: Issuer,
    },
    /// Lift a ban. Fails when there is none.
    Unban(BanTarget),
    /// Replace everything known of a peer. Fails when it does not exist.
    Update(Box<PeerRecord>),
}

impl PeerOp {
    /// True for operations whose loss in a crash would be noticed: membership, bans, addresses, edits. The others
    /// (counters, last seen) are coalesced before they are written.
    #[must_use]
    pub const fn is_hard(&self) -> bool {
        !matches!(
            self,
            Self::ContactFailed { .. } | Self::ContactSucceeded { .. } | Self::Measured { .. }
        )
    }
}

/// A list of operations, applied in order, all or nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PeerPatch {
    /// The operations.
    pub ops: Vec<PeerOp>,
}

impl PeerPatch {
    /// A patch of one operation.
    #[must_use]
    pub fn one(op: PeerOp) -> Self {
        Self { ops: vec![op] }
    }

    /// Adds `record`.
    #[must_use]
    pub fn create(record: PeerRecord) -> Self {
        Self::one(PeerOp::Create(Box::new(record)))
    }

    /// True when there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// True when any operation is hard (see [`PeerOp::is_hard`]).
    #[must_use]
    pub fn is_hard(&self) -> bool {
        self.ops.iter().any(PeerOp::is_hard)
    }
}

impl FromIterator<PeerOp> for PeerPatch {
    fn from_iter<I: IntoIterator<Item = PeerOp>>(ops: I) -> Self {
        Self {
            ops: ops.into_iter().collect(),
        }
    }
}

/// What a patch or a reload changed. A hint for subscribers; the snapshot is the truth.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerChange {
    /// A peer is new.
    Added(PeerKey),
    /// Somebody is refused now.
    Banned(BanTarget),
    /// A peer is gone.
    Removed(PeerKey),
    /// Only counters or times of a peer changed.
    Touched(PeerKey),
    /// Somebody is no longer refused.
    Unbanned(BanTarget),
    /// Addresses, names, pins or the signed record of a peer changed.
    Updated(PeerKey),
}

impl PeerChange {
    /// The peer concerned, if it is one.
    #[must_use]
    pub const fn key(&self) -> Option<&PeerKey> {
        match self {
            Self::Added(key) | Self::Removed(key) | Self::Touched(key) | Self::Updated(key) => {
                Some(key)
            }
            Self::Banned(BanTarget::Peer(key)) | Self::Unbanned(BanTarget::Peer(key)) => Some(key),
            Self::Banned(_) | Self::Unbanned(_) => None,
        }
    }
}

/// A patch that cannot be applied. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// `Create` of a peer that exists.
    #[error("peer {0} is already known")]
    Duplicate(PeerId),
    /// The set is full and nothing in it may be evicted.
    #[error("the peer list is full ({limit} {what})")]
    Full {
        /// `peers`, `bans` or `forgotten peers`.
        what: &'static str,
        /// The bound that was reached.
        limit: usize,
    },
    /// A field holds what it must not.
    #[error("{field} of peer {peer} {reason}")]
    BadText {
        /// Whose.
        peer: PeerId,
        /// `name`, `note`.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A field exceeds its bound.
    #[error("{field} of peer {peer} is {len} bytes long; at most {limit} are allowed")]
    TooLong {
        /// Whose.
        peer: PeerId,
        /// `name`, `note`, ...
        field: &'static str,
        /// Its length.
        len: usize,
        /// The bound.
        limit: usize,
    },
    /// The peer is not known.
    #[error("peer {0} is not known")]
    UnknownPeer(PeerId),
    /// `Unban` of somebody who is not banned.
    #[error("no such ban")]
    UnknownBan,
}

impl PatchError {
    /// What to do about it: the caller asked for something impossible.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }
}
