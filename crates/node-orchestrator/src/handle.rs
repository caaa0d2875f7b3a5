//! How the rest of the program talks to a running node.

use std::sync::Arc;

use btcfed_core::key::PeerId;
use btcfed_core::store::PeerStore;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::event::NodeEvent;
use crate::reload::{ReloadError, ReloadReport};
use crate::status::NodeStatus;

/// Events kept for a slow subscriber; one that lags further misses the oldest.
pub const NODE_EVENT_QUEUE: usize = 1024;

/// What can be asked of a node.
#[derive(Debug)]
pub(crate) enum Control {
    Reload(oneshot::Sender<Result<ReloadReport, ReloadError>>),
    Shutdown,
    Status(oneshot::Sender<NodeStatus>),
}

/// The node has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has stopped")]
pub struct Stopped;

/// A cheap handle to a node. Dropping every handle does not stop the node; [`NodeHandle::shutdown`] does.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    pub(crate) control: mpsc::Sender<Control>,
    pub(crate) events: broadcast::Sender<NodeEvent>,
    pub(crate) peer_id: PeerId,
    pub(crate) store: Arc<dyn PeerStore>,
}

impl NodeHandle {
    /// The node's identity.
    #[must_use]
    pub const fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// The node's store. What is applied to it takes effect in the node at once: added peers are dialled, banned ones
    /// are disconnected.
    #[must_use]
    pub const fn store(&self) -> &Arc<dyn PeerStore> {
        &self.store
    }

    /// A consistent picture of the node. Cancellation safe.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn status(&self) -> Result<NodeStatus, Stopped> {
        let (answer, wait) = oneshot::channel();
        self.control
            .send(Control::Status(answer))
            .await
            .map_err(|_| Stopped)?;
        wait.await.map_err(|_| Stopped)
    }

    /// Loads the configuration and the peers again, as one transaction, and waits for the outcome. Reloads that wait are
    /// merged into one. A dropped future does not cancel a reload that has begun.
    ///
    /// # Errors
    /// Nothing changed: the configuration is bad, a component refused it, or the node has stopped.
    pub async fn reload(&self) -> Result<ReloadReport, ReloadError> {
        let (answer, wait) = oneshot::channel();
        self.control
            .send(Control::Reload(answer))
            .await
            .map_err(|_| ReloadError::Stopped)?;
        wait.await.map_err(|_| ReloadError::Stopped)?
    }

    /// Asks the node to stop. Returns at once; [`crate::Node::run`] returns when everything is saved. Idempotent.
    pub async fn shutdown(&self) {
        if self.control.send(Control::Shutdown).await.is_err() {
            tracing::debug!("the node has stopped already");
        }
    }

    /// Subscribes to what happens from now on: at most [`NODE_EVENT_QUEUE`] events wait for a slow subscriber.
    #[must_use]
    pub fn subscribe(&self) -> NodeEvents {
        NodeEvents(self.events.subscribe())
    }
}

/// A subscription to a node's events.
#[derive(Debug)]
pub struct NodeEvents(broadcast::Receiver<NodeEvent>);

impl NodeEvents {
    /// Waits for the next event; `None` when the node is gone. Events this subscriber was too slow for are skipped.
    /// Cancellation safe: a dropped future loses nothing.
    pub async fn next(&mut self) -> Option<NodeEvent> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Closed) => return None,
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "a subscriber to node events was too slow");
                }
            }
        }
    }
}
