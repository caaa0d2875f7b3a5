//! From a tree of plain values to a configuration: every problem collected, every value with its origin.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use btcfed_core::config::{ConfigError, ConfigProblem, format_duration};
use btcfed_core::{NodeConfig, SecretKey};

use crate::draft::Draft;
use crate::keys::{self, Key, VERSION};
use crate::lines::{Lines, Place};
use crate::problems::{Problems, Site};
use crate::quote::plain;
use crate::raw::{self, Documents, Raw, SyntaxError};
use crate::rule::Rule;
use crate::suggest;
use crate::value::{self, MAX_SOCKET_BYTES, Remark};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody wrote it.
    Default,
    /// This environment variable.
    Env(String),
    /// The configuration file.
    File {
        /// 1-based, where it is known.
        line: Option<usize>,
    },
    /// This flag.
    Flag(String),
}

/// A configuration that is being put together from its sources, lowest precedence first.
#[derive(Debug)]
pub(crate) struct Build {
    draft: Draft,
    origins: BTreeMap<&'static str, Origin>,
    sites: HashMap<&'static str, Site>,
    refused: BTreeSet<&'static str>,
    pub(crate) problems: Problems,
    warnings: Vec<ConfigProblem>,
}

/// What came out.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) config: NodeConfig,
    pub(crate) private_key: Option<SecretKey>,
    pub(crate) private_key_file: Option<PathBuf>,
    pub(crate) origins: BTreeMap<&'static str, Origin>,
    pub(crate) warnings: Vec<ConfigProblem>,
}

/// What is the same for every key of a file.
struct File<'a> {
    origin: &'a str,
    base: &'a Path,
    lines: Lines,
    newer: bool,
}

impl Build {
    /// The defaults, with the node's own files in `state_dir`.
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self {
            draft: Draft::new(state_dir),
            origins: BTreeMap::new(),
            sites: HashMap::new(),
            refused: BTreeSet::new(),
            problems: Problems::default(),
            warnings: Vec::new(),
        }
    }

    /// Adds what `text`, the content of the file called `origin`, says. Relative file names are meant from `base`.
    pub(crate) fn file(&mut self, text: &str, origin: &str, base: &Path) {
        let lines = Lines::of(text);
        for (line, mark) in &lines.marks {
            let reason = if *mark == '!' {
                "tags (!name) are not supported"
            } else {
                "anchors and aliases are not supported"
            };
            let hint =
                format!("write the value itself, or put text that begins with {mark} in quotes");
            self.problems
                .add(Site::line(origin, Some(*line)).problem(reason, Some(hint)));
        }
        let documents = match raw::parse(text) {
            Ok(documents) => documents,
            Err(error) => {
                self.syntax(&error, &lines, origin);
                if let Some((whole, documents)) = before(text, error.line) {
                    // Only to tell what else is wrong: nothing of it is ever used.
                    self.entries(documents.first, Lines::of(whole), origin, base);
                }
                return;
            }
        };
        if documents.more {
            let site = Site::line(origin, lines.second_document);
            self.problems.add(site.problem(
                "a second document begins here",
                Some("remove the line ---".to_owned()),
            ));
        }
        self.entries(documents.first, lines, origin, base);
    }

    fn entries(&mut self, document: Raw, lines: Lines, origin: &str, base: &Path) {
        match document {
            Raw::Null => {}
            Raw::Map(entries) => {
                let newer = entries.iter().any(|(name, value)| {
                    matches!((name, value), (Raw::Text(name), Raw::Integer(number)) if name.as_str() == "version" && *number > VERSION)
                });
                self.section(
                    &entries,
                    "",
                    Place::ROOT,
                    &mut File {
                        origin,
                        base,
                        lines,
                        newer,
                    },
                );
            }
            other => {
                let reason = format!(
                    "expected sections such as network:, found {}",
                    other.describe()
                );
                self.problems.add(Site::file(origin).problem(reason, None));
            }
        }
    }

    fn syntax(&mut self, error: &SyntaxError, lines: &Lines, origin: &str) {
        if !lines.marks.is_empty() {
            return;
        }
        let tabs = lines
            .tabs
            .iter()
            .filter(|&&tab| error.line.is_none_or(|line| tab <= line));
        let mut by_tab = false;
        for &line in tabs {
            by_tab = true;
            let hint = Some("indent with spaces".to_owned());
            self.problems
                .add(Site::line(origin, Some(line)).problem("indented with a tab", hint));
        }
        if by_tab {
            return;
        }
        let column = error
            .column
            .map(|column| format!(" at column {column}"))
            .unwrap_or_default();
        let hint = [
            "mapping values",
            "cannot start any token",
            "expected alphabetic",
        ]
        .iter()
        .any(|sign| error.reason.contains(sign))
        .then(|| "put text with special characters in quotes".to_owned());
        self.problems.add(
            Site::line(origin, error.line)
                .problem(format!("not valid YAML{column}: {}", error.reason), hint),
        );
    }

    fn section(
        &mut self,
        entries: &[(Raw, Raw)],
        section: &str,
        place: Place,
        file: &mut File<'_>,
    ) {
        let mut seen: HashMap<String, Option<usize>> = HashMap::new();
        for (name, raw) in entries {
            let name = key_text(name);
            let place = place.key(&name);
            let line = file.lines.take(place);
            let full = if section.is_empty() {
                name.clone()
            } else {
                format!("{section}.{name}")
            };
            let mut site = Site {
                origin: file.origin.to_owned(),
                line,
                key: Some(plain(&full)),
            };
            if let Some(first) = seen.get(&name) {
                let first = first
                    .map(|line| format!(", first on line {line}"))
                    .unwrap_or_default();
                let reason = format!("written twice{first}");
                self.problems
                    .add(site.problem(reason, Some("keep one of them".to_owned())));
            } else {
                seen.insert(name.clone(), line);
            }
            // A dotted name is one name to YAML, whatever people mean by it.
            let known = (!name.contains('.')).then_some(full.as_str());
            if let Some(key) = known.and_then(keys::key) {
                site.key = Some(full);
                let item_line = &mut |index| file.lines.take(place.item(index)).or(line);
                self.value(key, raw, &site, Origin::File { line }, file.base, item_line);
            } else if known.is_some_and(keys::is_section) {
                match raw {
                    Raw::Map(entries) => self.section(entries, &full, place, file),
                    Raw::Null => {}
                    Raw::Flag(_)
                    | Raw::Integer(_)
                    | Raw::List(_)
                    | Raw::Number(_)
                    | Raw::Text(_) => {
                        let reason = format!("expected a section, found {}", raw.describe());
                        let below: Vec<_> = keys::children(&full).collect();
                        self.problems.add(site.problem(
                            reason,
                            Some(format!("indent below it: {}", below.join(", "))),
                        ));
                    }
                }
            } else if !file.newer {
                let (reason, hint) = unknown(section, &name, self.problems.is_full());
                self.problems.add(site.problem(reason, hint));
            }
        }
    }

    /// Sets one key. `item_line` tells the line of an element of a list.
    pub(crate) fn value(
        &mut self,
        key: &'static Key,
        raw: &Raw,
        site: &Site,
        origin: Origin,
        base: &Path,
        item_line: &mut dyn FnMut(usize) -> Option<usize>,
    ) {
        if matches!(raw, Raw::Null) {
            return;
        }
        let outcome = value::set(&key.rule, raw, base, &mut self.draft);
        if outcome.refused.is_empty() {
            self.origins.insert(key.name, origin);
        } else {
            self.refused.insert(key.name);
        }
        self.sites.insert(key.name, site.clone());
        let mut tell = |remark: Remark| {
            let mut site = site.clone();
            if let Some(index) = remark.item {
                site.key = Some(format!("{}[{index}]", key.name));
                site.line = item_line(index);
            }
            site.problem(remark.reason, remark.hint)
        };
        // Elements are looked up in the order of the file, each once.
        let noted: Vec<_> = outcome.noted.into_iter().map(&mut tell).collect();
        for remark in outcome.refused {
            self.problems.add(tell(remark));
        }
        self.warnings.extend(noted);
    }

    /// Adds a remark that stops nothing.
    pub(crate) fn warn(&mut self, warning: ConfigProblem) {
        self.warnings.push(warning);
    }

    /// Where `key` was written, if it was.
    pub(crate) fn site(&self, key: &str) -> Option<&Site> {
        self.sites.get(key)
    }

    /// True when an inline private key is in force.
    pub(crate) fn has_inline_key(&self) -> bool {
        self.draft.private_key.is_some()
    }

    /// The configuration, or everything that is wrong with it. `file` is where it was read from.
    pub(crate) fn finish(mut self, file: Option<&Path>) -> Result<Built, ConfigError> {
        let written = &self.origins;
        self.draft.adapt_defaults(|key| written.contains_key(key));
        self.limits();
        self.exposure();
        self.files(file);
        self.problems.into_result()?;
        let (config, private_key, private_key_file) = self.draft.finish();
        let mut origins = self.origins;
        for key in keys::keys() {
            origins.entry(key.name).or_insert(Origin::Default);
        }
        Ok(Built {
            config,
            private_key,
            private_key_file,
            origins,
            warnings: self.warnings,
        })
    }

    /// Values that contradict each other.
    fn limits(&mut self) {
        let network = &self.draft.config.network;
        let (inbound, outbound, all) = (
            network.max_inbound,
            network.target_outbound,
            network.max_connections,
        );
        let (initial, max) = (self.draft.backoff.initial, self.draft.backoff.max);
        let limits = |name: &str, value: usize| {
            format!("invalid connection limits: {name} {value} is above max_connections {all}")
        };
        let raise = "lower it, or raise network.limits.max_connections";
        let all_key = "network.limits.max_connections";
        if inbound > all {
            self.contradiction(
                ["network.limits.max_inbound", all_key],
                limits("max_inbound", inbound),
                raise,
            );
        }
        if outbound > all {
            self.contradiction(
                ["network.target_outbound", all_key],
                limits("target_outbound", outbound),
                raise,
            );
        }
        if initial > max {
            let reason = format!(
                "{} is longer than network.backoff.max {}",
                format_duration(initial),
                format_duration(max)
            );
            self.contradiction(
                ["network.backoff.initial", "network.backoff.max"],
                reason,
                "lower it, or raise the other",
            );
        }
        let peers = &self.draft.config.peers;
        if peers.stale_after > peers.forget_after {
            let reason = format!(
                "{} is longer than peers.forget_after {}",
                format_duration(peers.stale_after),
                format_duration(peers.forget_after)
            );
            self.contradiction(
                ["peers.stale_after", "peers.forget_after"],
                reason,
                "lower it, or raise the other",
            );
        }
        if self.draft.private_key.is_some() && self.draft.private_key_file.is_some() {
            let reason = "node.private_key is set as well".to_owned();
            self.contradiction(
                ["node.private_key_file", "node.private_key"],
                reason,
                "keep one of them",
            );
        }
    }

    /// What may be asked over HTTP is for this machine unless somebody says otherwise.
    fn exposure(&mut self) {
        let admin = &self.draft.config.admin;
        if let Some(at) = admin.http.filter(|at| !at.ip().is_loopback())
            && !admin.http_insecure
        {
            let reason = format!("{at} can be reached from other machines");
            self.contradiction(
                ["admin.http"; 2],
                reason,
                "write 127.0.0.1:9100, or set admin.http_insecure: true",
            );
        }
    }

    /// File names that cannot work.
    fn files(&mut self, file: Option<&Path>) {
        let config = &self.draft.config;
        let named = [
            ("node.private_key_file", self.draft.private_key_file.clone()),
            ("peers.file", Some(config.peers.file.clone())),
            ("admin.socket", Some(config.admin.socket.clone())),
            ("logging.file", config.logging.file.clone()),
        ];
        let socket = config.admin.socket.as_os_str().len();
        if socket > MAX_SOCKET_BYTES && self.sites.contains_key("admin.socket") {
            let reason = format!(
                "{socket} bytes are too many for the name of a socket, at most {MAX_SOCKET_BYTES}"
            );
            self.contradiction(["admin.socket"; 2], reason, "choose a shorter one");
        }
        for (index, (key, path)) in named.iter().enumerate() {
            let Some(path) = path else { continue };
            if file == Some(path.as_path()) {
                self.contradiction(
                    [key; 2],
                    "this is the configuration file".to_owned(),
                    "choose another name",
                );
            }
            if let Some((other, _)) = named[..index]
                .iter()
                .find(|(_, earlier)| earlier.as_ref() == Some(path))
            {
                self.contradiction(
                    [key, other],
                    format!("the same file as {other}"),
                    "choose another name",
                );
            }
        }
    }

    /// Tells that values do not go together, at the first of `keys` that was written; silent if one is refused anyway.
    fn contradiction(&mut self, keys: [&'static str; 2], reason: String, hint: &str) {
        if keys.iter().any(|key| self.refused.contains(key)) {
            return;
        }
        if let Some(site) = keys.iter().find_map(|key| self.sites.get(key)) {
            self.problems
                .add(site.problem(reason, Some(hint.to_owned())));
        }
    }
}

/// Most sections left away to find a beginning that can be read.
const MAX_CUTS: usize = 16;

/// The sections before the one with a syntax error on `line`, as far as they can be read on their own.
fn before(text: &str, line: Option<usize>) -> Option<(&str, Documents)> {
    let mut starts = Vec::new();
    let mut at = 0;
    for part in text.split_inclusive('\n').take(line?) {
        if part.starts_with(|first: char| first.is_ascii_alphabetic()) {
            starts.push(at);
        }
        at += part.len();
    }
    let last_first = starts.into_iter().rev().take(MAX_CUTS);
    last_first.filter(|at| *at > 0).find_map(|at| {
        let whole = text.get(..at)?;
        let documents = raw::parse(whole).ok()?;
        matches!(documents.first, Raw::Map(_)).then_some((whole, documents))
    })
}

/// The name of a key as it was written, as far as YAML kept it.
fn key_text(name: &Raw) -> String {
    match name {
        Raw::Flag(flag) => flag.to_string(),
        Raw::Integer(number) => number.to_string(),
        Raw::Null => "~".to_owned(),
        Raw::Number(number) => number.to_string(),
        Raw::Text(text) => text.to_string(),
        Raw::List(_) | Raw::Map(_) => "?".to_owned(),
    }
}

/// What to say about `name`, which `section` does not have.
fn unknown(section: &str, name: &str, briefly: bool) -> (String, Option<String>) {
    if name == "<<" {
        return (
            "merge keys are not supported".to_owned(),
            Some("write the keys themselves".to_owned()),
        );
    }
    let reason = "unknown key".to_owned();
    if briefly {
        return (reason, None);
    }
    if let Some(key) = keys::key(name) {
        let (parent, leaf) = key.split();
        let hint = format!(
            "write {} and, indented below, {leaf}:",
            parent.replace('.', ": and, indented below, ") + ":"
        );
        return (reason, Some(hint));
    }
    if let Some(near) = suggest::nearest(name, keys::children(section)) {
        return (reason, Some(format!("did you mean {near}?")));
    }
    let leaf = suggest::nearest(name, keys::keys().iter().map(|key| key.split().1));
    if let Some(key) = leaf.and_then(|leaf| keys::keys().iter().find(|key| key.split().1 == leaf)) {
        return (reason, Some(format!("did you mean {key}?")));
    }
    let below: Vec<_> = keys::children(section).collect();
    (reason, Some(format!("known here: {}", below.join(", "))))
}

/// A value that was given as text outside of a file, as its key's rule wants it.
pub(crate) fn from_text(rule: &Rule, text: &str) -> Raw {
    let trimmed = text.trim();
    match rule {
        Rule::Announce(_) | Rule::Bootstrap(_) | Rule::Listen(_) | Rule::Patterns(_) => {
            let items = trimmed
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            Raw::List(items.map(Raw::text).collect())
        }
        Rule::Count { .. } | Rule::Version => trimmed
            .parse()
            .map_or_else(|_| Raw::text(trimmed), Raw::Integer),
        Rule::Flag(_) => trimmed
            .parse()
            .map_or_else(|_| Raw::text(trimmed), Raw::Flag),
        Rule::Fraction { .. } => trimmed
            .parse()
            .map_or_else(|_| Raw::text(trimmed), Raw::Number),
        Rule::LogFilter(..)
        | Rule::OptionalPath(_)
        | Rule::Path(_)
        | Rule::Secret
        | Rule::Text(..) => Raw::text(text),
        Rule::Choice(..) | Rule::Duration { .. } | Rule::Mode(_) | Rule::Socket(_) => {
            Raw::text(trimmed)
        }
    }
}
