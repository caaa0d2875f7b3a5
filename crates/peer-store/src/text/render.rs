//! A document that says something else: the same lines wherever nothing changed.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use btcfed_core::PeerSet;
use btcfed_core::ban::{Ban, BanTarget};
use btcfed_core::key::PeerKey;
use btcfed_core::peer::Forgotten;
use btcfed_core::set::{PackedPeer, PeerView};
use btcfed_core::time::Timestamp;

use crate::text::amend::{amend, remark};
use crate::text::content::{Content, Stretch};
use crate::text::document::{Document, FORMAT_VERSION, is_sections, list_value};
use crate::text::entry::Peer;
use crate::text::lengths::Few;
use crate::text::piece::{Item, Piece, Says};
use crate::text::rows;
use crate::text::run::{Run, Walk};
use crate::text::scalar;
use crate::text::sheet::{NO_CHECKSUM, Sheet};
use crate::text::spell::{self, Style};
use crate::text::split::{Head, List, is_end_marker};

/// What a new file begins with.
const PREFACE: &str = "# Peers of this node. Yours to edit, also while the node runs: comments, order and indentation are kept.";

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
pub(crate) struct Rendered<'a> {
    pub(crate) document: Document,
    /// Its bytes.
    pub(crate) content: Content<'a>,
}

/// The document that says what `set` says, starting from `old`.
#[cfg(test)]
pub(crate) fn render(old: &Document, set: &PeerSet, stamp: Stamp) -> Rendered<'static> {
    render_with(old, b"", set, None, stamp)
}

/// The document that says what `set` says, starting from `old`, with this text under `sections`. What did not change is
/// copied out of `bytes`, if these are the ones of `old` and not none; otherwise all of it is spelled, with the same result.
pub(crate) fn render_with<'a>(
    old: &Document,
    bytes: &'a [u8],
    set: &PeerSet,
    sections: Option<&str>,
    stamp: Stamp,
) -> Rendered<'a> {
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
        print: None,
        ..*old
    };
    let is_at_hand = bytes.len() == old.len() && !old.is_unlike_its_bytes() && !old.unrolled;
    let mut sheet = Sheet::beside(if is_at_hand { bytes } else { b"" });
    let mut writer = Writer {
        old,
        at: is_at_hand.then_some(old.mark().len()),
        set,
        index: Index::of(set),
        sections,
        style: old.style,
        claimed: old.claimed(),
        written: 0,
        out: &mut document,
        sheet: &mut sheet,
    };
    writer.write(stamp);
    let content = sheet.seal(&mut document);
    Rendered { document, content }
}

struct Writer<'a, 'b> {
    old: &'a Document,
    /// Where in its bytes the next piece begins, if they are at hand.
    at: Option<usize>,
    set: &'a PeerSet,
    index: Index<'a>,
    sections: Option<&'a str>,
    style: Style,
    /// Peers that only unreadable entries name, and that were not written yet.
    claimed: HashSet<PeerKey>,
    /// How many peers of the set are written.
    written: usize,
    out: &'a mut Document,
    /// The bytes of what is in `out` so far.
    sheet: &'a mut Sheet<'b>,
}

impl Writer<'_, '_> {
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
            let place = self.at.map(|at| at..at + piece.len());
            self.at = place.as_ref().map(|place| place.end);
            self.keep(piece.clone(), place);
        }
        self.bracket_empty_lists();
    }

    fn push(&mut self, piece: Piece) {
        self.end_line();
        self.sheet.spell_later(self.out.pieces.len());
        self.out.pieces.push(piece);
    }

    /// Adds a piece of the old document as it is.
    fn keep(&mut self, piece: Piece, place: Option<Range<usize>>) {
        let Some(place) = place else {
            return self.push(piece);
        };
        self.end_line();
        self.sheet.copy(self.out.pieces.len(), place);
        self.out.pieces.push(piece);
    }

    /// Makes sure that what is added next begins a line.
    fn end_line(&mut self) {
        let place = self.out.pieces.len().saturating_sub(1);
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
        self.sheet.spell_instead(place);
    }

    /// Writes a peer in the store's own spelling.
    fn canonical(&mut self, peer: PeerView<'_>, style: Style) {
        self.written += 1;
        if spell::is_canonical(peer) {
            self.end_line();
            let spelled = self.sheet.spell(peer, style);
            let add = |run: &mut Run| run.push(peer.to_packed(), spelled.len());
            self.out.extend_run(style, 0, add);
            let place = self.out.pieces.len().saturating_sub(1);
            return self.sheet.add(place, Stretch::New(spelled));
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

    /// Writes those peers of a run that are still known. Of a few that did not change the bytes are copied.
    fn run(&mut self, run: &Run, place: Option<Range<usize>>) {
        let mut walk = Walk::new(self.set);
        let mut at = place.map(|place| place.start);
        let mut rest = run.records.as_slice();
        let mut wanted = Vec::new();
        for few in run.lengths.iter() {
            let (records, more) = rest.split_at_checked(few.entries()).unwrap_or((rest, &[]));
            rest = more;
            let from = at;
            at = at.map(|at| at + few.bytes());
            wanted.clear();
            wanted.extend(records.iter().filter_map(|peer| walk.find(peer.key())));
            let is_same = |(new, old): (&PeerView<'_>, &PackedPeer)| *new == old.view();
            let are_same = wanted.len() == records.len() && wanted.iter().zip(records).all(is_same);
            match from.filter(|_| are_same) {
                Some(from) => self.copy_few(few, from, &wanted, run.style),
                None => wanted
                    .iter()
                    .for_each(|peer| self.canonical(*peer, run.style)),
            }
        }
    }

    fn copy_few(&mut self, few: Few, from: usize, peers: &[PeerView<'_>], style: Style) {
        self.written += peers.len();
        self.end_line();
        self.out.extend_run(style, 0, |run| {
            run.records
                .extend(peers.iter().map(|peer| peer.to_packed()));
            run.lengths.push_few(few);
        });
        let place = self.out.pieces.len().saturating_sub(1);
        self.sheet
            .add(place, Stretch::Old(from..from + few.bytes()));
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
        let place = self.at.map(|at| at..at + piece.len());
        self.at = place.as_ref().map(|place| place.end);
        match (piece, self.sections) {
            (Piece::Text(text), Some(sections)) if is_sections(text) => {
                self.push(Piece::Text(sections.into()));
            }
            (Piece::Text(_), _) => self.keep(piece.clone(), place),
            // What it says depends on what is below.
            (Piece::List(..), _) => self.push(piece.clone()),
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
                if let Some(new) = written {
                    self.written += usize::from(matches!(new.says, Says::Peer { .. }));
                    let place = place.filter(|_| Arc::ptr_eq(&new.text, &item.text));
                    self.keep(Piece::Item(new), place);
                }
                self.beside_unreadable(item);
            }
            (Piece::Run(run), _) => self.run(run, place),
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
                let mut known: Vec<PeerKey> = old.peers().map(|record| *record.key()).collect();
                known.extend(old.claimed());
                known.extend(&old.withheld);
                if !known.is_sorted() {
                    known.sort_unstable();
                }
                let mut known = known.into_iter().peekable();
                for peer in set.views() {
                    while known.next_if(|known| known < peer.key()).is_some() {}
                    if known.peek() != Some(peer.key()) {
                        self.canonical(peer, style);
                    }
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
mod copies;
#[cfg(test)]
mod tests;
