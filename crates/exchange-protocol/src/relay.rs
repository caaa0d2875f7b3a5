//! Records on their way: in through the one gate, into the store, and on to whoever lacks them.

pub(crate) mod patience;
pub(crate) mod tree;

use std::time::Duration;

use btcfed_core::exchange::{Notice, Output};
use btcfed_core::limits::MAX_FRAME_BYTES;
use btcfed_core::network::RequestToken;
use btcfed_core::record::UnverifiedRecord;
use btcfed_core::time::Now;
use btcfed_core::{PeerKey, PeerOp, PeerPatch, SignedRecord};

use crate::codec;
use crate::defence::score::Offence;
use crate::defence::validate::{self, Ages, Triage};
use crate::engine::{Engine, Sent, as_u64, rate_refusal, refusal};
use crate::limits;
use crate::message::{ErrorCode, Message, Offered, PeerAnnouncement, PeerUpdate, RecordEntry};
use crate::phase::Phase;
use crate::relay::patience::Turn;
use crate::relay::tree::open_id;
use crate::view::is_meaningful;

/// After a refusal there should be room for a whole announcement.
const ANNOUNCEMENT_TOKENS: u32 = 64;
const _: () = assert!(ANNOUNCEMENT_TOKENS as usize == limits::MAX_RECORDS_PER_ANNOUNCEMENT);

/// What came of records that arrived.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    /// How many were new or newer.
    pub(crate) learned: usize,
    /// The worst they showed about the sender.
    offence: Option<Offence>,
    /// Most of them were known: the sender should tell ids from now on.
    prune: bool,
    /// The budget was exceeded; when there is room again.
    wait: Option<Duration>,
}

/// How records came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// This node asked for them.
    Asked,
    /// They were pushed along the tree, or wanted in its place.
    Along,
    /// They were pushed over a link beside the tree.
    Beside,
}

/// How records go on that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    /// Along the tree, and by their ids beside it.
    Along,
    /// By their ids on every link, until they come along the tree as well.
    ById,
    Nowhere,
}

impl Engine {
    // --- in ----------------------------------------------------------------------------------------------------

    /// The one gate for records. `asked` exempts from the budget for unsolicited records.
    pub(crate) fn intake<'a>(
        &mut self,
        now: Now,
        peer: PeerKey,
        envelopes: impl Iterator<Item = Offered<'a>>,
        asked: bool,
    ) -> Intake {
        let triage = validate::triage(&self.view, now, envelopes);
        let way = if asked { Way::Asked } else { Way::Along };
        self.take_and_blame(now, peer, triage, way)
    }

    /// The same for records that passed the first stages.
    pub(crate) fn take_and_blame(
        &mut self,
        now: Now,
        peer: PeerKey,
        triage: Triage,
        way: Way,
    ) -> Intake {
        let intake = self.take_in(now, peer, triage, way);
        if let Some(offence) = intake.offence {
            self.offend(now, peer, offence);
        }
        if intake.wait.is_some() {
            self.offend(now, peer, Offence::Rate);
        }
        intake
    }

    /// The same, and the sender is left to whoever asks for this.
    pub(crate) fn take_in(&mut self, now: Now, peer: PeerKey, triage: Triage, way: Way) -> Intake {
        let price = self.price(now, &peer);
        let Some(session) = self.sessions.get_mut(&peer) else {
            return Intake::default();
        };
        let Triage {
            mut candidates,
            listed,
            known,
            declined,
            mut refused,
            malformed,
            mut contradictions,
            ages,
        } = triage;
        for (key, seq) in &listed {
            session.has_version(key, *seq);
        }
        let mut wait = None;
        if way != Way::Asked {
            let bucket = &mut session.budgets.unsolicited;
            let wanted = candidates.len() + contradictions.len();
            let allowed = bucket.take_up_to(now.monotonic, wanted, price);
            refused += wanted - allowed;
            contradictions.truncate(allowed);
            while candidates.len() + contradictions.len() > allowed {
                candidates.pop_last();
            }
            wait = (allowed < wanted).then(|| bucket.wait(ANNOUNCEMENT_TOKENS * price));
        }
        let scope = session.scope;
        let mut verdict = validate::verify(
            &mut self.view,
            &*self.verifier,
            now,
            &peer,
            scope,
            candidates,
        );
        if let Some(session) = self.sessions.get_mut(&peer) {
            for (key, seq) in declined.iter().chain(&verdict.declined) {
                session.declined.add(*key, *seq);
            }
        }
        let foul = self.judge(now, peer, contradictions);
        let crowded_out = self.keep_shares(&peer, &mut verdict.accepted);
        let learned = verdict.accepted.len();
        self.counters.records_offered += as_u64(listed.len() + malformed);
        self.counters.records_accepted += as_u64(learned);
        self.counters.records_refused += as_u64(refused + verdict.refused + crowded_out);
        self.counters.signatures_checked += as_u64(verdict.checked);
        tracing::trace!(peer = %peer.peer_id(), learned, known, refused, "records");
        if let Some(seq) = verdict.own_ahead {
            self.notice(Notice::OwnRecordAhead { seq });
        }
        let spread = self.spread(way, learned);
        self.accept(now, &peer, verdict.accepted, &ages, spread);
        let offence = verdict
            .offence
            .or(foul)
            .or_else(|| (malformed > 0).then_some(Offence::Malformed));
        Intake {
            learned,
            offence,
            wait,
            prune: false,
        }
    }

    /// How records that arrived go on. Much at once is a download: old news, of which the neighbours know. A few that a
    /// round found, or that came beside the tree, are on their way along the tree: passed on as records they would meet
    /// themselves there, and both ends of a good branch would take it for a superfluous one.
    fn spread(&self, way: Way, learned: usize) -> Spread {
        let is_calm = self.phase() == Phase::Maintenance;
        match way {
            Way::Asked if self.download.is_some() => Spread::Nowhere,
            Way::Asked if is_calm || learned <= limits::FEW_NEWS => Spread::ById,
            Way::Asked if learned > limits::MAX_RECORDS_PER_ANNOUNCEMENT => Spread::Nowhere,
            Way::Beside => Spread::ById,
            Way::Asked | Way::Along => Spread::Along,
        }
    }

    /// Stores records and passes them on, each version once.
    fn accept(
        &mut self,
        now: Now,
        from: &PeerKey,
        records: Vec<SignedRecord>,
        ages: &Ages,
        spread: Spread,
    ) {
        if records.is_empty() {
            return;
        }
        let (has_branch, own) = (self.sessions.has_branch(), self.view.own_key());
        let is_crowded = self.sessions.len() > limits::MAX_BRANCHES;
        let by_id = spread == Spread::ById && has_branch;
        for record in &records {
            let (key, seq) = (record.key(), record.seq());
            let before = self.view.record_of(&key).map(|known| known.seq());
            let is_new = !self.view.has_peer(&key);
            if let Some(before) = before.filter(|before| *before < seq) {
                self.replaced.add(key, before);
            }
            let age_s = ages.get(&key).copied().unwrap_or(0);
            self.view.add_pending(now.monotonic, record, age_s);
            self.news.arrived(key, seq);
            let source = self.sessions.get_mut(from).filter(|_| is_new);
            let may_relay = spread != Spread::Nowhere
                && !self.view.is_over(&key)
                && source.is_none_or(|s| s.budgets.new_identities.take(now.monotonic, 1))
                && self.news.may_relay(now.monotonic, key);
            if !may_relay {
                continue;
            }
            self.sessions.visit(|peer, session| {
                let fits = record.is_leaving() || is_meaningful(record, session.scope);
                let lacks = !session.known.has(&key, seq);
                let is_told =
                    peer != from && *peer != key && session.closing.is_none() && fits && lacks;
                if is_told {
                    let turn = Turn::of(has_branch, is_crowded, &own, peer);
                    session.tell(now.monotonic, turn, record, by_id);
                }
                is_told
            });
        }
        let patch: PeerPatch = records.into_iter().map(PeerOp::Learn).collect();
        self.push(Output::Store(patch));
    }

    /// Leaves out new identities beyond the share of their source or network. Towards the peer they count as declined.
    fn keep_shares(&mut self, peer: &PeerKey, accepted: &mut Vec<SignedRecord>) -> usize {
        let before = accepted.len();
        let most = self.config.peers.bounds.max_peers;
        self.origins.refresh(&self.view, most);
        let mut listed = self.view.size_bound();
        let (view, origins) = (&self.view, &mut self.origins);
        let mut declined = Vec::new();
        accepted.retain(|record| {
            if record.is_leaving() || view.has_peer(&record.key()) {
                return true;
            }
            let admits = origins.admits(peer, record, listed, most);
            if admits {
                origins.add(*peer, record);
                listed += 1;
            } else {
                declined.push((record.key(), record.seq()));
            }
            admits
        });
        if let Some(session) = self.sessions.get_mut(peer) {
            for (key, seq) in declined {
                session.declined.add(key, seq);
            }
        }
        before - accepted.len()
    }

    /// Records that contradict known ones of the same owner: the one with the smaller signed bytes stays and is passed on,
    /// so that everybody ends with the same one. Says what they showed about the sender.
    fn judge(
        &mut self,
        now: Now,
        peer: PeerKey,
        contradictions: Vec<UnverifiedRecord>,
    ) -> Option<Offence> {
        let mut offence = None;
        for record in contradictions {
            let Some(known) = self.view.record_of(&record.key()) else {
                continue;
            };
            // What is known of this owner and would change nothing costs no signature check.
            let Some(known) = known.to_record() else {
                continue;
            };
            let is_told = self.equivocators.has(&record.key(), record.seq());
            if !record.contradicts(&known) || is_told && !record.would_supersede(&known) {
                continue;
            }
            self.counters.signatures_checked += 1;
            let Ok(record) = record.verify(&*self.verifier) else {
                self.counters.records_refused += 1;
                offence = Some(Offence::BadSignature);
                continue;
            };
            let (peer_key, seq) = (record.key(), record.seq());
            let is_better = record.supersedes(&known);
            if !is_told {
                self.equivocators.add(peer_key, seq);
                let (kept, dropped) = if is_better {
                    (record.clone(), known)
                } else {
                    (known, record.clone())
                };
                self.notice(Notice::Equivocation {
                    peer: peer_key,
                    seq,
                    kept,
                    dropped,
                });
            }
            if is_better {
                self.sessions.visit(|_, session| {
                    session.known.remove(&peer_key);
                    false
                });
                let ages = Ages::default();
                self.accept(now, &peer, vec![record], &ages, Spread::Along);
            }
        }
        offence
    }

    /// True when the peer introduced itself on this connection; else it is told to.
    fn is_introduced(&mut self, now: Now, peer: PeerKey, token: RequestToken) -> bool {
        let met = self.sessions.get(&peer).is_some_and(|session| session.met);
        if !met {
            let text = "introduce yourself first";
            self.reply(token, &refusal(ErrorCode::HelloRequired, text));
            self.offend(now, peer, Offence::Unknown);
        }
        met
    }

    pub(crate) fn on_announcement(
        &mut self,
        now: Now,
        peer: PeerKey,
        token: RequestToken,
        announcement: &PeerAnnouncement,
    ) {
        if !self.is_introduced(now, peer, token) {
            return;
        }
        let envelopes = announcement.records.iter().map(RecordEntry::offered);
        let triage = validate::triage(&self.view, now, envelopes);
        let intake = self.take_pushed(now, peer, triage);
        self.news.passed();
        self.on_ids(now, peer, &announcement.ids);
        self.answer(now, peer, token, &intake);
    }

    /// Takes in records that were pushed, and judges the link by them: one that mostly brings what other links brought before
    /// is no branch. What a round of questions brought says nothing about links.
    fn take_pushed(&mut self, now: Now, peer: PeerKey, triage: Triage) -> Intake {
        let new = triage.candidates.len();
        // While lists are still being found out, news come from everywhere at once and say nothing about the links either.
        let is_calm = self.phase() == Phase::Maintenance;
        let is_lazy = self.sessions.get(&peer).is_some_and(|s| s.is_lazy);
        // The other end takes the link for a branch, or a round found them there: a branch here already is to bring them. What
        // a known peer says about itself on a new link is found by the rounds of many at the same time.
        let is_beside = is_calm
            && (is_lazy || self.is_known_stranger(&peer))
            && !triage.listed.is_empty()
            && new <= limits::FEW_NEWS
            && self.sessions.has_branch_beside(&peer);
        if !is_beside {
            self.come_along(&peer, &triage.listed);
        }
        let duplicate = triage
            .listed
            .iter()
            .filter(|(key, seq)| self.news.was_pushed(open_id(key, *seq), &peer))
            .count();
        let ids: Vec<u64> = triage
            .candidates
            .values()
            .map(|record| open_id(&record.key(), record.seq()))
            .collect();
        let is_superfluous = is_lazy && self.sessions.has_all_branches_beside(&peer);
        let way = if is_beside { Way::Beside } else { Way::Along };
        let mut intake = self.take_in(now, peer, triage, way);
        if !is_beside {
            for id in ids {
                self.news.pushed(id, peer);
            }
        }
        if let Some(session) = self.sessions.get_mut(&peer) {
            intake.prune = is_beside || is_superfluous || is_calm && duplicate > new;
            if duplicate + new > 0 {
                session.is_lazy = intake.prune;
            }
        }
        intake
    }

    /// True for a peer that was known before it connected, while it introduces itself.
    fn is_known_stranger(&self, peer: &PeerKey) -> bool {
        let is_new_link = self.sessions.get(peer).is_some_and(|s| !s.placed);
        is_new_link && self.news.has_tree() && self.view.has_peer(peer)
    }

    /// What a round had found comes along the tree: now it goes on along the tree, too.
    fn come_along(&mut self, from: &PeerKey, listed: &[(PeerKey, u64)]) {
        for (key, seq) in listed {
            let id = open_id(key, *seq);
            let Some(record) = self.view.record_of(key).filter(|r| r.seq() == *seq) else {
                continue;
            };
            if !self.news.is_off_the_tree(id) {
                continue;
            }
            let Some(record) = record.to_record() else {
                continue;
            };
            self.news.pushed(id, *from);
            self.sessions
                .visit(|peer, session| peer != from && session.tell_whole(&record));
        }
    }

    pub(crate) fn on_update(
        &mut self,
        now: Now,
        peer: PeerKey,
        token: RequestToken,
        update: &PeerUpdate,
    ) {
        if !self.is_introduced(now, peer, token) {
            return;
        }
        let intake = self.check_own_record(now, peer, &update.record.envelope);
        self.news.passed();
        self.answer(now, peer, token, &intake);
    }

    /// Takes in what a peer says about itself in its hello.
    pub(crate) fn take_own_record(&mut self, now: Now, peer: PeerKey, envelope: &[u8]) {
        let mut is_new = false;
        if !envelope.is_empty() {
            let intake = self.check_own_record(now, peer, envelope);
            is_new = intake.learned > 0;
            self.react(now, peer, &intake);
        }
        self.place_beside_tree(&peer, is_new);
    }

    /// A connection between two who are part of the tree already begins beside it: as a branch it would be a circle, and the
    /// next news would cut it at any place. A newcomer needs its branch, if there is one left.
    fn place_beside_tree(&mut self, peer: &PeerKey, is_new: bool) {
        let is_calm = self.phase() == Phase::Maintenance;
        let has_place = is_calm && self.news.has_tree() && self.sessions.has_branch_beside(peer);
        let is_superfluous = self.sessions.has_all_branches_beside(peer);
        if let Some(session) = self.sessions.get_mut(peer)
            && !std::mem::replace(&mut session.placed, true)
        {
            session.is_lazy |= is_superfluous || has_place && !is_new;
        }
    }

    fn check_own_record(&mut self, now: Now, peer: PeerKey, envelope: &[u8]) -> Intake {
        let triage = validate::triage(&self.view, now, std::iter::once((envelope, 0)));
        if triage.listed.iter().any(|(key, _)| *key != peer) {
            return Intake {
                offence: Some(Offence::Malformed),
                ..Intake::default()
            };
        }
        self.take_pushed(now, peer, triage)
    }

    /// Answers records that came unasked; the answer goes out before any reaction closes the connection.
    fn answer(&mut self, now: Now, peer: PeerKey, token: RequestToken, intake: &Intake) {
        let message = match (intake.offence, intake.wait) {
            (Some(Offence::BadSignature | Offence::ForgedOwnRecord), _) => {
                refusal(ErrorCode::BadSignature, "a signature does not hold")
            }
            (Some(_), _) => refusal(
                ErrorCode::Malformed,
                "a record cannot be read or does not belong here",
            ),
            (None, Some(wait)) => rate_refusal(wait),
            (None, None) if intake.prune => Message::Announcement(PeerAnnouncement {
                prune: true,
                ..PeerAnnouncement::default()
            }),
            (None, None) => Message::Ack,
        };
        self.reply(token, &message);
        self.react(now, peer, intake);
    }

    /// Reacts to what records showed about their sender.
    pub(crate) fn react(&mut self, now: Now, peer: PeerKey, intake: &Intake) {
        if let Some(offence) = intake.offence {
            self.offend(now, peer, offence);
        }
        if intake.wait.is_some() {
            self.offend(now, peer, Offence::Rate);
        }
    }

    // --- out ---------------------------------------------------------------------------------------------------

    /// Takes over the node's own record; everybody who was told an older one hears of it. Somebody else's is ignored.
    pub(crate) fn own_record(&mut self, now: Now, record: SignedRecord) {
        let is_ours = record.key() == self.view.own_key();
        let is_newer = self
            .view
            .own_record()
            .is_none_or(|known| known.seq() < record.seq());
        if is_ours && is_newer {
            let turn = if self.sessions.has_branch() {
                Turn::First
            } else {
                Turn::AtOnce
            };
            self.sessions.visit(|_, session| {
                session.tell_own(now.monotonic, turn, &record);
                true
            });
            if let Some(before) = self.view.own_record() {
                self.replaced.add(before.key(), before.seq());
            }
            self.view.set_own_record(record);
        }
    }

    /// Sends every announcement that is due.
    pub(crate) fn announce_due(&mut self, now: Now) {
        let own = self.view.own_record().cloned();
        self.refresh(now);
        let mut due = self.sessions.take_due(now.monotonic);
        due.retain(|peer| {
            let session = self.sessions.get(peer);
            session
                .and_then(|session| session.announce_due(own.as_ref()))
                .is_some_and(|due| due <= now.monotonic)
        });
        for peer in due {
            self.announce(now, peer, own.as_ref());
        }
    }

    fn announce(&mut self, now: Now, peer: PeerKey, own: Option<&SignedRecord>) {
        let Some(session) = self.sessions.get_mut(&peer) else {
            return;
        };
        session.last_announced = Some(now.monotonic);
        session.in_flight += 1;
        if let Some(own) = own.filter(|own| session.owes_own_record(Some(own))) {
            session.told_own = Some(own.seq());
            let record = RecordEntry {
                envelope: own.envelope().to_vec(),
                age_s: 0,
            };
            self.send(
                now,
                peer,
                &Message::Update(PeerUpdate { record }),
                Sent::Update,
            );
            return;
        }
        let room = MAX_FRAME_BYTES - limits::FRAME_HEADROOM_BYTES;
        let size = |record: &SignedRecord| codec::entry_bytes(record.envelope().len());
        let records = session
            .outbox
            .take(limits::MAX_RECORDS_PER_ANNOUNCEMENT, room, size);
        for record in &records {
            session.known.add(record.key(), record.seq());
        }
        let entries = records
            .iter()
            .map(|record| RecordEntry {
                envelope: record.envelope().to_vec(),
                age_s: self.view.age_s(now.monotonic, &record.key()),
            })
            .collect();
        let is_due = session.hints_due.is_some_and(|due| due <= now.monotonic);
        let hints = if is_due {
            session.hints_due = None;
            session.hints.take(limits::MAX_IDS_PER_ANNOUNCEMENT)
        } else {
            Vec::new()
        };
        if !session.hints.is_empty() {
            session.hints_due.get_or_insert(now.monotonic);
        }
        let ids = hints.iter().map(|(key, seq)| open_id(key, *seq)).collect();
        let message = Message::Announcement(PeerAnnouncement {
            records: entries,
            ids,
            prune: false,
        });
        self.send(now, peer, &message, Sent::Announcement(records));
    }

    /// An announcement or update arrived; `prune` says that the peer had it on another way.
    pub(crate) fn acknowledged(&mut self, peer: PeerKey, prune: bool) {
        self.news.passed();
        if let Some(session) = self.sessions.get_mut(&peer) {
            session.in_flight = session.in_flight.saturating_sub(1);
            session.is_lazy |= prune;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use btcfed_core::identity::StrictVerifier;
    use btcfed_core::{NodeConfig, SecretKey};

    use super::*;
    use crate::engine::EngineOptions;

    fn record(n: u8, seq: u64, port: u16) -> SignedRecord {
        let addr = format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap();
        SignedRecord::sign(&SecretKey::from_seed([n; 32]), seq, &[addr]).unwrap()
    }

    #[test]
    fn a_better_record_of_the_same_number_replaces_no_version_and_a_higher_number_does() {
        let own = record(1, 1, 1).key();
        let mut engine = Engine::new(EngineOptions {
            config: Arc::new(NodeConfig::default()),
            own,
            agent: String::new(),
            seed: 7,
            verifier: Arc::new(StrictVerifier),
            set: Arc::default(),
        });
        let owner = record(9, 5, 1).key();
        for (news, replaced) in [
            (record(9, 5, 1), None),
            (record(9, 5, 2), None),
            (record(9, 6, 1), Some(5)),
        ] {
            let ages = Ages::default();
            engine.accept(Now::default(), &own, vec![news], &ages, Spread::Nowhere);
            let found = engine.replaced.iter().find(|(key, _)| *key == owner);
            assert_eq!(found.map(|(_, seq)| seq), replaced);
        }
    }
}
