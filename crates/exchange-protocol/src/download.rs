//! A newcomer's download: a sample of whom to dial, then parts of the hash space from several neighbours at once. The
//! rounds that follow compare with everybody, so a neighbour that hides its part or sits on it gains nothing.

mod parts;

use btcfed_core::PeerKey;
use btcfed_core::exchange::Notice;
use btcfed_core::time::Now;

use crate::defence::score::Offence;
use crate::engine::{Engine, Sent};
use crate::limits;
use crate::message::{Message, Mode, PeerRequest, PeerResponse, RecordEntry, Stripe};
use crate::session::{Round, Stage};
use crate::sync::PAGE;

pub(crate) use self::parts::Download;

impl Engine {
    /// True while this node has next to nothing and should ask for a sample.
    pub(crate) fn is_newcomer(&self) -> bool {
        self.download.is_none() && self.view.size_bound() <= limits::SAMPLE
    }

    /// Takes in a sample; of a short list it was the first page.
    pub(crate) fn on_sample(&mut self, now: Now, peer: PeerKey, response: &PeerResponse) {
        let has_all =
            usize::try_from(response.count).is_ok_and(|c| c <= limits::MAX_RECORDS_PER_FRAME);
        if has_all || response.equal || response.next.is_some() {
            self.on_page(now, peer, response);
            return;
        }
        let envelopes = response.records.iter().map(RecordEntry::offered);
        let intake = self.intake(now, peer, envelopes, true);
        if let Some(session) = self.sessions.get_mut(&peer) {
            session.wants_round = true;
            session.gave_sample = true;
            if let Some(round) = &mut session.round {
                round.received += response.records.len();
                round.learned += intake.learned;
            }
        }
        self.end_round(now, peer, true);
        if self.download.is_none() {
            let salt = self.rng.next_u64();
            self.download = Some(Download::new(now.monotonic, salt, peer, response.count));
        }
    }

    /// Asks neighbours for parts that nobody was asked for yet.
    pub(crate) fn assign_stripes(&mut self, now: Now) {
        let Some(mut download) = self.download.take() else {
            return;
        };
        let at = now.monotonic;
        download.reopen(at, |peer, index| {
            let session = self.sessions.get(peer);
            let round = session.and_then(|s| s.round.as_ref());
            round.is_some_and(|r| r.stripe.is_some_and(|stripe| stripe.index == index))
                || session.is_some_and(|s| s.parts.contains(&index))
        });
        if download.is_over(at) {
            return;
        }
        let mut free: Vec<PeerKey> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.can_start_round(at))
            .filter(|(_, session)| session.met || session.hello_due.is_some_and(|due| due <= at))
            .filter(|(_, session)| session.may_have_stripes())
            .map(|(peer, _)| *peer)
            .filter(|peer| {
                let was_asked = download.parts_of(peer) > 0 || *peer == download.sampler;
                at >= download.due || !was_asked
            })
            .collect();
        self.rng.shuffle(&mut free);
        free.sort_by_key(|peer| (download.parts_of(peer), *peer == download.sampler));
        for peer in free {
            let Some(stripe) = download.take_open(peer, at) else {
                break;
            };
            self.start_stripe(now, peer, stripe);
        }
        self.ask_more_parts(now, &mut download);
        download.set_wake(at);
        self.download = Some(download);
    }

    /// Asks those who gave a part or are about to for the rest of their share, so that a long list takes few round trips.
    fn ask_more_parts(&mut self, now: Now, download: &mut Download) {
        let at = now.monotonic;
        let share = if at >= download.due {
            usize::MAX
        } else {
            download.share()
        };
        let able: Vec<PeerKey> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.met && !session.only_asks && !session.is_paused(at))
            .filter(|(peer, session)| session.may_have_stripes() && download.parts_of(peer) > 0)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in able {
            while let Some(session) = self.sessions.get_mut(&peer)
                && session.parts.len() < limits::MAX_PARTS_IN_FLIGHT
                && download.parts_of(&peer) < share
                && let Some(stripe) = download.take_open(peer, at)
            {
                session.parts.insert(stripe.index);
                self.ask_part(now, peer, stripe, None);
            }
        }
    }

    fn ask_part(&mut self, now: Now, peer: PeerKey, stripe: Stripe, cursor: Option<PeerKey>) {
        let request = PeerRequest {
            mode: Mode::Stripe,
            cursor,
            limit: PAGE,
            stripe: Some(stripe),
            ..PeerRequest::default()
        };
        let sent = Sent::Part { stripe, cursor };
        self.send(now, peer, &Message::Request(request), sent);
    }

    /// Takes in a page of a part that was asked for beside others.
    pub(crate) fn on_part(
        &mut self,
        now: Now,
        peer: PeerKey,
        (stripe, before): (Stripe, Option<PeerKey>),
        response: &PeerResponse,
    ) {
        let goes_on = |next: &PeerKey| {
            !response.records.is_empty() && before.is_none_or(|before| before < *next)
        };
        let is_wrong = response.cells.is_some() || response.next.is_some_and(|n| !goes_on(&n));
        if is_wrong {
            self.failed_request(
                now,
                peer,
                Sent::Part {
                    stripe,
                    cursor: before,
                },
            );
            self.offend(now, peer, Offence::WrongAnswer);
            return;
        }
        let envelopes = response.records.iter().map(RecordEntry::offered);
        let intake = self.intake(now, peer, envelopes, true);
        self.on_stripe_page(now, peer, stripe, response.next.is_none());
        let Some(session) = self.sessions.get_mut(&peer) else {
            return;
        };
        if response.next.is_some() && session.closing.is_none() {
            self.ask_part(now, peer, stripe, response.next);
            return;
        }
        session.parts.remove(&stripe.index);
        self.notice(Notice::SyncCompleted {
            peer,
            received: response.records.len(),
            learned: intake.learned,
        });
    }

    fn start_stripe(&mut self, now: Now, peer: PeerKey, stripe: Stripe) {
        let Some(session) = self.sessions.get_mut(&peer) else {
            return;
        };
        let is_first = !session.introduced;
        session.hello_due = None;
        session.introduced = true;
        session.wants_round = true;
        session.round = Some(Round {
            stripe: Some(stripe),
            stage: Stage::Page,
            outbox_mark: session.outbox.mark(),
            ..Round::default()
        });
        let request = PeerRequest {
            hello: is_first.then(|| self.hello(now, &peer)),
            mode: Mode::Stripe,
            limit: PAGE,
            stripe: Some(stripe),
            ..PeerRequest::default()
        };
        self.send(now, peer, &Message::Request(request), Sent::Round);
    }

    /// A page of a part arrived; `is_last` when the part is complete.
    pub(crate) fn on_stripe_page(
        &mut self,
        now: Now,
        peer: PeerKey,
        stripe: Stripe,
        is_last: bool,
    ) {
        if let Some(download) = &mut self.download {
            download.arrived(stripe, peer, now.monotonic, is_last);
        }
    }
}
