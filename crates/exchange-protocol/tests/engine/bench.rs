//! One engine under test, and peers that are whatever the test wants them to be.

use std::sync::Arc;
use std::time::Duration;

use btcfed_core::addr::AddrScope;
use btcfed_core::config::NodeConfig;
use btcfed_core::exchange::{Exchange as _, ExchangeCounters, Input, Notice, Output, Reaction};
use btcfed_core::identity::{StrictVerifier, Verifier};
use btcfed_core::network::{CommandId, Direction, RequestToken};
use btcfed_core::time::{MonotonicTime, Now, Timestamp};
use btcfed_core::{PeerAddr, PeerKey, PeerOp, PeerPatch, PeerSet, SecretKey, SignedRecord};
use btcfed_exchange_protocol::message::{
    Cell, CellBlock, ErrorCode, ErrorReply, Hello, Message, Mode, PeerAnnouncement, PeerRequest,
    PeerResponse, PeerUpdate, RecordEntry, Summary,
};
use btcfed_exchange_protocol::{Engine, EngineOptions};
use btcfed_exchange_protocol::{codec, limits};

/// The secret key number `n`.
pub(crate) fn secret(n: u64) -> SecretKey {
    let mut seed = [0x5a; 32];
    seed[..8].copy_from_slice(&n.to_le_bytes());
    SecretKey::from_seed(seed)
}

pub(crate) fn key(n: u64) -> PeerKey {
    secret(n).public()
}

pub(crate) fn addr(text: &str) -> PeerAddr {
    text.parse().unwrap()
}

/// A record of peer `n` with one private address.
pub(crate) fn record(n: u64, seq: u64) -> SignedRecord {
    let ip = format!(
        "/ip4/10.{}.{}.{}/tcp/9000",
        n >> 16 & 0xff,
        n >> 8 & 0xff,
        n & 0xff
    );
    record_at(n, seq, &[&ip])
}

pub(crate) fn record_at(n: u64, seq: u64, addrs: &[&str]) -> SignedRecord {
    let addrs: Vec<PeerAddr> = addrs.iter().map(|text| addr(text)).collect();
    SignedRecord::sign(&secret(n), seq, &addrs).unwrap()
}

pub(crate) fn entry(record: &SignedRecord) -> RecordEntry {
    RecordEntry {
        envelope: record.envelope().to_vec(),
        age_s: 3,
    }
}

/// A well-formed record of peer `n` with a signature that does not hold.
pub(crate) fn forged(n: u64, seq: u64) -> RecordEntry {
    let mut envelope = record(n, seq).envelope().to_vec();
    let last = envelope.len() - 5;
    envelope[last] ^= 1;
    RecordEntry { envelope, age_s: 0 }
}

/// The introduction of a well-behaved peer.
pub(crate) fn hello(own: Option<&SignedRecord>) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        network: [0xf9, 0xbe, 0xb4, 0xd9],
        federation: String::new(),
        features: 0,
        agent: "test/1".to_owned(),
        record: own.map_or_else(Vec::new, |own| own.envelope().to_vec()),
        wall_ms: 0,
    }
}

pub(crate) fn question(hello: Option<Hello>) -> PeerRequest {
    PeerRequest {
        hello,
        mode: Mode::Page,
        cursor: None,
        limit: 256,
        ..PeerRequest::default()
    }
}

pub(crate) fn announcement(records: &[RecordEntry]) -> Message {
    Message::Announcement(PeerAnnouncement {
        records: records.to_vec(),
        ..PeerAnnouncement::default()
    })
}

pub(crate) fn update(record: RecordEntry) -> Message {
    Message::Update(PeerUpdate { record })
}

/// An answer with these records and no further page.
pub(crate) fn page(hello: Option<Hello>, records: &[RecordEntry]) -> PeerResponse {
    let count = records.len().try_into().unwrap();
    PeerResponse {
        hello,
        records: records.to_vec(),
        count,
        ..PeerResponse::default()
    }
}

/// The engine of peer 0 with a store beside it.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) set: Arc<PeerSet>,
    pub(crate) now: Duration,
    pub(crate) outputs: Vec<Output>,
    /// Whether what the engine learns reaches its store.
    pub(crate) stores: bool,
    token: u64,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with_config(NodeConfig::default())
    }

    pub(crate) fn with_config(config: NodeConfig) -> Self {
        Self::with_verifier(config, Arc::new(StrictVerifier))
    }

    pub(crate) fn with_verifier(config: NodeConfig, verifier: Arc<dyn Verifier>) -> Self {
        let set = Arc::new(PeerSet::default());
        let engine = Engine::new(EngineOptions {
            config: Arc::new(config),
            own: key(0),
            agent: "bench/1".to_owned(),
            seed: 7,
            verifier,
            set: Arc::clone(&set),
        });
        let mut bench = Self {
            engine,
            set,
            now: Duration::ZERO,
            outputs: Vec::new(),
            stores: true,
            token: 0,
        };
        bench.feed(Input::OwnRecord(record(0, 10)));
        bench
    }

    pub(crate) fn clock(&self) -> Now {
        Now {
            monotonic: MonotonicTime::from_origin(self.now),
            wall: Timestamp::from_secs(1_800_000_000).saturating_add(self.now),
        }
    }

    /// Feeds an input and collects what comes out.
    pub(crate) fn feed(&mut self, input: Input) {
        let now = self.clock();
        self.engine.handle(now, input);
        let mut patches = Vec::new();
        while let Some(output) = self.engine.poll_output() {
            if let Output::Store(patch) = &output {
                patches.push(patch.clone());
            }
            self.outputs.push(output);
        }
        if self.stores {
            for patch in patches {
                self.apply(&patch);
            }
        }
    }

    pub(crate) fn apply(&mut self, patch: &PeerPatch) {
        let (set, changes) = self.set.apply(patch, self.clock()).unwrap();
        self.set = Arc::new(set);
        self.feed(Input::StoreChanged {
            set: Arc::clone(&self.set),
            changes: changes.into(),
        });
    }

    /// Puts records into the store as if they had been there all the time.
    pub(crate) fn store(&mut self, records: impl IntoIterator<Item = SignedRecord>) {
        self.apply(&records.into_iter().map(PeerOp::Learn).collect());
    }

    /// Lets time pass, with every deadline met.
    pub(crate) fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..100_000 {
            match self.engine.next_deadline().map(MonotonicTime::since_origin) {
                Some(due) if due <= end => {
                    self.now = self.now.max(due);
                    self.feed(Input::Timeout);
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("the engine spins");
    }

    pub(crate) fn connect(&mut self, n: u64, direction: Direction) {
        self.connect_over(n, direction, AddrScope::Private);
    }

    pub(crate) fn connect_over(&mut self, n: u64, direction: Direction, scope: AddrScope) {
        self.feed(Input::Connected {
            peer: key(n),
            direction,
            scope,
        });
    }

    /// Connects a peer that dialled, introduces it with its record, and answers the engine's first question.
    pub(crate) fn befriend(&mut self, n: u64) {
        self.befriend_over(n, AddrScope::Private);
    }

    pub(crate) fn befriend_over(&mut self, n: u64, scope: AddrScope) {
        self.connect_over(n, Direction::Inbound, scope);
        let own = record_at(
            n,
            1,
            &[
                &format!("/ip4/10.9.{}.{}/tcp/1", n >> 8 & 0xff, n & 0xff),
                "/dns4/a.example/tcp/1",
            ],
        );
        let answer = self.ask(n, &Message::Request(question(Some(hello(Some(&own))))));
        assert!(matches!(answer, Message::Response(_)), "{answer:?}");
        for (id, message) in self.sent_to(n) {
            if matches!(message, Message::Request(_)) {
                self.answer(id, &Message::Response(page(Some(hello(None)), &[])));
            }
        }
        self.acknowledge();
        self.outputs.clear();
    }

    /// Lets every batch go out and arrive, then forgets what came out.
    pub(crate) fn settle(&mut self) {
        for _ in 0..3 {
            self.wait(limits::ANNOUNCE_INTERVAL);
            self.acknowledge();
            self.outputs.clear();
        }
    }

    /// Answers every announcement and update among the outputs.
    pub(crate) fn acknowledge(&mut self) {
        let ids: Vec<CommandId> = self
            .outputs
            .iter()
            .filter_map(|output| match output {
                Output::Send { id, frame, .. } => {
                    let message = codec::decode(frame).unwrap();
                    matches!(message, Message::Announcement(_) | Message::Update(_)).then_some(*id)
                }
                _ => None,
            })
            .collect();
        for id in ids {
            self.answer(id, &Message::Ack);
        }
    }

    /// Sends a message as peer `n` and returns the engine's reply to it.
    pub(crate) fn ask(&mut self, n: u64, message: &Message) -> Message {
        self.ask_raw(n, codec::encode(message))
    }

    pub(crate) fn ask_raw(&mut self, n: u64, frame: Vec<u8>) -> Message {
        self.ask_raw_as(key(n), frame)
    }

    pub(crate) fn ask_as(&mut self, peer: PeerKey, message: &Message) -> Message {
        self.ask_raw_as(peer, codec::encode(message))
    }

    fn ask_raw_as(&mut self, peer: PeerKey, frame: Vec<u8>) -> Message {
        self.token += 1;
        let token = RequestToken(self.token);
        self.feed(Input::Request { peer, token, frame });
        let replies: Vec<&Vec<u8>> = self
            .outputs
            .iter()
            .filter_map(|output| match output {
                Output::Reply { token: to, frame } if *to == token => Some(frame),
                _ => None,
            })
            .collect();
        assert_eq!(replies.len(), 1, "every request is answered exactly once");
        codec::decode(replies[0]).unwrap()
    }

    /// The bytes of the replies since the outputs were cleared.
    pub(crate) fn reply_bytes(&self) -> usize {
        let sizes = self.outputs.iter().map(|output| match output {
            Output::Reply { frame, .. } => frame.len(),
            _ => 0,
        });
        sizes.sum()
    }

    pub(crate) fn answer(&mut self, id: CommandId, message: &Message) {
        self.feed(Input::Response {
            id,
            frame: codec::encode(message),
        });
    }

    /// What the engine asked of or told peer `n` since the outputs were cleared.
    pub(crate) fn sent_to(&self, n: u64) -> Vec<(CommandId, Message)> {
        self.outputs
            .iter()
            .filter_map(|output| match output {
                Output::Send { peer, id, frame } if *peer == key(n) => {
                    Some((*id, codec::decode(frame).unwrap()))
                }
                _ => None,
            })
            .collect()
    }

    /// The records announced to peer `n`, as (key, seq).
    pub(crate) fn announced_to(&self, n: u64) -> Vec<(PeerKey, u64)> {
        self.sent_to(n)
            .into_iter()
            .flat_map(|(_, message)| match message {
                Message::Announcement(announcement) => announcement.records,
                Message::Update(update) => vec![update.record],
                _ => Vec::new(),
            })
            .map(|entry| {
                let record =
                    btcfed_core::record::UnverifiedRecord::decode(&entry.envelope).unwrap();
                (record.key(), record.seq())
            })
            .collect()
    }

    pub(crate) fn penalties(&self, n: u64) -> Vec<Reaction> {
        self.outputs
            .iter()
            .filter_map(|output| match output {
                Output::Penalty { peer, reaction, .. } if *peer == key(n) => Some(*reaction),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn is_closed(&self, n: u64) -> bool {
        self.outputs
            .iter()
            .any(|output| matches!(output, Output::Close { peer, .. } if *peer == key(n)))
    }

    pub(crate) fn notices(&self) -> Vec<Notice> {
        self.outputs
            .iter()
            .filter_map(|output| match output {
                Output::Notice(notice) => Some(notice.clone()),
                _ => None,
            })
            .collect()
    }

    /// The sequence number stored for peer `n`.
    pub(crate) fn stored_seq(&self, n: u64) -> Option<u64> {
        self.set
            .get(&key(n))?
            .record
            .as_ref()
            .map(SignedRecord::seq)
    }

    pub(crate) fn counters(&self) -> ExchangeCounters {
        self.engine.counters()
    }
}

/// The code of an error; panics when the message is none.
pub(crate) fn code(message: &Message) -> ErrorCode {
    match message {
        Message::Error(ErrorReply { code, .. }) => *code,
        other => panic!("not an error: {}", other.to_debug_json()),
    }
}

/// Cells of no list at all.
pub(crate) fn cells(first: u32, count: u32) -> CellBlock {
    let cell = |n: u32| Cell {
        id: u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        check: n,
        count: i64::from(n % 5) - 2,
    };
    CellBlock {
        salt: 9,
        first,
        cells: (first..first + count).map(cell).collect(),
    }
}

/// A summary nobody's list has.
pub(crate) fn odd_summary() -> Summary {
    Summary {
        salt: 1,
        root: 2,
        count: 3,
    }
}
