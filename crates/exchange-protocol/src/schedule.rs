//! When the next periodic synchronisation is due.

use std::time::Duration;

use btcfed_core::config::NodeConfig;
use btcfed_core::rng::SeededRng;
use btcfed_core::time::MonotonicTime;

use crate::limits::SYNC_INTERVAL_MIN;

/// One timer for the whole node: short while lists differ, doubling up to the configured interval while they agree.
#[derive(Clone, Debug)]
pub(crate) struct SyncTimer {
    interval: Duration,
    longest: Duration,
    jitter: f64,
    due: Option<MonotonicTime>,
}

impl SyncTimer {
    pub(crate) fn new(config: &NodeConfig) -> Self {
        let longest = config.peers.exchange_interval.max(Duration::from_millis(1));
        Self {
            interval: SYNC_INTERVAL_MIN.min(longest),
            longest,
            jitter: config.peers.exchange_jitter,
            due: None,
        }
    }

    /// When it fires; `None` while nobody is connected.
    pub(crate) const fn due(&self) -> Option<MonotonicTime> {
        self.due
    }

    /// Starts it, if it does not run.
    pub(crate) fn start(&mut self, now: MonotonicTime, rng: &mut SeededRng) {
        if self.due.is_none() {
            self.schedule(now, rng);
        }
    }

    /// Stops it: nobody is left to talk to. The next connection starts with the short interval.
    pub(crate) fn stop(&mut self) {
        self.due = None;
        self.interval = SYNC_INTERVAL_MIN.min(self.longest);
    }

    /// It fired: the next time comes after twice as long, unless a difference is found.
    pub(crate) fn fired(&mut self, now: MonotonicTime, rng: &mut SeededRng) {
        self.interval = self.interval.saturating_mul(2).min(self.longest);
        self.schedule(now, rng);
    }

    /// A difference was found: back to the short interval.
    pub(crate) fn found_difference(&mut self, now: MonotonicTime, rng: &mut SeededRng) {
        self.interval = SYNC_INTERVAL_MIN.min(self.longest);
        let before = self.due;
        self.schedule(now, rng);
        self.due = self.due.min(before.or(self.due));
    }

    /// Takes over new values at once: a running wait is drawn anew when the interval changed.
    pub(crate) fn reconfigure(
        &mut self,
        now: MonotonicTime,
        config: &NodeConfig,
        rng: &mut SeededRng,
    ) {
        let longest = config.peers.exchange_interval.max(Duration::from_millis(1));
        let changed = longest != self.longest
            || config.peers.exchange_jitter.to_bits() != self.jitter.to_bits();
        let was_steady = self.interval == self.longest;
        self.longest = longest;
        self.jitter = config.peers.exchange_jitter;
        self.interval = if was_steady {
            longest
        } else {
            self.interval.min(longest)
        };
        if changed && self.due.is_some() {
            self.schedule(now, rng);
        }
    }

    fn schedule(&mut self, now: MonotonicTime, rng: &mut SeededRng) {
        self.due = Some(now.saturating_add(rng.jitter(self.interval, self.jitter)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(interval: Duration, jitter: f64) -> NodeConfig {
        let mut config = NodeConfig::default();
        config.peers.exchange_interval = interval;
        config.peers.exchange_jitter = jitter;
        config
    }

    fn wait(timer: &SyncTimer, now: MonotonicTime) -> u64 {
        timer.due().unwrap().saturating_since(now).as_secs()
    }

    #[test]
    fn the_interval_doubles_to_the_configured_one_and_a_difference_shortens_it() {
        let (mut rng, now) = (SeededRng::from_seed(1), MonotonicTime::ZERO);
        let mut timer = SyncTimer::new(&config(Duration::from_secs(30), 0.0));
        assert_eq!(timer.due(), None);
        timer.start(now, &mut rng);
        assert_eq!(wait(&timer, now), SYNC_INTERVAL_MIN.as_secs());
        let waits: Vec<u64> = (0..6)
            .map(|_| {
                timer.fired(now, &mut rng);
                wait(&timer, now)
            })
            .collect();
        assert_eq!(waits, [2, 4, 8, 16, 30, 30]);
        timer.found_difference(now, &mut rng);
        assert_eq!(wait(&timer, now), 1);
        timer.stop();
        assert_eq!(timer.due(), None);
    }

    #[test]
    fn jitter_spreads_the_timers_of_a_federation() {
        let mut rng = SeededRng::from_seed(2);
        let mut timer = SyncTimer::new(&config(Duration::from_secs(1), 0.25));
        let waits: Vec<u128> = (0..500)
            .map(|_| {
                timer.fired(MonotonicTime::ZERO, &mut rng);
                timer.due().unwrap().since_origin().as_millis()
            })
            .collect();
        assert!(waits.iter().all(|wait| (750..=1250).contains(wait)));
        assert!(waits.iter().any(|wait| *wait < 800) && waits.iter().any(|wait| *wait > 1200));
    }

    #[test]
    fn a_new_interval_holds_at_once() {
        let (mut rng, now) = (SeededRng::from_seed(3), MonotonicTime::ZERO);
        let mut timer = SyncTimer::new(&config(Duration::from_secs(30), 0.0));
        for _ in 0..6 {
            timer.fired(now, &mut rng);
        }
        timer.reconfigure(now, &config(Duration::from_secs(300), 0.0), &mut rng);
        assert_eq!(wait(&timer, now), 300);
        timer.reconfigure(now, &config(Duration::from_secs(5), 0.0), &mut rng);
        assert_eq!(wait(&timer, now), 5);
        timer.reconfigure(now, &config(Duration::ZERO, 0.0), &mut rng);
        assert!(timer.due().unwrap() > now, "a zero interval must not spin");
    }
}
