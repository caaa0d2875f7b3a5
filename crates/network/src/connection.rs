//! The connection state table: which connections exist, which one of two survives, which one is dead.
//!
//! Pure: events and the time go in, actions come out; the host executes them. A peer is up from its first established
//! connection to its last closed one.
//!
//! ```text
//!            dial / accept            handshake done
//!   (none) ---------------> Connecting ------------> Connected
//!                               |                        | close, duplicate, silence
//!                               | error                  v
//!                               +--------> Failed   Disconnecting ---> (none)
//! ```
//!
//! # Two connections to one peer
//!
//! When both sides dial at once, two connections come up on both sides, and both sides must keep the same one:
//!
//! 1. A connection that is older than [`RACE_WINDOW`] when the second one comes up is a leftover: whoever dialled again
//!    had lost it. It is closed, the new one stays.
//! 2. Otherwise, of two opposite directions, the connection that was dialled by the peer with the smaller peer id
//!    (compared as bytes) stays. Both sides close the other one.
//! 3. Otherwise both have the same direction. The side that accepted them closes the older one.
//!
//! The connection to be closed stays open for [`DUPLICATE_LINGER`]: closed at once, it could be gone on the other side
//! before the one that stays is there, and the peer would be down for a moment.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use btcfed_core::config::NetworkConfig;
use btcfed_core::network::{Direction, DisconnectReason};
use btcfed_core::time::MonotonicTime;
use btcfed_core::{PeerId, PeerKey};

use crate::limits::{DUPLICATE_LINGER, RACE_WINDOW};

/// When a silent connection counts as dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Liveness {
    /// How often a new connection is pinged. Fixed for the life of a connection.
    pub(crate) interval: Duration,
    /// How long an answer may take. Fixed for the life of a connection.
    pub(crate) timeout: Duration,
    /// How many pings in a row may be missed.
    pub(crate) failures: u32,
}

impl From<&NetworkConfig> for Liveness {
    fn from(config: &NetworkConfig) -> Self {
        Self {
            interval: config.keepalive_interval,
            timeout: config.keepalive_timeout,
            failures: config.keepalive_failures,
        }
    }
}

impl Liveness {
    /// The longest silence, as [`NetworkConfig::liveness_deadline`] has it.
    const fn deadline(self) -> Duration {
        self.interval
            .saturating_mul(self.failures)
            .saturating_add(self.timeout)
    }
}

/// Where a connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Being dialled, or in its handshake.
    Connecting,
    /// Established.
    Connected,
    /// Told to close, not closed yet.
    Disconnecting(Closing),
    /// Never established. Remembered only as a return value: the table forgets failed connections at once.
    Failed,
}

/// Why a connection was told to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// Another connection to the same peer is kept.
    Duplicate,
    /// This node wants to be rid of the peer.
    Local,
    /// No sign of life.
    Silent,
}

/// What became of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The peer is up now and was not before.
    Up(PeerKey),
    /// The peer is down now.
    Down(PeerKey, DisconnectReason),
}

#[derive(Clone, Debug)]
struct Connection {
    peer: Option<PeerKey>,
    direction: Direction,
    state: State,
    established: MonotonicTime,
    alive: MonotonicTime,
    liveness: Liveness,
}

impl Connection {
    /// When it is dead unless it gives a sign of life; `None` unless it is live.
    fn overdue_at(&self) -> Option<MonotonicTime> {
        (self.state == State::Connected)
            .then(|| self.alive.saturating_add(self.liveness.deadline()))
    }
}

/// The table. `C` names connections: libp2p's id, or a number in tests.
#[derive(Debug)]
pub(crate) struct ConnectionTable<C> {
    local: PeerId,
    liveness: Liveness,
    connections: BTreeMap<C, Connection>,
    /// Established connections of each peer, oldest first. Never holds an empty list.
    peers: HashMap<PeerKey, Vec<C>>,
    /// Connections that lost a tie-break, with the time they are closed, soonest first.
    lingering: VecDeque<(MonotonicTime, C)>,
    /// Nothing is to be closed before this time. May be too early, never too late.
    next_check: Option<MonotonicTime>,
}

impl<C: Copy + Ord + fmt::Debug> ConnectionTable<C> {
    /// An empty table of the node `local`, which closes connections that are silent for too long.
    pub(crate) fn new(local: PeerId, liveness: Liveness) -> Self {
        Self {
            local,
            liveness,
            connections: BTreeMap::new(),
            peers: HashMap::new(),
            lingering: VecDeque::new(),
            next_check: None,
        }
    }

    /// A dial started, or a TCP connection was accepted.
    pub(crate) fn connecting(
        &mut self,
        id: C,
        peer: Option<PeerKey>,
        direction: Direction,
        now: MonotonicTime,
    ) {
        let state = State::Connecting;
        self.connections.insert(
            id,
            Connection {
                peer,
                direction,
                state,
                established: now,
                alive: now,
                liveness: self.liveness,
            },
        );
    }

    /// The handshake did not come to an end. `None` when the table does not know the connection.
    pub(crate) fn failed(&mut self, id: C) -> Option<State> {
        match self.connections.get(&id)?.state {
            State::Connecting | State::Failed => {
                self.connections.remove(&id).map(|_| State::Failed)
            }
            State::Connected | State::Disconnecting(_) => None,
        }
    }

    /// The handshake is done and the peer proved its key.
    pub(crate) fn established(
        &mut self,
        id: C,
        peer: PeerKey,
        direction: Direction,
        now: MonotonicTime,
    ) -> Option<Change> {
        let state = State::Connected;
        self.connections.insert(
            id,
            Connection {
                peer: Some(peer),
                direction,
                state,
                established: now,
                alive: now,
                liveness: self.liveness,
            },
        );
        let others = self.peers.entry(peer).or_default();
        others.push(id);
        let change = (others.len() == 1).then_some(Change::Up(peer));
        for other in self.live(&peer) {
            if other == id {
                continue;
            }
            let Some(loser) = self.loser(other, id, peer.peer_id(), now) else {
                continue;
            };
            if self.close(loser, Closing::Duplicate).is_some() {
                self.lingering
                    .push_back((now.saturating_add(DUPLICATE_LINGER), loser));
            }
            if loser == id {
                break;
            }
        }
        self.schedule();
        change
    }

    /// Which of the two live connections to `peer` this side closes; `None` when that is up to the peer.
    fn loser(&self, old: C, new: C, peer: PeerId, now: MonotonicTime) -> Option<C> {
        let (old_entry, new_entry) = (self.connections.get(&old)?, self.connections.get(&new)?);
        if now.saturating_since(old_entry.established) > RACE_WINDOW {
            return Some(old);
        }
        if old_entry.direction == new_entry.direction {
            return (new_entry.direction == Direction::Inbound).then_some(old);
        }
        let kept = if self.local < peer {
            Direction::Outbound
        } else {
            Direction::Inbound
        };
        Some(if new_entry.direction == kept {
            old
        } else {
            new
        })
    }

    /// The peer answered: the connection is alive.
    pub(crate) fn alive(&mut self, id: C, now: MonotonicTime) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.alive = connection.alive.max(now);
        }
    }

    /// A connection is gone. The host calls it for every established connection exactly once.
    pub(crate) fn closed(&mut self, id: C) -> Option<Change> {
        let connection = self.connections.remove(&id)?;
        let peer = connection.peer?;
        let others = self.peers.get_mut(&peer)?;
        others.retain(|other| *other != id);
        if !others.is_empty() {
            return None;
        }
        self.peers.remove(&peer);
        let reason = match connection.state {
            State::Disconnecting(Closing::Local | Closing::Duplicate) => DisconnectReason::Local,
            State::Disconnecting(Closing::Silent) => DisconnectReason::NotResponding,
            State::Connected | State::Connecting | State::Failed => DisconnectReason::Remote,
        };
        Some(Change::Down(peer, reason))
    }

    /// Marks a live connection as closing and returns it; `None` when it is not live.
    pub(crate) fn close(&mut self, id: C, why: Closing) -> Option<C> {
        let connection = self.connections.get_mut(&id)?;
        if connection.state != State::Connected {
            return None;
        }
        connection.state = State::Disconnecting(why);
        Some(id)
    }

    /// Marks every live connection of a peer as closing and returns them.
    pub(crate) fn close_peer(&mut self, peer: &PeerKey) -> Vec<C> {
        let live = self.live(peer);
        live.into_iter()
            .filter_map(|id| self.close(id, Closing::Local))
            .collect()
    }

    /// What is to be closed now: connections without a sign of life for too long, and those that lost a tie-break.
    /// Each is returned once.
    pub(crate) fn expire(&mut self, now: MonotonicTime) -> Vec<(C, Closing)> {
        if self.next_check.is_none_or(|next| now < next) {
            return Vec::new();
        }
        let mut closing = Vec::new();
        while let Some((_, id)) = self
            .lingering
            .front()
            .copied()
            .filter(|(due, _)| *due <= now)
        {
            self.lingering.pop_front();
            if self.connections.contains_key(&id) {
                closing.push((id, Closing::Duplicate));
            }
        }
        let overdue = |c: &Connection| c.overdue_at().is_some_and(|at| at <= now);
        let silent: Vec<C> = self
            .connections
            .iter()
            .filter(|(_, c)| overdue(c))
            .map(|(id, _)| *id)
            .collect();
        closing.extend(
            silent
                .into_iter()
                .filter_map(|id| Some((self.close(id, Closing::Silent)?, Closing::Silent))),
        );
        self.schedule();
        closing
    }

    /// When [`expire`](Self::expire) wants to be called next.
    pub(crate) const fn next_check(&self) -> Option<MonotonicTime> {
        self.next_check
    }

    /// New rules. How many pings may be missed holds at once for every connection; how often they are pinged, and how long
    /// an answer may take, only for new ones, because libp2p keeps pinging the others as before.
    pub(crate) fn set_liveness(&mut self, liveness: Liveness) {
        self.liveness = liveness;
        for connection in self.connections.values_mut() {
            connection.liveness.failures = liveness.failures;
        }
        self.schedule();
    }

    /// This node did not listen for `pause`: no connection is to blame for its silence meanwhile.
    pub(crate) fn forgive(&mut self, pause: Duration, now: MonotonicTime) {
        for connection in self.connections.values_mut() {
            connection.alive = connection.alive.saturating_add(pause).min(now);
        }
        self.schedule();
    }

    /// True from the first established connection of a peer to the last closed one.
    pub(crate) fn is_up(&self, peer: &PeerKey) -> bool {
        self.peers.contains_key(peer)
    }

    /// True while a connection that lost a tie-break is still there.
    pub(crate) fn is_surplus(&self, id: C) -> bool {
        let state = self
            .connections
            .get(&id)
            .map(|connection| &connection.state);
        matches!(state, Some(State::Disconnecting(Closing::Duplicate)))
    }

    /// Established connections, those that are being closed included.
    pub(crate) fn established_count(&self) -> usize {
        self.peers.values().map(Vec::len).sum()
    }

    fn live(&self, peer: &PeerKey) -> Vec<C> {
        let is_live = |id: &&C| {
            self.connections
                .get(id)
                .is_some_and(|c| c.state == State::Connected)
        };
        self.peers
            .get(peer)
            .into_iter()
            .flatten()
            .filter(is_live)
            .copied()
            .collect()
    }

    fn schedule(&mut self) {
        let overdue = self
            .connections
            .values()
            .filter_map(Connection::overdue_at)
            .min();
        let due = self.lingering.front().map(|(due, _)| *due);
        self.next_check = overdue.into_iter().chain(due).min();
    }
}

#[cfg(test)]
#[path = "connection/tests.rs"]
mod tests;
