//! Summaries of constant size: equal sets give equal summaries, and nobody can prepare unequal ones that do.

use btcfed_core::PeerKey;

use crate::message::Summary;

/// The second half of the hash key of summaries: `btcfed/1` as little-endian number.
const SUMMARY: u64 = u64::from_le_bytes(*b"btcfed/1");

/// The second half of the hash key of ids: `btcfedid` as little-endian number.
const ID: u64 = u64::from_le_bytes(*b"btcfedid");

/// The summary of a list of (key, seq) under a salt. The order of the list does not matter.
///
/// Each element is hashed with SipHash-2-4 (Aumasson and Bernstein 2012) under the key (salt, `btcfed/1`); the hashes
/// are added. The salt is drawn anew for every question, so sums that collide cannot be searched for in advance.
pub(crate) fn summarize(salt: u32, elements: impl Iterator<Item = (PeerKey, u64)>) -> Summary {
    let (mut root, mut count) = (0_u64, 0_u32);
    for (key, seq) in elements {
        root = root.wrapping_add(hash(salt.into(), SUMMARY, &key, seq));
        count = count.saturating_add(1);
    }
    Summary { salt, root, count }
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
    fn order_does_not_matter_and_everything_else_does() {
        let a = SecretKey::from_seed([1; 32]).public();
        let b = SecretKey::from_seed([2; 32]).public();
        let of = |salt, list: &[(PeerKey, u64)]| summarize(salt, list.iter().copied());
        assert_eq!(of(1, &[(a, 1), (b, 2)]), of(1, &[(b, 2), (a, 1)]));
        assert_ne!(of(1, &[(a, 1), (b, 2)]).root, of(1, &[(a, 2), (b, 1)]).root);
        assert_ne!(of(1, &[(a, 1)]).root, of(2, &[(a, 1)]).root);
        assert_ne!(of(1, &[(a, 1)]).root, id(1, &a, 1));
        assert_ne!(id(1, &a, 1), id(2, &a, 1));
        assert_eq!(
            of(7, &[]),
            Summary {
                salt: 7,
                root: 0,
                count: 0
            }
        );
    }
}
