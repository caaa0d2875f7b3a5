//! The list as a whole: shares of sources, and peers that are tried now and then.

use std::collections::BTreeSet;
use std::time::Duration;

use btcfed_core::exchange::{Input, Output};
use btcfed_core::network::Direction;
use btcfed_core::{PeerKey, PeerOp, PeerPatch, PeerRecord, PeerSource};
use btcfed_exchange_protocol::limits;
use btcfed_exchange_protocol::message::{Message, PeerResponse};

use crate::bench::{Bench, announcement, entry, hello, key, page, record};

fn dials(bench: &Bench) -> Vec<PeerKey> {
    let dials = bench.outputs.iter().filter_map(|output| match output {
        Output::Dial { peer, addrs } => {
            assert!(!addrs.is_empty());
            Some(*peer)
        }
        _ => None,
    });
    dials.collect()
}

#[test]
fn every_minute_or_so_a_known_peer_that_is_not_connected_is_tried() {
    let mut bench = Bench::new();
    bench.store((10..20).map(|n| record(n, 1)));
    bench.wait(Duration::from_secs(600));
    assert!(
        dials(&bench).is_empty(),
        "finding somebody is the node's task"
    );
    bench.befriend(1);
    bench.wait(
        limits::FEELER_INTERVAL.mul_f64(1.0 - limits::FEELER_JITTER) - Duration::from_secs(1),
    );
    assert!(dials(&bench).is_empty());
    bench.wait(Duration::from_secs(6000));
    let tried = dials(&bench);
    assert!((78..=134).contains(&tried.len()), "{}", tried.len());
    let known: BTreeSet<PeerKey> = (10..20).map(key).collect();
    assert!(
        tried.iter().all(|peer| known.contains(peer)),
        "not the connected one"
    );
    assert_eq!(
        tried.iter().collect::<BTreeSet<_>>().len(),
        10,
        "all of them sooner or later"
    );
}

#[test]
fn a_peer_that_was_tried_is_compared_with_and_hung_up_on() {
    let mut bench = Bench::new();
    bench.store([record(10, 1)]);
    bench.befriend(1);
    bench.wait(Duration::from_secs(76));
    assert_eq!(dials(&bench), [key(10)]);
    bench.connect(10, Direction::Outbound);
    let (id, _) = bench.sent_to(10).pop().unwrap();
    assert!(!bench.is_closed(10));
    let equal = PeerResponse {
        equal: true,
        ..page(Some(hello(None)), &[])
    };
    bench.answer(id, &Message::Response(equal));
    assert!(bench.is_closed(10), "equal: nothing else to do");
    // One that answers nothing has its time and no more.
    bench.feed(Input::Disconnected { peer: key(10) });
    bench.outputs.clear();
    bench.wait(Duration::from_secs(76));
    bench.connect(10, Direction::Outbound);
    bench.wait(limits::FEELER_STAY - Duration::from_millis(1));
    assert!(!bench.is_closed(10));
    bench.wait(Duration::from_millis(1));
    assert!(bench.is_closed(10));
}

#[test]
fn new_identities_of_one_peer_are_passed_on_up_to_a_bound_and_stored_beyond_it() {
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.befriend(2);
    bench.settle();
    let start = bench.now;
    let mut told = 0;
    let burst = u64::from(limits::NEW_IDENTITY_BURST);
    for first in (1000..1000 + burst + 64).step_by(32) {
        let records: Vec<_> = (first..first + 32).map(|n| entry(&record(n, 1))).collect();
        bench.ask(1, &announcement(&records));
        bench.wait(limits::ANNOUNCE_INTERVAL);
        told += bench.announced_to(2).len() as u64;
        bench.acknowledge();
        bench.outputs.clear();
    }
    let seconds = (bench.now - start).as_secs() + 1;
    let refilled = seconds * u64::from(limits::NEW_IDENTITIES_PER_SECOND);
    assert!((burst..=burst + refilled).contains(&told), "{told}");
    assert_eq!(bench.stored_seq(1000 + burst + 63), Some(1), "stored only");
}

#[test]
fn the_first_record_of_a_peer_the_operator_chose_is_no_new_identity_and_is_always_passed_on() {
    let mut bench = Bench::new();
    let chosen = PeerRecord::new(key(77), PeerSource::Operator);
    bench.apply(&PeerPatch::one(PeerOp::Create(Box::new(chosen))));
    bench.befriend(1);
    bench.befriend(2);
    bench.settle();
    let burst = u64::from(limits::NEW_IDENTITY_BURST);
    for first in (1000..1000 + burst + 64).step_by(32) {
        let records: Vec<_> = (first..first + 32).map(|n| entry(&record(n, 1))).collect();
        bench.ask(1, &announcement(&records));
        bench.settle();
    }
    let fillers: Vec<_> = (2000..2032).map(|n| entry(&record(n, 1))).collect();
    bench.ask(1, &announcement(&fillers));
    bench.ask(1, &announcement(&[entry(&record(77, 1))]));
    bench.wait(limits::ANNOUNCE_INTERVAL);
    let told = bench.announced_to(2);
    assert!(told.contains(&(key(77), 1)), "{}", told.len());
    assert!(told.len() < 32, "the budget is used up");
}

#[test]
fn no_source_fills_a_crowded_list_and_who_others_told_of_and_the_operator_chose_stay() {
    let mut bench = Bench::new();
    bench.stores = false;
    let mut patch: PeerPatch = (0..limits::CROWDED_ABOVE as u64)
        .map(|n| PeerOp::Learn(record(100_000 + n, 1)))
        .collect();
    let chosen = PeerRecord::new(key(77), PeerSource::Operator);
    patch.ops.push(PeerOp::Create(Box::new(chosen)));
    bench.apply(&patch);
    bench.befriend(1);
    bench.befriend(2);
    let offer = |bench: &mut Bench, from: u64, first: u64, count: u64| {
        let before = bench.counters().records_accepted;
        for start in (first..first + count).step_by(50) {
            let records: Vec<_> = (start..start + 50).map(|n| entry(&record(n, 1))).collect();
            bench.ask(from, &announcement(&records));
            bench.now += Duration::from_secs(10);
        }
        bench.outputs.clear();
        bench.counters().records_accepted - before
    };
    let most = limits::MAX_UNMET_PER_SOURCE as u64;
    assert_eq!(offer(&mut bench, 1, 200_000, most), most);
    assert_eq!(offer(&mut bench, 1, 300_000, 50), 0, "its share is used up");
    assert_eq!(offer(&mut bench, 2, 400_000, 50), 50, "others have theirs");
    assert!(bench.set.contains(&key(77)));
}
