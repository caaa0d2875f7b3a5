use std::time::Duration;

use btcfed_core::time::Now;
use btcfed_core::{PeerOp, PeerPatch, SecretKey};

use super::*;

fn record(n: usize, seq: u64) -> SignedRecord {
    let mut seed = [6; 32];
    seed[..8].copy_from_slice(&n.to_le_bytes());
    let addr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
    SignedRecord::sign(&SecretKey::from_seed(seed), seq, &[addr]).unwrap()
}

fn set(records: &[SignedRecord]) -> Arc<PeerSet> {
    let patch: PeerPatch = records.iter().cloned().map(PeerOp::Learn).collect();
    Arc::new(PeerSet::default().apply(&patch, Now::default()).unwrap().0)
}

fn at(millis: u64) -> MonotonicTime {
    MonotonicTime::from_origin(Duration::from_millis(millis))
}

fn listed(view: &View, after: Option<&PeerKey>) -> Vec<SignedRecord> {
    let list = view.list(after, AddrScope::Private, at(0));
    list.filter_map(|item| item.record.to_record()).collect()
}

#[test]
fn the_list_is_the_newest_of_store_pending_and_own_in_the_order_of_keys() {
    let mut view = View::new(
        record(0, 1).key(),
        set(&[record(1, 1), record(2, 5), record(3, 1)]),
    );
    view.set_own_record(record(0, 1));
    view.add_pending(at(0), &record(2, 6), 0);
    view.add_pending(at(0), &record(4, 1), 0);
    let mut expected = vec![
        record(0, 1),
        record(1, 1),
        record(2, 6),
        record(3, 1),
        record(4, 1),
    ];
    expected.sort_by_key(SignedRecord::key);
    assert_eq!(listed(&view, None), expected);
    for (index, record) in expected.iter().enumerate() {
        assert_eq!(listed(&view, Some(&record.key())), expected[index + 1..]);
    }
    let summary = view.summary(7, AddrScope::Private, &Versions::new(0));
    view.set_snapshot(
        at(0),
        set(&expected
            .iter()
            .filter(|r| r.key() != view.own_key())
            .cloned()
            .collect::<Vec<_>>()),
    );
    assert_eq!(
        view.sizes().0,
        1,
        "only the own record is left beside the store"
    );
    assert_eq!(
        view.summary(7, AddrScope::Private, &Versions::new(0)),
        summary,
        "the list is the same"
    );
}

#[test]
fn pending_records_are_forgotten_when_the_store_never_shows_them() {
    let mut view = View::new(record(0, 1).key(), Arc::default());
    view.set_own_record(record(0, 1));
    view.add_pending(at(0), &record(1, 1), 0);
    view.add_pending(at(5), &record(1, 2), 0);
    assert!(view.knows(&record(1, 0).key(), 2));
    view.expire(at(10_000));
    assert!(
        view.knows(&record(1, 0).key(), 2),
        "the later version has its own time"
    );
    view.expire(at(10_005));
    assert!(!view.knows(&record(1, 0).key(), 1));
    assert_eq!(view.sizes(), (1, 0));
}

#[test]
fn a_record_that_the_store_shows_late_is_as_old_as_it_was_told_to_be() {
    let key = record(1, 1).key();
    let long = limits::PENDING_TTL;
    let mut view = View::new(record(0, 1).key(), Arc::default());
    view.add_pending(at(0), &record(1, 1), 3000);
    view.expire(at(0).saturating_add(long));
    assert_eq!(view.sizes(), (0, 0));
    let late = at(0).saturating_add(long * 2);
    view.set_snapshot(late, set(&[record(1, 1)]));
    let waited = u32::try_from(long.as_secs() * 2).unwrap();
    assert_eq!(view.age_s(late, &key), 3000 + waited);
    // A newer version pushes it out of the memory before the store shows either.
    view.add_pending(late, &record(1, 2), 2000);
    for n in 0..=limits::MAX_PENDING_RECORDS {
        view.remember(late, record(2, 1).key(), n as u64);
    }
    view.set_snapshot(late, set(&[record(1, 2)]));
    assert_eq!(view.age_s(late, &key), 2000);
    view.set_snapshot(late, set(&[record(1, 3)]));
    assert_eq!(view.age_s(late, &key), 0, "another version is news");
}

#[test]
fn ages_of_records_the_store_has_not_shown_are_bounded() {
    let mut view = View::new(record(0, 1).key(), Arc::default());
    let most = limits::MAX_PENDING_RECORDS;
    for n in 1..=most + 1 {
        view.add_pending(at(0), &record(n, 1), 3000);
    }
    let long_after = at(0).saturating_add(limits::PENDING_TTL * 2);
    view.expire(long_after);
    assert_eq!((view.sizes(), view.leases.sizes().0), ((0, 0), most));
    view.set_snapshot(long_after, set(&[record(1, 1), record(2, 1)]));
    assert_eq!(view.age_s(long_after, &record(1, 1).key()), 0, "forgotten");
    assert!(view.age_s(long_after, &record(2, 1).key()) > 3000);
}

#[test]
fn the_memory_of_pending_records_is_bounded() {
    let mut view = View::new(record(0, 1).key(), Arc::default());
    let keys: Vec<PeerKey> = (1..=20).map(|n| record(n, 1).key()).collect();
    for seq in 0..u64::try_from(limits::MAX_PENDING_RECORDS).unwrap() {
        view.remember(at(0), keys[(seq % 20) as usize], seq);
    }
    assert_eq!(view.expiry.len(), limits::MAX_PENDING_RECORDS);
    view.remember(at(0), record(99, 1).key(), 1);
    assert_eq!(view.expiry.len(), limits::MAX_PENDING_RECORDS);
    assert!(view.sizes().1 <= 21);
}

#[test]
fn records_are_found_by_their_ids_with_and_without_a_row_whatever_changed_since() {
    let stored: Vec<SignedRecord> = (1..=40).map(|n| record(n, 1)).collect();
    let mut view = View::new(record(0, 1).key(), set(&stored));
    view.set_own_record(record(0, 1));
    let (link, now) = (AddrScope::Private, at(0));
    let (with_row, without) = (77, 78);
    view.bookmark(with_row, link);
    for step in 0..3 {
        let versions = (0..=60).flat_map(|n| (1..=3).map(move |seq| record(n, seq)));
        let versions: Vec<SignedRecord> = versions.collect();
        let listed: Vec<SignedRecord> = listed(&view, None);
        for salt in [with_row, without] {
            let id = |record: &SignedRecord| digest::id(salt, &record.key(), record.seq());
            let ids: BTreeSet<u64> = versions.iter().map(id).collect();
            let found = view.find(salt, &ids, link, now);
            let found: Vec<SignedRecord> = found
                .iter()
                .filter_map(|item| item.record.to_record())
                .collect();
            assert_eq!(found, listed, "{step}");
            let one = view.find(salt, &BTreeSet::from([id(&listed[7])]), link, now);
            assert_eq!(one.len(), 1);
            assert_eq!(one[0].record.to_record().as_ref(), Some(&listed[7]));
        }
        // Some are renewed, one comes, some go; the latest changes are pushed out by others that come back.
        view.add_pending(at(step), &record(3, step + 2), 0);
        view.add_pending(at(step), &record(50 + usize::try_from(step).unwrap(), 1), 0);
        let rest = &stored[usize::try_from(step).unwrap()..];
        view.set_snapshot(at(step), set(rest));
        for _ in 0..=limits::MAX_RECENT_CHANGES / 2 {
            view.set_overlay(record(60, 1).key(), Some(record(60, 1)));
            view.set_overlay(record(60, 1).key(), None);
            view.set_overlay(record(59, 1).key(), Some(record(59, 1)));
            view.set_overlay(record(59, 1).key(), None);
        }
    }
}
