use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use btcfed_core::set::PackedPeer;
use btcfed_core::testing::{test_key, test_record};
use btcfed_core::time::Timestamp;
use btcfed_core::{
    Ban, BanReason, BanTarget, Issuer, Now, PeerOp, PeerPatch, PeerSet, SignedRecord,
};

use super::*;
use crate::text::checksum::{Checksum, checksum_of};
use crate::text::document::{Document, MAX_UNREADABLE};
use crate::text::ink;
use crate::text::quick;
use crate::text::render::{Stamp, render};
use crate::text::spell::Style;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// Peers of every kind that is read here, and some that are not.
fn texts() -> Vec<String> {
    let mut texts = quick::tests::texts();
    let mut met = test_record(7);
    met.addresses[0].last_success = Some(Timestamp::from_millis(1_795_000_000_120));
    met.addresses[0].failures = 3;
    met.status = PeerStatus::Inaccessible;
    met.name = Some("true".into());
    let mut signed = PeerRecord::new(test_key(8), PeerSource::Signed);
    let addrs = [btcfed_core::testing::test_addr(1)];
    let secret = btcfed_core::testing::test_secret(8);
    signed.record = Some(SignedRecord::sign(&secret, 7, &addrs).unwrap());
    signed.set_signed_addresses(&addrs);
    for record in [met, signed] {
        let mut text = Vec::new();
        spell::push_entry(&mut text, &record, &[], Style::default());
        texts.push(ink::into_text(text));
    }
    texts
}

#[test]
fn what_is_read_is_spelled_the_same_again_and_read_the_same_elsewhere() {
    let mut accepted = 0;
    let mut check = |text: &str| {
        let Some(Entry { record, extent }) = read(text) else {
            return;
        };
        accepted += 1;
        let (entry, rest) = text.split_at(extent.bytes);
        let style = Style {
            indent: extent.indent,
            ..Style::default()
        };
        assert!(spell::spells(&record, style, entry), "{text}");
        assert_eq!(extent.lines, entry.lines().count());
        assert!(rest.is_empty() || ends_before(rest, entry), "{text}");
        let elsewhere = quick::parse(entry, Trust::Ours).map(|peer| peer.record);
        assert_eq!(elsewhere, Some(record), "{text}");
    };
    for text in texts() {
        for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            let (head, tail) = text.split_at(at);
            for new in [
                "", " ", "\n", ":", "#", "\"", "0", "00", "e", "A", "-", ",", "{", "}", ".", "/",
            ] {
                check(&format!("{head}{new}{tail}"));
                check(&format!("{head}{new}{}", tail.get(1..).unwrap_or("")));
            }
        }
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for one in 0..lines.len() {
            for other in 0..lines.len() {
                let mut changed = lines.clone();
                changed.swap(one, other);
                check(&changed.concat());
                changed.insert(one, lines[other]);
                check(&changed.concat());
            }
        }
        for after in [
            "bans:\n",
            "  - x\n",
            "  # x\n",
            "\n",
            "    x: 1\n",
            "...\n",
            "- x\n",
        ] {
            check(&format!("{text}{after}"));
        }
    }
    assert!(accepted > 500, "{accepted}");
    let usual = texts().into_iter().filter(|text| !text.contains("hints:"));
    let is_read = |text: &String| read(text).is_some();
    assert!(usual.filter(is_read).count() >= 4);
}

fn document_of(records: impl IntoIterator<Item = PeerRecord>) -> (Document, String) {
    let ban = Ban {
        target: BanTarget::Peer(test_key(9)),
        reason: BanReason::Other("spam".into()),
        since: NOW,
        until: None,
        by: Issuer::Operator,
        evidence: None,
    };
    let set = PeerSet::from_parts(records, [ban], []);
    let stamp = Stamp {
        generation: 1,
        now: NOW,
    };
    let rendered = render(&Document::default(), &set, stamp);
    (
        rendered.document,
        String::from_utf8(rendered.content.to_vec()).unwrap(),
    )
}

/// The text with a checksum that fits.
fn sealed(text: &str) -> String {
    let line = text
        .lines()
        .find(|line| line.starts_with("checksum"))
        .unwrap();
    let after = text.find(line).unwrap() + line.len() + 1;
    let sum = checksum_of([&text.as_bytes()[after..]]);
    text.replacen(line, &format!("checksum: {sum}"), 1)
}

#[test]
fn a_whole_file_is_read_the_same_with_and_without_short_cuts() {
    let (_, whole) = document_of(quick::tests::peers());
    let check = |text: &str| {
        let quick = Document::parse(text.as_bytes(), &Document::default(), NOW);
        let slow = Document::parse_slowly(text.as_bytes(), NOW);
        assert_eq!(quick.bytes(), slow.bytes(), "{text}");
        assert!(quick.peers().eq(slow.peers()), "{text}");
        assert_eq!(quick.skipped(), slow.skipped(), "{text}");
        assert_eq!(quick.checksum, slow.checksum);
        assert!(quick.bans().eq(slow.bans()) && quick.is_blank() == slow.is_blank());
    };
    check(&whole);
    for at in (0..whole.len()).step_by(3) {
        let (head, tail) = whole.split_at(at);
        for new in ["", "\n", "\"", "'", "[", "# ", "|\n", "\u{fffd}"] {
            check(&format!("{head}{new}{}", &tail[1..]));
        }
        check(head);
    }
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    for one in 0..lines.len() {
        for new in [
            "other:\n",
            "  # x\n",
            "\n",
            "- x\n",
            "  - public_key: \"x\n",
            "note: |\n",
        ] {
            let mut changed = lines.clone();
            changed.insert(one, new);
            check(&changed.concat());
        }
        let mut changed = lines.clone();
        changed.insert(one, lines[lines.len() / 2]);
        changed.swap(one, lines.len() / 3);
        check(&changed.concat());
    }
    check(&format!(
        "{whole}{}",
        &whole[whole.find("peers:").unwrap()..]
    ));
}

/// The text of a key that is canonical and no point of the curve.
fn off_curve() -> String {
    let mut bytes = vec![0x08, 0x01, 0x12, 0x20, 2];
    bytes.resize(36, 0);
    STANDARD.encode(bytes)
}

#[test]
fn a_key_is_believed_only_while_the_checksum_fits_or_where_it_was_known() {
    let (known, whole) = document_of([test_record(1), test_record(2)]);
    let changed = whole.replace(&test_key(1).to_string(), &off_curve());
    let stale = Document::parse(changed.as_bytes(), &known, NOW);
    assert_eq!(stale.checksum, Checksum::Differs);
    assert_eq!((stale.peers().count(), stale.bad().count()), (1, 1));
    let untouched = |document: &Document| {
        let same = |peer: &&PackedPeer| known.peers().any(|known| known.is_one_with(peer));
        document.peers().filter(same).count()
    };
    assert_eq!(
        untouched(&stale),
        1,
        "the other one is the one that was known"
    );
    // Whoever makes the checksum fit could as well have written a valid key of their own.
    let fitting = Document::parse(sealed(&changed).as_bytes(), &known, NOW);
    assert_eq!(fitting.checksum, Checksum::Matches);
    assert_eq!((fitting.peers().count(), fitting.bad().count()), (2, 0));
    // Beside the text that was known, an edited entry is checked in full and the others are taken as they were.
    let read = Document::parse(whole.as_bytes(), &Document::default(), NOW);
    assert_eq!(read.places.len(), 2);
    let beside = Document::parse_edited(changed.as_bytes(), (&read, &whole), NOW);
    assert_eq!((beside.peers().count(), beside.bad().count()), (1, 1));
    let renamed = whole.replacen("    state", "    name: new\n    state", 1);
    let beside = Document::parse_edited(renamed.as_bytes(), (&read, &whole), NOW);
    assert_eq!((beside.peers().count(), beside.bad().count()), (2, 0));
    assert!(
        beside
            .peers()
            .eq(Document::parse_slowly(renamed.as_bytes(), NOW).peers())
    );
}

#[test]
fn weak_keys_and_second_spellings_are_refused_even_under_a_checksum_that_fits() {
    let (_, whole) = document_of([test_record(1), test_record(2)]);
    let mut neutral = vec![0x08, 0x01, 0x12, 0x20, 1];
    neutral.resize(36, 0);
    let changed = whole.replace(&test_key(1).to_string(), &STANDARD.encode(neutral));
    let read = Document::parse(sealed(&changed).as_bytes(), &Document::default(), NOW);
    assert_eq!((read.peers().count(), read.bad().count()), (1, 1));
}

#[test]
fn of_too_many_bad_entries_each_one_past_the_limit_is_damage_and_ours_are_still_read() {
    for more in [0, 1, 3] {
        let bad = "  - *x\n".repeat(MAX_UNREADABLE + more);
        let by_hand = format!("  - {{public_key: \"{}\"}}\n", test_key(1));
        let mut ours = Vec::new();
        spell::push_entry(&mut ours, &test_record(2), &[], Style::default());
        let ours = ink::into_text(ours);
        let text = format!("peers:\n{bad}{by_hand}{ours}bans: []\n");
        let read = Document::parse(text.as_bytes(), &Document::default(), NOW);
        assert_eq!(read.bad().count(), MAX_UNREADABLE);
        // Whether what is left needs the library cannot be found out without it.
        assert_eq!(read.damage.len(), more + 1);
        assert!(read.peers().map(|record| *record.key()).eq([test_key(2)]));
    }
    let text = format!("peers:\n{}", "\t- a\n".repeat(MAX_UNREADABLE * 3));
    let read = Document::parse(text.as_bytes(), &Document::default(), NOW);
    assert!((1..=MAX_UNREADABLE).contains(&read.damage.len()));
}

#[test]
fn entries_share_the_memory_of_the_set_whatever_their_order() {
    let (_, whole) = document_of((1..100).map(test_record));
    let start = whole.find("  - public_key").unwrap();
    let end = whole.find("bans:").unwrap();
    let mut entries: Vec<&str> = whole[start..end].split("  - public_key").skip(1).collect();
    entries.reverse();
    let list: String = entries
        .iter()
        .map(|entry| format!("  - public_key{entry}"))
        .collect();
    let text = format!("{}{list}{}", &whole[..start], &whole[end..]);
    let mut document = Document::parse(text.as_bytes(), &Document::default(), NOW);
    let set = document.set();
    let sharing = |document: &Document| {
        let is_shared =
            |peer: &&PackedPeer| set.view(peer.key()).unwrap().to_packed().is_one_with(peer);
        document.peers().filter(is_shared).count()
    };
    assert_eq!((document.peers().count(), sharing(&document)), (99, 0));
    document.share(&set);
    assert_eq!(sharing(&document), 99);
    assert_eq!(String::from_utf8(document.bytes()).unwrap(), text);
    // What the set says otherwise stays as the file has it.
    let mut other = set.get(&test_key(5)).unwrap();
    other.name = Some("other".into());
    let update = PeerPatch::one(PeerOp::Update(Box::new(other)));
    let (changed, _) = set.apply(&update, Now::default()).unwrap();
    document.share(&changed);
    assert_eq!(document.set(), set);
}

#[test]
fn bytes_are_found_and_lines_are_counted_as_one_by_one() {
    let text: Vec<u8> = (0..1000_u32)
        .map(|n| {
            if n.wrapping_mul(2_654_435_761) % 7 == 0 {
                b'\n'
            } else {
                0x8a
            }
        })
        .collect();
    for start in 0..40 {
        for end in (start..text.len()).step_by(37) {
            let part = &text[start..end];
            let ends = part.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(count_lines(part), ends);
            assert_eq!(
                find(part, b'\n'),
                part.iter().position(|byte| *byte == b'\n')
            );
            assert_eq!(find(part, b'x'), None);
        }
    }
    assert_eq!(count_lines(&[b'\n'; 1000]), 1000);
}
