//! Dials: which addresses are worth trying, and what came of each.

use std::collections::{HashMap, HashSet, VecDeque};

use btcfed_core::network::{CommandId, DialError, NetworkEvent};
use btcfed_core::{PeerAddr, PeerKey};
use libp2p::swarm::{ConnectionId, DialError as SwarmDialError};

use crate::convert;
use crate::error::classify;
use crate::gate::Refusal;
use crate::limits::MAX_DIAL_ADDRESSES;
use crate::refused::Refused;

/// One dial command that is not answered yet.
#[derive(Debug)]
pub(crate) struct Dial {
    pub(crate) id: CommandId,
    pub(crate) peer: Option<PeerKey>,
    /// Being tried now, each in its turn.
    pub(crate) trying: Vec<PeerAddr>,
    /// To be tried later.
    rest: VecDeque<PeerAddr>,
    failed: Vec<(PeerAddr, DialError)>,
}

impl Dial {
    /// A dial of those `addrs` that make sense; the others have failed already.
    pub(crate) fn new(
        id: CommandId,
        peer: Option<PeerKey>,
        addrs: Vec<PeerAddr>,
        own: &[PeerAddr],
        refused: &Refused,
    ) -> Self {
        let mut this = Self {
            id,
            peer,
            trying: Vec::new(),
            rest: VecDeque::new(),
            failed: Vec::new(),
        };
        let mut seen = HashSet::new();
        for addr in addrs {
            if !seen.insert(addr.clone()) {
                continue;
            }
            match objection(&addr, own, refused, this.rest.len()) {
                None => this.rest.push_back(addr),
                Some(error) => this.failed.push((addr, error)),
            }
        }
        this
    }

    /// Takes the addresses to try next: all of a known peer, which take turns below (see [`crate::turns`]); one by one
    /// where whoever answers is accepted, because two of them might answer. Empty when there are no more.
    pub(crate) fn next(&mut self) -> &[PeerAddr] {
        self.trying = match self.peer {
            Some(_) => self.rest.drain(..).collect(),
            None => self.rest.pop_front().into_iter().collect(),
        };
        &self.trying
    }

    /// The addresses being tried came to nothing.
    pub(crate) fn failed(&mut self, error: SwarmDialError) {
        let trying = std::mem::take(&mut self.trying);
        let attempts = attempts(trying, error);
        for (addr, error) in &attempts {
            tracing::debug!(dial = %self.id, %addr, error = %error.to_string().escape_debug(), "address failed");
        }
        self.failed.extend(attempts);
    }

    /// Plans what `instead` knows for failed addresses, each only once.
    pub(crate) fn replace_failed(
        &mut self,
        instead: impl Fn(&PeerAddr, &DialError) -> Option<PeerAddr>,
        refused: &Refused,
    ) {
        for (addr, error) in &self.failed {
            let Some(other) = instead(addr, error) else {
                continue;
            };
            let is_known = self.failed.iter().any(|(tried, _)| *tried == other);
            if is_known || self.rest.contains(&other) {
                continue;
            }
            if objection(&other, &[], refused, self.rest.len()).is_none() {
                tracing::debug!(%addr, instead = %other, "the name does not resolve; dialling where it led to last");
                self.rest.push_back(other);
            }
        }
    }

    /// The same reason for every address that was not tried yet.
    pub(crate) fn give_up(&mut self, error: &DialError) {
        let rest = std::mem::take(&mut self.rest);
        self.failed
            .extend(rest.into_iter().map(|addr| (addr, error.clone())));
    }

    /// The answer when no new connection came of it.
    pub(crate) fn into_event(self) -> NetworkEvent {
        NetworkEvent::DialFailed {
            id: self.id,
            peer: self.peer,
            attempts: self.failed,
        }
    }
}

/// Why an address is not even tried.
fn objection(
    addr: &PeerAddr,
    own: &[PeerAddr],
    refused: &Refused,
    planned: usize,
) -> Option<DialError> {
    if !addr.is_dialable() {
        Some(DialError::Undialable)
    } else if own.contains(addr) {
        Some(DialError::Own)
    } else if addr.ip().is_some_and(|ip| refused.ip(ip)) {
        Some(DialError::Denied {
            reason: Refusal::BannedIp.to_string(),
        })
    } else if planned >= MAX_DIAL_ADDRESSES {
        Some(DialError::Denied {
            reason: "too many addresses".to_owned(),
        })
    } else {
        None
    }
}

/// What a failed dial says about each address.
fn attempts(trying: Vec<PeerAddr>, error: SwarmDialError) -> Vec<(PeerAddr, DialError)> {
    let error = match error {
        SwarmDialError::Transport(errors) => {
            let told = errors
                .iter()
                .filter_map(|(addr, error)| Some((convert::peer_addr(addr)?, classify(error))));
            return told.collect();
        }
        SwarmDialError::Aborted => DialError::Aborted,
        SwarmDialError::DialPeerConditionFalse(_) => return Vec::new(),
        SwarmDialError::LocalPeerId { .. } | SwarmDialError::NoAddresses => DialError::Own,
        SwarmDialError::WrongPeerId { obtained, .. } => DialError::WrongPeer {
            obtained: obtained.to_string(),
        },
        SwarmDialError::Denied { cause } => match cause.downcast::<Refusal>() {
            Ok(Refusal::Identity(obtained)) => DialError::WrongPeer { obtained },
            Ok(refusal) => DialError::Denied {
                reason: refusal.to_string(),
            },
            Err(other) => DialError::Denied {
                reason: other.to_string(),
            },
        },
    };
    trying
        .into_iter()
        .map(|addr| (addr, error.clone()))
        .collect()
}

/// All dials under way.
#[derive(Debug, Default)]
pub(crate) struct Dials {
    by_connection: HashMap<ConnectionId, Dial>,
    peers: HashSet<PeerKey>,
}

impl Dials {
    /// True while a dial to this peer is under way.
    pub(crate) fn is_dialling(&self, peer: &PeerKey) -> bool {
        self.peers.contains(peer)
    }

    /// The peers being dialled.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &PeerKey> {
        self.peers.iter()
    }

    /// The command behind a dial, and whom it is for.
    pub(crate) fn of(&self, connection: ConnectionId) -> Option<(CommandId, Option<PeerKey>)> {
        let dial = self.by_connection.get(&connection)?;
        Some((dial.id, dial.peer))
    }

    /// The dial a command asked for.
    pub(crate) fn by_id(&mut self, id: CommandId) -> Option<&mut Dial> {
        self.by_connection.values_mut().find(|dial| dial.id == id)
    }

    /// A dial is under way as this connection.
    pub(crate) fn insert(&mut self, connection: ConnectionId, dial: Dial) {
        self.peers.extend(dial.peer);
        self.by_connection.insert(connection, dial);
    }

    /// The dial behind a connection that is established now or failed.
    pub(crate) fn remove(&mut self, connection: ConnectionId) -> Option<Dial> {
        let dial = self.by_connection.remove(&connection)?;
        if let Some(peer) = &dial.peer {
            self.peers.remove(peer);
        }
        Some(dial)
    }
}
