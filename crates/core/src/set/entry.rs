//! Single entries of a set, taken out and put back as they are: how stores write down what changed, and read it again.

use super::{PackedPeer, PeerSet, PeerView};
use crate::ban::{Ban, BanTarget};
use crate::key::PeerKey;
use crate::patch::PeerChange;
use crate::peer::Forgotten;

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SetPlace {
    /// Among the bans.
    Ban(BanTarget),
    /// Among the forgotten keys.
    Forgotten(PeerKey),
    /// Among the peers.
    Peer(PeerKey),
}

impl SetPlace {
    /// Every place a change may have touched.
    #[must_use]
    pub fn of(change: &PeerChange) -> Vec<Self> {
        match change {
            PeerChange::Added(key) | PeerChange::Removed(key) | PeerChange::Updated(key) => {
                vec![Self::Peer(*key), Self::Forgotten(*key)]
            }
            PeerChange::Touched(key) => vec![Self::Peer(*key)],
            PeerChange::Banned(target) | PeerChange::Unbanned(target) => match target {
                BanTarget::Peer(key) => vec![Self::Ban(*target), Self::Peer(*key)],
                BanTarget::Cidr(_) | BanTarget::Ip(_) => vec![Self::Ban(*target)],
            },
        }
    }
}

/// What stands at a place; `None` when nothing does.
#[derive(Clone, Debug, PartialEq)]
pub enum SetEntry {
    /// A ban, by its target.
    Ban(BanTarget, Option<Ban>),
    /// A mark of a forgotten key.
    Forgotten(PeerKey, Option<Forgotten>),
    /// A peer.
    Peer(PeerKey, Option<PackedPeer>),
}

impl SetEntry {
    /// Where it stands.
    #[must_use]
    pub const fn place(&self) -> SetPlace {
        match self {
            Self::Ban(target, _) => SetPlace::Ban(*target),
            Self::Forgotten(key, _) => SetPlace::Forgotten(*key),
            Self::Peer(key, _) => SetPlace::Peer(*key),
        }
    }
}

impl PeerSet {
    /// What stands at a place.
    #[must_use]
    pub fn entry(&self, place: &SetPlace) -> SetEntry {
        match place {
            SetPlace::Ban(target) => SetEntry::Ban(*target, self.bans.get(target).cloned()),
            SetPlace::Forgotten(key) => SetEntry::Forgotten(*key, self.forgotten.get(key).copied()),
            SetPlace::Peer(key) => SetEntry::Peer(*key, self.view(key).map(PeerView::to_packed)),
        }
    }

    /// Makes an entry stand as given, without regard to bounds and to what other entries say. For what a store wrote down
    /// itself; everything else is changed by patches.
    pub fn put(&mut self, entry: SetEntry) {
        match entry {
            SetEntry::Ban(target, Some(ban)) => drop(self.bans.insert(target, ban)),
            SetEntry::Ban(target, None) => drop(self.bans.remove(&target)),
            SetEntry::Forgotten(key, Some(mark)) => drop(self.forgotten.insert(key, mark)),
            SetEntry::Forgotten(key, None) => drop(self.forgotten.remove(&key)),
            SetEntry::Peer(key, Some(peer)) => self.peers.put(&key, peer.view().body().0),
            SetEntry::Peer(key, None) => self.peers.remove(&key),
        }
    }

    /// The number of peers, of bans and of forgotten keys.
    #[must_use]
    pub const fn counts(&self) -> [usize; 3] {
        [self.peers.len(), self.bans.len(), self.forgotten.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Issuer;
    use crate::patch::{PeerOp, PeerPatch};
    use crate::testing::{test_key, test_record};
    use crate::time::Now;

    #[test]
    fn what_patches_did_is_carried_over_by_the_entries_their_changes_name() {
        let start = PeerSet::default();
        let remove = PeerOp::Remove {
            key: test_key(2),
            by: Issuer::Operator,
        };
        let ops = [
            PeerOp::Create(Box::new(test_record(1))),
            PeerOp::Create(Box::new(test_record(2))),
            remove,
        ];
        let patch: PeerPatch = ops.into_iter().collect();
        let (end, changes) = start.apply(&patch, Now::default()).unwrap();
        let mut copy = start.clone();
        for place in changes.iter().flat_map(SetPlace::of) {
            copy.put(end.entry(&place));
        }
        assert_eq!((copy.counts(), &copy), ([1, 0, 1], &end));
        for place in changes.iter().flat_map(SetPlace::of) {
            copy.put(start.entry(&place));
        }
        assert_eq!(copy, start);
    }
}
