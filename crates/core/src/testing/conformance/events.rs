//! What subscribers hear, and what saving means.

use super::outcome::{Failure, Outcome, apply_one, ban, holds, same};
use crate::ban::BanTarget;
use crate::limits::STORE_EVENT_QUEUE;
use crate::patch::{PeerChange, PeerOp, PeerPatch};
use crate::store::{PeerStore, PeerStoreExt, StoreEvent, StoreEvents, Subscribed};
use crate::testing::{test_key, test_record};

/// The next event that tells of changes; other kinds (degraded, healed, skipped) are passed over.
fn next_changes(events: &mut StoreEvents) -> Option<Vec<PeerChange>> {
    loop {
        match events.try_next()? {
            Subscribed::Event(StoreEvent::Changed(changes)) => return Some(changes.to_vec()),
            Subscribed::Event(_) => {}
            Subscribed::Closed | Subscribed::Lagged(_) => return None,
        }
    }
}

pub(super) async fn every_change_is_told_once_and_in_order<S: PeerStore>(store: &S) -> Outcome {
    let mut events = store.subscribe();
    let key = test_key(1);
    store.create(test_record(1)).await?;
    store.update(test_record(1)).await?;
    apply_one(store, PeerOp::Ban(ban(BanTarget::Peer(key)))).await?;
    apply_one(store, PeerOp::Unban(BanTarget::Peer(key))).await?;
    store.delete(&key).await?;
    for expected in [
        PeerChange::Added(key),
        PeerChange::Updated(key),
        PeerChange::Banned(BanTarget::Peer(key)),
        PeerChange::Unbanned(BanTarget::Peer(key)),
        PeerChange::Removed(key),
    ] {
        same("told", next_changes(&mut events), Some(vec![expected]))?;
    }
    same("told after all", next_changes(&mut events), None)
}

pub(super) async fn a_refused_patch_is_not_told<S: PeerStore>(store: &S) -> Outcome {
    let mut events = store.subscribe();
    let refused = store.create_all(vec![test_record(1), test_record(1)]).await;
    holds("it is refused", refused.is_err())?;
    store.apply(PeerPatch::default()).await?;
    same("told", next_changes(&mut events), None)
}

pub(super) async fn every_subscriber_hears_everything<S: PeerStore>(store: &S) -> Outcome {
    let (mut first, mut second) = (store.subscribe(), store.subscribe());
    store.create(test_record(1)).await?;
    let expected = Some(vec![PeerChange::Added(test_key(1))]);
    same("the first", next_changes(&mut first), expected.clone())?;
    same("the second", next_changes(&mut second), expected)
}

pub(super) async fn a_slow_subscriber_learns_how_much_it_missed<S: PeerStore>(
    store: &S,
) -> Outcome {
    store.create(test_record(1)).await?;
    let mut events = store.subscribe();
    let key = test_key(1);
    for _ in 0..STORE_EVENT_QUEUE + 10 {
        // A soft change: cheap for a store with a disk.
        apply_one(store, PeerOp::ContactSucceeded { key, addr: None }).await?;
    }
    let missed = match events.try_next() {
        Some(Subscribed::Lagged(missed)) => missed,
        other => return same("first answer", format!("{other:?}"), "lagged".to_owned()),
    };
    holds("at least what does not fit was missed", missed >= 10)?;
    let mut heard = 0;
    while next_changes(&mut events).is_some() {
        heard += 1;
    }
    same(
        "missed and heard",
        missed + heard,
        u64::try_from(STORE_EVENT_QUEUE).map_err(Failure::from)? + 10,
    )?;
    same(
        "the snapshot is the truth",
        store.read(&key)?.stats.successes,
        missed + heard,
    )
}

pub(super) async fn a_subscriber_hears_nothing_of_the_past<S: PeerStore>(store: &S) -> Outcome {
    store.create(test_record(1)).await?;
    let mut events = store.subscribe();
    same("told", next_changes(&mut events), None)
}

pub(super) async fn flushing_leaves_nothing_waiting_and_changes_nothing<S: PeerStore>(
    store: &S,
) -> Outcome {
    store.create(test_record(1)).await?;
    apply_one(
        store,
        PeerOp::ContactSucceeded {
            key: test_key(1),
            addr: None,
        },
    )
    .await?;
    let before = store.snapshot();
    store.flush().await?;
    holds("nothing waits", store.health().durable)?;
    same("degraded", store.health().degraded, None)?;
    store.flush().await?;
    same("set", store.snapshot(), before)
}

pub(super) async fn the_generation_never_falls_and_grows_with_saves<S: PeerStore>(
    store: &S,
) -> Outcome {
    let mut last = store.health().generation;
    for number in 1..=3 {
        let applied = store.create(test_record(number)).await?;
        holds("a hard change is durable", applied.durable)?;
        holds("it never falls", store.health().generation >= last)?;
        store.flush().await?;
        let generation = store.health().generation;
        holds("a save makes it grow", generation > last)?;
        last = generation;
    }
    Ok(())
}

pub(super) async fn a_reload_without_an_outside_change_changes_nothing<S: PeerStore>(
    store: &S,
) -> Outcome {
    store.create(test_record(1)).await?;
    store.flush().await?;
    let before = store.snapshot();
    let mut events = store.subscribe();
    let reloaded = store.reload().await?;
    same("changes", reloaded.changes, Vec::new())?;
    same("skipped", reloaded.skipped, Vec::new())?;
    same("set", store.snapshot(), before)?;
    same("told", next_changes(&mut events), None)
}
