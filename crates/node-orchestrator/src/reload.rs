//! The reload transaction: load, diff, prepare every component in order, then commit all or none.

use std::sync::Arc;

use btcfed_core::config::{ConfigError, ConfigSource, KeyChange, NodeConfig};
use btcfed_core::error::ErrorKind;
use btcfed_core::reconfigure::{Reconfigure, ReconfigureError};
use btcfed_core::store::{PeerStore, SkippedEntry};

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReloadReport {
    /// Counts configurations since the start, from 1. A reload that changes nothing does not count.
    pub revision: u64,
    /// Keys whose new value is in force.
    pub applied: Vec<KeyChange>,
    /// Keys whose new value waits for the next start; the old one stays in force.
    pub needs_restart: Vec<KeyChange>,
    /// Peers that changed because the peers file was read again.
    pub peers_changed: usize,
    /// Entries of the peers file that could not be read.
    pub peers_skipped: Vec<SkippedEntry>,
    /// Why the peers file could not be read again, if it could not. The configuration is in force all the same.
    pub peers_error: Option<String>,
}

/// A reload that changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// Too many reloads wait already.
    #[error("too many reloads are waiting; try again")]
    Busy,
    /// A component refused; those before it were rolled back. Nothing changed.
    #[error(transparent)]
    Component(#[from] ReconfigureError),
    /// The configuration cannot be used. Nothing changed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

impl ReloadError {
    /// What to do about it.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Busy => ErrorKind::Transient,
            Self::Component(error) => error.kind,
            Self::Config(error) => error.kind(),
            Self::Stopped => ErrorKind::Fatal,
        }
    }
}

/// A finished reload: the configuration in force, and the answer for whoever asked.
#[derive(Debug)]
pub(crate) struct Reloaded {
    pub(crate) config: Arc<NodeConfig>,
    pub(crate) report: ReloadReport,
}

/// Runs one transaction. On error nothing has changed. A configuration that is the same touches no component.
///
/// Cancellation: dropped before the commit, nothing has changed; the commit itself has no suspension point.
pub(crate) async fn reload(
    source: Arc<dyn ConfigSource>,
    components: Vec<Arc<dyn Reconfigure>>,
    store: Arc<dyn PeerStore>,
    current: Arc<NodeConfig>,
    revision: u64,
) -> Result<Reloaded, ReloadError> {
    let loaded = tokio::task::spawn_blocking(move || source.load())
        .await
        .map_err(|_| ReloadError::Stopped)??;
    let (applied, needs_restart) = current
        .diff(&loaded)
        .into_iter()
        .partition(|change| !change.needs_restart);
    let effective = Arc::new(keep_restart_values(&current, loaded));
    let changed = *effective != *current;
    if changed {
        commit_all(&components, &effective).await?;
    }

    let revision = if changed { revision + 1 } else { revision };
    let mut report = ReloadReport {
        revision,
        applied,
        needs_restart,
        ..ReloadReport::default()
    };
    match store.reload().await {
        Ok(reloaded) => {
            report.peers_changed = reloaded.changes.len();
            report.peers_skipped = reloaded.skipped;
        }
        Err(error) => report.peers_error = Some(error.to_string()),
    }
    Ok(Reloaded {
        config: effective,
        report,
    })
}

/// Prepares every component, then commits all; or rolls back what was prepared.
async fn commit_all(
    components: &[Arc<dyn Reconfigure>],
    config: &NodeConfig,
) -> Result<(), ReconfigureError> {
    let mut staged = Vec::with_capacity(components.len());
    for component in components {
        match component.prepare(config).await {
            Ok(prepared) => staged.push(prepared),
            Err(error) => {
                // Dropped in reverse, so that each component is rolled back before the ones it depends on.
                while let Some(prepared) = staged.pop() {
                    drop(prepared);
                }
                return Err(error);
            }
        }
    }
    staged.into_iter().for_each(|prepared| prepared.commit());
    Ok(())
}

/// The new configuration with the values of [`btcfed_core::config::RESTART_KEYS`] left as they are.
fn keep_restart_values(current: &NodeConfig, mut loaded: NodeConfig) -> NodeConfig {
    loaded.admin.socket.clone_from(&current.admin.socket);
    loaded.admin.group.clone_from(&current.admin.group);
    loaded.admin.http = current.admin.http;
    loaded.admin.http_insecure = current.admin.http_insecure;
    loaded.admin.mode = current.admin.mode;
    loaded.federation.clone_from(&current.federation);
    loaded.bitcoin_network = current.bitcoin_network;
    loaded.network.port_fallback = current.network.port_fallback;
    loaded.network.port_retries = current.network.port_retries;
    loaded.peers.file.clone_from(&current.peers.file);
    loaded.storage.journal = current.storage.journal;
    loaded
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::config::RESTART_KEYS;

    #[test]
    fn every_key_that_needs_a_restart_keeps_its_value_and_every_other_one_changes() {
        let current = NodeConfig::default();
        let mut loaded = current.clone();
        loaded.admin.socket = "other.sock".into();
        loaded.admin.mode = 0o600;
        loaded.admin.group = "peers".into();
        loaded.storage.journal = !current.storage.journal;
        loaded.federation = "other".into();
        loaded.network.port_fallback = 7;
        loaded.network.port_retries = 1;
        loaded.bitcoin_network = btcfed_core::config::BitcoinNetwork::Regtest;
        loaded.peers.file = "other.yaml".into();
        loaded.name = "new name".into();
        loaded.admin.reload_on_change = true;
        let asked: Vec<_> = current
            .diff(&loaded)
            .into_iter()
            .map(|c| (c.key, c.needs_restart))
            .collect();
        assert!(
            asked
                .iter()
                .all(|(key, restart)| RESTART_KEYS.contains(key) == *restart)
        );
        let effective = keep_restart_values(&current, loaded);
        let changed: Vec<_> = current
            .diff(&effective)
            .into_iter()
            .map(|c| c.key)
            .collect();
        assert_eq!(changed, ["admin.reload_on_change", "node.name"]);
    }
}
