//! A million invented identities from one peer: what is kept, what is passed on, and what it costs in memory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the bench has more than is needed here")]

#[path = "engine/bench.rs"]
mod bench;

use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use btcfed_core::exchange::{Input, Output};
use btcfed_core::identity::{SignatureCheck, Verifier};
use btcfed_core::limits::MAX_PEERS;
use btcfed_core::network::Direction;
use btcfed_core::rng::SeededRng;
use btcfed_core::{NodeConfig, PeerKey};
use btcfed_exchange_protocol::limits;
use btcfed_exchange_protocol::message::{Message, RecordEntry};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use bench::{Bench, announcement, hello, key, question, record};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A million with optimisation; without, what takes as long.
const INVENTED: usize = if cfg!(debug_assertions) {
    20_000
} else {
    1_000_000
};

const MINUTES: u64 = 10;

/// Signing costs the attacker what checking costs this node; here neither is the point.
#[derive(Debug)]
struct BelievesAll;

impl Verifier for BelievesAll {
    fn verify_batch(&self, checks: &[SignatureCheck<'_>]) -> Vec<bool> {
        vec![true; checks.len()]
    }
}

/// A record like any other, of an identity that is drawn at random.
fn invent(template: &[u8], of: &PeerKey, rng: &mut SeededRng) -> RecordEntry {
    let key = loop {
        let mut bytes = [0; 32];
        for part in bytes.chunks_exact_mut(8) {
            part.copy_from_slice(&rng.next_u64().to_le_bytes());
        }
        if PeerKey::from_bytes(&bytes).is_ok() {
            break bytes;
        }
    };
    let mut envelope = template.to_vec();
    while let Some(at) = envelope.windows(32).position(|part| part == of.as_bytes()) {
        envelope[at..at + 32].copy_from_slice(&key);
    }
    RecordEntry { envelope, age_s: 0 }
}

/// Connects again at once, however often the connection is closed, and as if there were no bans.
fn come_back(bench: &mut Bench) {
    if bench.is_closed(1) {
        bench.feed(Input::Disconnected { peer: key(1) });
        bench.connect(1, Direction::Inbound);
        bench.ask(1, &Message::Request(question(Some(hello(None)))));
    }
}

/// What an attack came to.
#[derive(Debug, Default)]
struct Cost {
    /// Invented identities that an honest peer was told of.
    relayed: usize,
    /// The most bytes that were taken beyond those of before.
    grown: usize,
    /// Dials to anybody who is not connected.
    dials: usize,
}

/// Offers invented identities for ten minutes, as fast as they are answered.
fn flood(bench: &mut Bench) -> Cost {
    let (template, mut rng) = (record(7, 1), SeededRng::from_seed(1));
    let mut offer = |count: usize| -> Vec<RecordEntry> {
        let one = |_| invent(template.envelope(), &template.key(), &mut rng);
        (0..count).map(one).collect()
    };
    let pause = Duration::from_secs(60 * MINUTES) / u32::try_from(INVENTED / 64).unwrap();
    let mut cost = Cost::default();
    let region = Region::new(ALLOCATOR);
    for _ in 0..INVENTED / 64 {
        let records = offer(64);
        bench.ask(1, &announcement(&records));
        drop(records);
        for (id, message) in bench.sent_to(2) {
            if let Message::Announcement(told) = message {
                cost.relayed += told.records.len() + told.ids.len();
                bench.answer(id, &Message::Ack);
            }
        }
        come_back(bench);
        let is_dial = |output: &Output| matches!(output, Output::Dial { peer, .. } if *peer != key(1) && *peer != key(2));
        cost.dials += bench
            .outputs
            .iter()
            .filter(|output| is_dial(output))
            .count();
        bench.outputs.clear();
        bench.now += pause;
        let change = region.change();
        cost.grown = cost.grown.max(
            change
                .bytes_allocated
                .saturating_sub(change.bytes_deallocated),
        );
    }
    cost
}

#[test]
fn a_million_invented_identities_fill_neither_list_nor_memory_and_hardly_reach_others() {
    let mut bench = Bench::with_verifier(NodeConfig::default(), Arc::new(BelievesAll));
    let honest: Vec<_> = (10..500).map(|n| record(n, 1)).collect();
    bench.store(honest.clone());
    bench.befriend(1);
    bench.befriend(2);
    let Cost {
        relayed,
        grown,
        dials,
    } = flood(&mut bench);
    let seconds = usize::try_from(60 * MINUTES).unwrap() + 1;
    let budget = |burst: u32, rate: u32| burst as usize + seconds * rate as usize;
    let stored = bench.set.len() - honest.len();
    let unasked = budget(limits::UNSOLICITED_BURST, limits::UNSOLICITED_PER_SECOND);
    assert!(
        stored <= unasked && bench.set.len() <= MAX_PEERS,
        "{stored}"
    );
    let news = budget(
        limits::NEW_IDENTITY_BURST,
        limits::NEW_IDENTITIES_PER_SECOND,
    );
    assert!(relayed > 0 && relayed <= news, "{relayed}");
    assert!(grown <= 32 << 20, "{grown}");
    // A feeler a minute, to whomever.
    assert!(dials as u64 <= MINUTES * 2, "{dials}");
    assert!(honest.iter().all(|r| bench.set.contains(&r.key())), "100 %");
    let counters = bench.counters();
    let looked_at = counters.records_offered;
    assert!(looked_at > 2 * stored as u64, "{looked_at} looked at");
    assert!(
        counters.signatures_checked <= unasked as u64 + 10,
        "checked"
    );
    let offered = bench
        .outputs
        .iter()
        .any(|o| matches!(o, Output::Dial { .. }));
    assert!(!offered);
}
