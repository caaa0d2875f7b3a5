//! The file as this process last knew it, and the two things done with it: taking in what changed, and saving.

mod checkpoint_copy;
mod readback;
mod recall;
mod recovery;
pub(crate) mod revise;
mod torn;

use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use btcfed_core::PeerSet;
use btcfed_core::patch::PeerChange;
use btcfed_core::store::{StoreError, StoreEvent};

use crate::disk::base::{self, Base};
use crate::disk::displaced::{DisplacedFiles, Late, Print};
use crate::disk::lock::{Access, with_lock};
use crate::disk::replace::{self, MAX_DAMAGED_KEPT, failed, keep_aside};
use crate::disk::{Disk, FileInfo, HeldFile};
use crate::journal::{Identity, Journal, journal_path};
use crate::merge::{Adopted, merge};
use crate::migration;
use crate::sections::layout::Layout;
use crate::shared::{Dirty, Shared};
use crate::text::checksum::Checksum;
use crate::text::content::Content;
use crate::text::document::{Document, FORMAT_VERSION, cut};
use crate::text::piece::Piece;
use crate::text::render::{self, Stamp, render_with};
use crate::worker::PATIENCE;

/// Most adopted differences that are logged one by one.
const MAX_LOGGED: usize = 50;

/// Most saves in a row that take in what an editor renamed over the file while the one before was made.
const MAX_OVERTAKEN: usize = 3;

/// Most announced bad entries that are remembered, so that each is told once.
const MAX_ANNOUNCED: usize = 10_000;

/// What a look at the file brought.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It changed, and memory with it where these changes say so.
    Adopted(Vec<PeerChange>),
    /// There is none.
    Missing,
    /// It is as it was.
    Same,
    /// It looks as if somebody were still writing it.
    Unfinished,
}

pub(crate) struct TheFile {
    shared: Arc<Shared>,
    /// The content that memory was last reconciled with.
    document: Document,
    /// What the file says, while the document is an edit of it that was found in a replaced file and is not written yet.
    written: Option<Document>,
    /// What it says under `sections`.
    sections: Layout,
    print: Option<Print>,
    /// The bytes of the file while a save may copy out of them: they have this print.
    at_hand: Vec<u8>,
    /// Which checkpoint the document is, when it is one exactly.
    identity: Option<Identity>,
    info: Option<FileInfo>,
    /// The checkpoints before it.
    past: VecDeque<Document>,
    /// What the last saves replaced.
    displaced: DisplacedFiles,
    /// What edits found in replaced files changed, while the look that found them could not be finished. They come from the
    /// few files that the last saves replaced, and nothing is saved before such a look was finished.
    untold: Vec<PeerChange>,
    /// What a file that vanished was like: the new one gets its permissions.
    like: Option<FileInfo>,
    /// Since when it looks half-written.
    unfinished: Option<Instant>,
    /// It has to be written although memory agrees with the document.
    must_write: bool,
    /// Bad bytes that must be kept before anything is written, and why.
    unsaved_damage: Option<(Vec<u8>, String)>,
    /// Where bad bytes were kept: the first place and the last ones.
    kept: Vec<PathBuf>,
    /// The bad entries of the file that was judged last.
    judged: HashSet<Print>,
    announced: HashSet<Print>,
    was_read: bool,
    /// The number of the base whose words are all in memory already, whatever the file was made from.
    recalled: u64,
    /// Since when the base is older than the file.
    stale_since: Option<Instant>,
    /// An edit or damage was taken over since the base was written.
    is_risky: bool,
}

impl TheFile {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            document: Document::default(),
            written: None,
            sections: Layout::default(),
            print: None,
            at_hand: Vec::new(),
            identity: None,
            info: None,
            past: VecDeque::new(),
            displaced: DisplacedFiles::default(),
            untold: Vec::new(),
            like: None,
            unfinished: None,
            must_write: false,
            unsaved_damage: None,
            kept: Vec::new(),
            judged: HashSet::new(),
            announced: HashSet::new(),
            was_read: false,
            recalled: 0,
            stale_since: None,
            is_risky: false,
        }
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.shared.options.disk)
    }

    /// The file itself, at the end of symbolic links.
    ///
    /// # Errors
    /// The links lead nowhere.
    pub(crate) fn target(&self) -> Result<PathBuf, StoreError> {
        let path = &self.shared.options.path;
        self.disk()
            .resolve(path)
            .map_err(|error| failed("resolve", path, &error))
    }

    /// The names under which it may be touched.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let mut paths = vec![self.shared.options.path.clone()];
        paths.extend(self.target().ok().filter(|target| *target != paths[0]));
        paths
    }

    /// Deletes what crashed saves left, unless somebody is saving right now.
    pub(crate) fn remove_leftovers(&self) {
        let (Ok(target), disk) = (self.target(), self.disk()) else {
            return;
        };
        let paths = [
            base::base_path(&target),
            journal_path(&target),
            target.clone(),
        ];
        if paths
            .iter()
            .all(|path| replace::leftovers(&*disk, path).is_empty())
        {
            return;
        }
        let wait = Duration::from_millis(50);
        match with_lock(&target, Access::Exclusive, wait, || {
            let removed = |path: &PathBuf| replace::remove_leftovers(&*disk, path);
            paths.iter().map(removed).sum::<usize>()
        }) {
            Ok(count) => {
                tracing::info!(count, path = %target.display(), "removed temporary files of interrupted saves")
            }
            Err(error) => {
                tracing::debug!(%error, "temporary files of interrupted saves stay for now")
            }
        }
    }

    /// True when the file looks touched since it was last read or written.
    pub(crate) fn is_touched(&self) -> bool {
        self.is_another() || self.unfinished.is_some() || self.displaced.is_watching()
    }

    /// Before the end: replaced files are looked at once more, now. False when there are none.
    pub(crate) fn expects_last_edits(&mut self) -> bool {
        self.displaced.give_up();
        self.displaced.is_watching()
    }

    /// True when the file is not the one that was last read or written.
    fn is_another(&self) -> bool {
        let target = self.target().ok();
        let info = target.and_then(|target| self.disk().metadata(&target).ok());
        info != self.info
    }

    /// Reads the file and, if its content changed, merges it into memory. A file that looks half-written is left for
    /// later unless `at_once`, but not longer than [`PATIENCE`].
    ///
    /// # Errors
    /// It cannot be read. Nothing changed, unless an edit was found in a replaced file: the next look tells of it.
    fn take_in(
        &mut self,
        journal: &mut Journal,
        target: &Path,
        at_once: bool,
    ) -> Result<Outcome, StoreError> {
        match self.displaced.look(self.shared.options.max_file_bytes) {
            Late::Unfinished if !at_once => return Ok(Outcome::Unfinished),
            Late::Nothing | Late::Unfinished => {}
            Late::Edit(before, bytes) => {
                let changes = self.adopt_late(target, *before, bytes);
                self.untold.extend(changes);
            }
        }
        let outcome = self.take_in_file(journal, target, at_once)?;
        let more = match outcome {
            Outcome::Unfinished => return Ok(outcome),
            Outcome::Missing | Outcome::Same if self.untold.is_empty() => return Ok(outcome),
            Outcome::Missing | Outcome::Same => Vec::new(),
            Outcome::Adopted(changes) => changes,
        };
        let mut changes = std::mem::take(&mut self.untold);
        changes.extend(more);
        Ok(Outcome::Adopted(changes))
    }

    fn take_in_file(
        &mut self,
        journal: &mut Journal,
        target: &Path,
        at_once: bool,
    ) -> Result<Outcome, StoreError> {
        let bytes = self.read(target)?;
        let is_void = bytes.as_ref().is_none_or(|b| b.trim_ascii().is_empty());
        if is_void && !self.was_read && self.restore(target) {
            self.print = bytes.as_deref().map(Print::of);
            return Ok(Outcome::Missing);
        }
        let Some(bytes) = bytes else {
            return Ok(self.missing(target, at_once));
        };
        let print = Print::of(&bytes);
        if self.print == Some(print) {
            self.unfinished = None;
            self.at_hand = bytes;
            return Ok(Outcome::Same);
        }
        let started = Instant::now();
        let migrated = self.migrate(target, &bytes)?;
        let is_as_found = migrated.is_none();
        let bytes = migrated.unwrap_or(bytes);
        let (document, base) = self.parse(target, &bytes);
        let is_cut = document.is_listless() && document.checksum != Checksum::Matches;
        if is_cut && !self.was_read && self.restore(target) {
            self.put_aside(target, bytes, "it has no list of peers".to_owned());
            self.print = Some(print);
            return Ok(Outcome::Missing);
        }
        let is_emptied = is_cut && !self.document.is_listless();
        if (is_emptied || !document.damage.is_empty()) && !at_once && self.wait_for_more() {
            return Ok(Outcome::Unfinished);
        }
        self.unfinished = None;
        if is_emptied {
            tracing::warn!(path = %target.display(), "the peers file was emptied; it will be written again from memory. \
                 To remove all peers, write `peers: []`");
            if !bytes.trim_ascii().is_empty() {
                self.put_aside(target, bytes, "it has no list of peers".to_owned());
            }
            self.write_soon(print);
            return Ok(Outcome::Same);
        }
        if let Some(base) = base {
            self.recall(target, base, &document);
        }
        if let Some(written) = self.written.take() {
            // Somebody saved who does not know the edit: what it added was not deleted there.
            self.document = written;
        }
        self.find_origin(journal, &document);
        self.is_risky |= document.checksum != Checksum::Matches || !document.damage.is_empty();
        self.judge(target, &document, bytes);
        let skipped = document.bad().count();
        let is_checkpoint = document.checksum == Checksum::Matches && document.damage.is_empty();
        self.identity = is_checkpoint.then_some(Identity::of(document.generation, print));
        let was_empty = self.shared.state().set.is_empty();
        let changes = self.adopt(document);
        self.print = Some(print);
        self.document.print = self.print.filter(|_| is_as_found);
        let metrics = &self.shared.options.metrics;
        metrics.count("peer_store_loads", 1);
        let adopted = match was_empty {
            true => self.shared.state().set.len(),
            false => changes.len(),
        };
        metrics.count("peer_store_adopted_changes", as_count(adopted));
        metrics.count("peer_store_skipped_entries", as_count(skipped));
        metrics.time("peer_store_load", started.elapsed());
        Ok(Outcome::Adopted(changes))
    }

    /// What a file says; and the base, when the file was edited before the first look at it: what was checked before the edit
    /// is not checked again.
    fn parse(&self, target: &Path, bytes: &[u8]) -> (Document, Option<Document>) {
        let now = self.shared.now();
        let is_strange = !self.was_read && !Document::is_ours(bytes);
        match is_strange.then(|| self.base(target)).flatten() {
            None => {
                let known = self.written.as_ref().unwrap_or(&self.document);
                let mut document = Document::parse(bytes, known, now);
                torn::note_cut(&mut document, bytes, known, || known.bytes());
                (document, None)
            }
            Some(base) => {
                let text = std::str::from_utf8(&base.bytes).unwrap_or_default();
                let mut document = Document::parse_edited(bytes, (&base.document, text), now);
                torn::note_cut(&mut document, bytes, &base.document, || base.bytes);
                (document, Some(base.document))
            }
        }
    }

    /// The content in the version that is written now, when it is of an older one. What it was is kept first.
    fn migrate(&mut self, target: &Path, bytes: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let options = &self.shared.options;
        let text = std::str::from_utf8(bytes).ok();
        let Some(migrated) = text.and_then(|text| migration::run(text, &options.migrations)) else {
            return Ok(None);
        };
        let before = base::before_path(target);
        replace::replace(&*options.disk, &before, &[bytes], self.info.as_ref())?;
        tracing::info!(path = %target.display(), kept = %before.display(), "the peers file is of an older version; it will be written in the new one");
        self.must_write = true;
        let mut state = self.shared.state();
        state.hard_since.get_or_insert_with(Instant::now);
        Ok(Some(migrated.into_bytes()))
    }

    /// Takes over an edit that was written into a file while a save replaced it: as if it had come before that save.
    fn adopt_late(&mut self, target: &Path, before: Document, bytes: Vec<u8>) -> Vec<PeerChange> {
        tracing::info!(path = %target.display(), "an edit that was written during a save is taken over");
        let edited = Document::parse(&bytes, &before, self.shared.now());
        let origin = self.other_origin(&edited, &before).unwrap_or(before);
        let file = std::mem::replace(&mut self.document, origin);
        self.written.get_or_insert(file);
        self.identity = None;
        self.judge(target, &edited, bytes);
        let changes = self.adopt(edited);
        self.must_write = true;
        let mut state = self.shared.state();
        state.hard_since.get_or_insert_with(Instant::now);
        drop(state);
        changes
    }

    /// What the file was when it was last saved, if that is known and copies are kept.
    fn base(&self, target: &Path) -> Option<Base> {
        let options = &self.shared.options;
        let limit = options.max_file_bytes;
        let read = || base::read(&*options.disk, target, limit, self.shared.now());
        let base = options.backups.then(read).flatten()?;
        // Also when the save itself was never read: its number is taken.
        let mut state = self.shared.state();
        state.generation = state.generation.max(base.document.generation);
        drop(state);
        Some(base)
    }

    /// Serves the base in place of a file that vanished while no store was open. False when there is none.
    fn restore(&mut self, target: &Path) -> bool {
        let Some(base) = self.base(target) else {
            return false;
        };
        let peers = base.document.peers().count();
        tracing::warn!(path = %target.display(), peers, "the peers file is missing or empty; it will be written again from its copy. \
             To remove all peers, write `peers: []`");
        self.adopt(base.document);
        self.identity = Some(base.identity);
        self.like = self.disk().metadata(&base::base_path(target)).ok();
        self.must_write = true;
        let mut state = self.shared.state();
        state.hard_since.get_or_insert_with(Instant::now);
        true
    }

    fn read(&mut self, target: &Path) -> Result<Option<Vec<u8>>, StoreError> {
        let (disk, limit) = (self.disk(), self.shared.options.max_file_bytes);
        self.info = match disk.metadata(target) {
            Ok(info) => Some(info),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("read", target, &error)),
        };
        let Some(info) = &self.info else {
            return Ok(None);
        };
        self.like = Some(info.clone());
        let refuse = |reason: String| StoreError::Io {
            operation: "read",
            path: target.display().to_string(),
            reason,
        };
        if !info.is_file {
            return Err(refuse("not a regular file".to_owned()));
        }
        let bytes = match disk.read(target, limit) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", target, &error)),
        };
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
            return Err(refuse(format!(
                "larger than {limit} bytes; it is left alone"
            )));
        }
        Ok(Some(bytes))
    }

    fn wait_for_more(&mut self) -> bool {
        self.unfinished.get_or_insert_with(Instant::now).elapsed() < PATIENCE
    }

    /// There is no file. On the first look that is a first run; later somebody deleted or is just replacing it.
    fn missing(&mut self, target: &Path, at_once: bool) -> Outcome {
        if self.print.is_none() {
            self.was_read = true;
            return Outcome::Missing;
        }
        if !at_once && self.wait_for_more() {
            return Outcome::Unfinished;
        }
        self.unfinished = None;
        tracing::warn!(path = %target.display(), "the peers file was deleted; it will be written again from memory");
        self.must_write = true;
        self.shared
            .state()
            .hard_since
            .get_or_insert_with(Instant::now);
        self.print = None;
        Outcome::Missing
    }

    /// Plans a save that writes the document again over a file with this content.
    fn write_soon(&mut self, print: Print) {
        self.print = Some(print);
        self.must_write = true;
        self.shared
            .state()
            .hard_since
            .get_or_insert_with(Instant::now);
    }

    /// Says what is wrong with a file and keeps its bytes where that matters.
    fn judge(&mut self, target: &Path, document: &Document, bytes: Vec<u8>) {
        if document.is_blank() && bytes.trim_ascii().is_empty() && !self.was_read {
            tracing::warn!(path = %target.display(), "the peers file is empty; the node starts without peers");
        }
        let bad = document.bad().count();
        let is_torn = !document.damage.is_empty();
        let entries: HashSet<Print> = document
            .bad()
            .map(|(item, _)| Print::of(item.text.trim_ascii().as_bytes()))
            .collect();
        let judged = std::mem::replace(&mut self.judged, entries);
        let has_new = !self.judged.is_subset(&judged);
        if is_torn || (has_new && document.checksum == Checksum::Differs) {
            let lost: Vec<String> = document
                .damage
                .iter()
                .take(3)
                .map(|damage| format!("line {}: {}", damage.line, damage.what))
                .collect();
            let read = document.peers().count();
            let why = format!(
                "{read} peers read, {bad} entries unreadable, {} places damaged{}{}",
                document.damage.len(),
                if lost.is_empty() { "" } else { ": " },
                lost.join("; "),
            );
            self.put_aside(target, bytes, why);
        } else if document.unrolled {
            self.unsaved_damage = Some((
                bytes,
                "it was not in block style and had to be written anew".to_owned(),
            ));
        } else if document.checksum == Checksum::Differs && !self.was_read {
            let read = document.peers().count();
            tracing::info!(path = %target.display(), peers = read, "the peers file was edited since it was last saved");
        }
        for (item, refusal) in document.bad() {
            let print = Print::of(format!("{}{}", item.text, refusal.reason).as_bytes());
            if self.announced.len() >= MAX_ANNOUNCED {
                self.announced.clear();
            }
            if self.announced.insert(print) {
                let line = item.line + refusal.line;
                tracing::warn!(path = %target.display(), line, reason = %cut(&refusal.reason), "entry skipped; it stays in the file");
                let reason = refusal.reason.clone();
                self.shared
                    .tell(StoreEvent::Skipped(btcfed_core::store::SkippedEntry {
                        line,
                        reason,
                    }));
            }
        }
    }

    fn put_aside(&mut self, target: &Path, bytes: Vec<u8>, why: String) {
        self.unsaved_damage = Some((bytes, why));
        if let Err(error) = self.keep_damage(target) {
            tracing::warn!(%error, "damaged bytes cannot be kept aside yet; the peers file is not written before they are");
        }
    }

    fn keep_damage(&mut self, target: &Path) -> Result<(), StoreError> {
        let Some((bytes, why)) = &self.unsaved_damage else {
            return Ok(());
        };
        let kept = keep_aside(
            &*self.disk(),
            target,
            bytes,
            self.info.as_ref(),
            self.shared.now(),
            &self.kept,
        )?;
        tracing::warn!(path = %target.display(), kept = %kept.display(), "bytes of the peers file were kept aside: {why}");
        if !self.kept.contains(&kept) {
            self.kept.push(kept);
        }
        if self.kept.len() > MAX_DAMAGED_KEPT {
            self.kept.remove(1);
        }
        self.unsaved_damage = None;
        Ok(())
    }

    /// Merges a file into memory.
    fn adopt(&mut self, mut document: Document) -> Vec<PeerChange> {
        document.places = Vec::new();
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        let is_first = !std::mem::replace(&mut self.was_read, true) && state.ticket == 0;
        let merged = merge(&self.document, &document, &state.set);
        document.withheld = merged.withheld;
        document.doubts = merged.doubts;
        for (key, line) in &merged.waits {
            tracing::warn!(peer = %key.peer_id(), line, "deletion of {} waits until line {line} can be read", key.peer_id());
        }
        // Nobody can have subscribed before the first look is over.
        let changes = if is_first && state.set.is_empty() {
            Vec::new()
        } else {
            merged.set.changes_since(&state.set)
        };
        state.newer_version = Some(document.version).filter(|version| *version > FORMAT_VERSION);
        state.generation = state.generation.max(document.generation);
        state.skipped = document.skipped();
        if merged.set != *state.set {
            shared.publish(&mut state, merged.set, &changes);
        }
        document.share(&state.set);
        if let Some(found) = state.newer_version {
            tracing::warn!("{}", shared.read_only(found));
        } else if !render::says(&document, &state.set) || document.is_unlike_its_bytes() {
            self.must_write |= document.is_unlike_its_bytes();
            state.hard_since.get_or_insert_with(Instant::now);
        }
        drop(state);
        self.adopt_sections(&document);
        self.document = document;
        if !is_first {
            log(&merged.adopted);
        }
        changes
    }

    /// Merges the sections of a file into memory.
    fn adopt_sections(&mut self, file: &Document) {
        let now = self.shared.now();
        let base = Layout::parse(self.document.sections(), &self.sections, now);
        let layout = Layout::parse(file.sections(), &base, now);
        // A saved file has sections, and its last line ends: otherwise it was cut off.
        let is_cut = file.sections().is_empty() || file.pieces.last().is_some_and(Piece::is_cut);
        let keeps_missing = is_cut || !file.damage.is_empty();
        self.shared.tables.adopt(&base, &layout, keeps_missing, now);
        self.sections = layout;
    }

    /// Writes what memory holds, after taking in what changed outside. To be called while holding the lock. False when
    /// the file looks half-written: try again soon. `is_last` when no change will follow.
    ///
    /// # Errors
    /// It could not be written. The file is the complete old or the complete new one.
    pub(crate) fn save(
        &mut self,
        journal: &mut Journal,
        target: &Path,
        is_last: bool,
    ) -> Result<bool, StoreError> {
        for _ in 0..MAX_OVERTAKEN {
            if !self.save_once(journal, target, is_last)? {
                return Ok(false);
            }
            if !self.displaced.has_another() {
                break;
            }
        }
        Ok(true)
    }

    fn save_once(
        &mut self,
        journal: &mut Journal,
        target: &Path,
        is_last: bool,
    ) -> Result<bool, StoreError> {
        let looked = self.look_before_saving(journal, target, false);
        let at_hand = std::mem::take(&mut self.at_hand);
        if matches!(looked?, Outcome::Unfinished) {
            return Ok(false);
        }
        let started = Instant::now();
        let (set, ticket, dirty) = {
            let mut state = self.shared.state();
            if let Some(found) = state.newer_version {
                return Err(self.shared.read_only(found));
            }
            let dirty = std::mem::take(&mut state.dirty);
            (Arc::clone(&state.set), state.ticket, dirty)
        };
        let now = self.shared.now();
        let (tables, tables_ticket) = self.shared.tables.to_save(now);
        let tables = (!self.sections.says(&tables, now))
            .then(|| self.sections.write(&tables, self.document.style.eol));
        let is_news = self.must_write || tables.is_some() || !render::says(&self.document, &set);
        let mut written = None;
        if is_news {
            match self.write(target, &at_hand, &set, tables.as_deref()) {
                Ok(content) => written = Some(content),
                Err(error) => {
                    self.shared.state().dirty.merge(dirty);
                    return Err(error);
                }
            }
        }
        self.shared.tables.saved(tables_ticket);
        self.renew_journal(journal, target, &set, written.as_ref(), is_last);
        let mut state = self.shared.state();
        state.generation = state.generation.max(self.document.generation);
        state.skipped = self.document.skipped();
        state.is_journaling = journal.is_usable();
        state.lagging_since = None;
        if is_news {
            state.checkpoint = Some((Instant::now(), started.elapsed()));
        }
        if state.ticket == ticket {
            state.hard_since = None;
            state.soft_since = None;
            state.soft = Dirty::default();
        }
        Ok(true)
    }

    /// Makes the file say what `set` says, and `tables` under its sections when these changed. What did not change is
    /// copied out of the file, if its bytes are at hand. Returns what was written.
    fn write<'a>(
        &mut self,
        target: &Path,
        at_hand: &'a [u8],
        set: &PeerSet,
        tables: Option<&str>,
    ) -> Result<Content<'a>, StoreError> {
        let started = Instant::now();
        self.keep_damage(target)?;
        let known = self.shared.state().generation;
        let generation = known.max(self.document.generation).saturating_add(1);
        let now = self.shared.now();
        let stamp = Stamp { generation, now };
        let is_it = self.document.print.is_some() && self.document.print == self.print;
        let at_hand = if is_it { at_hand } else { b"" };
        let rendered = render_with(&self.document, at_hand, set, tables, stamp);
        let rendered = self.read_back(target, rendered, set, tables, stamp)?;
        let (mut document, content) = (rendered.document, rendered.content);
        let parts = content.parts();
        // Until the last step is done nobody knows which content is there; the next look finds out.
        let before = self.print.take();
        self.identity = None;
        let like = self.info.as_ref().or(self.like.as_ref());
        let held = replace::put(&*self.disk(), target, &parts, like)?;
        if let Err(error) = replace::sync_directory(&*self.disk(), target) {
            let known = self.written.as_ref().unwrap_or(&self.document);
            self.hold(held, known.clone(), before);
            return Err(error);
        }
        let print = Print::of_parts(&parts);
        self.print = Some(print);
        document.print = self.print;
        self.identity = Some(Identity::of(generation, print));
        self.sections = Layout::parse(document.sections(), &self.sections, now);
        let known = std::mem::replace(&mut self.document, document);
        let replaced = self.written.take().unwrap_or(known);
        self.remember(&replaced);
        self.hold(held, replaced, before);
        self.info = self.disk().metadata(target).ok();
        self.must_write = false;
        if self.shared.options.backups {
            self.stale_since.get_or_insert_with(Instant::now);
        }
        let metrics = &self.shared.options.metrics;
        metrics.count("peer_store_saves", 1);
        metrics.count("peer_store_saved_bytes", as_count(print.bytes()));
        metrics.time("peer_store_save", started.elapsed());
        tracing::debug!(path = %target.display(), generation, bytes = print.bytes(), "peers file saved");
        Ok(content)
    }

    /// Goes on looking at a file that a save replaced. It said `said`, and its bytes were `before`, when it was looked at.
    fn hold(&mut self, held: Option<Box<dyn HeldFile>>, said: Document, before: Option<Print>) {
        if let Some(held) = held {
            let before = before.unwrap_or_else(|| Print::of(&[]));
            self.displaced
                .hold(held, (said, before), self.info.as_ref());
        }
    }
}

fn as_count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn log(adopted: &[Adopted]) {
    for Adopted {
        who,
        field,
        old,
        new,
    } in adopted.iter().take(MAX_LOGGED)
    {
        tracing::info!(%who, field, old = %cut(old), new = %cut(new), "taken over from the peers file");
    }
    if let Some(more) = adopted
        .len()
        .checked_sub(MAX_LOGGED)
        .filter(|more| *more > 0)
    {
        tracing::info!(more, "further differences taken over from the peers file");
    }
}
