//! Summaries of constant size: equal sets give equal summaries, and nobody can prepare unequal ones that do.

use btcfed_core::PeerKey;

/// The second half of the hash key of summaries: `btcfed/1` as little-endian number.
const SUMMARY: u64 = u64::from_le_bytes(*b"btcfed/1");

/// The second half of the hash key of ids: `btcfedid` as little-endian number.
const ID: u64 = u64::from_le_bytes(*b"btcfedid");

/// What a version adds to the root of a list's summary under a salt: SipHash-2-4 (Aumasson and Bernstein 2012) under the
/// key (salt, `btcfed/1`). The parts are added, so their order does not matter and one can be taken out again. Every node
/// draws its salts, and draws them anew from time to time, so sums that collide cannot be searched for in advance.
pub(crate) fn root_part(salt: u32, key: &PeerKey, seq: u64) -> u64 {
    hash(salt.into(), SUMMARY, key, seq)
}

/// The id of a version of a record under a salt: SipHash-2-4 under the key (salt, `btcfedid`).
pub(crate) fn id(salt: u64, key: &PeerKey, seq: u64) -> u64 {
    hash(salt, ID, key, seq)
}

fn hash(salt: u64, domain: u64, key: &PeerKey, seq: u64) -> u64 {
    let (words, _) = key.as_bytes().as_chunks::<8>();
    let words = words
        .iter()
        .map(|word| u64::from_le_bytes(*word))
        .chain([seq]);
    siphash24(salt, domain, words, 40)
}

/// SipHash-2-4 of whole 64-bit words.
fn siphash24(k0: u64, k1: u64, words: impl Iterator<Item = u64>, len: u64) -> u64 {
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    for word in words.chain([len << 56]) {
        let [_, _, _, v3] = &mut v;
        *v3 ^= word;
        round(&mut v);
        round(&mut v);
        let [v0, ..] = &mut v;
        *v0 ^= word;
    }
    let [_, _, v2, _] = &mut v;
    *v2 ^= 0xff;
    for _ in 0..4 {
        round(&mut v);
    }
    v.into_iter().fold(0, |all, part| all ^ part)
}

const fn round(v: &mut [u64; 4]) {
    let [v0, v1, v2, v3] = v;
    *v0 = v0.wrapping_add(*v1);
    *v1 = v1.rotate_left(13) ^ *v0;
    *v0 = v0.rotate_left(32);
    *v2 = v2.wrapping_add(*v3);
    *v3 = v3.rotate_left(16) ^ *v2;
    *v0 = v0.wrapping_add(*v3);
    *v3 = v3.rotate_left(21) ^ *v0;
    *v2 = v2.wrapping_add(*v1);
    *v1 = v1.rotate_left(17) ^ *v2;
    *v2 = v2.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use btcfed_core::SecretKey;

    use super::*;

    #[test]
    fn the_hash_is_siphash_2_4_of_the_paper() {
        // Reference vector of the authors for 8 bytes 00..07 under the key 00..0f.
        let k0 = u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7]);
        let k1 = u64::from_le_bytes([8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(
            siphash24(k0, k1, [k0].into_iter(), 8),
            0x93f5_f579_9a93_2462
        );
        assert_eq!(siphash24(k0, k1, [].into_iter(), 0), 0x726f_db47_dd0e_0e31);
    }

    #[test]
    fn salt_key_and_seq_all_matter_and_roots_are_no_ids() {
        let a = SecretKey::from_seed([1; 32]).public();
        let b = SecretKey::from_seed([2; 32]).public();
        let one = root_part(1, &a, 1);
        assert_eq!(one, root_part(1, &a, 1));
        for other in [
            root_part(2, &a, 1),
            root_part(1, &b, 1),
            root_part(1, &a, 2),
        ] {
            assert_ne!(one, other);
        }
        assert_ne!(one, id(1, &a, 1));
        assert_ne!(id(1, &a, 1), id(2, &a, 1));
    }
}
