//! Protocols of the application on the node's connections: bounded, and never in the way of the node's own messages.

use std::time::Duration;

use btcfed_core::limits::{
    MAX_FRAME_BYTES, MAX_PROTOCOL_REQUESTS_IN_FLIGHT, PROTOCOL_REQUEST_QUEUE,
};
use btcfed_core::network::RequestError;
use btcfed_core::{Protocol, ProtocolRequests, Protocols};
use btcfed_network::SpawnOptions;
use futures::FutureExt as _;
use futures::future::join_all;
use tokio::time::{Instant, timeout};

use crate::support::{DEADLINE, Node, config, eventually, key, secret};

async fn serving(seed: u8, name: &str, limit: Duration) -> (Node, Protocol, ProtocolRequests) {
    let mut protocols = Protocols::default();
    let (protocol, requests) = protocols.register(name.parse().unwrap()).unwrap();
    let options = SpawnOptions::new(secret(seed), &config())
        .protocols(protocols)
        .request_timeout(limit);
    (Node::start(options).await.unwrap(), protocol, requests)
}

/// Two connected nodes: the first asks, the second is asked.
async fn pair(seed: u8, limit: Duration) -> (Node, Protocol, Node, ProtocolRequests) {
    let (mut alice, asking, _) = serving(seed, "/chat/1", limit).await;
    let (mut bob, _, requests) = serving(seed + 1, "/chat/1", limit).await;
    alice.connect(&mut bob).await;
    (alice, asking, bob, requests)
}

const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_frame_of_the_application_reaches_its_peer_and_the_answer_comes_back() {
    let (_alice, chat, bob, mut requests) = pair(1, LONG).await;
    let echo = tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            assert_eq!(request.peer, key(1), "the proven key of who asks");
            let frame = request.frame.clone();
            request.answer(frame).unwrap();
        }
    });
    for frame in [Vec::new(), b"hello".to_vec(), vec![7; MAX_FRAME_BYTES]] {
        assert_eq!(chat.request(bob.key, frame.clone()).await, Ok(frame));
    }
    echo.abort();
}

#[tokio::test]
async fn several_protocols_share_a_connection_and_never_mix() {
    let mut ours = Protocols::default();
    let (first, _a) = ours.register("/first/1".parse().unwrap()).unwrap();
    let (second, _b) = ours.register("/second/1".parse().unwrap()).unwrap();
    let options = SpawnOptions::new(secret(3), &config()).protocols(ours);
    let mut alice = Node::start(options).await.unwrap();
    let mut theirs = Protocols::default();
    // Registered in the other order: what counts is the name.
    let (_c, mut to_second) = theirs.register("/second/1".parse().unwrap()).unwrap();
    let (_d, mut to_first) = theirs.register("/first/1".parse().unwrap()).unwrap();
    let options = SpawnOptions::new(secret(4), &config()).protocols(theirs);
    let mut bob = Node::start(options).await.unwrap();
    alice.connect(&mut bob).await;
    let answering = async {
        to_first
            .next()
            .await
            .unwrap()
            .answer(b"one".to_vec())
            .unwrap();
        to_second
            .next()
            .await
            .unwrap()
            .answer(b"two".to_vec())
            .unwrap();
    };
    let asking = async {
        assert_eq!(first.request(key(4), vec![1]).await, Ok(b"one".to_vec()));
        assert_eq!(second.request(key(4), vec![2]).await, Ok(b"two".to_vec()));
    };
    timeout(DEADLINE, async { tokio::join!(answering, asking) })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_protocol_that_the_peer_did_not_register_is_refused_and_the_connection_stays() {
    let (mut alice, chat, _) = serving(5, "/chat/2", LONG).await;
    let (mut bob, _, _requests) = serving(6, "/chat/1", LONG).await;
    alice.connect(&mut bob).await;
    let refused = chat.request(bob.key, vec![1]).await;
    assert_eq!(refused, Err(RequestError::UnsupportedProtocol));
    alice.converse(&mut bob).await;
}

#[tokio::test]
async fn nobody_is_dialled_for_a_request() {
    let (_alice, chat, _) = serving(7, "/chat/1", LONG).await;
    let refused = chat.request(key(8), vec![1]).await;
    assert_eq!(refused, Err(RequestError::NotConnected));
}

#[tokio::test]
async fn a_request_that_the_application_drops_or_never_answers_ends_by_itself() {
    let (_alice, chat, bob, mut requests) = pair(9, Duration::from_millis(300)).await;
    let (refused, ()) = tokio::join!(chat.request(bob.key, vec![1]), async {
        drop(requests.next().await);
    });
    assert_eq!(refused, Err(RequestError::NotAnswered));
    let begun = Instant::now();
    let (late, _kept) = tokio::join!(chat.request(bob.key, vec![1]), requests.next());
    assert!(
        matches!(late, Err(RequestError::Timeout | RequestError::NotAnswered)),
        "{late:?}"
    );
    assert!(begun.elapsed() >= Duration::from_millis(290));
}

#[tokio::test]
async fn a_peer_that_goes_away_ends_what_was_asked_of_it() {
    let (_alice, chat, bob, mut requests) = pair(11, LONG).await;
    let peer = bob.key;
    let (lost, _) = tokio::join!(chat.request(peer, vec![1]), async {
        let _kept = requests.next().await;
        drop(bob);
        std::future::ready(()).await;
    });
    let is_lost = matches!(
        lost,
        Err(RequestError::ConnectionClosed | RequestError::NotAnswered)
    );
    assert!(is_lost, "{lost:?}");
}

#[tokio::test]
async fn an_application_that_does_not_read_makes_its_askers_busy_and_never_the_node() {
    let (mut alice, chat, mut bob, requests) = pair(13, LONG).await;
    let bob_key = bob.key;
    // As many as the asker may have in flight stay unanswered; further ones are turned away at once.
    let ask = || Box::pin(chat.request(bob_key, vec![0; MAX_FRAME_BYTES]));
    let mut running: Vec<_> = (0..MAX_PROTOCOL_REQUESTS_IN_FLIGHT)
        .map(|_| ask())
        .collect();
    for request in &mut running {
        assert_eq!(request.now_or_never(), None);
    }
    assert_eq!(ask().now_or_never(), Some(Err(RequestError::Busy)));
    // Meanwhile the node's own messages come and go.
    let begun = Instant::now();
    for _ in 0..50 {
        alice.converse(&mut bob).await;
    }
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    for request in &mut running {
        assert_eq!(request.now_or_never(), None, "still waiting");
    }
    drop(requests);
    eventually(1, || alice.connections()).await;
}

#[tokio::test]
async fn a_request_that_is_given_up_frees_its_place_at_both_ends() {
    let (_alice, chat, bob, mut requests) = pair(15, LONG).await;
    for _ in 0..(PROTOCOL_REQUEST_QUEUE + 2) {
        let asked = timeout(DEADLINE, async {
            tokio::select! {
                request = requests.next() => request.unwrap(),
                answer = chat.request(bob.key, vec![1]) => panic!("{answer:?}"),
            }
        });
        // The asker has gone: in the end the answer says so, or is lost on the way. Nothing is kept for it.
        drop(asked.await.unwrap());
    }
    // The connection gives the places back a moment after its askers have gone.
    let patient = || async {
        loop {
            match chat.request(bob.key, vec![2]).await {
                Err(RequestError::Busy) => tokio::time::sleep(Duration::from_millis(1)).await,
                other => return other,
            }
        }
    };
    let all = join_all((0..MAX_PROTOCOL_REQUESTS_IN_FLIGHT).map(|_| patient()));
    let answering = async {
        for _ in 0..MAX_PROTOCOL_REQUESTS_IN_FLIGHT {
            requests.next().await.unwrap().answer(vec![3]).unwrap();
        }
    };
    let (answers, ()) = timeout(DEADLINE, async { tokio::join!(all, answering) })
        .await
        .unwrap();
    assert!(
        answers.iter().all(|answer| *answer == Ok(vec![3])),
        "{answers:?}"
    );
}
