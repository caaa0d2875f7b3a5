//! The first look at a file that was edited or damaged while no store was open: what was known before.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use btcfed_core::PeerSet;
use btcfed_core::key::PeerKey;
use btcfed_core::set::PackedPeer;

use crate::disk::base;
use crate::file::TheFile;
use crate::file::recovery::is_edit_of;
use crate::sections::layout::Layout;
use crate::text::document::{Document, is_sections};
use crate::text::piece::{Item, Piece, Says};

impl TheFile {
    /// Brings back what the base says, before a file that is not exactly a save is merged into it.
    ///
    /// When the file was made from the base, differences are edits, and what is missing was deleted. When it was made from
    /// an earlier save (an editor had it open during the last ones), the same holds of that save, if one of the older copies is
    /// it; otherwise see [`without_news`]. A base that is older than the file only helps out where entries cannot be read.
    pub(super) fn recall(&mut self, target: &Path, base: Document, file: &Document) {
        let is_same = is_edit_of(file, &base);
        let is_older = !is_same && (1..=base.generation).contains(&file.generation);
        let is_whole = is_same || is_older;
        let unreadable = file.claimed();
        let is_known = |peer: &&PackedPeer| is_whole || unreadable.contains(peer.key());
        let peers = base.peers().filter(is_known).cloned();
        let bans = base.bans().filter(|_| is_whole);
        let marks = base.forgotten().filter(|_| is_whole);
        let set = PeerSet::from_packed(
            peers,
            bans.map(|(_, ban)| ban.clone()),
            marks.map(|(key, mark)| (*key, *mark)),
        );
        let mut state = self.shared.state();
        if state.ticket != 0 {
            return;
        }
        self.shared.publish(&mut state, set, &[]);
        // Only differences from all that was known are worth telling.
        state.ticket = u64::from(is_whole);
        drop(state);
        if !is_whole {
            return;
        }
        let now = self.shared.now();
        let layout = Layout::parse(base.sections(), &self.sections, now);
        self.shared.tables.recall(layout.sections());
        if is_same {
            self.recalled = base.generation;
            self.sections = layout;
            let places = Vec::new();
            self.document = Document { places, ..base };
        } else if let Some(origin) = self.older_copy(target, file) {
            self.recalled = base.generation;
            self.sections = Layout::parse(origin.sections(), &layout, now);
            self.document = origin;
        } else {
            self.document = without_news(file, &base);
        }
    }

    /// The save that the file was made from, if it is among the older copies.
    fn older_copy(&self, target: &Path, file: &Document) -> Option<Document> {
        let (disk, limit) = (self.disk(), self.shared.options.max_file_bytes);
        let aged = base::old_copies(&*disk, target).unwrap_or_default();
        let mut copies = vec![base::before_path(target)];
        copies.extend(aged.into_iter().map(|(_, path)| path));
        let read = |path: &PathBuf| base::read_copy(&*disk, path, limit, self.shared.now());
        let mut copies = copies.iter().filter_map(read).map(|copy| copy.document);
        let mut origin = copies.find(|copy| is_edit_of(file, copy))?;
        origin.places = Vec::new();
        Some(origin)
    }
}

/// What an edit has in common with the save it was made from, when nobody knows that save, and `base` is a later one. Where
/// both say something the base wins: it may have been said later. What the edit alone has was added in it, except peers that
/// the base has under `forgotten`, and bans with the time that every save writes: these may have been lifted since.
fn without_news(file: &Document, base: &Document) -> Document {
    let peers = base.peers().map(PackedPeer::key);
    let marks = base.forgotten().map(|(key, _)| key);
    let told: HashSet<&PeerKey> = peers.chain(marks).collect();
    let mut known = file.clone();
    known.places = Vec::new();
    known.pieces.retain_mut(|piece| match piece {
        Piece::Run(run) => {
            run.records.retain(|peer| told.contains(peer.key()));
            true
        }
        Piece::Item(Item { text, says, .. }) => match says {
            Says::Peer { record, .. } => told.contains(record.key()),
            Says::Forgotten(key, _) => told.contains(key),
            Says::Ban(_) => text.contains("since"),
            Says::Bad(_) => true,
        },
        Piece::Text(text) => !is_sections(text),
        Piece::Head(..) | Piece::List(..) => true,
    });
    known
}
