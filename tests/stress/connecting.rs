//! How long it takes from a dial to the end of the protocol handshake: beside fifty others, and through a bad network.

use std::fs;
use std::time::Duration;

use btcfed_core::{PeerId, PeerKey};

use crate::common::config::yaml;
use crate::common::daemon::Daemon;
use crate::common::figures::{Figures, Number as _, quantile};
use crate::common::peers::Peers;
use crate::common::proxy::{Proxy, Weather};
use crate::common::{rounds, wait_for};
use crate::{alone, connected, socket_addr};

const LIMIT: Duration = Duration::from_secs(30);

/// Peers beside the ones that are measured.
const OTHERS: u16 = 50;

/// Newcomers at the same time, where each takes seconds.
const TOGETHER: usize = 20;

fn crowded(dir: &std::path::Path) -> (Daemon, Peers) {
    let limits = "  limits:\n    max_connections: 200\n    max_inbound: 150\n";
    let text = yaml(&[]).replace("peers:\n", &format!("{limits}peers:\n"));
    fs::write(dir.join("conf.yaml"), text).unwrap();
    let node = Daemon::start(dir);
    let mut others = Peers::at(&node.full_addr(), |_| {});
    for number in 1..=OTHERS {
        others.start(number);
    }
    wait_for("everybody connected", 2 * LIMIT, || {
        (connected(&node) == u64::from(OTHERS)).then_some(())
    });
    (node, others)
}

#[test]
fn beside_fifty_busy_peers_a_newcomer_has_shaken_hands_within_three_seconds() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let (node, mut others) = crowded(dir.path());
    let key = node.peer_id().parse::<PeerId>().unwrap().key();
    let mut newcomers = Peers::at(&node.full_addr(), |_| {});
    let all: Vec<u16> = others.handshaken(&key);
    let (mut shaken, mut found) = (Vec::new(), 0_usize);
    let rounds = rounds(20);
    for round in 0..u16::try_from(rounds).unwrap() {
        // The load: one of the others goes and comes back meanwhile.
        let restless = 1 + round % OTHERS;
        others.stop(restless);
        let handle = newcomers.start(1000 + round);
        others.start(restless);
        let (took, knows) = newcomers.discovers(&handle, &key, &all, LIMIT);
        shaken.push(took.unwrap_or(LIMIT));
        found += usize::from(knows.is_some_and(|took| took < Duration::from_secs(10)));
        newcomers.stop(1000 + round);
    }
    let mut figures = Figures::new("connect-under-load");
    figures.seen("newcomers", rounds, "");
    figures.seen("dial to handshake, median", quantile(&mut shaken, 0.5), "s");
    figures.at_most(
        "dial to handshake, slowest",
        quantile(&mut shaken, 1.0),
        3.0,
        "s",
    );
    figures.exactly("knew everybody within 10 s", found, rounds);
    figures.finish();
}

#[test]
fn through_a_slow_and_lossy_network_a_newcomer_has_shaken_hands_within_ten_seconds() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let (node, others) = crowded(dir.path());
    let key = node.peer_id().parse::<PeerId>().unwrap().key();
    // 300 ms each way: the stricter reading, a round trip of 600 ms.
    let weather = Weather {
        delay: Duration::from_millis(300),
        loss: 0.05,
    };
    let proxy = Proxy::to(socket_addr(&node), weather);
    let entry = format!(
        "/ip4/127.0.0.1/tcp/{}/p2p/{}",
        proxy.addr.port(),
        node.peer_id()
    );
    let mut newcomers = Peers::at(&entry, |_| {});
    let all: Vec<u16> = others.handshaken(&key);
    let rounds = rounds(20);
    let (mut shaken, mut found) = (Vec::new(), 0_usize);
    let numbers: Vec<u16> = (0..u16::try_from(rounds).unwrap()).collect();
    for together in numbers.chunks(TOGETHER) {
        for (took, knows) in join(&mut newcomers, together, &key, &all) {
            shaken.push(took.unwrap_or(LIMIT));
            found += usize::from(knows.is_some());
        }
    }
    let mut figures = Figures::new("connect-through-bad-network");
    figures.seen("newcomers", rounds, "");
    figures.at_least(
        "connections through the proxy",
        proxy.connections(),
        rounds,
        "",
    );
    figures.seen("dial to handshake, median", quantile(&mut shaken, 0.5), "s");
    figures.at_most(
        "dial to handshake, slowest",
        quantile(&mut shaken, 1.0),
        10.0,
        "s",
    );
    let share = 100.0 * found.number() / rounds.number();
    figures.at_least("knew everybody within 30 s", share, 95.0, "%");
    figures.finish();
}

/// These newcomers at the same time: how long each took to shake hands, and to know everybody.
fn join(
    newcomers: &mut Peers,
    numbers: &[u16],
    key: &PeerKey,
    others: &[u16],
) -> Vec<(Option<Duration>, Option<Duration>)> {
    let handles: Vec<_> = numbers
        .iter()
        .map(|number| newcomers.start(1000 + number))
        .collect();
    let all = &*newcomers;
    let took = std::thread::scope(|scope| {
        let watch = |handle| scope.spawn(move || all.discovers(handle, key, others, LIMIT));
        let watching: Vec<_> = handles.iter().map(watch).collect();
        watching
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    numbers
        .iter()
        .for_each(|number| newcomers.stop(1000 + number));
    took
}
