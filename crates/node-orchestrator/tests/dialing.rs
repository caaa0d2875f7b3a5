//! In which order and how fast a node dials, on fakes and virtual time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod harness;

use std::collections::HashSet;
use std::time::Duration;

use btcfed_core::addr::{AddrWithId, PeerAddr};
use btcfed_core::exchange::{Input, Notice, Output};
use btcfed_core::network::{DialError, Direction, DisconnectReason, NetworkEvent};
use btcfed_core::peer::{AddressSource, PeerRecord, PeerSource};
use btcfed_core::store::PeerStoreExt;
use btcfed_core::testing::{test_addr, test_key};
use btcfed_core::time::Timestamp;
use btcfed_core::{PeerOp, PeerPatch, PeerStore as _};

use harness::{Harness, signed};

/// Dials that are started in one second at most.
const PER_SECOND: usize = 32;

async fn add(node: &Harness, number: u16) {
    let mut record = PeerRecord::new(test_key(number), PeerSource::Operator);
    record.add_address(test_addr(number), AddressSource::Operator);
    node.store.create(record).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_second_has_its_number_of_dials_and_the_rest_follows_in_the_next() {
    let mut node = Harness::start(|config| config.network.max_pending = 100).await;
    for number in 1..=40 {
        add(&node, number).await;
    }
    node.settle().await;
    let first = node.dials();
    assert_eq!(first.len(), PER_SECOND);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let second = node.dials();
    let dialled: HashSet<_> = first
        .iter()
        .chain(&second)
        .map(|(_, peer, _)| *peer)
        .collect();
    assert_eq!((second.len(), dialled.len()), (8, 40), "each once");
}

#[tokio::test(start_paused = true)]
async fn learned_peers_are_dialled_four_at_once_and_the_others_one_by_one() {
    let mut node = Harness::start(|config| config.network.target_outbound = 6).await;
    let learned = (1..=10).map(|n| PeerOp::Learn(signed(n, 100 + n)));
    node.store
        .apply(learned.collect::<PeerPatch>())
        .await
        .unwrap();
    let mut open = Vec::new();
    for (wait, dials) in [(0, 4), (490, 0), (10, 1), (485, 0), (10, 1), (60_000, 0)] {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        node.settle().await;
        let started = node.dials();
        assert_eq!(started.len(), dials, "{} before", open.len());
        for (id, peer, _) in started {
            let number = (1..=10).find(|n| Some(test_key(*n)) == peer).unwrap();
            node.connect_as(number, Direction::Outbound, Some(id)).await;
            open.push(peer);
        }
    }
    node.tell(NetworkEvent::Disconnected {
        peer: open[5].unwrap(),
        reason: DisconnectReason::Remote,
    })
    .await;
    node.settle().await;
    assert_eq!(node.dials().len(), 1, "the last one is replaced at once");
}

#[tokio::test(start_paused = true)]
async fn the_address_that_was_good_last_is_first_and_then_the_families_take_turns() {
    let mut node = Harness::start(|_| {}).await;
    let mut record = PeerRecord::new(test_key(1), PeerSource::Operator);
    let addrs: [PeerAddr; 4] = [
        "/ip4/192.0.2.1/tcp/1",
        "/ip4/192.0.2.2/tcp/1",
        "/ip4/192.0.2.3/tcp/1",
        "/ip6/2001:db8::1/tcp/1",
    ]
    .map(|text| text.parse().unwrap());
    for addr in &addrs {
        record.add_address(addr.clone(), AddressSource::Operator);
    }
    record.addresses[1].last_success = Some(Timestamp::from_millis(1));
    node.store.create(record).await.unwrap();
    node.settle().await;
    let dials = node.dials();
    let [one, two, three, six] = addrs;
    assert_eq!(dials[0].2, [two, six, one, three]);
}

#[tokio::test(start_paused = true)]
async fn no_more_dials_wait_than_are_allowed_and_one_that_ends_makes_room_for_one() {
    let mut node = Harness::start(|config| config.network.max_pending = 5).await;
    for number in 1..=8 {
        add(&node, number).await;
    }
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let dials = node.dials();
    assert_eq!(dials.len(), 5);
    let (id, peer, addrs) = dials.into_iter().next().unwrap();
    let attempts = addrs.into_iter().map(|addr| (addr, DialError::Refused));
    let attempts = attempts.collect();
    node.tell(NetworkEvent::DialFailed { id, peer, attempts })
        .await;
    node.settle().await;
    assert_eq!(node.dials().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_address_of_a_peer_is_part_of_one_dial_once_and_the_last_good_one_comes_first() {
    let mut node = Harness::start(|_| {}).await;
    let mut record = PeerRecord::new(test_key(1), PeerSource::Operator);
    for port in 1..=4 {
        record.add_address(test_addr(port), AddressSource::Operator);
    }
    record.addresses[0].failures = 2;
    record.addresses[2].last_success = Some(Timestamp::from_secs(5));
    record.addresses[3].last_success = Some(Timestamp::from_secs(9));
    node.store.create(record).await.unwrap();
    let (_, _, addrs) = node.next_dial().await;
    assert_eq!(addrs, [4, 3, 2, 1].map(test_addr));
}

#[tokio::test(start_paused = true)]
async fn a_peer_without_room_is_not_dialled_for_as_long_as_it_asked() {
    let mut node = Harness::start(|_| {}).await;
    node.exchange.respond_with(|_, input| match input {
        Input::Connected { peer, .. } => vec![Output::Notice(Notice::Busy {
            peer: *peer,
            retry_after: Duration::from_secs(100),
        })],
        _ => Vec::new(),
    });
    add(&node, 1).await;
    let (id, _, _) = node.next_dial().await;
    node.connect_as(1, Direction::Outbound, Some(id)).await;
    node.tell(NetworkEvent::Disconnected {
        peer: test_key(1),
        reason: DisconnectReason::Remote,
    })
    .await;
    tokio::time::sleep(Duration::from_secs(99)).await;
    assert_eq!(node.dials().len(), 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(node.dials().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_bootstrap_address_whose_peer_has_no_room_is_not_dialled_for_as_long_as_it_asked() {
    let mut node =
        Harness::start(|config| config.peers.bootstrap = vec![AddrWithId::from(test_addr(1))])
            .await;
    node.exchange.respond_with(|_, input| match input {
        Input::Connected { peer, .. } => vec![Output::Notice(Notice::Busy {
            peer: *peer,
            retry_after: Duration::from_secs(100),
        })],
        _ => Vec::new(),
    });
    let (id, peer, _) = node.next_dial().await;
    assert_eq!(peer, None);
    node.connect_as(1, Direction::Outbound, Some(id)).await;
    // Its record has another address than the one at which it was found.
    let record = [PeerOp::Learn(signed(1, 101))];
    let patch = record.into_iter().collect::<PeerPatch>();
    node.store.apply(patch).await.unwrap();
    node.settle().await;
    node.tell(NetworkEvent::Disconnected {
        peer: test_key(1),
        reason: DisconnectReason::Remote,
    })
    .await;
    tokio::time::sleep(Duration::from_secs(99)).await;
    assert_eq!(node.dials(), []);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!node.dials().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_bootstrap_address_that_answers_and_hangs_up_is_dialled_after_growing_pauses() {
    let mut node =
        Harness::start(|config| config.peers.bootstrap = vec![AddrWithId::from(test_addr(1))])
            .await;
    let (mut count, begun) = (0, tokio::time::Instant::now());
    while begun.elapsed() < Duration::from_secs(600) {
        let (id, ..) = node.next_dial().await;
        count += 1;
        node.connect_as(1, Direction::Outbound, Some(id)).await;
        node.tell(NetworkEvent::Disconnected {
            peer: test_key(1),
            reason: DisconnectReason::Remote,
        })
        .await;
    }
    assert!((5..=25).contains(&count), "{count} dials in ten minutes");
}
