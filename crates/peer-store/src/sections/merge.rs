//! What memory, the file as it was and the file as it is say about tables together. Pure.

use std::collections::BTreeSet;

use crate::sections::{Section, Sections};

/// Merges what `file` changed against `base` into `memory`. Where both changed an entry, the one put later counts, and on a
/// tie the file's. What is missing in the file was deleted, unless `keeps_missing` (the file is damaged) or the table is one
/// of the `unread` (it is there and cannot be read).
pub(crate) fn merge(
    base: &Sections,
    file: &Sections,
    memory: &Sections,
    unread: &BTreeSet<String>,
    keeps_missing: bool,
) -> Sections {
    let names: BTreeSet<&str> = memory
        .iter()
        .chain(file.iter())
        .map(|(name, _)| name)
        .collect();
    let mut merged = Sections::default();
    for name in names {
        let of = |sections: &Sections| sections.get(name).map(|table| (**table).clone());
        let keeps = keeps_missing || unread.contains(name);
        if let Some(table) = table(of(base), of(file), of(memory), keeps) {
            merged.insert(name.to_owned(), table);
        }
    }
    merged
}

fn table(
    base: Option<Section>,
    file: Option<Section>,
    memory: Option<Section>,
    keeps_missing: bool,
) -> Option<Section> {
    let (was_there, is_there) = (base.is_some(), file.is_some());
    let Some(file) = file else {
        let memory = memory?;
        let is_deleted = was_there && !keeps_missing;
        let base = base.unwrap_or_else(|| Section::new(memory.version, memory.ttl));
        if !is_deleted {
            return Some(memory);
        }
        let mut rest = memory;
        rest.retain(|key, entry| base.entries().get(key) != Some(entry));
        let is_redefined = (rest.version, rest.ttl) != (base.version, base.ttl);
        return (is_redefined || !rest.entries().is_empty()).then_some(rest);
    };
    let is_dropped = memory.is_none() && was_there && is_there;
    let base = base.unwrap_or_else(|| Section::new(file.version, file.ttl));
    if is_dropped && base == file {
        return None;
    }
    let mut merged = memory.unwrap_or_else(|| Section::new(file.version, file.ttl));
    if (base.version, base.ttl) != (file.version, file.ttl) || !was_there {
        let is_ours = merged.version != base.version;
        merged.version = if is_ours {
            merged.version.max(file.version)
        } else {
            file.version
        };
        merged.ttl = file.ttl;
    }
    for (key, written) in file.entries() {
        let before = base.entries().get(key);
        if before == Some(written) {
            continue;
        }
        let known = merged.entries().get(key);
        let is_later = known.is_some_and(|known| before != Some(known) && known.at > written.at);
        if !is_later {
            merged.set(key.clone(), written.clone());
        }
    }
    let missing = |key: &str| !keeps_missing && !file.entries().contains_key(key);
    merged.retain(|key, entry| !(missing(key) && base.entries().get(key) == Some(entry)));
    Some(merged)
}
