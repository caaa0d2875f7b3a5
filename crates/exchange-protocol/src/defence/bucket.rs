//! A token bucket on virtual time.

use std::time::Duration;

use btcfed_core::time::MonotonicTime;

const NANOS: u64 = 1_000_000_000;

const SECONDS_PER_MINUTE: u32 = 60;

/// Allows bursts up to a bound and a steady rate in the long run.
#[derive(Clone, Debug)]
pub(crate) struct TokenBucket {
    burst: u32,
    per_minute: u64,
    /// In billionths of a token.
    level: u64,
    /// In sixtieths of that, so that no fraction is lost however often it is asked.
    rest: u64,
    at: MonotonicTime,
}

impl TokenBucket {
    /// A full bucket.
    pub(crate) fn new(burst: u32, per_second: u32, now: MonotonicTime) -> Self {
        Self::with_rate(burst, minutely(per_second), now)
    }

    /// A full bucket that fills as slowly as one token a minute.
    pub(crate) fn per_minute(burst: u32, per_minute: u32, now: MonotonicTime) -> Self {
        Self::with_rate(burst, per_minute.into(), now)
    }

    fn with_rate(burst: u32, per_minute: u64, now: MonotonicTime) -> Self {
        Self {
            burst,
            per_minute,
            level: u64::from(burst) * NANOS,
            rest: 0,
            at: now,
        }
    }

    /// Takes `wanted` tokens that cost `price` each, or as many as there are. Returns how many were taken.
    pub(crate) fn take_up_to(&mut self, now: MonotonicTime, wanted: usize, price: u32) -> usize {
        self.refill(now);
        let price = u64::from(price.max(1)) * NANOS;
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        let taken = wanted.min(self.level / price);
        self.level -= taken * price;
        usize::try_from(taken).unwrap_or(usize::MAX)
    }

    /// Takes one token that costs `price`. Returns whether there was one.
    pub(crate) fn take(&mut self, now: MonotonicTime, price: u32) -> bool {
        self.take_up_to(now, 1, price) == 1
    }

    /// True when so many tokens are there.
    pub(crate) fn has(&mut self, now: MonotonicTime, tokens: u32) -> bool {
        self.refill(now);
        self.level >= u64::from(tokens) * NANOS
    }

    /// Changes burst and rate. What is left stays, as far as it fits.
    pub(crate) fn resize(&mut self, now: MonotonicTime, burst: u32, per_second: u32) {
        self.resize_to(now, burst, minutely(per_second));
    }

    /// The same for a rate by the minute.
    pub(crate) fn resize_per_minute(&mut self, now: MonotonicTime, burst: u32, per_minute: u32) {
        self.resize_to(now, burst, per_minute.into());
    }

    fn resize_to(&mut self, now: MonotonicTime, burst: u32, per_minute: u64) {
        self.refill(now);
        let gained = u64::from(burst.saturating_sub(self.burst)) * NANOS;
        self.level = self
            .level
            .saturating_add(gained)
            .min(u64::from(burst) * NANOS);
        (self.burst, self.per_minute) = (burst, per_minute);
    }

    /// How long until a token of this price is there.
    pub(crate) fn wait(&self, price: u32) -> Duration {
        let missing = (u64::from(price.max(1)) * NANOS).saturating_sub(self.level);
        let missing = u128::from(missing) * u128::from(SECONDS_PER_MINUTE);
        let missing = missing.saturating_sub(self.rest.into());
        let nanos = missing.div_ceil(self.per_minute.max(1).into());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn refill(&mut self, now: MonotonicTime) {
        let nanos = now.saturating_since(self.at).as_nanos();
        let parts = u128::from(SECONDS_PER_MINUTE);
        let gained = nanos
            .saturating_mul(self.per_minute.into())
            .saturating_add(self.rest.into());
        self.rest = u64::try_from(gained % parts).unwrap_or_default();
        let gained = u64::try_from(gained / parts).unwrap_or(u64::MAX);
        self.level = self
            .level
            .saturating_add(gained)
            .min(u64::from(self.burst) * NANOS);
        self.at = self.at.max(now);
    }
}

fn minutely(per_second: u32) -> u64 {
    u64::from(per_second) * u64::from(SECONDS_PER_MINUTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> MonotonicTime {
        MonotonicTime::from_origin(Duration::from_millis(millis))
    }

    #[test]
    fn a_burst_is_allowed_and_one_more_is_not() {
        let mut bucket = TokenBucket::new(3, 1, at(0));
        assert!((0..3).all(|_| bucket.take(at(0), 1)));
        assert!(!bucket.take(at(0), 1));
        assert_eq!(bucket.wait(1), Duration::from_secs(1));
        assert!(!bucket.take(at(999), 1));
        assert!(bucket.take(at(1000), 1));
    }

    #[test]
    fn asking_often_loses_no_fraction_and_a_long_rest_fills_only_to_the_brim() {
        let mut bucket = TokenBucket::new(2, 10, at(0));
        assert_eq!(bucket.take_up_to(at(0), 5, 1), 2);
        for millis in 1..100 {
            assert!(!bucket.take(at(millis), 1));
        }
        assert!(bucket.take(at(100), 1));
        let end = MonotonicTime::from_origin(Duration::MAX);
        assert_eq!(bucket.take_up_to(end, 100, 1), 2);
        assert_eq!(
            bucket.take_up_to(at(0), 1, 1),
            0,
            "time that goes backwards gives nothing"
        );
    }

    #[test]
    fn a_rate_by_the_minute_loses_nothing_and_a_new_one_holds_from_then_on() {
        let mut bucket = TokenBucket::per_minute(2, 7, at(0));
        assert_eq!(bucket.take_up_to(at(0), 9, 1), 2);
        let taken = (1..=60_000).filter(|ms| bucket.take(at(*ms), 1)).count();
        assert_eq!(taken, 7);
        assert_eq!(bucket.wait(1), Duration::from_nanos(8_571_428_572));
        bucket.resize_per_minute(at(60_000), 5, 60);
        assert_eq!(bucket.take_up_to(at(60_000), 9, 1), 3, "what it gained");
        assert_eq!(bucket.wait(1), Duration::from_secs(1));
        bucket.resize_per_minute(at(1_000_000), 1, 60);
        assert_eq!(bucket.take_up_to(at(1_000_000), 9, 1), 1, "it overflows");
    }

    #[test]
    fn a_higher_price_empties_it_faster() {
        let mut bucket = TokenBucket::new(8, 1, at(0));
        assert_eq!(bucket.take_up_to(at(0), 8, 4), 2);
        assert_eq!(bucket.wait(4), Duration::from_secs(4));
    }
}
