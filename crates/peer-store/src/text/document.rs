//! The peers file as data: every line of it, and what the lines say.
//!
//! A document is a list of pieces whose texts, one after the other, are the file. Pieces nobody changed are written back
//! byte for byte. This module reads; `render` writes.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use btcfed_core::PeerSet;
use btcfed_core::ban::{Ban, BanTarget};
use btcfed_core::key::PeerKey;
use btcfed_core::peer::{Forgotten, PeerRecord};
use btcfed_core::store::SkippedEntry;
use btcfed_core::time::Timestamp;

use crate::sections::layout;
use crate::text::amend::remark;
use crate::text::entry::{self, Peer, Trust};
use crate::text::guard::{self, Refusal};
use crate::text::rows;
use crate::text::spell::Style;
use crate::text::split::{self, Head, List, Part, Split, flow_elements, is_marker};

/// The version of the format that this program writes.
pub const FORMAT_VERSION: u64 = 1;

/// How often the text is split again because an entry seems to have swallowed others.
const MAX_PASSES: usize = 4;

/// What the checksum says about the bytes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// There is none.
    Absent,
    /// They are as the store wrote them.
    Matches,
    /// They were edited or damaged.
    Differs,
}

/// What an entry says.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    Peer {
        record: Arc<PeerRecord>,
        state_extra: Arc<[(String, String)]>,
    },
    Ban(Arc<Ban>),
    Forgotten(PeerKey, Forgotten),
    /// Nothing that can be read; it stays as it is.
    Bad(Arc<Refusal>),
}

/// An entry of a list.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) list: List,
    pub(crate) text: Arc<str>,
    /// 1-based line where it starts, in the file as read.
    pub(crate) line: usize,
    pub(crate) says: Says,
}

/// A part of the file.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Text(Arc<str>),
    Head(Head, Arc<str>),
    List(List, Arc<str>),
    Item(Item),
}

impl Piece {
    /// Its bytes.
    pub(crate) const fn text(&self) -> &Arc<str> {
        match self {
            Self::Text(text) | Self::Head(_, text) | Self::List(_, text) => text,
            Self::Item(item) => &item.text,
        }
    }
}

/// Something in the file that is not how files are, and will not be written back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// 1-based.
    pub(crate) line: usize,
    pub(crate) what: String,
}

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
    /// Peers that are known but neither in the file nor deleted: their entries are probably among the unreadable ones.
    pub(crate) withheld: BTreeSet<PeerKey>,
    /// The unreadable entries among which those of the withheld peers may be.
    pub(crate) doubts: BTreeSet<Arc<str>>,
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
            withheld: BTreeSet::new(),
            doubts: BTreeSet::new(),
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
        let (text, torn) = decode(bytes);
        let bom = text.starts_with('\u{feff}');
        let text = text.trim_start_matches('\u{feff}');
        let source = block_style(text);
        let mut document = Self {
            bom,
            checksum: check(text),
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
            trust: if document.checksum == Checksum::Matches {
                Trust::Ours
            } else {
                Trust::Nobody
            },
            torn: !torn.is_empty(),
            now,
        };
        reader.known.learn(before);
        let mut forced = BTreeSet::new();
        for pass in 1..=MAX_PASSES {
            let split = split::split(&source, &forced);
            let suspects = document.take(&source, &split, &reader);
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
        document.look_for_the_end(&source);
        document.refuse_duplicates();
        document.read_heads();
        document.damage.sort_by_key(|damage| damage.line);
        document
    }

    /// Fills the document from a split text. Returns lines that should begin something although a quote seems open.
    fn take(&mut self, source: &str, split: &Split, reader: &Reader) -> Vec<usize> {
        self.pieces.clear();
        self.damage.clear();
        let mut suspects = Vec::new();
        let mut has_peers = false;
        for chunk in &split.chunks {
            let text = &source[split.bytes(&chunk.lines)];
            let line = chunk.lines.start + 1;
            match chunk.part {
                Part::Garbage => self.damaged(line, format!("not YAML: {}", cut(text))),
                Part::Text => {
                    let inside = split.suspects(source, chunk);
                    if !inside.is_empty()
                        && guard::value(text).is_err_and(|refusal| refusal.is_syntax)
                    {
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
                    let (text, says) = reader.says(list, text);
                    if matches!(&says, Says::Bad(refusal) if refusal.is_syntax) {
                        suspects.extend(split.suspects(source, chunk));
                    }
                    self.pieces.push(Piece::Item(Item {
                        list,
                        text,
                        line,
                        says,
                    }));
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
            Piece::Text(_) | Piece::Head(..) | Piece::List(..) => false,
        })
    }

    fn damaged(&mut self, line: usize, what: String) {
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
            Piece::Head(..) | Piece::Item(_) => false,
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

    /// Of two entries for the same thing the first one counts.
    fn refuse_duplicates(&mut self) {
        let (mut peers, mut bans, mut forgotten) = (HashSet::new(), HashSet::new(), HashSet::new());
        for piece in &mut self.pieces {
            let Piece::Item(item) = piece else { continue };
            let (is_new, what) = match &item.says {
                Says::Peer { record, .. } => (peers.insert(record.key), "peer"),
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
            Piece::Text(_) | Piece::Head(..) | Piece::List(..) | Piece::Item(_) => None,
        })
    }

    /// All entries.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Item(item) => Some(item),
            Piece::Text(_) | Piece::Head(..) | Piece::List(..) => None,
        })
    }

    /// The peers that could be read.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &Arc<PeerRecord>> {
        self.items().filter_map(|item| match &item.says {
            Says::Peer { record, .. } => Some(record),
            Says::Ban(_) | Says::Forgotten(..) | Says::Bad(_) => None,
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

    /// The entries that could not be read.
    pub(crate) fn bad(&self) -> impl Iterator<Item = (&Item, &Refusal)> {
        self.items().filter_map(|item| match &item.says {
            Says::Bad(refusal) => Some((item, &**refusal)),
            Says::Peer { .. } | Says::Ban(_) | Says::Forgotten(..) => None,
        })
    }

    /// Entries that cannot be attributed to anybody, by their text.
    pub(crate) fn nameless(&self) -> impl Iterator<Item = (&str, &Item, &Refusal)> {
        self.bad()
            .filter(|(_, refusal)| refusal.key.is_none())
            .map(|(item, refusal)| (item.text.trim_ascii(), item, refusal))
    }

    /// The entries that could not be read and the damaged places, by line, for people.
    pub(crate) fn skipped(&self) -> Vec<SkippedEntry> {
        let skip = |(item, refusal): (&Item, &Refusal)| SkippedEntry {
            line: item.line + refusal.line,
            reason: refusal.reason.clone(),
        };
        let damage = self.damage.iter().map(|damage| SkippedEntry {
            line: damage.line,
            reason: format!("damaged: {}", damage.what),
        });
        let mut skipped: Vec<SkippedEntry> = self.bad().map(skip).chain(damage).collect();
        skipped.sort_by_key(|skipped| skipped.line);
        skipped
    }

    /// Everything the file says.
    pub(crate) fn set(&self) -> PeerSet {
        PeerSet::from_shared(
            self.peers().map(Arc::clone),
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
            Piece::Text(_) | Piece::Head(..) => false,
        };
        !self.pieces.iter().any(is_list)
    }

    /// What stands under `sections`, that key included; nothing when there is none.
    pub(crate) fn sections(&self) -> &str {
        let sections = self.pieces.iter().map(|piece| piece.text());
        let mut sections = sections.filter(|text| is_sections(text));
        sections.next().map_or("", |text| text)
    }

    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(
            self.pieces
                .iter()
                .map(|piece| piece.text().len())
                .sum::<usize>()
                + 3,
        );
        if self.bom {
            bytes.extend_from_slice("\u{feff}".as_bytes());
        }
        self.pieces
            .iter()
            .for_each(|piece| bytes.extend_from_slice(piece.text().as_bytes()));
        bytes
    }
}

impl Item {
    /// Whose entry it is, where that is known.
    pub(crate) fn key(&self) -> Option<PeerKey> {
        match &self.says {
            Says::Peer { record, .. } => Some(record.key),
            Says::Forgotten(key, _) => Some(*key),
            Says::Bad(refusal) => refusal.key,
            Says::Ban(_) => None,
        }
    }
}

struct Reader {
    known: Known,
    trust: Trust,
    /// The file has bytes that are no text.
    torn: bool,
    now: Timestamp,
}

impl Reader {
    fn says(&self, list: List, text: &str) -> (Arc<str>, Says) {
        match self.known.get(list, text) {
            Some((text, says)) => (Arc::clone(text), says.clone()),
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
        let says = match list {
            List::Peers => entry::parse(text, self.trust).map(
                |Peer {
                     record,
                     state_extra,
                 }| Says::Peer {
                    record: Arc::new(record),
                    state_extra: state_extra.into(),
                },
            ),
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

/// The text of a file. Bytes that are no text become one replacement character per run, and are reported.
fn decode(bytes: &[u8]) -> (Cow<'_, str>, Vec<Damage>) {
    let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\u{85}');
    let is_usual = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t');
    if let Ok(text) = std::str::from_utf8(bytes)
        && (bytes.iter().all(is_usual) || text.chars().all(is_text))
    {
        return (Cow::Borrowed(text), Vec::new());
    }
    let (mut out, mut damage) = (String::with_capacity(bytes.len()), Vec::<Damage>::new());
    let mut line = 1;
    for c in String::from_utf8_lossy(bytes).chars() {
        if is_text(c) && c != char::REPLACEMENT_CHARACTER {
            line += usize::from(c == '\n');
            out.push(c);
        } else if !out.ends_with(char::REPLACEMENT_CHARACTER) {
            out.push(char::REPLACEMENT_CHARACTER);
            if damage.last().is_none_or(|last| last.line != line) {
                damage.push(Damage {
                    line,
                    what: "bytes that are no text".into(),
                });
            }
        }
    }
    (Cow::Owned(out), damage)
}

/// Compares the checksum line, if there is one, with the bytes after it.
fn check(text: &str) -> Checksum {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        start += line.len();
        if let Some(value) = line
            .strip_prefix(Head::Checksum.as_str())
            .and_then(|rest| rest.strip_prefix(':'))
        {
            let written = value
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .trim_matches(['"', '\'']);
            let matches = written.eq_ignore_ascii_case(&checksum_of(&text.as_bytes()[start..]));
            return if matches {
                Checksum::Matches
            } else {
                Checksum::Differs
            };
        }
    }
    Checksum::Absent
}

/// The checksum of the bytes after the checksum line, as it is written.
pub(crate) fn checksum_of(bytes: &[u8]) -> String {
    format!("crc32:{:08x}", crc32fast::hash(bytes))
}

/// Flow style outside of entries, such as a whole JSON document, rewritten in block style; entries keep their bytes.
fn block_style(text: &str) -> Cow<'_, str> {
    let is_front = |line: &&str| line.trim().is_empty() || line.starts_with('#') || is_marker(line);
    let front = text.split_inclusive('\n').take_while(is_front);
    let (front, body) = text.split_at(front.map(str::len).sum());
    let text = match body.trim_start().strip_prefix('{').and_then(flow_elements) {
        Some((members, rest)) => {
            Cow::Owned(front.to_owned() + &members.join("\n") + "\n" + rest.trim_start())
        }
        None => Cow::Borrowed(text),
    };
    List::ALL
        .into_iter()
        .fold(text, |text, list| match unrolled(&text, list) {
            Some(unrolled) => Cow::Owned(unrolled),
            None => text,
        })
}

/// The text with one list written as `list: [a, b]` unrolled; `None` when there is none such.
fn unrolled(text: &str, list: List) -> Option<String> {
    let mut start = 0;
    let (head, body) = text.split_inclusive('\n').find_map(|line| {
        let at = start;
        start += line.len();
        let rest = line
            .trim_start_matches(['"', '\''])
            .strip_prefix(list.as_str())?;
        let rest = rest
            .trim_start_matches(['"', '\''])
            .trim_start_matches(' ')
            .strip_prefix(':')?;
        let value = at + line.len() - rest.trim_start_matches(' ').len();
        text[value..].starts_with('[').then_some((at, value + 1))
    })?;
    let (elements, rest) = flow_elements(&text[body..])?;
    if elements.is_empty() {
        return None;
    }
    let mut out = format!("{}{}:\n", &text[..head], list.as_str());
    for element in elements {
        let dash = if element.starts_with('#') {
            "  "
        } else {
            "  - "
        };
        let lines: Vec<&str> = element.lines().map(str::trim_end).collect();
        out.push_str(dash);
        out.push_str(&lines.join("\n      "));
        out.push('\n');
    }
    let rest = rest.trim_start_matches(' ');
    out.push_str(if rest.starts_with(['\n', '\r']) {
        rest.trim_start_matches('\r').get(1..).unwrap_or("")
    } else {
        rest
    });
    Some(out)
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
