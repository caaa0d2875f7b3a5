//! Files that a save has just replaced. An editor that opened one of them before, and writes in place, writes into a file
//! that no longer has a name: its edit would be lost. So a replaced file is held open for a while and looked at again.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Instant;

use crate::disk::HeldFile;
use crate::document::Document;
use crate::worker::PATIENCE;

/// Most replaced files that are held at a time: those of the last saves. Each takes one descriptor.
pub(crate) const MAX_HELD: usize = 8;

/// Tells contents apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Print(usize, u64);

impl Print {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Self(bytes.len(), hasher.finish())
    }
}

/// One replaced file.
#[derive(Debug)]
struct Displaced {
    file: Box<dyn HeldFile>,
    /// What it said when it was replaced.
    document: Document,
    print: Print,
    /// Another content that was seen once: an edit, if it stays as it is.
    seen: Option<Print>,
    until: Instant,
}

/// What a look at the replaced files brought.
#[derive(Debug)]
pub(crate) enum Late {
    /// An edit: what the file said before, and its bytes now.
    Edit(Box<Document>, Vec<u8>),
    /// Nothing.
    Nothing,
    /// Somebody seems to be writing.
    Unfinished,
}

/// The files that the last saves replaced.
#[derive(Debug, Default)]
pub(crate) struct DisplacedFiles(VecDeque<Displaced>);

impl DisplacedFiles {
    /// Holds a file that was just replaced, and what it said.
    pub(crate) fn hold(&mut self, file: Box<dyn HeldFile>, document: Document, print: Print) {
        if self.0.len() >= MAX_HELD {
            self.0.pop_front();
        }
        let until = Instant::now() + PATIENCE;
        self.0.push_back(Displaced {
            file,
            document,
            print,
            seen: None,
            until,
        });
    }

    /// True while there is something to look at.
    pub(crate) fn is_watching(&self) -> bool {
        !self.0.is_empty()
    }

    /// Looks for an edit. One that is still being written is waited for, until the file is given up.
    pub(crate) fn look(&mut self, limit: u64) -> Late {
        let now = Instant::now();
        let mut late = Late::Nothing;
        for displaced in &mut self.0 {
            let Ok(bytes) = displaced.file.read(limit) else {
                displaced.until = now;
                continue;
            };
            let print = Print::of(&bytes);
            if print == displaced.print {
                displaced.seen = None;
                continue;
            }
            let is_quiet = displaced.seen.replace(print) == Some(print) || displaced.until <= now;
            let is_whole = !bytes.trim_ascii().is_empty();
            if is_quiet && is_whole {
                // Later changes of this file are edits of the edit.
                displaced.print = print;
                displaced.seen = None;
                return Late::Edit(Box::new(displaced.document.clone()), bytes);
            }
            late = Late::Unfinished;
        }
        self.0.retain(|displaced| displaced.until > now);
        if self.0.is_empty() {
            Late::Nothing
        } else {
            late
        }
    }
}
