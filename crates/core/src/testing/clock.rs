//! Time that moves only when told to.

use std::sync::Mutex;
use std::time::Duration;

use super::lock;
use crate::time::{Clock, MonotonicTime, Now, Timestamp};

/// The wall time at which a [`ManualClock`] starts: 2026-01-01T00:00:00Z.
const START: Timestamp = Timestamp::from_secs(1_767_225_600);

/// A clock that stands still until it is advanced.
#[derive(Debug)]
pub struct ManualClock(Mutex<Now>);

impl Default for ManualClock {
    fn default() -> Self {
        Self::starting_at(START)
    }
}

impl ManualClock {
    /// A clock at the origin of monotonic time and at `wall`.
    #[must_use]
    pub const fn starting_at(wall: Timestamp) -> Self {
        Self(Mutex::new(Now {
            monotonic: MonotonicTime::ZERO,
            wall,
        }))
    }

    /// Moves both readings forward.
    pub fn advance(&self, by: Duration) {
        let mut now = lock(&self.0);
        now.monotonic = now.monotonic.saturating_add(by);
        now.wall = now.wall.saturating_add(by);
    }

    /// Sets the wall clock, forwards or backwards, as an operator or NTP might. Monotonic time is not affected.
    pub fn set_wall(&self, wall: Timestamp) {
        lock(&self.0).wall = wall;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        *lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stands_still_until_it_is_advanced() {
        let clock = ManualClock::default();
        let start = clock.now();
        assert_eq!(clock.now(), start);
        clock.advance(Duration::from_secs(5));
        assert_eq!(
            clock.now().monotonic.saturating_since(start.monotonic),
            Duration::from_secs(5)
        );
        assert_eq!(
            clock.now().wall,
            start.wall.saturating_add(Duration::from_secs(5))
        );
    }

    #[test]
    fn a_wall_clock_that_jumps_back_leaves_monotonic_time_alone() {
        let clock = ManualClock::default();
        clock.advance(Duration::from_secs(5));
        let before = clock.now().monotonic;
        clock.set_wall(Timestamp::UNIX_EPOCH);
        assert_eq!(
            clock.now(),
            Now {
                monotonic: before,
                wall: Timestamp::UNIX_EPOCH
            }
        );
    }
}
