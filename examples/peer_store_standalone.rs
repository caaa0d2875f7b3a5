//! A peers file without a node: open, add, let somebody edit it, see comments kept, open again.
//!
//! `cargo run -p btcfed-peer-store --example peer_store_standalone`

use std::error::Error;
use std::time::{Duration, Instant};

use btcfed_core::store::{StoreEvent, Subscribed};
use btcfed_core::{AddressSource, PeerPatch, PeerRecord, PeerSource, SecretKey};
use btcfed_peer_store::{FilePeerStore, StoreOptions};

/// How long the example waits for the edit to be noticed.
const PATIENCE: Duration = Duration::from_secs(5);

fn peer(seed: u8, address: &str) -> Result<PeerRecord, Box<dyn Error>> {
    let mut record = PeerRecord::new(
        SecretKey::from_seed([seed; 32]).public(),
        PeerSource::Operator,
    );
    record.add_address(address.parse()?, AddressSource::Operator);
    Ok(record)
}

#[expect(clippy::print_stdout, reason = "an example talks to its reader")]
fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::temp_dir().join(format!("btcfed-example-{}", std::process::id()));
    let path = directory.join("peers.yaml");

    // Open: a missing file is a first run.
    let options = StoreOptions::new(&path).with_debounce(Duration::from_millis(50));
    let store = FilePeerStore::open(options.clone())?;
    println!(
        "1. opened {} with {} peers",
        path.display(),
        store.snapshot().len()
    );

    // Add: durable means on disk.
    let alice = peer(1, "/dns4/alice.example.com/tcp/9000")?;
    let bob = peer(2, "/ip4/192.0.2.7/tcp/9000")?;
    let applied = store.apply(&PeerPatch::create(alice.clone()))?;
    println!("2. added alice, durable: {}", applied.durable);

    // The file follows within a second, or now.
    store.flush()?;

    // A person edits the file: a comment, a name, and one more peer.
    let mut events = store.subscribe();
    let text = std::fs::read_to_string(&path)?;
    let entry = format!(
        "  # met at the conference\n  - public_key: {}\n    addresses: [/ip4/192.0.2.7/tcp/9000]\nbans:",
        bob.key
    );
    let address = "      - /dns4/alice.example.com/tcp/9000\n";
    let named = format!("{address}    name: alice   # rack 7\n");
    std::fs::write(
        &path,
        text.replacen("bans:", &entry, 1)
            .replacen(address, &named, 1),
    )?;
    let deadline = Instant::now() + PATIENCE;
    while !store.snapshot().contains(&bob.key) {
        if Instant::now() > deadline {
            return Err("the edit was not noticed".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    while let Some(Subscribed::Event(StoreEvent::Changed(changes))) = events.try_next() {
        println!("3. noticed the edit: {} changes", changes.len());
    }

    // The next save keeps what the person wrote.
    store.apply(&PeerPatch::create(peer(3, "/ip6/2001:db8::1/tcp/9000")?))?;
    store.close()?;
    let text = std::fs::read_to_string(&path)?;
    let kept = text.contains("# met at the conference") && text.contains("name: alice   # rack 7");
    println!(
        "4. saved {} peers, comments kept: {kept}\n\n{text}",
        store.snapshot().len()
    );

    // Open again: everything is there.
    let again = FilePeerStore::open(options)?;
    let name = again
        .snapshot()
        .get(&alice.key)
        .and_then(|record| record.name);
    println!(
        "5. opened again with {} peers; the first one is called {name:?}",
        again.snapshot().len()
    );
    again.close()?;
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
