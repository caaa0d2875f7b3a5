//! Shared by the tests: a folder with a configuration in it.

use std::path::PathBuf;

use btcfed_config::{Environment, FileSource, FlagValue, LoadedConfig, Location, Overrides};
use btcfed_core::config::ConfigError;

pub(crate) struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn conf(&self) -> PathBuf {
        self.path("conf.yaml")
    }

    pub(crate) fn write(&self, text: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.conf(), text).unwrap();
        self
    }

    pub(crate) fn source(&self, env: &[(&str, &str)], flags: &[(&str, &str)]) -> FileSource {
        let env: Environment = env.iter().copied().collect();
        let flags = flags
            .iter()
            .map(|(key, value)| FlagValue::new(format!("--{key}"), *key, *value))
            .collect();
        let location = Location::Found { path: self.conf() };
        FileSource::new(
            location,
            self.dir.path().to_owned(),
            Overrides { env, flags },
        )
    }

    pub(crate) fn load(&self) -> Result<LoadedConfig, ConfigError> {
        self.source(&[], &[]).load_full()
    }

    /// The problems of a file, its name shortened.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.told(self.load())
    }

    pub(crate) fn told(&self, result: Result<LoadedConfig, ConfigError>) -> Vec<String> {
        let conf = self.conf().display().to_string();
        result
            .unwrap_err()
            .problems
            .iter()
            .map(|problem| problem.to_string().replace(&conf, "conf.yaml"))
            .collect()
    }
}

/// What a text loads to.
pub(crate) fn load(text: &str) -> Result<LoadedConfig, ConfigError> {
    Folder::new().write(text).load()
}

/// What is wrong with a text.
pub(crate) fn problems(text: &str) -> Vec<String> {
    Folder::new().write(text).problems()
}

/// The one thing that is wrong with a text.
pub(crate) fn problem(text: &str) -> String {
    let mut all = problems(text);
    assert_eq!(all.len(), 1, "{text:?}: {all:#?}");
    all.remove(0)
}

/// Indented lines for a dotted key.
pub(crate) fn yaml(key: &str, value: &str) -> String {
    let parts: Vec<_> = key.split('.').collect();
    let mut text = String::new();
    for (depth, part) in parts.iter().enumerate() {
        let end = if depth + 1 == parts.len() {
            format!(" {value}")
        } else {
            String::new()
        };
        text.push_str(&format!("{}{part}:{end}\n", "  ".repeat(depth)));
    }
    text
}
