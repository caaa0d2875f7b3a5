//! Our grammar against libp2p's own parsers: one identity, one address, whoever reads them.

use btcfed_core::SignedRecord;
use btcfed_core::identity::StrictVerifier;
use btcfed_core::record::UnverifiedRecord;
use libp2p::core::{PeerRecord, SignedEnvelope};
use libp2p::identity::PublicKey;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A name as people write it: any case, with or without the final dot.
fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_-]{1,63}(\\.[a-zA-Z0-9-]{1,20}){0,3}\\.[a-zA-Z]{2,10}\\.?"
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|ip| format!("/ip4/{}", std::net::Ipv4Addr::from(ip))),
        any::<[u8; 16]>().prop_map(|ip| format!("/ip6/{}", std::net::Ipv6Addr::from(ip))),
        // IPv4-mapped, and full-length upper case, are other spellings of the same address.
        any::<[u8; 4]>().prop_map(|ip| format!("/ip6/::ffff:{}", std::net::Ipv4Addr::from(ip))),
        any::<[u16; 8]>()
            .prop_map(|groups| format!("/ip6/{}", groups.map(|g| format!("{g:04X}")).join(":"))),
        (prop_oneof!["dns", "dns4", "dns6", "dnsaddr"], name())
            .prop_map(|(kind, name)| format!("/{kind}/{name}")),
    ]
}

fn addr_text() -> impl Strategy<Value = String> {
    (host(), any::<u16>()).prop_map(|(host, port)| format!("{host}/tcp/{port}"))
}

fn peer_text() -> impl Strategy<Value = String> {
    any::<[u8; 32]>().prop_map(|seed| SecretKey::from_seed(seed).peer_id().to_string())
}

proptest! {
    #[test]
    fn every_address_is_the_same_for_libp2p_in_text_and_in_bytes(text in addr_text()) {
        let ours: PeerAddr = text.parse().unwrap();
        let theirs: Multiaddr = ours.to_string().parse().unwrap();
        prop_assert_eq!(theirs.to_string(), ours.to_string());
        prop_assert_eq!(theirs.to_vec(), ours.to_bytes());
        prop_assert_eq!(&multiaddr(&ours), &theirs);
        prop_assert_eq!(peer_addr(&theirs), Some(ours.clone()));
        prop_assert_eq!(PeerAddr::from_bytes(&theirs.to_vec()), Ok(ours));
    }

    #[test]
    fn an_address_in_any_spelling_that_both_accept_is_the_same_address(text in addr_text()) {
        let theirs: Multiaddr = text.parse().unwrap();
        prop_assert_eq!(peer_addr(&theirs), Some(text.parse::<PeerAddr>().unwrap()));
    }

    #[test]
    fn an_address_with_an_id_is_the_same_for_libp2p(host in addr_text(), id in peer_text(), is_old in any::<bool>()) {
        let text = format!("{host}/{}/{id}", if is_old { "ipfs" } else { "p2p" });
        let ours: AddrWithId = text.parse().unwrap();
        let theirs: Multiaddr = ours.to_string().parse().unwrap();
        prop_assert_eq!(theirs.to_string(), ours.to_string());
        prop_assert_eq!(theirs.to_vec(), ours.to_bytes());
        prop_assert_eq!(peer_addr(&theirs), Some(ours.addr));
        let suffix = id_suffix(&theirs).and_then(|id| peer_key(&id));
        prop_assert_eq!(suffix, ours.peer_id.map(CorePeerId::key));
        let as_written: Multiaddr = text.parse().unwrap();
        prop_assert_eq!(id_suffix(&as_written), id_suffix(&theirs));
    }

    /// Whatever we accept, libp2p accepts; hostile texts never panic on either side.
    #[test]
    fn what_our_parser_accepts_libp2p_accepts(
        parts in vec(prop_oneof![
            "ip4|ip6|dns|dns4|dns6|dnsaddr|tcp|p2p|udp|quic-v1|ws".prop_map(String::from),
            host().prop_map(|h| h.rsplit('/').next().unwrap_or_default().to_owned()),
            any::<u32>().prop_map(|n| n.to_string()),
            "[0+-]{0,2}[0-9]{1,6}".prop_map(String::from),
            peer_text(),
            "\\PC{0,8}".prop_map(String::from),
        ], 0..7)
    ) {
        let text = format!("/{}", parts.join("/"));
        if let Ok(ours) = text.parse::<AddrWithId>() {
            let theirs: Multiaddr = text.parse().unwrap();
            prop_assert_eq!(peer_addr(&theirs), Some(ours.addr.clone()));
            prop_assert_eq!(ours.to_string().parse::<AddrWithId>(), Ok(ours));
        }
    }

    #[test]
    fn bytes_that_libp2p_and_we_both_read_mean_the_same(bytes in vec(any::<u8>(), 0..40)) {
        if let (Ok(ours), Ok(theirs)) = (AddrWithId::from_bytes(&bytes), Multiaddr::try_from(bytes)) {
            prop_assert_eq!(peer_addr(&theirs), Some(ours.addr));
        }
    }

    #[test]
    fn every_identity_is_the_same_for_libp2p(seed in any::<[u8; 32]>(), message in vec(any::<u8>(), 0..64)) {
        let secret = SecretKey::from_seed(seed);
        let pair = keypair(&secret).unwrap();
        let (ours, theirs) = (secret.public(), pair.public());
        let id = theirs.to_peer_id();
        prop_assert_eq!(peer_id(&ours), Some(id));
        prop_assert_eq!(peer_key(&id), Some(ours));
        prop_assert_eq!(id.to_string(), ours.peer_id().to_string());
        prop_assert_eq!(id.to_bytes(), ours.peer_id().to_bytes());
        prop_assert_eq!(id.to_string().parse(), Ok(ours.peer_id()));
        prop_assert_eq!(ours.peer_id().to_string().parse::<PeerId>().unwrap(), id);
        prop_assert_eq!(theirs.encode_protobuf(), ours.to_protobuf());
        prop_assert_eq!(&PublicKey::try_decode_protobuf(&ours.to_protobuf()).unwrap(), &theirs);
        prop_assert!(theirs.verify(&message, &secret.sign(&message)));
        let signature: [u8; 64] = pair.sign(&message).unwrap().try_into().unwrap();
        prop_assert!(btcfed_core::identity::verify(&ours, &message, &signature));
    }

    #[test]
    fn keys_that_we_accept_libp2p_accepts_as_the_same_identity(bytes in any::<[u8; 32]>()) {
        let theirs = ed25519::PublicKey::try_from_bytes(&bytes);
        match PeerKey::from_bytes(&bytes) {
            Ok(ours) => {
                let theirs = theirs.unwrap();
                prop_assert_eq!(&theirs.to_bytes(), ours.as_bytes());
                prop_assert_eq!(peer_key(&PublicKey::from(theirs).to_peer_id()), Some(ours));
            }
            // Random bytes hit neither a weak key nor a second encoding: then both refuse.
            Err(_) => prop_assert!(theirs.is_err()),
        }
    }

    #[test]
    fn records_we_sign_verify_in_libp2p(seed in any::<[u8; 32]>(), seq in any::<u64>(), texts in vec(addr_text(), 0..4)) {
        let addrs: Vec<PeerAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let secret = SecretKey::from_seed(seed);
        let Ok(ours) = SignedRecord::sign(&secret, seq, &addrs) else { return Ok(()) };
        let envelope = SignedEnvelope::from_protobuf_encoding(ours.envelope()).unwrap();
        let theirs = PeerRecord::from_signed_envelope_interop(envelope).unwrap();
        prop_assert_eq!(Some(theirs.peer_id()), peer_id(&ours.key()));
        prop_assert_eq!(theirs.seq(), ours.seq());
        let read: Vec<_> = theirs.addresses().iter().filter_map(peer_addr).collect();
        prop_assert_eq!(read, ours.addresses());
        prop_assert_eq!(theirs.addresses().len(), ours.addresses().len());
    }

    #[test]
    fn records_libp2p_signs_verify_here_and_in_its_old_form_do_not(
        seed in any::<[u8; 32]>(),
        texts in vec(addr_text(), 1..4),
    ) {
        let addrs: Vec<PeerAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let pair = keypair(&SecretKey::from_seed(seed)).unwrap();
        let theirs = PeerRecord::new_interop(&pair, addrs.iter().map(multiaddr).collect()).unwrap();
        let bytes = theirs.to_signed_envelope().into_protobuf_encoding();
        if bytes.len() <= btcfed_core::limits::MAX_RECORD_BYTES {
            let ours = UnverifiedRecord::decode(&bytes).unwrap().verify(&StrictVerifier).unwrap();
            prop_assert_eq!(peer_id(&ours.key()), Some(theirs.peer_id()));
            prop_assert_eq!(ours.seq(), theirs.seq());
            prop_assert!(ours.addresses().iter().all(|addr| addrs.contains(addr)));
        }
        let old = PeerRecord::new(&pair, addrs.iter().map(multiaddr).collect()).unwrap();
        prop_assert!(UnverifiedRecord::decode(&old.to_signed_envelope().into_protobuf_encoding()).is_err());
    }
}

/// y = p + k in little-endian bytes, with either sign of x: the second encodings of the points with y = k.
fn second_encoding(k: u8, sign: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    bytes[0] = 0xed + k;
    bytes[31] = 0x7f | sign;
    bytes
}

#[test]
fn second_encodings_that_libp2p_takes_are_refused_here() {
    let mut taken = 0;
    for k in 0..=18 {
        for sign in [0, 0x80] {
            let bytes = second_encoding(k, sign);
            assert!(PeerKey::from_bytes(&bytes).is_err(), "p + {k}");
            if let Ok(key) = ed25519::PublicKey::try_from_bytes(&bytes) {
                taken += 1;
                assert_eq!(peer_key(&PublicKey::from(key).to_peer_id()), None);
            }
        }
    }
    assert!(taken > 0, "libp2p takes none of them any more");
}

#[test]
fn weak_keys_that_libp2p_takes_are_refused_here() {
    let mut one = [0; 32];
    one[0] = 1;
    let mut minus_one = [0xff; 32];
    (minus_one[0], minus_one[31]) = (0xec, 0x7f);
    for weak in [[0; 32], one, minus_one] {
        let theirs = ed25519::PublicKey::try_from_bytes(&weak).unwrap();
        assert!(PeerKey::from_bytes(&weak).is_err());
        assert_eq!(peer_key(&PublicKey::from(theirs).to_peer_id()), None);
    }
}

#[test]
fn identities_of_other_kinds_have_no_key_here() {
    assert_eq!(peer_key(&PeerId::random()), None);
    let rsa: PeerId = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
        .parse()
        .unwrap();
    assert_eq!(peer_key(&rsa), None);
}

#[test]
fn addresses_of_other_shapes_have_no_form_here() {
    for text in [
        "/ip4/192.0.2.1/udp/9000/quic-v1",
        "/ip4/192.0.2.1/tcp/80/ws",
        "/unix/%2Ftmp",
        "/ip4/192.0.2.1",
    ] {
        assert_eq!(peer_addr(&text.parse().unwrap()), None, "{text}");
    }
    assert_eq!(peer_addr(&Multiaddr::empty()), None);
}

#[test]
fn a_dnsaddr_needs_no_port() {
    let ours: PeerAddr = "/dnsaddr/bootstrap.example.com".parse().unwrap();
    let theirs: Multiaddr = ours.to_string().parse().unwrap();
    assert_eq!(
        (&multiaddr(&ours), peer_addr(&theirs)),
        (&theirs, Some(ours))
    );
}
