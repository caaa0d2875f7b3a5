//! The base: a copy of the last checkpoint, and when it is written.

use std::path::Path;
use std::time::Instant;

use crate::disk::base::{self, Base};
use crate::disk::displaced::Print;
use crate::file::TheFile;

impl TheFile {
    /// When the base is to be brought up to date. Not before the next save while the document is no save: an edit that was
    /// read and not written is nothing to compare edits with.
    pub(crate) fn base_due(&self) -> Option<Instant> {
        let is_saved = self.identity.is_some() && self.document.print == self.print;
        let since = self.stale_since.filter(|_| is_saved);
        since.map(|since| since + base::BASE_DELAY)
    }

    /// The base cannot be written now.
    pub(crate) fn put_off_base(&mut self) {
        self.stale_since = self.stale_since.map(|_| Instant::now());
    }

    /// Makes what was saved the base, if that [is due](Self::base_due) sometime. To be called while holding the lock. A
    /// failure costs the copy and nothing else: the next save tries again.
    pub(crate) fn write_base(&mut self, target: &Path) {
        if self.base_due().is_none() {
            return;
        }
        if !self.is_another() || self.is_newest(target) {
            let bytes = self.saved_bytes(target);
            self.write_checkpoint_copy(target, &[&bytes]);
        }
        self.stale_since = None;
    }

    /// True when the base is that of a save before the last one of this process: somebody edited the file since, and nobody
    /// else saved.
    fn is_newest(&self, target: &Path) -> bool {
        let is_older = |base: Base| base.document.generation < self.document.generation;
        self.base(target).is_none_or(is_older)
    }

    /// The bytes that were saved: those of the file, which are faster to read than to spell, unless they are others by now.
    fn saved_bytes(&self, target: &Path) -> Vec<u8> {
        let bytes = self.disk().read(target, self.shared.options.max_file_bytes);
        let is_saved =
            |bytes: &Vec<u8>| self.print.is_some() && self.print == Some(Print::of(bytes));
        match bytes.ok().filter(is_saved) {
            Some(bytes) => bytes,
            None => self.document.bytes(),
        }
    }

    /// Makes what was saved the base, also when somebody has written over the file since. A failure costs the copy.
    pub(super) fn write_checkpoint_copy(&mut self, target: &Path, parts: &[&[u8]]) {
        if self.stale_since.take().is_none() {
            return;
        }
        let (disk, now) = (self.disk(), self.shared.now());
        let like = self.info.as_ref();
        let copies = self.shared.tuning().backups;
        match base::write(&*disk, target, parts, like, now, (self.is_risky, copies)) {
            Ok(()) => self.is_risky = false,
            Err(error) => tracing::warn!(%error, "the copy of the peers file is not up to date"),
        }
    }
}
