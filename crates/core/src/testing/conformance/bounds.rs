//! Bounds hold exactly at their limit.

use super::outcome::{Outcome, holds, same};
use crate::limits::{MAX_ADDRESSES_PER_PEER, MAX_NAME_BYTES, MAX_NOTE_BYTES};
use crate::patch::PatchError;
use crate::peer::{AddressSource, PeerRecord};
use crate::store::{PeerStore, PeerStoreExt};
use crate::testing::{test_addr, test_key, test_record};

pub(super) async fn a_name_at_its_limit_is_kept_and_one_past_is_refused<S: PeerStore>(
    store: &S,
) -> Outcome {
    text_at_its_limit(store, "name", MAX_NAME_BYTES, |record, text| {
        record.name = Some(text)
    })
    .await
}

pub(super) async fn a_note_at_its_limit_is_kept_and_one_past_is_refused<S: PeerStore>(
    store: &S,
) -> Outcome {
    text_at_its_limit(store, "note", MAX_NOTE_BYTES, |record, text| {
        record.note = Some(text)
    })
    .await
}

async fn text_at_its_limit<S: PeerStore>(
    store: &S,
    field: &'static str,
    limit: usize,
    set: fn(&mut PeerRecord, String),
) -> Outcome {
    let with = |number, len| {
        let mut record = test_record(number);
        set(&mut record, "x".repeat(len));
        record
    };
    store.create(with(1, limit)).await?;
    let before = store.snapshot();
    let too_long = |number| PatchError::TooLong {
        peer: test_key(number).peer_id(),
        field,
        len: limit + 1,
        limit,
    };
    same(
        "created one past",
        store.create(with(2, limit + 1)).await,
        Err(too_long(2).into()),
    )?;
    same(
        "updated one past",
        store.update(with(1, limit + 1)).await,
        Err(too_long(1).into()),
    )?;
    same("set", store.snapshot(), before)?;
    store.update(with(1, limit)).await?;
    // Bytes count, not characters: a two-byte letter more is two past.
    let mut record = test_record(3);
    set(&mut record, format!("{}\u{e9}", "x".repeat(limit - 1)));
    holds(
        "a letter of two bytes at the limit is refused",
        store.create(record).await.is_err(),
    )
}

pub(super) async fn the_operator_may_write_more_addresses_than_others<S: PeerStore>(
    store: &S,
) -> Outcome {
    let mut record = test_record(1);
    let ports = 100..100 + u16::try_from(MAX_ADDRESSES_PER_PEER)? * 2;
    for port in ports.clone() {
        record.add_address(test_addr(port), AddressSource::Operator);
        record.add_address(
            test_addr(port + 1_000),
            AddressSource::LearnedFrom(test_key(2)),
        );
    }
    store.create(record).await?;
    let read = store.read(&test_key(1))?;
    let (own, others): (Vec<_>, Vec<_>) = read
        .addresses
        .iter()
        .partition(|known| known.source == AddressSource::Operator);
    same("the operator's", own.len(), ports.len() + 1)?;
    same("others'", others.len(), MAX_ADDRESSES_PER_PEER)
}
