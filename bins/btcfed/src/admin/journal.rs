//! What happened lately: kept for `events`, and for telling why a peer is not connected.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use btcfed_core::key::PeerKey;
use btcfed_core::store::PeerStore;
use btcfed_core::time::Clock;
use btcfed_node_orchestrator::{NodeEvent, NodeEvents};
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;

use crate::peers::{Contacts, spelled};
use crate::view::time_text;

/// Events kept for people who come later.
const MAX_RECENT: usize = 256;

/// Events that wait for a slow reader; one that lags further is told how many it missed.
const QUEUE: usize = 256;

/// Peers whose last failures are kept: beyond it, the oldest knowledge goes.
const MAX_CONTACTS: usize = 2048;

/// Longest reason kept, in bytes; a dial of many addresses has a long one.
const MAX_REASON_BYTES: usize = 512;

/// A bounded memory of events.
#[derive(Debug)]
pub(super) struct Journal {
    store: Arc<dyn PeerStore>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    sender: broadcast::Sender<Value>,
}

#[derive(Debug, Default)]
struct State {
    recent: VecDeque<Value>,
    contacts: Arc<Contacts>,
    seq: u64,
}

/// Events from one moment on, without a gap.
#[derive(Debug)]
pub(super) struct Events(broadcast::Receiver<Value>);

impl Events {
    /// The next event; `None` when the node is gone.
    pub(super) async fn next(&mut self) -> Option<Value> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Closed) => None,
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                Some(json!({ "event": "lagged", "missed": missed }))
            }
        }
    }
}

impl Journal {
    pub(super) fn new(store: Arc<dyn PeerStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            state: Mutex::default(),
            sender: broadcast::channel(QUEUE).0,
        }
    }

    /// Takes in what happens until the node is gone.
    pub(super) async fn feed(self: Arc<Self>, mut events: NodeEvents) {
        while let Some(event) = events.next().await {
            self.note(&event);
        }
    }

    /// What happened lately, and everything from now on.
    pub(super) fn follow(&self) -> (Vec<Value>, Events) {
        let state = self.state();
        let recent = state.recent.iter().cloned().collect();
        (recent, Events(self.sender.subscribe()))
    }

    /// What contact with peers was like.
    pub(super) fn contacts(&self) -> Arc<Contacts> {
        Arc::clone(&self.state().contacts)
    }

    fn note(&self, event: &NodeEvent) {
        let now = self.clock.now().wall;
        let (name, peer, mut fields) = described(event);
        let label = peer.and_then(|key| self.store.snapshot().get(&key)?.name);
        let mut state = self.state();
        state.seq += 1;
        let mut document = Map::new();
        document.insert("seq".to_owned(), json!(state.seq));
        document.insert("at".to_owned(), json!(time_text(now)));
        document.insert("event".to_owned(), json!(name));
        if let Some(key) = peer {
            document.insert("peer_id".to_owned(), json!(key.peer_id().to_string()));
            document.insert("name".to_owned(), json!(label));
        }
        if let Value::Object(fields) = &mut fields {
            document.append(fields);
        }
        remember(&mut state, event, now);
        let document = Value::Object(document);
        if state.recent.len() == MAX_RECENT {
            state.recent.pop_front();
        }
        state.recent.push_back(document.clone());
        // Sent under the lock, so that whoever follows misses nothing. Nobody listening is no failure.
        drop(self.sender.send(document));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remember(state: &mut State, event: &NodeEvent, now: btcfed_core::time::Timestamp) {
    let contacts = Arc::make_mut(&mut state.contacts);
    match event {
        NodeEvent::Connected { peer, .. } | NodeEvent::PeerRemoved(peer) => {
            contacts.remove(peer);
        }
        NodeEvent::DialFailed {
            peer: Some(peer),
            reason,
            retry_in,
            ..
        } => {
            let contact = contacts.entry(*peer).or_default();
            contact.error = Some((now, cut(reason)));
            contact.next_try = Some(now.saturating_add(*retry_in));
        }
        NodeEvent::Disconnected { peer, reason, .. } => {
            contacts.entry(*peer).or_default().ended = Some((now, cut(reason.as_str())));
        }
        _ => {}
    }
    while contacts.len() > MAX_CONTACTS {
        let oldest = contacts
            .iter()
            .min_by_key(|(_, contact)| contact.last())
            .map(|(key, _)| *key);
        let Some(oldest) = oldest else { break };
        contacts.remove(&oldest);
    }
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_REASON_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// The name of an event, whom it is about, and its other fields.
fn described(event: &NodeEvent) -> (&'static str, Option<PeerKey>, Value) {
    match event {
        NodeEvent::Banned(target) => {
            let (kind, text) = spelled(target);
            ("banned", None, json!({ "kind": kind, "target": text }))
        }
        NodeEvent::Connected {
            peer,
            direction,
            addr,
            dial,
        } => (
            "connected",
            Some(*peer),
            json!({ "direction": direction.as_str(), "address": addr.to_string(), "dial": dial.map(|id| id.to_string()) }),
        ),
        NodeEvent::DialFailed {
            dial,
            peer,
            reason,
            retry_in,
        } => (
            "dial_failed",
            *peer,
            json!({ "dial": dial.to_string(), "reason": cut(reason), "retry_in_s": retry_in.as_secs_f64() }),
        ),
        NodeEvent::Disconnected { peer, reason, dial } => (
            "disconnected",
            Some(*peer),
            json!({ "reason": reason.as_str(), "dial": dial.map(|id| id.to_string()) }),
        ),
        NodeEvent::Listening(addr) => ("listening", None, json!({ "address": addr.to_string() })),
        NodeEvent::ListenClosed(addr) => (
            "listen_closed",
            None,
            json!({ "address": addr.to_string() }),
        ),
        NodeEvent::PeerAdded(peer) => ("peer_added", Some(*peer), json!({})),
        NodeEvent::PeerRemoved(peer) => ("peer_removed", Some(*peer), json!({})),
        NodeEvent::Reloaded { revision } => ("reloaded", None, json!({ "revision": revision })),
        NodeEvent::Unbanned(target) => {
            let (kind, text) = spelled(target);
            ("unbanned", None, json!({ "kind": kind, "target": text }))
        }
        _ => ("other", None, json!({})),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::network::CommandId;
    use btcfed_core::testing::{ManualClock, MemoryStore, test_key};
    use std::time::Duration;

    fn journal() -> Journal {
        let clock = Arc::new(ManualClock::default());
        Journal::new(Arc::new(MemoryStore::default()), clock)
    }

    fn failed(n: u16) -> NodeEvent {
        NodeEvent::DialFailed {
            dial: CommandId(u64::from(n)),
            peer: Some(test_key(n)),
            reason: "\u{e9}".repeat(MAX_REASON_BYTES),
            retry_in: Duration::from_secs(7),
        }
    }

    #[tokio::test]
    async fn whoever_follows_gets_what_was_and_what_comes_once() {
        let journal = journal();
        journal.note(&NodeEvent::Reloaded { revision: 2 });
        let (recent, mut events) = journal.follow();
        journal.note(&NodeEvent::PeerAdded(test_key(1)));
        assert_eq!((recent.len(), recent[0]["seq"].as_u64()), (1, Some(1)));
        let next = events.next().await.unwrap();
        assert_eq!(
            (next["seq"].as_u64(), next["event"].as_str()),
            (Some(2), Some("peer_added"))
        );
    }

    #[tokio::test]
    async fn memory_is_bounded_and_a_slow_reader_is_told_what_it_missed() {
        let journal = journal();
        let (_, mut events) = journal.follow();
        for n in 0..3000 {
            journal.note(&failed(n));
        }
        assert_eq!(journal.follow().0.len(), MAX_RECENT);
        assert_eq!(journal.contacts().len(), MAX_CONTACTS);
        let longest = journal
            .contacts()
            .values()
            .filter_map(|contact| contact.error.clone())
            .map(|(_, text)| text.len())
            .max();
        assert!(longest <= Some(MAX_REASON_BYTES));
        assert_eq!(events.next().await.unwrap()["event"], "lagged");
    }

    #[test]
    fn a_connection_forgets_the_failures_before_it() {
        let journal = journal();
        journal.note(&failed(1));
        assert!(journal.contacts().contains_key(&test_key(1)));
        journal.note(&NodeEvent::Connected {
            peer: test_key(1),
            direction: btcfed_core::network::Direction::Outbound,
            addr: "/ip4/10.0.0.1/tcp/1".parse().unwrap(),
            dial: None,
        });
        assert!(journal.contacts().is_empty());
    }
}
