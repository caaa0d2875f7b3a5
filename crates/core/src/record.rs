//! Signed peer records: what a peer says about its own addresses, provable to anybody, alterable by nobody.
//!
//! The form is libp2p's signed envelope in its interoperable spelling (RFC 0002 and 0003 of libp2p/specs: domain
//! `libp2p-peer-record`, payload type 0x0301), so that go and js nodes read the same bytes.
//!
//! An envelope may carry protobuf fields unknown here, and those outside the payload are not covered by the signature.
//! Identity of a record is therefore (key, seq), never the envelope bytes.

mod error;
mod view;
mod wire;

use std::fmt;
use std::sync::Arc;

use prost::Message as _;

pub use self::error::RecordError;
pub use self::view::SignedView;

use crate::addr::{AddrWithId, PeerAddr};
use crate::error::ParseError;
use crate::identity::{SecretKey, SignatureCheck, Verifier};
use crate::key::{PeerId, PeerKey};
use crate::limits;

/// The domain that separates these signatures from all others made with the same key.
const DOMAIN: &[u8] = b"libp2p-peer-record";

/// The multicodec `libp2p-peer-record`, as varint.
const PAYLOAD_TYPE: [u8; 2] = [0x03, 0x01];

/// libp2p's number for Ed25519 keys.
const ED25519: i32 = 1;

/// A verified record. Cheap to clone. Two are equal when their envelopes are the same bytes.
#[derive(Clone)]
pub struct SignedRecord(Arc<Content>);

/// What a record says, and its bytes.
struct Content {
    key: PeerKey,
    seq: u64,
    leaving: bool,
    addresses: Box<[PeerAddr]>,
    envelope: Box<[u8]>,
}

impl SignedRecord {
    /// Signs the record that says: I, with this version of my record, am reachable at these addresses. No address at all
    /// means that the peer is leaving.
    pub fn sign(secret: &SecretKey, seq: u64, addresses: &[PeerAddr]) -> Result<Self, RecordError> {
        let too_large = |bytes| RecordError::OwnRecordTooLarge {
            addresses: addresses.len(),
            bytes,
        };
        if addresses.len() > limits::MAX_RECORD_ADDRESSES {
            return Err(too_large(0));
        }
        if let Some(addr) = addresses.iter().find(|addr| !addr.is_dialable()) {
            return Err(RecordError::OwnAddressNotDialable { addr: addr.clone() });
        }
        let key = secret.public();
        let payload = wire::PeerRecord {
            peer_id: key.peer_id().to_bytes().to_vec(),
            seq,
            addresses: addresses
                .iter()
                .map(|addr| wire::AddressInfo {
                    multiaddr: addr.to_bytes(),
                })
                .collect(),
        }
        .encode_to_vec();
        let envelope = wire::Envelope {
            public_key: Some(wire::PublicKey {
                kind: ED25519,
                data: key.as_bytes().to_vec(),
            }),
            payload_type: PAYLOAD_TYPE.to_vec(),
            signature: secret.sign(&signed_message(&payload)).to_vec(),
            payload,
        }
        .encode_to_vec();
        if envelope.len() > limits::MAX_RECORD_BYTES {
            return Err(too_large(envelope.len()));
        }
        let (leaving, addresses) = (addresses.is_empty(), addresses.into());
        Ok(Self(Arc::new(Content {
            key,
            seq,
            leaving,
            addresses,
            envelope: envelope.into(),
        })))
    }

    /// Who signed it, and whom it is about.
    #[must_use]
    pub fn key(&self) -> PeerKey {
        self.0.key
    }

    /// The peer id of [`key`](Self::key).
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.0.key.peer_id()
    }

    /// The owner's version number: of two records of one key the higher one counts.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.0.seq
    }

    /// The addresses that can be dialled here, in the owner's order. Those of other transports are left out.
    #[must_use]
    pub fn addresses(&self) -> &[PeerAddr] {
        &self.0.addresses
    }

    /// The signed bytes, exactly as received or made.
    #[must_use]
    pub fn envelope(&self) -> &[u8] {
        &self.0.envelope
    }

    /// True when this record takes the place of `known`, another one of the same key: the higher number counts. An owner
    /// that signs two records with one number leaves everybody with the one whose signed bytes are the smaller ones.
    #[must_use]
    pub fn supersedes(&self, known: &Self) -> bool {
        self.seq() > known.seq() || self.contradicts(known) && self.payload() < known.payload()
    }

    /// True when the owner signed this record and `other` with one number: the same key and number, and different bytes
    /// below the signature. Bytes outside of the signature prove nothing about the owner.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        self.key() == other.key()
            && self.seq() == other.seq()
            && self.envelope() != other.envelope()
            && self.payload() != other.payload()
    }

    /// The bytes that are signed.
    fn payload(&self) -> Vec<u8> {
        wire::Envelope::decode(self.envelope()).map_or_else(|_| Vec::new(), |e| e.payload)
    }

    /// True when the owner lists no address at all, of any transport.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.0.leaving
    }
}

impl PartialEq for SignedRecord {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.envelope == other.0.envelope
    }
}

impl Eq for SignedRecord {}

impl fmt::Debug for SignedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedRecord")
            .field("key", &self.0.key)
            .field("seq", &self.0.seq)
            .field("addresses", &self.0.addresses)
            .finish_non_exhaustive()
    }
}

/// A well-formed record whose signature was not checked yet. Good for one decision only: whether checking is worth it.
#[derive(Clone, Debug)]
pub struct UnverifiedRecord {
    record: SignedRecord,
    message: Vec<u8>,
    signature: [u8; 64],
}

impl UnverifiedRecord {
    /// Reads an envelope. Costs no signature check; fields unknown here are skipped but stay in the kept bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        Self::decode_of(bytes, None)
    }

    /// [`decode`](Self::decode) of an envelope that `owner` is expected to have signed. That it has is for the caller to
    /// check; when it has, its key, which is known to be valid, is not checked a second time.
    pub fn decode_of(bytes: &[u8], owner: Option<PeerKey>) -> Result<Self, RecordError> {
        if bytes.len() > limits::MAX_RECORD_BYTES {
            return Err(RecordError::TooLarge { bytes: bytes.len() });
        }
        let envelope = wire::Envelope::decode(bytes).map_err(|e| malformed(e.to_string()))?;
        if envelope.payload_type != PAYLOAD_TYPE {
            return Err(RecordError::WrongPayloadType);
        }
        let key = read_key(
            envelope
                .public_key
                .as_ref()
                .ok_or_else(|| malformed("no public key"))?,
            owner,
        )?;
        let signature = envelope
            .signature
            .as_slice()
            .try_into()
            .map_err(|_| malformed("the signature is not 64 bytes long"))?;
        let payload =
            wire::PeerRecord::decode(&*envelope.payload).map_err(|e| malformed(e.to_string()))?;
        if payload.peer_id != key.peer_id().to_bytes() {
            return Err(RecordError::ForeignPeerId { signer: key });
        }
        if payload.addresses.len() > limits::MAX_RECORD_ADDRESSES {
            return Err(RecordError::TooManyAddresses {
                count: payload.addresses.len(),
            });
        }
        let record = SignedRecord(Arc::new(Content {
            key,
            seq: payload.seq,
            leaving: payload.addresses.is_empty(),
            addresses: payload
                .addresses
                .iter()
                .filter_map(|info| read_address(&info.multiaddr, key))
                .collect(),
            envelope: bytes.into(),
        }));
        Ok(Self {
            record,
            message: signed_message(&envelope.payload),
            signature,
        })
    }

    /// Who is said to have signed it.
    #[must_use]
    pub fn key(&self) -> PeerKey {
        self.record.0.key
    }

    /// The version number it claims.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.record.0.seq
    }

    /// The bytes it was read from.
    #[must_use]
    pub fn envelope(&self) -> &[u8] {
        &self.record.0.envelope
    }

    /// True when it has the number of `known`, a record of the same key, and different bytes below the signature: if the
    /// signature holds, the owner contradicts itself.
    #[must_use]
    pub fn contradicts(&self, known: &SignedRecord) -> bool {
        self.record.contradicts(known)
    }

    /// True when it would take the place of `known` if its signature holds.
    #[must_use]
    pub fn would_supersede(&self, known: &SignedRecord) -> bool {
        self.record.supersedes(known)
    }

    /// Checks the signature.
    pub fn verify(self, verifier: &dyn Verifier) -> Result<SignedRecord, RecordError> {
        let verdicts = verifier.verify_batch(&[self.check()]);
        self.conclude(verdicts.first().copied())
    }

    fn check(&self) -> SignatureCheck<'_> {
        SignatureCheck {
            key: &self.record.0.key,
            message: &self.message,
            signature: &self.signature,
        }
    }

    /// A missing verdict counts as a bad one.
    fn conclude(self, verdict: Option<bool>) -> Result<SignedRecord, RecordError> {
        match verdict {
            Some(true) => Ok(self.record),
            Some(false) | None => Err(RecordError::BadSignature {
                key: self.record.0.key,
            }),
        }
    }
}

/// Checks the signatures of many records at once: one result per record, in order.
pub fn verify_all(
    records: Vec<UnverifiedRecord>,
    verifier: &dyn Verifier,
) -> Vec<Result<SignedRecord, RecordError>> {
    let checks: Vec<SignatureCheck<'_>> = records.iter().map(UnverifiedRecord::check).collect();
    let mut verdicts = verifier.verify_batch(&checks).into_iter();
    records
        .into_iter()
        .map(|record| record.conclude(verdicts.next()))
        .collect()
}

fn malformed(reason: impl Into<String>) -> RecordError {
    RecordError::Malformed {
        reason: reason.into(),
    }
}

fn read_key(key: &wire::PublicKey, owner: Option<PeerKey>) -> Result<PeerKey, RecordError> {
    let refuse = |reason: &str| RecordError::UnsupportedKey(ParseError::new("public key", reason));
    if key.kind != ED25519 {
        return Err(refuse("only Ed25519 keys are supported"));
    }
    let raw = key
        .data
        .as_slice()
        .try_into()
        .map_err(|_| refuse("not 32 bytes long"))?;
    if let Some(owner) = owner.filter(|owner| owner.as_bytes() == raw) {
        return Ok(owner);
    }
    PeerKey::from_bytes(raw).map_err(RecordError::UnsupportedKey)
}

/// The address, if it can be dialled here and, where it names a peer, names the signer.
fn read_address(bytes: &[u8], signer: PeerKey) -> Option<PeerAddr> {
    let AddrWithId { addr, peer_id } = AddrWithId::from_bytes(bytes).ok()?;
    let is_own = peer_id.is_none_or(|id| id.key() == signer);
    (is_own && addr.is_dialable()).then_some(addr)
}

/// What is signed: domain, payload type and payload, each after its length as varint (RFC 0002).
fn signed_message(payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(payload.len() + 32);
    for part in [DOMAIN, &PAYLOAD_TYPE, payload] {
        prost::encoding::encode_varint(u64::try_from(part.len()).unwrap_or(u64::MAX), &mut message);
        message.extend_from_slice(part);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::identity::StrictVerifier;
    use crate::rng::SeededRng;

    /// Envelopes written by libp2p-core 0.44.0 (`PeerRecord::new_interop`) for the seed of 32 times 7.
    const SEQ: u64 = 1_795_200_776;
    const GOLDEN: &str = concat!(
        "0a2408011220ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c120203011a540a2600240801",
        "1220ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c1088ae82d8061a0a0a0804c000020106",
        "23281a180a1636116e6f6465312e6578616d706c652e636f6d0623282a407439eac017f87ed96d3a1d968b42da47f9355298",
        "1782497b5ef9c7162139700915987463132fe1c2923b598b90cdba4b4738508b0e0ad1af6aabfc0a86dc1f01",
    );
    const GOLDEN_MIXED: &str = concat!(
        "0a2408011220ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c120203011a630a2600240801",
        "1220ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c1088ae82d8061a0a0a0804c000020106",
        "23281a0d0a0b04c000020191022328cd031a180a162920010db80000000000000000000000010601bbde032a406c71b8cae9",
        "8f3bf04ae3b582757aff3d7886f1cc7c17189e11e96db6b03590df4d1276a015d41422a7754f5d534d09ffe41ba65421d7e1",
        "075e7733024cbd1f00",
    );
    const GOLDEN_EMPTY: &str = concat!(
        "0a2408011220ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c120203011a2e0a2600240801",
        "1220ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c1088ae82d8062a4041c528ab537d77ed",
        "38540b8f24069a66c161d9c88ada54ee4b0181e7c90518a76916e2aeb0fe5e7945c59f077ed203de4e5a64e9497df05a612a",
        "5cc34018130d",
    );
    const GOLDEN_LEGACY: &str = concat!(
        "0a2408011220ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c121c2f6c69627032702f726f",
        "7574696e672d73746174652d7265636f72641a3a0a260024080112",
        "20ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c1088ae82d8061a0a0a0804c00002010623",
        "282a405285856cb8ce8f9c1739172c641ea6f228250116c547cd8210a277504af76cd995e09837c21c72ebd4aee415cb1866",
        "7574f29a552f09dd110a4a93697a4bf609",
    );

    fn hex(text: &str) -> Vec<u8> {
        let digit = |byte: u8| char::from(byte).to_digit(16).unwrap();
        text.as_bytes()
            .chunks(2)
            .map(|pair| (digit(pair[0]) * 16 + digit(pair[1])).to_le_bytes()[0])
            .collect()
    }

    fn secret() -> SecretKey {
        SecretKey::from_seed([7; 32])
    }

    fn addrs(texts: &[&str]) -> Vec<PeerAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn read(bytes: &[u8]) -> Result<SignedRecord, RecordError> {
        UnverifiedRecord::decode(bytes)?.verify(&StrictVerifier)
    }

    /// An envelope signed by `secret`, whatever the payload.
    fn seal(secret: &SecretKey, payload: &wire::PeerRecord) -> wire::Envelope {
        let payload = payload.encode_to_vec();
        wire::Envelope {
            public_key: Some(wire::PublicKey {
                kind: ED25519,
                data: secret.public().as_bytes().to_vec(),
            }),
            payload_type: PAYLOAD_TYPE.to_vec(),
            signature: secret.sign(&signed_message(&payload)).to_vec(),
            payload,
        }
    }

    fn payload(addresses: Vec<Vec<u8>>) -> wire::PeerRecord {
        wire::PeerRecord {
            peer_id: secret().peer_id().to_bytes().to_vec(),
            seq: 1,
            addresses: addresses
                .into_iter()
                .map(|multiaddr| wire::AddressInfo { multiaddr })
                .collect(),
        }
    }

    #[test]
    fn our_envelope_is_byte_for_byte_the_one_libp2p_writes() {
        let addresses = addrs(&[
            "/ip4/192.0.2.1/tcp/9000",
            "/dns4/node1.example.com/tcp/9000",
        ]);
        let record = SignedRecord::sign(&secret(), SEQ, &addresses).unwrap();
        assert_eq!(record.envelope(), hex(GOLDEN));
        assert_eq!(
            (record.key(), record.peer_id()),
            (secret().public(), secret().peer_id())
        );
        assert_eq!(
            (record.seq(), record.addresses(), record.is_leaving()),
            (SEQ, &addresses[..], false)
        );
        let read = read(&hex(GOLDEN)).unwrap();
        assert_eq!(read, record);
        assert_eq!(
            (read.key(), read.seq(), read.addresses()),
            (record.key(), SEQ, &addresses[..])
        );
    }

    #[test]
    fn addresses_of_other_transports_are_skipped_and_the_envelope_is_kept_exact() {
        let record = read(&hex(GOLDEN_MIXED)).unwrap();
        assert_eq!(record.addresses(), addrs(&["/ip4/192.0.2.1/tcp/9000"]));
        assert_eq!(record.envelope(), hex(GOLDEN_MIXED));
        let other_only =
            seal(&secret(), &payload(vec![hex("04c000020191022328cd03")])).encode_to_vec();
        let record = read(&other_only).unwrap();
        assert!(record.addresses().is_empty() && !record.is_leaving());
    }

    #[test]
    fn a_record_without_addresses_means_leaving() {
        let record = read(&hex(GOLDEN_EMPTY)).unwrap();
        assert!(record.is_leaving() && record.addresses().is_empty());
        assert_eq!(SignedRecord::sign(&secret(), SEQ, &[]).unwrap(), record);
    }

    #[test]
    fn the_legacy_form_of_libp2p_is_refused() {
        assert_eq!(
            read(&hex(GOLDEN_LEGACY)),
            Err(RecordError::WrongPayloadType)
        );
    }

    #[test]
    fn no_flipped_bit_yields_another_record_of_the_same_signer() {
        let golden = hex(GOLDEN);
        let original = read(&golden).unwrap();
        for bit in 0..golden.len() * 8 {
            let mut bytes = golden.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(record) = read(&bytes) {
                panic!("bit {bit} is not covered: {record:?} {original:?}");
            }
        }
    }

    #[test]
    fn every_truncation_is_refused_and_random_damage_never_panics() {
        let golden = hex(GOLDEN);
        assert!((0..golden.len()).all(|len| read(&golden[..len]).is_err()));
        let mut rng = SeededRng::from_seed(1);
        for _ in 0..20_000 {
            let mut bytes = golden.clone();
            for _ in 0..=rng.below(8) {
                let at = rng.index(bytes.len());
                bytes[at] = rng.next_u64().to_le_bytes()[0];
            }
            bytes.truncate(rng.index(2 * golden.len()));
            let _ = UnverifiedRecord::decode(&bytes);
        }
    }

    #[test]
    fn unknown_fields_are_tolerated_and_kept() {
        let mut bytes = hex(GOLDEN);
        bytes.extend([0x32, 0x02, 0xaa, 0xbb]);
        let record = read(&bytes).unwrap();
        assert_eq!((record.envelope(), record.seq()), (&bytes[..], SEQ));
        assert_ne!(record, read(&hex(GOLDEN)).unwrap());
    }

    #[test]
    fn a_signature_of_another_key_or_domain_is_bad() {
        let mut stolen = seal(&SecretKey::from_seed([8; 32]), &payload(vec![]));
        stolen.public_key = seal(&secret(), &payload(vec![])).public_key;
        let bad = Err(RecordError::BadSignature {
            key: secret().public(),
        });
        assert_eq!(read(&stolen.encode_to_vec()), bad);
        let mut other_domain = seal(&secret(), &payload(vec![]));
        other_domain.signature = secret().sign(&other_domain.payload).to_vec();
        assert_eq!(read(&other_domain.encode_to_vec()), bad);
    }

    #[test]
    fn nobody_signs_for_another_peer() {
        let mallory = SecretKey::from_seed([8; 32]);
        let forged = seal(&mallory, &payload(vec![])).encode_to_vec();
        assert_eq!(
            read(&forged),
            Err(RecordError::ForeignPeerId {
                signer: mallory.public()
            })
        );
        let nameless = wire::PeerRecord {
            peer_id: vec![],
            ..payload(vec![])
        };
        assert!(matches!(
            read(&seal(&secret(), &nameless).encode_to_vec()),
            Err(RecordError::ForeignPeerId { .. })
        ));
    }

    #[test]
    fn unsupported_keys_are_refused() {
        let with_key = |kind, data: Vec<u8>| {
            let public_key = Some(wire::PublicKey { kind, data });
            read(
                &wire::Envelope {
                    public_key,
                    ..seal(&secret(), &payload(vec![]))
                }
                .encode_to_vec(),
            )
        };
        let mut identity_point = vec![0; 32];
        identity_point[0] = 1;
        for (kind, data) in [
            (2, vec![2; 33]),
            (0, vec![1; 32]),
            (1, vec![1; 31]),
            (1, identity_point),
        ] {
            assert!(
                matches!(with_key(kind, data), Err(RecordError::UnsupportedKey(_))),
                "{kind}"
            );
        }
        let keyless = wire::Envelope {
            public_key: None,
            ..seal(&secret(), &payload(vec![]))
        };
        assert!(matches!(
            read(&keyless.encode_to_vec()),
            Err(RecordError::Malformed { .. })
        ));
        let short = wire::Envelope {
            signature: vec![0; 63],
            ..seal(&secret(), &payload(vec![]))
        };
        assert!(matches!(
            read(&short.encode_to_vec()),
            Err(RecordError::Malformed { .. })
        ));
    }

    #[test]
    fn sizes_are_accepted_up_to_their_limits_only() {
        let addr = addrs(&["/ip4/192.0.2.1/tcp/9000"])[0].to_bytes();
        let with =
            |count| read(&seal(&secret(), &payload(vec![addr.clone(); count])).encode_to_vec());
        assert_eq!(with(8).unwrap().addresses().len(), 8);
        assert_eq!(with(9), Err(RecordError::TooManyAddresses { count: 9 }));
        let mut bytes = hex(GOLDEN);
        let padding = limits::MAX_RECORD_BYTES - bytes.len() - 3;
        bytes.push(0x32);
        prost::encoding::encode_varint(u64::try_from(padding).unwrap(), &mut bytes);
        bytes.resize(limits::MAX_RECORD_BYTES, 0);
        assert!(read(&bytes).is_ok());
        bytes.push(0);
        assert_eq!(
            read(&bytes),
            Err(RecordError::TooLarge {
                bytes: limits::MAX_RECORD_BYTES + 1
            })
        );
        assert!(matches!(
            read(&vec![0; 1 << 20]),
            Err(RecordError::TooLarge { .. })
        ));
    }

    #[test]
    fn only_dialable_addresses_of_the_signer_are_taken() {
        let id = secret().peer_id();
        let other = SecretKey::from_seed([8; 32]).peer_id();
        let bytes = |text: String| text.parse::<AddrWithId>().unwrap().to_bytes();
        let record = read(
            &seal(
                &secret(),
                &payload(vec![
                    bytes("/ip4/0.0.0.0/tcp/9000".into()),
                    bytes("/ip4/192.0.2.1/tcp/0".into()),
                    bytes(format!("/ip4/192.0.2.2/tcp/9/p2p/{id}")),
                    bytes(format!("/ip4/192.0.2.3/tcp/9/p2p/{other}")),
                    b"garbage".to_vec(),
                    vec![],
                ]),
            )
            .encode_to_vec(),
        );
        assert_eq!(
            record.unwrap().addresses(),
            addrs(&["/ip4/192.0.2.2/tcp/9"])
        );
    }

    #[test]
    fn our_own_record_is_refused_when_it_is_too_large_or_useless() {
        let sign = |addresses: &[PeerAddr]| SignedRecord::sign(&secret(), 1, addresses);
        let nine = vec![addrs(&["/ip4/192.0.2.1/tcp/9000"])[0].clone(); 9];
        assert_eq!(
            sign(&nine),
            Err(RecordError::OwnRecordTooLarge {
                addresses: 9,
                bytes: 0
            })
        );
        let long: PeerAddr = format!("/dns/{0}.{0}.{0}/tcp/1", "a".repeat(63))
            .parse()
            .unwrap();
        assert!(sign(&vec![long.clone(); 4]).is_ok());
        let refusal = sign(&vec![long; 5]).unwrap_err();
        assert!(matches!(
            refusal,
            RecordError::OwnRecordTooLarge {
                addresses: 5,
                bytes: 1025..
            }
        ));
        assert_eq!(refusal.kind(), ErrorKind::Config);
        assert!(matches!(
            sign(&addrs(&["/ip4/0.0.0.0/tcp/1"])),
            Err(RecordError::OwnAddressNotDialable { .. })
        ));
    }

    #[test]
    fn extreme_versions_survive_the_round_trip() {
        for seq in [0, 1, u64::MAX] {
            let record = SignedRecord::sign(&secret(), seq, &[]).unwrap();
            assert_eq!(read(record.envelope()).unwrap().seq(), seq);
        }
    }

    #[test]
    fn a_batch_judges_each_record_on_its_own() {
        let good = SignedRecord::sign(&secret(), 1, &[]).unwrap();
        let mut damaged = good.envelope().to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        let decode = |bytes: &[u8]| UnverifiedRecord::decode(bytes).unwrap();
        assert_eq!(
            (decode(&damaged).key(), decode(&damaged).seq()),
            (secret().public(), 1)
        );
        assert_eq!(decode(&damaged).envelope(), damaged);
        let records = vec![
            decode(good.envelope()),
            decode(&damaged),
            decode(good.envelope()),
        ];
        let bad = Err(RecordError::BadSignature {
            key: secret().public(),
        });
        assert_eq!(
            verify_all(records, &StrictVerifier),
            [Ok(good.clone()), bad, Ok(good)]
        );
        assert!(verify_all(vec![], &StrictVerifier).is_empty());
    }

    #[test]
    fn a_missing_verdict_counts_as_a_bad_one() {
        #[derive(Debug)]
        struct Silent;
        impl Verifier for Silent {
            fn verify_batch(&self, _: &[SignatureCheck<'_>]) -> Vec<bool> {
                Vec::new()
            }
        }
        let record = UnverifiedRecord::decode(&hex(GOLDEN)).unwrap();
        assert!(matches!(
            record.clone().verify(&Silent),
            Err(RecordError::BadSignature { .. })
        ));
        assert!(matches!(
            &verify_all(vec![record], &Silent)[..],
            [Err(RecordError::BadSignature { .. })]
        ));
    }

    #[test]
    fn only_provable_faults_are_worth_a_ban_and_none_is_worth_a_retry() {
        let key = secret().public();
        let provable = [
            RecordError::BadSignature { key },
            RecordError::ForeignPeerId { signer: key },
        ];
        let excusable = [
            RecordError::WrongPayloadType,
            RecordError::TooLarge { bytes: 9 },
            malformed("x"),
        ];
        assert!(provable.iter().all(RecordError::is_ban_worthy));
        assert!(!excusable.iter().any(RecordError::is_ban_worthy));
        assert!(
            provable
                .iter()
                .chain(&excusable)
                .all(|e| e.kind() == ErrorKind::Peer && !e.is_retryable())
        );
    }
}
