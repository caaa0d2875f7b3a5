//! Named tables of application state beside the peers: texts by key, each with an age after which it is gone.
//!
//! A table is declared by [`SectionOp::Define`] with a version, which belongs to the application, and a time to live, which
//! entries have unless they are put with their own. Tables live in the `sections` of the peers file and share its fate:
//! people may edit them, several processes may write them, and what other programs keep there stays byte for byte.
//!
//! ```
//! use std::time::Duration;
//! use btcfed_peer_store::{FilePeerStore, SectionStore, StoreOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("peers.yaml");
//! let store = FilePeerStore::open(StoreOptions::new(&path))?;
//! store.define_section("packages", 1, Duration::from_secs(300))?;
//! store.put("packages", "left-pad", "1.3.0")?;
//! assert_eq!(store.get("packages", "left-pad").as_deref(), Some("1.3.0"));
//! store.close()?; // or `flush`; else within the auto-save interval
//! assert!(std::fs::read_to_string(&path)?.contains("left-pad: {value: \"1.3.0\", at: "));
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//! An entry is served while it is younger than its time to live, and not from that moment on: with five minutes it is there
//! at 4:59 and gone at 5:00, when asked for, when saved and when loaded. A time in the future counts as now.
//!
//! # What it does not know
//! What the texts mean.

pub(crate) mod layout;
pub(crate) mod merge;
pub(crate) mod term;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use btcfed_core::time::Timestamp;

/// Most tables: an application needs a handful.
pub const MAX_SECTIONS: usize = 64;

/// Most entries in one table.
pub const MAX_SECTION_ENTRIES: usize = 10_000;

/// Longest name of a table, in bytes.
pub const MAX_SECTION_NAME_BYTES: usize = 64;

/// Longest key of an entry, in bytes.
pub const MAX_SECTION_KEY_BYTES: usize = 256;

/// Longest value of an entry, in bytes: escaped in the worst way it still fits on one line of the file.
pub const MAX_SECTION_VALUE_BYTES: usize = 8 * 1024;

/// Most bytes of keys and values in all tables together: escaped in the worst way they still leave room for the peers.
pub const MAX_SECTIONS_BYTES: usize = 8 * 1024 * 1024;

/// Shortest time to live.
pub const MIN_TTL: Duration = Duration::from_secs(1);

/// Longest time to live: ten years.
pub const MAX_TTL: Duration = Duration::from_secs(3650 * 24 * 3600);

/// The time to live of a table whose author, a person, did not write one.
pub const DEFAULT_TTL: Duration = Duration::from_secs(24 * 3600);

/// One entry of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionEntry {
    /// What was put.
    pub value: String,
    /// When.
    pub at: Timestamp,
    /// How long it lives; `None` means as long as the table says.
    pub ttl: Option<Duration>,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The application's version of what is in it.
    pub version: u64,
    /// How long entries live that do not say so themselves.
    pub ttl: Duration,
    entries: BTreeMap<String, SectionEntry>,
    /// Of all keys and values.
    bytes: usize,
}

impl Section {
    /// A table without entries.
    #[must_use]
    pub const fn new(version: u64, ttl: Duration) -> Self {
        Self {
            version,
            ttl,
            entries: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// True while `entry` is younger than its time to live. An entry of the future was put now.
    #[must_use]
    pub fn is_live(&self, entry: &SectionEntry, now: Timestamp) -> bool {
        now.saturating_since(entry.at) < entry.ttl.unwrap_or(self.ttl)
    }

    /// The entry under `key`, if it is alive.
    #[must_use]
    pub fn get(&self, key: &str, now: Timestamp) -> Option<&SectionEntry> {
        self.entries
            .get(key)
            .filter(|entry| self.is_live(entry, now))
    }

    /// The entries that are alive and whose keys come after `after`, in the order of their keys.
    pub fn iter_after<'a>(
        &'a self,
        after: Option<&str>,
        now: Timestamp,
    ) -> impl Iterator<Item = (&'a str, &'a SectionEntry)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries
            .range::<str, _>((start, Bound::Unbounded))
            .filter(move |(_, entry)| self.is_live(entry, now))
            .map(|(key, entry)| (key.as_str(), entry))
    }

    pub(crate) const fn entries(&self) -> &BTreeMap<String, SectionEntry> {
        &self.entries
    }

    pub(crate) fn set(&mut self, key: String, entry: SectionEntry) {
        self.take(&key);
        self.bytes += key.len() + entry.value.len();
        self.entries.insert(key, entry);
    }

    fn take(&mut self, key: &str) -> bool {
        let Some((key, entry)) = self.entries.remove_entry(key) else {
            return false;
        };
        self.bytes -= key.len() + entry.value.len();
        true
    }

    pub(crate) fn retain(&mut self, keeps: impl Fn(&str, &SectionEntry) -> bool) {
        let bytes = &mut self.bytes;
        self.entries.retain(|key, entry| {
            let keep = keeps(key, entry);
            if !keep {
                *bytes -= key.len() + entry.value.len();
            }
            keep
        });
    }
}

/// All tables at one moment. Cheap to clone: clones share the tables that are alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sections {
    tables: BTreeMap<String, Arc<Section>>,
}

/// What is done to tables.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SectionOp {
    /// Declares a table, or gives one its version and time to live. Entries stay. Refused when the table has a newer
    /// version.
    Define {
        /// Its name.
        section: String,
        /// The application's version.
        version: u64,
        /// How long entries live that do not say so themselves.
        ttl: Duration,
    },
    /// Deletes a table with all its entries. Does nothing when there is none.
    Drop {
        /// Its name.
        section: String,
    },
    /// Sets an entry of a declared table. Its life begins anew.
    Put {
        /// The table.
        section: String,
        /// The entry.
        key: String,
        /// What it says.
        value: String,
        /// How long it lives; `None` means as long as the table says.
        ttl: Option<Duration>,
        /// When its life began; `None` means now. Never later than now.
        at: Option<Timestamp>,
    },
    /// Deletes an entry. Does nothing when there is none.
    Remove {
        /// The table.
        section: String,
        /// The entry.
        key: String,
    },
}

/// Why nothing was changed: the caller asked for something impossible.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SectionError {
    /// A name or key is empty, or a time to live lies outside of [`MIN_TTL`] to [`MAX_TTL`].
    Bad {
        /// `name`, `key`, `time to live`.
        what: &'static str,
        /// The bounds, in words.
        expected: &'static str,
    },
    /// There is no room; what is over its time does not count.
    Full {
        /// What there may be no more of.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// The table is of a newer version, which this application does not know.
    Newer {
        /// The table.
        section: String,
        /// Its version.
        found: u64,
    },
    /// A text is too long.
    TooLong {
        /// `name`, `key`, `value`.
        what: &'static str,
        /// Its bytes.
        len: usize,
        /// The bound.
        limit: usize,
    },
    /// The table was not declared.
    Undeclared(String),
}

impl std::fmt::Display for SectionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bad { what, expected } => write!(f, "{what} of a section: expected {expected}"),
            Self::Full { what, limit } => {
                write!(
                    f,
                    "the sections are full ({limit} {what}); remove something first"
                )
            }
            Self::Newer { section, found } => {
                let section = section.escape_debug();
                write!(
                    f,
                    "section {section} has version {found}, which is newer; upgrade the program"
                )
            }
            Self::TooLong { what, len, limit } => {
                write!(f, "{what} is {len} bytes long; at most {limit} are allowed")
            }
            Self::Undeclared(section) => {
                write!(
                    f,
                    "section {} is not declared; define it first",
                    section.escape_debug()
                )
            }
        }
    }
}

impl std::error::Error for SectionError {}

impl Sections {
    /// The table with this name.
    #[must_use]
    pub fn get(&self, section: &str) -> Option<&Arc<Section>> {
        self.tables.get(section)
    }

    /// All tables, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Section>)> {
        self.tables
            .iter()
            .map(|(name, table)| (name.as_str(), table))
    }

    /// The number of tables.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tables.len()
    }

    /// True without any table.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Does `ops`, in order, all or nothing. Returns whether anything changed.
    ///
    /// # Errors
    /// The first operation that cannot be done. Nothing changed.
    pub fn apply(&mut self, ops: &[SectionOp], now: Timestamp) -> Result<bool, SectionError> {
        // One operation checks before it changes; more of them may fail half-way.
        if let [op] = ops {
            return self.apply_one(op, now);
        }
        let mut next = self.clone();
        let mut changed = false;
        for op in ops {
            changed |= next.apply_one(op, now)?;
        }
        if changed {
            *self = next;
        }
        Ok(changed)
    }

    fn apply_one(&mut self, op: &SectionOp, now: Timestamp) -> Result<bool, SectionError> {
        match op {
            SectionOp::Define {
                section,
                version,
                ttl,
            } => self.define(section, *version, *ttl),
            SectionOp::Drop { section } => Ok(self.tables.remove(section).is_some()),
            SectionOp::Put {
                section,
                key,
                value,
                ttl,
                at,
            } => {
                let entry = SectionEntry {
                    value: value.clone(),
                    at: at.map_or(now, |at| at.clamp_to(now)),
                    ttl: *ttl,
                };
                self.put(section, key, entry, now)
            }
            SectionOp::Remove { section, key } => Ok(self
                .tables
                .get_mut(section)
                .filter(|table| table.entries.contains_key(key))
                .is_some_and(|table| Arc::make_mut(table).take(key))),
        }
    }

    fn define(&mut self, name: &str, version: u64, ttl: Duration) -> Result<bool, SectionError> {
        check_ttl(ttl)?;
        check_text("name", name, MAX_SECTION_NAME_BYTES)?;
        let Some(table) = self.tables.get_mut(name) else {
            if self.tables.len() >= MAX_SECTIONS {
                let (what, limit) = ("sections", MAX_SECTIONS);
                return Err(SectionError::Full { what, limit });
            }
            self.tables
                .insert(name.to_owned(), Arc::new(Section::new(version, ttl)));
            return Ok(true);
        };
        if table.version > version {
            return Err(SectionError::Newer {
                section: name.to_owned(),
                found: table.version,
            });
        }
        if (table.version, table.ttl) == (version, ttl) {
            return Ok(false);
        }
        let table = Arc::make_mut(table);
        (table.version, table.ttl) = (version, ttl);
        Ok(true)
    }

    fn put(
        &mut self,
        name: &str,
        key: &str,
        entry: SectionEntry,
        now: Timestamp,
    ) -> Result<bool, SectionError> {
        check_text("key", key, MAX_SECTION_KEY_BYTES)?;
        check_len("value", &entry.value, MAX_SECTION_VALUE_BYTES)?;
        entry.ttl.map_or(Ok(()), check_ttl)?;
        let undeclared = || SectionError::Undeclared(name.to_owned());
        let table = self.tables.get(name).ok_or_else(undeclared)?;
        let is_crowded = |table: &Section| {
            table.entries.len() >= MAX_SECTION_ENTRIES && !table.entries.contains_key(key)
        };
        let added = key.len() + entry.value.len();
        if is_crowded(table) || self.bytes() + added > MAX_SECTIONS_BYTES {
            self.expire(now);
            let old = |table: &Section| {
                table
                    .entries
                    .get(key)
                    .map(|old| key.len() + old.value.len())
            };
            let table = self.tables.get(name).ok_or_else(undeclared)?;
            if is_crowded(table) {
                let (what, limit) = ("entries", MAX_SECTION_ENTRIES);
                return Err(SectionError::Full { what, limit });
            }
            if self.bytes() + added - old(table).unwrap_or(0) > MAX_SECTIONS_BYTES {
                let (what, limit) = ("bytes", MAX_SECTIONS_BYTES);
                return Err(SectionError::Full { what, limit });
            }
        }
        let table = self.tables.get_mut(name).ok_or_else(undeclared)?;
        if table.entries.get(key) == Some(&entry) {
            return Ok(false);
        }
        Arc::make_mut(table).set(key.to_owned(), entry);
        Ok(true)
    }

    /// Takes out what is over its time. Returns whether anything was.
    pub(crate) fn expire(&mut self, now: Timestamp) -> bool {
        let mut expired = false;
        for table in self.tables.values_mut() {
            if table
                .entries
                .values()
                .all(|entry| table.is_live(entry, now))
            {
                continue;
            }
            expired = true;
            let table = Arc::make_mut(table);
            let ttl = table.ttl;
            table.retain(|_, entry| now.saturating_since(entry.at) < entry.ttl.unwrap_or(ttl));
        }
        expired
    }

    pub(crate) fn insert(&mut self, name: String, table: Section) {
        self.tables.insert(name, Arc::new(table));
    }

    fn bytes(&self) -> usize {
        self.tables.values().map(|table| table.bytes).sum()
    }
}

fn check_ttl(ttl: Duration) -> Result<(), SectionError> {
    if (MIN_TTL..=MAX_TTL).contains(&ttl) {
        return Ok(());
    }
    Err(SectionError::Bad {
        what: "time to live",
        expected: "1s to 3650d",
    })
}

fn check_text(what: &'static str, text: &str, limit: usize) -> Result<(), SectionError> {
    if text.is_empty() {
        let expected = "text that is not empty";
        return Err(SectionError::Bad { what, expected });
    }
    check_len(what, text, limit)
}

const fn check_len(what: &'static str, text: &str, limit: usize) -> Result<(), SectionError> {
    let len = text.len();
    if len > limit {
        return Err(SectionError::TooLong { what, len, limit });
    }
    Ok(())
}

/// A store that keeps tables. Nothing here waits for a disk: changes of tables are soft, and are saved with the next save, at
/// the latest after the auto-save interval, and by `flush` and `close`.
pub trait SectionStore {
    /// All tables, at one moment. May hold entries that are over their time; [`Section::get`] does not give them.
    fn sections(&self) -> Arc<Sections>;

    /// Does `ops`, in order, all or nothing, visible at once. Returns whether anything changed.
    ///
    /// # Errors
    /// The first operation that cannot be done. Nothing changed.
    fn apply_sections(&self, ops: &[SectionOp]) -> Result<bool, SectionError>;

    /// The time by which entries age.
    fn sections_now(&self) -> Timestamp;

    /// Declares a table, or gives one its version and time to live. Entries stay: whoever raises the version converts them.
    ///
    /// # Errors
    /// The table has a newer version, or a bound is exceeded. Nothing changed.
    fn define_section(
        &self,
        section: &str,
        version: u64,
        ttl: Duration,
    ) -> Result<bool, SectionError> {
        self.apply_sections(&[SectionOp::Define {
            section: section.to_owned(),
            version,
            ttl,
        }])
    }

    /// Sets an entry that lives as long as its table says. A table's other entries are not touched.
    ///
    /// # Errors
    /// The table is not declared, or a bound is exceeded. Nothing changed.
    fn put(&self, section: &str, key: &str, value: &str) -> Result<bool, SectionError> {
        self.apply_sections(&[put(section, key, value, None)])
    }

    /// Sets an entry that lives for `ttl`.
    ///
    /// # Errors
    /// As for [`put`](Self::put), or `ttl` lies outside of [`MIN_TTL`] to [`MAX_TTL`]. Nothing changed.
    fn put_for(
        &self,
        section: &str,
        key: &str,
        value: &str,
        ttl: Duration,
    ) -> Result<bool, SectionError> {
        self.apply_sections(&[put(section, key, value, Some(ttl))])
    }

    /// What was put under `key`, if that is alive.
    fn get(&self, section: &str, key: &str) -> Option<String> {
        let sections = self.sections();
        let entry = sections.get(section)?.get(key, self.sections_now())?;
        Some(entry.value.clone())
    }

    /// Deletes an entry. Returns whether there was one.
    ///
    /// # Errors
    /// None today.
    fn remove(&self, section: &str, key: &str) -> Result<bool, SectionError> {
        self.apply_sections(&[SectionOp::Remove {
            section: section.to_owned(),
            key: key.to_owned(),
        }])
    }

    /// At most `limit` living entries whose keys come after `after`, in the order of their keys.
    fn list(
        &self,
        section: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<(String, SectionEntry)> {
        let (sections, now) = (self.sections(), self.sections_now());
        let owned = |(key, entry): (&str, &SectionEntry)| (key.to_owned(), entry.clone());
        sections.get(section).map_or_else(Vec::new, |table| {
            table
                .iter_after(after, now)
                .take(limit)
                .map(owned)
                .collect()
        })
    }
}

fn put(section: &str, key: &str, value: &str, ttl: Option<Duration>) -> SectionOp {
    SectionOp::Put {
        section: section.to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
        ttl,
        at: None,
    }
}

#[cfg(test)]
mod tests;
