use std::time::Duration;

use btcfed_core::ban::{BanReason, BanTarget, Issuer};
use btcfed_core::peer::{PeerSource, PeerStatus};
use btcfed_core::testing::test_key;

use super::registry::snake;
use super::*;

const STATE: &str = include_str!("../../tests/fixtures/state.json");
const REGISTRY: &str = include_str!("../../tests/fixtures/registry.json");

/// `KEY1`, `ID1`, ... replaced by the keys and ids of the tests.
fn keys(text: &str) -> String {
    (1..=9).fold(text.to_owned(), |text, number| {
        let key = test_key(number);
        text.replace(&format!("KEY{number}"), &key.to_string())
            .replace(&format!("ID{number}"), &key.peer_id().to_string())
    })
}

fn now() -> Timestamp {
    scalar::time_from("2026-11-20T17:00:00Z").unwrap()
}

fn refused(text: &str, format: Format) -> String {
    read(&keys(text), format, now()).unwrap_err().to_string()
}

#[test]
fn a_state_document_becomes_peers_statistics_and_tables() {
    let text = keys(STATE);
    assert_eq!(detect(&text), Some(Format::State));
    let imported = read(&text, Format::State, now()).unwrap();
    let set = &imported.contents.peers;
    assert_eq!(set.len(), 3);
    let first = set.get(&test_key(1)).unwrap();
    assert_eq!(
        (first.source, first.status),
        (PeerSource::Operator, PeerStatus::Unknown)
    );
    assert_eq!(
        first.addresses[0].addr.to_string(),
        "/ip4/203.0.113.7/tcp/9000"
    );
    assert_eq!(first.undialable, ["/ip4/203.0.113.7/udp/9000/quic-v1"]);
    let stats = &first.stats;
    assert_eq!((stats.successes, stats.failures), (12, 1));
    assert_eq!(stats.mean_rtt, Some(Duration::from_millis(23)));
    assert_eq!(stats.last_seen, scalar::time_from("2026-11-20T16:59:00.5Z"));
    assert_eq!(first.extra["zone"], "eu");
    assert_eq!(set.get(&test_key(3)).unwrap().source, PeerSource::Bootstrap);
    let address = "/dns4/other.example.com/tcp/9000".to_owned();
    assert_eq!(imported.keyless, [Keyless { line: 49, address }]);

    let sections = &imported.contents.sections;
    let keys = |name: &str| {
        let table = sections.get(name).unwrap();
        (
            table.ttl,
            table.entries().keys().cloned().collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        keys("package_cache"),
        (PACKAGE_TTL, vec!["left-pad".to_owned()]),
        "4:59 is in, 5:00 is out"
    );
    assert_eq!(keys("dht_entries"), (DHT_TTL, vec!["left-pad".to_owned()]));
    assert_eq!(
        keys("reputation"),
        (REPUTATION_TTL, vec![test_key(1).peer_id().to_string()])
    );
    let table = sections.get("package_cache").unwrap();
    let entry = table.get("left-pad", now()).unwrap();
    assert_eq!(
        entry.value,
        r#"{"package_id":"left-pad","version":"1.3.0","cached_at":"2026-11-20T16:55:01Z"}"#
    );
    assert_eq!(entry.at, scalar::time_from("2026-11-20T16:55:01Z").unwrap());
    assert_eq!(
        sections.get("dht_entries").unwrap().entries()["left-pad"].at,
        now()
    );
}

#[test]
fn a_registry_becomes_peers_bans_and_places_without_a_key() {
    let text = keys(REGISTRY);
    assert_eq!(detect(&text), Some(Format::Registry));
    let imported = read(&text, Format::Registry, now()).unwrap();
    let set = &imported.contents.peers;
    assert_eq!(set.len(), 2);
    let first = set.get(&test_key(1)).unwrap();
    assert_eq!(first.status, PeerStatus::Valid);
    assert_eq!(
        first.status_since,
        Some(Timestamp::from_millis(1_763_658_000_250))
    );
    assert_eq!(
        first.addresses[0].addr.to_string(),
        "/ip4/203.0.113.7/tcp/8333"
    );
    assert_eq!(
        first.extra["uuid"],
        "\"67e55044-10b1-426f-9247-bb680e5fe0c8\""
    );
    assert_eq!(first.extra["services"], "37");
    let ban = set.ban_of(&test_key(2), now()).unwrap();
    assert_eq!(
        (&ban.reason, ban.by),
        (&BanReason::NetworkMismatch, Issuer::Node)
    );
    assert_eq!(ban.since, Timestamp::from_secs(1_763_658_000));
    assert!(set.get(&test_key(2)).unwrap().is_banned());
    let by_ip = set
        .bans()
        .find(|ban| ban.target == BanTarget::Ip("198.51.100.9".parse().unwrap()));
    assert_eq!(by_ip.unwrap().reason, BanReason::BannedUserAgent);
    assert_eq!(
        by_ip.unwrap().evidence.as_deref(),
        Some("uuid 67e55044-10b1-426f-9247-bb680e5fe0ca")
    );
    let address = "/ip4/198.51.100.10/tcp/8333".to_owned();
    assert_eq!(imported.keyless, [Keyless { line: 29, address }]);
    assert_eq!(
        imported.notes,
        [(33, "[3].status: Connecting is taken as unknown".to_owned())]
    );
    assert!(imported.contents.sections.is_empty());
    for wrapped in [
        format!("{{\"peers\": {text}}}"),
        "{\"a\": {\"ip\": \"::1\", \"port\": 1}}".into(),
        "{\"peers\": {\"a\": {\"ip\": \"::1\", \"port\": 1}}}".into(),
    ] {
        assert_eq!(detect(&wrapped), Some(Format::Registry), "{wrapped}");
        assert!(read(&wrapped, Format::Registry, now()).is_ok());
    }
}

#[test]
fn other_documents_are_neither() {
    let own = crate::json::write(&Contents::default());
    for text in [
        "",
        "[]",
        "{}",
        "7",
        "[1]",
        "{\"peers\": []}",
        "[{\"ip\": \"::1\"}]",
        &own,
        "peers: []\n",
    ] {
        assert_eq!(detect(text), None, "{text}");
    }
}

#[test]
fn a_bad_state_is_refused_with_line_and_key() {
    let with = |member: &str| format!("{{\n{member}}}");
    for (text, message) in [
        ("[]".to_owned(), "line 1: expected {...}"),
        (with("\"version\": 2"), "line 2: version: 2 is newer"),
        (
            with("\"saved_at\": \"soon\""),
            "line 2: saved_at: expected a time",
        ),
        (
            with("\"saved_at\": {\"secs_since_epoch\": 1, \"nanos_since_epoch\": \"x\"}"),
            "line 2: saved_at: expected a time",
        ),
        (with("\"peers\": {}"), "line 2: peers: expected [...]"),
        (
            with("\"peers\": [\n{}]"),
            "line 3: peers[0]: peer_id is missing",
        ),
        (
            with("\"peers\": [{\"peer_id\":\n\"Qmx\"}]"),
            "line 3: peers[0].peer_id: ",
        ),
        (
            with("\"peers\": [{\"peer_id\": 7}]"),
            "line 2: peers[0].peer_id: expected text",
        ),
        (
            with("\"peers\": [{\"peer_id\": \"ID1\"},\n{\"peer_id\": \"ID1\"}]"),
            "line 3: peers[1]: a second",
        ),
        (
            with("\"peers\": [{\"peer_id\": \"ID1\", \"addresses\": [\n\"x\"]}]"),
            "line 3: peers[0].addresses[0]: ",
        ),
        (
            with(
                "\"peers\": [{\"peer_id\": \"ID1\", \"addresses\": [\"/ip4/1.2.3.4/tcp/1/p2p/ID2\"]}]",
            ),
            "line 2: peers[0].addresses[0]: the address names another",
        ),
        (
            with("\"bootstrap_nodes\": [\n\"x\"]"),
            "line 3: bootstrap_nodes[0]: ",
        ),
        (
            with("\"reputation\": [{}]"),
            "line 2: reputation[0]: peer_id is missing",
        ),
        (
            with("\"reputation\": [{\"peer_id\": \"ID1\", \"failed_retrievals\": -1}]"),
            "line 2: reputation[0].failed_retrievals: expected a whole",
        ),
        (
            with("\"package_cache\": [{}]"),
            "line 2: package_cache[0]: expected one of the fields package_id",
        ),
        (
            with("\"package_cache\": [{\"key\": \"\"}]"),
            "line 2: package_cache[0]: key of a section",
        ),
        (
            with("\"dht_entries\": [{\"key\": 1}]"),
            "line 2: dht_entries[0].key: expected text",
        ),
    ] {
        let error = refused(&text, Format::State);
        assert!(error.starts_with(message), "{text}: {error}");
    }
}

#[test]
fn a_bad_registry_is_refused_with_line_and_key() {
    let with = |fields: &str| format!("[\n{{\"ip\": \"::1\", \"port\": 1{fields}}}]");
    let twice = |first: &str, second: &str| {
        format!(
            "[{{\"ip\": \"::1\", \"port\": 1{first}}},\n{{\"ip\": \"::2\", \"port\": 1{second}}}]"
        )
    };
    for (text, message) in [
        ("7".to_owned(), "line 1: expected {...}"),
        (
            "[{\"ip\": \"::1\"}]".to_owned(),
            "line 1: [0]: ip or port is missing",
        ),
        (
            "[{\"port\": 1}]".to_owned(),
            "line 1: [0]: ip or port is missing",
        ),
        (
            "[{\"port\": 1, \"ip\": \"x\"}]".to_owned(),
            "line 1: [0].ip: expected an IP",
        ),
        (
            "[{\"port\":\n65536}]".to_owned(),
            "line 2: [0].port: expected a port",
        ),
        (
            "[{\"port\": 0}]".to_owned(),
            "line 1: [0].port: expected a port",
        ),
        (with(", \"id\": 7"), "line 2: [0].id: expected text"),
        (with(", \"status\": 7"), "line 2: [0].status: expected text"),
        (
            with(", \"ban_reason\": 7"),
            "line 2: [0].ban_reason: expected the name",
        ),
        (
            with(", \"timestamp\": -7"),
            "line 2: [0].timestamp: expected a time",
        ),
        (with(", \"public_key\": \"x\""), "line 2: [0].public_key: "),
        (
            with("}, {\"ip\": \"::ffff:0:1\", \"port\": 1").replace("::ffff:0:1", "::1"),
            "line 2: [1]: a second entry for the same ip",
        ),
        (
            twice(", \"id\": \"a\"", ", \"uuid\": \"a\""),
            "line 2: [1]: a second entry with the same id",
        ),
        (
            twice(", \"peer_id\": \"ID1\"", ", \"peer_id\": \"ID1\""),
            "line 2: [1]: a second entry for the same peer",
        ),
    ] {
        let error = refused(&text, Format::Registry);
        assert!(error.starts_with(message), "{text}: {error}");
    }
    assert_eq!(snake("out of service"), "out of service");
}
