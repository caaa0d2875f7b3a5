//! What becomes of a record: verified, in scope, newest, and nobody else's word for it.

use btcfed_core::addr::AddrScope;
use btcfed_core::exchange::{Notice, Reaction};
use btcfed_core::network::Direction;
use btcfed_core::{Ban, BanReason, BanTarget, Issuer, PeerOp, PeerPatch, PeerRecord, PeerSource};
use btcfed_exchange_protocol::message::{ErrorCode, Message, RecordEntry};

use crate::bench::{
    Bench, announcement, code, entry, forged, hello, key, page, question, record, record_at, update,
};

#[test]
fn a_record_with_a_bad_signature_is_neither_stored_nor_passed_on() {
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.befriend(2);
    let answer = bench.ask(1, &announcement(&[forged(9, 1), entry(&record(8, 1))]));
    assert_eq!(code(&answer), ErrorCode::BadSignature);
    assert_eq!(
        (bench.stored_seq(9), bench.stored_seq(8)),
        (None, Some(1)),
        "the honest one beside it counts"
    );
    assert_eq!(bench.announced_to(2), [(key(8), 1)]);
    assert_eq!(bench.penalties(1), [Reaction::Warn]);
    assert_eq!(bench.counters().records_refused, 1);
}

#[test]
fn whoever_keeps_relaying_forgeries_is_disconnected_but_not_banned_at_once() {
    let mut bench = Bench::new();
    bench.befriend(1);
    for seq in 1..=3 {
        bench.ask(1, &announcement(&[forged(9, seq)]));
    }
    assert_eq!(
        bench.penalties(1),
        [Reaction::Warn, Reaction::Throttle, Reaction::Disconnect]
    );
    assert!(bench.is_closed(1));
}

#[test]
fn a_forged_own_record_is_banned_by_whichever_message_it_comes() {
    let mut bench = Bench::new();
    bench.befriend(1);
    assert_eq!(
        code(&bench.ask(1, &update(forged(1, 9)))),
        ErrorCode::BadSignature
    );
    assert_eq!(bench.penalties(1), [Reaction::Ban]);

    let mut bench = Bench::new();
    bench.befriend(1);
    assert_eq!(
        code(&bench.ask(1, &announcement(&[forged(1, 9)]))),
        ErrorCode::BadSignature
    );
    assert_eq!(bench.penalties(1), [Reaction::Ban]);

    for direction in [Direction::Inbound, Direction::Outbound] {
        let mut bench = Bench::new();
        bench.connect(1, direction);
        let mut liar = hello(None);
        liar.record = forged(1, 9).envelope;
        if direction == Direction::Inbound {
            bench.ask(1, &Message::Request(question(Some(liar))));
        } else {
            let (id, _) = bench.sent_to(1).pop().unwrap();
            bench.answer(id, &Message::Response(page(Some(liar), &[])));
        }
        assert_eq!(bench.penalties(1), [Reaction::Ban]);
        assert!(bench.is_closed(1) && bench.stored_seq(1).is_none());
    }
}

#[test]
fn an_old_version_never_replaces_a_newer_one_and_costs_no_signature_check() {
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.ask(1, &announcement(&[entry(&record(9, 5))]));
    let checked = bench.counters().signatures_checked;
    for seq in 0..=5 {
        let answer = bench.ask(1, &announcement(&[entry(&record(9, seq)), forged(9, seq)]));
        let is_prune = matches!(&answer, Message::Announcement(answer) if answer.is_prune());
        assert!(is_prune || answer == Message::Ack, "{answer:?}");
    }
    assert_eq!(
        (bench.stored_seq(9), bench.counters().signatures_checked),
        (Some(5), checked)
    );
    assert!(bench.penalties(1).is_empty());
    bench.ask(1, &announcement(&[entry(&record(9, u64::MAX))]));
    assert_eq!(bench.stored_seq(9), Some(u64::MAX));
}

#[test]
fn of_several_versions_in_one_frame_the_newest_counts_in_any_order() {
    for seqs in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
        let mut bench = Bench::new();
        bench.befriend(1);
        let before = bench.counters().signatures_checked;
        let entries: Vec<RecordEntry> = seqs.iter().map(|seq| entry(&record(9, *seq))).collect();
        bench.ask(1, &announcement(&entries));
        assert_eq!(bench.stored_seq(9), Some(3));
        assert_eq!(bench.counters().signatures_checked - before, 1);
    }
}

#[test]
fn a_record_counts_as_known_before_the_store_shows_it_and_again_afterwards_if_it_never_does() {
    let mut bench = Bench::new();
    bench.stores = false;
    bench.befriend(1);
    let before = bench.counters().signatures_checked;
    bench.ask(1, &announcement(&[entry(&record(9, 1))]));
    bench.ask(1, &announcement(&[entry(&record(9, 1))]));
    assert_eq!(bench.counters().signatures_checked - before, 1);
    bench.wait(btcfed_exchange_protocol::limits::PENDING_TTL);
    bench.ask(1, &announcement(&[entry(&record(9, 1))]));
    assert_eq!(
        bench.counters().signatures_checked - before,
        2,
        "the store was given time enough"
    );
}

#[test]
fn the_own_record_echoed_is_ignored_and_a_newer_one_is_told_to_the_node() {
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.ask(
        1,
        &announcement(&[entry(&record(0, 10)), entry(&record(0, 9))]),
    );
    assert!(bench.notices().is_empty());
    bench.ask(1, &announcement(&[entry(&record(0, 12))]));
    bench.ask(1, &announcement(&[entry(&record(0, 12))]));
    assert_eq!(
        bench.notices(),
        [Notice::OwnRecordAhead { seq: 12 }],
        "once"
    );
    bench.ask(1, &announcement(&[forged(0, 13)]));
    assert_eq!(
        bench.notices().len(),
        1,
        "a forgery cannot push the number up"
    );
    assert!(
        bench.set.get(&key(0)).is_none(),
        "the node is not its own peer"
    );
}

#[test]
fn records_cross_a_link_only_where_they_mean_something() {
    let loopback = record_at(10, 1, &["/ip4/127.0.0.1/tcp/1"]);
    let private = record_at(11, 1, &["/ip4/192.168.1.1/tcp/1"]);
    let public = record_at(12, 1, &["/ip4/20.0.0.1/tcp/1"]);
    let name = record_at(13, 1, &["/dns4/node.example/tcp/1"]);
    let link_local = record_at(14, 1, &["/ip4/169.254.169.254/tcp/1"]);
    let mixed = record_at(15, 1, &["/ip4/127.0.0.1/tcp/1", "/ip4/20.0.0.2/tcp/1"]);
    let all = [loopback, private, public, name, link_local, mixed];
    let table = [
        (AddrScope::Loopback, vec![10, 11, 12, 13, 15]),
        (AddrScope::LinkLocal, vec![11, 12, 13, 15]),
        (AddrScope::Private, vec![11, 12, 13, 15]),
        (AddrScope::Public, vec![12, 13, 15]),
        (AddrScope::Dns, vec![12, 13, 15]),
    ];
    for (scope, expected) in table {
        // in
        let mut bench = Bench::new();
        bench.befriend_over(1, scope);
        let entries: Vec<RecordEntry> = all.iter().map(entry).collect();
        assert_eq!(
            bench.ask(1, &announcement(&entries)),
            Message::Ack,
            "out of scope is nobody's fault"
        );
        let stored: Vec<u64> = (10..=15)
            .filter(|n| bench.stored_seq(*n).is_some())
            .collect();
        assert_eq!(stored, expected, "in over {scope:?}");

        // out, by relay and by page
        let mut bench = Bench::new();
        bench.befriend_over(1, AddrScope::Loopback);
        bench.befriend_over(2, scope);
        bench.ask(1, &announcement(&entries));
        let mut told: Vec<_> = bench
            .announced_to(2)
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        bench.wait(std::time::Duration::from_millis(30));
        told.sort_unstable();
        let mut keys: Vec<_> = expected.iter().map(|n| key(*n)).collect();
        keys.sort_unstable();
        assert_eq!(told, keys, "relayed over {scope:?}");
        let Message::Response(response) = bench.ask(2, &Message::Request(question(None))) else {
            panic!("no response");
        };
        let listed: Vec<u64> = (10..=15)
            .zip(&all)
            .filter(|(_, one)| {
                response
                    .records
                    .iter()
                    .any(|e| e.envelope == one.envelope())
            })
            .map(|(n, _)| n)
            .collect();
        assert_eq!(listed, expected, "listed over {scope:?}");
    }
}

#[test]
fn the_own_record_stays_within_its_scope_too() {
    let mut bench = Bench::new();
    bench.connect_over(1, Direction::Outbound, AddrScope::Public);
    let (_, Message::Request(request)) = bench.sent_to(1).pop().unwrap() else {
        panic!("no request");
    };
    assert!(
        request.hello.unwrap().record.is_empty(),
        "a private address means nothing out there"
    );
    assert_eq!(request.summary.unwrap().count, 0);
}

#[test]
fn banned_and_forgotten_peers_do_not_come_back_by_gossip() {
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.store([record(7, 1), record(8, 1)]);
    let since = bench.clock().wall;
    let ban = Ban {
        target: BanTarget::Peer(key(7)),
        reason: BanReason::Misbehaviour,
        since,
        until: None,
        by: Issuer::Operator,
        evidence: None,
    };
    bench.apply(&PeerPatch::one(PeerOp::Ban(ban)));
    bench.apply(&PeerPatch::one(PeerOp::Remove {
        key: key(8),
        by: Issuer::Operator,
    }));
    let checked = bench.counters().signatures_checked;
    assert_eq!(
        bench.ask(
            1,
            &announcement(&[entry(&record(7, 2)), entry(&record(8, 99))])
        ),
        Message::Ack
    );
    assert_eq!((bench.stored_seq(7), bench.stored_seq(8)), (Some(1), None));
    assert_eq!(
        bench.counters().signatures_checked,
        checked,
        "refused before any cost"
    );
    let Message::Response(response) = bench.ask(1, &Message::Request(question(None))) else {
        panic!("no response");
    };
    let banned = record(7, 1);
    assert!(
        response
            .records
            .iter()
            .all(|e| e.envelope != banned.envelope()),
        "a banned peer is not recommended"
    );
}

#[test]
fn peers_without_a_signed_record_are_not_listed() {
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.apply(&PeerPatch::create(PeerRecord::new(
        key(5),
        PeerSource::Operator,
    )));
    let Message::Response(response) = bench.ask(1, &Message::Request(question(None))) else {
        panic!("no response");
    };
    assert_eq!(response.records.len(), 1, "only the node itself");
}

#[test]
fn the_age_of_a_record_is_passed_on_with_the_time_it_was_here() {
    let mut bench = Bench::new();
    bench.befriend(1);
    let news = RecordEntry {
        envelope: record(9, 1).envelope().to_vec(),
        age_s: 1000,
    };
    bench.ask(1, &announcement(&[news]));
    bench.wait(std::time::Duration::from_secs(90));
    let Message::Response(response) = bench.ask(1, &Message::Request(question(None))) else {
        panic!("no response");
    };
    let listed = record(9, 1);
    let age = response
        .records
        .iter()
        .find(|e| e.envelope == listed.envelope())
        .unwrap()
        .age_s;
    assert_eq!(age, 1090);
}

#[test]
fn an_update_speaks_for_its_sender_only() {
    let mut bench = Bench::new();
    bench.befriend(1);
    assert_eq!(
        code(&bench.ask(1, &update(entry(&record(9, 1))))),
        ErrorCode::Malformed
    );
    assert_eq!(bench.stored_seq(9), None);
    assert_eq!(bench.penalties(1), [Reaction::Warn]);
    assert_eq!(bench.ask(1, &update(entry(&record(1, 7)))), Message::Ack);
    assert_eq!(bench.stored_seq(1), Some(7));
    assert_eq!(
        code(&bench.ask(1, &update(RecordEntry::default()))),
        ErrorCode::Malformed
    );
}
