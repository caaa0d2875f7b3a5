//! The few things a store asks of a disk, behind a port: where faults are injected and other media are plugged in.

pub(crate) mod base;
pub(crate) mod displaced;
pub(crate) mod lock;
mod log;
pub(crate) mod replace;
pub(crate) mod watch;

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What a store asks of a disk. Every method may block. The store calls them on its own thread and, to append to the
/// journal, on those of callers who wait for their change; never two at a time for one file.
pub trait Disk: Send + Sync + fmt::Debug {
    /// What is at `path`, symbolic links followed.
    ///
    /// # Errors
    /// As the operating system says; `NotFound` when there is nothing.
    fn metadata(&self, path: &Path) -> io::Result<FileInfo>;

    /// The bytes of a regular file. Never waits for a pipe, and reads at most one byte more than `limit`.
    ///
    /// # Errors
    /// As the operating system says; `NotFound` when there is nothing, `InvalidInput` when it is no regular file.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;

    /// Creates a file that must not exist, with the permissions (and, where allowed, the owner) of `like`; before that it
    /// is readable by nobody else.
    ///
    /// # Errors
    /// As the operating system says. A part of the file may be left.
    fn write_new(
        &self,
        path: &Path,
        bytes: &[u8],
        like: Option<&FileInfo>,
    ) -> io::Result<Box<dyn PendingFile>>;

    /// [`write_new`](Self::write_new) of parts, one after the other. A disk that can write them without joining them does.
    ///
    /// # Errors
    /// As for [`write_new`](Self::write_new).
    fn write_parts(
        &self,
        path: &Path,
        parts: &[&[u8]],
        like: Option<&FileInfo>,
    ) -> io::Result<Box<dyn PendingFile>> {
        self.write_new(path, &parts.concat(), like)
    }

    /// Holds the file at `path` open, so that its content can be read after it was replaced.
    ///
    /// # Errors
    /// As the operating system says. A disk that cannot do this says so; then an edit that an editor writes into a file
    /// at the very moment it is replaced is lost.
    fn hold(&self, _path: &Path) -> io::Result<Box<dyn HeldFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Opens a regular file to be read and written in place. Never waits for a pipe.
    ///
    /// # Errors
    /// As the operating system says; `NotFound` when there is nothing. A disk that cannot do this, or not
    /// [`create_log`](Self::create_log), says `Unsupported` (the default): then the store works without a journal.
    fn open_log(&self, _path: &Path) -> io::Result<Box<dyn LogFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Creates a file of `size` zeros that must not exist, with the permissions of `like` as
    /// [`write_new`](Self::write_new) does, and with its room on the medium reserved as far as the medium can.
    ///
    /// # Errors
    /// As for [`open_log`](Self::open_log). A part of the file may be left.
    fn create_log(
        &self,
        _path: &Path,
        _size: u64,
        _like: Option<&FileInfo>,
    ) -> io::Result<Box<dyn LogFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Replaces `to` by `from`, atomically.
    ///
    /// # Errors
    /// As the operating system says. `to` is untouched.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// [`rename`](Self::rename), and holds open what had the name `to` until that very moment, where the disk can tell.
    ///
    /// By default that is what had it just before: what another program renames over it in between is then lost.
    ///
    /// # Errors
    /// As for [`rename`](Self::rename).
    fn replace(&self, from: &Path, to: &Path) -> io::Result<Option<Box<dyn HeldFile>>> {
        let held = self.hold(to).ok();
        self.rename(from, to).map(|()| held)
    }

    /// Makes renames and creations in a directory survive a power cut.
    ///
    /// # Errors
    /// As the operating system says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Deletes a file.
    ///
    /// # Errors
    /// As the operating system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory.
    ///
    /// # Errors
    /// As the operating system says.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Where a chain of symbolic links ends, also when nothing is there yet.
    ///
    /// # Errors
    /// The links form a loop or cannot be read.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf>;
}

/// A file that is held open under whatever name, or none.
pub trait HeldFile: Send + fmt::Debug {
    /// What is known about it without reading it: by this the store sees whether reading it again can bring anything.
    ///
    /// # Errors
    /// As the operating system says.
    fn info(&self) -> io::Result<FileInfo>;

    /// Its bytes now; at most one byte more than `limit`.
    ///
    /// # Errors
    /// As the operating system says.
    fn read(&mut self, limit: u64) -> io::Result<Vec<u8>>;
}

/// A file that is written in place, piece by piece.
pub trait LogFile: Send + fmt::Debug {
    /// What is known about it without reading it.
    ///
    /// # Errors
    /// As the operating system says.
    fn info(&self) -> io::Result<FileInfo>;

    /// Reads at `offset` until `buffer` is full or the file ends; returns how many bytes were read.
    ///
    /// # Errors
    /// As the operating system says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all bytes at `offset`. Others who have the file open see them at once.
    ///
    /// # Errors
    /// As the operating system says. Any part may be written.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the file at least `size` bytes long, with zeros and with its room on the medium reserved.
    ///
    /// # Errors
    /// As the operating system says. What is in the file stays.
    fn grow(&mut self, size: u64) -> io::Result<()>;

    /// Waits until what was written is on the medium, and all that is needed to read it.
    ///
    /// # Errors
    /// As the operating system says. What was written since the last sync is unknown; the store neither syncs nor appends
    /// to the file again.
    fn sync_data(&mut self) -> io::Result<()>;
}

/// A file that is written and not yet known to be on the medium.
pub trait PendingFile: fmt::Debug {
    /// Waits until the bytes are on the medium. Consumes the file: a failed sync says nothing about later ones, so there
    /// is no second try.
    ///
    /// # Errors
    /// As the operating system says. The content of the file is unknown.
    fn sync(self: Box<Self>) -> io::Result<()>;
}

/// What is known about a file without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// True for regular files.
    pub is_file: bool,
    /// Length in bytes.
    pub len: u64,
    /// When it last changed, where known.
    pub modified: Option<SystemTime>,
    /// Distinguishes files that replace each other, where known.
    pub inode: u64,
    /// Permission bits, where the system has them.
    pub mode: Option<u32>,
    /// User and group, where the system has them.
    pub owner: Option<(u32, u32)>,
}

/// Bytes of small parts that are written at once.
const GATHERED: usize = 64 * 1024;

/// Longest chain of symbolic links that is followed, as in Linux.
const MAX_LINKS: usize = 40;

/// The disks of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn metadata(&self, path: &Path) -> io::Result<FileInfo> {
        fs::metadata(path).map(|metadata| info(&metadata))
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = open_at_once(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        // Room for one byte more, by which the end is found.
        let room = metadata.len().min(limit).saturating_add(1);
        let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or(0));
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(bytes)
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
        like: Option<&FileInfo>,
    ) -> io::Result<Box<dyn PendingFile>> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        restrict(&mut options, like);
        let file = options.open(path)?;
        if let Some(like) = like {
            imitate(&file, like)?;
        }
        // Small parts are gathered; one that is larger than what they are gathered in goes straight into the file.
        let mut gathered = BufWriter::with_capacity(GATHERED, file);
        parts.iter().try_for_each(|part| gathered.write_all(part))?;
        let file = gathered
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        Ok(Box::new(OsFile(file)))
    }

    fn hold(&self, path: &Path) -> io::Result<Box<dyn HeldFile>> {
        Ok(Box::new(OsFile(open_at_once(path)?)))
    }

    fn open_log(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        log::open(path)
    }

    fn create_log(
        &self,
        path: &Path,
        size: u64,
        like: Option<&FileInfo>,
    ) -> io::Result<Box<dyn LogFile>> {
        log::create(path, size, like)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    #[cfg(target_os = "linux")]
    fn replace(&self, from: &Path, to: &Path) -> io::Result<Option<Box<dyn HeldFile>>> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        let is_file = fs::symlink_metadata(to).is_ok_and(|metadata| metadata.is_file());
        if !is_file || renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE).is_err() {
            // There is nothing to replace, nothing that may be replaced, or the file system cannot do it.
            let held = self.hold(to).ok();
            return self.rename(from, to).map(|()| held);
        }
        Ok(replace::release(self, (from, to), self.hold(from)))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if cfg!(unix) {
            File::open(path)?.sync_all()
        } else {
            Ok(())
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let mut path = path.to_path_buf();
        for _ in 0..MAX_LINKS {
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_symlink() => {
                    let target = fs::read_link(&path)?;
                    path = path.parent().unwrap_or_else(|| Path::new("")).join(target);
                }
                Ok(_) => return Ok(path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "too many levels of symbolic links",
        ))
    }
}

#[derive(Debug)]
struct OsFile(File);

impl HeldFile for OsFile {
    fn info(&self) -> io::Result<FileInfo> {
        self.0.metadata().map(|metadata| info(&metadata))
    }

    fn read(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        use std::io::{Seek as _, SeekFrom};
        self.0.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::new();
        (&self.0)
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl PendingFile for OsFile {
    fn sync(self: Box<Self>) -> io::Result<()> {
        self.0.sync_all()
    }
}

#[cfg(unix)]
fn info(metadata: &fs::Metadata) -> FileInfo {
    use std::os::unix::fs::MetadataExt as _;
    FileInfo {
        is_file: metadata.is_file(),
        len: metadata.len(),
        modified: metadata.modified().ok(),
        inode: metadata.ino(),
        mode: Some(metadata.mode() & 0o7777),
        owner: Some((metadata.uid(), metadata.gid())),
    }
}

#[cfg(not(unix))]
fn info(metadata: &fs::Metadata) -> FileInfo {
    FileInfo {
        is_file: metadata.is_file(),
        len: metadata.len(),
        modified: metadata.modified().ok(),
        inode: 0,
        mode: None,
        owner: None,
    }
}

/// Opens for reading without waiting for the other end of a pipe.
#[cfg(unix)]
fn open_at_once(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

#[cfg(not(unix))]
fn open_at_once(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// A file that will imitate another one starts out closed to everybody else.
#[cfg(unix)]
fn restrict(options: &mut OpenOptions, like: Option<&FileInfo>) {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(if like.is_some() { 0o600 } else { 0o666 });
}

#[cfg(not(unix))]
fn restrict(_: &mut OpenOptions, _: Option<&FileInfo>) {}

/// Gives a file the owner and permissions of another one. Only root may give files away; whoever may not keeps the file
/// and, so that no group gains access, loses the group bits.
#[cfg(unix)]
fn imitate(file: &File, like: &FileInfo) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let own = info(&file.metadata()?);
    let mut mode = like.mode.unwrap_or(0o600);
    if let Some((user, group)) = like.owner.filter(|owner| Some(*owner) != own.owner) {
        let chown = |user, group| std::os::unix::fs::fchown(file, user, group);
        if chown(Some(user), Some(group)).is_err() && chown(None, Some(group)).is_err() {
            mode &= !0o070;
        }
    }
    file.set_permissions(fs::Permissions::from_mode(mode & 0o777))
}

#[cfg(not(unix))]
fn imitate(_: &File, _: &FileInfo) -> io::Result<()> {
    Ok(())
}
