//! Reading small regular files, and writing new ones so that a crash leaves none or the whole.

use std::fs::{self, DirBuilder, File, FileType, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::search::folder;

/// What was read.
pub(crate) struct Contents {
    /// Wiped on drop: it may hold a private key.
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    /// Permission bits.
    pub(crate) mode: u32,
}

/// Why nothing was read.
#[derive(Debug)]
pub(crate) enum NotRead {
    Io(io::Error),
    /// Something else than a file stands there.
    Kind(&'static str),
    TooLarge,
}

impl From<io::Error> for NotRead {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads the regular file at `path`, at most `cap` bytes of it. Never waits for a pipe or a device.
pub(crate) fn read(path: &Path, cap: usize) -> Result<Contents, NotRead> {
    // Looked at before it is opened: opening a pipe waits for its other end.
    let kind = fs::metadata(path)?.file_type();
    if !kind.is_file() {
        return Err(NotRead::Kind(name(kind)));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let len = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    if len > cap {
        return Err(NotRead::TooLarge);
    }
    // Room for one byte more than expected, and one allocation: growing would leave a copy of a secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(len + 1));
    file.take(metadata.len() + 1).read_to_end(&mut bytes)?;
    if bytes.len() > len {
        return Err(NotRead::Io(io::Error::other(
            "it was changed while it was read",
        )));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    Ok(Contents { bytes, mode })
}

fn name(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// Makes the directory that is to hold `path`, for this user alone, if it is missing.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    let dir = folder(path);
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    sync_dir(&folder(&dir))
}

/// Writes a new file. Fails with `AlreadyExists` if something stands there, which is left alone.
pub(crate) fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = write_temporary(path, bytes, mode)?;
    // Unlike a rename, a link never takes the place of another file.
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary).and(linked)?;
    sync_dir(&folder(path))
}

/// Writes a file, in the place of an older one if there is one. A link is followed.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let temporary = write_temporary(&target, bytes, mode)?;
    if let Err(error) = fs::rename(&temporary, &target) {
        fs::remove_file(&temporary)?;
        return Err(error);
    }
    sync_dir(&folder(&target))
}

/// A complete, synced file beside `path`, removed again if it cannot be completed.
fn write_temporary(path: &Path, bytes: &[u8], mode: u32) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))?;
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{:016x}.tmp", u64::from_ne_bytes(random)));
    let temporary = folder(path).join(temporary);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)?;
    if let Err(error) = file.write_all(bytes).and_then(|()| file.sync_all()) {
        fs::remove_file(&temporary)?;
        return Err(error);
    }
    Ok(temporary)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_is_whole_private_and_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        create(&path, b"one", 0o600).unwrap();
        assert_eq!(
            create(&path, b"two", 0o600).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        let contents = read(&path, 3).unwrap();
        assert_eq!(
            (contents.bytes.as_slice(), contents.mode),
            (&b"one"[..], 0o600)
        );
        replace(&path, b"three", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn replacing_follows_a_link_and_cleans_up_after_failure() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link, sub) = (
            dir.path().join("real"),
            dir.path().join("link"),
            dir.path().join("sub"),
        );
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        replace(&link, b"new", 0o644).unwrap();
        assert!(link.is_symlink() && fs::read(&real).unwrap() == b"new");
        fs::create_dir(&sub).unwrap();
        assert!(replace(&sub, b"x", 0o644).is_err());
        assert!(create(Path::new("/"), b"x", 0o600).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn what_is_no_file_is_named_and_never_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, socket, file) = (
            dir.path().join("pipe"),
            dir.path().join("socket"),
            dir.path().join("file"),
        );
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        fs::write(&file, "1234").unwrap();
        let kind = |path: &Path| match read(path, 3) {
            Err(NotRead::Kind(kind)) => kind,
            Err(NotRead::TooLarge) => "too large",
            Err(NotRead::Io(_)) => "io",
            Ok(_) => "read",
        };
        assert_eq!(kind(dir.path()), "a directory");
        assert_eq!(kind(&pipe), "a pipe");
        assert_eq!(kind(&socket), "a socket");
        assert_eq!(kind(Path::new("/dev/zero")), "a device");
        assert_eq!(kind(&file), "too large");
        assert_eq!(kind(&dir.path().join("missing")), "io");
    }
}
