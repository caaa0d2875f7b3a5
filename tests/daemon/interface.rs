//! An interface that loses its address and gets it back, in a network of its own. Needs root.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::daemon::{Daemon, run};
use crate::common::{skipped, wait_for};

const LIMIT: Duration = Duration::from_secs(20);

/// The address that comes and goes.
const PLACE: &str = "192.0.2.1/32";

/// Becomes the daemon, in a network of its own that has this address.
const IN_ITS_OWN_NETWORK: &str = "exec unshare -n /bin/sh -c \
    'ip link set lo up && ip addr add 192.0.2.1/32 dev lo && exec \"$0\" \"$@\"' \"$0\" \"$@\"";

/// Adds or deletes the address in the network of `node`.
fn address(node: &Daemon, what: &str) -> Output {
    let pid = node.pid().to_string();
    Command::new("nsenter")
        .args(["-t", &pid, "-n", "ip", "addr", what, PLACE, "dev", "lo"])
        .output()
        .unwrap()
}

fn can_make_networks() -> bool {
    let script = "ip link set lo up && ip addr add 192.0.2.1/32 dev lo && nsenter --version";
    Command::new("unshare")
        .args(["-n", "/bin/sh", "-c", script])
        .output()
        .is_ok_and(|output| output.status.success())
}

#[test]
fn a_listener_whose_interface_loses_its_address_is_told_as_down_until_the_address_is_back() {
    if !can_make_networks() {
        return skipped("no network can be made here; this needs root, unshare, nsenter and ip");
    }
    let dir = tempfile::tempdir().unwrap();
    let options = ["--listen", "/ip4/0.0.0.0/tcp/9000"];
    let node = Daemon::start_after(dir.path(), IN_ITS_OWN_NETWORK, &options);
    let lost = json!("/ip4/192.0.2.1/tcp/9000");
    let listens = |status: &Value| status["listen"].as_array().unwrap().contains(&lost);
    let status = node.json(&["status"]);
    assert!(
        listens(&status) && status["listeners_down"] == json!([]),
        "{status}"
    );

    let done = address(&node, "del");
    assert!(done.status.success(), "{done:?}");
    let status = wait_for("the listener is down", LIMIT, || {
        let status = node.json(&["status"]);
        (!listens(&status)).then_some(status)
    });
    let down = &status["listeners_down"][0];
    assert_eq!(down["address"], lost, "{status}");
    assert!(down["since"].as_str().unwrap().ends_with('Z'), "{status}");
    assert!(
        !status["listen"].as_array().unwrap().is_empty(),
        "the others go on"
    );
    let text = String::from_utf8(run(dir.path(), &["status"]).stdout).unwrap();
    assert!(
        text.contains("DOWN /ip4/192.0.2.1/tcp/9000 since "),
        "{text}"
    );

    let done = address(&node, "add");
    assert!(done.status.success(), "{done:?}");
    let status = wait_for("the listener is back", LIMIT, || {
        let status = node.json(&["status"]);
        listens(&status).then_some(status)
    });
    assert_eq!(status["listeners_down"], json!([]), "{status}");
}
