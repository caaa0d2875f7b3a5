//! Bans and limits, as a peer feels them.

use btcfed_core::PeerKey;
use btcfed_core::ban::BanTarget;
use btcfed_core::config::PeersMode;
use btcfed_core::network::{DialError, DisconnectReason, NetworkCommand, NetworkEvent};

use crate::support::{Node, addr, eventually};

fn refuse(node: &Node, targets: &[BanTarget]) {
    node.submit(NetworkCommand::Refuse {
        targets: targets.to_vec(),
    });
}

/// Dials `other`, which lets nobody in: the dial fails, or the connection is closed at once.
async fn is_turned_away(node: &mut Node, other: &Node) {
    let id = node.dial(Some(other.key), &[other.addr()]);
    node.until("turned away", |event| match event {
        NetworkEvent::DialFailed { id: told, .. } if told == id => Some(()),
        NetworkEvent::Disconnected { peer, .. } if peer == other.key => Some(()),
        _ => None,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_peer_is_dropped_and_refused_both_ways_until_the_ban_is_lifted() {
    let (mut alice, mut bob, mut carol) = (
        Node::spawn(1).await,
        Node::spawn(2).await,
        Node::spawn(3).await,
    );
    alice.connect(&mut bob).await;
    alice.connect(&mut carol).await;
    refuse(&alice, &[BanTarget::Peer(bob.key)]);
    assert_eq!(alice.disconnected(bob.key).await, DisconnectReason::Local);
    bob.disconnected(alice.key).await;
    is_turned_away(&mut bob, &alice).await;
    let id = alice.dial(Some(bob.key), &[bob.addr()]);
    let reason = "the peer is banned".to_owned();
    assert_eq!(
        alice.dial_failed(id).await,
        [(
            bob.addr(),
            DialError::Denied {
                reason: reason.clone()
            }
        )]
    );
    // Found out only after the handshake.
    let id = alice.dial(None, &[bob.addr()]);
    assert_eq!(
        alice.dial_failed(id).await,
        [(bob.addr(), DialError::Denied { reason })]
    );
    alice.converse(&mut carol).await;
    refuse(&alice, &[]);
    // Bob may still have to hear of the connections that were turned away: only what Alice hears counts.
    alice.dial(Some(bob.key), &[bob.addr()]);
    alice.connected(bob.key).await;
    alice.converse(&mut bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_address_is_refused_before_any_handshake_also_behind_a_name() {
    let (mut alice, mut bob) = (Node::spawn(1).await, Node::spawn(2).await);
    let named = addr(&format!("/dns4/localhost/tcp/{}", bob.port()));
    alice.dial(Some(bob.key), std::slice::from_ref(&named));
    alice.connected(bob.key).await;
    bob.connected(alice.key).await;
    for target in [
        BanTarget::Ip([127, 0, 0, 1].into()),
        BanTarget::Cidr("127.0.0.0/8".parse().unwrap()),
    ] {
        refuse(&alice, &[target]);
        // Alice knows the address behind the name she dialled.
        alice.disconnected(bob.key).await;
        bob.disconnected(alice.key).await;
        let refused = alice.handle.stats().refused_connections;
        is_turned_away(&mut bob, &alice).await;
        eventually(true, || alice.handle.stats().refused_connections > refused).await;
        for there in [bob.addr(), named.clone()] {
            let id = alice.dial(Some(bob.key), std::slice::from_ref(&there));
            let reason = "the address is banned".to_owned();
            assert_eq!(
                alice.dial_failed(id).await,
                [(there, DialError::Denied { reason })]
            );
        }
        refuse(&alice, &[]);
        alice.dial(Some(bob.key), std::slice::from_ref(&named));
        alice.connected(bob.key).await;
        bob.connected(alice.key).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_turns_strangers_away_and_lets_reserved_peers_in() {
    let mut alice = Node::with(1, |c| {
        c.network.max_connections = 2;
        c.network.max_inbound = 1;
    })
    .await;
    let (mut bob, mut carol, mut dave) = (
        Node::spawn(2).await,
        Node::spawn(3).await,
        Node::spawn(4).await,
    );
    bob.connect(&mut alice).await;
    // One more inbound is too many, one outbound is not, a second one is.
    is_turned_away(&mut carol, &alice).await;
    alice.connect(&mut carol).await;
    let id = alice.dial(Some(dave.key), &[dave.addr()]);
    let reason = "too many connections".to_owned();
    assert_eq!(
        alice.dial_failed(id).await,
        [(dave.addr(), DialError::Denied { reason })]
    );
    is_turned_away(&mut dave, &alice).await;
    alice.submit(NetworkCommand::Reserve {
        peers: vec![dave.key],
    });
    dave.connect(&mut alice).await;
    dave.converse(&mut alice).await;
    bob.converse(&mut alice).await;
    carol.converse(&mut alice).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowlist_turns_strangers_away_and_dials_whomever_it_is_told_to() {
    let mut alice = Node::with(1, |c| c.peers.mode = PeersMode::Allowlist).await;
    let (mut bob, mut carol) = (Node::spawn(2).await, Node::spawn(3).await);
    // Nobody is let in before the list is there.
    is_turned_away(&mut bob, &alice).await;
    let admit = |node: &Node, peers: Option<Vec<PeerKey>>| {
        node.submit(NetworkCommand::Admit { peers });
    };
    admit(&alice, Some(vec![bob.key]));
    bob.connect(&mut alice).await;
    is_turned_away(&mut carol, &alice).await;
    alice.connect(&mut carol).await;
    alice.converse(&mut carol).await;

    // Whoever is taken off the list is gone; whom this node dialled is not concerned.
    admit(&alice, Some(Vec::new()));
    alice.disconnected(bob.key).await;
    bob.disconnected(alice.key).await;
    is_turned_away(&mut bob, &alice).await;
    alice.converse(&mut carol).await;

    admit(&alice, None);
    bob.connect(&mut alice).await;
}
