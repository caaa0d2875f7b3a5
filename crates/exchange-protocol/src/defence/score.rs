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
    /// How much it weighs.
    pub(crate) const fn points(self) -> u32 {
        match self {
            Self::BadSignature => 30,
            Self::Unasked => limits::SCORE_DISCONNECT / 2,
            Self::ForgedOwnRecord => limits::SCORE_BAN,
            Self::Malformed | Self::WrongAnswer => 20,
            Self::EmptyPromise | Self::Rate => 2,
            Self::Unknown => 1,
        }
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
#[derive(Clone, Debug, Default)]
pub(crate) struct Scores {
    scores: BTreeMap<PeerKey, Score>,
}

impl Scores {
    /// Counts an offence. Returns the reaction that became due by it.
    pub(crate) fn add(
        &mut self,
        now: MonotonicTime,
        peer: PeerKey,
        offence: Offence,
    ) -> Option<Reaction> {
        self.make_room(now, &peer);
        let score = self
            .scores
            .entry(peer)
            .or_insert(Score { points: 0, at: now });
        decay(score, now);
        let before = tier(score.points);
        score.points = score
            .points
            .saturating_add(offence.points())
            .min(2 * limits::SCORE_BAN);
        let after = tier(score.points);
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
            score.points >= limits::SCORE_THROTTLE
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

const fn tier(points: u32) -> Option<Reaction> {
    if points >= limits::SCORE_BAN {
        Some(Reaction::Ban)
    } else if points >= limits::SCORE_DISCONNECT {
        Some(Reaction::Disconnect)
    } else if points >= limits::SCORE_THROTTLE {
        Some(Reaction::Throttle)
    } else if points >= limits::SCORE_WARN {
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
        let mut scores = Scores::default();
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
    fn a_forged_own_record_is_banned_at_once() {
        assert_eq!(
            Scores::default().add(at(0), key(1), Offence::ForgedOwnRecord),
            Some(Reaction::Ban)
        );
    }

    #[test]
    fn points_are_forgiven_with_time() {
        let mut scores = Scores::default();
        scores.add(at(0), key(1), Offence::Malformed);
        scores.add(at(0), key(1), Offence::Malformed);
        assert!(!scores.is_throttled(at(1), &key(1)));
        assert_eq!(
            scores.add(at(100), key(1), Offence::Malformed),
            Some(Reaction::Warn),
            "starts from zero again"
        );
    }

    #[test]
    fn at_the_cap_the_least_guilty_is_forgotten() {
        let mut scores = Scores::default();
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
