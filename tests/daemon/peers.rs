//! What people do to peers, with the daemon running and stopped: bans, pins, names, lists that travel.

use std::fs;
use std::time::Duration;

use btcfed_core::testing::test_key;
use serde_json::Value;

use crate::common::daemon::{Daemon, run, run_json};
use crate::common::wait_for;

const LOCAL: [&str; 2] = ["--listen", "/ip4/127.0.0.1/tcp/0"];

/// Runs `check` in a directory without a daemon, and in one with.
fn stopped_and_running(check: impl Fn(&std::path::Path)) {
    for running in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let node = running.then(|| Daemon::start_with(dir.path(), &LOCAL));
        check(dir.path());
        drop(node);
    }
}

fn ok(dir: &std::path::Path, args: &[&str]) -> Value {
    let (code, document) = run_json(dir, args);
    assert_eq!(code, 0, "{args:?}: {document}");
    let command = args[..2].join("-");
    assert_eq!(document["schema"], format!("btcfed.{command}/1"));
    document
}

fn text(dir: &std::path::Path, args: &[&str]) -> String {
    let text = String::from_utf8(run(dir, args).stdout).unwrap();
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    text
}

#[test]
fn bans_pins_and_names_are_the_same_with_the_daemon_running_and_stopped() {
    stopped_and_running(|dir| {
        let target = format!("{}@127.0.0.1:1", test_key(1));
        ok(dir, &["peers", "add", &target, "--name", "alice"]);
        let made = ok(
            dir,
            &[
                "peers",
                "ban",
                "alice",
                "--for",
                "24h",
                "--reason",
                "floods us",
            ],
        );
        assert_eq!(
            (made["name"].as_str(), made["changed"].as_bool()),
            (Some("alice"), Some(true))
        );
        for other in ["203.0.113.7", "198.51.100.0/24"] {
            assert_eq!(ok(dir, &["peers", "ban", other])["changed"], true);
            assert_eq!(ok(dir, &["peers", "ban", other])["changed"], false);
        }
        let shown = ok(dir, &["peers", "show", "alice"]);
        assert_eq!(shown["peer"]["ban"]["reason"], "floods us");
        let bans = ok(dir, &["peers", "bans"]);
        assert_eq!(bans["bans"].as_array().unwrap().len(), 3);
        let table = text(dir, &["peers", "bans"]);
        assert!(
            table.contains("198.51.100.0/24") && table.contains("floods us"),
            "{table}"
        );
        assert_saved(dir, "198.51.100.0/24");
        assert_eq!(ok(dir, &["peers", "unban", "alice"])["changed"], true);
        assert_eq!(ok(dir, &["peers", "unban", "alice"])["changed"], false);

        assert_eq!(ok(dir, &["peers", "pin", "alice"])["pinned"], true);
        assert_eq!(ok(dir, &["peers", "pin", "alice"])["changed"], false);
        assert_eq!(ok(dir, &["peers", "unpin", "alice"])["pinned"], false);
        assert_eq!(
            ok(dir, &["peers", "rename", "alice", "bob"])["changed"],
            true
        );
        let new = format!("{}@127.0.0.1:2", test_key(2));
        ok(dir, &["peers", "replace", "bob", &new]);
        let peers = ok(dir, &["peers", "list"]);
        assert_eq!(
            peers["peers"][0]["public_key"],
            test_key(2).to_string(),
            "{peers}"
        );
        assert_eq!(peers["peers"].as_array().unwrap().len(), 1);

        for (args, code) in [
            (&["peers", "ban", "10.0.0.0/33"][..], 65),
            (&["peers", "ban", "nobody"], 1),
            (&["peers", "ban", "bob", "--for", "24"], 2),
            (&["peers", "unban", "nobody"], 1),
            (&["peers", "pin", "nobody"], 1),
            (&["peers", "rename", "bob", "10.0.0.1"], 65),
            (&["peers", "replace", "bob", "nonsense"], 65),
        ] {
            assert_eq!(run(dir, args).status.code(), Some(code), "{args:?}");
        }
    });
}

#[test]
fn a_ban_ends_the_connection_and_lifting_it_brings_the_peer_back() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = Daemon::start_with(dir.path(), &LOCAL);
    let other = Daemon::start_with(other_dir.path(), &LOCAL);
    node.json(&["peers", "add", &other.full_addr(), "--name", "other"]);
    let limit = Duration::from_secs(10);
    wait_for("connected", limit, || {
        (!node.connected().is_empty()).then_some(())
    });
    node.json(&["peers", "ban", "other"]);
    wait_for("disconnected", limit, || {
        node.connected().is_empty().then_some(())
    });
    node.json(&["peers", "unban", "other"]);
    wait_for("connected again", limit, || {
        (!node.connected().is_empty()).then_some(())
    });
}

#[test]
fn lists_travel_in_three_forms_and_a_second_import_changes_nothing() {
    stopped_and_running(|dir| {
        for n in 1..=3 {
            let target = format!("{}@127.0.0.1:{n}", test_key(n));
            ok(
                dir,
                &["peers", "add", &target, "--name", &format!("peer, {n}")],
            );
        }
        ok(dir, &["peers", "pin", "peer, 1"]);
        for form in ["yaml", "json", "csv"] {
            let file = dir.join(format!("members.{form}"));
            let file = file.to_str().unwrap();
            assert_eq!(ok(dir, &["peers", "export", "-o", file])["count"], 3);
            assert_eq!(
                run_json(dir, &["peers", "export", "-o", file]).0,
                73,
                "not replaced"
            );

            let fresh = tempfile::tempdir().unwrap();
            let dry = ok(fresh.path(), &["peers", "import", file, "--dry-run"]);
            assert_eq!(
                (dry["counts"]["added"].as_u64(), dry["changed"].as_bool()),
                (Some(3), Some(false))
            );
            assert_eq!(
                ok(fresh.path(), &["peers", "list"])["peers"]
                    .as_array()
                    .unwrap()
                    .len(),
                0
            );
            let told = text(fresh.path(), &["peers", "import", file]);
            assert!(
                told.contains("+ 12D3KooW") && told.contains("3 added"),
                "{told}"
            );
            assert_eq!(
                ok(fresh.path(), &["peers", "import", file])["counts"]["same"],
                3
            );
            let show = |dir| ok(dir, &["peers", "show", "peer, 1"])["peer"].clone();
            let (here, there) = (show(dir), show(fresh.path()));
            for field in ["public_key", "name", "pinned", "addresses", "source"] {
                assert_eq!(here[field], there[field], "{form}: {field}");
            }
        }
    });
}

#[test]
fn documents_of_other_programs_are_recognised_and_bring_peers_bans_and_sections() {
    stopped_and_running(|dir| {
        let id = test_key(1).peer_id();
        let state = serde_json::json!({
            "version": 1,
            "peers": [{ "peer_id": id.to_string(), "addresses": ["/ip4/127.0.0.1/tcp/9"] }],
            "bootstrap_nodes": ["/ip4/127.0.0.1/tcp/8"],
            "dht_entries": [{ "key": "left-pad", "value": 1 }],
        });
        let file = dir.join("state.json");
        fs::write(&file, state.to_string()).unwrap();
        let file = file.to_str().unwrap();
        let dry = ok(dir, &["peers", "import", file, "--dry-run"]);
        assert_eq!(
            (dry["counts"]["added"].as_u64(), dry["changed"].as_bool()),
            (Some(1), Some(false))
        );
        assert_eq!(dry["keyless"][0], "/ip4/127.0.0.1/tcp/8");
        assert!(
            ok(dir, &["peers", "list"])["peers"]
                .as_array()
                .unwrap()
                .is_empty()
        );
        let told = text(dir, &["peers", "import", file]);
        assert!(told.contains("+ section dht_entries: 1 entries"), "{told}");
        assert!(told.contains("no key is known for them: 1\n"), "{told}");
        let yaml = fs::read_to_string(dir.join("peers.yaml")).unwrap();
        assert!(yaml.contains("      left-pad: {value: "), "{yaml}");
        let again = ok(dir, &["peers", "import", file, "--format", "state"]);
        assert_eq!(again["counts"]["same"], 1);

        let registry = serde_json::json!([
            { "id": "u-1", "ip": "127.0.0.1", "port": 7, "status": "Valid", "peer_id": test_key(2).peer_id().to_string() },
            { "id": "u-2", "ip": "203.0.113.9", "port": 7, "status": "Banned", "ban_reason": "NetworkMismatch" },
        ]);
        let file = dir.join("registry.json");
        fs::write(&file, registry.to_string()).unwrap();
        let file = file.to_str().unwrap();
        let done = ok(dir, &["peers", "import", file]);
        assert_eq!(
            (
                done["counts"]["added"].as_u64(),
                done["counts"]["banned"].as_u64()
            ),
            (Some(1), Some(1))
        );
        assert!(
            fs::read_to_string(dir.join("peers.yaml"))
                .unwrap()
                .contains("    uuid: u-1\n")
        );

        fs::write(
            file,
            "[{\"ip\": \"::1\", \"port\": 1},\n{\"ip\": \"::1\", \"port\": 0}]",
        )
        .unwrap();
        let (code, refused) = run_json(dir, &["peers", "import", file, "--replace"]);
        assert_eq!(
            (code, &refused["error"]["line"], &refused["error"]["key"]),
            (65, &2.into(), &"[1].port".into())
        );
        assert_eq!(
            ok(dir, &["peers", "list"])["peers"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
    });
}

#[test]
fn replacing_removes_who_is_not_in_the_file_and_a_bad_file_changes_nothing() {
    stopped_and_running(|dir| {
        for n in 1..=2 {
            ok(
                dir,
                &["peers", "add", &format!("{}@127.0.0.1:{n}", test_key(n))],
            );
        }
        let file = dir.join("list.csv");
        fs::write(
            &file,
            format!(
                "public_key,addresses\n{},/ip4/127.0.0.1/tcp/9\n",
                test_key(1)
            ),
        )
        .unwrap();
        let file = file.to_str().unwrap();
        let dry = ok(dir, &["peers", "import", file, "--replace", "--dry-run"]);
        let counts = |answer: &Value| {
            (
                answer["counts"]["updated"].clone(),
                answer["counts"]["removed"].clone(),
            )
        };
        assert_eq!(counts(&dry), (1.into(), 1.into()));
        let done = ok(dir, &["peers", "import", file, "--replace"]);
        assert_eq!(counts(&done), (1.into(), 1.into()));

        for (name, content, line) in [
            ("bad.csv", "public_key\nnonsense\n", 2),
            ("bad.json", "{\"peers\": [\n{\"public_key\": \"x\"}]}", 2),
            ("bad.json", "{", 1),
            ("bad.yaml", "peers:\n  - public_key: nonsense\n", 2),
        ] {
            let file = dir.join(name);
            fs::write(&file, content).unwrap();
            let (code, document) = run_json(
                dir,
                &["peers", "import", file.to_str().unwrap(), "--replace"],
            );
            assert_eq!(
                (code, document["error"]["line"].as_u64()),
                (65, Some(line)),
                "{document}"
            );
        }
        assert_eq!(
            ok(dir, &["peers", "list"])["peers"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    });
}

#[test]
fn verify_finds_what_is_wrong_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert_eq!(ok(dir, &["peers", "verify"])["exists"], false);
    ok(
        dir,
        &["peers", "add", &format!("{}@127.0.0.1:1", test_key(1))],
    );
    let good = ok(dir, &["peers", "verify"]);
    assert_eq!(
        (good["checksum"].as_str(), good["peers"].as_u64()),
        (Some("matches"), Some(1))
    );
    let file = dir.join("peers.yaml");
    let damaged = fs::read_to_string(&file)
        .unwrap()
        .replace("peers:\n", "peers:\n  - public_key: nonsense\n");
    fs::write(&file, &damaged).unwrap();
    let before: Vec<_> = fs::read_dir(dir).unwrap().count().to_le_bytes().into();
    let (code, found) = run_json(dir, &["peers", "verify"]);
    assert_eq!((code, found["checksum"].as_str()), (65, Some("differs")));
    assert!(
        found["problems"][0]["line"].as_u64().unwrap() > 1,
        "{found}"
    );
    let told = String::from_utf8(run(dir, &["peers", "verify"]).stdout).unwrap();
    assert!(
        told.contains("peers.yaml:") && told.contains("damaged"),
        "{told}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), damaged);
    let after: Vec<_> = fs::read_dir(dir).unwrap().count().to_le_bytes().into();
    assert_eq!(before, after, "no file was made");
    assert_eq!(run_json(dir, &["peers", "verify", "nowhere.yaml"]).0, 74);
}

/// The file follows what the node knows within a second; without a node it is written at once.
fn assert_saved(dir: &std::path::Path, words: &str) {
    wait_for("the file says it", Duration::from_secs(10), || {
        let saved = fs::read_to_string(dir.join("peers.yaml")).unwrap();
        saved.contains(words).then_some(())
    });
}
