//! Values from outside of the file: environment variables and flags.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;

use crate::convert::{Build, Origin, from_text};
use crate::keys::{Key, keys};
use crate::not_offered;
use crate::problems::Site;
use crate::quote::{plain, quote};
use crate::rule::Rule;
use crate::suggest;

/// What the names of our variables begin with.
const PREFIX: &str = "BTCFED_";

/// Variables of ours that are no configuration.
const OTHERS: [&str; 3] = ["BTCFED_CONFIG", "BTCFED_SOCKET", "BTCFED_TEST_"];

/// Variables of others that matter here.
const FOREIGN: [&str; 3] = ["HOME", "STATE_DIRECTORY", "XDG_CONFIG_HOME"];

/// The environment variables that matter here, as data. `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: Vec<(String, OsString)>,
}

impl Environment {
    /// The environment of this process: the only place in this crate that reads it.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect()
    }

    /// The value of `name`, if it is set and not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        let (_, value) = self.variables.iter().find(|(other, _)| other == name)?;
        (!value.is_empty()).then_some(value.as_os_str())
    }

    /// The value of `name` as an absolute path, if it is one.
    pub(crate) fn absolute(&self, name: &str) -> Option<&Path> {
        self.get(name)
            .map(Path::new)
            .filter(|path| path.is_absolute())
    }
}

impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    /// Keeps what matters here and drops the rest.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        let relevant = |(name, _): &(String, OsString)| {
            name.starts_with(PREFIX) || FOREIGN.contains(&name.as_str())
        };
        Self {
            variables: variables.filter(relevant).collect(),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.variables.iter().map(|(name, _)| name))
            .finish()
    }
}

/// A value that was given as a flag.
#[derive(Clone, PartialEq, Eq)]
pub struct FlagValue {
    /// The flag as it is typed, such as `--log-level`: named in problems.
    pub flag: String,
    /// The dotted key it sets.
    pub key: String,
    /// The value in the spelling of the file; lists are separated by commas.
    pub value: String,
}

impl FlagValue {
    /// `flag` sets `key` to `value`.
    pub fn new(flag: impl Into<String>, key: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            flag: flag.into(),
            key: key.into(),
            value: value.into(),
        }
    }
}

impl fmt::Debug for FlagValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} = {}",
            self.flag,
            plain(&self.key),
            quote(&self.value)
        )
    }
}

/// Values that go before those of the file: flags first, then the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Variables called `BTCFED_A__B` set the key `a.b`.
    pub env: Environment,
    /// Flags; a later one goes before an earlier one.
    pub flags: Vec<FlagValue>,
}

impl Overrides {
    /// Adds everything to `build`, in the order of precedence. Relative file names stay as they are.
    pub(crate) fn apply(&self, build: &mut Build) {
        for (name, value) in &self.env.variables {
            if let Some(rest) = name.strip_prefix(PREFIX) {
                variable(name, rest, value, build);
            }
        }
        for flag in &self.flags {
            apply_flag(flag, build);
        }
    }
}

fn variable(name: &str, rest: &str, value: &OsStr, build: &mut Build) {
    if OTHERS
        .iter()
        .any(|other| name == *other || (other.ends_with('_') && name.starts_with(other)))
    {
        return;
    }
    let mut site = Site::file(&plain(name));
    let flat = rest.to_lowercase();
    let exact = settable().find(|key| variable_of(key.name) == flat);
    // A single underscore where two belong would be ignored in silence otherwise.
    let meant = exact.or_else(|| settable().find(|key| key.name.replace('.', "_") == flat));
    if let Some(key) = meant.filter(|key| matches!(key.rule, Rule::Secret)) {
        site.key = Some(key.name.to_owned());
        return refuse_secret(
            &site,
            "the environment is no place for a private key",
            build,
        );
    }
    if let Some((reason, hint)) = not_offered::explain(&flat.replace("__", ".")) {
        return build.problems.add(site.problem(&reason, hint));
    }
    let Some(key) = exact else {
        if meant.is_some() || rest.contains("__") {
            let near = meant
                .map(|key| variable_of(key.name))
                .or_else(|| nearest_variable(rest));
            let hint = near.map(|near| format!("did you mean {PREFIX}{}?", near.to_uppercase()));
            build.problems.add(site.problem("unknown variable", hint));
        }
        return;
    };
    site.key = Some(key.name.to_owned());
    let Some(value) = value.to_str() else {
        return build.problems.add(site.problem("not valid UTF-8", None));
    };
    let origin = Origin::Env(name.to_owned());
    build.value(
        key,
        &from_text(&key.rule, value),
        &site,
        origin,
        Path::new(""),
        &mut |_| None,
    );
}

fn apply_flag(flag: &FlagValue, build: &mut Build) {
    let mut site = Site::file(&flag.flag);
    site.key = Some(plain(&flag.key));
    let Some(key) = settable().find(|key| key.name == flag.key) else {
        if let Some((reason, hint)) = not_offered::explain(&flag.key) {
            return build.problems.add(site.problem(&reason, hint));
        }
        let near = suggest::nearest(&flag.key, settable().map(|key| key.name));
        return build.problems.add(site.problem(
            "unknown key",
            near.map(|near| format!("did you mean {near}?")),
        ));
    };
    if matches!(key.rule, Rule::Secret) {
        return refuse_secret(
            &site,
            "every user of this machine can read the flags of a process",
            build,
        );
    }
    let origin = Origin::Flag(flag.flag.clone());
    build.value(
        key,
        &from_text(&key.rule, &flag.value),
        &site,
        origin,
        Path::new(""),
        &mut |_| None,
    );
}

fn refuse_secret(site: &Site, reason: &str, build: &mut Build) {
    let file = variable_of("node.private_key_file").to_uppercase();
    let hint =
        format!("put the key into a file and name that in node.private_key_file or {PREFIX}{file}");
    build.problems.add(site.problem(reason, Some(hint)));
}

/// Every key but the version, which belongs to a file, not to a run.
fn settable() -> impl Iterator<Item = &'static Key> {
    keys()
        .iter()
        .filter(|key| !matches!(key.rule, Rule::Version))
}

fn nearest_variable(rest: &str) -> Option<String> {
    let names: Vec<String> = settable().map(|key| variable_of(key.name)).collect();
    suggest::nearest(rest, names.iter().map(String::as_str)).map(str::to_owned)
}

/// The variable of a key, without prefix, in lower case.
fn variable_of(key: &str) -> String {
    key.replace('.', "__")
}
