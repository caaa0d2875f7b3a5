use btcfed_core::network::NetworkEvent;
use btcfed_core::{Network as _, NodeConfig, SecretKey};
use libp2p::swarm::SwarmEvent;

use super::*;
use crate::SpawnOptions;
use crate::host::Host;

fn addrs(texts: &[&str]) -> Vec<PeerAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn refusal_of(texts: &[&str]) -> String {
    check(&addrs(texts)).unwrap_err().to_string()
}

#[test]
fn lists_that_can_work_pass() {
    for texts in [
        &[][..],
        &["/ip4/0.0.0.0/tcp/9000", "/ip6/::/tcp/9000"],
        &["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/0"],
        &["/ip4/127.0.0.1/tcp/9000", "/ip4/127.0.0.2/tcp/9000"],
        &["/ip4/0.0.0.0/tcp/9000", "/ip4/127.0.0.1/tcp/9001"],
    ] {
        assert_eq!(check(&addrs(texts)), Ok(()), "{texts:?}");
    }
}

#[test]
fn lists_that_cannot_work_are_refused_with_the_address_and_the_reason() {
    for (texts, reason) in [
        (
            &["/ip4/127.0.0.1/tcp/9", "/ip4/127.0.0.1/tcp/9"][..],
            "/ip4/127.0.0.1/tcp/9: listed twice",
        ),
        (
            &["/ip4/0.0.0.0/tcp/9", "/ip4/127.0.0.1/tcp/9"],
            "already covered by /ip4/0.0.0.0/tcp/9",
        ),
        (
            &["/ip6/::1/tcp/9", "/ip6/::/tcp/9"],
            "already covered by /ip6/::1/tcp/9",
        ),
        (
            &["/dns4/localhost/tcp/9"],
            "not an IP address of this machine",
        ),
        (
            &["/ip4/224.0.0.1/tcp/9"],
            "not an IP address of this machine",
        ),
    ] {
        let refusal = refusal_of(texts);
        assert!(refusal.contains(reason), "{refusal}");
    }
}

#[test]
fn a_probe_sees_a_listener_and_leaves_no_trace() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = PeerAddr::from(holder.local_addr().unwrap());
    let wildcard = PeerAddr::from(SocketAddr::from(([0, 0, 0, 0], addr.port().unwrap())));
    for addr in [&addr, &wildcard] {
        assert_eq!(
            probe(addr),
            Err(NetworkError::AddressInUse { addr: addr.clone() })
        );
    }
    drop(holder);
    for _ in 0..3 {
        assert_eq!(probe(&addr), Ok(()));
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that cannot run says so")]
fn an_ipv6_probe_leaves_the_ipv4_port_alone() {
    if !ipv6_is_available() {
        eprintln!("no IPv6 here: nothing was tried");
        return;
    }
    let holder = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    assert_eq!(
        probe(&format!("/ip6/::/tcp/{port}").parse().unwrap()),
        Ok(())
    );
}

#[test]
fn without_ipv6_only_the_twin_of_an_ipv4_wildcard_is_left_out() {
    let pair = addrs(&["/ip4/0.0.0.0/tcp/9000", "/ip6/::/tcp/9000"]);
    assert_eq!(supported(pair.clone(), true), pair);
    assert_eq!(supported(pair, false), addrs(&["/ip4/0.0.0.0/tcp/9000"]));
    for alone in [
        &["/ip6/::/tcp/9000"][..],
        &["/ip4/0.0.0.0/tcp/9001", "/ip6/::/tcp/9000"],
        &["/ip6/::1/tcp/9000"],
    ] {
        assert_eq!(
            supported(addrs(alone), false),
            addrs(alone),
            "kept, so that binding refuses it clearly"
        );
    }
}

#[test]
fn refusals_of_the_operating_system_are_told_in_words() {
    let addr: PeerAddr = "/ip6/::/tcp/9".parse().unwrap();
    let told = |kind: io::ErrorKind| refusal(&addr, &kind.into()).to_string();
    assert!(told(io::ErrorKind::AddrInUse).contains("address in use"));
    assert!(told(io::ErrorKind::AddrNotAvailable).contains("this machine has no IPv6"));
    assert!(told(io::ErrorKind::PermissionDenied).contains("permission denied"));
}

#[test]
fn the_errors_of_a_listener_are_logged_once_in_a_while() {
    let (mut listeners, id, now) = (Listeners::default(), ListenerId::next(), Instant::now());
    listeners.insert(id, "/ip4/127.0.0.1/tcp/0".parse().unwrap());
    assert!(listeners.may_log_error(id, now));
    assert!(!listeners.may_log_error(id, now + LISTENER_ERROR_LOG_INTERVAL / 2));
    assert!(listeners.may_log_error(id, now + LISTENER_ERROR_LOG_INTERVAL));
    assert!(
        !listeners.may_log_error(ListenerId::next(), now),
        "not one of ours"
    );
}

#[test]
fn concrete_addresses_follow_their_listener() {
    let (mut listeners, id) = (Listeners::default(), ListenerId::next());
    let (one, other): (PeerAddr, PeerAddr) = (
        "/ip4/127.0.0.1/tcp/9".parse().unwrap(),
        "/ip4/192.0.2.1/tcp/9".parse().unwrap(),
    );
    listeners.insert(id, "/ip4/0.0.0.0/tcp/9".parse().unwrap());
    assert!(!listeners.are_ready());
    assert!(listeners.opened(id, other.clone()) && listeners.opened(id, one.clone()));
    assert!(!listeners.opened(id, one.clone()), "known");
    assert!(listeners.are_ready());
    assert_eq!(listeners.addrs(), [one.clone(), other.clone()]);
    assert!(listeners.expired(id, &other) && !listeners.expired(id, &other));
    assert_eq!(listeners.closed(id), [one]);
    assert_eq!(listeners.addrs(), []);
    assert_eq!(listeners.closed(id), []);
}

#[test]
fn an_address_of_two_listeners_is_told_once_and_gone_with_the_last() {
    let (mut listeners, old, new) = (Listeners::default(), ListenerId::next(), ListenerId::next());
    let addr: PeerAddr = "/ip4/127.0.0.1/tcp/9".parse().unwrap();
    listeners.insert(old, addr.clone());
    listeners.insert(new, "/ip4/0.0.0.0/tcp/9".parse().unwrap());
    assert!(listeners.opened(old, addr.clone()));
    assert!(!listeners.opened(new, addr.clone()));
    assert_eq!(listeners.closed(old), []);
    assert_eq!(listeners.addrs(), std::slice::from_ref(&addr));
    assert!(listeners.expired(new, &addr));
    assert_eq!(listeners.addrs(), []);
}

#[test]
fn the_following_ports_end_at_the_last_one_and_port_zero_has_none() {
    let ports = |text: &str, count| -> Vec<_> {
        following_ports(&text.parse().unwrap(), count)
            .filter_map(|addr| addr.port())
            .collect()
    };
    assert_eq!(ports("/ip4/127.0.0.1/tcp/9000", 2), [9001, 9002]);
    assert_eq!(ports("/ip6/::1/tcp/65534", 100), [65535]);
    assert_eq!(ports("/ip4/127.0.0.1/tcp/0", 5), [0_u16; 0]);
    assert_eq!(ports("/ip4/127.0.0.1/tcp/9000", 0), [0_u16; 0]);
}

#[tokio::test]
async fn a_listener_that_fails_is_told_of_bound_again_and_found_at_the_same_port() {
    let mut config = NodeConfig::default();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let wanted: PeerAddr = format!("/ip4/127.0.0.1/tcp/{}", port.local_addr().unwrap().port())
        .parse()
        .unwrap();
    drop(port);
    config.network.addresses = vec![wanted.clone()];
    let options = SpawnOptions::new(SecretKey::from_seed([1; 32]), &config);
    let (mut host, handle, mut events) = Host::start(options).await.unwrap();
    let id = host.listeners.configured().next().unwrap().0;
    // As libp2p tells it when the socket fails; the socket itself goes first.
    host.swarm.remove_listener(id);
    host.on_swarm_event(SwarmEvent::ListenerClosed {
        listener_id: id,
        addresses: Vec::new(),
        reason: Err(io::Error::other("the interface is gone")),
    });
    assert_eq!(handle.listen_addrs(), []);
    tokio::spawn(host.run());
    let (mut closed, mut opened) = (0, 0);
    let told = async {
        while opened < 2 {
            match events.next().await.unwrap() {
                NetworkEvent::ListenClosed { addr, error } => {
                    assert_eq!((addr, error.is_some()), (wanted.clone(), true));
                    closed += 1;
                }
                NetworkEvent::Listening { addr } => {
                    assert_eq!(addr, wanted);
                    opened += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), told)
        .await
        .unwrap();
    assert_eq!((closed, handle.listen_addrs()), (1, vec![wanted]));
}
