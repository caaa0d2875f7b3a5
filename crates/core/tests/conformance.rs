//! The in-memory store keeps the promises of the trait, and its sick disk behaves like one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use btcfed_core::store::{
    Applied, Reloaded, SkippedEntry, StoreError, StoreEvent, StoreEvents, StoreHealth, Subscribed,
};
use btcfed_core::testing::{ManualClock, MemoryStore, store_conformance, test_key, test_record};
use btcfed_core::{Clock as _, ErrorKind, PeerPatch, PeerSet, PeerStore, PeerStoreExt as _};

#[tokio::test]
async fn the_memory_store_keeps_every_promise() {
    store_conformance(MemoryStore::new).await;
}

#[tokio::test]
async fn a_store_behind_a_trait_object_keeps_every_promise() {
    let store: Arc<dyn PeerStore> = Arc::new(MemoryStore::new());
    store.create(test_record(1)).await.unwrap();
    assert_eq!(store.list_all().len(), 1);
}

#[tokio::test]
async fn a_sick_disk_keeps_changes_in_memory_and_saves_them_when_it_heals() {
    let store = MemoryStore::new();
    let mut events = store.subscribe();
    store.fail("no space left on device");
    store.fail("still none");
    assert!(!store.create(test_record(1)).await.unwrap().durable);
    assert!(store.exists(&test_key(1)));
    let health = store.health();
    assert_eq!(
        (
            health.degraded.as_deref(),
            health.durable,
            health.generation
        ),
        (Some("still none"), false, 0)
    );
    for refused in [store.flush().await, store.reload().await.map(drop)] {
        let error = refused.unwrap_err();
        assert!(matches!(error, StoreError::Io { .. }));
        assert_eq!(error.kind(), ErrorKind::Transient);
    }

    store.heal();
    store.heal();
    let health = store.health();
    assert_eq!(
        (health.degraded, health.durable, health.generation),
        (None, true, 1)
    );
    assert!(store.create(test_record(2)).await.unwrap().durable);
    let degraded = StoreEvent::Degraded {
        reason: "no space left on device".into(),
    };
    assert_eq!(events.try_next(), Some(Subscribed::Event(degraded)));
    assert!(matches!(
        events.try_next(),
        Some(Subscribed::Event(StoreEvent::Changed(_)))
    ));
    assert_eq!(events.next().await, Subscribed::Event(StoreEvent::Healed));
}

#[tokio::test]
async fn an_edit_from_outside_is_taken_in_by_a_reload() {
    let store = MemoryStore::new();
    store
        .create_all(vec![test_record(1), test_record(2)])
        .await
        .unwrap();
    let mut renamed = test_record(2);
    renamed.name = Some("bob".into());
    let skipped = SkippedEntry {
        line: 7,
        reason: "not a key".into(),
    };
    store.edit_outside(
        PeerSet::from_parts([renamed, test_record(3)], [], []),
        vec![skipped.clone()],
    );
    let mut events = store.subscribe();
    let reloaded = store.reload().await.unwrap();
    assert_eq!(
        (reloaded.changes.len(), &reloaded.skipped),
        (3, &vec![skipped.clone()])
    );
    assert_eq!(
        store.read(&test_key(2)).unwrap().name.as_deref(),
        Some("bob")
    );
    assert!(!store.exists(&test_key(1)) && store.exists(&test_key(3)));
    assert_eq!(
        events.try_next(),
        Some(Subscribed::Event(StoreEvent::Changed(
            reloaded.changes.into()
        )))
    );
    assert_eq!(
        events.try_next(),
        Some(Subscribed::Event(StoreEvent::Skipped(skipped)))
    );
    assert_eq!(store.reload().await.unwrap().changes, []);
}

#[tokio::test]
async fn changes_are_stamped_with_the_injected_clock() {
    let clock = Arc::new(ManualClock::default());
    clock.advance(Duration::from_secs(60));
    let store = MemoryStore::with_clock(Arc::clone(&clock) as Arc<_>);
    store.create(test_record(1)).await.unwrap();
    assert_eq!(
        store.read(&test_key(1)).unwrap().stats.first_seen,
        Some(clock.now().wall)
    );
}

#[tokio::test]
async fn a_store_can_start_with_given_contents_and_its_end_closes_subscriptions() {
    let store = MemoryStore::new().holding(PeerSet::from_parts([test_record(1)], [], []));
    assert_eq!(store.list_all().len(), 1);
    let mut events = store.subscribe();
    assert_eq!(events.try_next(), None);
    assert!(store.apply(PeerPatch::default()).await.unwrap().durable);
    drop(store);
    assert_eq!(events.try_next(), Some(Subscribed::Closed));
    assert_eq!(events.next().await, Subscribed::Closed);
}

/// A store that breaks promises on purpose.
#[derive(Debug)]
struct Broken {
    inner: MemoryStore,
    /// Takes the first operations of a patch even when a later one is refused.
    half: bool,
    /// Tells subscribers nothing.
    mute: MemoryStore,
}

#[async_trait]
impl PeerStore for Broken {
    fn snapshot(&self) -> Arc<PeerSet> {
        self.inner.snapshot()
    }

    async fn apply(&self, patch: PeerPatch) -> Result<Applied, StoreError> {
        if !self.half {
            return self.inner.apply(patch).await;
        }
        let mut all = Applied {
            changes: Vec::new(),
            durable: true,
        };
        for op in patch.ops {
            all.changes
                .extend(self.inner.apply(PeerPatch::one(op)).await?.changes);
        }
        Ok(all)
    }

    async fn reload(&self) -> Result<Reloaded, StoreError> {
        self.inner.reload().await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush().await
    }

    fn subscribe(&self) -> StoreEvents {
        self.mute.subscribe()
    }

    fn health(&self) -> StoreHealth {
        self.inner.health()
    }
}

#[tokio::test]
#[should_panic(expected = "store_conformance: patches::a_patch_applies_in_order_and_as_one")]
async fn the_suite_names_the_case_when_a_patch_is_applied_by_halves() {
    let make = || Broken {
        inner: MemoryStore::new(),
        half: true,
        mute: MemoryStore::new(),
    };
    store_conformance(make).await;
}

#[tokio::test]
#[should_panic(expected = "store_conformance: events::every_change_is_told_once_and_in_order")]
async fn the_suite_names_the_case_when_subscribers_are_told_nothing() {
    let make = || Broken {
        inner: MemoryStore::new(),
        half: false,
        mute: MemoryStore::new(),
    };
    store_conformance(make).await;
}
