//! Counters of things that are too frequent or too hostile to be events.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is open now, and how often something happened since the network started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkStats {
    /// Established connections, for a moment more than one per peer.
    pub connections: u64,
    /// Frames that were not frames: over-long, padded or followed by more bytes.
    pub malformed_frames: u64,
    /// Inbound connections that ended before they were established: noise, scanners, wrong protocols.
    pub failed_inbound: u64,
    /// Connections refused by a limit or a ban, in either direction.
    pub refused_connections: u64,
    /// Inbound requests dropped because too many waited for an answer.
    pub dropped_requests: u64,
    /// Second connections to a peer that were closed in favour of the other one.
    pub duplicate_connections: u64,
}

/// The live counters behind [`NetworkStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    connections: AtomicU64,
    malformed_frames: AtomicU64,
    failed_inbound: AtomicU64,
    refused_connections: AtomicU64,
    dropped_requests: AtomicU64,
    duplicate_connections: AtomicU64,
}

impl Counters {
    pub(crate) fn set_connections(&self, count: usize) {
        self.connections
            .store(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn malformed_frame(&self) {
        self.malformed_frames.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn inbound_failed(&self) {
        self.failed_inbound.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn connection_refused(&self) {
        self.refused_connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn request_dropped(&self) {
        self.dropped_requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn duplicate_closed(&self) {
        self.duplicate_connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> NetworkStats {
        NetworkStats {
            connections: self.connections.load(Ordering::Relaxed),
            malformed_frames: self.malformed_frames.load(Ordering::Relaxed),
            failed_inbound: self.failed_inbound.load(Ordering::Relaxed),
            refused_connections: self.refused_connections.load(Ordering::Relaxed),
            dropped_requests: self.dropped_requests.load(Ordering::Relaxed),
            duplicate_connections: self.duplicate_connections.load(Ordering::Relaxed),
        }
    }
}
