//! Nodes that do harm. Each runs the same engine as everybody; what it says is bent on the way out.

use std::time::Duration;

use btcfed_core::SecretKey;
use btcfed_core::SignedRecord;
use btcfed_core::network::CommandId;

use super::event::Event;
use super::node::address;
use super::{NodeId, Simulation};
use crate::codec;
use crate::message::{Message, PeerAnnouncement, RecordEntry};

/// How often a hostile node does what it does on its own account.
const MISCHIEF_INTERVAL: Duration = Duration::from_secs(1);

/// How many identities a flooder invents for each neighbour every time.
const INVENTED_IDENTITIES: usize = 8;

/// How many old records a replayer sends every time.
const REPLAYED_RECORDS: usize = 32;

/// Commands of hostile nodes count down from here, far from those of their engines.
const FIRST_MISCHIEF_ID: u64 = u64::MAX;

/// What a hostile node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Behaviour {
    /// Signs two records under one number and tells each to half of its neighbours.
    Equivocates,
    /// Invents identities and announces them.
    Floods,
    /// Sends false summaries, and says that all lists equal its own.
    LiesAboutRoots,
    /// Announces old records of others again and again.
    Replays,
    /// Introduces itself and never says anything again.
    Silent,
    /// Tells nobody of anybody.
    Withholds,
}

impl Behaviour {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Equivocates,
        Self::Floods,
        Self::LiesAboutRoots,
        Self::Replays,
        Self::Silent,
        Self::Withholds,
    ];

    /// What becomes of a frame on its way out; `None` when it is not sent.
    pub(super) fn bend(self, frame: Vec<u8>, random: u64) -> Option<Vec<u8>> {
        let Ok(mut message) = codec::decode(&frame) else {
            return Some(frame);
        };
        match (self, &mut message) {
            (Self::Silent, Message::Request(request)) => {
                return request.hello.is_some().then_some(frame);
            }
            (Self::Silent, Message::Response(response)) => {
                return response.hello.is_some().then_some(frame);
            }
            (Self::Silent, _) => return None,
            (Self::LiesAboutRoots, Message::Request(request)) => {
                let summary = request.summary.as_mut()?;
                summary.root ^= random | 1;
            }
            (Self::LiesAboutRoots, Message::Response(response)) => {
                response.equal = true;
                response.records.clear();
                response.next = None;
                response.cells = None;
            }
            (Self::Withholds, Message::Response(response)) => {
                response.records.clear();
                response.next = None;
                response.cells = None;
            }
            (Self::Withholds, Message::Announcement(announcement)) if !announcement.is_prune() => {
                return None;
            }
            _ => return Some(frame),
        }
        Some(codec::encode(&message))
    }
}

impl Simulation {
    /// Starts a hostile node. It counts among nobody's honest peers.
    pub fn add_hostile(&mut self, behaviour: Behaviour) -> NodeId {
        let id = self.add(Some(behaviour));
        self.later(MISCHIEF_INTERVAL, Event::Mischief { at: id });
        id
    }

    /// A hostile node does what it does on its own account.
    pub(super) fn do_mischief(&mut self, at: NodeId) {
        let Some(node) = self.nodes.get(at).filter(|node| node.is_running) else {
            return;
        };
        let neighbours: Vec<NodeId> = node.links.keys().copied().collect();
        match node.behaviour {
            Some(Behaviour::Equivocates) => {
                let records = [at, at + 0x40_0000].map(|host| {
                    let addr = address(host, self.options.scope);
                    node.sign(&[addr]).into_iter().collect::<Vec<_>>()
                });
                for (place, peer) in neighbours.into_iter().enumerate() {
                    let [one, other] = &records;
                    let records = if place % 2 == 0 { one } else { other };
                    self.announce_falsely(at, peer, records);
                }
            }
            Some(Behaviour::Floods) => {
                for peer in neighbours {
                    let invented: Vec<SignedRecord> = (0..INVENTED_IDENTITIES)
                        .filter_map(|_| self.invent(at))
                        .collect();
                    self.announce_falsely(at, peer, &invented);
                }
            }
            Some(Behaviour::Replays) => {
                let old = node
                    .set
                    .views()
                    .filter_map(|peer| peer.signed()?.to_record());
                let mut old: Vec<SignedRecord> = old.collect();
                self.rng.shuffle(&mut old);
                old.truncate(REPLAYED_RECORDS);
                for peer in neighbours {
                    self.announce_falsely(at, peer, &old);
                }
            }
            Some(Behaviour::LiesAboutRoots | Behaviour::Silent | Behaviour::Withholds) | None => {
                return;
            }
        }
        self.later(MISCHIEF_INTERVAL, Event::Mischief { at });
    }

    fn invent(&mut self, at: NodeId) -> Option<SignedRecord> {
        let mut seed = [0; 32];
        for word in seed.chunks_mut(8) {
            word.copy_from_slice(&self.rng.next_u64().to_le_bytes());
        }
        let addr = address(at, self.options.scope);
        SignedRecord::sign(&SecretKey::from_seed(seed), 1, &[addr]).ok()
    }

    fn announce_falsely(&mut self, from: NodeId, to: NodeId, records: &[SignedRecord]) {
        let entries = records.iter().map(|record| RecordEntry {
            envelope: record.envelope().to_vec(),
            age_s: 0,
        });
        let announcement = PeerAnnouncement {
            records: entries.collect(),
            ..PeerAnnouncement::default()
        };
        self.mischiefs += 1;
        let id = CommandId(FIRST_MISCHIEF_ID - self.mischiefs);
        let frame = codec::encode(&Message::Announcement(announcement));
        self.send(from, to, id, frame);
    }
}
