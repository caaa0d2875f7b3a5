//! What will happen, in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use btcfed_core::PeerSet;
use btcfed_core::network::{CommandId, RequestError};

use super::NodeId;

/// What will happen.
#[derive(Debug)]
pub(super) enum Event {
    /// A connection is up on both sides, or the dial failed.
    Dialled {
        from: NodeId,
        to: NodeId,
        failed: bool,
    },
    /// A side notices that a connection is gone.
    Closed {
        at: NodeId,
        peer: NodeId,
    },
    Request {
        from: NodeId,
        to: NodeId,
        id: CommandId,
        frame: Vec<u8>,
    },
    Response {
        to: NodeId,
        peer: NodeId,
        id: CommandId,
        frame: Vec<u8>,
    },
    Failed {
        at: NodeId,
        id: CommandId,
        error: RequestError,
    },
    Stored {
        at: NodeId,
        set: Arc<PeerSet>,
    },
    Wake {
        at: NodeId,
    },
    /// A hostile node does what it does.
    Mischief {
        at: NodeId,
    },
}

/// Events in the order of time; of those of one moment in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Events {
    heap: BinaryHeap<Reverse<Entry>>,
    serial: u64,
}

#[derive(Debug)]
struct Entry {
    at: Duration,
    serial: u64,
    event: Event,
}

impl Entry {
    const fn rank(&self) -> (Duration, u64) {
        (self.at, self.serial)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl Events {
    pub(super) fn add(&mut self, at: Duration, event: Event) {
        self.serial += 1;
        let serial = self.serial;
        self.heap.push(Reverse(Entry { at, serial, event }));
    }

    /// When the next one happens.
    pub(super) fn next_at(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.heap.pop().map(|Reverse(entry)| entry.event)
    }
}
