//! A patch applies as a whole or not at all, and a snapshot is a moment.

use std::time::Duration;

use super::outcome::{Outcome, apply_one, ban, holds, same};
use crate::ban::{BanTarget, Issuer};
use crate::patch::{PatchError, PeerChange, PeerOp, PeerPatch};
use crate::peer::PeerStatus;
use crate::store::{PeerStore, PeerStoreExt};
use crate::testing::{test_addr, test_key, test_record};

fn create(number: u16) -> PeerOp {
    PeerOp::Create(Box::new(test_record(number)))
}

fn remove(number: u16) -> PeerOp {
    PeerOp::Remove {
        key: test_key(number),
        by: Issuer::Operator,
    }
}

pub(super) async fn a_patch_applies_in_order_and_as_one<S: PeerStore>(store: &S) -> Outcome {
    let applied = store
        .apply(
            [create(1), create(2), remove(1), create(1)]
                .into_iter()
                .collect(),
        )
        .await?;
    let (one, two) = (test_key(1), test_key(2));
    same(
        "changes, each once",
        applied.changes,
        vec![
            PeerChange::Added(one),
            PeerChange::Added(two),
            PeerChange::Removed(one),
        ],
    )?;
    same("peers", store.snapshot().len(), 2)
}

pub(super) async fn a_patch_that_fails_at_its_end_changes_nothing<S: PeerStore>(
    store: &S,
) -> Outcome {
    store
        .create_all(vec![test_record(1), test_record(2)])
        .await?;
    let before = store.snapshot();
    let mut renamed = test_record(1);
    renamed.name = Some("alice".to_owned());
    let patch: PeerPatch = [
        create(3),
        PeerOp::Update(Box::new(renamed)),
        remove(2),
        PeerOp::Ban(ban(BanTarget::Peer(test_key(1)))),
        remove(4),
    ]
    .into_iter()
    .collect();
    let refused = store.apply(patch).await;
    same(
        "answer",
        refused,
        Err(PatchError::UnknownPeer(test_key(4).peer_id()).into()),
    )?;
    same("set", store.snapshot(), before)
}

pub(super) async fn bulk_creation_is_all_or_nothing<S: PeerStore>(store: &S) -> Outcome {
    let refused = store
        .create_all(vec![test_record(1), test_record(2), test_record(1)])
        .await;
    same(
        "answer",
        refused,
        Err(PatchError::Duplicate(test_key(1).peer_id()).into()),
    )?;
    holds("nobody was added", store.snapshot().is_empty())?;
    let applied = store
        .create_all((1..=100).map(test_record).collect())
        .await?;
    same("changes", applied.changes.len(), 100)?;
    same("peers", store.snapshot().len(), 100)
}

pub(super) async fn an_empty_patch_changes_nothing<S: PeerStore>(store: &S) -> Outcome {
    store.create(test_record(1)).await?;
    let before = store.snapshot();
    same(
        "changes",
        store.apply(PeerPatch::default()).await?.changes,
        Vec::new(),
    )?;
    same("set", store.snapshot(), before)
}

pub(super) async fn an_old_snapshot_never_changes<S: PeerStore>(store: &S) -> Outcome {
    store.create(test_record(1)).await?;
    let old = store.snapshot();
    let copy = (*old).clone();
    store.create(test_record(2)).await?;
    store.delete(&test_key(1)).await?;
    apply_one(store, PeerOp::Ban(ban(BanTarget::Peer(test_key(2))))).await?;
    same("old snapshot", (*old).clone(), copy)?;
    holds("the new one differs", store.snapshot() != old)
}

fn failed(number: u16) -> PeerOp {
    PeerOp::ContactFailed {
        key: test_key(number),
        addrs: vec![test_addr(number)],
    }
}

fn succeeded(number: u16) -> PeerOp {
    PeerOp::ContactSucceeded {
        key: test_key(number),
        addr: Some(test_addr(number)),
    }
}

fn measured(number: u16) -> PeerOp {
    PeerOp::Measured {
        key: test_key(number),
        rtt: Duration::from_millis(20),
    }
}

pub(super) async fn contact_is_counted<S: PeerStore>(store: &S) -> Outcome {
    let key = test_key(1);
    store.create(test_record(1)).await?;
    same(
        "told",
        apply_one(store, failed(1)).await?,
        vec![PeerChange::Touched(key)],
    )?;
    apply_one(store, failed(1)).await?;
    let record = store.read(&key)?;
    same("after failures", record.status, PeerStatus::Inaccessible)?;
    let in_a_row = (
        record.stats.consecutive_failures,
        record.addresses[0].failures,
    );
    same("failures in a row", in_a_row, (2, 2))?;
    apply_one(store, succeeded(1)).await?;
    apply_one(store, measured(1)).await?;
    let record = store.read(&key)?;
    same("after success", record.status, PeerStatus::Valid)?;
    let in_a_row = (
        record.stats.consecutive_failures,
        record.addresses[0].failures,
    );
    same("failures in a row", in_a_row, (0, 0))?;
    same(
        "counted",
        (record.stats.successes, record.stats.failures),
        (1, 2),
    )?;
    same(
        "response time",
        record.stats.mean_rtt,
        Some(Duration::from_millis(20)),
    )
}

pub(super) async fn contact_with_strangers_is_not_counted<S: PeerStore>(store: &S) -> Outcome {
    store.create(test_record(1)).await?;
    let before = store.snapshot();
    let patch = [failed(2), succeeded(2), measured(2)].into_iter().collect();
    same("changes", store.apply(patch).await?.changes, Vec::new())?;
    same("set", store.snapshot(), before)
}
