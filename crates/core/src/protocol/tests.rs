use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::identity::SecretKey;

fn peer(seed: u8) -> PeerKey {
    SecretKey::from_seed([seed; 32]).public()
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn registered() -> (Protocol, ProtocolRequests, ProtocolPorts) {
    let mut protocols = Protocols::default();
    let (protocol, requests) = protocols.register("/a/1".parse().unwrap()).unwrap();
    (protocol, requests, protocols.into_ports())
}

#[test]
fn names_are_a_slash_and_visible_ascii_within_the_bound() {
    let longest = format!("/{}", "x".repeat(MAX_PROTOCOL_NAME_BYTES - 1));
    for name in ["/a", "/chat/1.0.0", longest.as_str()] {
        assert_eq!(name.parse::<ProtocolName>().unwrap().to_string(), name);
    }
    for name in [
        "",
        "/",
        "chat",
        "/a b",
        "/a\n",
        "/\u{e9}",
        &format!("{longest}x"),
    ] {
        assert_eq!(
            name.parse::<ProtocolName>(),
            Err(RegisterError::Name),
            "{name:?}"
        );
    }
    for name in [
        "/vtcp/btc-foundation/v1.0.0",
        "/ipfs/id/1.0.0",
        "/noise",
        "/yamux/1.0.0",
    ] {
        assert_eq!(
            name.parse::<ProtocolName>(),
            Err(RegisterError::Reserved),
            "{name:?}"
        );
    }
}

#[test]
fn a_protocol_is_registered_once_and_no_more_than_the_bound() {
    let mut protocols = Protocols::default();
    for n in 0..MAX_PROTOCOLS {
        let name: ProtocolName = format!("/p/{n}").parse().unwrap();
        assert!(protocols.register(name.clone()).is_ok());
        assert_eq!(
            protocols.register(name).err(),
            Some(RegisterError::Registered)
        );
    }
    let one_more = protocols.register("/one/more".parse().unwrap());
    assert_eq!(one_more.err(), Some(RegisterError::TooMany));
}

#[test]
fn requests_beyond_the_limit_of_a_peer_are_busy_until_one_ends() {
    let (protocol, _requests, mut ports) = registered();
    let mut running = Vec::new();
    for _ in 0..MAX_PROTOCOL_REQUESTS_IN_FLIGHT {
        let mut request = Box::pin(protocol.request(peer(1), vec![1]));
        assert!(poll(request.as_mut()).is_pending());
        running.push(request);
    }
    let busy = poll(pin!(protocol.request(peer(1), vec![1])));
    assert_eq!(busy, Poll::Ready(Err(RequestError::Busy)));
    let mut other = Box::pin(protocol.request(peer(2), vec![1]));
    assert!(
        poll(other.as_mut()).is_pending(),
        "another peer is not concerned"
    );
    ports.commands.try_recv().unwrap().finish(Ok(vec![7]));
    assert_eq!(poll(running[0].as_mut()), Poll::Ready(Ok(vec![7])));
    assert!(poll(pin!(protocol.request(peer(1), vec![1]))).is_pending());
}

#[test]
fn a_full_queue_is_busy_and_a_network_that_ended_connects_nobody() {
    let (protocol, _requests, ports) = registered();
    let mut running = Vec::new();
    for n in 0..PROTOCOL_REQUEST_QUEUE {
        let mut request = Box::pin(protocol.request(peer(u8::try_from(n).unwrap()), vec![]));
        assert!(poll(request.as_mut()).is_pending());
        running.push(request);
    }
    let full = poll(pin!(protocol.request(peer(255), vec![])));
    assert_eq!(full, Poll::Ready(Err(RequestError::Busy)));
    drop(ports);
    let ended = poll(pin!(protocol.request(peer(255), vec![])));
    assert_eq!(ended, Poll::Ready(Err(RequestError::NotConnected)));
    assert_eq!(
        poll(running[0].as_mut()),
        Poll::Ready(Err(RequestError::ConnectionClosed))
    );
}

#[test]
fn a_frame_above_the_limit_is_neither_sent_nor_answered() {
    let (protocol, mut requests, mut ports) = registered();
    let large = poll(pin!(
        protocol.request(peer(1), vec![0; MAX_FRAME_BYTES + 1])
    ));
    assert_eq!(large, Poll::Ready(Err(RequestError::FrameTooLarge)));
    assert!(ports.commands.try_recv().is_err());
    let (_, mut answer) = ports.inboxes[0].deliver(peer(1), vec![1]).unwrap();
    let request = requests.0.try_recv().unwrap();
    assert_eq!(
        request.answer(vec![0; MAX_FRAME_BYTES + 1]),
        Err(RequestError::FrameTooLarge)
    );
    assert!(answer.try_recv().is_err());
    let (_, mut answer) = ports.inboxes[0].deliver(peer(1), vec![1]).unwrap();
    requests
        .0
        .try_recv()
        .unwrap()
        .answer(vec![0; MAX_FRAME_BYTES])
        .unwrap();
    assert_eq!(answer.try_recv().unwrap().len(), MAX_FRAME_BYTES);
}

#[test]
fn an_application_that_does_not_take_requests_refuses_those_beyond_the_queue() {
    let (_protocol, requests, ports) = registered();
    for _ in 0..PROTOCOL_REQUEST_QUEUE {
        assert!(ports.inboxes[0].deliver(peer(1), Vec::new()).is_ok());
    }
    assert!(matches!(
        ports.inboxes[0].deliver(peer(1), Vec::new()),
        Err(RequestError::Busy)
    ));
    drop(requests);
    assert!(ports.inboxes[0].deliver(peer(1), Vec::new()).is_err());
}

#[test]
fn a_dropped_request_frees_its_place_and_is_seen_as_abandoned() {
    let (protocol, _requests, mut ports) = registered();
    let mut request = Box::pin(protocol.request(peer(1), vec![1]));
    assert!(poll(request.as_mut()).is_pending());
    let command = ports.commands.try_recv().unwrap();
    assert!(!command.is_abandoned());
    drop(request);
    assert!(command.is_abandoned());
    drop(command);
    assert!(protocol.in_flight.lock().unwrap().is_empty());
}
