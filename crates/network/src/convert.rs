//! The border to libp2p: keys, ids and addresses both ways. Nothing else in the workspace knows libp2p's types.

use btcfed_core::addr::Host;
use btcfed_core::key::PeerId as CorePeerId;
use btcfed_core::network::NetworkError;
use btcfed_core::{AddrWithId, PeerAddr, PeerKey, SecretKey};
use libp2p::identity::{Keypair, ed25519};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// The key pair of this node in libp2p's form.
pub(crate) fn keypair(secret: &SecretKey) -> Result<Keypair, NetworkError> {
    // The call wipes the copy it is given.
    let mut seed = *secret.seed();
    Keypair::ed25519_from_bytes(&mut seed).map_err(|e| NetworkError::Transport {
        reason: e.to_string(),
    })
}

/// The libp2p id of a key. `None` for a key off the curve: a peers file taken on trust may hold one, and nobody can prove
/// it. Every other key that core accepts is one that libp2p accepts.
pub(crate) fn peer_id(key: &PeerKey) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(key.as_bytes()).ok()?;
    Some(PeerId::from_public_key(&key.into()))
}

/// The key behind a libp2p id; `None` for everything that is not a strong Ed25519 key.
pub(crate) fn peer_key(id: &PeerId) -> Option<PeerKey> {
    CorePeerId::from_bytes(&id.to_bytes())
        .ok()
        .map(CorePeerId::key)
}

/// An address in libp2p's form.
pub(crate) fn multiaddr(addr: &PeerAddr) -> Multiaddr {
    let host = match addr.host() {
        Host::Ip4(ip) => Protocol::Ip4(*ip),
        Host::Ip6(ip) => Protocol::Ip6(*ip),
        Host::Dns(name) => Protocol::Dns(name.as_str().into()),
        Host::Dns4(name) => Protocol::Dns4(name.as_str().into()),
        Host::Dns6(name) => Protocol::Dns6(name.as_str().into()),
        Host::Dnsaddr(name) => Protocol::Dnsaddr(name.as_str().into()),
    };
    let multiaddr = Multiaddr::empty().with(host);
    match addr.port() {
        Some(port) => multiaddr.with(Protocol::Tcp(port)),
        None => multiaddr,
    }
}

/// The address in a multiaddr, without the peer id it may end in; `None` for everything that core has no form for.
pub(crate) fn peer_addr(multiaddr: &Multiaddr) -> Option<PeerAddr> {
    let mut plain = multiaddr.clone();
    if matches!(plain.iter().last(), Some(Protocol::P2p(_))) {
        plain.pop();
    }
    AddrWithId::from_bytes(plain.as_ref())
        .ok()
        .map(|read| read.addr)
}

/// The peer id a multiaddr ends in.
pub(crate) fn id_suffix(multiaddr: &Multiaddr) -> Option<PeerId> {
    match multiaddr.iter().last() {
        Some(Protocol::P2p(id)) => Some(id),
        _ => None,
    }
}

#[cfg(test)]
#[path = "convert/tests.rs"]
mod tests;
