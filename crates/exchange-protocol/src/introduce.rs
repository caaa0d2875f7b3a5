//! Who is who: the introduction.

use btcfed_core::PeerKey;
use btcfed_core::exchange::{Notice, Reaction};
use btcfed_core::time::Now;

use crate::engine::Engine;
use crate::limits;
use crate::message::{ErrorCode, Hello};
use crate::phase::PhaseEvent;

impl Engine {
    /// How this node introduces itself to a peer; with its own record, unless the peer was told it before.
    pub(crate) fn hello(&mut self, now: Now, peer: &PeerKey) -> Hello {
        let mut hello = Hello {
            version_min: limits::VERSION_MIN,
            version_max: limits::VERSION_MAX,
            network: self.config.bitcoin_network.magic(),
            federation: self.config.federation.clone(),
            features: limits::FEATURES,
            agent: self.agent.clone(),
            record: Vec::new(),
            wall_ms: now.wall.as_millis(),
        };
        if let Some(session) = self.sessions.get_mut(peer)
            && let Some(own) = self.view.own_record()
            && session.owes_own_record(Some(own))
        {
            // Who is only tried finds a record it lacks by the comparison.
            if session.feeling_since.is_none() {
                hello.record = own.envelope().to_vec();
            }
            session.told_own = Some(own.seq());
        }
        hello
    }

    /// Checks whether a peer fits.
    pub(crate) fn meet(&mut self, now: Now, peer: PeerKey, hello: &Hello) -> Result<(), ErrorCode> {
        let lowest = hello.version_min.max(limits::VERSION_MIN);
        let highest = hello.version_max.min(limits::VERSION_MAX);
        if lowest > highest {
            return Err(ErrorCode::Version);
        }
        if hello.network != self.config.bitcoin_network.magic() {
            return Err(ErrorCode::NetworkMismatch);
        }
        if hello.federation != self.config.federation {
            return Err(ErrorCode::FederationMismatch);
        }
        if self.config.peers.matches_agent(&hello.agent) {
            return Err(ErrorCode::Denied);
        }
        let Some(session) = self.sessions.get_mut(&peer) else {
            return Ok(());
        };
        session.agent.clone_from(&hello.agent);
        if !session.met {
            session.met = true;
            session.features = Some(hello.features & limits::FEATURES);
            let agent: String = hello
                .agent
                .escape_debug()
                .take(limits::MAX_AGENT_BYTES)
                .collect();
            tracing::debug!(peer = %peer.peer_id(), agent, at = ?now.monotonic, "introduced");
            self.enter(PhaseEvent::Met);
            self.notice(Notice::HandshakeCompleted {
                peer,
                agent,
                clock_offset_ms: offset_ms(hello.wall_ms, now.wall.as_millis()),
            });
        }
        Ok(())
    }

    /// Closes the connections to software that a new configuration keeps away.
    pub(crate) fn part_from_denied(&mut self, now: Now) {
        let denied: Vec<PeerKey> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.met && self.config.peers.matches_agent(&session.agent))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in denied {
            let reaction = Some(Reaction::Disconnect);
            self.close_at(peer, now.monotonic, reaction, "its software is denied");
        }
    }
}

/// How far one clock is ahead of another; a claim beyond all reason is cut, not wrapped.
fn offset_ms(theirs: u64, ours: u64) -> i64 {
    let clamp = |at: u64| i64::try_from(at).unwrap_or(i64::MAX);
    clamp(theirs).saturating_sub(clamp(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_have_a_sign_and_no_claim_overflows_them() {
        assert_eq!((offset_ms(5, 3), offset_ms(3, 5)), (2, -2));
        assert_eq!(offset_ms(u64::MAX, 0), i64::MAX);
        assert_eq!(offset_ms(0, u64::MAX), -i64::MAX);
    }
}
