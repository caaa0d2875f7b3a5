//! Where values come from, where files are, and what a reload sees.

use std::path::{Path, PathBuf};

use btcfed_config::{
    Environment, FileSource, KeySource, Location, Origin, Overrides, load_or_generate_key,
};
use btcfed_core::{ConfigSource as _, NodeConfig, SecretKey};

use crate::common::Folder;

const INLINE: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

#[test]
fn a_flag_goes_before_the_environment_before_the_file_before_the_default() {
    let folder = Folder::new();
    folder.write(
        "peers: {exchange_interval: 20s, connection_timeout: 2s}\n\nlogging: {level: warn}\n",
    );
    let env = [
        ("BTCFED_PEERS__EXCHANGE_INTERVAL", "15s"),
        ("BTCFED_LOGGING__LEVEL", "debug"),
    ];
    let loaded = folder
        .source(&env, &[("logging.level", "error")])
        .load_full()
        .unwrap();
    let expected = [
        (
            "peers.exchange_interval",
            "15s",
            Origin::Env("BTCFED_PEERS__EXCHANGE_INTERVAL".into()),
        ),
        (
            "peers.connection_timeout",
            "2s",
            Origin::File { line: Some(1) },
        ),
        (
            "logging.level",
            "error",
            Origin::Flag("--logging.level".into()),
        ),
        ("logging.format", "auto", Origin::Default),
    ];
    for (key, value, origin) in expected {
        assert_eq!(
            (loaded.config.values()[key].as_str(), &loaded.origins[key]),
            (value, &origin),
            "{key}"
        );
    }
    assert_eq!(loaded.origins.len(), btcfed_config::keys().len());
}

#[test]
fn the_last_of_several_flags_wins() {
    let folder = Folder::new();
    folder.write("");
    let flags = [("logging.level", "error"), ("logging.level", "debug")];
    assert_eq!(
        folder.source(&[], &flags).load().unwrap().values()["logging.level"],
        "debug"
    );
}

#[test]
fn every_kind_of_value_can_come_from_the_environment() {
    let folder = Folder::new();
    folder.write("");
    for (name, text, key, shown) in [
        (
            "BTCFED_NETWORK__ADDRESSES",
            "/ip4/127.0.0.1/tcp/1, /ip6/::1/tcp/2,",
            "network.addresses",
            "[/ip4/127.0.0.1/tcp/1, /ip6/::1/tcp/2]",
        ),
        ("BTCFED_PEERS__BOOTSTRAP", "", "peers.bootstrap", "[]"),
        (
            "BTCFED_NETWORK__ANNOUNCE",
            "/dns/a.example/tcp/1",
            "network.announce",
            "[/dns/a.example/tcp/1]",
        ),
        (
            "BTCFED_NETWORK__LIMITS__MAX_PER_IP",
            " 3 ",
            "network.limits.max_per_ip",
            "3",
        ),
        (
            "BTCFED_NETWORK__BACKOFF__JITTER",
            "0.1",
            "network.backoff.jitter",
            "0.1",
        ),
        (
            "BTCFED_NETWORK__BACKOFF__FACTOR",
            "3",
            "network.backoff.factor",
            "3",
        ),
        ("BTCFED_STORAGE__WATCH", "false", "storage.watch", "false"),
        ("BTCFED_NODE__NAME", "123", "node.name", "123"),
        ("BTCFED_NODE__NETWORK", "testnet", "node.network", "testnet"),
        ("BTCFED_ADMIN__MODE", "600", "admin.mode", "0600"),
        (
            "BTCFED_ADMIN__SOCKET",
            "run/x.sock",
            "admin.socket",
            "run/x.sock",
        ),
        ("BTCFED_SHUTDOWN__TIMEOUT", "9s", "shutdown.timeout", "9s"),
    ] {
        let loaded = folder.source(&[(name, text)], &[]).load_full().unwrap();
        assert_eq!(loaded.config.values()[key], shown, "{name}");
        assert_eq!(loaded.origins[key], Origin::Env(name.to_owned()));
    }
}

#[test]
fn what_is_wrong_outside_of_the_file_names_its_variable_or_flag() {
    let folder = Folder::new();
    folder.write("peers:\n  exchange_interval: 1\n");
    let env = [
        ("BTCFED_PEERS__EXCHANGE_INTERVALL", "5s"),
        ("BTCFED_PEERS_EXCHANGE_INTERVAL", "5s"),
        ("BTCFED_PEERS__CONNECTION_TIMEOUT", "5"),
        ("BTCFED_NETWORK__LIMITS__MAX_PENDING", "many"),
        ("BTCFED_STORAGE__WATCH", "yes"),
        (
            "BTCFED_NETWORK__ADDRESSES",
            "/ip4/127.0.0.1/tcp/1,127.0.0.1:2",
        ),
        ("BTCFED_X__Y", "1"),
        ("BTCFED_NODE__PRIVATE_KEY", "abc"),
        ("BTCFED_NODE_PRIVATE_KEY", "abc"),
    ];
    let flags = [
        ("network.adresses", "x"),
        ("node.private_key", "x"),
        ("logging.level", "loud"),
        ("version", "1"),
    ];
    let secret = "put the key into a file and name that in node.private_key_file or BTCFED_NODE__PRIVATE_KEY_FILE";
    let expected = [
        "conf.yaml:2: peers.exchange_interval: 1 has no unit; write a duration such as 1s (allowed: 1s to 24h)",
        "BTCFED_PEERS__EXCHANGE_INTERVALL: unknown variable; did you mean BTCFED_PEERS__EXCHANGE_INTERVAL?",
        "BTCFED_PEERS_EXCHANGE_INTERVAL: unknown variable; did you mean BTCFED_PEERS__EXCHANGE_INTERVAL?",
        "BTCFED_PEERS__CONNECTION_TIMEOUT: peers.connection_timeout: \"5\" has no unit; write a duration such as 100ms (allowed: 100ms to 5m)",
        "BTCFED_NETWORK__LIMITS__MAX_PENDING: network.limits.max_pending: expected a whole number, found text; allowed: 1 to 10000",
        "BTCFED_STORAGE__WATCH: storage.watch: expected true or false, found \"yes\"",
        "BTCFED_NETWORK__ADDRESSES: network.addresses[1]: \"127.0.0.1:2\" is not written as a multiaddr; write /ip4/127.0.0.1/tcp/2",
        "BTCFED_X__Y: unknown variable",
        &format!(
            "BTCFED_NODE__PRIVATE_KEY: node.private_key: the environment is no place for a private key; {secret}"
        ),
        &format!(
            "BTCFED_NODE_PRIVATE_KEY: node.private_key: the environment is no place for a private key; {secret}"
        ),
        "--network.adresses: network.adresses: unknown key; did you mean network.addresses?",
        &format!(
            "--node.private_key: node.private_key: every user of this machine can read the flags of a process; {secret}"
        ),
        "--logging.level: logging.level: \"loud\" is not allowed; allowed: error, warn, info, debug, trace",
        "--version: version: unknown key",
    ];
    let told = folder.told(folder.source(&env, &flags).load_full());
    for (told, expected) in told.iter().zip(expected) {
        assert_eq!(told, expected);
    }
    assert_eq!(told.len(), expected.len());
}

#[test]
fn a_contradiction_across_sources_is_told_where_the_smaller_one_was_written() {
    let folder = Folder::new();
    folder.write("network:\n  limits:\n    max_connections: 5\n");
    let told = folder.told(
        folder
            .source(&[("BTCFED_NETWORK__LIMITS__MAX_INBOUND", "6")], &[])
            .load_full(),
    );
    assert!(told[0].starts_with(
        "BTCFED_NETWORK__LIMITS__MAX_INBOUND: network.limits.max_inbound: invalid connection limits"
    ));
}

#[test]
fn other_variables_are_left_alone() {
    let folder = Folder::new();
    folder.write("");
    let env = [
        ("BTCFED_CONFIG", "x"),
        ("BTCFED_SOCKET", "x"),
        ("BTCFED_TEST_A__B", "x"),
        ("BTCFED_COLOR", "x"),
        ("BTCFED_VERSION", "x"),
        ("PEERS__EXCHANGE_INTERVAL", "x"),
        ("btcfed_peers__exchange_interval", "x"),
    ];
    assert_eq!(
        folder.source(&env, &[]).load().unwrap(),
        folder.source(&[], &[]).load().unwrap()
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_variable_that_is_no_text_is_refused() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;
    let env: Environment = [("BTCFED_NODE__NAME", OsString::from_vec(vec![0xff]))]
        .into_iter()
        .collect();
    let location = Location::Nowhere {
        searched: Vec::new(),
    };
    let source = FileSource::new(
        location,
        ".".into(),
        Overrides {
            env,
            flags: Vec::new(),
        },
    );
    assert_eq!(
        source.load().unwrap_err().to_string(),
        "BTCFED_NODE__NAME: node.name: not valid UTF-8"
    );
}

#[test]
fn the_environment_of_the_process_is_read_and_shows_no_values() {
    let env = Environment::of_process();
    assert_eq!(
        env.get("HOME").is_some(),
        std::env::var_os("HOME").is_some_and(|home| !home.is_empty())
    );
    assert_eq!(env.get("PATH"), None);
    let env: Environment = [("BTCFED_NODE__PRIVATE_KEY", INLINE)].into_iter().collect();
    assert_eq!(format!("{env:?}"), "{\"BTCFED_NODE__PRIVATE_KEY\"}");
}

#[test]
fn no_file_means_defaults_and_an_empty_file_too() {
    let nowhere = |state: &str| {
        let location = Location::Nowhere {
            searched: vec!["/nowhere/conf.yaml".into()],
        };
        FileSource::new(location, state.into(), Overrides::default())
            .load_full()
            .unwrap()
    };
    let loaded = nowhere(".");
    assert_eq!(loaded.config, NodeConfig::default());
    assert!(matches!(&loaded.key, KeySource::File(path) if path == Path::new("node.key")));
    assert!(loaded.path.is_none() && loaded.warnings.is_empty());
    assert_eq!(nowhere("/s").config.peers.file, Path::new("/s/peers.yaml"));
    let folder = Folder::new();
    for text in [
        "",
        "\n\n",
        "# nothing\n",
        "---\n",
        "{}",
        "node:\npeers: ~\n",
        "\u{feff}",
    ] {
        let loaded = folder.write(text).load().unwrap();
        assert_eq!(
            loaded.config.values()["peers.exchange_interval"],
            "30s",
            "{text:?}"
        );
        assert_eq!(loaded.path, Some(folder.conf()));
    }
}

#[test]
fn a_file_that_was_named_must_exist() {
    for (by, hint) in [
        ("--config", "--config names it"),
        ("BTCFED_CONFIG", "BTCFED_CONFIG names it"),
    ] {
        let location = Location::Named {
            path: "/nowhere/conf.yaml".into(),
            by,
        };
        let error = FileSource::new(location, ".".into(), Overrides::default())
            .load()
            .unwrap_err();
        assert!(
            error.to_string().starts_with(&format!(
                "/nowhere/conf.yaml: there is no such file; {hint}"
            )),
            "{error}"
        );
    }
}

#[test]
fn file_names_in_the_file_are_meant_from_its_folder_and_defaults_live_in_the_state_directory() {
    let folder = Folder::new();
    folder.write("peers: {file: data/p.yaml}\nnode: {private_key_file: /abs/key}\n");
    let location = Location::Found {
        path: folder.conf(),
    };
    let loaded = FileSource::new(location, "/state".into(), Overrides::default())
        .load_full()
        .unwrap();
    assert_eq!(loaded.config.peers.file, folder.path("data/p.yaml"));
    assert_eq!(loaded.config.admin.socket, Path::new("/state/btcfed.sock"));
    assert!(matches!(&loaded.key, KeySource::File(path) if path == Path::new("/abs/key")));
}

#[test]
fn a_file_that_appears_after_a_first_run_is_read_on_reload_and_one_that_vanishes_is_an_error() {
    let folder = Folder::new();
    let location = Location::Nowhere {
        searched: vec![folder.path("other"), folder.conf()],
    };
    let source = FileSource::new(location, PathBuf::from("."), Overrides::default());
    assert_eq!(source.load().unwrap(), NodeConfig::default());
    folder.write("node: {name: alice}\n");
    let loaded = source.load_full().unwrap();
    assert_eq!(
        (loaded.config.name.as_str(), loaded.path),
        ("alice", Some(folder.conf()))
    );
    let found = folder.source(&[], &[]);
    found.load().unwrap();
    std::fs::remove_file(folder.conf()).unwrap();
    assert!(
        found
            .load()
            .unwrap_err()
            .to_string()
            .contains("there is no such file; restore it")
    );
}

#[test]
fn an_inline_key_is_honoured_with_a_warning_if_others_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    folder.write(format!("node:\n  private_key: {INLINE}\n"));
    let key = SecretKey::from_seed([7; 32]);
    for (mode, warned) in [(0o600, false), (0o644, true)] {
        std::fs::set_permissions(folder.conf(), std::fs::Permissions::from_mode(mode)).unwrap();
        let loaded = folder.load().unwrap();
        assert!(
            matches!(&loaded.key, KeySource::Inline(inline) if inline.public() == key.public())
        );
        let told: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            told.iter()
                .any(|told| told.contains(":2: node.private_key: other users can read")),
            warned,
            "{told:?}"
        );
    }
    folder.write("node: {name: a}\n");
    assert!(folder.load().unwrap().warnings.is_empty());
}

#[test]
fn another_identity_is_told_on_reload_and_the_same_one_is_not() {
    let folder = Folder::new();
    let running = SecretKey::from_seed([7; 32]).public();
    let change = |text: &str| folder.write(text).load().unwrap().identity_change(running);
    assert_eq!(change(&format!("node: {{private_key: {INLINE}}}\n")), None);
    let other = SecretKey::from_seed([8; 32]);
    let told = change(&format!(
        "node: {{private_key: \"{}\"}}\n",
        *other.to_base64()
    ))
    .unwrap();
    assert!(told.needs_restart && told.key == "node.private_key");
    assert_eq!(
        (told.old, told.new),
        (running.peer_id().to_string(), other.peer_id().to_string())
    );

    // The key was removed from conf.yaml: nothing is made up.
    let told = change("").unwrap();
    assert!(
        told.key == "node.private_key_file" && told.new.starts_with("unusable ("),
        "{told:?}"
    );
    assert!(!folder.path("node.key").exists());

    std::fs::write(folder.path("node.key"), INLINE).unwrap();
    assert_eq!(change(""), None);
    load_or_generate_key(&folder.path("other.key")).unwrap();
    assert!(
        change("node: {private_key_file: other.key}\n")
            .unwrap()
            .needs_restart
    );
}

#[test]
fn a_text_is_read_as_if_it_stood_in_the_file_and_nothing_is_written() {
    let folder = Folder::new();
    folder.write("node: {name: old}\n");
    let source = folder.source(&[("BTCFED_LOGGING__LEVEL", "debug")], &[]);
    let loaded = source
        .load_text("node: {name: new}\npeers: {file: other.yaml}\n")
        .unwrap();
    let old = source.load_full().unwrap();
    assert_eq!(
        (loaded.config.name.as_str(), old.config.name.as_str()),
        ("new", "old")
    );
    let beside = |loaded: &btcfed_config::LoadedConfig| {
        loaded.config.peers.file.parent().map(Path::to_owned)
    };
    assert_eq!(
        (beside(&loaded), loaded.path.as_ref()),
        (beside(&old), old.path.as_ref())
    );
    assert_eq!(loaded.config.logging.level, old.config.logging.level);
    assert!(source.load_text("node: {nmae: a}\n").is_err());
    let most = btcfed_config::MAX_CONFIG_BYTES;
    assert!(source.load_text(&"#".repeat(most)).is_ok());
    assert!(source.load_text(&"#".repeat(most + 1)).is_err());
}
