//! Addresses at which the node accepted connections and does not any more, though nobody asked for that.

use btcfed_core::addr::PeerAddr;
use btcfed_core::time::Timestamp;

/// Most missing listeners that are remembered: as many addresses as a configuration may name.
pub(crate) const MAX_LOST: usize = 64;

/// A listener that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostListener {
    /// Where it accepted connections.
    pub addr: PeerAddr,
    /// When it ceased to.
    pub since: Timestamp,
    /// Why.
    pub reason: String,
}

/// The listeners that are missing now, those gone for longest first.
#[derive(Debug, Default)]
pub(crate) struct LostListeners(Vec<LostListener>);

impl LostListeners {
    /// Connections are no longer accepted at `addr`; without an error because they are not to be.
    pub(crate) fn closed(&mut self, now: Timestamp, addr: &PeerAddr, error: Option<&str>) {
        self.found(addr);
        let Some(error) = error else {
            return tracing::info!(%addr, "no longer listening");
        };
        tracing::warn!(%addr, error, "no longer listening");
        if self.0.len() >= MAX_LOST {
            self.0.remove(0);
        }
        self.0.push(LostListener {
            addr: addr.clone(),
            since: now,
            reason: error.to_owned(),
        });
    }

    /// Connections are accepted at `addr`.
    pub(crate) fn found(&mut self, addr: &PeerAddr) {
        self.0.retain(|lost| lost.addr != *addr);
    }

    /// A new configuration: what it does not listen on is not missing. One that names every address of a family, or any
    /// port, may mean an address that it does not spell.
    pub(crate) fn reconfigured(&mut self, configured: &[PeerAddr]) {
        self.0.retain(|lost| {
            let ip = |addr: &PeerAddr| addr.socket_addr().map(|at| at.ip());
            configured.iter().any(|addr| {
                *addr == lost.addr
                    || ip(addr).is_some_and(|ip| ip.is_unspecified())
                    || ip(addr) == ip(&lost.addr)
                        && addr.socket_addr().is_some_and(|at| at.port() == 0)
            })
        });
    }

    pub(crate) fn all(&self) -> &[LostListener] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: usize) -> PeerAddr {
        format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap()
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn a_listener_is_missing_from_its_loss_to_its_return_and_not_when_it_was_taken_down() {
        let mut lost = LostListeners::default();
        lost.closed(at(1), &addr(1), Some("gone"));
        lost.closed(at(2), &addr(2), None);
        assert_eq!(lost.all().len(), 1);
        let first = &lost.all()[0];
        assert_eq!((first.since, first.reason.as_str()), (at(1), "gone"));
        lost.found(&addr(1));
        assert!(lost.all().is_empty());
    }

    #[test]
    fn a_configuration_that_does_not_name_an_address_does_not_miss_it() {
        for (configured, is_missed) in [
            ("/ip4/192.0.2.1/tcp/1", true),
            ("/ip4/0.0.0.0/tcp/1", true),
            ("/ip4/192.0.2.1/tcp/0", true),
            ("/ip4/192.0.2.1/tcp/2", false),
            ("/ip4/192.0.2.2/tcp/1", false),
        ] {
            let mut lost = LostListeners::default();
            lost.closed(at(1), &addr(1), Some("gone"));
            lost.reconfigured(&[configured.parse().unwrap()]);
            assert_eq!(lost.all().len() == 1, is_missed, "{configured}");
        }
    }

    #[test]
    fn at_the_limit_all_are_remembered_and_past_it_the_newest() {
        let mut lost = LostListeners::default();
        for port in 1..=MAX_LOST {
            lost.closed(at(1), &addr(port), Some("gone"));
        }
        assert_eq!(
            (lost.all().len(), &lost.all()[0].addr),
            (MAX_LOST, &addr(1))
        );
        lost.closed(at(2), &addr(MAX_LOST + 1), Some("gone"));
        assert_eq!(
            (lost.all().len(), &lost.all()[0].addr),
            (MAX_LOST, &addr(2))
        );
    }
}
