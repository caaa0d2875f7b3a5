//! The two ends the node holds: a handle for commands, a queue of events.

use std::fmt;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use btcfed_core::network::{NetworkCommand, NetworkError, NetworkEvent};
use btcfed_core::reconfigure::ReconfigureError;
use btcfed_core::{ErrorKind, Network, NodeConfig, PeerAddr, PeerId, Reconfigure, Staged};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::listen::SharedAddrs;
use crate::reload::{Prepare, StagedNetwork};
use crate::stats::{Counters, NetworkStats};

/// The way to the network task. Clones are cheap; the task ends when the last one is dropped.
#[derive(Clone)]
pub struct NetworkHandle {
    pub(crate) local: PeerId,
    pub(crate) commands: mpsc::Sender<NetworkCommand>,
    pub(crate) reloads: mpsc::Sender<Prepare>,
    pub(crate) addrs: SharedAddrs,
    pub(crate) counters: Arc<Counters>,
}

impl NetworkHandle {
    /// Counters of what is too frequent or too hostile to be an event.
    #[must_use]
    pub fn stats(&self) -> NetworkStats {
        self.counters.read()
    }
}

impl fmt::Debug for NetworkHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkHandle")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

impl Network for NetworkHandle {
    fn local_peer(&self) -> PeerId {
        self.local
    }

    fn submit(&self, command: NetworkCommand) -> Result<(), NetworkError> {
        self.commands
            .try_send(command)
            .map_err(|error| match error {
                TrySendError::Full(_) => NetworkError::Busy,
                TrySendError::Closed(_) => NetworkError::Closed,
            })
    }

    fn listen_addrs(&self) -> Vec<PeerAddr> {
        self.addrs
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[async_trait]
impl Reconfigure for NetworkHandle {
    /// Binds the addresses that are new in `config`. Commit closes those that are gone from it and applies the limits
    /// and deadlines; dropping the result closes the new ones again. Established connections are never touched.
    async fn prepare(&self, config: &NodeConfig) -> Result<Box<dyn Staged>, ReconfigureError> {
        let (reply, prepared) = oneshot::channel();
        let request = Prepare {
            config: Box::new(config.clone()),
            reply,
        };
        if self.reloads.send(request).await.is_err() {
            return Err(ended());
        }
        match prepared.await {
            Ok(Ok(decision)) => Ok(Box::new(StagedNetwork::new(decision))),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ended()),
        }
    }
}

fn ended() -> ReconfigureError {
    ReconfigureError {
        component: "network",
        key: None,
        kind: ErrorKind::Fatal,
        reason: NetworkError::Closed.to_string(),
    }
}

/// What the network tells the node, in order. While it is full, the network stops reading from its connections.
#[derive(Debug)]
pub struct NetworkEvents(pub(crate) mpsc::Receiver<NetworkEvent>);

impl NetworkEvents {
    /// The next event; `None` when the network task has ended.
    ///
    /// Cancellation: safe. No event is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<NetworkEvent> {
        self.0.recv().await
    }

    /// The bare queue, for a node task that waits for many things at once.
    #[must_use]
    pub fn into_inner(self) -> mpsc::Receiver<NetworkEvent> {
        self.0
    }
}
