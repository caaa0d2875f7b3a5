//! One node of a simulation: an engine, and a set in place of a store.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use btcfed_core::addr::AddrScope;
use btcfed_core::network::{CommandId, RequestToken};
use btcfed_core::{PeerAddr, PeerKey, PeerSet, SecretKey, SignedRecord};

use super::NodeId;
use super::hostile::Behaviour;
use crate::Engine;

/// Who a node is.
#[derive(Debug)]
pub(super) struct Identity {
    secret: SecretKey,
    addr: PeerAddr,
    record: Option<SignedRecord>,
}

impl Identity {
    pub(super) fn new(id: NodeId, seed: u64, scope: AddrScope) -> Self {
        let secret = SecretKey::from_seed(secret_seed(id, seed));
        let addr = address(id, scope);
        let record = SignedRecord::sign(&secret, 1, std::slice::from_ref(&addr)).ok();
        Self {
            secret,
            addr,
            record,
        }
    }

    pub(super) const fn key(&self) -> PeerKey {
        self.secret.public()
    }

    pub(super) const fn record(&self) -> Option<&SignedRecord> {
        self.record.as_ref()
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) engine: Engine,
    pub(super) set: Arc<PeerSet>,
    /// Requests that wait for this node's answer.
    pub(super) replies: BTreeMap<RequestToken, (NodeId, CommandId)>,
    pub(super) wake: Option<Duration>,
    pub(super) is_running: bool,
    pub(super) behaviour: Option<Behaviour>,
    /// Open connections and those on their way, each with the time when the last frame sent over it arrives.
    pub(super) links: BTreeMap<NodeId, Duration>,
    /// When the uplink has sent everything.
    pub(super) uplink_free: Duration,
    /// How far the wall clock is ahead of the earliest possible one.
    pub(super) clock_ahead: Duration,
    identity: Identity,
    next_token: u64,
}

impl Node {
    pub(super) fn new(identity: Identity, engine: Engine, set: Arc<PeerSet>) -> Self {
        Self {
            engine,
            set,
            replies: BTreeMap::new(),
            wake: None,
            is_running: true,
            behaviour: None,
            links: BTreeMap::new(),
            uplink_free: Duration::ZERO,
            clock_ahead: Duration::ZERO,
            identity,
            next_token: 0,
        }
    }

    pub(super) const fn key(&self) -> PeerKey {
        self.identity.key()
    }

    pub(super) const fn record(&self) -> Option<&SignedRecord> {
        self.identity.record()
    }

    pub(super) fn renew(&mut self, leaving: bool) -> Option<SignedRecord> {
        let addresses = if leaving {
            &[][..]
        } else {
            std::slice::from_ref(&self.identity.addr)
        };
        self.identity.record = self.sign(addresses);
        self.identity.record.clone()
    }

    /// A record after the newest one, which stays the newest.
    pub(super) fn sign(&self, addresses: &[PeerAddr]) -> Option<SignedRecord> {
        let seq = self.record().map_or(0, SignedRecord::seq) + 1;
        SignedRecord::sign(&self.identity.secret, seq, addresses).ok()
    }

    pub(super) fn expect_reply(&mut self, to: NodeId, id: CommandId) -> RequestToken {
        self.next_token += 1;
        let token = RequestToken(self.next_token);
        self.replies.insert(token, (to, id));
        token
    }
}

fn secret_seed(id: NodeId, seed: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    let parts = seed.to_le_bytes().into_iter().chain(id.to_le_bytes());
    for (to, from) in bytes.iter_mut().zip(parts) {
        *to = from;
    }
    bytes
}

/// A different address for every node, of the scope asked for.
pub(super) fn address(id: NodeId, scope: AddrScope) -> PeerAddr {
    let number = u32::try_from(id).unwrap_or(u32::MAX) & 0x00ff_ffff;
    let first = match scope {
        AddrScope::Loopback => 127,
        AddrScope::Public => 20,
        AddrScope::Dns | AddrScope::LinkLocal | AddrScope::Private | AddrScope::Unspecified => 10,
    };
    let ip = Ipv4Addr::from((first << 24) | number.saturating_add(1));
    PeerAddr::from_socket_addr(SocketAddr::new(IpAddr::V4(ip), 9000))
}
