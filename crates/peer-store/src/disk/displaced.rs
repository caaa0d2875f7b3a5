//! Files that a save has just replaced. An editor that opened one of them before, and writes in place, writes into a file
//! that no longer has a name: its edit would be lost. So a replaced file is held open for a while and looked at again.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant, SystemTime};

use crate::disk::{FileInfo, HeldFile};
use crate::text::document::Document;
use crate::worker::PATIENCE;

/// Most replaced files that are held at a time: those of the last saves. Each takes one descriptor.
pub(crate) const MAX_HELD: usize = 8;

/// Most bytes of replaced files whose content is remembered, all together. A larger file is not held: an edit that an editor
/// writes into it at the very moment it is replaced is lost. One that an editor renamed over it then is held, for one look.
pub(crate) const MAX_HELD_BYTES: usize = 8 * 1024 * 1024;

/// Tells contents apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Print(usize, u32, u64);

impl Print {
    /// Length, CRC-32, and a sum over words that no CRC is a part of.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self::of_parts(&[bytes])
    }

    /// [`of`](Self::of) all the bytes of some parts, one after the other.
    pub(crate) fn of_parts(parts: &[&[u8]]) -> Self {
        let mut sums = Sums::default();
        for part in parts {
            // A little at a time, which the second look finds close at hand.
            part.chunks(Sums::CHUNK).for_each(|chunk| sums.add(chunk));
        }
        sums.finish()
    }

    /// The CRC-32 of these bytes.
    pub(crate) const fn crc(self) -> u32 {
        self.1
    }

    /// How many bytes it is of.
    pub(crate) const fn bytes(self) -> usize {
        self.0
    }
}

/// What a [`Print`] is made of, as the bytes come.
struct Sums {
    len: usize,
    crc: crc32fast::Hasher,
    /// Four sums side by side, because each step waits for the one before.
    words: [u64; 4],
    /// What does not fill a block yet.
    rest: Vec<u8>,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            len: 0,
            crc: crc32fast::Hasher::new(),
            words: [0, 1, 2, 3],
            rest: Vec::with_capacity(Self::BLOCK),
        }
    }
}

impl Sums {
    /// Bytes that are summed at once.
    const BLOCK: usize = 32;

    /// Bytes that are looked at twice in a row.
    const CHUNK: usize = 64 * 1024;

    const fn mix(sum: u64, word: u64) -> u64 {
        (sum ^ word)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    }

    fn block(&mut self, block: &[u8; Self::BLOCK]) {
        let (words, _) = block.as_chunks::<8>();
        for (sum, word) in self.words.iter_mut().zip(words) {
            *sum = Self::mix(*sum, u64::from_le_bytes(*word));
        }
    }

    fn add(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len();
        self.crc.update(bytes);
        if !self.rest.is_empty() {
            let missing = (Self::BLOCK - self.rest.len()).min(bytes.len());
            let (head, tail) = bytes.split_at(missing);
            self.rest.extend_from_slice(head);
            bytes = tail;
            let Some(block) = self.rest.first_chunk().copied() else {
                return;
            };
            self.block(&block);
            self.rest.clear();
        }
        let (blocks, rest) = bytes.as_chunks();
        blocks.iter().for_each(|block| self.block(block));
        self.rest.extend_from_slice(rest);
    }

    fn finish(self) -> Print {
        let rest = self.rest.iter().map(|byte| u64::from(*byte));
        let sum = self.words.into_iter().chain(rest).fold(0, Self::mix);
        Print(self.len, self.crc.finalize(), sum)
    }
}

/// One replaced file.
#[derive(Debug)]
struct Displaced {
    file: Box<dyn HeldFile>,
    /// What it said when it was replaced.
    document: Document,
    print: Print,
    /// How many bytes it had then; none when they are too many to be remembered for longer than one look.
    size: usize,
    /// Another content that was seen once: an edit, if it stays as it is.
    seen: Option<Print>,
    /// It is not the file that was looked at before the save: an editor renamed its own over that, whole, in between.
    is_another: bool,
    /// Length and time just before it was last read.
    stamp: Option<(u64, Option<SystemTime>)>,
    until: Instant,
}

impl Displaced {
    /// Its bytes, if they may have changed: when it was never read, when its length or time changed, when an edit was
    /// seen once, and a last time before it is given up, because times of files are coarse.
    fn read(&mut self, limit: u64, now: Instant) -> io::Result<Option<Vec<u8>>> {
        let info = self.file.info()?;
        let stamp = Some((info.len, info.modified));
        let is_same = std::mem::replace(&mut self.stamp, stamp) == stamp;
        if is_same && self.seen.is_none() && !self.is_another && self.until > now {
            return Ok(None);
        }
        self.file.read(limit).map(Some)
    }
}

/// What a look at the replaced files brought.
#[derive(Debug)]
pub(crate) enum Late {
    /// An edit: what the file said before, and its bytes now.
    Edit(Box<Document>, Vec<u8>),
    /// Nothing.
    Nothing,
    /// Somebody seems to be writing.
    Unfinished,
}

/// The files that the last saves replaced.
#[derive(Debug, Default)]
pub(crate) struct DisplacedFiles(VecDeque<Displaced>);

impl DisplacedFiles {
    /// Holds a file that was just replaced, and what it said. `looked_at` is the file that was looked at before.
    pub(crate) fn hold(
        &mut self,
        file: Box<dyn HeldFile>,
        (document, print): (Document, Print),
        looked_at: Option<&FileInfo>,
    ) {
        let inode = looked_at.map(|info| info.inode);
        let is_another = file.info().is_ok_and(|info| Some(info.inode) != inode);
        let is_large = print.bytes() > MAX_HELD_BYTES;
        if is_large && !is_another {
            return;
        }
        let size = if is_large { 0 } else { print.bytes() };
        let held = |files: &VecDeque<Displaced>| -> usize {
            files.iter().map(|displaced| displaced.size).sum()
        };
        while self.0.len() >= MAX_HELD || held(&self.0) + size > MAX_HELD_BYTES {
            self.0.pop_front();
        }
        let until = Instant::now() + if is_large { Duration::ZERO } else { PATIENCE };
        self.0.push_back(Displaced {
            file,
            document,
            print,
            size,
            seen: None,
            is_another,
            stamp: None,
            until,
        });
    }

    /// True while there is something to look at.
    pub(crate) fn is_watching(&self) -> bool {
        !self.0.is_empty()
    }

    /// True when one of them holds an edit that is whole already: it need not be waited for.
    pub(crate) fn has_another(&self) -> bool {
        self.0.iter().any(|displaced| displaced.is_another)
    }

    /// The next look is the last one: what is found then is taken as it is.
    pub(crate) fn give_up(&mut self) {
        let now = Instant::now();
        self.0
            .iter_mut()
            .for_each(|displaced| displaced.until = now);
    }

    /// Looks for an edit. One that is still being written is waited for, until the file is given up.
    pub(crate) fn look(&mut self, limit: u64) -> Late {
        let now = Instant::now();
        let mut late = Late::Nothing;
        for displaced in &mut self.0 {
            let bytes = match displaced.read(limit, now) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                Err(_) => {
                    displaced.until = now;
                    continue;
                }
            };
            let print = Print::of(&bytes);
            let is_another = std::mem::take(&mut displaced.is_another);
            if print == displaced.print {
                displaced.seen = None;
                continue;
            }
            let is_quiet = is_another
                || displaced.seen.replace(print) == Some(print)
                || displaced.until <= now;
            let is_whole = !bytes.trim_ascii().is_empty();
            if is_quiet && is_whole {
                // Later changes of this file are edits of the edit.
                displaced.print = print;
                displaced.seen = None;
                let before = displaced.document.clone();
                self.0
                    .retain(|displaced| displaced.size > 0 || displaced.until > now);
                return Late::Edit(Box::new(before), bytes);
            }
            late = Late::Unfinished;
        }
        self.0.retain(|displaced| displaced.until > now);
        if self.0.is_empty() {
            Late::Nothing
        } else {
            late
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::disk::{Disk as _, FileInfo, OsDisk};

    /// Counts how often it is read.
    #[derive(Debug)]
    struct Counted(Box<dyn HeldFile>, Arc<AtomicUsize>);

    impl HeldFile for Counted {
        fn info(&self) -> io::Result<FileInfo> {
            self.0.info()
        }

        fn read(&mut self, limit: u64) -> io::Result<Vec<u8>> {
            self.1.fetch_add(1, Ordering::SeqCst);
            self.0.read(limit)
        }
    }

    fn hold(files: &mut DisplacedFiles, path: &Path, print: Print) -> Arc<AtomicUsize> {
        let reads = Arc::new(AtomicUsize::new(0));
        let counted = Counted(OsDisk.hold(path).unwrap(), Arc::clone(&reads));
        let info = OsDisk.metadata(path).unwrap();
        files.hold(Box::new(counted), (Document::default(), print), Some(&info));
        reads
    }

    #[test]
    fn a_file_that_did_not_change_is_read_at_first_and_at_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        fs::write(&path, "old").unwrap();
        let mut files = DisplacedFiles::default();
        let reads = hold(&mut files, &path, Print::of(b"old"));
        for _ in 0..50 {
            assert!(matches!(files.look(100), Late::Nothing));
        }
        assert_eq!(reads.load(Ordering::SeqCst), 1);
        fs::write(&path, "edit").unwrap();
        assert!(matches!(files.look(100), Late::Unfinished));
        assert!(matches!(files.look(100), Late::Edit(_, bytes) if bytes == b"edit"));
        files.look(100);
        assert_eq!(reads.load(Ordering::SeqCst), 3);

        // A change that left length and time as they were, seen when the file is given up.
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "EDIT").unwrap();
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(time)
            .unwrap();
        assert!(matches!(files.look(100), Late::Nothing));
        for displaced in &mut files.0 {
            displaced.until = Instant::now();
        }
        assert!(matches!(files.look(100), Late::Edit(_, bytes) if bytes == b"EDIT"));
        files.look(100);
        assert!(!files.is_watching());
    }

    #[test]
    fn the_print_of_parts_is_that_of_the_whole_however_it_is_cut() {
        let bytes: Vec<u8> = (0..=255_u8).cycle().take(300).collect();
        for length in [0, 1, 31, 32, 33, 64, 300] {
            let whole = &bytes[..length];
            for cut in 0..=length {
                let (head, tail) = whole.split_at(cut);
                let (middle, end) = tail.split_at(tail.len() / 2);
                let parts = [head, middle, b"", end];
                assert_eq!(Print::of_parts(&parts), Print::of(whole), "{length} {cut}");
            }
            let mut other = whole.to_vec();
            for at in 0..length {
                other[at] ^= 1;
                assert_ne!(Print::of(&other).2, Print::of(whole).2);
                other[at] ^= 1;
            }
        }
    }

    #[test]
    fn what_is_held_is_bounded_in_number_and_in_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        fs::write(&path, "x").unwrap();
        let mut files = DisplacedFiles::default();
        for _ in 0..20 {
            hold(&mut files, &path, Print(1, 0, 0));
        }
        assert_eq!(files.0.len(), MAX_HELD);
        for _ in 0..4 {
            hold(&mut files, &path, Print(MAX_HELD_BYTES / 2, 0, 0));
        }
        assert_eq!(files.0.len(), 2);
        hold(&mut files, &path, Print(MAX_HELD_BYTES + 1, 0, 0));
        assert_eq!(files.0.len(), 2, "too large to be held");
    }
}
