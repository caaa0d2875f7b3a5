//! Commands that are given up by their id.

use std::time::Duration;

use btcfed_core::PeerAddr;
use btcfed_core::network::{CommandId, DialError, NetworkCommand, NetworkEvent, RequestError};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use crate::support::{DEADLINE, Node, addr, eventually, key};

/// How long a cancelled command may go on.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Somebody who takes connections and never says a word.
async fn silent() -> (TcpListener, PeerAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, addr(&format!("/ip4/127.0.0.1/tcp/{port}")))
}

#[tokio::test]
async fn a_cancelled_dial_ends_at_once_with_its_socket_whether_or_not_the_peer_is_known() {
    let mut node = Node::spawn(1).await;
    for peer in [Some(key(2)), None] {
        let (listener, first) = silent().await;
        let (_second_listener, second) = silent().await;
        let id = node.dial(peer, &[first.clone(), second.clone()]);
        let (mut stream, _) = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
        let begun = Instant::now();
        node.submit(NetworkCommand::Cancel { id });
        let mut attempts = node.dial_failed(id).await;
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
        attempts.sort_by_key(|(addr, _)| *addr != first);
        let aborted = |addr: PeerAddr| (addr, DialError::Aborted);
        assert_eq!(attempts, [aborted(first), aborted(second)]);
        // Whatever of the handshake was on its way, then the end.
        let mut rest = Vec::new();
        let ended = timeout(DEADLINE, stream.read_to_end(&mut rest));
        ended.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn cancelling_one_dial_disturbs_neither_another_dial_nor_a_connection() {
    let (mut node, mut friend) = (Node::spawn(3).await, Node::spawn(4).await);
    node.connect(&mut friend).await;
    let ((_a, first), (_b, second)) = (silent().await, silent().await);
    let (cancelled, kept) = (
        node.dial(Some(key(5)), &[first]),
        node.dial(Some(key(6)), &[second]),
    );
    node.submit(NetworkCommand::Cancel { id: cancelled });
    node.submit(NetworkCommand::Cancel { id: CommandId(999) });
    node.dial_failed(cancelled).await;
    node.converse(&mut friend).await;
    let begun = Instant::now();
    node.submit(NetworkCommand::Cancel { id: kept });
    node.dial_failed(kept).await;
    assert!(begun.elapsed() < AT_ONCE, "it was still under way");
    eventually(1, || node.connections()).await;
}

#[tokio::test]
async fn a_cancelled_request_ends_at_once_and_its_late_answer_finds_nobody() {
    let (mut node, mut friend) = (Node::spawn(7).await, Node::spawn(8).await);
    node.connect(&mut friend).await;
    let id = node.ask(friend.key, b"slow");
    let (_, token, _) = friend.request().await;
    let begun = Instant::now();
    node.submit(NetworkCommand::Cancel { id });
    let error = node
        .until("the end of the request", |event| match event {
            NetworkEvent::RequestFailed {
                id: failed, error, ..
            } if failed == id => Some(error),
            NetworkEvent::Response { .. } => panic!("answered"),
            _ => None,
        })
        .await;
    assert_eq!(error, RequestError::Cancelled);
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    friend.answer(token, b"late");
    // Were the late answer reported, it would come before this one.
    node.converse(&mut friend).await;
}
