//! `peers restore`: what has to change so that what people decide is again as a copy of the peers file says.

use btcfed_core::ban::Issuer;
use btcfed_core::patch::{PeerOp, PeerPatch};
use btcfed_core::peer::{AddressSource, PeerRecord};
use btcfed_core::set::PeerSet;
use btcfed_core::time::Timestamp;
use serde_json::{Value, json};

use crate::peers::spelled;

/// A way back.
#[derive(Clone, Debug, Default)]
pub struct Restoration {
    /// What to apply.
    pub patch: PeerPatch,
    /// What that means, one object a peer or ban, in the form of `peers import`.
    pub changes: Vec<Value>,
}

/// What leads from `present` to what people decided in `past`. Peers chosen, names, notes, pins, addresses people wrote
/// and bans become those of the past. What the node found out by itself since then stays, and so does what it counted.
#[must_use]
pub fn restoration(present: &PeerSet, past: &PeerSet, now: Timestamp) -> Restoration {
    let mut way = Restoration::default();
    for then in past.iter() {
        match present.get(&then.key) {
            None => way.create(present, &then),
            Some(current) => way.update(&current, &then),
        }
    }
    for current in present.iter() {
        if !past.contains(&current.key) && current.is_reserved() {
            let by = Issuer::Operator;
            let key = current.key;
            way.note("remove", &current, Vec::new());
            way.patch.ops.push(PeerOp::Remove { key, by });
        }
    }
    way.bans(present, past, now);
    way
}

impl Restoration {
    fn create(&mut self, present: &PeerSet, then: &PeerRecord) {
        // Nobody removes a discovered peer by going back, and nobody brings back one that was removed on purpose.
        let was_removed = present
            .forgotten_mark(&then.key)
            .is_some_and(|mark| mark.by == Issuer::Operator);
        if was_removed && !then.is_reserved() {
            return;
        }
        self.note("add", then, Vec::new());
        self.patch.ops.push(PeerOp::Create(Box::new(then.clone())));
    }

    fn update(&mut self, current: &PeerRecord, then: &PeerRecord) {
        let mut record = current.clone();
        record.name.clone_from(&then.name);
        record.note.clone_from(&then.note);
        record.pinned = then.pinned;
        record.source = then.source;
        let is_written = |source: &AddressSource| *source == AddressSource::Operator;
        record.addresses.retain(|known| {
            !is_written(&known.source) || then.addresses.iter().any(|old| old.addr == known.addr)
        });
        for old in then.addresses.iter().filter(|old| is_written(&old.source)) {
            record.add_address(old.addr.clone(), AddressSource::Operator);
        }
        let details = differences(current, &record);
        if !details.is_empty() {
            self.note("update", current, details);
            self.patch.ops.push(PeerOp::Update(Box::new(record)));
        }
    }

    fn bans(&mut self, present: &PeerSet, past: &PeerSet, now: Timestamp) {
        for ban in past.bans().filter(|ban| ban.is_active(now)) {
            let same = |known: &&btcfed_core::ban::Ban| {
                known.target == ban.target && known.until == ban.until && known.reason == ban.reason
            };
            if present.bans().find(same).is_none() {
                self.ban("ban", ban);
                self.patch.ops.push(PeerOp::Ban(ban.clone()));
            }
        }
        for ban in present.bans().filter(|ban| ban.by == Issuer::Operator) {
            if !past.bans().any(|old| old.target == ban.target) {
                self.ban("unban", ban);
                self.patch.ops.push(PeerOp::Unban(ban.target));
            }
        }
    }

    fn note(&mut self, action: &str, record: &PeerRecord, details: Vec<String>) {
        self.changes.push(json!({
            "action": action,
            "peer_id": record.peer_id().to_string(),
            "name": record.name,
            "details": details,
        }));
    }

    fn ban(&mut self, action: &str, ban: &btcfed_core::ban::Ban) {
        let (kind, target) = spelled(&ban.target);
        self.changes.push(json!({
            "action": action, "kind": kind, "target": target, "reason": ban.reason.as_str(), "details": [],
        }));
    }
}

fn differences(old: &PeerRecord, new: &PeerRecord) -> Vec<String> {
    let mut lines = super::import::difference(old, new);
    for known in &old.addresses {
        if !new.addresses.iter().any(|kept| kept.addr == known.addr) {
            lines.push(format!("address: {} goes", known.addr));
        }
    }
    lines
}
