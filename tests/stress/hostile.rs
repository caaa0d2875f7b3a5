//! Strangers that hold sockets, trickle bytes, stall in the handshake, come with many names, open and reset streams, and
//! never read: an honest newcomer does not notice, and neither memory nor the log grow with them.
//!
//! In a network of its own where possible, each attack from an address of its own: a node exempts loopback from the limit
//! per address, so on loopback this would be an attack that no federation sees.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use btcfed_core::config::{BitcoinNetwork, NodeConfig};
use btcfed_core::network::{CommandId, Network as _, NetworkCommand, NetworkEvent};
use btcfed_core::testing::test_secret;
use btcfed_core::{PeerId, PeerKey};
use btcfed_network::testing::Stranger;
use btcfed_network::{SpawnOptions, spawn};

use crate::common::daemon::Daemon;
use crate::common::figures::{Figures, Number as _, quantile};
use crate::common::namespace::inside;
use crate::common::peers::Peers;
use crate::common::process::{entries, memory};
use crate::common::proxy::{Proxy, Weather};
use crate::common::{messages, rounds, wait_for};
use crate::{alone, panics};

/// The node is 10.77.0.1. Where each attack comes from: a connection to an own address comes from that address.
const ATTACKERS: [u8; 5] = [2, 3, 4, 5, 6];
const PREPARE: &str =
    "ip link set lo up; for n in 1 2 3 4 5 6; do ip addr add 10.77.0.$n/32 dev lo; done";

const SLOW_SOCKETS: usize = 500;
const STALLED_SOCKETS: usize = 500;
const NAMES: usize = 200;
const STREAMS: usize = 10_000;

/// More memory than this for all attacks together is too much: the limits of the node allow for about 130 connections
/// with 64 KiB frames, and allocators keep some of what was freed.
const MEMORY_GROWTH: u64 = 48 << 20;

/// Bytes of log per hostile peer and hour.
const LOG_RATE: f64 = 1_048_576.0;

/// What attacks count.
#[derive(Default)]
struct Score {
    stop: AtomicBool,
    sockets: AtomicUsize,
    names: AtomicUsize,
    streams: AtomicUsize,
    requests: AtomicUsize,
}

impl Score {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn tell(&self, figures: &mut Figures) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        let least = SLOW_SOCKETS + STALLED_SOCKETS;
        figures.at_least("sockets opened", count(&self.sockets), least, "");
        figures.seen("identities that came through", count(&self.names), "");
        figures.at_least(
            "streams opened and reset",
            count(&self.streams),
            STREAMS,
            "",
        );
        let unread = "requests of the one who never reads";
        figures.at_least(unread, count(&self.requests), 1.0, "");
    }
}

/// Holds `count` sockets that say `first` and then one byte every five seconds, or nothing more. What the node closes is
/// opened again, as fast as it closes.
fn sockets(to: SocketAddr, count: usize, first: &'static [u8], trickle: bool, score: &Score) {
    let mut held: Vec<TcpStream> = Vec::new();
    let mut spoken = Instant::now();
    while score.goes_on() {
        while held.len() < count && score.goes_on() {
            let Ok(mut socket) = TcpStream::connect_timeout(&to, Duration::from_secs(1)) else {
                break;
            };
            score.sockets.fetch_add(1, Ordering::Relaxed);
            // The node may have hung up already.
            let _ = socket.write_all(first);
            held.push(socket);
        }
        if spoken.elapsed() >= Duration::from_secs(5) {
            spoken = Instant::now();
            held.retain_mut(|socket| !trickle || socket.write_all(&[0x13]).is_ok());
        }
        held.retain(|socket| !is_closed(socket));
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn is_closed(socket: &TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    let closed = match socket.peek(&mut [0]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    };
    socket.set_nonblocking(false).unwrap();
    closed
}

/// Two hundred identities from one address at once, again and again.
async fn names(to: SocketAddr, score: Arc<Score>) {
    while score.goes_on() {
        let one = |score: Arc<Score>| async move {
            if let Ok(stranger) = Stranger::connect(to, Duration::from_secs(10)).await {
                score.names.fetch_add(1, Ordering::Relaxed);
                stranger.stay(Duration::from_secs(5)).await;
            }
        };
        let all: Vec<_> = (0..NAMES)
            .map(|_| tokio::spawn(one(Arc::clone(&score))))
            .collect();
        for task in all {
            task.await.unwrap();
        }
    }
}

/// Opens and resets streams; when the node hangs up, under a new name.
async fn streams(to: SocketAddr, score: Arc<Score>) {
    while score.goes_on() {
        let Ok(mut stranger) = Stranger::connect(to, Duration::from_secs(10)).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let opened = stranger
            .open_and_reset(STREAMS, Duration::from_secs(5))
            .await;
        score.streams.fetch_add(opened, Ordering::Relaxed);
    }
}

/// Asks for the whole list as often as it can and never reads an answer.
async fn deaf(proxy: Arc<Proxy>, score: Arc<Score>) {
    let mut config = NodeConfig::default();
    config.network.addresses.clear();
    config.network.keepalive_timeout = Duration::from_secs(300);
    let frame = messages::handshake(BitcoinNetwork::Mainnet, None);
    let (handle, mut events, _task) = spawn(SpawnOptions::new(test_secret(900), &config))
        .await
        .unwrap();
    let addr: btcfed_core::PeerAddr = btcfed_core::PeerAddr::from_socket_addr(proxy.addr);
    let (mut peer, mut id) = (None, 0);
    while score.goes_on() {
        id += 1;
        // A full queue is what this is about.
        let _ = match peer {
            None => handle.submit(NetworkCommand::Dial {
                id: CommandId(id),
                peer: None,
                addrs: vec![addr.clone()],
            }),
            Some(peer) => handle.submit(NetworkCommand::Request {
                id: CommandId(id),
                peer,
                frame: frame.clone(),
            }),
        };
        match tokio::time::timeout(Duration::from_millis(20), events.next()).await {
            Ok(Some(NetworkEvent::Connected { peer: there, .. })) => {
                peer = Some(there);
                proxy.deafen(true);
            }
            Ok(Some(NetworkEvent::Disconnected { .. })) => {
                peer = None;
                proxy.deafen(false);
            }
            Ok(None) => return,
            _ => {}
        }
        if peer.is_some() {
            score.requests.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Everything at once.
struct Attack {
    score: Arc<Score>,
    threads: Vec<JoinHandle<()>>,
    runtime: tokio::runtime::Runtime,
    /// Shared with the deaf peer; a runtime may not end inside another one.
    _proxy: Arc<Proxy>,
}

impl Attack {
    fn on(from: impl Fn(u8) -> SocketAddr) -> Self {
        let score = Arc::<Score>::default();
        let noise: &[u8] = b"\x13/multistream/1.0.0\n\x07/noise\n";
        let [slow, stalled, many, reset, deaf_at] = ATTACKERS.map(from);
        let spawn_sockets = |to, count, first, trickle| {
            let score = Arc::clone(&score);
            std::thread::spawn(move || sockets(to, count, first, trickle, &score))
        };
        let threads = vec![
            spawn_sockets(slow, SLOW_SOCKETS, &b"\x13"[..], true),
            spawn_sockets(stalled, STALLED_SOCKETS, noise, false),
        ];
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let proxy = Arc::new(Proxy::to(deaf_at, Weather::default()));
        runtime.spawn(names(many, Arc::clone(&score)));
        runtime.spawn(streams(reset, Arc::clone(&score)));
        runtime.spawn(deaf(Arc::clone(&proxy), Arc::clone(&score)));
        Self {
            score,
            threads,
            runtime,
            _proxy: proxy,
        }
    }

    fn end(self) -> Arc<Score> {
        self.score.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.runtime.shutdown_timeout(Duration::from_secs(1));
        self.score
    }
}

#[test]
fn under_every_attack_at_once_a_newcomer_is_in_within_three_seconds() {
    let _alone = alone();
    let name = "hostile::under_every_attack_at_once_a_newcomer_is_in_within_three_seconds";
    if inside(name, &["-n"], PREPARE) {
        under_attack();
    }
}

/// What was seen while the attack went on.
struct Seen {
    newcomers: Vec<Duration>,
    most_memory: u64,
    lasted: Duration,
    log: usize,
}

fn under_attack() {
    let dir = tempfile::tempdir().unwrap();
    let text = "network:\n  addresses:\n    - /ip4/0.0.0.0/tcp/9000\n  announce:\n    - /ip4/10.77.0.1/tcp/9000\n";
    fs::write(dir.path().join("conf.yaml"), text).unwrap();
    let node = Daemon::start(dir.path());
    let key = node.peer_id().parse::<PeerId>().unwrap().key();
    let entry = format!("/ip4/10.77.0.1/tcp/9000/p2p/{}", node.peer_id());
    // One honest peer that was there before and must stay.
    let mut friends = Peers::at(&entry, dials_only);
    friends.start(1);
    wait_for("the friend", Duration::from_secs(10), || {
        friends.handshaken(&key).first().copied()
    });
    let (before, descriptors) = (memory(node.pid()), entries(node.pid(), "fd"));

    let attack = Attack::on(|last| SocketAddr::from((IpAddr::from([10, 77, 0, last]), 9000)));
    let seen = newcomers_come(&node, &entry, &key, Duration::from_secs(rounds(30)));
    let score = attack.end();
    let mut figures = Figures::new("hostile");
    score.tell(&mut figures);
    seen.tell(&mut figures, before);
    figures.exactly("panics", panics(&node), 0.0);
    figures.exactly("the friend stayed", friends.handshaken(&key).len(), 1.0);
    let settled = Instant::now();
    while settled.elapsed() < Duration::from_secs(20) && entries(node.pid(), "fd") > descriptors {
        std::thread::sleep(Duration::from_millis(50));
    }
    figures.at_most(
        "descriptors after",
        entries(node.pid(), "fd"),
        descriptors,
        "",
    );
    figures.finish();
}

fn dials_only(config: &mut NodeConfig) {
    config.network.addresses.clear();
}

/// Honest newcomers, one after the other.
fn newcomers_come(node: &Daemon, entry: &str, key: &PeerKey, lasting: Duration) -> Seen {
    const PATIENCE: Duration = Duration::from_secs(20);
    let (started, log) = (Instant::now(), node.log().len());
    let mut peers = Peers::at(entry, dials_only);
    let (mut newcomers, mut most_memory) = (Vec::new(), 0);
    let mut number = 2;
    while started.elapsed() < lasting {
        let handle = peers.start(number);
        let (shaken, _) = peers.discovers(&handle, key, &[], PATIENCE);
        newcomers.push(shaken.unwrap_or(PATIENCE));
        peers.stop(number);
        number += 1;
        most_memory = most_memory.max(memory(node.pid()));
        std::thread::sleep(Duration::from_millis(250));
    }
    Seen {
        newcomers,
        most_memory,
        lasted: started.elapsed(),
        log: node.log().len() - log,
    }
}

impl Seen {
    fn tell(mut self, figures: &mut Figures, memory_before: u64) {
        let newcomers = &mut self.newcomers;
        figures.seen("newcomers", newcomers.len(), "");
        figures.seen("newcomer, median", quantile(newcomers, 0.5), "s");
        figures.at_most("newcomer, slowest", quantile(newcomers, 1.0), 3.0, "s");
        let grown = self.most_memory.saturating_sub(memory_before);
        figures.at_most("memory grown", grown >> 20, MEMORY_GROWTH >> 20, "MiB");
        let hourly = self.log.number() / self.lasted.as_secs_f64() * 3600.0;
        // Each hostile address stands for one peer.
        let each = hourly / ATTACKERS.len().number();
        figures.at_most("log per hostile peer and hour", each, LOG_RATE, "bytes");
    }
}
