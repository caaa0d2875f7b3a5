//! Files of the operating system that are written in place.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use crate::disk::{FileInfo, LogFile, imitate, info, restrict};

/// Zeros that are written at a time where room cannot be reserved otherwise.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

#[derive(Debug)]
struct OsLog {
    file: File,
    size: u64,
}

pub(super) fn open(path: &Path) -> io::Result<Box<dyn LogFile>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    not_waiting(&mut options);
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    let size = metadata.len();
    Ok(Box::new(OsLog { file, size }))
}

pub(super) fn create(
    path: &Path,
    size: u64,
    like: Option<&FileInfo>,
) -> io::Result<Box<dyn LogFile>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    restrict(&mut options, like);
    let file = options.open(path)?;
    if let Some(like) = like {
        imitate(&file, like)?;
    }
    let mut log = OsLog { file, size: 0 };
    log.grow(size)?;
    Ok(Box::new(log))
}

impl LogFile for OsLog {
    fn info(&self) -> io::Result<FileInfo> {
        self.file.metadata().map(|metadata| info(&metadata))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
            let at = offset + u64::try_from(read).unwrap_or(u64::MAX);
            match read_some(&self.file, at, rest) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        write_all(&self.file, offset, bytes)
    }

    fn grow(&mut self, size: u64) -> io::Result<()> {
        if size > self.size {
            reserve(&mut self.file, self.size, size)?;
            self.size = size;
        }
        Ok(())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Reserves room between two sizes. Where the file system cannot, zeros are written.
#[cfg(target_os = "linux")]
fn reserve(file: &mut File, from: u64, to: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    loop {
        return match fallocate(&*file, FallocateFlags::empty(), from, to - from) {
            Err(Errno::INTR) => continue,
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => zeros(file, from, to),
            result => result.map_err(io::Error::from),
        };
    }
}

#[cfg(not(target_os = "linux"))]
fn reserve(file: &mut File, from: u64, to: u64) -> io::Result<()> {
    zeros(file, from, to)
}

fn zeros(file: &mut File, from: u64, to: u64) -> io::Result<()> {
    use std::io::Seek as _;
    file.seek(io::SeekFrom::Start(from))?;
    let mut rest = to - from;
    while rest > 0 {
        let len = usize::try_from(rest).map_or(ZEROS.len(), |rest| rest.min(ZEROS.len()));
        file.write_all(ZEROS.get(..len).unwrap_or(&ZEROS))?;
        rest -= u64::try_from(len).unwrap_or(rest);
    }
    Ok(())
}

#[cfg(unix)]
fn not_waiting(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    options.custom_flags(flags);
}

#[cfg(not(unix))]
fn not_waiting(_: &mut OpenOptions) {}

#[cfg(unix)]
fn read_some(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_some(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

#[cfg(unix)]
fn write_all(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_all(file: &File, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = bytes.get(count..).unwrap_or_default();
                offset += u64::try_from(count).unwrap_or(u64::MAX);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_zeros_until_it_is_written_and_keeps_its_content_when_it_grows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = create(&path, 100, None).unwrap();
        log.write_at(90, b"0123456789").unwrap();
        log.grow(200).unwrap();
        log.grow(150).unwrap();
        log.sync_data().unwrap();
        assert_eq!(log.info().unwrap().len, 200);
        let mut bytes = [1; 30];
        assert_eq!(log.read_at(85, &mut bytes).unwrap(), 30);
        assert_eq!(bytes[..20], *b"\0\0\0\0\x000123456789\0\0\0\0\0");
        assert_eq!(log.read_at(190, &mut bytes).unwrap(), 10);
        assert_eq!(log.read_at(900, &mut bytes).unwrap(), 0);
        assert!(create(&path, 1, None).is_err());
        assert_eq!(open(&path).unwrap().info().unwrap().len, 200);
        assert!(open(dir.path()).is_err());
    }

    #[test]
    fn room_is_reserved_by_zeros_where_there_is_no_other_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, b"keep").unwrap();
        let mut file = File::options().write(true).open(&path).unwrap();
        let size = u64::try_from(ZEROS.len()).unwrap() + 5;
        zeros(&mut file, 4, size).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(u64::try_from(bytes.len()).unwrap(), size);
        assert!(bytes.starts_with(b"keep\0") && bytes[4..].iter().all(|byte| *byte == 0));
    }
}
