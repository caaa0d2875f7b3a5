//! `peers.rate_limit.*` and `peers.ban.*`: how much a peer may send, and what misbehaviour leads to.

use std::time::Duration;

use super::format_duration;

/// `peers.rate_limit.*`: what each peer may send of its own accord. Budgets outlive connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Messages that want an answer, in the long run.
    pub messages_per_minute: u32,
    /// New records nobody asked for, in the long run.
    pub records_per_minute: u32,
    /// New records nobody asked for, at once.
    pub burst: u32,
}

impl RateLimit {
    /// What holds unless configured.
    pub const DEFAULT: Self = Self {
        messages_per_minute: 3000,
        records_per_minute: 1200,
        burst: 1024,
    };

    /// Messages at once, however few records: a newcomer asks for 17 parts of a list at a time, and goes on from there.
    pub const MESSAGE_BURST_MIN: u32 = 32;

    /// Messages at once: a fifth of the records, since mostly several travel together, and at least
    /// [`Self::MESSAGE_BURST_MIN`].
    #[must_use]
    pub const fn message_burst(&self) -> u32 {
        let fifth = self.burst / 5;
        if fifth < Self::MESSAGE_BURST_MIN {
            Self::MESSAGE_BURST_MIN
        } else {
            fifth
        }
    }

    pub(super) fn values(&self) -> [(&'static str, String); 3] {
        [
            (
                "peers.rate_limit.messages_per_minute",
                self.messages_per_minute.to_string(),
            ),
            (
                "peers.rate_limit.records_per_minute",
                self.records_per_minute.to_string(),
            ),
            ("peers.rate_limit.burst", self.burst.to_string()),
        ]
    }
}

impl Default for RateLimit {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// `peers.ban.*`: when the node bans a peer, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BanPolicy {
    /// Points of misbehaviour that lead to a ban. Half of them close the connection, a quarter slows the peer down.
    pub threshold: u32,
    /// How long a ban lasts.
    pub duration: Duration,
}

impl BanPolicy {
    /// What holds unless configured.
    pub const DEFAULT: Self = Self {
        threshold: 100,
        duration: Duration::from_secs(24 * 3600),
    };

    pub(super) fn values(&self) -> [(&'static str, String); 2] {
        [
            ("peers.ban.threshold", self.threshold.to_string()),
            ("peers.ban.duration", format_duration(self.duration)),
        ]
    }
}

impl Default for BanPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_at_once_are_a_fifth_of_the_records_and_never_too_few_for_a_newcomers_questions() {
        for (burst, messages) in [(0, 32), (64, 32), (164, 32), (165, 33), (1024, 204)] {
            let rates = RateLimit {
                burst,
                ..RateLimit::DEFAULT
            };
            assert_eq!(rates.message_burst(), messages, "{burst}");
        }
    }
}
