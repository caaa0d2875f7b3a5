//! Identities: public keys and peer ids. Parsing is validation, and one identity has one spelling.
//!
//! What is accepted here, libp2p accepts as the same identity. Two kinds that libp2p would take are refused: keys of
//! small order, under which anybody can forge signatures, and second encodings of one point, which would let one
//! identity appear as two.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use curve25519_dalek::edwards::CompressedEdwardsY;
use ed25519_dalek::SigningKey;

use crate::base58;
use crate::error::ParseError;
use crate::limits;

/// libp2p's protobuf of an Ed25519 public key: field 1 (type) = 1, field 2 (data) of 32 bytes.
const PUBLIC_PREFIX: [u8; 4] = [0x08, 0x01, 0x12, 0x20];

/// The identity multihash of 36 bytes, which is what a peer id of a short key is.
const IDENTITY_PREFIX: [u8; 2] = [0x00, 0x24];

/// The y coordinates of the eight points of small order, as curve25519-dalek's `EIGHT_TORSION` has them.
const WEAK_Y: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    // p - 1
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0x7f,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
];

/// Said whenever another kind of key is recognised.
const ONLY_ED25519: &str = "only Ed25519 keys are supported";

/// A valid, canonical Ed25519 public key that is not of small order: the identity of a peer.
///
/// Text form: standard padded base64 of libp2p's protobuf form, `CAESI...`. Raw 32-byte base64 is read as well.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerKey([u8; 32]);

impl Ord for PeerKey {
    /// The order of the bytes. Nearly always the first eight decide.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.start()
            .cmp(&other.start())
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for PeerKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PeerKey {
    /// The key with these raw bytes, if they are the canonical encoding of a point of large order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, ParseError> {
        // RFC 8032 section 5.1.3: y must be below p. The other second encoding, a negative zero x, exists only for
        // y = 1 and y = -1, and both of these points are of small order.
        if !y_is_reduced(bytes) {
            return Err(refuse("the encoding is not canonical"));
        }
        let point = CompressedEdwardsY(*bytes).decompress();
        match point {
            None => Err(refuse("not a point of the Ed25519 curve")),
            Some(point) if point.is_small_order() => {
                Err(refuse("weak key: a point of small order"))
            }
            Some(_) => Ok(Self(*bytes)),
        }
    }

    /// The key with these raw bytes, without the check that they are a point of the curve, which is nearly all the cost
    /// of [`from_bytes`](Self::from_bytes).
    ///
    /// Only for bytes that this program checked before it wrote them, where a checksum says that they did not change
    /// since. Whoever writes other bytes with a checksum that fits could as well have written another valid key, so
    /// nothing is lost: a key off the curve verifies no signature, and its peer can never prove it.
    ///
    /// # Errors
    /// The encoding is not canonical, or the point is of small order: what would let one identity appear as two, or let
    /// anybody sign for it, is refused here too.
    pub fn from_trusted_bytes(bytes: &[u8; 32]) -> Result<Self, ParseError> {
        if !y_is_reduced(bytes) {
            return Err(refuse("the encoding is not canonical"));
        }
        // The two points with one y are equally weak.
        let mut unsigned = *bytes;
        unsigned[31] &= 0x7f;
        if WEAK_Y.contains(&unsigned) {
            return Err(refuse("weak key: a point of small order"));
        }
        Ok(Self(*bytes))
    }

    /// Reads the text that [`Display`](fmt::Display) writes, and no other, on the terms of
    /// [`from_trusted_bytes`](Self::from_trusted_bytes).
    ///
    /// # Errors
    /// Not that text, or what [`from_trusted_bytes`](Self::from_trusted_bytes) refuses.
    pub fn from_trusted_text(text: &str) -> Result<Self, ParseError> {
        let mut bytes = [0; PUBLIC_PREFIX.len() + 32];
        let is_whole =
            matches!(STANDARD.decode_slice(text, &mut bytes), Ok(len) if len == bytes.len());
        match bytes.split_first_chunk() {
            Some((&PUBLIC_PREFIX, raw)) if is_whole => raw
                .try_into()
                .map_err(|_| refuse("expected 32 bytes"))
                .and_then(Self::from_trusted_bytes),
            _ => Err(refuse("not the text of a key that was written here")),
        }
    }

    /// The key with these bytes, which were taken from a key.
    pub(crate) const fn of_known(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The public half of `key`. Always valid: RFC 8032 makes secret scalars multiples of 8 below 8 times the order of
    /// the base point, so the product is neither the neutral element nor of small order, and it is encoded canonically.
    pub(crate) fn of_signing_key(key: &SigningKey) -> Self {
        Self(key.verifying_key().to_bytes())
    }

    /// The first bytes as a number that sorts as they do.
    fn start(&self) -> u64 {
        self.0
            .first_chunk()
            .map_or(0, |start| u64::from_be_bytes(*start))
    }

    /// The raw 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// libp2p's protobuf form.
    #[must_use]
    pub fn to_protobuf(&self) -> [u8; 36] {
        join(&PUBLIC_PREFIX, &self.0)
    }

    /// Reads libp2p's protobuf form: exactly the bytes that [`to_protobuf`](Self::to_protobuf) writes.
    pub fn from_protobuf(bytes: &[u8]) -> Result<Self, ParseError> {
        if let Some(raw) = bytes.strip_prefix(&PUBLIC_PREFIX) {
            let raw = raw
                .try_into()
                .map_err(|_| refuse(format!("{} bytes, expected 36", bytes.len())))?;
            return Self::from_bytes(raw);
        }
        match bytes {
            [0x08, 0x00 | 0x02 | 0x03, 0x12, ..] => Err(refuse(ONLY_ED25519)),
            _ => Err(refuse(
                "not libp2p's form of an Ed25519 key (36 bytes, starting 08 01 12 20)",
            )),
        }
    }

    /// The peer id of this key.
    #[must_use]
    pub const fn peer_id(self) -> PeerId {
        PeerId(self)
    }
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Base64Display::new(&self.to_protobuf(), &STANDARD).fmt(f)
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerKey({self})")
    }
}

impl FromStr for PeerKey {
    type Err = ParseError;

    /// No refusal repeats the text: somebody may have pasted a private key.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut buffer = KeyBuffer::default();
        let bytes = decode_key_text("public key", text, &mut buffer)?;
        match bytes.len() {
            32 => bytes
                .try_into()
                .map_err(|_| refuse("expected 32 bytes"))
                .and_then(Self::from_bytes),
            64 | 68 => Err(refuse(
                "this has the length of a private key; give the public key, CAESI...",
            )),
            _ => Self::from_protobuf(bytes),
        }
    }
}

/// The peer id of a [`PeerKey`]: libp2p's name for the same identity.
///
/// Text form: base58btc of the identity multihash, `12D3KooW...`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(PeerKey);

impl PeerId {
    /// The key this id names.
    #[must_use]
    pub const fn key(self) -> PeerKey {
        self.0
    }

    /// The multihash bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 38] {
        join(&IDENTITY_PREFIX, &self.0.to_protobuf())
    }

    /// Reads the multihash bytes: exactly what [`to_bytes`](Self::to_bytes) writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseError> {
        let refuse = |reason| ParseError::new("peer id", reason);
        match bytes {
            [0x00, 0x24, key @ ..] => PeerKey::from_protobuf(key)
                .map(Self)
                .map_err(|e| ParseError::new("peer id", e.reason)),
            [0x00, 0x25, 0x08, 0x02, ..] => Err(refuse(
                "a secp256k1 identity; only Ed25519 keys are supported",
            )),
            [0x12, 0x20, ..] if bytes.len() == 34 => Err(refuse(
                "the hash of a long key (RSA or ECDSA); only Ed25519 keys are supported",
            )),
            _ => Err(refuse("not the peer id of an Ed25519 key (12D3KooW...)")),
        }
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&base58::encode(&self.to_bytes()))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

impl From<PeerKey> for PeerId {
    fn from(key: PeerKey) -> Self {
        Self(key)
    }
}

impl FromStr for PeerId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        // The cost of base58 grows with the square of the length: the cap comes first.
        if text.len() > limits::MAX_PEER_ID_TEXT_BYTES {
            let reason = format!("{} bytes is too long for a peer id (52)", text.len());
            return Err(ParseError::new("peer id", reason));
        }
        if text.starts_with("CAESI") {
            return Err(ParseError::new(
                "peer id",
                "this is a public key; a peer id starts with 12D3KooW",
            ));
        }
        let bytes =
            base58::decode(text).ok_or_else(|| ParseError::new("peer id", "not base58btc"))?;
        Self::from_bytes(&bytes)
    }
}

/// Room for the longest text within [`limits::MAX_KEY_TEXT_BYTES`]. Wiped on drop, as it may hold a private key.
pub(crate) type KeyBuffer = zeroize::Zeroizing<KeyBytes>;

/// See [`KeyBuffer`].
pub(crate) struct KeyBytes([u8; limits::MAX_KEY_TEXT_BYTES]);

impl Default for KeyBytes {
    fn default() -> Self {
        Self([0; limits::MAX_KEY_TEXT_BYTES])
    }
}

impl zeroize::Zeroize for KeyBytes {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

/// Decodes canonical base64 of a public or private key into `buffer`. No refusal repeats the text.
pub(crate) fn decode_key_text<'a>(
    what: &'static str,
    text: &str,
    buffer: &'a mut KeyBuffer,
) -> Result<&'a [u8], ParseError> {
    let refuse = |reason: &str| Err(ParseError::new(what, reason));
    if text.is_empty() {
        return refuse("empty");
    }
    if text.len() > limits::MAX_KEY_TEXT_BYTES {
        return Err(ParseError::new(
            what,
            format!("{} bytes is too long; {ONLY_ED25519}", text.len()),
        ));
    }
    if text.starts_with("12D3KooW") && text.len() == 52 {
        return refuse("this is a peer id; a key is written in base64");
    }
    if let Ok(len) = STANDARD.decode_slice(text, &mut buffer.0) {
        return Ok(&buffer.0[..len]);
    }
    if text.contains(char::is_whitespace) {
        refuse("contains white space")
    } else if text.contains(['-', '_']) {
        refuse("written in the URL alphabet; standard base64 is needed")
    } else if !text.len().is_multiple_of(4) {
        refuse("not padded base64: the length is not a multiple of 4")
    } else {
        refuse("not canonical base64")
    }
}

/// A refusal of a public key.
fn refuse(reason: impl Into<String>) -> ParseError {
    ParseError::new("public key", reason)
}

/// True when the y coordinate (little-endian, without the sign bit of x) is below p = 2^255 - 19.
fn y_is_reduced(bytes: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = bytes;
    *first < 0xed || last & 0x7f != 0x7f || middle.iter().any(|byte| *byte != 0xff)
}

/// `head` followed by `tail`; the three lengths agree at every call.
fn join<const N: usize, const HEAD: usize, const TAIL: usize>(
    head: &[u8; HEAD],
    tail: &[u8; TAIL],
) -> [u8; N] {
    const { assert!(HEAD + TAIL == N) };
    let mut joined = [0; N];
    let (start, end) = joined.split_at_mut(HEAD);
    start.copy_from_slice(head);
    end.copy_from_slice(tail);
    joined
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;

    use super::*;
    use crate::rng::SeededRng;

    // Written by libp2p-identity 0.3.1 for the seed of 32 times 7.
    const TEXT: &str = "CAESIOpKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs";
    const ID: &str = "12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7";

    fn key() -> PeerKey {
        PeerKey::of_signing_key(&SigningKey::from_bytes(&[7; 32]))
    }

    fn refusal<T: FromStr<Err = ParseError> + fmt::Debug>(text: &str) -> String {
        text.parse::<T>().unwrap_err().to_string()
    }

    #[test]
    fn text_and_id_are_the_ones_libp2p_writes() {
        assert_eq!(
            (
                key().to_string().as_str(),
                key().peer_id().to_string().as_str()
            ),
            (TEXT, ID)
        );
        assert_eq!(TEXT.parse(), Ok(key()));
        assert_eq!(ID.parse(), Ok(key().peer_id()));
        assert_eq!(
            format!("{:?} {:?}", key(), key().peer_id()),
            format!("PeerKey({TEXT}) PeerId({ID})")
        );
    }

    #[test]
    fn raw_base64_is_read_and_written_in_the_canonical_form() {
        let raw = STANDARD.encode(key().as_bytes());
        assert_eq!(raw.parse::<PeerKey>().unwrap().to_string(), TEXT);
    }

    #[test]
    fn every_binary_form_reads_back_and_nothing_else_does() {
        let key = key();
        assert_eq!(PeerKey::from_protobuf(&key.to_protobuf()), Ok(key));
        assert_eq!(
            PeerId::from_bytes(&key.peer_id().to_bytes()),
            Ok(key.peer_id())
        );
        assert_eq!(
            (key.peer_id().key(), PeerId::from(key)),
            (key, key.peer_id())
        );
        let id = key.peer_id().to_bytes();
        for len in 0..id.len() {
            assert!(PeerId::from_bytes(&id[..len]).is_err());
            assert!(PeerKey::from_protobuf(&id[..len]).is_err());
        }
        assert!(PeerId::from_bytes(&[&id[..], &[0]].concat()).is_err());
        assert!(PeerKey::from_protobuf(&[&id[2..], &[0]].concat()).is_err());
    }

    #[test]
    fn weak_keys_are_refused_in_every_encoding() {
        for point in EIGHT_TORSION {
            let bytes = point.compress().to_bytes();
            assert!(
                PeerKey::from_bytes(&bytes)
                    .unwrap_err()
                    .reason
                    .contains("weak")
            );
            let mut negated = bytes;
            negated[31] ^= 0x80;
            assert!(PeerKey::from_bytes(&negated).is_err());
        }
    }

    #[test]
    fn exactly_the_bytes_that_survive_a_round_trip_through_the_curve_are_canonical() {
        let mut candidates: Vec<[u8; 32]> = Vec::new();
        for low in 0..=u8::MAX {
            for last in [0x7f, 0xff, 0x00, 0x80] {
                let mut bytes = [if last & 1 == 1 { 0xff } else { 0 }; 32];
                (bytes[0], bytes[31]) = (low, last);
                candidates.push(bytes);
            }
        }
        let mut rng = SeededRng::from_seed(1);
        candidates
            .extend((0..500).map(|_| std::array::from_fn(|_| rng.next_u64().to_le_bytes()[0])));
        let mut accepted = 0;
        for bytes in candidates {
            let point = CompressedEdwardsY(bytes).decompress();
            let valid =
                point.is_some_and(|p| p.compress().to_bytes() == bytes && !p.is_small_order());
            assert_eq!(PeerKey::from_bytes(&bytes).is_ok(), valid, "{bytes:02x?}");
            accepted += u32::from(valid);
        }
        assert!(accepted > 500);
    }

    #[test]
    fn keys_sort_as_their_bytes() {
        let mut rng = SeededRng::from_seed(3);
        for _ in 0..1000 {
            // Few different bytes, so that keys agree in many of their first ones.
            let mut key = || {
                PeerKey(std::array::from_fn(|_| {
                    (rng.next_u64() % 8 / 7).to_le_bytes()[0]
                }))
            };
            let (one, other) = (key(), key());
            assert_eq!(one.cmp(&other), one.0.cmp(&other.0));
            assert_eq!(one.partial_cmp(&other), one.0.partial_cmp(&other.0));
        }
    }

    #[test]
    fn trust_spares_the_curve_and_nothing_else() {
        let mut seen = std::collections::BTreeSet::new();
        for point in EIGHT_TORSION {
            for sign in [0, 0x80] {
                let mut bytes = point.compress().to_bytes();
                bytes[31] ^= sign;
                assert!(PeerKey::from_trusted_bytes(&bytes).is_err());
                bytes[31] &= 0x7f;
                seen.insert(bytes);
            }
        }
        assert_eq!(seen, WEAK_Y.into_iter().collect());
        for low in 0xed..=0xff {
            let mut bytes = [0xff; 32];
            bytes[0] = low;
            assert!(PeerKey::from_trusted_bytes(&bytes).is_err(), "above p");
        }
        let mut off_curve = [0; 32];
        off_curve[0] = 2;
        assert!(PeerKey::from_bytes(&off_curve).is_err());
        assert!(PeerKey::from_trusted_bytes(&off_curve).is_ok());
        assert_eq!(PeerKey::from_trusted_text(TEXT), Ok(key()));
        let raw = STANDARD.encode(key().as_bytes());
        let cut = &TEXT[..44];
        for other in [
            raw.as_str(),
            cut,
            "",
            &TEXT.repeat(2),
            &TEXT.replace("CAES", "CAEB"),
        ] {
            assert!(PeerKey::from_trusted_text(other).is_err(), "{other}");
        }
    }

    #[test]
    fn bytes_off_the_curve_are_refused() {
        let mut bytes = [0; 32];
        bytes[0] = 2;
        assert!(
            PeerKey::from_bytes(&bytes)
                .unwrap_err()
                .reason
                .contains("curve")
        );
    }

    #[test]
    fn second_spellings_of_a_key_are_refused() {
        let raw = STANDARD.encode(key().as_bytes());
        let trailing_bits = format!("{}t=", &raw[..42]);
        for (bad, why) in [
            (format!(" {TEXT}"), "white space"),
            (format!("{TEXT}\n"), "white space"),
            (raw.trim_end_matches('=').to_owned(), "padded"),
            (trailing_bits, "canonical"),
            (TEXT.replace('O', "-"), "URL alphabet"),
            (format!("{}====", &TEXT[..44]), "canonical"),
            (String::new(), "empty"),
            (TEXT.repeat(3), "too long"),
            (ID.to_owned(), "peer id"),
        ] {
            let refusal = refusal::<PeerKey>(&bad);
            assert!(refusal.contains(why), "{bad:?}: {refusal}");
        }
    }

    #[test]
    fn other_kinds_of_key_are_named_in_the_refusal() {
        let secp = STANDARD.encode([&[0x08, 0x02, 0x12, 0x21][..], &[2; 33]].concat());
        let ecdsa = STANDARD.encode([&[0x08, 0x03, 0x12, 0x5b][..], &[2; 91]].concat());
        let rsa = STANDARD.encode([&[0x08, 0x00, 0x12, 0xa6, 0x02][..], &[2; 294]].concat());
        for text in [secp, ecdsa, rsa] {
            assert!(refusal::<PeerKey>(&text).contains("only Ed25519"));
        }
    }

    #[test]
    fn a_private_key_given_as_public_is_recognised_and_never_repeated() {
        for len in [64, 68] {
            let text = STANDARD.encode(
                [&[0x08, 0x01, 0x12, 0x40][..], &[0x5a; 64]]
                    .concat()
                    .split_off(68 - len),
            );
            let refusal = refusal::<PeerKey>(&text);
            assert!(
                refusal.contains("private key") && !refusal.contains(&text[8..16]),
                "{refusal}"
            );
        }
    }

    #[test]
    fn other_kinds_of_peer_id_are_refused_with_their_reason() {
        let secp = bs58::encode([&[0x00, 0x25, 0x08, 0x02, 0x12, 0x21][..], &[2; 33]].concat())
            .into_string();
        for (text, why) in [
            (
                "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
                "only Ed25519",
            ),
            (secp.as_str(), "secp256k1"),
            (TEXT, "public key"),
            ("12D3KooW", "not the peer id"),
            ("", "not the peer id"),
            ("0OIl", "base58btc"),
            (
                "12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7 ",
                "base58btc",
            ),
            (
                "112D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7",
                "not the peer id",
            ),
        ] {
            let refusal = refusal::<PeerId>(text);
            assert!(refusal.contains(why), "{text}: {refusal}");
        }
        assert!(refusal::<PeerId>(&"1".repeat(1_000_000)).contains("too long"));
    }

    #[test]
    fn arbitrary_text_never_panics() {
        for text in ["é", "\u{0}", "CAESI", "====", "CAESIé", &"z".repeat(128)] {
            assert!(text.parse::<PeerKey>().is_err());
            assert!(text.parse::<PeerId>().is_err());
        }
    }
}
