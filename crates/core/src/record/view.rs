//! A signed record at a glance: what is asked of it most, without reading its addresses.

use std::sync::Arc;

use prost::Message as _;

use super::{Content, SignedRecord, read_address, wire};
use crate::addr::AddrScope;
use crate::key::PeerKey;
use crate::packing::{Reader, put_number};

/// The scopes, each with its bit in the first byte of a packed record.
const SCOPES: [(AddrScope, u8); 6] = [
    (AddrScope::Dns, 0x04),
    (AddrScope::LinkLocal, 0x08),
    (AddrScope::Loopback, 0x10),
    (AddrScope::Private, 0x20),
    (AddrScope::Public, 0x40),
    (AddrScope::Unspecified, 0x80),
];
const LEAVING: u8 = 0x01;
/// It is kept with a peer that did not sign it; the key of who did follows.
const FOREIGN: u8 = 0x02;

/// What a signed record says, borrowed from where it is kept. Costs nothing to make and to copy.
#[derive(Clone, Copy, Debug)]
pub struct SignedView<'a> {
    key: PeerKey,
    seq: u64,
    /// As in the first byte of a packed record.
    marks: u8,
    envelope: &'a [u8],
    record: Option<&'a SignedRecord>,
}

impl<'a> SignedView<'a> {
    /// Who signed it, and whom it is about.
    #[must_use]
    pub const fn key(self) -> PeerKey {
        self.key
    }

    /// The owner's version number: of two records of one key the higher one counts.
    #[must_use]
    pub const fn seq(self) -> u64 {
        self.seq
    }

    /// True when the owner lists no address at all, of any transport.
    #[must_use]
    pub const fn is_leaving(self) -> bool {
        self.marks & LEAVING != 0
    }

    /// True when some address that can be dialled here has a scope that is `wanted`.
    #[must_use]
    pub fn has_scope(self, wanted: impl Fn(AddrScope) -> bool) -> bool {
        let here = SCOPES.iter().filter(|(_, bit)| self.marks & bit != 0);
        here.into_iter().any(|(scope, _)| wanted(*scope))
    }

    /// The signed bytes, exactly as received or made.
    #[must_use]
    pub const fn envelope(self) -> &'a [u8] {
        self.envelope
    }

    /// The record itself. `None` only for bytes that never were one: not for what a set hands out.
    #[must_use]
    pub fn to_record(self) -> Option<SignedRecord> {
        match self.record {
            Some(record) => Some(record.clone()),
            None => read_again(self.envelope, self.key),
        }
    }

    /// What [`SignedRecord::pack`] wrote for a peer: the marks, who signed it if it was somebody else, the number, the bytes.
    pub(crate) fn unpack(bytes: &'a [u8], owner: PeerKey) -> Option<Self> {
        let mut reader = Reader(bytes);
        let marks = reader.byte()?;
        let key = match marks & FOREIGN {
            0 => owner,
            _ => PeerKey::of_known(reader.array()?),
        };
        Some(Self {
            key,
            seq: reader.number()?,
            marks,
            envelope: reader.0,
            record: None,
        })
    }
}

/// A record from the bytes of one that was verified once: nothing in it is checked again.
fn read_again(bytes: &[u8], key: PeerKey) -> Option<SignedRecord> {
    let envelope = wire::Envelope::decode(bytes).ok()?;
    let payload = wire::PeerRecord::decode(&*envelope.payload).ok()?;
    let addresses = payload.addresses.iter();
    Some(SignedRecord(Arc::new(Content {
        key,
        seq: payload.seq,
        leaving: payload.addresses.is_empty(),
        addresses: addresses
            .filter_map(|info| read_address(&info.multiaddr, key))
            .collect(),
        envelope: bytes.into(),
    })))
}

impl SignedRecord {
    /// This record at a glance.
    #[must_use]
    pub fn view(&self) -> SignedView<'_> {
        SignedView {
            key: self.key(),
            seq: self.seq(),
            marks: self.marks(),
            envelope: self.envelope(),
            record: Some(self),
        }
    }

    fn marks(&self) -> u8 {
        let mut marks = if self.is_leaving() { LEAVING } else { 0 };
        for addr in self.addresses() {
            let scope = addr.scope();
            let bit = SCOPES.iter().find(|(known, _)| *known == scope);
            marks |= bit.map_or(0, |(_, bit)| *bit);
        }
        marks
    }

    /// Appends what [`SignedView::unpack`] reads, for a record that is kept with `owner`.
    pub(crate) fn pack(&self, owner: &PeerKey, out: &mut Vec<u8>) {
        let is_foreign = self.key() != *owner;
        out.push(self.marks() | if is_foreign { FOREIGN } else { 0 });
        if is_foreign {
            out.extend_from_slice(self.key().as_bytes());
        }
        put_number(self.seq(), out);
        out.extend_from_slice(self.envelope());
    }
}
