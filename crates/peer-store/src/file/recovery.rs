//! The file and its journal together: what was appended since the last checkpoint, whoever appended it.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use btcfed_core::PeerSet;
use btcfed_core::key::PeerKey;
use btcfed_core::patch::PeerChange;
use btcfed_core::set::{PackedPeer, SetPlace};
use btcfed_core::store::StoreError;

use crate::disk::base::Base;
use crate::disk::replace::failed;
use crate::file::{Outcome, TheFile};
use crate::journal::{self, Found, Journal, Open, journal_path};
use crate::text::checksum::Checksum;
use crate::text::content::Content;
use crate::text::document::Document;
use crate::text::render::{self, Stamp, render_with};

/// Most checkpoints that are remembered after a newer one replaced them, for edits of editors that had one open.
const MAX_PAST: usize = 8;

/// Most bytes of them, all together.
const MAX_PAST_BYTES: usize = 8 * 1024 * 1024;

impl TheFile {
    /// Takes in what others appended to the journal and what changed in the file, and finds the journal that belongs to it.
    /// A file that looks half-written is left for later unless `at_once`, but not longer than
    /// [`PATIENCE`](crate::PATIENCE).
    ///
    /// # Errors
    /// Something cannot be read. What could be read was taken in.
    pub(crate) fn look(
        &mut self,
        journal: &mut Journal,
        target: &Path,
        at_once: bool,
    ) -> Result<Outcome, StoreError> {
        let outcome = self.look_before_saving(journal, target, at_once);
        self.at_hand = Vec::new();
        outcome
    }

    /// [`look`](Self::look) that keeps the bytes of a file that did not change at hand.
    ///
    /// # Errors
    /// As for [`look`](Self::look).
    pub(super) fn look_before_saving(
        &mut self,
        journal: &mut Journal,
        target: &Path,
        at_once: bool,
    ) -> Result<Outcome, StoreError> {
        let mut changes = match &mut journal.open {
            Some(open) => self.shared.catch_up(open)?,
            None => Vec::new(),
        };
        let outcome = self.take_in(journal, target, at_once)?;
        if matches!(outcome, Outcome::Unfinished) {
            return Ok(outcome);
        }
        let followed = self.follow(journal, target);
        self.shared.state().is_journaling = journal.is_usable();
        changes.extend(followed?);
        Ok(match outcome {
            Outcome::Adopted(adopted) => {
                changes.extend(adopted);
                Outcome::Adopted(changes)
            }
            Outcome::Missing | Outcome::Same if !changes.is_empty() => Outcome::Adopted(changes),
            other => other,
        })
    }

    /// Before another content is taken in: makes the document what that content was made from.
    ///
    /// A newer checkpoint was made from the file and all of its journal; otherwise what was removed there would look as if
    /// it were new here. An edit of an older checkpoint (an editor had it open while a newer one was made) is an edit of
    /// that one; when it is not remembered any more, nothing is taken for deleted.
    pub(super) fn find_origin(&mut self, journal: &mut Journal, file: &Document) {
        journal.judged = None;
        if let Some(origin) = self.other_origin(file, &self.document) {
            self.document = origin;
            return;
        }
        if file.generation > self.document.generation && self.identity.is_some() {
            let known = self.document.clone();
            self.remember(&known);
        }
        let Some(open) = journal.open.as_ref().filter(|open| open.has_frames()) else {
            return;
        };
        let generation = self.document.generation;
        if file.generation > generation {
            let now = self.shared.now();
            let stamp = Stamp { generation, now };
            self.document = render_with(&self.document, b"", &open.logged, None, stamp).document;
        }
    }

    /// What `file` was made from, when that is not `known`: an empty one when nobody remembers it, so that nothing in
    /// `known` is taken for deleted. A save that bears the number of `known` is that of a process that had not read it.
    pub(super) fn other_origin(&self, file: &Document, known: &Document) -> Option<Document> {
        let is_other = match file.checksum {
            // Nothing tells what it was made from: it is what somebody wants the file to be.
            Checksum::Absent => false,
            Checksum::Differs => (1..=known.generation).contains(&file.generation),
            Checksum::Matches => file.generation == known.generation && known.generation > 0,
        };
        if !is_other || is_edit_of(file, known) {
            return None;
        }
        let past = self.past.iter().rev().find(|past| is_edit_of(file, past));
        Some(past.cloned().unwrap_or_default())
    }

    /// Remembers a checkpoint that is not the file any more. One that is too large is not even copied.
    pub(super) fn remember(&mut self, document: &Document) {
        if document.len() > MAX_PAST_BYTES {
            self.past.clear();
            return;
        }
        self.past.push_back(document.clone());
        let mut total: usize = self.past.iter().map(Document::len).sum();
        while self.past.len() > MAX_PAST || total > MAX_PAST_BYTES {
            let Some(oldest) = self.past.pop_front() else {
                return;
            };
            total -= oldest.len();
        }
    }

    /// Keeps the open journal as long as it belongs to the file, and finds the one that does. Returns what changed.
    fn follow(
        &mut self,
        journal: &mut Journal,
        target: &Path,
    ) -> Result<Vec<PeerChange>, StoreError> {
        let disk = self.disk();
        let path = journal_path(target);
        if let Some(open) = &mut journal.open {
            let is_current = open
                .is_current(&*disk)
                .map_err(|error| failed("read", &path, &error))?;
            let continues = self.identity == Some(open.identity()) && !self.must_write;
            open.beside = self.info.clone().filter(|_| is_current && continues);
            if is_current {
                return Ok(Vec::new());
            }
        }
        let info = match disk.metadata(&path) {
            Ok(info) => Some(info),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("read", &path, &error)),
        };
        journal.exists = info.is_some();
        if info.is_none() || journal.judged == info {
            if info.is_some() {
                return Ok(Vec::new());
            }
            let known = journal.open.take().map(|open| open.logged);
            return Ok(self.take_last(known, target));
        }
        match journal::find(&*disk, target)? {
            Found::Nothing => {}
            Found::Damaged(bytes) => {
                self.keep_journal(target, bytes, "the journal of the peers file is damaged")?;
            }
            Found::Journal(found) => {
                if journal
                    .open
                    .as_ref()
                    .is_some_and(|open| open.is_still(&found))
                {
                    return Ok(Vec::new());
                }
                let known = journal.open.take().map(|open| open.logged);
                if let Some((open, changes)) = self.continue_with(*found, known, target)? {
                    journal.open = Some(open);
                    return Ok(changes);
                }
            }
        }
        journal.open = None;
        journal.judged = info;
        Ok(Vec::new())
    }

    /// Replays a journal over what it continues. `None` when the file is newer, or another one altogether. `known` is what
    /// the journal before said, as far as it was read.
    fn continue_with(
        &mut self,
        mut open: Open,
        known: Option<PeerSet>,
        target: &Path,
    ) -> Result<Option<(Open, Vec<PeerChange>)>, StoreError> {
        let identity = open.identity();
        let is_exact = self.identity == Some(identity);
        {
            // Also when the checkpoint itself was never read: its number is taken.
            let mut state = self.shared.state();
            state.generation = state.generation.max(identity.generation);
        }
        if !is_exact && self.document.generation > identity.generation {
            return Ok(None);
        }
        if !is_exact && self.identity.is_some() {
            let bytes = open.bytes()?;
            self.keep_journal(target, bytes, "the journal is that of another peers file")?;
            return Ok(None);
        }
        let mut changes = Vec::new();
        let base = if is_exact {
            self.logged()
        } else {
            let base = self.base(target).filter(|base| base.identity == identity);
            match base {
                Some(base) => {
                    let base = set_of(&base.document);
                    changes = self.take_checkpoint(known, &base, identity.generation, target);
                    base
                }
                None => {
                    self.keep_edited(target);
                    set_of(&self.document)
                }
            }
        };
        open.logged = base.clone();
        let mut places = BTreeSet::new();
        let result = open.read_on(&mut places);
        changes.extend(self.shared.take_over(&base, &open.logged, &places));
        result?;
        if !places.is_empty() {
            let entries = places.len();
            tracing::info!(path = %target.display(), entries, "changes since the last checkpoint read from the journal");
        }
        open.beside = self.info.clone().filter(|_| is_exact && !self.must_write);
        if open.beside.is_none() {
            let mut state = self.shared.state();
            state.hard_since.get_or_insert_with(Instant::now);
        }
        Ok(Some((open, changes)))
    }

    /// Somebody wrote an edit of an older checkpoint over a newer one that this process has not read: what the newer one
    /// said is in its copy.
    fn take_checkpoint(
        &mut self,
        known: Option<PeerSet>,
        checkpoint: &PeerSet,
        generation: u64,
        target: &Path,
    ) -> Vec<PeerChange> {
        let known = match known {
            Some(known) => known,
            None if self.read_generation() < generation => {
                self.keep_edited(target);
                shared_past(&self.document, checkpoint)
            }
            None => return Vec::new(),
        };
        let places = places_of(&known).chain(places_of(checkpoint)).collect();
        self.shared.take_over(&known, checkpoint, &places)
    }

    /// There is no journal: somebody ended with a checkpoint, or nobody has one. When the checkpoint is not the file any
    /// more, its copy is read.
    fn take_last(&mut self, known: Option<PeerSet>, target: &Path) -> Vec<PeerChange> {
        let is_edit = self.document.checksum == Checksum::Differs && self.document.generation > 0;
        if known.is_none() && !(self.identity.is_none() && is_edit) {
            return Vec::new();
        }
        let read = self.read_generation();
        let base = self
            .base(target)
            .filter(|base| base.document.generation > read && self.identity != Some(base.identity));
        base.map_or_else(Vec::new, |Base { document, .. }| {
            let generation = document.generation;
            self.take_checkpoint(known, &set_of(&document), generation, target)
        })
    }

    /// The number of the checkpoint that was read last, also while the document is an edit of an older one that was not in
    /// the file.
    fn read_generation(&self) -> u64 {
        let written = self.written.as_ref().unwrap_or(&self.document);
        written.generation.max(self.recalled)
    }

    /// What the file says, shared with memory where both are alike.
    fn logged(&self) -> PeerSet {
        let set = Arc::clone(&self.shared.state().set);
        if render::says(&self.document, &set) {
            (*set).clone()
        } else {
            set_of(&self.document)
        }
    }

    /// Nobody knows what people changed in the file, so the journal may win over an edit of the same peer: the file as it
    /// is stays beside.
    fn keep_edited(&mut self, target: &Path) {
        let bytes = self.disk().read(target, self.shared.options.max_file_bytes);
        if let Ok(bytes) = bytes
            && !bytes.trim_ascii().is_empty()
            && self.unsaved_damage.is_none()
        {
            let why = "it was edited while the journal held changes, and there is no copy to compare it with";
            self.put_aside(target, bytes, why.to_owned());
        }
    }

    fn keep_journal(&mut self, target: &Path, bytes: Vec<u8>, why: &str) -> Result<(), StoreError> {
        self.keep_damage(target)?;
        self.put_aside(target, bytes, why.to_owned());
        Ok(())
    }

    /// Begins a new journal. To be called when the file says what `set` says; `written` is its content if a save was needed
    /// for that. When no change follows, or no journal is wanted, the old one is removed instead. A failure costs speed and
    /// nothing else, because the old journal is older than the file.
    pub(super) fn renew_journal(
        &mut self,
        journal: &mut Journal,
        target: &Path,
        set: &PeerSet,
        written: Option<&Content<'_>>,
        is_last: bool,
    ) {
        if let Some(written) = written.filter(|_| self.shared.options.journal) {
            // Before the journal that continues the copy is gone; and also when there is none any more, because an editor
            // may rename an edit of the save before over this one.
            self.write_checkpoint_copy(target, &written.parts());
        }
        let is_news = written.is_some();
        let wants = self.shared.options.journal && !is_last;
        let is_settled = if wants {
            journal.is_usable() && !is_news
        } else {
            !journal.exists && journal.open.is_none()
        };
        if is_settled {
            return;
        }
        let (Some(identity), Some(info)) = (self.identity, self.info.clone()) else {
            return;
        };
        if let Some(mut old) = journal.open.take() {
            old.close();
        }
        journal.judged = None;
        journal.exists = wants;
        let disk = self.disk();
        let path = journal_path(target);
        if !wants {
            match disk.remove(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::debug!(path = %path.display(), %error, "a journal that is not needed stays");
                }
            }
            return;
        }
        match journal::create(&*disk, target, identity, set.clone(), info) {
            Ok(open) => journal.open = Some(open),
            Err(error) => {
                tracing::debug!(%error, "there is no journal; every change writes the peers file");
            }
        }
    }
}

/// True when `file` is `checkpoint` or, by the lines of its head, which editors leave alone, was made from it.
pub(super) fn is_edit_of(file: &Document, checkpoint: &Document) -> bool {
    let is_same_sum = match (file.claimed_checksum(), checkpoint.claimed_checksum()) {
        (Some(file), Some(checkpoint)) => file == checkpoint,
        (None, _) | (_, None) => true,
    };
    is_same_sum && file.generation == checkpoint.generation
}

/// What an edit and a later checkpoint may have in common when nobody knows what both were made from. What the edit alone
/// has was added in it, unless the checkpoint remembers that it was removed.
fn shared_past(edit: &Document, checkpoint: &PeerSet) -> PeerSet {
    let removed: HashSet<&PeerKey> = checkpoint.forgotten().map(|(key, _)| key).collect();
    let is_shared =
        |peer: &&PackedPeer| checkpoint.contains(peer.key()) || removed.contains(peer.key());
    PeerSet::from_packed(edit.peers().filter(is_shared).cloned(), [], [])
}

fn set_of(document: &Document) -> PeerSet {
    let peers = document.peers().cloned();
    let bans = document.bans().map(|(_, ban)| ban.clone());
    let marks = document.forgotten().map(|(key, mark)| (*key, *mark));
    PeerSet::from_packed(peers, bans, marks)
}

fn places_of(set: &PeerSet) -> impl Iterator<Item = SetPlace> {
    let peers = set.views().map(|peer| SetPlace::Peer(*peer.key()));
    let bans = set.bans().map(|ban| SetPlace::Ban(ban.target));
    let marks = set.forgotten().map(|(key, _)| SetPlace::Forgotten(*key));
    peers.chain(bans).chain(marks)
}
