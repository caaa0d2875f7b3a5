//! How long records count: by age and own contact, whatever the clocks of the wall say.

use std::sync::Arc;
use std::time::Duration;

use btcfed_core::config::NodeConfig;
use btcfed_core::exchange::{Exchange as _, Input};
use btcfed_core::identity::StrictVerifier;
use btcfed_core::network::Direction;
use btcfed_core::time::{MonotonicTime, Now, Timestamp};
use btcfed_core::{PeerOp, PeerPatch, PeerRecord, PeerSet, PeerSource};
use btcfed_exchange_protocol::limits::{LEASE, LEASE_MARGIN, RESTORED_AGE_MAX};
use btcfed_exchange_protocol::message::{Message, Mode, PeerRequest, RecordEntry, Summary};
use btcfed_exchange_protocol::{Engine, EngineOptions};

use crate::bench::{Bench, announcement, entry, hello, key, question, record};

const SECOND: Duration = Duration::from_secs(1);
const TOLD_FOR: Duration = LEASE.saturating_sub(LEASE_MARGIN);

fn aged(n: u64, seq: u64, age: Duration) -> RecordEntry {
    RecordEntry {
        age_s: age.as_secs().try_into().unwrap(),
        ..entry(&record(n, seq))
    }
}

/// What peer 1 is told of peer `n`: the age of its record.
fn told_age(bench: &mut Bench, n: u64) -> Option<Duration> {
    let asked = Message::Request(question(Some(hello(None))));
    let Message::Response(response) = bench.ask(1, &asked) else {
        panic!("no response");
    };
    let newest = (0..20).map(|seq| record(n, seq).envelope().to_vec());
    let newest: Vec<_> = newest.collect();
    let told = response
        .records
        .iter()
        .find(|e| newest.contains(&e.envelope));
    told.map(|entry| Duration::from_secs(entry.age_s.into()))
}

/// Peer 1 tells of peer 9 and is gone.
fn told_of(age: Duration) -> Bench {
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.ask(1, &announcement(&[aged(9, 5, age)]));
    bench
}

/// Lets time pass on the clocks, with nothing happening in between.
fn jump(bench: &mut Bench, span: Duration) {
    bench.now += span;
    bench.feed(Input::Timeout);
    bench.feed(Input::Disconnected { peer: key(1) });
    bench.connect(1, Direction::Inbound);
}

#[test]
fn a_record_is_told_with_its_age_until_the_last_tenth_of_its_lease_begins() {
    let hour = 3600 * SECOND;
    let mut bench = told_of(hour);
    assert_eq!(told_age(&mut bench, 9), Some(hour));
    jump(&mut bench, TOLD_FOR - hour - SECOND);
    assert_eq!(told_age(&mut bench, 9), Some(TOLD_FOR - SECOND));
    jump(&mut bench, SECOND);
    assert_eq!(told_age(&mut bench, 9), None);
    assert_eq!(bench.stored_seq(9), Some(5), "still somebody to try");
}

#[test]
fn what_others_say_of_a_known_version_makes_it_neither_younger_nor_older() {
    let mut bench = told_of(100 * SECOND);
    for age in [Duration::ZERO, LEASE - SECOND, 7 * SECOND] {
        bench.ask(1, &announcement(&[aged(9, 5, age)]));
        assert_eq!(told_age(&mut bench, 9), Some(100 * SECOND));
    }
    jump(&mut bench, TOLD_FOR);
    bench.ask(1, &announcement(&[aged(9, 5, Duration::ZERO)]));
    assert_eq!(
        told_age(&mut bench, 9),
        None,
        "no word of others brings it back"
    );
    bench.ask(1, &announcement(&[aged(9, 6, 2 * SECOND)]));
    assert_eq!(
        told_age(&mut bench, 9),
        Some(2 * SECOND),
        "the owner's does"
    );
    assert_eq!(bench.stored_seq(9), Some(6));
}

#[test]
fn a_record_whose_lease_is_over_is_not_learned_and_one_second_before_it_is_and_told_to_nobody() {
    for (age, is_stored) in [(LEASE, false), (LEASE - SECOND, true)] {
        let mut bench = told_of(age);
        assert_eq!(bench.stored_seq(9).is_some(), is_stored, "{age:?}");
        assert_eq!(told_age(&mut bench, 9), None);
        assert_eq!(bench.penalties(1), [], "its sender is not to blame");
    }
    let mut bench = told_of(TOLD_FOR - SECOND);
    assert_eq!(told_age(&mut bench, 9), Some(TOLD_FOR - SECOND));
    assert_eq!(told_age(&mut told_of(TOLD_FOR), 9), None);
}

#[test]
fn meeting_the_owner_begins_the_lease_anew() {
    let mut bench = told_of(SECOND);
    jump(&mut bench, TOLD_FOR);
    assert_eq!(told_age(&mut bench, 9), None);
    bench.connect(9, Direction::Inbound);
    assert_eq!(told_age(&mut bench, 9), Some(Duration::ZERO));
    jump(&mut bench, 2 * LEASE);
    assert_eq!(told_age(&mut bench, 9), Some(Duration::ZERO), "connected");
    bench.feed(Input::Disconnected { peer: key(9) });
    jump(&mut bench, TOLD_FOR - SECOND);
    assert_eq!(told_age(&mut bench, 9), Some(TOLD_FOR - SECOND));
    jump(&mut bench, SECOND);
    assert_eq!(told_age(&mut bench, 9), None);
}

#[test]
fn what_is_over_here_and_told_by_a_peer_counts_as_known_to_both() {
    let mut bench = told_of(SECOND);
    jump(&mut bench, TOLD_FOR);
    told_age(&mut bench, 9);
    // The peer has it still, and tells of it once.
    bench.ask(1, &announcement(&[aged(9, 5, SECOND)]));
    let mut compare = |count| {
        let asked = PeerRequest {
            mode: Mode::Summary,
            summary: Some(Summary {
                salt: 1,
                root: 0,
                count,
            }),
            ..PeerRequest::default()
        };
        match bench.ask(1, &Message::Request(asked)) {
            Message::Response(response) => (response.count, response.records.len()),
            other => panic!("{other:?}"),
        }
    };
    // The node, peer 1 and, towards it, peer 9.
    let (count, listed) = compare(99);
    assert_eq!((count, listed), (3, 1), "its own record it has");
}

#[test]
fn a_forgotten_peer_is_not_learned_again_below_a_newer_number() {
    let mut bench = told_of(SECOND);
    let by = btcfed_core::Issuer::Node;
    bench.apply(&PeerPatch::one(PeerOp::Remove { key: key(9), by }));
    for age in [Duration::ZERO, 5 * SECOND] {
        bench.ask(1, &announcement(&[aged(9, 4, age), aged(9, 5, age)]));
        assert_eq!(bench.stored_seq(9), None);
    }
    bench.ask(1, &announcement(&[aged(9, 6, SECOND)]));
    assert_eq!(bench.stored_seq(9), Some(6));
    assert_eq!(told_age(&mut bench, 9), Some(SECOND));
}

#[test]
fn records_that_come_by_the_store_are_as_young_as_news() {
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.now += 1000 * SECOND;
    bench.store([record(9, 5)]);
    jump(&mut bench, 10 * SECOND);
    assert_eq!(told_age(&mut bench, 9), Some(10 * SECOND));
    bench.store([record(9, 6)]);
    assert_eq!(told_age(&mut bench, 9), Some(Duration::ZERO));
}

/// A node that starts with peers 9, learned, and 8, the operator's, both seen at second 1 000 000 by the clock of then.
fn restarted(wall: Timestamp) -> (Engine, Now) {
    let then = Now {
        wall: Timestamp::from_secs(1_000_000),
        ..Now::default()
    };
    let operators = PeerRecord::new(key(8), PeerSource::Operator);
    let patch = PeerPatch {
        ops: vec![
            PeerOp::Create(Box::new(operators)),
            PeerOp::Learn(record(8, 5)),
            PeerOp::Learn(record(9, 5)),
        ],
    };
    let set = PeerSet::default().apply(&patch, then).unwrap().0;
    let engine = Engine::new(EngineOptions {
        config: Arc::new(NodeConfig::default()),
        own: key(0),
        agent: "lease/1".to_owned(),
        seed: 7,
        verifier: Arc::new(StrictVerifier),
        set: Arc::new(set),
    });
    let now = Now {
        monotonic: MonotonicTime::from_origin(50 * SECOND),
        wall,
    };
    (engine, now)
}

/// The ages of what a node tells, in seconds.
fn told(engine: &mut Engine, now: Now) -> Vec<u32> {
    let peer = key(1);
    let scope = btcfed_core::addr::AddrScope::Private;
    let direction = Direction::Inbound;
    engine.handle(now, Input::Disconnected { peer });
    engine.handle(
        now,
        Input::Connected {
            peer,
            direction,
            scope,
        },
    );
    let asked = Message::Request(question(Some(hello(None))));
    let frame = btcfed_exchange_protocol::codec::encode(&asked);
    let token = btcfed_core::network::RequestToken(1);
    engine.handle(now, Input::Request { peer, token, frame });
    let mut ages = Vec::new();
    while let Some(output) = engine.poll_output() {
        if let btcfed_core::exchange::Output::Reply { frame, .. } = output
            && let Ok(Message::Response(response)) = btcfed_exchange_protocol::codec::decode(&frame)
        {
            ages.extend(response.records.iter().map(|entry| entry.age_s));
        }
    }
    ages.sort_unstable();
    ages
}

#[test]
fn a_clock_that_jumps_a_year_drops_nobody_neither_at_the_start_nor_later() {
    let day = 24 * 3600;
    let (start, year) = (Timestamp::from_secs(1_000_000), 365 * day);
    let cut = u32::try_from(RESTORED_AGE_MAX.as_secs()).unwrap();
    for (wall, age) in [
        (start, 0),
        (Timestamp::from_secs(1_000_000 + 3600), 3600),
        (Timestamp::from_secs(1_000_000 + year), cut),
        (Timestamp::from_secs(0), 0),
        (Timestamp::from_millis(u64::MAX), cut),
    ] {
        let (mut engine, mut now) = restarted(wall);
        assert_eq!(told(&mut engine, now), [age, age], "{wall:?}");
        for wall in [
            Timestamp::from_secs(1_000_000 + 9 * year),
            Timestamp::UNIX_EPOCH,
        ] {
            now.wall = wall;
            assert_eq!(told(&mut engine, now), [age, age]);
        }
        now.monotonic = now
            .monotonic
            .saturating_add(TOLD_FOR - RESTORED_AGE_MAX - SECOND);
        assert_eq!(told(&mut engine, now).len(), 2, "ten hours to renew");
    }
}

#[test]
fn peers_the_operator_chose_are_kept_and_told_of_again_as_soon_as_they_are_heard_of() {
    let (mut engine, mut now) = restarted(Timestamp::from_secs(1_000_000));
    assert_eq!(told(&mut engine, now), [0, 0]);
    now.monotonic = now.monotonic.saturating_add(LEASE * 100);
    assert!(told(&mut engine, now).is_empty());
    let scope = btcfed_core::addr::AddrScope::Private;
    let direction = Direction::Outbound;
    for n in [8, 9] {
        let peer = key(n);
        engine.handle(
            now,
            Input::Connected {
                peer,
                direction,
                scope,
            },
        );
    }
    assert_eq!(told(&mut engine, now), [0, 0]);
}
