//! A newcomer's download: a sample of whom to dial, then parts of the hash space from several neighbours at once. The
//! rounds that follow compare with everybody, so a neighbour that hides its part or sits on it gains nothing.

mod parts;

use btcfed_core::PeerKey;
use btcfed_core::exchange::Notice;
use btcfed_core::time::Now;

use crate::defence::score::Offence;
use crate::defence::validate;
use crate::engine::{Engine, Sent};
use crate::limits;
use crate::message::{Message, Mode, PeerRequest, PeerResponse, RecordEntry, Stripe};
use crate::relay::Way;
use crate::session::{Round, Stage};
use crate::sync::PAGE;

pub(crate) use self::parts::Download;

/// A page of a part that is asked for beside the round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartPage {
    stripe: Stripe,
    cursor: Option<PeerKey>,
    /// Which one it is, from 1 on.
    number: u32,
}

impl PartPage {
    pub(crate) const fn stripe(&self) -> Stripe {
        self.stripe
    }
}

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
                let first = PartPage {
                    stripe,
                    cursor: None,
                    number: 1,
                };
                self.ask_part(now, peer, first);
            }
        }
    }

    fn ask_part(&mut self, now: Now, peer: PeerKey, page: PartPage) {
        let request = PeerRequest {
            mode: Mode::Stripe,
            cursor: page.cursor,
            limit: PAGE,
            stripe: Some(page.stripe),
            ..PeerRequest::default()
        };
        self.send(now, peer, &Message::Request(request), Sent::Part(page));
    }

    /// Takes in a page of a part that was asked for beside others. The next one is asked for while the download runs, nobody
    /// else is asked for the part, and it has no more pages than a part may have.
    pub(crate) fn on_part(
        &mut self,
        now: Now,
        peer: PeerKey,
        page: PartPage,
        response: &PeerResponse,
    ) {
        let goes_on = |next: &PeerKey| {
            !response.records.is_empty() && page.cursor.is_none_or(|before| before < *next)
        };
        let envelopes = response.records.iter().map(RecordEntry::offered);
        let triage = validate::triage(&self.view, now, envelopes);
        let is_foreign = |(key, _): &(PeerKey, u64)| !page.stripe.holds(key);
        let is_wrong = response.cells.is_some()
            || response.next.is_some_and(|n| !goes_on(&n))
            || triage.listed.iter().any(is_foreign);
        if is_wrong {
            self.failed_request(now, peer, Sent::Part(page));
            self.offend(now, peer, Offence::WrongAnswer);
            return;
        }
        let intake = self.take_and_blame(now, peer, triage, Way::Asked);
        let is_last = response.next.is_none() || page.number >= limits::MAX_PAGES_PER_PART;
        self.on_stripe_page(now, peer, page.stripe, is_last);
        let download = self.download.as_ref();
        let is_wanted =
            !is_last && download.is_some_and(|d| d.waits_for(page.stripe, peer, now.monotonic));
        let Some(session) = self.sessions.get_mut(&peer) else {
            return;
        };
        if is_wanted && session.closing.is_none() {
            let next = PartPage {
                cursor: response.next,
                number: page.number + 1,
                ..page
            };
            self.ask_part(now, peer, next);
            return;
        }
        session.parts.remove(&page.stripe.index);
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
