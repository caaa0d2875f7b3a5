//! Owners that sign two different records with one number.

use btcfed_core::SignedRecord;
use btcfed_core::exchange::{Notice, Reaction};
use btcfed_exchange_protocol::limits;

use crate::bench::{Bench, announcement, entry, forged, key, record_at};

/// Two records of peer 9 with one number, the one that counts first.
fn pair() -> (SignedRecord, SignedRecord) {
    let one = record_at(9, 5, &["/ip4/10.0.0.1/tcp/1"]);
    let other = record_at(9, 5, &["/ip4/10.0.0.2/tcp/1"]);
    assert!(one.contradicts(&other) && one.supersedes(&other) != other.supersedes(&one));
    if one.supersedes(&other) {
        (one, other)
    } else {
        (other, one)
    }
}

fn stored(bench: &Bench) -> SignedRecord {
    bench.set.get(&key(9)).unwrap().record.unwrap()
}

fn equivocations(bench: &Bench) -> usize {
    bench
        .notices()
        .iter()
        .filter(|n| matches!(n, Notice::Equivocation { .. }))
        .count()
}

#[test]
fn whatever_comes_first_everybody_ends_with_the_same_record_and_it_is_told_once() {
    let (counts, other) = pair();
    for order in [[&counts, &other], [&other, &counts]] {
        let mut bench = Bench::new();
        bench.befriend(1);
        bench.befriend(2);
        for record in order {
            bench.ask(1, &announcement(&[entry(record)]));
            bench.wait(limits::ANNOUNCE_INTERVAL);
            bench.acknowledge();
        }
        assert_eq!(stored(&bench), counts);
        let [
            Notice::Equivocation {
                peer,
                seq,
                kept,
                dropped,
            },
        ] = &bench
            .notices()
            .into_iter()
            .filter(|n| matches!(n, Notice::Equivocation { .. }))
            .collect::<Vec<_>>()[..]
        else {
            panic!("told once: {:?}", bench.notices());
        };
        assert_eq!((*peer, *seq, kept, dropped), (key(9), 5, &counts, &other));
        let told = bench.announced_to(2).len();
        assert_eq!(
            told,
            if order[0] == &counts { 1 } else { 2 },
            "the better one is passed on"
        );
        let checked = bench.counters().signatures_checked;
        for record in order {
            bench.ask(1, &announcement(&[entry(record)]));
        }
        assert_eq!(equivocations(&bench), 1);
        assert_eq!(
            bench.counters().signatures_checked,
            checked,
            "settled: no further checks"
        );
        assert!(
            bench.penalties(1).is_empty(),
            "whoever relays is not to blame"
        );
    }
}

#[test]
fn bytes_outside_of_the_signature_prove_nothing_about_the_owner() {
    let (counts, _) = pair();
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.ask(1, &announcement(&[entry(&counts)]));
    let mut padded = entry(&counts);
    padded.envelope.extend([0x78, 0x01]); // field 15, varint 1
    bench.ask(1, &announcement(&[padded]));
    assert_eq!(equivocations(&bench), 0);
    assert_eq!(stored(&bench), counts);
}

#[test]
fn forged_contradictions_are_blamed_and_cost_a_bounded_number_of_checks() {
    let mut bench = Bench::new();
    bench.befriend(1);
    let numbers = 20..30;
    let honest: Vec<_> = numbers
        .clone()
        .map(|n| entry(&record_at(n, 1, &["/ip4/10.3.3.3/tcp/3"])))
        .collect();
    bench.ask(1, &announcement(&honest));
    let before = bench.counters().signatures_checked;
    let forgeries: Vec<_> = numbers.map(|n| forged(n, 1)).collect();
    bench.ask(1, &announcement(&forgeries));
    let checked = bench.counters().signatures_checked - before;
    assert_eq!(checked, limits::MAX_CONTRADICTIONS_PER_FRAME as u64);
    assert_eq!(equivocations(&bench), 0);
    assert_eq!(bench.penalties(1), [Reaction::Warn]);
}

#[test]
fn the_memory_of_equivocators_is_bounded() {
    let mut bench = Bench::new();
    bench.befriend(1);
    let most = limits::MAX_EQUIVOCATORS as u64;
    let double = |n: u64| {
        [1, 2].map(|port| entry(&record_at(n, 1, &[&format!("/ip4/10.3.3.3/tcp/{port}")])))
    };
    for n in 1000..=1000 + most {
        for record in double(n) {
            bench.ask(1, &announcement(&[record]));
        }
        bench.now += std::time::Duration::from_secs(1);
    }
    let told = equivocations(&bench);
    assert_eq!(told, limits::MAX_EQUIVOCATORS + 1, "each once");
    let again = |bench: &mut Bench, n: u64| {
        let before = equivocations(bench);
        for record in double(n) {
            bench.ask(1, &announcement(&[record]));
        }
        equivocations(bench) - before
    };
    assert_eq!(again(&mut bench, 1000 + most), 0, "remembered");
    assert_eq!(again(&mut bench, 1000), 1, "the oldest was forgotten");
}
