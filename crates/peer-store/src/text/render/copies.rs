//! What is copied out of the file before is what would have been spelled.

use btcfed_core::rng::SeededRng;
use btcfed_core::testing::{test_addr, test_key, test_record};
use btcfed_core::{AddressSource, Issuer, Now, PeerOp, PeerSource};

use super::*;
use crate::text::ink;

const STAMP: Stamp = Stamp {
    generation: 7,
    now: Timestamp::UNIX_EPOCH,
};

fn read(bytes: &[u8]) -> Document {
    Document::parse(bytes, &Document::default(), Timestamp::UNIX_EPOCH)
}

/// How the entries of a file are laid out.
#[derive(Clone, Copy, Debug)]
struct Layout {
    indent: usize,
    eol: &'static str,
    mark: &'static str,
    has_last_line_end: bool,
}

const LAYOUTS: [Layout; 5] = [
    Layout {
        indent: 2,
        eol: "\n",
        mark: "",
        has_last_line_end: true,
    },
    Layout {
        indent: 0,
        eol: "\n",
        mark: "",
        has_last_line_end: false,
    },
    Layout {
        indent: 2,
        eol: "\r\n",
        mark: "",
        has_last_line_end: false,
    },
    Layout {
        indent: 5,
        eol: "\r\n",
        mark: "\u{feff}",
        has_last_line_end: true,
    },
    Layout {
        indent: 4,
        eol: "\n",
        mark: "\u{feff}",
        has_last_line_end: true,
    },
];

/// The store's own entry of a peer.
fn ours(number: u16, layout: Layout) -> String {
    let mut record = test_record(number);
    if number.is_multiple_of(3) {
        record.source = PeerSource::Signed;
        record.add_address(test_addr(number), AddressSource::Signed);
        record.stats.last_seen = Some(Timestamp::from_millis(u64::from(number) * 1_000_000_007));
    }
    let style = Style {
        indent: layout.indent,
        eol: layout.eol,
    };
    let mut out = Vec::new();
    spell::push_entry(&mut out, &spell::as_written(&record), &[], style);
    ink::into_text(out)
}

/// An entry as somebody wrote it.
fn by_hand(number: u16, layout: Layout) -> String {
    let Layout { indent, eol, .. } = layout;
    let key = test_key(number);
    let lines = [
        format!("-   public_key: '{key}'   # mine"),
        "    addresses: [ /ip4/10.0.0.1/tcp/1 ]".to_owned(),
        format!("    rack: {number}"),
    ];
    let lines = lines.map(|line| format!("{:indent$}{line}{eol}", ""));
    lines.concat()
}

/// A file of peers 1 to `count`, some of them as people write.
fn file(count: u16, layout: Layout, is_ours: impl Fn(u16) -> bool) -> (String, Vec<String>) {
    let eol = layout.eol;
    let entries: Vec<String> = (1..=count)
        .map(|number| match is_ours(number) {
            true => ours(number, layout),
            false => by_hand(number, layout),
        })
        .collect();
    let mut text = format!(
        "{}# mine{eol}{eol}mine:   [a, b]{eol}peers:   # all{eol}",
        layout.mark
    );
    for (entry, number) in entries.iter().zip(1..) {
        text += entry;
        if number % 7 == 0 {
            text += &format!("# after {number}{eol}{eol}");
        }
    }
    text += &format!("other: {{x: 1}}{eol}sections: {{}}");
    if layout.has_last_line_end {
        text += eol;
    }
    (text, entries)
}

/// Saves both ways: the same bytes come of it. Returns them, how many were copied, and what they say.
fn save(old: &Document, bytes: &[u8], set: &PeerSet) -> (Vec<u8>, usize, Document) {
    let copied = render_with(old, bytes, set, None, STAMP);
    let spelled = render_with(old, b"", set, None, STAMP);
    let written = copied.content.to_vec();
    assert!(written == spelled.content.to_vec());
    assert_eq!(spelled.content.copied(), 0);
    assert!(written == copied.document.bytes());
    assert_eq!(written.len(), copied.document.len());
    let again = read(&written);
    assert!(again.set() == *set && again.damage.is_empty());
    assert_eq!(again.len(), written.len());
    (written, copied.content.copied(), copied.document)
}

fn touched(number: u16) -> PeerOp {
    PeerOp::ContactFailed {
        key: test_key(number),
        addrs: Vec::new(),
    }
}

fn removed(number: u16) -> PeerOp {
    PeerOp::Remove {
        key: test_key(number),
        by: Issuer::Node,
    }
}

fn apply(set: &PeerSet, ops: impl IntoIterator<Item = PeerOp>) -> PeerSet {
    let patch = ops.into_iter().collect();
    set.apply(&patch, Now::default()).unwrap().0
}

#[test]
fn any_subset_of_changes_gives_the_file_that_spelling_everything_gives() {
    for seed in 0..40 {
        let mut rng = SeededRng::from_seed(seed);
        let layout = LAYOUTS[rng.index(LAYOUTS.len())];
        let count = [0, 1, 16, 17, 40, 90][rng.index(6)];
        let hands = rng.below(5);
        let (text, _) = file(count, layout, |number| {
            hands == 0 || (u64::from(number) * 7 + seed) % (hands * 5) > 0
        });
        let (mut bytes, mut old) = (text.clone().into_bytes(), read(text.as_bytes()));
        assert_eq!(
            (old.len(), old.bad().count()),
            (bytes.len(), 0),
            "{layout:?}"
        );
        for round in 0..4 {
            let set = old.set();
            let known: Vec<u16> = (1..=200)
                .filter(|number| set.contains(&test_key(*number)))
                .collect();
            let chance = [0, 1, 10, 90][rng.index(4)];
            let mut ops = Vec::new();
            for number in known {
                match rng.below(100) < chance {
                    true if rng.below(3) == 0 => ops.push(removed(number)),
                    true => ops.push(touched(number)),
                    false => {}
                }
            }
            for number in 0..rng.below(4) {
                let number = 100 + round * 20 + u16::try_from(number).unwrap();
                ops.push(PeerOp::Create(Box::new(test_record(number))));
            }
            let is_same = ops.is_empty();
            let (written, copied, document) = save(&old, &bytes, &apply(&set, ops));
            // Four lines at the top, the names of the lists, and an end that was missing.
            assert!(!is_same || written.len() - copied < 300, "{seed}: {copied}");
            (bytes, old) = (written, document);
        }
    }
}

#[test]
fn one_changed_peer_leaves_every_other_byte_wherever_it_stands() {
    for layout in LAYOUTS {
        let (text, entries) = file(40, layout, |number| number % 5 > 0);
        let (first, _, old) = save(
            &read(text.as_bytes()),
            text.as_bytes(),
            &read(text.as_bytes()).set(),
        );
        let first = String::from_utf8(first).unwrap();
        assert!(
            first.starts_with(layout.mark) && entries.iter().all(|entry| first.contains(entry))
        );
        for changed in [vec![1], vec![40], vec![16, 17], vec![5, 6, 7], vec![10]] {
            let set = apply(&old.set(), changed.iter().copied().map(touched));
            let (written, copied, document) = save(&old, first.as_bytes(), &set);
            let written = String::from_utf8(written).unwrap();
            assert!(copied * 10 > written.len() * 3);
            // Everything but the entries that changed and the lines of the head is as it was.
            let (mut before, mut after) = (first.clone(), written.clone());
            for number in &changed {
                let entry = &entries[usize::from(*number) - 1];
                let key = test_key(*number).to_string();
                let start = after.find(&key).unwrap();
                let state = start + after[start..].find("state: {").unwrap();
                assert!(after[state..].starts_with("state: {status: inaccessible"));
                let end = state + after[state..].find(layout.eol).unwrap() + layout.eol.len();
                let (from, to) = (after[..start].rfind('-').unwrap(), end);
                after.replace_range(from..to, "");
                before = before.replacen(entry.trim_start_matches(' '), "", 1);
            }
            assert_eq!(
                headless(&after),
                headless(&before),
                "{changed:?} {layout:?}"
            );
            assert_eq!(document.set(), set);
        }
    }
}

/// A text without the lines that every save rewrites.
fn headless(text: &str) -> String {
    let is_head = |line: &&str| Head::ALL.iter().any(|head| line.starts_with(head.as_str()));
    let lines = text.split_inclusive('\n').filter(|line| !is_head(line));
    lines.collect()
}

#[test]
fn entries_that_go_take_their_own_bytes_along_and_new_ones_come_after_the_last() {
    for layout in LAYOUTS {
        let (text, entries) = file(40, layout, |_| true);
        let old = read(text.as_bytes());
        let (first, _, old) = save(&old, text.as_bytes(), &old.set());
        let whole = String::from_utf8(first.clone()).unwrap();
        for gone in [
            vec![1],
            vec![40],
            vec![16, 17],
            vec![39, 40],
            (1..=40).collect(),
        ] {
            let set = apply(&old.set(), gone.iter().copied().map(removed));
            let (written, _, _) = save(&old, &first, &set);
            let written = headless(&String::from_utf8(written).unwrap());
            let mut expected = headless(&whole);
            for number in &gone {
                expected = expected.replacen(&entries[usize::from(*number) - 1], "", 1);
            }
            let (written, forgotten) = written.split_once("forgotten:").unwrap();
            assert_eq!(forgotten.matches("key: ").count(), gone.len());
            let (expected, _) = expected.split_once("forgotten:").unwrap_or((&expected, ""));
            let expected = match gone.len() {
                40 => expected.replacen("peers:   # all", "peers: []   # all", 1),
                _ => expected.to_owned(),
            };
            assert!(
                expected.starts_with(written.trim_end()),
                "{written}\n{expected}"
            );
        }
        let set = apply(&old.set(), [PeerOp::Create(Box::new(test_record(50)))]);
        let (written, copied, _) = save(&old, &first, &set);
        let written = headless(&String::from_utf8(written).unwrap());
        let new = format!("{}{}", entries[39], ours_now(50, layout));
        assert_eq!(written, headless(&whole).replacen(&entries[39], &new, 1));
        assert!(copied > whole.len() - 300, "{copied}");
    }
}

/// The entry of a peer that became known at the beginning of time.
fn ours_now(number: u16, layout: Layout) -> String {
    let mut record = test_record(number);
    record.stats.first_seen = Some(Timestamp::UNIX_EPOCH);
    let style = Style {
        indent: layout.indent,
        eol: layout.eol,
    };
    let mut out = Vec::new();
    spell::push_entry(&mut out, &record, &[], style);
    ink::into_text(out)
}

#[test]
fn nothing_is_copied_out_of_bytes_that_are_not_those_of_the_document() {
    let (text, _) = file(20, LAYOUTS[0], |_| true);
    let old = read(text.as_bytes());
    for bytes in [&text.as_bytes()[1..], b"x"] {
        let rendered = render_with(&old, bytes, &old.set(), None, STAMP);
        assert_eq!(rendered.content.copied(), 0);
    }
    // Something of the file was left out, so that its pieces are not where they were.
    let torn = text.replacen("other:", "% other\nother:", 1);
    let old = read(torn.as_bytes());
    assert!(!old.damage.is_empty());
    let rendered = render_with(&old, torn.as_bytes(), &old.set(), None, STAMP);
    assert_eq!(rendered.content.copied(), 0);
}
