//! What most commands need first: the configuration, the identity, the daemon, or the peers file without it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use btcfed_config::{
    Environment, FileSource, FlagValue, KeyError, KeySource, LoadedConfig, Location, Overrides,
    is_there, load_key, load_or_generate_key,
};
use btcfed_core::config::ConfigProblem;
use btcfed_core::identity::SecretKey;
use btcfed_peer_store::FilePeerStore;

use crate::admin::client::Client;
use crate::cli::args::Global;
use crate::exit::{AS_OWNER, CliError, Exit};
use crate::lock::{Holder, NODE_LOCK};
use crate::wire;

/// How long a command waits for the daemon unless `--timeout` says otherwise.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// A configuration that was found and checked.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) source: FileSource,
    pub(super) state_dir: PathBuf,
    pub(super) full: LoadedConfig,
}

/// Finds and loads the configuration.
pub(super) fn load(global: &Global) -> Result<Loaded, CliError> {
    load_with(global, Vec::new())
}

/// The same with values given as flags.
pub(super) fn load_with(global: &Global, flags: Vec<FlagValue>) -> Result<Loaded, CliError> {
    let source = source(global, flags);
    let full = source.1.load_full()?;
    Ok(Loaded {
        state_dir: source.0,
        source: source.1,
        full,
    })
}

/// The state directory, and where the configuration is read from.
pub(super) fn source(global: &Global, flags: Vec<FlagValue>) -> (PathBuf, FileSource) {
    let env = Environment::of_process();
    let location = Location::search(global.config.as_deref(), &env, is_there);
    let state_dir = location.state_dir(global.state_dir.as_deref(), &env);
    (
        state_dir.clone(),
        FileSource::new(location, state_dir, Overrides { env, flags }),
    )
}

impl Loaded {
    /// The identity, if there is one already.
    pub(super) fn existing_key(&self) -> Result<SecretKey, CliError> {
        match &self.full.key {
            KeySource::Inline(secret) => Ok(secret.clone()),
            KeySource::File(path) if !is_there(path) => {
                Err(
                    CliError::new(Exit::Failed, "config", "this node has no identity yet")
                        .file(path.display())
                        .hint("`btcfed init` or the first `btcfed run` generates it"),
                )
            }
            KeySource::File(path) => load_key(path).map(|loaded| loaded.key).map_err(key_error),
            _ => Err(CliError::new(
                Exit::Internal,
                "fatal",
                "unknown kind of key",
            )),
        }
    }

    /// The identity, generated now if there is none. Also says whether it was generated, and what to look at.
    pub(super) fn key_or_new(&self) -> Result<(SecretKey, bool, Option<ConfigProblem>), CliError> {
        match &self.full.key {
            KeySource::File(path) => {
                let loaded = load_or_generate_key(path).map_err(key_error)?;
                Ok((loaded.key, loaded.generated, loaded.warning))
            }
            _ => Ok((self.existing_key()?, false, None)),
        }
    }

    /// Opens the peers file for one command, the daemon being stopped. Its lock is waited for as long as `--timeout`
    /// says, else as long as the configuration says.
    pub(super) fn open_store(&self, timeout: Option<Duration>) -> Result<FilePeerStore, CliError> {
        let config = &self.full.config;
        let wait = timeout.unwrap_or(config.storage.lock_timeout);
        Ok(wire::open_store_once(&config.peers.file, wait)?)
    }
}

/// Shortest time a call to the daemon gets: the operating system has no time-out of zero.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(100);

/// Connects to the daemon: at `--socket`, else at `$BTCFED_SOCKET`, else where the daemon of the state directory says it
/// listens, else where the configuration says. So a daemon that runs is found whatever was done to its configuration.
pub(super) fn connect(global: &Global) -> Result<Client, CliError> {
    let timeout = global
        .timeout
        .unwrap_or(DEFAULT_TIMEOUT)
        .max(SHORTEST_TIMEOUT);
    let env = Environment::of_process();
    if let Some(path) = &global.socket {
        return Client::connect(path, timeout);
    }
    if let Some(path) = env.get("BTCFED_SOCKET") {
        return Client::connect(Path::new(path), timeout);
    }
    let (state_dir, _) = source(global, Vec::new());
    let told = Holder::read(&state_dir.join(NODE_LOCK)).and_then(|holder| holder.socket);
    if let Some(client) = told.and_then(|path| Client::connect(&path, timeout).ok()) {
        return Ok(client);
    }
    Client::connect(&load(global)?.full.config.admin.socket, timeout)
}

/// Creates a directory with its parents. One that exists is fine.
pub(super) fn create_dir(dir: &Path) -> Result<(), CliError> {
    std::fs::create_dir_all(dir).map_err(|error| {
        let permission = error.kind() == std::io::ErrorKind::PermissionDenied;
        let exit = if permission {
            Exit::Permission
        } else {
            Exit::CannotCreate
        };
        CliError::new(
            exit,
            "fatal",
            format!("cannot create the directory: {error}"),
        )
        .file(dir.display())
        .hint("name another one with --state-dir")
    })
}

/// What `init` and `run` both take, as configuration values.
pub(super) fn common_flags(
    name: Option<&str>,
    listen: &[String],
    bootstrap: &[String],
) -> Vec<FlagValue> {
    let name = name.map(|name| FlagValue::new("--name", "node.name", name));
    let lists = [
        ("--listen", "network.addresses", listen),
        ("--bootstrap", "peers.bootstrap", bootstrap),
    ];
    let lists = lists
        .into_iter()
        .filter(|(_, _, values)| !values.is_empty());
    name.into_iter()
        .chain(lists.map(|(flag, key, values)| FlagValue::new(flag, key, values.join(","))))
        .collect()
}

/// The runtime of a command that runs nodes.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            CliError::new(
                Exit::Internal,
                "fatal",
                format!("cannot start the runtime: {error}"),
            )
        })
}

/// Why there is no key, with the exit code that fits.
pub(super) fn key_error(error: KeyError) -> CliError {
    let exit = match &error {
        KeyError::Create { .. } => Exit::CannotCreate,
        KeyError::Invalid { .. } => Exit::Config,
        KeyError::Permission { .. } => Exit::Permission,
        KeyError::Read { .. } => Exit::Io,
        _ => Exit::Failed,
    };
    let shown = CliError::new(exit, error.kind().as_str(), error.to_string());
    if exit == Exit::Permission {
        shown.hint(AS_OWNER)
    } else {
        shown
    }
}
