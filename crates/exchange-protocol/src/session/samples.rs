//! Records for the tests of conversations.

use btcfed_core::{SecretKey, SignedRecord};

/// Version `seq` of the record of peer `n`.
pub(super) fn record(n: usize, seq: u64) -> SignedRecord {
    let mut seed = [4; 32];
    seed[..8].copy_from_slice(&n.to_le_bytes());
    let addr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
    SignedRecord::sign(&SecretKey::from_seed(seed), seq, &[addr]).unwrap()
}
