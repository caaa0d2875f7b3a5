//! A node that does not keep up makes its peers wait and loses nothing.

use std::time::Duration;

use btcfed_core::Network as _;
use btcfed_core::limits::NETWORK_EVENT_QUEUE;
use btcfed_core::network::{NetworkCommand, NetworkError, NetworkEvent};
use tokio::time::sleep;

use crate::support::{DEADLINE, Node, key};

const REQUESTS: u32 = 768;

const _: () = assert!(
    768 > 2 * NETWORK_EVENT_QUEUE,
    "more than fits into the queue"
);

/// Asks Bob 768 times, numbered, and tells the numbers of the answers.
async fn ask_in_a_row(mut alice: Node) -> Vec<u32> {
    let (mut asked, mut answers) = (0, Vec::new());
    while answers.len() < REQUESTS as usize {
        while asked < REQUESTS && asked < u32::try_from(answers.len()).unwrap() + 72 {
            alice.ask(key(2), &asked.to_be_bytes());
            asked += 1;
        }
        match alice.events.next().await.unwrap() {
            NetworkEvent::Response { frame, .. } => {
                answers.push(u32::from_be_bytes(frame.try_into().unwrap()))
            }
            NetworkEvent::RequestFailed { error, .. } => panic!("{error}"),
            _ => {}
        }
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_node_makes_its_peers_wait_and_loses_nothing() {
    let (mut alice, mut bob) = (Node::spawn(1).await, Node::spawn(2).await);
    alice.connect(&mut bob).await;
    let asking = tokio::spawn(ask_in_a_row(alice));
    let mut served = 0;
    while served < REQUESTS {
        if served % 64 == 0 {
            sleep(Duration::from_millis(20)).await;
        }
        let (_, token, frame) = bob.request().await;
        bob.answer(token, &frame);
        served += 1;
    }
    let mut answers = tokio::time::timeout(DEADLINE, asking)
        .await
        .unwrap()
        .unwrap();
    answers.sort_unstable();
    assert_eq!(answers, (0..REQUESTS).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_taken_while_the_events_are_full() {
    let (mut alice, mut bob) = (Node::spawn(1).await, Node::spawn(2).await);
    alice.connect(&mut bob).await;
    // Overflow Alice's events: every request to a stranger is answered at once.
    let mut refused = 0;
    while refused <= NETWORK_EVENT_QUEUE + 64 {
        let id = alice.command();
        match alice.handle.submit(NetworkCommand::Request {
            id,
            peer: key(9),
            frame: Vec::new(),
        }) {
            Ok(()) => refused += 1,
            Err(NetworkError::Busy) => sleep(Duration::from_millis(1)).await,
            Err(error) => panic!("{error}"),
        }
    }
    // She reads nothing, and still her command takes effect on the other side.
    alice.disconnect(bob.key);
    while refused > 0 {
        alice
            .until("request failed", |event| {
                matches!(event, NetworkEvent::RequestFailed { .. }).then_some(())
            })
            .await;
        refused -= 1;
    }
    alice.disconnected(bob.key).await;
    bob.disconnected(alice.key).await;
}
