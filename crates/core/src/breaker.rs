//! A circuit breaker: after too many failures in a row nothing is tried for a while, then one probe decides. Pure.

use std::time::Duration;

use crate::time::MonotonicTime;

/// When a breaker opens and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Failures in a row that open the circuit; 0 counts as 1.
    pub failures: u32,
    /// How long an open circuit refuses everything before one probe is let through.
    pub cooldown: Duration,
}

impl Default for BreakerPolicy {
    /// 8 failures, 10 minutes.
    fn default() -> Self {
        Self {
            failures: 8,
            cooldown: Duration::from_secs(600),
        }
    }
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Attempts pass.
    Closed,
    /// One probe is out and decides; until its cooldown ends nothing else passes.
    HalfOpen,
    /// Nothing passes until the cooldown ends.
    Open,
}

/// The circuit of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitBreaker {
    policy: BreakerPolicy,
    failures: u32,
    state: BreakerState,
    retry_at: MonotonicTime,
}

impl CircuitBreaker {
    /// A closed circuit.
    #[must_use]
    pub const fn new(policy: BreakerPolicy) -> Self {
        Self {
            policy,
            failures: 0,
            state: BreakerState::Closed,
            retry_at: MonotonicTime::ZERO,
        }
    }

    /// Asks for one attempt. True means: go, and report [`success`](Self::success) or [`failure`](Self::failure).
    ///
    /// After the cooldown exactly one caller gets through. A probe whose result is never reported is given up after
    /// another cooldown, so a lost report cannot block a target for ever.
    pub fn try_acquire(&mut self, now: MonotonicTime) -> bool {
        match self.state {
            BreakerState::Closed => true,
            BreakerState::HalfOpen | BreakerState::Open if now >= self.retry_at => {
                self.state = BreakerState::HalfOpen;
                self.retry_at = now.saturating_add(self.policy.cooldown);
                true
            }
            BreakerState::HalfOpen | BreakerState::Open => false,
        }
    }

    /// An attempt succeeded: the circuit closes.
    pub const fn success(&mut self) {
        self.failures = 0;
        self.state = BreakerState::Closed;
    }

    /// An attempt failed. True when this very failure opened the circuit, so that it is reported once.
    ///
    /// Late failures of attempts from before the circuit opened do not prolong the cooldown.
    pub fn failure(&mut self, now: MonotonicTime) -> bool {
        self.failures = self.failures.saturating_add(1);
        let opens = match self.state {
            BreakerState::Closed => self.failures >= self.policy.failures.max(1),
            BreakerState::HalfOpen => true,
            BreakerState::Open => false,
        };
        if opens {
            self.state = BreakerState::Open;
            self.retry_at = now.saturating_add(self.policy.cooldown);
        }
        opens
    }

    /// Forgets everything: the circuit is closed, as after an operator's request.
    pub const fn reset(&mut self) {
        *self = Self::new(self.policy);
    }

    /// Applies another policy from the next report on. A running cooldown keeps its end.
    pub const fn set_policy(&mut self, policy: BreakerPolicy) {
        self.policy = policy;
    }

    /// Where the circuit stands.
    #[must_use]
    pub const fn state(&self) -> BreakerState {
        self.state
    }

    /// When the next attempt may pass; `None` while the circuit is closed.
    #[must_use]
    pub const fn retry_at(&self) -> Option<MonotonicTime> {
        match self.state {
            BreakerState::Closed => None,
            BreakerState::HalfOpen | BreakerState::Open => Some(self.retry_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: BreakerPolicy = BreakerPolicy {
        failures: 3,
        cooldown: Duration::from_secs(10),
    };

    fn at(secs: u64) -> MonotonicTime {
        MonotonicTime::from_origin(Duration::from_secs(secs))
    }

    fn open_at(secs: u64) -> CircuitBreaker {
        let mut breaker = CircuitBreaker::new(POLICY);
        for _ in 0..3 {
            breaker.failure(at(secs));
        }
        breaker
    }

    #[test]
    fn the_last_allowed_failure_in_a_row_opens_the_circuit_and_says_so_once() {
        let mut breaker = CircuitBreaker::new(POLICY);
        assert_eq!(
            [1, 2, 3, 4].map(|t| breaker.failure(at(t))),
            [false, false, true, false]
        );
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.retry_at(), Some(at(13)));
    }

    #[test]
    fn a_success_starts_the_count_again() {
        let mut breaker = CircuitBreaker::new(POLICY);
        breaker.failure(at(1));
        breaker.failure(at(2));
        breaker.success();
        assert!(!breaker.failure(at(3)) && !breaker.failure(at(4)));
        assert_eq!(
            (breaker.state(), breaker.retry_at()),
            (BreakerState::Closed, None)
        );
        assert!(breaker.try_acquire(at(4)));
    }

    #[test]
    fn one_probe_passes_exactly_when_the_cooldown_ends() {
        let mut breaker = open_at(0);
        assert!(!breaker.try_acquire(at(9)));
        assert!(breaker.try_acquire(at(10)));
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert!(!breaker.try_acquire(at(11)));
    }

    #[test]
    fn the_probe_decides() {
        let mut breaker = open_at(0);
        assert!(breaker.try_acquire(at(10)));
        assert!(breaker.failure(at(12)));
        assert!(!breaker.try_acquire(at(21)));
        assert!(breaker.try_acquire(at(22)));
        breaker.success();
        assert!(breaker.try_acquire(at(22)) && breaker.try_acquire(at(22)));
    }

    #[test]
    fn a_probe_that_is_never_reported_is_replaced_after_another_cooldown() {
        let mut breaker = open_at(0);
        assert!(breaker.try_acquire(at(10)));
        assert!(!breaker.try_acquire(at(19)));
        assert!(breaker.try_acquire(at(20)));
    }

    #[test]
    fn late_failures_do_not_prolong_the_cooldown() {
        let mut breaker = open_at(0);
        breaker.failure(at(9));
        assert!(breaker.try_acquire(at(10)));
    }

    #[test]
    fn a_reset_or_relaxed_circuit_follows_the_operator() {
        let mut breaker = open_at(0);
        breaker.reset();
        assert!(breaker.try_acquire(at(0)));
        breaker.set_policy(BreakerPolicy {
            failures: 1,
            ..POLICY
        });
        assert!(breaker.failure(at(1)));
    }

    #[test]
    fn extreme_policies_and_times_neither_panic_nor_overflow() {
        let mut breaker = CircuitBreaker::new(BreakerPolicy {
            failures: 0,
            cooldown: Duration::MAX,
        });
        let end = MonotonicTime::from_origin(Duration::MAX);
        assert!(breaker.failure(end));
        assert!(breaker.try_acquire(end));
        breaker.failures = u32::MAX;
        breaker.failure(end);
        assert_eq!(breaker.failures, u32::MAX);
    }
}
