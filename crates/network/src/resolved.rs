//! Which IP address a dialled name led to. libp2p tells the name only.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use libp2p::{Multiaddr, PeerId};

use crate::convert;
use crate::limits::MAX_RESOLVED;

/// Written by the transport when a dial came through, taken by the gate a moment later.
#[derive(Debug, Default)]
pub(crate) struct Resolved(Mutex<HashMap<(PeerId, Multiaddr), IpAddr>>);

impl Resolved {
    /// `addr` led to `peer` at `ip`.
    pub(crate) fn insert(&self, peer: PeerId, addr: Multiaddr, ip: IpAddr) {
        if convert::peer_addr(&addr).is_some_and(|addr| addr.ip().is_some()) {
            return;
        }
        let mut resolved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // An entry stays only when its dial is aborted in between.
        if resolved.len() >= MAX_RESOLVED {
            resolved.clear();
        }
        resolved.insert((peer, addr), ip);
    }

    /// The IP address at the other end of a connection.
    pub(crate) fn take(&self, peer: &PeerId, addr: &Multiaddr) -> Option<IpAddr> {
        let literal = convert::peer_addr(addr).and_then(|addr| addr.ip());
        literal.or_else(|| {
            let key = (*peer, addr.clone());
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&key)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_remembered_until_it_is_taken_and_an_address_speaks_for_itself() {
        let (resolved, peer) = (Resolved::default(), PeerId::random());
        let name: Multiaddr = "/dns4/localhost/tcp/1".parse().unwrap();
        resolved.insert(peer, name.clone(), [127, 0, 0, 1].into());
        assert_eq!(resolved.take(&PeerId::random(), &name), None);
        assert_eq!(resolved.take(&peer, &name), Some([127, 0, 0, 1].into()));
        assert_eq!(resolved.take(&peer, &name), None);
        assert_eq!(
            resolved.take(&peer, &"/ip4/192.0.2.1/tcp/1".parse().unwrap()),
            Some([192, 0, 2, 1].into())
        );
    }

    #[test]
    fn what_is_never_taken_is_bounded() {
        let (resolved, peer) = (Resolved::default(), PeerId::random());
        for port in 0..=MAX_RESOLVED {
            resolved.insert(
                peer,
                format!("/dns4/localhost/tcp/{port}").parse().unwrap(),
                [127, 0, 0, 1].into(),
            );
        }
        assert_eq!(resolved.0.lock().unwrap().len(), 1);
    }
}
