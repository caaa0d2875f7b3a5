//! Reload as a transaction: new listeners first, the decision through a channel that cannot be full, old ones last.

use btcfed_core::config::NodeConfig;
use btcfed_core::network::NetworkError;
use btcfed_core::reconfigure::ReconfigureError;
use btcfed_core::{ErrorKind, PeerAddr, Staged};
use libp2p::core::transport::ListenerId;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::behaviour::pinging;
use crate::connection::Liveness;
use crate::host::Host;
use crate::{gate, listen};

/// Sent by the staged change: to commit. Dropped without being sent: to roll back.
pub(crate) type Decision = oneshot::Sender<()>;

/// A request to prepare a new configuration.
#[derive(Debug)]
pub(crate) struct Prepare {
    pub(crate) config: Box<NodeConfig>,
    pub(crate) reply: oneshot::Sender<Result<Decision, ReconfigureError>>,
}

/// A prepared change of the network.
#[derive(Debug)]
pub(crate) struct StagedNetwork(Decision);

impl StagedNetwork {
    pub(crate) const fn new(decision: Decision) -> Self {
        Self(decision)
    }
}

impl Staged for StagedNetwork {
    fn commit(self: Box<Self>) {
        // Fails only when the network task has ended, and then there is nothing left to change.
        let _ = self.0.send(());
    }
}

/// What the host keeps between prepare and the decision.
#[derive(Debug)]
pub(crate) struct PendingReload {
    config: Box<NodeConfig>,
    added: Vec<ListenerId>,
    removed: Vec<ListenerId>,
    pub(crate) decision: oneshot::Receiver<()>,
}

impl Host {
    /// Binds what is new and keeps the rest of the change until the decision.
    pub(crate) fn prepare(&mut self, request: Prepare) {
        let Prepare { config, reply } = request;
        // The decision about the last one may be waiting behind this request.
        match self
            .reload
            .as_mut()
            .map(|reload| reload.decision.try_recv())
        {
            Some(Ok(())) => self.finish_reload(true),
            Some(Err(TryRecvError::Closed)) => self.finish_reload(false),
            Some(Err(TryRecvError::Empty)) | None => {}
        }
        let prepared = if self.reload.is_some() {
            Err(refused(
                None,
                ErrorKind::Transient,
                "another reload is under way".to_owned(),
            ))
        } else {
            self.stage(config)
        };
        // When nobody waits any more, the decision is dropped with the reply, which rolls back.
        let _ = reply.send(prepared);
    }

    fn stage(&mut self, config: Box<NodeConfig>) -> Result<Decision, ReconfigureError> {
        let to_refusal =
            |e: NetworkError| refused(Some("network.addresses"), e.kind(), e.to_string());
        let wanted = &config.network.addresses;
        listen::check(wanted).map_err(to_refusal)?;
        let wanted = listen::without_missing_ipv6(wanted.clone());
        let current: Vec<(ListenerId, PeerAddr)> = self
            .listeners
            .configured()
            .map(|(id, addr)| (id, addr.clone()))
            .collect();
        let removed: Vec<(ListenerId, PeerAddr)> = current
            .iter()
            .filter(|(_, addr)| !wanted.contains(addr))
            .cloned()
            .collect();
        let leaving: Vec<PeerAddr> = removed.iter().map(|(_, addr)| addr.clone()).collect();
        let mut added = Vec::new();
        for addr in wanted
            .iter()
            .filter(|addr| current.iter().all(|(_, known)| known != *addr))
        {
            match self.listen(addr, &leaving) {
                Ok(id) => added.push(id),
                Err(error) => {
                    for id in added {
                        self.swarm.remove_listener(id);
                    }
                    return Err(to_refusal(error));
                }
            }
        }
        let (decide, decision) = oneshot::channel();
        let removed = removed.into_iter().map(|(id, _)| id).collect();
        self.reload = Some(PendingReload {
            config,
            added,
            removed,
            decision,
        });
        Ok(decide)
    }

    /// The node decided, or went away.
    pub(crate) fn finish_reload(&mut self, is_commit: bool) {
        let Some(reload) = self.reload.take() else {
            return;
        };
        let closing = if is_commit {
            reload.removed
        } else {
            reload.added
        };
        for id in closing {
            self.swarm.remove_listener(id);
        }
        if is_commit {
            let network = &reload.config.network;
            self.listeners.keep_lost(&network.addresses);
            let behaviour = self.swarm.behaviour_mut();
            behaviour
                .gate
                .set_limits(gate::ConnectionLimits::effective(network));
            behaviour.ping = pinging(network);
            self.names.set_max_age(network.dns_serve_stale);
            self.naming.reconfigure(network);
            self.table.set_liveness(Liveness::from(network));
            self.setup_timeout
                .set(reload.config.peers.connection_timeout);
        }
    }
}

fn refused(key: Option<&'static str>, kind: ErrorKind, reason: String) -> ReconfigureError {
    ReconfigureError {
        component: "network",
        key,
        kind,
        reason,
    }
}
