//! The copy of the last configuration that worked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::common::config::yaml;
use crate::common::daemon::{Daemon, run_json};
use crate::common::wait_for;

#[test]
fn a_damaged_configuration_is_refused_and_the_last_good_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (conf, copy) = (
        dir.path().join("conf.yaml"),
        dir.path().join("conf.last-good.yaml"),
    );
    let first = yaml(&[]) + "# by hand\n";
    fs::write(&conf, &first).unwrap();
    let mut node = Daemon::start(dir.path());
    assert_eq!(fs::read_to_string(&copy).unwrap(), first);
    let mode = fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // A reload that works is kept as well, one that does not is not.
    let second = first.replace("2s", "9s");
    fs::write(&conf, &second).unwrap();
    node.json(&["reload"]);
    wait_for("the new copy", Duration::from_secs(5), || {
        (fs::read_to_string(&copy).unwrap() == second).then_some(())
    });
    let damaged = &second[..second.len() / 2];
    let damaged = format!("{damaged}\u{0}\u{0}");
    fs::write(&conf, &damaged).unwrap();
    assert_eq!(
        run_json(dir.path(), &["reload", "--socket", "btcfed.sock"]).0,
        78
    );
    node.terminate();

    let (code, document) = run_json(dir.path(), &["run"]);
    assert_eq!(code, 78, "{document}");
    let hint = document["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("conf.last-good.yaml"), "{hint}");
    assert_eq!(fs::read_to_string(&conf).unwrap(), damaged, "left alone");
    assert_eq!(fs::read_to_string(&copy).unwrap(), second);

    // What the hint says works.
    fs::copy(&copy, &conf).unwrap();
    let node = Daemon::start(dir.path());
    let values = &node.json(&["status"])["config"]["values"];
    assert_eq!(values["peers.exchange_interval"], "9s");
}

#[test]
fn an_emptied_configuration_means_the_defaults_and_is_told_loudly() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("conf.yaml");
    fs::write(&conf, yaml(&[])).unwrap();
    Daemon::start(dir.path()).terminate();
    fs::write(&conf, "").unwrap();
    let node = Daemon::start_with(dir.path(), &["--listen", "/ip4/127.0.0.1/tcp/0"]);
    wait_for("the warning", Duration::from_secs(5), || {
        node.log()
            .contains("THE CONFIGURATION FILE IS EMPTY")
            .then_some(())
    });
    let copy = fs::read_to_string(dir.path().join("conf.last-good.yaml"));
    assert_eq!(copy.unwrap(), yaml(&[]));
}
