//! What is written comes back, and what people wrote stays.

use std::sync::Arc;
use std::time::{Duration, Instant};

use btcfed_core::ban::{Ban, BanReason, BanTarget, Issuer};
use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::peer::PeerStatus;
use btcfed_core::record::SignedRecord;
use btcfed_core::testing::{ManualClock, test_addr, test_key, test_record, test_secret};
use btcfed_core::time::Timestamp;
use btcfed_peer_store::{FilePeerStore, StoreOptions};

use crate::common::{Place, create, keys, knows, say, until};

const HAND: &str = "# Peers of our federation.   Ask ops before editing!\n\npeers:\n# -- Alice, rack 7\n- public_key: \
    KEY1          # do not touch\n  addresses: [ \"/ip4/10.0.0.1/tcp/9000\", /dns4/Alice.Example.COM/tcp/9000 ]\n  uuid: \
    7f3a\n\n    # odd comment\n- addresses:\n    - /ip4/10.0.0.2/tcp/9000/p2p/ID2\n    - /ip4/10.0.0.2/udp/9000/quic-v1  \
    # keep\n  public_key: KEY2\n  note: >\n    folded\n    text\nowner: \"ops\nteam\"\n# the end\n";

#[test]
fn a_missing_file_is_a_first_run_and_appears_with_the_first_change() {
    let place = Place::new();
    let store = place.open();
    assert!(store.snapshot().is_empty() && store.health().durable);
    store.flush().unwrap();
    assert!(!place.path.exists(), "nothing to save, nothing written");
    assert!(create(&store, 1));
    assert!(place.read().contains(&test_key(1).to_string()));
    store.close().unwrap();
    let again = place.open();
    assert_eq!(again.snapshot(), store.snapshot());
    assert_eq!(again.health().generation, 1);
}

#[test]
fn every_line_of_a_hand_written_file_survives_ten_saves_and_three_restarts() {
    let place = Place::with(keys(HAND));
    for round in 0..3 {
        let store = place.open();
        assert!(store.skipped().is_empty(), "{:?}", store.skipped());
        let peer = store.snapshot().get(&test_key(2)).unwrap();
        assert_eq!(peer.undialable, ["/ip4/10.0.0.2/udp/9000/quic-v1"]);
        for number in 0..10 {
            assert!(create(&store, 100 + 10 * round + number));
        }
        store.close().unwrap();
    }
    let text = place.read();
    let mut lines = text.lines();
    for line in keys(HAND).lines() {
        assert!(
            lines.any(|kept| kept == line),
            "{line:?} is gone or moved in\n{text}"
        );
    }
    let only = |line: &str| text.lines().filter(|kept| *kept == line).count();
    assert_eq!(
        (
            only("# the end"),
            only("    # odd comment"),
            only("sections: {}")
        ),
        (1, 1, 1)
    );
}

#[test]
fn a_minimal_file_is_valid_and_opening_it_changes_no_byte() {
    let source =
        keys("peers:\n  - public_key: KEY1\n    addresses:\n      - /ip4/10.0.0.1/tcp/1\n");
    let place = Place::with(&source);
    let store = place.open();
    assert!(knows(&store, 1));
    assert_eq!(store.reload().unwrap().changes, []);
    store.close().unwrap();
    assert_eq!(place.read(), source);
}

#[test]
fn everything_the_node_learns_comes_back_after_a_restart() {
    let place = Place::new();
    let clock = Arc::new(ManualClock::starting_at(Timestamp::from_secs(
        1_795_000_000,
    )));
    let store = FilePeerStore::open(place.options().with_clock(clock)).unwrap();
    let key = test_key(1);
    let signed = SignedRecord::sign(&test_secret(2), 9, &[test_addr(20), test_addr(21)]).unwrap();
    let ban = Ban {
        target: BanTarget::Cidr("10.9.0.0/16".parse().unwrap()),
        reason: BanReason::Misbehaviour,
        since: Timestamp::from_millis(5),
        until: Some(Timestamp::from_secs(2_000_000_000)),
        by: Issuer::Node,
        evidence: Some("frame 7: \"bad\"".into()),
    };
    let ops = [
        PeerOp::Create(Box::new(test_record(1))),
        PeerOp::Create(Box::new(test_record(3))),
        PeerOp::Learn(signed),
        PeerOp::ContactFailed {
            key,
            addrs: vec![test_addr(1)],
        },
        PeerOp::ContactSucceeded {
            key,
            addr: Some(test_addr(9)),
        },
        PeerOp::Measured {
            key,
            rtt: Duration::from_micros(23_456),
        },
        PeerOp::Ban(ban),
        PeerOp::Remove {
            key: test_key(3),
            by: Issuer::Operator,
        },
    ];
    assert!(store.apply(&ops.into_iter().collect()).unwrap().durable);
    store.close().unwrap();
    let again = place.open();
    assert_eq!(again.snapshot(), store.snapshot(), "{}", place.read());
    assert_eq!(
        again.snapshot().get(&key).unwrap().status,
        PeerStatus::Valid
    );
    assert_eq!(
        place
            .read()
            .lines()
            .filter(|line| line.contains("state: {"))
            .count(),
        2
    );
}

#[test]
fn soft_changes_wait_for_the_interval_or_the_next_save() {
    let place = Place::new();
    let options = place
        .options()
        .with_soft_interval(Duration::from_millis(150));
    let store = FilePeerStore::open(options).unwrap();
    assert!(create(&store, 1));
    let before = place.read();
    let touch = PeerPatch::one(PeerOp::ContactFailed {
        key: test_key(1),
        addrs: Vec::new(),
    });
    assert!(store.apply(&touch).unwrap().durable);
    assert!(!store.health().durable);
    assert_eq!(place.read(), before, "not at once");
    until("the soft change is on disk", || {
        place.read().contains("failed: 1")
    });
    until("nothing waits", || store.health().durable);
    store.close().unwrap();
    let store = place.open();
    store.apply(&touch).unwrap();
    store.flush().unwrap();
    assert!(place.read().contains("failed: 2"));
    store.apply(&touch).unwrap();
    store.close().unwrap();
    assert!(place.read().contains("failed: 3"), "closing saves");
}

#[test]
fn a_closed_store_answers_from_memory_and_says_that_it_saves_no_more() {
    let place = Place::new();
    let store = place.open();
    store.close().unwrap();
    store.close().unwrap();
    assert!(!create(&store, 1) && knows(&store, 1));
    assert!(store.flush().is_err() && store.reload().is_err());
    assert!(!place.path.exists());
}

#[test]
fn parent_directories_are_made_and_impossible_ones_are_an_error() {
    let place = Place::new();
    let deep = place.dir.path().join("a/b/peers.yaml");
    let store = FilePeerStore::open(StoreOptions::new(&deep)).unwrap();
    assert!(create(&store, 1) && deep.exists());
    std::fs::write(&place.path, "x").unwrap();
    assert!(FilePeerStore::open(StoreOptions::new(place.path.join("below/peers.yaml"))).is_err());
    assert!(FilePeerStore::open(StoreOptions::new("/")).is_err());
}

#[test]
fn a_newer_version_is_served_and_never_written() {
    let source = keys("version: 2\npeers:\n  - public_key: KEY1\n    future: {a: 1}\n");
    let place = Place::with(&source);
    let store = place.open();
    assert!(knows(&store, 1));
    assert_eq!(store.newer_version(), Some(2));
    let refused = store.apply(&PeerPatch::create(test_record(2))).unwrap_err();
    assert!(refused.to_string().contains("has version 2"), "{refused}");
    assert!(!knows(&store, 2));
    let touch = PeerPatch::one(PeerOp::ContactFailed {
        key: test_key(1),
        addrs: Vec::new(),
    });
    store.apply(&touch).unwrap();
    assert_eq!(
        store.snapshot().get(&test_key(1)).unwrap().stats.failures,
        1
    );
    store.flush().unwrap();
    store.close().unwrap();
    assert_eq!(place.read(), source);
}

#[tokio::test]
async fn concurrent_async_changes_share_saves_and_a_dropped_caller_loses_nothing() {
    let place = Place::new();
    let store = Arc::new(place.open());
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let store = Arc::clone(&store);
            let store: Arc<dyn btcfed_core::PeerStore> = store;
            tokio::spawn(async move { store.apply(PeerPatch::create(test_record(number))).await })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap().unwrap().durable);
    }
    assert!(
        store.health().generation < 100,
        "{} saves for 200 changes",
        store.health().generation
    );
    let dyn_store: &dyn btcfed_core::PeerStore = &*store;
    let mut dropped = dyn_store.apply(PeerPatch::create(test_record(900)));
    let polled =
        std::future::poll_fn(|context| std::task::Poll::Ready(dropped.as_mut().poll(context)));
    assert!(polled.await.is_pending());
    drop(dropped);
    assert!(knows(&store, 900));
    dyn_store.flush().await.unwrap();
    assert!(place.read().contains(&test_key(900).to_string()));
    assert_eq!(dyn_store.reload().await.unwrap().changes, []);
    assert!(dyn_store.health().durable && dyn_store.snapshot().len() == 201);
}

#[test]
fn a_thousand_peers_load_and_save_fast_and_ten_thousand_take_ten_times_that() {
    let time = |count: u16| {
        let place = Place::new();
        let store = place.open();
        let records = (0..count).map(|number| PeerOp::Create(Box::new(test_record(number))));
        store.apply(&records.collect()).unwrap();
        let started = Instant::now();
        assert!(create(&store, 60_000));
        let saved = started.elapsed();
        store.close().unwrap();
        let started = Instant::now();
        let again = place.open();
        let loaded = started.elapsed();
        assert_eq!(again.snapshot().len(), usize::from(count) + 1);
        (saved, loaded)
    };
    let (small, large) = (time(1000), time(9000));
    say(&format!(
        "1000 peers: save {:?}, load {:?}; 9000 peers: save {:?}, load {:?}",
        small.0, small.1, large.0, large.1
    ));
    // Far from any sane figure, so that only quadratic behaviour fails on a busy machine without optimisation.
    assert!(large.0 < Duration::from_secs(20) && large.1 < Duration::from_secs(20));
}

#[test]
fn directives_and_document_markers_are_no_damage_and_stay_where_they_are() {
    let block = "# mine\n%YAML 1.2\n---\npeers:\n  - public_key: KEY1\n... # end\n# after\n";
    let flow = "%YAML 1.2\n---\n{\"peers\": [{\"public_key\": \"KEY1\"}]}\n...\n";
    for (text, copies) in [(block, 0), (&block.replace('\n', "\r\n"), 0), (flow, 1)] {
        let place = Place::with("peers: []\n");
        let store = FilePeerStore::open(place.options().with_watch(false)).unwrap();
        place.write(keys(text));
        let reloaded = store.reload().unwrap();
        // Only damage is waited for, and it would be among these.
        assert!(reloaded.skipped.is_empty(), "{reloaded:?}");
        assert!(create(&store, 2));
        let saved = place.read();
        let at = |words: &str| {
            saved
                .find(words)
                .unwrap_or_else(|| panic!("{words}: {saved}"))
        };
        let order = [
            "%YAML",
            "---",
            "version:",
            "peers:",
            &keys("KEY2"),
            "sections:",
            "...",
        ];
        assert!(order.map(at).is_sorted(), "{saved}");
        assert_eq!(place.beside("damaged").len(), copies);
        store.close().unwrap();
        let store = place.open();
        assert_eq!((store.snapshot().len(), store.skipped().len()), (2, 0));
        assert!(create(&store, 3));
        assert_eq!(place.read().matches("...").count(), 1);
        place.write("---\n...\n");
        store.reload().unwrap();
        assert_eq!(
            store.snapshot().len(),
            3,
            "markers alone are an emptied file"
        );
    }
    let place = Place::with(keys("peers:\n- public_key: KEY1\n...\nbans: []\n"));
    assert_eq!(
        place.open().skipped().len(),
        1,
        "a second document is damage"
    );
}
