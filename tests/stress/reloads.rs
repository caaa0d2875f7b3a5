//! Reloads beside fifty connections: fast, and nobody notices.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use btcfed::admin::client::Client;
use serde_json::json;

use crate::common::config::yaml;
use crate::common::daemon::Daemon;
use crate::common::figures::{Figures, quantile};
use crate::common::peers::Peers;
use crate::common::{rounds, wait_for};
use crate::{alone, connected, replace};

const PEERS: u16 = 50;
const LIMIT: Duration = Duration::from_secs(30);

/// How long a reload may take.
const BAR: Duration = Duration::from_millis(50);

/// Everything that may change live, in turns; every second file also listens on one more address.
fn variant(round: u64) -> String {
    let listen = yaml(&[]).replace("2s", &format!("{}s", 2 + round % 7));
    let listen = if round.is_multiple_of(2) {
        listen
    } else {
        listen.replace("tcp/0\n", "tcp/0\n    - /ip4/127.0.0.2/tcp/0\n")
    };
    let limits = format!(
        "  limits:\n    max_connections: {}\n    max_inbound: 90\n    max_pending: {}\n",
        120 + round % 5,
        20 + round % 3
    );
    let level = ["info", "warn", "debug"][usize::try_from(round % 3).unwrap()];
    let format = ["json", "text"][usize::try_from(round / 2 % 2).unwrap()];
    listen.replace("peers:\n", &format!("{limits}peers:\n"))
        + &format!("logging:\n  level: {level}\n  format: {format}\n")
}

#[test]
fn reloads_beside_fifty_connections_are_quick_and_drop_nobody() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("conf.yaml");
    fs::write(&conf, variant(0)).unwrap();
    let node = Daemon::start(dir.path());
    let _peers = Peers::of(&node, PEERS);
    wait_for("everybody connected", LIMIT, || {
        (connected(&node) == u64::from(PEERS)).then_some(())
    });
    let mut client = Client::connect(&dir.path().join("btcfed.sock"), LIMIT).unwrap();
    let rounds = rounds(100);
    let (mut took, mut asked) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        replace(&conf, &variant(round));
        let started = Instant::now();
        client.call("reload", json!({})).unwrap();
        took.push(started.elapsed());
        // What the machine takes for any answer at all, and for a small file that is safe on disk.
        let started = Instant::now();
        let status = client.call("status", json!({})).unwrap();
        let mut file = fs::File::create(dir.path().join("floor")).unwrap();
        file.write_all(&[b'x'; 1024]).unwrap();
        file.sync_all().unwrap();
        asked.push(started.elapsed());
        assert_eq!(status["config"]["revision"], round + 1);
        // The new listener is there at once; the old one goes a moment later.
        let listeners = if round.is_multiple_of(2) { 1 } else { 2 };
        wait_for("only the new listeners", LIMIT, || {
            let status = client.call("status", json!({})).unwrap();
            (status["listen"].as_array().unwrap().len() == listeners).then_some(())
        });
        // Not in lockstep with the exchange.
        std::thread::sleep(Duration::from_millis(13));
    }
    let status = node.json(&["status"]);
    let mut figures = Figures::new("reload-under-load");
    figures.seen("reloads", rounds, "");
    let machine = quantile(&mut asked, 0.99);
    figures.seen(
        "floor (an answer, a synced file), 99th percentile",
        machine,
        "s",
    );
    figures.at_most("reload, median", quantile(&mut took, 0.5), BAR, "s");
    // A machine that takes as long for next to nothing is busy with something else.
    let bar = BAR.max(3 * machine);
    figures.at_most(
        "reload, 99th percentile",
        quantile(&mut took, 0.99),
        bar,
        "s",
    );
    figures.exactly(
        "dropped",
        status["connections"]["ended"].as_u64().unwrap(),
        0.0,
    );
    figures.exactly("connected", connected(&node), u64::from(PEERS));
    figures.finish();
}
