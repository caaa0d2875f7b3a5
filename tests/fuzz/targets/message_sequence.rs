//! Any sequence of connections, frames, answers and passing time: the engine neither panics nor spins, answers every
//! request exactly once, and sends only what it can read itself.
//!
//! The input is a program: a byte that says what happens to which peer, and its operand. Frames are raw bytes, or one of
//! the engine's own frames with a few bytes changed.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use btcfed_core::addr::AddrScope;
use btcfed_core::exchange::{Exchange as _, Input, Output};
use btcfed_core::identity::StrictVerifier;
use btcfed_core::network::{CommandId, Direction, RequestError, RequestToken};
use btcfed_core::time::{MonotonicTime, Now, Timestamp};
use btcfed_core::{NodeConfig, PeerKey, PeerSet, SecretKey, SignedRecord};
use btcfed_exchange_protocol::{Engine, EngineOptions, codec};
use libfuzzer_sys::fuzz_target;

/// More outputs to one input than any honest engine has.
const MAX_OUTPUTS: usize = 20_000;

struct World {
    engine: Engine,
    set: Arc<PeerSet>,
    now: Duration,
    /// The latest frames, for replays.
    frames: Vec<Vec<u8>>,
    /// Requests of the engine without an answer.
    asked: Vec<CommandId>,
    token: u64,
    replies: usize,
}

fn secret(n: u8) -> SecretKey {
    SecretKey::from_seed([n; 32])
}

fn key(n: u8) -> PeerKey {
    secret(n).public()
}

impl World {
    fn new() -> Self {
        let set = Arc::new(PeerSet::default());
        let engine = Engine::new(EngineOptions {
            config: Arc::new(NodeConfig::default()),
            own: key(255),
            agent: "fuzz/1".to_owned(),
            seed: 7,
            verifier: Arc::new(StrictVerifier),
            set: Arc::clone(&set),
        });
        let mut world = Self {
            engine,
            set,
            now: Duration::ZERO,
            frames: Vec::new(),
            asked: Vec::new(),
            token: 0,
            replies: 0,
        };
        let addr = "/ip4/10.0.0.1/tcp/1".parse().expect("an address");
        let own = SignedRecord::sign(&secret(255), 1, &[addr]).expect("a record");
        world.feed(Input::OwnRecord(own));
        world
    }

    fn feed(&mut self, input: Input) {
        let now = Now {
            monotonic: MonotonicTime::from_origin(self.now),
            wall: Timestamp::from_secs(1_800_000_000).saturating_add(self.now),
        };
        self.engine.handle(now, input);
        let mut patches = Vec::new();
        let mut count = 0;
        while let Some(output) = self.engine.poll_output() {
            count += 1;
            assert!(count < MAX_OUTPUTS, "the engine does not stop");
            match output {
                Output::Reply { frame, .. } => {
                    self.replies += 1;
                    self.keep(frame);
                }
                Output::Send { id, frame, .. } => {
                    self.asked.push(id);
                    self.keep(frame);
                }
                Output::Store(patch) => patches.push(patch),
                _ => {}
            }
        }
        for patch in patches {
            if let Ok((set, changes)) = self.set.apply(&patch, now) {
                self.set = Arc::new(set);
                let set = Arc::clone(&self.set);
                self.feed(Input::StoreChanged {
                    set,
                    changes: changes.into(),
                });
            }
        }
    }

    fn keep(&mut self, frame: Vec<u8>) {
        codec::decode(&frame).expect("what the engine sends can be read");
        self.frames.push(frame);
        if self.frames.len() > 32 {
            self.frames.remove(0);
        }
    }

    fn request(&mut self, peer: u8, frame: Vec<u8>) {
        self.token += 1;
        let before = self.replies;
        self.feed(Input::Request {
            peer: key(peer),
            token: RequestToken(self.token),
            frame,
        });
        assert!(self.replies <= before + 1, "a request is answered once");
    }

    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..10_000 {
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

    /// A frame: raw bytes, or a late one of the engine's own with bytes changed.
    fn frame(&self, operand: &[u8]) -> Vec<u8> {
        match operand {
            [0xff, which, changes @ ..] if !self.frames.is_empty() => {
                let mut frame = self.frames[usize::from(*which) % self.frames.len()].clone();
                for change in changes.chunks_exact(2) {
                    if !frame.is_empty() {
                        let at = usize::from(change[0]) % frame.len();
                        frame[at] = change[1];
                    }
                }
                frame
            }
            raw => raw.to_vec(),
        }
    }
}

fuzz_target!(|program: &[u8]| {
    let mut world = World::new();
    let mut rest = program;
    while let [op, len, tail @ ..] = rest {
        let (operand, next) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = next;
        let peer = op >> 4;
        match op & 0x0f {
            0 | 1 => world.feed(Input::Connected {
                peer: key(peer),
                direction: if op & 1 == 0 {
                    Direction::Inbound
                } else {
                    Direction::Outbound
                },
                scope: [AddrScope::Loopback, AddrScope::Private, AddrScope::Public]
                    [usize::from(*len) % 3],
            }),
            2 => world.feed(Input::Disconnected { peer: key(peer) }),
            3 => world.wait(Duration::from_millis(u64::from(*len) * u64::from(*len))),
            4..=8 => {
                let frame = world.frame(operand);
                world.request(peer, frame);
            }
            9..=13 => {
                if let Some(id) = world.asked.pop() {
                    let frame = world.frame(operand);
                    world.feed(Input::Response { id, frame });
                }
            }
            14 => {
                if let Some(id) = world.asked.pop() {
                    let error = RequestError::Timeout;
                    world.feed(Input::Failed { id, error });
                }
            }
            _ => {
                let set = Arc::clone(&world.set);
                let changes = Vec::new().into();
                world.feed(Input::StoreChanged { set, changes });
            }
        }
    }
});
