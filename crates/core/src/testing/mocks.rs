//! mockall mocks of every port, for tests that must expect calls. Where behaviour is enough, a fake reads better.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::addr::PeerAddr;
use crate::config::{ConfigError, ConfigSource, NodeConfig};
use crate::exchange::{Exchange, ExchangeCounters, Input, Output};
use crate::key::PeerId;
use crate::metrics::Metrics;
use crate::network::{Network, NetworkCommand, NetworkError};
use crate::patch::PeerPatch;
use crate::reconfigure::{Reconfigure, ReconfigureError, Staged};
use crate::set::PeerSet;
use crate::store::{Applied, PeerStore, Reloaded, StoreError, StoreEvents, StoreHealth};
use crate::time::{Clock, MonotonicTime, Now};

mockall::mock! {
    /// Expects calls of a [`PeerStore`].
    #[derive(Debug)]
    pub PeerStore {}

    #[async_trait]
    impl PeerStore for PeerStore {
        fn snapshot(&self) -> Arc<PeerSet>;
        async fn apply(&self, patch: PeerPatch) -> Result<Applied, StoreError>;
        async fn reload(&self) -> Result<Reloaded, StoreError>;
        async fn flush(&self) -> Result<(), StoreError>;
        fn subscribe(&self) -> StoreEvents;
        fn health(&self) -> StoreHealth;
    }
}

mockall::mock! {
    /// Expects calls of a [`Network`].
    #[derive(Debug)]
    pub Network {}

    impl Network for Network {
        fn local_peer(&self) -> PeerId;
        fn submit(&self, command: NetworkCommand) -> Result<(), NetworkError>;
        fn listen_addrs(&self) -> Vec<PeerAddr>;
    }
}

mockall::mock! {
    /// Expects calls of an [`Exchange`].
    #[derive(Debug)]
    pub Exchange {}

    impl Exchange for Exchange {
        fn handle(&mut self, now: Now, input: Input);
        fn poll_output(&mut self) -> Option<Output>;
        fn next_deadline(&self) -> Option<MonotonicTime>;
        fn counters(&self) -> ExchangeCounters;
    }
}

mockall::mock! {
    /// Expects calls of a [`ConfigSource`].
    #[derive(Debug)]
    pub ConfigSource {}

    impl ConfigSource for ConfigSource {
        fn load(&self) -> Result<NodeConfig, ConfigError>;
    }
}

mockall::mock! {
    /// Expects calls of a [`Reconfigure`].
    #[derive(Debug)]
    pub Reconfigure {}

    #[async_trait]
    impl Reconfigure for Reconfigure {
        async fn prepare(&self, config: &NodeConfig) -> Result<Box<dyn Staged>, ReconfigureError>;
    }
}

mockall::mock! {
    /// Expects calls of a [`Staged`].
    #[derive(Debug)]
    pub Staged {}

    impl Staged for Staged {
        fn commit(self: Box<Self>);
    }
}

mockall::mock! {
    /// Expects calls of a [`Clock`].
    #[derive(Debug)]
    pub Clock {}

    impl Clock for Clock {
        fn now(&self) -> Now;
    }
}

mockall::mock! {
    /// Expects calls of a [`Metrics`].
    #[derive(Debug)]
    pub Metrics {}

    impl Metrics for Metrics {
        fn count(&self, name: &'static str, by: u64);
        fn time(&self, name: &'static str, duration: Duration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_can_be_mocked_as_a_trait_object() {
        let mut network = MockNetwork::new();
        network
            .expect_submit()
            .times(1)
            .returning(|_| Err(NetworkError::Closed));
        let network: Arc<dyn Network> = Arc::new(network);
        let refused = network.submit(NetworkCommand::Reserve { peers: Vec::new() });
        assert_eq!(refused, Err(NetworkError::Closed));

        let mut staged = MockStaged::new();
        staged.expect_commit().times(1).return_const(());
        (Box::new(staged) as Box<dyn Staged>).commit();

        let mut store = MockPeerStore::new();
        store.expect_snapshot().returning(Arc::default);
        assert!(
            (Arc::new(store) as Arc<dyn PeerStore>)
                .snapshot()
                .is_empty()
        );
        let _: Box<dyn Exchange> = Box::new(MockExchange::new());
        let _: Arc<dyn Reconfigure> = Arc::new(MockReconfigure::new());
        let _: Arc<dyn ConfigSource> = Arc::new(MockConfigSource::new());
        let _: Arc<dyn Clock> = Arc::new(MockClock::new());
        let _: Arc<dyn Metrics> = Arc::new(MockMetrics::new());
    }
}
