//! A disk in memory, so that the medium is not measured.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use btcfed_peer_store::{Disk, FileInfo, PendingFile};

type Files = BTreeMap<PathBuf, Arc<Vec<u8>>>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct MemoryDisk {
    files: Mutex<Files>,
    /// How long reading and writing took since somebody asked, in nanoseconds.
    spent: AtomicU64,
}

impl MemoryDisk {
    /// A disk with one file.
    pub(crate) fn with(path: &Path, bytes: &[u8]) -> Self {
        let files = [(path.to_path_buf(), Arc::new(bytes.to_vec()))];
        Self {
            files: Mutex::new(files.into()),
            spent: AtomicU64::new(0),
        }
    }

    /// How long reading and writing took since this was last asked.
    pub(crate) fn spent(&self) -> Duration {
        Duration::from_nanos(self.spent.swap(0, Ordering::Relaxed))
    }

    fn spend<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.spent.fetch_add(nanos, Ordering::Relaxed);
        done
    }

    /// Adds a file.
    pub(crate) fn put(&self, path: &Path, bytes: &[u8]) {
        let bytes = Arc::new(bytes.to_vec());
        self.files().insert(path.to_path_buf(), bytes);
    }

    /// What a file holds; nothing when it is missing.
    pub(crate) fn content(&self, path: &Path) -> Vec<u8> {
        self.get(path)
            .map(|bytes| bytes.to_vec())
            .unwrap_or_default()
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, path: &Path) -> io::Result<Arc<Vec<u8>>> {
        let found = self.files().get(path).cloned();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

#[derive(Debug)]
struct Written;

impl PendingFile for Written {
    fn sync(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

impl Disk for MemoryDisk {
    fn metadata(&self, path: &Path) -> io::Result<FileInfo> {
        let bytes = self.get(path)?;
        Ok(FileInfo {
            is_file: true,
            len: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            modified: None,
            inode: 0,
            mode: None,
            owner: None,
        })
    }

    fn read(&self, path: &Path, _: u64) -> io::Result<Vec<u8>> {
        self.spend(|| self.get(path).map(|bytes| bytes.to_vec()))
    }

    fn write_new(
        &self,
        path: &Path,
        bytes: &[u8],
        like: Option<&FileInfo>,
    ) -> io::Result<Box<dyn PendingFile>> {
        self.write_parts(path, &[bytes], like)
    }

    fn write_parts(
        &self,
        path: &Path,
        parts: &[&[u8]],
        _: Option<&FileInfo>,
    ) -> io::Result<Box<dyn PendingFile>> {
        let bytes = Arc::new(self.spend(|| parts.concat()));
        self.files().insert(path.to_path_buf(), bytes);
        Ok(Box::new(Written))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files();
        let bytes = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_path_buf(), bytes);
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.files().remove(path);
        removed
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        let names = self.files();
        let names = names.keys().filter_map(|path| path.file_name()?.to_str());
        Ok(names.map(str::to_owned).collect())
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_path_buf())
    }
}
