//! SWIM gossip as `foca` does it, over UDP, neither encrypted nor signed. What a node tells of itself is in its identity.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use foca::{
    AccumulatingRuntime, Config, Foca, Identity, NoCustomBroadcast, PeriodicParams, PostcardCodec,
    Timer,
};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::discover::{POLL, RECORD_BYTES};

/// How often a node that nobody answered asks the first one again: the library leaves that to its user.
const REJOIN: Duration = Duration::from_secs(1);

/// Largest datagram that is read.
const MAX_DATAGRAM_BYTES: usize = 65_535;

/// How its timers are set.
#[derive(Clone, Copy)]
pub(crate) enum Tuning {
    /// Its own setting for local networks: gossip every 200 ms, a question for the list every 30 s.
    Lan,
    /// Ten times and 150 times as often.
    Fast,
}

impl Tuning {
    fn config(self, count: usize) -> Config {
        let size = u32::try_from(count).ok().and_then(NonZeroU32::new);
        let mut config = Config::new_lan(size.unwrap_or(NonZeroU32::MIN));
        if matches!(self, Self::Fast) {
            let every = |millis, num_members| {
                Some(PeriodicParams {
                    frequency: Duration::from_millis(millis),
                    num_members,
                })
            };
            let gossiped_to = config.periodic_gossip.as_ref();
            let gossiped_to = gossiped_to.map_or(NonZeroUsize::MIN, |params| params.num_members);
            config.periodic_gossip = every(20, gossiped_to);
            config.periodic_announce = every(200, NonZeroUsize::MIN);
        }
        config
    }
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Member {
    addr: SocketAddr,
    record: Vec<u8>,
}

impl Identity for Member {
    type Addr = SocketAddr;

    fn renew(&self) -> Option<Self> {
        // An address has one identity here; a node that was taken for dead stays out.
        None
    }

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn win_addr_conflict(&self, _: &Self) -> bool {
        false
    }
}

/// Starts `count` nodes that know the first one; how long until each knows all, at most `limit`.
pub(crate) async fn run(
    count: usize,
    tuning: Tuning,
    limit: Duration,
) -> Result<Option<Duration>, String> {
    let started = Instant::now();
    let mut first: Option<Member> = None;
    let mut nodes: Vec<Arc<AtomicUsize>> = Vec::with_capacity(count);
    let mut tasks = Vec::with_capacity(count);
    for index in 0..count {
        let socket = UdpSocket::bind("127.0.0.1:0").await;
        let socket = socket.map_err(|error| error.to_string())?;
        let own = Member {
            addr: socket.local_addr().map_err(|error| error.to_string())?,
            record: vec![b'x'; RECORD_BYTES],
        };
        let known = Arc::new(AtomicUsize::new(0));
        nodes.push(Arc::clone(&known));
        let rng = SmallRng::seed_from_u64(u64::try_from(index).unwrap_or_default());
        let node = Node {
            foca: Foca::new(own.clone(), tuning.config(count), rng, PostcardCodec),
            runtime: AccumulatingRuntime::new(),
            socket,
            timers: BTreeMap::new(),
            timers_set: 0,
            first: first.clone(),
            known,
        };
        tasks.push(tokio::spawn(node.run()));
        first.get_or_insert(own);
    }
    let all = loop {
        if nodes
            .iter()
            .all(|known| known.load(Ordering::Relaxed) >= count - 1)
        {
            break Some(started.elapsed());
        }
        if started.elapsed() > limit {
            break None;
        }
        tokio::time::sleep(POLL).await;
    };
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(all)
}

struct Node {
    foca: Foca<Member, PostcardCodec, SmallRng, NoCustomBroadcast>,
    runtime: AccumulatingRuntime<Member>,
    socket: UdpSocket,
    timers: BTreeMap<(Instant, u64), Timer<Member>>,
    timers_set: u64,
    first: Option<Member>,
    known: Arc<AtomicUsize>,
}

impl Node {
    async fn run(mut self) {
        let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
        let mut rejoin = tokio::time::interval(REJOIN);
        loop {
            let due = self.timers.keys().next().map(|(at, _)| *at);
            let due = due.unwrap_or_else(|| Instant::now() + REJOIN);
            // What foca cannot read or does not expect changes nothing: it says so, and goes on.
            tokio::select! {
                Ok((length, _)) = self.socket.recv_from(&mut buffer) => {
                    let datagram = buffer.get(..length).unwrap_or_default();
                    drop(self.foca.handle_data(datagram, &mut self.runtime));
                }
                () = tokio::time::sleep_until(due) => self.fire(),
                _ = rejoin.tick() => {
                    if let Some(first) = self.first.clone().filter(|_| self.known() == 0) {
                        drop(self.foca.announce(first, &mut self.runtime));
                    }
                }
            }
            self.drain().await;
            self.known.store(self.known(), Ordering::Relaxed);
        }
    }

    fn known(&self) -> usize {
        self.foca.iter_members().count()
    }

    /// The timers that are due.
    fn fire(&mut self) {
        let now = Instant::now();
        while let Some(timer) = self
            .timers
            .first_entry()
            .filter(|entry| entry.key().0 <= now)
        {
            drop(self.foca.handle_timer(timer.remove(), &mut self.runtime));
        }
    }

    async fn drain(&mut self) {
        while let Some((to, datagram)) = self.runtime.to_send() {
            // A datagram that is lost is what the protocol is made for.
            drop(self.socket.send_to(&datagram, to.addr).await);
        }
        while let Some((after, timer)) = self.runtime.to_schedule() {
            self.timers_set += 1;
            let key = (Instant::now() + after, self.timers_set);
            self.timers.insert(key, timer);
        }
        while self.runtime.to_notify().is_some() {}
    }
}
