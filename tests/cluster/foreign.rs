//! A node beside one that is not ours: raw frames over a real connection.

use std::time::Duration;

use btcfed_core::addr::AddrWithId;
use btcfed_core::config::BitcoinNetwork;
use btcfed_core::key::PeerKey;
use btcfed_core::network::{CommandId, Network, NetworkCommand, NetworkEvent};
use btcfed_core::record::SignedRecord;
use btcfed_core::testing::{test_key, test_secret};
use btcfed_exchange_protocol::codec;
use btcfed_exchange_protocol::message::{ErrorCode, Message};
use btcfed_network::{NetworkEvents, NetworkHandle, SpawnOptions};

use crate::common::messages::{announcement, handshake, record};
use crate::common::{config, wait_for_async};
use crate::{LIMIT, Member};

/// The number of the foreign node's identity.
const FOREIGN: u16 = 50;

struct Foreign {
    events: NetworkEvents,
    handle: NetworkHandle,
    next_id: u64,
    node: PeerKey,
}

impl Foreign {
    async fn connect(to: &AddrWithId) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options =
            SpawnOptions::new(test_secret(FOREIGN), &config::local(dir.path())).agent("foreign/1");
        let (handle, mut events, _) = btcfed_network::spawn(options).await.unwrap();
        let node = to.peer_id.unwrap().key();
        let dial = NetworkCommand::Dial {
            id: CommandId(0),
            peer: Some(node),
            addrs: vec![to.addr.clone()],
        };
        handle.submit(dial).unwrap();
        while !matches!(next(&mut events).await, NetworkEvent::Connected { .. }) {}
        Self {
            events,
            handle,
            next_id: 1,
            node,
        }
    }

    /// The record of this foreign node: it must be meaningful on loopback.
    fn own_record() -> SignedRecord {
        SignedRecord::sign(
            &test_secret(FOREIGN),
            1,
            &["/ip4/127.0.0.1/tcp/4242".parse().unwrap()],
        )
        .unwrap()
    }

    /// Sends a frame; the answer, or `None` when there is none.
    async fn ask(&mut self, frame: Vec<u8>) -> Option<Message> {
        let id = CommandId(self.next_id);
        self.next_id += 1;
        self.handle
            .submit(NetworkCommand::Request {
                id,
                peer: self.node,
                frame,
            })
            .unwrap();
        loop {
            match next(&mut self.events).await {
                NetworkEvent::Response {
                    id: answered,
                    frame,
                    ..
                } if answered == id => {
                    return Some(codec::decode(&frame).unwrap());
                }
                NetworkEvent::RequestFailed { id: failed, .. } if failed == id => return None,
                NetworkEvent::Disconnected { .. } => return None,
                // The node asks as well; an honest foreign node would answer.
                _ => {}
            }
        }
    }

    /// Introduces itself properly.
    async fn introduce(&mut self) {
        let answer = self
            .ask(handshake(
                BitcoinNetwork::Mainnet,
                Some(&Self::own_record()),
            ))
            .await;
        assert!(matches!(answer, Some(Message::Response(_))), "{answer:?}");
    }
}

async fn next(events: &mut NetworkEvents) -> NetworkEvent {
    tokio::time::timeout(LIMIT, events.next())
        .await
        .expect("an event in time")
        .expect("a living network")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_node_that_introduces_itself_gets_the_list_and_is_remembered() {
    let node = Member::start(1, &[]).await;
    let friend = Member::start(2, &[&node]).await;
    wait_for_async("the friend known", LIMIT, async || {
        node.knows(&friend).then_some(())
    })
    .await;
    let mut foreign = Foreign::connect(&node.addr).await;
    let answer = foreign
        .ask(handshake(
            BitcoinNetwork::Mainnet,
            Some(&Foreign::own_record()),
        ))
        .await;
    let Some(Message::Response(response)) = answer else {
        panic!("{answer:?}")
    };
    let hello = response.hello.expect("the node introduces itself");
    assert_eq!(hello.network, BitcoinNetwork::Mainnet.magic());
    assert_eq!(response.records.len(), 2, "the node itself and the friend");
    let store = node.handle.store();
    wait_for_async("remembered", LIMIT, async || {
        store.snapshot().contains(&test_key(FOREIGN)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_frame_is_refused_and_harms_nobody() {
    let node = Member::start(1, &[]).await;
    let friend = Member::start(2, &[&node]).await;
    let mut foreign = Foreign::connect(&node.addr).await;
    foreign.introduce().await;
    for bad in [
        vec![0xff; 40],
        vec![0x0a, 0x80],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let answer = foreign.ask(bad).await;
        assert!(
            matches!(&answer, Some(Message::Error(error)) if error.code == ErrorCode::Malformed),
            "{answer:?}"
        );
    }
    foreign.introduce().await;
    wait_for_async("the friend undisturbed", LIMIT, async || {
        node.is_connected_to(&friend.key).await.then_some(())
    })
    .await;
    assert_eq!(
        friend
            .handle
            .status()
            .await
            .unwrap()
            .counters
            .disconnections,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_record_is_neither_kept_nor_passed_on() {
    let node = Member::start(1, &[]).await;
    let friend = Member::start(2, &[&node]).await;
    wait_for_async("connected", LIMIT, async || {
        node.is_connected_to(&friend.key).await.then_some(())
    })
    .await;
    let mut foreign = Foreign::connect(&node.addr).await;
    foreign.introduce().await;
    let mut forged = record(60, 1).envelope().to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let honest = SignedRecord::sign(
        &test_secret(61),
        1,
        &["/ip4/127.0.0.1/tcp/61".parse().unwrap()],
    )
    .unwrap();
    let answer = foreign
        .ask(announcement([forged, honest.envelope().to_vec()]))
        .await;
    assert!(
        matches!(&answer, Some(Message::Error(error)) if error.code == ErrorCode::BadSignature),
        "{answer:?}"
    );
    // The honest record of a third party that came with it is no worse for that.
    let passed_on = async || {
        friend
            .handle
            .store()
            .snapshot()
            .contains(&test_key(61))
            .then_some(())
    };
    wait_for_async("the honest record passed on", LIMIT, passed_on).await;
    for member in [&node, &friend] {
        assert!(!member.handle.store().snapshot().contains(&test_key(60)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_node_named_by_the_environment_completes_a_handshake() {
    let Ok(target) = std::env::var("BTCFED_TEST_NODE") else {
        skipped("BTCFED_TEST_NODE is not set");
        return;
    };
    let network = std::env::var("BTCFED_TEST_NETWORK").unwrap_or_else(|_| "mainnet".to_owned());
    let network = BitcoinNetwork::ALL
        .into_iter()
        .find(|known| known.as_str() == network)
        .expect("a known network");
    let limit = std::env::var("BTCFED_TEST_TIMEOUT").unwrap_or_else(|_| "10s".to_owned());
    let limit: Duration = btcfed_config::parse_duration(&limit).expect("a duration");
    let target: AddrWithId = target.parse().expect("MULTIADDR/p2p/ID");
    let mut foreign = tokio::time::timeout(limit, Foreign::connect(&target))
        .await
        .expect("a connection in time");
    let answer = tokio::time::timeout(limit, foreign.ask(handshake(network, None)))
        .await
        .expect("an answer in time");
    assert!(matches!(answer, Some(Message::Response(_))), "{answer:?}");
}

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn skipped(why: &str) {
    println!("skipped: {why}");
}
