//! Deterministic randomness for jitter, sampling and shuffling: same seed, same sequence, on every platform.
//!
//! Predictable by design and therefore never used for keys, nonces or anything an attacker must not guess.

use std::time::Duration;

/// 2^53: how many equally spaced values a double can take in `[0, 1)`.
const UNIT_STEPS: f64 = 9_007_199_254_740_992.0;

/// The `SplitMix64` generator: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (OOPSLA 2014), in
/// the public-domain form of Sebastiano Vigna, <https://prng.di.unimi.it/splitmix64.c>.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeededRng {
    state: u64,
}

impl SeededRng {
    /// A generator whose whole sequence follows from `seed`. Every seed is as good as any other.
    #[must_use]
    pub const fn from_seed(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 uniformly distributed bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `n - 1`, each equally likely; 0 when `n` is 0.
    ///
    /// Lemire, "Fast Random Integer Generation in an Interval" (2019): multiply, and reject the uneven remainder.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        let uneven = n.wrapping_neg() % n;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(n);
            let [high, low] = split(product);
            if low >= uneven {
                return high;
            }
        }
    }

    /// An index into a slice of `len` elements; 0 when `len` is 0.
    pub fn index(&mut self, len: usize) -> usize {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        usize::try_from(self.below(len)).unwrap_or(0)
    }

    /// One element of `items`, each equally likely; `None` when there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.index(items.len()))
    }

    /// True with the given probability: never at 0 and below (or NaN), always at 1 and above.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A duration from `low` to `high`, whichever way round they are given.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let (low, high) = (low.min(high), low.max(high));
        let span = high - low;
        let part = span.as_secs_f64() * self.unit();
        low.saturating_add(Duration::try_from_secs_f64(part).unwrap_or(span).min(span))
    }

    /// `duration` lengthened or shortened by at most `fraction` of itself; `fraction` is clamped to 0..=1, NaN is 0.
    pub fn jitter(&mut self, duration: Duration, fraction: f64) -> Duration {
        let swing = fraction_of(duration, fraction);
        self.between(
            duration.saturating_sub(swing),
            duration.saturating_add(swing),
        )
    }

    /// Puts `items` into a random order, each order equally likely (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }

    /// A number in `[0, 1)`. Only exact operations of IEEE 754, hence the same on every platform.
    fn unit(&mut self) -> f64 {
        let bits = self.next_u64() >> 11;
        bits as f64 / UNIT_STEPS
    }
}

/// `fraction` of `duration`, with `fraction` clamped to 0..=1 and NaN taken as 0.
pub(crate) fn fraction_of(duration: Duration, fraction: f64) -> Duration {
    let fraction = if fraction > 0.0 {
        fraction.min(1.0)
    } else {
        0.0
    };
    Duration::try_from_secs_f64(duration.as_secs_f64() * fraction)
        .unwrap_or(duration)
        .min(duration)
}

/// The high and the low half of `value`.
const fn split(value: u128) -> [u64; 2] {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "each half is exactly 64 bits"
    )]
    [(value >> 64) as u64, value as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut rng = SeededRng::from_seed(1_234_567);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(expected.map(|_| rng.next_u64()), expected);
    }

    #[test]
    fn the_same_seed_gives_the_same_choices() {
        let draw = |seed| {
            let mut rng = SeededRng::from_seed(seed);
            let mut items: Vec<u32> = (0..50).collect();
            rng.shuffle(&mut items);
            (
                items,
                rng.jitter(Duration::from_secs(10), 0.3),
                rng.below(1000),
                rng.chance(0.5),
            )
        };
        assert_eq!(draw(9), draw(9));
        assert_ne!(draw(9).0, draw(10).0);
    }

    #[test]
    fn a_number_below_n_is_below_n_and_reaches_every_value() {
        let mut rng = SeededRng::from_seed(1);
        assert_eq!((rng.below(0), rng.below(1)), (0, 0));
        let mut seen = [0_u32; 7];
        for _ in 0..7000 {
            seen[rng.index(7)] += 1;
        }
        assert!(
            seen.iter().all(|count| (850..1150).contains(count)),
            "{seen:?}"
        );
        for _ in 0..100 {
            assert!(rng.below(u64::MAX) < u64::MAX);
        }
    }

    #[test]
    fn an_empty_slice_yields_nothing() {
        let mut rng = SeededRng::from_seed(1);
        assert_eq!(rng.pick::<u8>(&[]), None);
        assert_eq!(rng.pick(&[5]), Some(&5));
        rng.shuffle::<u8>(&mut []);
    }

    #[test]
    fn chance_is_certain_at_its_ends_and_fair_between() {
        let mut rng = SeededRng::from_seed(2);
        for _ in 0..1000 {
            assert!(rng.chance(1.0) && rng.chance(2.0));
            assert!(!rng.chance(0.0) && !rng.chance(-1.0) && !rng.chance(f64::NAN));
        }
        let hits = (0..10_000).filter(|_| rng.chance(0.3)).count();
        assert!((2800..3200).contains(&hits), "{hits}");
    }

    #[test]
    fn jitter_stays_within_its_fraction_on_both_sides() {
        let mut rng = SeededRng::from_seed(3);
        let second = Duration::from_secs(1);
        let drawn: Vec<Duration> = (0..1000).map(|_| rng.jitter(second, 0.25)).collect();
        assert!(drawn.iter().all(|d| (750..=1250).contains(&d.as_millis())));
        assert!(
            drawn.iter().any(|d| d.as_millis() < 800) && drawn.iter().any(|d| d.as_millis() > 1200)
        );
    }

    #[test]
    fn jitter_of_extreme_values_neither_panics_nor_overflows() {
        let mut rng = SeededRng::from_seed(4);
        for fraction in [
            0.0,
            1.0,
            -1.0,
            1e300,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
        ] {
            for duration in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
                let _ = rng.jitter(duration, fraction);
                assert!(fraction_of(duration, fraction) <= duration);
            }
        }
        assert_eq!(
            rng.jitter(Duration::from_secs(1), f64::NAN),
            Duration::from_secs(1)
        );
        let (low, high) = (Duration::from_secs(1), Duration::from_secs(2));
        assert!((low..=high).contains(&rng.between(high, low)));
    }

    #[test]
    fn a_shuffle_keeps_every_element() {
        let mut items: Vec<u32> = (0..100).collect();
        SeededRng::from_seed(5).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
