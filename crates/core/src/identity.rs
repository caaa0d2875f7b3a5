//! Secret keys, signing, and the seam behind which signatures are checked.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::error::ParseError;
use crate::key::{KeyBuffer, PeerId, PeerKey, decode_key_text};

/// libp2p's protobuf of an Ed25519 private key: field 1 (type) = 1, field 2 (data) of 64 bytes, seed then public half.
const PRIVATE_PREFIX: [u8; 4] = [0x08, 0x01, 0x12, 0x40];

/// An Ed25519 secret key. Wiped from memory on drop, never shown by `Debug`, without `Display`.
///
/// Text form: standard padded base64 of libp2p's 68-byte protobuf form, `CAESQ...`; a raw 32-byte seed is read as well.
#[derive(Clone)]
pub struct SecretKey {
    signing: SigningKey,
    public: PeerKey,
}

impl SecretKey {
    /// The key that follows from 32 random bytes.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        let signing = SigningKey::from_bytes(&seed);
        let public = PeerKey::of_signing_key(&signing);
        Self { signing, public }
    }

    /// The secret 32 bytes.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        self.signing.as_bytes()
    }

    /// The text form, for the key file only.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; 68]);
        let (prefix, halves) = bytes.split_at_mut(PRIVATE_PREFIX.len());
        let (seed, public) = halves.split_at_mut(32);
        prefix.copy_from_slice(&PRIVATE_PREFIX);
        seed.copy_from_slice(self.seed());
        public.copy_from_slice(self.public.as_bytes());
        Zeroizing::new(STANDARD.encode(&bytes[..]))
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> PeerKey {
        self.public
    }

    /// The peer id of the public half.
    #[must_use]
    pub const fn peer_id(&self) -> PeerId {
        self.public.peer_id()
    }

    /// The Ed25519 signature of `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signing.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(<redacted>)")
    }
}

impl FromStr for SecretKey {
    type Err = ParseError;

    /// No refusal repeats any part of the text.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = |reason: &str| ParseError::new("private key", reason);
        let mut buffer = KeyBuffer::default();
        let bytes = decode_key_text("private key", text, &mut buffer)?;
        if let Ok(seed) = <&[u8; 32]>::try_from(bytes) {
            return Ok(Self::from_seed(*seed));
        }
        match (bytes.len(), bytes.strip_prefix(&PRIVATE_PREFIX)) {
            (68, Some(halves)) => {
                let (seed, public) = halves.split_at(32);
                let seed = seed
                    .try_into()
                    .map_err(|_| refuse("expected a seed of 32 bytes"))?;
                let key = Self::from_seed(seed);
                if key.public.as_bytes() == public {
                    Ok(key)
                } else {
                    Err(refuse("its public half does not belong to its secret half"))
                }
            }
            (36, _) if bytes.starts_with(&[0x08, 0x01]) => {
                Err(refuse("this is a public key, not a private one"))
            }
            _ if matches!(bytes, [0x08, 0x00 | 0x02 | 0x03, 0x12, ..]) => {
                Err(refuse("only Ed25519 keys are supported"))
            }
            _ => Err(refuse(
                "expected libp2p's 68-byte form (CAESQ...) or a 32-byte seed, in base64",
            )),
        }
    }
}

/// True when `signature` is the signature of `message` by `key`, by the strict rules: no weak key, no weak nonce point,
/// no second encoding of a signature.
#[must_use]
pub fn verify(key: &PeerKey, message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(key.as_bytes()).is_ok_and(|key| {
        key.verify_strict(message, &Signature::from_bytes(signature))
            .is_ok()
    })
}

/// One question to a [`Verifier`].
#[derive(Clone, Copy, Debug)]
pub struct SignatureCheck<'a> {
    /// Who is said to have signed.
    pub key: &'a PeerKey,
    /// What is said to have been signed.
    pub message: &'a [u8],
    /// The signature.
    pub signature: &'a [u8; 64],
}

/// The seam behind which signatures are checked, so that a simulator of thousands of nodes can remember verdicts.
pub trait Verifier: Send + Sync + fmt::Debug {
    /// One verdict per check, in order, each the one that [`verify`] gives.
    fn verify_batch(&self, checks: &[SignatureCheck<'_>]) -> Vec<bool>;
}

/// Checks every signature on its own.
///
/// The usual batch equation is no substitute. It sums all equations with random weights, so errors that lie in the
/// small-order subgroup can cancel: whoever signs with a key or nonce that has such a part gets signatures that a batch
/// accepts at times and a single check refuses, and nodes would disagree for ever about the same record.
#[derive(Clone, Copy, Debug, Default)]
pub struct StrictVerifier;

impl Verifier for StrictVerifier {
    fn verify_batch(&self, checks: &[SignatureCheck<'_>]) -> Vec<bool> {
        checks
            .iter()
            .map(|check| verify(check.key, check.message, check.signature))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
    use curve25519_dalek::scalar::Scalar;

    use super::*;

    // Written by libp2p-identity 0.3.1 for the seed of 32 times 7.
    const TEXT: &str = "CAESQAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=";

    fn secret() -> SecretKey {
        SecretKey::from_seed([7; 32])
    }

    fn refusal(text: &str) -> String {
        text.parse::<SecretKey>().unwrap_err().to_string()
    }

    #[test]
    fn the_text_form_is_the_one_libp2p_writes() {
        assert_eq!(secret().to_base64().as_str(), TEXT);
        let read: SecretKey = TEXT.parse().unwrap();
        assert_eq!(
            (read.seed(), read.public(), read.peer_id()),
            (&[7; 32], secret().public(), secret().peer_id())
        );
    }

    #[test]
    fn a_raw_seed_is_read() {
        let read: SecretKey = STANDARD.encode([7; 32]).parse().unwrap();
        assert_eq!(read.public(), secret().public());
    }

    #[test]
    fn debug_output_shows_nothing_of_the_key() {
        assert_eq!(
            format!("{:?} {:#?}", secret(), Some(secret()))
                .matches("SecretKey(<redacted>)")
                .count(),
            2
        );
        assert!(!format!("{:?}", secret()).contains('7'));
    }

    #[test]
    fn bad_private_keys_are_refused_without_being_repeated() {
        let mut halves = STANDARD.decode(TEXT).unwrap();
        halves[67] ^= 1;
        for (bad, why) in [
            (STANDARD.encode(&halves), "does not belong"),
            (secret().public().to_string(), "this is a public key"),
            (
                STANDARD.encode([&[0x08, 0x02, 0x12, 0x20][..], &[9; 32]].concat()),
                "only Ed25519",
            ),
            (STANDARD.encode([9; 64]), "expected"),
            (STANDARD.encode([9; 31]), "expected"),
            (TEXT.trim_end_matches('=').to_owned(), "padded"),
            (format!("{TEXT} "), "white space"),
            (TEXT.replace('+', "-"), "URL alphabet"),
            (TEXT.repeat(2), "too long"),
            (String::new(), "empty"),
        ] {
            let refusal = refusal(&bad);
            assert!(refusal.contains(why), "{refusal}");
            assert!(
                bad.len() < 8 || !refusal.contains(&bad[bad.len() / 2..]),
                "{refusal}"
            );
        }
    }

    #[test]
    fn a_signature_is_good_for_its_key_and_message_only() {
        let signature = secret().sign(b"hello");
        assert!(verify(&secret().public(), b"hello", &signature));
        assert!(!verify(&secret().public(), b"hullo", &signature));
        assert!(!verify(
            &SecretKey::from_seed([8; 32]).public(),
            b"hello",
            &signature
        ));
        for bit in 0..512 {
            let mut flipped = signature;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&secret().public(), b"hello", &flipped), "bit {bit}");
        }
    }

    #[test]
    fn a_second_encoding_of_a_signature_is_refused() {
        // s + l, where l is the order of the base point: the same equation, other bytes.
        let order: [u8; 32] = {
            let mut bytes = (-Scalar::ONE).to_bytes();
            bytes[0] += 1;
            bytes
        };
        let mut signature = secret().sign(b"hello");
        let mut carry = 0;
        for (byte, add) in signature[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            [*byte, _] = sum.to_le_bytes();
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
        assert!(!verify(&secret().public(), b"hello", &signature));
    }

    #[test]
    fn a_weak_nonce_point_is_refused() {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&EIGHT_TORSION[1].compress().to_bytes());
        assert!(!verify(&secret().public(), b"hello", &signature));
    }

    #[test]
    fn a_batch_gives_the_verdicts_of_single_checks_also_for_mixed_order_keys() {
        let mixed = ED25519_BASEPOINT_POINT * Scalar::from(12_345_u64) + EIGHT_TORSION[1];
        let mixed = PeerKey::from_bytes(&mixed.compress().to_bytes()).unwrap();
        let (alice, bob) = (secret(), SecretKey::from_seed([8; 32]));
        let (key, other) = (alice.public(), bob.public());
        let (good, bad) = (alice.sign(b"m"), bob.sign(b"m"));
        let checks: Vec<SignatureCheck<'_>> =
            [(&key, &good), (&key, &bad), (&other, &bad), (&mixed, &good)]
                .into_iter()
                .map(|(key, signature)| SignatureCheck {
                    key,
                    message: b"m",
                    signature,
                })
                .collect();
        assert_eq!(
            StrictVerifier.verify_batch(&checks),
            [true, false, true, false]
        );
        assert!(StrictVerifier.verify_batch(&[]).is_empty());
    }

    #[test]
    fn every_seed_gives_a_key_that_our_own_check_accepts() {
        for seed in [[0; 32], [0xff; 32], [1; 32]] {
            let key = SecretKey::from_seed(seed).public();
            assert_eq!(PeerKey::from_bytes(key.as_bytes()), Ok(key));
        }
    }
}
