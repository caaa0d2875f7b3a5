//! Listeners, announced addresses, names.

use std::net::TcpListener;
use std::time::Duration;

use btcfed_core::addr::{AddrScope, Host, PeerAddr};
use btcfed_core::key::PeerId;

use super::Daemon;
use super::finding::Finding;
use super::holder;
use crate::cli::context::Loaded;
use crate::cli::probe::{Caller, Probe, resolve};

/// Whether every address can be listened on, or is by the daemon.
pub(super) fn listeners(loaded: &Loaded, daemon: &Daemon) -> Vec<Finding> {
    let configured = &loaded.full.config.network.addresses;
    if configured.is_empty() {
        return vec![Finding::warn(
            "listen",
            "nowhere: others cannot come here",
            "set network.addresses",
        )];
    }
    if let Some(status) = daemon.status() {
        let open: Vec<&str> = status["listen"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|addr| addr.as_str())
            .collect();
        return if open.is_empty() {
            vec![Finding::fail(
                "listen",
                "the daemon listens nowhere",
                "its log says why; then `btcfed reload`",
            )]
        } else {
            open.into_iter()
                .map(|addr| Finding::ok("listen", format!("{addr} is open")))
                .collect()
        };
    }
    configured.iter().map(listener).collect()
}

fn listener(addr: &PeerAddr) -> Finding {
    let Some(socket) = addr.socket_addr() else {
        return Finding::fail(
            "listen",
            format!("{addr} is no IP address"),
            "set network.addresses",
        );
    };
    match TcpListener::bind(socket) {
        Ok(_) => Finding::ok("listen", format!("{addr} is free")),
        Err(error) => {
            let fix = match error.kind() {
                std::io::ErrorKind::AddrInUse => match holder::of_port(socket.port()) {
                    Some(who) => format!("{who} has it: stop that, or change network.addresses"),
                    None => format!(
                        "`ss -ltnp sport = :{}` names who has it; stop that, or change network.addresses",
                        socket.port()
                    ),
                },
                std::io::ErrorKind::AddrNotAvailable => {
                    "this machine has no such address; `ip addr` lists them".to_owned()
                }
                std::io::ErrorKind::PermissionDenied => {
                    "ports below 1024 need a privilege; choose a higher one".to_owned()
                }
                _ => "change network.addresses".to_owned(),
            };
            Finding::fail("listen", format!("{addr}: {error}"), fix)
        }
    }
}

/// Whether others can use what they are told.
pub(super) fn announced(loaded: &Loaded) -> Vec<Finding> {
    let announced = &loaded.full.config.network.announce;
    let finding = |addr: &PeerAddr| match addr.scope() {
        _ if !addr.is_dialable() => Finding::fail(
            "announce",
            format!("nobody can be reached at {addr}"),
            "set network.announce to this node's public address",
        ),
        AddrScope::LinkLocal => Finding::fail(
            "announce",
            format!("{addr} means something else on every machine"),
            "set network.announce to this node's public address",
        ),
        AddrScope::Loopback => Finding::warn(
            "announce",
            format!("{addr} is told only on this machine"),
            "others need a private or public address",
        ),
        AddrScope::Private => {
            Finding::ok("announce", format!("{addr} is told only within its site"))
        }
        AddrScope::Dns | AddrScope::Public | AddrScope::Unspecified => {
            Finding::ok("announce", format!("{addr}"))
        }
    };
    announced.iter().map(finding).collect()
}

/// Whether the running daemon is what answers at the addresses it announces.
pub(super) fn answered(loaded: &Loaded, daemon: &Daemon, timeout: Duration) -> Vec<Finding> {
    let status = daemon.status();
    let own = status.and_then(|status| status["peer_id"].as_str()?.parse::<PeerId>().ok());
    let Some(own) = own else { return Vec::new() };
    let announced = loaded.full.config.network.announce.iter();
    let tried = announced.filter(|addr| addr.is_dialable() && addr.scope() != AddrScope::LinkLocal);
    let finding = |addr: &PeerAddr| {
        let probe = Probe::run(addr, Some(own.key()), &Caller::of(loaded, None), timeout);
        let Some(failure) = probe.failure() else {
            return Finding::ok("announce", format!("{addr} leads here"));
        };
        let text = format!("others are told {addr}: {failure}");
        if probe.is_silent() {
            // Some routers do not let a machine reach itself by its public address.
            let fix = "from inside this may mean nothing: have a member run btcfed ping with this address; else open the \
                       port in the firewall and forward it here";
            return Finding::warn("announce", text, fix);
        }
        let fix = "set network.announce to an address and port that lead to this node, and forward the port";
        Finding::fail("announce", text, fix)
    };
    tried.map(finding).collect()
}

/// Whether every name in the configuration stands for an address.
pub(super) fn names(loaded: &Loaded, timeout: Duration) -> Vec<Finding> {
    let config = &loaded.full.config;
    let bootstrap = config.peers.bootstrap.iter().map(|entry| &entry.addr);
    let mut names: Vec<&PeerAddr> = bootstrap
        .chain(&config.network.announce)
        .filter(|addr| is_name(addr))
        .collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .map(|addr| match resolve(addr, timeout) {
            Ok(found) => {
                let found: Vec<String> =
                    found.iter().map(|socket| socket.ip().to_string()).collect();
                Finding::ok("dns", format!("{addr} is {}", found.join(", ")))
            }
            Err(reason) => Finding::fail(
                "dns",
                format!("{addr}: {reason}"),
                "check the spelling, /etc/resolv.conf and the name's owner",
            ),
        })
        .collect()
}

const fn is_name(addr: &PeerAddr) -> bool {
    matches!(addr.host(), Host::Dns(_) | Host::Dns4(_) | Host::Dns6(_))
}
