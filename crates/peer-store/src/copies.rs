//! The peers file and the copies the store keeps of it: what each holds. Only reads.

use std::io;
use std::path::{Path, PathBuf};

use btcfed_core::PeerSet;
use btcfed_core::key::PeerKey;
use btcfed_core::time::Timestamp;

use crate::disk::replace::{DAMAGED, directory, name};
use crate::disk::{Disk, OsDisk, base};
use crate::text::checksum::Checksum;
use crate::text::document::{Document, FORMAT_VERSION};

/// Which file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CopyKind {
    /// The file itself.
    Current,
    /// The file as it was last saved.
    Base,
    /// The file before the last edit, damage or restoration.
    Before,
    /// An older base.
    Old,
    /// Bytes that were kept aside because they could not be read.
    Damaged,
}

impl CopyKind {
    /// The stable lower-case name used in `--json` output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Base => "base",
            Self::Before => "before",
            Self::Old => "old",
            Self::Damaged => "damaged",
        }
    }
}

/// Lines of a peers file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// 1-based line where the entry, or the bad part of it, starts.
    pub line: usize,
    /// Why.
    pub reason: String,
    /// Whose entry it is, where that can be read.
    pub key: Option<PeerKey>,
    /// True when these lines are no entry at all: torn, or no text.
    pub is_damage: bool,
}

/// What a peers file or a copy of one holds.
#[derive(Clone, Debug)]
pub struct StoredCopy {
    /// Which file it is.
    pub kind: CopyKind,
    /// Where it is.
    pub path: PathBuf,
    /// When the file was last written.
    pub written: Option<Timestamp>,
    /// Counts saves; 0 when the file does not say.
    pub generation: u64,
    /// The version of the format.
    pub version: u64,
    /// True when the bytes are exactly what a store wrote, complete and in a version this program knows.
    pub is_intact: bool,
    /// Everything that can be read of it.
    pub set: PeerSet,
    /// What cannot, by line.
    pub unreadable: Vec<Unreadable>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Largest file that is looked at, in bytes: as much as a store reads.
const MAX_COPY_BYTES: u64 = 64 * 1024 * 1024;

/// Reads the peers file at `path` and every copy beside it: the file first, then the copies from the newest to the oldest.
/// Files that are not there are left out. Nothing is changed, and no lock is taken: files are replaced as a whole.
///
/// # Errors
/// A file cannot be read.
pub fn copies(path: &Path) -> io::Result<Vec<StoredCopy>> {
    let disk = OsDisk;
    let target = disk.resolve(path)?;
    let mut files = vec![
        (CopyKind::Current, target.clone()),
        (CopyKind::Base, base::base_path(&target)),
        (CopyKind::Before, base::before_path(&target)),
    ];
    let listed = match disk.list(directory(&target)) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let old = base::old_copies(&disk, &target)?;
    files.extend(old.into_iter().map(|(_, path)| (CopyKind::Old, path)));
    let prefix = format!("{}{DAMAGED}", name(&target));
    let damaged = listed.into_iter().filter(|name| name.starts_with(&prefix));
    files.extend(damaged.map(|name| (CopyKind::Damaged, target.with_file_name(name))));
    let mut copies = Vec::new();
    for (kind, path) in files {
        match read_copy(kind, &path) {
            Ok(copy) => copies.push(copy),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    copies.sort_by_key(|copy| {
        (
            copy.kind != CopyKind::Current,
            std::cmp::Reverse(copy.written),
        )
    });
    Ok(copies)
}

/// Reads one peers file as it is, without its copies.
///
/// # Errors
/// It cannot be read, or is larger than any peers file.
pub fn read_copy(kind: CopyKind, path: &Path) -> io::Result<StoredCopy> {
    let disk = OsDisk;
    if !disk.metadata(path)?.is_file {
        let reason = format!("{} is no regular file", path.display());
        return Err(io::Error::other(reason));
    }
    let written = std::fs::metadata(path)?.modified().ok();
    let written = written.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let bytes = disk.read(path, MAX_COPY_BYTES)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_COPY_BYTES {
        let reason = format!("{} is larger than {MAX_COPY_BYTES} bytes", path.display());
        return Err(io::Error::other(reason));
    }
    let written = written.map(|since| Timestamp::from_secs(since.as_secs()));
    Ok(StoredCopy::parse(kind, path.to_owned(), written, bytes))
}

impl StoredCopy {
    /// Reads bytes as a peers file.
    #[must_use]
    pub fn parse(
        kind: CopyKind,
        path: PathBuf,
        written: Option<Timestamp>,
        bytes: Vec<u8>,
    ) -> Self {
        let now = written.unwrap_or(Timestamp::from_secs(0));
        let document = Document::parse(&bytes, &Document::default(), now);
        let bad = document.bad().map(|(item, refusal)| Unreadable {
            line: item.line + refusal.line,
            reason: refusal.reason.clone(),
            key: refusal.key,
            is_damage: false,
        });
        let damage = document.damage.iter().map(|damage| Unreadable {
            line: damage.line,
            reason: damage.what.clone(),
            key: None,
            is_damage: true,
        });
        let mut unreadable: Vec<Unreadable> = bad.chain(damage).collect();
        unreadable.sort_by_key(|lines| lines.line);
        Self {
            kind,
            path,
            written,
            generation: document.generation,
            version: document.version,
            is_intact: document.checksum == Checksum::Matches
                && document.damage.is_empty()
                && document.version <= FORMAT_VERSION,
            set: document.set(),
            unreadable,
            bytes,
        }
    }

    /// True when the file says nothing at all: it is empty, or holds nothing but comments.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        let now = Timestamp::from_secs(0);
        Document::parse(&self.bytes, &Document::default(), now).is_blank()
    }
}
