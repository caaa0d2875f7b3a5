//! Keeps strangers from filling the log: lines about comings and goings have a budget, and what was left out is told
//! with the next line that fits.

use std::time::Duration;

use btcfed_core::time::MonotonicTime;

/// Lines that may be written at once.
pub(crate) const BURST: u32 = 50;

/// One more line may be written per this much time.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// The budget of one kind of line.
#[derive(Debug)]
pub(crate) struct ChurnLog {
    tokens: u32,
    refilled: MonotonicTime,
    suppressed: u64,
}

impl Default for ChurnLog {
    fn default() -> Self {
        Self {
            tokens: BURST,
            refilled: MonotonicTime::ZERO,
            suppressed: 0,
        }
    }
}

impl ChurnLog {
    /// Asks for one line. `Some(n)`: write it, and say that `n` lines were left out before it. `None`: leave it out.
    pub(crate) fn admit(&mut self, now: MonotonicTime) -> Option<u64> {
        let passed = now.saturating_since(self.refilled);
        let earned = passed.as_nanos() / INTERVAL.as_nanos();
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(BURST).min(BURST);
            self.tokens = self.tokens.saturating_add(earned).min(BURST);
            self.refilled = now;
        }
        if self.tokens == 0 {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.tokens -= 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> MonotonicTime {
        MonotonicTime::from_origin(Duration::from_millis(millis))
    }

    #[test]
    fn a_burst_is_written_and_the_rest_is_counted_until_there_is_room() {
        let mut log = ChurnLog::default();
        for _ in 0..BURST {
            assert_eq!(log.admit(at(0)), Some(0));
        }
        assert_eq!(log.admit(at(1)), None);
        assert_eq!(log.admit(at(999)), None);
        assert_eq!(log.admit(at(1000)), Some(2));
        assert_eq!(log.admit(at(1001)), None);
    }

    #[test]
    fn a_long_rest_fills_the_budget_only_to_the_brim() {
        let mut log = ChurnLog::default();
        let late = MonotonicTime::from_origin(Duration::MAX);
        for _ in 0..BURST {
            assert_eq!(log.admit(late), Some(0));
        }
        assert_eq!(log.admit(late), None);
    }
}
