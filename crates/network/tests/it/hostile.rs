//! Strangers: port scanners, silent sockets, and libp2p peers that send anything but frames.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use btcfed_core::limits::MAX_AGENT_BYTES;
use btcfed_core::network::{NetworkEvent, RequestError};
use btcfed_network::PROTOCOL;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::core::transport::PortUse;
use libp2p::request_response::{self, Codec, ProtocolSupport};
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, identify, noise, ping, tcp, yamux,
};
use tokio::time::timeout;

use crate::support::{DEADLINE, Node, eventually};

/// Sends and receives whatever bytes there are.
#[derive(Clone, Default)]
struct RawBytes;

impl Codec for RawBytes {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> std::io::Result<Vec<u8>>
    where
        T: futures::AsyncRead + Unpin + Send,
    {
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    async fn read_response<T>(
        &mut self,
        protocol: &StreamProtocol,
        io: &mut T,
    ) -> std::io::Result<Vec<u8>>
    where
        T: futures::AsyncRead + Unpin + Send,
    {
        self.read_request(protocol, io).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> std::io::Result<()>
    where
        T: futures::AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await
    }

    async fn write_response<T>(
        &mut self,
        protocol: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> std::io::Result<()>
    where
        T: futures::AsyncWrite + Unpin + Send,
    {
        self.write_request(protocol, io, bytes).await
    }
}

#[derive(NetworkBehaviour)]
struct Foreign {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    raw: request_response::Behaviour<RawBytes>,
}

type RawEvent = request_response::Event<Vec<u8>, Vec<u8>>;

/// A plain libp2p node that speaks `protocol` with raw bytes and calls itself `agent`.
fn foreign(protocol: &'static str, agent: &str) -> Swarm<Foreign> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(
            tcp::Config::default(),
            noise::Config::new,
            yamux::Config::default,
        )
        .unwrap()
        .with_behaviour(|key| Foreign {
            identify: identify::Behaviour::new(
                identify::Config::new("/foreign/1".to_owned(), key.public())
                    .with_agent_version(agent.to_owned()),
            ),
            ping: ping::Behaviour::default(),
            raw: request_response::Behaviour::new(
                [(StreamProtocol::new(protocol), ProtocolSupport::Full)],
                request_response::Config::default(),
            ),
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build()
}

/// Connects `swarm` to `node` and gives the node's libp2p id.
async fn connect(swarm: &mut Swarm<Foreign>, node: &Node) -> PeerId {
    let addr: Multiaddr = node.addr().to_string().parse().unwrap();
    swarm
        .dial(
            DialOpts::unknown_peer_id()
                .address(addr)
                .allocate_new_port()
                .build(),
        )
        .unwrap();
    loop {
        match timeout(DEADLINE, swarm.select_next_some()).await.unwrap() {
            SwarmEvent::ConnectionEstablished {
                peer_id, endpoint, ..
            } => {
                assert!(matches!(
                    endpoint,
                    libp2p::core::ConnectedPoint::Dialer {
                        port_use: PortUse::New,
                        ..
                    }
                ));
                return peer_id;
            }
            SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
            _ => {}
        }
    }
}

/// Sends raw bytes and waits for the raw answer, or its failure. The connection must not end.
async fn exchange(
    swarm: &mut Swarm<Foreign>,
    peer: PeerId,
    bytes: &[u8],
) -> Result<Vec<u8>, String> {
    swarm
        .behaviour_mut()
        .raw
        .send_request(&peer, bytes.to_vec());
    loop {
        match timeout(DEADLINE, swarm.select_next_some()).await.unwrap() {
            SwarmEvent::Behaviour(ForeignEvent::Raw(RawEvent::Message {
                message: request_response::Message::Response { response, .. },
                ..
            })) => return Ok(response),
            SwarmEvent::Behaviour(ForeignEvent::Raw(RawEvent::OutboundFailure {
                error, ..
            })) => {
                return Err(error.to_string());
            }
            SwarmEvent::ConnectionClosed { cause, .. } => panic!("connection closed: {cause:?}"),
            _ => {}
        }
    }
}

/// Answers requests with their own frames until told to stop, and gives the node back.
async fn serve_while<T>(node: &mut Node, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            (_, token, frame) = node.request() => node.answer(token, &frame),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_frames_cost_their_stream_and_nothing_else() {
    let mut node = Node::spawn(1).await;
    let mut swarm = foreign(PROTOCOL, "foreign");
    let peer = connect(&mut swarm, &node).await;
    let malformed: [&[u8]; 5] = [
        &[0xff; 11],
        &[0x81, 0x80, 0x04],
        &[0x80, 0x00],
        &[0x05, 1, 2],
        &[],
    ];
    let work = async {
        assert_eq!(
            exchange(&mut swarm, peer, b"\x05hello").await.as_deref(),
            Ok(&b"\x05hello"[..])
        );
        for bytes in malformed {
            let outcome = exchange(&mut swarm, peer, bytes).await;
            assert!(
                outcome.as_ref().is_err() || outcome.as_deref() == Ok(&[]),
                "{bytes:?}: {outcome:?}"
            );
        }
        // What stands behind a frame is not read.
        assert_eq!(
            exchange(&mut swarm, peer, b"\x00behind").await.as_deref(),
            Ok(&b"\x00"[..])
        );
    };
    serve_while(&mut node, work).await;
    // Three were no frames; the two that ended early are nobody's fault.
    assert_eq!(node.handle.stats().malformed_frames, 3);
    assert_eq!(node.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_answer_is_the_answer_of_a_bad_peer() {
    let mut node = Node::spawn(1).await;
    let mut swarm = foreign(PROTOCOL, "foreign");
    let local = *swarm.local_peer_id();
    connect(&mut swarm, &node).await;
    let peer = btcfed_core::PeerId::from_bytes(&local.to_bytes())
        .unwrap()
        .key();
    node.connected(peer).await;
    for (answer, expected) in [
        (&[0xff; 11][..], Some(RequestError::Malformed)),
        (&[0x05, 1], Some(RequestError::ConnectionClosed)),
        (&[0x01, 7], None),
    ] {
        let id = node.ask(peer, b"question");
        let answering = async {
            loop {
                if let SwarmEvent::Behaviour(ForeignEvent::Raw(RawEvent::Message {
                    message: request_response::Message::Request { channel, .. },
                    ..
                })) = swarm.select_next_some().await
                {
                    swarm
                        .behaviour_mut()
                        .raw
                        .send_response(channel, answer.to_vec())
                        .unwrap();
                }
            }
        };
        let outcome = node.until("outcome", |event| match event {
            NetworkEvent::Response { id: told, .. } if told == id => Some(None),
            NetworkEvent::RequestFailed {
                id: told, error, ..
            } if told == id => Some(Some(error)),
            _ => None,
        });
        tokio::select! {
            outcome = outcome => assert_eq!(outcome, expected),
            () = answering => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_of_another_protocol_is_recognised_and_its_claims_are_cut() {
    let mut node = Node::spawn(1).await;
    let mut swarm = foreign("/something/else", &"\u{1b}[31mé".repeat(200));
    let local = *swarm.local_peer_id();
    let node_id = connect(&mut swarm, &node).await;
    let peer = btcfed_core::PeerId::from_bytes(&local.to_bytes())
        .unwrap()
        .key();
    let work = async {
        // Keep the foreign node going while ours looks at it.
        loop {
            swarm.select_next_some().await;
        }
    };
    let look = async {
        node.connected(peer).await;
        let (agent, speaks_protocol) = node
            .until("identified", |event| match event {
                NetworkEvent::Identified {
                    agent,
                    speaks_protocol,
                    ..
                } => Some((agent, speaks_protocol)),
                _ => None,
            })
            .await;
        assert!(
            !speaks_protocol && agent.len() <= MAX_AGENT_BYTES && agent.starts_with("\u{1b}[31m"),
            "{agent:?}"
        );
        let id = node.ask(peer, b"question");
        let error = node
            .until("request failed", |event| match event {
                NetworkEvent::RequestFailed {
                    id: told, error, ..
                } if told == id => Some(error),
                _ => None,
            })
            .await;
        assert_eq!(error, RequestError::UnsupportedProtocol);
    };
    tokio::select! {
        () = look => {}
        () = work => {}
    }
    assert_eq!(node_id.to_bytes(), node.key.peer_id().to_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_streams_on_one_connection_leaves_other_peers_alone() {
    let (mut node, mut honest) = (Node::spawn(1).await, Node::spawn(2).await);
    honest.connect(&mut node).await;
    let mut swarm = foreign(PROTOCOL, "foreign");
    let peer = connect(&mut swarm, &node).await;
    // Complete frames that nobody answers, many more than a connection may have open.
    for _ in 0..200 {
        swarm
            .behaviour_mut()
            .raw
            .send_request(&peer, b"\x01x".to_vec());
    }
    let flood = tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    for _ in 0..20 {
        let id = honest.ask(node.key, b"honest");
        let (token, frame) = node
            .until("request", |event| match event {
                NetworkEvent::Request { peer, token, frame } if peer == honest.key => {
                    Some((token, frame))
                }
                _ => None,
            })
            .await;
        node.answer(token, &frame);
        assert_eq!(honest.response(id).await, b"honest");
    }
    flood.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_port_harms_nobody() {
    let (mut node, mut honest) = (Node::spawn(1).await, Node::spawn(2).await);
    honest.connect(&mut node).await;
    let port = node.port();
    let noise: Vec<u8> = (0..4096_u32)
        .map(|n| u8::try_from(n * n % 251).unwrap())
        .collect();
    let scanners = tokio::task::spawn_blocking(move || {
        let banners: [&[u8]; 6] = [
            b"",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            &noise,
            &vec![0; 1 << 20],
        ];
        for banner in banners.into_iter().cycle().take(60) {
            let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_millis(20)))
                .unwrap();
            // The node may hang up at any byte.
            let _ = socket.write_all(banner);
            let _ = socket.read(&mut [0; 64]);
        }
    });
    let work = async { scanners.await.unwrap() };
    serve_while(&mut node, work).await;
    honest.converse(&mut node).await;
    assert_eq!(node.connections(), 1);
    eventually(60, || node.handle.stats().failed_inbound).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_sockets_hold_their_place_only_until_the_handshake_deadline() {
    let mut node = Node::with(1, |c| {
        c.network.max_pending = 4;
        c.peers.connection_timeout = Duration::from_millis(500);
    })
    .await;
    let mut honest = Node::spawn(2).await;
    let sockets: Vec<TcpStream> = (0..40)
        .map(|_| TcpStream::connect(("127.0.0.1", node.port())).unwrap())
        .collect();
    // The first four are in their handshake for ever; the others were turned away at once.
    eventually(36, || node.handle.stats().refused_connections).await;
    eventually(4, || node.handle.stats().failed_inbound).await;
    honest.connect(&mut node).await;
    honest.converse(&mut node).await;
    drop(sockets);
}
