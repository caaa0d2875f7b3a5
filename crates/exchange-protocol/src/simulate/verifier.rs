//! A verifier that remembers: in a simulation every node checks the same records.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use btcfed_core::PeerKey;
use btcfed_core::identity::{SignatureCheck, StrictVerifier, Verifier};

type Question = (PeerKey, [u8; 64], Vec<u8>);

/// Gives the verdicts of [`StrictVerifier`], each computed once.
///
/// Grows with the number of different records, so it is for simulations only.
#[derive(Debug, Default)]
pub struct MemoVerifier {
    verdicts: Mutex<BTreeMap<Question, bool>>,
}

impl MemoVerifier {
    /// How many different signatures were checked. How many were asked for is counted by the engines.
    #[must_use]
    pub fn distinct(&self) -> usize {
        let verdicts = self.verdicts.lock();
        verdicts.unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Verifier for MemoVerifier {
    fn verify_batch(&self, checks: &[SignatureCheck<'_>]) -> Vec<bool> {
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = |check: &SignatureCheck<'_>| {
            let question = (*check.key, *check.signature, check.message.to_vec());
            *verdicts
                .entry(question)
                .or_insert_with(|| StrictVerifier.verify_batch(&[*check]).contains(&true))
        };
        checks.iter().map(verdict).collect()
    }
}
