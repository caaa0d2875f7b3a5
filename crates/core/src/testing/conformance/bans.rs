//! Bans set and clear the status, keep their reason, and nothing else lifts them.

use super::outcome::{Outcome, apply_one, ban, holds, present, same};
use crate::ban::{Ban, BanReason, BanTarget, Issuer};
use crate::patch::{PatchError, PeerChange, PeerOp};
use crate::peer::PeerStatus;
use crate::store::{PeerStore, PeerStoreExt};
use crate::testing::{test_addr, test_key, test_record};
use crate::time::Timestamp;

/// A moment at which every ban without end is in force.
const LATE: Timestamp = Timestamp::MAX;

fn target() -> BanTarget {
    BanTarget::Peer(test_key(1))
}

async fn banned<S: PeerStore>(store: &S) -> Outcome {
    store.create(test_record(1)).await?;
    apply_one(store, PeerOp::Ban(ban(target()))).await?;
    Ok(())
}

pub(super) async fn a_ban_marks_the_peer_and_keeps_its_reason<S: PeerStore>(store: &S) -> Outcome {
    store.create(test_record(1)).await?;
    let changes = apply_one(store, PeerOp::Ban(ban(target()))).await?;
    same("changes", changes, vec![PeerChange::Banned(target())])?;
    holds("it is marked", store.read(&test_key(1))?.is_banned())?;
    same(
        "marked ones counted",
        store.count_by_status(PeerStatus::Banned),
        1,
    )?;
    let set = store.snapshot();
    same(
        "the ban",
        present("the ban", set.ban_of(&test_key(1), LATE))?,
        &ban(target()),
    )?;
    same(
        "the reason",
        set.ban_reason(&test_key(1), LATE),
        Some(&ban(target()).reason),
    )
}

pub(super) async fn lifting_a_ban_clears_the_mark<S: PeerStore>(store: &S) -> Outcome {
    banned(store).await?;
    let changes = apply_one(store, PeerOp::Unban(target())).await?;
    same("changes", changes, vec![PeerChange::Unbanned(target())])?;
    same(
        "status",
        store.read(&test_key(1))?.status,
        PeerStatus::Unknown,
    )?;
    same("bans", store.snapshot().bans().count(), 0)
}

pub(super) async fn lifting_no_ban_is_refused<S: PeerStore>(store: &S) -> Outcome {
    store.create(test_record(1)).await?;
    same(
        "answer",
        apply_one(store, PeerOp::Unban(target())).await,
        Err(PatchError::UnknownBan.into()),
    )
}

pub(super) async fn a_ban_is_not_lifted_by_contact_or_update<S: PeerStore>(store: &S) -> Outcome {
    banned(store).await?;
    let key = test_key(1);
    apply_one(
        store,
        PeerOp::ContactSucceeded {
            key,
            addr: Some(test_addr(1)),
        },
    )
    .await?;
    holds("marked after success", store.read(&key)?.is_banned())?;
    apply_one(
        store,
        PeerOp::ContactFailed {
            key,
            addrs: Vec::new(),
        },
    )
    .await?;
    holds("marked after failure", store.read(&key)?.is_banned())?;
    store.update(test_record(1)).await?;
    holds("marked after an update", store.read(&key)?.is_banned())?;
    same("bans", store.snapshot().bans().count(), 1)
}

pub(super) async fn a_ban_outlives_the_peer_it_refuses<S: PeerStore>(store: &S) -> Outcome {
    banned(store).await?;
    store.delete(&test_key(1)).await?;
    holds(
        "refused while unknown",
        store.snapshot().ban_of(&test_key(1), LATE).is_some(),
    )?;
    store.create(test_record(1)).await?;
    holds(
        "marked when it is back",
        store.read(&test_key(1))?.is_banned(),
    )?;
    let set = store.snapshot();
    same(
        "the reason",
        set.ban_reason(&test_key(1), LATE),
        Some(&ban(target()).reason),
    )
}

pub(super) async fn an_unknown_peer_and_a_network_can_be_banned<S: PeerStore>(
    store: &S,
) -> Outcome {
    let net = BanTarget::Cidr("10.0.0.0/8".parse()?);
    let host = BanTarget::Ip("192.0.2.1".parse()?);
    for target in [target(), net, host] {
        same(
            "changes",
            apply_one(store, PeerOp::Ban(ban(target))).await?,
            vec![PeerChange::Banned(target)],
        )?;
    }
    let set = store.snapshot();
    same("peers", set.len(), 0)?;
    holds(
        "the peer is refused",
        set.ban_of(&test_key(1), LATE).is_some(),
    )?;
    holds(
        "the network is refused",
        set.ban_of_ip("::ffff:10.1.2.3".parse()?, LATE).is_some(),
    )?;
    holds(
        "the host is refused",
        set.ban_of_ip("192.0.2.1".parse()?, LATE).is_some(),
    )?;
    holds(
        "its neighbour is not",
        set.ban_of_ip("192.0.2.2".parse()?, LATE).is_none(),
    )
}

pub(super) async fn a_later_ban_replaces_an_earlier_one<S: PeerStore>(store: &S) -> Outcome {
    banned(store).await?;
    let worse = Ban {
        reason: BanReason::Misbehaviour,
        by: Issuer::Node,
        evidence: None,
        ..ban(target())
    };
    apply_one(store, PeerOp::Ban(worse.clone())).await?;
    same(
        "bans",
        store.snapshot().bans().cloned().collect(),
        vec![worse],
    )
}

pub(super) async fn a_ban_that_has_ended_refuses_nobody<S: PeerStore>(store: &S) -> Outcome {
    let ended = Ban {
        until: Some(Timestamp::from_secs(2_000)),
        ..ban(target())
    };
    apply_one(store, PeerOp::Ban(ended)).await?;
    let set = store.snapshot();
    holds(
        "in force before its end",
        set.ban_of(&test_key(1), Timestamp::from_millis(1_999_999))
            .is_some(),
    )?;
    holds(
        "over at its end",
        set.ban_of(&test_key(1), Timestamp::from_secs(2_000))
            .is_none(),
    )?;
    store.create(test_record(1)).await?;
    holds("not marked", !store.read(&test_key(1))?.is_banned())
}
