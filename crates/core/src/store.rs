//! The `PeerStore` port, and the CRUD that is written once for every store.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::addr::PeerAddr;
use crate::ban::Issuer;
use crate::error::ErrorKind;
use crate::key::PeerKey;
use crate::patch::{PatchError, PeerChange, PeerOp, PeerPatch};
use crate::peer::{PeerRecord, PeerStatus};
use crate::set::{PeerSet, PeerView};

/// What an [`PeerStore::apply`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What changed.
    pub changes: Vec<PeerChange>,
    /// True when every hard change of the patch is on disk. A sick disk gives false: memory keeps the change, and the
    /// store saves it when the disk heals.
    pub durable: bool,
}

/// What a [`PeerStore::reload`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// What changed against memory.
    pub changes: Vec<PeerChange>,
    /// Entries that could not be read and were left alone.
    pub skipped: Vec<SkippedEntry>,
}

/// An entry of the peers file that could not be read. It stays in the file as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedEntry {
    /// 1-based line where the entry, or the bad part of it, starts.
    pub line: usize,
    /// Why.
    pub reason: String,
}

/// How well a store does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreHealth {
    /// Why changes are kept in memory only; `None` when all is well.
    pub degraded: Option<String>,
    /// Counts completed saves. Grows for the life of the file.
    pub generation: u64,
    /// True when nothing waits to be written.
    pub durable: bool,
}

/// What subscribers hear. Hints: whoever lags takes a fresh snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreEvent {
    /// The snapshot changed.
    Changed(Arc<[PeerChange]>),
    /// Saving fails; memory serves. Spoken once per outage.
    Degraded {
        /// Why.
        reason: String,
    },
    /// Saving works again and everything is on disk. Spoken once per outage.
    Healed,
    /// An entry of the file could not be read. Spoken once per entry and content.
    Skipped(SkippedEntry),
}

/// A subscription: a bounded queue of [`crate::limits::STORE_EVENT_QUEUE`] events that drops the oldest when full.
#[derive(Debug)]
pub struct StoreEvents(broadcast::Receiver<StoreEvent>);

/// What comes out of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subscribed {
    /// The store is gone; nothing will come any more.
    Closed,
    /// An event.
    Event(StoreEvent),
    /// This many events were missed: take a fresh snapshot.
    Lagged(u64),
}

impl StoreEvents {
    /// Wraps the receiving end of a store's broadcast channel.
    #[must_use]
    pub const fn new(receiver: broadcast::Receiver<StoreEvent>) -> Self {
        Self(receiver)
    }

    /// Waits for the next event. Cancellation safe: a dropped future loses nothing.
    pub async fn next(&mut self) -> Subscribed {
        match self.0.recv().await {
            Ok(event) => Subscribed::Event(event),
            Err(broadcast::error::RecvError::Closed) => Subscribed::Closed,
            Err(broadcast::error::RecvError::Lagged(missed)) => Subscribed::Lagged(missed),
        }
    }

    /// The next event if one waits. Never blocks.
    pub fn try_next(&mut self) -> Option<Subscribed> {
        match self.0.try_recv() {
            Ok(event) => Some(Subscribed::Event(event)),
            Err(broadcast::error::TryRecvError::Closed) => Some(Subscribed::Closed),
            Err(broadcast::error::TryRecvError::Empty) => None,
            Err(broadcast::error::TryRecvError::Lagged(missed)) => Some(Subscribed::Lagged(missed)),
        }
    }
}

/// Why a store refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Reading or writing failed. Memory keeps everything; the file is the complete old or the complete new version.
    #[error("{operation} {path}: {reason}")]
    Io {
        /// What was done: `read`, `write`, `sync`, `rename`, ...
        operation: &'static str,
        /// To which file.
        path: String,
        /// The operating system's words.
        reason: String,
    },
    /// Somebody else holds the lock. Neither memory nor file changed.
    #[error("{path} is locked{}", holder.as_ref().map(|h| format!(" by {h}")).unwrap_or_default())]
    Locked {
        /// The lock file.
        path: String,
        /// Who holds it, where known.
        holder: Option<String>,
    },
    /// The patch cannot be applied. Neither memory nor file changed.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// The file was written by a newer version and is served read-only. Neither memory nor file changed.
    #[error(
        "{path} has version {found}; this program writes version {supported}: upgrade it, nothing was changed"
    )]
    ReadOnly {
        /// The file.
        path: String,
        /// Its version.
        found: u64,
        /// The newest version this program can write.
        supported: u64,
    },
}

impl StoreError {
    /// What to do about it.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } | Self::Locked { .. } => ErrorKind::Transient,
            Self::Patch(_) | Self::ReadOnly { .. } => ErrorKind::Config,
        }
    }
}

/// Where peers are kept.
#[async_trait]
pub trait PeerStore: Send + Sync + fmt::Debug {
    /// Everything known, at one moment. Never blocks and never fails.
    fn snapshot(&self) -> Arc<PeerSet>;

    /// Applies a patch: all or nothing, visible at once.
    ///
    /// Cancellation: once polled, the patch is applied in memory even if the future is dropped.
    ///
    /// # Errors
    /// The patch cannot be applied; nothing changed. A sick disk is no error: see [`Applied::durable`].
    async fn apply(&self, patch: PeerPatch) -> Result<Applied, StoreError>;

    /// Takes in what changed outside since the last look. Does nothing for stores without an outside.
    ///
    /// # Errors
    /// The outside cannot be read; memory keeps serving, unchanged.
    async fn reload(&self) -> Result<Reloaded, StoreError>;

    /// Writes everything that waits.
    ///
    /// # Errors
    /// It could not be written; memory keeps it and the store keeps trying.
    async fn flush(&self) -> Result<(), StoreError>;

    /// Subscribes to changes from now on.
    fn subscribe(&self) -> StoreEvents;

    /// How well the store does. Never blocks.
    fn health(&self) -> StoreHealth;
}

/// CRUD and queries for every store.
#[async_trait]
pub trait PeerStoreExt: PeerStore {
    /// Adds a peer.
    ///
    /// # Errors
    /// It exists already, exceeds a bound, or the store is full. Nothing changed.
    async fn create(&self, record: PeerRecord) -> Result<Applied, StoreError> {
        self.apply(PeerPatch::create(record)).await
    }

    /// The peer with this key.
    ///
    /// # Errors
    /// It is not known.
    fn read(&self, key: &PeerKey) -> Result<PeerRecord, StoreError> {
        let set = self.snapshot();
        set.get(key)
            .ok_or_else(|| PatchError::UnknownPeer(key.peer_id()).into())
    }

    /// Replaces everything known of a peer.
    ///
    /// # Errors
    /// It is not known, or exceeds a bound. Nothing changed.
    async fn update(&self, record: PeerRecord) -> Result<Applied, StoreError> {
        self.apply(PeerPatch::one(PeerOp::Update(Box::new(record))))
            .await
    }

    /// Removes a peer in the operator's name: gossip does not bring it back.
    ///
    /// # Errors
    /// It is not known. Nothing changed.
    async fn delete(&self, key: &PeerKey) -> Result<Applied, StoreError> {
        self.apply(PeerPatch::one(PeerOp::Remove {
            key: *key,
            by: Issuer::Operator,
        }))
        .await
    }

    /// Adds many peers, all or none.
    ///
    /// # Errors
    /// One of them exists already or exceeds a bound. Nothing changed.
    async fn create_all(&self, records: Vec<PeerRecord>) -> Result<Applied, StoreError> {
        self.apply(
            records
                .into_iter()
                .map(|record| PeerOp::Create(Box::new(record)))
                .collect(),
        )
        .await
    }

    /// Every peer, in the order of their keys.
    fn list_all(&self) -> Vec<PeerRecord> {
        self.snapshot().iter().collect()
    }

    /// At most `limit` peers whose keys come after `after`.
    fn list_page(&self, after: Option<&PeerKey>, limit: usize) -> Vec<PeerRecord> {
        self.snapshot()
            .views_after(after)
            .take(limit)
            .map(PeerView::to_record)
            .collect()
    }

    /// Peers with this status.
    fn find_by_status(&self, status: PeerStatus) -> Vec<PeerRecord> {
        self.snapshot()
            .views()
            .filter(|peer| peer.status() == status)
            .map(PeerView::to_record)
            .collect()
    }

    /// Peers with this address.
    fn find_by_addr(&self, addr: &PeerAddr) -> Vec<PeerRecord> {
        self.snapshot()
            .find_by_addr(addr)
            .map(PeerView::to_record)
            .collect()
    }

    /// How many peers have this status.
    fn count_by_status(&self, status: PeerStatus) -> usize {
        self.snapshot()
            .views()
            .filter(|peer| peer.status() == status)
            .count()
    }

    /// True when the peer is known.
    fn exists(&self, key: &PeerKey) -> bool {
        self.snapshot().contains(key)
    }
}

impl<T: PeerStore + ?Sized> PeerStoreExt for T {}
