//! The places of the admin socket: a bounded number, and whoever is silent the longest makes room for a newcomer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    idle: Mutex<Idlers>,
}

/// Who waits for their caller to speak, in the order in which they began to wait.
#[derive(Debug, Default)]
struct Idlers {
    next: u64,
    waiting: BTreeMap<u64, Arc<Notify>>,
}

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count)),
            idle: Mutex::default(),
        }
    }

    /// A place, freed where necessary by sending away whoever is silent the longest. Waits while everybody is busy. `None`
    /// never happens: the places are never closed.
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(place);
        }
        if let Some((_, oldest)) = self.idlers().waiting.pop_first() {
            oldest.notify_one();
        }
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// From now on, until the result is dropped, the caller of a place is silent.
    pub(super) fn idle(&self) -> Idle<'_> {
        let mut idlers = self.idlers();
        let (number, evicted) = (idlers.next, Arc::new(Notify::new()));
        idlers.next += 1;
        idlers.waiting.insert(number, Arc::clone(&evicted));
        Idle {
            places: self,
            number,
            evicted,
        }
    }

    fn idlers(&self) -> MutexGuard<'_, Idlers> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A silent caller.
#[derive(Debug)]
pub(super) struct Idle<'a> {
    places: &'a Places,
    number: u64,
    evicted: Arc<Notify>,
}

impl Idle<'_> {
    /// Resolves when somebody else needs the place.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.places.idlers().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// What a future gives when it is asked once.
    fn now<F: Future>(future: F) -> Option<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn at_the_limit_nobody_is_sent_away_and_past_it_the_longest_silent() {
        let places = Places::new(2);
        let (first, second) = (now(places.take()), now(places.take()));
        assert!(first.is_some() && second.is_some());
        let (older, younger) = (places.idle(), places.idle());
        assert_eq!(now(older.evicted()), None);
        assert!(now(places.take()).is_none(), "the place is not free yet");
        assert_eq!(now(older.evicted()), Some(()));
        assert_eq!(now(younger.evicted()), None, "one newcomer, one place");
        drop((older, first));
        assert!(now(places.take()).is_some());
    }

    #[test]
    fn who_is_being_served_keeps_the_place() {
        let places = Places::new(1);
        let place = now(places.take());
        let idle = places.idle();
        drop(idle);
        assert!(now(places.take()).is_none());
        drop(place);
        assert!(now(places.take()).is_some());
        assert!(places.idlers().waiting.is_empty());
    }
}
