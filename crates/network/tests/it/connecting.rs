//! Dials, what comes of them, and which of two connections survives.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use btcfed_core::network::{DialError, Direction, DisconnectReason, NetworkEvent};
use tokio::time::{Instant, timeout};

use crate::support::{Node, addr, eventually, free_port, key};

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_connect_exchange_frames_and_disconnect() {
    let (mut alice, mut bob) = (Node::spawn(1).await, Node::spawn(2).await);
    let id = alice.dial(Some(bob.key), &[bob.addr()]);
    let NetworkEvent::Connected {
        direction,
        addr,
        remote_ip,
        command,
        ..
    } = alice.connected(bob.key).await
    else {
        unreachable!()
    };
    assert_eq!((direction, command), (Direction::Outbound, Some(id)));
    assert_eq!((addr, remote_ip), (bob.addr(), Some([127, 0, 0, 1].into())));
    let NetworkEvent::Connected {
        direction,
        addr,
        remote_ip,
        command,
        ..
    } = bob.connected(alice.key).await
    else {
        unreachable!()
    };
    assert_eq!((direction, command), (Direction::Inbound, None));
    assert_eq!(
        (addr.ip(), remote_ip),
        (remote_ip, Some([127, 0, 0, 1].into()))
    );
    alice.converse(&mut bob).await;
    bob.converse(&mut alice).await;
    alice.disconnect(bob.key);
    assert_eq!(alice.disconnected(bob.key).await, DisconnectReason::Local);
    assert_eq!(bob.disconnected(alice.key).await, DisconnectReason::Remote);
    assert_eq!((alice.connections(), bob.connections()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_tell_their_software_and_their_round_trip_time() {
    let (mut alice, mut bob) = (Node::spawn(1).await, Node::spawn(2).await);
    alice.connect(&mut bob).await;
    let (mut agent, mut rtt) = (None, None);
    while agent.is_none() || rtt.is_none() {
        alice
            .until("identified and pinged", |event| match event {
                NetworkEvent::Identified {
                    agent: told,
                    speaks_protocol,
                    ..
                } => {
                    agent = Some((told, speaks_protocol));
                    Some(())
                }
                NetworkEvent::Ping { rtt: told, .. } => {
                    rtt = Some(told);
                    Some(())
                }
                _ => None,
            })
            .await;
    }
    assert_eq!(
        agent,
        Some((format!("btcfed/{}", env!("CARGO_PKG_VERSION")), true))
    );
    assert!(rtt.is_some_and(|rtt| rtt < Duration::from_secs(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_different_key_at_the_address_is_a_wrong_peer() {
    let (mut alice, bob) = (Node::spawn(1).await, Node::spawn(2).await);
    let id = alice.dial(Some(key(3)), &[bob.addr()]);
    let obtained = bob.key.peer_id().to_string();
    assert_eq!(
        alice.dial_failed(id).await,
        [(bob.addr(), DialError::WrongPeer { obtained })]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_at_one_address_does_not_keep_the_peer_at_another_from_being_reached() {
    let (mut alice, bob) = (Node::spawn(1).await, Node::spawn(2).await);
    let mut carol = Node::spawn(3).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = addr(&format!(
        "/ip4/127.0.0.1/tcp/{}",
        silent.local_addr().unwrap().port()
    ));
    let id = alice.dial(Some(carol.key), &[bob.addr(), relay.clone()]);
    // The way to the right one is slow: the wrong one answers long before.
    let (mut inbound, _) = silent.accept().await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut outbound = tokio::net::TcpStream::connect(("127.0.0.1", carol.port()))
        .await
        .unwrap();
    tokio::spawn(async move { tokio::io::copy_bidirectional(&mut inbound, &mut outbound).await });
    let mut failed = None;
    let through = alice
        .until("connected", |event| match event {
            NetworkEvent::AddressFailed {
                id,
                peer,
                addr,
                error,
            } => {
                failed = Some((id, peer, addr, error));
                None
            }
            NetworkEvent::Connected { addr, command, .. } => Some((addr, command)),
            NetworkEvent::DialFailed { attempts, .. } => panic!("{attempts:?}"),
            _ => None,
        })
        .await;
    assert_eq!(through, (relay, Some(id)));
    let obtained = bob.key.peer_id().to_string();
    let error = DialError::WrongPeer { obtained };
    assert_eq!(failed, Some((id, carol.key, bob.addr(), error)));
    carol.connected(alice.key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_port_refuses() {
    let mut alice = Node::spawn(1).await;
    let nobody = addr(&format!("/ip4/127.0.0.1/tcp/{}", free_port()));
    for peer in [Some(key(2)), None] {
        let id = alice.dial(peer, std::slice::from_ref(&nobody));
        assert_eq!(
            alice.dial_failed(id).await,
            [(nobody.clone(), DialError::Refused)]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_accepts_and_never_speaks_times_out() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut alice = Node::with(1, |c| {
        c.peers.connection_timeout = Duration::from_millis(300)
    })
    .await;
    let there = addr(&format!(
        "/ip4/127.0.0.1/tcp/{}",
        silent.local_addr().unwrap().port()
    ));
    let id = alice.dial(Some(key(2)), std::slice::from_ref(&there));
    assert_eq!(alice.dial_failed(id).await, [(there, DialError::Timeout)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn something_that_is_not_libp2p_fails_in_the_handshake() {
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = addr(&format!(
        "/ip4/127.0.0.1/tcp/{}",
        web.local_addr().unwrap().port()
    ));
    std::thread::spawn(move || {
        let (mut stream, _) = web.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            .unwrap();
        let _ = stream.read(&mut [0; 1024]);
    });
    let mut alice = Node::spawn(1).await;
    let id = alice.dial(Some(key(2)), &[there]);
    let attempts = alice.dial_failed(id).await;
    assert!(
        matches!(attempts[..], [(_, DialError::Handshake { .. })]),
        "{attempts:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_resolved_and_its_address_told() {
    let (mut alice, bob) = (Node::spawn(1).await, Node::spawn(2).await);
    for name in ["dns4", "dns"] {
        let named = addr(&format!("/{name}/localhost/tcp/{}", bob.port()));
        alice.dial(Some(bob.key), std::slice::from_ref(&named));
        let NetworkEvent::Connected {
            addr, remote_ip, ..
        } = alice.connected(bob.key).await
        else {
            unreachable!()
        };
        assert_eq!((addr, remote_ip), (named, Some([127, 0, 0, 1].into())));
        alice.disconnect(bob.key);
        alice.disconnected(bob.key).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_exist_fails_as_a_name() {
    // RFC 6761: resolvers answer for this domain themselves.
    let nowhere = addr("/dns4/nobody.invalid/tcp/9000");
    let mut alice = Node::spawn(1).await;
    let id = alice.dial(Some(key(2)), &[nowhere]);
    let attempts = alice.dial_failed(id).await;
    assert!(
        matches!(attempts[..], [(_, DialError::Dns { .. })]),
        "{attempts:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_cannot_work_are_never_dialled() {
    let mut alice = Node::spawn(1).await;
    let own = alice.addr();
    let bad = [
        own.clone(),
        addr("/ip4/127.0.0.1/tcp/0"),
        addr("/ip4/0.0.0.0/tcp/9000"),
        own.clone(),
    ];
    let id = alice.dial(Some(key(2)), &bad);
    let expected = [
        (bad[0].clone(), DialError::Own),
        (bad[1].clone(), DialError::Undialable),
        (bad[2].clone(), DialError::Undialable),
    ];
    assert_eq!(alice.dial_failed(id).await, expected);
    let id = alice.dial(Some(key(2)), &[]);
    assert_eq!(alice.dial_failed(id).await, []);
    // One's own key, wherever it is said to be.
    let elsewhere = addr("/ip4/127.0.0.1/tcp/1");
    let id = alice.dial(Some(alice.key), std::slice::from_ref(&elsewhere));
    assert_eq!(alice.dial_failed(id).await, [(elsewhere, DialError::Own)]);
    // One's own address under another name: found out by the handshake.
    let named = addr(&format!("/dns4/localhost/tcp/{}", alice.port()));
    for peer in [Some(key(2)), None] {
        let id = alice.dial(peer, std::slice::from_ref(&named));
        assert_eq!(
            alice.dial_failed(id).await,
            [(named.clone(), DialError::Own)]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_address_wins_among_bad_ones() {
    let (mut alice, bob, carol) = (
        Node::spawn(1).await,
        Node::spawn(2).await,
        Node::spawn(3).await,
    );
    let nobody = addr(&format!("/ip4/127.0.0.1/tcp/{}", free_port()));
    for _ in 0..10 {
        // Carol answers as fast as Bob does, but she is not Bob.
        alice.dial(
            Some(bob.key),
            &[nobody.clone(), carol.addr(), alice.addr(), bob.addr()],
        );
        alice.connected(bob.key).await;
        alice.disconnect(bob.key);
        alice.disconnected(bob.key).await;
    }
}

#[tokio::test]
async fn the_next_address_has_its_turn_when_the_first_is_silent() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = addr(&format!(
        "/ip4/127.0.0.1/tcp/{}",
        silent.local_addr().unwrap().port()
    ));
    let (mut alice, bob) = (Node::spawn(1).await, Node::spawn(2).await);
    let begun = Instant::now();
    alice.dial(Some(bob.key), &[mute, bob.addr()]);
    alice.connected(bob.key).await;
    let took = begun.elapsed();
    let after_the_pause = Duration::from_millis(200)..Duration::from_secs(5);
    assert!(after_the_pause.contains(&took), "{took:?}");
    assert!(silent.accept().await.is_ok(), "the first was tried first");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_known_key_whoever_answers_is_accepted_one_address_after_the_other() {
    let (mut alice, bob, carol) = (
        Node::spawn(1).await,
        Node::spawn(2).await,
        Node::spawn(3).await,
    );
    let nobody = addr(&format!("/ip4/127.0.0.1/tcp/{}", free_port()));
    let id = alice.dial(None, &[nobody, bob.addr(), carol.addr()]);
    let NetworkEvent::Connected { command, .. } = alice.connected(bob.key).await else {
        unreachable!()
    };
    assert_eq!(command, Some(id));
    assert_eq!((alice.connections(), carol.connections()), (1, 0));
    // Once more: whoever is there is connected already.
    let id = alice.dial(None, &[bob.addr()]);
    let answer = alice
        .until("answer", |event| match event {
            NetworkEvent::DialFailed {
                id: told,
                peer,
                attempts,
            } if told == id => Some((peer, attempts)),
            NetworkEvent::Disconnected { .. } => panic!("disconnected"),
            _ => None,
        })
        .await;
    assert_eq!(answer, (Some(bob.key), Vec::new()));
    eventually((1, 1), || (alice.connections(), bob.connections())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_dial_is_answered_exactly_once() {
    let (mut alice, bob) = (Node::spawn(1).await, Node::spawn(2).await);
    let ids = [(); 20].map(|()| alice.dial(Some(bob.key), &[bob.addr()]));
    let (mut connected, mut failed) = (Vec::new(), Vec::new());
    while connected.len() + failed.len() < ids.len() {
        alice
            .until("answer", |event| match event {
                NetworkEvent::Connected { command, .. } => {
                    connected.extend(command);
                    Some(())
                }
                NetworkEvent::DialFailed { id, attempts, .. } => {
                    assert_eq!(attempts, []);
                    failed.push(id);
                    Some(())
                }
                _ => None,
            })
            .await;
    }
    assert_eq!(connected, ids[..1]);
    failed.sort_unstable();
    assert_eq!(failed, ids[1..]);
    assert_eq!(alice.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnecting_gives_up_dials_too() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = addr(&format!(
        "/ip4/127.0.0.1/tcp/{}",
        silent.local_addr().unwrap().port()
    ));
    let mut alice = Node::spawn(1).await;
    let id = alice.dial(Some(key(2)), std::slice::from_ref(&there));
    alice.disconnect(key(2));
    assert_eq!(alice.dial_failed(id).await, [(there, DialError::Aborted)]);
}

#[expect(clippy::print_stdout, reason = "a figure; shown with --nocapture")]
#[tokio::test(flavor = "multi_thread")]
async fn dialling_each_other_at_once_leaves_exactly_one_connection() {
    const PAIRS: u8 = 10;
    let rounds = std::env::var("BTCFED_TEST_ROUNDS").map_or(50, |text| text.parse().unwrap());
    let each: usize = rounds / usize::from(PAIRS);
    let pair = |pair| dial_each_other_again_and_again(2 * pair + 1, 2 * pair + 2, each);
    let pairs = (0..PAIRS).map(|number| tokio::spawn(pair(number)));
    let mut duplicates = 0;
    for pair in pairs.collect::<Vec<_>>() {
        duplicates += pair.await.unwrap();
    }
    println!("{rounds} rounds, {duplicates} second connections closed");
    assert!(duplicates > 0, "no round had two connections");
}

/// So many rounds between two nodes; returns how many second connections were closed.
async fn dial_each_other_again_and_again(one: u8, other: u8, rounds: usize) -> u64 {
    let (mut alice, mut bob) = (Node::spawn(one).await, Node::spawn(other).await);
    let (alice_addr, bob_addr) = (alice.addr(), bob.addr());
    for round in 0..rounds {
        alice.dial(Some(bob.key), std::slice::from_ref(&bob_addr));
        bob.dial(Some(alice.key), std::slice::from_ref(&alice_addr));
        alice.connected(bob.key).await;
        bob.connected(alice.key).await;
        // Requests sent at once survive the tie-break, and neither side is down for a moment.
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(700) {
            alice.converse(&mut bob).await;
            bob.converse(&mut alice).await;
        }
        eventually((1, 1), || (alice.connections(), bob.connections())).await;
        assert_stays_connected(&mut alice, &mut bob, round).await;
        let (first, second) = if round % 2 == 0 {
            (&mut alice, &mut bob)
        } else {
            (&mut bob, &mut alice)
        };
        first.disconnect(second.key);
        first.disconnected(second.key).await;
        second.disconnected(first.key).await;
    }
    alice.handle.stats().duplicate_connections + bob.handle.stats().duplicate_connections
}

/// The one connection that is left is not closed a moment later.
async fn assert_stays_connected(alice: &mut Node, bob: &mut Node, round: usize) {
    for node in [alice, bob] {
        let changed = node.until("a change", |event| match event {
            NetworkEvent::Connected { .. } | NetworkEvent::Disconnected { .. } => Some(event),
            _ => None,
        });
        let changed = timeout(Duration::from_millis(20), changed).await;
        assert!(changed.is_err(), "round {round}: {changed:?}");
        assert_eq!(node.connections(), 1);
    }
}
