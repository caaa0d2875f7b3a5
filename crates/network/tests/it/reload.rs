//! Reload: all or nothing, and no connection notices.

use std::net::TcpListener;
use std::time::Duration;

use btcfed_core::limits::NETWORK_EVENT_QUEUE;
use btcfed_core::network::{DialError, NetworkCommand, NetworkError, NetworkEvent};
use btcfed_core::{ErrorKind, Network as _, NodeConfig, PeerAddr, Reconfigure as _};
use tokio::time::{sleep, timeout};

use crate::support::{DEADLINE, Node, addr, config, eventually, free_port, key};

fn listening_on(addresses: &[PeerAddr]) -> NodeConfig {
    let mut config = config();
    config.network.addresses = addresses.to_vec();
    config
}

fn free_addr() -> PeerAddr {
    addr(&format!("/ip4/127.0.0.1/tcp/{}", free_port()))
}

/// Dials `key(1)` at `there` and hangs up again.
async fn can_connect(node: &mut Node, there: &PeerAddr) -> Result<(), DialError> {
    let id = node.dial(Some(key(1)), std::slice::from_ref(there));
    node.until("dial answered", |event| match event {
        NetworkEvent::Connected { command, .. } if command == Some(id) => Some(Ok(())),
        NetworkEvent::DialFailed {
            id: told,
            mut attempts,
            ..
        } if told == id => Some(attempts.pop().map_or(Ok(()), |(_, error)| Err(error))),
        _ => None,
    })
    .await?;
    node.disconnect(key(1));
    node.disconnected(key(1)).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committed_reload_moves_the_listener_and_keeps_the_connections() {
    let (mut alice, mut bob, mut carol) = (
        Node::spawn(1).await,
        Node::spawn(2).await,
        Node::spawn(3).await,
    );
    bob.connect(&mut alice).await;
    let (old, new) = (alice.addr(), free_addr());
    let staged = alice
        .handle
        .prepare(&listening_on(std::slice::from_ref(&new)))
        .await
        .unwrap();
    // Until the decision both work.
    assert_eq!(can_connect(&mut carol, &old).await, Ok(()));
    assert_eq!(can_connect(&mut carol, &new).await, Ok(()));
    staged.commit();
    eventually(vec![new.clone()], || alice.handle.listen_addrs()).await;
    assert_eq!(can_connect(&mut carol, &new).await, Ok(()));
    assert_eq!(can_connect(&mut carol, &old).await, Err(DialError::Refused));
    alice
        .until("listening", |e| {
            (e == NetworkEvent::Listening { addr: new.clone() }).then_some(())
        })
        .await;
    let closed = NetworkEvent::ListenClosed {
        addr: old,
        error: None,
    };
    alice
        .until("listener closed", |e| (e == closed).then_some(()))
        .await;
    bob.converse(&mut alice).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_reload_leaves_everything_as_it_was() {
    let (alice, mut carol) = (Node::spawn(1).await, Node::spawn(3).await);
    let (old, new) = (alice.addr(), free_addr());
    let staged = alice
        .handle
        .prepare(&listening_on(std::slice::from_ref(&new)))
        .await
        .unwrap();
    drop(staged);
    eventually(vec![old.clone()], || alice.handle.listen_addrs()).await;
    assert_eq!(can_connect(&mut carol, &old).await, Ok(()));
    assert_eq!(can_connect(&mut carol, &new).await, Err(DialError::Refused));
    // Also when nobody waits for the outcome of the preparation.
    let _ = timeout(
        Duration::ZERO,
        alice
            .handle
            .prepare(&listening_on(std::slice::from_ref(&new))),
    )
    .await;
    eventually(true, || {
        TcpListener::bind(new.socket_addr().unwrap()).is_ok()
    })
    .await;
    assert_eq!(alice.handle.listen_addrs(), [old]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_cannot_bind_is_refused_whole_and_names_the_key() {
    let (alice, mut carol) = (Node::spawn(1).await, Node::spawn(3).await);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let (old, free) = (alice.addr(), free_addr());
    let taken = PeerAddr::from(other.local_addr().unwrap());
    let refusal = alice
        .handle
        .prepare(&listening_on(&[free.clone(), taken.clone()]))
        .await
        .unwrap_err();
    assert_eq!(
        (refusal.component, refusal.key, refusal.kind),
        ("network", Some("network.addresses"), ErrorKind::Config)
    );
    assert_eq!(
        refusal.reason,
        NetworkError::AddressInUse { addr: taken }.to_string()
    );
    eventually(vec![old.clone()], || alice.handle.listen_addrs()).await;
    assert_eq!(can_connect(&mut carol, &old).await, Ok(()));
    eventually(true, || {
        TcpListener::bind(free.socket_addr().unwrap()).is_ok()
    })
    .await;
    let twice = alice
        .handle
        .prepare(&listening_on(&[free.clone(), free]))
        .await
        .unwrap_err();
    assert!(twice.reason.contains("listed twice"), "{twice}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_reload_touches_nothing() {
    let mut alice = Node::spawn(1).await;
    let before = alice.addr();
    alice
        .until("listening", |e| {
            matches!(e, NetworkEvent::Listening { .. }).then_some(())
        })
        .await;
    // The configured port is 0, and still the listener is the same one.
    alice.handle.prepare(&config()).await.unwrap().commit();
    let event = timeout(Duration::from_millis(100), alice.events.next()).await;
    assert!(event.is_err(), "{event:?}");
    assert_eq!(alice.handle.listen_addrs(), [before]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_can_be_widened_to_all_interfaces_and_back_on_its_own_port() {
    let (mut alice, mut carol) = (Node::spawn(1).await, Node::spawn(3).await);
    let (first, narrow) = (alice.addr(), free_addr());
    let wide = addr(&format!("/ip4/0.0.0.0/tcp/{}", narrow.port().unwrap()));
    alice
        .handle
        .prepare(&listening_on(std::slice::from_ref(&narrow)))
        .await
        .unwrap()
        .commit();
    let mut open = Vec::from([first]);
    for addresses in [&wide, &narrow, &wide, &narrow] {
        alice
            .handle
            .prepare(&listening_on(std::slice::from_ref(addresses)))
            .await
            .unwrap()
            .commit();
        // A connection that waits in the queue of the socket being closed is reset: the caller tries again.
        while can_connect(&mut carol, &narrow).await.is_err() {
            sleep(Duration::from_millis(1)).await;
        }
    }
    eventually(vec![narrow.clone()], || alice.handle.listen_addrs()).await;
    // What was told adds up to the same.
    while open != [narrow.clone()] {
        alice
            .until("listener events", |event| match event {
                NetworkEvent::Listening { addr } => {
                    open.push(addr);
                    Some(())
                }
                NetworkEvent::ListenClosed { addr, .. } => {
                    open.retain(|known| *known != addr);
                    Some(())
                }
                _ => None,
            })
            .await;
        open.sort_unstable();
        open.dedup();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_reload_at_a_time() {
    let alice = Node::spawn(1).await;
    let first = alice
        .handle
        .prepare(&listening_on(&[free_addr()]))
        .await
        .unwrap();
    let second = alice
        .handle
        .prepare(&listening_on(&[free_addr()]))
        .await
        .unwrap_err();
    assert_eq!(second.kind, ErrorKind::Transient);
    // Decided, though perhaps not carried out yet: the next one is let in at once.
    drop(first);
    for _ in 0..20 {
        alice
            .handle
            .prepare(&listening_on(&[free_addr()]))
            .await
            .unwrap()
            .commit();
        drop(
            alice
                .handle
                .prepare(&listening_on(&[free_addr()]))
                .await
                .unwrap(),
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_deadlines_change_while_connections_live() {
    let (mut alice, mut bob, mut carol) = (
        Node::spawn(1).await,
        Node::spawn(2).await,
        Node::spawn(3).await,
    );
    bob.connect(&mut alice).await;
    let mut tight = config();
    tight.network.max_connections = 1;
    tight.peers.connection_timeout = Duration::from_millis(200);
    alice.handle.prepare(&tight).await.unwrap().commit();
    let denied = async {
        loop {
            let id = alice.dial(Some(carol.key), &[carol.addr()]);
            let answer = alice.until("answer", |event| match event {
                NetworkEvent::DialFailed {
                    id: told, attempts, ..
                } if told == id => Some(Some(attempts)),
                NetworkEvent::Connected { command, .. } if command == Some(id) => Some(None),
                _ => None,
            });
            if let Some(attempts) = answer.await {
                return attempts;
            }
            alice.disconnect(carol.key);
            alice.disconnected(carol.key).await;
        }
    };
    let attempts = timeout(DEADLINE, denied).await.unwrap();
    assert!(
        matches!(attempts[..], [(_, DialError::Denied { .. })]),
        "{attempts:?}"
    );
    bob.converse(&mut alice).await;
    // The dial timeout as well.
    tight.network.max_connections = 9;
    alice.handle.prepare(&tight).await.unwrap().commit();
    carol.connect(&mut alice).await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let start = std::time::Instant::now();
    let id = alice.dial(
        Some(key(9)),
        &[PeerAddr::from(silent.local_addr().unwrap())],
    );
    let attempts = alice.dial_failed(id).await;
    assert!(
        matches!(attempts[..], [(_, DialError::Timeout)]),
        "{attempts:?}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_can_be_prepared_while_the_events_are_full() {
    let mut alice = Node::spawn(1).await;
    let mut refused = 0;
    while refused <= NETWORK_EVENT_QUEUE + 64 {
        let id = alice.command();
        match alice.handle.submit(NetworkCommand::Request {
            id,
            peer: key(9),
            frame: Vec::new(),
        }) {
            Ok(()) => refused += 1,
            Err(_) => sleep(Duration::from_millis(1)).await,
        }
    }
    let new = free_addr();
    timeout(DEADLINE, alice.handle.prepare(&listening_on(&[new])))
        .await
        .unwrap()
        .unwrap()
        .commit();
}
