//! The lock beside the file: shared for reads, exclusive for writes, never waited for without end.
//!
//! A file of its own, because a lock on the peers file would be void after the rename that replaces it. It is never
//! renamed or deleted. The kernel drops locks of processes that end, so a stale one cannot exist.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fd_lock::RwLock;

use btcfed_core::store::StoreError;

/// The first wait between two tries.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// The longest wait between two tries: bounds how long a free lock stays unnoticed.
const MAX_WAIT: Duration = Duration::from_millis(5);

/// Most bytes of the holder's words that are read.
const MAX_HOLDER_BYTES: u64 = 64;

/// How the lock is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// With other readers.
    Shared,
    /// Alone.
    Exclusive,
}

/// The lock file of a peers file.
pub(crate) fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    path.with_file_name(name)
}

/// A lock file, open.
#[derive(Debug)]
pub(crate) struct LockFile {
    path: PathBuf,
    place: (u64, u64),
    lock: RwLock<File>,
}

impl LockFile {
    /// Opens the lock file of the peers file at `path`; creates it when there is none.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn of(path: &Path) -> Result<Self, StoreError> {
        let path = lock_path(path);
        let opened = open(&path).and_then(|file| Ok((place(&file.metadata()?), file)));
        let (place, file) = opened.map_err(|error| refused(&path, &error))?;
        Ok(Self {
            lock: RwLock::new(file),
            place,
            path,
        })
    }

    /// True while its name still leads to it, as far as that can be told here.
    pub(crate) fn is_in_place(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|metadata| place(&metadata) == self.place)
    }

    /// Does `work` while holding the lock. Whoever holds it alone for longer leaves word: `is_brief` tells.
    ///
    /// # Errors
    /// The lock cannot be had within `timeout`; `work` was not done.
    pub(crate) fn hold<T>(
        &mut self,
        access: Access,
        is_brief: bool,
        timeout: Duration,
        work: impl FnOnce() -> T,
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + timeout;
        let mut pause = MIN_WAIT;
        loop {
            let refusal = match access {
                Access::Shared => match self.lock.try_read() {
                    Ok(_guard) => return Ok(work()),
                    Err(error) => error,
                },
                Access::Exclusive => match self.lock.try_write() {
                    Ok(mut guard) => {
                        if !is_brief {
                            sign(&mut guard);
                        }
                        return Ok(work());
                    }
                    Err(error) => error,
                },
            };
            if !is_busy(&refusal) {
                return Err(refused(&self.path, &refusal));
            }
            if Instant::now() >= deadline {
                return Err(held(&self.path));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(MAX_WAIT);
        }
    }
}

/// Does `work` while holding the lock of the peers file at `path`.
///
/// # Errors
/// The lock cannot be had within `timeout`, or the lock file cannot be opened; `work` was not done.
pub(crate) fn with_lock<T>(
    path: &Path,
    access: Access,
    timeout: Duration,
    work: impl FnOnce() -> T,
) -> Result<T, StoreError> {
    LockFile::of(path)?.hold(access, false, timeout, work)
}

/// Tells files apart, where the system can.
#[cfg(unix)]
fn place(metadata: &std::fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn place(_: &std::fs::Metadata) -> (u64, u64) {
    (0, 0)
}

fn refused(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Io {
        operation: "lock",
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}

fn is_busy(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

fn held(path: &Path) -> StoreError {
    StoreError::Locked {
        path: path.display().to_string(),
        holder: holder(path),
    }
}

/// Who took the lock exclusively last, in the words of that process.
fn holder(path: &Path) -> Option<String> {
    let mut words = String::new();
    File::open(path)
        .ok()?
        .take(MAX_HOLDER_BYTES)
        .read_to_string(&mut words)
        .ok()?;
    let words = words.lines().next().unwrap_or_default().trim();
    words
        .chars()
        .all(|c| c.is_ascii_graphic() || c == ' ')
        .then_some(words)
        .filter(|words| !words.is_empty())
        .map(str::to_owned)
}

/// Leaves word of who holds the lock. Diagnosis only, so failures do not matter.
fn sign(file: &mut File) {
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(format!("process {}\n", std::process::id()).as_bytes())
    };
    if let Err(error) = write(file) {
        tracing::debug!(%error, "the lock file could not be signed");
    }
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(flags)
        .open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(30);

    #[test]
    fn readers_share_and_writers_exclude_within_the_timeout() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peers.yaml");
        let both = with_lock(&path, Access::Shared, SOON, || {
            with_lock(&path, Access::Shared, SOON, || 1)
        });
        assert_eq!(both, Ok(Ok(1)));
        for (outer, inner) in [
            (Access::Exclusive, Access::Exclusive),
            (Access::Exclusive, Access::Shared),
            (Access::Shared, Access::Exclusive),
        ] {
            let started = Instant::now();
            let refused =
                with_lock(&path, outer, SOON, || with_lock(&path, inner, SOON, || ())).unwrap();
            assert!(
                matches!(refused, Err(StoreError::Locked { .. })),
                "{refused:?}"
            );
            assert!(started.elapsed() < Duration::from_secs(2));
        }
        let refused = with_lock(&path, Access::Exclusive, SOON, || {
            with_lock(&path, Access::Exclusive, SOON, || ())
        });
        let message = refused.unwrap().unwrap_err().to_string();
        assert!(
            message.ends_with(&format!("is locked by process {}", std::process::id())),
            "{message}"
        );
        assert_eq!(with_lock(&path, Access::Exclusive, SOON, || 2), Ok(2));
    }

    #[test]
    fn a_lock_file_that_cannot_be_one_is_an_error_and_not_a_wait() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peers.yaml");
        std::fs::create_dir(lock_path(&path)).unwrap();
        assert!(matches!(
            with_lock(&path, Access::Shared, SOON, || ()),
            Err(StoreError::Io {
                operation: "lock",
                ..
            })
        ));
        let gone = dir.path().join("no/peers.yaml");
        assert!(matches!(
            with_lock(&gone, Access::Exclusive, SOON, || ()),
            Err(StoreError::Io { .. })
        ));
    }
}
