//! The file `init` writes, and the reference in the documentation.

use std::os::unix::fs::PermissionsExt as _;

use btcfed_config::{
    FlagValue, KeySource, Origin, default_text, keys, reference, text_with, write_new_config,
};

use crate::common::Folder;

/// The text with every default that is a remark made a line.
fn uncommented(text: &str) -> String {
    let is_default = |line: &str| {
        let Some(rest) = line.trim_start().strip_prefix('#') else {
            return false;
        };
        rest.starts_with(|c: char| c.is_ascii_lowercase()) || rest.starts_with("  - ")
    };
    text.lines().map(|line| if is_default(line) { line.replacen('#', "", 1) } else { line.to_owned() } + "\n").collect()
}

#[test]
fn the_default_file_means_the_defaults_with_and_without_its_remarks() {
    let folder = Folder::new();
    let expected = folder.write("").load().unwrap();
    for text in [default_text(), uncommented(&default_text())] {
        let loaded = folder.write(&text).load().unwrap();
        assert_eq!(loaded.config, expected.config);
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        assert!(
            matches!((&loaded.key, &expected.key), (KeySource::File(a), KeySource::File(b)) if a == b)
        );
    }
}

#[test]
fn uncommented_every_key_stands_in_the_default_file() {
    let folder = Folder::new();
    let loaded = folder.write(uncommented(&default_text())).load().unwrap();
    for key in keys().iter().filter(|key| key.name != "version") {
        assert!(
            matches!(loaded.origins[key.name], Origin::File { line: Some(_) }),
            "{key}"
        );
    }
}

#[test]
fn the_default_file_shows_the_well_known_keys_first_and_explains_each() {
    let text = default_text();
    for line in [
        "  private_key: \"\"",
        "  addresses:",
        "    - /ip4/0.0.0.0/tcp/9000",
        "  exchange_interval: 30s",
        "  connection_timeout: 10s",
        "  level: info",
        "  format: auto",
        "  #name: \"\"",
        "    #max_connections: 128",
        "  #mode: \"0660\"",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\n{text}");
    }
    assert!(text.lines().all(|line| line.len() <= 140), "{text}");
    for key in keys() {
        assert!(text.contains(&format!("# {}: ", key.help)), "{key}");
    }
}

#[test]
fn values_of_init_are_written_in_and_checked() {
    let values = [
        FlagValue::new("--name", "node.name", "a \"quoted\" \\ näme: #1"),
        FlagValue::new(
            "--listen",
            "network.addresses",
            "/ip4/127.0.0.1/tcp/1,/ip6/::1/tcp/2",
        ),
        FlagValue::new("--bootstrap", "peers.bootstrap", ""),
        FlagValue::new("--peers", "peers.file", "a b: c.yaml"),
        FlagValue::new("--socket", "admin.socket", "7"),
        FlagValue::new("--mode", "admin.mode", "600"),
        FlagValue::new("--interval", "peers.exchange_interval", " 5s "),
        FlagValue::new("--network", "node.network", "testnet"),
        FlagValue::new("--jitter", "network.backoff.jitter", "0.5"),
    ];
    let folder = Folder::new();
    let loaded = folder.write(text_with(&values).unwrap()).load().unwrap();
    assert_eq!(loaded.config.name, "a \"quoted\" \\ näme: #1");
    assert_eq!(loaded.config.peers.file, folder.path("a b: c.yaml"));
    assert_eq!(loaded.config.admin.socket, folder.path("7"));
    for (key, shown) in [
        (
            "network.addresses",
            "[/ip4/127.0.0.1/tcp/1, /ip6/::1/tcp/2]",
        ),
        ("peers.bootstrap", "[]"),
        ("admin.mode", "0600"),
        ("peers.exchange_interval", "5s"),
        ("node.network", "testnet"),
        ("network.backoff.jitter", "0.5"),
        ("logging.level", "info"),
    ] {
        assert_eq!(loaded.config.values()[key], shown, "{key}");
    }
    let error = text_with(&[
        FlagValue::new("--listen", "network.addresses", "127.0.0.1:1"),
        FlagValue::new("--interval", "peers.exchange_interval", "5"),
    ]);
    let told = error.unwrap_err().to_string();
    assert!(
        told.contains("--listen: network.addresses[0]")
            && told.contains("--interval: peers.exchange_interval"),
        "{told}"
    );
}

#[test]
fn a_new_file_is_written_once_unless_forced() {
    let folder = Folder::new();
    let path = folder.conf();
    write_new_config(&path, "a: 1\n", false).unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o133,
        0
    );
    let error = write_new_config(&path, "b: 2\n", false).unwrap_err();
    assert!(
        error.already_exists()
            && !error.is_permission()
            && error.to_string().ends_with("conf.yaml: exists already")
    );
    assert_eq!(error.kind(), btcfed_core::ErrorKind::Config);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a: 1\n");
    write_new_config(&path, "b: 2\n", true).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "b: 2\n");
    let error = write_new_config(&folder.path("missing/conf.yaml"), "", true).unwrap_err();
    assert!(
        !error.already_exists() && error.to_string().contains("No such file"),
        "{error}"
    );
}

#[test]
fn the_documentation_holds_the_reference_as_it_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/FILES.md");
    assert!(
        std::fs::read_to_string(path)
            .unwrap()
            .contains(&reference()),
        "{}",
        reference()
    );
}
