use btcfed_core::SecretKey;
use btcfed_core::ban::BanTarget;

use super::*;

const ANYWHERE: &str = "192.0.2.1";

fn key(seed: u8) -> PeerKey {
    SecretKey::from_seed([seed; 32]).public()
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

fn gate() -> Gate {
    let limits = ConnectionLimits {
        max_connections: 4,
        max_inbound: 3,
        max_per_ip: 2,
        max_pending: 2,
    };
    Gate::new(limits, Arc::default(), Arc::default())
}

/// Lets a connection in without asking.
fn admit(gate: &mut Gate, id: usize, seed: u8, direction: Direction, from: &str) {
    let id = ConnectionId::new_unchecked(id);
    gate.established.insert(
        id,
        Established {
            peer: key(seed),
            direction,
            ip: ip(from),
        },
    );
}

fn inbound(gate: &Gate, seed: u8, from: &str) -> Result<(), Refusal> {
    gate.check_established(&key(seed), Direction::Inbound, ip(from))
}

fn outbound(gate: &Gate, seed: u8) -> Result<(), Refusal> {
    gate.check_established(&key(seed), Direction::Outbound, ip(ANYWHERE))
}

#[test]
fn the_limit_per_address_counts_the_canonical_address_and_never_loopback() {
    let mut gate = gate();
    admit(&mut gate, 1, 1, Direction::Inbound, "192.0.2.1");
    assert_eq!(inbound(&gate, 9, "192.0.2.1"), Ok(()));
    admit(&mut gate, 2, 2, Direction::Inbound, "::ffff:192.0.2.1");
    for spelling in ["192.0.2.1", "::ffff:192.0.2.1"] {
        assert_eq!(inbound(&gate, 9, spelling), Err(Refusal::PerIp));
        assert_eq!(
            gate.check_pending_inbound(ip(spelling)),
            Err(Refusal::PerIp),
            "before any cryptography"
        );
    }
    assert_eq!(inbound(&gate, 9, "192.0.2.2"), Ok(()));
    let mut local = self::gate();
    for (id, seed) in [(1, 1), (2, 2)] {
        admit(&mut local, id, seed, Direction::Inbound, "127.0.0.1");
    }
    for loopback in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.9.9.9"] {
        assert_eq!(inbound(&local, 9, loopback), Ok(()), "{loopback}");
    }
}

#[test]
fn connections_we_opened_do_not_count_against_their_address() {
    let mut gate = gate();
    for id in [1, 2, 3] {
        admit(
            &mut gate,
            usize::from(id),
            id,
            Direction::Outbound,
            "192.0.2.1",
        );
    }
    assert_eq!(inbound(&gate, 9, "192.0.2.1"), Ok(()));
}

#[test]
fn inbound_and_total_limits_hold_at_the_limit_and_one_past_it() {
    let mut gate = gate();
    for id in [1, 2] {
        admit(
            &mut gate,
            usize::from(id),
            id,
            Direction::Inbound,
            "127.0.0.1",
        );
    }
    assert_eq!(inbound(&gate, 9, "127.0.0.1"), Ok(()));
    admit(&mut gate, 3, 3, Direction::Inbound, "127.0.0.1");
    assert_eq!(inbound(&gate, 9, "127.0.0.1"), Err(Refusal::Inbound));
    assert_eq!(
        outbound(&gate, 9),
        Ok(()),
        "others cannot take the place of our own dials"
    );
    admit(&mut gate, 4, 4, Direction::Outbound, ANYWHERE);
    assert_eq!(outbound(&gate, 9), Err(Refusal::Total));
    assert_eq!(
        gate.check_pending_outbound(Some(&key(9))),
        Err(Refusal::Total)
    );
    assert_eq!(gate.check_pending_outbound(None), Err(Refusal::Total));
}

#[test]
fn a_second_connection_of_a_connected_peer_is_let_in_whatever_the_limits_and_a_fourth_is_not() {
    let mut gate = gate();
    for id in [1, 2, 3] {
        admit(
            &mut gate,
            usize::from(id),
            id,
            Direction::Inbound,
            "127.0.0.1",
        );
    }
    admit(&mut gate, 4, 4, Direction::Outbound, ANYWHERE);
    assert_eq!(inbound(&gate, 4, "192.0.2.1"), Ok(()));
    admit(&mut gate, 5, 4, Direction::Inbound, "192.0.2.1");
    assert_eq!(outbound(&gate, 4), Ok(()));
    admit(&mut gate, 6, 4, Direction::Outbound, ANYWHERE);
    assert_eq!(inbound(&gate, 4, "192.0.2.1"), Err(Refusal::PerPeer));
    assert_eq!(outbound(&gate, 4), Err(Refusal::PerPeer));
}

#[test]
fn reserved_peers_are_exempt_and_take_nobodys_place() {
    let mut gate = gate();
    for id in [1, 2, 3] {
        admit(
            &mut gate,
            usize::from(id),
            id,
            Direction::Inbound,
            "192.0.2.1",
        );
    }
    admit(&mut gate, 4, 4, Direction::Outbound, ANYWHERE);
    assert_eq!(inbound(&gate, 9, "192.0.2.1"), Err(Refusal::Inbound));
    gate.reserve(vec![key(9), key(4)]);
    assert_eq!(inbound(&gate, 9, "192.0.2.1"), Ok(()));
    assert_eq!(gate.check_pending_outbound(Some(&key(9))), Ok(()));
    assert_eq!(
        outbound(&gate, 8),
        Ok(()),
        "the connected reserved peer does not count any more"
    );
    // Who is behind a new connection is not known before the handshake: it must be tried.
    assert_eq!(gate.check_pending_inbound(ip("192.0.2.1")), Ok(()));
}

#[test]
fn handshakes_are_bounded_in_total_and_per_address() {
    let mut gate = gate();
    gate.limits.max_pending = 3;
    for id in [1, 2] {
        assert_eq!(gate.check_pending_inbound(ip("192.0.2.1")), Ok(()));
        gate.pending_inbound
            .insert(ConnectionId::new_unchecked(id), ip("192.0.2.1"));
    }
    assert_eq!(
        gate.check_pending_inbound(ip("::ffff:192.0.2.1")),
        Err(Refusal::PerIp)
    );
    assert_eq!(gate.check_pending_inbound(ip("192.0.2.2")), Ok(()));
    gate.pending_inbound
        .insert(ConnectionId::new_unchecked(3), ip("127.0.0.1"));
    assert_eq!(
        gate.check_pending_inbound(ip("192.0.2.2")),
        Err(Refusal::Pending)
    );
    assert_eq!(
        gate.check_pending_inbound(ip("127.0.0.1")),
        Err(Refusal::Pending),
        "loopback is not exempt from this"
    );
    for id in [4, 5, 6] {
        assert_eq!(gate.check_pending_outbound(None), Ok(()));
        gate.pending_outbound
            .insert(ConnectionId::new_unchecked(id));
    }
    assert_eq!(gate.check_pending_outbound(None), Err(Refusal::Pending));
}

#[test]
fn bans_come_before_every_exemption() {
    let mut gate = gate();
    admit(&mut gate, 1, 1, Direction::Inbound, "192.0.2.1");
    admit(&mut gate, 2, 2, Direction::Outbound, "198.51.100.1");
    gate.reserve(vec![key(1), key(2)]);
    gate.refused.replace(&[
        BanTarget::Peer(key(2)),
        BanTarget::Cidr("192.0.2.0/24".parse().unwrap()),
    ]);
    assert_eq!(
        gate.check_pending_inbound(ip("192.0.2.9")),
        Err(Refusal::BannedIp)
    );
    assert_eq!(inbound(&gate, 1, "192.0.2.1"), Err(Refusal::BannedIp));
    assert_eq!(outbound(&gate, 2), Err(Refusal::BannedPeer));
    assert_eq!(
        gate.check_pending_outbound(Some(&key(2))),
        Err(Refusal::BannedPeer)
    );
    let mut falling = gate.refused_connections();
    falling.sort_unstable();
    assert_eq!(falling, [1, 2].map(ConnectionId::new_unchecked));
}

#[test]
fn the_reasons_are_words_for_people() {
    assert_eq!(
        Refusal::PerIp.to_string(),
        "too many connections from this address"
    );
    assert_eq!(
        Refusal::Identity("Qm...".to_owned()).to_string(),
        "the peer's key is of a kind that is not supported: Qm..."
    );
}

#[test]
fn the_limits_fit_into_the_descriptors_of_the_process_and_leave_room_to_dial() {
    let wanted = ConnectionLimits {
        max_connections: 128,
        max_inbound: 96,
        max_per_ip: 8,
        max_pending: 32,
    };
    assert_eq!(wanted.within(None), wanted);
    assert_eq!(wanted.within(Some(192)), wanted, "exactly enough");
    for budget in 8..192 {
        let limits = wanted.within(Some(budget));
        assert!(limits.max_connections + 2 * limits.max_pending <= budget);
        assert!(limits.max_connections >= 1 && limits.max_pending >= 1);
        assert!(limits.max_inbound < limits.max_connections, "{limits:?}");
    }
    let small = ConnectionLimits {
        max_connections: 2,
        max_inbound: 1,
        ..wanted
    };
    assert_eq!(
        small.within(Some(32)).max_connections,
        2,
        "never raised, only the pending ones lowered"
    );
}
