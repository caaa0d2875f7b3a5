//! The messages of one peer, as they come and go, for people who look for a fault.
//!
//! Nothing is copied or decoded while nobody looks. While somebody does, the node only puts bytes into a bounded queue;
//! what does not fit is left out and counted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use btcfed_core::exchange::{Exchange, ExchangeCounters, Input, Output};
use btcfed_core::key::PeerKey;
use btcfed_core::time::{MonotonicTime, Now, Timestamp};
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::view::time_text;
use crate::wire::describe_frame;

/// Messages that wait for whoever looks.
pub const TRACE_QUEUE: usize = 256;

/// Most people who look at a time.
pub const MAX_TRACES: usize = 4;

/// Longest time a look takes.
pub const MAX_TRACE_TIME: Duration = Duration::from_secs(60 * 60);

/// Questions whose answers are awaited, of all peers looked at.
const MAX_OPEN: usize = 1024;

/// Longest text of what a message says, in bytes.
const MAX_SUMMARY_BYTES: usize = 2048;

/// Where messages of peers that somebody looks at are handed over.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// How many look: the only thing that is asked for each message while nobody does.
    active: AtomicUsize,
    looks: Mutex<Vec<Look>>,
}

#[derive(Debug)]
struct Look {
    peer: PeerKey,
    sender: Sender<Seen>,
    dropped: Arc<AtomicU64>,
}

/// A message as it was seen.
#[derive(Debug)]
struct Seen {
    at: Timestamp,
    is_inbound: bool,
    is_answer: bool,
    correlation: String,
    frame: Vec<u8>,
}

/// A look at one peer's messages; ends when it is dropped.
#[derive(Debug)]
pub struct Trace {
    tracer: Tracer,
    receiver: Receiver<Seen>,
    dropped: Arc<AtomicU64>,
    told: u64,
    messages: u64,
    ends: tokio::time::Instant,
    is_over: bool,
}

impl Tracer {
    /// Looks at the messages of `peer` for `lasting`. `None` when [`MAX_TRACES`] people look already.
    #[must_use]
    pub fn look(&self, peer: PeerKey, lasting: Duration) -> Option<Trace> {
        let (sender, receiver) = channel(TRACE_QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut looks = self.looks();
        looks.retain(|look| !look.sender.is_closed());
        if looks.len() >= MAX_TRACES {
            return None;
        }
        looks.push(Look {
            peer,
            sender,
            dropped: Arc::clone(&dropped),
        });
        self.0.active.store(looks.len(), Ordering::Relaxed);
        drop(looks);
        Some(Trace {
            tracer: self.clone(),
            receiver,
            dropped,
            told: 0,
            messages: 0,
            ends: tokio::time::Instant::now() + lasting.min(MAX_TRACE_TIME),
            is_over: false,
        })
    }

    /// An exchange protocol whose messages can be looked at.
    #[must_use]
    pub fn watch(&self, exchange: Box<dyn Exchange>) -> Box<dyn Exchange> {
        Box::new(Watched {
            exchange,
            tracer: self.clone(),
            open: VecDeque::new(),
            now: Timestamp::from_secs(0),
        })
    }

    fn is_on(&self) -> bool {
        self.0.active.load(Ordering::Relaxed) > 0
    }

    fn looks(&self) -> std::sync::MutexGuard<'_, Vec<Look>> {
        self.0.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wants(&self, peer: &PeerKey) -> bool {
        self.is_on() && self.looks().iter().any(|look| look.peer == *peer)
    }

    fn hand_over(&self, peer: &PeerKey, seen: impl Fn() -> Seen) {
        for look in self.looks().iter().filter(|look| look.peer == *peer) {
            match look.sender.try_reserve() {
                Ok(place) => place.send(seen()),
                Err(_) => {
                    look.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

impl Trace {
    /// The next message; a count of what was left out; at the end the sum of it all, and then nothing more.
    pub async fn next(&mut self) -> Option<Value> {
        if self.is_over {
            return None;
        }
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > self.told {
            let document = json!({ "event": "dropped", "dropped": dropped - self.told });
            self.told = dropped;
            return Some(document);
        }
        match tokio::time::timeout_at(self.ends, self.receiver.recv()).await {
            Ok(Some(seen)) => {
                self.messages += 1;
                Some(seen.describe())
            }
            Ok(None) | Err(_) => {
                self.is_over = true;
                let dropped = self.dropped.load(Ordering::Relaxed);
                Some(json!({ "event": "end", "messages": self.messages, "dropped": dropped }))
            }
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.receiver.close();
        let mut looks = self.tracer.looks();
        looks.retain(|look| !look.sender.is_closed());
        self.tracer.0.active.store(looks.len(), Ordering::Relaxed);
    }
}

impl Seen {
    fn describe(&self) -> Value {
        let (kind, says) = describe_frame(&self.frame);
        let is_cut = says.len() > MAX_SUMMARY_BYTES;
        let mut end = says.len().min(MAX_SUMMARY_BYTES);
        while !says.is_char_boundary(end) {
            end -= 1;
        }
        json!({
            "event": "message",
            "at": time_text(self.at),
            "direction": if self.is_inbound { "in" } else { "out" },
            "role": if self.is_answer { "answer" } else { "request" },
            "kind": kind,
            "bytes": self.frame.len(),
            "correlation": self.correlation,
            "summary": &says[..end],
            "cut": is_cut,
        })
    }
}

/// An exchange protocol with somebody looking over its shoulder.
#[derive(Debug)]
struct Watched {
    exchange: Box<dyn Exchange>,
    tracer: Tracer,
    /// Whom an answer that comes or goes belongs to.
    open: VecDeque<(String, PeerKey)>,
    now: Timestamp,
}

impl Watched {
    fn opened(&mut self, correlation: String, peer: PeerKey) {
        if self.open.len() == MAX_OPEN {
            self.open.pop_front();
        }
        self.open.push_back((correlation, peer));
    }

    fn closed(&mut self, correlation: &str) -> Option<PeerKey> {
        let at = self.open.iter().position(|(open, _)| open == correlation)?;
        self.open.remove(at).map(|(_, peer)| peer)
    }

    fn seen(&self, peer: &PeerKey, way: (bool, bool), correlation: &str, frame: &[u8]) {
        self.tracer.hand_over(peer, || Seen {
            at: self.now,
            is_inbound: way.0,
            is_answer: way.1,
            correlation: correlation.to_owned(),
            frame: frame.to_vec(),
        });
    }

    fn came(&mut self, input: &Input) {
        match input {
            Input::Request { peer, token, frame } if self.tracer.wants(peer) => {
                let correlation = format!("in-{:x}", token.0);
                self.seen(peer, (true, false), &correlation, frame);
                self.opened(correlation, *peer);
            }
            Input::Response { id, frame } => {
                let correlation = format!("out-{id}");
                if let Some(peer) = self.closed(&correlation) {
                    self.seen(&peer, (true, true), &correlation, frame);
                }
            }
            _ => {}
        }
    }

    fn goes(&mut self, output: &Output) {
        match output {
            Output::Send { peer, id, frame } if self.tracer.wants(peer) => {
                let correlation = format!("out-{id}");
                self.seen(peer, (false, false), &correlation, frame);
                self.opened(correlation, *peer);
            }
            Output::Reply { token, frame } => {
                let correlation = format!("in-{:x}", token.0);
                if let Some(peer) = self.closed(&correlation) {
                    self.seen(&peer, (false, true), &correlation, frame);
                }
            }
            _ => {}
        }
    }
}

impl Exchange for Watched {
    fn handle(&mut self, now: Now, input: Input) {
        self.now = now.wall;
        if self.tracer.is_on() {
            self.came(&input);
        } else {
            self.open.clear();
        }
        self.exchange.handle(now, input);
    }

    fn poll_output(&mut self) -> Option<Output> {
        let output = self.exchange.poll_output()?;
        if self.tracer.is_on() {
            self.goes(&output);
        }
        Some(output)
    }

    fn next_deadline(&self) -> Option<MonotonicTime> {
        self.exchange.next_deadline()
    }

    fn counters(&self) -> ExchangeCounters {
        self.exchange.counters()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::network::{CommandId, RequestToken};
    use btcfed_core::testing::{ScriptedExchange, test_key};
    use btcfed_exchange_protocol::codec;
    use btcfed_exchange_protocol::message::{Message, PeerAnnouncement};

    fn send(n: u16, id: u64) -> Output {
        let frame = Vec::new();
        Output::Send {
            peer: test_key(n),
            id: CommandId(id),
            frame,
        }
    }

    fn request(n: u16, token: u64, frame: &[u8]) -> Input {
        Input::Request {
            peer: test_key(n),
            token: RequestToken(token),
            frame: frame.to_vec(),
        }
    }

    fn drain(exchange: &mut Box<dyn Exchange>) {
        while exchange.poll_output().is_some() {}
    }

    fn told(message: &Value, key: &str) -> String {
        message[key].as_str().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn messages_of_one_peer_are_told_with_their_answers_and_an_end() {
        let (script, tracer) = (ScriptedExchange::new(), Tracer::default());
        let mut watched = tracer.watch(Box::new(script.clone()));
        let mut trace = tracer.look(test_key(1), Duration::from_millis(20)).unwrap();
        script.queue(send(1, 7));
        script.queue(send(2, 8));
        drain(&mut watched);
        let now = Now::default();
        let id = CommandId(7);
        let frame = vec![0xff; 3];
        watched.handle(now, Input::Response { id, frame });
        watched.handle(now, request(1, 9, b""));
        let token = RequestToken(9);
        let frame = Vec::new();
        script.queue(Output::Reply { token, frame });
        drain(&mut watched);
        let mut seen = Vec::new();
        while let Some(message) = trace.next().await {
            let keys = ["event", "direction", "role", "kind", "correlation"];
            seen.push(keys.map(|key| told(&message, key)).join(" "));
        }
        assert_eq!(
            seen,
            [
                "message out request Ack out-7",
                "message in answer malformed out-7",
                "message in request Ack in-9",
                "message out answer Ack in-9",
                "end    ",
            ]
        );
    }

    #[tokio::test]
    async fn what_does_not_fit_is_counted_and_nobody_waits() {
        let tracer = Tracer::default();
        let mut watched = tracer.watch(Box::new(ScriptedExchange::new()));
        let mut trace = tracer.look(test_key(1), Duration::from_millis(20)).unwrap();
        for token in 0..=TRACE_QUEUE as u64 {
            watched.handle(Now::default(), request(1, token, b""));
        }
        let first = trace.next().await.unwrap();
        assert_eq!(
            (told(&first, "event"), first["dropped"].as_u64()),
            ("dropped".into(), Some(1))
        );
        let mut last = first;
        while let Some(message) = trace.next().await {
            last = message;
        }
        assert_eq!(
            (last["messages"].as_u64(), last["dropped"].as_u64()),
            (Some(TRACE_QUEUE as u64), Some(1))
        );
    }

    #[tokio::test]
    async fn of_too_many_open_questions_the_oldest_is_forgotten() {
        let (script, tracer) = (ScriptedExchange::new(), Tracer::default());
        let mut watched = tracer.watch(Box::new(script.clone()));
        let mut trace = tracer.look(test_key(1), Duration::from_millis(20)).unwrap();
        // The queue is full of questions; only answers come after it is emptied.
        for id in 0..=MAX_OPEN as u64 {
            script.queue(send(1, id));
            drain(&mut watched);
        }
        while trace.receiver.try_recv().is_ok() {}
        for id in [CommandId(0), CommandId(1)] {
            let frame = Vec::new();
            watched.handle(Now::default(), Input::Response { id, frame });
        }
        let told_of = |seen: &Seen| seen.correlation.clone();
        assert_eq!(
            trace.receiver.try_recv().ok().as_ref().map(told_of),
            Some("out-1".to_owned())
        );
        assert!(trace.receiver.try_recv().is_err());
    }

    #[tokio::test]
    async fn only_so_many_look_at_a_time_and_nothing_is_kept_when_nobody_does() {
        let tracer = Tracer::default();
        let look = || tracer.look(test_key(1), Duration::from_secs(1));
        let looks: Vec<Trace> = (0..MAX_TRACES).filter_map(|_| look()).collect();
        assert!(looks.len() == MAX_TRACES && look().is_none());
        drop(looks);
        assert!(!tracer.is_on() && look().is_some());
    }

    #[test]
    fn a_long_message_is_cut_and_says_so() {
        let seen = Seen {
            at: Timestamp::from_secs(0),
            is_inbound: true,
            is_answer: false,
            correlation: String::new(),
            frame: codec::encode(&Message::Announcement(PeerAnnouncement {
                ids: (u64::MAX - 200..u64::MAX).collect(),
                ..PeerAnnouncement::default()
            })),
        };
        let told = seen.describe();
        assert_eq!(told["summary"].as_str().unwrap().len(), MAX_SUMMARY_BYTES);
        assert_eq!(
            (told["kind"].as_str(), told["cut"].as_bool()),
            (Some("PeerAnnouncement"), Some(true))
        );
    }
}
