//! The system's clocks behind core's hook.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use btcfed_core::time::{Clock, MonotonicTime, Now, Timestamp};

/// The clocks of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Now {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Now {
            monotonic: MonotonicTime::from_origin(ORIGIN.get_or_init(Instant::now).elapsed()),
            wall: Timestamp::from_millis(
                u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
            ),
        }
    }
}
