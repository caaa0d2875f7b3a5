//! Listeners, announced addresses, names.

use std::net::TcpListener;
use std::time::Duration;

use btcfed_core::addr::{AddrScope, Host, PeerAddr};

use super::Daemon;
use super::finding::Finding;
use crate::cli::context::Loaded;
use crate::cli::probe::resolve;

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
                std::io::ErrorKind::AddrInUse => format!(
                    "`ss -ltnp sport = :{}` names who has it; stop that, or change network.addresses",
                    socket.port()
                ),
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
