//! Frames: bounded, answered exactly once, whatever happens to the peer.

use std::collections::HashSet;
use std::time::Duration;

use btcfed_core::Network as _;
use btcfed_core::limits::MAX_FRAME_BYTES;
use btcfed_core::network::{CommandId, NetworkCommand, NetworkEvent, RequestError, RequestToken};
use btcfed_network::SpawnOptions;

use crate::support::{Node, config, echo, key, secret};

/// The failures of these requests, each told exactly once.
async fn failures(node: &mut Node, ids: &[CommandId]) -> Vec<RequestError> {
    let mut open: HashSet<CommandId> = ids.iter().copied().collect();
    let mut errors = Vec::new();
    while !open.is_empty() {
        let (id, error) = node
            .until("request failed", |event| match event {
                NetworkEvent::RequestFailed { id, error, .. } => Some((id, error)),
                NetworkEvent::Response { .. } => panic!("an answer"),
                _ => None,
            })
            .await;
        assert!(open.remove(&id), "told twice");
        errors.push(error);
    }
    errors
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_every_size_up_to_the_limit_pass_both_ways() {
    let (mut alice, mut bob) = (Node::spawn(1).await, Node::spawn(2).await);
    alice.connect(&mut bob).await;
    let _bob = echo(bob);
    for length in [0, 1, 127, 128, 16_383, 16_384, MAX_FRAME_BYTES] {
        let frame = vec![7; length];
        let id = alice.ask(key(2), &frame);
        assert_eq!(alice.response(id).await, frame);
    }
    let id = alice.ask(key(2), &vec![7; MAX_FRAME_BYTES + 1]);
    assert_eq!(
        failures(&mut alice, &[id]).await,
        [RequestError::FrameTooLarge]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_nobody_fails_at_once() {
    let mut alice = Node::spawn(1).await;
    let id = alice.ask(key(9), b"hello");
    assert_eq!(
        failures(&mut alice, &[id]).await,
        [RequestError::NotConnected]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_unknown_and_used_tokens_go_nowhere() {
    let (mut alice, mut bob) = (Node::spawn(1).await, Node::spawn(2).await);
    alice.connect(&mut bob).await;
    bob.answer(RequestToken(99), b"to nobody");
    let id = alice.ask(bob.key, b"question");
    let (_, token, _) = bob.request().await;
    bob.answer(token, b"first");
    bob.answer(token, b"second");
    assert_eq!(alice.response(id).await, b"first");
    alice.converse(&mut bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_above_the_limit_is_not_sent_and_the_asker_is_told() {
    let (mut alice, mut bob) = (Node::spawn(1).await, Node::spawn(2).await);
    alice.connect(&mut bob).await;
    let id = alice.ask(bob.key, b"question");
    let (_, token, _) = bob.request().await;
    bob.answer(token, &vec![7; MAX_FRAME_BYTES + 1]);
    assert_eq!(
        failures(&mut alice, &[id]).await,
        [RequestError::ConnectionClosed]
    );
    alice.converse(&mut bob).await;
}

/// A node with a request timeout of its own.
async fn patient_for(seed: u8, timeout: Duration) -> Node {
    Node::start(SpawnOptions::new(secret(seed), &config()).request_timeout(timeout))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asker_gives_up_in_time_and_a_late_answer_goes_nowhere() {
    let (mut alice, mut bob) = (
        patient_for(1, Duration::from_millis(300)).await,
        Node::spawn(2).await,
    );
    alice.connect(&mut bob).await;
    let id = alice.ask(bob.key, b"question");
    let (_, token, _) = bob.request().await;
    assert_eq!(failures(&mut alice, &[id]).await, [RequestError::Timeout]);
    bob.answer(token, b"too late");
    alice.converse(&mut bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_takes_too_long_lets_the_asker_go_and_its_token_expires() {
    let (mut alice, mut bob) = (
        Node::spawn(1).await,
        patient_for(2, Duration::from_millis(300)).await,
    );
    alice.connect(&mut bob).await;
    let id = alice.ask(bob.key, b"question");
    let (_, token, _) = bob.request().await;
    assert_eq!(
        failures(&mut alice, &[id]).await,
        [RequestError::ConnectionClosed]
    );
    bob.answer(token, b"too late");
    alice.converse(&mut bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_queue_of_a_peer_are_busy_and_all_are_told_when_it_goes() {
    const TAKEN: usize = 8 + 64;
    let (mut alice, mut bob) = (Node::spawn(1).await, Node::spawn(2).await);
    alice.connect(&mut bob).await;
    let ids: Vec<CommandId> = (0..TAKEN).map(|_| alice.ask(key(2), b"question")).collect();
    let refused: Vec<CommandId> = (0..10)
        .map(|_| alice.ask(key(2), b"one too many"))
        .collect();
    assert_eq!(
        failures(&mut alice, &refused).await,
        [RequestError::Busy; 10]
    );
    for _ in 0..8 {
        bob.request().await;
    }
    alice.disconnect(bob.key);
    let mut errors = failures(&mut alice, &ids).await;
    let in_flight = errors
        .extract_if(.., |error| *error == RequestError::ConnectionClosed)
        .count();
    assert_eq!(
        (in_flight, errors),
        (8, vec![RequestError::NotConnected; 64])
    );
    alice.connect(&mut bob).await;
    alice.converse(&mut bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_drains_in_order_when_the_peer_answers() {
    let (mut alice, mut bob) = (Node::spawn(1).await, Node::spawn(2).await);
    alice.connect(&mut bob).await;
    let ids: Vec<CommandId> = (0_u8..72).map(|n| alice.ask(key(2), &[n])).collect();
    let _bob = echo(bob);
    let mut answers = Vec::new();
    while answers.len() < ids.len() {
        answers.push(
            alice
                .until("response", |event| match event {
                    NetworkEvent::Response { id, frame, .. } => Some((id, frame)),
                    NetworkEvent::RequestFailed { error, .. } => panic!("{error}"),
                    _ => None,
                })
                .await,
        );
    }
    answers.sort_unstable();
    let expected: Vec<_> = ids.into_iter().zip((0_u8..72).map(|n| vec![n])).collect();
    assert_eq!(answers, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_requests_each_way_at_once_are_all_answered() {
    let (mut alice, mut bob) = (Node::spawn(1).await, Node::spawn(2).await);
    alice.connect(&mut bob).await;
    let tasks = [(alice, key(2)), (bob, key(1))]
        .map(|(node, peer)| tokio::spawn(ask_and_answer(node, peer)));
    for task in tasks {
        task.await.unwrap();
    }
}

/// Asks 100 times, always as many as fit, and answers whatever comes, until everything is answered on both sides.
async fn ask_and_answer(mut node: Node, peer: btcfed_core::PeerKey) {
    let (mut unasked, mut answered, mut served) = (100, 0, 0);
    for _ in 0..72 {
        node.ask(peer, b"question");
        unasked -= 1;
    }
    while answered < 100 || served < 100 {
        match node.events.next().await.unwrap() {
            NetworkEvent::Response { .. } => {
                answered += 1;
                if unasked > 0 {
                    unasked -= 1;
                    node.ask(peer, b"question");
                }
            }
            NetworkEvent::Request { token, frame, .. } => {
                served += 1;
                node.handle
                    .submit(NetworkCommand::Respond { token, frame })
                    .unwrap();
            }
            NetworkEvent::RequestFailed { error, .. } => panic!("{error}"),
            _ => {}
        }
    }
    // The last answers are still on their way.
    echo(node);
}
