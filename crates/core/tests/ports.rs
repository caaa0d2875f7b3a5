//! The data of the ports: every error says what to do, every stable name reads back, hooks and stages do as little as
//! they promise.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use btcfed_core::ban::{IpNet, Issuer};
use btcfed_core::config::{BitcoinNetwork, ConfigError, ConfigProblem, LogFormat, LogLevel};
use btcfed_core::metrics::NoMetrics;
use btcfed_core::network::{
    CommandId, DialError, Direction, DisconnectReason, NetworkError, RequestError,
};
use btcfed_core::peer::{PeerSource, PeerStatus};
use btcfed_core::reconfigure::{ReconfigureError, StagedFn};
use btcfed_core::testing::{test_addr, test_key, test_record};
use btcfed_core::{ErrorKind, Metrics as _, ParseError, Staged};

#[test]
fn only_transient_errors_are_worth_a_retry() {
    let kinds = [
        ErrorKind::Config,
        ErrorKind::Fatal,
        ErrorKind::Peer,
        ErrorKind::Transient,
    ];
    let retryable: Vec<_> = kinds
        .into_iter()
        .filter(|kind| kind.is_retryable())
        .collect();
    assert_eq!(retryable, [ErrorKind::Transient]);
    let names: Vec<_> = kinds.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["config", "fatal", "peer", "transient"]);
}

#[test]
fn every_dial_error_has_its_kind_and_only_transient_ones_are_retried() {
    let reason = || "words".to_owned();
    for (error, kind) in [
        (DialError::Aborted, ErrorKind::Transient),
        (DialError::Denied { reason: reason() }, ErrorKind::Config),
        (DialError::Dns { reason: reason() }, ErrorKind::Transient),
        (DialError::Handshake { reason: reason() }, ErrorKind::Peer),
        (DialError::Io { reason: reason() }, ErrorKind::Transient),
        (DialError::Own, ErrorKind::Config),
        (DialError::Refused, ErrorKind::Transient),
        (DialError::Timeout, ErrorKind::Transient),
        (DialError::Undialable, ErrorKind::Config),
        (DialError::WrongPeer { obtained: reason() }, ErrorKind::Peer),
    ] {
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(
            error.is_retryable(),
            kind == ErrorKind::Transient,
            "{error}"
        );
    }
}

#[test]
fn every_request_error_has_its_kind() {
    for (error, kind) in [
        (RequestError::Busy, ErrorKind::Transient),
        (RequestError::ConnectionClosed, ErrorKind::Transient),
        (RequestError::FrameTooLarge, ErrorKind::Fatal),
        (RequestError::Malformed, ErrorKind::Peer),
        (RequestError::NotConnected, ErrorKind::Transient),
        (RequestError::Timeout, ErrorKind::Transient),
        (RequestError::UnsupportedProtocol, ErrorKind::Peer),
    ] {
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[test]
fn every_network_error_has_its_kind_and_names_its_address() {
    let (addr, reason) = (test_addr(9000), "no permission".to_owned());
    for (error, kind) in [
        (
            NetworkError::AddressInUse { addr: addr.clone() },
            ErrorKind::Config,
        ),
        (NetworkError::Busy, ErrorKind::Transient),
        (NetworkError::Closed, ErrorKind::Fatal),
        (
            NetworkError::Listen {
                addr: addr.clone(),
                reason: reason.clone(),
            },
            ErrorKind::Config,
        ),
        (NetworkError::Transport { reason }, ErrorKind::Fatal),
    ] {
        assert_eq!(error.kind(), kind, "{error}");
        let is_about_listening = matches!(
            error,
            NetworkError::AddressInUse { .. } | NetworkError::Listen { .. }
        );
        assert_eq!(
            error.to_string().contains(&addr.to_string()),
            is_about_listening,
            "{error}"
        );
    }
}

#[test]
fn stable_names_read_back_and_are_distinct() {
    for status in [
        PeerStatus::Banned,
        PeerStatus::Inaccessible,
        PeerStatus::Unknown,
        PeerStatus::Valid,
    ] {
        assert_eq!(PeerStatus::from_name(&status.to_string()), Some(status));
    }
    assert_eq!(PeerStatus::from_name("Valid"), None);
    for source in [
        PeerSource::Bootstrap,
        PeerSource::Hearsay,
        PeerSource::Operator,
        PeerSource::Signed,
    ] {
        assert_eq!(PeerSource::from_name(source.as_str()), Some(source));
    }
    assert_eq!(PeerSource::from_name(""), None);
    let names: BTreeSet<&str> = [
        Issuer::Node.as_str(),
        Issuer::Operator.as_str(),
        Direction::Inbound.as_str(),
        Direction::Outbound.as_str(),
        DisconnectReason::Local.as_str(),
        DisconnectReason::NotResponding.as_str(),
        DisconnectReason::Remote.as_str(),
    ]
    .into_iter()
    .chain(BitcoinNetwork::ALL.map(BitcoinNetwork::as_str))
    .chain(LogLevel::ALL.map(LogLevel::as_str))
    .chain(LogFormat::ALL.map(LogFormat::as_str))
    .collect();
    assert_eq!(names.len(), 7 + 3 + 5 + 3);
    let magics: BTreeSet<_> = BitcoinNetwork::ALL.map(BitcoinNetwork::magic).into();
    assert_eq!(magics.len(), 3);
    assert_eq!(CommandId(255).to_string(), "ff");
}

#[test]
fn a_network_in_cidr_notation_shows_its_parts() {
    let net: IpNet = "10.1.2.3/8".parse().unwrap();
    assert_eq!(
        (net.addr().to_string(), net.prefix()),
        ("10.0.0.0".to_owned(), 8)
    );
}

#[test]
fn errors_of_configuration_and_reload_tell_everything_at_once() {
    let problem = |line| ConfigProblem {
        origin: "conf.yaml".into(),
        line: Some(line),
        key: None,
        reason: "unknown key".into(),
        hint: None,
    };
    let error = ConfigError {
        problems: vec![problem(1), problem(2)],
    };
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.to_string(),
        "conf.yaml:1: unknown key\nconf.yaml:2: unknown key"
    );
    let refused = ReconfigureError {
        component: "network",
        key: Some("network.addresses"),
        kind: ErrorKind::Config,
        reason: "address in use".into(),
    };
    assert_eq!(refused.to_string(), "network: address in use");
    assert_eq!(
        ParseError::new("address", "empty").to_string(),
        "address: empty"
    );
}

#[test]
fn a_staged_change_happens_on_commit_only() {
    let committed = AtomicU32::new(0);
    let stage = || {
        StagedFn::new(|| {
            committed.fetch_add(1, Ordering::Relaxed);
        })
    };
    {
        let _rolled_back: Box<dyn Staged + '_> = Box::new(stage());
    }
    assert_eq!(committed.load(Ordering::Relaxed), 0);
    let staged = Box::new(stage());
    assert!(!format!("{staged:?}").is_empty());
    staged.commit();
    assert_eq!(committed.load(Ordering::Relaxed), 1);
}

#[test]
fn the_default_metrics_count_nothing_and_fail_never() {
    NoMetrics.count("peers_learned", u64::MAX);
    NoMetrics.time("sync", Duration::MAX);
}

#[test]
fn a_record_knows_its_identity() {
    assert_eq!(test_record(1).peer_id(), test_key(1).peer_id());
    assert!(!test_record(1).is_banned());
}
