//! One id follows one dial, from the decision to the end of its connection.

use std::time::Duration;

use crate::common::daemon::Daemon;
use crate::common::wait_for;

const LIMIT: Duration = Duration::from_secs(20);
const LOCAL: [&str; 2] = ["--listen", "/ip4/127.0.0.1/tcp/0"];

/// The messages of the log lines that carry this dial.
fn steps(log: &str, dial: &str) -> Vec<String> {
    let marks = [format!("\"dial\":\"{dial}\""), format!("dial={dial}")];
    log.lines()
        .filter(|line| marks.iter().any(|mark| line.contains(mark)))
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["fields"]["message"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

#[test]
fn one_id_follows_a_dial_through_every_line_of_the_log_and_every_event() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut other = Daemon::start_with(other_dir.path(), &LOCAL);
    let debug = [&LOCAL[..], &["--log-level", "debug"]].concat();
    let node = Daemon::start_with(dir.path(), &debug);
    node.json(&["peers", "add", &other.full_addr()]);
    let event = |name: &str| {
        wait_for(name, LIMIT, || {
            let answer = node.json(&["events"]);
            let events = answer["events"].as_array().unwrap().clone();
            events.into_iter().find(|event| event["event"] == name)
        })
    };
    let dial = event("connected")["dial"].as_str().unwrap().to_owned();
    wait_for("the exchange", LIMIT, || {
        let log = steps(&node.log(), &dial);
        log.iter()
            .any(|step| step == "handshake completed")
            .then_some(())
    });
    other.kill();
    assert_eq!(event("disconnected")["dial"], dial.as_str());
    let followed = wait_for("the last line", LIMIT, || {
        let steps = steps(&node.log(), &dial);
        (steps.iter().filter(|step| *step == "disconnected").count() == 2).then_some(steps)
    });
    let in_order = [
        "dialling",
        "dial command",
        "trying addresses",
        "established",
        "connected",
        "message",
        "handshake completed",
        "disconnected",
    ];
    let mut rest = followed.iter();
    for step in in_order {
        assert!(
            rest.any(|line| line == step),
            "{step} is missing or late in {followed:?}"
        );
    }
    assert!(
        followed.iter().any(|step| step == "identified"),
        "{followed:?}"
    );

    // The next dial is refused. It has an id of its own, on the line of its address too.
    let failed = event("dial_failed");
    let next = failed["dial"].as_str().unwrap();
    assert_ne!(next, dial);
    let steps = steps(&node.log(), next);
    for step in [
        "dialling",
        "trying addresses",
        "address failed",
        "attempt failed",
        "dial failed",
    ] {
        assert!(
            steps.iter().any(|line| line == step),
            "{step} is missing in {steps:?}"
        );
    }
}
