//! Finding the difference of two lists: two engines that converse, beside two sides that speak negentropy.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use btcfed_core::addr::AddrScope;
use btcfed_core::exchange::{Exchange as _, Input, Notice, Output};
use btcfed_core::identity::{SignatureCheck, Verifier};
use btcfed_core::network::{Direction, RequestToken};
use btcfed_core::time::{MonotonicTime, Now, Timestamp};
use btcfed_core::{NodeConfig, PeerKey, PeerRecord, PeerSet, PeerSource, SecretKey, SignedRecord};
use btcfed_exchange_protocol::{Engine, EngineOptions, codec, message::Message};
use negentropy::{Id, Negentropy, NegentropyStorageVector};

pub(crate) const DIFFERENCES: [usize; 5] = [0, 1, 10, 100, 1000];

/// Keys of the two nodes themselves.
const OWN: [usize; 2] = [9_000_000, 9_000_001];

/// What finding a difference cost.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    /// Sent by the side that asks.
    asked: usize,
    /// Sent by the other.
    answered: usize,
    trips: usize,
    /// Of both sides together.
    cpu: Duration,
    /// How many records the asking side was found to lack.
    found: usize,
}

/// Measures every number of differences at every size; the median of `rounds` rounds.
pub(crate) fn run(rounds: usize, sizes: &[usize]) -> Result<String, String> {
    let mut table = "| records | d | | asked + answered, B | round trips | CPU of both | bytes: negentropy / ours |\n\
                     |---|---|---|---|---|---|---|\n"
        .to_owned();
    let own = OWN.into_iter().map(peer).collect::<Result<Vec<_>, _>>()?;
    for size in sizes {
        let spare = DIFFERENCES.iter().max().copied().unwrap_or_default() * 2;
        let records = (0..size + spare).map(peer).collect::<Result<Vec<_>, _>>()?;
        for d in DIFFERENCES {
            let lists = Lists {
                records: &records,
                own: &own,
                size: *size,
                d,
            };
            let ours = median(ours(&lists, rounds)?);
            let theirs = median(
                (0..rounds)
                    .map(|_| theirs(&lists))
                    .collect::<Result<_, _>>()?,
            );
            let ratio = total(&theirs) as f64 / total(&ours) as f64;
            for (name, cost, ratio) in [
                ("ours", ours, format!("{ratio:.1}")),
                ("negentropy", theirs, String::new()),
            ] {
                if cost.found != lists.missing() {
                    let (found, d) = (cost.found, lists.missing());
                    return Err(format!("{name} found {found} of {d} with {size} records"));
                }
                writeln!(
                    table,
                    "| {size} | {d} | {name} | {} + {} | {} | {:.2?} | {ratio} |",
                    cost.asked, cost.answered, cost.trips, cost.cpu
                )
                .map_err(|error| error.to_string())?;
            }
        }
    }
    Ok(table)
}

const fn total(cost: &Cost) -> usize {
    cost.asked + cost.answered
}

fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by_key(|cost| (cost.cpu, total(cost)));
    costs.get(costs.len() / 2).copied().unwrap_or_default()
}

fn secret(n: usize) -> SecretKey {
    let mut seed = [0x51; 32];
    if let Some(start) = seed.first_chunk_mut() {
        *start = n.to_le_bytes();
    }
    SecretKey::from_seed(seed)
}

fn peer(n: usize) -> Result<PeerRecord, String> {
    let addr = format!(
        "/ip4/10.{}.{}.{}/tcp/9000",
        n >> 16 & 0xff,
        n >> 8 & 0xff,
        n & 0xff
    );
    let addr = addr.parse().map_err(|e| format!("address {n}: {e}"))?;
    let signed = SignedRecord::sign(&secret(n), 1, &[addr]).map_err(|e| e.to_string())?;
    let mut peer = PeerRecord::new(signed.key(), PeerSource::Signed);
    peer.record = Some(signed);
    Ok(peer)
}

/// Two lists of `size` records, half of the `d` differences on each side.
struct Lists<'a> {
    records: &'a [PeerRecord],
    own: &'a [PeerRecord],
    size: usize,
    d: usize,
}

impl Lists<'_> {
    /// What both have, and after it what one of them has; `shift` chooses other differences.
    fn of(&self, side: usize, shift: usize) -> Vec<PeerRecord> {
        let common = self.size - self.d / 2;
        let own = if side == 0 {
            self.d / 2
        } else {
            self.d - self.d / 2
        };
        let first = common + self.d / 2 * side + shift;
        let common = self.records.iter().take(common);
        let rest = self.records.iter().skip(first).take(own);
        common.chain(rest).cloned().collect()
    }

    /// How many records the first side lacks.
    const fn missing(&self) -> usize {
        self.d - self.d / 2
    }

    fn set(&self, side: usize, shift: usize) -> Arc<PeerSet> {
        // Both know each other already.
        let peers = self
            .of(side, shift)
            .into_iter()
            .chain(self.own.iter().cloned());
        Arc::new(PeerSet::from_parts(peers, [], []))
    }
}

/// Signatures are no part of what is compared.
#[derive(Debug)]
struct TrustAll;

impl Verifier for TrustAll {
    fn verify_batch(&self, checks: &[SignatureCheck<'_>]) -> Vec<bool> {
        vec![true; checks.len()]
    }
}

/// Two engines; the first asks.
struct Pair {
    engines: [Engine; 2],
    keys: [PeerKey; 2],
    now: Duration,
}

impl Pair {
    fn new(sets: [Arc<PeerSet>; 2]) -> Result<Self, String> {
        let mut config = NodeConfig::default();
        config.peers.exchange_jitter = 0.0;
        let config = Arc::new(config);
        let keys = OWN.map(|own| secret(own).public());
        let [one, other] = sets;
        let engines = [(0, one), (1, other)].map(|(me, set)| {
            Engine::new(EngineOptions {
                config: Arc::clone(&config),
                own: keys[me],
                agent: "bench/1".to_owned(),
                seed: 7 + me as u64,
                verifier: Arc::new(TrustAll),
                set,
            })
        });
        let mut pair = Self {
            engines,
            keys,
            now: Duration::ZERO,
        };
        for (me, own) in OWN.into_iter().enumerate() {
            let record = peer(own)?.record.clone().ok_or("no record")?;
            pair.engines[me].handle(pair.clock(), Input::OwnRecord(record));
        }
        for (me, direction) in [Direction::Outbound, Direction::Inbound]
            .into_iter()
            .enumerate()
        {
            let input = Input::Connected {
                peer: keys[1 - me],
                direction,
                scope: AddrScope::Private,
            };
            pair.engines[me].handle(pair.clock(), input);
        }
        pair.converse(false);
        Ok(pair)
    }

    fn clock(&self) -> Now {
        Now {
            monotonic: MonotonicTime::from_origin(self.now),
            wall: Timestamp::from_secs(1_800_000_000).saturating_add(self.now),
        }
    }

    /// The stores change, and the first side's next round finds the difference.
    fn round(&mut self, sets: [Arc<PeerSet>; 2]) -> Cost {
        for (engine, set) in self.engines.iter_mut().zip(sets) {
            let changes = Arc::from([]);
            let now = Now {
                monotonic: MonotonicTime::from_origin(self.now),
                wall: Timestamp::from_secs(1_800_000_000),
            };
            engine.handle(now, Input::StoreChanged { set, changes });
        }
        // A minute ends every pause, and the timer of the first side has fired.
        self.now += Duration::from_secs(60);
        let start = Instant::now();
        let now = self.clock();
        self.engines[0].handle(now, Input::Timeout);
        let cpu = start.elapsed();
        let mut cost = self.converse(true);
        cost.cpu += cpu;
        cost
    }

    /// Carries frames until nobody has anything to say. What the second side asks on its own account is left out when
    /// only the first one is measured.
    fn converse(&mut self, is_measured: bool) -> Cost {
        let mut cost = Cost::default();
        let now = self.clock();
        let (mut asked, mut is_known) = (Vec::new(), false);
        while let Some((me, output)) =
            (0..2).find_map(|me| Some((me, self.engines[me].poll_output()?)))
        {
            let (other, peer) = (1 - me, self.keys[me]);
            if is_measured && me == 1 && matches!(output, Output::Send { .. }) {
                continue;
            }
            let start = Instant::now();
            match output {
                Output::Send { id, frame, .. } => match codec::decode(&frame) {
                    Ok(Message::Request(request)) => {
                        cost.asked += frame.len();
                        is_known |= request.want.is_some();
                        cost.trips += usize::from(request.want.is_none());
                        let token = RequestToken(asked.len() as u64);
                        asked.push((me, id));
                        let input = Input::Request { peer, token, frame };
                        self.engines[other].handle(now, input);
                    }
                    Ok(Message::Announcement(_)) => {
                        let frame = codec::encode(&Message::Ack);
                        self.engines[me].handle(now, Input::Response { id, frame });
                        continue;
                    }
                    _ => continue,
                },
                Output::Reply { token, frame } => {
                    let at = usize::try_from(token.0).unwrap_or(usize::MAX);
                    let Some((asker, id)) = asked.get(at).copied() else {
                        continue;
                    };
                    if let Ok(Message::Response(response)) = codec::decode(&frame)
                        && response.records.is_empty()
                    {
                        cost.answered += frame.len();
                    }
                    self.engines[asker].handle(now, Input::Response { id, frame });
                }
                Output::Notice(Notice::SyncCompleted { received, .. }) => {
                    cost.found += received;
                    continue;
                }
                _ => continue,
            }
            if !is_known {
                cost.cpu += start.elapsed();
            }
        }
        cost
    }
}

fn ours(lists: &Lists<'_>, rounds: usize) -> Result<Vec<Cost>, String> {
    let mut costs = Vec::new();
    let mut pair = Pair::new([lists.set(0, 0), lists.set(0, 0)])?;
    // The first rounds make what is kept afterwards.
    for round in 0..rounds + 2 {
        let shift = round % 2 * lists.d;
        let cost = pair.round([lists.set(0, shift), lists.set(1, shift)]);
        if round >= 2 {
            costs.push(cost);
        }
    }
    Ok(costs)
}

fn theirs(lists: &Lists<'_>) -> Result<Cost, String> {
    let problem = |error: negentropy::Error| error.to_string();
    let storage = |side| -> Result<NegentropyStorageVector, String> {
        let mut storage = NegentropyStorageVector::new();
        for peer in lists.of(side, 0) {
            let id = Id::from_byte_array(*peer.key.as_bytes());
            storage.insert(0, id).map_err(problem)?;
        }
        storage.seal().map_err(problem)?;
        Ok(storage)
    };
    let (mine, yours) = (storage(0)?, storage(1)?);
    let mut asker = Negentropy::borrowed(&mine, 0).map_err(problem)?;
    let mut answerer = Negentropy::borrowed(&yours, 0).map_err(problem)?;
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let mut cost = Cost::default();
    let start = Instant::now();
    let mut question = asker.initiate().map_err(problem)?;
    loop {
        cost.asked += question.len();
        cost.trips += 1;
        let answer = answerer.reconcile(&question).map_err(problem)?;
        cost.answered += answer.len();
        match asker
            .reconcile_with_ids(&answer, &mut have, &mut need)
            .map_err(problem)?
        {
            Some(next) => question = next,
            None => break,
        }
    }
    cost.cpu = start.elapsed();
    cost.found = need.len();
    Ok(cost)
}
