//! Create, read, update, delete, list, find.

use super::outcome::{Outcome, holds, present, same};
use crate::ban::Issuer;
use crate::patch::{PatchError, PeerChange};
use crate::peer::{AddressSource, PeerStatus};
use crate::store::{PeerStore, PeerStoreExt, StoreError};
use crate::testing::{test_addr, test_key, test_record};
use crate::time::Timestamp;

pub(super) async fn a_fresh_store_is_empty_and_well<S: PeerStore>(store: &S) -> Outcome {
    holds("the set is empty", store.snapshot().is_empty())?;
    same("degraded", store.health().degraded, None)?;
    holds("nothing waits", store.health().durable)?;
    same("peers listed", store.list_all().len(), 0)?;
    holds("nobody exists", !store.exists(&test_key(1)))
}

pub(super) async fn a_created_peer_is_read_back_as_it_was<S: PeerStore>(store: &S) -> Outcome {
    let mut record = test_record(1);
    record.name = Some("alice".to_owned());
    record.note = Some("first floor, left".to_owned());
    record.pinned = true;
    let applied = store.create(record.clone()).await?;
    same(
        "changes",
        applied.changes,
        vec![PeerChange::Added(record.key)],
    )?;
    let read = store.read(&record.key)?;
    holds("it exists", store.exists(&record.key))?;
    same("key", read.key, record.key)?;
    same("name", &read.name, &record.name)?;
    same("note", &read.note, &record.note)?;
    same("pinned", read.pinned, true)?;
    same("source", read.source, record.source)?;
    same("addresses", &read.addresses, &record.addresses)?;
    same("status", read.status, PeerStatus::Unknown)?;
    holds("the first sight is dated", read.stats.first_seen.is_some())
}

pub(super) async fn a_second_create_is_refused_and_changes_nothing<S: PeerStore>(
    store: &S,
) -> Outcome {
    store.create(test_record(1)).await?;
    let before = store.snapshot();
    let mut second = test_record(1);
    second.name = Some("impostor".to_owned());
    let refused = store.create(second).await;
    same(
        "answer",
        refused,
        Err(PatchError::Duplicate(test_key(1).peer_id()).into()),
    )?;
    same("set", store.snapshot(), before)
}

pub(super) async fn an_update_replaces_everything_known<S: PeerStore>(store: &S) -> Outcome {
    store.create(test_record(1)).await?;
    let mut record = store.read(&test_key(1))?;
    record.name = Some("alice".to_owned());
    record.addresses.clear();
    record.add_address(test_addr(7), AddressSource::Operator);
    let applied = store.update(record.clone()).await?;
    same(
        "changes",
        applied.changes,
        vec![PeerChange::Updated(record.key)],
    )?;
    same("record", store.read(&record.key)?, record)
}

pub(super) async fn an_update_of_an_unknown_peer_is_refused<S: PeerStore>(store: &S) -> Outcome {
    store.create(test_record(1)).await?;
    let before = store.snapshot();
    same(
        "answer",
        store.update(test_record(2)).await,
        Err(PatchError::UnknownPeer(test_key(2).peer_id()).into()),
    )?;
    same("set", store.snapshot(), before)
}

pub(super) async fn a_deleted_peer_is_gone_and_remembered<S: PeerStore>(store: &S) -> Outcome {
    store
        .create_all(vec![test_record(1), test_record(2)])
        .await?;
    let applied = store.delete(&test_key(1)).await?;
    same(
        "changes",
        applied.changes,
        vec![PeerChange::Removed(test_key(1))],
    )?;
    holds("it is gone", !store.exists(&test_key(1)))?;
    holds("others stay", store.exists(&test_key(2)))?;
    let unknown: StoreError = PatchError::UnknownPeer(test_key(1).peer_id()).into();
    same(
        "reading it",
        store.read(&test_key(1)).map(drop),
        Err(unknown),
    )?;
    let set = store.snapshot();
    let (_, mark) = present(
        "the mark",
        set.forgotten().find(|(key, _)| **key == test_key(1)),
    )?;
    same("who forgot it", mark.by, Issuer::Operator)
}

pub(super) async fn a_delete_of_an_unknown_peer_is_refused<S: PeerStore>(store: &S) -> Outcome {
    let refused = store.delete(&test_key(1)).await;
    same(
        "answer",
        refused,
        Err(PatchError::UnknownPeer(test_key(1).peer_id()).into()),
    )?;
    same("marks", store.snapshot().forgotten().count(), 0)
}

pub(super) async fn peers_are_listed_in_the_order_of_their_keys<S: PeerStore>(
    store: &S,
) -> Outcome {
    store
        .create_all((1..=20).map(test_record).collect())
        .await?;
    let listed: Vec<_> = store.list_all().iter().map(|record| record.key).collect();
    let mut sorted: Vec<_> = (1..=20).map(test_key).collect();
    sorted.sort_unstable();
    same("keys", listed, sorted)
}

pub(super) async fn pages_hold_every_peer_exactly_once<S: PeerStore>(store: &S) -> Outcome {
    store
        .create_all((1..=10).map(test_record).collect())
        .await?;
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let page = store.list_page(after.as_ref(), 4);
        let Some(last) = page.last() else { break };
        after = Some(last.key);
        pages.push(page);
    }
    same(
        "page lengths",
        pages.iter().map(Vec::len).collect(),
        vec![4, 4, 2],
    )?;
    same("all pages", pages.concat(), store.list_all())?;
    same("an empty page", store.list_page(None, 0).len(), 0)
}

pub(super) async fn peers_are_found_by_status_and_counted<S: PeerStore>(store: &S) -> Outcome {
    for (number, status) in [
        (1, PeerStatus::Valid),
        (2, PeerStatus::Inaccessible),
        (3, PeerStatus::Valid),
    ] {
        let mut record = test_record(number);
        record.update_status(status, Timestamp::from_secs(5));
        store.create(record).await?;
    }
    let mut valid: Vec<_> = store
        .find_by_status(PeerStatus::Valid)
        .iter()
        .map(|record| record.key)
        .collect();
    valid.sort_unstable_by_key(|key| *key != test_key(1));
    same("valid", valid, vec![test_key(1), test_key(3)])?;
    same(
        "valid ones counted",
        store.count_by_status(PeerStatus::Valid),
        2,
    )?;
    same(
        "inaccessible ones counted",
        store.count_by_status(PeerStatus::Inaccessible),
        1,
    )?;
    same(
        "banned ones counted",
        store.count_by_status(PeerStatus::Banned),
        0,
    )?;
    same(
        "unknown ones found",
        store.find_by_status(PeerStatus::Unknown).len(),
        0,
    )
}

pub(super) async fn peers_are_found_by_address<S: PeerStore>(store: &S) -> Outcome {
    let mut shared = test_record(2);
    shared.add_address(test_addr(1), AddressSource::Operator);
    store
        .create_all(vec![test_record(1), shared, test_record(3)])
        .await?;
    same(
        "two keys at one address",
        store.find_by_addr(&test_addr(1)).len(),
        2,
    )?;
    let found: Vec<_> = store
        .find_by_addr(&test_addr(3))
        .iter()
        .map(|record| record.key)
        .collect();
    same("one key at another", found, vec![test_key(3)])?;
    same("nobody there", store.find_by_addr(&test_addr(4)).len(), 0)
}
