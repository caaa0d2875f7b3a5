//! Every bound that more than one component relies on, by name.
//!
//! A bound that only one component knows lives in that component. Text lengths are counted in bytes of UTF-8.

/// Longest text of an address, in bytes: a 253-byte DNS name, a port and a peer id fit twice over.
pub const MAX_ADDR_TEXT_BYTES: usize = 512;

/// Most addresses kept per peer beside those its operator wrote: hosts have a handful, liars have thousands.
pub const MAX_ADDRESSES_PER_PEER: usize = 8;

/// Longest agent version a remote may claim, in bytes; the rest is cut, because the text ends up in logs.
pub const MAX_AGENT_BYTES: usize = 128;

/// Most bans kept: enough for a long-lived deny list, small enough to be scanned by a person.
pub const MAX_BANS: usize = 20_000;

/// Most forgotten keys kept, so that nothing is resurrected and the list still cannot grow for ever.
pub const MAX_FORGOTTEN: usize = 20_000;

/// Largest frame on the wire, in bytes, also after decompression: bounds the memory one stream can claim.
pub const MAX_FRAME_BYTES: usize = 65_536;

/// Longest text of a public or private key, in bytes: the 68-byte private form takes 92 characters of base64.
pub const MAX_KEY_TEXT_BYTES: usize = 128;

/// Longest name an operator may give a peer, in bytes: one column of a terminal table.
pub const MAX_NAME_BYTES: usize = 64;

/// Longest remark an operator may attach to a peer, in bytes: a few sentences.
pub const MAX_NOTE_BYTES: usize = 512;

/// Longest text of a peer id, in bytes: Ed25519 ids take 52; longer kinds are still recognised and named in the refusal.
pub const MAX_PEER_ID_TEXT_BYTES: usize = 128;

/// Most peers kept: the federation size the protocol is designed for.
pub const MAX_PEERS: usize = 10_000;

/// Longest name of an application's protocol, in bytes: all of them, with the node's own, fit into one identify message.
pub const MAX_PROTOCOL_NAME_BYTES: usize = 128;

/// Requests of one application protocol to one peer that wait for their answers. Further ones are `Busy`.
pub const MAX_PROTOCOL_REQUESTS_IN_FLIGHT: usize = 8;

/// Most protocols an application may register.
pub const MAX_PROTOCOLS: usize = 8;

/// Most addresses in one signed record: what a multi-homed host needs, too few to make a record a dialling weapon.
pub const MAX_RECORD_ADDRESSES: usize = 8;

/// Largest signed envelope, in bytes: two addresses take about 200, eight addresses with long names fit mostly.
pub const MAX_RECORD_BYTES: usize = 1024;

/// Commands waiting for the network task. When full, submitting answers `Busy` and the sender retries later.
pub const NETWORK_COMMAND_QUEUE: usize = 256;

/// Events waiting for the node task. When full, the network stops polling, so backpressure reaches TCP.
pub const NETWORK_EVENT_QUEUE: usize = 256;

/// Control requests (reload, shutdown) waiting for the node task: they come from people and are coalesced.
pub const NODE_CONTROL_QUEUE: usize = 8;

/// Requests that wait on their way between an application and the network, in each direction of each protocol.
pub const PROTOCOL_REQUEST_QUEUE: usize = 64;

/// Store events kept for a slow subscriber. One that lags further takes a fresh snapshot instead.
pub const STORE_EVENT_QUEUE: usize = 1024;
