//! Reload when `conf.yaml` changes, for those who want it: `admin.reload_on_change`.
//!
//! The file is read twice a second and compared by its content: that sees atomic replacements, editors that write in
//! place, network file systems and linked files alike, and costs nothing worth speaking of for one small file. A change
//! counts once the content has stayed the same for one more look, so that half of an edit is never loaded.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use btcfed_core::config::NodeConfig;
use btcfed_core::reconfigure::{Reconfigure, ReconfigureError, Staged, StagedFn};
use btcfed_node_orchestrator::NodeHandle;
use tokio::sync::watch;

/// How often the file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The part of the file that is looked at, in bytes: a larger one is refused anyway.
const MAX_LOOK_BYTES: u64 = 4 * 1024 * 1024;

/// Watches one file, while it is switched on.
#[derive(Clone, Debug)]
pub struct ConfigWatch {
    path: PathBuf,
    enabled: Arc<watch::Sender<bool>>,
}

impl ConfigWatch {
    /// Watches `path` if `config` wants that; a reload may switch it on and off.
    #[must_use]
    pub fn new(path: PathBuf, config: &NodeConfig) -> Self {
        Self {
            path,
            enabled: Arc::new(watch::Sender::new(config.admin.reload_on_change)),
        }
    }

    /// Reloads `node` after each change. Serves until the future is dropped.
    pub async fn serve(self, node: NodeHandle) {
        let mut enabled = self.enabled.subscribe();
        while enabled.wait_for(|enabled| *enabled).await.is_ok() {
            // What is there when the watch begins is what the node runs with.
            let mut file = Settled::new(look(&self.path).await);
            while *enabled.borrow() {
                tokio::time::sleep(LOOK_INTERVAL).await;
                if !file.look(look(&self.path).await) {
                    continue;
                }
                tracing::info!(file = %self.path.display(), "the configuration file changed; reloading");
                // The node logs the outcome. A file that is refused is tried again when it changes again.
                if let Err(error) = node.reload().await {
                    tracing::debug!(%error, "reload after a change of the file");
                }
            }
        }
    }
}

#[async_trait]
impl Reconfigure for ConfigWatch {
    async fn prepare(&self, config: &NodeConfig) -> Result<Box<dyn Staged>, ReconfigureError> {
        let (enabled, wanted) = (Arc::clone(&self.enabled), config.admin.reload_on_change);
        Ok(Box::new(StagedFn::new(move || {
            enabled.send_replace(wanted);
        })))
    }
}

/// What the file holds, as a number; `None` while it cannot be read or is empty, which half of an edit may leave.
async fn look(path: &Path) -> Option<u64> {
    let path = path.to_owned();
    let read = move || {
        let mut content = Vec::new();
        let file = std::fs::File::open(path).ok()?;
        file.take(MAX_LOOK_BYTES).read_to_end(&mut content).ok()?;
        if content.is_empty() {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        Some(hasher.finish())
    };
    // A thread that panicked has read nothing.
    tokio::task::spawn_blocking(read).await.ok().flatten()
}

/// Tells when a content is new and has stayed for two looks.
#[derive(Debug)]
struct Settled {
    known: Option<u64>,
    seen: Option<u64>,
}

impl Settled {
    const fn new(known: Option<u64>) -> Self {
        Self { known, seen: known }
    }

    fn look(&mut self, now: Option<u64>) -> bool {
        let is_quiet = now == self.seen;
        self.seen = now;
        let is_new = is_quiet && now.is_some() && now != self.known;
        if is_new {
            self.known = now;
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_and_only_when_it_has_stayed() {
        let mut file = Settled::new(Some(1));
        for (now, counts) in [
            (Some(1), false),
            (Some(2), false),
            (Some(3), false),
            (Some(3), true),
            (Some(3), false),
            (None, false),
            (None, false),
            (Some(3), false),
            (Some(3), false),
            (Some(1), false),
            (Some(1), true),
        ] {
            assert_eq!(file.look(now), counts, "{now:?}");
        }
    }
}
