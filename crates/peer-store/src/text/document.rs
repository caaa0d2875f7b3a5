//! The peers file as data: every line of it, and what the lines say.
//!
//! A document is a list of pieces whose texts, one after the other, are the file. Pieces nobody changed are written back
//! byte for byte. This module reads; `render` writes.

mod refused;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use btcfed_core::PeerSet;
use btcfed_core::ban::{Ban, BanTarget};
use btcfed_core::key::PeerKey;
use btcfed_core::peer::Forgotten;
use btcfed_core::set::{PackedPeer, Packer, PeerView};
use btcfed_core::time::Timestamp;

use crate::disk::displaced::Print;
use crate::merge::same_words;
use crate::sections::layout;
use crate::text::amend::remark;
use crate::text::canonical::{self, Extent};
use crate::text::checksum::{Checksum, check, claim};
use crate::text::decode::{block_style, decode};
use crate::text::entry::{self, Trust};
use crate::text::guard::{self, Refusal};
use crate::text::piece::{Damage, Item, Piece, Says};
use crate::text::quick;
use crate::text::rows;
use crate::text::run::{Before, Believed, Run, Walk};
use crate::text::spell::{self, Style};
use crate::text::split::{self, Head, List, Part, Split, is_marker};

/// The version of the format that this program writes.
pub const FORMAT_VERSION: u64 = 1;

/// How often the text is split again because an entry seems to have swallowed others.
const MAX_PASSES: usize = 4;

/// Most unreadable entries, and most damaged places, that are told apart. Beyond, an entry is read only where that needs no
/// library, and any other is one more damaged place: a file of millions of tiny bad entries takes neither time nor memory.
pub(crate) const MAX_UNREADABLE: usize = 10_000;

/// The file.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) style: Style,
    pub(crate) bom: bool,
    pub(crate) version: u64,
    pub(crate) generation: u64,
    pub(crate) checksum: Checksum,
    pub(crate) damage: Vec<Damage>,
    /// The file was in flow style; its pieces are not its bytes.
    pub(crate) unrolled: bool,
    /// An entry of the store's own was left out, because the unreadable one that it stood for can be read now.
    pub(crate) has_spare: bool,
    /// Peers that are known but neither in the file nor deleted: their entries are probably among the unreadable ones.
    pub(crate) withheld: BTreeSet<PeerKey>,
    /// The unreadable entries among which those of the withheld peers may be.
    pub(crate) doubts: BTreeSet<Arc<str>>,
    /// Where the entry of each peer is in the text just read, if all of them were canonical; else nothing. Kept only for
    /// as long as that text is.
    pub(crate) places: Vec<Range<usize>>,
    /// Which bytes its pieces are, one after the other, if they are those of a file.
    pub(crate) print: Option<Print>,
}

impl Default for Document {
    fn default() -> Self {
        Self {
            pieces: Vec::new(),
            style: Style::default(),
            bom: false,
            version: FORMAT_VERSION,
            generation: 0,
            checksum: Checksum::Absent,
            damage: Vec::new(),
            unrolled: false,
            has_spare: false,
            withheld: BTreeSet::new(),
            doubts: BTreeSet::new(),
            places: Vec::new(),
            print: None,
        }
    }
}

/// What entries said when they were last read, by list and text: unchanged entries are not parsed again.
#[derive(Debug, Default)]
pub(crate) struct Known([HashMap<Arc<str>, Says>; List::ALL.len()]);

impl Known {
    fn get(&self, list: List, text: &str) -> Option<(&Arc<str>, &Says)> {
        self.0.get(list as usize)?.get_key_value(text)
    }

    fn learn(&mut self, document: &Document) {
        for item in document.items() {
            if let (Some(known), false) = (
                self.0.get_mut(item.list as usize),
                matches!(item.says, Says::Bad(_)),
            ) {
                known.insert(Arc::clone(&item.text), item.says.clone());
            }
        }
    }
}

impl Document {
    /// Reads a file. Never fails: what cannot be read is either a bad entry, which stays, or damage, which is reported.
    pub(crate) fn parse(bytes: &[u8], before: &Self, now: Timestamp) -> Self {
        Self::parse_beside(bytes, Before::new(before), before, now)
    }

    /// [`parse`](Self::parse) of a file that was once as `text`, which is what `before` was read from.
    pub(crate) fn parse_edited(
        bytes: &[u8],
        (before, text): (&Self, &str),
        now: Timestamp,
    ) -> Self {
        let known = Before::with_text(before, text);
        Self::parse_beside(bytes, known, before, now)
    }

    fn parse_beside(bytes: &[u8], known: Before<'_>, before: &Self, now: Timestamp) -> Self {
        let (text, torn) = decode(bytes);
        let bom = text.starts_with('\u{feff}');
        let text = text.trim_start_matches('\u{feff}');
        let source = block_style(text);
        let mut document = Self {
            bom,
            checksum: check(text.as_bytes()),
            unrolled: matches!(source, Cow::Owned(_)),
            ..Self::default()
        };
        if source
            .split_inclusive('\n')
            .next()
            .is_some_and(|line| line.ends_with("\r\n"))
        {
            document.style.eol = "\r\n";
        }
        let mut reader = Reader {
            known: Known::default(),
            before: known,
            trust: if document.checksum == Checksum::Matches {
                Trust::Ours
            } else {
                Trust::Nobody
            },
            torn: !torn.is_empty(),
            now,
        };
        reader.known.learn(before);
        if torn.is_empty() && document.parse_around(&source, &reader) {
            document.finish(&source, before);
            return document;
        }
        let mut forced = BTreeSet::new();
        for pass in 1..=MAX_PASSES {
            let split = split::split(&source, &forced);
            let suspects = document.take(&source, &split, &reader, (Vec::new(), &[]));
            let more = suspects
                .into_iter()
                .filter(|line| forced.insert(*line))
                .count();
            if more == 0 || pass == MAX_PASSES {
                break;
            }
            reader.known.learn(&document);
        }
        document.damage.extend(torn);
        document.finish(&source, before);
        document
    }

    /// [`parse`](Self::parse) without any short cut.
    #[cfg(test)]
    pub(crate) fn parse_slowly(bytes: &[u8], now: Timestamp) -> Self {
        let known = Before::thorough();
        Self::parse_beside(bytes, known, &Self::default(), now)
    }

    /// True when a file is exactly as a store wrote it.
    pub(crate) fn is_ours(bytes: &[u8]) -> bool {
        check(bytes) == Checksum::Matches
    }

    /// Reads a text around its canonical entries, which are not even split into lines. False when something in it is in
    /// doubt, so that all of it must be looked at.
    fn parse_around(&mut self, source: &str, reader: &Reader<'_>) -> bool {
        let mut taken = Packer::default();
        let mut places = Vec::new();
        let split = split::split_around(source, &mut |text| {
            let (record, extent) = reader.canonical(text)?;
            let start = source.len() - text.len();
            places.push(start..start + extent.bytes);
            record.add_to(&mut taken);
            Some(extent)
        });
        let is_read = split.is_some_and(|split| {
            self.take(source, &split, reader, (taken.finish(), &places))
                .is_empty()
        });
        if is_read && !self.bom && places.len() == self.peers().count() {
            self.places = places;
        }
        is_read
    }

    fn finish(&mut self, source: &str, before: &Self) {
        self.look_for_the_end(source);
        if self.has_doubles() {
            let pieces = std::mem::take(&mut self.pieces).into_iter();
            self.pieces = pieces.flat_map(Piece::apart).collect();
            self.leave_out_spares(before);
        }
        self.refuse_duplicates();
        self.read_heads();
        self.damage.sort_by_key(|damage| damage.line);
    }

    /// Fills the document from a split text and the entries that were taken out of it. Returns lines that should begin
    /// something although a quote seems open.
    fn take(
        &mut self,
        source: &str,
        split: &Split,
        reader: &Reader<'_>,
        (taken, places): (Vec<PackedPeer>, &[Range<usize>]),
    ) -> Vec<usize> {
        self.pieces.clear();
        self.damage.clear();
        let mut taken = taken.into_iter().zip(places.iter().map(Range::len));
        let (mut suspects, mut has_peers) = (Vec::new(), false);
        let (mut next_line, mut unreadable) = (1, 0);
        for chunk in &split.chunks {
            let text = &source[split.bytes(&chunk.lines)];
            let line = next_line;
            next_line += chunk.line_count();
            match chunk.part {
                Part::Run(run) => {
                    has_peers = true;
                    self.run(text, line, taken.by_ref().take(run.entries));
                }
                Part::Garbage => self.damaged(line, format!("not YAML: {}", cut(text))),
                Part::Text => {
                    let inside = split.suspects(source, chunk);
                    let is_broken = || guard::value(text).is_err_and(|refusal| refusal.is_syntax);
                    if !inside.is_empty() && is_broken() {
                        suspects.extend(inside);
                    }
                    self.pieces.push(Piece::Text(text.into()));
                }
                Part::Head(head) if self.head(head).is_some() => {
                    self.damaged(line, format!("a second {}", head.as_str()));
                }
                Part::Head(head) => self.pieces.push(Piece::Head(head, text.into())),
                Part::List(list) => {
                    has_peers |= list == List::Peers;
                    self.list(list, text, line);
                }
                Part::Item(list) => {
                    if list == List::Peers && !std::mem::replace(&mut has_peers, true) {
                        self.damaged(line, "entries without their list".into());
                        self.list(list, "", line);
                    }
                    let is_patient = unreadable < MAX_UNREADABLE;
                    let (text, says) = reader.says(list, text, is_patient);
                    let item = Item {
                        list,
                        text,
                        line,
                        says,
                    };
                    match &item.says {
                        Says::Bad(_) if !is_patient => {
                            self.damaged(line, "too many unreadable entries".into());
                            continue;
                        }
                        Says::Bad(refusal) => {
                            unreadable += 1;
                            if refusal.is_syntax {
                                suspects.extend(split.suspects(source, chunk));
                            }
                        }
                        Says::Peer { .. } | Says::Ban(_) | Says::Forgotten(..) => {}
                    }
                    self.item(item);
                }
            }
        }
        if !self.has_a_word_on_peers() && (reader.torn || self.checksum == Checksum::Differs) {
            // The line that names the list, or its first entry, is damaged when entries stand below something else.
            let texts = split
                .chunks
                .iter()
                .filter(|chunk| matches!(chunk.part, Part::Text | Part::Head(_)));
            suspects.extend(texts.flat_map(|chunk| split.suspects(source, chunk)));
        }
        suspects
    }

    /// True with entries of peers, and with the word that there are none.
    fn has_a_word_on_peers(&self) -> bool {
        self.pieces.iter().any(|piece| match piece {
            Piece::List(List::Peers, text) => text.contains('['),
            Piece::Item(item) => item.list == List::Peers,
            Piece::Run(_) => true,
            Piece::Text(_) | Piece::Head(..) | Piece::List(..) => false,
        })
    }

    /// Adds peers that were read already, each with the length of its entry.
    fn run(&mut self, text: &str, line: usize, peers: impl Iterator<Item = (PackedPeer, usize)>) {
        let style = Style {
            indent: spell::indent_of(text),
            ..self.style
        };
        let mut run = Run::new(style, line);
        run.records.reserve_exact(peers.size_hint().0);
        peers.for_each(|(peer, bytes)| run.push(peer, bytes));
        self.pieces.push(Piece::Run(run));
    }

    /// Adds an entry. Of one in the store's own spelling only the meaning is kept.
    fn item(&mut self, item: Item) {
        let style = Style {
            indent: spell::indent_of(&item.text),
            ..self.style
        };
        match &item.says {
            Says::Peer {
                record,
                state_extra,
            } if state_extra.is_empty()
                && spell::spells(&record.to_record(), style, &item.text) =>
            {
                let add = |run: &mut Run| run.push(record.clone(), item.text.len());
                self.extend_run(style, item.line, add);
            }
            Says::Peer { .. } | Says::Ban(_) | Says::Forgotten(..) | Says::Bad(_) => {
                self.pieces.push(Piece::Item(item));
            }
        }
    }

    /// Adds peers in the store's own spelling to the run at the end, which is a new one unless the last piece is one of
    /// this style.
    pub(crate) fn extend_run(&mut self, style: Style, line: usize, add: impl FnOnce(&mut Run)) {
        match self.pieces.last_mut() {
            Some(Piece::Run(run)) if run.style == style => add(run),
            _ => {
                let mut run = Run::new(style, line);
                add(&mut run);
                self.pieces.push(Piece::Run(run));
            }
        }
    }

    /// Notes a damaged place. Of too many the last one noted stands for all that follow.
    fn damaged(&mut self, line: usize, what: String) {
        if self.damage.len() >= MAX_UNREADABLE {
            return;
        }
        self.damage.push(Damage { line, what });
    }

    /// The line that names a list; anything else it says gives way.
    fn list(&mut self, list: List, text: &str, line: usize) {
        let value = list_value(text);
        let whole = format!("{}:{}", list.as_str(), self.style.eol);
        if !value.is_empty() {
            self.damaged(
                line,
                format!("{} is no list: {}", list.as_str(), cut(value)),
            );
        }
        let is_fine = value.is_empty() && !text.is_empty();
        self.pieces.push(Piece::List(
            list,
            if is_fine { text.into() } else { whole.into() },
        ));
    }

    /// A file the store wrote ends in `bans`, `forgotten` or `sections`. When it was changed and none of them is there,
    /// its end is missing. An entry whose last line is not whole is taken out, so that half an address never becomes one.
    fn look_for_the_end(&mut self, source: &str) {
        let is_ours = self.checksum == Checksum::Differs && self.head(Head::Generation).is_some();
        let is_end = |piece: &Piece| match piece {
            Piece::List(list, _) => *list != List::Peers,
            Piece::Text(text) => is_sections(text),
            Piece::Head(..) | Piece::Item(_) | Piece::Run(_) => false,
        };
        if !is_ours || self.pieces.iter().any(is_end) {
            return;
        }
        let last = source.lines().count();
        self.damage.push(Damage {
            line: last,
            what: "the end of the file is missing".into(),
        });
        let is_cut =
            |piece: &Piece| matches!(piece, Piece::Item(item) if !item.text.ends_with('\n'));
        if self.pieces.last().is_some_and(is_cut) {
            self.pieces.pop();
            self.damage.push(Damage {
                line: last,
                what: "the file ends in the middle of an entry".into(),
            });
        }
    }

    /// Somebody corrected an unreadable entry: the one that the store wrote for the same peer goes, unless somebody changed
    /// that one too.
    fn leave_out_spares(&mut self, before: &Self) {
        let broken = before.broken();
        let known = before
            .peers()
            .filter(|record| broken.contains(record.key()));
        let own: HashMap<PeerKey, &PackedPeer> =
            known.map(|record| (*record.key(), record)).collect();
        let mut met = HashSet::new();
        let count = self.pieces.len();
        self.pieces.retain(|piece| match piece {
            Piece::Item(Item {
                says: Says::Peer { record, .. },
                ..
            }) => {
                let is_first = met.insert(*record.key());
                let own = own.get(record.key());
                is_first || own.is_none_or(|own| !same_words(&own.to_record(), &record.to_record()))
            }
            _ => true,
        });
        self.has_spare = self.pieces.len() < count;
    }

    /// Of two entries for the same thing the first one counts.
    fn refuse_duplicates(&mut self) {
        let (mut peers, mut bans, mut forgotten) = (HashSet::new(), HashSet::new(), HashSet::new());
        for piece in &mut self.pieces {
            let Piece::Item(item) = piece else { continue };
            let (is_new, what) = match &item.says {
                Says::Peer { record, .. } => (peers.insert(*record.key()), "peer"),
                Says::Ban(ban) => (bans.insert(ban.target), "ban"),
                Says::Forgotten(key, _) => (forgotten.insert(*key), "key"),
                Says::Bad(_) => continue,
            };
            if !is_new {
                let reason = format!("a second entry for the same {what}; the first one counts");
                let key = item.key();
                item.says = Says::Bad(Arc::new(Refusal {
                    line: 0,
                    reason,
                    is_syntax: false,
                    key,
                }));
            }
        }
    }

    /// True when two peers may have one key: 8 bytes of it are compared.
    fn has_doubles(&self) -> bool {
        let start = |record: &PackedPeer| record.key().as_bytes().first_chunk::<8>().copied();
        let mut starts: Vec<Option<[u8; 8]>> = self.peers().map(start).collect();
        if !starts.is_sorted() {
            starts.sort_unstable();
        }
        starts
            .windows(2)
            .any(|pair| matches!(pair, [a, b] if a == b))
    }

    fn read_heads(&mut self) {
        let number = |text: &str| text.trim_matches(['"', '\'']).parse::<u64>().ok();
        let (version, generation) = (self.head(Head::Version), self.head(Head::Generation));
        let (has_version, version) = (
            version.is_some(),
            version.and_then(|text| number(&head_value(text))),
        );
        self.generation = generation
            .and_then(|text| number(&head_value(text)))
            .unwrap_or(0);
        if has_version && version.is_none() {
            self.damage.push(Damage {
                line: 1,
                what: "version is no number".into(),
            });
        }
        self.version = version.unwrap_or(FORMAT_VERSION);
    }

    /// The text of a header line.
    pub(crate) fn head(&self, wanted: Head) -> Option<&Arc<str>> {
        self.pieces.iter().find_map(|piece| match piece {
            Piece::Head(head, text) if *head == wanted => Some(text),
            Piece::Text(_) | Piece::Head(..) | Piece::List(..) | Piece::Item(_) | Piece::Run(_) => {
                None
            }
        })
    }

    /// What the line of the checksum says, right or wrong: by it the save is known that an edited file was made from.
    pub(crate) fn claimed_checksum(&self) -> Option<&str> {
        self.head(Head::Checksum)
            .and_then(|line| claim(line.as_bytes()))
    }

    /// All entries that are kept with their text.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Item(item) => Some(item),
            Piece::Text(_) | Piece::Head(..) | Piece::List(..) | Piece::Run(_) => None,
        })
    }

    /// The peers that could be read.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &PackedPeer> {
        self.pieces.iter().flat_map(|piece| match piece {
            Piece::Run(run) => run.records.as_slice(),
            Piece::Item(Item {
                says: Says::Peer { record, .. },
                ..
            }) => std::slice::from_ref(record),
            Piece::Text(_) | Piece::Head(..) | Piece::List(..) | Piece::Item(_) => &[],
        })
    }

    /// The bans that could be read.
    pub(crate) fn bans(&self) -> impl Iterator<Item = (&BanTarget, &Ban)> {
        self.items().filter_map(|item| match &item.says {
            Says::Ban(ban) => Some((&ban.target, &**ban)),
            Says::Peer { .. } | Says::Forgotten(..) | Says::Bad(_) => None,
        })
    }

    /// The forgotten keys that could be read.
    pub(crate) fn forgotten(&self) -> impl Iterator<Item = (&PeerKey, &Forgotten)> {
        self.items().filter_map(|item| match &item.says {
            Says::Forgotten(key, mark) => Some((key, mark)),
            Says::Peer { .. } | Says::Ban(_) | Says::Bad(_) => None,
        })
    }

    /// Makes entries that say what a set says share its memory.
    pub(crate) fn share(&mut self, set: &PeerSet) {
        let runs = self.pieces.iter_mut().filter_map(|piece| match piece {
            Piece::Run(run) => Some(run),
            Piece::Text(_) | Piece::Head(..) | Piece::List(..) | Piece::Item(_) => None,
        });
        for run in runs {
            let mut walk = Walk::new(set);
            for peer in &mut run.records {
                let known = walk.find(peer.key()).map(PeerView::to_packed);
                if let Some(known) = known.filter(|known| known == peer) {
                    *peer = known;
                }
            }
        }
    }

    /// Everything the file says.
    pub(crate) fn set(&self) -> PeerSet {
        PeerSet::from_packed(
            self.peers().cloned(),
            self.bans().map(|(_, ban)| ban.clone()),
            self.forgotten().map(|(key, mark)| (*key, *mark)),
        )
    }

    /// True when the file has no entry, no header and no unknown key: it is empty, or holds nothing but comments and
    /// markers of YAML documents.
    pub(crate) fn is_blank(&self) -> bool {
        let is_remark = |text: &str| {
            text.lines().all(|line| {
                matches!(line.trim_start().chars().next(), None | Some('#')) || is_marker(line)
            })
        };
        self.damage.is_empty()
            && self
                .pieces
                .iter()
                .all(|piece| matches!(piece, Piece::Text(text) if is_remark(text)))
    }

    /// True when there is neither a list of peers nor an entry of one, as in a file that was cut off in its first lines. Who
    /// wants no peers writes `peers: []`.
    pub(crate) fn is_listless(&self) -> bool {
        let is_list = |piece: &Piece| match piece {
            Piece::List(list, _) => *list == List::Peers,
            Piece::Item(item) => item.list == List::Peers,
            Piece::Run(_) => true,
            Piece::Text(_) | Piece::Head(..) => false,
        };
        !self.pieces.iter().any(is_list)
    }

    /// What stands under `sections`, that key included; nothing when there is none.
    pub(crate) fn sections(&self) -> &str {
        let is_it = |piece: &'_ Piece| matches!(piece, Piece::Text(text) if is_sections(text));
        match self.pieces.iter().find(|piece| is_it(piece)) {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }

    /// True when nothing but blank lines follows the sections.
    pub(crate) fn ends_in_sections(&self) -> bool {
        let is_blank =
            |piece: &&Piece| matches!(piece, Piece::Text(text) if text.trim().is_empty());
        let last = self.pieces.iter().rev().find(|piece| !is_blank(piece));
        matches!(last, Some(Piece::Text(text)) if is_sections(text))
    }

    /// True when something in the file gave way, so that it has to be written again.
    pub(crate) fn is_unlike_its_bytes(&self) -> bool {
        self.has_spare || !self.damage.is_empty()
    }

    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        out.extend_from_slice(self.mark().as_bytes());
        self.pieces.iter().for_each(|piece| piece.write(&mut out));
        out
    }

    /// How many bytes the file has.
    pub(crate) fn len(&self) -> usize {
        self.mark().len() + self.pieces.iter().map(Piece::len).sum::<usize>()
    }

    /// What stands before everything else.
    pub(crate) const fn mark(&self) -> &'static str {
        if self.bom { "\u{feff}" } else { "" }
    }
}

struct Reader<'a> {
    known: Known,
    before: Before<'a>,
    trust: Trust,
    /// The file has bytes that are no text.
    torn: bool,
    now: Timestamp,
}

impl Reader<'_> {
    /// The canonical entry that a text begins with, if it may be believed.
    fn canonical(&self, text: &str) -> Option<(Believed, Extent)> {
        if let Some((record, entry)) = self.before.same(text)
            && canonical::ends_before(text.get(entry.len()..)?, entry)
        {
            let extent = Extent {
                bytes: entry.len(),
                lines: canonical::count_lines(entry.as_bytes()),
                indent: spell::indent_of(entry),
            };
            return Some((Believed::Known(record.clone()), extent));
        }
        let entry = self.before.is_quick.then(|| canonical::read(text))??;
        let record = self.before.believe(entry.record, self.trust)?;
        Some((record, entry.extent))
    }

    /// How far an entry is trusted: a key that was known before was checked before.
    fn trust_in(&self, text: &str) -> Trust {
        let known = || entry::likely_key(text).filter(|key| self.before.find(key).is_some());
        match self.trust {
            Trust::Nobody => known().map_or(Trust::Nobody, Trust::Key),
            trust @ (Trust::Ours | Trust::Key(_)) => trust,
        }
    }

    /// What an entry says, and its text. Without patience, only what is read without the library.
    fn says(&self, list: List, text: &str, is_patient: bool) -> (Arc<str>, Says) {
        match self.known.get(list, text) {
            Some((text, says)) => (Arc::clone(text), says.clone()),
            None if !is_patient => {
                let peer = (list == List::Peers).then(|| quick::parse(text, self.trust));
                let bad = || Refusal::at(text, "", "too many unreadable entries before it");
                match peer.flatten() {
                    Some(peer) => (text.into(), peer.into()),
                    None => (Arc::default(), Says::Bad(Arc::new(bad()))),
                }
            }
            None => (text.into(), self.parse(list, text)),
        }
    }

    fn parse(&self, list: List, text: &str) -> Says {
        if self.torn && text.contains(char::REPLACEMENT_CHARACTER) {
            let key = entry::parse(text, self.trust)
                .map_or_else(|refusal| refusal.key, |peer| Some(peer.record.key));
            let replacement = char::REPLACEMENT_CHARACTER.to_string();
            let refusal = Refusal::at(text, &replacement, "has bytes that are no text");
            return Says::Bad(Arc::new(Refusal { key, ..refusal }));
        }
        if let (List::Peers, Some((record, extent))) = (list, self.canonical(text))
            && extent.bytes == text.len()
        {
            let state_extra = Arc::new([]);
            return Says::Peer {
                record: record.into(),
                state_extra,
            };
        }
        let says = match list {
            List::Peers => entry::parse(text, self.trust_in(text)).map(Says::from),
            List::Bans => rows::ban(text, self.now).map(|ban| Says::Ban(Arc::new(ban))),
            List::Forgotten => rows::forgotten(text).map(|(key, mark)| Says::Forgotten(key, mark)),
        };
        says.unwrap_or_else(|refusal| Says::Bad(Arc::new(refusal)))
    }
}

/// True for the text under `sections`.
pub(crate) fn is_sections(text: &str) -> bool {
    let name = text
        .trim_start_matches(['"', '\''])
        .strip_prefix(layout::NAME);
    name.is_some_and(|rest| {
        rest.trim_start_matches(['"', '\''])
            .trim_start_matches(' ')
            .starts_with(':')
    })
}

/// What a list line says after its colon; nothing for a list that is empty or written below.
pub(crate) fn list_value(text: &str) -> &str {
    let value = after_colon(text);
    match value
        .strip_prefix('[')
        .map(|rest| rest.trim_start().starts_with(']'))
    {
        Some(true) => "",
        _ if matches!(value, "~" | "null" | "{}") => "",
        _ => value,
    }
}

/// The value of a header line.
fn head_value(text: &str) -> String {
    after_colon(text).to_owned()
}

fn after_colon(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    let value = line.find(':').map_or("", |at| &line[at + 1..]);
    value[..value.len() - remark(value).len()].trim()
}

/// The start of a text, fit for a log line.
pub(crate) fn cut(text: &str) -> String {
    const LONGEST: usize = 60;
    let line = text.trim().lines().next().unwrap_or_default();
    let short: String = line
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_default)
        .collect();
    if line.chars().nth(LONGEST).is_some() {
        short + "..."
    } else {
        short
    }
}
