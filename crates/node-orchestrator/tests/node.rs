//! The node on fakes and virtual time: what it does when the network, the store, peers and operators do something.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod harness;

use std::sync::Arc;
use std::time::Duration;

use btcfed_core::addr::{AddrScope, AddrWithId};
use btcfed_core::ban::{Ban, BanReason, BanTarget, Issuer};
use btcfed_core::config::PeersMode;
use btcfed_core::exchange::{Input, Notice, Output, Reaction};
use btcfed_core::network::{
    CommandId, DialError, Direction, DisconnectReason, NetworkCommand, NetworkEvent, RequestToken,
};
use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::peer::{AddressSource, PeerRecord, PeerSource, PeerStatus};
use btcfed_core::record::SignedRecord;
use btcfed_core::store::{PeerStore, PeerStoreExt};
use btcfed_core::testing::{test_addr, test_key, test_record};
use btcfed_core::time::Timestamp;
use btcfed_node_orchestrator::{NodeError, NodeEvent, NodeState};

use harness::{Harness, signed};

fn record(number: u16, port: u16) -> PeerRecord {
    let mut record = PeerRecord::new(test_key(number), PeerSource::Operator);
    record.add_address(test_addr(port), AddressSource::Operator);
    record
}

#[tokio::test(start_paused = true)]
async fn bootstrap_entries_are_dialled_at_once_and_retried_for_ever_with_growing_pauses() {
    let mut node =
        Harness::start(|config| config.peers.bootstrap = vec![AddrWithId::from(test_addr(1))])
            .await;
    let mut starts = Vec::new();
    for _ in 0..20 {
        let (id, peer, addrs) = node.next_dial().await;
        assert_eq!((peer, addrs.as_slice()), (None, [test_addr(1)].as_slice()));
        starts.push(tokio::time::Instant::now());
        node.tell(NetworkEvent::DialFailed {
            id,
            peer,
            attempts: vec![(test_addr(1), DialError::Refused)],
        })
        .await;
    }
    let pauses: Vec<Duration> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses[0] <= Duration::from_secs(1), "{pauses:?}");
    assert!(
        pauses[18] >= Duration::from_secs(200) && pauses[18] <= Duration::from_secs(301),
        "{pauses:?}"
    );
    node.settle().await;
    let status = node.handle.status().await.unwrap();
    assert_eq!(
        (status.counters.dials, status.counters.dials_failed),
        (20, 20)
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_answers_at_a_bootstrap_address_is_remembered_and_found_again() {
    let mut node =
        Harness::start(|config| config.peers.bootstrap = vec![AddrWithId::from(test_addr(1))])
            .await;
    let (id, ..) = node.next_dial().await;
    node.connect_as(1, Direction::Outbound, Some(id)).await;
    let known = node.store.read(&test_key(1)).unwrap();
    assert_eq!(
        (known.source, known.status),
        (PeerSource::Bootstrap, PeerStatus::Valid)
    );
    assert_eq!(known.addresses[0].addr, test_addr(1));
    assert!(known.stats.last_seen.is_some());

    node.tell(NetworkEvent::Disconnected {
        peer: test_key(1),
        reason: DisconnectReason::Remote,
    })
    .await;
    let (_, peer, addrs) = node.next_dial().await;
    assert!(peer.is_none() || peer == Some(test_key(1)));
    assert_eq!(addrs, [test_addr(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_bootstrap_address_that_is_our_own_is_not_dialled_again() {
    let mut node =
        Harness::start(|config| config.peers.bootstrap = vec![AddrWithId::from(test_addr(1))])
            .await;
    let (id, peer, _) = node.next_dial().await;
    node.tell(NetworkEvent::DialFailed {
        id,
        peer,
        attempts: vec![(test_addr(1), DialError::Own)],
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(node.dials(), []);
}

#[tokio::test(start_paused = true)]
async fn an_address_where_somebody_else_or_this_node_answers_is_left_out_and_the_peer_is_not_blamed()
 {
    for error in [
        DialError::WrongPeer {
            obtained: test_key(9).peer_id().to_string(),
        },
        DialError::Own,
    ] {
        let mut node = Harness::start(|_| {}).await;
        let mut peer = record(1, 7);
        peer.add_address(test_addr(8), AddressSource::Operator);
        node.store.create(peer).await.unwrap();
        let (id, _, addrs) = node.next_dial().await;
        assert_eq!(addrs.len(), 2);
        // The other address was reached.
        node.tell(NetworkEvent::AddressFailed {
            id,
            peer: test_key(1),
            addr: test_addr(7),
            error,
        })
        .await;
        node.connect_as(1, Direction::Outbound, Some(id)).await;
        let known = node.store.snapshot().get(&test_key(1)).unwrap();
        assert_eq!(known.stats.consecutive_failures, 0);
        node.tell(NetworkEvent::Disconnected {
            peer: test_key(1),
            reason: DisconnectReason::Remote,
        })
        .await;
        let (_, peer, addrs) = node.next_dial().await;
        assert_eq!(peer, Some(test_key(1)));
        assert!(
            addrs.contains(&test_addr(8)) && !addrs.contains(&test_addr(7)),
            "{addrs:?}"
        );
        assert_eq!(node.store.snapshot().bans().count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_the_operator_adds_is_dialled_at_once_and_one_he_removes_is_disconnected() {
    let mut node = Harness::start(|_| {}).await;
    node.store.create(record(1, 7)).await.unwrap();
    let (id, peer, addrs) = node.next_dial().await;
    assert_eq!((peer, addrs), (Some(test_key(1)), vec![test_addr(7)]));
    node.connect_as(1, Direction::Outbound, Some(id)).await;
    assert_eq!(node.handle.status().await.unwrap().connections.len(), 1);

    node.store.delete(&test_key(1)).await.unwrap();
    node.settle().await;
    assert!(
        node.commands()
            .contains(&NetworkCommand::Disconnect { peer: test_key(1) })
    );
}

#[tokio::test(start_paused = true)]
async fn an_edited_address_is_tried_at_once_whatever_the_back_off_says() {
    let mut node = Harness::start(|_| {}).await;
    node.store.create(record(1, 7)).await.unwrap();
    for _ in 0..8 {
        let (id, peer, addrs) = node.next_dial().await;
        let attempts = addrs
            .into_iter()
            .map(|addr| (addr, DialError::Timeout))
            .collect();
        node.tell(NetworkEvent::DialFailed { id, peer, attempts })
            .await;
    }
    let edited = record(1, 8);
    node.store.update(edited).await.unwrap();
    node.settle().await;
    let dials = node.dials();
    assert_eq!(dials.len(), 1, "{dials:?}");
    assert_eq!(dials[0].2, [test_addr(8)]);
}

#[tokio::test(start_paused = true)]
async fn learned_peers_are_dialled_up_to_the_target_and_no_further() {
    let mut node = Harness::start(|config| config.network.target_outbound = 3).await;
    let learned: PeerPatch = (1..=10)
        .map(|n| PeerOp::Learn(signed(n, 100 + n)))
        .collect();
    node.store.apply(learned).await.unwrap();
    node.settle().await;
    let dials = node.dials();
    assert_eq!(dials.len(), 3);
    for (id, peer, _) in &dials {
        let number = (1..=10).find(|n| Some(test_key(*n)) == *peer).unwrap();
        node.connect_as(number, Direction::Outbound, Some(*id))
            .await;
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(node.dials(), [], "the target is reached");
    node.tell(NetworkEvent::Disconnected {
        peer: dials[0].1.unwrap(),
        reason: DisconnectReason::Remote,
    })
    .await;
    node.settle().await;
    assert_eq!(node.dials().len(), 1, "another one takes the place");
}

#[tokio::test(start_paused = true)]
async fn a_learned_peer_that_keeps_failing_is_left_alone_by_the_breaker() {
    let mut node = Harness::start(|_| {}).await;
    node.store
        .apply(PeerPatch::one(PeerOp::Learn(signed(1, 101))))
        .await
        .unwrap();
    let mut count = 0;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(3600);
    while let Ok((id, peer, addrs)) = tokio::time::timeout_at(deadline, node.next_dial()).await {
        count += 1;
        let attempts = addrs
            .into_iter()
            .map(|addr| (addr, DialError::Refused))
            .collect();
        node.tell(NetworkEvent::DialFailed { id, peer, attempts })
            .await;
    }
    assert!(
        (8..=16).contains(&count),
        "eight failures, then one probe each ten minutes: {count}"
    );
    assert_eq!(
        node.store.read(&test_key(1)).unwrap().status,
        PeerStatus::Inaccessible
    );
}

#[tokio::test(start_paused = true)]
async fn the_engine_hears_everything_and_what_it_wants_is_done() {
    let mut node = Harness::start(|_| {}).await;
    node.exchange.respond_with(|_, input| match input {
        Input::Connected { peer, scope, .. } => {
            assert_eq!(*scope, AddrScope::Private);
            vec![
                Output::Send {
                    peer: *peer,
                    id: CommandId(1),
                    frame: vec![1],
                },
                Output::Store(PeerPatch::one(PeerOp::Learn(signed(2, 102)))),
            ]
        }
        Input::Request { token, .. } => vec![Output::Reply {
            token: *token,
            frame: vec![2],
        }],
        Input::Response { .. } => {
            vec![Output::Notice(Notice::HandshakeCompleted {
                peer: test_key(1),
                agent: "test".into(),
                clock_offset_ms: 1500,
            })]
        }
        _ => Vec::new(),
    });
    node.connect_as(1, Direction::Inbound, None).await;
    let token = RequestToken(9);
    node.tell(NetworkEvent::Request {
        peer: test_key(1),
        token,
        frame: vec![0],
    })
    .await;
    node.tell(NetworkEvent::Response {
        id: CommandId(1),
        peer: test_key(1),
        frame: vec![3],
    })
    .await;
    node.settle().await;
    let commands = node.commands();
    assert!(commands.contains(&NetworkCommand::Request {
        id: CommandId(1),
        peer: test_key(1),
        frame: vec![1]
    }));
    assert!(commands.contains(&NetworkCommand::Respond {
        token,
        frame: vec![2]
    }));
    assert!(
        node.store.exists(&test_key(2)),
        "what the engine learned is stored"
    );
    let status = node.handle.status().await.unwrap();
    assert!(status.connections[0].handshaken);
    assert_eq!(status.connections[0].clock_offset_ms, Some(1500));
}

#[tokio::test(start_paused = true)]
async fn a_ban_reaches_the_network_and_ends_when_its_time_is_up() {
    let mut node = Harness::start(|_| {}).await;
    let now = node.wall();
    let target = BanTarget::Peer(test_key(1));
    let ban = Ban {
        target,
        reason: BanReason::Other("left".into()),
        since: now,
        until: Some(now.saturating_add(Duration::from_secs(60))),
        by: Issuer::Operator,
        evidence: None,
    };
    node.store
        .apply(PeerPatch::one(PeerOp::Ban(ban)))
        .await
        .unwrap();
    node.settle().await;
    assert!(node.commands().contains(&NetworkCommand::Refuse {
        targets: vec![target]
    }));
    tokio::time::sleep(Duration::from_secs(61)).await;
    node.settle().await;
    assert!(node.commands().contains(&NetworkCommand::Refuse {
        targets: Vec::new()
    }));
    assert_eq!(node.store.snapshot().bans().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn misbehaviour_is_punished_as_the_engine_says() {
    let mut node = Harness::start(|_| {}).await;
    node.exchange.respond_with(|_, input| match input {
        Input::Connected { peer, .. } => {
            vec![Output::Penalty {
                peer: *peer,
                reaction: Reaction::Ban,
                reason: "forged record".into(),
            }]
        }
        _ => Vec::new(),
    });
    node.connect_as(1, Direction::Inbound, None).await;
    node.settle().await;
    assert!(
        node.commands()
            .contains(&NetworkCommand::Disconnect { peer: test_key(1) })
    );
    let set = node.store.snapshot();
    let ban = set.ban_of(&test_key(1), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(
        (ban.by, ban.evidence.as_deref()),
        (Issuer::Node, Some("forged record"))
    );
}

#[tokio::test(start_paused = true)]
async fn pinned_peers_get_a_reserved_place() {
    let mut node = Harness::start(|_| {}).await;
    let mut pinned = test_record(1);
    pinned.pinned = true;
    node.store.create(pinned).await.unwrap();
    node.settle().await;
    assert!(node.commands().contains(&NetworkCommand::Reserve {
        peers: vec![test_key(1)]
    }));
}

#[tokio::test(start_paused = true)]
async fn the_own_record_follows_the_listeners_and_outruns_a_newer_one() {
    let node = Harness::start(|_| {}).await;
    let own = |node: &Harness| -> Vec<SignedRecord> {
        let inputs = node.exchange.take_inputs();
        inputs
            .into_iter()
            .filter_map(|(_, i)| {
                if let Input::OwnRecord(r) = i {
                    Some(r)
                } else {
                    None
                }
            })
            .collect()
    };
    assert_eq!(
        own(&node).len(),
        1,
        "signed at start for the listener of the harness"
    );
    node.tell(NetworkEvent::Listening {
        addr: test_addr(4000),
    })
    .await;
    node.settle().await;
    let second = own(&node);
    assert_eq!(second.len(), 1);
    assert!(second[0].addresses().contains(&test_addr(4000)));

    let ahead = second[0].seq() + 1_000_000;
    node.exchange
        .queue(Output::Notice(Notice::OwnRecordAhead { seq: ahead }));
    node.tell(NetworkEvent::ListenClosed {
        addr: test_addr(4000),
        error: None,
    })
    .await;
    node.settle().await;
    assert!(own(&node).iter().any(|record| record.seq() > ahead));
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_is_lost_is_told_until_it_is_back_and_one_that_was_taken_down_is_not() {
    let node = Harness::start(|_| {}).await;
    let addr = test_addr(4000);
    let down = async || node.handle.status().await.unwrap().lost_listeners;
    for (error, is_down) in [(None, false), (Some("gone".to_owned()), true)] {
        node.tell(NetworkEvent::Listening { addr: addr.clone() })
            .await;
        node.settle().await;
        assert_eq!(down().await, []);
        let addr = addr.clone();
        node.tell(NetworkEvent::ListenClosed { addr, error }).await;
        node.settle().await;
        assert_eq!(down().await.len() == 1, is_down);
    }
    assert_eq!(
        (&down().await[0].addr, down().await[0].reason.as_str()),
        (&addr, "gone")
    );
    node.tell(NetworkEvent::Listening { addr }).await;
    node.settle().await;
    assert_eq!(down().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_busy_network_gets_every_command_later_and_in_order() {
    let mut node = Harness::start(|_| {}).await;
    node.network.set_busy(true);
    for number in 1..=3 {
        node.store.create(record(number, number)).await.unwrap();
    }
    node.settle().await;
    assert_eq!(node.dials(), []);
    node.network.set_busy(false);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(node.dials().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_sick_store_degrades_the_node_and_nothing_else() {
    let node = Harness::start(|_| {}).await;
    node.store.fail("no space");
    node.connect_as(1, Direction::Inbound, None).await;
    let status = node.handle.status().await.unwrap();
    assert_eq!(status.state, NodeState::Degraded);
    assert_eq!(status.connections.len(), 1);
    node.store.heal();
    assert_eq!(
        node.handle.status().await.unwrap().state,
        NodeState::Running
    );
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_connects_before_it_is_known_counts_as_contacted_once_it_is() {
    let node = Harness::start(|_| {}).await;
    node.connect_as(1, Direction::Inbound, None).await;
    assert!(!node.store.exists(&test_key(1)));
    node.store
        .apply(PeerPatch::one(PeerOp::Learn(signed(1, 101))))
        .await
        .unwrap();
    node.settle().await;
    let known = node.store.read(&test_key(1)).unwrap();
    assert_eq!(
        (known.status, known.stats.successes),
        (PeerStatus::Valid, 1)
    );
    assert!(known.stats.last_seen.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_talks_without_end_does_not_take_the_node_with_it() {
    let node = Harness::start(|_| {}).await;
    node.exchange.respond_with(|_, input| match input {
        Input::Connected { peer, .. } => (0..25_000)
            .map(|_| {
                Output::Notice(Notice::SyncCompleted {
                    peer: *peer,
                    received: 0,
                    learned: 0,
                })
            })
            .chain([Output::Store(PeerPatch::one(PeerOp::Learn(signed(2, 102))))])
            .collect(),
        _ => Vec::new(),
    });
    node.connect_as(1, Direction::Inbound, None).await;
    node.settle().await;
    assert!(
        node.store.exists(&test_key(2)),
        "what was said last is done as well"
    );
}

#[tokio::test(start_paused = true)]
async fn events_tell_the_application_what_happened() {
    let node = Harness::start(|_| {}).await;
    let mut events = node.handle.subscribe();
    node.connect_as(1, Direction::Inbound, None).await;
    assert!(
        matches!(events.next().await, Some(NodeEvent::Connected { peer, .. }) if peer == test_key(1))
    );
    node.store.create(record(2, 2)).await.unwrap();
    assert_eq!(events.next().await, Some(NodeEvent::PeerAdded(test_key(2))));
    node.store.delete(&test_key(2)).await.unwrap();
    assert_eq!(
        events.next().await,
        Some(NodeEvent::PeerRemoved(test_key(2)))
    );
    node.tell(NetworkEvent::Disconnected {
        peer: test_key(1),
        reason: DisconnectReason::NotResponding,
    })
    .await;
    assert_eq!(
        events.next().await,
        Some(NodeEvent::Disconnected {
            peer: test_key(1),
            reason: DisconnectReason::NotResponding,
            dial: None,
        })
    );
}

#[tokio::test(start_paused = true)]
async fn response_times_are_kept_and_a_dial_to_a_connected_peer_is_nobodys_failure() {
    let mut node = Harness::start(|_| {}).await;
    node.store.create(record(1, 7)).await.unwrap();
    let (id, peer, _) = node.next_dial().await;
    node.connect_as(1, Direction::Inbound, None).await;
    node.tell(NetworkEvent::DialFailed {
        id,
        peer,
        attempts: Vec::new(),
    })
    .await;
    node.tell(NetworkEvent::Ping {
        peer: test_key(1),
        rtt: Duration::from_millis(12),
    })
    .await;
    node.settle().await;
    let known = node.store.read(&test_key(1)).unwrap();
    assert_eq!(
        (known.stats.failures, known.stats.mean_rtt),
        (0, Some(Duration::from_millis(12)))
    );
    assert_eq!(known.status, PeerStatus::Valid);
}

#[tokio::test(start_paused = true)]
async fn shutdown_saves_and_a_store_that_cannot_save_is_told() {
    let node = Harness::start(|_| {}).await;
    node.handle.shutdown().await;
    assert_eq!(node.running.await.unwrap(), Ok(()));
    assert!(node.handle.status().await.is_err());

    let node = Harness::start(|_| {}).await;
    node.store.fail("no space");
    node.handle.shutdown().await;
    assert!(matches!(
        node.running.await.unwrap(),
        Err(NodeError::NotSaved(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_or_a_network_that_falls_silent_stops_the_node_by_name() {
    let node = Harness::start_with_task(|_| {}, async { panic!("injected") }).await;
    assert_eq!(
        node.running.await.unwrap(),
        Err(NodeError::TaskEnded("injected"))
    );

    let node = Harness::start(|_| {}).await;
    drop(node.events);
    assert_eq!(
        node.running.await.unwrap(),
        Err(NodeError::TaskEnded("network"))
    );
}

#[tokio::test(start_paused = true)]
async fn the_node_works_with_any_store_behind_the_trait() {
    let node = Harness::start(|_| {}).await;
    let store: Arc<dyn PeerStore> = Arc::clone(node.handle.store());
    store.create(record(5, 5)).await.unwrap();
    node.settle().await;
    assert_eq!(node.handle.status().await.unwrap().known, 1);
}

/// The lists of admitted peers the network was given, in order.
fn admitted(node: &mut Harness) -> Vec<Option<Vec<btcfed_core::PeerKey>>> {
    node.commands()
        .into_iter()
        .filter_map(|command| match command {
            NetworkCommand::Admit { peers } => Some(peers),
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn on_an_allowlist_learned_peers_wait_until_the_operator_adds_them() {
    let mut node = Harness::start(|config| config.peers.mode = PeersMode::Allowlist).await;
    assert_eq!(admitted(&mut node), [Some(Vec::new())], "fail closed");
    node.store
        .apply(PeerPatch::one(PeerOp::Learn(signed(1, 101))))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(node.dials(), [], "kept, not dialled");
    let status = node.handle.status().await.unwrap();
    assert_eq!((status.known, status.waiting), (1, 1));

    let mut approved = node.store.read(&test_key(1)).unwrap();
    approved.source = PeerSource::Operator;
    node.store.update(approved).await.unwrap();
    let (_, peer, _) = node.next_dial().await;
    assert_eq!(peer, Some(test_key(1)));
    assert_eq!(admitted(&mut node).last(), Some(&Some(vec![test_key(1)])));
    assert_eq!(node.handle.status().await.unwrap().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_that_slips_through_on_an_allowlist_never_reaches_the_exchange() {
    let mut node = Harness::start(|config| config.peers.mode = PeersMode::Allowlist).await;
    node.connect_as(1, Direction::Inbound, None).await;
    let disconnect = NetworkCommand::Disconnect { peer: test_key(1) };
    assert!(node.commands().contains(&disconnect));
    let heard = node.exchange.take_inputs();
    assert!(
        !heard
            .iter()
            .any(|(_, input)| matches!(input, Input::Connected { .. }))
    );
    assert_eq!(node.handle.status().await.unwrap().connections, []);
}

#[tokio::test(start_paused = true)]
async fn whoever_a_bootstrap_address_leads_to_is_admitted_even_when_known_by_hearsay() {
    let mut node = Harness::start(|config| {
        config.peers.mode = PeersMode::Allowlist;
        config.peers.bootstrap = vec![AddrWithId::from(test_addr(1))];
    })
    .await;
    let learned = PeerPatch::one(PeerOp::Learn(signed(1, 101)));
    node.store.apply(learned).await.unwrap();
    let (id, ..) = node.next_dial().await;
    node.connect_as(1, Direction::Outbound, Some(id)).await;
    let status = node.handle.status().await.unwrap();
    assert_eq!((status.connections.len(), status.waiting), (1, 0));
    assert_eq!(admitted(&mut node).last(), Some(&Some(vec![test_key(1)])));
}

#[tokio::test(start_paused = true)]
async fn the_mode_changes_by_reload_and_parts_from_strangers_at_once() {
    let mut node = Harness::start(|_| {}).await;
    node.store.create(record(2, 2)).await.unwrap();
    node.connect_as(1, Direction::Inbound, None).await;
    node.connect_as(2, Direction::Inbound, None).await;
    assert_eq!(
        admitted(&mut node),
        [],
        "open is the default of the network"
    );

    let mut changed = node.config.0.lock().unwrap().clone().unwrap();
    changed.peers.mode = PeersMode::Allowlist;
    *node.config.0.lock().unwrap() = Ok(changed.clone());
    node.handle.reload().await.unwrap();
    node.settle().await;
    assert_eq!(admitted(&mut node), [Some(vec![test_key(2)])]);
    let parted: Vec<_> = node
        .commands()
        .into_iter()
        .filter(|command| matches!(command, NetworkCommand::Disconnect { .. }))
        .collect();
    assert_eq!(parted, [NetworkCommand::Disconnect { peer: test_key(1) }]);

    changed.peers.mode = PeersMode::Open;
    *node.config.0.lock().unwrap() = Ok(changed);
    node.handle.reload().await.unwrap();
    node.settle().await;
    assert_eq!(admitted(&mut node).last(), Some(&None));
}

#[tokio::test(start_paused = true)]
async fn many_identities_at_one_address_do_not_make_this_node_a_weapon() {
    let mut node = Harness::start(|_| {}).await;
    let victim: PeerPatch = (1..=50).map(|n| PeerOp::Learn(signed(n, 7))).collect();
    node.store.apply(victim).await.unwrap();
    let mut starts = Vec::new();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(3600);
    while let Ok((id, peer, addrs)) = tokio::time::timeout_at(deadline, node.next_dial()).await {
        starts.push(peer);
        let attempts = addrs
            .into_iter()
            .map(|addr| (addr, DialError::Refused))
            .collect();
        node.tell(NetworkEvent::DialFailed { id, peer, attempts })
            .await;
    }
    // One identity at a time, with the retries of its back-off. Without the rule there were 650.
    assert!(starts.len() <= 80, "{} dials in an hour", starts.len());
}

#[tokio::test(start_paused = true)]
async fn learned_peers_nobody_hears_of_are_forgotten_in_time_and_chosen_ones_never() {
    let mut node = Harness::start(|config| {
        config.peers.forget_after = Duration::from_secs(6 * 3600);
        config.network.target_outbound = 0;
    })
    .await;
    node.store.create(record(1, 1)).await.unwrap();
    let learned = PeerPatch::one(PeerOp::Learn(signed(2, 102)));
    node.store.apply(learned).await.unwrap();
    node.dials();
    tokio::time::sleep(Duration::from_secs(5 * 3600)).await;
    assert!(node.store.exists(&test_key(2)));
    tokio::time::sleep(Duration::from_secs(3 * 3600)).await;
    assert!(!node.store.exists(&test_key(2)));
    assert!(node.store.exists(&test_key(1)));
}
