//! Peers in the store's own spelling, one after the other: what they say, and no text.

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use btcfed_core::PeerSet;
use btcfed_core::key::PeerKey;
use btcfed_core::peer::PeerRecord;
use btcfed_core::set::{PackedPeer, Packer, PeerView};

use crate::text::document::Document;
use crate::text::entry::Trust;
use crate::text::ink;
use crate::text::lengths::Lengths;
use crate::text::piece::{Item, Piece, Says};
use crate::text::spell::{self, Style};
use crate::text::split::List;

/// Such peers, in the order of the file.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// How they are laid out.
    pub(crate) style: Style,
    /// 1-based line where the first one starts, in the file as read.
    pub(crate) line: usize,
    /// What they say.
    pub(crate) records: Vec<PackedPeer>,
    /// How long their texts are.
    pub(crate) lengths: Lengths,
}

impl Run {
    /// A run of nobody.
    pub(crate) fn new(style: Style, line: usize) -> Self {
        Self {
            style,
            line,
            records: Vec::new(),
            lengths: Lengths::default(),
        }
    }

    /// Adds a peer whose entry has so many bytes.
    pub(crate) fn push(&mut self, record: PackedPeer, bytes: usize) {
        self.records.push(record);
        self.lengths.push(bytes);
    }

    /// Adds their text to `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for record in &self.records {
            spell::push_entry(out, &record.to_record(), &[], self.style);
        }
    }

    /// How many bytes their text has.
    pub(crate) fn len(&self) -> usize {
        self.lengths.bytes()
    }
}

impl Piece {
    /// The piece with every entry on its own.
    pub(crate) fn apart(self) -> Vec<Self> {
        let Self::Run(run) = self else {
            return vec![self];
        };
        let mut line = run.line;
        let apart = |record: PackedPeer| {
            let mut text = Vec::with_capacity(spell::LEN_HINT);
            spell::push_entry(&mut text, &record.to_record(), &[], run.style);
            let text = ink::into_text(text);
            let item = Item {
                list: List::Peers,
                line,
                says: Says::Peer {
                    record,
                    state_extra: Arc::new([]),
                },
                text: text.into(),
            };
            line += item.text.bytes().filter(|byte| *byte == b'\n').count();
            Self::Item(item)
        };
        run.records.into_iter().map(apart).collect()
    }
}

/// A peer that was read.
pub(crate) enum Believed {
    /// It says what it said before.
    Known(PackedPeer),
    New(Box<PeerRecord>),
}

impl Believed {
    pub(crate) fn add_to(self, packer: &mut Packer) {
        match self {
            Self::Known(peer) => packer.push_packed(peer),
            Self::New(record) => packer.push(&record),
        }
    }
}

impl From<Believed> for PackedPeer {
    fn from(believed: Believed) -> Self {
        match believed {
            Believed::Known(peer) => peer,
            Believed::New(record) => (*record).into(),
        }
    }
}

/// What was known of the peers before a file was read: a record that did not change is the same, and was checked.
pub(crate) struct Before<'a> {
    records: Vec<&'a PackedPeer>,
    /// The bytes of the file before, if they are at hand, and where in it the text of each record is.
    text: &'a str,
    places: &'a [Range<usize>],
    /// Where the next one probably is: files keep their order.
    next: Cell<usize>,
    /// Where each record is; nothing where they are sorted, so that this can be found without.
    index: OnceCell<Option<HashMap<&'a PeerKey, usize>>>,
    /// Canonical entries may be read without the library.
    pub(crate) is_quick: bool,
}

impl<'a> Before<'a> {
    pub(crate) fn new(document: &'a Document) -> Self {
        Self::with_text(document, "")
    }

    /// With the text that the document was read from.
    pub(crate) fn with_text(document: &'a Document, text: &'a str) -> Self {
        let records: Vec<_> = document.peers().collect();
        let has_places = document.places.len() == records.len() && !text.is_empty();
        Self {
            places: if has_places { &document.places } else { &[] },
            records,
            text,
            next: Cell::new(0),
            index: OnceCell::new(),
            is_quick: true,
        }
    }

    /// Nothing was known, and nothing is read the quick way.
    #[cfg(test)]
    pub(crate) fn thorough() -> Self {
        Self {
            records: Vec::new(),
            text: "",
            places: &[],
            next: Cell::new(0),
            index: OnceCell::new(),
            is_quick: false,
        }
    }

    /// The next record, or the one after it, if `text` begins with the very same entry; and that entry.
    pub(crate) fn same(&self, text: &str) -> Option<(&'a PackedPeer, &'a str)> {
        let next = self.next.get();
        // One that was edited is passed over.
        [next, next + 1].into_iter().find_map(|place| {
            let entry = self.text.get(self.places.get(place)?.clone())?;
            let record = self
                .records
                .get(place)
                .filter(|_| text.starts_with(entry))?;
            self.next.set(place + 1);
            Some((*record, entry))
        })
    }

    /// The record as it is to be taken over, if it is one that was known, or all of the file is trusted.
    pub(crate) fn believe(&self, mut record: PeerRecord, trust: Trust) -> Option<Believed> {
        if let Some(known) = self.find(&record.key) {
            let rtt = known.view().stats().mean_rtt;
            let micros = |rtt: std::time::Duration| rtt.as_micros();
            if record.stats.mean_rtt.map(micros) == rtt.map(micros) {
                // No file says it more precisely.
                record.stats.mean_rtt = rtt;
            }
            if *known == record {
                return Some(Believed::Known(known.clone()));
            }
        }
        (trust == Trust::Ours).then(|| Believed::New(Box::new(record)))
    }

    /// What was known of a peer.
    pub(crate) fn find(&self, key: &PeerKey) -> Option<&'a PackedPeer> {
        let is_it = |record: &&&PackedPeer| record.key() == key;
        let place = match self.records.get(self.next.get()).filter(is_it) {
            Some(_) => self.next.get(),
            None if self.records.is_empty() => return None,
            None => match self.index.get_or_init(|| self.index()) {
                Some(index) => *index.get(key)?,
                None => self
                    .records
                    .binary_search_by(|peer| peer.key().cmp(key))
                    .ok()?,
            },
        };
        self.next.set(place + 1);
        self.records.get(place).copied()
    }

    fn index(&self) -> Option<HashMap<&'a PeerKey, usize>> {
        let keys = || self.records.iter().map(|record| record.key());
        let is_sorted = keys().is_sorted_by(|one, next| one < next);
        let places = || keys().enumerate().map(|(place, key)| (key, place));
        (!is_sorted).then(|| places().collect())
    }
}

/// Finds peers that are mostly asked for in the order of their keys, which is how the store writes them.
pub(crate) struct Walk<'a> {
    set: &'a PeerSet,
    rest: Box<dyn Iterator<Item = PeerView<'a>> + 'a>,
    /// How often in a row the next one was not it.
    misses: u32,
    /// How many are to be looked up before the order is followed again.
    pause: u32,
}

impl<'a> Walk<'a> {
    /// Pauses double with each miss up to two to this power: a file in another order costs little more than its lookups.
    const MAX_MISSES: u32 = 6;

    pub(crate) fn new(set: &'a PeerSet) -> Self {
        Self {
            set,
            rest: Box::new(set.views()),
            misses: 0,
            pause: 0,
        }
    }

    pub(crate) fn find(&mut self, key: &PeerKey) -> Option<PeerView<'a>> {
        if self.pause == 0 {
            if let Some(next) = self.rest.next().filter(|next| next.key() == key) {
                self.misses = 0;
                return Some(next);
            }
            self.misses = (self.misses + 1).min(Self::MAX_MISSES);
            self.pause = (1 << self.misses) - 1;
        }
        let found = self.set.view(key)?;
        self.pause -= 1;
        if self.pause == 0 {
            self.rest = Box::new(self.set.views_after(Some(found.key())));
        }
        Some(found)
    }
}
