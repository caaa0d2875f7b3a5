//! Whom to dial, and when. Pure: takes the time and what is known, returns dials.
//!
//! Wanted at all times: bootstrap entries, and every peer the operator chose. Beyond them, learned peers are dialled
//! until `network.target_outbound` connections opened by this node are up: a few at once, the others one by one, so that
//! a federation that starts at one moment spends it on news and not on handshakes. Failures back off with jitter; learned peers
//! that keep failing are left alone for a while by a circuit breaker, chosen ones are retried for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use btcfed_core::addr::{AddrScope, PeerAddr};
use btcfed_core::backoff::Backoff;
use btcfed_core::breaker::CircuitBreaker;
use btcfed_core::config::NodeConfig;
use btcfed_core::key::PeerKey;
use btcfed_core::network::{CommandId, Direction};
use btcfed_core::peer::{AddressSource, PeerRecord};
use btcfed_core::rng::SeededRng;
use btcfed_core::set::{PeerSet, PeerView};
use btcfed_core::time::{MonotonicTime, Now};

use crate::admission::Admission;
use crate::claims::Claims;
use crate::connections::Connections;
use crate::families;
use crate::misled::Misled;
use crate::staleness::is_silent;

#[cfg(test)]
mod eclipse;

/// Most dials started within one second: a node with a thousand dead peers must not scan the network.
pub(crate) const MAX_DIALS_PER_SECOND: u32 = 32;

/// Most addresses handed to the network for one dial.
pub(crate) const MAX_ADDRESSES_PER_DIAL: usize = 8;

/// Learned peers that were met last and are dialled first: after a restart a node goes back to whom it knew, whatever
/// others told it of since.
pub(crate) const ANCHORS: usize = 2;

/// Most connections this node opens to learned peers of one public network (/16 of IPv4, /32 of IPv6), while there are
/// others to dial. Loopback and private addresses have no such bound: a federation in one room shares a network.
pub(crate) const MAX_PER_NETWORK: usize = 2;

/// Connections this node opens to learned peers at once: enough to share out the first download, and twice as many links
/// where everybody does the same.
pub(crate) const FIRST_OUTBOUND: usize = 4;

/// How long after those each further one up to `network.target_outbound` is opened.
pub(crate) const OUTBOUND_INTERVAL: Duration = Duration::from_millis(500);

/// Whom a dial is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// Whoever answers at a bootstrap address given without an identity.
    Address(PeerAddr),
    /// One identity.
    Peer(PeerKey),
}

/// One dial to start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dial {
    pub(crate) id: CommandId,
    pub(crate) peer: Option<PeerKey>,
    pub(crate) addrs: Vec<PeerAddr>,
}

#[derive(Debug)]
struct Attempts {
    backoff: Backoff,
    breaker: CircuitBreaker,
    /// The operator changed the target while a dial was running: its failure says nothing about the new addresses.
    outdated: bool,
    /// The peer asked to be left alone until then.
    held_until: Option<MonotonicTime>,
}

impl Attempts {
    const fn new(config: &NodeConfig) -> Self {
        Self {
            backoff: Backoff::new(config.network.backoff),
            breaker: CircuitBreaker::new(config.network.breaker),
            outdated: false,
            held_until: None,
        }
    }

    const fn reset(&mut self) {
        self.backoff.reset();
        self.breaker.reset();
        self.outdated = false;
        self.held_until = None;
    }
}

/// Everything a plan is made from.
pub(crate) struct View<'a> {
    pub(crate) now: Now,
    pub(crate) config: &'a NodeConfig,
    pub(crate) set: &'a PeerSet,
    pub(crate) connections: &'a Connections,
    pub(crate) own: PeerKey,
    pub(crate) admission: &'a Admission,
}

/// The dial policy's memory.
#[derive(Debug, Default)]
pub(crate) struct Dialer {
    attempts: BTreeMap<Target, Attempts>,
    claims: Claims,
    misled: Misled,
    in_flight: BTreeMap<CommandId, Target>,
    /// Which peer was found behind a bootstrap address.
    resolved: BTreeMap<PeerAddr, PeerKey>,
    /// Bootstrap addresses that turned out to be this node's own.
    own_addrs: BTreeSet<PeerAddr>,
    /// Start of the current one-second window, and dials started in it.
    window: (MonotonicTime, u32),
    /// When learned peers were dialled first.
    learned_since: Option<MonotonicTime>,
    next_deadline: Option<MonotonicTime>,
}

impl Dialer {
    /// The dials to start now. Also computes [`Dialer::next_deadline`].
    pub(crate) fn plan(
        &mut self,
        view: &View<'_>,
        rng: &mut SeededRng,
        next_id: &mut impl FnMut() -> CommandId,
    ) -> Vec<Dial> {
        self.next_deadline = None;
        let mut dials = Vec::new();
        if let Some(at) = self.addresses_wait_until(view) {
            self.look_again_at(at);
        }
        for (target, addrs) in self.wanted(view) {
            self.try_start(view, target, addrs, next_id, &mut dials);
        }
        self.plan_learned(view, rng, next_id, &mut dials);
        dials
    }

    /// When [`Dialer::plan`] should run again, as far as time alone decides.
    pub(crate) const fn next_deadline(&self) -> Option<MonotonicTime> {
        self.next_deadline
    }

    /// Bootstrap entries and chosen peers that are not connected, with their addresses.
    fn wanted(&self, view: &View<'_>) -> Vec<(Target, Vec<PeerAddr>)> {
        let mut wanted = Vec::new();
        let mut by_peer: BTreeMap<PeerKey, Vec<PeerAddr>> = BTreeMap::new();
        for entry in &view.config.peers.bootstrap {
            match entry.peer_id {
                Some(id) => by_peer
                    .entry(id.key())
                    .or_default()
                    .push(entry.addr.clone()),
                None if self.address_is_settled(&entry.addr, view) => {}
                None => wanted.push((
                    Target::Address(entry.addr.clone()),
                    vec![entry.addr.clone()],
                )),
            }
        }
        for peer in view.set.views().filter(|peer| peer.is_reserved()) {
            let addrs = by_peer.entry(*peer.key()).or_default();
            let known = dialable(&peer.to_record());
            addrs.retain(|addr| !known.contains(addr));
            addrs.splice(0..0, known);
        }
        let may_dial = |peer: &PeerKey| {
            *peer != view.own
                && !view.connections.contains(peer)
                && view.set.ban_of(peer, view.now.wall).is_none()
        };
        wanted.extend(
            by_peer
                .into_iter()
                .filter(|(peer, addrs)| may_dial(peer) && !addrs.is_empty())
                .map(|(peer, addrs)| (Target::Peer(peer), addrs)),
        );
        wanted
    }

    /// True when nothing is to be gained from dialling a bootstrap address now.
    fn address_is_settled(&self, addr: &PeerAddr, view: &View<'_>) -> bool {
        self.own_addrs.contains(addr)
            || self.resolved.get(addr).is_some_and(|peer| {
                view.connections.contains(peer)
                    || self.is_in_flight(&Target::Peer(*peer))
                    || self.waits_until(peer, view.now.monotonic).is_some()
            })
    }

    /// Until when a peer is left alone, because it has no room or failed; `None` when that is over.
    fn waits_until(&self, peer: &PeerKey, now: MonotonicTime) -> Option<MonotonicTime> {
        let attempts = self.attempts.get(&Target::Peer(*peer))?;
        let at = attempts
            .held_until
            .max(Some(attempts.backoff.next_attempt()));
        at.filter(|at| *at > now)
    }

    /// When the first of the bootstrap addresses whose peer is left alone may be dialled again.
    fn addresses_wait_until(&self, view: &View<'_>) -> Option<MonotonicTime> {
        let peers = self.resolved.values();
        peers
            .filter(|peer| !view.connections.contains(peer))
            .filter_map(|peer| self.waits_until(peer, view.now.monotonic))
            .min()
    }

    /// Fills up the outbound connections with learned peers, the most promising first, random among equals.
    fn plan_learned(
        &mut self,
        view: &View<'_>,
        rng: &mut SeededRng,
        next_id: &mut impl FnMut() -> CommandId,
        dials: &mut Vec<Dial>,
    ) {
        let is_learned = |peer: &PeerKey| {
            view.set
                .get(peer)
                .is_none_or(|record| !record.is_reserved())
        };
        let outbound = view
            .connections
            .iter()
            .filter(|connection| {
                connection.direction == Direction::Outbound && is_learned(&connection.peer)
            })
            .count();
        let pending = self
            .in_flight
            .values()
            .filter(|target| matches!(target, Target::Peer(peer) if is_learned(peer)))
            .count();
        let target = self.outbound_target(view);
        let mut missing = target.saturating_sub(outbound + pending);
        if missing == 0 {
            return;
        }
        let mut candidates: Vec<PeerView<'_>> = view
            .set
            .views()
            .filter(|peer| !peer.is_reserved() && !peer.is_banned() && *peer.key() != view.own)
            .filter(|peer| !view.connections.contains(peer.key()))
            .filter(|peer| view.admission.admits(peer.key()))
            .collect();
        rng.shuffle(&mut candidates);
        let mut networks = networks_of(view);
        for peer in in_order(view, candidates, &mut networks) {
            if missing == 0 {
                break;
            }
            let addrs = dialable(&peer.to_record());
            if !addrs.is_empty()
                && self.try_start(view, Target::Peer(*peer.key()), addrs, next_id, dials)
            {
                self.begin_learned(view.now.monotonic);
                missing -= 1;
            }
        }
    }

    /// From the first dial to a learned peer on, the number of such connections grows.
    fn begin_learned(&mut self, now: MonotonicTime) {
        if self.learned_since.is_none() {
            self.learned_since = Some(now);
            self.look_again_at(now.saturating_add(OUTBOUND_INTERVAL));
        }
    }

    /// How many connections to learned peers this node opens for now.
    fn outbound_target(&mut self, view: &View<'_>) -> usize {
        let target = view.config.network.target_outbound;
        let Some(since) = self.learned_since else {
            return target.min(FIRST_OUTBOUND);
        };
        let age = view.now.monotonic.saturating_since(since);
        let further = age.as_millis() / OUTBOUND_INTERVAL.as_millis();
        let further = u32::try_from(further).unwrap_or(u32::MAX);
        let now = FIRST_OUTBOUND.saturating_add(usize::try_from(further).unwrap_or(usize::MAX));
        if now < target {
            let next = OUTBOUND_INTERVAL.saturating_mul(further.saturating_add(1));
            self.look_again_at(since.saturating_add(next));
        }
        target.min(now)
    }

    /// The peers found behind bootstrap addresses.
    pub(crate) fn resolved(&self) -> impl Iterator<Item = &PeerKey> {
        self.resolved.values()
    }

    /// Starts a dial unless one is running, it is too early, or a budget is used up; then notes when to look again.
    fn try_start(
        &mut self,
        view: &View<'_>,
        target: Target,
        mut addrs: Vec<PeerAddr>,
        next_id: &mut impl FnMut() -> CommandId,
        dials: &mut Vec<Dial>,
    ) -> bool {
        let now = view.now.monotonic;
        if self.is_in_flight(&target) {
            return false;
        }
        if !self.within_rate(now) || self.in_flight.len() >= view.config.network.max_pending {
            self.look_again_at(self.window.0.saturating_add(Duration::from_secs(1)));
            return false;
        }
        let chosen = matches!(&target, Target::Address(_))
            || matches!(&target, Target::Peer(peer) if view.set.view(peer).is_none_or(PeerView::is_reserved));
        if let (Target::Peer(peer), false) = (&target, chosen)
            && let Some(at) = self.claims.retain_free(now, peer, &mut addrs)
        {
            self.look_again_at(at);
            return false;
        }
        let attempts = self
            .attempts
            .entry(target.clone())
            .or_insert_with(|| Attempts::new(view.config));
        attempts.held_until.take_if(|until| *until <= now);
        if !attempts.backoff.ready(now) || attempts.held_until.is_some() {
            let at = attempts
                .held_until
                .max(Some(attempts.backoff.next_attempt()));
            let at = at.unwrap_or(now);
            self.look_again_at(at);
            return false;
        }
        if !chosen && !attempts.breaker.try_acquire(now) {
            if let Some(at) = attempts.breaker.retry_at() {
                self.look_again_at(at);
            }
            return false;
        }
        if let Target::Peer(peer) = &target {
            self.misled.leave_out(now, *peer, &mut addrs);
        }
        let mut addrs = families::by_turns(addrs);
        addrs.truncate(MAX_ADDRESSES_PER_DIAL);
        let id = next_id();
        self.window.1 += 1;
        let peer = match &target {
            Target::Address(_) => None,
            Target::Peer(peer) => Some(*peer),
        };
        if let Some(peer) = peer.filter(|_| !chosen) {
            self.claims.note(now, peer, &addrs);
        }
        self.in_flight.insert(id, target);
        dials.push(Dial { id, peer, addrs });
        true
    }

    /// A peer is connected, by whichever dial. Returns the bootstrap address behind which it was found, if so.
    pub(crate) fn connected(
        &mut self,
        now: MonotonicTime,
        peer: PeerKey,
        command: Option<CommandId>,
    ) -> Option<PeerAddr> {
        self.claims.release(&peer);
        let mut found = None;
        if let Some(Target::Address(addr)) = command.and_then(|id| self.in_flight.remove(&id)) {
            if let Some(attempts) = self.attempts.get_mut(&Target::Address(addr.clone())) {
                attempts.backoff.connected(now);
            }
            self.resolved.insert(addr.clone(), peer);
            found = Some(addr);
        }
        if let Some(attempts) = self.attempts.get_mut(&Target::Peer(peer)) {
            attempts.backoff.connected(now);
            attempts.breaker.success();
        }
        found
    }

    /// The last connection of a peer is gone.
    pub(crate) fn disconnected(
        &mut self,
        now: MonotonicTime,
        peer: PeerKey,
        config: &NodeConfig,
        rng: &mut SeededRng,
    ) {
        let attempts = self
            .attempts
            .entry(Target::Peer(peer))
            .or_insert_with(|| Attempts::new(config));
        attempts.backoff.disconnected(now, rng);
        let addrs = self.resolved.iter().filter(|(_, found)| **found == peer);
        for (addr, _) in addrs {
            if let Some(attempts) = self.attempts.get_mut(&Target::Address(addr.clone())) {
                attempts.backoff.disconnected(now, rng);
            }
        }
    }

    /// The peer has no room and asks to be left alone for a while. What the operator does about it lifts that
    /// ([`Dialer::reset`]), news of it from others do not ([`Dialer::changed`]).
    pub(crate) fn hold(&mut self, until: MonotonicTime, peer: PeerKey, config: &NodeConfig) {
        let attempts = self
            .attempts
            .entry(Target::Peer(peer))
            .or_insert_with(|| Attempts::new(config));
        attempts.held_until = attempts.held_until.max(Some(until));
    }

    /// A dial ended without a connection. Returns how long until the next attempt; `None` for unknown dials.
    pub(crate) fn failed(
        &mut self,
        now: MonotonicTime,
        id: CommandId,
        found_self: bool,
        rng: &mut SeededRng,
    ) -> Option<Duration> {
        let target = self.in_flight.remove(&id)?;
        if let (true, Target::Address(addr)) = (found_self, &target) {
            self.own_addrs.insert(addr.clone());
        }
        let attempts = self.attempts.get_mut(&target)?;
        if attempts.outdated {
            attempts.reset();
            return Some(Duration::ZERO);
        }
        attempts.breaker.failure(now);
        Some(attempts.backoff.failure(now, rng).saturating_since(now))
    }

    /// Somebody else answered at an address of `peer`.
    pub(crate) fn misled(&mut self, now: MonotonicTime, peer: PeerKey, addr: PeerAddr) {
        self.misled.note(now, peer, addr);
    }

    /// A dial could not be queued: nobody's failure.
    pub(crate) fn cancelled(&mut self, id: CommandId) {
        self.in_flight.remove(&id);
    }

    /// A dial was not needed: its peer is connected, or being dialled by another dial. Nothing is held against the
    /// target; if it is not connected yet, it is looked at again after the shortest pause.
    pub(crate) fn redundant(
        &mut self,
        now: MonotonicTime,
        id: CommandId,
        connected: Option<PeerKey>,
        rng: &mut SeededRng,
    ) {
        match (self.in_flight.remove(&id), connected) {
            (Some(Target::Address(addr)), Some(peer)) => {
                self.resolved.insert(addr, peer);
            }
            (Some(target), None) => {
                if let Some(attempts) = self.attempts.get_mut(&target) {
                    attempts.backoff.reset();
                    attempts.backoff.failure(now, rng);
                }
            }
            (Some(Target::Peer(_)) | None, _) => {}
        }
    }

    /// The operator changed something about a peer: it may be tried at once.
    pub(crate) fn reset(&mut self, peer: &PeerKey) {
        self.misled.forget(peer);
        let target = Target::Peer(*peer);
        let in_flight = self.is_in_flight(&target);
        if let Some(attempts) = self.attempts.get_mut(&target) {
            attempts.reset();
            attempts.outdated = in_flight;
        }
    }

    /// Others, or the peer itself, told something new about it: it may be tried at once, unless it has asked to be left
    /// alone.
    pub(crate) fn changed(&mut self, peer: &PeerKey) {
        let target = Target::Peer(*peer);
        let held = self.attempts.get(&target).and_then(|it| it.held_until);
        self.reset(peer);
        if let Some(attempts) = self.attempts.get_mut(&target) {
            attempts.held_until = held;
        }
    }

    /// A peer is no longer known.
    pub(crate) fn forget(&mut self, peer: &PeerKey) {
        self.claims.release(peer);
        self.misled.forget(peer);
        self.attempts.remove(&Target::Peer(*peer));
    }

    /// A new configuration: policies from the next failure on; own addresses may have changed.
    pub(crate) fn reconfigured(&mut self, config: &NodeConfig) {
        self.own_addrs.clear();
        for attempts in self.attempts.values_mut() {
            attempts.backoff.set_policy(config.network.backoff);
            attempts.breaker.set_policy(config.network.breaker);
        }
        let listed = |addr: &PeerAddr| {
            config
                .peers
                .bootstrap
                .iter()
                .any(|entry| entry.addr == *addr)
        };
        self.resolved.retain(|addr, _| listed(addr));
        self.attempts
            .retain(|target, _| !matches!(target, Target::Address(addr) if !listed(addr)));
    }

    fn is_in_flight(&self, target: &Target) -> bool {
        self.in_flight.values().any(|running| running == target)
    }

    fn within_rate(&mut self, now: MonotonicTime) -> bool {
        if now.saturating_since(self.window.0) >= Duration::from_secs(1) {
            self.window = (now, 0);
        }
        self.window.1 < MAX_DIALS_PER_SECOND
    }

    fn look_again_at(&mut self, at: MonotonicTime) {
        self.next_deadline = Some(self.next_deadline.map_or(at, |earlier| earlier.min(at)));
    }
}

/// The public networks of the connections this node opened, and how many lead to each.
fn networks_of(view: &View<'_>) -> BTreeMap<Network, usize> {
    let mut networks = BTreeMap::new();
    let outbound = |direction| direction == Direction::Outbound;
    for connection in view.connections.iter().filter(|c| outbound(c.direction)) {
        if let Some(network) = network(&connection.addr) {
            *networks.entry(network).or_default() += 1;
        }
    }
    networks
}

/// The first bits of a public address.
type Network = (bool, [u8; 4]);

/// The network of a public IP address; `None` for everything else.
fn network(addr: &PeerAddr) -> Option<Network> {
    match addr.ip().filter(|_| addr.scope() == AddrScope::Public)? {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            Some((false, [a, b, 0, 0]))
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.octets();
            Some((true, [a, b, c, d]))
        }
    }
}

/// Candidates in the order in which to dial them: anchors, then who was heard of lately and fails least; those of a network
/// that has its share of connections come last.
fn in_order<'a>(
    view: &View<'_>,
    mut candidates: Vec<PeerView<'a>>,
    networks: &mut BTreeMap<Network, usize>,
) -> Vec<PeerView<'a>> {
    let met = |peer: &PeerView<'_>| peer.stats().last_seen.filter(|_| peer.is_valid());
    let mut last_met: Vec<_> = candidates
        .iter()
        .filter_map(|peer| Some((met(peer)?, *peer.key())))
        .collect();
    last_met.sort_by(|one, other| other.cmp(one));
    last_met.truncate(ANCHORS);
    let stale_after = view.config.peers.stale_after;
    candidates.sort_by_cached_key(|peer| {
        let is_anchor = last_met.iter().any(|(_, key)| key == peer.key());
        let is_stale = is_silent(*peer, view.now.wall, stale_after);
        (is_stale, peer.stats().consecutive_failures, !is_anchor)
    });
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for peer in candidates {
        let addr = peer.addresses().next().map(|known| known.addr);
        match addr.as_ref().and_then(network) {
            None => first.push(peer),
            Some(network) => {
                let taken = networks.entry(network).or_default();
                *taken += 1;
                if *taken <= MAX_PER_NETWORK {
                    first.push(peer);
                } else {
                    last.push(peer);
                }
            }
        }
    }
    first.append(&mut last);
    first
}

/// The addresses of a peer worth dialling. A loopback or link-local address that the operator did not write is dialled
/// only when the peer has no other: it means something only to nodes on the owner's own machine or link.
fn dialable(record: &PeerRecord) -> Vec<PeerAddr> {
    let order = record.dial_order();
    let by_operator = |addr: &PeerAddr| {
        record
            .addresses
            .iter()
            .any(|known| known.addr == *addr && known.source == AddressSource::Operator)
    };
    let is_local =
        |addr: &PeerAddr| matches!(addr.scope(), AddrScope::Loopback | AddrScope::LinkLocal);
    let reaches_further = order.iter().any(|addr| !is_local(addr));
    order
        .into_iter()
        .filter(|addr| {
            by_operator(addr)
                || !is_local(addr)
                || (!reaches_further && addr.scope() == AddrScope::Loopback)
        })
        .collect()
}
