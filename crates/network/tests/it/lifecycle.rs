//! How the task ends, and what the handle says then.

use std::time::Duration;

use btcfed_core::network::{
    DisconnectReason, NetworkCommand, NetworkError, NetworkEvent, RequestError,
};
use btcfed_core::{Network as _, Reconfigure as _};
use tokio::time::timeout;

use crate::support::{DEADLINE, Node, addr, config, eventually, key};

#[tokio::test(flavor = "multi_thread")]
async fn the_task_ends_when_the_last_handle_is_dropped_and_the_port_is_free_again() {
    let (mut alice, bob) = (Node::spawn(1).await, Node::spawn(2).await);
    let bob_addr = bob.addr();
    alice.dial(Some(bob.key), std::slice::from_ref(&bob_addr));
    alice.connected(bob.key).await;
    let clone = bob.handle.clone();
    drop(bob.handle);
    assert!(!bob.task.is_finished());
    drop(clone);
    timeout(DEADLINE, bob.task).await.unwrap().unwrap();
    assert_eq!(alice.disconnected(key(2)).await, DisconnectReason::Remote);
    Node::with(2, |c| c.network.addresses = vec![bob_addr]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_task_ends_when_nobody_reads_its_events_any_more() {
    let alice = Node::spawn(1).await;
    drop(alice.events);
    timeout(DEADLINE, alice.task).await.unwrap().unwrap();
    let command = NetworkCommand::Disconnect { peer: key(2) };
    assert_eq!(alice.handle.submit(command), Err(NetworkError::Closed));
    assert!(
        alice
            .handle
            .prepare(&config())
            .await
            .unwrap_err()
            .reason
            .contains("ended")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_given_before_the_end_still_arrive() {
    for round in 0..10 {
        let (mut alice, mut bob) = (Node::spawn(1).await, Node::spawn(2).await);
        alice.connect(&mut bob).await;
        let id = alice.ask(bob.key, b"question");
        let (_, token, _) = bob.request().await;
        let answer = vec![round; 60_000];
        bob.answer(token, &answer);
        drop(bob);
        assert_eq!(alice.response(id).await, answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_command_queue_is_busy_and_what_was_taken_is_answered_exactly_once() {
    let mut alice = Node::spawn(1).await;
    let mut taken = Vec::new();
    loop {
        let id = alice.command();
        match alice.handle.submit(NetworkCommand::Request {
            id,
            peer: key(2),
            frame: Vec::new(),
        }) {
            Ok(()) => taken.push(id),
            Err(NetworkError::Busy) => break,
            Err(error) => panic!("{error}"),
        }
        assert!(taken.len() < 2_000, "never busy");
        if taken.len() > 700 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let mut answered = Vec::new();
    while answered.len() < taken.len() {
        answered.push(
            alice
                .until("answer", |event| match event {
                    NetworkEvent::RequestFailed {
                        id,
                        error: RequestError::NotConnected,
                        ..
                    } => Some(id),
                    _ => None,
                })
                .await,
        );
    }
    assert_eq!(answered, taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_connections_leave_the_counts_at_zero() {
    const ROUNDS: usize = 100;
    let (mut alice, mut bob) = (Node::spawn(1).await, Node::spawn(2).await);
    let nobody = addr(&format!(
        "/ip4/127.0.0.1/tcp/{}",
        crate::support::free_port()
    ));
    for _ in 0..ROUNDS {
        alice.connect(&mut bob).await;
        alice.disconnect(bob.key);
        alice.disconnected(bob.key).await;
        bob.disconnected(alice.key).await;
        let id = alice.dial(Some(key(3)), std::slice::from_ref(&nobody));
        alice.dial_failed(id).await;
    }
    eventually((0, 0), || (alice.connections(), bob.connections())).await;
}
