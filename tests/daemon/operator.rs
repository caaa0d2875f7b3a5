//! What operators ask: about the configuration, and about what a reload would do.

use std::fs;

use crate::common::config::yaml;
use crate::common::daemon::{Daemon, run, run_json};

#[test]
fn a_key_or_a_section_is_explained_with_its_value_and_origin() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("conf.yaml"), yaml(&[])).unwrap();
    let (code, one) = run_json(
        dir.path(),
        &["config", "explain", "peers.exchange_interval"],
    );
    assert_eq!((code, one["keys"].as_array().unwrap().len()), (0, 1));
    assert_eq!(
        (
            one["keys"][0]["default"].as_str(),
            one["keys"][0]["value"].as_str()
        ),
        (Some("30s"), Some("2s"))
    );
    assert_eq!(one["keys"][0]["origin"], "file, line 5");
    let (_, section) = run_json(dir.path(), &["config", "explain", "network.limits"]);
    assert_eq!(section["keys"].as_array().unwrap().len(), 4);
    let text =
        String::from_utf8(run(dir.path(), &["config", "explain", "logging.level"]).stdout).unwrap();
    assert!(
        text.contains("error, warn, info, debug, trace") && text.contains("BTCFED_LOGGING__LEVEL"),
        "{text}"
    );
    let (code, unknown) = run_json(dir.path(), &["config", "explain", "exchange_interval"]);
    assert_eq!(code, 1);
    assert!(
        unknown["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("peers.exchange_interval"),
        "{unknown}"
    );
}

#[test]
fn the_schema_knows_every_key_of_the_default_file() {
    let dir = tempfile::tempdir().unwrap();
    let (code, schema) = run_json(dir.path(), &["config", "schema"]);
    assert_eq!(
        (code, schema["additionalProperties"].as_bool()),
        (0, Some(false))
    );
    for (key, _) in run_json(dir.path(), &["config", "dump"]).1["values"]
        .as_object()
        .unwrap()
    {
        let path = format!("/properties/{}", key.replace('.', "/properties/"));
        assert!(schema.pointer(&path).is_some(), "{key}");
    }
}

#[test]
fn what_a_reload_would_change_is_told_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("conf.yaml");
    assert_eq!(run_json(dir.path(), &["config", "diff"]).0, 69, "no daemon");
    assert_eq!(
        run_json(dir.path(), &["config", "diff", "--defaults"]).1["changes"],
        serde_json::json!([])
    );
    fs::write(&conf, yaml(&[])).unwrap();
    // A flag of the daemon goes before its file, for a dry run as well.
    let node = Daemon::start_with(dir.path(), &["--name", "alice"]);
    assert_eq!(
        node.json(&["config", "diff"])["changes"],
        serde_json::json!([])
    );
    fs::write(
        &conf,
        yaml(&[]).replace("2s", "9s") + "node:\n  network: regtest\n",
    )
    .unwrap();
    let dry = node.json(&["reload", "--dry-run"]);
    assert_eq!(
        (
            dry["applied"][0]["new"].as_str(),
            dry["needs_restart"][0]["key"].as_str()
        ),
        (Some("9s"), Some("node.network"))
    );
    let diff = node.json(&["config", "diff"]);
    assert_eq!(diff["changes"].as_array().unwrap().len(), 2, "{diff}");
    assert_eq!(diff["changes"][0]["effect"], "live");
    assert_eq!(
        node.json(&["status"])["config"]["revision"],
        1,
        "nothing changed"
    );
    let defaults = node.json(&["config", "diff", "--defaults"]);
    let keys: Vec<_> = defaults["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["key"].as_str().unwrap())
        .collect();
    assert_eq!(
        keys,
        [
            "network.addresses",
            "node.network",
            "peers.exchange_interval"
        ]
    );
    fs::write(&conf, "peers: [").unwrap();
    assert_eq!(
        run_json(
            dir.path(),
            &["--socket", "btcfed.sock", "reload", "--dry-run"]
        )
        .0,
        78
    );
}
