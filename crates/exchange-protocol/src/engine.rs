//! The engine: routes what happened, and holds what is to be done until it is asked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use btcfed_core::config::NodeConfig;
use btcfed_core::exchange::{Exchange, ExchangeCounters, Input, Notice, Output, Reaction};
use btcfed_core::identity::Verifier;
use btcfed_core::network::{CommandId, Direction, RequestError, RequestToken};
use btcfed_core::rng::SeededRng;
use btcfed_core::time::{MonotonicTime, Now};
use btcfed_core::{PeerChange, PeerKey, PeerSet, SignedRecord};

use crate::answer::Snapshot;
use crate::busy::{TurnedAway, Waits};
use crate::codec;
use crate::defence::budget::Parked;
use crate::defence::origin::Origins;
use crate::defence::score::{Offence, Scores};
use crate::download::{Download, PartPage};
use crate::feeler::Feeler;
use crate::limits;
use crate::message::{ErrorCode, ErrorReply, Message, PeerResponse, RecordEntry};
use crate::phase::{Phase, PhaseEvent};
use crate::reconcile::salts::Salts;
use crate::reconcile::shared::Shared;
use crate::relay::tree::News;
use crate::schedule::SyncTimer;
use crate::session::{Closing, Session, Stage, Versions};
use crate::sessions::Sessions;
use crate::view::View;

/// What an [`Engine`] is made of.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The configuration in force.
    pub config: Arc<NodeConfig>,
    /// This node.
    pub own: PeerKey,
    /// Software and version, told to others.
    pub agent: String,
    /// Decides every random choice: same seed and same inputs, same outputs.
    pub seed: u64,
    /// Checks signatures.
    pub verifier: Arc<dyn Verifier>,
    /// What the store knows.
    pub set: Arc<PeerSet>,
}

/// The exchange protocol of one node.
///
/// Feed it with [`Exchange::handle`], then drain [`Exchange::poll_output`]. It reads no clock, opens no socket, touches
/// no file and spawns nothing. Ids of [`Output::Send`] count up from 1.
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: Arc<NodeConfig>,
    pub(crate) agent: String,
    pub(crate) rng: SeededRng,
    pub(crate) verifier: Arc<dyn Verifier>,
    pub(crate) view: View,
    pub(crate) sessions: Sessions,
    pub(crate) timer: SyncTimer,
    pub(crate) counters: ExchangeCounters,
    pub(crate) snapshots: VecDeque<Snapshot>,
    pub(crate) salts: Salts,
    pub(crate) news: News,
    pub(crate) download: Option<Download>,
    /// Who told of peers that were never met.
    pub(crate) origins: Origins,
    pub(crate) feeler: Feeler,
    /// Whom this node has no room for, and who has none for it.
    pub(crate) turned_away: TurnedAway,
    pub(crate) waits: Waits,
    /// Who signed two records with one number.
    pub(crate) equivocators: Versions,
    /// Versions that were replaced by newer ones: whoever still lists them has nothing to tell.
    pub(crate) replaced: Versions,
    parked: Parked,
    scores: Scores,
    phase: Phase,
    pending: BTreeMap<CommandId, Pending>,
    /// The same by peer.
    pending_by: BTreeSet<(PeerKey, CommandId)>,
    next_id: u64,
    out: VecDeque<Output>,
}

/// A request without an answer yet.
#[derive(Debug)]
struct Pending {
    peer: PeerKey,
    sent: Sent,
    deadline: MonotonicTime,
}

/// What was sent, as far as the answer needs it.
#[derive(Debug)]
pub(crate) enum Sent {
    /// Records; they are sent again when they did not arrive.
    Announcement(Vec<SignedRecord>),
    /// A question for records that were told of by these ids.
    Graft(Vec<u64>),
    /// A question for a part, beside the round.
    Part(PartPage),
    /// A step of the round that the session describes.
    Round,
    /// The node's own record.
    Update,
}

impl Engine {
    /// An engine without a peer.
    #[must_use]
    pub fn new(options: EngineOptions) -> Self {
        Self {
            timer: SyncTimer::new(&options.config),
            scores: Scores::new(options.config.peers.ban.threshold),
            config: options.config,
            agent: options.agent,
            rng: SeededRng::from_seed(options.seed),
            verifier: options.verifier,
            view: View::new(options.own, options.set),
            sessions: Sessions::default(),
            counters: ExchangeCounters::default(),
            snapshots: VecDeque::new(),
            salts: Salts::default(),
            news: News::default(),
            download: None,
            origins: Origins::default(),
            feeler: Feeler::new(options.seed),
            turned_away: TurnedAway::default(),
            waits: Waits::default(),
            equivocators: Versions::new(limits::MAX_EQUIVOCATORS),
            replaced: Versions::new(limits::MAX_REPLACED),
            parked: Parked::default(),
            phase: Phase::default(),
            pending: BTreeMap::new(),
            pending_by: BTreeSet::new(),
            next_id: 1,
            out: VecDeque::new(),
        }
    }

    /// An engine whose store shows what others of a simulation begin with too.
    pub(crate) fn sharing(options: EngineOptions, shared: Arc<Shared>) -> Self {
        let view = View::sharing(options.own, shared);
        Self {
            view,
            ..Self::new(options)
        }
    }

    /// Where this node stands with its federation.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// How many peers have a conversation with this node.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    fn connected(
        &mut self,
        now: Now,
        peer: PeerKey,
        direction: Direction,
        scope: btcfed_core::addr::AddrScope,
    ) {
        self.disconnected(now, &peer);
        if self.sessions.len() >= limits::MAX_SESSIONS {
            self.turn_away(now, peer, scope, direction == Direction::Outbound);
            return;
        }
        let rates = &self.config.peers.rate_limit;
        let budgets = self.parked.take(now.monotonic, &peer, rates);
        let mut session = Session::new(direction, scope, now.monotonic, budgets);
        match direction {
            Direction::Inbound => self.waits.remove(&peer),
            Direction::Outbound => session.paused_until = self.waits.of(now.monotonic, &peer),
        }
        if self.feeler.is_arrived(&peer, direction) {
            session.feeling_since = Some(now.monotonic);
        }
        self.sessions.insert(peer, session);
        self.view.met(peer);
        self.timer.start(now.monotonic, &mut self.rng);
    }

    fn disconnected(&mut self, now: Now, peer: &PeerKey) {
        self.turned_away.remove(peer);
        let Some(session) = self.sessions.remove(peer) else {
            return;
        };
        self.view.parted(now.monotonic, *peer);
        self.parked.keep(*peer, session.budgets);
        let (first, last) = (CommandId(0), CommandId(u64::MAX));
        let open = self.pending_by.range((*peer, first)..=(*peer, last));
        for (_, id) in open.copied().collect::<Vec<_>>() {
            self.take_pending(id);
        }
        if let Some(Closing {
            at: Some(_),
            reaction: Some(reaction),
            reason,
        }) = session.closing
        {
            self.push(Output::Penalty {
                peer: *peer,
                reaction,
                reason,
            });
        }
        if self.sessions.is_empty() {
            self.download = None;
            self.feeler.stop();
            self.timer.stop();
            self.enter(PhaseEvent::Alone);
        }
        tracing::trace!(peer = %peer.peer_id(), at = ?now.monotonic, "conversation ended");
    }

    fn request(&mut self, now: Now, peer: PeerKey, token: RequestToken, frame: &[u8]) {
        self.received(frame);
        let Some(session) = self.sessions.get_mut(&peer) else {
            let refusal = self.busy(now, &peer);
            self.reply(token, &refusal);
            return;
        };
        if session.closing.is_some() {
            self.reply(token, &refusal(ErrorCode::Busy, "closing"));
            return;
        }
        let price = price(&self.scores, now, &peer);
        if !session.budgets.messages.take(now.monotonic, price) {
            let wait = session.budgets.messages.wait(price);
            self.reply(token, &rate_refusal(wait));
            self.offend(now, peer, Offence::Rate);
            return;
        }
        match codec::decode(frame) {
            Ok(Message::Request(request)) => self.on_query(now, peer, token, request),
            Ok(Message::Announcement(announcement)) => {
                self.on_announcement(now, peer, token, &announcement)
            }
            Ok(Message::Update(update)) => self.on_update(now, peer, token, &update),
            Ok(message @ (Message::Ack | Message::Error(_) | Message::Response(_))) => {
                let text = format!("{} is not a request", message.name());
                self.reply(token, &refusal(ErrorCode::Malformed, &text));
                let offence = if matches!(message, Message::Response(_)) {
                    Offence::Unasked
                } else {
                    Offence::Malformed
                };
                self.offend(now, peer, offence);
            }
            Err(error) => {
                self.reply(token, &refusal(error.code(), &error.to_string()));
                self.offend(now, peer, offence_of(&error));
            }
        }
    }

    fn response(&mut self, now: Now, id: CommandId, frame: &[u8]) {
        self.received(frame);
        let Some(Pending {
            peer,
            sent,
            deadline,
        }) = self.take_pending(id)
        else {
            return;
        };
        if let Some(session) = self.sessions.get_mut(&peer) {
            let left = deadline.saturating_since(now.monotonic);
            let took = limits::REQUEST_TIMEOUT.saturating_sub(left);
            session.round_trip.answered_after(took);
        }
        let message = match codec::decode(frame) {
            Ok(message) => message,
            Err(error) => {
                self.failed_request(now, peer, sent);
                self.offend(now, peer, offence_of(&error));
                return;
            }
        };
        match (message, sent) {
            (Message::Response(response), Sent::Round) => self.on_response(now, peer, response),
            (Message::Response(response), Sent::Graft(ids)) => {
                self.on_grafted(now, peer, &ids, &response);
            }
            (Message::Response(response), Sent::Part(page)) => {
                self.on_part(now, peer, page, &response);
            }
            (Message::Ack, Sent::Announcement(_) | Sent::Update) => self.acknowledged(peer, false),
            (Message::Announcement(answer), Sent::Announcement(_) | Sent::Update)
                if answer.is_prune() =>
            {
                self.acknowledged(peer, true);
            }
            (Message::Error(error), sent) => self.on_error(now, peer, sent, &error),
            (
                Message::Ack
                | Message::Announcement(_)
                | Message::Request(_)
                | Message::Response(_)
                | Message::Update(_),
                sent,
            ) => {
                self.failed_request(now, peer, sent);
                self.offend(now, peer, Offence::WrongAnswer);
            }
        }
    }

    fn failed(&mut self, now: Now, id: CommandId, error: RequestError) {
        let Some(Pending { peer, sent, .. }) = self.take_pending(id) else {
            return;
        };
        self.failed_request(now, peer, sent);
        match error {
            RequestError::Malformed => self.offend(now, peer, Offence::Malformed),
            RequestError::UnsupportedProtocol => self.on_unsupported(now, peer),
            RequestError::Busy
            | RequestError::ConnectionClosed
            | RequestError::FrameTooLarge
            | RequestError::NotConnected
            | RequestError::Timeout
            | _ => {}
        }
    }

    /// A peer does not offer the protocol. One that this node dialled is of no use; one that came by itself may have a
    /// question, and is answered but never asked.
    fn on_unsupported(&mut self, now: Now, peer: PeerKey) {
        let Some(session) = self.sessions.get_mut(&peer) else {
            return;
        };
        if session.dialled {
            self.close_at(peer, now.monotonic, None, "does not speak the protocol");
        } else {
            session.only_asks = true;
            session.settled = true;
            session.hello_due = None;
            session.wants_round = false;
        }
    }

    /// A request brought nothing: leaves the peer alone for a while and takes back what was assumed.
    pub(crate) fn failed_request(&mut self, now: Now, peer: PeerKey, sent: Sent) {
        let Some(session) = self.sessions.get_mut(&peer) else {
            return;
        };
        let pause = now.monotonic.saturating_add(limits::RETRY_PAUSE);
        session.paused_until = session.paused_until.max(Some(pause));
        match sent {
            Sent::Announcement(records) => {
                session.in_flight = session.in_flight.saturating_sub(1);
                for record in records {
                    session.known.remove(&record.key());
                    session.outbox.push(record);
                }
            }
            // Somebody else is asked next.
            Sent::Graft(_) => {}
            Sent::Part(page) => {
                session.parts.remove(&page.stripe().index);
            }
            Sent::Round => {
                if !session.met {
                    session.introduced = false;
                    session.told_own = None;
                }
                self.end_round(now, peer, false);
            }
            Sent::Update => {
                session.in_flight = session.in_flight.saturating_sub(1);
                session.told_own = None;
            }
        }
    }

    fn on_error(&mut self, now: Now, peer: PeerKey, sent: Sent, error: &ErrorReply) {
        tracing::debug!(peer = %peer.peer_id(), code = %error.code, text = ?error.message, "refused");
        let was_part = matches!(sent, Sent::Part(_));
        let was_round = matches!(sent, Sent::Round);
        let round = self.sessions.get(&peer).and_then(|s| s.round.as_ref());
        let was_stripe = round.is_some_and(|r| r.stripe.is_some() || r.stage == Stage::Sample);
        let is_worth_repeating = matches!(
            error.code,
            ErrorCode::Busy | ErrorCode::HelloRequired | ErrorCode::Rate
        );
        if let (Sent::Announcement(_) | Sent::Update, false) = (&sent, is_worth_repeating) {
            self.acknowledged(peer, false);
        } else {
            self.failed_request(now, peer, sent);
        }
        let retry_after = std::time::Duration::from_millis(error.retry_after_ms.into())
            .min(limits::MAX_RETRY_AFTER);
        if let Some(session) = self.sessions.get_mut(&peer) {
            session.refuses_stripes |= was_part && error.code == ErrorCode::Unsupported;
            if error.code == ErrorCode::Unsupported && was_round && !session.pages_only {
                session.refuses_stripes = true;
                session.pages_only = !was_stripe;
                session.wants_round = true;
            }
            if error.code == ErrorCode::HelloRequired {
                session.introduced = false;
                session.hello_due = Some(now.monotonic.saturating_add(limits::RETRY_PAUSE));
            }
            session.paused_until = session
                .paused_until
                .max(Some(now.monotonic.saturating_add(retry_after)));
        }
        if error.code == ErrorCode::Busy {
            self.intake(
                now,
                peer,
                error.alternatives.iter().map(RecordEntry::offered),
                false,
            );
            self.on_busy(now, peer, retry_after);
        }
        if error.code.is_final() {
            let reaction = (error.code != ErrorCode::Version).then_some(Reaction::Disconnect);
            self.close_at(
                peer,
                now.monotonic,
                reaction,
                &format!("refused by the peer: {}", error.code),
            );
        }
    }

    /// Does everything that is due.
    fn tick(&mut self, now: Now) {
        while let Some((id, pending)) = self.pending.first_key_value()
            && pending.deadline <= now.monotonic
        {
            self.failed(now, *id, RequestError::Timeout);
        }
        self.close_due(now);
        self.close_turned_away(now);
        self.start_due_rounds(now);
        self.graft_due(now);
        self.announce_due(now);
        self.feel(now);
        self.refresh(now);
    }

    /// Looks again at the conversations that may have changed.
    pub(crate) fn refresh(&mut self, now: Now) {
        self.sessions.refresh(now.monotonic, self.view.own_record());
    }

    pub(crate) fn close_due(&mut self, now: Now) {
        self.refresh(now);
        for peer in self.sessions.take_due(now.monotonic) {
            let session = self.sessions.get_mut(&peer);
            let Some(closing) = session.and_then(|session| session.closing.as_mut()) else {
                continue;
            };
            if closing.at.take_if(|at| *at <= now.monotonic).is_some() {
                if let Some(reaction) = closing.reaction {
                    self.out.push_back(Output::Penalty {
                        peer,
                        reaction,
                        reason: closing.reason.clone(),
                    });
                }
                self.out.push_back(Output::Close {
                    peer,
                    reason: closing.reason.clone(),
                });
            }
        }
    }

    /// Closes a connection at the given time, unless that was decided before.
    pub(crate) fn close_at(
        &mut self,
        peer: PeerKey,
        at: MonotonicTime,
        reaction: Option<Reaction>,
        reason: &str,
    ) {
        if let Some(session) = self.sessions.get_mut(&peer)
            && session.closing.is_none()
        {
            session.closing = Some(Closing {
                at: Some(at),
                reaction,
                reason: reason.to_owned(),
            });
            session.round = None;
            session.wants_round = false;
        }
    }

    /// Counts misbehaviour and reacts to it.
    pub(crate) fn offend(&mut self, now: Now, peer: PeerKey, offence: Offence) {
        let Some(reaction) = self.scores.add(now.monotonic, peer, offence) else {
            return;
        };
        tracing::debug!(peer = %peer.peer_id(), ?reaction, reason = offence.as_str(), "misbehaviour");
        match reaction {
            Reaction::Warn | Reaction::Throttle => {
                self.push(Output::Penalty {
                    peer,
                    reaction,
                    reason: offence.as_str().to_owned(),
                });
            }
            Reaction::Disconnect | Reaction::Ban => {
                self.close_at(peer, now.monotonic, Some(reaction), offence.as_str());
            }
        }
    }

    /// Takes over the rates and thresholds of a new configuration.
    fn follow_limits(&mut self, now: Now) {
        let (rates, ban) = (self.config.peers.rate_limit, self.config.peers.ban);
        self.scores.set_threshold(ban.threshold);
        self.sessions.visit(|_, session| {
            session.budgets.follow(now.monotonic, &rates);
            false
        });
    }

    /// What one message or record of this peer costs it.
    pub(crate) fn price(&self, now: Now, peer: &PeerKey) -> u32 {
        price(&self.scores, now, peer)
    }

    /// Moves to the next phase; an event that cannot happen in this one is a bug of ours and changes nothing.
    pub(crate) fn enter(&mut self, event: PhaseEvent) {
        let next = self.phase.after(event);
        debug_assert!(next.is_some(), "{event:?} in {:?}", self.phase);
        self.phase = next.unwrap_or(self.phase);
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.out.push_back(output);
    }

    pub(crate) fn notice(&mut self, notice: Notice) {
        self.push(Output::Notice(notice));
    }

    pub(crate) fn reply(&mut self, token: RequestToken, message: &Message) {
        let frame = codec::encode(message);
        self.sent(frame.len());
        self.push(Output::Reply { token, frame });
    }

    /// Answers a question; counts what it took.
    pub(crate) fn respond(
        &mut self,
        now: Now,
        peer: &PeerKey,
        token: RequestToken,
        response: PeerResponse,
    ) {
        let frame = self.encode_for(peer, &Message::Response(response));
        if let Some(session) = self.sessions.get_mut(peer) {
            session.budgets.answers.spend(now.monotonic, frame.len());
        }
        self.sent(frame.len());
        self.push(Output::Reply { token, frame });
    }

    /// Compressed if the peer can read that.
    fn encode_for(&self, peer: &PeerKey, message: &Message) -> Vec<u8> {
        let features = self.sessions.get(peer).and_then(|s| s.features);
        if features.is_some_and(|both| both & limits::FEATURE_ZSTD != 0) {
            codec::encode_compressed(message)
        } else {
            codec::encode(message)
        }
    }

    pub(crate) fn send(&mut self, now: Now, peer: PeerKey, message: &Message, sent: Sent) {
        let id = CommandId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        let frame = self.encode_for(&peer, message);
        self.sent(frame.len());
        let deadline = now.monotonic.saturating_add(limits::REQUEST_TIMEOUT);
        self.pending_by.insert((peer, id));
        self.pending.insert(
            id,
            Pending {
                peer,
                sent,
                deadline,
            },
        );
        self.push(Output::Send { peer, id, frame });
    }

    fn take_pending(&mut self, id: CommandId) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        self.pending_by.remove(&(pending.peer, id));
        Some(pending)
    }

    fn received(&mut self, frame: &[u8]) {
        self.counters.messages_in += 1;
        self.counters.bytes_in = self.counters.bytes_in.saturating_add(as_u64(frame.len()));
    }

    fn sent(&mut self, bytes: usize) {
        self.counters.messages_out += 1;
        self.counters.bytes_out = self.counters.bytes_out.saturating_add(as_u64(bytes));
    }
}

impl Exchange for Engine {
    fn handle(&mut self, now: Now, input: Input) {
        self.view.pass(now);
        match input {
            Input::Connected {
                peer,
                direction,
                scope,
            } => self.connected(now, peer, direction, scope),
            Input::Disconnected { peer } => self.disconnected(now, &peer),
            Input::Failed { id, error } => self.failed(now, id, error),
            Input::OwnRecord(record) => self.own_record(now, record),
            Input::Reconfigured(config) => {
                self.timer
                    .reconfigure(now.monotonic, &config, &mut self.rng);
                self.config = config;
                self.follow_limits(now);
                self.part_from_denied(now);
            }
            Input::Request { peer, token, frame } => self.request(now, peer, token, &frame),
            Input::Response { id, frame } => self.response(now, id, &frame),
            Input::StoreChanged { set, changes } => {
                self.view.set_snapshot(now.monotonic, set);
                let changed = changes.iter().filter_map(PeerChange::key);
                self.origins.update(&self.view, changed);
            }
            Input::Timeout | _ => {}
        }
        self.tick(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn next_deadline(&self) -> Option<MonotonicTime> {
        let sessions = self.sessions.next_due();
        let request = self
            .pending
            .first_key_value()
            .map(|(_, pending)| pending.deadline);
        let download = self.download.as_ref().map(Download::deadline);
        [
            sessions,
            request,
            self.timer.due(),
            self.news.due(),
            self.feeler.deadline(),
            self.turned_away.deadline(),
            download,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn counters(&self) -> ExchangeCounters {
        self.counters
    }
}

/// A refusal without further data.
pub(crate) fn refusal(code: ErrorCode, text: &str) -> Message {
    let retry_after = if code == ErrorCode::Denied {
        limits::MAX_RETRY_AFTER
    } else {
        std::time::Duration::ZERO
    };
    let (version_min, version_max) = match code {
        ErrorCode::Version => (limits::VERSION_MIN, limits::VERSION_MAX),
        ErrorCode::BadSignature
        | ErrorCode::Busy
        | ErrorCode::Denied
        | ErrorCode::FederationMismatch
        | ErrorCode::HelloRequired
        | ErrorCode::Malformed
        | ErrorCode::NetworkMismatch
        | ErrorCode::Rate
        | ErrorCode::TooLarge
        | ErrorCode::Unsupported => (0, 0),
    };
    Message::Error(ErrorReply {
        code,
        message: text.to_owned(),
        retry_after_ms: u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX),
        version_min,
        version_max,
        alternatives: Vec::new(),
    })
}

/// A refusal for the moment.
pub(crate) fn rate_refusal(wait: std::time::Duration) -> Message {
    let mut message = refusal(ErrorCode::Rate, "too much, too fast");
    if let Message::Error(error) = &mut message {
        error.retry_after_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1);
    }
    message
}

fn price(scores: &Scores, now: Now, peer: &PeerKey) -> u32 {
    if scores.is_throttled(now.monotonic, peer) {
        limits::THROTTLE_FACTOR
    } else {
        1
    }
}

const fn offence_of(error: &codec::DecodeError) -> Offence {
    match error {
        codec::DecodeError::Malformed { .. } | codec::DecodeError::TooLarge { .. } => {
            Offence::Malformed
        }
        codec::DecodeError::Unsupported => Offence::Unknown,
    }
}

pub(crate) fn as_u64(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
