//! How a case says that a promise was broken.

use std::error::Error;
use std::fmt;
use std::panic::Location;

use crate::ban::{Ban, BanReason, BanTarget, Issuer};
use crate::identity::SecretKey;
use crate::patch::{PeerChange, PeerOp, PeerPatch};
use crate::record::SignedRecord;
use crate::store::{PeerStore, StoreError};
use crate::testing::{test_addr, test_secret};
use crate::time::Timestamp;

/// What a case returns.
pub(super) type Outcome = Result<(), Failure>;

/// A broken promise.
#[derive(Debug)]
pub(super) struct Failure(String);

impl Failure {
    #[track_caller]
    fn here(text: impl fmt::Display) -> Self {
        let place = Location::caller();
        Self(format!("{text} ({}:{})", place.file(), place.line()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: Error> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Self {
        Self::here(format_args!("unexpected error: {error}"))
    }
}

/// Fails unless both values are equal.
#[track_caller]
pub(super) fn same<T: PartialEq + fmt::Debug>(what: &str, found: T, expected: T) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(Failure::here(format_args!(
        "{what}: found {found:?}, expected {expected:?}"
    )))
}

/// Fails unless `claim` is true.
#[track_caller]
pub(super) fn holds(what: &str, claim: bool) -> Outcome {
    if claim {
        Ok(())
    } else {
        Err(Failure::here(format_args!("not true: {what}")))
    }
}

/// The value that must be there.
#[track_caller]
pub(super) fn present<T>(what: &str, value: Option<T>) -> Result<T, Failure> {
    value.ok_or_else(|| Failure::here(format_args!("missing: {what}")))
}

/// Applies one operation and returns what changed.
pub(super) async fn apply_one<S: PeerStore>(
    store: &S,
    op: PeerOp,
) -> Result<Vec<PeerChange>, StoreError> {
    store
        .apply(PeerPatch::one(op))
        .await
        .map(|applied| applied.changes)
}

/// What test identity `number` signs about itself: addresses on these ports.
pub(super) fn signed(number: u16, seq: u64, ports: &[u16]) -> Result<SignedRecord, Failure> {
    let addrs: Vec<_> = ports.iter().map(|port| test_addr(*port)).collect();
    let secret: SecretKey = test_secret(number);
    Ok(SignedRecord::sign(&secret, seq, &addrs)?)
}

/// A ban without end, by the operator.
pub(super) fn ban(target: BanTarget) -> Ban {
    Ban {
        target,
        reason: BanReason::Other("left the federation".to_owned()),
        since: Timestamp::from_secs(1_000),
        until: None,
        by: Issuer::Operator,
        evidence: Some("a letter".to_owned()),
    }
}
