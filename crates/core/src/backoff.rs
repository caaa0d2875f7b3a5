//! Capped exponential back-off with jitter and flap damping. Pure: time and randomness are handed in.
//!
//! A failure doubles the wait. A success alone does not shorten it: only a connection that stayed up for the stable
//! period does, so a peer that connects and drops in a loop is not redialled ever faster.

use std::time::Duration;

use crate::rng::{SeededRng, fraction_of};
use crate::time::MonotonicTime;

/// The shortest first delay: a zero would make every retry immediate.
const MIN_INITIAL: Duration = Duration::from_millis(1);

/// The steepest growth: beyond it the second failure already reaches any sensible cap.
const MAX_FACTOR: f64 = 1000.0;

/// How waits grow. Every value is in range by construction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BackoffPolicy {
    initial: Duration,
    max: Duration,
    factor: f64,
    jitter: f64,
    stable_after: Duration,
}

impl BackoffPolicy {
    /// A policy that waits `initial` after the first failure and `factor` times longer after each further one, never
    /// longer than `max`, each wait shortened by a random part of at most `jitter` of it.
    ///
    /// Values out of range are moved to the nearest one in range: `initial` >= 1 ms, `max` >= `initial`, `factor` from 1
    /// to 1000, `jitter` from 0 to 1. NaN counts as the lower end.
    #[must_use]
    pub fn new(initial: Duration, max: Duration, factor: f64, jitter: f64) -> Self {
        let initial = initial.max(MIN_INITIAL);
        Self {
            initial,
            max: max.max(initial),
            factor: if factor > 1.0 {
                factor.min(MAX_FACTOR)
            } else {
                1.0
            },
            jitter: if jitter > 0.0 { jitter.min(1.0) } else { 0.0 },
            stable_after: Self::DEFAULT_STABLE_AFTER,
        }
    }

    /// The stable period of a policy that does not choose its own: 60 s.
    pub const DEFAULT_STABLE_AFTER: Duration = Duration::from_secs(60);

    /// The same policy with another stable period: how long a connection must live before failures are forgotten.
    #[must_use]
    pub const fn with_stable_after(mut self, stable_after: Duration) -> Self {
        self.stable_after = stable_after;
        self
    }

    /// The wait after the first failure.
    #[must_use]
    pub const fn initial(&self) -> Duration {
        self.initial
    }

    /// The longest wait.
    #[must_use]
    pub const fn max(&self) -> Duration {
        self.max
    }

    /// How many times longer each wait is than the one before.
    #[must_use]
    pub const fn factor(&self) -> f64 {
        self.factor
    }

    /// The largest random part by which a wait is shortened, as a fraction of it.
    #[must_use]
    pub const fn jitter(&self) -> f64 {
        self.jitter
    }

    /// How long a connection must live before earlier failures are forgotten.
    #[must_use]
    pub const fn stable_after(&self) -> Duration {
        self.stable_after
    }

    /// The wait that follows a wait of `previous`, before jitter.
    fn grow(&self, previous: Duration) -> Duration {
        let seconds = previous.as_secs_f64() * self.factor;
        Duration::try_from_secs_f64(seconds)
            .unwrap_or(self.max)
            .clamp(self.initial, self.max)
    }
}

impl Default for BackoffPolicy {
    /// 1 s, doubling up to 5 min, jitter 0.3.
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(300), 2.0, 0.3)
    }
}

/// Where one target stands: how often it failed, and when it may be tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    policy: BackoffPolicy,
    failures: u32,
    delay: Option<Duration>,
    next_attempt: MonotonicTime,
    connected_since: Option<MonotonicTime>,
}

impl Backoff {
    /// A target that never failed and may be tried at once.
    #[must_use]
    pub const fn new(policy: BackoffPolicy) -> Self {
        Self {
            policy,
            failures: 0,
            delay: None,
            next_attempt: MonotonicTime::ZERO,
            connected_since: None,
        }
    }

    /// An attempt failed. Returns the earliest moment of the next one, never later than `now` plus the policy's maximum.
    pub fn failure(&mut self, now: MonotonicTime, rng: &mut SeededRng) -> MonotonicTime {
        self.failures = self.failures.saturating_add(1);
        self.connected_since = None;
        let delay = self
            .delay
            .map_or(self.policy.initial, |previous| self.policy.grow(previous));
        self.delay = Some(delay);
        let shortest = delay.saturating_sub(fraction_of(delay, self.policy.jitter));
        self.next_attempt = now.saturating_add(rng.between(shortest, delay));
        self.next_attempt
    }

    /// An attempt succeeded. Failures are remembered until the connection has proved stable.
    pub fn connected(&mut self, now: MonotonicTime) {
        self.connected_since.get_or_insert(now);
    }

    /// Forgets earlier failures if the connection has been up for the stable period; true if it has.
    pub fn success_after_stable(&mut self, now: MonotonicTime) -> bool {
        let stable = self
            .connected_since
            .is_some_and(|since| now.saturating_since(since) >= self.policy.stable_after);
        if stable {
            self.failures = 0;
            self.delay = None;
        }
        stable
    }

    /// The connection ended. Returns the earliest moment of the next attempt: a short wait after a stable connection, the
    /// next longer one after a connection that flapped.
    pub fn disconnected(&mut self, now: MonotonicTime, rng: &mut SeededRng) -> MonotonicTime {
        self.success_after_stable(now);
        self.failure(now, rng)
    }

    /// True when an attempt may start now: not connected, and the wait is over.
    #[must_use]
    pub fn ready(&self, now: MonotonicTime) -> bool {
        self.connected_since.is_none() && now >= self.next_attempt
    }

    /// Forgets everything: the target may be tried at once, as after an operator's request.
    pub const fn reset(&mut self) {
        *self = Self::new(self.policy);
    }

    /// Applies another policy from the next failure on. What is already scheduled stays.
    pub const fn set_policy(&mut self, policy: BackoffPolicy) {
        self.policy = policy;
    }

    /// The earliest moment of the next attempt.
    #[must_use]
    pub const fn next_attempt(&self) -> MonotonicTime {
        self.next_attempt
    }

    /// Failures and flaps in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> MonotonicTime {
        MonotonicTime::from_origin(Duration::from_secs(secs))
    }

    fn exact() -> BackoffPolicy {
        BackoffPolicy::new(Duration::from_secs(1), Duration::from_secs(300), 2.0, 0.0)
    }

    fn waits(policy: BackoffPolicy, count: usize) -> Vec<Duration> {
        let mut rng = SeededRng::from_seed(1);
        let mut backoff = Backoff::new(policy);
        (0..count)
            .map(|_| backoff.failure(at(0), &mut rng).since_origin())
            .collect()
    }

    #[test]
    fn waits_double_up_to_the_cap_and_stay_there() {
        let secs: Vec<u64> = waits(exact(), 12).iter().map(Duration::as_secs).collect();
        assert_eq!(secs, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    }

    #[test]
    fn jitter_only_shortens_so_the_cap_holds_and_peers_spread() {
        let capped: Vec<Duration> = waits(BackoffPolicy::default(), 200).split_off(9);
        assert!(
            capped
                .iter()
                .all(|wait| (210..=300).contains(&wait.as_secs()))
        );
        let distinct: std::collections::BTreeSet<_> = capped.iter().collect();
        assert!(distinct.len() > 180);
    }

    #[test]
    fn a_new_target_is_ready_and_a_failed_one_only_after_its_wait() {
        let mut rng = SeededRng::from_seed(1);
        let mut backoff = Backoff::new(exact());
        assert!(backoff.ready(at(0)));
        assert_eq!(backoff.failure(at(10), &mut rng), at(11));
        assert!(!backoff.ready(at(10)));
        assert!(backoff.ready(at(11)));
        backoff.connected(at(11));
        assert!(!backoff.ready(at(99)));
    }

    #[test]
    fn a_flapping_target_waits_longer_each_time() {
        let mut rng = SeededRng::from_seed(1);
        let mut backoff = Backoff::new(exact());
        let mut now = at(0);
        for expected in [1, 2, 4, 8] {
            backoff.connected(now);
            assert!(!backoff.success_after_stable(now));
            let next = backoff.disconnected(now, &mut rng);
            assert_eq!(next.saturating_since(now), Duration::from_secs(expected));
            now = next;
        }
        assert_eq!(backoff.failures(), 4);
    }

    #[test]
    fn a_stable_connection_forgets_failures_exactly_at_the_end_of_the_period() {
        let mut rng = SeededRng::from_seed(1);
        let mut backoff = Backoff::new(exact().with_stable_after(Duration::from_secs(30)));
        for _ in 0..6 {
            backoff.failure(at(0), &mut rng);
        }
        backoff.connected(at(100));
        backoff.connected(at(120));
        assert!(!backoff.success_after_stable(at(129)));
        assert!(backoff.success_after_stable(at(130)));
        assert_eq!(backoff.failures(), 0);
        assert_eq!(backoff.disconnected(at(200), &mut rng), at(201));
        assert!(!backoff.success_after_stable(at(999)));
    }

    #[test]
    fn a_reset_target_is_ready_at_once() {
        let mut rng = SeededRng::from_seed(1);
        let mut backoff = Backoff::new(exact());
        backoff.failure(at(5), &mut rng);
        backoff.reset();
        assert!(backoff.ready(at(0)));
        assert_eq!(backoff.failures(), 0);
    }

    #[test]
    fn a_new_policy_counts_from_the_next_failure() {
        let mut rng = SeededRng::from_seed(1);
        let mut backoff = Backoff::new(exact());
        for _ in 0..9 {
            backoff.failure(at(0), &mut rng);
        }
        backoff.set_policy(BackoffPolicy::new(
            Duration::from_secs(1),
            Duration::from_secs(10),
            2.0,
            0.0,
        ));
        assert_eq!(backoff.next_attempt(), at(256));
        assert_eq!(backoff.failure(at(300), &mut rng), at(310));
    }

    #[test]
    fn values_out_of_range_are_moved_into_it() {
        let policy = BackoffPolicy::new(Duration::ZERO, Duration::ZERO, f64::NAN, f64::NAN);
        assert_eq!((policy.initial(), policy.max()), (MIN_INITIAL, MIN_INITIAL));
        assert_eq!((policy.factor(), policy.jitter()), (1.0, 0.0));
        let policy = BackoffPolicy::new(
            Duration::from_secs(9),
            Duration::from_secs(3),
            f64::INFINITY,
            7.0,
        );
        assert_eq!(
            (policy.max(), policy.factor(), policy.jitter()),
            (Duration::from_secs(9), MAX_FACTOR, 1.0)
        );
        assert_eq!(
            BackoffPolicy::default().stable_after(),
            BackoffPolicy::DEFAULT_STABLE_AFTER
        );
    }

    #[test]
    fn the_largest_values_never_overflow() {
        let mut rng = SeededRng::from_seed(1);
        let mut backoff = Backoff::new(BackoffPolicy::new(
            Duration::MAX,
            Duration::MAX,
            f64::MAX,
            1.0,
        ));
        let end = MonotonicTime::from_origin(Duration::MAX);
        for _ in 0..100 {
            assert!(backoff.failure(end, &mut rng) <= end);
        }
        assert_eq!(
            waits(
                BackoffPolicy::new(Duration::MAX, Duration::MAX, 1000.0, 0.0),
                3
            ),
            [Duration::MAX; 3]
        );
        backoff.failures = u32::MAX;
        backoff.failure(end, &mut rng);
        assert_eq!(backoff.failures(), u32::MAX);
    }
}
