//! Binding: everything or nothing, and never on top of somebody else.

use std::net::{Ipv6Addr, TcpListener};
use std::time::Duration;

use btcfed_core::network::{NetworkError, NetworkEvent};
use btcfed_core::{Network as _, Reconfigure as _};
use btcfed_network::SpawnOptions;

use crate::support::{Node, addr, config, free_port, key, secret};

/// Tries to start a node on these addresses.
async fn listen_on(seed: u8, addresses: &[&str]) -> Result<Node, NetworkError> {
    let mut config = config();
    config.network.addresses = addresses.iter().map(|text| addr(text)).collect();
    Node::start(SpawnOptions::new(secret(seed), &config)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_held_by_another_program_is_a_clear_refusal() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("/ip4/127.0.0.1/tcp/{}", other.local_addr().unwrap().port());
    let refusal = listen_on(1, &[&taken]).await.err();
    assert_eq!(
        refusal,
        Some(NetworkError::AddressInUse { addr: addr(&taken) })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_on_the_same_port_is_refused_also_by_the_wildcard() {
    let first = Node::spawn(1).await;
    for host in ["127.0.0.1", "0.0.0.0"] {
        let taken = format!("/ip4/{host}/tcp/{}", first.port());
        let refusal = listen_on(2, &[&taken]).await.err();
        assert_eq!(
            refusal,
            Some(NetworkError::AddressInUse { addr: addr(&taken) })
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_refusal_nothing_is_left_running() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("/ip4/127.0.0.1/tcp/{}", other.local_addr().unwrap().port());
    let free = format!("/ip4/127.0.0.1/tcp/{}", free_port());
    assert!(listen_on(1, &[&free, &taken]).await.is_err());
    drop(other);
    assert!(listen_on(1, &[&free, &taken]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_another_machine_is_refused_by_name() {
    // TEST-NET-1 belongs to nobody.
    let refusal = listen_on(1, &["/ip4/192.0.2.1/tcp/0"]).await.err();
    let Some(NetworkError::Listen { reason, .. }) = refusal else {
        panic!("{refusal:?}")
    };
    assert_eq!(reason, "not an address of this machine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_tells_its_concrete_addresses_before_the_start_returns() {
    let mut node = listen_on(1, &["/ip4/0.0.0.0/tcp/0"]).await.unwrap();
    let addrs = node.handle.listen_addrs();
    let port = addrs.first().unwrap().port();
    assert!(
        addrs.contains(&addr(&format!("/ip4/127.0.0.1/tcp/{}", port.unwrap()))),
        "{addrs:?}"
    );
    assert!(
        addrs.iter().all(|a| a.is_dialable() && a.port() == port),
        "{addrs:?}"
    );
    for _ in &addrs {
        node.until("listening", |event| match event {
            NetworkEvent::Listening { addr } if addrs.contains(&addr) => Some(()),
            _ => None,
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "a test that cannot run says so")]
async fn both_families_on_one_port_work_side_by_side() {
    let port = free_port();
    let both = [
        format!("/ip4/0.0.0.0/tcp/{port}"),
        format!("/ip6/::/tcp/{port}"),
    ];
    let mut server = listen_on(1, &[&both[0], &both[1]]).await.unwrap();
    let mut hosts = vec!["/ip4/127.0.0.1"];
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        hosts.push("/ip6/::1");
    } else {
        eprintln!("no IPv6 here: only IPv4 was tried");
    }
    let mut client = Node::spawn(2).await;
    for host in hosts {
        client.dial(Some(key(1)), &[addr(&format!("{host}/tcp/{port}"))]);
        client.connected(key(1)).await;
        server.connected(client.key).await;
        client.converse(&mut server).await;
        client.disconnect(key(1));
        client.disconnected(key(1)).await;
        // Before it has noticed, a new connection would be a second one to the server.
        server.disconnected(client.key).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_addresses_dials_only() {
    let (mut dialler, mut server) = (listen_on(1, &[]).await.unwrap(), Node::spawn(2).await);
    assert_eq!(dialler.handle.listen_addrs(), []);
    dialler.connect(&mut server).await;
    server.converse(&mut dialler).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_becomes_free_in_time_is_taken_and_one_that_does_not_is_refused_in_time() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("/ip4/127.0.0.1/tcp/{}", other.local_addr().unwrap().port());
    let started = std::time::Instant::now();
    let refusal = listen_on(1, &[&taken]).await.err();
    assert_eq!(
        refusal,
        Some(NetworkError::AddressInUse { addr: addr(&taken) })
    );
    let took = started.elapsed();
    assert!(
        took >= Duration::from_millis(1550) && took < Duration::from_secs(5),
        "five pauses, each twice the one before: {took:?}"
    );

    let waiting = tokio::spawn(async move { listen_on(2, &[&taken]).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(other);
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_port_is_taken_only_when_it_is_allowed_and_a_reload_leaves_it_alone() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let mut config = config();
    config.network.port_retries = 0;
    config.network.addresses = vec![addr(&format!("/ip4/127.0.0.1/tcp/{port}"))];
    let refusal = Node::start(SpawnOptions::new(secret(1), &config)).await;
    assert!(matches!(
        refusal.err(),
        Some(NetworkError::AddressInUse { .. })
    ));

    config.network.port_fallback = 50;
    let node = Node::start(SpawnOptions::new(secret(1), &config))
        .await
        .unwrap();
    let chosen = node.port();
    assert!(chosen > port && chosen - port <= 50, "{port}: {chosen}");
    node.handle.prepare(&config).await.unwrap().commit();
    // The reload is done when the next one is prepared.
    drop(node.handle.prepare(&config).await.unwrap());
    assert_eq!(node.handle.listen_addrs(), [node.addr()]);
    assert_eq!(node.port(), chosen);
}
