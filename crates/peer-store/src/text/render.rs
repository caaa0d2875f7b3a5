//! A document that says something else: the same lines wherever nothing changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use btcfed_core::PeerSet;
use btcfed_core::ban::{Ban, BanTarget};
use btcfed_core::key::PeerKey;
use btcfed_core::peer::{Forgotten, PeerRecord};
use btcfed_core::time::Timestamp;

use crate::text::amend::{amend, remark};
use crate::text::document::{
    Document, FORMAT_VERSION, Item, Piece, Says, checksum_of, is_sections, list_value,
};
use crate::text::entry::Peer;
use crate::text::rows;
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
    let mut covered: HashSet<PeerKey> = document
        .bad()
        .filter_map(|(_, refusal)| refusal.key)
        .collect();
    covered.extend(&document.withheld);
    let index = Index::of(set);
    let (mut peers, mut bans, mut forgotten) = (0, 0, 0);
    let same = document.items().all(|item| match &item.says {
        Says::Peer { record, .. } => {
            peers += 1;
            set.get(&record.key)
                .is_some_and(|known| Arc::ptr_eq(known, record) || known == record)
        }
        Says::Ban(_) => {
            bans += 1;
            true
        }
        Says::Forgotten(..) => {
            forgotten += 1;
            true
        }
        Says::Bad(_) => true,
    });
    let more = || set.len() - peers.min(set.len());
    same && (more() == 0
        || set
            .iter()
            .filter(|record| covered.contains(&record.key))
            .count()
            >= more())
        && index.bans.len() == bans
        && document
            .bans()
            .all(|(target, ban)| index.bans.get(target) == Some(&ban))
        && index.forgotten.len() == forgotten
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

/// The document that says what `set` says, starting from `old`.
#[cfg(test)]
pub(crate) fn render(old: &Document, set: &PeerSet, stamp: Stamp) -> Document {
    render_with(old, set, None, stamp)
}

/// The document that says what `set` says, starting from `old`, with this text under `sections`.
pub(crate) fn render_with(
    old: &Document,
    set: &PeerSet,
    sections: Option<&str>,
    stamp: Stamp,
) -> Document {
    let mut document = Document {
        damage: Vec::new(),
        unrolled: false,
        checksum: crate::text::document::Checksum::Matches,
        version: FORMAT_VERSION,
        generation: stamp.generation,
        pieces: Vec::with_capacity(old.pieces.len() + 8),
        withheld: old.withheld.clone(),
        doubts: old.doubts.clone(),
        ..*old
    };
    let mut writer = Writer {
        old,
        set,
        index: Index::of(set),
        sections,
        style: old.style,
        out: &mut document.pieces,
    };
    writer.write(stamp);
    document.seal();
    document
}

impl Document {
    /// Fills in the checksum of the bytes after its line, and numbers the entries.
    fn seal(&mut self) {
        let mut line = 1;
        let mut digest = crc32fast::Hasher::new();
        let mut place = None;
        for (index, piece) in self.pieces.iter_mut().enumerate() {
            if let Piece::Item(item) = piece {
                item.line = line;
            }
            let text = piece.text();
            line += text.bytes().filter(|byte| *byte == b'\n').count();
            if place.is_some() {
                digest.update(text.as_bytes());
            } else if matches!(piece, Piece::Head(Head::Checksum, _)) {
                place = Some(index);
            }
        }
        if let Some(Piece::Head(_, text)) = place.and_then(|index| self.pieces.get_mut(index)) {
            let sum = format!("crc32:{:08x}", digest.finalize());
            debug_assert_eq!(sum.len(), checksum_of(b"").len());
            *text = text.replacen(NO_CHECKSUM, &sum, 1).into();
        }
    }
}

struct Writer<'a> {
    old: &'a Document,
    set: &'a PeerSet,
    index: Index<'a>,
    sections: Option<&'a str>,
    style: Style,
    out: &'a mut Vec<Piece>,
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
        if let Some(last) = self
            .out
            .last_mut()
            .filter(|last| !last.text().ends_with('\n'))
        {
            let whole: Arc<str> = format!("{}{}", last.text(), self.style.eol).into();
            match last {
                Piece::Text(text) | Piece::Head(_, text) | Piece::List(_, text) => *text = whole,
                Piece::Item(item) => item.text = whole,
            }
        }
        self.out.push(piece);
    }

    /// Where new entries of a list go: after its last entry.
    fn end_of(&self, wanted: List) -> Option<usize> {
        let belongs = |piece: &Piece| match piece {
            Piece::List(list, _) => *list == wanted,
            Piece::Item(item) => item.list == wanted,
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
                if let Some(item) = self.item(item) {
                    self.push(Piece::Item(item));
                }
            }
        }
    }

    /// The layout of an entry.
    fn style_of(&self, item: &Item) -> Style {
        Style {
            indent: item.text.len() - item.text.trim_start_matches(' ').len(),
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
                let wanted = self.set.get(&record.key)?;
                if Arc::ptr_eq(record, wanted) || record == wanted {
                    let says = Says::Peer {
                        record: Arc::clone(wanted),
                        state_extra: Arc::clone(state_extra),
                    };
                    return Some(Item {
                        says,
                        ..item.clone()
                    });
                }
                let peer = |record: &Arc<PeerRecord>| Peer {
                    record: (**record).clone(),
                    state_extra: state_extra.to_vec(),
                };
                let text = amend(
                    &item.text,
                    &peer(record),
                    &peer(wanted),
                    self.style_of(item),
                );
                (
                    text,
                    Says::Peer {
                        record: Arc::clone(wanted),
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
        let style = old
            .items()
            .find(|item| item.list == list)
            .map_or(self.style, |item| self.style_of(item));
        let mut new = |text: String, says: Says| {
            self.push(Piece::Item(Item {
                list,
                text: text.into(),
                line: 0,
                says,
            }))
        };
        match list {
            List::Peers => {
                let mut known: HashSet<_> = old.peers().map(|record| record.key).collect();
                known.extend(old.bad().filter_map(|(_, refusal)| refusal.key));
                known.extend(&old.withheld);
                for record in set.iter().filter(|record| !known.contains(&record.key)) {
                    let text = spell::entry(
                        &Peer {
                            record: spell::as_written(record),
                            state_extra: Vec::new(),
                        },
                        style,
                    );
                    new(
                        text,
                        Says::Peer {
                            record: Arc::clone(record),
                            state_extra: Arc::new([]),
                        },
                    );
                }
            }
            List::Bans => {
                let known: HashSet<_> = old.bans().map(|(target, _)| target).collect();
                for ban in set.bans().filter(|ban| !known.contains(&ban.target)) {
                    new(rows::ban_text(ban, style), Says::Ban(Arc::new(ban.clone())));
                }
            }
            List::Forgotten => {
                let known: HashSet<_> = old.forgotten().map(|(key, _)| key).collect();
                for (key, mark) in set.forgotten().filter(|(key, _)| !known.contains(key)) {
                    new(
                        rows::forgotten_text(key, *mark, style),
                        Says::Forgotten(*key, *mark),
                    );
                }
            }
        }
    }

    /// Makes sure that the file ends in something by which a reader can tell that it is whole.
    fn end_mark(&mut self) {
        let has = |piece: &Piece| matches!(piece, Piece::Text(text) if is_sections(text));
        if !self.out.iter().any(has) {
            let none = || format!("sections: {{}}{}", self.style.eol);
            let text = self.sections.map_or_else(none, str::to_owned);
            self.push(Piece::Text(text.into()));
        }
    }

    /// A list without entries is `[]`, one with entries is not.
    fn bracket_empty_lists(&mut self) {
        for list in List::ALL {
            let is_empty = !self
                .out
                .iter()
                .any(|piece| matches!(piece, Piece::Item(item) if item.list == list));
            for piece in self.out.iter_mut() {
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
        Piece::Head(..) | Piece::List(..) | Piece::Item(_) => true,
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
