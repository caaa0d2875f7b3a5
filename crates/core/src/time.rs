//! Time as data: a monotonic reading, a wall-clock reading, and the hook that supplies both.
//!
//! Pure logic takes a [`Now`] as an argument and never reads a clock. Intervals are always measured on the monotonic
//! reading; the wall clock is only recorded, shown and clamped, because peers' clocks are not to be trusted.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

/// The last moment every text form can express, in milliseconds since the Unix epoch.
const MAX_MILLIS: u64 = 253_402_207_200_000;

/// Time since an arbitrary origin of this process. Never goes backwards. Resolution: nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MonotonicTime(Duration);

impl MonotonicTime {
    /// The origin.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// The reading `since_origin` after the origin.
    #[must_use]
    pub const fn from_origin(since_origin: Duration) -> Self {
        Self(since_origin)
    }

    /// How long after the origin this reading was taken.
    #[must_use]
    pub const fn since_origin(self) -> Duration {
        self.0
    }

    /// Time elapsed since `earlier`; zero when `earlier` lies in the future.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// This reading plus `duration`, saturating at the largest representable reading instead of panicking.
    #[must_use]
    pub const fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// Wall-clock time: milliseconds since the Unix epoch (UTC). Text forms belong to the crates that write files.
///
/// As large as a number, also within an `Option`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(
    /// One more than the milliseconds, so that zero is left for `None`.
    NonZeroU64,
);

impl Timestamp {
    /// The last moment every text form can express: 9999-12-30T22:00:00Z.
    pub const MAX: Self = Self::new(MAX_MILLIS);
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: Self = Self::new(0);

    /// The moment `millis` milliseconds after the Unix epoch, clamped to [`Timestamp::MAX`].
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        if millis > MAX_MILLIS {
            Self::MAX
        } else {
            Self::new(millis)
        }
    }

    /// `millis` is far below the largest number there is, so the sum is exact.
    const fn new(millis: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(millis))
    }

    /// The moment `secs` seconds after the Unix epoch, clamped to [`Timestamp::MAX`].
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self::from_millis(secs.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0.get() - 1
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.as_millis() / 1000
    }

    /// This moment plus `duration`, saturating at [`Timestamp::MAX`].
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self::from_millis(self.as_millis().saturating_add(millis))
    }

    /// Time elapsed since `earlier`; zero when `earlier` lies in the future.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.as_millis().saturating_sub(earlier.as_millis()))
    }

    /// This moment, but never later than `now`: what a remote clock or a file claims is clamped before it is used.
    #[must_use]
    pub fn clamp_to(self, now: Self) -> Self {
        self.min(now)
    }
}

impl Default for Timestamp {
    fn default() -> Self {
        Self::UNIX_EPOCH
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timestamp").field(&self.as_millis()).finish()
    }
}

/// Both readings, taken together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Now {
    /// For intervals and deadlines.
    pub monotonic: MonotonicTime,
    /// For records and people.
    pub wall: Timestamp,
}

/// The hook that supplies time. Held only at the edges; pure logic receives a [`Now`].
pub trait Clock: Send + Sync + fmt::Debug {
    /// The current readings. Never blocks.
    fn now(&self) -> Now;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_arithmetic_saturates_instead_of_panicking() {
        let end = MonotonicTime::from_origin(Duration::MAX);
        assert_eq!(end.saturating_add(Duration::MAX), end);
        assert_eq!(MonotonicTime::ZERO.saturating_since(end), Duration::ZERO);
        assert_eq!(Timestamp::from_millis(u64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from_secs(u64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MAX.saturating_add(Duration::MAX), Timestamp::MAX);
        assert_eq!(
            Timestamp::UNIX_EPOCH.saturating_since(Timestamp::MAX),
            Duration::ZERO
        );
    }

    #[test]
    fn a_moment_that_may_be_missing_takes_no_more_room_and_reads_as_it_was_given() {
        assert_eq!(size_of::<Option<Timestamp>>(), size_of::<u64>());
        for millis in [0, 1, 253_402_207_200_000] {
            let at = Timestamp::from_millis(millis);
            assert_eq!(
                (at.as_millis(), format!("{at:?}")),
                (millis, format!("Timestamp({millis})"))
            );
        }
        assert_eq!(Timestamp::default(), Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn a_future_wall_time_is_clamped_to_now_and_a_past_one_is_kept() {
        let now = Timestamp::from_secs(100);
        assert_eq!(Timestamp::from_secs(101).clamp_to(now), now);
        assert_eq!(
            Timestamp::from_secs(99).clamp_to(now),
            Timestamp::from_secs(99)
        );
    }
}
