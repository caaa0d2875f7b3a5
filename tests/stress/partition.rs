//! A network that falls apart and comes together again: everybody finds everybody within two exchange intervals, nobody
//! was deleted, nobody is connected twice.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use btcfed::{Node, NodeHandle};
use btcfed_core::addr::{AddrWithId, PeerAddr};
use btcfed_core::config::NodeConfig;
use btcfed_core::testing::{MemoryStore, test_key, test_secret};
use serde_json::Value;

use crate::alone;
use crate::common::daemon::Daemon;
use crate::common::figures::Figures;
use crate::common::namespace::inside;
use crate::common::proxy::{Proxy, Weather};
use crate::common::wait_for;

/// What healing is measured by.
const INTERVAL: Duration = Duration::from_secs(5);

/// How long the network is apart: several missed pings and exchanges.
const APART: Duration = Duration::from_secs(15);
const LIMIT: Duration = Duration::from_secs(60);

/// A node in this process that others reach only through its proxy.
struct Member {
    number: u16,
    handle: NodeHandle,
    direct: AddrWithId,
    proxy: Proxy,
}

impl Member {
    fn start(runtime: &tokio::runtime::Runtime, number: u16, bootstrap: Vec<AddrWithId>) -> Self {
        // A port that was free a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let own: SocketAddr = free.local_addr().unwrap();
        drop(free);
        let proxy = Proxy::to(own, Weather::default());
        let mut config = NodeConfig::default();
        config.network.addresses = vec![PeerAddr::from_socket_addr(own)];
        config.network.announce = vec![PeerAddr::from_socket_addr(proxy.addr)];
        config.network.keepalive_interval = Duration::from_secs(1);
        config.network.keepalive_timeout = Duration::from_millis(500);
        config.network.keepalive_failures = 2;
        config.peers.connection_timeout = Duration::from_secs(2);
        config.peers.exchange_interval = INTERVAL;
        config.peers.bootstrap = bootstrap;
        let handle = runtime.block_on(async {
            let node = Node::builder(config, test_secret(number))
                .store(Arc::new(MemoryStore::default()))
                .build()
                .await
                .unwrap();
            let handle = node.handle();
            tokio::spawn(node.run());
            handle
        });
        let peer_id = Some(test_key(number).peer_id());
        let addr = PeerAddr::from_socket_addr(own);
        Self {
            number,
            handle,
            direct: AddrWithId { addr, peer_id },
            proxy,
        }
    }

    /// The address everybody is told.
    fn entry(&self) -> AddrWithId {
        let addr = PeerAddr::from_socket_addr(self.proxy.addr);
        let peer_id = self.direct.peer_id;
        AddrWithId { addr, peer_id }
    }

    fn knows(&self, numbers: impl IntoIterator<Item = u16>) -> bool {
        let known = self.handle.store().snapshot();
        let others = numbers.into_iter().filter(|number| *number != self.number);
        others
            .into_iter()
            .all(|number| known.contains(&test_key(number)))
    }

    /// Connections, and peers connected.
    fn connections(&self, runtime: &tokio::runtime::Runtime) -> (usize, usize) {
        let status = runtime.block_on(self.handle.status()).unwrap();
        let peers: BTreeSet<_> = status.connections.iter().map(|c| c.peer).collect();
        (status.connections.len(), peers.len())
    }
}

#[test]
fn five_islands_are_one_federation_again_within_two_exchange_intervals() {
    let _alone = alone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut members = vec![Member::start(&runtime, 1, Vec::new())];
    for number in 2..=5 {
        let entry = members[0].entry();
        members.push(Member::start(&runtime, number, vec![entry]));
    }
    let all_connected = |members: &[Member]| {
        let all = members.len() - 1;
        let complete = |member: &Member| member.connections(&runtime).1 == all;
        members.iter().all(complete).then_some(())
    };
    wait_for("everybody connected", LIMIT, || all_connected(&members));

    members.iter().for_each(|member| member.proxy.silence(true));
    let apart = Instant::now();
    wait_for("everybody alone", LIMIT, || {
        let alone = |member: &Member| member.connections(&runtime).0 == 0;
        members.iter().all(alone).then_some(())
    });
    let noticed = apart.elapsed();
    // Somebody new, on one island only.
    let direct = members[0].direct.clone();
    let newcomer = Member::start(&runtime, 6, vec![direct]);
    wait_for("the newcomer known on its island", LIMIT, || {
        members[0].knows([6]).then_some(())
    });
    std::thread::sleep(APART.saturating_sub(apart.elapsed()));
    assert!(
        members.iter().all(|member| member.knows(1..=5)),
        "nobody is deleted"
    );
    assert!(members[1..].iter().all(|member| !member.knows([6])));

    members
        .iter()
        .for_each(|member| member.proxy.silence(false));
    let healed = Instant::now();
    members.push(newcomer);
    wait_for("everybody knows everybody", LIMIT, || {
        members
            .iter()
            .all(|member| member.knows(1..=6))
            .then_some(())
    });
    let known = healed.elapsed();
    wait_for("everybody connected again", LIMIT, || {
        all_connected(&members)
    });
    let connected = healed.elapsed();
    let mut figures = Figures::new("partition-islands");
    figures.at_most("alone noticed within", noticed, 4.0, "s");
    figures.at_most("all know all", known, 2 * INTERVAL, "s");
    figures.seen("all connected to all", connected, "s");
    let lists = members
        .iter()
        .filter(|member| member.handle.store().snapshot().len() == 5);
    figures.exactly("lists of exactly the five others", lists.count(), 6.0);
    figures.exactly("duplicate connections", duplicates(&members, &runtime), 0.0);
    figures.finish();
}

/// Second connections to a peer that stay. The moment in which two dials meet does not count.
fn duplicates(members: &[Member], runtime: &tokio::runtime::Runtime) -> usize {
    let count = || {
        let all = members.iter().map(|member| member.connections(runtime));
        all.map(|(connections, peers)| connections - peers).sum()
    };
    let started = Instant::now();
    while count() > 0 && started.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(50));
    }
    count()
}

/// A network namespace with a cable into this one, and the daemon in it.
struct Site {
    holder: Child,
    node: Daemon,
    _dir: tempfile::TempDir,
}

impl Drop for Site {
    fn drop(&mut self) {
        // It holds nothing but the namespace.
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

fn shell(line: &str) {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {said}");
}

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, 0, number)
}

impl Site {
    fn start(number: u8, bootstrap: Option<&str>) -> Self {
        let holder = Command::new("unshare")
            .args(["-n", "sleep", "600"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let pid = holder.id();
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        wait_for("a network of its own", LIMIT, || {
            let other = fs::read_link(format!("/proc/{pid}/ns/net")).ok()?;
            (other != own).then_some(())
        });
        shell(&format!(
            "set -e; ip link add h{number} type veth peer name c{number}; ip link set c{number} netns {pid}; \
             ip link set h{number} master whole up; nsenter -t {pid} -n sh -ec 'ip link set lo up; \
             ip addr add {}/24 dev c{number}; ip link set c{number} up'",
            address(number)
        ));
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "network:\n  addresses: [/ip4/{}/tcp/9000]\n  keepalive:\n    interval: 1s\n    timeout: 500ms\n    \
             failures: 2\npeers:\n  exchange_interval: {}s\n  connection_timeout: 2s\n  bootstrap: [{}]\n",
            address(number),
            INTERVAL.as_secs(),
            bootstrap.unwrap_or_default()
        );
        fs::write(dir.path().join("conf.yaml"), text).unwrap();
        let pid = pid.to_string();
        let node = Daemon::start_by(dir.path(), &["nsenter", "-t", &pid, "-n"], &[]);
        Self {
            holder,
            node,
            _dir: dir,
        }
    }

    /// Connects the cable of a site to the switch `whole` or `part`.
    fn plug(number: u8, switch: &str) {
        shell(&format!("ip link set h{number} master {switch}"));
    }
}

#[test]
fn a_federation_cut_in_two_is_one_again_within_two_exchange_intervals() {
    let _alone = alone();
    let name = "partition::a_federation_cut_in_two_is_one_again_within_two_exchange_intervals";
    let prepare = "ip link add whole type bridge; ip link add part type bridge; ip link set whole up; \
                   ip link set part up; ip link add v0 type veth peer name v1";
    if inside(name, &["-n"], prepare) {
        cut_in_two();
    }
}

fn cut_in_two() {
    let mut sites = vec![Site::start(1, None)];
    let entry = sites[0].node.full_addr();
    for number in 2..=5 {
        sites.push(Site::start(number, Some(&entry)));
    }
    wait_for("everybody connected", LIMIT, || {
        connected_counts(&sites, &[4; 5])
    });
    [1, 2]
        .into_iter()
        .for_each(|number| Site::plug(number, "part"));
    let apart = Instant::now();
    wait_for("two halves", LIMIT, || {
        connected_counts(&sites, &[1, 1, 2, 2, 2])
    });
    let noticed = apart.elapsed();
    // Somebody new on the smaller side.
    sites.push(Site::start(6, Some(&entry)));
    Site::plug(6, "part");
    let newcomer = sites[5].node.peer_id();
    wait_for("the newcomer known on its side", LIMIT, || {
        sites[1].node.known().contains(&newcomer).then_some(())
    });
    std::thread::sleep(APART.saturating_sub(apart.elapsed()));
    for site in &sites[2..5] {
        assert_eq!(
            site.node.known().len(),
            4,
            "nobody is deleted, nobody learned"
        );
    }

    [1, 2, 6]
        .into_iter()
        .for_each(|number| Site::plug(number, "whole"));
    let healed = Instant::now();
    wait_for("everybody knows everybody", LIMIT, || {
        let all = sites.iter().all(|site| site.node.known().len() == 5);
        all.then_some(())
    });
    let known = healed.elapsed();
    wait_for("everybody connected again", LIMIT, || {
        connected_counts(&sites, &[5; 6])
    });
    let connected = healed.elapsed();
    let mut figures = Figures::new("partition-halves");
    figures.at_most("the cut noticed within", noticed, 4.0, "s");
    figures.at_most("all know all", known, 2 * INTERVAL, "s");
    figures.seen("all connected to all", connected, "s");
    let duplicate = sites.iter().filter(|site| site.node.connected().len() != 5);
    figures.exactly("lists with duplicates", duplicate.count(), 0.0);
    figures.finish();
}

fn connected_counts(sites: &[Site], wanted: &[u64]) -> Option<()> {
    let count = |status: &Value| status["peers"]["connected"].as_u64();
    let mut pairs = sites.iter().zip(wanted);
    let all = pairs.all(|(site, wanted)| count(&site.node.json(&["status"])) == Some(*wanted));
    all.then_some(())
}
