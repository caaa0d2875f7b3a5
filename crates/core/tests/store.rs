//! Patches and store errors as data: what is hard, whom a change concerns, what to do about an error.
#![expect(
    clippy::unwrap_used,
    reason = "test helpers: a panic is the failure report"
)]

use std::time::Duration;

use btcfed_core::ban::{Ban, BanReason, BanTarget, Issuer};
use btcfed_core::limits::{MAX_NAME_BYTES, STORE_EVENT_QUEUE};
use btcfed_core::patch::{PatchError, PeerChange, PeerOp, PeerPatch};
use btcfed_core::store::{StoreError, StoreEvent, StoreEvents, Subscribed};
use btcfed_core::testing::{test_addr, test_key, test_record, test_secret};
use btcfed_core::time::Timestamp;
use btcfed_core::{ErrorKind, SignedRecord};

fn hard_ops() -> Vec<PeerOp> {
    let (key, target) = (test_key(1), BanTarget::Peer(test_key(1)));
    let (reason, since) = (BanReason::Misbehaviour, Timestamp::UNIX_EPOCH);
    let ban = Ban {
        target,
        reason,
        since,
        until: None,
        by: Issuer::Node,
        evidence: None,
    };
    vec![
        PeerOp::Ban(ban),
        PeerOp::Create(Box::new(test_record(1))),
        PeerOp::Learn(SignedRecord::sign(&test_secret(1), 1, &[test_addr(1)]).unwrap()),
        PeerOp::Remove {
            key,
            by: Issuer::Node,
        },
        PeerOp::Unban(target),
        PeerOp::Update(Box::new(test_record(1))),
    ]
}

fn soft_ops() -> Vec<PeerOp> {
    let key = test_key(1);
    vec![
        PeerOp::ContactFailed {
            key,
            addrs: Vec::new(),
        },
        PeerOp::ContactSucceeded { key, addr: None },
        PeerOp::Measured {
            key,
            rtt: Duration::ZERO,
        },
    ]
}

#[test]
fn membership_bans_and_edits_are_hard_and_counters_are_not() {
    assert!(hard_ops().iter().all(PeerOp::is_hard));
    assert!(!soft_ops().iter().any(PeerOp::is_hard));
}

#[test]
fn a_patch_is_hard_when_any_of_its_operations_is() {
    let soft: PeerPatch = soft_ops().into_iter().collect();
    assert!(!soft.is_hard() && !soft.is_empty());
    let mixed: PeerPatch = soft_ops().into_iter().chain(hard_ops()).collect();
    assert!(mixed.is_hard());
    assert!(PeerPatch::default().is_empty() && !PeerPatch::default().is_hard());
}

#[test]
fn a_change_names_the_peer_it_concerns() {
    let (key, host) = (test_key(1), BanTarget::Ip("192.0.2.1".parse().unwrap()));
    for change in [
        PeerChange::Added(key),
        PeerChange::Banned(BanTarget::Peer(key)),
        PeerChange::Removed(key),
        PeerChange::Touched(key),
        PeerChange::Unbanned(BanTarget::Peer(key)),
        PeerChange::Updated(key),
    ] {
        assert_eq!(change.key(), Some(&key));
    }
    assert_eq!(
        (
            PeerChange::Banned(host).key(),
            PeerChange::Unbanned(host).key()
        ),
        (None, None)
    );
}

#[test]
fn every_error_says_what_to_do_and_names_what_it_is_about() {
    let path = || "/var/peers.yaml".to_owned();
    let io = StoreError::Io {
        operation: "rename",
        path: path(),
        reason: "no space left".into(),
    };
    let locked = StoreError::Locked {
        path: path(),
        holder: Some("pid 7".into()),
    };
    let newer = StoreError::ReadOnly {
        path: path(),
        found: 9,
        supported: 1,
    };
    assert_eq!(
        (io.kind(), locked.kind()),
        (ErrorKind::Transient, ErrorKind::Transient)
    );
    assert_eq!(newer.kind(), ErrorKind::Config);
    assert_eq!(io.to_string(), "rename /var/peers.yaml: no space left");
    assert_eq!(locked.to_string(), "/var/peers.yaml is locked by pid 7");
    let unknown = StoreError::Locked {
        path: path(),
        holder: None,
    };
    assert_eq!(unknown.to_string(), "/var/peers.yaml is locked");
    assert!(newer.to_string().contains("version 9"));

    let peer = test_key(1).peer_id();
    let (field, limit) = ("name", MAX_NAME_BYTES);
    for error in [
        PatchError::Duplicate(peer),
        PatchError::UnknownPeer(peer),
        PatchError::TooLong {
            peer,
            field,
            len: limit + 1,
            limit,
        },
    ] {
        assert!(error.to_string().contains(&peer.to_string()), "{error}");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(
            StoreError::from(error.clone()).to_string(),
            error.to_string()
        );
    }
    assert!(
        PatchError::Full {
            what: "peers",
            limit: 5
        }
        .to_string()
        .contains("5 peers")
    );
}

#[tokio::test]
async fn a_subscription_that_lags_says_by_how_much_and_goes_on() {
    let (sender, receiver) = tokio::sync::broadcast::channel(STORE_EVENT_QUEUE);
    let mut events = StoreEvents::new(receiver);
    for _ in 0..STORE_EVENT_QUEUE + 3 {
        sender.send(StoreEvent::Healed).unwrap();
    }
    assert_eq!(events.next().await, Subscribed::Lagged(3));
    assert_eq!(events.next().await, Subscribed::Event(StoreEvent::Healed));
    assert_eq!(
        events.try_next(),
        Some(Subscribed::Event(StoreEvent::Healed))
    );
    drop(sender);
    for _ in 2..STORE_EVENT_QUEUE {
        assert_eq!(events.next().await, Subscribed::Event(StoreEvent::Healed));
    }
    assert_eq!(events.next().await, Subscribed::Closed);
}
