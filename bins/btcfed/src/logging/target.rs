//! Where log lines go: standard error, or a file that other programs may rotate.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::queue::Sink;

/// An open place for log lines.
#[derive(Debug)]
pub(super) enum Target {
    File(LogFile),
    Stderr(io::Stderr),
}

/// A file that is followed by its name: when it is moved away or deleted, a new one is begun.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    told: bool,
}

impl Target {
    /// Opens `file` to append to it, made with mode 0640 if it is missing; standard error without a file. Never waits for
    /// a pipe.
    ///
    /// # Errors
    /// The file cannot be opened or is none. Nothing was written.
    pub(super) fn open(file: Option<&Path>) -> io::Result<Self> {
        let Some(path) = file else {
            return Ok(Self::Stderr(io::stderr()));
        };
        Ok(Self::File(LogFile {
            path: path.to_owned(),
            file: append(path)?,
            told: false,
        }))
    }
}

impl Sink for Target {
    /// Begins a new file where the old one was moved away or deleted. An error is told once.
    fn follow(&mut self) -> io::Result<()> {
        let Self::File(log) = self else { return Ok(()) };
        let id = |found: &Metadata| (found.dev(), found.ino());
        let open = log.file.metadata().map(|found| id(&found)).ok();
        if open.is_some() && fs::metadata(&log.path).map(|found| id(&found)).ok() == open {
            return Ok(());
        }
        match append(&log.path) {
            Ok(file) => {
                log.file = file;
                log.told = false;
                Ok(())
            }
            Err(error) if !std::mem::replace(&mut log.told, true) => Err(error),
            Err(_) => Ok(()),
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    let no_wait = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(no_wait)
        .open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "not a regular file",
    ))
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(log) => log.file.write(bytes),
            Self::Stderr(stderr) => stderr.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(log) => log.file.flush(),
            Self::Stderr(stderr) => stderr.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_private_and_appended_to() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("btcfed.log");
        for line in ["one\n", "two\n"] {
            let mut target = Target::open(Some(&path)).unwrap();
            target.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o137, 0, "{mode:o}");
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew_and_an_error_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let sub = folder.path().join("log");
        fs::create_dir(&sub).unwrap();
        let path = sub.join("btcfed.log");
        let mut target = Target::open(Some(&path)).unwrap();
        target.write_all(b"old\n").unwrap();
        target.follow().unwrap();
        fs::rename(&path, sub.join("btcfed.log.1")).unwrap();
        target.follow().unwrap();
        target.write_all(b"new\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
        fs::remove_dir_all(&sub).unwrap();
        assert!(target.follow().is_err());
        target.follow().unwrap();
        target.write_all(b"nowhere\n").unwrap();
        fs::create_dir(&sub).unwrap();
        target.follow().unwrap();
        target.write_all(b"again\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "again\n");
    }

    #[test]
    fn a_folder_and_a_pipe_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Target::open(Some(folder.path())).is_err());
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
        assert!(Target::open(Some(&pipe)).is_err());
    }
}
