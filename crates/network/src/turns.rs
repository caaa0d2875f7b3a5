//! When each address of a dial has its turn, as RFC 8305 (section 5) has it: in the order given, the next one as soon as
//! the one before it has failed, or a short pause after that one began. The first that answers ends the others.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::limits::{MAX_ATTEMPT_PAUSE, MIN_ATTEMPTS_IN_TIME};

/// When an attempt began; the channel is closed when it has ended.
type Begun = Option<Instant>;

/// Hands out turns. The host opens a dial, and the transport takes one turn for each of its addresses while the host
/// waits: libp2p passes nothing through that would tell two dials apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns(Arc<Mutex<Option<watch::Receiver<Begun>>>>);

impl Turns {
    /// The turns taken from now on belong to a new dial.
    pub(crate) fn begin(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The turn after the last one that was taken.
    pub(crate) fn take(&self) -> Turn {
        let (begun, own) = watch::channel(None);
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Turn {
            before: last.replace(own),
            begun,
        }
    }
}

/// The turn of one address. The next one is due at once when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    before: Option<watch::Receiver<Begun>>,
    begun: watch::Sender<Begun>,
}

impl Turn {
    /// Waits until it is due, `pause` after the one before it at the latest. Cancellation: safe.
    pub(crate) async fn due(&mut self, pause: Duration) {
        if let Some(before) = &mut self.before {
            let begun = before.wait_for(Option::is_some).await;
            if let Some(begun) = begun.ok().and_then(|begun| *begun) {
                // Nothing is sent twice: a change is the end.
                drop(tokio::time::timeout_at(begun + pause, before.changed()).await);
            }
        }
        self.begun.send_replace(Some(Instant::now()));
    }
}

/// The pause between two attempts: short enough for several of them within the time of a dial.
pub(crate) fn pause(timeout: Duration) -> Duration {
    MAX_ATTEMPT_PAUSE.min(timeout / MIN_ATTEMPTS_IN_TIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(250);

    /// When each attempt of a dial begins, in milliseconds, if each of them fails after so long.
    async fn starts(fail_after: &[u64]) -> Vec<u128> {
        let (turns, origin) = (Turns::default(), Instant::now());
        turns.begin();
        let attempts = fail_after.iter().map(|millis| {
            let (mut turn, millis) = (turns.take(), *millis);
            async move {
                turn.due(PAUSE).await;
                let at = origin.elapsed().as_millis();
                tokio::time::sleep(Duration::from_millis(millis)).await;
                drop(turn);
                at
            }
        });
        futures::future::join_all(attempts).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_holds_the_next_one_up_for_a_pause_and_one_that_fails_not_at_all() {
        assert_eq!(starts(&[5000, 5000, 5000]).await, [0, 250, 500]);
        assert_eq!(starts(&[0, 0, 0]).await, [0, 0, 0]);
        assert_eq!(
            starts(&[5000, 10, 249, 250, 0]).await,
            [0, 250, 260, 509, 759]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_is_given_up_before_its_turn_holds_nobody_up() {
        let turns = Turns::default();
        let (mut first, second, mut third) = (turns.take(), turns.take(), turns.take());
        first.due(PAUSE).await;
        drop(second);
        let begun = Instant::now();
        third.due(PAUSE).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn two_dials_do_not_wait_for_each_other() {
        let turns = Turns::default();
        turns.begin();
        let mut one = turns.take();
        one.due(PAUSE).await;
        turns.begin();
        let begun = Instant::now();
        turns.take().due(PAUSE).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[test]
    fn eight_attempts_begin_in_the_first_half_of_the_time_however_short_it_is() {
        for millis in [1, 100, 1000, 4000, 10_000, 60_000] {
            let timeout = Duration::from_millis(millis);
            assert!(pause(timeout) * 8 <= timeout / 2, "{millis}");
            assert!(pause(timeout) <= PAUSE, "{millis}");
        }
    }
}
