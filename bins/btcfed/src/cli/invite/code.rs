//! The text of an invite: bech32m of version, expiry, network, federation, contacts and a signature over them.

use bech32::{Bech32m, Hrp};
use btcfed_core::addr::PeerAddr;
use btcfed_core::config::BitcoinNetwork;
use btcfed_core::identity::{SecretKey, verify};
use btcfed_core::key::PeerKey;
use btcfed_core::time::Timestamp;

/// What every invite begins with; the digit 1 after it belongs to bech32.
const PREFIX: &str = "btcfed";

/// The form that this program writes and reads.
const VERSION: u8 = 1;

/// Signed before the bytes, so that no other signature of the node can be passed off as one of an invite.
const DOMAIN: &[u8] = b"btcfed-invite-v1:";

const SIGNATURE_BYTES: usize = 64;

/// Longest text that is read: bech32m finds errors in no longer ones.
const MAX_TEXT_BYTES: usize = 1023;

/// Addresses of one contact.
pub(super) const MAX_ADDRESSES: usize = 2;

/// Somebody who can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Contact {
    pub(in crate::cli) key: PeerKey,
    pub(in crate::cli) addresses: Vec<PeerAddr>,
}

/// What an invite says. The first contact is who issued and signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Invite {
    pub(in crate::cli) expires: Timestamp,
    pub(in crate::cli) network: BitcoinNetwork,
    pub(in crate::cli) federation: String,
    pub(in crate::cli) contacts: Vec<Contact>,
}

impl Invite {
    /// True for what is meant as an invite, right or wrong.
    pub(in crate::cli) fn looks_like_one(text: &str) -> bool {
        let start = text.trim().get(..=PREFIX.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case("btcfed1"))
    }

    /// The text, in capitals: QR codes need a third less room for them.
    pub(super) fn encode(&self, secret: &SecretKey) -> Result<String, String> {
        let mut bytes = self.payload()?;
        let signature = secret.sign(&signed(&bytes));
        bytes.extend_from_slice(&signature);
        let hrp = Hrp::parse(PREFIX).map_err(|error| error.to_string())?;
        bech32::encode_upper::<Bech32m>(hrp, &bytes)
            .map_err(|_| "too long: name fewer contacts or addresses".to_owned())
    }

    /// Reads a text. White space and line breaks of mail programs are ignored.
    pub(in crate::cli) fn decode(text: &str) -> Result<Self, String> {
        let text: String = text.split_whitespace().collect();
        if text.len() > MAX_TEXT_BYTES {
            return Err("longer than any invite".to_owned());
        }
        let damaged = "damaged: a character is wrong, missing or too many; copy it again";
        let parsed = bech32::primitives::decode::CheckedHrpstring::new::<Bech32m>(&text)
            .map_err(|_| damaged.to_owned())?;
        if !parsed.hrp().as_str().eq_ignore_ascii_case(PREFIX) {
            return Err("not an invite of btcfed".to_owned());
        }
        let bytes: Vec<u8> = parsed.byte_iter().collect();
        if bytes.first() != Some(&VERSION) {
            return Err("made by a newer version: upgrade btcfed".to_owned());
        }
        let at = bytes.len().saturating_sub(SIGNATURE_BYTES);
        let (payload, signature) = bytes.split_at(at);
        let signature: &[u8; SIGNATURE_BYTES] =
            signature.try_into().map_err(|_| damaged.to_owned())?;
        let invite = Reader(payload).invite().ok_or(damaged)?;
        let issuer = invite.contacts.first().ok_or(damaged)?;
        if !verify(&issuer.key, &signed(payload), signature) {
            return Err("forged: its contents are not what its issuer signed".to_owned());
        }
        Ok(invite)
    }

    fn payload(&self) -> Result<Vec<u8>, String> {
        let short = |length: usize, what: &str| {
            u8::try_from(length).map_err(|_| format!("too many {what}"))
        };
        let network = BitcoinNetwork::ALL
            .iter()
            .position(|known| *known == self.network)
            .unwrap_or(0);
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.expires.as_secs().to_be_bytes()[3..]);
        bytes.push(short(network, "networks")?);
        bytes.push(short(
            self.federation.len(),
            "letters in the federation id",
        )?);
        bytes.extend_from_slice(self.federation.as_bytes());
        bytes.push(short(self.contacts.len(), "contacts")?);
        for contact in &self.contacts {
            bytes.extend_from_slice(contact.key.as_bytes());
            bytes.push(short(contact.addresses.len(), "addresses")?);
            for addr in &contact.addresses {
                let addr = addr.to_bytes();
                bytes.push(short(addr.len(), "letters in an address")?);
                bytes.extend_from_slice(&addr);
            }
        }
        Ok(bytes)
    }
}

fn signed(payload: &[u8]) -> Vec<u8> {
    [DOMAIN, payload].concat()
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn invite(mut self) -> Option<Invite> {
        let _version = self.byte()?;
        let mut seconds = [0; 8];
        seconds[3..].copy_from_slice(self.take(5)?);
        let network = *BitcoinNetwork::ALL.get(usize::from(self.byte()?))?;
        let federation = String::from_utf8(self.short()?.to_vec()).ok()?;
        if federation.contains(char::is_control) {
            return None;
        }
        let mut contacts = Vec::new();
        for _ in 0..self.byte()? {
            let key = PeerKey::from_bytes(self.take(32)?.try_into().ok()?).ok()?;
            let mut addresses = Vec::new();
            for _ in 0..self.byte()? {
                addresses.push(PeerAddr::from_bytes(self.short()?).ok()?);
            }
            contacts.push(Contact { key, addresses });
        }
        let expires = Timestamp::from_secs(u64::from_be_bytes(seconds));
        self.0.is_empty().then_some(Invite {
            expires,
            network,
            federation,
            contacts,
        })
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn short(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.byte()?);
        self.take(length)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Invite, SecretKey) {
        let secret = SecretKey::from_seed([1; 32]);
        let contact = |key, text: &str| Contact {
            key,
            addresses: vec![text.parse().unwrap()],
        };
        let other = SecretKey::from_seed([2; 32]).public();
        let invite = Invite {
            expires: Timestamp::from_secs(1_800_000_000),
            network: BitcoinNetwork::ALL[2],
            federation: "alpha".into(),
            contacts: vec![
                contact(secret.public(), "/ip4/203.0.113.7/tcp/9000"),
                contact(other, "/dns4/node2.example.com/tcp/9000"),
            ],
        };
        (invite, secret)
    }

    #[test]
    fn an_invite_survives_its_text_in_any_case_and_with_line_breaks() {
        let (invite, secret) = sample();
        let text = invite.encode(&secret).unwrap();
        assert!(
            text.starts_with("BTCFED1") && text.len() < 400,
            "{}",
            text.len()
        );
        assert!(Invite::looks_like_one(&text) && !Invite::looks_like_one("12D3KooW"));
        let (head, tail) = text.split_at(50);
        for text in [
            text.clone(),
            text.to_lowercase(),
            format!(" {head}\r\n  {tail}\n"),
        ] {
            assert_eq!(Invite::decode(&text).unwrap(), invite);
        }
    }

    #[test]
    fn every_changed_character_and_every_cut_is_noticed() {
        let (invite, secret) = sample();
        let text = invite.encode(&secret).unwrap();
        for at in 0..text.len() {
            let letter = if &text[at..=at] == "Q" { "P" } else { "Q" };
            let changed = format!("{}{letter}{}", &text[..at], &text[at + 1..]);
            assert!(Invite::decode(&changed).is_err(), "{at}");
            assert!(Invite::decode(&text[..at]).is_err(), "{at}");
        }
    }

    #[test]
    fn a_forger_who_repairs_the_checksum_is_noticed_too() {
        let (invite, _) = sample();
        let forged = invite.encode(&SecretKey::from_seed([3; 32])).unwrap();
        assert!(Invite::decode(&forged).unwrap_err().starts_with("forged"));
    }

    #[test]
    fn nonsense_never_panics() {
        let hrp = Hrp::parse(PREFIX).unwrap();
        let (invite, _) = sample();
        let good = invite.payload().unwrap();
        for end in 0..good.len() {
            for bytes in [good[..end].to_vec(), [&good[..end], &[255; 80]].concat()] {
                let text = bech32::encode_upper::<Bech32m>(hrp, &bytes).unwrap();
                assert!(Invite::decode(&text).is_err());
            }
        }
        for text in [
            "",
            "btcfed1",
            "BTCFED1Q",
            "\u{e9}\u{e9}\u{e9}\u{e9}",
            &"Q".repeat(5000),
        ] {
            assert!(Invite::decode(text).is_err());
            assert!(!Invite::looks_like_one("\u{e9}\u{e9}\u{e9}\u{e9}"));
        }
    }
}
