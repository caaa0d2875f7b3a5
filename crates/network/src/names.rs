//! What names led to. When the resolver is down, the address a name last led to is dialled instead: Noise proves who
//! answers there, so an old answer can at worst be a useless one.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use btcfed_core::PeerAddr;
use btcfed_core::network::DialError;
use btcfed_core::time::MonotonicTime;

use crate::limits::MAX_KNOWN_NAMES;

#[derive(Debug)]
struct Known<C> {
    ip: IpAddr,
    /// When it was good last; a connection that is up is good all the time.
    good: MonotonicTime,
    connection: Option<C>,
}

/// The answers, by the name and port that were dialled. `C` names connections.
#[derive(Debug)]
pub(crate) struct KnownNames<C> {
    by_name: HashMap<PeerAddr, Known<C>>,
    max_age: Duration,
}

impl<C: Copy + Eq + Hash> KnownNames<C> {
    /// Nothing is known yet; answers are good for `max_age`.
    pub(crate) fn new(max_age: Duration) -> Self {
        Self {
            by_name: HashMap::new(),
            max_age,
        }
    }

    /// From now on answers are good for so long.
    pub(crate) const fn set_max_age(&mut self, max_age: Duration) {
        self.max_age = max_age;
    }

    /// A connection dialled at `addr` is up with `ip`.
    pub(crate) fn connected(
        &mut self,
        now: MonotonicTime,
        connection: C,
        addr: &PeerAddr,
        ip: IpAddr,
    ) {
        // A literal address needs no memory, and a dnsaddr entry has no port of its own.
        if addr.ip().is_some() || addr.port().is_none() {
            return;
        }
        if self.by_name.len() >= MAX_KNOWN_NAMES && !self.by_name.contains_key(addr) {
            let oldest = self.by_name.iter().min_by_key(|(_, known)| known.good);
            if let Some(oldest) = oldest.map(|(addr, _)| addr.clone()) {
                self.by_name.remove(&oldest);
            }
        }
        let known = Known {
            ip,
            good: now,
            connection: Some(connection),
        };
        self.by_name.insert(addr.clone(), known);
    }

    /// A connection is gone: up to now its address was good.
    pub(crate) fn closed(&mut self, now: MonotonicTime, connection: C) {
        for known in self.by_name.values_mut() {
            if known.connection == Some(connection) {
                known.connection = None;
                known.good = now;
            }
        }
    }

    /// What to dial after an attempt at `addr` failed like this: the last good answer, when the name may be to blame.
    pub(crate) fn instead_of(
        &self,
        now: MonotonicTime,
        addr: &PeerAddr,
        error: &DialError,
    ) -> Option<PeerAddr> {
        // A resolver that does not answer takes up the time of the whole attempt.
        if !matches!(error, DialError::Dns { .. } | DialError::Timeout) {
            return None;
        }
        let known = self.by_name.get(addr)?;
        let is_good = known.connection.is_some() || now.saturating_since(known.good) < self.max_age;
        let port = addr.port().filter(|_| is_good)?;
        Some(PeerAddr::from_socket_addr((known.ip, port).into()))
    }
}

#[cfg(test)]
#[path = "names/tests.rs"]
mod tests;
