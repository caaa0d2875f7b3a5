//! The entries of a document that cannot be read, and whom they may be about.

use std::collections::HashSet;

use btcfed_core::key::PeerKey;
use btcfed_core::store::SkippedEntry;

use crate::text::document::Document;
use crate::text::guard::Refusal;
use crate::text::piece::{Item, Says};
use crate::text::split::List;

impl Document {
    /// The entries that could not be read.
    pub(crate) fn bad(&self) -> impl Iterator<Item = (&Item, &Refusal)> {
        self.items().filter_map(|item| match &item.says {
            Says::Bad(refusal) => Some((item, &**refusal)),
            Says::Peer { .. } | Says::Ban(_) | Says::Forgotten(..) => None,
        })
    }

    /// The peers that unreadable entries name.
    pub(crate) fn broken(&self) -> HashSet<PeerKey> {
        let of_peers = self.bad().filter(|(item, _)| item.list == List::Peers);
        of_peers.filter_map(|(_, refusal)| refusal.key).collect()
    }

    /// The peers that only unreadable entries name.
    pub(crate) fn claimed(&self) -> HashSet<PeerKey> {
        let mut claimed = self.broken();
        if !claimed.is_empty() {
            self.peers().for_each(|record| {
                claimed.remove(record.key());
            });
        }
        claimed
    }

    /// Entries that cannot be attributed to anybody, by their text.
    pub(crate) fn nameless(&self) -> impl Iterator<Item = (&str, &Item, &Refusal)> {
        self.bad()
            .filter(|(_, refusal)| refusal.key.is_none())
            .map(|(item, refusal)| (item.text.trim_ascii(), item, refusal))
    }

    /// The entries that could not be read and the damaged places, by line, for people.
    pub(crate) fn skipped(&self) -> Vec<SkippedEntry> {
        let skip = |(item, refusal): (&Item, &Refusal)| SkippedEntry {
            line: item.line + refusal.line,
            reason: refusal.reason.clone(),
        };
        let damage = self.damage.iter().map(|damage| SkippedEntry {
            line: damage.line,
            reason: format!("damaged: {}", damage.what),
        });
        let mut skipped: Vec<SkippedEntry> = self.bad().map(skip).chain(damage).collect();
        skipped.sort_by_key(|skipped| skipped.line);
        skipped
    }
}
