//! Taking over what the journal says into memory that went on meanwhile: a three-way merge, entry by entry. Pure.
//!
//! It serves frames that another process appended (the base is what was known of the journal before) and recovery (the
//! base is the checkpoint, memory is the file as people left it).

use std::collections::BTreeSet;

use btcfed_core::PeerSet;
use btcfed_core::ban::BanTarget;
use btcfed_core::patch::PeerChange;
use btcfed_core::set::{PackedPeer, SetEntry, SetPlace};

use crate::merge::{blend, same_words};

/// What memory is after it took over what changed at `places` between `base` and `theirs`, and what there is to tell about
/// it; `None` when it stays as it is.
pub(crate) fn absorb(
    base: &PeerSet,
    theirs: &PeerSet,
    memory: &PeerSet,
    places: &BTreeSet<SetPlace>,
) -> Option<(PeerSet, Vec<PeerChange>)> {
    let mut merged = None;
    let mut changes = Vec::new();
    for place in places {
        let known = memory.entry(place);
        let entry = one(&base.entry(place), theirs.entry(place), &known);
        if entry != known {
            changes.extend(told(&known, &entry));
            merged.get_or_insert_with(|| memory.clone()).put(entry);
        }
    }
    merged.map(|merged| (merged, changes))
}

fn one(base: &SetEntry, theirs: SetEntry, known: &SetEntry) -> SetEntry {
    if theirs == *base || theirs == *known {
        return known.clone();
    }
    if known == base {
        return theirs;
    }
    match (base, theirs, known) {
        (SetEntry::Peer(_, base), SetEntry::Peer(key, theirs), SetEntry::Peer(_, known)) => {
            SetEntry::Peer(key, peer(base.as_ref(), theirs, known.as_ref()))
        }
        // Bans and marks are replaced as a whole: what this process decided comes after what the journal says.
        _ => known.clone(),
    }
}

/// A peer that changed on both sides.
fn peer(
    base: Option<&PackedPeer>,
    theirs: Option<PackedPeer>,
    known: Option<&PackedPeer>,
) -> Option<PackedPeer> {
    match (theirs, known) {
        (Some(theirs), Some(known)) => {
            let base = base.unwrap_or(known).to_record();
            Some(blend(&base, &theirs.to_record(), &known.to_record()).into())
        }
        // Removed there: counters alone do not keep a peer, words do.
        (None, Some(known)) => base
            .is_none_or(|base| !same_words(&base.to_record(), &known.to_record()))
            .then(|| known.clone()),
        // Removed here, and this comes after.
        (_, None) => None,
    }
}

fn told(old: &SetEntry, new: &SetEntry) -> Option<PeerChange> {
    match (old, new) {
        (SetEntry::Peer(key, old), SetEntry::Peer(_, new)) => Some(match (old, new) {
            (_, None) => PeerChange::Removed(*key),
            (None, Some(_)) => PeerChange::Added(*key),
            (Some(_), Some(_)) => PeerChange::Updated(*key),
        }),
        (SetEntry::Ban(target, _), SetEntry::Ban(_, new)) => Some(ban(*target, new.is_some())),
        _ => None,
    }
}

const fn ban(target: BanTarget, is_banned: bool) -> PeerChange {
    if is_banned {
        PeerChange::Banned(target)
    } else {
        PeerChange::Unbanned(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::peer::{PeerRecord, PeerStatus};
    use btcfed_core::testing::{test_key, test_record};
    use btcfed_core::time::Timestamp;

    fn set(records: &[PeerRecord]) -> PeerSet {
        PeerSet::from_parts(records.iter().cloned(), [], [])
    }

    fn named(name: &str) -> PeerRecord {
        let mut record = test_record(1);
        record.name = Some(name.to_owned());
        record
    }

    fn after(base: &[PeerRecord], theirs: &[PeerRecord], memory: &[PeerRecord]) -> Vec<PeerRecord> {
        let places = [SetPlace::Peer(test_key(1))].into();
        let memory = set(memory);
        let merged = match absorb(&set(base), &set(theirs), &memory, &places) {
            None => memory,
            Some((merged, changes)) => {
                assert!(merged != memory && changes.len() == 1, "{changes:?}");
                merged
            }
        };
        merged.iter().collect()
    }

    #[test]
    fn what_only_one_side_changed_is_taken_and_both_sides_are_blended() {
        let (old, new) = (named("old"), named("new"));
        let one = std::slice::from_ref::<PeerRecord>;
        assert_eq!(after(&[], one(&new), &[]), one(&new));
        assert_eq!(after(one(&old), one(&new), one(&old)), one(&new));
        assert_eq!(after(one(&old), one(&old), one(&new)), one(&new));
        assert_eq!(after(one(&old), &[], one(&old)), []);
        let mut noted = old.clone();
        noted.note = Some("here".to_owned());
        noted.update_status(PeerStatus::Valid, Timestamp::from_secs(9));
        let both = after(one(&old), one(&new), one(&noted));
        assert_eq!(
            (both[0].name.as_deref(), both[0].note.as_deref()),
            (Some("new"), Some("here"))
        );
        assert_eq!(both[0].status, PeerStatus::Valid);
    }

    #[test]
    fn a_removal_yields_to_an_edit_and_not_to_counters_and_a_later_removal_stays() {
        let (old, new) = (named("old"), named("new"));
        let one = std::slice::from_ref::<PeerRecord>;
        let mut touched = old.clone();
        touched.stats.contact_failed();
        assert_eq!(after(one(&old), &[], one(&touched)), []);
        assert_eq!(after(one(&old), &[], one(&new)), one(&new));
        assert_eq!(after(one(&old), one(&new), &[]), []);
    }
}
