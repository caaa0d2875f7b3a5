//! From components to an address: the order they must stand in, the same for text and binary form.

use super::{AddrError, AddrWithId, Host, PeerAddr, malformed};
use crate::error::ParseError;
use crate::key::PeerId;

/// One component of a multiaddr.
pub(super) enum Component {
    Host(Host),
    /// A protocol nobody here dials.
    Other(&'static str),
    /// An identity; refused ones count only if every protocol is ours, for relays have keys of all kinds.
    P2p(Result<PeerId, ParseError>),
    Tcp(u16),
}

/// Collects components in the order host, tcp, p2p.
#[derive(Default)]
pub(super) struct Assembly {
    host: Option<Host>,
    port: Option<u16>,
    peer_id: Option<PeerId>,
    problem: Option<ParseError>,
    unsupported: Option<&'static str>,
}

impl Assembly {
    /// Adds the next component.
    pub(super) fn push(&mut self, component: Component) {
        match component {
            Component::Host(host) if self.host.is_none() && self.peer_id.is_none() => {
                self.host = Some(host)
            }
            Component::Tcp(port)
                if self.host.is_some() && self.port.is_none() && self.peer_id.is_none() =>
            {
                self.port = Some(port);
            }
            Component::P2p(Ok(id)) if self.peer_id.is_none() => self.peer_id = Some(id),
            Component::P2p(Err(refusal)) => self.problem = self.problem.take().or(Some(refusal)),
            Component::Other(name) => self.unsupported = self.unsupported.or(Some(name)),
            Component::Host(_) | Component::Tcp(_) | Component::P2p(Ok(_)) => {
                let order = || {
                    ParseError::new(
                        "address",
                        "expected one host, then /tcp/PORT, then at most one /p2p/ID",
                    )
                };
                self.problem.get_or_insert_with(order);
            }
        }
    }

    /// The address, if the components make one.
    pub(super) fn finish(self) -> Result<AddrWithId, AddrError> {
        if let Some(name) = self.unsupported {
            return Err(AddrError::Unsupported {
                protocol: name.to_owned(),
            });
        }
        if let Some(problem) = self.problem {
            return Err(problem.into());
        }
        let addr = match (self.host, self.port) {
            (Some(host), Some(port)) => PeerAddr::new(host, port),
            (Some(Host::Dnsaddr(name)), None) => PeerAddr::dnsaddr(name),
            (Some(_), None) => return Err(malformed("the port is missing (/tcp/PORT)")),
            (None, _) => return Err(malformed("the host is missing (/ip4/, /ip6/, /dns/, ...)")),
        };
        Ok(AddrWithId {
            addr,
            peer_id: self.peer_id,
        })
    }
}
