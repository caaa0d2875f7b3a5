//! Copies of the peers file that the store keeps: the base (what the file was when the store last saved it) and older ones.
//!
//! The base is both what edits made while no store was open are compared with, and the newest backup. It is a copy and no
//! hard link, because editors write into the file itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use btcfed_core::limits;
use btcfed_core::store::StoreError;
use btcfed_core::time::Timestamp;

use crate::disk::displaced::Print;
use crate::disk::replace::{directory, failed, name, replace};
use crate::disk::{Disk, FileInfo};
use crate::journal::Identity;
use crate::text::checksum::Checksum;
use crate::text::document::{Document, FORMAT_VERSION};
use crate::text::scalar;

/// What the name of the base has after the name of the file.
const BASE: &str = ".base";

/// What the name of the copy has that is taken before an edit or damage is taken over.
const BEFORE: &str = ".before";

/// What names of older copies have, followed by when they were retired.
const OLD: &str = ".old-";

/// Ages that part older copies into groups; of each group one is kept.
const AGES: [Duration; limits::MAX_BACKUPS - 1] = [
    Duration::from_secs(60),
    Duration::from_secs(60 * 60),
    Duration::from_secs(24 * 60 * 60),
    Duration::from_secs(7 * 24 * 60 * 60),
];

/// Most older copies that are kept: one younger than a minute, than an hour, than a day, than a week, and one beyond.
pub const MAX_OLD_COPIES: usize = limits::MAX_BACKUPS;

/// How long after a save the base follows at the latest. Saves in between share one copy.
pub const BASE_DELAY: Duration = Duration::from_secs(1);

/// The base of a peers file.
pub(crate) fn base_path(path: &Path) -> PathBuf {
    with_suffix(path, BASE)
}

/// The copy that is taken before an edit or damage is taken over, or before people change much at once.
pub(crate) fn before_path(path: &Path) -> PathBuf {
    with_suffix(path, BEFORE)
}

/// Older copies, by when they were retired.
pub(crate) fn old_copies(
    disk: &dyn Disk,
    path: &Path,
) -> std::io::Result<Vec<(Timestamp, PathBuf)>> {
    let prefix = format!("{}{OLD}", name(path));
    let copies = disk.list(directory(path))?.into_iter().filter_map(|name| {
        let at = scalar::time_of_name(name.strip_prefix(&prefix)?)?;
        Some((at, path.with_file_name(name)))
    });
    Ok(copies.collect())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    path.with_file_name(format!("{}{suffix}", name(path)))
}

/// A copy that is exactly what a store once wrote.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) document: Document,
    pub(crate) bytes: Vec<u8>,
    /// Which checkpoint it is.
    pub(crate) identity: Identity,
}

/// Reads the base. `None` when there is none, or it is not exactly what a store once wrote.
pub(crate) fn read(disk: &dyn Disk, path: &Path, limit: u64, now: Timestamp) -> Option<Base> {
    read_copy(disk, &base_path(path), limit, now)
}

/// [`read`] of any copy.
pub(crate) fn read_copy(disk: &dyn Disk, copy: &Path, limit: u64, now: Timestamp) -> Option<Base> {
    let bytes = match disk.read(copy, limit) {
        Ok(bytes) => bytes,
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                tracing::warn!(path = %copy.display(), %error, "the copy of the peers file cannot be read");
            }
            return None;
        }
    };
    let document = Document::parse(&bytes, &Document::default(), now);
    let is_ours = document.checksum == Checksum::Matches
        && document.damage.is_empty()
        && document.version == FORMAT_VERSION;
    if !is_ours {
        tracing::warn!(path = %copy.display(), "the copy of the peers file is damaged and not used");
    }
    let identity = Identity::of(document.generation, Print::of(&bytes));
    is_ours.then_some(Base {
        document,
        bytes,
        identity,
    })
}

/// Makes the bytes of `parts` the base, and the base before an older copy, of which at most `copies` are kept; when that is
/// `risky`, it becomes the copy before the last edit instead. To be called while holding the lock.
///
/// # Errors
/// It could not be written. The base is the old one, or that is the newest of the older copies, or it is the new one.
pub(crate) fn write(
    disk: &dyn Disk,
    path: &Path,
    parts: &[&[u8]],
    like: Option<&FileInfo>,
    now: Timestamp,
    (is_risky, copies): (bool, usize),
) -> Result<(), StoreError> {
    let base = base_path(path);
    if disk.metadata(&base).is_ok() {
        if is_risky {
            let before = before_path(path);
            disk.rename(&base, &before)
                .map_err(|error| failed("rename", &before, &error))?;
        } else {
            retire(disk, path, now, copies)?;
        }
    }
    replace(disk, &base, parts, like).map(drop)
}

/// Makes the base an older copy, unless there is one of the last minute, and deletes those that are not needed any more.
fn retire(disk: &dyn Disk, path: &Path, now: Timestamp, count: usize) -> Result<(), StoreError> {
    let mut copies =
        old_copies(disk, path).map_err(|error| failed("list", directory(path), &error))?;
    copies.sort_unstable();
    let is_recent = |at: &Timestamp| now.saturating_since(*at) < AGES[0] && *at <= now;
    if count > 0 && !copies.iter().any(|(at, _)| is_recent(at)) {
        let old = path.with_file_name(format!("{}{OLD}{}", name(path), scalar::time_name(now)));
        disk.rename(&base_path(path), &old)
            .map_err(|error| failed("rename", &old, &error))?;
        copies.push((now, old));
    }
    let times: Vec<Timestamp> = copies.iter().map(|(at, _)| *at).collect();
    let kept = kept(&times, now, count);
    for (_, old) in copies.iter().filter(|(at, _)| !kept.contains(at)) {
        if let Err(error) = disk.remove(old) {
            tracing::debug!(path = %old.display(), %error, "an old copy stays");
        }
    }
    Ok(())
}

/// Which copies are kept: the oldest of each group, so that it grows into the next one; of the oldest group the youngest.
/// With fewer copies than groups, the oldest groups are one.
fn kept(times: &[Timestamp], now: Timestamp, count: usize) -> Vec<Timestamp> {
    let Some(last) = count.min(MAX_OLD_COPIES).checked_sub(1) else {
        return Vec::new();
    };
    let ages = AGES.get(..last).unwrap_or(&AGES);
    let group = |at: Timestamp| {
        let age = now.saturating_since(at);
        ages.iter().filter(|bound| **bound <= age).count()
    };
    let of_group = |wanted: usize| {
        let members = times.iter().filter(move |at| group(**at) == wanted);
        if wanted == last {
            members.max().copied()
        } else {
            members.min().copied()
        }
    };
    (0..=last).filter_map(of_group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::OsDisk;

    #[test]
    fn there_is_always_a_copy_of_each_order_of_age_and_never_too_many() {
        let mut times: Vec<Timestamp> = Vec::new();
        let step = 45;
        for secs in (0..30 * 86_400).step_by(step) {
            let now = Timestamp::from_secs(secs);
            let is_recent = |at: &&Timestamp| now.saturating_since(**at) < AGES[0];
            if !times.iter().any(|at| is_recent(&at)) {
                times.push(now);
            }
            times = kept(&times, now, MAX_OLD_COPIES);
            assert!(times.len() <= MAX_OLD_COPIES);
            let has = |from: u64, to: u64| {
                let is_between = |at: &Timestamp| (from..=to).contains(&(secs - at.as_secs()));
                times.iter().any(is_between)
            };
            if secs > 15 * 86_400 {
                // A group whose copy has just grown out of it is filled again after the age of the group before.
                assert!(has(0, 200) && has(60, 2 * 3600), "{secs}: {times:?}");
                assert!(
                    has(200, 86_400) && has(3600, 7 * 86_400),
                    "{secs}: {times:?}"
                );
                assert!(has(7 * 86_400, 15 * 86_400), "{secs}: {times:?}");
            }
        }
    }

    #[test]
    fn as_many_copies_are_kept_as_are_wanted_and_none_where_none_are() {
        for count in 0..=MAX_OLD_COPIES + 1 {
            let mut times: Vec<Timestamp> = Vec::new();
            let mut most = 0;
            for secs in (0..20 * 86_400).step_by(45) {
                let now = Timestamp::from_secs(secs);
                if !times.iter().any(|at| now.saturating_since(*at) < AGES[0]) {
                    times.push(now);
                }
                times = kept(&times, now, count);
                most = most.max(times.len());
            }
            assert_eq!(most, count.min(MAX_OLD_COPIES));
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        for secs in 0..5 {
            let now = Timestamp::from_secs(secs * 100);
            let copies = if secs == 4 { 0 } else { 5 };
            write(&OsDisk, &path, &[b"x"], None, now, (false, copies)).unwrap();
            let count = old_copies(&OsDisk, &path).unwrap().len();
            assert_eq!(count > 0, (1..4).contains(&secs), "{secs}");
        }
    }

    #[test]
    fn the_base_is_replaced_and_the_one_before_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        let save = |text: &str, secs, is_risky| {
            let now = Timestamp::from_secs(secs);
            write(&OsDisk, &path, &[text.as_bytes()], None, now, (is_risky, 5)).unwrap();
        };
        let text = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        save("1", 0, false);
        save("2", 10, false);
        save("3", 20, false);
        assert_eq!(
            (text("p.base"), text("p.old-19700101T000010Z")),
            ("3".into(), "1".into())
        );
        save("4", 30, true);
        assert_eq!((text("p.base"), text("p.before")), ("4".into(), "3".into()));
        save("5", 100, false);
        assert_eq!(text("p.old-19700101T000140Z"), "4");
        assert_eq!(OsDisk.list(dir.path()).unwrap().len(), 4);
    }
}
