//! Giving up a command by its id.

use btcfed_core::PeerAddr;
use btcfed_core::network::{CommandId, DialError, NetworkEvent, RequestError};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::broadcast;

use crate::convert;
use crate::host::Host;
use crate::limits::CANCEL_QUEUE;

/// Tells the dials under way which of them are given up. libp2p can abort only all dials of a known peer.
#[derive(Clone, Debug)]
pub(crate) struct Cancels(broadcast::Sender<Multiaddr>);

impl Default for Cancels {
    fn default() -> Self {
        Self(broadcast::Sender::new(CANCEL_QUEUE))
    }
}

impl Cancels {
    /// Resolves when a dial of this address is given up.
    pub(crate) fn of(&self, addr: Multiaddr) -> impl Future<Output = ()> + Send + 'static {
        let mut cancelled = self.0.subscribe();
        async move {
            loop {
                match cancelled.recv().await {
                    Ok(other) if other == addr => return,
                    // One that falls behind misses a cancel, and ends at its deadline.
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    // The network ends, and with it every dial.
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                }
            }
        }
    }

    fn give_up(&self, addr: &PeerAddr, peer: Option<PeerId>) {
        let addr = convert::multiaddr(addr);
        let addr = match peer {
            Some(peer) => addr.with(libp2p::multiaddr::Protocol::P2p(peer)),
            None => addr,
        };
        // Err says that nothing is being dialled.
        drop(self.0.send(addr));
    }
}

impl Host {
    /// Gives up a dial or a request. It is answered as one that failed; an unknown id is dropped silently.
    pub(crate) fn cancel(&mut self, id: CommandId) {
        if let Some(dial) = self.dials.by_id(id) {
            tracing::debug!(dial = %id, "dial cancelled");
            dial.give_up(&DialError::Aborted);
            let peer = dial.peer.and_then(|peer| convert::peer_id(&peer));
            // Their failure answers the command.
            for addr in &dial.trying {
                self.cancels.give_up(addr, peer);
            }
        } else if let Some((request, was_sent)) = self.outgoing.cancel(id) {
            let peer = request.peer;
            tracing::debug!(%id, peer = %peer.peer_id(), "request cancelled");
            self.tell(NetworkEvent::RequestFailed {
                id,
                peer,
                error: RequestError::Cancelled,
            });
            if was_sent {
                self.send_next(&peer);
            }
        }
    }
}
