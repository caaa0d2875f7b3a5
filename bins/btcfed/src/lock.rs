//! The node lock: one running node per state directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fd_lock::{RwLock, RwLockWriteGuard};

use crate::exit::{CliError, Exit};

/// Longest text read from a lock file, in bytes: a process id.
const MAX_HOLDER_BYTES: u64 = 32;

/// The file `node.lock` of a state directory. It is never renamed or deleted; the operating system releases the lock
/// when the process ends, however it ends.
#[derive(Debug)]
pub struct NodeLock {
    path: PathBuf,
    lock: RwLock<File>,
}

impl NodeLock {
    /// Opens the lock file in `state_dir`, creating it if need be. Does not lock yet.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn open(state_dir: &Path) -> Result<Self, CliError> {
        let path = state_dir.join("node.lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let file = file.map_err(|error| {
            let exit = if error.kind() == io::ErrorKind::PermissionDenied {
                Exit::Permission
            } else {
                Exit::CannotCreate
            };
            CliError::new(exit, "fatal", format!("cannot open the node lock: {error}"))
                .file(path.display())
                .hint("name a state directory you may write to with --state-dir")
        })?;
        Ok(Self {
            path,
            lock: RwLock::new(file),
        })
    }

    /// Takes the lock, or says who has it. Never waits.
    ///
    /// # Errors
    /// Another node runs in this directory.
    pub fn acquire(&mut self) -> Result<RwLockWriteGuard<'_, File>, CliError> {
        let holder = read_holder(&self.path);
        let path = self.path.display().to_string();
        let mut guard = self.lock.try_write().map_err(|_| {
            let who = holder.map(|pid| format!(" (process {pid})")).unwrap_or_default();
            CliError::new(Exit::Busy, "transient", format!("another node is running in this directory{who}"))
                .file(path)
                .hint("stop it with `btcfed stop`, or give this node a directory of its own with --state-dir")
        })?;
        write_holder(&mut guard).map_err(|error| {
            CliError::new(
                Exit::Io,
                "fatal",
                format!("cannot write the node lock: {error}"),
            )
        })?;
        Ok(guard)
    }
}

fn read_holder(path: &Path) -> Option<u32> {
    let mut text = String::new();
    File::open(path)
        .ok()?
        .take(MAX_HOLDER_BYTES)
        .read_to_string(&mut text)
        .ok()?;
    text.trim().parse().ok()
}

fn write_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}
