//! The peers file on the workbench: what works on the file as a whole does so in this process, with the daemon running or
//! stopped. The daemon saves first and takes the outcome in at once, as an operator's edit.

use std::path::{Path, PathBuf};

use btcfed_peer_store::{FilePeerStore, StoredCopy, copies};
use serde_json::json;

use crate::admin::client::{Client, is_not_running};
use crate::cli::args::Global;
use crate::cli::context;
use crate::exit::{CliError, Exit};

/// The peers file, and the daemon if one runs.
#[derive(Debug)]
pub(super) struct Workbench {
    pub(super) path: PathBuf,
    daemon: Option<Client>,
    /// Why the daemon could not save: then the file is looked at, and not touched.
    unsaved: Option<CliError>,
    loaded: context::Loaded,
}

impl Workbench {
    /// Finds the file, and lets the daemon save what it knows.
    pub(super) fn open(global: &Global) -> Result<Self, CliError> {
        let loaded = context::load(global)?;
        let mut daemon = match context::connect(global) {
            Ok(client) => Some(client),
            Err(error) if is_not_running(&error) && global.socket.is_none() => None,
            Err(error) => return Err(error),
        };
        let saved = daemon
            .as_mut()
            .map(|client| client.call("peers.sync", json!({})));
        Ok(Self {
            path: loaded.full.config.peers.file.clone(),
            daemon,
            unsaved: saved.and_then(Result::err),
            loaded,
        })
    }

    /// The file and its copies, newest first.
    pub(super) fn copies(&self) -> Result<Vec<StoredCopy>, CliError> {
        copies(&self.path).map_err(|error| unreadable(&self.path, &error))
    }

    /// The file, open.
    pub(super) fn store(&self, global: &Global) -> Result<FilePeerStore, CliError> {
        if let Some(error) = &self.unsaved {
            return Err(error.clone());
        }
        let store = self.loaded.open_store(global.timeout)?;
        if let Some(reason) = store.health().degraded {
            let error = CliError::new(Exit::Io, "transient", reason);
            return Err(error.file(self.path.display()));
        }
        Ok(store)
    }

    /// Saves, and lets the daemon take in what was done.
    pub(super) fn done(mut self, store: &FilePeerStore) -> Result<(), CliError> {
        store.flush()?;
        store.close()?;
        if let Some(client) = &mut self.daemon {
            client.call("peers.sync", json!({}))?;
        }
        Ok(())
    }
}

/// Why a file cannot be read.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    let exit = match error.kind() {
        std::io::ErrorKind::PermissionDenied => Exit::Permission,
        _ => Exit::Io,
    };
    CliError::new(exit, "config", format!("cannot read: {error}"))
        .file(path.display())
        .hint("run as the daemon's user, or check the disk")
}
