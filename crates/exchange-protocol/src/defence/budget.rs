//! What a peer may send, whichever way and over however many connections.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use btcfed_core::PeerKey;
use btcfed_core::config::RateLimit;
use btcfed_core::limits::MAX_FRAME_BYTES;
use btcfed_core::time::MonotonicTime;

use crate::defence::bucket::TokenBucket;
use crate::limits;

/// The budgets of one peer.
#[derive(Clone, Debug)]
pub(crate) struct Budgets {
    /// Bytes of answers.
    pub(crate) answers: AnswerBudget,
    /// Frames that want an answer.
    pub(crate) messages: TokenBucket,
    /// New records it sends unasked.
    pub(crate) unsolicited: TokenBucket,
    /// Identities new to this node that are passed on and come from it.
    pub(crate) new_identities: TokenBucket,
}

impl Budgets {
    /// Full ones.
    pub(crate) fn new(now: MonotonicTime, rates: &RateLimit) -> Self {
        let bucket = |burst, per_minute| TokenBucket::per_minute(burst, per_minute, now);
        Self {
            answers: AnswerBudget::new(now),
            messages: bucket(rates.message_burst(), rates.messages_per_minute),
            unsolicited: bucket(rates.burst, rates.records_per_minute),
            new_identities: TokenBucket::new(
                limits::NEW_IDENTITY_BURST,
                limits::NEW_IDENTITIES_PER_SECOND,
                now,
            ),
        }
    }

    /// Follows other rates from now on.
    pub(crate) fn follow(&mut self, now: MonotonicTime, rates: &RateLimit) {
        let burst = rates.message_burst();
        self.messages
            .resize_per_minute(now, burst, rates.messages_per_minute);
        self.unsolicited
            .resize_per_minute(now, rates.burst, rates.records_per_minute);
    }
}

/// What may be sent to one peer in answers: so much at once, so much per second, and so many own lists per hour.
#[derive(Clone, Debug)]
pub(crate) struct AnswerBudget {
    pace: TokenBucket,
    hour: TokenBucket,
}

impl AnswerBudget {
    fn new(now: MonotonicTime) -> Self {
        let (burst, per_second) = Self::hourly(0);
        Self {
            pace: TokenBucket::new(
                limits::ANSWER_BURST_BYTES,
                limits::ANSWER_BYTES_PER_SECOND,
                now,
            ),
            hour: TokenBucket::new(burst, per_second, now),
        }
    }

    /// The bytes of an hour for a list of this length, and how many of them per second.
    fn hourly(records: usize) -> (u32, u32) {
        let list = records.saturating_mul(limits::BUDGET_BYTES_PER_RECORD);
        let bytes =
            limits::ANSWER_LISTS_PER_HOUR.saturating_mul(list.max(limits::ANSWER_LIST_MIN_BYTES));
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        (bytes, bytes / 3600)
    }

    /// How long until the next question is answered; `None` when it is answered now. `records` is the length of the own
    /// list.
    pub(crate) fn wait(&mut self, now: MonotonicTime, records: usize) -> Option<Duration> {
        let (burst, per_second) = Self::hourly(records);
        self.hour.resize(now, burst, per_second);
        // There must be room for the largest answer, or whoever asks for one with the last byte gets one each time.
        let frame = u32::try_from(MAX_FRAME_BYTES).unwrap_or(u32::MAX);
        let has_room = self.pace.has(now, frame) && self.hour.has(now, frame);
        (!has_room).then(|| self.pace.wait(frame).max(self.hour.wait(frame)))
    }

    /// An answer went out.
    pub(crate) fn spend(&mut self, now: MonotonicTime, bytes: usize) {
        self.pace.take_up_to(now, bytes, 1);
        self.hour.take_up_to(now, bytes, 1);
    }
}

/// The budgets of peers that are gone: who comes back goes on with what was left. The oldest is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    budgets: BTreeMap<PeerKey, Budgets>,
    order: VecDeque<PeerKey>,
}

impl Parked {
    /// Keeps the budgets of a peer that left.
    pub(crate) fn keep(&mut self, peer: PeerKey, budgets: Budgets) {
        if self.budgets.insert(peer, budgets).is_none() {
            self.order.push_back(peer);
        }
        if self.order.len() > limits::MAX_PARKED_BUDGETS
            && let Some(oldest) = self.order.pop_front()
        {
            self.budgets.remove(&oldest);
        }
    }

    /// The budgets of a peer that comes.
    pub(crate) fn take(
        &mut self,
        now: MonotonicTime,
        peer: &PeerKey,
        rates: &RateLimit,
    ) -> Budgets {
        let Some(mut budgets) = self.budgets.remove(peer) else {
            return Budgets::new(now, rates);
        };
        self.order.retain(|parked| parked != peer);
        budgets.follow(now, rates);
        budgets
    }
}

#[cfg(test)]
mod tests {
    use btcfed_core::SecretKey;

    use super::*;

    fn key(n: usize) -> PeerKey {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&n.to_le_bytes());
        SecretKey::from_seed(seed).public()
    }

    #[test]
    fn answers_end_where_a_burst_or_an_hour_ends_and_a_long_list_has_a_larger_hour() {
        let frame = MAX_FRAME_BYTES;
        let frames = |records: usize| {
            let mut budget = AnswerBudget::new(MonotonicTime::ZERO);
            (0..1000)
                .take_while(|_| {
                    let is_free = budget.wait(MonotonicTime::ZERO, records).is_none();
                    budget.spend(MonotonicTime::ZERO, frame);
                    is_free
                })
                .count()
        };
        let hour = |bytes: usize| limits::ANSWER_LISTS_PER_HOUR * bytes / frame;
        assert_eq!(frames(0), hour(limits::ANSWER_LIST_MIN_BYTES));
        let enough = limits::ANSWER_LIST_MIN_BYTES / limits::BUDGET_BYTES_PER_RECORD;
        assert_eq!(frames(enough), hour(limits::ANSWER_LIST_MIN_BYTES));
        assert_eq!(
            frames(enough + 256),
            hour(limits::ANSWER_LIST_MIN_BYTES) + 2
        );
        let burst = usize::try_from(limits::ANSWER_BURST_BYTES).unwrap() / frame;
        assert_eq!(frames(100_000), burst);
        // After a burst, a frame a second.
        let mut budget = AnswerBudget::new(MonotonicTime::ZERO);
        budget.wait(MonotonicTime::ZERO, 100_000);
        budget.spend(MonotonicTime::ZERO, usize::MAX);
        assert!(budget.wait(MonotonicTime::ZERO, 100_000) > Some(Duration::from_secs(1)));
        budget.hour = TokenBucket::new(u32::MAX, 1, MonotonicTime::ZERO);
        let wait = |budget: &AnswerBudget| {
            let frame = u32::try_from(frame).unwrap();
            budget.pace.wait(frame)
        };
        let second = u64::try_from(frame).unwrap() / u64::from(limits::ANSWER_BYTES_PER_SECOND);
        assert_eq!(wait(&budget), Duration::from_secs(second));
    }

    #[test]
    fn who_comes_back_goes_on_with_what_was_left_and_the_oldest_is_forgotten() {
        let now = MonotonicTime::ZERO;
        let rates = RateLimit::DEFAULT;
        let (mut parked, mut spent) = (Parked::default(), Budgets::new(now, &rates));
        let burst = usize::try_from(limits::MESSAGE_BURST).unwrap();
        assert_eq!(spent.messages.take_up_to(now, usize::MAX, 1), burst);
        for n in 0..limits::MAX_PARKED_BUDGETS {
            parked.keep(key(n), spent.clone());
        }
        assert!(!parked.take(now, &key(0), &rates).messages.take(now, 1));
        parked.keep(key(0), spent.clone());
        assert_eq!(parked.budgets.len(), limits::MAX_PARKED_BUDGETS);
        parked.keep(key(limits::MAX_PARKED_BUDGETS), spent);
        assert_eq!(parked.budgets.len(), limits::MAX_PARKED_BUDGETS);
        assert!(
            parked.take(now, &key(1), &rates).messages.take(now, 1),
            "forgotten"
        );
    }
}
