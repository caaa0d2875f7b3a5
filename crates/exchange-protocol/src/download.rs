//! A newcomer's download: a sample of whom to dial, then parts of the hash space from several neighbours at once. The
//! rounds that follow compare with everybody, so a neighbour that hides its part or sits on it gains nothing.

use btcfed_core::PeerKey;
use btcfed_core::time::{MonotonicTime, Now};

use crate::engine::{Engine, Sent};
use crate::limits;
use crate::message::{Message, Mode, PeerRequest, PeerResponse, RecordEntry, Stripe};
use crate::session::{Round, Stage};
use crate::sync::PAGE;

/// What became of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// To be asked for.
    Open,
    /// Asked for, or its last page arrived.
    Asked { peer: PeerKey, at: MonotonicTime },
    /// Here.
    Done,
}

/// A download under way.
#[derive(Debug)]
pub(crate) struct Download {
    salt: u64,
    /// Who gave the sample: asked for a part only when nobody else is there.
    sampler: PeerKey,
    parts: [Part; limits::STRIPES as usize],
    /// Who was asked for a part before: one each, while others may still come.
    asked: Vec<PeerKey>,
    /// From now on one neighbour may be asked for several parts.
    due: MonotonicTime,
    end: MonotonicTime,
    /// When to look again.
    wake: MonotonicTime,
}

impl Download {
    fn new(now: MonotonicTime, salt: u64, sampler: PeerKey) -> Self {
        let due = now.saturating_add(limits::STRIPE_WAIT);
        Self {
            salt,
            sampler,
            parts: [Part::Open; limits::STRIPES as usize],
            asked: Vec::new(),
            due,
            end: now.saturating_add(limits::DOWNLOAD_LIMIT),
            wake: due,
        }
    }

    /// When it needs attention next.
    pub(crate) const fn deadline(&self) -> MonotonicTime {
        self.wake
    }

    fn is_over(&self, now: MonotonicTime) -> bool {
        now >= self.end || self.parts.iter().all(|part| *part == Part::Done)
    }

    fn set(&mut self, index: u32, state: Part) {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(part) = self.parts.get_mut(index).filter(|p| **p != Part::Done) {
            *part = state;
        }
    }

    fn next_open(&self) -> Option<u32> {
        let open = self.parts.iter().position(|part| *part == Part::Open)?;
        u32::try_from(open).ok()
    }

    /// Opens parts whose neighbour is gone, failed or takes too long.
    fn reopen(&mut self, now: MonotonicTime, is_busy: impl Fn(&PeerKey, u32) -> bool) {
        for (part, index) in self.parts.iter_mut().zip(0_u32..) {
            if let Part::Asked { peer, at } = part
                && (now >= at.saturating_add(limits::STRIPE_PATIENCE) || !is_busy(peer, index))
            {
                *part = Part::Open;
            }
        }
    }

    fn set_wake(&mut self, now: MonotonicTime) {
        let stalls = self.parts.iter().filter_map(|part| match part {
            Part::Asked { at, .. } => Some(at.saturating_add(limits::STRIPE_PATIENCE)),
            Part::Done | Part::Open => None,
        });
        self.wake = stalls
            .chain([self.due])
            .filter(|at| *at > now)
            .min()
            .unwrap_or(self.end);
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
            if let Some(round) = &mut session.round {
                round.received += response.records.len();
                round.learned += intake.learned;
            }
        }
        self.end_round(now, peer, true);
        if self.download.is_none() {
            let salt = self.rng.next_u64();
            self.download = Some(Download::new(now.monotonic, salt, peer));
        }
    }

    /// Asks neighbours for parts that nobody was asked for yet.
    pub(crate) fn assign_stripes(&mut self, now: Now) {
        let Some(mut download) = self.download.take() else {
            return;
        };
        let at = now.monotonic;
        download.reopen(at, |peer, index| {
            let round = self.sessions.get(peer).and_then(|s| s.round.as_ref());
            round.is_some_and(|r| r.stripe.is_some_and(|stripe| stripe.index == index))
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
                let was_asked = download.asked.contains(peer) || *peer == download.sampler;
                at >= download.due || !was_asked
            })
            .collect();
        self.rng.shuffle(&mut free);
        free.sort_by_key(|peer| (download.asked.contains(peer), *peer == download.sampler));
        for peer in free {
            let Some(index) = download.next_open() else {
                break;
            };
            download.set(index, Part::Asked { peer, at });
            download.asked.push(peer);
            let stripe = Stripe {
                salt: download.salt,
                index,
                of: limits::STRIPES,
            };
            self.start_stripe(now, peer, stripe);
        }
        download.set_wake(at);
        self.download = Some(download);
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
    pub(crate) fn on_stripe_page(&mut self, now: Now, peer: PeerKey, index: u32, is_last: bool) {
        if let Some(download) = &mut self.download {
            let at = now.monotonic;
            let state = if is_last {
                Part::Done
            } else {
                Part::Asked { peer, at }
            };
            download.set(index, state);
        }
    }
}
