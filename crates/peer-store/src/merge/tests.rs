use super::*;
use btcfed_core::ban::BanReason;
use btcfed_core::testing::{test_addr, test_key, test_record, test_secret};
use btcfed_core::time::Timestamp;
use btcfed_core::{Now, PeerOp, PeerPatch};

use crate::text::render::{Stamp, render};

fn parse(text: &str) -> Document {
    Document::parse(text.as_bytes(), &Document::default(), Timestamp::UNIX_EPOCH)
}

fn written(set: &PeerSet) -> Document {
    render(
        &Document::default(),
        set,
        Stamp {
            generation: 1,
            now: Timestamp::UNIX_EPOCH,
        },
    )
    .document
}

fn text(document: &Document) -> String {
    String::from_utf8(document.bytes()).unwrap()
}

fn set_of(numbers: std::ops::RangeInclusive<u16>) -> PeerSet {
    let ops = numbers.map(|n| PeerOp::Create(Box::new(test_record(n))));
    PeerSet::default()
        .apply(&ops.collect(), Now::default())
        .unwrap()
        .0
}

fn apply(set: &PeerSet, op: PeerOp) -> PeerSet {
    set.apply(&PeerPatch::one(op), Now::default()).unwrap().0
}

fn block(text: &str, number: u16) -> String {
    let start = text
        .find(&format!("  - public_key: {}", test_key(number)))
        .unwrap();
    let rest = &text[start + 5..];
    let end = rest
        .find("  - public_key")
        .or_else(|| rest.find("bans:"))
        .unwrap();
    text[start..start + 5 + end].to_owned()
}

#[test]
fn memory_alone_changed_memory_stays_and_file_alone_changed_the_file_is_taken() {
    let set = set_of(1..=2);
    let base = written(&set);
    let memory = apply(
        &set,
        PeerOp::Remove {
            key: test_key(1),
            by: Issuer::Node,
        },
    );
    let merged = merge(&base, &base, &memory);
    assert_eq!((&merged.set, merged.adopted.len()), (&memory, 0));
    let file = parse(&text(&base).replace("/tcp/2\n", "/tcp/22\n    name: bob\n"));
    let merged = merge(&base, &file, &set);
    let fields: Vec<_> = merged.adopted.iter().map(|adopted| adopted.field).collect();
    assert_eq!(fields, ["name", "addresses"]);
    assert_eq!(
        merged.set.get(&test_key(2)).unwrap().name.as_deref(),
        Some("bob")
    );
    assert_eq!(merged.set.get(&test_key(2)).unwrap().addresses.len(), 1);
}

#[test]
fn both_changed_people_s_words_follow_the_file_and_the_state_follows_memory() {
    let set = set_of(1..=1);
    let base = written(&set);
    let memory = apply(
        &set,
        PeerOp::ContactFailed {
            key: test_key(1),
            addrs: vec![test_addr(1)],
        },
    );
    let mut renamed = memory.get(&test_key(1)).unwrap();
    renamed.name = Some("memory".into());
    renamed.note = Some("memory".into());
    let memory = apply(&memory, PeerOp::Update(Box::new(renamed)));
    let file =
        parse(&text(&base).replace("    state", "    name: file\n    pinned: true\n    state"));
    let record = merge(&base, &file, &memory).set.get(&test_key(1)).unwrap();
    assert_eq!(
        (
            record.name.as_deref(),
            record.note.as_deref(),
            record.pinned
        ),
        (Some("file"), Some("memory"), true)
    );
    assert_eq!(
        (record.status, record.stats.failures),
        (PeerStatus::Inaccessible, 1)
    );
    assert_eq!(record.addresses[0].failures, 1);
}

#[test]
fn a_deletion_by_hand_is_the_operators_and_adding_again_lifts_it() {
    let set = set_of(1..=3);
    let base = written(&set);
    let file = parse(&text(&base).replace(&block(&text(&base), 2), ""));
    let merged = merge(&base, &file, &set);
    assert!(!merged.set.contains(&test_key(2)) && merged.set.len() == 2);
    let mark = merged.set.forgotten().next().unwrap();
    assert_eq!(
        mark,
        (
            &test_key(2),
            &Forgotten {
                seq: 0,
                by: Issuer::Operator
            }
        )
    );
    assert!(
        merged.adopted[0].old.contains(&test_addr(2).to_string()),
        "{:?}",
        merged.adopted
    );
    let again = merge(&written(&merged.set), &base, &merged.set);
    assert!(again.set.contains(&test_key(2)) && again.set.forgotten().next().is_none());
}

#[test]
fn an_edit_survives_a_removal_in_memory_and_a_touched_state_does_not() {
    let set = set_of(1..=1);
    let base = written(&set);
    let memory = apply(
        &set,
        PeerOp::Remove {
            key: test_key(1),
            by: Issuer::Node,
        },
    );
    let edited = parse(&text(&base).replace("    state", "    name: kept\n    state"));
    assert!(merge(&base, &edited, &memory).set.contains(&test_key(1)));
    let touched = parse(&text(&base).replace("state: {", "state: {ok: 3, "));
    assert!(!merge(&base, &touched, &memory).set.contains(&test_key(1)));
}

#[test]
fn nothing_is_deleted_because_something_cannot_be_read() {
    let set = set_of(1..=3);
    let base = written(&set);
    let whole = text(&base);
    let typo = parse(&whole.replace(&block(&whole, 2), &block(&whole, 2).replace("/ip4", "/pi4")));
    let merged = merge(&base, &typo, &set);
    assert_eq!((merged.set.len(), merged.withheld.len()), (3, 0));
    let key_typo = parse(&whole.replace(&test_key(2).to_string(), "CAESInonsense"));
    let merged = merge(&base, &key_typo, &set);
    assert_eq!((merged.set.len(), merged.withheld.len()), (3, 1));
    let torn = parse(&whole.replace(&block(&whole, 2), "garbage\n"));
    let merged = merge(&base, &torn, &set);
    assert_eq!(
        (merged.set.len(), merged.withheld.len(), torn.damage.len()),
        (3, 0, 1)
    );
}

/// What `merge` made of a file, as the base of the next merge.
fn adopted(mut file: Document, merged: &Merged) -> Document {
    file.withheld = merged.withheld.clone();
    file.doubts = merged.doubts.clone();
    file
}

#[test]
fn an_entry_that_was_unreadable_before_keeps_nobody_and_a_changed_one_until_it_is_corrected() {
    let set = set_of(1..=3);
    let old = "  - public_key: BADKEY\n    name: old\n";
    let whole = text(&written(&set)).replace("bans:", &format!("{old}bans:"));
    let without = |number| whole.replace(&block(&whole, number), "");
    let merged = merge(&parse(&whole), &parse(&without(2)), &set);
    assert!(!merged.set.contains(&test_key(2)) && merged.waits.is_empty());

    // The key of the second peer becomes unreadable: it waits, and says so once.
    let typo = whole.replace(&test_key(2).to_string(), "TYPO");
    let merged = merge(&parse(&whole), &parse(&typo), &set);
    let line = 1 + typo.lines().position(|line| line.contains("TYPO")).unwrap();
    assert_eq!(merged.waits, [(test_key(2), line)]);
    let base = adopted(parse(&typo), &merged);

    // Meanwhile others can be deleted, and another bad entry has nothing to do with it.
    let edited = typo
        .replace(&block(&whole, 3), "")
        .replace("bans:", "  - public_key: NEWS\nbans:");
    let merged = merge(&base, &parse(&edited), &set);
    assert_eq!((merged.set.len(), merged.waits.len()), (3, 1));
    let merged = merge(&base, &parse(&typo.replace(&block(&whole, 3), "")), &set);
    assert!(!merged.set.contains(&test_key(3)) && merged.set.contains(&test_key(2)));
    assert_eq!((merged.withheld.len(), merged.waits.len()), (1, 0));
    let news = parse(&typo.replace("bans:", "  - public_key: NEWS\nbans:"));
    let merged = merge(&base, &news, &set);
    assert_eq!((merged.set.len(), merged.doubts.len()), (3, 1));
    let base = adopted(news, &merged);

    // Another typo in the same entry: it still waits. Corrected to itself: nothing happened.
    let merged = merge(&base, &parse(&typo.replace("TYPO", "TYPE")), &set);
    assert_eq!((merged.set.len(), merged.waits.len()), (3, 0));
    let merged = merge(&base, &parse(&whole), &set);
    assert_eq!((merged.set.len(), merged.withheld.len()), (3, 0));
    // Corrected to somebody else, or removed: now it is deleted.
    let other = typo.replace("TYPO", &test_key(4).to_string());
    for certain in [other, without(2)] {
        let merged = merge(&base, &parse(&certain), &set);
        assert!(!merged.set.contains(&test_key(2)) && merged.withheld.is_empty());
        assert_eq!(merged.set.forgotten().next().unwrap().0, &test_key(2));
    }
}

#[test]
fn bans_follow_the_file_and_lifting_one_by_hand_clears_the_mark() {
    let ban = |target, words: &str| Ban {
        target,
        reason: BanReason::Other(words.into()),
        since: Timestamp::UNIX_EPOCH,
        until: None,
        by: Issuer::Operator,
        evidence: None,
    };
    let peer = BanTarget::Peer(test_key(1));
    let set = apply(&set_of(1..=1), PeerOp::Ban(ban(peer, "spam")));
    let base = written(&set);
    let memory = apply(
        &set,
        PeerOp::Ban(ban(BanTarget::Ip("1.2.3.4".parse().unwrap()), "new")),
    );
    let line = text(&base)
        .lines()
        .find(|line| line.contains("spam"))
        .unwrap()
        .to_owned();
    let lifted = merge(
        &base,
        &parse(&text(&base).replace(&line, "  # lifted")),
        &memory,
    );
    assert_eq!(lifted.set.bans().count(), 1);
    assert_eq!(
        lifted.set.get(&test_key(1)).unwrap().status,
        PeerStatus::Unknown
    );
    assert_eq!(lifted.adopted[0].field, "ban");
    let changed = merge(
        &base,
        &parse(&text(&base).replace("spam", "worse")),
        &memory,
    );
    assert_eq!(
        changed
            .set
            .ban_reason(&test_key(1), Timestamp::UNIX_EPOCH)
            .unwrap()
            .as_str(),
        "worse"
    );
    assert_eq!(changed.set.bans().count(), 2);
}

#[test]
fn editing_a_discovered_peer_makes_it_the_operators_and_a_newer_record_does_not() {
    let sign = |seq, port| SignedRecord::sign(&test_secret(1), seq, &[test_addr(port)]).unwrap();
    let set = apply(&PeerSet::default(), PeerOp::Learn(sign(1, 1)));
    let base = written(&set);
    assert_eq!(
        base.peers().next().unwrap().view().source(),
        PeerSource::Signed
    );
    let edited = merge(
        &base,
        &parse(&text(&base).replace("- /ip4/10.0.0.1/tcp/1\n", "- /ip4/10.0.0.9/tcp/1\n")),
        &set,
    );
    let record = edited.set.get(&test_key(1)).unwrap();
    assert_eq!(
        (record.source, record.addresses[0].source),
        (PeerSource::Operator, AddressSource::Operator)
    );
    assert_eq!(record.addresses.len(), 1);
    let other = written(&apply(&set, PeerOp::Learn(sign(2, 2))));
    let newer = merge(&base, &parse(&text(&other)), &set);
    let record = newer.set.get(&test_key(1)).unwrap();
    assert_eq!(
        (record.source, record.record.as_ref().unwrap().seq()),
        (PeerSource::Signed, 2)
    );
    assert_eq!(record.addresses.len(), 1);
}
