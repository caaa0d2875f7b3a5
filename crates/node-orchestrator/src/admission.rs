//! Who may be a peer of this node. Everybody in mode `open`; in mode `allowlist` only whom the operator chose: peers he
//! wrote into the peers file or added by command, pinned ones, and whoever the bootstrap entries lead to. Learned peers
//! are kept and relayed, but neither dialled nor let in: they wait until the operator adds them.

use std::collections::BTreeSet;

use btcfed_core::config::{NodeConfig, PeersMode};
use btcfed_core::key::PeerKey;
use btcfed_core::set::PeerSet;

/// The admission policy in force, and the list it comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Admission {
    /// `None` admits everybody.
    admitted: Option<BTreeSet<PeerKey>>,
}

impl Admission {
    /// What `config` and the peers known come to. `resolved` are the peers found behind bootstrap addresses.
    pub(crate) fn of<'a>(
        config: &NodeConfig,
        set: &PeerSet,
        resolved: impl Iterator<Item = &'a PeerKey>,
    ) -> Self {
        match config.peers.mode {
            PeersMode::Open => Self { admitted: None },
            PeersMode::Allowlist => {
                let chosen = set.views().filter(|peer| peer.is_reserved());
                let entries = config.peers.bootstrap.iter();
                let admitted = chosen
                    .map(|peer| *peer.key())
                    .chain(entries.filter_map(|entry| Some(entry.peer_id?.key())))
                    .chain(resolved.copied())
                    .collect();
                Self {
                    admitted: Some(admitted),
                }
            }
        }
    }

    /// True when `peer` may be connected.
    pub(crate) fn admits(&self, peer: &PeerKey) -> bool {
        self.admitted
            .as_ref()
            .is_none_or(|admitted| admitted.contains(peer))
    }

    /// The list for the network: `None` for everybody.
    pub(crate) fn list(&self) -> Option<Vec<PeerKey>> {
        let admitted = self.admitted.as_ref()?;
        Some(admitted.iter().copied().collect())
    }

    /// How many of the peers known wait for the operator. Banned ones do not wait.
    pub(crate) fn waiting(&self, set: &PeerSet) -> usize {
        if self.admitted.is_none() {
            return 0;
        }
        set.views()
            .filter(|peer| !peer.is_banned() && !self.admits(peer.key()))
            .count()
    }
}
