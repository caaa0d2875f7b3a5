//! This node's own signed record: what it says about itself, and when it says it again.

use std::time::Duration;

use btcfed_core::addr::{AddrScope, AddrWithId, PeerAddr};
use btcfed_core::identity::SecretKey;
use btcfed_core::limits::MAX_RECORD_ADDRESSES;
use btcfed_core::record::{RecordError, SignedRecord};
use btcfed_core::rng::SeededRng;
use btcfed_core::time::{MonotonicTime, Now, Timestamp};

/// How often an unchanged record is signed anew, so that others see that its owner lives: a third of the 24-hour lease.
pub(crate) const REFRESH_INTERVAL: Duration = Duration::from_secs(8 * 3600);

/// Random share added to or taken from [`REFRESH_INTERVAL`].
pub(crate) const REFRESH_JITTER: f64 = 0.25;

/// Keeps the own record up to date.
#[derive(Debug)]
pub(crate) struct OwnRecord {
    secret: SecretKey,
    addresses: Vec<PeerAddr>,
    seq: u64,
    refresh_at: Option<MonotonicTime>,
    /// When the newest one was signed, by the clock.
    signed_at: Option<Timestamp>,
}

impl OwnRecord {
    pub(crate) const fn new(secret: SecretKey) -> Self {
        Self {
            secret,
            addresses: Vec::new(),
            seq: 0,
            refresh_at: None,
            signed_at: None,
        }
    }

    /// Signs a new record if the addresses changed or the old one is due. A node that nobody can dial publishes nothing,
    /// unless it published addresses before and must take them back.
    pub(crate) fn update(
        &mut self,
        now: Now,
        addresses: Vec<PeerAddr>,
        rng: &mut SeededRng,
    ) -> Result<Option<SignedRecord>, RecordError> {
        let due = self.refresh_at.is_some_and(|at| now.monotonic >= at);
        // While the machine slept the steps of the monotonic clock stood still, and others count on.
        let slept = self.signed_at.is_some_and(|at| {
            now.wall.saturating_since(at) >= REFRESH_INTERVAL.mul_f64(1.0 + REFRESH_JITTER)
        });
        let due = due || slept;
        if addresses == self.addresses && !due {
            return Ok(None);
        }
        self.addresses = addresses;
        self.sign(now, rng).map(Some)
    }

    /// Another record of this identity was seen, signed with sequence number `seq`: state was lost, or another node runs
    /// with this key. Signs a newer one.
    pub(crate) fn overtake(
        &mut self,
        now: Now,
        seq: u64,
        rng: &mut SeededRng,
    ) -> Result<Option<SignedRecord>, RecordError> {
        if seq < self.seq || self.addresses.is_empty() {
            return Ok(None);
        }
        self.seq = seq;
        self.sign(now, rng).map(Some)
    }

    /// When [`OwnRecord::update`] should be called at the latest.
    pub(crate) const fn next_deadline(&self) -> Option<MonotonicTime> {
        self.refresh_at
    }

    /// Sequence numbers are wall-clock milliseconds, but always grow: they are compared only with the same owner's.
    fn sign(&mut self, now: Now, rng: &mut SeededRng) -> Result<SignedRecord, RecordError> {
        self.seq = self.seq.saturating_add(1).max(now.wall.as_millis());
        self.signed_at = Some(now.wall);
        self.refresh_at = Some(
            now.monotonic
                .saturating_add(rng.jitter(REFRESH_INTERVAL, REFRESH_JITTER)),
        );
        SignedRecord::sign(&self.secret, self.seq, &self.addresses)
    }
}

/// Why the peers behind these bootstrap entries cannot reach what is announced, if that is already certain. A node that
/// does not listen wants nobody to reach it; what a name leads to is not known here.
pub(crate) fn unreachable_reason(
    announced: &[PeerAddr],
    listening: &[PeerAddr],
    bootstrap: &[AddrWithId],
) -> Option<&'static str> {
    if listening.is_empty() {
        return None;
    }
    let reach = |addr: &PeerAddr| match addr.scope() {
        AddrScope::Loopback => 1,
        AddrScope::Private => 2,
        AddrScope::Public => 3,
        _ => 0,
    };
    if announced.iter().any(|addr| addr.scope() == AddrScope::Dns) {
        return None;
    }
    let ours = announced.iter().map(reach).max().unwrap_or(0);
    let theirs = bootstrap.iter().map(|entry| reach(&entry.addr)).max()?;
    match (ours, theirs) {
        _ if ours >= theirs => None,
        (0, _) => Some("no address to announce"),
        (1, _) => Some(
            "only addresses of this machine are announced, and the bootstrap entries are elsewhere",
        ),
        _ => Some("only private addresses are announced, and the bootstrap entries are public"),
    }
}

/// What to publish: the configured addresses, else the listeners' own, most widely meaningful first, never unspecified
/// or link-local ones, at most [`MAX_RECORD_ADDRESSES`].
pub(crate) fn published_addresses(announce: &[PeerAddr], listening: &[PeerAddr]) -> Vec<PeerAddr> {
    let source = if announce.is_empty() {
        listening
    } else {
        announce
    };
    let rank = |addr: &PeerAddr| match addr.scope() {
        AddrScope::Dns => Some(0),
        AddrScope::Public => Some(1),
        AddrScope::Private => Some(2),
        AddrScope::Loopback => Some(3),
        _ => None,
    };
    let mut ranked: Vec<(i32, &PeerAddr)> = source
        .iter()
        .filter(|addr| addr.is_dialable())
        .filter_map(|addr| Some((rank(addr)?, addr)))
        .collect();
    ranked.sort();
    ranked.dedup();
    ranked
        .into_iter()
        .take(MAX_RECORD_ADDRESSES)
        .map(|(_, addr)| addr.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(texts: &[&str]) -> Vec<PeerAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn at(secs: u64) -> Now {
        Now {
            monotonic: MonotonicTime::from_origin(Duration::from_secs(secs)),
            wall: Timestamp::from_secs(secs),
        }
    }

    #[test]
    fn a_record_is_signed_when_addresses_change_or_the_lease_is_due_and_never_otherwise() {
        let mut rng = SeededRng::from_seed(1);
        let mut own = OwnRecord::new(SecretKey::from_seed([1; 32]));
        let here = addrs(&["/ip4/10.0.0.1/tcp/9000"]);
        assert!(
            own.update(at(0), Vec::new(), &mut rng).unwrap().is_none(),
            "nothing to publish"
        );
        let first = own.update(at(10), here.clone(), &mut rng).unwrap().unwrap();
        assert_eq!((first.seq(), first.addresses()), (10_000, here.as_slice()));
        assert!(
            own.update(at(11), here.clone(), &mut rng)
                .unwrap()
                .is_none()
        );
        let due = own.next_deadline().unwrap().since_origin().as_secs();
        assert!((6 * 3600..=10 * 3600 + 10).contains(&due), "{due}");
        assert!(
            own.update(at(due + 1), here, &mut rng)
                .unwrap()
                .unwrap()
                .seq()
                > first.seq()
        );
    }

    #[test]
    fn sequence_numbers_grow_even_when_the_clock_stands_still_or_jumps_back() {
        let mut rng = SeededRng::from_seed(1);
        let mut own = OwnRecord::new(SecretKey::from_seed([1; 32]));
        let first = own
            .update(at(100), addrs(&["/ip4/10.0.0.1/tcp/1"]), &mut rng)
            .unwrap()
            .unwrap();
        let second = own
            .update(at(5), addrs(&["/ip4/10.0.0.1/tcp/2"]), &mut rng)
            .unwrap()
            .unwrap();
        assert_eq!(second.seq(), first.seq() + 1);
        let third = own.overtake(at(5), 1_000_000, &mut rng).unwrap().unwrap();
        assert_eq!(third.seq(), 1_000_001);
        assert!(
            own.overtake(at(5), 7, &mut rng).unwrap().is_none(),
            "an older one needs no answer"
        );
    }

    #[test]
    fn a_machine_that_slept_signs_anew_once_and_a_clock_set_back_changes_nothing() {
        let mut rng = SeededRng::from_seed(1);
        let mut own = OwnRecord::new(SecretKey::from_seed([1; 32]));
        let here = addrs(&["/ip4/10.0.0.1/tcp/9000"]);
        let awake = |wall| Now {
            wall: Timestamp::from_secs(wall),
            ..at(100)
        };
        own.update(awake(100_000), here.clone(), &mut rng).unwrap();
        for (wall, signs) in [
            (100_000 + 36_000 - 1, false),
            (100_000 + 36_000, true),
            (100_000 + 36_000, false),
            (5, false),
        ] {
            let record = own.update(awake(wall), here.clone(), &mut rng).unwrap();
            assert_eq!(record.is_some(), signs, "{wall}");
        }
    }

    #[test]
    fn published_addresses_are_the_configured_ones_else_what_others_can_use() {
        let listening = addrs(&[
            "/ip4/127.0.0.1/tcp/9000",
            "/ip6/fe80::1/tcp/9000",
            "/ip4/192.168.1.2/tcp/9000",
            "/ip4/0.0.0.0/tcp/9000",
            "/ip4/203.0.113.7/tcp/9000",
        ]);
        let told = published_addresses(&[], &listening);
        assert_eq!(
            told,
            addrs(&[
                "/ip4/203.0.113.7/tcp/9000",
                "/ip4/192.168.1.2/tcp/9000",
                "/ip4/127.0.0.1/tcp/9000"
            ])
        );
        let configured = addrs(&["/dns4/node.example.com/tcp/9000"]);
        assert_eq!(published_addresses(&configured, &listening), configured);
        let many: Vec<_> = (1..=20)
            .map(|n| format!("/ip4/10.0.0.{n}/tcp/9000").parse().unwrap())
            .collect();
        assert_eq!(published_addresses(&[], &many).len(), MAX_RECORD_ADDRESSES);
    }

    #[test]
    fn a_node_nobody_can_reach_is_told_so_only_when_it_is_certain() {
        let reason = |announced: &[&str], bootstrap: &[&str]| {
            let parse = |text: &&str| text.parse::<PeerAddr>().unwrap();
            let announced: Vec<_> = announced.iter().map(parse).collect();
            let listening: Vec<_> = announced.clone();
            let entries: Vec<_> = bootstrap.iter().map(|t| parse(t).into()).collect();
            unreachable_reason(&announced, &listening, &entries)
        };
        let (local, private) = ("/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1");
        let (public, name) = ("/ip4/8.8.8.8/tcp/1", "/dns4/a.example.com/tcp/1");
        assert!(reason(&[local], &[private]).is_some());
        assert!(reason(&[private, local], &[public]).is_some());
        assert_eq!(reason(&[private], &[private, local]), None);
        assert_eq!(reason(&[local, public], &[public]), None);
        assert_eq!(reason(&[name], &[public]), None, "who knows");
        assert_eq!(reason(&[local], &[name]), None, "who knows");
        assert_eq!(reason(&[local], &[]), None);
        let entries = [public.parse::<PeerAddr>().unwrap().into()];
        assert_eq!(unreachable_reason(&[], &[], &entries), None, "dial only");
        let listening = [local.parse().unwrap()];
        assert!(unreachable_reason(&[], &listening, &entries).is_some());
    }
}
