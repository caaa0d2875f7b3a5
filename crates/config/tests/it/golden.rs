//! Everything that is wrong is told at once, with line, key and hint.

use crate::common::{Folder, problem, problems};

#[test]
fn many_problems_in_one_file_are_told_at_once_in_order() {
    let text = "\
# a bad day
node:
  name: 12
  privat_key: x
network:
  adresses: []
  addresses:
    - /ip4/0.0.0.0/udp/9000/quic-v1
    - ip4/0.0.0.0/tcp/9001
    - /ip4/0.0.0.0/tcp/9002
    - /dns4/node1.example.com/tcp/9000
    - /ip4/0.0.0.0/tcp/9002
  limits: {max_connections: 50, max_inbound: 96}
peers:
  exchange_interval: 30
  connection_timeout: [10s]
  exchange_interval: 15s
logging:
  level: verbose
  format: jsn
storage: yes please
";
    let expected = "\
conf.yaml:3: node.name: expected text, found the number 12; put it in quotes
conf.yaml:4: node.privat_key: unknown key; did you mean private_key?
conf.yaml:6: network.adresses: unknown key; did you mean addresses?
conf.yaml:8: network.addresses[0]: only TCP is supported, not \"/ip4/0.0.0.0/udp/9000/quic-v1\"; write /ip4/0.0.0.0/tcp/9000
conf.yaml:9: network.addresses[1]: \"ip4/0.0.0.0/tcp/9001\" does not begin with a slash; write /ip4/0.0.0.0/tcp/9001
conf.yaml:11: network.addresses[3]: \"/dns4/node1.example.com/tcp/9000\" is a name; listening takes an IP address; write /ip4/0.0.0.0/tcp/9000 here and the name into network.announce
conf.yaml:12: network.addresses[4]: the same address as element 2; remove one of them
conf.yaml:13: network.limits.max_inbound: invalid connection limits: max_inbound 96 is above max_connections 50; lower it, or raise network.limits.max_connections
conf.yaml:15: peers.exchange_interval: 30 has no unit; write a duration such as 30s (allowed: 1s to 24h)
conf.yaml:16: peers.connection_timeout: expected a duration such as 100ms, found a list; allowed: 100ms to 5m
conf.yaml:17: peers.exchange_interval: written twice, first on line 15; keep one of them
conf.yaml:19: logging.level: \"verbose\" is not allowed; allowed: error, warn, info, debug, trace
conf.yaml:20: logging.format: \"jsn\" is not allowed; did you mean json?
conf.yaml:21: storage: expected a section, found text; indent below it: lock_timeout, watch, debounce, flush_interval, journal";
    assert_eq!(problems(text).join("\n"), expected);
}

#[test]
fn the_same_file_in_windows_line_ends_and_with_a_mark_has_the_same_lines() {
    let text = "\u{feff}peers:\r\n  # r\r\n  exchange_interval: 30\r\n";
    assert!(problem(text).starts_with("conf.yaml:3: peers.exchange_interval: 30 has no unit"));
}

#[test]
fn unknown_keys_get_the_nearest_name() {
    for (text, expected) in [
        (
            "netwrok:\n  addresses: []\n",
            "conf.yaml:1: netwrok: unknown key; did you mean network?",
        ),
        (
            "exchange_interval: 5s\n",
            "conf.yaml:1: exchange_interval: unknown key; did you mean peers.exchange_interval?",
        ),
        (
            "peers.exchange_interval: 5s\n",
            "conf.yaml:1: peers.exchange_interval: unknown key; write peers: and, indented below, exchange_interval:",
        ),
        (
            "network.limits.max_inbound: 5\n",
            "conf.yaml:1: network.limits.max_inbound: unknown key; write network: and, indented below, limits: and, indented below, max_inbound:",
        ),
        (
            "network:\n  max_inbound: 5\n",
            "conf.yaml:2: network.max_inbound: unknown key; did you mean network.limits.max_inbound?",
        ),
        (
            "shutdown:\n  zzzzzz: 5\n",
            "conf.yaml:2: shutdown.zzzzzz: unknown key; known here: timeout",
        ),
        (
            "1: x\n",
            "conf.yaml:1: 1: unknown key; known here: version, node, network, peers, logging, storage, admin, shutdown",
        ),
        (
            "node:\n  true: x\n",
            "conf.yaml:2: node.true: unknown key; known here: private_key, private_key_file, name, federation, network",
        ),
        (
            "peers:\n  <<: {file: x}\n",
            "conf.yaml:2: peers.<<: merge keys are not supported; write the keys themselves",
        ),
        ("~: 1\n1.5: 1\n", ""),
    ] {
        let told = problems(text);
        assert!(expected.is_empty() || told == [expected], "{told:#?}");
    }
}

#[test]
fn duplicates_name_both_lines_whatever_the_level() {
    assert_eq!(
        problems("peers:\n  file: a\nnode: {}\npeers:\n  file: b\n  file: c\n"),
        [
            "conf.yaml:4: peers: written twice, first on line 1; keep one of them",
            "conf.yaml:6: peers.file: written twice, first on line 5; keep one of them",
        ]
    );
}

#[test]
fn syntax_errors_have_line_and_column() {
    for (text, expected) in [
        (
            "node:\n  name: \"abc\nnetwork:\n",
            "conf.yaml:4: not valid YAML at column 1: found unexpected end of stream",
        ),
        (
            "node:\n  name: a: b\n",
            "conf.yaml:2: not valid YAML at column 10: mapping values are not allowed in this context; put text with special characters in quotes",
        ),
        (
            "node:\n  name: @x\n",
            "conf.yaml:2: not valid YAML at column 9: found character that cannot start any token; put text with special characters in quotes",
        ),
        (
            "node:\n\tname: x\n\tfederation: y\n",
            "conf.yaml:2: indented with a tab; indent with spaces",
        ),
        ("a: [1\nb: 2\n", "conf.yaml:2: not valid YAML"),
        ("a: 1\n---\nb: 2\n", "conf.yaml:1: a: unknown key"),
        (
            "- a\n",
            "conf.yaml: expected sections such as network:, found a list",
        ),
        (
            "hello\n",
            "conf.yaml: expected sections such as network:, found text",
        ),
    ] {
        let told = problems(text);
        assert!(told[0].starts_with(expected), "{told:#?}");
    }
}

#[test]
fn what_yaml_has_and_this_file_has_not_is_refused_with_its_line() {
    assert_eq!(
        problem("node:\n  name: a\n---\nnode: {}\n"),
        "conf.yaml:3: a second document begins here; remove the line ---"
    );
    assert_eq!(
        problem("node: &n\n  name: a\n"),
        "conf.yaml:1: anchors and aliases are not supported; write the value itself, or put text that begins with & in quotes"
    );
    assert_eq!(problems("node: &n {name: a}\npeers: *n\n").len(), 3);
    assert!(problem("peers: *n\n").starts_with("conf.yaml:1: anchors and aliases"));
    assert!(
        problem("node:\n  name: !x a\n").starts_with("conf.yaml:2: tags (!name) are not supported")
    );
    assert!(problem("? [a]\n: b\n").contains("cannot be a key"));
}

#[test]
fn a_newer_file_says_so_and_does_not_complain_of_what_this_one_cannot_know() {
    assert_eq!(
        problem("version: 2\nnode:\n  colour: red\n  name: a\n"),
        "conf.yaml:1: version: written for a newer btcfed, version 2; this one reads 1; upgrade btcfed, or write the file anew"
    );
    assert!(problem("version: 0\n").contains("there is no version 0; write 1"));
    assert!(problem("version: one\n").contains("expected a whole number, found text; write 1"));
    assert!(crate::common::load("version: 1\n").is_ok());
}

#[test]
fn impossible_combinations_are_told_where_they_were_written() {
    for (text, expected) in [
        (
            "network:\n  limits:\n    max_connections: 50\n    max_inbound: 51\n",
            "conf.yaml:4: network.limits.max_inbound: invalid connection limits: max_inbound 51 is above max_connections 50",
        ),
        (
            "network:\n  target_outbound: 129\n",
            "conf.yaml:2: network.target_outbound: invalid connection limits: target_outbound 129 is above max_connections 128",
        ),
        (
            "network:\n  backoff:\n    initial: 10s\n    max: 5s\n",
            "conf.yaml:3: network.backoff.initial: 10s is longer than network.backoff.max 5s",
        ),
        (
            "node:\n  private_key_file: a\n  private_key: BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n",
            "conf.yaml:2: node.private_key_file: node.private_key is set as well; keep one of them",
        ),
        (
            "node: {private_key_file: x}\npeers: {file: x}\n",
            "conf.yaml:2: peers.file: the same file as node.private_key_file",
        ),
        (
            "admin:\n  socket: peers.yaml\n",
            "conf.yaml:2: admin.socket: the same file as peers.file",
        ),
        (
            "peers:\n  file: conf.yaml\n",
            "conf.yaml:2: peers.file: this is the configuration file",
        ),
    ] {
        let told = problem(text);
        assert!(told.starts_with(expected), "{told}");
    }
    let long = format!("admin:\n  socket: /{}\n", "x".repeat(107));
    assert!(problem(&long).contains("108 bytes are too many for the name of a socket"));
    assert!(crate::common::load(&long.replace("/x", "/")).is_ok());
}

#[test]
fn defaults_follow_the_limits_they_depend_on() {
    let network =
        crate::common::load("network: {limits: {max_connections: 4}, backoff: {initial: 10m}}\n")
            .unwrap()
            .config
            .network;
    assert_eq!((network.max_inbound, network.target_outbound), (4, 4));
    assert_eq!(
        (
            network.backoff.initial().as_secs(),
            network.backoff.max().as_secs()
        ),
        (600, 600)
    );
    let network = crate::common::load("network: {backoff: {max: 500ms}}\n")
        .unwrap()
        .config
        .network;
    assert_eq!(
        (
            network.backoff.initial().as_millis(),
            network.backoff.max().as_millis()
        ),
        (500, 500)
    );
}

#[test]
fn a_contradiction_with_a_refused_value_is_not_told_as_well() {
    assert!(
        problem("network: {limits: {max_connections: x, max_inbound: 200}}\n")
            .contains("expected a whole number")
    );
}

#[test]
fn a_flood_of_problems_is_cut_and_counted() {
    let text: String = (0..50_000)
        .map(|index| format!("key{index}: 1\n"))
        .collect();
    let begun = std::time::Instant::now();
    let told = problems(&text);
    assert_eq!(told.len(), 201);
    assert_eq!(told[200], "conf.yaml: 49800 more problems");
    assert!(begun.elapsed().as_secs() < 20);
}

#[test]
fn what_is_no_readable_file_is_refused_without_waiting() {
    let folder = Folder::new();
    let path = folder.conf();
    let told = || folder.problems().remove(0);
    assert_eq!(told(), "conf.yaml: there is no such file; restore it");
    folder.write(vec![b'#'; btcfed_config::MAX_CONFIG_BYTES + 1]);
    assert_eq!(
        told(),
        "conf.yaml: larger than 1 MiB; this does not look like a configuration"
    );
    folder.write(b"a: \xff\n");
    assert_eq!(told(), "conf.yaml:1: not valid UTF-8; save it as UTF-8");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_eq!(told(), "conf.yaml: this is a directory, not a file");
    std::fs::remove_dir(&path).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert_eq!(told(), "conf.yaml: this is a pipe, not a file");
}

#[test]
fn a_syntax_error_does_not_hide_what_is_wrong_before_it() {
    let text =
        "peers:\n  exchange_interval: 0s\nlogging:\n  level: nope\nadmin: [\nnode:\n  name: a\n";
    let told = problems(text);
    assert_eq!(told.len(), 3, "{told:#?}");
    for (line, what) in [(2, "too short"), (4, "not allowed"), (7, "not valid YAML")] {
        let place = format!("conf.yaml:{line}: ");
        let found = told
            .iter()
            .any(|problem| problem.starts_with(&place) && problem.contains(what));
        assert!(found, "line {line}: {told:#?}");
    }
}

#[test]
fn lines_that_end_in_a_carriage_return_alone_keep_their_numbers() {
    let told = problem("peers:\r  exchange_interval: 0s\r");
    assert!(told.starts_with("conf.yaml:2: "), "{told}");
}
