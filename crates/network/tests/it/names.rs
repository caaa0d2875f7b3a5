//! Names, against a name server that does what it likes.

mod stub;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use btcfed_core::network::{DialError, NetworkEvent};
use btcfed_core::{Network as _, NodeConfig, PeerKey, Reconfigure as _};
use btcfed_network::SpawnOptions;
use tokio::time::Instant;

use self::stub::{Answer, NameServer};
use crate::support::{Node, addr, config, eventually, free_port, key, secret};

const NAME: &str = "peer.example.net";

async fn asking(seed: u8, server: &NameServer, change: impl FnOnce(&mut NodeConfig)) -> Node {
    let mut config = config();
    change(&mut config);
    let options = SpawnOptions::new(secret(seed), &config).name_servers(vec![server.addr]);
    Node::start(options).await.unwrap()
}

/// What a dial of a name comes to that leads nowhere.
async fn failure(node: &mut Node, addr_text: &str) -> DialError {
    let id = node.dial(Some(key(99)), &[addr(addr_text)]);
    let mut attempts = node.dial_failed(id).await;
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    attempts.remove(0).1
}

/// Dials whoever is at an address until somebody new answers.
async fn whoever(node: &mut Node, addr_text: &str) -> PeerKey {
    node.dial(None, &[addr(addr_text)]);
    node.until("somebody", |event| match event {
        NetworkEvent::Connected { peer, .. } => Some(peer),
        NetworkEvent::DialFailed { attempts, .. } => panic!("{attempts:?}"),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_name_that_does_not_exist_or_has_no_address_says_so() {
    let server = NameServer::start().await;
    let mut node = asking(61, &server, |_| {}).await;
    server.says("empty.example.net", Answer::Nothing);
    for name in ["nobody.example.net", "empty.example.net"] {
        let error = failure(&mut node, &format!("/dns/{name}/tcp/1")).await;
        assert!(matches!(error, DialError::Dns { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_silent_name_server_is_given_up_long_before_the_dial_is() {
    let server = NameServer::start().await;
    server.says(NAME, Answer::Silence);
    let quick = |config: &mut NodeConfig| config.network.dns_timeout = Duration::from_millis(200);
    let mut node = asking(62, &server, quick).await;
    let begun = Instant::now();
    let error = failure(&mut node, "/dns4/peer.example.net/tcp/1").await;
    assert!(matches!(error, DialError::Dns { .. }), "{error:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_reload_changes_how_names_are_looked_up_and_connections_go_on() {
    let server = NameServer::start().await;
    server.says(NAME, Answer::Silence);
    let mut target = Node::spawn(75).await;
    let slow = |config: &mut NodeConfig| config.network.dns_timeout = Duration::from_secs(30);
    let mut node = asking(76, &server, slow).await;
    node.connect(&mut target).await;
    let mut other = config();
    // The decision is taken in the background: the change of the listener tells when.
    let moved = addr(&format!("/ip4/127.0.0.1/tcp/{}", free_port()));
    other.network.addresses = vec![moved.clone()];
    other.network.dns_timeout = Duration::from_millis(100);
    node.handle.prepare(&other).await.unwrap().commit();
    eventually(vec![moved], || node.handle.listen_addrs()).await;
    let begun = Instant::now();
    let error = failure(&mut node, "/dns4/peer.example.net/tcp/1").await;
    assert!(matches!(error, DialError::Dns { .. }), "{error:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    node.converse(&mut target).await;
    let mut newcomer = Node::spawn(77).await;
    newcomer.connect(&mut node).await;
}

#[tokio::test]
async fn names_that_lead_in_circles_end() {
    let server = NameServer::start().await;
    server.says("a.example.net", Answer::Alias("b.example.net"));
    server.says("b.example.net", Answer::Alias("a.example.net"));
    let circle = "dnsaddr=/dnsaddr/circle.example.net".to_owned();
    server.says("_dnsaddr.circle.example.net", Answer::Text(circle));
    let mut node = asking(63, &server, |_| {}).await;
    for text in ["/dns4/a.example.net/tcp/1", "/dnsaddr/circle.example.net"] {
        let error = failure(&mut node, text).await;
        assert!(matches!(error, DialError::Dns { .. }), "{text}: {error:?}");
    }
}

#[tokio::test]
async fn a_name_with_many_addresses_costs_a_bounded_number_of_attempts() {
    let server = NameServer::start().await;
    let target = Node::spawn(64).await;
    let nobody = |n: u8| Ipv4Addr::new(127, 0, 2, n);
    // Too many for UDP: the answer is cut off there and asked for again over TCP.
    let mut ips: Vec<_> = (1..=100).map(nobody).collect();
    server.says(NAME, Answer::Ip4(ips.clone()));
    let mut node = asking(65, &server, |_| {}).await;
    let port = target.port();
    let text = format!("/dns4/peer.example.net/tcp/{port}");
    let begun = Instant::now();
    assert_eq!(failure(&mut node, &text).await, DialError::Refused);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert!(server.asked().1 > 0, "asked over TCP");
    // One that answers, behind a few that do not: found.
    ips.truncate(8);
    ips[7] = Ipv4Addr::LOCALHOST;
    server.says("other.example.net", Answer::Ip4(ips));
    let text = format!("/dns4/other.example.net/tcp/{port}");
    assert_eq!(whoever(&mut node, &text).await, target.key);
}

#[tokio::test]
async fn a_changed_record_is_followed_once_the_old_answer_is_too_old() {
    let server = NameServer::start().await;
    let old = Node::spawn(66).await;
    let port = old.port();
    let beside = addr(&format!("/ip4/127.0.0.2/tcp/{port}"));
    let new = Node::with(67, |config| config.network.addresses = vec![beside]).await;
    server.says(NAME, Answer::Ip4(vec![Ipv4Addr::LOCALHOST]));
    let mut node = asking(68, &server, |_| {}).await;
    let text = format!("/dns4/peer.example.net/tcp/{port}");
    assert_eq!(whoever(&mut node, &text).await, old.key);
    server.says(NAME, Answer::Ip4(vec![Ipv4Addr::new(127, 0, 0, 2)]));
    let begun = Instant::now();
    loop {
        node.disconnect(old.key);
        node.disconnected(old.key).await;
        if whoever(&mut node, &text).await == new.key {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "still the old one"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_name_with_nothing_but_ipv6_is_dialled_by_ipv6() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        // Nothing to test on a machine without it.
        return;
    }
    let server = NameServer::start().await;
    let listen = |config: &mut NodeConfig| config.network.addresses = vec![addr("/ip6/::1/tcp/0")];
    let target = Node::with(69, listen).await;
    server.says(NAME, Answer::Ip6(vec![Ipv6Addr::LOCALHOST]));
    let mut node = asking(70, &server, |_| {}).await;
    let port = target.port();
    let text = format!("/dns/peer.example.net/tcp/{port}");
    assert_eq!(whoever(&mut node, &text).await, target.key);
}

#[tokio::test]
async fn a_dnsaddr_name_leads_to_the_peer_it_names() {
    let server = NameServer::start().await;
    let target = Node::spawn(71).await;
    let text = format!("dnsaddr={}/p2p/{}", target.addr(), target.key.peer_id());
    server.says("_dnsaddr.all.example.net", Answer::Text(text));
    let mut node = asking(72, &server, |_| {}).await;
    node.dial(Some(target.key), &[addr("/dnsaddr/all.example.net")]);
    node.connected(target.key).await;
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_not_asked_for_again_until_the_configured_time_is_over() {
    let server = NameServer::start().await;
    let other = Node::spawn(70).await;
    let patient = |config: &mut NodeConfig| {
        config.network.dns_negative_ttl = Duration::from_secs(2);
    };
    let mut node = asking(71, &server, patient).await;
    let port = other.port();
    let name = format!("/dns4/{NAME}/tcp/{port}");
    let begun = Instant::now();
    assert!(matches!(
        failure(&mut node, &name).await,
        DialError::Dns { .. }
    ));
    let asked = server.asked();
    assert!(asked.0 > 0);
    // It exists from now on, and nobody asks.
    server.says(NAME, Answer::Ip4(vec![Ipv4Addr::LOCALHOST]));
    let error = failure(&mut node, &name).await;
    if begun.elapsed() < Duration::from_secs(2) {
        assert!(matches!(error, DialError::Dns { .. }), "{error:?}");
        assert_eq!(server.asked(), asked, "the answer is remembered");
    }
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(whoever(&mut node, &name).await, other.key);
    assert!(server.asked().0 > asked.0);
}

#[tokio::test]
async fn without_any_name_server_addresses_are_dialled_and_names_say_why_they_are_not() {
    let other = Node::spawn(73).await;
    let options = SpawnOptions::new(secret(74), &config()).name_servers(Vec::new());
    let mut node = Node::start(options).await.unwrap();
    let error = failure(&mut node, "/dns4/peer.example.net/tcp/1").await;
    assert!(matches!(error, DialError::Dns { .. }), "{error:?}");
    assert!(!error.to_string().is_empty());
    let at = other.addr().to_string();
    assert_eq!(whoever(&mut node, &at).await, other.key);
}
