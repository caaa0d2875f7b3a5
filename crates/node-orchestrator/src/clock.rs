//! The clock of a running node.

use std::time::{SystemTime, UNIX_EPOCH};

use btcfed_core::time::{Clock, MonotonicTime, Now, Timestamp};
use tokio::time::Instant;

/// Monotonic readings from the runtime (so that tests can pause them), wall time from the system.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    origin: Instant,
}

impl TokioClock {
    /// A clock whose monotonic origin is now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Now {
        // A system clock set before 1970 reads as 1970: wall time is only recorded and shown.
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let millis = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        Now {
            monotonic: MonotonicTime::from_origin(self.origin.elapsed()),
            wall: Timestamp::from_millis(millis),
        }
    }
}
