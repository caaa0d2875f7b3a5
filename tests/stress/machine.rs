//! Machines that lack something or lie about the time: the node works with what there is.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use btcfed::Node;
use btcfed_core::config::NodeConfig;
use btcfed_core::store::PeerStoreExt as _;
use btcfed_core::testing::{MemoryStore, test_key, test_secret};
use btcfed_core::time::{Clock, Now, Timestamp};
use btcfed_node_orchestrator::TokioClock;

use crate::common::config::yaml;
use crate::common::daemon::Daemon;
use crate::common::namespace::inside;
use crate::common::peers::Peers;
use crate::common::{skipped, wait_for};
use crate::{alone, connected};

const LIMIT: Duration = Duration::from_secs(20);
const DAY: i64 = 86_400;
const YEAR: i64 = 365 * DAY;

/// Two daemons that find each other, save, and answer.
fn works(first_options: &[&str], bootstrap: &[&str]) {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut node = Daemon::start_with(dir.path(), first_options);
    let entry = node.full_addr().replace("0.0.0.0", "127.0.0.1");
    let mut options = vec!["--listen", "/ip4/127.0.0.1/tcp/0", "--bootstrap", &entry];
    for other in bootstrap {
        options.extend(["--bootstrap", other]);
    }
    let other = Daemon::start_with(other_dir.path(), &options);
    wait_for("connected", LIMIT, || (connected(&node) == 1).then_some(()));
    let target = format!("{}@127.0.0.1:1", test_key(3).peer_id());
    assert_eq!(node.json(&["peers", "add", &target])["durable"], true);
    assert_eq!(other.json(&["status"])["state"], "running");
    assert_eq!(node.terminate().0.code(), Some(0));
    drop(other);
}

#[test]
fn without_any_name_server_a_node_works_with_addresses() {
    let _alone = alone();
    let name = "machine::without_any_name_server_a_node_works_with_addresses";
    if inside(
        name,
        &["-n", "-m"],
        "ip link set lo up; mount -t tmpfs none /etc",
    ) {
        assert!(!Path::new("/etc/resolv.conf").exists());
        let local = ["--listen", "/ip4/127.0.0.1/tcp/0"];
        works(&local, &["/dns4/node1.example.com/tcp/9000"]);
    }
}

#[test]
fn without_ipv6_a_node_serves_ipv4_by_its_default_configuration() {
    let _alone = alone();
    let name = "machine::without_ipv6_a_node_serves_ipv4_by_its_default_configuration";
    let off = "ip link set lo up; for all in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $all; done";
    if inside(name, &["-n"], off) {
        works(&[], &["/ip6/::1/tcp/9"]);
    }
}

#[test]
fn without_any_route_a_node_works_by_its_default_configuration() {
    let _alone = alone();
    let name = "machine::without_any_route_a_node_works_by_its_default_configuration";
    if inside(name, &["-n"], "ip link set lo up") {
        works(&[], &["/ip4/203.0.113.7/tcp/9000"]);
    }
}

/// A clock whose wall time can be moved.
#[derive(Debug)]
struct Stepped {
    inner: TokioClock,
    offset_s: AtomicI64,
}

impl Clock for Stepped {
    fn now(&self) -> Now {
        let now = self.inner.now();
        let secs = i64::try_from(now.wall.as_secs()).unwrap();
        let secs = secs + self.offset_s.load(Ordering::Relaxed);
        Now {
            wall: Timestamp::from_secs(u64::try_from(secs).unwrap()),
            ..now
        }
    }
}

#[test]
fn a_node_whose_clock_jumps_back_a_day_and_forward_a_year_keeps_everybody() {
    let _alone = alone();
    let clock = Arc::new(Stepped {
        inner: TokioClock::new(),
        offset_s: AtomicI64::new(0),
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut config = NodeConfig::default();
    config.network.addresses = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.peers.exchange_interval = Duration::from_secs(1);
    let handle = runtime.block_on(async {
        let node = Node::builder(config, test_secret(900))
            .store(Arc::new(MemoryStore::default()))
            .clock(clock.clone())
            .build()
            .await
            .unwrap();
        let handle = node.handle();
        tokio::spawn(node.run());
        handle
    });
    let status = || runtime.block_on(handle.status()).unwrap();
    let entry = format!("{}/p2p/{}", status().listen[0], test_key(900).peer_id());
    let mut peers = Peers::at(&entry, |_| {});
    for number in 1..=3 {
        peers.start(number);
    }
    wait_for("three peers", LIMIT, || {
        (status().connections.len() == 3).then_some(())
    });
    for (newcomer, offset) in [(4, -DAY), (5, YEAR), (6, 0)] {
        clock.offset_s.store(offset, Ordering::Relaxed);
        let handle = peers.start(newcomer);
        let others: Vec<u16> = (1..newcomer).collect();
        let key = test_key(900);
        let (_, found) = peers.discovers(&handle, &key, &others, LIMIT);
        assert!(found.is_some(), "with the clock {offset} s off");
    }
    let status = status();
    assert_eq!((status.known, status.connections.len()), (6, 6));
    assert_eq!(status.counters.disconnections, 0);
    assert!((1..=6).all(|number| handle.store().exists(&test_key(number))));
}

/// Where the library stands that lies to a program about the time.
const FAKETIME: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

#[test]
fn the_program_keeps_everybody_when_the_clock_of_the_machine_jumps() {
    let _alone = alone();
    let Some(library) = FAKETIME.into_iter().find(|path| Path::new(path).exists()) else {
        return skipped("the program with a clock that jumps: libfaketime is not installed");
    };
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("conf.yaml"), yaml(&[])).unwrap();
    let offset = dir.path().join("offset");
    fs::write(&offset, "+0").unwrap();
    let (preload, file) = (
        format!("LD_PRELOAD={library}"),
        format!("FAKETIME_TIMESTAMP_FILE={}", offset.display()),
    );
    let by = [
        "env",
        &preload,
        &file,
        "FAKETIME_NO_CACHE=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
    ];
    let mut node = Daemon::start_by(dir.path(), &by, &[]);
    let key = node.peer_id().parse::<btcfed_core::PeerId>().unwrap().key();
    let mut peers = Peers::at(&node.full_addr(), |_| {});
    for number in 1..=3 {
        peers.start(number);
    }
    wait_for("three peers", LIMIT, || {
        (connected(&node) == 3).then_some(())
    });
    for (newcomer, step) in [(4, "-1d"), (5, "+1y"), (6, "+0")] {
        fs::write(&offset, step).unwrap();
        let handle = peers.start(newcomer);
        let others: Vec<u16> = (1..newcomer).collect();
        let (_, found) = peers.discovers(&handle, &key, &others, LIMIT);
        assert!(found.is_some(), "with the clock at {step}:\n{}", node.log());
        let target = format!("{}@127.0.0.1:1", test_key(100 + newcomer).peer_id());
        assert_eq!(node.json(&["peers", "add", &target])["durable"], true);
    }
    let status = node.json(&["status"]);
    assert_eq!(status["peers"]["connected"], 6, "{status}");
    assert_eq!(status["connections"]["ended"], 0, "{status}");
    assert_eq!(status["store"]["state"], "ok", "{status}");
    assert_eq!(node.known().len(), 9);
    assert!(node.log().contains("\"20"), "the log has times");
    assert_eq!(node.terminate().0.code(), Some(0));
}
