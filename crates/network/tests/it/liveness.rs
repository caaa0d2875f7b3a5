//! Who is dead, who only idles, and who was merely not listened to.

use std::net::TcpStream;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use btcfed_core::NodeConfig;
use btcfed_core::network::{DisconnectReason, NetworkCommand, NetworkEvent};
use btcfed_core::{Network as _, Reconfigure as _};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Node, config, eventually, key};

/// Pings every 50 ms, gone after 200 ms of silence.
fn impatient(config: &mut NodeConfig) {
    config.network.keepalive_interval = Duration::from_millis(50);
    config.network.keepalive_timeout = Duration::from_millis(50);
    config.network.keepalive_failures = 3;
}

/// A node on a thread of its own that connects to `node` and then stops doing anything, its sockets open.
fn frozen_peer(seed: u8, node: &Node) -> std::thread::JoinHandle<()> {
    let (addrs, peer) = (node.handle.listen_addrs(), node.key);
    let (thawed, frozen) = sync_channel(0);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let node = runtime.block_on(async {
            let mut node = Node::spawn(seed).await;
            node.dial(Some(peer), &addrs);
            node.connected(peer).await;
            node
        });
        thawed.send(()).unwrap();
        // Nobody drives the runtime from here on.
        std::thread::park();
        drop(node);
    });
    frozen.recv().unwrap();
    thread
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_peer_is_given_up_in_time_and_others_are_not() {
    let (mut alice, mut bob) = (
        Node::with(1, impatient).await,
        Node::with(2, impatient).await,
    );
    alice.connect(&mut bob).await;
    let frozen = tokio::task::block_in_place(|| frozen_peer(3, &alice));
    alice.connected(key(3)).await;
    let start = Instant::now();
    assert_eq!(
        alice.disconnected(key(3)).await,
        DisconnectReason::NotResponding
    );
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(alice.connections(), 1);
    alice.converse(&mut bob).await;
    frozen.thread().unpark();
    tokio::task::block_in_place(|| frozen.join()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_stopped_reading_cannot_hold_its_connection() {
    let mut alice = Node::with(1, impatient).await;
    let frozen = tokio::task::block_in_place(|| frozen_peer(3, &alice));
    alice.connected(key(3)).await;
    // Fill the socket, so that not even a farewell fits.
    for _ in 0..72 {
        let id = alice.command();
        let frame = vec![7; btcfed_core::limits::MAX_FRAME_BYTES];
        alice
            .handle
            .submit(NetworkCommand::Request {
                id,
                peer: key(3),
                frame,
            })
            .unwrap();
    }
    assert_eq!(
        alice.disconnected(key(3)).await,
        DisconnectReason::NotResponding
    );
    eventually(0, || alice.connections()).await;
    frozen.thread().unpark();
    tokio::task::block_in_place(|| frozen.join()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_outlives_the_idle_limit_of_libp2p() {
    let (mut alice, mut bob) = (Node::spawn(1).await, Node::spawn(2).await);
    alice.connect(&mut bob).await;
    // libp2p closes after 10 seconds unless told otherwise; no ping is due before 15.
    let lost = timeout(Duration::from_millis(10_500), alice.disconnected(bob.key)).await;
    assert!(lost.is_err(), "{lost:?}");
    alice.converse(&mut bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_pinged_stays_for_many_deadlines() {
    // Gone after a second of silence: what a busy machine makes of 50 ms is no silence.
    let patient = |config: &mut NodeConfig| {
        impatient(config);
        config.network.keepalive_timeout = Duration::from_millis(320);
    };
    let (mut alice, mut bob) = (Node::with(1, patient).await, Node::with(2, patient).await);
    alice.connect(&mut bob).await;
    let lost = timeout(Duration::from_secs(5), alice.disconnected(bob.key)).await;
    assert!(lost.is_err(), "{lost:?}");
    alice.converse(&mut bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_never_speaks_is_closed_at_the_handshake_deadline() {
    let alice = Node::with(1, |c| {
        c.peers.connection_timeout = Duration::from_millis(300)
    })
    .await;
    let mut socket = TcpStream::connect(("127.0.0.1", alice.port())).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let start = Instant::now();
    tokio::task::block_in_place(|| {
        // Trickling bytes do not move the deadline.
        use std::io::{Read as _, Write as _};
        let mut byte = [0];
        socket.set_nonblocking(true).unwrap();
        loop {
            let _ = socket.write(&[0x13]);
            match socket.read(&mut byte) {
                Ok(0) => return,
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
            assert!(start.elapsed() < Duration::from_secs(5));
        }
    });
    eventually(1, || alice.handle.stats().failed_inbound).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_during_which_nobody_listened_is_not_held_against_the_peers() {
    let fast = |config: &mut NodeConfig| {
        impatient(config);
        config.network.keepalive_interval = Duration::from_millis(5);
        config.network.keepalive_timeout = Duration::from_millis(330);
    };
    let (mut alice, mut bob) = (Node::with(1, fast).await, Node::spawn(2).await);
    alice.connect(&mut bob).await;
    // Alice's events overflow with pings, and she stops listening, for four times her deadline.
    sleep(Duration::from_secs(4)).await;
    let lost = timeout(Duration::from_secs(1), alice.disconnected(key(2))).await;
    assert!(lost.is_err(), "{lost:?}");
    alice.converse(&mut bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shorter_pings_by_reload_hold_for_new_connections_and_kill_no_old_one() {
    let (mut alice, mut bob, mut carol) = (
        Node::spawn(1).await,
        Node::spawn(2).await,
        Node::spawn(3).await,
    );
    alice.connect(&mut bob).await;
    let mut config = config();
    impatient(&mut config);
    alice.handle.prepare(&config).await.unwrap().commit();
    // Bob is pinged every 15 seconds as before, and the new deadline is a fifth of a second.
    let lost = timeout(Duration::from_secs(1), alice.disconnected(bob.key)).await;
    assert!(lost.is_err(), "{lost:?}");
    alice.connect(&mut carol).await;
    let mut pings = 0;
    while pings < 3 {
        alice
            .until("ping", |event| match event {
                NetworkEvent::Ping { peer, .. } if peer == carol.key => Some(()),
                NetworkEvent::Disconnected { .. } => panic!("disconnected"),
                _ => None,
            })
            .await;
        pings += 1;
    }
}
