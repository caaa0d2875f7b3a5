use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use btcfed_core::ban::{Ban, BanReason, BanTarget, Issuer};
use btcfed_core::peer::{AddressSource, Forgotten, PeerStatus};
use btcfed_core::record::SignedRecord;
use btcfed_core::set::SetEntry;
use btcfed_core::testing::{test_addr, test_key, test_record, test_secret};
use btcfed_core::time::Timestamp;

use super::*;
use crate::disk::OsDisk;

const IDENTITY: Identity = Identity {
    generation: 7,
    len: 100,
    crc: 0x1234_5678,
};

fn rich_record() -> btcfed_core::PeerRecord {
    let mut record = test_record(1);
    record.name = Some("alice".to_owned());
    record.note = Some(String::new());
    record.pinned = true;
    for source in [
        AddressSource::Signed,
        AddressSource::Observed,
        AddressSource::LearnedFrom(test_key(9)),
    ] {
        let port = 100 + u16::try_from(record.addresses.len()).unwrap();
        record.add_address(test_addr(port), source);
    }
    record.add_address(
        "/dns4/node.example.com/tcp/9".parse().unwrap(),
        AddressSource::Operator,
    );
    record.addresses[0].last_success = Some(Timestamp::from_millis(1));
    record.addresses[1].last_failure = Some(Timestamp::MAX);
    record.addresses[1].failures = u32::MAX;
    record.undialable = vec!["/ip4/1.2.3.4/udp/1/quic-v1".to_owned()];
    record.update_status(PeerStatus::Inaccessible, Timestamp::from_millis(5));
    record.stats.successes = u64::MAX;
    record.stats.failures = 300;
    record.stats.consecutive_failures = 128;
    record.stats.mean_rtt = Some(Duration::from_nanos(1_234_567));
    record.stats.first_seen = Some(Timestamp::UNIX_EPOCH);
    record.stats.last_seen = Some(Timestamp::from_secs(1_795_000_000));
    record.record = Some(SignedRecord::sign(&test_secret(1), 3, &[test_addr(1)]).unwrap());
    record.extra.insert("rack".to_owned(), "[7, x]".to_owned());
    record
}

fn ban(target: BanTarget) -> SetEntry {
    let ban = Ban {
        target,
        reason: BanReason::Other("words".to_owned()),
        since: Timestamp::from_secs(1),
        until: Some(Timestamp::from_secs(2)),
        by: Issuer::Node,
        evidence: Some("line".to_owned()),
    };
    SetEntry::Ban(target, Some(ban))
}

fn entries() -> Vec<SetEntry> {
    let mark = |by| {
        let mark = Forgotten { seq: 1 << 40, by };
        SetEntry::Forgotten(test_key(3), Some(mark))
    };
    vec![
        SetEntry::Peer(test_key(1), Some(rich_record().into())),
        SetEntry::Peer(test_key(2), Some(test_record(2).into())),
        SetEntry::Peer(test_key(3), None),
        mark(Issuer::Operator),
        mark(Issuer::Node),
        SetEntry::Forgotten(test_key(4), None),
        ban(BanTarget::Peer(test_key(5))),
        ban(BanTarget::Ip("::1".parse().unwrap())),
        ban(BanTarget::Cidr("10.0.0.0/8".parse().unwrap())),
        SetEntry::Ban(BanTarget::Ip("1.2.3.4".parse().unwrap()), None),
    ]
}

#[test]
fn every_kind_of_entry_reads_back_as_it_was_and_no_part_of_it_reads_as_anything() {
    for entry in entries() {
        let mut bytes = Vec::new();
        codec::encode(&entry, &mut bytes).unwrap();
        assert_eq!(codec::decode(&bytes).unwrap(), [entry]);
        for len in 1..bytes.len() {
            assert_eq!(codec::decode(&bytes[..len]), None, "{len}");
        }
    }
    assert_eq!(codec::decode(&[]).unwrap(), []);
}

#[test]
fn bytes_that_no_store_wrote_are_refused_without_reserving_memory_for_them() {
    let mut bytes = Vec::new();
    codec::encode(&entries()[0], &mut bytes).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            // Some flips give another valid entry; a frame's CRC is what tells. Here they must only be harmless.
            drop(codec::decode(&flipped));
        }
    }
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    for kind in 0..=6 {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(test_key(1).as_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 0]);
        bytes.extend_from_slice(&huge);
        assert_eq!(codec::decode(&bytes), None, "{kind}");
    }
    let mut bytes = vec![3, 1];
    bytes.extend_from_slice(&huge);
    bytes[11] = 0x02;
    assert_eq!(codec::decode(&bytes), None, "more than 64 bits");
}

struct Place {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peers.yaml");
        std::fs::write(&path, "x").unwrap();
        Self { _dir: dir, path }
    }

    fn create(&self) -> Open {
        let beside = OsDisk.metadata(&self.path).unwrap();
        create(&OsDisk, &self.path, IDENTITY, PeerSet::default(), beside).unwrap()
    }

    fn find(&self) -> Found {
        find(&OsDisk, &self.path).unwrap()
    }
}

fn replay(path: &Path) -> Option<PeerSet> {
    match find(&OsDisk, path).unwrap() {
        Found::Journal(mut open) => {
            assert_eq!(open.identity(), IDENTITY);
            open.read_on(&mut BTreeSet::new()).unwrap();
            Some(open.logged)
        }
        Found::Nothing | Found::Damaged(_) => None,
    }
}

/// A journal of one frame for each entry, and what is known after each of them.
fn written(place: &Place, entries: Vec<SetEntry>) -> (Open, Vec<PeerSet>) {
    let mut open = place.create();
    let mut sets = vec![PeerSet::default()];
    for entry in entries {
        let mut set = sets.last().unwrap().clone();
        let places = [entry.place()].into();
        set.put(entry);
        assert_eq!(open.append(&set, &places).unwrap(), Appended::Durable);
        if sets.last() != Some(&set) {
            sets.push(set);
        }
    }
    (open, sets)
}

#[test]
fn a_journal_cut_at_any_byte_or_with_any_bit_flipped_gives_a_beginning_of_it() {
    let place = Place::new();
    // The longest entry is left out: what matters is every byte of a frame, not how many there are.
    let (open, sets) = written(&place, entries()[1..6].to_vec());
    let path = journal_path(&place.path);
    assert_eq!(replay(&place.path).as_ref(), sets.last());
    let whole = std::fs::read(&path).unwrap()[..usize::try_from(open.end).unwrap()].to_vec();
    let mut reached = BTreeSet::new();
    let mut check = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let known = replay(&place.path);
        let step = known.map(|known| sets.iter().rposition(|set| *set == known).unwrap());
        reached.insert(step);
    };
    for len in 0..whole.len() {
        check(&whole[..len]);
    }
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            check(&flipped);
        }
    }
    assert!(reached.len() >= sets.len(), "{reached:?}");
}

#[test]
fn a_frame_counts_only_behind_the_one_it_was_written_behind() {
    let place = Place::new();
    let (open, sets) = written(&place, entries());
    let path = journal_path(&place.path);
    let mut bytes = std::fs::read(&path).unwrap();
    let first = frame::length(&bytes[HEADER_BYTES..]).unwrap();
    // The first frame is torn, and another one of the same length is appended in its place.
    bytes[HEADER_BYTES + 20] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let Found::Journal(mut again) = place.find() else {
        panic!("no journal");
    };
    again.read_on(&mut BTreeSet::new()).unwrap();
    assert!(!again.has_frames());
    let mut other = rich_record();
    other.name = Some("malic".to_owned());
    let mut set = PeerSet::default();
    let entry = SetEntry::Peer(test_key(1), Some(other.into()));
    let places = [entry.place()].into();
    set.put(entry);
    assert_eq!(again.append(&set, &places).unwrap(), Appended::Durable);
    assert_eq!(again.end, as_offset(HEADER_BYTES + first));
    assert!(open.end > again.end && sets.len() > 2);
    assert_eq!(replay(&place.path), Some(set));
}

#[test]
fn what_others_append_is_read_and_a_closed_journal_takes_nothing() {
    let place = Place::new();
    let (mut one, sets) = written(&place, entries());
    let Found::Journal(mut two) = place.find() else {
        panic!("no journal");
    };
    let mut places = BTreeSet::new();
    two.read_on(&mut places).unwrap();
    assert_eq!(Some(&two.logged), sets.last());
    assert_eq!(places.len(), 6, "one place was written twice, three never");
    assert!(one.is_current(&OsDisk).unwrap() && two.is_current(&OsDisk).unwrap());
    one.close();
    assert!(!one.is_current(&OsDisk).unwrap() && !two.is_current(&OsDisk).unwrap());
    drop(place.create());
    assert!(
        !two.is_current(&OsDisk).unwrap(),
        "another file has the name"
    );
    assert_eq!(replay(&place.path), Some(PeerSet::default()));
}

#[test]
fn a_frame_has_a_largest_size_and_so_has_a_journal() {
    let place = Place::new();
    let mut open = place.create();
    let with_extra = |len: usize| {
        let mut record = test_record(1);
        record.extra.insert("x".to_owned(), "y".repeat(len));
        let mut set = PeerSet::default();
        set.put(SetEntry::Peer(test_key(1), Some(record.into())));
        set
    };
    let places: BTreeSet<SetPlace> = [SetPlace::Peer(test_key(1))].into();
    let mut bytes = vec![0; FRAME_HEAD_BYTES];
    let empty = with_extra(0).entry(&SetPlace::Peer(test_key(1)));
    codec::encode(&empty, &mut bytes).unwrap();
    // The length of a text as long as that takes two bytes more than that of an empty one.
    let most = MAX_FRAME_BYTES - bytes.len() - 2;
    let too_long = with_extra(most + 1);
    assert_eq!(
        open.append(&too_long, &places).unwrap(),
        Appended::NeedsCheckpoint
    );
    assert!(!open.has_frames());
    let mut sizes = Vec::new();
    let refused = (0..).find(|step| {
        let set = with_extra(most - step % 2);
        let appended = open.append(&set, &places).unwrap();
        sizes.push(open.size);
        appended == Appended::NeedsCheckpoint
    });
    assert_eq!(
        refused,
        Some(31),
        "the largest frames fill the largest journal"
    );
    assert!(
        sizes
            .iter()
            .all(|size| *size <= MAX_JOURNAL_BYTES && size % SEGMENT_BYTES == 0)
    );
    assert!(open.end <= MAX_JOURNAL_BYTES && open.end > MAX_JOURNAL_BYTES - SEGMENT_BYTES);
}
