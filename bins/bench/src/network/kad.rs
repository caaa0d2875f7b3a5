//! Kademlia as libp2p does it: identify tells addresses, random walks once a second find the others.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use libp2p::kad::store::MemoryStore;
use libp2p::kad::{self, Mode};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, identify, noise, tcp, yamux};

use super::discover::POLL;

/// How often a node walks to a random place.
const WALK: Duration = Duration::from_secs(1);

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    kad: kad::Behaviour<MemoryStore>,
}

/// Whom a node knows with an address.
type Known = Arc<Mutex<BTreeSet<PeerId>>>;

/// Starts `count` nodes that know the first one; how long until each knows all, at most `limit`.
pub(crate) async fn run(count: usize, limit: Duration) -> Result<Option<Duration>, String> {
    let started = Instant::now();
    let mut first: Option<(PeerId, Multiaddr)> = None;
    let mut nodes: Vec<Known> = Vec::with_capacity(count);
    let mut tasks = Vec::with_capacity(count);
    for _ in 0..count {
        let mut swarm = node()?;
        let addr = listen(&mut swarm).await?;
        if let Some((peer, addr)) = &first {
            swarm.behaviour_mut().kad.add_address(peer, addr.clone());
        } else {
            first = Some((*swarm.local_peer_id(), addr));
        }
        let known = Known::default();
        nodes.push(Arc::clone(&known));
        tasks.push(tokio::spawn(walk(swarm, known)));
    }
    let all = loop {
        let know_all = |known: &Known| lock(known).len() >= count - 1;
        if nodes.iter().all(know_all) {
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

fn lock(known: &Known) -> std::sync::MutexGuard<'_, BTreeSet<PeerId>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

fn node() -> Result<Swarm<Behaviour>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    Ok(SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(
            tcp::Config::default(),
            noise::Config::new,
            yamux::Config::default,
        )
        .map_err(|error| text(&error))?
        .with_behaviour(|key| {
            let id = key.public().to_peer_id();
            let mut kad = kad::Behaviour::new(id, MemoryStore::new(id));
            kad.set_mode(Some(Mode::Server));
            Behaviour {
                identify: identify::Behaviour::new(identify::Config::new(
                    "/bench/1".to_owned(),
                    key.public(),
                )),
                kad,
            }
        })
        .map_err(|error| text(&error))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build())
}

async fn listen(swarm: &mut Swarm<Behaviour>) -> Result<Multiaddr, String> {
    let addr: Multiaddr = "/ip4/127.0.0.1/tcp/0"
        .parse()
        .map_err(|error: libp2p::multiaddr::Error| error.to_string())?;
    swarm.listen_on(addr).map_err(|error| error.to_string())?;
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            swarm.add_external_address(address.clone());
            return Ok(address);
        }
    }
}

async fn walk(mut swarm: Swarm<Behaviour>, known: Known) {
    let own = *swarm.local_peer_id();
    let mut due = tokio::time::interval(WALK);
    loop {
        tokio::select! {
            _ = due.tick() => {
                swarm.behaviour_mut().kad.get_closest_peers(PeerId::random());
            }
            event = swarm.select_next_some() => match event {
                SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                    peer_id,
                    info,
                    ..
                })) => {
                    for addr in info.listen_addrs {
                        swarm.behaviour_mut().kad.add_address(&peer_id, addr);
                    }
                    lock(&known).insert(peer_id);
                }
                SwarmEvent::Behaviour(BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed {
                    result: kad::QueryResult::GetClosestPeers(Ok(found)),
                    ..
                })) => {
                    let others = found.peers.into_iter().map(|peer| peer.peer_id);
                    lock(&known).extend(others.filter(|peer| *peer != own));
                }
                _ => {}
            },
        }
    }
}
