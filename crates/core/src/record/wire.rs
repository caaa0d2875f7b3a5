//! The protobuf messages of an envelope. Names and numbers are those of libp2p/specs RFC 0002 and 0003.

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Envelope {
    #[prost(message, optional, tag = "1")]
    pub(super) public_key: Option<PublicKey>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) payload_type: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) payload: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    pub(super) signature: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PublicKey {
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) data: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PeerRecord {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) peer_id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(super) seq: u64,
    #[prost(message, repeated, tag = "3")]
    pub(super) addresses: Vec<AddressInfo>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AddressInfo {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) multiaddr: Vec<u8>,
}
