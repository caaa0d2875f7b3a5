//! A reload is a transaction: all components or none, told key by key.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod harness;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use btcfed_core::config::{ConfigError, ConfigProblem, LogLevel, NodeConfig};
use btcfed_core::error::ErrorKind;
use btcfed_core::exchange::Input;
use btcfed_core::reconfigure::{Reconfigure, ReconfigureError, Staged};
use btcfed_node_orchestrator::ReloadError;

use harness::Harness;

type Journal = Arc<Mutex<Vec<String>>>;

/// Writes down what happens to it.
#[derive(Debug)]
struct Component {
    name: &'static str,
    refuses: Arc<Mutex<bool>>,
    journal: Journal,
}

#[derive(Debug)]
struct Prepared {
    name: &'static str,
    journal: Journal,
    committed: bool,
}

#[async_trait]
impl Reconfigure for Component {
    async fn prepare(&self, _: &NodeConfig) -> Result<Box<dyn Staged>, ReconfigureError> {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if *self.refuses.lock().unwrap() {
            return Err(ReconfigureError {
                component: self.name,
                key: Some("network.addresses"),
                kind: ErrorKind::Config,
                reason: "address in use".into(),
            });
        }
        self.journal
            .lock()
            .unwrap()
            .push(format!("prepare {}", self.name));
        Ok(Box::new(Prepared {
            name: self.name,
            journal: Arc::clone(&self.journal),
            committed: false,
        }))
    }
}

impl Staged for Prepared {
    fn commit(mut self: Box<Self>) {
        self.committed = true;
        self.journal
            .lock()
            .unwrap()
            .push(format!("commit {}", self.name));
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if !self.committed {
            self.journal
                .lock()
                .unwrap()
                .push(format!("roll back {}", self.name));
        }
    }
}

async fn node_with(refuser: &'static str) -> (Harness, Journal, Arc<Mutex<bool>>) {
    let journal = Journal::default();
    let refuses = Arc::new(Mutex::new(true));
    let components = ["logging", "store", "network"].map(|name| {
        let refuses = if name == refuser {
            Arc::clone(&refuses)
        } else {
            Arc::default()
        };
        Arc::new(Component {
            name,
            refuses,
            journal: Arc::clone(&journal),
        }) as Arc<dyn Reconfigure>
    });
    let node = Harness::start_full(|_| {}, std::future::pending(), components.into()).await;
    (node, journal, refuses)
}

fn edit(node: &Harness, change: impl FnOnce(&mut NodeConfig)) {
    let mut config = NodeConfig::default();
    change(&mut config);
    *node.config.0.lock().unwrap() = Ok(config);
}

#[tokio::test(start_paused = true)]
async fn every_component_prepares_before_any_commits_and_the_answer_names_every_key() {
    let (node, journal, _) = node_with("nobody").await;
    edit(&node, |config| {
        config.peers.exchange_interval = Duration::from_secs(15);
        config.logging.level = LogLevel::Debug;
        config.peers.file = "elsewhere.yaml".into();
    });
    let report = node.handle.reload().await.unwrap();
    let keys = |changes: &[btcfed_core::config::KeyChange]| {
        changes.iter().map(|c| c.key).collect::<Vec<_>>()
    };
    assert_eq!(
        keys(&report.applied),
        ["logging.level", "peers.exchange_interval"]
    );
    assert_eq!(keys(&report.needs_restart), ["peers.file"]);
    assert_eq!(
        *journal.lock().unwrap(),
        [
            "prepare logging",
            "prepare store",
            "prepare network",
            "commit logging",
            "commit store",
            "commit network"
        ]
    );
    let status = node.handle.status().await.unwrap();
    assert_eq!(status.config_revision, 2);
    assert_eq!(status.config["peers.exchange_interval"], "15s");
    assert_eq!(
        status.config["peers.file"], "peers.yaml",
        "waits for a restart"
    );
    let told = node
        .exchange
        .inputs()
        .into_iter()
        .any(|(_, input)| matches!(input, Input::Reconfigured(_)));
    assert!(told, "the engine hears of it");
}

#[tokio::test(start_paused = true)]
async fn whoever_refuses_everything_before_it_is_rolled_back_in_reverse_and_nothing_changes() {
    for (refuser, rolled_back) in [
        ("logging", vec![]),
        ("store", vec!["prepare logging", "roll back logging"]),
        (
            "network",
            vec![
                "prepare logging",
                "prepare store",
                "roll back store",
                "roll back logging",
            ],
        ),
    ] {
        let (node, journal, refuses) = node_with(refuser).await;
        edit(&node, |config| {
            config.peers.exchange_interval = Duration::from_secs(15)
        });
        let error = node.handle.reload().await.unwrap_err();
        assert!(
            matches!(&error, ReloadError::Component(e) if e.component == refuser),
            "{error}"
        );
        assert_eq!(*journal.lock().unwrap(), rolled_back, "{refuser}");
        let status = node.handle.status().await.unwrap();
        assert_eq!(
            (
                status.config_revision,
                status.config["peers.exchange_interval"].as_str()
            ),
            (1, "30s")
        );

        *refuses.lock().unwrap() = false;
        assert_eq!(
            node.handle.reload().await.unwrap().revision,
            2,
            "the next one may succeed"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_configuration_reaches_no_component() {
    let (node, journal, _) = node_with("nobody").await;
    let problem = ConfigProblem {
        origin: "conf.yaml".into(),
        line: Some(3),
        key: Some("peers.exchange_interval".into()),
        reason: "has no unit".into(),
        hint: None,
    };
    *node.config.0.lock().unwrap() = Err(ConfigError {
        problems: vec![problem.clone()],
    });
    let ReloadError::Config(error) = node.handle.reload().await.unwrap_err() else {
        panic!("another error")
    };
    assert_eq!(error.problems, [problem]);
    assert!(journal.lock().unwrap().is_empty());
    assert_eq!(node.handle.status().await.unwrap().config_revision, 1);
}

#[tokio::test(start_paused = true)]
async fn reloads_that_arrive_during_a_reload_become_one_and_all_get_its_answer() {
    let (node, journal, _) = node_with("nobody").await;
    edit(&node, |config| config.name = "first".into());
    let first = tokio::spawn({
        let handle = node.handle.clone();
        async move { handle.reload().await }
    });
    node.settle().await;
    edit(&node, |config| config.name = "second".into());
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let handle = node.handle.clone();
            tokio::spawn(async move { handle.reload().await })
        })
        .collect();
    assert_eq!(first.await.unwrap().unwrap().revision, 2);
    for reload in waiting {
        assert_eq!(reload.await.unwrap().unwrap().revision, 3);
    }
    let commits = journal
        .lock()
        .unwrap()
        .iter()
        .filter(|line| line.starts_with("commit network"))
        .count();
    assert_eq!(commits, 2);
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_configuration_touches_no_component_and_is_no_new_revision() {
    let (node, journal, _) = node_with("network").await;
    let report = node.handle.reload().await.unwrap();
    assert_eq!((report.revision, report.applied), (1, Vec::new()));
    assert!(journal.lock().unwrap().is_empty());
    assert_eq!(node.handle.status().await.unwrap().config_revision, 1);
}

#[tokio::test(start_paused = true)]
async fn a_reload_reads_the_peers_again() {
    let (node, ..) = node_with("nobody").await;
    let set = btcfed_core::PeerSet::from_parts([btcfed_core::testing::test_record(1)], [], []);
    node.store.edit_outside(set, Vec::new());
    let report = node.handle.reload().await.unwrap();
    assert_eq!(report.peers_changed, 1);
    node.settle().await;
    assert_eq!(node.handle.status().await.unwrap().known, 1);
}
