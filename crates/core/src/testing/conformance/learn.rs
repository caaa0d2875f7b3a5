//! What peers sign about themselves: newer wins, nothing forgotten is resurrected, nobody chosen is talked away.

use super::outcome::{Outcome, apply_one, ban, holds, present, same, signed};
use crate::ban::{BanTarget, Issuer};
use crate::patch::{PeerChange, PeerOp};
use crate::peer::{AddressSource, PeerSource};
use crate::store::{PeerStore, PeerStoreExt};
use crate::testing::{test_addr, test_key, test_record};

async fn learn<S: PeerStore>(
    store: &S,
    seq: u64,
    ports: &[u16],
) -> Result<Vec<PeerChange>, super::outcome::Failure> {
    Ok(apply_one(store, PeerOp::Learn(signed(1, seq, ports)?)).await?)
}

fn forget(by: Issuer) -> PeerOp {
    PeerOp::Remove {
        key: test_key(1),
        by,
    }
}

fn seq_of<S: PeerStore>(store: &S) -> Option<u64> {
    store
        .snapshot()
        .get(&test_key(1))
        .and_then(|record| record.record.as_ref().map(|record| record.seq()))
}

pub(super) async fn a_record_of_a_stranger_adds_it<S: PeerStore>(store: &S) -> Outcome {
    same(
        "changes",
        learn(store, 5, &[7]).await?,
        vec![PeerChange::Added(test_key(1))],
    )?;
    let record = store.read(&test_key(1))?;
    same("source", record.source, PeerSource::Signed)?;
    same(
        "record",
        present("the record", record.record.clone())?,
        signed(1, 5, &[7])?,
    )?;
    let known: Vec<_> = record
        .addresses
        .iter()
        .map(|known| (known.addr.clone(), known.source))
        .collect();
    same(
        "addresses",
        known,
        vec![(test_addr(7), AddressSource::Signed)],
    )
}

pub(super) async fn a_newer_record_wins_and_an_older_one_is_ignored<S: PeerStore>(
    store: &S,
) -> Outcome {
    learn(store, 5, &[7]).await?;
    same("an equal one", learn(store, 5, &[8]).await?, Vec::new())?;
    same("an older one", learn(store, 4, &[8]).await?, Vec::new())?;
    same("seq", seq_of(store), Some(5))?;
    same(
        "a newer one",
        learn(store, 6, &[8]).await?,
        vec![PeerChange::Updated(test_key(1))],
    )?;
    same("seq", seq_of(store), Some(6))?;
    same(
        "at the old address",
        store.find_by_addr(&test_addr(7)).len(),
        0,
    )?;
    same(
        "at the new address",
        store.find_by_addr(&test_addr(8)).len(),
        1,
    )
}

pub(super) async fn a_signed_record_leaves_the_operators_addresses_alone<S: PeerStore>(
    store: &S,
) -> Outcome {
    store.create(test_record(1)).await?;
    learn(store, 5, &[7]).await?;
    let record = store.read(&test_key(1))?;
    same("source", record.source, PeerSource::Operator)?;
    let known: Vec<_> = record
        .addresses
        .iter()
        .map(|known| (known.addr.clone(), known.source))
        .collect();
    let expected = vec![
        (test_addr(1), AddressSource::Operator),
        (test_addr(7), AddressSource::Signed),
    ];
    same("addresses", known, expected)
}

pub(super) async fn what_the_operator_forgot_is_never_resurrected<S: PeerStore>(
    store: &S,
) -> Outcome {
    learn(store, 5, &[7]).await?;
    apply_one(store, forget(Issuer::Operator)).await?;
    for seq in [4, 5, 6, u64::MAX] {
        same("changes", learn(store, seq, &[7]).await?, Vec::new())?;
    }
    holds("it stays away", !store.exists(&test_key(1)))
}

pub(super) async fn what_the_operator_forgot_comes_back_by_the_operator<S: PeerStore>(
    store: &S,
) -> Outcome {
    learn(store, 5, &[7]).await?;
    apply_one(store, forget(Issuer::Operator)).await?;
    store.create(test_record(1)).await?;
    same("marks", store.snapshot().forgotten().count(), 0)?;
    same(
        "it learns again",
        learn(store, 6, &[7]).await?,
        vec![PeerChange::Updated(test_key(1))],
    )
}

pub(super) async fn what_the_node_forgot_comes_back_only_with_a_higher_seq<S: PeerStore>(
    store: &S,
) -> Outcome {
    learn(store, 5, &[7]).await?;
    apply_one(store, forget(Issuer::Node)).await?;
    same("an older record", learn(store, 4, &[7]).await?, Vec::new())?;
    same("the same record", learn(store, 5, &[7]).await?, Vec::new())?;
    same(
        "a newer record",
        learn(store, 6, &[7]).await?,
        vec![PeerChange::Added(test_key(1))],
    )?;
    same("marks", store.snapshot().forgotten().count(), 0)
}

pub(super) async fn leaving_removes_a_peer_nobody_chose<S: PeerStore>(store: &S) -> Outcome {
    learn(store, 5, &[7]).await?;
    same(
        "changes",
        learn(store, 6, &[]).await?,
        vec![PeerChange::Removed(test_key(1))],
    )?;
    same("an older record", learn(store, 5, &[7]).await?, Vec::new())?;
    holds("it stays away", !store.exists(&test_key(1)))?;
    same(
        "it joins again",
        learn(store, 7, &[7]).await?,
        vec![PeerChange::Added(test_key(1))],
    )
}

pub(super) async fn leaving_keeps_a_peer_the_operator_chose<S: PeerStore>(store: &S) -> Outcome {
    store.create(test_record(1)).await?;
    learn(store, 5, &[7]).await?;
    same(
        "changes",
        learn(store, 6, &[]).await?,
        vec![PeerChange::Updated(test_key(1))],
    )?;
    let record = store.read(&test_key(1))?;
    let known: Vec<_> = record
        .addresses
        .iter()
        .map(|known| known.addr.clone())
        .collect();
    same("addresses", known, vec![test_addr(1)])?;
    same("seq", seq_of(store), Some(6))
}

pub(super) async fn a_stranger_that_leaves_is_not_added<S: PeerStore>(store: &S) -> Outcome {
    same("changes", learn(store, 5, &[]).await?, Vec::new())?;
    holds("it stays away", !store.exists(&test_key(1)))
}

pub(super) async fn a_banned_peer_teaches_nothing<S: PeerStore>(store: &S) -> Outcome {
    apply_one(store, PeerOp::Ban(ban(BanTarget::Peer(test_key(1))))).await?;
    same(
        "a banned stranger",
        learn(store, 5, &[7]).await?,
        Vec::new(),
    )?;
    apply_one(store, PeerOp::Unban(BanTarget::Peer(test_key(1)))).await?;
    learn(store, 5, &[7]).await?;
    apply_one(store, PeerOp::Ban(ban(BanTarget::Peer(test_key(1))))).await?;
    same("a banned peer", learn(store, 6, &[8]).await?, Vec::new())?;
    same(
        "a banned peer that leaves",
        learn(store, 7, &[]).await?,
        Vec::new(),
    )?;
    same("seq", seq_of(store), Some(5))
}
