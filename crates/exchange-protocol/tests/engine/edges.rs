//! Limits that show in what a node says: at the limit, and one past it.

use std::collections::BTreeSet;
use std::time::Duration;

use btcfed_core::exchange::{Exchange as _, Input, Output, Reaction};
use btcfed_core::limits::MAX_FRAME_BYTES;
use btcfed_core::network::Direction;
use btcfed_core::{AddressSource, NodeConfig, PeerOp, PeerPatch, PeerRecord, PeerSource};
use btcfed_exchange_protocol::codec::{self, DecodeError};
use btcfed_exchange_protocol::limits;
use btcfed_exchange_protocol::message::{
    Cell, CellBlock, ErrorCode, Hello, Message, Mode, PeerAnnouncement, PeerRequest, PeerResponse,
    Summary,
};

use crate::bench::{
    Bench, announcement, code, entry, hello, key, page, question, record, record_at,
};

const MS: Duration = Duration::from_millis(1);

#[test]
fn versions_that_overlap_by_one_are_spoken_and_those_beside_are_refused() {
    let (least, most) = (limits::VERSION_MIN, limits::VERSION_MAX);
    for (min, max, fits) in [
        (0, least, true),
        (0, least - 1, false),
        (most, u32::MAX, true),
        (most + 1, u32::MAX, false),
    ] {
        let mut bench = Bench::new();
        bench.connect(1, Direction::Inbound);
        let hello = Hello {
            version_min: min,
            version_max: max,
            ..hello(None)
        };
        let answer = bench.ask(1, &Message::Request(question(Some(hello))));
        let is_refused = matches!(&answer, Message::Error(e) if e.code == ErrorCode::Version);
        assert_eq!(is_refused, !fits, "{min}..={max}");
    }
}

#[test]
fn a_page_is_filled_up_to_the_room_that_is_kept_free() {
    let mut bench = Bench::new();
    let long = |n: u64| {
        let name = "x".repeat(60);
        let addrs: Vec<String> = (0..8)
            .map(|i| format!("/dns4/{name}{i}.example/tcp/{n}"))
            .collect();
        let addrs: Vec<&str> = addrs.iter().map(String::as_str).collect();
        record_at(n, 1, &addrs)
    };
    bench.store((100..300).map(long));
    bench.befriend(1);
    let Message::Response(first) = bench.ask(1, &Message::Request(question(None))) else {
        panic!("no response");
    };
    let size = |len: usize| codec::entry_bytes(len);
    let filled: usize = first.records.iter().map(|e| size(e.envelope.len())).sum();
    let room = MAX_FRAME_BYTES - limits::FRAME_HEADROOM_BYTES;
    let one = size(long(100).envelope().len());
    assert!(first.next.is_some() && filled <= room && filled + one > room);
    assert!(codec::encode(&Message::Response(first)).len() <= MAX_FRAME_BYTES);
}

#[test]
fn a_throttled_peer_pays_so_many_times_for_a_message() {
    let mut config = NodeConfig::default();
    config.peers.ban.threshold = 40;
    let mut bench = Bench::with_config(config);
    bench.connect(1, Direction::Inbound);
    bench.ask(1, &Message::Request(question(Some(hello(None)))));
    bench.ask_raw(1, vec![0xff; 9]);
    assert_eq!(bench.penalties(1), [Reaction::Throttle]);
    let left = (limits::MESSAGE_BURST - 2) / limits::THROTTLE_FACTOR;
    for _ in 0..left {
        let answer = bench.ask(1, &Message::Request(question(None)));
        assert!(matches!(answer, Message::Response(_)));
    }
    let refused = bench.ask(1, &Message::Request(question(None)));
    assert_eq!(code(&refused), ErrorCode::Rate);
}

#[test]
fn a_short_list_is_told_as_a_page_and_a_longer_one_as_cells() {
    for (listed, is_page) in [(limits::SHORT_LIST, true), (limits::SHORT_LIST + 1, false)] {
        let mut bench = Bench::new();
        bench.befriend(1);
        // The node and peer 1 are listed, too.
        bench.store((100..100 + u64::from(listed) - 2).map(|n| record(n, 1)));
        let summary = Some(Summary {
            salt: 1,
            root: 2,
            count: listed,
        });
        let asked = PeerRequest {
            mode: Mode::Summary,
            summary,
            ..PeerRequest::default()
        };
        let Message::Response(response) = bench.ask(1, &Message::Request(asked)) else {
            panic!("no response");
        };
        assert_eq!(response.count, listed);
        assert_eq!(
            (response.cells.is_none(), !response.records.is_empty()),
            (is_page, is_page)
        );
    }
}

#[test]
fn a_feeler_takes_so_many_addresses_of_a_peer() {
    for count in [limits::FEELER_ADDRESSES, limits::FEELER_ADDRESSES + 1] {
        let mut bench = Bench::new();
        let mut peer = PeerRecord::new(key(10), PeerSource::Operator);
        for port in 1..=count {
            let addr = format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap();
            peer.add_address(addr, AddressSource::Operator);
        }
        bench.apply(&PeerPatch::one(PeerOp::Create(Box::new(peer))));
        bench.befriend(1);
        bench.wait(limits::FEELER_INTERVAL * 2);
        let addrs = bench.outputs.iter().find_map(|output| match output {
            Output::Dial { addrs, .. } => Some(addrs.len()),
            _ => None,
        });
        assert_eq!(addrs, Some(limits::FEELER_ADDRESSES));
    }
}

#[test]
fn cells_of_so_many_bytes_are_read_and_one_more_byte_is_not() {
    let cell = |count| Cell {
        id: u64::MAX,
        check: u32::MAX,
        count,
    };
    // 8 bytes of id, 4 of check, 3 of this count.
    let mut cells = vec![cell(10_000); limits::MAX_CELLS];
    let frame = |cells: &[Cell]| {
        let block = CellBlock {
            salt: 1,
            first: 0,
            cells: cells.to_vec(),
        };
        codec::encode(&Message::Response(PeerResponse {
            cells: Some(block),
            ..PeerResponse::default()
        }))
    };
    assert_eq!(limits::MAX_CELL_BYTES, 15 * cells.len());
    assert!(codec::decode(&frame(&cells)).is_ok());
    cells[0].count = 2_000_000;
    let refused = codec::decode(&frame(&cells));
    assert!(
        matches!(refused, Err(DecodeError::TooLarge { .. })),
        "{refused:?}"
    );
}

#[test]
fn an_owners_versions_are_passed_on_so_many_at_once_and_one_in_so_many_seconds() {
    let mut bench = Bench::new();
    bench.befriend(1);
    bench.befriend(2);
    bench.settle();
    let mut seq = 1;
    let mut is_passed_on = |bench: &mut Bench| {
        seq += 1;
        bench.ask(1, &announcement(&[entry(&record(9, seq))]));
        bench.wait(limits::ANNOUNCE_INTERVAL);
        let told = bench.announced_to(2).contains(&(key(9), seq));
        bench.acknowledge();
        bench.outputs.clear();
        assert_eq!(bench.stored_seq(9), Some(seq), "stored in any case");
        told
    };
    let start = bench.now;
    for _ in 0..limits::OWNER_RELAY_BURST {
        assert!(is_passed_on(&mut bench));
    }
    assert!(!is_passed_on(&mut bench), "one past the burst");
    let pause = Duration::from_secs(limits::OWNER_SECONDS_PER_RELAY.into());
    bench.wait(start + pause - MS - bench.now);
    assert!(!is_passed_on(&mut bench), "too early");
    bench.wait(pause - limits::ANNOUNCE_INTERVAL);
    assert!(is_passed_on(&mut bench));
}

#[test]
fn a_newcomer_cuts_the_list_into_so_many_parts() {
    let mut bench = Bench::new();
    let offers = Hello {
        features: limits::FEATURES,
        ..hello(None)
    };
    bench.connect(1, Direction::Outbound);
    let (id, _) = bench.sent_to(1).pop().unwrap();
    let records: Vec<_> = (100..116).map(|n| entry(&record(n, 1))).collect();
    let sample = PeerResponse {
        count: limits::STRIPES * limits::RECORDS_PER_STRIPE,
        ..page(Some(offers), &records)
    };
    bench.answer(id, &Message::Response(sample));
    bench.outputs.clear();
    let mut parts = BTreeSet::new();
    for n in 2..10 {
        bench.connect(n, Direction::Outbound);
        for (_, message) in bench.sent_to(n) {
            if let Message::Request(PeerRequest {
                stripe: Some(stripe),
                ..
            }) = message
            {
                assert_eq!(stripe.of, limits::STRIPES);
                parts.insert(stripe.index);
            }
        }
    }
    assert_eq!(parts, (0..limits::STRIPES).collect());
}

#[test]
fn who_sits_on_what_it_told_of_is_given_so_long_before_another_is_asked() {
    let news = record(9, 1);
    let mut bench = Bench::new();
    for n in [1, 2] {
        bench.befriend(n);
    }
    bench.settle();
    bench.outputs.clear();
    let ids = crate::attacks::told_ids(&news);
    for n in [1, 2] {
        let told = PeerAnnouncement {
            ids: ids.clone(),
            ..PeerAnnouncement::default()
        };
        bench.ask(n, &Message::Announcement(told));
    }
    let asked = |bench: &Bench| -> Vec<u64> {
        let is_asked = |n: &u64| {
            bench.sent_to(*n).iter().any(
                |(_, m)| matches!(m, Message::Request(r) if r.want.as_ref().is_some_and(|w| w.ids == ids)),
            )
        };
        [1, 2].into_iter().filter(is_asked).collect()
    };
    bench.wait(limits::GRAFT_PATIENCE - MS);
    assert!(asked(&bench).is_empty());
    bench.wait(MS);
    assert_eq!(asked(&bench).len(), 1);
    bench.wait(limits::GRAFT_RETRY - MS);
    assert_eq!(asked(&bench).len(), 1);
    bench.wait(MS);
    assert_eq!(asked(&bench), [1, 2]);
    assert!(bench.engine.next_deadline().is_some());
    bench.feed(Input::Timeout);
}
