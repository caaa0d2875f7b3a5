use btcfed_core::network::{CommandId, NetworkCommand, NetworkEvent};
use btcfed_core::{Network as _, NodeConfig, SecretKey};
use libp2p::swarm::ConnectionId;

use super::*;
use crate::SpawnOptions;
use crate::host::Host;

const HOUR: Duration = Duration::from_secs(3600);
const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn at(secs: u64) -> MonotonicTime {
    MonotonicTime::from_origin(Duration::from_secs(secs))
}

fn addr(text: &str) -> PeerAddr {
    text.parse().unwrap()
}

fn dns() -> DialError {
    DialError::Dns {
        reason: "no answer".to_owned(),
    }
}

#[test]
fn the_last_answer_is_good_while_the_connection_is_up_and_for_a_while_after() {
    let mut names = KnownNames::new(HOUR);
    let name = addr("/dns4/a.example.com/tcp/9000");
    assert_eq!(names.instead_of(at(0), &name, &dns()), None);
    names.connected(at(0), 1, &name, IP);
    let last = Some(addr("/ip4/127.0.0.1/tcp/9000"));
    assert_eq!(names.instead_of(at(90_000), &name, &dns()), last);
    names.closed(at(90_000), 1);
    assert_eq!(names.instead_of(at(93_599), &name, &dns()), last);
    assert_eq!(names.instead_of(at(93_600), &name, &dns()), None);
    names.set_max_age(2 * HOUR);
    assert_eq!(names.instead_of(at(93_600), &name, &dns()), last);
    assert_eq!(
        names.instead_of(at(93_600), &name, &DialError::Timeout),
        last
    );
    assert_eq!(
        names.instead_of(at(93_600), &name, &DialError::Refused),
        None,
        "the name is not to blame"
    );
}

#[test]
fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
    let mut names = KnownNames::new(HOUR);
    let name = |n: usize| addr(&format!("/dns4/n{n}.example.com/tcp/1"));
    for n in 0..=MAX_KNOWN_NAMES {
        names.connected(at(n as u64), n, &name(n), IP);
    }
    names.connected(at(0), 0, &addr("/ip4/10.0.0.1/tcp/1"), IP);
    names.connected(at(0), 0, &addr("/dnsaddr/a.example.com"), IP);
    assert_eq!(names.by_name.len(), MAX_KNOWN_NAMES);
    assert_eq!(names.instead_of(at(300), &name(0), &dns()), None);
    assert!(names.instead_of(at(300), &name(1), &dns()).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_reached_at_its_last_address_when_its_name_does_not_resolve() {
    let mut config = NodeConfig::default();
    config.network.addresses = vec![addr("/ip4/127.0.0.1/tcp/0")];
    config.peers.connection_timeout = Duration::from_secs(2);
    let bob = SecretKey::from_seed([2; 32]);
    let bob_key = bob.public();
    let (bob, _bob_events, _task) = crate::spawn(SpawnOptions::new(bob, &config)).await.unwrap();
    let port = bob.listen_addrs()[0].port().unwrap();

    let alice = SecretKey::from_seed([1; 32]);
    let options = SpawnOptions::new(alice, &config);
    let (mut host, alice, mut events) = Host::start(options).await.unwrap();
    // No resolver may answer for this domain (RFC 6761).
    let name = addr(&format!("/dns4/bob.invalid/tcp/{port}"));
    let now = host.now();
    host.names
        .connected(now, ConnectionId::new_unchecked(99), &name, IP);
    tokio::spawn(host.run());

    let dial = NetworkCommand::Dial {
        id: CommandId(1),
        peer: Some(bob_key),
        addrs: vec![name],
    };
    alice.submit(dial).unwrap();
    let answer = async {
        loop {
            match events.next().await.unwrap() {
                NetworkEvent::Connected { peer, command, .. } => break (peer, command),
                NetworkEvent::DialFailed { attempts, .. } => panic!("{attempts:?}"),
                _ => {}
            }
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), answer).await;
    assert_eq!(answer.unwrap(), (bob_key, Some(CommandId(1))));
}
