//! One node of a simulation: an engine, and a set in place of a store.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use btcfed_core::addr::AddrScope;
use btcfed_core::config::NodeConfig;
use btcfed_core::network::{CommandId, RequestToken};
use btcfed_core::{PeerAddr, PeerKey, PeerSet, SecretKey, SignedRecord};

use super::{MemoVerifier, NodeId};
use crate::{Engine, EngineOptions};

#[derive(Debug)]
pub(super) struct Node {
    pub(super) engine: Engine,
    pub(super) set: Arc<PeerSet>,
    /// Requests that wait for this node's answer.
    pub(super) replies: BTreeMap<RequestToken, (NodeId, CommandId)>,
    pub(super) wake: Option<Duration>,
    secret: SecretKey,
    addr: PeerAddr,
    record: Option<SignedRecord>,
    next_token: u64,
}

impl Node {
    pub(super) fn new(
        id: NodeId,
        seed: u64,
        scope: AddrScope,
        config: Arc<NodeConfig>,
        verifier: Arc<MemoVerifier>,
    ) -> Self {
        let secret = SecretKey::from_seed(secret_seed(id, seed));
        let set = Arc::new(PeerSet::default());
        let engine = Engine::new(EngineOptions {
            config,
            own: secret.public(),
            agent: "btcfed-simulate/1".to_owned(),
            seed,
            verifier,
            set: Arc::clone(&set),
        });
        let addr = address(id, scope);
        let record = SignedRecord::sign(&secret, 1, std::slice::from_ref(&addr)).ok();
        Self {
            engine,
            set,
            replies: BTreeMap::new(),
            wake: None,
            secret,
            addr,
            record,
            next_token: 0,
        }
    }

    pub(super) const fn key(&self) -> PeerKey {
        self.secret.public()
    }

    pub(super) fn record(&self) -> Option<SignedRecord> {
        self.record.clone()
    }

    pub(super) fn renew(&mut self, leaving: bool) -> Option<SignedRecord> {
        let seq = self.record.as_ref().map_or(0, SignedRecord::seq) + 1;
        let addresses = if leaving {
            &[][..]
        } else {
            std::slice::from_ref(&self.addr)
        };
        self.record = SignedRecord::sign(&self.secret, seq, addresses).ok();
        self.record.clone()
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
fn address(id: NodeId, scope: AddrScope) -> PeerAddr {
    let number = u32::try_from(id).unwrap_or(u32::MAX) & 0x00ff_ffff;
    let first = match scope {
        AddrScope::Loopback => 127,
        AddrScope::Public => 20,
        AddrScope::Dns | AddrScope::LinkLocal | AddrScope::Private | AddrScope::Unspecified => 10,
    };
    let ip = Ipv4Addr::from((first << 24) | number.saturating_add(1));
    PeerAddr::from_socket_addr(SocketAddr::new(IpAddr::V4(ip), 9000))
}
