//! A file of three peers with any single bit flipped, or cut at any byte: nobody panics, and nothing is altered silently.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use btcfed_core::{Metrics, PeerSet};
use btcfed_peer_store::FilePeerStore;

use crate::common::Place;
use crate::damage::three_peers;

/// Tests every bit of a byte instead of one.
const ALL_BITS: &str = "BTCFED_TEST_ALL_BITS";

#[derive(Debug, Default)]
struct Counts {
    adopted: AtomicU64,
    skipped: AtomicU64,
}

impl Metrics for Counts {
    fn count(&self, name: &'static str, by: u64) {
        match name {
            "peer_store_adopted_changes" => drop(self.adopted.fetch_add(by, Ordering::Relaxed)),
            "peer_store_skipped_entries" => drop(self.skipped.fetch_add(by, Ordering::Relaxed)),
            _ => {}
        }
    }

    fn time(&self, _: &'static str, _: Duration) {}
}

/// What a store makes of bytes, and how much of it was told.
fn opened(place: &Place, bytes: &[u8]) -> (Arc<PeerSet>, u64, usize) {
    std::fs::write(&place.path, bytes).unwrap();
    let counts = Arc::new(Counts::default());
    let options = place
        .options()
        .with_watch(false)
        .with_flush_interval(Duration::from_secs(60));
    let metrics = Arc::<Counts>::clone(&counts);
    let store = FilePeerStore::open(options.with_metrics(metrics)).unwrap();
    let said = counts.adopted.load(Ordering::Relaxed) + counts.skipped.load(Ordering::Relaxed);
    (store.snapshot(), said, store.skipped().len())
}

/// Removes everything beside the base, so that each case starts alike.
fn reset(place: &Place, base: Option<&str>) {
    for path in place.beside("") {
        std::fs::remove_file(path).unwrap();
    }
    if let Some(base) = base {
        std::fs::write(place.dir.path().join("peers.yaml.base"), base).unwrap();
    }
}

#[test]
fn no_flipped_bit_alters_a_peer_silently_and_none_loses_one_that_the_base_has() {
    let whole = three_peers();
    let place = Place::new();
    let (good, ..) = opened(&place, whole.as_bytes());
    let bits = if std::env::var_os(ALL_BITS).is_some() {
        8
    } else {
        1
    };
    let outcomes: Mutex<BTreeMap<&str, usize>> = Mutex::default();
    let count = |what| *outcomes.lock().unwrap().entry(what).or_default() += 1;
    for at in 0..whole.len() {
        for bit in 0..bits {
            let bit = if bits == 1 { at % 8 } else { bit };
            let mut bytes = whole.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            reset(&place, Some(&whole));
            let (set, said, skipped) = opened(&place, &bytes);
            let same = set.iter().eq(good.iter());
            assert!(same || said > 0, "bit {bit} of byte {at}: altered silently");
            if same {
                count(if skipped > 0 {
                    "brought back"
                } else {
                    "harmless"
                });
                continue;
            }
            count("told");
            let lost = good.iter().filter(|peer| !set.contains(&peer.key)).count();
            // A line that begins an entry and becomes a comment or a field looks like a deletion, and is told as one.
            assert!(
                lost <= 1,
                "bit {bit} of byte {at}: {lost} lost\n{}",
                String::from_utf8_lossy(&bytes)
            );

            reset(&place, None);
            let (alone, _, skipped) = opened(&place, &bytes);
            let altered = alone
                .iter()
                .filter(|peer| good.get(&peer.key).as_ref() != Some(peer))
                .count();
            assert!(
                alone.len() + skipped + 2 >= good.len() && (altered <= 1 || skipped > 0),
                "bit {bit} of byte {at}: {} left, {altered} altered, {skipped} told",
                alone.len()
            );
        }
    }
    crate::common::say(&format!("{outcomes:?}"));
    let outcomes = outcomes.into_inner().unwrap();
    assert!(
        outcomes.len() == 3 && outcomes["told"] * 2 < whole.len() * bits,
        "{outcomes:?}"
    );
}

#[test]
fn a_file_cut_anywhere_loses_nothing_that_the_base_has() {
    let whole = three_peers();
    let place = Place::new();
    let (good, ..) = opened(&place, whole.as_bytes());
    let step = if std::env::var_os(ALL_BITS).is_some() {
        1
    } else {
        7
    };
    for cut in (1..whole.len()).step_by(step) {
        reset(&place, Some(&whole));
        let (set, said, skipped) = opened(&place, &whole.as_bytes()[..cut]);
        let lost = good.iter().filter(|peer| !set.contains(&peer.key)).count();
        let altered = set
            .iter()
            .filter(|peer| good.get(&peer.key).as_ref() != Some(peer))
            .count();
        assert!(
            altered == 0 || said > 0,
            "cut at {cut}: {altered} altered silently"
        );
        assert!(
            lost == 0 || said + u64::try_from(skipped).unwrap() > 0,
            "cut at {cut}: {lost} lost silently"
        );
    }
}
