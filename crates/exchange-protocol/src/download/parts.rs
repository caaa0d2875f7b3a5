//! Which parts of a list are here, asked for, or open.

use btcfed_core::PeerKey;
use btcfed_core::time::MonotonicTime;

use crate::limits;
use crate::message::Stripe;

/// What became of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// To be asked for.
    Open,
    /// Asked for; when that was, or when its last page arrived.
    Asked { peer: PeerKey, at: MonotonicTime },
    /// Here.
    Done { peer: PeerKey },
}

/// A download under way.
#[derive(Debug)]
pub(crate) struct Download {
    salt: u64,
    /// Who gave the sample: asked for a part only when nobody else is there.
    pub(super) sampler: PeerKey,
    parts: Vec<Part>,
    /// From now on one neighbour may be asked for more than its share.
    pub(super) due: MonotonicTime,
    end: MonotonicTime,
    /// When to look again.
    wake: MonotonicTime,
}

impl Download {
    /// A list of about so many records, in parts that fit into a page each.
    pub(super) fn new(now: MonotonicTime, salt: u64, sampler: PeerKey, records: u32) -> Self {
        let due = now.saturating_add(limits::STRIPE_WAIT);
        let parts = records.div_ceil(limits::RECORDS_PER_STRIPE);
        let parts = parts.clamp(limits::STRIPES, limits::MAX_STRIPES);
        Self {
            salt,
            sampler,
            parts: (0..parts).map(|_| Part::Open).collect(),
            due,
            end: now.saturating_add(limits::DOWNLOAD_LIMIT),
            wake: due,
        }
    }

    /// When it needs attention next.
    pub(crate) const fn deadline(&self) -> MonotonicTime {
        self.wake
    }

    pub(super) fn is_over(&self, now: MonotonicTime) -> bool {
        let is_done = |part: &Part| matches!(part, Part::Done { .. });
        now >= self.end || self.parts.iter().all(is_done)
    }

    /// How many parts one neighbour is asked for while others may still come.
    pub(super) fn share(&self) -> usize {
        self.parts.len().div_ceil(limits::STRIPES as usize)
    }

    /// How many parts somebody gave or was asked for.
    pub(super) fn parts_of(&self, peer: &PeerKey) -> usize {
        let parts = self.parts.iter();
        let of_peer = parts.filter(|part| match part {
            Part::Asked { peer: by, .. } | Part::Done { peer: by } => by == peer,
            Part::Open => false,
        });
        of_peer.count()
    }

    /// The next open part is asked of this peer.
    pub(super) fn take_open(&mut self, peer: PeerKey, at: MonotonicTime) -> Option<Stripe> {
        let index = self.parts.iter().position(|part| *part == Part::Open)?;
        *self.parts.get_mut(index)? = Part::Asked { peer, at };
        Some(Stripe {
            salt: self.salt,
            index: u32::try_from(index).ok()?,
            of: u32::try_from(self.parts.len()).ok()?,
        })
    }

    /// The part of that index, if it is of this download.
    fn part(&mut self, stripe: Stripe) -> Option<&mut Part> {
        let index = usize::try_from(stripe.index).ok()?;
        let is_ours = stripe.salt == self.salt;
        self.parts.get_mut(index).filter(|_| is_ours)
    }

    /// True while the download runs and this peer is the one that is asked for the part.
    pub(super) fn waits_for(&self, stripe: Stripe, peer: PeerKey, now: MonotonicTime) -> bool {
        let index = usize::try_from(stripe.index).unwrap_or(usize::MAX);
        let part = self.parts.get(index);
        let is_asked =
            part.is_some_and(|p| matches!(p, Part::Asked { peer: by, .. } if *by == peer));
        now < self.end && stripe.salt == self.salt && is_asked
    }

    /// A page of a part arrived; `is_last` when the part is complete. An earlier page of somebody who is asked no more leaves
    /// the part to whoever is.
    pub(super) fn arrived(
        &mut self,
        stripe: Stripe,
        peer: PeerKey,
        at: MonotonicTime,
        is_last: bool,
    ) {
        let Some(part) = self.part(stripe) else {
            return;
        };
        match part {
            Part::Done { .. } => {}
            Part::Open | Part::Asked { .. } if is_last => *part = Part::Done { peer },
            Part::Asked { peer: by, at: last } if *by == peer => *last = at,
            Part::Open | Part::Asked { .. } => {}
        }
    }

    /// Opens parts whose neighbour is gone, failed or takes too long.
    pub(super) fn reopen(&mut self, now: MonotonicTime, is_busy: impl Fn(&PeerKey, u32) -> bool) {
        for (part, index) in self.parts.iter_mut().zip(0_u32..) {
            if let Part::Asked { peer, at } = part
                && (now >= at.saturating_add(limits::STRIPE_PATIENCE) || !is_busy(peer, index))
            {
                *part = Part::Open;
            }
        }
    }

    pub(super) fn set_wake(&mut self, now: MonotonicTime) {
        let stalls = self.parts.iter().filter_map(|part| match part {
            Part::Asked { at, .. } => Some(at.saturating_add(limits::STRIPE_PATIENCE)),
            Part::Done { .. } | Part::Open => None,
        });
        self.wake = stalls
            .chain([self.due])
            .filter(|at| *at > now)
            .min()
            .unwrap_or(self.end);
    }
}

#[cfg(test)]
mod tests {
    use btcfed_core::SecretKey;

    use super::*;

    fn key(n: u8) -> PeerKey {
        SecretKey::from_seed([n; 32]).public()
    }

    #[test]
    fn a_list_is_cut_into_parts_that_fit_into_a_page_within_bounds() {
        let each = limits::RECORDS_PER_STRIPE;
        let now = MonotonicTime::ZERO;
        for (records, parts, share) in [
            (0, 4, 1),
            (4 * each, 4, 1),
            (4 * each + 1, 5, 2),
            (50 * each, 50, 13),
            (64 * each, 64, 16),
            (64 * each + 1, 64, 16),
            (u32::MAX, 64, 16),
        ] {
            let mut download = Download::new(now, 7, key(1), records);
            assert_eq!(download.share(), share, "{records}");
            let taken = std::iter::from_fn(|| download.take_open(key(2), now));
            assert!(taken.enumerate().all(|(place, stripe)| {
                stripe.of == parts && u32::try_from(place) == Ok(stripe.index)
            }));
            assert_eq!(Ok(download.parts_of(&key(2))), usize::try_from(parts));
        }
    }

    #[test]
    fn a_page_of_a_part_that_somebody_else_is_asked_for_by_now_does_not_take_it_back() {
        let now = MonotonicTime::ZERO;
        let mut download = Download::new(now, 7, key(1), 0);
        let stripe = download.take_open(key(2), now).unwrap();
        download.reopen(now, |_, _| false);
        assert_eq!(download.take_open(key(3), now), Some(stripe));
        download.arrived(stripe, key(2), now, false);
        assert_eq!(
            (download.parts_of(&key(2)), download.parts_of(&key(3))),
            (0, 1)
        );
    }

    #[test]
    fn nobody_is_waited_for_who_is_asked_no_more() {
        let now = MonotonicTime::ZERO;
        let mut download = Download::new(now, 7, key(1), 0);
        let stripe = download.take_open(key(2), now).unwrap();
        let waits = |download: &Download, n, at| download.waits_for(stripe, key(n), at);
        assert!(waits(&download, 2, now) && !waits(&download, 3, now));
        let end = now.saturating_add(limits::DOWNLOAD_LIMIT);
        assert!(!waits(&download, 2, end), "the download is over");
        download.reopen(now, |_, _| false);
        assert!(!waits(&download, 2, now));
        assert_eq!(download.take_open(key(3), now), Some(stripe));
        assert!(!waits(&download, 2, now) && waits(&download, 3, now));
        download.arrived(stripe, key(3), now, true);
        assert!(!waits(&download, 3, now), "it is here");
    }

    #[test]
    fn a_part_of_another_download_and_one_that_does_not_exist_change_nothing() {
        let now = MonotonicTime::ZERO;
        let mut download = Download::new(now, 7, key(1), 0);
        let stripe = download.take_open(key(2), now).unwrap();
        for other in [
            Stripe { salt: 8, ..stripe },
            Stripe { index: 4, ..stripe },
            Stripe {
                index: u32::MAX,
                ..stripe
            },
        ] {
            download.arrived(other, key(3), now, true);
            assert_eq!(download.parts_of(&key(3)), 0);
        }
        download.arrived(stripe, key(3), now, true);
        download.arrived(stripe, key(2), now, false);
        assert_eq!(
            (download.parts_of(&key(3)), download.parts_of(&key(2))),
            (1, 0)
        );
    }
}
