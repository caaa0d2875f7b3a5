//! `peers.mode: allowlist` with real nodes.

use btcfed_core::config::PeersMode;
use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::peer::{AddressSource, PeerRecord, PeerSource};
use btcfed_core::store::PeerStoreExt;

use crate::common::wait_for_async;
use crate::{LIMIT, Member};

async fn chooses(member: &Member, other: &Member) {
    let store = member.handle.store();
    let known = store.snapshot().get(&other.key);
    let is_known = known.is_some();
    let mut record = known.unwrap_or_else(|| PeerRecord::new(other.key, PeerSource::Operator));
    record.source = PeerSource::Operator;
    record.add_address(other.addr.addr.clone(), AddressSource::Operator);
    let op = if is_known {
        PeerOp::Update(Box::new(record))
    } else {
        PeerOp::Create(Box::new(record))
    };
    store.apply(PeerPatch::one(op)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_never_talked_to_until_it_is_added() {
    let closed = Member::start_in(tempfile::tempdir().unwrap(), 1, |config| {
        config.peers.mode = PeersMode::Allowlist;
    })
    .await;
    let friend = Member::start(2, &[&closed]).await;
    let stranger = Member::start(3, &[&closed, &friend]).await;
    // Each of its dials ends in a refusal.
    wait_for_async("turned away several times", LIMIT, async || {
        let tried = stranger.handle.status().await.unwrap().counters;
        assert!(!closed.is_connected_to(&stranger.key).await);
        (tried.dials_failed + tried.disconnections >= 2).then_some(())
    })
    .await;
    let status = closed.handle.status().await.unwrap();
    assert_eq!((status.known, status.counters.connections), (0, 0));

    // The friend tells of the stranger, who is kept and waits.
    chooses(&closed, &friend).await;
    wait_for_async("the friend connected", LIMIT, async || {
        closed.is_connected_to(&friend.key).await.then_some(())
    })
    .await;
    wait_for_async("the stranger learned", LIMIT, async || {
        (closed.knows(&stranger) && closed.handle.status().await.unwrap().waiting == 1)
            .then_some(())
    })
    .await;
    assert!(!closed.is_connected_to(&stranger.key).await);

    chooses(&closed, &stranger).await;
    wait_for_async("the stranger connected", LIMIT, async || {
        closed.is_connected_to(&stranger.key).await.then_some(())
    })
    .await;
    assert_eq!(closed.handle.status().await.unwrap().waiting, 0);
    assert!(closed.handle.store().exists(&stranger.key));
}
