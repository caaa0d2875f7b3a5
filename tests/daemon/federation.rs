//! Real processes that find each other.

use std::fs;
use std::time::Duration;

use crate::common::config::yaml;
use crate::common::daemon::{Daemon, run_json};
use crate::common::wait_for;

/// The promise of the contract, with room for a machine that runs all tests at once.
const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn three_nodes_in_a_chain_know_each_other_and_find_back_without_a_bootstrap_after_a_crash() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let mut nodes: Vec<Daemon> = Vec::new();
    for dir in &dirs {
        // Each knows only the one before it, the second by address alone.
        let bootstrap: Vec<String> = nodes.last().map(Daemon::addr).into_iter().collect();
        fs::write(dir.path().join("conf.yaml"), yaml(&bootstrap)).unwrap();
        nodes.push(Daemon::start(dir.path()));
    }
    let ids: Vec<String> = nodes.iter().map(Daemon::peer_id).collect();
    let others = |own: usize| {
        ids.iter()
            .enumerate()
            .filter(move |(i, _)| *i != own)
            .map(|(_, id)| id.clone())
    };
    for (index, node) in nodes.iter().enumerate() {
        wait_for("everybody in the list", LIMIT, || {
            let known = node.known();
            others(index).all(|id| known.contains(&id)).then_some(())
        });
        wait_for("everybody in the file", LIMIT, || {
            let text = fs::read_to_string(node.dir.join("peers.yaml")).ok()?;
            let all = others(index).all(|id| {
                let key = id.parse::<btcfed_core::PeerId>().unwrap().key().to_string();
                text.contains(&key)
            });
            all.then_some(())
        });
    }

    let listens: Vec<String> = nodes.iter().map(Daemon::addr).collect();
    nodes.iter_mut().for_each(Daemon::kill);
    drop(nodes);
    let mut again = Vec::new();
    for (dir, listen) in dirs.iter().zip(&listens) {
        fs::write(
            dir.path().join("conf.yaml"),
            format!("network:\n  addresses: [{listen}]\n"),
        )
        .unwrap();
        again.push(Daemon::start(dir.path()));
    }
    for (index, node) in again.iter().enumerate() {
        assert_eq!(node.peer_id(), ids[index]);
        wait_for("connected again", LIMIT, || {
            (!node.connected().is_empty()).then_some(())
        });
    }
}

#[test]
fn a_peer_added_with_an_editor_is_dialled_and_comments_survive() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = Daemon::start_with(dir.path(), &["--listen", "/ip4/127.0.0.1/tcp/0"]);
    let other = Daemon::start_with(other_dir.path(), &["--listen", "/ip4/127.0.0.1/tcp/0"]);
    let key = other.ready["public_key"].as_str().unwrap();
    let text = format!(
        "# our federation\npeers:\n  # the box in the cellar\n  - public_key: {key}\n    addresses:\n      - {}  # cable\n",
        other.addr()
    );
    fs::write(dir.path().join("peers.yaml"), text).unwrap();
    wait_for("the new peer connected", LIMIT, || {
        node.connected().contains(&other.peer_id()).then_some(())
    });

    // Something the node must write by itself.
    let third = btcfed_core::testing::test_key(3);
    node.json(&["peers", "add", &format!("{third}@127.0.0.1:1")]);
    let saved = wait_for("the node's own save", LIMIT, || {
        let text = fs::read_to_string(dir.path().join("peers.yaml")).unwrap();
        text.contains(&third.to_string()).then_some(text)
    });
    for comment in ["# our federation", "  # the box in the cellar", "  # cable"] {
        assert!(saved.contains(comment), "{comment} is gone:\n{saved}");
    }
}

#[test]
fn a_peer_deleted_with_an_editor_is_disconnected_and_gossip_does_not_bring_it_back() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = Daemon::start_with(other_dir.path(), &["--listen", "/ip4/127.0.0.1/tcp/0"]);
    let node = Daemon::start_with(dir.path(), &["--listen", "/ip4/127.0.0.1/tcp/0"]);
    node.json(&["peers", "add", &other.full_addr()]);
    wait_for("connected", LIMIT, || {
        node.connected().contains(&other.peer_id()).then_some(())
    });
    let path = dir.path().join("peers.yaml");
    wait_for("saved", LIMIT, || {
        fs::read_to_string(&path)
            .is_ok_and(|text| text.contains("public_key"))
            .then_some(())
    });
    fs::write(&path, "peers: []\n").unwrap();
    wait_for("forgotten", LIMIT, || node.known().is_empty().then_some(()));
    // The other one still knows this node and comes back, with its own record: that is gossip.
    wait_for("the other one is back", LIMIT, || {
        let status = node.json(&["status"]);
        (status["connections"]["established"].as_u64() >= Some(2)).then_some(())
    });
    assert_eq!(node.known(), [] as [String; 0]);
}

#[test]
fn a_devnet_of_five_knows_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (code, document) = run_json(
        dir.path(),
        &["devnet", "--nodes", "5", "--timeout", "30s", "-q"],
    );
    assert_eq!(
        (code, document["converged"].as_bool()),
        (0, Some(true)),
        "{document}"
    );
    assert_eq!(document["nodes"].as_array().unwrap().len(), 5);
    assert!(
        document["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .all(|node| node["known"] == 4)
    );
}
