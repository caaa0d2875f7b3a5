//! The rules of a [`PeerSet`] that a store's conformance suite cannot reach: bounds, eviction, reading from files.
#![expect(
    clippy::unwrap_used,
    reason = "test helpers: a panic is the failure report"
)]

use std::sync::LazyLock;

use btcfed_core::ban::{Ban, BanReason, BanTarget, Issuer};
use btcfed_core::limits::{MAX_BANS, MAX_FORGOTTEN, MAX_PEERS};
use btcfed_core::patch::{PatchError, PeerChange, PeerOp, PeerPatch};
use btcfed_core::peer::Forgotten;
use btcfed_core::testing::{test_addr, test_key, test_record, test_secret};
use btcfed_core::time::{MonotonicTime, Timestamp};
use btcfed_core::{
    AddressSource, Now, PeerKey, PeerRecord, PeerSet, PeerSource, PeerStatus, SignedRecord,
};

/// A moment after every ban of these tests began.
const NOW: Now = Now {
    monotonic: MonotonicTime::ZERO,
    wall: Timestamp::from_secs(1_000_000),
};

/// Identities enough to fill a set, and a few more.
static KEYS: LazyLock<Vec<PeerKey>> = LazyLock::new(|| {
    (0..u16::try_from(MAX_PEERS).unwrap() + 10)
        .map(test_key)
        .collect()
});

fn peer(index: usize, source: PeerSource) -> PeerRecord {
    PeerRecord::new(KEYS[index], source)
}

fn full_of(source: PeerSource) -> PeerSet {
    PeerSet::from_parts((0..MAX_PEERS).map(|index| peer(index, source)), [], [])
}

fn apply(set: &PeerSet, op: PeerOp) -> Result<(PeerSet, Vec<PeerChange>), PatchError> {
    set.apply(&PeerPatch::one(op), NOW)
}

fn create(set: &PeerSet, record: PeerRecord) -> Result<(PeerSet, Vec<PeerChange>), PatchError> {
    set.apply(&PeerPatch::create(record), NOW)
}

fn learn(number: u16, seq: u64) -> PeerOp {
    PeerOp::Learn(SignedRecord::sign(&test_secret(number), seq, &[test_addr(7)]).unwrap())
}

fn ban(target: BanTarget, by: Issuer) -> Ban {
    let (reason, since) = (BanReason::Misbehaviour, Timestamp::from_secs(1_000));
    Ban {
        target,
        reason,
        since,
        until: None,
        by,
        evidence: None,
    }
}

fn host(number: usize) -> BanTarget {
    BanTarget::Ip(std::net::Ipv4Addr::from(u32::try_from(number).unwrap()).into())
}

#[test]
fn the_last_place_is_taken_and_one_past_it_is_refused() {
    let almost = PeerSet::from_parts((1..MAX_PEERS).map(|i| peer(i, PeerSource::Signed)), [], []);
    let (full, changes) = create(&almost, peer(0, PeerSource::Signed)).unwrap();
    assert_eq!(
        (full.len(), changes),
        (MAX_PEERS, vec![PeerChange::Added(KEYS[0])])
    );
    let refused = create(&full, peer(MAX_PEERS, PeerSource::Signed)).unwrap_err();
    assert_eq!(
        refused,
        PatchError::Full {
            what: "peers",
            limit: MAX_PEERS
        }
    );
    let last = u16::try_from(MAX_PEERS).unwrap();
    let (same, changes) = apply(&full, learn(last, 1)).unwrap();
    assert_eq!(
        (same == full, changes),
        (true, vec![]),
        "gossip into a full list is ignored"
    );
}

#[test]
fn pinned_and_chosen_peers_are_never_evicted_and_always_admitted() {
    for source in [PeerSource::Operator, PeerSource::Bootstrap] {
        let full = full_of(source);
        assert!(create(&full, peer(MAX_PEERS, PeerSource::Hearsay)).is_err());
        let (more, _) = create(&full, peer(MAX_PEERS, source)).unwrap();
        assert_eq!(more.len(), MAX_PEERS + 1);
    }
    let pinned = (0..MAX_PEERS).map(|index| {
        let mut record = peer(index, PeerSource::Hearsay);
        record.pinned = true;
        record.stats.consecutive_failures = 99;
        record.status = PeerStatus::Banned;
        record
    });
    let full = PeerSet::from_parts(pinned, [], []);
    assert!(create(&full, peer(MAX_PEERS, PeerSource::Signed)).is_err());
    let mut record = peer(MAX_PEERS, PeerSource::Hearsay);
    record.pinned = true;
    assert_eq!(create(&full, record).unwrap().0.len(), MAX_PEERS + 1);
}

#[test]
fn eviction_takes_the_banned_then_hearsay_then_the_worst_and_says_so() {
    let mut records: Vec<_> = (0..MAX_PEERS)
        .map(|i| peer(i, PeerSource::Signed))
        .collect();
    records[3].stats.consecutive_failures = 2;
    records[4].stats.consecutive_failures = 5;
    records[5] = peer(5, PeerSource::Hearsay);
    records[6].status = PeerStatus::Banned;
    records[7] = peer(7, PeerSource::Operator);
    records[7].stats.consecutive_failures = 1_000;
    let mut set = PeerSet::from_parts(records, [], []);
    for (newcomer, victim) in (MAX_PEERS..).zip([6, 5, 4, 3]) {
        let (next, changes) = create(&set, peer(newcomer, PeerSource::Signed)).unwrap();
        let told = vec![
            PeerChange::Removed(KEYS[victim]),
            PeerChange::Added(KEYS[newcomer]),
        ];
        assert_eq!(changes, told);
        assert_eq!(next.len(), MAX_PEERS);
        assert_eq!(next.forgotten().count(), 0, "an evicted peer may come back");
        set = next;
    }
    assert!(
        create(&set, peer(MAX_PEERS + 4, PeerSource::Signed)).is_err(),
        "the rest is good"
    );
}

#[test]
fn a_flood_of_banned_keys_does_not_fill_the_list() {
    let keys = (0..MAX_PEERS).map(|i| KEYS[i]);
    let bans = keys.map(|key| ban(BanTarget::Peer(key), Issuer::Node));
    let peers = (0..MAX_PEERS).map(|i| peer(i, PeerSource::Signed));
    let full = PeerSet::from_parts(peers, bans, []);
    let (set, _) = create(&full, peer(MAX_PEERS, PeerSource::Signed)).unwrap();
    assert_eq!((set.len(), set.bans().count()), (MAX_PEERS, MAX_PEERS));
    let evicted = KEYS[..MAX_PEERS]
        .iter()
        .find(|key| !set.contains(key))
        .unwrap();
    assert!(set.ban_of(evicted, NOW.wall).is_some(), "its ban stays");
}

/// Bans that an attacker causes: `BTCFED_TEST_ROUNDS=100000` for the long form, which takes half a minute with optimisation.
fn many_bans() -> usize {
    let rounds = std::env::var("BTCFED_TEST_ROUNDS").ok();
    let rounds = rounds.and_then(|text| text.parse().ok());
    rounds.unwrap_or(0).max(MAX_BANS + 500)
}

#[test]
fn any_number_of_bans_leaves_a_bounded_list_in_which_nobody_is_searched_for() {
    let keys: Vec<PeerKey> = (0..64).map(test_key).collect();
    // What a look-up takes at best, in nanoseconds: other programs may take their time in between.
    let look_up = |set: &PeerSet| {
        let one = |_| {
            let start = std::time::Instant::now();
            for key in keys.iter().cycle().take(6400) {
                std::hint::black_box(set.ban_of(key, Timestamp::UNIX_EPOCH));
            }
            start.elapsed().as_nanos()
        };
        (0..20).map(one).min().unwrap_or_default()
    };
    let mut set = PeerSet::default();
    let mut few = 0;
    for first in (0..many_bans()).step_by(500) {
        let patch: PeerPatch = (first..first + 500)
            .map(|number| PeerOp::Ban(ban(host(number), Issuer::Node)))
            .collect();
        set = set.apply(&patch, NOW).unwrap().0;
        assert!(set.bans().count() <= MAX_BANS);
        if first == 0 {
            few = look_up(&set);
        }
    }
    assert_eq!(set.bans().count(), MAX_BANS);
    let many = look_up(&set);
    // Forty times as many: a search would take forty times as long.
    assert!(many <= 8 * few.max(1), "{many} ns after {few} ns");
}

#[test]
fn the_last_ban_fits_and_one_past_it_drops_the_oldest_the_node_issued() {
    let bans = (1..MAX_BANS).map(|number| ban(host(number), Issuer::Operator));
    let mut oldest = ban(host(MAX_BANS), Issuer::Node);
    oldest.since = Timestamp::from_secs(10);
    let almost = PeerSet::from_parts([], bans, []);
    let (full, changes) = apply(&almost, PeerOp::Ban(oldest)).unwrap();
    assert_eq!((full.bans().count(), changes.len()), (MAX_BANS, 1));

    let newest = ban(host(MAX_BANS + 1), Issuer::Operator);
    let (full, changes) = apply(&full, PeerOp::Ban(newest.clone())).unwrap();
    let told = vec![
        PeerChange::Unbanned(host(MAX_BANS)),
        PeerChange::Banned(newest.target),
    ];
    assert_eq!((full.bans().count(), changes), (MAX_BANS, told));

    let refused = apply(
        &full,
        PeerOp::Ban(ban(host(MAX_BANS + 2), Issuer::Operator)),
    );
    assert_eq!(
        refused.unwrap_err(),
        PatchError::Full {
            what: "bans",
            limit: MAX_BANS
        }
    );
    let (full, _) = apply(&full, PeerOp::Ban(newest)).unwrap();
    assert_eq!(
        full.bans().count(),
        MAX_BANS,
        "a ban of the same target needs no room"
    );
}

#[test]
fn a_lapsed_ban_makes_room_before_one_in_force() {
    let mut bans: Vec<_> = (0..MAX_BANS)
        .map(|number| ban(host(number), Issuer::Node))
        .collect();
    bans[5].since = Timestamp::from_secs(1);
    bans[9].until = Some(Timestamp::from_secs(2_000));
    let full = PeerSet::from_parts([], bans, []);
    let (_, changes) = apply(&full, PeerOp::Ban(ban(host(MAX_BANS), Issuer::Node))).unwrap();
    assert_eq!(changes[0], PeerChange::Unbanned(host(9)));
}

#[test]
fn a_full_list_of_forgotten_keys_drops_the_nodes_marks_and_never_the_operators() {
    let forgotten = |by| {
        let marks = (0..u16::try_from(MAX_FORGOTTEN).unwrap()).map(test_key);
        marks.map(move |key| (key, Forgotten { seq: 1, by }))
    };
    let stranger = PeerRecord::new(test_secret(60_000).public(), PeerSource::Operator);
    let remove = PeerOp::Remove {
        key: stranger.key,
        by: Issuer::Operator,
    };

    let set = PeerSet::from_parts([stranger.clone()], [], forgotten(Issuer::Node));
    let (set, _) = apply(&set, remove.clone()).unwrap();
    assert_eq!(set.forgotten().count(), MAX_FORGOTTEN);
    assert!(set.forgotten().any(|(key, _)| *key == stranger.key));

    let set = PeerSet::from_parts([stranger], [], forgotten(Issuer::Operator));
    let refused = apply(&set, remove).unwrap_err();
    assert_eq!(
        refused,
        PatchError::Full {
            what: "forgotten peers",
            limit: MAX_FORGOTTEN
        }
    );
    assert_eq!(set.len(), 1);
}

#[test]
fn a_peer_known_by_hearsay_is_vouched_for_once_it_signs() {
    let set = PeerSet::from_parts([peer(1, PeerSource::Hearsay)], [], []);
    let (set, _) = apply(&set, learn(1, 1)).unwrap();
    assert_eq!(set.get(&KEYS[1]).unwrap().source, PeerSource::Signed);
}

#[test]
fn forgetting_twice_keeps_the_higher_mark_and_the_stronger_issuer() {
    let key = test_key(1);
    let mark = Forgotten {
        seq: 9,
        by: Issuer::Operator,
    };
    let set = PeerSet::from_parts([test_record(1)], [], [(key, mark)]);
    let (set, _) = apply(
        &set,
        PeerOp::Remove {
            key,
            by: Issuer::Node,
        },
    )
    .unwrap();
    assert_eq!(set.forgotten().collect::<Vec<_>>(), [(&key, &mark)]);
}

#[test]
fn reading_a_file_keeps_the_first_of_two_entries_and_marks_banned_peers() {
    let mut second = test_record(1);
    second.name = Some("second".into());
    let banned = ban(BanTarget::Peer(test_key(2)), Issuer::Operator);
    let set = PeerSet::from_parts(
        [test_record(1), second, test_record(2)],
        [banned.clone()],
        [],
    );
    assert_eq!(set.len(), 2);
    assert_eq!(set.get(&test_key(1)).unwrap().name, None);
    let marked = set.get(&test_key(2)).unwrap();
    assert_eq!(
        (marked.status, marked.status_since),
        (PeerStatus::Banned, Some(banned.since))
    );
    assert!(!PeerSet::default().contains(&test_key(1)) && PeerSet::default().is_empty());
}

#[test]
fn a_ban_that_is_over_when_it_arrives_marks_nobody() {
    let mut over = ban(BanTarget::Peer(test_key(1)), Issuer::Node);
    over.until = Some(NOW.wall);
    let set = PeerSet::from_parts([test_record(1)], [], []);
    let (set, _) = apply(&set, PeerOp::Ban(over)).unwrap();
    assert_eq!(set.get(&test_key(1)).unwrap().status, PeerStatus::Unknown);
}

#[test]
fn the_difference_of_two_sets_names_every_change_once() {
    let net = BanTarget::Cidr("10.0.0.0/8".parse().unwrap());
    let (gone, lifted) = (test_record(1), ban(host(1), Issuer::Operator));
    let old = PeerSet::from_parts([gone, test_record(2), test_record(3)], [lifted], []);
    let mut renamed = test_record(2);
    renamed.name = Some("bob".into());
    let issued = ban(net, Issuer::Operator);
    let peers = [renamed, test_record(3), test_record(4)];
    let new = PeerSet::from_parts(peers, [issued], []);
    let changes = new.changes_since(&old);
    for expected in [
        PeerChange::Removed(test_key(1)),
        PeerChange::Updated(test_key(2)),
        PeerChange::Added(test_key(4)),
        PeerChange::Unbanned(host(1)),
        PeerChange::Banned(net),
    ] {
        assert_eq!(
            changes.iter().filter(|change| **change == expected).count(),
            1,
            "{expected:?}"
        );
    }
    assert_eq!(changes.len(), 5);
    assert_eq!(new.changes_since(&new.clone()), []);
}

#[test]
fn contact_at_a_new_address_is_remembered_as_our_own_observation() {
    let set = PeerSet::from_parts([test_record(1)], [], []);
    let op = PeerOp::ContactSucceeded {
        key: test_key(1),
        addr: Some(test_addr(99)),
    };
    let (set, _) = apply(&set, op).unwrap();
    let record = set.get(&test_key(1)).unwrap();
    let seen = record
        .addresses
        .iter()
        .find(|known| known.addr == test_addr(99))
        .unwrap();
    assert_eq!(
        (seen.source, seen.last_success),
        (AddressSource::Observed, Some(NOW.wall))
    );
    assert_eq!(record.dial_order()[0], test_addr(99));
}

#[test]
fn an_address_that_failed_is_marked_and_dialled_last() {
    let mut record = test_record(1);
    record.add_address(test_addr(2), AddressSource::Operator);
    let set = PeerSet::from_parts([record], [], []);
    let op = PeerOp::ContactFailed {
        key: test_key(1),
        addrs: vec![test_addr(1), test_addr(50)],
    };
    let (set, _) = apply(&set, op).unwrap();
    let record = set.get(&test_key(1)).unwrap();
    assert_eq!(
        record.addresses.len(),
        2,
        "an address that only failed is not learned"
    );
    assert_eq!(record.addresses[0].last_failure, Some(NOW.wall));
    assert_eq!(record.dial_order(), [test_addr(2), test_addr(1)]);
}

#[test]
fn names_and_notes_are_one_line_of_text_and_a_name_is_not_empty() {
    let set = PeerSet::default();
    for (name, note) in [
        (Some("a\nb"), None),
        (Some("\u{1b}[31mred"), None),
        (Some(""), None),
        (None, Some("a\u{7}")),
    ] {
        let mut record = test_record(1);
        record.name = name.map(str::to_owned);
        record.note = note.map(str::to_owned);
        let refused = set.apply(&PeerPatch::create(record), NOW);
        assert!(
            matches!(refused, Err(PatchError::BadText { .. })),
            "{name:?} {note:?}"
        );
    }
}
