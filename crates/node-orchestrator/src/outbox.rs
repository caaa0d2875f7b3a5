//! What waits for a component that is busy: network commands, and patches for the store. Bounded, in order.

use std::collections::VecDeque;

use btcfed_core::network::NetworkCommand;
use btcfed_core::patch::{PeerOp, PeerPatch};

/// Most network commands that wait while the network's own queue is full.
pub(crate) const MAX_WAITING_COMMANDS: usize = 4096;

/// Most operations that wait while the store is busy. What comes beyond is dropped: gossip offers it again, and counters
/// are only counters.
pub(crate) const MAX_WAITING_OPS: usize = 100_000;

/// Network commands in the order they were decided.
#[derive(Debug, Default)]
pub(crate) struct CommandQueue(VecDeque<NetworkCommand>);

impl CommandQueue {
    /// Appends a command; gives it back when the queue is full.
    pub(crate) fn push(&mut self, command: NetworkCommand) -> Option<NetworkCommand> {
        if self.0.len() >= MAX_WAITING_COMMANDS {
            return Some(command);
        }
        self.0.push_back(command);
        None
    }

    pub(crate) fn pop(&mut self) -> Option<NetworkCommand> {
        self.0.pop_front()
    }

    /// Puts back what could not be sent after all.
    pub(crate) fn unpop(&mut self, command: NetworkCommand) {
        self.0.push_front(command);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Patches for the store: later ones are merged into the last that waits.
#[derive(Debug, Default)]
pub(crate) struct PatchQueue {
    /// Operations that failed as part of a larger patch, to be tried alone.
    alone: VecDeque<PeerOp>,
    waiting: Vec<PeerOp>,
    dropped: u64,
}

impl PatchQueue {
    /// Appends a patch. Operations beyond [`MAX_WAITING_OPS`] are dropped and counted.
    pub(crate) fn push(&mut self, patch: PeerPatch) {
        let room = MAX_WAITING_OPS.saturating_sub(self.waiting.len() + self.alone.len());
        let surplus = patch.ops.len().saturating_sub(room);
        self.waiting.extend(patch.ops.into_iter().take(room));
        if surplus > 0 {
            if self.dropped == 0 {
                tracing::warn!(
                    limit = MAX_WAITING_OPS,
                    "the store is too slow; dropping changes that peers offer"
                );
            }
            self.dropped = self
                .dropped
                .saturating_add(u64::try_from(surplus).unwrap_or(u64::MAX));
        }
    }

    /// The next patch to apply.
    pub(crate) fn pop(&mut self) -> Option<PeerPatch> {
        if let Some(op) = self.alone.pop_front() {
            return Some(PeerPatch::one(op));
        }
        self.dropped = 0;
        (!self.waiting.is_empty()).then(|| std::mem::take(&mut self.waiting).into_iter().collect())
    }

    /// A merged patch was refused as a whole: each of its operations is tried alone. False when it was alone already.
    pub(crate) fn split(&mut self, patch: PeerPatch) -> bool {
        if patch.ops.len() < 2 {
            return false;
        }
        self.alone.extend(patch.ops);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::identity::SecretKey;
    use btcfed_core::network::CommandId;
    use std::time::Duration;

    fn op(n: u64) -> PeerOp {
        PeerOp::Measured {
            key: SecretKey::from_seed([1; 32]).public(),
            rtt: Duration::from_millis(n),
        }
    }

    #[test]
    fn commands_leave_in_order_and_one_past_the_limit_is_given_back() {
        let dial = |n| NetworkCommand::Dial {
            id: CommandId(n),
            peer: None,
            addrs: Vec::new(),
        };
        let mut queue = CommandQueue::default();
        for n in 0..MAX_WAITING_COMMANDS as u64 {
            assert_eq!(queue.push(dial(n)), None);
        }
        assert_eq!(queue.push(dial(9)), Some(dial(9)));
        assert_eq!(queue.pop(), Some(dial(0)));
        queue.unpop(dial(0));
        assert_eq!((queue.pop(), queue.pop()), (Some(dial(0)), Some(dial(1))));
    }

    #[test]
    fn waiting_patches_are_merged_and_a_refused_merge_is_tried_one_by_one() {
        let mut queue = PatchQueue::default();
        queue.push(PeerPatch::one(op(1)));
        queue.push(PeerPatch::one(op(2)));
        let merged = queue.pop().unwrap();
        assert_eq!(merged.ops, [op(1), op(2)]);
        assert!(queue.split(merged));
        queue.push(PeerPatch::one(op(3)));
        let popped: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(
            popped,
            [
                PeerPatch::one(op(1)),
                PeerPatch::one(op(2)),
                PeerPatch::one(op(3))
            ]
        );
        assert!(!queue.split(PeerPatch::one(op(1))));
    }

    #[test]
    fn operations_beyond_the_limit_are_dropped() {
        let mut queue = PatchQueue::default();
        queue.push((0..MAX_WAITING_OPS as u64 + 1).map(op).collect());
        assert_eq!(queue.pop().unwrap().ops.len(), MAX_WAITING_OPS);
        assert!(queue.pop().is_none());
    }
}
