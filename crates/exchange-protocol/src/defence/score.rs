//! Misbehaviour to reaction: points that decay, thresholds that escalate.

use std::collections::BTreeMap;

use btcfed_core::PeerKey;
use btcfed_core::exchange::Reaction;
use btcfed_core::time::MonotonicTime;

use crate::limits;

/// What a peer did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Offence {
    /// A record of somebody else whose signature does not hold. Honest nodes check before they relay.
    BadSignature,
    /// It told of a record by its id and does not have it.
    EmptyPromise,
    /// Its own record with a signature that does not hold: nobody else can be to blame.
    ForgedOwnRecord,
    /// A frame or record that cannot be read or breaks a rule.
    Malformed,
    /// Too much, too fast.
    Rate,
    /// An answer that nobody asked for, in place of a question.
    Unasked,
    /// A message or mode of a later version: harmless, unless it does nothing else.
    Unknown,
    /// The answer does not fit the question.
    WrongAnswer,
}

impl Offence {
    /// How much it weighs, when so many points lead to a ban.
    const fn points(self, threshold: u32) -> u32 {
        match self {
            Self::BadSignature => 19,
            Self::Unasked => threshold.div_ceil(4),
            Self::ForgedOwnRecord => threshold,
            Self::Malformed | Self::WrongAnswer => 13,
            Self::EmptyPromise | Self::Rate | Self::Unknown => 1,
        }
    }

    /// True when the other one weighs more.
    pub(crate) const fn is_lighter_than(self, other: Self) -> bool {
        self.points(limits::SCORE_BAN) < other.points(limits::SCORE_BAN)
    }

    /// The words for the log and the ban list.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::BadSignature => "relayed a record with a bad signature",
            Self::EmptyPromise => "told of a record it does not have",
            Self::ForgedOwnRecord => "its own record has a bad signature",
            Self::Malformed => "malformed frame or record",
            Self::Rate => "too many messages or records",
            Self::Unasked => "an answer nobody asked for",
            Self::Unknown => "unknown message",
            Self::WrongAnswer => "the answer does not fit the question",
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Score {
    points: u32,
    at: MonotonicTime,
}

/// The scores of everybody who misbehaved lately. They outlive a connection, or reconnecting would wash them off.
#[derive(Clone, Debug)]
pub(crate) struct Scores {
    /// How many points lead to a ban.
    threshold: u32,
    scores: BTreeMap<PeerKey, Score>,
}

impl Scores {
    pub(crate) const fn new(threshold: u32) -> Self {
        Self {
            threshold,
            scores: BTreeMap::new(),
        }
    }

    /// From now on so many points lead to a ban. What was counted stays.
    pub(crate) const fn set_threshold(&mut self, threshold: u32) {
        self.threshold = threshold;
    }

    /// Counts an offence. Returns the reaction that became due by it.
    pub(crate) fn add(
        &mut self,
        now: MonotonicTime,
        peer: PeerKey,
        offence: Offence,
    ) -> Option<Reaction> {
        self.make_room(now, &peer);
        let threshold = self.threshold;
        let score = self
            .scores
            .entry(peer)
            .or_insert(Score { points: 0, at: now });
        decay(score, now);
        let before = tier(score.points, threshold);
        score.points = score
            .points
            .saturating_add(offence.points(threshold))
            .min(threshold.saturating_mul(2));
        let after = tier(score.points, threshold);
        // From Disconnect on every further offence counts: a peer that comes back and goes on gets the same again.
        (after > before || after >= Some(Reaction::Disconnect))
            .then_some(after)
            .flatten()
    }

    /// True while a peer is served less.
    pub(crate) fn is_throttled(&self, now: MonotonicTime, peer: &PeerKey) -> bool {
        self.scores.get(peer).is_some_and(|score| {
            let mut score = *score;
            decay(&mut score, now);
            tier(score.points, self.threshold) >= Some(Reaction::Throttle)
        })
    }

    /// How many peers are remembered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.scores.len()
    }

    /// Forgets the forgiven, then the least guilty, when there is no room for another peer.
    fn make_room(&mut self, now: MonotonicTime, peer: &PeerKey) {
        if self.scores.len() < limits::MAX_SCORES || self.scores.contains_key(peer) {
            return;
        }
        self.scores.retain(|_, score| {
            decay(score, now);
            score.points > 0
        });
        if self.scores.len() >= limits::MAX_SCORES
            && let Some(least) = self
                .scores
                .iter()
                .min_by_key(|(_, score)| score.points)
                .map(|(key, _)| *key)
        {
            self.scores.remove(&least);
        }
    }
}

fn decay(score: &mut Score, now: MonotonicTime) {
    let seconds = now.saturating_since(score.at).as_secs();
    if seconds > 0 {
        let forgiven = u32::try_from(seconds)
            .unwrap_or(u32::MAX)
            .saturating_mul(limits::SCORE_DECAY_PER_SECOND);
        score.points = score.points.saturating_sub(forgiven);
        score.at = now;
    }
}

/// The steps that lead to a ban are shares of what it takes.
const fn tier(points: u32, threshold: u32) -> Option<Reaction> {
    if points >= threshold {
        Some(Reaction::Ban)
    } else if points >= threshold / 2 {
        Some(Reaction::Disconnect)
    } else if points >= threshold / 4 {
        Some(Reaction::Throttle)
    } else if points >= threshold / 16 {
        Some(Reaction::Warn)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use btcfed_core::SecretKey;

    use super::*;

    fn key(n: usize) -> PeerKey {
        let mut seed = [9; 32];
        seed[..8].copy_from_slice(&n.to_le_bytes());
        SecretKey::from_seed(seed).public()
    }

    fn at(secs: u64) -> MonotonicTime {
        MonotonicTime::from_origin(Duration::from_secs(secs))
    }

    #[test]
    fn repeated_offences_escalate_step_by_step() {
        let mut scores = Scores::new(limits::SCORE_BAN);
        let reactions: Vec<_> = (0..8)
            .map(|_| scores.add(at(0), key(1), Offence::Malformed))
            .collect();
        let expected = [
            Some(Reaction::Warn),
            Some(Reaction::Throttle),
            None,
            Some(Reaction::Disconnect),
            Some(Reaction::Disconnect),
            Some(Reaction::Disconnect),
            Some(Reaction::Disconnect),
            Some(Reaction::Ban),
        ];
        assert_eq!(reactions, expected);
        assert!(scores.is_throttled(at(0), &key(1)) && !scores.is_throttled(at(0), &key(2)));
    }

    #[test]
    fn every_step_is_a_share_of_what_a_ban_takes_and_a_new_threshold_holds_at_once() {
        let steps = [
            (limits::SCORE_WARN, Reaction::Warn),
            (limits::SCORE_THROTTLE, Reaction::Throttle),
            (limits::SCORE_DISCONNECT, Reaction::Disconnect),
            (limits::SCORE_BAN, Reaction::Ban),
        ];
        let mut before = None;
        for (points, reaction) in steps {
            assert_eq!(tier(points - 1, limits::SCORE_BAN), before);
            assert_eq!(tier(points, limits::SCORE_BAN), Some(reaction));
            before = Some(reaction);
        }
        let mut scores = Scores::new(1000);
        for _ in 0..38 {
            assert!(scores.add(at(0), key(1), Offence::Malformed) < Some(Reaction::Disconnect));
        }
        scores.set_threshold(500);
        let last = scores.add(at(0), key(1), Offence::Rate);
        assert_eq!(last, Some(Reaction::Disconnect));
        for threshold in [40, 100, 10_000] {
            let mut scores = Scores::new(threshold);
            let reactions = [(); 2].map(|()| scores.add(at(0), key(1), Offence::Unasked));
            assert_eq!(
                reactions,
                [Some(Reaction::Throttle), Some(Reaction::Disconnect)]
            );
            assert_eq!(
                scores.add(at(0), key(2), Offence::ForgedOwnRecord),
                Some(Reaction::Ban)
            );
        }
    }

    #[test]
    fn a_forged_own_record_is_banned_at_once() {
        assert_eq!(
            Scores::new(limits::SCORE_BAN).add(at(0), key(1), Offence::ForgedOwnRecord),
            Some(Reaction::Ban)
        );
    }

    #[test]
    fn at_the_lowest_threshold_one_relayed_forgery_neither_bans_nor_disconnects() {
        let mut scores = Scores::new(40);
        for (n, offence) in [
            Offence::BadSignature,
            Offence::Malformed,
            Offence::WrongAnswer,
        ]
        .into_iter()
        .enumerate()
        {
            let reaction = scores.add(at(0), key(n), offence);
            assert_eq!(reaction, Some(Reaction::Throttle), "{offence:?}");
        }
    }

    #[test]
    fn points_are_forgiven_with_time() {
        let mut scores = Scores::new(limits::SCORE_BAN);
        scores.add(at(0), key(1), Offence::Malformed);
        scores.add(at(0), key(1), Offence::Malformed);
        assert!(scores.is_throttled(at(1), &key(1)));
        assert!(!scores.is_throttled(at(2), &key(1)));
        assert_eq!(
            scores.add(at(100), key(1), Offence::Malformed),
            Some(Reaction::Warn),
            "starts from zero again"
        );
    }

    #[test]
    fn at_the_cap_the_least_guilty_is_forgotten() {
        let mut scores = Scores::new(limits::SCORE_BAN);
        for n in 0..limits::MAX_SCORES {
            scores.add(at(0), key(n), Offence::BadSignature);
        }
        assert_eq!(scores.len(), limits::MAX_SCORES);
        scores.add(at(0), key(0), Offence::BadSignature);
        scores.add(at(0), key(limits::MAX_SCORES), Offence::Rate);
        assert_eq!(scores.len(), limits::MAX_SCORES);
        assert!(scores.is_throttled(at(0), &key(0)), "the guilty one stays");
        scores.add(at(1000), key(limits::MAX_SCORES + 1), Offence::Rate);
        assert_eq!(scores.len(), 1, "the forgiven ones go together");
    }
}
