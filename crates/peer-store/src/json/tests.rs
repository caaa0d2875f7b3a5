use std::time::Duration;

use btcfed_core::ban::{Ban, BanReason, BanTarget, Issuer};
use btcfed_core::peer::{AddressSource, PeerSource, PeerStatus};
use btcfed_core::rng::SeededRng;
use btcfed_core::testing::{test_addr, test_key, test_record, test_secret};
use btcfed_core::{Now, PeerOp, PeerPatch, SignedRecord};

use super::*;
use crate::sections::SectionOp;
use crate::text::document::Document;
use crate::text::render::{Stamp, render};

const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);

fn read_back(contents: &Contents) -> Contents {
    let text = write(contents);
    read(&text, NOW).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What comes back from the YAML form.
fn through_yaml(set: &PeerSet) -> PeerSet {
    let stamp = Stamp {
        generation: 1,
        now: NOW,
    };
    let bytes = render(&Document::default(), set, stamp).content.to_vec();
    Document::parse(&bytes, &Document::default(), NOW).set()
}

const WORDS: [&str; 8] = [
    "alice",
    "",
    "tab\tand \"quotes\"",
    "naïve – 名前 \u{1f600}",
    "yes",
    "12",
    "a: b #c",
    "\u{7f}\u{85}\u{2028}",
];

fn some_words(rng: &mut SeededRng) -> Option<String> {
    rng.chance(0.5)
        .then(|| rng.pick(&WORDS).map(|text| (*text).to_owned()))?
}

fn some_time(rng: &mut SeededRng) -> Option<Timestamp> {
    rng.chance(0.5)
        .then(|| Timestamp::from_millis(1_700_000_000_000 + rng.below(90_000_000_000)))
}

fn some_stats(rng: &mut SeededRng, record: &mut PeerRecord) {
    record.stats.successes = rng.below(1 << 50);
    record.stats.failures = rng.below(9);
    record.stats.consecutive_failures = u32::try_from(rng.below(4)).unwrap();
    record.stats.mean_rtt = rng
        .chance(0.5)
        .then(|| Duration::from_nanos(rng.below(10_000_000_000)));
    (record.stats.first_seen, record.stats.last_seen) = (some_time(rng), some_time(rng));
}

/// A peer with anything a peer may have.
fn some_record(rng: &mut SeededRng, number: u16) -> PeerRecord {
    let mut record = test_record(number);
    record.source = *rng
        .pick(&[
            PeerSource::Operator,
            PeerSource::Bootstrap,
            PeerSource::Signed,
            PeerSource::Hearsay,
        ])
        .unwrap();
    record.name = some_words(rng);
    record.note = some_words(rng);
    record.pinned = rng.chance(0.3);
    let sources = [
        AddressSource::Operator,
        AddressSource::Signed,
        AddressSource::Observed,
        AddressSource::LearnedFrom(test_key(77)),
    ];
    for _ in 0..rng.below(5) {
        let port = 1 + u16::try_from(rng.below(9999)).unwrap();
        record.add_address(test_addr(port), *rng.pick(&sources).unwrap());
    }
    for known in &mut record.addresses {
        (known.last_success, known.last_failure) = (some_time(rng), some_time(rng));
        known.failures = u32::try_from(rng.below(3)).unwrap();
    }
    if rng.chance(0.2) {
        record
            .undialable
            .push("/ip4/1.2.3.4/udp/9/quic-v1".to_owned());
    }
    record.status = *rng
        .pick(&[
            PeerStatus::Unknown,
            PeerStatus::Valid,
            PeerStatus::Inaccessible,
        ])
        .unwrap();
    record.status_since = some_time(rng);
    some_stats(rng, &mut record);
    if rng.chance(0.3) {
        record.record = SignedRecord::sign(
            &test_secret(number),
            1 + rng.below(1 << 40),
            &[test_addr(number)],
        )
        .ok();
    }
    let extras = [
        "[1, {a: ~}]",
        "x",
        "\"1\"",
        "{5: y}",
        "1.50",
        "{\"$yaml\": z}",
        ".nan",
        "18446744073709551615",
        "-3",
        "\"\\u0007\"",
    ];
    for number in 0..rng.below(4) {
        let text = (*rng.pick(&extras).unwrap()).to_owned();
        record.extra.insert(format!("x: {number}"), text);
    }
    record
}

fn some_contents(rng: &mut SeededRng) -> Contents {
    let count = u16::try_from(rng.below(8)).unwrap();
    let mut peers: Vec<_> = (1..=count).map(|number| some_record(rng, number)).collect();
    rng.shuffle(&mut peers);
    let targets = [
        BanTarget::Peer(test_key(2)),
        BanTarget::Ip("::1".parse().unwrap()),
        BanTarget::Cidr("10.0.0.0/8".parse().unwrap()),
    ];
    let bans = targets
        .into_iter()
        .filter(|_| rng.chance(0.5))
        .collect::<Vec<_>>();
    let bans: Vec<Ban> = bans
        .into_iter()
        .map(|target| Ban {
            target,
            reason: BanReason::from_text(rng.pick(&WORDS).unwrap()),
            since: NOW,
            until: some_time(rng),
            by: *rng.pick(&[Issuer::Operator, Issuer::Node]).unwrap(),
            evidence: some_words(rng),
        })
        .collect();
    let mark = |seq| btcfed_core::peer::Forgotten {
        seq,
        by: Issuer::Node,
    };
    let forgotten = (50..50 + count).map(|number| (test_key(number), mark(rng.below(u64::MAX))));
    let forgotten: Vec<_> = forgotten.collect();
    let mut contents = Contents {
        generation: rng.below(1 << 40),
        peers: PeerSet::from_parts(peers, bans, forgotten),
        sections: Sections::default(),
    };
    for section in WORDS
        .iter()
        .filter(|name| !name.is_empty())
        .take(usize::from(count))
    {
        let section = (*section).to_owned();
        let define = SectionOp::Define {
            section: section.clone(),
            version: rng.below(9),
            ttl: Duration::from_millis(1500 + rng.below(99_999_999)),
        };
        contents.sections.apply(&[define], NOW).unwrap();
        for key in WORDS.iter().filter(|key| !key.is_empty()) {
            let value = (*rng.pick(&WORDS).unwrap()).to_owned();
            let ttl = rng.chance(0.5).then_some(Duration::from_secs(60));
            let put = SectionOp::Put {
                section: section.clone(),
                key: (*key).to_owned(),
                value,
                ttl,
                at: None,
            };
            contents.sections.apply(&[put], NOW).unwrap();
        }
    }
    contents
}

#[test]
fn whatever_a_set_holds_comes_back_as_the_yaml_form_gives_it_back() {
    for seed in 0..200 {
        let mut contents = some_contents(&mut SeededRng::from_seed(seed));
        let back = read_back(&contents);
        contents.peers = through_yaml(&contents.peers);
        assert_eq!(back, contents, "seed {seed}");
        assert_eq!(read_back(&back), back, "seed {seed}");
        for record in contents.peers.iter() {
            assert_eq!(
                read_peer(&write_peer(&record)).unwrap(),
                record,
                "seed {seed}"
            );
            assert!(!write_peer(&record).contains('\n'));
        }
    }
}

#[test]
fn the_document_is_indented_for_people_and_an_empty_one_is_complete() {
    let empty = "{\n  \"version\": 1,\n  \"generation\": 0,\n  \"peers\": [],\n  \"bans\": [],\n  \"forgotten\": [],\n  \"sections\": {}\n}\n";
    assert_eq!(write(&Contents::default()), empty);
    let patch = PeerPatch::one(PeerOp::Create(Box::new(PeerRecord::new(
        test_key(1),
        PeerSource::Operator,
    ))));
    let mut contents = Contents {
        peers: PeerSet::default().apply(&patch, Now::default()).unwrap().0,
        ..Contents::default()
    };
    let define = SectionOp::Define {
        section: "a".into(),
        version: 1,
        ttl: Duration::from_secs(300),
    };
    let put = SectionOp::Put {
        section: "a".into(),
        key: "k".into(),
        value: "v".into(),
        ttl: None,
        at: None,
    };
    contents.sections.apply(&[define, put], NOW).unwrap();
    let text = write(&contents);
    let peer = format!(
        "  \"peers\": [\n    {{\n      \"public_key\": \"{}\",\n      \"addresses\": [],\n",
        test_key(1)
    );
    assert!(text.contains(&peer), "{text}");
    let table = "  \"sections\": {\n    \"a\": {\n      \"version\": 1,\n      \"ttl\": \"5m\",\n      \"entries\": {\n        \"k\": {\n          \"value\": \"v\",\n";
    assert!(text.contains(table), "{text}");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["peers"][0]["state"]["first"], "1970-01-01T00:00:00Z");
}

#[test]
fn a_bad_document_is_refused_with_line_and_key() {
    let key = test_key(1).to_string();
    let bad_peer =
        |fields: &str| format!("{{\"peers\": [\n{{\"public_key\": \"{key}\",\n{fields}}}]}}");
    let cases = [
        ("", "line 1: EOF"),
        ("{\n\"peers\": [}", "line 2: expected value"),
        ("7", "line 1: expected {...}"),
        ("{}", "line 1: peers is missing"),
        ("{\"peers\":\n {}}", "line 2: peers: expected [...]"),
        (
            "{\"version\": \"x\"}",
            "line 1: version: expected a whole number",
        ),
        (
            "{\n\"version\": 2, \"peers\": []}",
            "line 2: version: 2 is newer",
        ),
        (
            "{\"peers\": [],\n\"peers\": []}",
            "line 2: \\\"peers\\\" stands here twice",
        ),
        ("[{}]", "line 1: [0]: public_key is missing"),
        ("[\n\n7]", "line 3: [0]: expected {...}"),
        ("[{\"name\": \"x\"}]", "line 1: [0]: public_key is missing"),
        (
            &bad_peer("\"addresses\": [\n\"/ip4/1.2.3.4/tcp/1\",\n\"/ip4/1.2.3/tcp/1\"]"),
            "line 5: peers[0]: ",
        ),
        (
            &bad_peer("\"pinned\": \"x\""),
            "line 3: peers[0]: pinned: expected true or false",
        ),
        (
            &bad_peer("\"state\": {\"status\": \"odd\"}"),
            "line 3: peers[0]: state: unknown status odd",
        ),
        (
            &bad_peer("\"state\": {\"ok\": 1,\n\"ok\": 2}"),
            "line 4: peers[0].state: duplicate",
        ),
        (
            &format!("[{{\"public_key\": \"{key}\"}},\n{{\"public_key\": \"{key}\"}}]"),
            "line 2: [1]: a second entry",
        ),
    ];
    for (text, message) in cases {
        let error = read(text, NOW).unwrap_err().to_string();
        assert!(error.starts_with(message), "{text}: {error}");
    }
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    let deep = format!("[{{\"public_key\": \"{key}\", \"x\": {open}{close}}}]");
    assert!(read(&deep, NOW).unwrap_err().reason.contains("recursion"));
}

#[test]
fn a_bad_row_or_table_is_refused_with_line_and_key() {
    let cases = [
        (
            "{\"peers\": [], \"bans\": [\n{\"ip\": \"x\"}]}",
            "line 2: bans[0]: ",
        ),
        (
            "{\"peers\": [], \"bans\": [{\"ip\": \"::1\"},\n{\"ip\": \"::1\"}]}",
            "line 2: bans[1]: a second",
        ),
        (
            "{\"peers\": [], \"forgotten\": [\n{}]}",
            "line 2: forgotten[0]: key: expected",
        ),
        (
            "{\"peers\": [], \"sections\": {\n\"a\": 1}}",
            "line 2: sections.a: expected {...}",
        ),
        (
            "{\"peers\": [], \"sections\": {\"\": {}}}",
            "line 1: sections.: name of a section",
        ),
        (
            "{\"peers\": [], \"sections\": {\"a\": {\"ttl\": \"0s\"}}}",
            "line 1: sections.a: time to live",
        ),
        (
            "{\"peers\": [], \"sections\": {\"a\": {\"ttl\":\n\"soon\"}}}",
            "line 2: sections.a.ttl: expected a time",
        ),
        (
            "{\"peers\": [], \"sections\": {\"a\": {\"x\": 1}}}",
            "line 1: sections.a.x: unknown",
        ),
        (
            "{\"peers\": [], \"sections\": {\"a\": {\"entries\": {\"k\":\n[]}}}}",
            "line 2: sections.a.entries.k: expected {value",
        ),
        (
            "{\"peers\": [], \"sections\": {\"a\": {\"entries\": {\"\": \"v\"}}}}",
            "line 1: sections.a.entries.: key of a section",
        ),
    ];
    for (text, message) in cases {
        let error = read(text, NOW).unwrap_err().to_string();
        assert!(error.starts_with(message), "{text}: {error}");
    }
}

#[test]
fn entries_over_their_time_are_left_out_and_unknown_keys_pass() {
    let entries = "{\"old\": {\"value\": \"v\", \"at\": \"2026-11-18T11:01:40Z\"}, \"new\": \"w\"}";
    let text = format!(
        "{{\"schema\": \"x\", \"peers\": [], \"sections\": {{\"a\": {{\"ttl\": \"5m\", \"entries\": {entries}}}}}}}"
    );
    let at = scalar::time_from("2026-11-18T11:06:40Z").unwrap();
    let keys = |now| {
        let sections = read(&text, now).unwrap().sections;
        let table = sections.get("a").unwrap();
        table.entries().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(keys(at), ["new"]);
    assert_eq!(
        keys(Timestamp::from_millis(at.as_millis() - 1)),
        ["new", "old"]
    );
}
