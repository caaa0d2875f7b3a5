//! Replacing a file so that a crash at any step leaves the old one or the new one, and keeping bad bytes aside.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use btcfed_core::store::StoreError;
use btcfed_core::time::{Clock as _, Timestamp};

use crate::clock::SystemClock;
use crate::disk::{Disk, FileInfo, HeldFile};
use crate::text::scalar;

/// How many damaged files are kept aside. Those of earlier sessions give way first, then those of this one between its
/// first and its newest.
pub const MAX_DAMAGED_KEPT: usize = 5;

/// What names of temporary files have after the name of the file.
const TEMP: &str = ".tmp-";

/// What names of files kept aside have after the name of the file.
pub(crate) const DAMAGED: &str = ".damaged-";

/// Tells temporary files of one process apart.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// An operating system's refusal as a store error.
pub(crate) fn failed(operation: &'static str, path: &Path, error: &io::Error) -> StoreError {
    StoreError::Io {
        operation,
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}

pub(crate) fn directory(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."))
}

pub(crate) fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Replaces the content of `path`, durably: temporary file, sync, rename, sync of the directory. Gives back the file that
/// was replaced, held open, where the disk can do that.
///
/// # Errors
/// The file is the complete old one; or, when only the last step failed, the complete new one that a power cut may undo.
pub(crate) fn replace(
    disk: &dyn Disk,
    path: &Path,
    parts: &[&[u8]],
    like: Option<&FileInfo>,
) -> Result<Option<Box<dyn HeldFile>>, StoreError> {
    let held = put(disk, path, parts, like)?;
    sync_directory(disk, path)?;
    Ok(held)
}

/// [`replace`] without its last step.
///
/// # Errors
/// The file is the complete old one.
pub(crate) fn put(
    disk: &dyn Disk,
    path: &Path,
    parts: &[&[u8]],
    like: Option<&FileInfo>,
) -> Result<Option<Box<dyn HeldFile>>, StoreError> {
    let temp = temporary(path);
    let written = disk
        .write_parts(&temp, parts, like)
        .map_err(|error| failed("write", &temp, &error))
        .and_then(|file| file.sync().map_err(|error| failed("sync", &temp, &error)))
        .and_then(|()| {
            disk.replace(&temp, path)
                .map_err(|error| failed("rename", path, &error))
        });
    written.inspect_err(|_| discard(disk, &temp))
}

/// The last step of [`replace`].
///
/// # Errors
/// A power cut may undo it.
pub(crate) fn sync_directory(disk: &dyn Disk, path: &Path) -> Result<(), StoreError> {
    let directory = directory(path);
    disk.sync_dir(directory)
        .map_err(|error| failed("sync", directory, &error))
}

/// Lets go of the name of a file that was replaced. One that could not be opened may be an editor's: it is kept aside.
pub(crate) fn release(
    disk: &dyn Disk,
    (replaced, path): (&Path, &Path),
    held: io::Result<Box<dyn HeldFile>>,
) -> Option<Box<dyn HeldFile>> {
    let error = match held {
        Ok(held) => {
            discard(disk, replaced);
            return Some(held);
        }
        Err(error) => error,
    };
    let names = disk.list(directory(path)).unwrap_or_default();
    let prefix = format!("{}{DAMAGED}", name(path));
    let stamp = scalar::time_name(SystemClock.now().wall);
    let free = |number: &usize| !names.contains(&aside_name(&prefix, &stamp, *number));
    let number = (0..=names.len()).find(free).unwrap_or_default();
    let aside = path.with_file_name(aside_name(&prefix, &stamp, number));
    match disk.rename(replaced, &aside) {
        Ok(()) => {
            tracing::warn!(path = %path.display(), kept = %aside.display(), %error, "a replaced file could not be looked at; it was kept aside");
        }
        Err(rename) => {
            tracing::warn!(path = %replaced.display(), %error, %rename, "a replaced file could not be looked at; it stays until the next start");
        }
    }
    None
}

/// A new name for a temporary file beside `path`.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(
        ".{}{TEMP}{}-{count}",
        name(path),
        std::process::id()
    ))
}

/// Deletes a temporary file that is not needed, if it is there.
pub(crate) fn discard(disk: &dyn Disk, temp: &Path) {
    if let Err(leftover) = disk.remove(temp)
        && leftover.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(path = %temp.display(), error = %leftover, "a temporary file stays until the next start");
    }
}

/// Deletes temporary files that crashed processes left. To be called while holding the lock exclusively, because only
/// its holder has one. Returns how many there were.
pub(crate) fn remove_leftovers(disk: &dyn Disk, path: &Path) -> usize {
    leftovers(disk, path)
        .iter()
        .filter(|leftover| disk.remove(leftover).is_ok())
        .count()
}

/// Temporary files beside `path`.
pub(crate) fn leftovers(disk: &dyn Disk, path: &Path) -> Vec<PathBuf> {
    let prefix = format!(".{}{TEMP}", name(path));
    let names = disk.list(directory(path)).unwrap_or_default();
    names
        .into_iter()
        .filter(|name| name.starts_with(&prefix))
        .map(|name| path.with_file_name(name))
        .collect()
}

/// Keeps bad bytes in a file of their own, durably, unless a file kept aside has them already. Returns its name.
///
/// `session` are the files that this session made, in that order. To make room, older files are deleted first; then those
/// of this session except its first.
///
/// # Errors
/// They could not be kept: nothing may be overwritten.
pub(crate) fn keep_aside(
    disk: &dyn Disk,
    path: &Path,
    bytes: &[u8],
    like: Option<&FileInfo>,
    now: Timestamp,
    session: &[PathBuf],
) -> Result<PathBuf, StoreError> {
    let prefix = format!("{}{DAMAGED}", name(path));
    let listed = disk
        .list(directory(path))
        .map_err(|error| failed("list", directory(path), &error))?;
    let mut kept: Vec<String> = listed
        .into_iter()
        .filter(|name| name.starts_with(&prefix))
        .collect();
    kept.sort();
    let limit = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    for name in &kept {
        let known = path.with_file_name(name);
        if disk.read(&known, limit).is_ok_and(|known| known == bytes) {
            return Ok(known);
        }
    }
    let stamp = scalar::time_name(now);
    let free = |number: &usize| !kept.contains(&aside_name(&prefix, &stamp, *number));
    let number = (0..=kept.len()).find(free).unwrap_or_default();
    let aside = path.with_file_name(aside_name(&prefix, &stamp, number));
    let written = disk
        .write_new(&aside, bytes, like)
        .and_then(crate::disk::PendingFile::sync);
    if let Err(error) = written {
        if let Err(leftover) = disk.remove(&aside) {
            tracing::debug!(path = %aside.display(), error = %leftover, "an incomplete copy stays");
        }
        return Err(failed("write", &aside, &error));
    }
    disk.sync_dir(directory(path))
        .map_err(|error| failed("sync", directory(path), &error))?;
    let excess = (kept.len() + 1).saturating_sub(MAX_DAMAGED_KEPT);
    let kept: Vec<PathBuf> = kept.iter().map(|name| path.with_file_name(name)).collect();
    let older = kept.iter().filter(|old| !session.contains(old));
    let ours = session.iter().skip(1).filter(|ours| kept.contains(ours));
    for old in older.chain(ours).take(excess) {
        if let Err(error) = disk.remove(old) {
            tracing::debug!(path = %old.display(), %error, "an old damaged file stays");
        }
    }
    Ok(aside)
}

fn aside_name(prefix: &str, stamp: &str, number: usize) -> String {
    if number == 0 {
        format!("{prefix}{stamp}")
    } else {
        format!("{prefix}{stamp}-{number}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::OsDisk;

    fn names(path: &Path) -> Vec<String> {
        let mut names = OsDisk.list(path).unwrap();
        names.sort();
        names
    }

    #[test]
    fn damaged_files_are_kept_once_each_and_old_ones_give_way_except_this_sessions() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        let keep = |bytes: &[u8], secs, session: &[PathBuf]| {
            keep_aside(
                &OsDisk,
                &path,
                bytes,
                None,
                Timestamp::from_secs(secs),
                session,
            )
            .unwrap()
        };
        let first = keep(b"a", 0, &[]);
        assert_eq!(keep(b"a", 9, &[]), first);
        assert_eq!(names(dir.path()), ["p.damaged-19700101T000000Z"]);
        assert!(keep(b"b", 0, &[]).ends_with("p.damaged-19700101T000000Z-1"));
        let session = [first.clone()];
        for secs in 1..=5 {
            keep(format!("{secs}").as_bytes(), secs, &session);
        }
        assert!(first.exists());
        assert_eq!(names(dir.path()).len(), MAX_DAMAGED_KEPT);
    }

    #[test]
    fn of_one_session_the_first_damaged_file_and_the_newest_ones_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        let mut session = Vec::new();
        for secs in 0..20 {
            let (bytes, now) = ([u8::try_from(secs).unwrap()], Timestamp::from_secs(secs));
            session.push(keep_aside(&OsDisk, &path, &bytes, None, now, &session).unwrap());
        }
        let mut left = session;
        left.retain(|kept| kept.exists());
        let contents: Vec<u8> = left
            .iter()
            .flat_map(|kept| std::fs::read(kept).unwrap())
            .collect();
        assert_eq!(contents, [0, 16, 17, 18, 19]);
    }

    #[test]
    fn a_replaced_file_that_cannot_be_opened_is_kept_aside_and_one_that_can_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let (temp, path) = (dir.path().join(".p.tmp-1-1"), dir.path().join("p"));
        for text in ["one", "two"] {
            std::fs::write(&temp, text).unwrap();
            let refused = Err(io::Error::other("too many open files"));
            assert!(release(&OsDisk, (&temp, &path), refused).is_none());
        }
        let kept = names(dir.path());
        assert!(kept.iter().all(|name| name.starts_with("p.damaged-")));
        let texts = kept.iter().map(|name| std::fs::read(dir.path().join(name)));
        assert_eq!(
            texts.map(Result::unwrap).collect::<Vec<_>>(),
            [b"one", b"two"]
        );
        std::fs::write(&temp, "three").unwrap();
        let held = OsDisk.hold(&temp);
        let mut held = release(&OsDisk, (&temp, &path), held).unwrap();
        assert_eq!(held.read(9).unwrap(), b"three");
        assert_eq!(names(dir.path()), kept);
    }

    #[test]
    fn leftovers_are_found_and_removed_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        for name in [".p.tmp-1-2", ".p.tmp-x", "p", "p.tmp-1", ".q.tmp-1"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        assert_eq!(remove_leftovers(&OsDisk, &path), 2);
        assert_eq!(names(dir.path()), [".q.tmp-1", "p", "p.tmp-1"]);
        replace(&OsDisk, &path, &[b"new"], None).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }
}
