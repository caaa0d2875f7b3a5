//! The one place that turns a peer's misbehaviour into a reaction.

use btcfed_core::ban::{Ban, BanReason, BanTarget, Issuer};
use btcfed_core::exchange::Reaction;
use btcfed_core::key::PeerKey;
use btcfed_core::network::NetworkCommand;
use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::set::{PeerSet, PeerView};
use btcfed_core::time::Timestamp;
use std::time::Duration;

use crate::event::Action;

/// Longest evidence kept with a ban, in bytes.
pub(crate) const MAX_EVIDENCE_BYTES: usize = 200;

/// What to do about `peer`; a ban lasts `ban_for`. Peers the operator chose are never banned by the node: they are
/// disconnected at most.
pub(crate) fn react(
    set: &PeerSet,
    now: Timestamp,
    peer: PeerKey,
    reaction: Reaction,
    reason: &str,
    ban_for: Duration,
) -> Vec<Action> {
    let chosen = set.view(&peer).is_some_and(PeerView::is_reserved);
    let disconnect = Action::Network(NetworkCommand::Disconnect { peer });
    match reaction {
        Reaction::Warn | Reaction::Throttle => {
            tracing::debug!(peer = %peer.peer_id(), ?reaction, reason, "peer misbehaves");
            Vec::new()
        }
        Reaction::Disconnect => {
            tracing::info!(peer = %peer.peer_id(), reason, "disconnecting a misbehaving peer");
            vec![disconnect]
        }
        Reaction::Ban if chosen => {
            tracing::warn!(peer = %peer.peer_id(), reason, "a peer you chose misbehaves; disconnecting, not banning it");
            vec![disconnect]
        }
        Reaction::Ban => {
            tracing::warn!(peer = %peer.peer_id(), reason, "banning a misbehaving peer");
            let evidence: String = reason.chars().scan(0, within).collect();
            let ban = Ban {
                target: BanTarget::Peer(peer),
                reason: BanReason::Misbehaviour,
                since: now,
                until: Some(now.saturating_add(ban_for)),
                by: Issuer::Node,
                evidence: Some(evidence),
            };
            vec![disconnect, Action::Store(PeerPatch::one(PeerOp::Ban(ban)))]
        }
    }
}

fn within(used: &mut usize, c: char) -> Option<char> {
    *used += c.len_utf8();
    (*used <= MAX_EVIDENCE_BYTES).then_some(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::identity::SecretKey;
    use btcfed_core::peer::{PeerRecord, PeerSource};
    use btcfed_core::time::Now;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn set_with(source: PeerSource) -> (PeerSet, PeerKey) {
        let key = SecretKey::from_seed([3; 32]).public();
        let patch = PeerPatch::create(PeerRecord::new(key, source));
        (
            PeerSet::default().apply(&patch, Now::default()).unwrap().0,
            key,
        )
    }

    #[test]
    fn a_learned_peer_is_banned_for_a_day_with_bounded_evidence() {
        let (set, key) = set_with(PeerSource::Signed);
        let now = Timestamp::from_secs(1000);
        let actions = react(&set, now, key, Reaction::Ban, &"\u{e9}".repeat(500), DAY);
        let [
            Action::Network(NetworkCommand::Disconnect { .. }),
            Action::Store(patch),
        ] = actions.as_slice()
        else {
            panic!("{actions:?}");
        };
        let [PeerOp::Ban(ban)] = patch.ops.as_slice() else {
            panic!("{patch:?}")
        };
        assert_eq!(ban.until, Some(Timestamp::from_secs(1000 + 24 * 3600)));
        assert_eq!(ban.by, Issuer::Node);
        assert_eq!(ban.evidence.as_ref().unwrap().len(), MAX_EVIDENCE_BYTES);
    }

    #[test]
    fn a_peer_the_operator_chose_is_disconnected_and_never_banned() {
        let (set, key) = set_with(PeerSource::Operator);
        let actions = react(&set, Timestamp::UNIX_EPOCH, key, Reaction::Ban, "bad", DAY);
        assert!(matches!(
            actions.as_slice(),
            [Action::Network(NetworkCommand::Disconnect { .. })]
        ));
    }

    #[test]
    fn a_warning_touches_nobody() {
        let (set, key) = set_with(PeerSource::Signed);
        assert!(react(&set, Timestamp::UNIX_EPOCH, key, Reaction::Warn, "odd", DAY).is_empty());
        assert!(
            react(
                &set,
                Timestamp::UNIX_EPOCH,
                key,
                Reaction::Throttle,
                "fast",
                DAY
            )
            .is_empty()
        );
    }
}
