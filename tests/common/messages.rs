//! Messages and handshakes as a foreign node would send them.

use btcfed_core::config::{BitcoinNetwork, NodeConfig};
use btcfed_core::record::SignedRecord;
use btcfed_core::testing::{test_addr, test_secret};
use btcfed_exchange_protocol::codec;
use btcfed_exchange_protocol::message::{
    Hello, Message, Mode, PeerAnnouncement, PeerRequest, RecordEntry,
};

/// The introduction of a node that publishes `record` and belongs to `network` and the federation without a name.
pub fn hello(network: BitcoinNetwork, record: Option<&SignedRecord>) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        network: network.magic(),
        federation: NodeConfig::default().federation,
        features: 0,
        agent: "foreign/1".to_owned(),
        record: record
            .map(|record| record.envelope().to_vec())
            .unwrap_or_default(),
        wall_ms: 0,
    }
}

/// The first frame of a connection: a hello and a request for the whole list.
pub fn handshake(network: BitcoinNetwork, record: Option<&SignedRecord>) -> Vec<u8> {
    codec::encode(&Message::Request(PeerRequest {
        hello: Some(hello(network, record)),
        mode: Mode::Page,
        cursor: None,
        limit: 256,
        summary: None,
        cells: None,
        want: None,
        stripe: None,
    }))
}

/// An announcement of these envelopes.
pub fn announcement(envelopes: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let records = envelopes
        .into_iter()
        .map(|envelope| RecordEntry { envelope, age_s: 0 })
        .collect();
    codec::encode(&Message::Announcement(PeerAnnouncement {
        records,
        ..PeerAnnouncement::default()
    }))
}

/// The record of a test identity with one address of the test network.
pub fn record(number: u16, seq: u64) -> SignedRecord {
    SignedRecord::sign(&test_secret(number), seq, &[test_addr(number)]).unwrap()
}
