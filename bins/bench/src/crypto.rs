//! Signing and checking peer records, beside the bare signature scheme.

use std::hint::black_box;

use btcfed_core::identity::{StrictVerifier, verify};
use btcfed_core::record::{UnverifiedRecord, verify_all};
use btcfed_core::{PeerAddr, SecretKey, SignedRecord};

use crate::table::{Contender, race};

/// Operations in one timing: enough to make the clock's resolution and one context switch small.
const BATCH: u64 = 64;

/// A payload as long as that of a record with two addresses.
const MESSAGE: [u8; 110] = [0x5a; 110];

/// Both tables.
pub(crate) fn run(rounds: usize) -> Result<String, String> {
    let secret = SecretKey::from_seed([7; 32]);
    let addrs = addresses()?;
    let mut envelopes = Vec::new();
    for seq in 0..BATCH {
        envelopes.push(sign(&secret, seq, &addrs)?.envelope().to_vec());
    }
    let tables = [
        signing(rounds, &secret, &addrs)?,
        checking(rounds, &secret, &envelopes)?,
    ];
    Ok(tables.join("\n"))
}

fn addresses() -> Result<Vec<PeerAddr>, String> {
    let texts = [
        "/ip4/192.0.2.1/tcp/9000",
        "/dns4/node1.example.com/tcp/9000",
    ];
    texts
        .iter()
        .map(|text| text.parse().map_err(|e| format!("{text}: {e}")))
        .collect()
}

fn sign(secret: &SecretKey, seq: u64, addrs: &[PeerAddr]) -> Result<SignedRecord, String> {
    SignedRecord::sign(secret, seq, addrs).map_err(|e| e.to_string())
}

fn signing(rounds: usize, secret: &SecretKey, addrs: &[PeerAddr]) -> Result<String, String> {
    let contenders = vec![
        Contender::new("signed record", || {
            (0..BATCH).try_for_each(|seq| sign(secret, seq, addrs).map(|r| drop(black_box(r))))
        }),
        Contender::new("bare signature", || {
            (0..BATCH).for_each(|_| drop(black_box(secret.sign(black_box(&MESSAGE)).to_vec())));
            Ok(())
        }),
    ];
    race(&format!("sign {BATCH}"), rounds, contenders)
}

fn checking(rounds: usize, secret: &SecretKey, envelopes: &[Vec<u8>]) -> Result<String, String> {
    let decode = || {
        envelopes
            .iter()
            .map(|bytes| UnverifiedRecord::decode(bytes))
    };
    let (key, signature) = (secret.public(), secret.sign(&MESSAGE));
    let contenders = vec![
        Contender::new("record: decode and verify", || {
            let records: Result<Vec<_>, _> = decode().collect();
            let verdicts = verify_all(records.map_err(|e| e.to_string())?, &StrictVerifier);
            verdicts
                .into_iter()
                .try_for_each(|v| v.map(drop))
                .map_err(|e| e.to_string())
        }),
        Contender::new("record: decode only", || {
            decode()
                .try_for_each(|record| record.map(|r| drop(black_box(r))))
                .map_err(|e| e.to_string())
        }),
        Contender::new("bare check", || {
            let good = (0..BATCH).all(|_| verify(&key, black_box(&MESSAGE), &signature));
            if good {
                Ok(())
            } else {
                Err("a good signature was refused".to_owned())
            }
        }),
    ];
    #[cfg(feature = "rivals")]
    let contenders = [contenders, vec![rivals::checking()]]
        .into_iter()
        .flatten()
        .collect();
    race(&format!("check {BATCH}"), rounds, contenders)
}

#[cfg(feature = "rivals")]
mod rivals {
    use std::hint::black_box;

    use ed25519_dalek::{Signer as _, SigningKey};

    use super::{BATCH, MESSAGE};
    use crate::table::Contender;

    pub(super) fn checking() -> Contender<'static> {
        let key = SigningKey::from_bytes(&[7; 32]);
        let (signature, public) = (key.sign(&MESSAGE), key.verifying_key());
        Contender::new("ed25519-dalek verify_strict, key at hand", move || {
            let check = || public.verify_strict(black_box(&MESSAGE), &signature);
            (0..BATCH)
                .try_for_each(|_| check())
                .map_err(|e| e.to_string())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_round_of_everything_gives_both_tables() {
        let report = run(1).unwrap();
        assert!(
            report.contains("| signed record |") && report.contains("| bare check |"),
            "{report}"
        );
    }
}
