//! What memory, the file as it was and the file as it is say together. Pure: no file is touched here.
//!
//! Fields that people write follow the file where it changed; what the node knows follows memory. An edit is never
//! undone, and a deletion by hand is a decision of the operator.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use btcfed_core::PeerSet;
use btcfed_core::ban::{Ban, BanTarget, Issuer};
use btcfed_core::key::PeerKey;
use btcfed_core::peer::{
    AddressSource, Forgotten, PeerAddress, PeerRecord, PeerSource, PeerStatus,
};
use btcfed_core::record::SignedRecord;
use btcfed_core::set::{PackedPeer, PeerView};

use crate::text::checksum::Checksum;
use crate::text::document::Document;
use crate::text::run::{Before, Walk};

/// What came of a merge.
#[derive(Debug)]
pub(crate) struct Merged {
    /// What is known now.
    pub(crate) set: PeerSet,
    /// What the file changed, for the log.
    pub(crate) adopted: Vec<Adopted>,
    /// Peers that are neither in the file nor deleted (see [`Document::withheld`]).
    pub(crate) withheld: BTreeSet<PeerKey>,
    /// The unreadable entries among which theirs may be (see [`Document::doubts`]).
    pub(crate) doubts: BTreeSet<Arc<str>>,
    /// Whose deletion now begins to wait, and for which line.
    pub(crate) waits: Vec<(PeerKey, usize)>,
}

/// One difference that was taken over from the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Adopted {
    /// Whom or what it is about.
    pub(crate) who: Who,
    /// `peer`, `addresses`, `name`, ...
    pub(crate) field: &'static str,
    /// What was known before.
    pub(crate) old: Cow<'static, str>,
    /// What the file says.
    pub(crate) new: Cow<'static, str>,
}

/// Whom or what a difference is about. Spelled only where it is logged: the text of an id takes longer than the merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Who(BanTarget);

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            BanTarget::Peer(key) => key.peer_id().fmt(f),
            BanTarget::Ip(ip) => ip.fmt(f),
            BanTarget::Cidr(net) => net.fmt(f),
        }
    }
}

/// Merges what `file` changed against `base` into `memory`.
pub(crate) fn merge(base: &Document, file: &Document, memory: &PeerSet) -> Merged {
    let before = Before::new(base);
    let mut merge = Merge {
        adopted: Vec::new(),
        withheld: BTreeSet::new(),
        waits: Vec::new(),
    };
    let doubt = Doubt::of(base, file);
    let keeps_missing = !file.damage.is_empty() || doubt.new_at.is_some();
    let mut marks = three_way(
        base.forgotten(),
        file.forgotten(),
        memory.forgotten(),
        keeps_missing,
    );
    // Each of them once: of two entries with one key the document refuses the second.
    let mut peers: Vec<PackedPeer> = Vec::with_capacity(file.peers().count());
    let (mut walk, mut met) = (Walk::new(memory), 0);
    for written in file.peers() {
        let known = walk.find(written.key());
        met += usize::from(known.is_some());
        peers.extend(merge.present(before.find(written.key()), written, known, &mut marks));
    }
    if met < memory.len() {
        let lists = (&mut peers, &mut marks);
        merge.absent((base, &before), file, memory, &doubt, lists);
    }
    let bans = three_way(base.bans(), file.bans(), memory_bans(memory), keeps_missing);
    merge.bans(memory, &bans, &mut peers);
    if !marks.is_empty() {
        let here: HashSet<PeerKey> = peers.iter().map(|record| *record.key()).collect();
        marks.retain(|key, _| !here.contains(key));
    }
    let set = PeerSet::from_packed(peers, bans.into_values(), marks);
    Merged {
        set,
        adopted: merge.adopted,
        doubts: if merge.withheld.is_empty() {
            BTreeSet::new()
        } else {
            doubt.entries(!merge.waits.is_empty())
        },
        withheld: merge.withheld,
        waits: merge.waits,
    }
}

/// Whether the entry of a missing peer may be one of those that cannot be attributed to anybody. An entry that was there,
/// and unreadable, while the peer's own was there too is not it.
#[derive(Default)]
struct Doubt {
    /// Entries that are new or were changed: a peer that is missing only now may be one of them.
    new: BTreeSet<Arc<str>>,
    /// The line of the first of them.
    new_at: Option<usize>,
    /// Entries among which those of the peers already withheld may be, and which are still as they were.
    old: BTreeSet<Arc<str>>,
    /// Others of these were changed or removed.
    is_old_changed: bool,
}

impl Doubt {
    fn of(base: &Document, file: &Document) -> Self {
        let known: BTreeSet<&str> = base.nameless().map(|(text, ..)| text).collect();
        let mut doubt = Self::default();
        for (text, item, refusal) in file.nameless() {
            if base.doubts.contains(text) {
                doubt.old.insert(text.into());
            } else if !known.contains(text) {
                doubt.new_at.get_or_insert(item.line + refusal.line);
                doubt.new.insert(text.into());
            }
        }
        doubt.is_old_changed = doubt.old.len() < base.doubts.len();
        doubt
    }

    /// True when peers that are withheld must go on waiting.
    fn remains(&self) -> bool {
        !self.old.is_empty() || (self.is_old_changed && !self.new.is_empty())
    }

    /// The entries for which the peers withheld now wait.
    fn entries(mut self, is_more_withheld: bool) -> BTreeSet<Arc<str>> {
        if is_more_withheld || self.is_old_changed {
            self.old.append(&mut self.new);
        }
        self.old
    }
}

fn memory_bans(memory: &PeerSet) -> impl Iterator<Item = (&BanTarget, &Ban)> {
    memory.bans().map(|ban| (&ban.target, ban))
}

/// Merges a table whose values are replaced as a whole: the file wins where it changed.
fn three_way<'a, K, V>(
    base: impl Iterator<Item = (&'a K, &'a V)>,
    file: impl Iterator<Item = (&'a K, &'a V)>,
    memory: impl Iterator<Item = (&'a K, &'a V)>,
    keeps_missing: bool,
) -> BTreeMap<K, V>
where
    K: Ord + Clone + 'a,
    V: Clone + PartialEq + 'a,
{
    let base: BTreeMap<&K, &V> = base.collect();
    let file: BTreeMap<&K, &V> = file.collect();
    let mut merged: BTreeMap<K, V> = memory
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    for (key, value) in &file {
        if base.get(key) != Some(value) {
            merged.insert((*key).clone(), (*value).clone());
        }
    }
    for (key, value) in base
        .iter()
        .filter(|(key, _)| !file.contains_key(*key) && !keeps_missing)
    {
        if merged.get(*key) == Some(*value) {
            merged.remove(*key);
        }
    }
    merged
}

/// True when a store wrote `file`, and not before `base`: nobody deleted anything in it by hand.
fn is_later_save(base: &Document, file: &Document) -> bool {
    file.checksum == Checksum::Matches
        && file.damage.is_empty()
        && base.generation > 0
        && file.generation >= base.generation
}

struct Merge {
    adopted: Vec<Adopted>,
    withheld: BTreeSet<PeerKey>,
    waits: Vec<(PeerKey, usize)>,
}

impl Merge {
    /// A peer that the file has.
    fn present(
        &mut self,
        before: Option<&PackedPeer>,
        written: &PackedPeer,
        known: Option<PeerView<'_>>,
        marks: &mut BTreeMap<PeerKey, Forgotten>,
    ) -> Option<PackedPeer> {
        let is_edited = || {
            let before = before.map(PackedPeer::to_record);
            before.is_none_or(|before| !same_words(&before, &written.to_record()))
        };
        match (before, known) {
            (Some(before), Some(known)) if before == written => Some(known.to_packed()),
            (before, Some(known)) => {
                let known = known.to_record();
                let before = before.map(PackedPeer::to_record);
                let merged = blend(
                    before.as_ref().unwrap_or(&known),
                    &written.to_record(),
                    &known,
                );
                self.compare(&known, &merged);
                Some(merged.into())
            }
            // Removed in memory, untouched in the file: it stays removed.
            (Some(_), None) if !is_edited() => None,
            (_, None) => {
                let (key, view) = (written.key(), written.view());
                let seq = view.seq().unwrap_or(0);
                let mark = marks.get(key);
                let is_refused = |mark: &Forgotten| mark.by == Issuer::Operator || seq <= mark.seq;
                if !view.source().is_chosen_by_operator() && mark.is_some_and(is_refused) {
                    return None;
                }
                marks.remove(key);
                self.note(key, "peer", "", "added");
                Some(written.clone())
            }
        }
    }

    /// Peers that the file does not have: new ones, unreadable ones, and those that were deleted by hand.
    fn absent(
        &mut self,
        (base, before): (&Document, &Before<'_>),
        file: &Document,
        memory: &PeerSet,
        doubt: &Doubt,
        (peers, marks): (&mut Vec<PackedPeer>, &mut BTreeMap<PeerKey, Forgotten>),
    ) {
        let here: HashSet<PeerKey> = file.peers().map(|record| *record.key()).collect();
        let unreadable = file.broken();
        let is_torn = !file.damage.is_empty();
        let is_saved = is_later_save(base, file);
        for known in memory.views().filter(|known| !here.contains(known.key())) {
            let key = *known.key();
            let was_written = before.find(&key).is_some();
            let was_withheld = base.withheld.contains(&key);
            if !(was_written || was_withheld) || unreadable.contains(&key) {
                peers.push(known.to_packed());
            } else if was_withheld && doubt.remains() {
                self.withheld.insert(key);
                peers.push(known.to_packed());
            } else if is_torn {
                peers.push(known.to_packed());
            } else if let Some(line) = doubt.new_at.filter(|_| was_written) {
                self.withheld.insert(key);
                self.waits.push((key, line));
                peers.push(known.to_packed());
            } else if is_saved && !marks.contains_key(&key) {
                // Another process did not keep it. What people chose leaves a mark when it is removed: that process had
                // not read of it.
                if known.is_reserved() {
                    peers.push(known.to_packed());
                } else {
                    self.note(&key, "peer", words(&known.to_record()), "removed");
                }
            } else {
                let seq = known.seq().unwrap_or(0);
                let mark = Forgotten {
                    seq,
                    by: Issuer::Operator,
                };
                let entry = marks.entry(key).or_insert(mark);
                entry.seq = entry.seq.max(seq);
                self.note(&key, "peer", words(&known.to_record()), "removed");
            }
        }
    }

    /// Logs what bans changed and lifts the mark of peers whose ban is gone.
    fn bans(
        &mut self,
        memory: &PeerSet,
        bans: &BTreeMap<BanTarget, Ban>,
        peers: &mut [PackedPeer],
    ) {
        let mut lifted = HashSet::new();
        for ban in memory.bans().filter(|ban| !bans.contains_key(&ban.target)) {
            self.adopted.push(Adopted {
                who: Who(ban.target),
                field: "ban",
                old: ban.reason.to_string().into(),
                new: "lifted".into(),
            });
            lifted.insert(ban.target);
        }
        let is_freed = |peer: &&mut PackedPeer| {
            !lifted.is_empty()
                && peer.view().is_banned()
                && lifted.contains(&BanTarget::Peer(*peer.key()))
        };
        for peer in peers.iter_mut().filter(is_freed) {
            let mut record = peer.to_record();
            record.status = PeerStatus::Unknown;
            *peer = record.into();
        }
        let known: BTreeMap<&BanTarget, &Ban> = memory_bans(memory).collect();
        for (about, ban) in bans
            .iter()
            .filter(|(about, ban)| known.get(about) != Some(ban))
        {
            let old = known
                .get(about)
                .map(|ban| ban.reason.to_string())
                .unwrap_or_default();
            self.adopted.push(Adopted {
                who: Who(*about),
                field: "ban",
                old: old.into(),
                new: ban.reason.to_string().into(),
            });
        }
    }

    /// Notes every difference between two records of one peer.
    fn compare(&mut self, old: &PeerRecord, new: &PeerRecord) {
        let key = new.key;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let fields = [
            ("name", text(&old.name), text(&new.name)),
            ("note", text(&old.note), text(&new.note)),
            ("pinned", old.pinned.to_string(), new.pinned.to_string()),
            (
                "source",
                old.source.as_str().to_owned(),
                new.source.as_str().to_owned(),
            ),
            ("addresses", addresses(old), addresses(new)),
            (
                "undialable",
                old.undialable.join(" "),
                new.undialable.join(" "),
            ),
            (
                "extra",
                format!("{:?}", old.extra),
                format!("{:?}", new.extra),
            ),
        ];
        for (field, old, new) in fields.into_iter().filter(|(_, old, new)| old != new) {
            self.note(&key, field, old, new);
        }
    }

    fn note(
        &mut self,
        key: &PeerKey,
        field: &'static str,
        old: impl Into<Cow<'static, str>>,
        new: impl Into<Cow<'static, str>>,
    ) {
        let who = Who(BanTarget::Peer(*key));
        self.adopted.push(Adopted {
            who,
            field,
            old: old.into(),
            new: new.into(),
        });
    }
}

fn addresses(record: &PeerRecord) -> String {
    let texts: Vec<String> = record
        .addresses
        .iter()
        .map(|known| known.addr.to_string())
        .collect();
    texts.join(" ")
}

/// A peer in one line of the log: what it would take to add it again.
fn words(record: &PeerRecord) -> String {
    match &record.name {
        Some(name) => format!("{} {} {}", record.key, name, addresses(record)),
        None => format!("{} {}", record.key, addresses(record)),
    }
}

/// Addresses the entry itself lists, as opposed to what the state says about others.
fn listed(record: &PeerRecord) -> Vec<String> {
    crate::text::spell::listed(record)
}

/// True when two records agree in everything that people write.
pub(crate) fn same_words(a: &PeerRecord, b: &PeerRecord) -> bool {
    a.name == b.name
        && a.note == b.note
        && a.pinned == b.pinned
        && a.source == b.source
        && a.extra == b.extra
        && listed(a) == listed(b)
}

/// What `file` changed against `base`, applied to `known`: people's fields one by one, the node's state the newer one.
pub(crate) fn blend(base: &PeerRecord, file: &PeerRecord, known: &PeerRecord) -> PeerRecord {
    fn newer<'a, T: PartialEq>(base: &T, file: &'a T, known: &'a T) -> &'a T {
        if file == base { known } else { file }
    }
    let mut merged = known.clone();
    merged
        .name
        .clone_from(newer(&base.name, &file.name, &known.name));
    merged
        .note
        .clone_from(newer(&base.note, &file.note, &known.note));
    merged.pinned = *newer(&base.pinned, &file.pinned, &known.pinned);
    merged.source = *newer(&base.source, &file.source, &known.source);
    merged
        .undialable
        .clone_from(newer(&base.undialable, &file.undialable, &known.undialable));
    for (name, value) in &file.extra {
        if base.extra.get(name) != Some(value) {
            merged.extra.insert(name.clone(), value.clone());
        }
    }
    merged
        .extra
        .retain(|name, _| file.extra.contains_key(name) || !base.extra.contains_key(name));
    blend_addresses(base, file, &mut merged);
    blend_state(file, &mut merged);
    merged
}

/// Addresses follow the file one by one. Editing those of a discovered peer makes the peer the operator's.
fn blend_addresses(base: &PeerRecord, file: &PeerRecord, merged: &mut PeerRecord) {
    let has = |record: &PeerRecord, wanted: &PeerAddress| {
        record
            .addresses
            .iter()
            .any(|known| known.addr == wanted.addr)
    };
    let newer_signed = |record: &PeerRecord| record.record.as_ref().map_or(0, SignedRecord::seq);
    let by_person = newer_signed(file) <= newer_signed(base) && listed(base) != listed(file);
    merged
        .addresses
        .retain(|known| has(file, known) || !has(base, known));
    for written in file.addresses.iter().filter(|written| !has(base, written)) {
        match merged
            .addresses
            .iter_mut()
            .find(|known| known.addr == written.addr)
        {
            Some(known) => known.source = known.source.min(written.source),
            None => merged.addresses.push(written.clone()),
        }
    }
    if by_person && merged.source == PeerSource::Signed {
        merged.source = PeerSource::Operator;
    }
    if merged.source.is_chosen_by_operator() && by_person {
        let is_listed =
            |known: &PeerAddress| has(file, known) && known.source == AddressSource::Signed;
        let listed = listed(file);
        for known in merged.addresses.iter_mut().filter(|known| is_listed(known)) {
            if listed.contains(&known.addr.to_string()) {
                known.source = AddressSource::Operator;
            }
        }
    }
    let order = |known: &PeerAddress| {
        file.addresses
            .iter()
            .position(|written| written.addr == known.addr)
    };
    merged
        .addresses
        .sort_by_key(|known| (known.source, order(known).unwrap_or(usize::MAX)));
}

/// Of what two processes know about a peer, the newer counts.
fn blend_state(file: &PeerRecord, merged: &mut PeerRecord) {
    let is_newer = file.stats.last_seen > merged.stats.last_seen
        || (file.stats.last_seen == merged.stats.last_seen
            && file.status_since > merged.status_since);
    if is_newer {
        merged.stats = file.stats;
        merged.status = file.status;
        merged.status_since = file.status_since;
    }
    let seq = |record: &PeerRecord| record.record.as_ref().map(SignedRecord::seq);
    if seq(file) > seq(merged) {
        merged.record.clone_from(&file.record);
    }
}

#[cfg(test)]
mod tests;
