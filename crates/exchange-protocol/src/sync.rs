//! Questions and answers: introduction, comparison, pages.

use btcfed_core::PeerKey;
use btcfed_core::exchange::{Notice, Reaction};
use btcfed_core::limits::MAX_FRAME_BYTES;
use btcfed_core::network::RequestToken;
use btcfed_core::time::Now;

use crate::codec;
use crate::engine::{Engine, Sent, refusal};
use crate::limits;
use crate::message::{
    ErrorCode, ErrorReply, Hello, Message, Mode, PeerRequest, PeerResponse, RecordEntry,
};
use crate::phase::PhaseEvent;
use crate::score::Offence;
use crate::session::Round;

/// A page.
const PAGE: u32 = 256;
const _: () = assert!(PAGE as usize == limits::MAX_RECORDS_PER_FRAME);

impl Engine {
    // --- asking ------------------------------------------------------------------------------------------------

    /// Starts every round that is due: first words, queued rounds, the periodic one.
    pub(crate) fn start_due_rounds(&mut self, now: Now) {
        let due: Vec<PeerKey> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.can_start_round(now.monotonic))
            .filter(|(_, session)| {
                session.wants_round || session.hello_due.is_some_and(|due| due <= now.monotonic)
            })
            .map(|(peer, _)| *peer)
            .collect();
        for peer in due {
            self.start_round(now, peer);
        }
        if self.timer.due().is_some_and(|due| due <= now.monotonic) {
            if let Some(peer) = self.pick_peer(now) {
                self.start_round(now, peer);
            }
            self.timer.fired(now.monotonic, &mut self.rng);
        }
    }

    /// The peer that was not asked for the longest time; a random one of several.
    fn pick_peer(&mut self, now: Now) -> Option<PeerKey> {
        let ready = || {
            self.sessions
                .iter()
                .filter(|(_, session)| session.can_start_round(now.monotonic))
        };
        let oldest = ready().map(|(_, session)| session.last_synced).min()?;
        let ties: Vec<PeerKey> = ready()
            .filter(|(_, session)| session.last_synced == oldest)
            .map(|(peer, _)| *peer)
            .collect();
        self.rng.pick(&ties).copied()
    }

    fn start_round(&mut self, now: Now, peer: PeerKey) {
        let slots = self
            .sessions
            .values()
            .filter(|session| session.round.as_ref().is_some_and(|r| r.fetches))
            .count();
        let Some(session) = self.sessions.get_mut(&peer) else {
            return;
        };
        let is_short = session
            .count
            .is_some_and(|count| count <= limits::SHORT_LIST);
        let has_slot = slots < limits::MAX_PARALLEL_ROUNDS;
        // Somebody who was compared before and waits for a slot gains nothing from another comparison.
        if session.wants_round && session.introduced && !is_short && !has_slot {
            return;
        }
        let (scope, is_first) = (session.scope, !session.introduced);
        session.hello_due = None;
        session.wants_round = false;
        session.introduced = true;
        session.round = Some(Round {
            fetches: !is_short && has_slot,
            compares_only: !is_short && !has_slot,
            outbox_mark: session.outbox.mark(),
            ..Round::default()
        });
        let hello = is_first.then(|| self.hello(now, &peer));
        let salt = self.rng.next_u64();
        let summary = self.view.summary(salt, scope, now);
        let limit = if is_short || has_slot { PAGE } else { 0 };
        let request = PeerRequest {
            hello,
            mode: Mode::Page,
            cursor: None,
            limit,
            summary: Some(summary),
        };
        self.send(now, peer, &Message::Request(request), Sent::Round);
    }

    /// Takes in a page; asks for the next one or ends the round.
    pub(crate) fn on_page(&mut self, now: Now, peer: PeerKey, response: PeerResponse) {
        if let Some(hello) = &response.hello {
            if let Err(code) = self.meet(now, peer, hello) {
                let reaction = (code != ErrorCode::Version).then_some(Reaction::Disconnect);
                self.close_at(
                    peer,
                    now.monotonic,
                    reaction,
                    &format!("does not fit: {code}"),
                );
                return;
            }
            self.take_own_record(now, peer, &hello.record);
        }
        let Some(session) = self.sessions.get_mut(&peer).filter(|session| session.met) else {
            self.failed_request(now, peer, Sent::Round);
            self.offend(now, peer, Offence::WrongAnswer);
            return;
        };
        session.count = Some(response.count);
        let Some(round) = &mut session.round else {
            return;
        };
        round.pages += 1;
        if response.equal {
            let mark = round.outbox_mark;
            session.outbox.drop_before(mark);
        }
        let (pages, before) = (round.pages, round.cursor);
        let intake = self.intake(
            now,
            peer,
            response.records.iter().map(|entry| &*entry.envelope),
            true,
        );
        let Some(session) = self.sessions.get_mut(&peer) else {
            return;
        };
        let Some(round) = &mut session.round else {
            return;
        };
        round.received += response.records.len();
        round.learned += intake.learned;
        let is_empty = response.records.is_empty();
        match response.next {
            Some(next) if before.is_none_or(|before| before < next) && !is_empty => {
                if pages >= limits::MAX_PAGES_PER_ROUND {
                    self.end_round(now, peer, true);
                    return;
                }
                round.cursor = Some(next);
                let request = PeerRequest {
                    hello: None,
                    mode: Mode::Page,
                    cursor: Some(next),
                    limit: PAGE,
                    summary: None,
                };
                self.send(now, peer, &Message::Request(request), Sent::Round);
            }
            Some(_) => {
                self.failed_request(now, peer, Sent::Round);
                self.offend(now, peer, Offence::WrongAnswer);
            }
            None => {
                // Only compared so far, and not the same: fetch as soon as there is a slot.
                session.wants_round = round.compares_only && !response.equal && response.count > 0;
                self.end_round(now, peer, true);
            }
        }
    }

    /// Ends a round. One that succeeded decides how soon the next one comes.
    pub(crate) fn end_round(&mut self, now: Now, peer: PeerKey, succeeded: bool) {
        let Some(session) = self.sessions.get_mut(&peer) else {
            return;
        };
        let Some(round) = session.round.take() else {
            return;
        };
        session.last_synced = Some(now.monotonic);
        session.settled |= !session.wants_round;
        if !succeeded {
            return;
        }
        if round.learned > 0 {
            self.timer.found_difference(now.monotonic, &mut self.rng);
            self.enter(PhaseEvent::Difference);
        } else {
            self.enter(PhaseEvent::Agreement);
        }
        self.notice(Notice::SyncCompleted {
            peer,
            received: round.received,
            learned: round.learned,
        });
    }

    // --- answering ---------------------------------------------------------------------------------------------

    /// Answers a question.
    pub(crate) fn on_query(
        &mut self,
        now: Now,
        peer: PeerKey,
        token: RequestToken,
        request: PeerRequest,
    ) {
        if let Some(hello) = &request.hello
            && let Err(code) = self.meet(now, peer, hello)
        {
            self.reply(token, &refusal(code, "does not fit"));
            let reaction = (code != ErrorCode::Version).then_some(Reaction::Disconnect);
            let at = now.monotonic.saturating_add(limits::CLOSE_GRACE);
            self.close_at(peer, at, reaction, &format!("does not fit: {code}"));
            return;
        }
        let own_hello = request.hello.is_some().then(|| self.hello(now, &peer));
        let Some(session) = self.sessions.get_mut(&peer).filter(|session| session.met) else {
            self.reply(
                token,
                &refusal(ErrorCode::HelloRequired, "introduce yourself first"),
            );
            self.offend(now, peer, Offence::Unknown);
            return;
        };
        if let Mode::Other(mode) = request.mode {
            self.reply(
                token,
                &refusal(ErrorCode::Unsupported, &format!("unknown mode {mode}")),
            );
            self.offend(now, peer, Offence::Unknown);
            return;
        }
        if let Some(summary) = request.summary {
            session.count = Some(summary.count);
        }
        let mut response = self.page(now, peer, &request);
        response.hello = own_hello;
        self.reply(token, &Message::Response(response));
        if let Some(hello) = &request.hello {
            self.take_own_record(now, peer, &hello.record);
        }
        // The other side knows this one now; find out what it has.
        if let Some(session) = self.sessions.get_mut(&peer)
            && !session.settled
            && session.round.is_none()
        {
            session.wants_round = true;
        }
    }

    fn page(&mut self, now: Now, peer: PeerKey, request: &PeerRequest) -> PeerResponse {
        let Some(session) = self.sessions.get_mut(&peer) else {
            return PeerResponse::default();
        };
        let mut response = PeerResponse::default();
        if let Some(asked) = request.summary {
            let own = self.view.summary(asked.salt, session.scope, now);
            response.count = own.count;
            if request.cursor.is_none() && own == asked {
                response.equal = true;
                session.outbox.drop_before(session.outbox.mark());
                return response;
            }
        }
        let most = usize::try_from(request.limit)
            .unwrap_or(usize::MAX)
            .min(limits::MAX_RECORDS_PER_FRAME);
        if most == 0 {
            return response;
        }
        let mut room = MAX_FRAME_BYTES - limits::FRAME_HEADROOM_BYTES;
        let mut last = None;
        let listed = self
            .view
            .list(request.cursor.as_ref(), session.scope, now.wall);
        for item in listed {
            let (key, seq) = (item.record.key(), item.record.seq());
            // Its own record it has, unless it lost its state and this is a later version than it told.
            if key == peer && session.known.has(&key, seq) {
                continue;
            }
            let size = codec::entry_bytes(item.record.envelope().len());
            if response.records.len() == most || size > room {
                response.next = last;
                break;
            }
            room -= size;
            last = Some(key);
            session.known.add(key, seq);
            session.outbox.drop_known(&key, seq);
            response.records.push(item.entry());
        }
        response
    }

    // --- introduction ------------------------------------------------------------------------------------------

    /// How this node introduces itself to a peer; with its own record, unless the peer was told it before.
    fn hello(&mut self, now: Now, peer: &PeerKey) -> Hello {
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
            hello.record = own.envelope().to_vec();
            session.told_own = Some(own.seq());
        }
        hello
    }

    /// Checks whether a peer fits.
    fn meet(&mut self, now: Now, peer: PeerKey, hello: &Hello) -> Result<(), ErrorCode> {
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
        let Some(session) = self.sessions.get_mut(&peer) else {
            return Ok(());
        };
        if !session.met {
            session.met = true;
            let agent: String = hello
                .agent
                .escape_debug()
                .take(limits::MAX_AGENT_BYTES)
                .collect();
            tracing::debug!(peer = %peer.peer_id(), agent, at = ?now.monotonic, "introduced");
            self.enter(PhaseEvent::Met);
            self.notice(Notice::HandshakeCompleted { peer, agent });
        }
        Ok(())
    }

    /// Refuses a conversation for which there is no room and names others to ask.
    pub(crate) fn busy(&mut self, now: Now) -> Message {
        let link = btcfed_core::addr::AddrScope::Public;
        let listed: Vec<RecordEntry> = self
            .view
            .list(None, link, now.wall)
            .map(|item| item.entry())
            .collect();
        let start = self.rng.index(listed.len());
        let alternatives = listed
            .iter()
            .cycle()
            .skip(start)
            .take(limits::MAX_ALTERNATIVES.min(listed.len()))
            .cloned()
            .collect();
        Message::Error(ErrorReply {
            code: ErrorCode::Busy,
            message: "no room for another conversation".to_owned(),
            retry_after_ms: u32::try_from(limits::RETRY_PAUSE.as_millis()).unwrap_or(u32::MAX),
            version_min: 0,
            version_max: 0,
            alternatives,
        })
    }
}
