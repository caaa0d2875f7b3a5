//! Identities and addresses that are the same in every run.

use std::net::Ipv4Addr;

use crate::addr::PeerAddr;
use crate::identity::SecretKey;
use crate::key::PeerKey;
use crate::peer::{AddressSource, PeerRecord, PeerSource};

/// The secret key of test identity `number`: a seed that starts with the number.
#[must_use]
pub fn test_secret(number: u16) -> SecretKey {
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&number.to_be_bytes());
    SecretKey::from_seed(seed)
}

/// The public key of test identity `number`.
#[must_use]
pub fn test_key(number: u16) -> PeerKey {
    test_secret(number).public()
}

/// A private address that nothing listens on, with this port.
#[must_use]
pub fn test_addr(port: u16) -> PeerAddr {
    PeerAddr::from_socket_addr((Ipv4Addr::new(10, 0, 0, 1), port).into())
}

/// An operator's peer: test identity `number` at `test_addr(number)`.
#[must_use]
pub fn test_record(number: u16) -> PeerRecord {
    let mut record = PeerRecord::new(test_key(number), PeerSource::Operator);
    record.add_address(test_addr(number), AddressSource::Operator);
    record
}
