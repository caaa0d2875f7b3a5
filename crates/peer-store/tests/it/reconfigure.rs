//! Settings that change while the store is open.

use std::sync::Arc;
use std::time::{Duration, Instant};

use btcfed_core::Reconfigure;
use btcfed_core::config::NodeConfig;
use btcfed_core::testing::test_key;
use btcfed_peer_store::{FilePeerStore, StoreOptions};

use crate::common::{DEADLINE, Place, create, keys, knows, until};

/// Longer than any test: what waits this long does not happen.
const NEVER: Duration = Duration::from_secs(3600);

fn config() -> NodeConfig {
    let mut config = NodeConfig::default();
    config.storage.debounce = Duration::from_millis(40);
    config.storage.flush_interval = Duration::from_millis(20);
    config.storage.lock_timeout = Duration::from_millis(500);
    config
}

/// A store that works as `config` says, in the role in which a node holds it.
fn open(place: &Place, config: &NodeConfig) -> (Arc<FilePeerStore>, Arc<dyn Reconfigure>) {
    let options = StoreOptions::new(&place.path)
        .with_debounce(config.storage.debounce)
        .with_flush_interval(config.storage.flush_interval)
        .with_lock_timeout(config.storage.lock_timeout)
        .with_watch(config.storage.watch);
    let store = Arc::new(FilePeerStore::open(options).unwrap());
    (Arc::clone(&store), store)
}

async fn commit(component: &Arc<dyn Reconfigure>, config: &NodeConfig) {
    component.prepare(config).await.unwrap().commit();
}

fn add(place: &Place, number: u16) {
    let entry = format!("peers:\n  - public_key: {}\n", test_key(number));
    place.write(place.read().replacen("peers:\n", &entry, 1));
}

#[tokio::test]
async fn watching_ends_and_begins_while_the_store_is_open() {
    let place = Place::with(keys("peers:\n  - public_key: KEY1\n"));
    let mut config = config();
    let (store, component) = open(&place, &config);
    config.storage.watch = false;
    drop(component.prepare(&config).await.unwrap());
    add(&place, 2);
    until("a dropped change changes nothing", || knows(&store, 2));

    commit(&component, &config).await;
    std::thread::sleep(Duration::from_millis(100));
    add(&place, 3);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!knows(&store, 3), "nobody watches");
    store.reload().unwrap();
    assert!(knows(&store, 3), "but a reload reads");
    add(&place, 4);
    std::thread::sleep(Duration::from_millis(100));
    assert!(!knows(&store, 4));

    config.storage.watch = true;
    commit(&component, &config).await;
    until("what was edited meanwhile", || knows(&store, 4));
    add(&place, 5);
    until("what is edited from now on", || knows(&store, 5));
}

#[tokio::test]
async fn times_change_while_the_store_is_open_also_for_what_waits_already() {
    let place = Place::with(keys("peers:\n  - public_key: KEY1\n"));
    let mut config = config();
    let (store, component) = open(&place, &config);
    config.storage.debounce = NEVER;
    commit(&component, &config).await;
    add(&place, 2);
    std::thread::sleep(Duration::from_millis(400));
    assert!(!knows(&store, 2), "the file is not quiet long enough");
    config.storage.debounce = Duration::from_millis(10);
    config.storage.flush_interval = NEVER;
    commit(&component, &config).await;
    until("the edit", || knows(&store, 2));

    place.write(
        place
            .read()
            .replace(&format!("  - public_key: {}\n", test_key(2)), ""),
    );
    until("the deletion", || !knows(&store, 2));
    std::thread::sleep(Duration::from_millis(300));
    assert!(!place.read().contains("forgotten:"), "not written yet");
    config.storage.flush_interval = Duration::from_millis(10);
    commit(&component, &config).await;
    until("it is written", || place.read().contains("forgotten:"));
}

#[tokio::test]
async fn the_lock_is_waited_for_as_long_as_the_new_settings_say() {
    let place = Place::new();
    let mut config = config();
    config.storage.lock_timeout = DEADLINE;
    let (store, component) = open(&place, &config);
    assert!(create(&store, 1));
    config.storage.lock_timeout = Duration::from_millis(50);
    commit(&component, &config).await;
    let lock = std::fs::File::options()
        .write(true)
        .open(place.path.with_extension("yaml.lock"))
        .unwrap();
    let mut lock = fd_lock::RwLock::new(lock);
    let guard = lock.write().unwrap();
    let started = Instant::now();
    assert!(!create(&store, 2));
    assert!(started.elapsed() < DEADLINE / 2, "the new timeout holds");
    drop(guard);
    until("the store heals", || store.health().durable);
}

#[tokio::test]
async fn a_reload_leaves_alone_what_no_configuration_has_changed() {
    let place = Place::with(keys("peers:\n  - public_key: KEY1\n"));
    // An embedder that wants no watching, and a configuration that does not speak of it.
    let options = StoreOptions::new(&place.path).with_watch(false);
    let store = Arc::new(FilePeerStore::open(options).unwrap());
    let component: Arc<dyn Reconfigure> = store.clone();
    let mut config = NodeConfig::default();
    config.storage.lock_timeout = Duration::from_millis(500);
    commit(&component, &config).await;
    add(&place, 2);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!knows(&store, 2), "still nobody watches");
    // One that does speak of it is followed, there and back.
    config.storage.watch = false;
    commit(&component, &config).await;
    config.storage.watch = true;
    commit(&component, &config).await;
    until("watching", || knows(&store, 2));
}
