//! One file for every version there was, is, or will be: what the store makes of it.

use std::sync::Arc;
use std::time::Duration;

use btcfed_core::ban::{Ban, BanReason, BanTarget, Issuer};
use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::peer::{AddressSource, PeerSource};
use btcfed_core::testing::{ManualClock, test_addr, test_key, test_record, test_secret};
use btcfed_core::time::Timestamp;
use btcfed_core::{PeerRecord, SignedRecord};
use btcfed_peer_store::{FORMAT_VERSION, FilePeerStore, Migration, SectionStore};

use crate::common::{Place, create, keys, knows};

const INVENTED: &str = include_str!("../fixtures/version-0-invented.yaml");
const MINIMAL: &str = include_str!("../fixtures/version-1-minimal.yaml");
const CANONICAL: &str = include_str!("../fixtures/version-1-canonical.yaml");
const NEWER: &str = include_str!("../fixtures/version-2-newer.yaml");

/// Writes the canonical file: everything that version 1 can say.
fn write_canonical(place: &Place) {
    let clock = Arc::new(ManualClock::starting_at(Timestamp::from_secs(
        1_795_000_000,
    )));
    let open = || {
        FilePeerStore::open(
            place
                .options()
                .with_clock(Arc::<ManualClock>::clone(&clock)),
        )
        .unwrap()
    };
    let store = open();
    let mut alice = test_record(1);
    (alice.name, alice.note, alice.pinned) =
        (Some("alice".into()), Some("rack 7: left".into()), true);
    alice.extra.insert("uuid".into(), "\"12\"".into());
    alice.undialable.push("/ip4/10.0.0.1/udp/1/quic-v1".into());
    let mut heard = PeerRecord::new(test_key(3), PeerSource::Hearsay);
    heard.add_address(test_addr(3), AddressSource::LearnedFrom(test_key(1)));
    let signed = SignedRecord::sign(&test_secret(2), 7, &[test_addr(2)]).unwrap();
    let (key, addr) = (test_key(1), Some(alice.addresses[0].addr.clone()));
    let ban = Ban {
        target: BanTarget::Cidr("203.0.113.0/24".parse().unwrap()),
        reason: BanReason::NetworkMismatch,
        since: Timestamp::from_secs(1_795_000_000),
        until: Some(Timestamp::from_secs(1_795_086_400)),
        by: Issuer::Operator,
        evidence: None,
    };
    let patch: PeerPatch = [
        PeerOp::Create(Box::new(alice)),
        PeerOp::Create(Box::new(heard)),
        PeerOp::Create(Box::new(test_record(4))),
        PeerOp::Learn(signed),
        PeerOp::Remove {
            key: test_key(4),
            by: Issuer::Operator,
        },
        PeerOp::Ban(ban),
        PeerOp::ContactSucceeded { key, addr },
        PeerOp::Measured {
            key,
            rtt: Duration::from_micros(23_500),
        },
    ]
    .into_iter()
    .collect();
    store
        .define_section("packages", 3, Duration::from_secs(3600))
        .unwrap();
    store
        .put_for("packages", "left-pad", "1.3.0", Duration::from_secs(300))
        .unwrap();
    assert!(store.apply(&patch).unwrap().durable);
    store.close().unwrap();
}

#[test]
fn version_1_is_written_byte_for_byte_as_ever() {
    let place = Place::new();
    write_canonical(&place);
    assert_eq!(
        place.read(),
        CANONICAL,
        "the form of the file changed: old files must still be read, and this is one"
    );
    let place = Place::with(CANONICAL);
    let store = place.open();
    assert_eq!((store.snapshot().len(), store.skipped().len()), (3, 0));
    assert_eq!(store.sections().get("packages").unwrap().version, 3);
    store.close().unwrap();
    assert_eq!(place.read(), CANONICAL, "nothing to write");
}

#[test]
fn a_minimal_file_has_no_version_and_becomes_version_1_with_the_first_save() {
    let minimal = keys(MINIMAL);
    let place = Place::with(&minimal);
    let store = place.open();
    assert!(knows(&store, 1) && knows(&store, 2) && store.snapshot().len() == 2);
    assert_eq!(place.read(), minimal);
    assert!(create(&store, 3));
    let text = place.read();
    assert!(
        text.starts_with(&format!("version: {FORMAT_VERSION}\nchecksum: crc32:")),
        "{text}"
    );
    let entries = minimal.strip_prefix("peers:\n").unwrap();
    assert!(text.contains(entries), "{text}");
}

#[test]
fn a_newer_file_is_served_and_never_written() {
    let newer = keys(NEWER);
    let place = Place::with(&newer);
    let store = place.open();
    assert!(knows(&store, 1) && store.newer_version() == Some(2));
    assert!(store.apply(&PeerPatch::create(test_record(2))).is_err());
    store.flush().unwrap();
    store.close().unwrap();
    assert_eq!(place.read(), newer);
    assert!(place.beside("before").is_empty());
}

#[test]
fn an_older_file_is_converted_step_by_step_and_what_it_was_is_kept() {
    let step = Migration {
        from: 0,
        convert: |text| {
            let lines = text
                .lines()
                .map(|line| match line.strip_prefix("    at: ") {
                    Some(address) => format!("    addresses:\n      - {address}\n"),
                    None => format!("{line}\n"),
                });
            let text: String = lines.collect();
            text.replace("nodes:", "peers:")
                .replace("- key:", "- public_key:")
        },
    };
    let invented = keys(INVENTED);
    let place = Place::with(&invented);
    let open = || FilePeerStore::open(place.options().with_migration(step)).unwrap();
    let store = open();
    assert!(knows(&store, 1) && knows(&store, 2));
    let before = || std::fs::read_to_string(&place.beside("yaml.before")[0]).unwrap();
    assert_eq!(before(), invented, "kept before anything is written");
    store.flush().unwrap();
    let text = place.read();
    assert!(
        text.starts_with("# a format that never was: nodes by place\n")
            && text.contains("\nversion: 1\n"),
        "{text}"
    );
    assert!(
        text.contains("      - /ip4/10.0.0.1/tcp/1   # home\n"),
        "{text}"
    );
    store.close().unwrap();
    let store = open();
    assert!(knows(&store, 1) && store.skipped().is_empty());
    store.close().unwrap();
    assert_eq!((place.read(), before()), (text, invented.clone()), "once");
    // Without the step it is a file like any other whose keys are unknown: kept, with no peers.
    let place = Place::with(&invented);
    assert!(place.open().snapshot().is_empty() && place.read() == invented);
}

#[test]
fn nothing_is_converted_while_what_it_was_cannot_be_kept() {
    let step = Migration {
        from: 0,
        convert: |text| text.replace("nodes: []", "peers: []"),
    };
    let place = Place::with("version: 0\nnodes: []\n");
    let before = place.dir.path().join("peers.yaml.before");
    std::fs::create_dir(&before).unwrap();
    let store = FilePeerStore::open(place.options().with_migration(step)).unwrap();
    assert!(store.health().degraded.is_some() && store.flush().is_err());
    assert_eq!(place.read(), "version: 0\nnodes: []\n");
    std::fs::remove_dir(&before).unwrap();
    store.flush().unwrap();
    assert!(place.read().contains("version: 1"));
}
