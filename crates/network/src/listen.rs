//! Listeners: refuse what cannot work before anything is bound, and know every address that accepts connections.
//!
//! libp2p binds with `SO_REUSEPORT`, so a second node on the same port would be no error: the kernel would spread
//! connections over both. Every address is therefore probed with a plain socket first.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use btcfed_core::PeerAddr;
use btcfed_core::network::NetworkError;
use libp2p::TransportError;
use libp2p::core::transport::ListenerId;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use tokio::time::Instant;

use crate::error::{Failure, chain, failure};
use crate::limits::{LISTENER_ERROR_LOG_INTERVAL, LISTENER_RETRY_INTERVAL};

/// The concrete listen addresses, shared with the handles.
pub(crate) type SharedAddrs = Arc<RwLock<Vec<PeerAddr>>>;

/// Refuses a list of listen addresses that cannot work: not an address of this kind of host, twice the same, or one
/// that covers another.
pub(crate) fn check(addrs: &[PeerAddr]) -> Result<(), NetworkError> {
    for (index, addr) in addrs.iter().enumerate() {
        let refuse = |reason: String| {
            Err(NetworkError::Listen {
                addr: addr.clone(),
                reason,
            })
        };
        let Some(socket) = addr.socket_addr().filter(|_| addr.is_listenable()) else {
            return refuse("not an IP address of this machine with a TCP port".to_owned());
        };
        for earlier in addrs.iter().take(index) {
            match earlier.socket_addr() {
                Some(other) if other == socket && socket.port() != 0 => {
                    return refuse("listed twice".to_owned());
                }
                Some(other) if overlap(socket, other) => {
                    return refuse(format!("already covered by {earlier}"));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// True when two addresses would take each other's connections.
pub(crate) fn overlaps(one: &PeerAddr, other: &PeerAddr) -> bool {
    one.socket_addr()
        .zip(other.socket_addr())
        .is_some_and(|(one, other)| overlap(one, other))
}

/// The same address with each of the next `count` ports. None for port 0, which is never busy.
pub(crate) fn following_ports(addr: &PeerAddr, count: u16) -> impl Iterator<Item = PeerAddr> {
    let socket = addr.socket_addr().filter(|socket| socket.port() != 0);
    socket.into_iter().flat_map(move |socket| {
        let ports = (1..=count).map_while(move |step| socket.port().checked_add(step));
        ports.map(move |port| PeerAddr::from_socket_addr((socket.ip(), port).into()))
    })
}

/// True when two sockets would take each other's connections.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && one.is_ipv4() == other.is_ipv4() && covers
}

/// Leaves out the unspecified IPv6 address where the machine has no IPv6, as long as its IPv4 twin is listened on.
pub(crate) fn without_missing_ipv6(addrs: Vec<PeerAddr>) -> Vec<PeerAddr> {
    supported(addrs, ipv6_is_available())
}

fn supported(mut addrs: Vec<PeerAddr>, has_ipv6: bool) -> Vec<PeerAddr> {
    if has_ipv6 {
        return addrs;
    }
    let ipv4_ports: Vec<_> = addrs
        .iter()
        .filter(|addr| addr.ip().is_some_and(|ip| ip.is_ipv4()))
        .map(PeerAddr::port)
        .collect();
    addrs.retain(|addr| {
        let is_wildcard = addr.ip() == Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        let skip = is_wildcard && ipv4_ports.contains(&addr.port());
        if skip {
            tracing::warn!(%addr, "this machine has no IPv6; listening on IPv4 only");
        }
        !skip
    });
    addrs
}

fn ipv6_is_available() -> bool {
    bind_once(SocketAddr::from((Ipv6Addr::LOCALHOST, 0))).is_ok()
}

/// Binds and releases the address with a plain socket: an error when anybody else holds it.
pub(crate) fn probe(addr: &PeerAddr) -> Result<(), NetworkError> {
    let Some(socket) = addr.socket_addr() else {
        return Err(NetworkError::Listen {
            addr: addr.clone(),
            reason: "not an IP address".to_owned(),
        });
    };
    // Where IPv6 is switched off, the unspecified address can still be bound: nobody would ever come.
    let bound = if socket.is_ipv6() && socket.ip().is_unspecified() && !ipv6_is_available() {
        Err(io::ErrorKind::AddrNotAvailable.into())
    } else {
        bind_once(socket)
    };
    bound.map_err(|error| refusal(addr, &error))
}

/// As the standard library does, except that an IPv6 socket never claims the IPv4 port as well.
fn bind_once(addr: SocketAddr) -> io::Result<()> {
    let family = if addr.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if addr.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &addr)?;
    Ok(listen(&socket, 1)?)
}

fn refusal(addr: &PeerAddr, error: &io::Error) -> NetworkError {
    let addr = addr.clone();
    match error.kind() {
        io::ErrorKind::AddrInUse => NetworkError::AddressInUse { addr },
        io::ErrorKind::AddrNotAvailable => {
            let reason = if addr.ip() == Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) {
                "this machine has no IPv6"
            } else {
                "not an address of this machine"
            };
            NetworkError::Listen {
                addr,
                reason: reason.to_owned(),
            }
        }
        _ => NetworkError::Listen {
            addr,
            reason: error.to_string(),
        },
    }
}

/// What libp2p's refusal to listen means.
pub(crate) fn listen_refusal(addr: &PeerAddr, error: &TransportError<io::Error>) -> NetworkError {
    match error {
        TransportError::Other(error) => match failure(error) {
            Some(Failure::Tcp(error)) => refusal(addr, error),
            _ => NetworkError::Listen {
                addr: addr.clone(),
                reason: chain(error),
            },
        },
        TransportError::MultiaddrNotSupported(_) => NetworkError::Listen {
            addr: addr.clone(),
            reason: "not an IP address with a TCP port".to_owned(),
        },
    }
}

/// One listener.
#[derive(Debug)]
struct Listener {
    configured: PeerAddr,
    concrete: Vec<PeerAddr>,
    error_logged: Option<Instant>,
}

/// The listeners of this node.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    by_id: HashMap<ListenerId, Listener>,
    shared: SharedAddrs,
    /// Configured addresses whose listeners failed, and when they are bound again.
    lost: Vec<(PeerAddr, Instant)>,
}

impl Listeners {
    /// The concrete addresses, as the handles see them.
    pub(crate) fn shared(&self) -> SharedAddrs {
        Arc::clone(&self.shared)
    }

    /// The concrete addresses.
    pub(crate) fn addrs(&self) -> Vec<PeerAddr> {
        self.shared
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The configured addresses with their listeners.
    pub(crate) fn configured(&self) -> impl Iterator<Item = (ListenerId, &PeerAddr)> {
        self.by_id
            .iter()
            .map(|(id, listener)| (*id, &listener.configured))
    }

    /// True once every listener accepts connections somewhere.
    pub(crate) fn are_ready(&self) -> bool {
        self.by_id
            .values()
            .all(|listener| !listener.concrete.is_empty())
    }

    /// A listener failed, and is about to be closed: its address is bound again later.
    pub(crate) fn lose(&mut self, id: ListenerId, now: Instant) {
        if let Some(listener) = self.by_id.get(&id) {
            let again = now + LISTENER_RETRY_INTERVAL;
            self.lost.push((listener.configured.clone(), again));
        }
    }

    /// When a lost address is to be bound again.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.lost.iter().map(|(_, at)| *at).min()
    }

    /// The lost addresses to be bound now. Each stays lost until it is bound.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<PeerAddr> {
        let mut due = Vec::new();
        for (addr, at) in self.lost.iter_mut().filter(|(_, at)| *at <= now) {
            *at = now + LISTENER_RETRY_INTERVAL;
            due.push(addr.clone());
        }
        due
    }

    /// A new configuration: what it does not name is not bound again.
    pub(crate) fn keep_lost(&mut self, wanted: &[PeerAddr]) {
        self.lost.retain(|(addr, _)| wanted.contains(addr));
    }

    /// A listener was bound.
    pub(crate) fn insert(&mut self, id: ListenerId, configured: PeerAddr) {
        self.lost.retain(|(addr, _)| *addr != configured);
        self.by_id.insert(
            id,
            Listener {
                configured,
                concrete: Vec::new(),
                error_logged: None,
            },
        );
    }

    /// A listener accepts connections at this address. False when one did already: on a reload the old and the new one
    /// may share an address for a moment.
    pub(crate) fn opened(&mut self, id: ListenerId, addr: PeerAddr) -> bool {
        let is_new = !self.is_open(&addr);
        if let Some(listener) = self.by_id.get_mut(&id)
            && !listener.concrete.contains(&addr)
        {
            listener.concrete.push(addr);
        }
        self.publish();
        is_new
    }

    /// A listener lost this address. True when none accepts connections there any more.
    pub(crate) fn expired(&mut self, id: ListenerId, addr: &PeerAddr) -> bool {
        let was_open = self.is_open(addr);
        if let Some(listener) = self.by_id.get_mut(&id) {
            listener.concrete.retain(|known| known != addr);
        }
        self.publish();
        was_open && !self.is_open(addr)
    }

    /// A listener is gone: the addresses at which none accepts connections any more.
    pub(crate) fn closed(&mut self, id: ListenerId) -> Vec<PeerAddr> {
        let mut addrs = self
            .by_id
            .remove(&id)
            .map(|listener| listener.concrete)
            .unwrap_or_default();
        addrs.retain(|addr| !self.is_open(addr));
        self.publish();
        addrs
    }

    fn is_open(&self, addr: &PeerAddr) -> bool {
        self.by_id
            .values()
            .any(|listener| listener.concrete.contains(addr))
    }

    /// True when an error of this listener is worth a line in the log now.
    pub(crate) fn may_log_error(&mut self, id: ListenerId, now: Instant) -> bool {
        let Some(listener) = self.by_id.get_mut(&id) else {
            return false;
        };
        let interval: Duration = LISTENER_ERROR_LOG_INTERVAL;
        if listener
            .error_logged
            .is_some_and(|last| now.saturating_duration_since(last) < interval)
        {
            return false;
        }
        listener.error_logged = Some(now);
        true
    }

    fn publish(&self) {
        let mut addrs: Vec<PeerAddr> = self
            .by_id
            .values()
            .flat_map(|l| l.concrete.iter().cloned())
            .collect();
        addrs.sort_unstable();
        addrs.dedup();
        *self.shared.write().unwrap_or_else(PoisonError::into_inner) = addrs;
    }
}

#[cfg(test)]
#[path = "listen/tests.rs"]
mod tests;
