//! A document that says something else: the same lines wherever nothing changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use btcfed_core::PeerSet;
use btcfed_core::ban::{Ban, BanTarget};
use btcfed_core::key::PeerKey;
use btcfed_core::peer::{Forgotten, PeerRecord};
use btcfed_core::time::Timestamp;

use crate::amend::{amend, remark};
use crate::document::{Document, FORMAT_VERSION, Item, Piece, Says, checksum_of, list_value};
use crate::entry::Peer;
use crate::rows;
use crate::scalar;
use crate::spell::{self, Style};
use crate::split::{Head, List, is_end_marker};

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
pub(crate) fn render(old: &Document, set: &PeerSet, stamp: Stamp) -> Document {
    let mut document = Document {
        damage: Vec::new(),
        unrolled: false,
        checksum: crate::document::Checksum::Matches,
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
        match piece {
            Piece::Text(_) | Piece::List(..) => self.push(piece.clone()),
            Piece::Head(head, text) => {
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
            Piece::Item(item) => {
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
        let has =
            |piece: &Piece| matches!(piece, Piece::Text(text) if text.starts_with("sections:"));
        if !self.out.iter().any(has) {
            self.push(Piece::Text(
                format!("sections: {{}}{}", self.style.eol).into(),
            ));
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
mod tests {
    use super::*;
    use btcfed_core::peer::PeerStatus;
    use btcfed_core::testing::{test_key, test_record};
    use btcfed_core::{Now, PeerOp, PeerPatch};

    const STAMP: Stamp = Stamp {
        generation: 7,
        now: Timestamp::UNIX_EPOCH,
    };

    fn keys(source: &str) -> String {
        (1..=5).fold(source.to_owned(), |text, n| {
            text.replace(&format!("KEY{n}"), &test_key(n).to_string())
        })
    }

    fn read(source: &str) -> Document {
        Document::parse(
            keys(source).as_bytes(),
            &Document::default(),
            Timestamp::UNIX_EPOCH,
        )
    }

    fn text(document: &Document) -> String {
        String::from_utf8(document.bytes()).unwrap()
    }

    fn write(document: &Document, set: &PeerSet) -> String {
        let written = render(document, set, STAMP);
        assert!(says(&written, set), "{}", text(&written));
        let again = Document::parse(
            &written.bytes(),
            &Document::default(),
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(
            again.checksum,
            crate::document::Checksum::Matches,
            "{}",
            text(&written)
        );
        assert_eq!(again.damage, [], "{}", text(&written));
        assert_eq!(again.skipped(), written.skipped());
        assert_eq!(again.generation, 7);
        if document.bad().next().is_none() {
            assert_eq!(&again.set(), set);
        }
        text(&written)
    }

    /// What is left of a written text without the lines that every save rewrites.
    fn body(text: &str) -> String {
        let is_head = |line: &str| {
            Head::ALL
                .iter()
                .any(|head| line.starts_with(&format!("{}:", head.as_str())))
        };
        text.split_inclusive('\n')
            .filter(|line| !is_head(line))
            .collect()
    }

    #[test]
    fn a_new_file_is_laid_out_as_documented_and_reads_back() {
        let set = PeerSet::default()
            .apply(&PeerPatch::create(test_record(1)), Now::default())
            .unwrap()
            .0;
        let out = write(&Document::default(), &set);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[..2], [PREFACE, "version: 1"]);
        assert!(
            lines[2].starts_with("checksum: crc32:") && lines[3] == "generation: 7",
            "{out}"
        );
        assert_eq!(
            lines[4..6],
            ["last_modified: \"1970-01-01T00:00:00Z\"", "peers:"]
        );
        assert_eq!(
            lines[lines.len() - 3..],
            ["bans: []", "forgotten: []", "sections: {}"]
        );
        assert_eq!(
            write(&Document::default(), &PeerSet::default())
                .lines()
                .nth(5),
            Some("peers: []")
        );
    }

    const HAND: &str = "# mine\n\nversion: 1 # v\nzone: [a,\n  b]\npeers:   # list\n# one\n-   public_key: KEY1\n    note: |\n\
                        \x20     - public_key: not one\n\n    addresses: [ /ip4/10.0.0.1/tcp/1 ]\n  # between\n\n- addresses:\n  - \
                        /dns4/B.Example/tcp/2\n  public_key: 'KEY2'\n# after\n- {public_key: KEY3, addresses: []} # flow\n\
                        forgotten: # gone\n  - key: KEY4 # k\n# end";

    #[test]
    fn saving_leaves_every_line_of_a_hand_written_file_alone() {
        for eol in ["\n", "\r\n"] {
            let source = HAND.replace('\n', eol);
            let document = read(&source);
            assert_eq!(
                (document.skipped().len(), document.damage.len()),
                (0, 0),
                "{:?}",
                document.damage
            );
            assert_eq!(document.set().len(), 3);
            assert_eq!(text(&document), keys(&source));
            let mut out = write(&document, &document.set());
            for _ in 0..3 {
                let again = Document::parse(out.as_bytes(), &document, Timestamp::UNIX_EPOCH);
                out = write(&again, &again.set());
            }
            let expected = keys(&source).replace(&format!("version: 1 # v{eol}"), "");
            assert_eq!(body(&out), format!("{expected}{eol}sections: {{}}{eol}"));
            assert!(out.contains("version: 1 # v"), "{out}");
        }
    }

    #[test]
    fn what_changes_in_memory_changes_its_own_entry_only() {
        let document = read(HAND);
        let key = test_key(1);
        let ops = [
            PeerOp::ContactFailed {
                key,
                addrs: Vec::new(),
            },
            PeerOp::Remove {
                key: test_key(2),
                by: btcfed_core::Issuer::Operator,
            },
            PeerOp::Create(Box::new(test_record(5))),
        ];
        let set = document
            .set()
            .apply(&ops.into_iter().collect(), Now::default())
            .unwrap()
            .0;
        let out = body(&write(&document, &set));
        let state = "    state: {status: inaccessible, since: 1970-01-01T00:00:00Z, failed: 1, streak: 1}\n";
        let one = "    addresses: [ /ip4/10.0.0.1/tcp/1 ]\n";
        assert!(out.contains(&format!("{one}{state}")), "{out}");
        assert!(
            !out.contains("B.Example") && out.contains("# after\n"),
            "{out}"
        );
        assert!(
            out.contains(&format!("\n- public_key: {}\n", test_key(5))),
            "{out}"
        );
        assert!(
            out.contains(&format!(
                "  - {{key: {}, seq: 0, by: operator}}\n",
                test_key(2)
            )),
            "{out}"
        );
        assert_eq!(set.get(&key).unwrap().status, PeerStatus::Inaccessible);
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn a_bad_entry_stays_byte_for_byte_and_its_good_neighbours_load() {
        for (bad, line, reason) in [
            (
                "  - public_key: nonsense\n    name: x # keep\n",
                6,
                "public key",
            ),
            ("  - addresses: []\n", 6, "public_key is missing"),
            (
                "  - public_key: KEY2\n    addresses:\n      - /ip4/1.2.3.4/tcp/1\n      - nonsense\n",
                9,
                "multiaddr",
            ),
            (
                "  - public_key: KEY2\n    addresses: [/ip4/1.2.3.4/tcp/1/p2p/ID3]\n",
                7,
                "names another peer",
            ),
            (
                "  - public_key: KEY2\n    addresses: 5\n",
                7,
                "expected a list",
            ),
            (
                "  - public_key: KEY2\n    addresses: [5]\n",
                7,
                "expected text",
            ),
            (
                "  - public_key: KEY2\n    pinned: maybe\n",
                7,
                "true or false",
            ),
            (
                "  - public_key: KEY2\n    name: [x]\n",
                7,
                "name: expected text",
            ),
            (
                "  - public_key: KEY2\n    source: rumour\n",
                7,
                "source: expected",
            ),
            (
                "  - public_key: KEY2\n    state: {status: odd}\n",
                7,
                "unknown status",
            ),
            (
                "  - public_key: KEY2\n    state: {seen: soon}\n",
                7,
                "expected a time",
            ),
            (
                "  - public_key: KEY2\n    state: {ok: -1}\n",
                7,
                "whole number",
            ),
            (
                "  - public_key: KEY2\n    state: {rtt_ms: x}\n",
                7,
                "milliseconds",
            ),
            (
                "  - public_key: KEY2\n    state: {record: \"AAAA\"}\n",
                7,
                "record",
            ),
            (
                "  - public_key: KEY2\n    state: {record: \"?\"}\n",
                7,
                "record",
            ),
            ("  - public_key: KEY2\n    state: {addrs: 1}\n", 7, "addrs"),
            (
                "  - public_key: KEY2\n    state: {addrs: [{addr: x}]}\n",
                7,
                "addrs",
            ),
            (
                "  - public_key: KEY2\n    state: {addrs: [{addr: /ip4/1.2.3.4/tcp/1, by: me}]}\n",
                7,
                "by:",
            ),
            ("  - public_key: KEY2\n    state: 5\n", 7, "state: expected"),
            (
                "  - public_key: KEY2\n    hints: [{addr: /ip4/1.2.3.4/tcp/1, from: x}]\n",
                7,
                "hints",
            ),
            ("  - public_key: KEY2\n    hints: [x]\n", 7, "hints"),
            (
                "  - public_key: KEY2\n    5: x\n",
                6,
                "field names are text",
            ),
            ("  - public_key: 5\n", 6, "expected text"),
            (
                "  - public_key: KEY2\n    public_key: KEY2\n",
                6,
                "duplicate",
            ),
            (
                "  - public_key: KEY1\n",
                6,
                "second entry for the same peer",
            ),
            (
                "  - public_key: KEY2\n    name: \"open\n",
                7,
                "never closed",
            ),
            ("  - public_key: KEY2\n    name: [open\n", 7, "never closed"),
            ("  - public_key: KEY2\n\tname: x\n", 7, "tab"),
            ("  - public_key: &a KEY2\n", 6, "anchors"),
            ("  - just text\n", 6, "expected public_key"),
            ("  -\n", 6, "expected public_key"),
        ] {
            let bad = keys(bad).replace("ID3", &test_key(3).peer_id().to_string());
            let source = format!(
                "# c\nversion: 1\npeers:\n  - public_key: KEY1\n    name: one\n{bad}  # x\n  - public_key: KEY3\nbans: []\n"
            );
            let document = read(&source);
            let skipped = document.skipped();
            assert_eq!(skipped.len(), 1, "{bad}: {skipped:?}");
            assert!(skipped[0].reason.contains(reason), "{bad}: {skipped:?}");
            assert_eq!(skipped[0].line, line, "{bad}: {skipped:?}");
            assert_eq!(document.damage, [], "{bad}");
            assert!(
                document.set().contains(&test_key(1)) && document.set().contains(&test_key(3)),
                "{bad}"
            );
            let out = write(&document, &document.set());
            assert!(out.contains(&bad), "{bad} in {out}");
            let set = document
                .set()
                .apply(&PeerPatch::create(test_record(5)), Now::default())
                .unwrap()
                .0;
            assert!(write(&document, &set).contains(&bad));
        }
    }

    #[test]
    fn a_quote_left_open_swallows_no_neighbour() {
        let source = "peers:\n  - public_key: KEY1\n    name: \"open\n  - public_key: KEY2\n    name: \"two\"\n\
                      \x20   - public_key: KEY3\nbans: []\nforgotten:\n- key: KEY4\n  by: \"operator\"\n";
        let document = read(source);
        assert_eq!(document.skipped().len(), 1, "{:?}", document.skipped());
        assert!(document.set().contains(&test_key(2)) && document.set().contains(&test_key(3)));
        assert_eq!(document.set().forgotten().count(), 1);
        assert_eq!(text(&document), keys(source));
    }

    #[test]
    fn json_and_flow_style_are_understood_and_unrolled() {
        let json = "{\"version\": 1, \"peers\": [\n  {\"public_key\": \"KEY1\",\n   \"addresses\": [\"/ip4/1.2.3.4/tcp/1\"]},\n  \
                    {\"public_key\": \"bad, ]\"}\n], \"zone\": {\"a\": [1]}}\n";
        let document = read(json);
        assert_eq!(
            (
                document.set().len(),
                document.skipped().len(),
                document.damage.len()
            ),
            (1, 1, 0),
            "{}",
            text(&document)
        );
        let out = write(&document, &document.set());
        assert!(
            out.contains("  - {\"public_key\": \"bad, ]\"}\n")
                && out.contains("\"zone\": {\"a\": [1]}\n"),
            "{out}"
        );
        let flow = "# c\npeers: [{public_key: KEY1}, # one\n  {public_key: KEY2}] # end\nbans: [{ip: 1.2.3.4}]\n";
        let document = read(flow);
        assert_eq!(
            (document.set().len(), document.set().bans().count()),
            (2, 1),
            "{}",
            text(&document)
        );
        assert!(
            write(&document, &document.set()).contains("# one"),
            "{}",
            text(&document)
        );
    }

    #[test]
    fn damage_is_reported_and_every_whole_entry_is_kept() {
        let source =
            "\u{1}garbage\nversion: x\nversion: 1\npeers: 5\n  - public_key: KEY1\n nonsense\n";
        let document = read(source);
        assert_eq!(document.set().len(), 1);
        assert!(document.damage.len() >= 4, "{:?}", document.damage);
        let out = write(&document, &document.set());
        assert!(!out.contains("garbage"), "{out}");
        let mut torn =
            keys("peers:\n  - public_key: KEY1\n    name: a\n  - public_key: KEY2\n").into_bytes();
        let at = torn.iter().position(|byte| *byte == b'a').unwrap();
        torn.splice(at..at, [0xff, 0, 0]);
        let document = Document::parse(&torn, &Document::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(document.damage.len(), 1, "{:?}", document.damage);
    }

    #[test]
    fn entries_whose_list_lost_its_name_are_found_where_the_file_was_damaged() {
        let source = "checksum: x\n`eers:\n  - public_key: KEY1\n    name: a\n  - public_key: KEY2\nbans: []\n";
        let document = read(source);
        assert_eq!(
            (document.set().len(), document.damage.len()),
            (2, 1),
            "{:?}",
            document.damage
        );
        write(&document, &document.set());
        let named = read("peers: []\narchive:\n  - public_key: KEY1\n");
        assert_eq!((named.set().len(), named.damage.len()), (0, 0));
    }

    #[test]
    fn a_blank_file_is_blank_and_its_comments_survive() {
        for source in ["", "\n", "# only\n\n  # comments", "\u{feff}"] {
            assert!(read(source).is_blank(), "{source:?}");
        }
        for source in ["peers: []\n", "x: 1\n", "garbage\n"] {
            assert!(!read(source).is_blank(), "{source:?}");
        }
        let out = write(&read("# only"), &PeerSet::default());
        assert!(
            out.starts_with("# only\nversion: 1\n")
                && out.ends_with("forgotten: []\nsections: {}\n"),
            "{out}"
        );
        let out = write(&read("\u{feff}# bom\n"), &PeerSet::default());
        assert!(out.starts_with("\u{feff}# bom\nversion"), "{out}");
    }

    #[test]
    fn a_cut_off_end_is_noticed() {
        let set = PeerSet::default()
            .apply(&PeerPatch::create(test_record(1)), Now::default())
            .unwrap()
            .0;
        let whole = write(&Document::default(), &set);
        let cut = whole.find("/tcp").unwrap() + 5;
        let document = read(&whole[..cut]);
        let found = (
            document.set().len(),
            document.skipped().len(),
            document.damage.len(),
        );
        assert_eq!(
            found,
            (0, 2, 2),
            "and every damaged place is among what was skipped"
        );
        assert!(
            !text(&document).contains("/tcp"),
            "half an address never becomes one"
        );
        let edited = read(&whole.replace("tcp/", "tcp/1"));
        assert_eq!(
            (
                edited.set().len(),
                edited.skipped().len(),
                edited.damage.len()
            ),
            (1, 0, 0)
        );
        assert_eq!(edited.checksum, crate::document::Checksum::Differs);
    }
}
