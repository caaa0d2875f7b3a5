//! The node lock: one running node per state directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fd_lock::{RwLock, RwLockWriteGuard};

use crate::exit::{CliError, Exit};

/// Longest text read from a lock file, in bytes: a process id and a path.
const MAX_HOLDER_BYTES: u64 = 4096;

/// The name of the lock file in a state directory.
pub const NODE_LOCK: &str = "node.lock";

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
        let path = state_dir.join(NODE_LOCK);
        if path.symlink_metadata().is_ok() && !path.is_file() {
            return Err(CliError::new(
                Exit::CannotCreate,
                "fatal",
                "cannot open the node lock: not a regular file",
            )
            .file(path.display())
            .hint("remove what stands there, or name another state directory with --state-dir"));
        }
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

    /// Who runs a node in `state_dir`: the outer `None` when nobody does, the inner one when it does not tell. Makes no file
    /// and never waits.
    #[must_use]
    pub fn holder(state_dir: &Path) -> Option<Option<Holder>> {
        let path = state_dir.join(NODE_LOCK);
        if !path.is_file() {
            return None;
        }
        let mut lock = RwLock::new(File::open(&path).ok()?);
        let is_free = lock.try_write().is_ok();
        (!is_free).then(|| Holder::read(&path))
    }

    /// Takes the lock, or says who has it. Never waits. The file then tells this process and its admin socket.
    ///
    /// # Errors
    /// Another node runs in this directory.
    pub fn acquire(&mut self, socket: &Path) -> Result<RwLockWriteGuard<'_, File>, CliError> {
        let holder = Holder::read(&self.path);
        let path = self.path.display().to_string();
        let mut guard = self.lock.try_write().map_err(|_| {
            let who = holder.map(|holder| format!(" (process {})", holder.process)).unwrap_or_default();
            CliError::new(Exit::Busy, "transient", format!("another node is running in this directory{who}"))
                .file(path)
                .hint("stop it with `btcfed stop`, or give this node a directory of its own with --state-dir")
        })?;
        // The lock is held whether or not this can be written: a full disk is no reason not to start.
        if let Err(error) = write_holder(&mut guard, socket) {
            tracing::warn!(%error, "the node lock does not tell who holds it");
        }
        Ok(guard)
    }
}

/// What a lock file says about the node that holds or last held it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub process: u32,
    /// Where its admin socket is.
    pub socket: Option<PathBuf>,
}

impl Holder {
    /// Reads the lock file at `path`; `None` when there is none or it says nothing.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        if !path.is_file() {
            return None;
        }
        let mut text = String::new();
        File::open(path)
            .ok()?
            .take(MAX_HOLDER_BYTES)
            .read_to_string(&mut text)
            .ok()?;
        let mut lines = text.lines();
        let process = lines.next()?.trim().parse().ok()?;
        let socket = lines
            .next()
            .filter(|line| !line.is_empty())
            .map(PathBuf::from);
        Some(Self { process, socket })
    }
}

fn write_holder(file: &mut File, socket: &Path) -> io::Result<()> {
    let text = format!(
        "{}\n{}\n",
        std::process::id(),
        std::path::absolute(socket)?.display()
    );
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text.as_bytes())?;
    file.set_len(u64::try_from(text.len()).unwrap_or(u64::MAX))
}
