//! The journal: hard changes since the last checkpoint, appended and synced one group at a time.
//!
//! It stands beside the peers file, continues exactly one checkpoint of it, and is replaced after the next one. Several
//! processes append to the same one, each under the lock and after reading what the others appended.

mod absorb;
mod codec;
mod frame;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use btcfed_core::PeerSet;
use btcfed_core::set::SetPlace;
use btcfed_core::store::StoreError;

use crate::disk::lock::LockFile;
use crate::disk::replace::{self, failed, name};
use crate::disk::{Disk, FileInfo, LogFile};
use frame::{CLOSED_AT, FRAME_HEAD_BYTES, HEADER_BYTES, Header};

pub(crate) use absorb::absorb;
pub(crate) use frame::Identity;
pub use frame::MAX_FRAME_BYTES;

/// How much room is reserved at a time.
pub const SEGMENT_BYTES: u64 = 1024 * 1024;

/// The largest journal. Then a checkpoint is made, however recent the last one is. Of a larger file found, no more is read.
pub const MAX_JOURNAL_BYTES: u64 = 32 * 1024 * 1024;

/// What the name of the journal has after the name of the file.
const SUFFIX: &str = ".journal";

/// The journal of a peers file.
pub(crate) fn journal_path(path: &Path) -> PathBuf {
    path.with_file_name(format!("{}{SUFFIX}", name(path)))
}

/// A journal that is open, and what is known of it.
#[derive(Debug)]
pub(crate) struct Open {
    file: Box<dyn LogFile>,
    path: PathBuf,
    inode: u64,
    /// Bytes that are reserved.
    size: u64,
    /// Where the next frame goes, and the CRC it has to cover.
    end: u64,
    chain: u32,
    identity: Identity,
    /// Nothing may be appended to it any more.
    is_closed: bool,
    /// What checkpoint and journal say together, as far as read.
    pub(crate) logged: PeerSet,
    /// The peers file as it is beside this journal; `None` when the journal does not continue the file as it is now.
    pub(crate) beside: Option<FileInfo>,
}

/// What an attempt to append came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// It is on the medium.
    Durable,
    /// This journal cannot take it: a checkpoint has to be made.
    NeedsCheckpoint,
}

/// What stands in a journal file.
#[derive(Debug)]
pub(crate) enum Found {
    /// No journal, or one that holds nothing and means nothing.
    Nothing,
    /// Something that is no whole journal: its bytes.
    Damaged(Vec<u8>),
    /// A journal. Its frames are not read yet.
    Journal(Box<Open>),
}

/// The journal side of a store. Guarded by one mutex that is held during I/O.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) open: Option<Open>,
    /// The lock file, open, because appending opens nothing.
    pub(crate) lock: Option<LockFile>,
    /// There was a journal file at the last look.
    pub(crate) exists: bool,
    /// The journal file that was looked at and not opened.
    pub(crate) judged: Option<FileInfo>,
}

impl Journal {
    /// True when frames may be appended as far as is known without looking.
    pub(crate) fn is_usable(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.beside.is_some())
    }
}

/// Looks at the journal of a peers file.
///
/// # Errors
/// There is one, and it cannot be read: nothing may be written over what it may say.
pub(crate) fn find(disk: &dyn Disk, target: &Path) -> Result<Found, StoreError> {
    let path = journal_path(target);
    let refuse = |error: &io::Error| failed("read", &path, error);
    let file = match disk.open_log(&path) {
        Ok(file) => file,
        Err(error) if is_absence(&error) => return Ok(Found::Nothing),
        Err(error) => return Err(refuse(&error)),
    };
    let info = file.info().map_err(|error| refuse(&error))?;
    let mut head = [0; HEADER_BYTES];
    let read = file.read_at(0, &mut head).map_err(|error| refuse(&error))?;
    let header = Header::decode(head.get(..read).unwrap_or_default());
    let Some(header) = header else {
        let bytes = read_all(&*file, info.len).map_err(|error| refuse(&error))?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(Found::Nothing);
        }
        return Ok(Found::Damaged(bytes));
    };
    Ok(Found::Journal(Box::new(Open {
        file,
        path,
        inode: info.inode,
        size: info.len,
        end: as_offset(HEADER_BYTES),
        chain: header.chain,
        identity: header.identity,
        is_closed: header.is_closed,
        logged: PeerSet::default(),
        beside: None,
    })))
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::Unsupported
    )
}

fn read_all(file: &dyn LogFile, len: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(len.min(MAX_JOURNAL_BYTES)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; len];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

fn as_offset(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Makes an empty journal that continues a checkpoint, durably, in place of the one before.
///
/// # Errors
/// It could not be made. The one before is there, or nothing is known of which one is.
pub(crate) fn create(
    disk: &dyn Disk,
    target: &Path,
    identity: Identity,
    logged: PeerSet,
    beside: FileInfo,
) -> Result<Open, StoreError> {
    let path = journal_path(target);
    let temp = replace::temporary(&path);
    let (header, chain) = Header::encode(identity);
    let written = disk
        .create_log(&temp, SEGMENT_BYTES, Some(&beside))
        .and_then(|mut file| {
            file.write_at(0, &header)?;
            file.sync_data()?;
            let inode = file.info()?.inode;
            Ok((file, inode))
        })
        .map_err(|error| failed("write", &temp, &error))
        .and_then(|written| {
            disk.rename(&temp, &path)
                .map_err(|error| failed("rename", &path, &error))?;
            Ok(written)
        });
    let (file, inode) = written.inspect_err(|_| replace::discard(disk, &temp))?;
    let directory = replace::directory(&path);
    disk.sync_dir(directory)
        .map_err(|error| failed("sync", directory, &error))?;
    Ok(Open {
        file,
        path,
        inode,
        size: SEGMENT_BYTES,
        end: as_offset(HEADER_BYTES),
        chain,
        identity,
        is_closed: false,
        logged,
        beside: Some(beside),
    })
}

impl Open {
    pub(crate) const fn identity(&self) -> Identity {
        self.identity
    }

    /// True when another file is the one that was closed, under the same name.
    pub(crate) fn is_still(&self, other: &Self) -> bool {
        other.is_closed && (other.inode, other.identity) == (self.inode, self.identity)
    }

    /// The whole file.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, StoreError> {
        read_all(&*self.file, self.size).map_err(|error| failed("read", &self.path, &error))
    }

    /// True when there are frames.
    pub(crate) fn has_frames(&self) -> bool {
        self.end > as_offset(HEADER_BYTES)
    }

    /// True while its name leads to it and nobody closed it.
    ///
    /// # Errors
    /// That cannot be told.
    pub(crate) fn is_current(&self, disk: &dyn Disk) -> io::Result<bool> {
        if self.is_closed {
            return Ok(false);
        }
        match disk.metadata(&self.path) {
            Ok(info) if info.inode != self.inode => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
        let mut flag = [0];
        self.file.read_at(as_offset(CLOSED_AT), &mut flag)?;
        Ok(flag == [0])
    }

    /// Reads the frames behind what is known into `logged`, up to the first that is not whole. Adds the places they are
    /// about to `places`, also when it fails.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn read_on(&mut self, places: &mut BTreeSet<SetPlace>) -> Result<(), StoreError> {
        let mut buffer = Vec::new();
        while self
            .next_frame(&mut buffer)
            .map_err(|error| failed("read", &self.path, &error))?
        {
            let opened = frame::open(&buffer, self.chain, self.identity.generation);
            let decoded =
                opened.and_then(|(payload, chain)| Some((codec::decode(payload)?, chain)));
            let Some((entries, chain)) = decoded else {
                break;
            };
            for entry in entries {
                places.insert(entry.place());
                self.logged.put(entry);
            }
            self.chain = chain;
            self.end += as_offset(buffer.len());
        }
        Ok(())
    }

    /// Reads what may be the next frame into `buffer`; false when there is none.
    fn next_frame(&self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let mut head = [0; FRAME_HEAD_BYTES];
        if self.end >= MAX_JOURNAL_BYTES
            || self.file.read_at(self.end, &mut head)? < FRAME_HEAD_BYTES
        {
            return Ok(false);
        }
        let Some(len) = frame::length(&head) else {
            return Ok(false);
        };
        buffer.resize(len, 0);
        Ok(self.file.read_at(self.end, buffer)? == len)
    }

    /// Appends what stands at `places` in `set` and is not yet logged, and syncs it.
    ///
    /// # Errors
    /// Nothing is known of what was written: the journal is closed for everybody, and a checkpoint has to be made.
    pub(crate) fn append(
        &mut self,
        set: &PeerSet,
        places: &BTreeSet<SetPlace>,
    ) -> Result<Appended, StoreError> {
        let mut frame = vec![0; FRAME_HEAD_BYTES];
        let mut entries = Vec::new();
        for place in places {
            let entry = set.entry(place);
            if entry == self.logged.entry(place) {
                continue;
            }
            if codec::encode(&entry, &mut frame).is_none() || frame.len() > MAX_FRAME_BYTES {
                return Ok(Appended::NeedsCheckpoint);
            }
            entries.push(entry);
        }
        if entries.is_empty() {
            return Ok(Appended::Durable);
        }
        let Some(chain) = frame::seal(&mut frame, self.chain, self.identity.generation) else {
            return Ok(Appended::NeedsCheckpoint);
        };
        let end = self.end + as_offset(frame.len());
        if end > MAX_JOURNAL_BYTES {
            return Ok(Appended::NeedsCheckpoint);
        }
        let written = self
            .make_room(end)
            .and_then(|()| self.file.write_at(self.end, &frame))
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.close();
            return Err(failed("write", &self.path, &error));
        }
        (self.end, self.chain) = (end, chain);
        entries.into_iter().for_each(|entry| self.logged.put(entry));
        Ok(Appended::Durable)
    }

    fn make_room(&mut self, end: u64) -> io::Result<()> {
        if end > self.size {
            let size = end.next_multiple_of(SEGMENT_BYTES);
            self.file.grow(size)?;
            self.size = size;
        }
        Ok(())
    }

    /// Makes everybody who has it open stop appending. Nothing depends on it when the name leads elsewhere soon.
    pub(crate) fn close(&mut self) {
        (self.beside, self.is_closed) = (None, true);
        if let Err(error) = self.file.write_at(as_offset(CLOSED_AT), &[1]) {
            tracing::debug!(path = %self.path.display(), %error, "a journal that is given up cannot be marked");
        }
    }
}
