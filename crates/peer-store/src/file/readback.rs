//! A file with unreadable places is read back before it is written: what follows such a place may not mean what it says.

use std::collections::HashSet;
use std::path::Path;

use btcfed_core::key::PeerKey;
use btcfed_core::set::PeerSet;
use btcfed_core::store::StoreError;
use btcfed_core::time::Timestamp;

use crate::file::TheFile;
use crate::text::document::Document;
use crate::text::render::{Rendered, Stamp, render_with};

impl TheFile {
    /// What is to be written: `rendered`, unless something in it that cannot be read would hide a peer of `set` from the next
    /// reader. Then the file is begun anew, after its bytes were kept aside.
    ///
    /// # Errors
    /// The bytes cannot be kept aside. Nothing was written.
    pub(super) fn read_back<'a>(
        &mut self,
        target: &Path,
        rendered: Rendered<'a>,
        set: &PeerSet,
        tables: Option<&str>,
        stamp: Stamp,
    ) -> Result<Rendered<'a>, StoreError> {
        let is_whole = self.document.skipped().is_empty() && rendered.document.skipped().is_empty();
        if is_whole || shows_all(&rendered, set, stamp.now) {
            return Ok(rendered);
        }
        let why = "its unreadable lines would hide peers; it is begun anew".to_owned();
        self.unsaved_damage = Some((self.document.bytes(), why));
        self.keep_damage(target)?;
        let blank = Document {
            style: self.document.style,
            ..Document::default()
        };
        Ok(render_with(&blank, b"", set, tables, stamp))
    }
}

/// True when a reader who knows nothing else finds every peer of the set that is written at all.
fn shows_all(rendered: &Rendered<'_>, set: &PeerSet, now: Timestamp) -> bool {
    let read = Document::parse(&rendered.content.to_vec(), &Document::default(), now);
    let found: HashSet<PeerKey> = read.peers().map(|peer| *peer.key()).collect();
    let withheld = &rendered.document.withheld;
    set.views()
        .all(|peer| found.contains(peer.key()) || withheld.contains(peer.key()))
}
