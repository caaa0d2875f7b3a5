//! Requests in both directions: bounded queues to each peer, and the answers this node still owes.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use btcfed_core::PeerKey;
use btcfed_core::network::{CommandId, RequestToken};

use crate::limits::{MAX_INBOUND_REQUESTS, MAX_REQUESTS_IN_FLIGHT, MAX_REQUESTS_QUEUED};

/// A request on its way to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    /// The command it belongs to.
    pub(crate) id: CommandId,
    /// Whom it is for.
    pub(crate) peer: PeerKey,
    /// Kept until answered, because the connection may lose a tie-break under it.
    pub(crate) frame: Vec<u8>,
    /// True when this is the second try.
    pub(crate) is_retry: bool,
}

/// What becomes of a new request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The queue of the peer is full.
    Busy,
    /// It waits for a slot.
    Queued,
    /// It is to be sent now.
    Send(Outgoing),
}

/// Requests of this node. `R` is libp2p's name for a request in flight.
#[derive(Debug)]
pub(crate) struct OutgoingRequests<R> {
    in_flight: HashMap<R, Outgoing>,
    peers: HashMap<PeerKey, Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    in_flight: usize,
    waiting: VecDeque<Outgoing>,
}

impl<R: Copy + Eq + Hash> OutgoingRequests<R> {
    /// No requests.
    pub(crate) fn new() -> Self {
        Self {
            in_flight: HashMap::new(),
            peers: HashMap::new(),
        }
    }

    /// Takes a new request. A slot is taken for one that is to be sent now; [`sent`](Self::sent) must follow.
    pub(crate) fn submit(&mut self, request: Outgoing) -> Admission {
        let queue = self.peers.entry(request.peer).or_default();
        if queue.in_flight < MAX_REQUESTS_IN_FLIGHT {
            queue.in_flight += 1;
            Admission::Send(request)
        } else if queue.waiting.len() < MAX_REQUESTS_QUEUED {
            queue.waiting.push_back(request);
            Admission::Queued
        } else {
            Admission::Busy
        }
    }

    /// The request that was handed out last is in flight under this name.
    pub(crate) fn sent(&mut self, name: R, request: Outgoing) {
        self.in_flight.insert(name, request);
    }

    /// A request ended, one way or another. Its slot stays taken until [`release`](Self::release).
    pub(crate) fn finished(&mut self, name: R) -> Option<Outgoing> {
        self.in_flight.remove(&name)
    }

    /// Gives up a request, and tells whether it had been sent. A slot it had stays taken until [`release`](Self::release).
    pub(crate) fn cancel(&mut self, id: CommandId) -> Option<(Outgoing, bool)> {
        let sent = self.in_flight.iter().find(|(_, request)| request.id == id);
        if let Some(name) = sent.map(|(name, _)| *name) {
            return Some((self.in_flight.remove(&name)?, true));
        }
        self.peers.values_mut().find_map(|queue| {
            let at = queue.waiting.iter().position(|request| request.id == id)?;
            Some((queue.waiting.remove(at)?, false))
        })
    }

    /// Frees the slot of a finished request and hands out the next one that waited for it.
    pub(crate) fn release(&mut self, peer: &PeerKey) -> Option<Outgoing> {
        let queue = self.peers.get_mut(peer)?;
        if let Some(next) = queue.waiting.pop_front() {
            return Some(next);
        }
        queue.in_flight = queue.in_flight.saturating_sub(1);
        if queue.in_flight == 0 {
            self.peers.remove(peer);
        }
        None
    }

    /// A peer is gone: the requests that were never sent. Those in flight are reported by libp2p one by one.
    pub(crate) fn drain_waiting(&mut self, peer: &PeerKey) -> Vec<Outgoing> {
        self.peers
            .get_mut(peer)
            .map(|queue| queue.waiting.drain(..).collect())
            .unwrap_or_default()
    }
}

/// Requests of others that wait for an answer. `R` is libp2p's name for the request, `A` the way back.
#[derive(Debug)]
pub(crate) struct IncomingRequests<R, A> {
    next: u64,
    waiting: HashMap<RequestToken, (R, A)>,
    tokens: HashMap<R, RequestToken>,
}

impl<R: Copy + Eq + Hash, A> IncomingRequests<R, A> {
    /// No requests.
    pub(crate) fn new() -> Self {
        Self {
            next: 0,
            waiting: HashMap::new(),
            tokens: HashMap::new(),
        }
    }

    /// Takes a request; `None` when too many wait already, and the request is to be dropped.
    pub(crate) fn insert(&mut self, name: R, answer: A) -> Option<RequestToken> {
        if self.waiting.len() >= MAX_INBOUND_REQUESTS {
            return None;
        }
        let token = RequestToken(self.next);
        self.next += 1;
        self.waiting.insert(token, (name, answer));
        self.tokens.insert(name, token);
        Some(token)
    }

    /// The way back for an answer; `None` when it is too late or the token was never given out.
    pub(crate) fn answer(&mut self, token: RequestToken) -> Option<(R, A)> {
        let (name, answer) = self.waiting.remove(&token)?;
        self.tokens.remove(&name);
        Some((name, answer))
    }

    /// The peer is gone, or the answer came too late.
    pub(crate) fn expired(&mut self, name: R) {
        if let Some(token) = self.tokens.remove(&name) {
            self.waiting.remove(&token);
        }
    }
}

#[cfg(test)]
mod tests {
    use btcfed_core::SecretKey;

    use super::*;

    fn request(id: u64, seed: u8) -> Outgoing {
        let peer = SecretKey::from_seed([seed; 32]).public();
        Outgoing {
            id: CommandId(id),
            peer,
            frame: vec![seed],
            is_retry: false,
        }
    }

    #[test]
    fn requests_wait_for_a_slot_in_order_and_are_refused_beyond_the_queue() {
        let mut requests = OutgoingRequests::new();
        let total = MAX_REQUESTS_IN_FLIGHT + MAX_REQUESTS_QUEUED;
        for id in 0..total as u64 {
            match requests.submit(request(id, 1)) {
                Admission::Send(request) => requests.sent(id, request),
                Admission::Queued => assert!(id >= MAX_REQUESTS_IN_FLIGHT as u64),
                Admission::Busy => panic!("busy at {id}"),
            }
        }
        assert_eq!(requests.submit(request(99, 1)), Admission::Busy);
        assert!(
            matches!(requests.submit(request(99, 2)), Admission::Send(_)),
            "another peer has its own queue"
        );
        let finished = requests.finished(3).unwrap();
        let next = requests.release(&finished.peer).unwrap();
        assert_eq!(next.id, CommandId(MAX_REQUESTS_IN_FLIGHT as u64));
        assert_eq!(requests.submit(request(100, 1)), Admission::Queued);
    }

    #[test]
    fn a_lost_peer_gives_back_what_was_never_sent_and_leaves_nothing_behind() {
        let mut requests = OutgoingRequests::new();
        for id in 0..10 {
            if let Admission::Send(request) = requests.submit(request(id, 1)) {
                requests.sent(id, request);
            }
        }
        let peer = request(0, 1).peer;
        let never_sent: Vec<u64> = requests
            .drain_waiting(&peer)
            .iter()
            .map(|r| r.id.0)
            .collect();
        assert_eq!(never_sent, [8, 9]);
        for id in 0..8 {
            assert!(requests.finished(id).is_some());
            assert_eq!(requests.finished(id), None, "answered exactly once");
            assert_eq!(requests.release(&peer), None);
        }
        assert!(requests.peers.is_empty() && requests.in_flight.is_empty());
    }

    #[test]
    fn a_cancelled_request_is_gone_whether_it_was_sent_or_waits() {
        let mut requests = OutgoingRequests::new();
        let total = (MAX_REQUESTS_IN_FLIGHT + 1) as u64;
        for id in 0..total {
            if let Admission::Send(request) = requests.submit(request(id, 1)) {
                requests.sent(id, request);
            }
        }
        let (waiting, was_sent) = requests.cancel(CommandId(total - 1)).unwrap();
        assert_eq!((waiting.id, was_sent), (CommandId(total - 1), false));
        let (sent, was_sent) = requests.cancel(CommandId(0)).unwrap();
        assert_eq!((sent.id, was_sent), (CommandId(0), true));
        assert_eq!(requests.release(&sent.peer), None, "nobody waits any more");
        assert!(matches!(
            requests.submit(request(99, 1)),
            Admission::Send(_)
        ));
        assert_eq!(requests.cancel(CommandId(0)), None);
        assert_eq!(requests.finished(0), None, "a late answer finds nobody");
    }

    #[test]
    fn answers_reach_their_request_once_and_not_after_it_expired() {
        let mut requests = IncomingRequests::new();
        let (first, second) = (
            requests.insert(7, 'a').unwrap(),
            requests.insert(8, 'b').unwrap(),
        );
        assert_eq!(requests.answer(second), Some((8, 'b')));
        assert_eq!(requests.answer(second), None);
        requests.expired(7);
        assert_eq!(requests.answer(first), None);
        assert_eq!(requests.answer(RequestToken(99)), None);
        assert!(requests.waiting.is_empty() && requests.tokens.is_empty());
    }

    #[test]
    fn unanswered_requests_are_bounded() {
        let mut requests = IncomingRequests::new();
        for name in 0..MAX_INBOUND_REQUESTS {
            assert!(requests.insert(name, ()).is_some());
        }
        assert_eq!(requests.insert(usize::MAX, ()), None);
        requests.expired(0);
        assert!(requests.insert(usize::MAX, ()).is_some());
    }
}
