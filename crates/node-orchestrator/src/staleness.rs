//! Learned peers nobody has heard of for long: first dialled last, then forgotten. Peers the operator chose never age.
//!
//! A peer is heard of when it is met, and when a record it signed arrives: a live peer signs one three times a day, so a
//! peer that lives anywhere in the federation stays young here.

use std::time::Duration;

use btcfed_core::config::PeersConfig;
use btcfed_core::key::PeerKey;
use btcfed_core::peer::PeerStatus;
use btcfed_core::rng::SeededRng;
use btcfed_core::set::{PeerSet, PeerView};
use btcfed_core::time::{MonotonicTime, Now, Timestamp};

/// How often the list is looked through.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// Most peers forgotten in one sweep: the rest goes with the next ones.
pub(crate) const MAX_FORGOTTEN_PER_SWEEP: usize = 1_000;

/// How far a clock may be off before its word on the age of a peer is not taken.
pub(crate) const MAX_CLOCK_ERROR: Duration = Duration::from_secs(24 * 3600);

/// When a peer was last heard of. A record signed in the future says nothing.
pub(crate) fn last_heard(peer: PeerView<'_>, now: Timestamp) -> Option<Timestamp> {
    let latest = now.saturating_add(MAX_CLOCK_ERROR);
    let signed = peer.seq().map(Timestamp::from_millis);
    let stats = peer.stats();
    [stats.last_seen, stats.first_seen, signed]
        .into_iter()
        .flatten()
        .filter(|at| *at <= latest)
        .max()
}

/// True when a learned peer has not been heard of for `after`.
pub(crate) fn is_silent(peer: PeerView<'_>, now: Timestamp, after: Duration) -> bool {
    !peer.is_reserved() && last_heard(peer, now).is_some_and(|at| now.saturating_since(at) >= after)
}

/// Looks through the list from time to time.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    last: Option<Now>,
    next: Option<MonotonicTime>,
}

impl Sweeper {
    /// When [`Sweeper::sweep`] should be called at the latest.
    pub(crate) const fn next_deadline(&self) -> Option<MonotonicTime> {
        self.next
    }

    /// The first sweep is due after a whole interval: at the start a peer had no chance yet to be heard of.
    pub(crate) fn start(&mut self, now: Now, rng: &mut SeededRng) {
        self.last = Some(now);
        self.next = Some(
            now.monotonic
                .saturating_add(rng.jitter(SWEEP_INTERVAL, 0.1)),
        );
    }

    /// Who is to be forgotten now. Nobody when a sweep is not due, or when the clock jumped since the last one.
    pub(crate) fn sweep(
        &mut self,
        now: Now,
        config: &PeersConfig,
        set: &PeerSet,
        is_connected: impl Fn(&PeerKey) -> bool,
        rng: &mut SeededRng,
    ) -> Vec<PeerKey> {
        if self.next.is_none_or(|at| now.monotonic < at) {
            return Vec::new();
        }
        let jumped = self.last.is_some_and(|last| {
            let real = now.monotonic.saturating_since(last.monotonic);
            let told = now.wall.saturating_since(last.wall);
            told.abs_diff(real) > SWEEP_INTERVAL || now.wall < last.wall
        });
        self.start(now, rng);
        if jumped {
            tracing::warn!("the clock jumped; the age of peers is not judged by it this time");
            return Vec::new();
        }
        let is_useless = |peer: &PeerView<'_>| {
            matches!(
                peer.status(),
                PeerStatus::Inaccessible | PeerStatus::Unknown
            )
        };
        set.views()
            .filter(|peer| is_useless(peer) && !is_connected(peer.key()))
            .filter(|peer| is_silent(*peer, now.wall, config.forget_after))
            .take(MAX_FORGOTTEN_PER_SWEEP)
            .map(|peer| *peer.key())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::config::NodeConfig;
    use btcfed_core::patch::{PeerOp, PeerPatch};
    use btcfed_core::peer::{PeerRecord, PeerSource};
    use btcfed_core::record::SignedRecord;
    use btcfed_core::testing::{test_addr, test_key, test_secret};

    const DAY: u64 = 24 * 3600;

    fn now(days: u64, hours: u64) -> Now {
        let secs = days * DAY + hours * 3600;
        Now {
            monotonic: MonotonicTime::from_origin(Duration::from_secs(secs)),
            wall: Timestamp::from_secs(1_800_000_000 + secs),
        }
    }

    /// A set with an operator's peer 1 and a learned peer 2, both of day 0.
    fn set() -> PeerSet {
        let signed =
            SignedRecord::sign(&test_secret(2), now(0, 0).wall.as_millis(), &[test_addr(2)]);
        let operators = PeerRecord::new(test_key(1), PeerSource::Operator);
        let patch = PeerPatch {
            ops: vec![
                PeerOp::Create(Box::new(operators)),
                PeerOp::Learn(signed.unwrap()),
            ],
        };
        PeerSet::default().apply(&patch, now(0, 0)).unwrap().0
    }

    fn sweep(sweeper: &mut Sweeper, at: Now, set: &PeerSet, connected: bool) -> Vec<PeerKey> {
        let config = NodeConfig::default().peers;
        let mut rng = SeededRng::from_seed(1);
        sweeper.sweep(at, &config, set, |_| connected, &mut rng)
    }

    fn started(days: u64, hours: u64) -> Sweeper {
        let mut sweeper = Sweeper::default();
        sweeper.start(now(days, hours), &mut SeededRng::from_seed(1));
        sweeper
    }

    #[test]
    fn a_learned_peer_nobody_hears_of_is_forgotten_and_an_operators_never() {
        let set = set();
        assert_eq!(sweep(&mut started(28, 0), now(28, 2), &set, false), []);
        assert_eq!(
            sweep(&mut started(30, 0), now(30, 2), &set, false),
            [test_key(2)]
        );
        assert_eq!(sweep(&mut started(30, 0), now(30, 2), &set, true), []);
        assert_eq!(sweep(&mut started(30, 0), now(30, 0), &set, false), []);
    }

    #[test]
    fn a_clock_that_jumps_forgets_nobody() {
        let set = set();
        let mut sweeper = started(1, 0);
        let jumped = Now {
            monotonic: now(1, 2).monotonic,
            wall: now(366, 2).wall,
        };
        assert_eq!(sweep(&mut sweeper, jumped, &set, false), []);
        let back = now(1, 4);
        assert_eq!(sweep(&mut sweeper, back, &set, false), []);
    }

    #[test]
    fn a_new_record_keeps_a_peer_young_and_one_from_the_future_says_nothing() {
        let young = |seq_at: u64| {
            let seq = now(seq_at, 0).wall.as_millis();
            let signed = SignedRecord::sign(&test_secret(2), seq, &[test_addr(2)]);
            let patch = PeerPatch::one(PeerOp::Learn(signed.unwrap()));
            let set = set().apply(&patch, now(20, 0)).unwrap().0;
            !is_silent(
                set.view(&test_key(2)).unwrap(),
                now(40, 0).wall,
                Duration::from_secs(30 * DAY),
            )
        };
        assert!(young(20));
        assert!(!young(5), "35 days old");
        assert!(!young(400), "from the future");
    }
}
