//! A signed record at a glance: what is asked of it most, without reading its addresses.

use super::SignedRecord;
use crate::addr::AddrScope;
use crate::key::PeerKey;

/// What a signed record says, borrowed from where it is kept. Costs nothing to make and to copy.
#[derive(Clone, Copy, Debug)]
pub struct SignedView<'a>(&'a SignedRecord);

impl<'a> SignedView<'a> {
    /// Who signed it, and whom it is about.
    #[must_use]
    pub fn key(self) -> PeerKey {
        self.0.key()
    }

    /// The owner's version number: of two records of one key the higher one counts.
    #[must_use]
    pub fn seq(self) -> u64 {
        self.0.seq()
    }

    /// True when the owner lists no address at all, of any transport.
    #[must_use]
    pub fn is_leaving(self) -> bool {
        self.0.is_leaving()
    }

    /// True when some address that can be dialled here has a scope that is `wanted`.
    #[must_use]
    pub fn has_scope(self, wanted: impl Fn(AddrScope) -> bool) -> bool {
        let mut scopes = self.0.addresses().iter().map(|addr| addr.scope());
        scopes.any(wanted)
    }

    /// The signed bytes, exactly as received or made.
    #[must_use]
    pub fn envelope(self) -> &'a [u8] {
        self.0.envelope()
    }

    /// The record itself.
    #[must_use]
    pub fn to_record(self) -> Option<SignedRecord> {
        Some(self.0.clone())
    }
}

impl SignedRecord {
    /// This record at a glance.
    #[must_use]
    pub const fn view(&self) -> SignedView<'_> {
        SignedView(self)
    }
}
