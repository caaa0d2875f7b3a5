//! How long ids wait for the record to come along the tree: by what a round trip takes over the link.

use std::time::Duration;

use btcfed_core::PeerKey;

use crate::limits;

/// The shortest time an answer took on a link; none was awaited yet at first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RoundTrip(Duration);

impl RoundTrip {
    /// An answer took so long. One that takes longer than usual says nothing about the link.
    pub(crate) fn answered_after(&mut self, took: Duration) {
        if self.0.is_zero() || took < self.0 {
            self.0 = took.min(limits::MAX_ROUND_TRIP);
        }
    }

    /// How long an id is kept before it is told.
    fn delay(self) -> Duration {
        (self.0 * limits::HINT_ROUND_TRIPS).max(limits::HINT_DELAY)
    }

    /// How much longer the second side of the link keeps it.
    fn turn(self) -> Duration {
        self.0.max(limits::HINT_TURN)
    }

    /// How long an id that was told over the link may stay unknown.
    pub(crate) fn patience(self) -> Duration {
        self.0.max(limits::GRAFT_PATIENCE)
    }
}

/// Which end of a link tells ids, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Without any branch ids are all there is: so the tree grows anew.
    AtOnce,
    First,
    /// Of two that got a version at about the same time only one tells the other.
    Second,
    /// A node with a crowd of links tells what nobody else told meanwhile.
    Last,
}

impl Turn {
    /// The turn of a node that has a branch, or none, and few links or a crowd of them, towards this peer.
    pub(crate) fn of(has_branch: bool, is_crowded: bool, own: &PeerKey, peer: &PeerKey) -> Self {
        match (has_branch, is_crowded, own < peer) {
            (false, ..) => Self::AtOnce,
            (true, true, _) => Self::Last,
            (true, false, true) => Self::First,
            (true, false, false) => Self::Second,
        }
    }

    /// How long ids wait on a link of this round trip.
    pub(crate) fn wait(self, link: RoundTrip) -> Duration {
        match self {
            Self::AtOnce => Duration::ZERO,
            Self::First => link.delay(),
            Self::Second => link.delay() + link.turn(),
            Self::Last => (link.delay() + link.turn()).max(limits::CROWD_DELAY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn link(answers: &[u32]) -> RoundTrip {
        let mut link = RoundTrip::default();
        for millis in answers {
            link.answered_after(*millis * MS);
        }
        link
    }

    #[test]
    fn ids_wait_for_some_round_trips_and_never_less_than_on_a_short_link() {
        for (answers, first, second, patience) in [
            (&[][..], 100, 150, 50),
            (&[1], 100, 150, 50),
            (&[20], 100, 150, 50),
            (&[21], 105, 155, 50),
            (&[40, 90, 400], 200, 250, 50),
            (&[200], 1_000, 1_200, 200),
            (&[500], 2_500, 3_000, 500),
            (&[501], 2_500, 3_000, 500),
            (&[15_000, 300], 1_500, 1_800, 300),
        ] {
            let link = link(answers);
            assert_eq!(Turn::AtOnce.wait(link), Duration::ZERO);
            assert_eq!(Turn::First.wait(link), first * MS, "{answers:?}");
            assert_eq!(Turn::Second.wait(link), second * MS, "{answers:?}");
            assert_eq!(Turn::Last.wait(link), second.max(1_000) * MS, "{answers:?}");
            assert_eq!(link.patience(), patience * MS, "{answers:?}");
        }
    }
}
