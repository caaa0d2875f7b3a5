//! The one way in: every record, by whichever message it came, passes the same stages in the same order.
//!
//! | Stage | Refuses | Blames the sender |
//! |---|---|---|
//! | syntax | envelopes that cannot be read, weak keys, foreign peer ids | yes |
//! | known | what is stored, pending or was refused lately: costs no signature check | no |
//! | ban | records of banned peers | no |
//! | lease | records whose lease is over | no |
//! | budget | what was sent unasked beyond the budget | yes, a little |
//! | signature | forgeries; own ones of the sender weigh most | yes |
//! | scope | records without an address that means anything over this link | no |

use std::collections::BTreeMap;

use btcfed_core::addr::AddrScope;
use btcfed_core::identity::Verifier;
use btcfed_core::record::{SignedView, UnverifiedRecord, verify_all};
use btcfed_core::time::Now;
use btcfed_core::{PeerKey, SignedRecord};

use crate::defence::score::Offence;
use crate::limits;
use crate::message::Offered;
use crate::view::{View, is_meaningful};

/// How old records were at the sender, in seconds; the young ones are left out.
pub(crate) type Ages = BTreeMap<PeerKey, u32>;

/// What is worth a signature check.
#[derive(Debug, Default)]
pub(crate) struct Triage {
    /// One record per key, the newest.
    pub(crate) candidates: BTreeMap<PeerKey, UnverifiedRecord>,
    /// How old they are, as the sender says.
    pub(crate) ages: Ages,
    /// What the sender has, as it says.
    pub(crate) listed: Vec<(PeerKey, u64)>,
    /// Records with the number of a known one of the same key and other content.
    pub(crate) contradictions: Vec<UnverifiedRecord>,
    /// Records that need no further look.
    pub(crate) known: usize,
    /// What was read well and is not wanted here: of banned peers, of those that left, and of those whose lease is over.
    pub(crate) declined: Vec<(PeerKey, u64)>,
    /// Records that were refused.
    pub(crate) refused: usize,
    /// Records that cannot be read.
    pub(crate) malformed: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// New or newer, verified, in scope.
    pub(crate) accepted: Vec<SignedRecord>,
    /// Verified, and without meaning over this link.
    pub(crate) declined: Vec<(PeerKey, u64)>,
    /// The node's own record, in a version this node has not made: its state was lost.
    pub(crate) own_ahead: Option<u64>,
    /// How many signatures were checked.
    pub(crate) checked: usize,
    /// Records that were refused.
    pub(crate) refused: usize,
    /// The worst a record showed about the sender.
    pub(crate) offence: Option<Offence>,
}

/// Stages syntax, known, ban and lease.
pub(crate) fn triage<'a>(
    view: &View,
    now: Now,
    envelopes: impl Iterator<Item = Offered<'a>>,
) -> Triage {
    let mut triage = Triage::default();
    for (envelope, age_s) in envelopes {
        let Ok(record) = UnverifiedRecord::decode(envelope) else {
            triage.malformed += 1;
            triage.refused += 1;
            continue;
        };
        let (key, seq) = (record.key(), record.seq());
        triage.listed.push((key, seq));
        let is_old_own =
            key == view.own_key() && view.own_record().is_some_and(|own| own.seq() >= seq);
        let contradicted = view
            .record_of(&key)
            .filter(|known| known.seq() == seq && known.envelope() != record.envelope())
            .and_then(SignedView::to_record)
            .filter(|known| record.contradicts(known));
        if key != view.own_key() && contradicted.is_some() && !view.is_banned(&key, now.wall) {
            if triage.contradictions.len() < limits::MAX_CONTRADICTIONS_PER_FRAME {
                triage.contradictions.push(record);
            }
            continue;
        }
        let is_older = triage
            .candidates
            .get(&key)
            .is_some_and(|other| other.seq() >= seq);
        if is_old_own || is_older || view.knows(&key, seq) {
            triage.known += 1;
            let is_declined = view.has_forgotten(&key, seq) || view.is_over(&key);
            if is_declined || view.is_banned(&key, now.wall) {
                triage.declined.push((key, seq));
            }
        } else if view.is_banned(&key, now.wall) || u64::from(age_s) >= limits::LEASE.as_secs() {
            triage.refused += 1;
            triage.declined.push((key, seq));
        } else {
            triage.ages.remove(&key);
            if age_s > 0 {
                triage.ages.insert(key, age_s);
            }
            if triage.candidates.insert(key, record).is_some() {
                triage.known += 1;
            }
        }
    }
    triage
}

/// Stages signature and scope.
pub(crate) fn verify(
    view: &mut View,
    verifier: &dyn Verifier,
    now: Now,
    sender: &PeerKey,
    link: AddrScope,
    candidates: BTreeMap<PeerKey, UnverifiedRecord>,
) -> Verdict {
    let mut verdict = Verdict {
        checked: candidates.len(),
        ..Verdict::default()
    };
    let (keys, records): (Vec<PeerKey>, Vec<UnverifiedRecord>) = candidates.into_iter().unzip();
    for (key, result) in keys.into_iter().zip(verify_all(records, verifier)) {
        let Ok(record) = result else {
            verdict.refused += 1;
            let offence = if key == *sender {
                Offence::ForgedOwnRecord
            } else {
                Offence::BadSignature
            };
            if verdict
                .offence
                .is_none_or(|worst| worst.is_lighter_than(offence))
            {
                verdict.offence = Some(offence);
            }
            continue;
        };
        if key == view.own_key() {
            verdict.own_ahead = Some(record.seq());
            view.remember(now.monotonic, key, record.seq());
        } else if record.is_leaving() || is_meaningful(&record, link) {
            verdict.accepted.push(record);
        } else {
            verdict.refused += 1;
            verdict.declined.push((key, record.seq()));
        }
    }
    verdict
}
