//! Where the configuration file is, and where the node keeps its own files.

use std::path::{Path, PathBuf};

use crate::env::Environment;

/// The name of the configuration file.
pub const CONFIG_FILE: &str = "conf.yaml";
/// The default name of the private key file, in the state directory.
pub const KEY_FILE: &str = "node.key";

/// The outcome of the search for a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// The search found it.
    Found {
        /// Where.
        path: PathBuf,
    },
    /// Somebody named it, so it must exist.
    Named {
        /// Where it is said to be.
        path: PathBuf,
        /// `--config` or `BTCFED_CONFIG`.
        by: &'static str,
    },
    /// There is none: the first run, with defaults.
    Nowhere {
        /// Where it was looked for, best place first.
        searched: Vec<PathBuf>,
    },
}

impl Location {
    /// The first of: the file `flag` names, the file `$BTCFED_CONFIG` names, `./conf.yaml`,
    /// `$XDG_CONFIG_HOME/btcfed/conf.yaml` (`~/.config` if unset), `/etc/btcfed/conf.yaml`. The last three count only if
    /// they exist.
    ///
    /// ```
    /// use btcfed_config::{Environment, Location};
    ///
    /// let env: Environment = [("HOME", "/home/alice")].into_iter().collect();
    /// let found = Location::search(None, &env, |path| path.starts_with("/home"));
    /// assert_eq!(found.path().unwrap().to_str(), Some("/home/alice/.config/btcfed/conf.yaml"));
    /// ```
    pub fn search(flag: Option<&Path>, env: &Environment, exists: impl Fn(&Path) -> bool) -> Self {
        if let Some(path) = flag {
            return Self::Named {
                path: path.to_owned(),
                by: "--config",
            };
        }
        if let Some(path) = env.get("BTCFED_CONFIG") {
            return Self::Named {
                path: path.into(),
                by: "BTCFED_CONFIG",
            };
        }
        let user = env.absolute("XDG_CONFIG_HOME").map(Path::to_owned);
        let user = user.or_else(|| env.absolute("HOME").map(|home| home.join(".config")));
        let mut searched = vec![PathBuf::from(CONFIG_FILE)];
        searched.extend(user.map(|dir| dir.join("btcfed").join(CONFIG_FILE)));
        searched.push(Path::new("/etc/btcfed").join(CONFIG_FILE));
        match searched.iter().find(|path| exists(path)) {
            Some(path) => Self::Found { path: path.clone() },
            None => Self::Nowhere { searched },
        }
    }

    /// The file, if there is one or is said to be one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Found { path } | Self::Named { path, .. } => Some(path),
            Self::Nowhere { .. } => None,
        }
    }

    /// The state directory, which holds the node's own files: `flag` (`--state-dir`), else `$STATE_DIRECTORY` (the first
    /// of several), else the folder of the configuration file, else the current directory.
    #[must_use]
    pub fn state_dir(&self, flag: Option<&Path>, env: &Environment) -> PathBuf {
        if let Some(dir) = flag {
            return dir.to_owned();
        }
        if let Some(dirs) = env.get("STATE_DIRECTORY") {
            // systemd separates several directories by colons.
            return dirs
                .to_str()
                .and_then(|dirs| dirs.split(':').next())
                .map_or_else(|| dirs.into(), PathBuf::from);
        }
        folder(self.path().unwrap_or_else(|| Path::new(CONFIG_FILE)))
    }
}

/// True when something stands at `path`, be it a dangling link: what is there must not be passed over in silence.
#[must_use]
pub fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// The folder that holds `path`.
pub(crate) fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().copied().collect()
    }

    #[test]
    fn each_place_goes_before_the_next() {
        let all = env(&[
            ("BTCFED_CONFIG", "env.yaml"),
            ("XDG_CONFIG_HOME", "/xdg"),
            ("HOME", "/home/a"),
        ]);
        let there = |_: &Path| true;
        let named = |path: &str, by| Location::Named {
            path: path.into(),
            by,
        };
        let found = |path: &str| Location::Found { path: path.into() };
        assert_eq!(
            Location::search(Some(Path::new("f.yaml")), &all, there),
            named("f.yaml", "--config")
        );
        assert_eq!(
            Location::search(None, &all, |_| false),
            named("env.yaml", "BTCFED_CONFIG")
        );
        let rest = env(&[
            ("BTCFED_CONFIG", ""),
            ("XDG_CONFIG_HOME", "/xdg"),
            ("HOME", "/home/a"),
        ]);
        assert_eq!(Location::search(None, &rest, there), found("conf.yaml"));
        let not_here = |path: &Path| path.is_absolute();
        assert_eq!(
            Location::search(None, &rest, not_here),
            found("/xdg/btcfed/conf.yaml")
        );
        let home = env(&[("XDG_CONFIG_HOME", "relative"), ("HOME", "/home/a")]);
        assert_eq!(
            Location::search(None, &home, not_here),
            found("/home/a/.config/btcfed/conf.yaml")
        );
        assert_eq!(
            Location::search(None, &home, |path| path.starts_with("/etc")),
            found("/etc/btcfed/conf.yaml")
        );
        assert_eq!(
            Location::search(None, &env(&[]), not_here),
            found("/etc/btcfed/conf.yaml")
        );
    }

    #[test]
    fn nothing_found_tells_where_it_looked() {
        let home = env(&[("HOME", "/home/a")]);
        let Location::Nowhere { searched } = Location::search(None, &home, |_| false) else {
            panic!("found")
        };
        let expected = [
            "conf.yaml",
            "/home/a/.config/btcfed/conf.yaml",
            "/etc/btcfed/conf.yaml",
        ];
        assert_eq!(searched, expected.map(PathBuf::from));
    }

    #[test]
    fn the_state_directory_is_named_or_lies_beside_the_file() {
        let file = Location::Found {
            path: "/etc/btcfed/conf.yaml".into(),
        };
        let here = Location::Found {
            path: "conf.yaml".into(),
        };
        let nowhere = Location::Nowhere {
            searched: Vec::new(),
        };
        let none = env(&[]);
        let systemd = env(&[("STATE_DIRECTORY", "/var/lib/btcfed:/var/lib/other")]);
        for (location, flag, env, expected) in [
            (&file, Some("/s"), &systemd, "/s"),
            (&file, None, &systemd, "/var/lib/btcfed"),
            (&file, None, &none, "/etc/btcfed"),
            (&here, None, &none, "."),
            (&nowhere, None, &none, "."),
        ] {
            assert_eq!(
                location.state_dir(flag.map(Path::new), env),
                Path::new(expected)
            );
        }
    }

    #[test]
    fn a_dangling_link_counts_as_there() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("conf.yaml");
        assert!(!is_there(&link));
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(is_there(&link));
    }
}
