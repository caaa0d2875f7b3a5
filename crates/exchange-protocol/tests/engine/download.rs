//! What a newcomer fetches: a sample, parts from several neighbours at once, and a comparison with everybody.

use std::collections::BTreeSet;
use std::time::Duration;

use btcfed_core::exchange::{Input, Reaction};
use btcfed_core::network::{CommandId, Direction};
use btcfed_core::{PeerKey, SignedRecord};
use btcfed_exchange_protocol::codec;
use btcfed_exchange_protocol::limits;
use btcfed_exchange_protocol::message::{
    ErrorCode, Message, Mode, PeerRequest, PeerResponse, Stripe,
};

use crate::bench::{Bench, code, entry, hello, key, page, question, record};
use crate::conversation::refused;

const LIST: u64 = 600;

/// The federation's records, by key.
fn federation() -> Vec<SignedRecord> {
    let mut all: Vec<SignedRecord> = (100..100 + LIST).map(|n| record(n, 1)).collect();
    all.sort_by_key(SignedRecord::key);
    all
}

fn sample_answer(all: &[SignedRecord]) -> Message {
    let entries: Vec<_> = all.iter().take(limits::SAMPLE).map(entry).collect();
    Message::Response(PeerResponse {
        count: u32::try_from(all.len()).unwrap(),
        ..page(Some(offering()), &entries)
    })
}

/// The introduction of a peer that gives samples and parts.
fn offering() -> btcfed_exchange_protocol::message::Hello {
    let mut hello = hello(None);
    hello.features = limits::FEATURE_STRIPES;
    hello
}

fn last_request(bench: &Bench, n: u64) -> (CommandId, PeerRequest) {
    match bench.sent_to(n).pop() {
        Some((id, Message::Request(request))) => (id, request),
        other => panic!("peer {n} was not asked: {other:?}"),
    }
}

fn asked_stripe(bench: &Bench, n: u64) -> Option<(CommandId, PeerRequest)> {
    asked_stripes(bench, n).into_iter().next_back()
}

fn asked_stripes(bench: &Bench, n: u64) -> Vec<(CommandId, PeerRequest)> {
    let requests = bench.sent_to(n).into_iter();
    let stripes = requests.filter_map(|(id, message)| match message {
        Message::Request(request) if request.mode == Mode::Stripe => Some((id, request)),
        _ => None,
    });
    stripes.collect()
}

/// Answers a question for a part honestly.
fn part(all: &[SignedRecord], request: &PeerRequest) -> Message {
    let stripe = request.stripe.unwrap();
    let mut records = all
        .iter()
        .filter(|r| stripe.holds(&r.key()) && request.cursor.is_none_or(|c| r.key() > c));
    let entries: Vec<_> = records.by_ref().take(256).map(entry).collect();
    let rest = records.next().is_some();
    let hello = request.hello.as_ref().map(|_| offering());
    let last = |e: &btcfed_exchange_protocol::message::RecordEntry| {
        btcfed_core::record::UnverifiedRecord::decode(&e.envelope)
            .unwrap()
            .key()
    };
    Message::Response(PeerResponse {
        next: entries.last().filter(|_| rest).map(last),
        ..page(hello, &entries)
    })
}

/// A newcomer that asked a bootstrap for a sample and then met four neighbours.
fn newcomer(all: &[SignedRecord]) -> Bench {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    let (id, request) = last_request(&bench, 1);
    assert_eq!((request.mode, request.limit), (Mode::Sample, 16));
    bench.answer(id, &sample_answer(all));
    for n in 2..=5 {
        bench.connect(n, Direction::Outbound);
    }
    bench
}

#[test]
fn parts_cover_every_key_once_whatever_the_salt() {
    for salt in [0, 1, u64::MAX] {
        for of in [1, 2, 3, limits::MAX_STRIPES] {
            let mut sizes = vec![0; of as usize];
            for n in 0..640 {
                let held: Vec<u32> = (0..of)
                    .filter(|index| {
                        let index = *index;
                        Stripe { salt, index, of }.holds(&key(n))
                    })
                    .collect();
                assert_eq!(held.len(), 1);
                sizes[held[0] as usize] += 1;
            }
            let even = 640 / of;
            assert!(
                sizes.iter().all(|size| *size <= 3 * even),
                "{of}: {sizes:?}"
            );
        }
    }
}

#[test]
fn parts_beyond_the_bound_and_parts_that_do_not_exist_are_refused() {
    let mut bench = Bench::new();
    bench.befriend(1);
    let mut asked = |index, of| {
        let stripe = Some(Stripe { salt: 1, index, of });
        bench.ask(
            1,
            &Message::Request(PeerRequest {
                mode: Mode::Stripe,
                stripe,
                ..question(None)
            }),
        )
    };
    assert!(matches!(
        asked(limits::MAX_STRIPES - 1, limits::MAX_STRIPES),
        Message::Response(_)
    ));
    assert_eq!(
        code(&asked(0, limits::MAX_STRIPES + 1)),
        ErrorCode::TooLarge
    );
    assert_eq!(code(&asked(1, 1)), ErrorCode::Malformed);
    assert_eq!(code(&asked(0, 0)), ErrorCode::Malformed);
    let nothing = PeerRequest {
        mode: Mode::Stripe,
        ..question(None)
    };
    assert_eq!(
        code(&bench.ask(1, &Message::Request(nothing))),
        ErrorCode::Malformed
    );
}

#[test]
fn a_sample_is_drawn_from_the_whole_list_and_a_short_list_is_told_whole() {
    let mut bench = Bench::new();
    bench.store((100..356).map(|n| record(n, 1)));
    let ask = |bench: &mut Bench, limit| {
        let asked = PeerRequest {
            mode: Mode::Sample,
            limit,
            summary: Some(crate::bench::odd_summary()),
            ..question(None)
        };
        match bench.ask(9, &Message::Request(asked)) {
            Message::Response(response) => response,
            other => panic!("{other:?}"),
        }
    };
    bench.befriend(9);
    let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
    for _ in 0..40 {
        let response = ask(&mut bench, u32::MAX);
        assert_eq!(
            (response.records.len(), response.next),
            (limits::SAMPLE, None)
        );
        assert!(response.count > 256, "the whole list is counted");
        seen.extend(response.records.into_iter().map(|r| r.envelope));
    }
    assert!(seen.len() > 180, "{} of 257 after 640 draws", seen.len());
    assert_eq!(ask(&mut bench, 3).records.len(), 3);
    assert_eq!(ask(&mut bench, 0).records.len(), 0);

    let mut short = Bench::new();
    short.store((100..350).map(|n| record(n, 1)));
    short.befriend(9);
    assert!(ask(&mut short, 16).records.len() > 200, "one answer");
}

#[test]
fn a_newcomer_fetches_one_part_from_each_of_four_neighbours_and_compares_afterwards() {
    let all = federation();
    let mut bench = newcomer(&all);
    let parts: BTreeSet<u32> = (2..=5)
        .map(|n| asked_stripe(&bench, n).unwrap().1.stripe.unwrap())
        .map(|stripe| {
            assert_eq!(stripe.of, 4);
            stripe.index
        })
        .collect();
    assert_eq!(
        parts.len(),
        4,
        "each another part, with the first word said"
    );
    assert!(
        asked_stripe(&bench, 1).is_none(),
        "the bootstrap gave enough"
    );
    for n in 2..=5 {
        let (id, request) = asked_stripe(&bench, n).unwrap();
        assert!(request.hello.is_some());
        bench.answer(id, &part(&all, &request));
    }
    assert_eq!(bench.set.len(), all.len(), "everything is here");
    let compares = (1..=5)
        .filter(|n| last_request(&bench, *n).1.mode == Mode::Summary)
        .count();
    assert_eq!(compares, limits::MAX_PARALLEL_ROUNDS, "as far as rounds go");
}

#[test]
fn a_neighbour_that_hides_its_part_is_found_out_by_the_comparison_with_another() {
    let all = federation();
    let mut bench = newcomer(&all);
    let mut hidden = 0;
    for n in 2..=5 {
        let (id, request) = asked_stripe(&bench, n).unwrap();
        if n == 2 {
            let stripe = request.stripe.unwrap();
            hidden = all.iter().filter(|r| stripe.holds(&r.key())).count();
            bench.answer(id, &Message::Response(page(Some(offering()), &[])));
        } else {
            bench.answer(id, &part(&all, &request));
        }
    }
    assert!(hidden > 100 && bench.set.len() <= all.len() - hidden + limits::SAMPLE);
    // Whoever is compared with and has more is asked for what is missing, here in pages.
    let n = (3..=5)
        .chain([1])
        .find(|n| last_request(&bench, *n).1.mode == Mode::Summary)
        .unwrap();
    let (id, _) = last_request(&bench, n);
    let entries: Vec<_> = all.iter().take(256).map(entry).collect();
    let next = Some(all[255].key());
    let count = u32::try_from(all.len()).unwrap();
    bench.answer(
        id,
        &Message::Response(PeerResponse {
            next,
            count,
            ..page(None, &entries)
        }),
    );
    for _ in 0..2 {
        let (id, request) = last_request(&bench, n);
        let rest: Vec<_> = all
            .iter()
            .filter(|r| r.key() > request.cursor.unwrap())
            .take(256)
            .map(entry)
            .collect();
        let last: PeerKey =
            btcfed_core::record::UnverifiedRecord::decode(&rest.last().unwrap().envelope)
                .unwrap()
                .key();
        let next = (rest.len() == 256).then_some(last);
        bench.answer(
            id,
            &Message::Response(PeerResponse {
                next,
                ..page(None, &rest)
            }),
        );
    }
    assert_eq!(bench.set.len(), all.len());
}

#[test]
fn a_neighbour_that_sits_on_its_part_delays_it_by_the_patience_and_no_longer() {
    let all = federation();
    let mut bench = newcomer(&all);
    let (_, held) = asked_stripe(&bench, 2).unwrap();
    for n in 3..=5 {
        let (id, request) = asked_stripe(&bench, n).unwrap();
        bench.answer(id, &part(&all, &request));
    }
    bench.outputs.clear();
    bench.wait(limits::STRIPE_PATIENCE - Duration::from_millis(1));
    assert!((1..=5).all(|n| asked_stripe(&bench, n).is_none()));
    bench.wait(Duration::from_millis(1));
    let (n, id, request) = (1..=5)
        .find_map(|n| asked_stripe(&bench, n).map(|(id, request)| (n, id, request)))
        .unwrap();
    assert_ne!(n, 2, "somebody else");
    assert_eq!(request.stripe, held.stripe);
    bench.answer(id, &part(&all, &request));
    assert_eq!(bench.set.len(), all.len());
}

#[test]
fn a_single_neighbour_is_asked_for_all_parts_after_a_wait() {
    let all = federation();
    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    let (id, _) = last_request(&bench, 1);
    bench.answer(id, &sample_answer(&all));
    bench.outputs.clear();
    bench.wait(limits::STRIPE_WAIT - Duration::from_millis(1));
    assert!(asked_stripe(&bench, 1).is_none());
    bench.wait(Duration::from_millis(1));
    let asked = asked_stripes(&bench, 1);
    assert_eq!(asked.len(), 4, "all at once");
    bench.outputs.clear();
    for (id, request) in asked {
        bench.answer(id, &part(&all, &request));
    }
    assert_eq!(bench.set.len(), all.len());
    assert_eq!(last_request(&bench, 1).1.mode, Mode::Summary);
}

/// The answer of a bootstrap whose list has so many records.
fn sample_of(count: u32) -> Message {
    let Message::Response(response) = sample_answer(&federation()) else {
        unreachable!()
    };
    Message::Response(PeerResponse { count, ..response })
}

#[test]
fn who_gave_the_first_part_of_a_long_list_is_asked_for_the_rest_of_its_share_at_once() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    let (id, _) = last_request(&bench, 1);
    let parts = 40;
    bench.answer(id, &sample_of(parts * limits::RECORDS_PER_STRIPE));
    for n in 2..=5 {
        bench.connect(n, Direction::Outbound);
    }
    let first: Vec<_> = (2..=5).map(|n| (n, asked_stripes(&bench, n))).collect();
    for (n, asked) in first {
        assert_eq!(asked.len(), 1, "it has to introduce itself first");
        let (id, request) = &asked[0];
        assert_eq!(request.stripe.unwrap().of, parts);
        bench.outputs.clear();
        bench.answer(*id, &part(&[], request));
        assert_eq!(asked_stripes(&bench, n).len(), 9, "a quarter in all");
    }
}

#[test]
fn one_neighbour_is_asked_for_so_many_parts_at_a_time_and_for_another_when_one_arrived() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    let (id, _) = last_request(&bench, 1);
    bench.answer(id, &sample_of(u32::MAX));
    bench.outputs.clear();
    bench.wait(limits::STRIPE_WAIT);
    let asked = asked_stripes(&bench, 1);
    assert_eq!(asked.len(), 1 + limits::MAX_PARTS_IN_FLIGHT);
    bench.outputs.clear();
    let (id, request) = &asked[1];
    bench.answer(*id, &part(&[], request));
    assert_eq!(asked_stripes(&bench, 1).len(), 1);
    bench.outputs.clear();
    let wrong = PeerResponse {
        next: Some(key(9)),
        ..page(None, &[])
    };
    bench.answer(asked[2].0, &Message::Response(wrong));
    assert_eq!(bench.penalties(1), [Reaction::Warn], "a page of nothing");
    assert!(
        asked_stripes(&bench, 1).is_empty(),
        "left alone for a while"
    );
}

/// A newcomer with one neighbour, and the parts it asks of it beside the first.
fn parts_beside(all: &[SignedRecord]) -> (Bench, Vec<(CommandId, PeerRequest)>) {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    let (id, _) = last_request(&bench, 1);
    bench.answer(id, &sample_answer(all));
    bench.outputs.clear();
    bench.wait(limits::STRIPE_WAIT);
    let asked = asked_stripes(&bench, 1).split_off(1);
    bench.outputs.clear();
    (bench, asked)
}

/// A page of one record of the part, and more to come.
fn trickled(records: &[&SignedRecord], page: usize) -> Message {
    let record = records[page];
    Message::Response(PeerResponse {
        next: Some(record.key()),
        ..crate::bench::page(None, &[entry(record)])
    })
}

fn held(all: &[SignedRecord], stripe: Option<Stripe>) -> Vec<&SignedRecord> {
    let stripe = stripe.unwrap();
    all.iter().filter(|r| stripe.holds(&r.key())).collect()
}

#[test]
fn a_part_has_so_many_pages_and_what_is_left_is_found_by_the_rounds() {
    let all = federation();
    let (mut bench, asked) = parts_beside(&all);
    let (mut id, request) = asked[0].clone();
    let records = held(&all, request.stripe);
    let mut pages = 1;
    loop {
        bench.outputs.clear();
        bench.answer(id, &trickled(&records, pages - 1));
        match asked_stripe(&bench, 1) {
            Some((next, again)) if again.stripe == request.stripe => id = next,
            _ => break,
        }
        pages += 1;
        assert!(pages < 50, "without an end");
    }
    assert_eq!(Ok(pages), usize::try_from(limits::MAX_PAGES_PER_PART));
    assert_eq!(bench.penalties(1), [], "it may have more than was thought");
}

#[test]
fn a_part_goes_on_until_the_download_ends_and_not_after_it() {
    let all = federation();
    let (mut bench, asked) = parts_beside(&all);
    let (id, request) = asked[0].clone();
    let records = held(&all, request.stripe);
    bench.answer(id, &trickled(&records, 0));
    let (id, _) = asked_stripe(&bench, 1).unwrap();
    bench.now += limits::DOWNLOAD_LIMIT;
    bench.outputs.clear();
    bench.answer(id, &trickled(&records, 1));
    bench.feed(Input::Timeout);
    assert!(asked_stripe(&bench, 1).is_none(), "it is over");
}

#[test]
fn records_outside_of_the_part_asked_for_are_a_wrong_answer_and_not_taken() {
    let all = federation();
    let (mut bench, asked) = parts_beside(&all);
    let (id, request) = asked[0].clone();
    let stripe = request.stripe.unwrap();
    let inside = *held(&all, request.stripe).last().unwrap();
    let outside = all.iter().rfind(|r| !stripe.holds(&r.key())).unwrap();
    let before = bench.set.len();
    let both = page(None, &[entry(inside), entry(outside)]);
    bench.answer(id, &Message::Response(both));
    assert_eq!(bench.penalties(1), [Reaction::Warn]);
    assert_eq!(bench.set.len(), before, "neither of them");
}

#[test]
fn who_does_not_know_samples_and_parts_is_asked_in_the_older_way() {
    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    let (id, _) = last_request(&bench, 1);
    bench.answer(id, &refused(ErrorCode::Unsupported));
    bench.outputs.clear();
    bench.wait(limits::RETRY_PAUSE);
    let (_, request) = last_request(&bench, 1);
    assert_eq!(
        (request.mode, request.hello.is_some()),
        (Mode::Summary, true)
    );

    let all = federation();
    let mut bench = Bench::new();
    bench.connect(1, Direction::Outbound);
    let (id, _) = last_request(&bench, 1);
    let Message::Response(mut answer) = sample_answer(&all) else {
        unreachable!()
    };
    answer.hello = Some(hello(None));
    bench.answer(id, &Message::Response(answer));
    bench.outputs.clear();
    bench.wait(limits::DOWNLOAD_LIMIT);
    assert!(asked_stripe(&bench, 1).is_none(), "it offers no parts");
    assert_eq!(last_request(&bench, 1).1.mode, Mode::Summary);
}

#[test]
fn a_download_ends_at_its_limit_whatever_neighbours_do() {
    let all = federation();
    let mut bench = newcomer(&all);
    bench.wait(limits::DOWNLOAD_LIMIT);
    let compares = |bench: &Bench| {
        (1..=5)
            .flat_map(|n| bench.sent_to(n))
            .any(|(_, m)| matches!(m, Message::Request(r) if r.mode == Mode::Summary))
    };
    bench.outputs.clear();
    bench.wait(Duration::from_secs(20));
    assert!(compares(&bench), "rounds go on");
}

#[test]
fn answers_have_a_budget_of_bytes_that_outlives_a_connection() {
    let mut bench = Bench::new();
    bench.store((100..400).map(|n| record(n, 1)));
    bench.befriend(1);
    let mut bytes = 0;
    let mut ask = || {
        bench.outputs.clear();
        let answer = bench.ask(1, &Message::Request(question(None)));
        bench.wait(Duration::from_millis(20));
        if matches!(answer, Message::Response(_)) {
            bytes += codec::encode(&answer).len();
        }
        answer
    };
    let refusal = (0..100)
        .map(|_| ask())
        .find(|answer| matches!(answer, Message::Error(_)))
        .unwrap();
    // The list is short: twice the least that any list counts as. Always room for one more frame.
    let hour = limits::ANSWER_LISTS_PER_HOUR * limits::ANSWER_LIST_MIN_BYTES;
    assert!((hour - 2 * 65_536..hour).contains(&bytes), "{bytes} bytes");
    let Message::Error(error) = refusal else {
        panic!("no error")
    };
    assert_eq!(error.code, ErrorCode::Rate);
    assert!(
        (1..=115_000).contains(&error.retry_after_ms),
        "until a frame fits"
    );
    bench.feed(Input::Disconnected { peer: key(1) });
    bench.connect(1, Direction::Inbound);
    let again = bench.ask(1, &Message::Request(question(Some(hello(None)))));
    assert_eq!(code(&again), ErrorCode::Rate, "no new budget");
}
