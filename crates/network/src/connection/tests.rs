use std::collections::BTreeSet;

use btcfed_core::SecretKey;
use btcfed_core::rng::SeededRng;

use super::*;

/// Gone after 60 seconds.
const LIVENESS: Liveness = Liveness {
    interval: Duration::from_secs(15),
    timeout: Duration::from_secs(15),
    failures: 3,
};

fn at(seconds: u64) -> MonotonicTime {
    MonotonicTime::from_origin(Duration::from_secs(seconds))
}

/// Two keys, the one with the smaller peer id first.
fn pair() -> (PeerKey, PeerKey) {
    let (one, other) = (
        SecretKey::from_seed([1; 32]).public(),
        SecretKey::from_seed([2; 32]).public(),
    );
    if one.peer_id() < other.peer_id() {
        (one, other)
    } else {
        (other, one)
    }
}

fn table(local: PeerKey) -> ConnectionTable<u32> {
    ConnectionTable::new(local.peer_id(), LIVENESS)
}

/// The connections the table wants closed at `now`.
fn due(table: &mut ConnectionTable<u32>, now: MonotonicTime) -> Vec<(u32, Closing)> {
    table.expire(now)
}

/// The time at which a connection that lost at `since` is closed.
fn after_linger(since: MonotonicTime) -> MonotonicTime {
    since.saturating_add(DUPLICATE_LINGER)
}

#[test]
fn a_peer_is_up_from_its_first_connection_to_its_last() {
    let (local, peer) = pair();
    let mut table = table(local);
    table.connecting(1, Some(peer), Direction::Outbound, at(0));
    assert!(!table.is_up(&peer));
    assert_eq!(
        table.established(1, peer, Direction::Outbound, at(1)),
        Some(Change::Up(peer))
    );
    assert_eq!(table.established(2, peer, Direction::Inbound, at(1)), None);
    assert_eq!(table.established_count(), 2);
    assert_eq!(table.closed(2), None);
    assert!(table.is_up(&peer));
    assert_eq!(
        table.closed(1),
        Some(Change::Down(peer, DisconnectReason::Remote))
    );
    assert!(!table.is_up(&peer));
    assert_eq!((table.closed(1), table.established_count()), (None, 0));
    assert!(table.connections.is_empty() && table.peers.is_empty());
}

#[test]
fn a_handshake_that_fails_leaves_nothing_behind_and_cannot_undo_an_established_connection() {
    let (local, peer) = pair();
    let mut table = table(local);
    table.connecting(1, None, Direction::Inbound, at(0));
    assert_eq!(table.failed(1), Some(State::Failed));
    assert_eq!(table.failed(1), None);
    table.connecting(2, Some(peer), Direction::Outbound, at(0));
    table.established(2, peer, Direction::Outbound, at(0));
    assert_eq!(table.failed(2), None);
    assert!(table.is_up(&peer));
}

#[test]
fn of_two_directions_both_sides_keep_the_one_dialled_by_the_smaller_id_in_whatever_order_they_came()
{
    let (small, large) = pair();
    // Connection 1 was dialled by the smaller id, connection 2 by the larger one.
    for order in [[1, 2], [2, 1]] {
        for (local, remote) in [(small, large), (large, small)] {
            let mut table = table(local);
            for id in order {
                let is_ours = (id == 1) == (local == small);
                let direction = if is_ours {
                    Direction::Outbound
                } else {
                    Direction::Inbound
                };
                table.established(id, remote, direction, at(0));
            }
            assert!(table.is_surplus(2) && !table.is_surplus(1));
            assert_eq!(
                due(&mut table, at(0)),
                [],
                "the other side may not have both yet"
            );
            assert_eq!(
                due(&mut table, after_linger(at(0))),
                [(2, Closing::Duplicate)]
            );
            assert_eq!(due(&mut table, after_linger(at(1))), [], "told once");
            assert_eq!(table.closed(2), None);
        }
    }
}

#[test]
fn of_two_connections_dialled_by_the_same_side_the_other_side_keeps_the_newer() {
    let (local, peer) = pair();
    let mut accepting = table(local);
    let mut dialling = table(peer);
    for id in [1, 2] {
        accepting.established(id, peer, Direction::Inbound, at(0));
        dialling.established(id, local, Direction::Outbound, at(0));
    }
    assert_eq!(due(&mut accepting, at(5)), [(1, Closing::Duplicate)]);
    assert_eq!(due(&mut dialling, at(5)), []);
}

#[test]
fn a_late_second_connection_replaces_the_first_whoever_dialled() {
    let (small, large) = pair();
    for (local, remote) in [(small, large), (large, small)] {
        for (old, new) in [
            (Direction::Inbound, Direction::Outbound),
            (Direction::Outbound, Direction::Inbound),
            (Direction::Inbound, Direction::Inbound),
            (Direction::Outbound, Direction::Outbound),
        ] {
            let mut table = table(local);
            let late = at(1).saturating_add(RACE_WINDOW);
            table.established(1, remote, old, at(0));
            table.established(2, remote, new, late);
            assert_eq!(
                due(&mut table, after_linger(late)),
                [(1, Closing::Duplicate)],
                "{old:?} then {new:?}"
            );
        }
    }
}

#[test]
fn a_loser_that_goes_by_itself_is_not_closed_again() {
    let (local, peer) = pair();
    let mut table = table(local);
    table.established(1, peer, Direction::Outbound, at(0));
    table.established(2, peer, Direction::Inbound, at(0));
    table.closed(2);
    assert_eq!(due(&mut table, at(5)), []);
    assert_eq!(
        table.closed(1),
        Some(Change::Down(peer, DisconnectReason::Remote))
    );
}

#[test]
fn silence_ends_a_connection_at_the_deadline_and_not_before() {
    let (local, peer) = pair();
    let mut table = table(local);
    table.established(1, peer, Direction::Outbound, at(0));
    assert_eq!(table.next_check(), Some(at(60)));
    table.alive(1, at(10));
    assert_eq!(due(&mut table, at(60)), []);
    assert_eq!(table.next_check(), Some(at(70)));
    assert_eq!(due(&mut table, at(69)), []);
    assert_eq!(due(&mut table, at(70)), [(1, Closing::Silent)]);
    assert_eq!(
        (table.next_check(), due(&mut table, at(99))),
        (None, Vec::new())
    );
    assert_eq!(
        table.closed(1),
        Some(Change::Down(peer, DisconnectReason::NotResponding))
    );
}

#[test]
fn each_connection_of_a_peer_has_its_own_deadline() {
    let (local, peer) = pair();
    let mut table = table(local);
    table.established(1, peer, Direction::Inbound, at(0));
    let other = SecretKey::from_seed([3; 32]).public();
    table.established(2, other, Direction::Inbound, at(30));
    assert_eq!(due(&mut table, at(60)), [(1, Closing::Silent)]);
    assert_eq!(table.next_check(), Some(at(90)));
}

#[test]
fn a_pause_of_our_own_is_forgiven_but_nothing_lives_in_the_future() {
    let (local, peer) = pair();
    let mut table = table(local);
    table.established(1, peer, Direction::Outbound, at(0));
    table.forgive(Duration::from_secs(100), at(101));
    assert_eq!(due(&mut table, at(159)), []);
    assert_eq!(due(&mut table, at(160)), [(1, Closing::Silent)]);
    table.established(2, peer, Direction::Outbound, at(200));
    table.forgive(Duration::MAX, at(201));
    assert_eq!(table.next_check(), Some(at(261)));
}

#[test]
fn new_rules_hold_for_new_connections_and_only_the_missed_pings_for_old_ones() {
    let (local, peer) = pair();
    let mut table = table(local);
    table.established(1, peer, Direction::Outbound, at(0));
    // Connection 1 is still pinged every 15 seconds: a deadline of 4 would kill it.
    let second = Duration::from_secs(1);
    table.set_liveness(Liveness {
        interval: second,
        timeout: second,
        failures: 3,
    });
    assert_eq!(table.next_check(), Some(at(60)));
    let other = SecretKey::from_seed([3; 32]).public();
    table.established(2, other, Direction::Inbound, at(10));
    assert_eq!(due(&mut table, at(14)), [(2, Closing::Silent)]);
    table.set_liveness(Liveness {
        interval: second,
        timeout: second,
        failures: 1,
    });
    assert_eq!(due(&mut table, at(30)), [(1, Closing::Silent)]);
}

#[test]
fn closing_a_peer_names_each_live_connection_once_and_tells_why() {
    let (local, peer) = pair();
    let mut table = table(local);
    table.established(1, peer, Direction::Inbound, at(0));
    table.established(2, peer, Direction::Inbound, at(0));
    assert_eq!(
        table.close_peer(&peer),
        [2],
        "the other one is closing already"
    );
    assert_eq!(table.close_peer(&peer), Vec::<u32>::new());
    table.closed(1);
    assert_eq!(
        table.closed(2),
        Some(Change::Down(peer, DisconnectReason::Local))
    );
    assert_eq!(table.close_peer(&peer), Vec::<u32>::new());
}

/// Random histories of two tables over the same connections: whatever the order in which the sides see them come up,
/// one connection survives, and it is the same one on both sides.
#[test]
fn both_sides_agree_on_the_survivor_of_every_simultaneous_dial() {
    let (small, large) = pair();
    for seed in 0..1000 {
        let mut rng = SeededRng::from_seed(seed);
        let (mut one, mut other) = (table(small), table(large));
        // One or two dials by each side; each side sees them in an order of its own.
        let mut dials: Vec<(u32, bool)> = vec![(1, true), (2, false)];
        if rng.chance(0.5) {
            dials.push((3, rng.chance(0.5)));
        }
        for (table, remote, is_small) in [(&mut one, large, true), (&mut other, small, false)] {
            let mut seen = dials.clone();
            rng.shuffle(&mut seen);
            for (id, by_small) in seen {
                let direction = if by_small == is_small {
                    Direction::Outbound
                } else {
                    Direction::Inbound
                };
                table.established(id, remote, direction, at(0));
            }
        }
        let mut left: BTreeSet<u32> = dials.iter().map(|(id, _)| *id).collect();
        for table in [&mut one, &mut other] {
            for (id, _) in table.expire(at(5)) {
                left.remove(&id);
            }
        }
        assert_eq!(left.len(), 1, "seed {seed}: {dials:?} left {left:?}");
        assert!(one.is_up(&large) && other.is_up(&small));
    }
}
