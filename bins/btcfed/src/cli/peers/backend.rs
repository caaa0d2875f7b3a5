//! Who does what is asked: the daemon, or this process on the peers file while the daemon is stopped.

use std::time::SystemTime;

use btcfed_core::key::PeerKey;
use btcfed_core::time::Timestamp;
use btcfed_peer_store::{
    FilePeerStore, Section, SectionError, SectionOp, SectionStore as _, Sections,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::admin::client::{Client, is_not_running};
use crate::admin::protocol::Request;
use crate::cli::args::Global;
use crate::cli::context;
use crate::cli::output::Output;
use crate::exit::{CliError, Exit};
use crate::peers::{Contacts, Desk};

/// Answers requests about peers.
#[derive(Debug)]
pub(in crate::cli) enum Backend {
    /// The running daemon.
    Daemon(Client),
    /// The peers file.
    Files(Files),
}

/// The peers file, opened for one command.
#[derive(Debug)]
pub(in crate::cli) struct Files {
    store: FilePeerStore,
    own: Option<PeerKey>,
    runtime: Runtime,
}

impl Backend {
    /// Finds the daemon; opens the file when it is stopped. With `--socket` the daemon it is, and nothing else.
    pub(in crate::cli) fn open(global: &Global) -> Result<Self, CliError> {
        match context::connect(global) {
            Ok(client) => Ok(Self::Daemon(client)),
            Err(error) if is_not_running(&error) && global.socket.is_none() => {
                Files::open(global).map(Self::Files)
            }
            Err(error) => Err(error),
        }
    }

    /// Asks for one thing.
    pub(in crate::cli) fn call(&mut self, method: &str, params: Value) -> Result<Value, CliError> {
        match self {
            Self::Daemon(client) => client.call(method, params),
            Self::Files(files) => files.call(method, params),
        }
    }

    /// Puts tables into the peers file, the daemon's too: it takes them in like any edit. A table that is there keeps its
    /// version and time to live, and entries that were put later stay.
    pub(in crate::cli) fn put_sections(
        &self,
        global: &Global,
        sections: &Sections,
        dry_run: bool,
    ) -> Result<Vec<Value>, CliError> {
        if sections.is_empty() {
            return Ok(Vec::new());
        }
        let opened;
        let store = match self {
            Self::Files(files) => &files.store,
            Self::Daemon(_) => {
                opened = context::load(global)?.open_store(global.timeout)?;
                &opened
            }
        };
        let known = store.sections();
        let mut changes = Vec::new();
        for (name, table) in sections.iter() {
            let ops = new_entries(&known, name, table);
            if ops.is_empty() {
                continue;
            }
            let entries = ops
                .iter()
                .filter(|op| matches!(op, SectionOp::Put { .. }))
                .count();
            let details = [format!("{entries} entries")];
            changes.push(json!({ "action": "section", "name": name, "details": details }));
            if !dry_run {
                let refused =
                    |error: SectionError| CliError::new(Exit::Data, "config", error.to_string());
                store.apply_sections(&ops).map_err(refused)?;
            }
        }
        if !dry_run {
            store.flush()?;
        }
        Ok(changes)
    }

    /// Saves, and says where the work was done.
    pub(in crate::cli) fn close(self, output: &Output) -> Result<(), CliError> {
        let Self::Files(files) = self else {
            return Ok(());
        };
        if files.store.health().degraded.is_some() {
            files.store.flush().map_err(|error| {
                let shown = CliError::from(error);
                if shown.exit == Exit::Permission {
                    return shown;
                }
                if shown.exit == Exit::Busy {
                    return shown.hint("nothing was written; try again, or raise --timeout");
                }
                shown.hint("nothing was written; `btcfed doctor --offline` tells what is wrong with the file")
            })?;
        }
        files.store.close()?;
        output.talk("the daemon is not running; worked on the peers file");
        Ok(())
    }
}

impl Files {
    fn open(global: &Global) -> Result<Self, CliError> {
        let loaded = context::load(global)?;
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        Ok(Self {
            store: loaded.open_store(global.timeout)?,
            // Without an identity there is no self to mistake a peer for.
            own: loaded.existing_key().ok().map(|secret| secret.public()),
            runtime: runtime.map_err(|error| {
                CliError::new(Exit::Internal, "fatal", format!("no runtime: {error}"))
            })?,
        })
    }

    fn call(&self, method: &str, params: Value) -> Result<Value, CliError> {
        let desk = Desk {
            store: &self.store,
            own: self.own,
            connections: &[],
            config: None,
            contacts: &Contacts::new(),
            now: wall_now(),
        };
        let request = Request::local(method, params);
        let answer = self.runtime.block_on(desk.answer(&request));
        answer.unwrap_or_else(|| {
            let reason = format!("no method {method:?}");
            Err(CliError::new(Exit::Internal, "fatal", reason))
        })
    }
}

fn new_entries(known: &Sections, name: &str, table: &Section) -> Vec<SectionOp> {
    let there = known.get(name);
    let section = || name.to_owned();
    let mut ops = Vec::new();
    if there.is_none() {
        let (version, ttl) = (table.version, table.ttl);
        ops.push(SectionOp::Define {
            section: section(),
            version,
            ttl,
        });
    }
    for (key, entry) in table.iter_after(None, Timestamp::UNIX_EPOCH) {
        let known = there.and_then(|there| there.get(key, Timestamp::UNIX_EPOCH));
        if known.is_none_or(|known| known.at < entry.at) {
            let (key, value) = (key.to_owned(), entry.value.clone());
            let (ttl, at) = (entry.ttl, Some(entry.at));
            ops.push(SectionOp::Put {
                section: section(),
                key,
                value,
                ttl,
                at,
            });
        }
    }
    ops
}

/// The time, for records.
pub(in crate::cli) fn wall_now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_secs(since.as_secs())
}
