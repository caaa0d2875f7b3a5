//! Packed peers and the set of them against the plain thing: every record comes back, and the set is a sorted map.

use std::collections::BTreeMap;
use std::time::Duration;

use super::chunk::{MAX_BYTES, MAX_PEERS};
use super::*;
use crate::identity::SecretKey;
use crate::peer::PeerAddress;
use crate::rng::SeededRng;
use crate::set::coding::Body;
use crate::testing::{test_addr, test_key};

fn secret(number: u64) -> SecretKey {
    let mut seed = [3; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    SecretKey::from_seed(seed)
}

fn number(rng: &mut SeededRng) -> u64 {
    let all = rng.next_u64();
    [0, 1, u64::MAX, all, all >> (all % 64)][rng.index(5)]
}

fn time(rng: &mut SeededRng) -> Option<Timestamp> {
    let any = Timestamp::from_millis(number(rng));
    [
        None,
        Some(any),
        Some(Timestamp::UNIX_EPOCH),
        Some(Timestamp::MAX),
    ][rng.index(4)]
}

fn text(rng: &mut SeededRng) -> String {
    let all = [
        "",
        "a",
        "node-17",
        "\u{1f980}\n\"",
        "'[}",
        &"long ".repeat(99),
    ];
    all[rng.index(all.len())].to_owned()
}

fn address(rng: &mut SeededRng) -> PeerAddress {
    let port = rng.next_u64().to_le_bytes();
    let port = u16::from_le_bytes([port[0], port[1]]);
    let host = [
        "/ip4/203.0.113.9/tcp/",
        "/ip4/127.0.0.1/tcp/",
        "/ip6/2001:db8::7/tcp/",
        "/ip6/fe80::1/tcp/",
        "/dns/a/tcp/",
        "/dns4/node1.example.com/tcp/",
        "/dns6/x--y.example/tcp/",
        "/dnsaddr/example.com/tcp/",
    ];
    let addr = match rng.index(9) {
        8 => "/dnsaddr/bootstrap.example.com".to_owned(),
        kind => format!("{}{port}", host[kind]),
    };
    let source = [
        AddressSource::Operator,
        AddressSource::Signed,
        AddressSource::Observed,
        AddressSource::LearnedFrom(test_key(9)),
    ];
    let mut address = PeerAddress::new(addr.parse().unwrap(), source[rng.index(4)]);
    if rng.chance(0.5) {
        address.last_success = time(rng);
        address.last_failure = time(rng);
        address.failures = [0, 1, u32::MAX][rng.index(3)];
    }
    address
}

/// A record with any fields set, to anything.
fn any_record(rng: &mut SeededRng, of: u64) -> PeerRecord {
    let sources = [
        PeerSource::Operator,
        PeerSource::Bootstrap,
        PeerSource::Signed,
        PeerSource::Hearsay,
    ];
    let statuses = [
        PeerStatus::Banned,
        PeerStatus::Inaccessible,
        PeerStatus::Unknown,
        PeerStatus::Valid,
    ];
    let mut record = PeerRecord::new(secret(of).public(), sources[rng.index(4)]);
    record.name = rng.chance(0.5).then(|| text(rng));
    record.note = rng.chance(0.3).then(|| text(rng));
    record.pinned = rng.chance(0.3);
    record.status = statuses[rng.index(4)];
    record.status_since = time(rng);
    record.stats.successes = number(rng);
    record.stats.failures = number(rng);
    record.stats.consecutive_failures = [0, 7, u32::MAX][rng.index(3)];
    record.stats.mean_rtt = [
        None,
        Some(Duration::ZERO),
        Some(Duration::MAX),
        Some(Duration::from_nanos(number(rng))),
    ][rng.index(4)];
    record.stats.first_seen = time(rng);
    record.stats.last_seen = time(rng);
    record.addresses = (0..rng.index(4)).map(|_| address(rng)).collect();
    if rng.chance(0.2) {
        record.undialable = (0..rng.index(3)).map(|_| text(rng)).collect();
        record.extra = (0..rng.index(3)).map(|_| (text(rng), text(rng))).collect();
    }
    if rng.chance(0.5) {
        // Also one of somebody else, which nothing forbids.
        let signer = if rng.chance(0.2) { of + 1 } else { of };
        let dialable = (0..rng.index(9)).map(|_| address(rng).addr);
        let addrs: Vec<PeerAddr> = dialable.filter(PeerAddr::is_dialable).collect();
        record.record = SignedRecord::sign(&secret(signer), number(rng), &addrs).ok();
    }
    record
}

fn check_view(view: PeerView<'_>, record: &PeerRecord) {
    assert_eq!(view.to_record(), *record);
    assert_eq!(view, *record);
    assert_eq!(
        (*view.key(), view.peer_id()),
        (record.key, record.peer_id())
    );
    assert_eq!(view.name(), record.name.as_deref());
    assert_eq!(view.note(), record.note.as_deref());
    assert_eq!(
        (view.is_pinned(), view.source()),
        (record.pinned, record.source)
    );
    assert_eq!(
        (view.status(), view.status_since()),
        (record.status, record.status_since)
    );
    assert_eq!(view.stats(), record.stats);
    assert_eq!(
        (
            view.is_banned(),
            view.is_valid(),
            view.is_inaccessible(),
            view.is_reserved()
        ),
        (
            record.is_banned(),
            record.is_valid(),
            record.is_inaccessible(),
            record.is_reserved()
        )
    );
    assert!(view.addresses().eq(record.addresses.iter().cloned()));
    assert!(
        view.address_sources()
            .eq(record.addresses.iter().map(|known| known.source))
    );
    assert!(
        record
            .addresses
            .iter()
            .all(|known| view.has_address(&known.addr))
    );
    assert!(!view.has_address(&"/ip4/198.51.100.77/tcp/1".parse().unwrap()));
    let dialable = record
        .addresses
        .iter()
        .any(|known| known.addr.is_dialable());
    assert_eq!(view.is_dialable(), dialable);
    assert!(
        view.undialable()
            .eq(record.undialable.iter().map(String::as_str))
    );
    let extra = record
        .extra
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    assert!(view.extra().eq(extra));
    check_signed(view, record);
}

fn check_signed(view: PeerView<'_>, record: &PeerRecord) {
    assert_eq!(view.seq(), record.record.as_ref().map(SignedRecord::seq));
    assert_eq!(view.signed().is_some(), record.record.is_some());
    if let (Some(view), Some(signed)) = (view.signed(), &record.record) {
        let read = view.to_record().unwrap();
        for (view, signed) in [
            (view, signed),
            (read.view(), signed),
            (signed.view(), &read),
        ] {
            assert_eq!((view.key(), view.seq()), (signed.key(), signed.seq()));
            assert_eq!(view.is_leaving(), signed.is_leaving());
            assert_eq!(view.envelope(), signed.envelope());
            assert_eq!(view.to_record().unwrap().addresses(), signed.addresses());
            for wanted in signed.addresses().iter().map(PeerAddr::scope) {
                assert!(view.has_scope(|scope| scope == wanted));
            }
            assert_eq!(view.has_scope(|_| true), !signed.addresses().is_empty());
        }
    }
}

#[test]
fn every_record_comes_back_as_it_was_and_equal_bytes_are_equal_records() {
    let mut rng = SeededRng::from_seed(1);
    let mut before = PackedPeer::from(PeerRecord::new(test_key(1), PeerSource::Operator));
    check_view(
        before.view(),
        &PeerRecord::new(test_key(1), PeerSource::Operator),
    );
    for round in 0..1000 {
        let record = any_record(&mut rng, 1 + round % 2);
        let peer = PackedPeer::from(record.clone());
        check_view(peer.view(), &record);
        assert_eq!(peer, PackedPeer::from(record.clone()));
        assert_eq!(peer == before, record == before.to_record());
        before = peer;
    }
}

#[test]
fn what_a_flood_or_an_operator_can_pile_up_comes_back_too() {
    let mut record = any_record(&mut SeededRng::from_seed(2), 1);
    record.addresses = (0..1000)
        .map(|port| PeerAddress::new(test_addr(port), AddressSource::Operator))
        .collect();
    record.undialable = vec!["/ip4/192.0.2.1/udp/1/quic-v1".to_owned(); 1000];
    record.note = Some("n".repeat(100_000));
    let fields = (0..1000).map(|field| (format!("field{field}"), "[1, 2]".to_owned()));
    record.extra = fields.collect();
    check_view(PackedPeer::from(record.clone()).view(), &record);
    let neighbours =
        (2..40).map(|other| PeerRecord::new(secret(other).public(), PeerSource::Signed));
    let set = PeerSet::from_parts(neighbours.chain([record.clone()]), [], []);
    assert_eq!((set.len(), set.get(&record.key)), (39, Some(record)));
}

#[test]
fn reading_cut_or_damaged_bytes_comes_to_an_end() {
    let mut rng = SeededRng::from_seed(3);
    for round in 0..300 {
        let record = any_record(&mut rng, round);
        let bytes = packed(&record);
        let cuts = (0..bytes.len()).map(|len| bytes[..len].to_vec());
        let damaged = (0..20).map(|_| {
            let mut bytes = bytes.clone();
            let at = rng.index(bytes.len());
            bytes[at] = rng.next_u64().to_le_bytes()[0];
            bytes
        });
        for bytes in cuts.chain(damaged.collect::<Vec<_>>()) {
            let body = Body(&bytes);
            let read = body.unsigned(record.key);
            assert!(read.addresses.len() <= bytes.len());
            assert!(body.undialable().count() + body.extra().count() <= bytes.len());
        }
    }
}

/// A set and the same as a map of the standard library.
#[derive(Clone, Default)]
struct Pair(Peers, BTreeMap<PeerKey, PeerRecord>);

impl Pair {
    fn put(&mut self, record: &PeerRecord) {
        self.0.put(&record.key, &packed(record));
        self.1.insert(record.key, record.clone());
    }

    fn remove(&mut self, key: &PeerKey) {
        self.0.remove(key);
        self.1.remove(key);
    }

    fn check(&self) {
        assert_eq!(self.0.len(), self.1.len());
        let records = self.0.views_after(None).map(PeerView::to_record);
        assert!(records.eq(self.1.values().cloned()));
        for chunk in self.0.chunks() {
            assert!((1..=MAX_PEERS).contains(&chunk.len()));
            assert!(chunk.len() == 1 || chunk.bytes() <= MAX_BYTES);
        }
    }

    fn differing(&self, other: &Self) -> Vec<(PeerKey, Ordering)> {
        let keys = self.1.keys().chain(other.1.keys());
        let mut keys: Vec<PeerKey> = keys.copied().collect();
        keys.sort_unstable();
        keys.dedup();
        let order = |key: &PeerKey| match (self.1.get(key), other.1.get(key)) {
            (_, None) => Some(Ordering::Less),
            (None, _) => Some(Ordering::Greater),
            (one, two) => (one != two).then_some(Ordering::Equal),
        };
        keys.into_iter()
            .filter_map(|key| Some((key, order(&key)?)))
            .collect()
    }
}

#[test]
fn a_set_is_the_map_of_the_standard_library_after_any_changes() {
    for (seed, range, heavy) in [(1, 40, 0.0), (2, 700, 0.0), (3, 300, 0.02)] {
        let mut rng = SeededRng::from_seed(seed);
        let records: Vec<PeerRecord> = (0..range)
            .map(|of| {
                let mut record = any_record(&mut rng, of);
                if rng.chance(heavy) {
                    record.note = Some("n".repeat(MAX_BYTES + 1));
                }
                record
            })
            .collect();
        let (mut pair, mut base) = (Pair::default(), Pair::default());
        for step in 0..3000 {
            let mut record = records[rng.index(records.len())].clone();
            record.stats.successes = rng.below(3);
            // Growth first, then decline.
            if rng.chance(if step < 1500 { 0.7 } else { 0.25 }) {
                pair.put(&record);
            } else {
                pair.remove(&record.key);
            }
            let found = pair.0.view(&record.key).map(PeerView::to_record);
            assert_eq!(found.as_ref(), pair.1.get(&record.key));
            if step % 150 == 0 {
                pair.check();
                base.check();
                let after = pair
                    .0
                    .views_after(Some(&record.key))
                    .map(|peer| *peer.key());
                let keys = pair.1.keys().copied();
                assert!(after.eq(keys.filter(|key| *key > record.key)));
                assert_eq!(pair.0.differences(&base.0), pair.differing(&base));
                assert_eq!(base.0.differences(&pair.0), base.differing(&pair));
                assert_eq!(pair.0 == base.0, pair.1 == base.1);
                base = pair.clone();
            }
        }
        for key in pair.1.keys().copied().collect::<Vec<_>>() {
            pair.remove(&key);
        }
        pair.check();
        assert!(pair.0.chunks().next().is_none() && pair.0 == Peers::default());
        base.check();
    }
}

#[test]
fn building_at_once_gives_the_same_at_every_size_of_a_chunk() {
    let max = u16::try_from(MAX_PEERS).unwrap();
    let records: Vec<PeerRecord> = (0..3 * max)
        .map(|of| PeerRecord::new(test_key(of), PeerSource::Signed))
        .collect();
    for len in [
        0,
        1,
        2,
        MAX_PEERS - 1,
        MAX_PEERS,
        MAX_PEERS + 1,
        3 * MAX_PEERS,
    ] {
        let mut one_by_one = Pair::default();
        records[..len]
            .iter()
            .for_each(|record| one_by_one.put(record));
        one_by_one.check();
        let at_once = PeerSet::from_parts(records[..len].iter().cloned(), [], []);
        assert!(at_once.peers == one_by_one.0, "{len}");
        assert!(at_once.iter().eq(one_by_one.1.into_values()), "{len}");
    }
}

#[test]
fn of_two_peers_with_one_key_the_first_counts() {
    let named = |name: &str| {
        let mut record = PeerRecord::new(test_key(1), PeerSource::Operator);
        record.name = Some(name.to_owned());
        record
    };
    let set = PeerSet::from_parts([named("first"), named("second")], [], []);
    assert_eq!(
        (set.len(), set.get(&test_key(1))),
        (1, Some(named("first")))
    );
}

#[test]
fn peers_that_were_packed_in_order_are_taken_over_and_not_copied() {
    let mut rng = SeededRng::from_seed(5);
    let records: Vec<PeerRecord> = (0..200).map(|of| any_record(&mut rng, of)).collect();
    let mut sorted = records.clone();
    sorted.sort_by_key(|record| record.key);
    let pack = |records: &[PeerRecord]| {
        let mut packer = Packer::default();
        records.iter().for_each(|record| packer.push(record));
        packer.finish()
    };
    let shared = |packed: &[PackedPeer]| {
        let set = PeerSet::from_packed(packed.iter().cloned(), [], []);
        assert!(set.iter().eq(sorted.iter().cloned()));
        let is_shared =
            |peer: &&PackedPeer| set.view(peer.key()).unwrap().to_packed().is_one_with(peer);
        packed.iter().filter(is_shared).count()
    };
    // The rest of a chunk that is too short to be worth it is copied.
    assert!(shared(&pack(&sorted)) >= 200 - MAX_PEERS / 4);
    assert_eq!(shared(&pack(&records)), 0);
    // One that is new between those that are known.
    let mut packer = Packer::default();
    for (at, peer) in pack(&sorted).into_iter().enumerate() {
        if at == 100 {
            packer.push(&peer.to_record());
        } else {
            packer.push_packed(peer);
        }
    }
    let mixed = packer.finish();
    assert!(shared(&mixed) >= 200 - 2 * MAX_PEERS);
}

#[test]
fn a_change_of_one_peer_leaves_the_chunks_of_the_others_to_be_shared() {
    let records = (0..2000).map(|of| PeerRecord::new(test_key(of), PeerSource::Signed));
    let before = PeerSet::from_parts(records, [], []);
    let patch = PeerPatch::one(PeerOp::ContactSucceeded {
        key: test_key(7),
        addr: Some(test_addr(1)),
    });
    let (after, _) = before.apply(&patch, Now::default()).unwrap();
    assert_eq!(after.differing_peers(&before), [test_key(7)]);
    let is_copied = |peer: &PeerView<'_>| {
        let other = before.view(peer.key()).unwrap().to_packed();
        !peer.to_packed().is_one_with(&other)
    };
    assert!(after.views().filter(is_copied).count() <= MAX_PEERS);
}

#[test]
fn contact_with_a_peer_leaves_what_it_signed_as_it_is() {
    let key = secret(1).public();
    let signed = SignedRecord::sign(&secret(1), 5, &[test_addr(3)]).unwrap();
    let learned = PeerSet::default().apply(
        &PeerPatch::one(PeerOp::Learn(signed.clone())),
        Now::default(),
    );
    let ops = [
        PeerOp::ContactFailed {
            key,
            addrs: vec![test_addr(3)],
        },
        PeerOp::Measured {
            key,
            rtt: Duration::from_millis(3),
        },
    ];
    let touched = learned
        .unwrap()
        .0
        .apply(&ops.into_iter().collect(), Now::default());
    let record = touched.unwrap().0.get(&key).unwrap();
    assert_eq!((record.record, record.stats.failures), (Some(signed), 1));
    assert_eq!(record.addresses[0].failures, 1);
}
