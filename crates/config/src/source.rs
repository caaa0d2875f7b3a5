//! Loading a configuration: read, parse, convert. Nothing is written.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use btcfed_core::config::{ConfigError, ConfigProblem, KeyChange};
use btcfed_core::{ConfigSource, NodeConfig, PeerKey, SecretKey};

use crate::convert::{Build, Origin};
use crate::disk::{self, NotRead};
use crate::draft::in_dir;
use crate::env::Overrides;
use crate::key_file::{self, exposed};
use crate::problems::Site;
use crate::search::{CONFIG_FILE, KEY_FILE, Location, folder, is_there};
use crate::text::{MAX_CONFIG_BYTES, decode};

/// Where the identity is.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a process has one of these")]
#[non_exhaustive]
pub enum KeySource {
    /// In the file with this name, which may not exist yet.
    File(PathBuf),
    /// In `conf.yaml` itself.
    Inline(SecretKey),
}

/// A configuration with everything that is known about it.
#[derive(Debug)]
#[non_exhaustive]
pub struct LoadedConfig {
    /// The values.
    pub config: NodeConfig,
    /// Where the identity is.
    pub key: KeySource,
    /// Where each value comes from, for every key.
    pub origins: BTreeMap<&'static str, Origin>,
    /// What should be looked at, though it stops nothing.
    pub warnings: Vec<ConfigProblem>,
    /// The file that was read, if there is one.
    pub path: Option<PathBuf>,
}

impl LoadedConfig {
    /// What a reload has to say about the identity: nothing, or that the configured one is not the running one and
    /// takes effect at the next start. Reads the key file if there is one; makes none.
    #[must_use]
    pub fn identity_change(&self, running: PeerKey) -> Option<KeyChange> {
        let (key, configured) = match &self.key {
            KeySource::File(path) => (
                "node.private_key_file",
                key_file::load_key(path).map(|loaded| loaded.key.public()),
            ),
            KeySource::Inline(key) => ("node.private_key", Ok(key.public())),
        };
        let new = match configured {
            Ok(configured) if configured == running => return None,
            Ok(configured) => configured.peer_id().to_string(),
            Err(error) => format!("unusable ({error})"),
        };
        Some(KeyChange {
            key,
            old: running.peer_id().to_string(),
            new,
            needs_restart: true,
        })
    }
}

/// A configuration file with what goes before it. Every call of [`load`](ConfigSource::load) reads it anew.
#[derive(Clone, Debug)]
pub struct FileSource {
    location: Location,
    state_dir: PathBuf,
    overrides: Overrides,
}

impl FileSource {
    /// The file at `location`, if any; the node's own files are in `state_dir`.
    #[must_use]
    pub const fn new(location: Location, state_dir: PathBuf, overrides: Overrides) -> Self {
        Self {
            location,
            state_dir,
            overrides,
        }
    }

    /// Reads, parses and converts, and tells where everything comes from.
    ///
    /// A file that was found or named must still be there. Where there was none, one that has appeared since is read.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load_full(&self) -> Result<LoadedConfig, ConfigError> {
        let mut build = Build::new(&self.state_dir);
        let path = match &self.location {
            Location::Found { path } | Location::Named { path, .. } => Some(path.as_path()),
            Location::Nowhere { searched } => searched
                .iter()
                .map(PathBuf::as_path)
                .find(|path| is_there(path)),
        };
        let mode = path.and_then(|path| self.read(path, &mut build));
        self.complete(build, path, mode)
    }

    /// The same as if `text` stood in the file. Nothing is read or written.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn load_text(&self, text: &str) -> Result<LoadedConfig, ConfigError> {
        let mut build = Build::new(&self.state_dir);
        let path = match &self.location {
            Location::Found { path } | Location::Named { path, .. } => Some(path.as_path()),
            Location::Nowhere { .. } => None,
        };
        let place = path.unwrap_or_else(|| Path::new(CONFIG_FILE));
        let origin = place.display().to_string();
        match decode(text.as_bytes(), &origin) {
            Ok(text) => build.file(&text, &origin, &folder(place)),
            Err(problem) => build.problems.add(problem),
        }
        self.complete(build, path, None)
    }

    /// Adds what goes before the file, of which `mode` tells the permission bits.
    fn complete(
        &self,
        mut build: Build,
        path: Option<&Path>,
        mode: Option<u32>,
    ) -> Result<LoadedConfig, ConfigError> {
        self.overrides.apply(&mut build);
        if let (Some(path), Some(mode)) = (path, mode)
            && build.has_inline_key()
            && let Some(mut warning) = exposed(path, mode, "the private key in it")
        {
            let site = build.site("node.private_key");
            warning.line = site.and_then(|site| site.line);
            warning.key = site.and_then(|site| site.key.clone());
            build.warn(warning);
        }
        let built = build.finish(path)?;
        let key = match (built.private_key, built.private_key_file) {
            (Some(key), _) => KeySource::Inline(key),
            (None, Some(file)) => KeySource::File(file),
            (None, None) => KeySource::File(in_dir(&self.state_dir, Path::new(KEY_FILE))),
        };
        Ok(LoadedConfig {
            config: built.config,
            key,
            origins: built.origins,
            warnings: built.warnings,
            path: path.map(Path::to_owned),
        })
    }

    /// Adds the file to `build` and tells its permission bits, unless it cannot be read.
    fn read(&self, path: &Path, build: &mut Build) -> Option<u32> {
        let origin = path.display().to_string();
        let contents = match disk::read(path, MAX_CONFIG_BYTES) {
            Ok(contents) => contents,
            Err(error) => {
                build.problems.add(self.not_read(&origin, &error));
                return None;
            }
        };
        match decode(&contents.bytes, &origin) {
            Ok(text) => build.file(&text, &origin, &folder(path)),
            Err(problem) => build.problems.add(problem),
        }
        Some(contents.mode)
    }

    fn not_read(&self, origin: &str, error: &NotRead) -> ConfigProblem {
        let site = Site::file(origin);
        match error {
            NotRead::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                let hint = match &self.location {
                    Location::Named { by, .. } => {
                        format!("{by} names it; make one with `btcfed init`, or name another")
                    }
                    Location::Found { .. } | Location::Nowhere { .. } => "restore it".to_owned(),
                };
                site.problem("there is no such file", Some(hint))
            }
            NotRead::Io(error) => site.problem(format!("cannot be read: {error}"), None),
            NotRead::Kind(kind) => site.problem(format!("this is {kind}, not a file"), None),
            NotRead::TooLarge => site.problem(
                "larger than 1 MiB",
                Some("this does not look like a configuration".to_owned()),
            ),
        }
    }
}

impl ConfigSource for FileSource {
    fn load(&self) -> Result<NodeConfig, ConfigError> {
        self.load_full().map(|loaded| loaded.config)
    }
}
