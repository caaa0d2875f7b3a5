//! A TCP proxy in this process that makes a bad network of loopback: delay, loss, silence in one or both directions.
//!
//! What a lost segment does to TCP is a pause: everything behind it waits until it was sent again. So every chunk of at
//! most one segment is held for the delay; with the probability of loss it waits a retransmission timeout longer (the
//! round trip and Linux's minimum of 200 ms, doubled for each further loss), and whatever follows waits behind it. The
//! first byte of a connection waits one round trip more: that of the TCP handshake, which loopback did without delay.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use btcfed_core::rng::SeededRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until};

/// Most bytes of one segment, and most segments on their way in one direction.
const SEGMENT_BYTES: usize = 1460;
const WINDOW: usize = 64;

/// Linux never waits less than this before it sends again.
const MIN_RETRANSMIT: Duration = Duration::from_millis(200);

/// What the proxy does to what passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Each way.
    pub delay: Duration,
    /// Share of segments lost.
    pub loss: f64,
}

/// What can be switched while connections pass.
#[derive(Debug, Default)]
struct Switches {
    /// Nothing passes, and nothing is closed.
    silent: AtomicBool,
    /// Nothing is read from the server.
    deaf: AtomicBool,
}

/// Passes connections on to one address.
pub struct Proxy {
    pub addr: SocketAddr,
    switches: Arc<Switches>,
    connections: Arc<AtomicU64>,
    _runtime: tokio::runtime::Runtime,
}

impl Proxy {
    pub fn to(target: SocketAddr, weather: Weather) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        let (switches, connections) = (Arc::<Switches>::default(), Arc::default());
        let (switched, counted) = (Arc::clone(&switches), Arc::clone(&connections));
        runtime.spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else {
                    return;
                };
                let seed = AtomicU64::fetch_add(&counted, 1, Ordering::Relaxed);
                tokio::spawn(pass(client, target, weather, seed, Arc::clone(&switched)));
            }
        });
        Self {
            addr,
            switches,
            connections,
            _runtime: runtime,
        }
    }

    /// From now on nothing passes, and nothing is closed either: a network that went away without a word. Or the end of it.
    pub fn silence(&self, silent: bool) {
        self.switches.silent.store(silent, Ordering::Relaxed);
    }

    /// From now on nothing of the server's is read: a client that never reads. Or the end of it.
    pub fn deafen(&self, deaf: bool) {
        self.switches.deaf.store(deaf, Ordering::Relaxed);
    }

    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn pass(
    client: TcpStream,
    target: SocketAddr,
    weather: Weather,
    seed: u64,
    switches: Arc<Switches>,
) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    // Without an effect on what is measured when it fails.
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let rng = |way: u64| SeededRng::from_seed(2 * seed + way);
    let hears = |switches: &Switches| !switches.deaf.load(Ordering::Relaxed);
    let up = carry(from_client, to_server, weather, rng(0), &switches, |_| true);
    let down = carry(from_server, to_client, weather, rng(1), &switches, hears);
    // One direction that ended takes the other one with it: a reset, as libp2p ends connections.
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

/// Carries bytes one way until either end is gone.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    weather: Weather,
    mut rng: SeededRng,
    switches: &Switches,
    hears: impl Fn(&Switches) -> bool,
) {
    let mut under_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut buffer = [0; SEGMENT_BYTES];
    let mut last = Instant::now() + 2 * weather.delay;
    loop {
        if !hears(switches) {
            sleep(Duration::from_millis(20)).await;
            continue;
        }
        let next = under_way.front().map(|(at, _)| *at);
        tokio::select! {
            read = from.read(&mut buffer), if under_way.len() < WINDOW => {
                let Ok(count @ 1..) = read else { return };
                last = last.max(Instant::now() + transit(weather, &mut rng));
                under_way.push_back((last, buffer[..count].to_vec()));
            }
            () = sleep_until(next.unwrap_or(last)), if next.is_some() => {
                while switches.silent.load(Ordering::Relaxed) {
                    sleep(Duration::from_millis(20)).await;
                }
                let Some((_, bytes)) = under_way.pop_front() else { return };
                if to.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn transit(weather: Weather, rng: &mut SeededRng) -> Duration {
    let mut timeout = MIN_RETRANSMIT + 2 * weather.delay;
    let mut all = weather.delay;
    while weather.loss > 0.0 && rng.chance(weather.loss) {
        all += timeout;
        timeout *= 2;
    }
    all
}
