//! The file as this process last knew it, and the two things done with it: taking in what changed, and saving.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use btcfed_core::patch::PeerChange;
use btcfed_core::store::{StoreError, StoreEvent};

use crate::disk::{Disk, FileInfo};
use crate::displaced::{DisplacedFiles, Late, Print};
use crate::document::{Checksum, Document, FORMAT_VERSION, cut};
use crate::lock::{Access, with_lock};
use crate::merge::{Adopted, merge};
use crate::render::{self, Stamp, render};
use crate::replace::{self, MAX_DAMAGED_KEPT, failed, keep_aside};
use crate::shared::Shared;
use crate::worker::PATIENCE;

/// Most adopted differences that are logged one by one.
const MAX_LOGGED: usize = 50;

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
    print: Option<Print>,
    info: Option<FileInfo>,
    /// What the last saves replaced.
    displaced: DisplacedFiles,
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
}

impl TheFile {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            document: Document::default(),
            print: None,
            info: None,
            displaced: DisplacedFiles::default(),
            unfinished: None,
            must_write: false,
            unsaved_damage: None,
            kept: Vec::new(),
            judged: HashSet::new(),
            announced: HashSet::new(),
            was_read: false,
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
        if replace::leftovers(&*disk, &target).is_empty() {
            return;
        }
        let wait = Duration::from_millis(50);
        match with_lock(&target, Access::Exclusive, wait, || {
            replace::remove_leftovers(&*disk, &target)
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
        let info = self
            .target()
            .ok()
            .and_then(|target| self.disk().metadata(&target).ok());
        info != self.info || self.unfinished.is_some() || self.displaced.is_watching()
    }

    /// Reads the file and, if its content changed, merges it into memory. A file that looks half-written is left for
    /// later unless `at_once`, but not longer than [`PATIENCE`].
    ///
    /// # Errors
    /// It cannot be read. Nothing changed.
    pub(crate) fn take_in(&mut self, target: &Path, at_once: bool) -> Result<Outcome, StoreError> {
        match self.displaced.look(self.shared.options.max_file_bytes) {
            Late::Nothing => {}
            Late::Unfinished if at_once => {}
            Late::Unfinished => return Ok(Outcome::Unfinished),
            Late::Edit(before, bytes) => {
                return Ok(Outcome::Adopted(self.adopt_late(target, *before, bytes)));
            }
        }
        let Some(bytes) = self.read(target)? else {
            return Ok(self.missing(target, at_once));
        };
        let print = Print::of(&bytes);
        if self.print == Some(print) {
            self.unfinished = None;
            return Ok(Outcome::Same);
        }
        let document = Document::parse(&bytes, &self.document, self.shared.now());
        let is_emptied = document.is_blank() && !self.document.is_blank();
        if (is_emptied || !document.damage.is_empty()) && !at_once && self.wait_for_more() {
            return Ok(Outcome::Unfinished);
        }
        self.unfinished = None;
        if is_emptied {
            tracing::warn!(path = %target.display(), "the peers file was emptied; it will be written again from memory. \
                 To remove all peers, write `peers: []`");
            if !bytes.trim_ascii().is_empty() {
                self.put_aside(target, bytes, "it was replaced by comments".to_owned());
            }
            self.write_soon(print);
            return Ok(Outcome::Same);
        }
        self.judge(target, &document, bytes);
        let changes = self.adopt(document);
        self.print = Some(print);
        Ok(Outcome::Adopted(changes))
    }

    /// Takes over an edit that was written into a file while a save replaced it: as if it had come before that save.
    fn adopt_late(&mut self, target: &Path, before: Document, bytes: Vec<u8>) -> Vec<PeerChange> {
        tracing::info!(path = %target.display(), "an edit that was written during a save is taken over");
        let edited = Document::parse(&bytes, &before, self.shared.now());
        self.document = before;
        self.judge(target, &edited, bytes);
        let changes = self.adopt(edited);
        self.must_write = true;
        let mut state = self.shared.state();
        state.hard_since.get_or_insert_with(Instant::now);
        drop(state);
        changes
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
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        let is_first = !std::mem::replace(&mut self.was_read, true) && state.ticket == 0;
        let merged = merge(&self.document, &document, &state.set);
        document.withheld = merged.withheld;
        document.doubts = merged.doubts;
        for (key, line) in &merged.waits {
            tracing::warn!(peer = %key.peer_id(), line, "deletion of {} waits until line {line} can be read", key.peer_id());
        }
        let changes = merged.set.changes_since(&state.set);
        state.newer_version = Some(document.version).filter(|version| *version > FORMAT_VERSION);
        state.generation = state.generation.max(document.generation);
        state.skipped = document.skipped();
        if merged.set != *state.set {
            shared.publish(&mut state, merged.set, &changes);
        }
        if let Some(found) = state.newer_version {
            tracing::warn!("{}", shared.read_only(found));
        } else if !render::says(&document, &state.set) || !document.damage.is_empty() {
            self.must_write |= !document.damage.is_empty();
            state.hard_since.get_or_insert_with(Instant::now);
        }
        drop(state);
        self.document = document;
        if !is_first {
            log(&merged.adopted);
        }
        changes
    }

    /// Writes what memory holds, after taking in what changed outside. To be called while holding the lock. False when
    /// the file looks half-written: try again soon.
    ///
    /// # Errors
    /// It could not be written. The file is the complete old or the complete new one.
    pub(crate) fn save(&mut self, target: &Path) -> Result<bool, StoreError> {
        if matches!(self.take_in(target, false)?, Outcome::Unfinished) {
            return Ok(false);
        }
        let (set, ticket, generation) = {
            let state = self.shared.state();
            if let Some(found) = state.newer_version {
                return Err(self.shared.read_only(found));
            }
            (Arc::clone(&state.set), state.ticket, state.generation)
        };
        let mut saved = generation;
        if self.must_write || !render::says(&self.document, &set) {
            self.keep_damage(target)?;
            saved = generation.max(self.document.generation) + 1;
            let rendered = render(
                &self.document,
                &set,
                Stamp {
                    generation: saved,
                    now: self.shared.now(),
                },
            );
            let bytes = rendered.bytes();
            // Until the last step is done nobody knows which content is there; the next look finds out.
            let before = self.print.take();
            let held = replace::replace(&*self.disk(), target, &bytes, self.info.as_ref())?;
            self.print = Some(Print::of(&bytes));
            self.info = self.disk().metadata(target).ok();
            let replaced = std::mem::replace(&mut self.document, rendered);
            if let (Some(held), Some(before)) = (held, before) {
                self.displaced.hold(held, replaced, before);
            }
            self.must_write = false;
            tracing::debug!(path = %target.display(), generation = saved, bytes = bytes.len(), "peers file saved");
        }
        let mut state = self.shared.state();
        state.generation = saved;
        state.skipped = self.document.skipped();
        if state.ticket == ticket {
            state.hard_since = None;
            state.soft_since = None;
        }
        Ok(true)
    }
}

fn log(adopted: &[Adopted]) {
    for Adopted {
        who,
        field,
        old,
        new,
    } in adopted.iter().take(MAX_LOGGED)
    {
        tracing::info!(who, field, old = %cut(old), new = %cut(new), "taken over from the peers file");
    }
    if let Some(more) = adopted
        .len()
        .checked_sub(MAX_LOGGED)
        .filter(|more| *more > 0)
    {
        tracing::info!(more, "further differences taken over from the peers file");
    }
}
