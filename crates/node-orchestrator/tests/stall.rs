//! A disk that does not answer holds up nobody but those who wait for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod harness;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use btcfed_core::exchange::Input;
use btcfed_core::network::{Direction, NetworkEvent, RequestToken};
use btcfed_core::patch::PeerPatch;
use btcfed_core::set::PeerSet;
use btcfed_core::store::{
    Applied, PeerStore, PeerStoreExt, Reloaded, StoreError, StoreEvents, StoreHealth,
};
use btcfed_core::testing::{MemoryStore, test_key, test_record};
use tokio::time::{Instant, sleep};

use crate::harness::Harness;

const STALL: Duration = Duration::from_secs(10);

/// Every write takes as long as the disk stalls.
#[derive(Debug)]
struct Stalled(Arc<MemoryStore>);

#[async_trait]
impl PeerStore for Stalled {
    fn snapshot(&self) -> Arc<PeerSet> {
        self.0.snapshot()
    }

    async fn apply(&self, patch: PeerPatch) -> Result<Applied, StoreError> {
        sleep(STALL).await;
        self.0.apply(patch).await
    }

    async fn reload(&self) -> Result<Reloaded, StoreError> {
        sleep(STALL).await;
        self.0.reload().await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.0.flush().await
    }

    fn subscribe(&self) -> StoreEvents {
        self.0.subscribe()
    }

    fn health(&self) -> StoreHealth {
        self.0.health()
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_disk_stalls_for_ten_seconds_peers_and_operators_are_answered() {
    let around = |store| Arc::new(Stalled(store)) as Arc<dyn PeerStore>;
    let mut node = Harness::start_around(|_| {}, std::future::pending(), Vec::new(), around).await;
    node.store.create(test_record(1)).await.unwrap();
    let (id, _, _) = node.next_dial().await;
    // A connection is a change of the store: from here on it is busy.
    node.connect_as(1, Direction::Outbound, Some(id)).await;
    let begun = Instant::now();
    let reloading = tokio::spawn({
        let handle = node.handle.clone();
        async move { handle.reload().await }
    });
    for n in 0..100 {
        node.tell(NetworkEvent::Request {
            peer: test_key(1),
            token: RequestToken(n),
            frame: vec![7],
        })
        .await;
        let status = node.handle.status().await.unwrap();
        assert_eq!(status.connections.len(), 1);
    }
    let inputs = node.exchange.take_inputs();
    let asked = inputs
        .iter()
        .filter(|(_, input)| matches!(input, Input::Request { .. }));
    assert_eq!(asked.count(), 100, "every request reached the engine");
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert!(!reloading.is_finished(), "whoever wants the disk waits");
    // And when the disk is back, everything is caught up with.
    assert!(reloading.await.unwrap().is_ok());
    sleep(3 * STALL).await;
    let known = node.store.snapshot().get(&test_key(1)).unwrap();
    assert!(known.stats.last_seen.is_some());
}
