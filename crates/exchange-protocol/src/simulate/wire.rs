//! What carries frames: latency, jitter, losses, uplinks, and frames of one link that keep their order.

use std::time::Duration;

use btcfed_core::network::{CommandId, RequestError, RequestToken};

use super::event::Event;
use super::{NodeId, Simulation};

/// TCP, Noise and Yamux take two and a half round trips.
const LATENCIES_PER_CONNECTION: u32 = 5;

/// Bytes of Ethernet, IP, TCP, Noise and Yamux around a frame.
const FRAME_OVERHEAD_BYTES: u64 = 100;

/// TCP's least wait before it sends again (RFC 6298 demands a second; Linux, BSD and Windows wait 200 to 300 ms).
const RETRANSMISSION_TIMEOUT: Duration = Duration::from_millis(200);

/// How often a lost frame is sent again before the simulation lets it through.
const MAX_RETRANSMISSIONS: u32 = 8;

impl Simulation {
    /// `from` dials `to`. Does nothing if they are connected, one of them has stopped or a partition lies between them.
    pub fn connect(&mut self, from: NodeId, to: NodeId) {
        let are_up = self.is_running(from) && self.is_running(to);
        if from == to || !are_up || !self.reaches(from, to) || self.are_connected(from, to) {
            return;
        }
        self.link(from, to, true);
        let failed = self.rng.chance(self.options.dial_failure);
        let mut delay = Duration::ZERO;
        for _ in 0..LATENCIES_PER_CONNECTION {
            delay += self.latency() + self.delay_by_losses();
        }
        self.later(delay, Event::Dialled { from, to, failed });
    }

    /// Closes the connection between two nodes.
    pub fn disconnect(&mut self, one: NodeId, other: NodeId) {
        if self.are_connected(one, other) {
            self.link(one, other, false);
            for (at, peer) in [(one, other), (other, one)] {
                self.later(Duration::ZERO, Event::Closed { at, peer });
            }
        }
    }

    pub(super) fn send(&mut self, from: NodeId, to: NodeId, id: CommandId, frame: Vec<u8>) {
        let at = self.arrival(from, to, frame.len());
        let event = Event::Request {
            from,
            to,
            id,
            frame,
        };
        self.events.add(at, event);
    }

    pub(super) fn answer(&mut self, from: NodeId, token: RequestToken, frame: Vec<u8>) {
        let node = self.nodes.get_mut(from);
        if let Some((to, id)) = node.and_then(|node| node.replies.remove(&token)) {
            let at = self.arrival(from, to, frame.len());
            let event = Event::Response {
                to,
                peer: from,
                id,
                frame,
            };
            self.events.add(at, event);
        }
    }

    pub(super) fn fail(&mut self, at: NodeId, id: CommandId, error: RequestError) {
        self.later(Duration::ZERO, Event::Failed { at, id, error });
    }

    /// When a frame that is sent now arrives: after the queue of the uplink, and after what was sent before on this link.
    fn arrival(&mut self, from: NodeId, to: NodeId, bytes: usize) -> Duration {
        self.messages += u64::from(bytes > 0);
        let travel = self.latency() + self.delay_by_losses();
        let (now, uplink) = (self.now, self.options.uplink);
        let Some(node) = self.nodes.get_mut(from) else {
            return now;
        };
        if let Some(per_second) = uplink {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            let bytes = bytes.saturating_add(FRAME_OVERHEAD_BYTES);
            let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(per_second.max(1));
            let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            node.uplink_free = node.uplink_free.max(now).saturating_add(takes);
        }
        let at = node.uplink_free.max(now).saturating_add(travel);
        match node.links.get_mut(&to) {
            Some(last) => {
                *last = at.max(*last);
                *last
            }
            None => at,
        }
    }

    fn latency(&mut self) -> Duration {
        self.rng
            .jitter(self.options.latency, self.options.latency_jitter)
    }

    fn delay_by_losses(&mut self) -> Duration {
        let mut wait = RETRANSMISSION_TIMEOUT.max(self.options.latency * 2);
        let mut delay = Duration::ZERO;
        for _ in 0..MAX_RETRANSMISSIONS {
            if !self.rng.chance(self.options.loss) {
                break;
            }
            delay += wait;
            wait *= 2;
        }
        delay
    }

    pub(super) fn are_connected(&self, one: NodeId, other: NodeId) -> bool {
        let node = self.nodes.get(one);
        node.is_some_and(|node| node.links.contains_key(&other))
    }

    fn link(&mut self, one: NodeId, other: NodeId, is_up: bool) {
        for (at, peer) in [(one, other), (other, one)] {
            if let Some(node) = self.nodes.get_mut(at) {
                if is_up {
                    node.links.insert(peer, Duration::ZERO);
                } else {
                    node.links.remove(&peer);
                }
            }
        }
    }

    /// The open connections and those on their way, each once.
    #[must_use]
    pub fn links(&self) -> Vec<(NodeId, NodeId)> {
        let nodes = self.nodes.iter().enumerate();
        let links = nodes.flat_map(|(id, node)| node.links.keys().map(move |peer| (id, *peer)));
        links.filter(|(one, other)| one < other).collect()
    }
}
