//! What the file is made of: entries, and the lines between them.

use std::sync::Arc;

use btcfed_core::ban::Ban;
use btcfed_core::key::PeerKey;
use btcfed_core::peer::Forgotten;
use btcfed_core::set::PackedPeer;

use crate::text::entry::Peer;
use crate::text::guard::Refusal;
use crate::text::run::Run;
use crate::text::split::{Head, List};

/// What an entry says.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    Peer {
        record: PackedPeer,
        state_extra: Arc<[(String, String)]>,
    },
    Ban(Arc<Ban>),
    Forgotten(PeerKey, Forgotten),
    /// Nothing that can be read; it stays as it is.
    Bad(Arc<Refusal>),
}

impl From<Peer> for Says {
    fn from(peer: Peer) -> Self {
        Self::Peer {
            record: peer.record.into(),
            state_extra: peer.state_extra.into(),
        }
    }
}

/// An entry of a list.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) list: List,
    pub(crate) text: Arc<str>,
    /// 1-based line where it starts, in the file as read.
    pub(crate) line: usize,
    pub(crate) says: Says,
}

impl Item {
    /// Whose entry it is, where that is known.
    pub(crate) fn key(&self) -> Option<PeerKey> {
        match &self.says {
            Says::Peer { record, .. } => Some(*record.key()),
            Says::Forgotten(key, _) => Some(*key),
            Says::Bad(refusal) => refusal.key,
            Says::Ban(_) => None,
        }
    }
}

/// A part of the file.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Text(Arc<str>),
    Head(Head, Arc<str>),
    List(List, Arc<str>),
    Item(Item),
    /// Peers in the store's own spelling, of which no text is kept.
    Run(Run),
}

impl Piece {
    /// Adds its text to `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) | Self::Head(_, text) | Self::List(_, text) => {
                out.extend_from_slice(text.as_bytes());
            }
            Self::Item(item) => out.extend_from_slice(item.text.as_bytes()),
            Self::Run(run) => run.write(out),
        }
    }

    /// Says in which line it starts, where that is of interest.
    pub(crate) fn set_line(&mut self, line: usize) {
        match self {
            Self::Item(item) => item.line = line,
            Self::Run(run) => run.line = line,
            Self::Text(_) | Self::Head(..) | Self::List(..) => {}
        }
    }

    /// True when it does not end in a whole line.
    pub(crate) fn is_cut(&self) -> bool {
        match self {
            Self::Text(text) | Self::Head(_, text) | Self::List(_, text) => !text.ends_with('\n'),
            Self::Item(item) => !item.text.ends_with('\n'),
            Self::Run(_) => false,
        }
    }

    /// How many bytes its text has.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(text) | Self::Head(_, text) | Self::List(_, text) => text.len(),
            Self::Item(item) => item.text.len(),
            Self::Run(run) => run.len(),
        }
    }
}

/// Something in the file that is not how files are, and will not be written back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// 1-based.
    pub(crate) line: usize,
    pub(crate) what: String,
}
