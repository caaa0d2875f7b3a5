//! A document that says something else: the same lines wherever nothing changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use btcfed_core::PeerSet;
use btcfed_core::ban::{Ban, BanTarget};
use btcfed_core::key::PeerKey;
use btcfed_core::peer::Forgotten;
use btcfed_core::set::PeerView;
use btcfed_core::time::Timestamp;

use crate::text::amend::{amend, remark};
use crate::text::checksum::checksum_of;
use crate::text::document::{Document, FORMAT_VERSION, is_sections, list_value};
use crate::text::entry::Peer;
use crate::text::piece::{Item, Piece, Says};
use crate::text::rows;
use crate::text::run::Walk;
use crate::text::scalar;
use crate::text::spell::{self, Style};
use crate::text::split::{Head, List, is_end_marker};

/// What a new file begins with.
const PREFACE: &str = "# Peers of this node. Yours to edit, also while the node runs: comments, order and indentation are kept.";

/// The words in place of a checksum until it is known; as long as one.
const NO_CHECKSUM: &str = "crc32:00000000";

/// What is written into the header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) generation: u64,
    pub(crate) now: Timestamp,
}

/// True when `document` says exactly what `set` says, so that nothing needs to be written.
pub(crate) fn says(document: &Document, set: &PeerSet) -> bool {
    let index = Index::of(set);
    let mut peers = 0;
    let mut walk = Walk::new(set);
    let same = document.peers().all(|record| {
        peers += 1;
        walk.find(record.key())
            .is_some_and(|known| known == record.view())
    });
    let more = || set.len() - peers.min(set.len());
    let is_covered = |peer: &PeerView<'_>| document.withheld.contains(peer.key());
    same && (more() == 0 || set.views().filter(is_covered).count() >= more())
        && index.bans.len() == document.bans().count()
        && document
            .bans()
            .all(|(target, ban)| index.bans.get(target) == Some(&ban))
        && index.forgotten.len() == document.forgotten().count()
        && document
            .forgotten()
            .all(|(key, mark)| index.forgotten.get(key) == Some(mark))
}

/// The short lists of a set, by what their entries are about.
struct Index<'a> {
    bans: HashMap<BanTarget, &'a Ban>,
    forgotten: HashMap<PeerKey, Forgotten>,
}

impl<'a> Index<'a> {
    fn of(set: &'a PeerSet) -> Self {
        Self {
            bans: set.bans().map(|ban| (ban.target, ban)).collect(),
            forgotten: set.forgotten().map(|(key, mark)| (*key, *mark)).collect(),
        }
    }
}

/// What is to be written.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) document: Document,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

/// The document that says what `set` says, starting from `old`.
#[cfg(test)]
pub(crate) fn render(old: &Document, set: &PeerSet, stamp: Stamp) -> Rendered {
    render_with(old, set, None, stamp)
}

/// The document that says what `set` says, starting from `old`, with this text under `sections`.
pub(crate) fn render_with(
    old: &Document,
    set: &PeerSet,
    sections: Option<&str>,
    stamp: Stamp,
) -> Rendered {
    let mut document = Document {
        damage: Vec::new(),
        unrolled: false,
        has_spare: false,
        checksum: crate::text::checksum::Checksum::Matches,
        version: FORMAT_VERSION,
        generation: stamp.generation,
        pieces: Vec::with_capacity(old.pieces.len() + 8),
        withheld: old.withheld.clone(),
        doubts: old.doubts.clone(),
        places: Vec::new(),
        ..*old
    };
    let mut writer = Writer {
        old,
        set,
        index: Index::of(set),
        sections,
        style: old.style,
        claimed: old.claimed(),
        written: 0,
        out: &mut document,
    };
    writer.write(stamp);
    let bytes = document.seal();
    Rendered { document, bytes }
}

impl Document {
    /// Fills in the checksum of the bytes after its line, and numbers the entries. Returns all bytes.
    fn seal(&mut self) -> Vec<u8> {
        // The lines of entries are told to people where an entry is bad; else nobody needs to count them.
        let counts = self.bad().next().is_some();
        let mut line = 1;
        let mut out = self.room();
        let mut place = None;
        for (index, piece) in self.pieces.iter_mut().enumerate() {
            match piece {
                Piece::Item(item) => item.line = line,
                Piece::Run(run) => run.line = line,
                Piece::Text(_) | Piece::Head(..) | Piece::List(..) => {}
            }
            let start = out.len();
            piece.write(&mut out);
            if counts {
                let text = out.as_bytes().get(start..).unwrap_or_default();
                line += text.iter().filter(|byte| **byte == b'\n').count();
            }
            if place.is_none() && matches!(piece, Piece::Head(Head::Checksum, _)) {
                place = Some((index, start..out.len()));
            }
        }
        let mut bytes = out.into_bytes();
        if let Some((index, range)) = place
            && let Some(Piece::Head(_, text)) = self.pieces.get_mut(index)
        {
            let sum = checksum_of(bytes.get(range.end..).unwrap_or_default());
            debug_assert_eq!(sum.len(), NO_CHECKSUM.len());
            *text = text.replacen(NO_CHECKSUM, &sum, 1).into();
            if let Some(line) = bytes.get_mut(range).filter(|line| line.len() == text.len()) {
                line.copy_from_slice(text.as_bytes());
            }
        }
        bytes
    }
}

struct Writer<'a> {
    old: &'a Document,
    set: &'a PeerSet,
    index: Index<'a>,
    sections: Option<&'a str>,
    style: Style,
    /// Peers that only unreadable entries name, and that were not written yet.
    claimed: HashSet<PeerKey>,
    /// How many peers of the set are written.
    written: usize,
    out: &'a mut Document,
}

impl Writer<'_> {
    fn write(&mut self, stamp: Stamp) {
        let is_new = self.old.is_blank();
        if self.old.pieces.is_empty() {
            self.push(Piece::Text(format!("{PREFACE}{}", self.style.eol).into()));
        }
        // What ends the document stays at the end.
        let is_end = |piece: &Piece| matches!(piece, Piece::Text(text) if is_end_marker(text));
        let end = self.old.pieces.iter().rposition(is_end);
        let end = end.unwrap_or(self.old.pieces.len());
        let first_key = self.old.pieces[..end]
            .iter()
            .position(is_key)
            .unwrap_or(end);
        let ends: Vec<(List, usize)> = List::ALL
            .iter()
            .filter_map(|list| Some((*list, self.end_of(*list)?)))
            .collect();
        for index in 0..=end {
            for (list, _) in ends.iter().filter(|(_, end)| *end == index) {
                self.append(*list);
            }
            if index == first_key {
                self.missing_heads(stamp);
            }
            if let Some(piece) = self.old.pieces[..end].get(index) {
                self.piece(piece, stamp);
            }
        }
        for list in List::ALL
            .into_iter()
            .filter(|list| !ends.iter().any(|(known, _)| known == list))
        {
            if list == List::Peers || is_new || self.has_entries(list) {
                self.push(Piece::List(
                    list,
                    format!("{}:{}", list.as_str(), self.style.eol).into(),
                ));
                self.append(list);
            }
        }
        self.end_mark();
        for piece in &self.old.pieces[end..] {
            self.push(piece.clone());
        }
        self.bracket_empty_lists();
    }

    fn push(&mut self, piece: Piece) {
        self.end_line();
        self.out.pieces.push(piece);
    }

    /// Makes sure that what is added next begins a line.
    fn end_line(&mut self) {
        let Some(last) = self.out.pieces.last_mut().filter(|last| last.is_cut()) else {
            return;
        };
        match last {
            Piece::Text(text)
            | Piece::Head(_, text)
            | Piece::List(_, text)
            | Piece::Item(Item { text, .. }) => *text = format!("{text}{}", self.style.eol).into(),
            Piece::Run(_) => {}
        }
    }

    /// Writes a peer in the store's own spelling.
    fn canonical(&mut self, peer: PeerView<'_>, style: Style) {
        self.written += 1;
        if spell::is_canonical(peer) {
            self.end_line();
            self.out.push_canonical(peer.to_packed(), style, 0);
            return;
        }
        let written = Peer {
            record: spell::as_written(&peer.to_record()),
            state_extra: Vec::new(),
        };
        self.push(Piece::Item(Item {
            list: List::Peers,
            text: spell::entry(&written, style).into(),
            line: 0,
            says: Says::Peer {
                record: peer.to_packed(),
                state_extra: Arc::new([]),
            },
        }));
    }

    /// Where new entries of a list go: after its last entry.
    fn end_of(&self, wanted: List) -> Option<usize> {
        let belongs = |piece: &Piece| match piece {
            Piece::List(list, _) => *list == wanted,
            Piece::Item(item) => item.list == wanted,
            Piece::Run(_) => wanted == List::Peers,
            Piece::Text(_) | Piece::Head(..) => false,
        };
        self.old
            .pieces
            .iter()
            .rposition(belongs)
            .map(|index| index + 1)
    }

    fn has_entries(&self, list: List) -> bool {
        match list {
            List::Peers => !self.set.is_empty(),
            List::Bans => self.set.bans().next().is_some(),
            List::Forgotten => self.set.forgotten().next().is_some(),
        }
    }

    fn missing_heads(&mut self, stamp: Stamp) {
        for head in Head::ALL
            .into_iter()
            .filter(|head| self.old.head(*head).is_none())
        {
            let text = format!(
                "{}: {}{}",
                head.as_str(),
                head_value(head, stamp),
                self.style.eol
            );
            self.push(Piece::Head(head, text.into()));
        }
    }

    fn piece(&mut self, piece: &Piece, stamp: Stamp) {
        match (piece, self.sections) {
            (Piece::Text(text), Some(sections)) if is_sections(text) => {
                self.push(Piece::Text(sections.into()));
            }
            (Piece::Text(_) | Piece::List(..), _) => self.push(piece.clone()),
            (Piece::Head(head, text), _) => {
                let line = text.trim_end_matches(['\n', '\r']);
                let colon = line.find(':').map_or(line.len(), |at| at + 1);
                let (name, remark) = (&line[..colon], remark(&line[colon..]));
                let text = format!(
                    "{name} {}{remark}{}",
                    head_value(*head, stamp),
                    self.style.eol
                );
                self.push(Piece::Head(*head, text.into()));
            }
            (Piece::Item(item), _) => {
                let written = self.item(item);
                if let Some(item) = written {
                    self.written += usize::from(matches!(item.says, Says::Peer { .. }));
                    self.push(Piece::Item(item));
                }
                self.beside_unreadable(item);
            }
            (Piece::Run(run), _) => {
                let mut walk = Walk::new(self.set);
                for record in &run.records {
                    if let Some(peer) = walk.find(record.key()) {
                        self.canonical(peer, run.style);
                    }
                }
            }
        }
    }

    /// An unreadable entry stays as it is. What is known of its peer gets an entry of its own after it.
    fn beside_unreadable(&mut self, item: &Item) {
        let Says::Bad(refusal) = &item.says else {
            return;
        };
        let key = refusal.key.filter(|_| item.list == List::Peers);
        let Some(key) = key.filter(|key| self.claimed.remove(key)) else {
            return;
        };
        if let Some(peer) = self.set.view(&key) {
            self.canonical(peer, self.style_of(item));
        }
    }

    /// The layout of the entries that a list has.
    fn style_in(&self, list: List) -> Style {
        let style = |piece: &Piece| match piece {
            Piece::Run(run) if list == List::Peers => Some(run.style),
            Piece::Item(item) if item.list == list => Some(self.style_of(item)),
            Piece::Text(_) | Piece::Head(..) | Piece::List(..) | Piece::Item(_) | Piece::Run(_) => {
                None
            }
        };
        self.old.pieces.iter().find_map(style).unwrap_or(self.style)
    }

    /// The layout of an entry.
    fn style_of(&self, item: &Item) -> Style {
        Style {
            indent: spell::indent_of(&item.text),
            ..self.style
        }
    }

    /// The entry as it is to be written; `None` when it is gone.
    fn item(&self, item: &Item) -> Option<Item> {
        let (text, says) = match &item.says {
            Says::Bad(_) => return Some(item.clone()),
            Says::Peer {
                record,
                state_extra,
            } => {
                let wanted = self.set.view(record.key())?;
                if record.view() == wanted {
                    let says = Says::Peer {
                        record: wanted.to_packed(),
                        state_extra: Arc::clone(state_extra),
                    };
                    return Some(Item {
                        says,
                        ..item.clone()
                    });
                }
                let peer = |peer: PeerView<'_>| Peer {
                    record: peer.to_record(),
                    state_extra: state_extra.to_vec(),
                };
                let text = amend(
                    &item.text,
                    &peer(record.view()),
                    &peer(wanted),
                    self.style_of(item),
                );
                (
                    text,
                    Says::Peer {
                        record: wanted.to_packed(),
                        state_extra: Arc::clone(state_extra),
                    },
                )
            }
            Says::Ban(ban) => {
                let wanted = *self.index.bans.get(&ban.target)?;
                if **ban == *wanted {
                    return Some(item.clone());
                }
                (
                    rows::ban_text(wanted, self.style_of(item)),
                    Says::Ban(Arc::new(wanted.clone())),
                )
            }
            Says::Forgotten(key, mark) => {
                let wanted = self.index.forgotten.get(key)?;
                if mark == wanted {
                    return Some(item.clone());
                }
                (
                    rows::forgotten_text(key, *wanted, self.style_of(item)),
                    Says::Forgotten(*key, *wanted),
                )
            }
        };
        Some(Item {
            text: text.into(),
            says,
            list: item.list,
            line: item.line,
        })
    }

    /// Writes the entries that the old document does not have.
    fn append(&mut self, list: List) {
        let (old, set) = (self.old, self.set);
        let style = self.style_in(list);
        let item = |text: String, says: Says| {
            let text = text.into();
            Piece::Item(Item {
                list,
                text,
                line: 0,
                says,
            })
        };
        match list {
            List::Peers if self.written == set.len() => {}
            List::Peers => {
                let mut known: HashSet<_> = old.peers().map(|record| *record.key()).collect();
                known.extend(old.claimed());
                known.extend(&old.withheld);
                for peer in set.views().filter(|peer| !known.contains(peer.key())) {
                    self.canonical(peer, style);
                }
            }
            List::Bans => {
                let known: HashSet<_> = old.bans().map(|(target, _)| target).collect();
                for ban in set.bans().filter(|ban| !known.contains(&ban.target)) {
                    let says = Says::Ban(Arc::new(ban.clone()));
                    self.push(item(rows::ban_text(ban, style), says));
                }
            }
            List::Forgotten => {
                let known: HashSet<_> = old.forgotten().map(|(key, _)| key).collect();
                for (key, mark) in set.forgotten().filter(|(key, _)| !known.contains(key)) {
                    let text = rows::forgotten_text(key, *mark, style);
                    self.push(item(text, Says::Forgotten(*key, *mark)));
                }
            }
        }
    }

    /// Makes sure that the file ends in something by which a reader can tell that it is whole.
    fn end_mark(&mut self) {
        let has = |piece: &Piece| matches!(piece, Piece::Text(text) if is_sections(text));
        if !self.out.pieces.iter().any(has) {
            let none = || format!("sections: {{}}{}", self.style.eol);
            let text = self.sections.map_or_else(none, str::to_owned);
            self.push(Piece::Text(text.into()));
        }
    }

    /// A list without entries is `[]`, one with entries is not.
    fn bracket_empty_lists(&mut self) {
        for list in List::ALL {
            let is_of_list = |piece: &Piece| match piece {
                Piece::Item(item) => item.list == list,
                Piece::Run(_) => list == List::Peers,
                Piece::Text(_) | Piece::Head(..) | Piece::List(..) => false,
            };
            let is_empty = !self.out.pieces.iter().any(is_of_list);
            for piece in &mut self.out.pieces {
                let Piece::List(known, text) = piece else {
                    continue;
                };
                let line = text.trim_end_matches(['\n', '\r']);
                let Some(colon) = line
                    .find(':')
                    .filter(|_| *known == list && list_value(text).is_empty())
                else {
                    continue;
                };
                let (name, remark) = (&line[..=colon], remark(&line[colon + 1..]));
                let value = if is_empty { " []" } else { "" };
                if line.trim_end() != format!("{name}{value}{remark}").trim_end() {
                    *text = format!("{name}{value}{remark}{}", self.style.eol).into();
                }
            }
        }
    }
}

fn is_key(piece: &Piece) -> bool {
    match piece {
        Piece::Text(text) => !text.starts_with(['#', ' ', '\n', '\r', '\t', '-', '%']),
        Piece::Head(..) | Piece::List(..) | Piece::Item(_) | Piece::Run(_) => true,
    }
}

fn head_value(head: Head, stamp: Stamp) -> String {
    match head {
        Head::Version => FORMAT_VERSION.to_string(),
        Head::Checksum => NO_CHECKSUM.to_owned(),
        Head::Generation => stamp.generation.to_string(),
        Head::LastModified => format!(
            "\"{}\"",
            scalar::time_text(Timestamp::from_secs(stamp.now.as_secs()))
        ),
    }
}

#[cfg(test)]
mod tests;
