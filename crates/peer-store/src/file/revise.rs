//! What people do with the file as a whole: edit a copy, take out what cannot be read, keep a copy.

use std::path::{Path, PathBuf};
use std::time::Instant;

use btcfed_core::patch::PeerChange;
use btcfed_core::store::StoreError;

use crate::disk::base::before_path;
use crate::disk::replace::replace;
use crate::file::{Outcome, TheFile};
use crate::journal::Journal;
use crate::text::document::Document;
use crate::text::piece::{Piece, Says};

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Revision {
    Edit {
        before: Box<[u8]>,
        edited: Box<[u8]>,
    },
    Keep,
    Repair,
}

/// What [`adopt_edit`](crate::FilePeerStore::adopt_edit), [`repair`](crate::FilePeerStore::repair) and
/// [`keep_before`](crate::FilePeerStore::keep_before) did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revised {
    /// What changed in memory.
    pub changes: Vec<PeerChange>,
    /// Where a copy of the file was kept, if one was made.
    pub kept: Option<PathBuf>,
}

impl TheFile {
    /// Does it in memory; the next save writes it. To be called while holding the lock.
    ///
    /// # Errors
    /// The file cannot be read, or a copy cannot be written. Nothing changed.
    pub(crate) fn revise(
        &mut self,
        journal: &mut Journal,
        target: &Path,
        revision: Revision,
    ) -> Result<Revised, StoreError> {
        let mut changes = match self.look(journal, target, true)? {
            Outcome::Adopted(changes) => changes,
            Outcome::Missing | Outcome::Same | Outcome::Unfinished => Vec::new(),
        };
        if let Some(found) = self.shared.state().newer_version {
            return Err(self.shared.read_only(found));
        }
        let mut kept = None;
        match revision {
            Revision::Edit { before, edited } => {
                let before = Document::parse(&before, &self.document, self.shared.now());
                changes.extend(self.adopt_late(target, before, edited.into_vec()));
            }
            Revision::Keep => kept = self.keep_before(target)?,
            Revision::Repair => kept = self.take_out_bad(target)?,
        }
        Ok(Revised { changes, kept })
    }

    fn keep_before(&mut self, target: &Path) -> Result<Option<PathBuf>, StoreError> {
        let Some(bytes) = self.read(target)? else {
            return Ok(None);
        };
        let before = before_path(target);
        replace(&*self.disk(), &before, &[&bytes], self.info.as_ref())?;
        Ok(Some(before))
    }

    fn take_out_bad(&mut self, target: &Path) -> Result<Option<PathBuf>, StoreError> {
        let is_bad =
            |piece: &Piece| matches!(piece, Piece::Item(item) if matches!(item.says, Says::Bad(_)));
        if !self.document.pieces.iter().any(is_bad) {
            return Ok(None);
        }
        if let Some(bytes) = self.read(target)? {
            let why = "entries that cannot be read are taken out".to_owned();
            self.unsaved_damage = Some((bytes, why));
            self.keep_damage(target)?;
        }
        self.document.pieces.retain(|piece| !is_bad(piece));
        self.document.print = None;
        self.document.withheld.clear();
        self.document.doubts.clear();
        self.must_write = true;
        let mut state = self.shared.state();
        state.hard_since.get_or_insert_with(Instant::now);
        drop(state);
        Ok(self.kept.last().cloned())
    }
}
