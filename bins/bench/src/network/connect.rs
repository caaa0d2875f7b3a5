//! How long a connection and its first answer take, and what an idle one costs, beside the least a libp2p program does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use btcfed_core::network::{CommandId, NetworkCommand, NetworkEvent};
use btcfed_core::{Network as _, NodeConfig, PeerAddr, PeerKey, SecretKey};
use btcfed_network::{NetworkEvents, NetworkHandle, SpawnOptions, spawn};
use futures::StreamExt as _;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, request_response};

use super::floor::{self, BehaviourEvent};
use crate::table::compare;

/// The frame that is asked and answered, in bytes.
const FRAME_BYTES: usize = 64;

/// Connections that are opened at the same moment, and one such round for so many single connections.
const AT_ONCE: usize = 50;
const AT_ONCE_SHARE: usize = 10;

/// Longer than one connection takes on the busiest machine.
const LIMIT: Duration = Duration::from_secs(20);

/// A node of ours that answers every frame with itself.
pub(crate) struct Ours {
    pub(crate) key: PeerKey,
    pub(crate) addrs: Vec<PeerAddr>,
    // Dropping it would end the network.
    _handle: NetworkHandle,
}

/// What one connection took.
struct Took {
    established: Duration,
    answered: Duration,
}

/// A configuration that listens on a free port of 127.0.0.1 and takes in thousands.
pub(crate) fn config() -> Result<NodeConfig, String> {
    let mut config = NodeConfig::default();
    let addr: PeerAddr = "/ip4/127.0.0.1/tcp/0"
        .parse()
        .map_err(|error| format!("{error}"))?;
    config.network.addresses = vec![addr];
    config.network.max_connections = 4096;
    config.network.max_inbound = 4096;
    config.network.max_pending = 1024;
    Ok(config)
}

/// An identity that nobody else in this process has.
pub(crate) fn secret() -> SecretKey {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut seed = [0x5a; 32];
    seed[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    SecretKey::from_seed(seed)
}

/// Makes `count` connections of the floor, one after the other: what their cryptography costs.
pub(crate) fn handshakes(count: usize) -> Result<(), String> {
    super::runtime()?.block_on(async {
        let mut raw = floor::node()?;
        let addr = floor::listen(&mut raw).await?;
        tokio::spawn(floor::echo(raw));
        for _ in 0..count {
            limited(connect_raw(addr.clone())).await?;
        }
        Ok(())
    })
}

/// Starts the node of ours that is connected to.
pub(crate) async fn ours() -> Result<Ours, String> {
    let (handle, mut events, _task) = spawn(SpawnOptions::new(secret(), &config()?))
        .await
        .map_err(|error| error.to_string())?;
    let (key, addrs) = (handle.local_peer().key(), handle.listen_addrs());
    let answering = handle.clone();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let NetworkEvent::Request { token, frame, .. } = event {
                let respond = NetworkCommand::Respond { token, frame };
                // Full only when the asker has long given up.
                drop(answering.submit(respond));
            }
        }
    });
    Ok(Ours {
        key,
        addrs,
        _handle: handle,
    })
}

/// `rounds` connections one after the other, ours and the floor's in turns.
pub(crate) fn run(rounds: usize) -> Result<String, String> {
    super::runtime()?.block_on(async {
        let ours = ours().await?;
        let mut raw = floor::node()?;
        let raw_addr = floor::listen(&mut raw).await?;
        tokio::spawn(floor::echo(raw));
        let mut times: [Vec<Duration>; 4] = Default::default();
        for round in 0..=rounds {
            let pair = [
                limited(connect_ours(&ours)).await?,
                limited(connect_raw(raw_addr.clone())).await?,
            ];
            // The first round warms caches up.
            if round == 0 {
                continue;
            }
            for (took, index) in pair.iter().zip([0, 1]) {
                times[index].push(took.established);
                times[2 + index].push(took.answered);
            }
        }
        let at_once = at_once(rounds.div_ceil(AT_ONCE_SHARE), &ours, &raw_addr).await?;
        let [established, raw_established, answered, raw_answered] = times;
        let ours = |ours, raw| vec![("btcfed-network", ours), ("raw libp2p", raw)];
        Ok([
            compare(
                &format!("{rounds} connections on loopback: dial to established"),
                ours(established, raw_established),
            )?,
            compare(
                "established to the first answer",
                ours(answered, raw_answered),
            )?,
            at_once,
        ]
        .join("\n"))
    })
}

/// So many clients dial one server at the same moment; how long until the last of them has its first answer. Starting the
/// clients counts too, because the first ones dial while the last ones start.
async fn at_once(rounds: usize, ours: &Ours, raw: &Multiaddr) -> Result<String, String> {
    let mut times: [Vec<Duration>; 2] = Default::default();
    for round in 0..=rounds {
        let start = Instant::now();
        let all = (0..AT_ONCE).map(|_| limited(connect_ours(ours)));
        futures::future::try_join_all(all).await?;
        let took = start.elapsed();
        let start = Instant::now();
        let all = (0..AT_ONCE).map(|_| limited(connect_raw(raw.clone())));
        futures::future::try_join_all(all).await?;
        // The first round warms caches up.
        if round > 0 {
            times[0].push(took);
            times[1].push(start.elapsed());
        }
    }
    let [ours, raw] = times;
    compare(
        &format!("{AT_ONCE} connections at once: until all have an answer"),
        vec![("btcfed-network", ours), ("raw libp2p", raw)],
    )
}

async fn limited(work: impl Future<Output = Result<Took, String>>) -> Result<Took, String> {
    tokio::time::timeout(LIMIT, work)
        .await
        .map_err(|_| "a connection took too long".to_owned())?
}

async fn connect_ours(to: &Ours) -> Result<Took, String> {
    let mut config = config()?;
    config.network.addresses.clear();
    let (handle, mut events, _task) = spawn(SpawnOptions::new(secret(), &config))
        .await
        .map_err(|error| error.to_string())?;
    let start = Instant::now();
    let dial = NetworkCommand::Dial {
        id: CommandId(1),
        peer: Some(to.key),
        addrs: to.addrs.clone(),
    };
    handle.submit(dial).map_err(|error| error.to_string())?;
    wait_for(&mut events, |event| {
        matches!(event, NetworkEvent::Connected { .. })
    })
    .await?;
    let established = start.elapsed();
    let request = NetworkCommand::Request {
        id: CommandId(2),
        peer: to.key,
        frame: vec![1; FRAME_BYTES],
    };
    let asked = Instant::now();
    handle.submit(request).map_err(|error| error.to_string())?;
    wait_for(&mut events, |event| {
        matches!(event, NetworkEvent::Response { .. })
    })
    .await?;
    Ok(Took {
        established,
        answered: asked.elapsed(),
    })
}

async fn wait_for(
    events: &mut NetworkEvents,
    wanted: impl Fn(&NetworkEvent) -> bool,
) -> Result<(), String> {
    while let Some(event) = events.next().await {
        match event {
            NetworkEvent::DialFailed { .. } | NetworkEvent::RequestFailed { .. } => {
                return Err(format!("{event:?}"));
            }
            event if wanted(&event) => return Ok(()),
            _ => {}
        }
    }
    Err("the network ended".to_owned())
}

async fn connect_raw(to: Multiaddr) -> Result<Took, String> {
    let mut swarm = floor::node()?;
    let start = Instant::now();
    swarm.dial(to).map_err(|error| error.to_string())?;
    let peer = loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => break peer_id,
            SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.to_string()),
            _ => {}
        }
    };
    let established = start.elapsed();
    let asked = Instant::now();
    let frame = vec![1; FRAME_BYTES];
    swarm.behaviour_mut().frames.send_request(&peer, frame);
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::Behaviour(BehaviourEvent::Frames(request_response::Event::Message {
                message: request_response::Message::Response { .. },
                ..
            })) => break,
            SwarmEvent::ConnectionClosed { .. } => return Err("the connection ended".to_owned()),
            _ => {}
        }
    }
    Ok(Took {
        established,
        answered: asked.elapsed(),
    })
}
