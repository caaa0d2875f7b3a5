//! Real nodes in one process, on loopback: discovery, return after absence, who is refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on may panic"
)]

#[path = "../common/mod.rs"]
mod common;

mod allowlist;
mod foreign;
mod sick_disk;

use std::sync::Arc;
use std::time::Duration;

use btcfed::{Node, NodeHandle};
use btcfed_core::addr::AddrWithId;
use btcfed_core::ban::{Ban, BanReason, BanTarget, Issuer};
use btcfed_core::config::{BitcoinNetwork, NodeConfig};
use btcfed_core::key::PeerKey;
use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::store::PeerStoreExt;
use btcfed_core::testing::{MemoryStore, test_secret};
use btcfed_core::time::Timestamp;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use common::{config, wait_for_async};

const LIMIT: Duration = Duration::from_secs(20);

struct Member {
    handle: NodeHandle,
    key: PeerKey,
    addr: AddrWithId,
    running: JoinHandle<Result<(), btcfed_node_orchestrator::NodeError>>,
    dir: TempDir,
}

impl Member {
    async fn start(number: u16, bootstrap: &[&Self]) -> Self {
        let entries = bootstrap.iter().map(|member| member.addr.clone()).collect();
        Self::start_in(tempfile::tempdir().unwrap(), number, |config| {
            config.peers.bootstrap = entries
        })
        .await
    }

    async fn start_in(dir: TempDir, number: u16, change: impl FnOnce(&mut NodeConfig)) -> Self {
        let mut config = config::local(dir.path());
        config.peers.exchange_interval = Duration::from_secs(2);
        change(&mut config);
        let secret = test_secret(number);
        let key = secret.public();
        let node = Node::builder(config, secret).build().await.unwrap();
        let handle = node.handle();
        let running = tokio::spawn(node.run());
        let addr = handle.status().await.unwrap().listen[0].clone();
        Self {
            handle,
            key,
            addr: AddrWithId {
                addr,
                peer_id: Some(key.peer_id()),
            },
            running,
            dir,
        }
    }

    async fn stop(self) -> (TempDir, AddrWithId) {
        self.handle.shutdown().await;
        self.running.await.unwrap().unwrap();
        (self.dir, self.addr)
    }

    fn knows(&self, other: &Self) -> bool {
        self.handle.store().snapshot().contains(&other.key)
    }

    async fn is_connected_to(&self, other: &PeerKey) -> bool {
        let status = self.handle.status().await.unwrap();
        status
            .connections
            .iter()
            .any(|connection| connection.peer == *other && connection.handshaken)
    }
}

async fn all_know_all(members: &[Member]) {
    wait_for_async("all know all", LIMIT, async || {
        let all = members
            .iter()
            .all(|a| members.iter().all(|b| a.key == b.key || a.knows(b)));
        all.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_nodes_with_one_bootstrap_all_know_all() {
    let mut members = vec![Member::start(1, &[]).await];
    for number in 2..=5 {
        let next = Member::start(number, &[&members[0]]).await;
        members.push(next);
    }
    all_know_all(&members).await;
    for member in &members {
        let status = member.handle.status().await.unwrap();
        assert_eq!((status.known, status.peers_ok()), (4, true));
    }
}

/// Whether a status is consistent with itself.
trait Consistent {
    fn peers_ok(&self) -> bool;
}

impl Consistent for btcfed::NodeStatus {
    fn peers_ok(&self) -> bool {
        self.connections.len() <= self.known
            && self.store.degraded.is_none()
            && self.exchange.records_refused == 0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_is_known_by_all_and_one_that_was_away_finds_back() {
    let mut members = vec![Member::start(1, &[]).await];
    for number in 2..=4 {
        let next = Member::start(number, &[members.last().unwrap()]).await;
        members.push(next);
    }
    all_know_all(&members).await;

    let (dir, addr) = members.pop().unwrap().stop().await;
    let newcomer = Member::start(5, &[&members[1]]).await;
    members.push(newcomer);
    wait_for_async("the newcomer known", LIMIT, async || {
        let newcomer = members.last().unwrap();
        members[..3]
            .iter()
            .all(|member| member.knows(newcomer))
            .then_some(())
    })
    .await;

    // Same identity, same files, no bootstrap.
    let back = Member::start_in(dir, 4, |config| config.network.addresses = vec![addr.addr]).await;
    members.push(back);
    all_know_all(&members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_of_another_network_or_federation_are_never_added() {
    let first = Member::start(1, &[]).await;
    let entry = first.addr.clone();
    let other_network = Member::start_in(tempfile::tempdir().unwrap(), 2, |config| {
        config.bitcoin_network = BitcoinNetwork::Regtest;
        config.peers.bootstrap = vec![entry.clone()];
    })
    .await;
    let other_federation = Member::start_in(tempfile::tempdir().unwrap(), 3, |config| {
        config.federation = "another".into();
        config.peers.bootstrap = vec![entry.clone()];
    })
    .await;
    let friend = Member::start(4, &[&first]).await;
    wait_for_async("the friend known", LIMIT, async || {
        first.knows(&friend).then_some(())
    })
    .await;
    wait_for_async("both strangers turned away", LIMIT, async || {
        let ended = first.handle.status().await.unwrap().counters.disconnections;
        (ended >= 2).then_some(())
    })
    .await;
    assert!(!first.knows(&other_network) && !first.knows(&other_federation));
    assert!(!first.is_connected_to(&other_network.key).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_peer_is_disconnected_and_stays_out_until_it_is_unbanned() {
    let first = Member::start(1, &[]).await;
    let second = Member::start(2, &[&first]).await;
    wait_for_async("connected", LIMIT, async || {
        first.is_connected_to(&second.key).await.then_some(())
    })
    .await;
    let target = BanTarget::Peer(second.key);
    let ban = Ban {
        target,
        reason: BanReason::Other("test".into()),
        since: Timestamp::from_secs(1),
        until: None,
        by: Issuer::Operator,
        evidence: None,
    };
    first
        .handle
        .store()
        .apply(PeerPatch::one(PeerOp::Ban(ban)))
        .await
        .unwrap();
    wait_for_async("disconnected", LIMIT, async || {
        (!first.is_connected_to(&second.key).await).then_some(())
    })
    .await;
    // The other side comes back several times within this time, and is refused each time.
    wait_for_async("refused again and again", LIMIT, async || {
        assert!(!first.is_connected_to(&second.key).await);
        let tried = second.handle.status().await.unwrap().counters;
        (tried.dials_failed + tried.disconnections >= 3).then_some(())
    })
    .await;
    first
        .handle
        .store()
        .apply(PeerPatch::one(PeerOp::Unban(target)))
        .await
        .unwrap();
    wait_for_async("connected again", LIMIT, async || {
        first.is_connected_to(&second.key).await.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_identity_at_the_wrong_address_is_never_connected_under_that_name() {
    let first = Member::start(1, &[]).await;
    let mut wrong = first.addr.clone();
    wrong.peer_id = Some(test_secret(77).peer_id());
    let second = Member::start_in(tempfile::tempdir().unwrap(), 2, |config| {
        config.peers.bootstrap = vec![wrong]
    })
    .await;
    wait_for_async("the dial fails", LIMIT, async || {
        let status = second.handle.status().await.unwrap();
        (status.counters.dials_failed > 0).then_some(())
    })
    .await;
    assert_eq!(second.handle.status().await.unwrap().connections, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedder_may_bring_a_store_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryStore::default());
    let first = Member::start(1, &[]).await;
    let mut config = config::local(dir.path());
    config.peers.bootstrap = vec![first.addr.clone()];
    let node = Node::builder(config, test_secret(2))
        .store(store.clone())
        .build()
        .await
        .unwrap();
    let handle = node.handle();
    let running = tokio::spawn(node.run());
    wait_for_async("learned", LIMIT, async || {
        store.exists(&first.key).then_some(())
    })
    .await;
    handle.shutdown().await;
    running.await.unwrap().unwrap();
    assert!(!dir.path().join("peers.yaml").exists());
}
