//! Fakes, mocks and the conformance suite: what tests of every crate, and of embedders, need in place of the real thing.
//!
//! Fakes ([`ManualClock`], [`MemoryStore`], [`ScriptedNetwork`], [`ScriptedExchange`]) behave; mocks ([`mocks`]) expect.
//! Prefer a fake. [`store_conformance`] is what a [`PeerStore`](crate::PeerStore) must pass to be one.

mod clock;
mod conformance;
mod exchange;
mod identities;
pub mod mocks;
mod network;
mod store;

pub use clock::ManualClock;
pub use conformance::store_conformance;
pub use exchange::ScriptedExchange;
pub use identities::{test_addr, test_key, test_record, test_secret};
pub use mocks::{
    MockClock, MockConfigSource, MockExchange, MockMetrics, MockNetwork, MockPeerStore,
    MockReconfigure, MockStaged,
};
pub use network::ScriptedNetwork;
pub use store::MemoryStore;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, also after a test panicked while holding it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
