//! A peers file that people edit and that cannot be lost.
//!
//! ```
//! use btcfed_core::{AddressSource, PeerPatch, PeerRecord, PeerSource, SecretKey};
//! use btcfed_peer_store::{FilePeerStore, StoreOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("peers.yaml");
//! std::fs::write(&path, "# my peers\npeers: []\n")?;
//!
//! let store = FilePeerStore::open(StoreOptions::new(&path))?;
//! let mut alice = PeerRecord::new(SecretKey::from_seed([7; 32]).public(), PeerSource::Operator);
//! alice.add_address("/dns4/node1.example.com/tcp/9000".parse()?, AddressSource::Operator);
//! let applied = store.apply(&PeerPatch::create(alice))?;
//! assert!(applied.durable, "on disk, fsynced, before apply returned");
//!
//! store.flush()?; // otherwise the file follows within a second
//! let text = std::fs::read_to_string(&path)?;
//! assert!(text.starts_with("# my peers\n") && text.contains("- /dns4/node1.example.com/tcp/9000\n"));
//! store.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! [`FilePeerStore`] keeps a [`PeerSet`](btcfed_core::PeerSet) in memory and in one YAML file, `peers.yaml`. It works
//! without an executor and without a network; [`PeerStore`](btcfed_core::PeerStore) is implemented for async code.
//!
//! # Guarantees
//! 1. **Old or new.** A crash at any step leaves the complete old or the complete new file.
//! 2. **Durable means durable.** `durable: true` is answered after the change is synced: in the journal beside the file,
//!    which follows within a second, or without a journal in the file itself.
//! 3. **Memory first.** A sick disk never stops the store: memory serves, one event says so, saving is tried again.
//! 4. **Your text stays yours.** Comments, order, indentation, unknown fields and spellings of entries that did not change
//!    survive any number of saves, byte for byte; in an entry that did change, only the lines concerned change.
//! 5. **One bad entry is one bad entry.** It is skipped, reported with its line, and stays in the file.
//! 6. **Nothing is overwritten unseen.** Edits are merged before every save, and damaged bytes are kept in a file of
//!    their own before anything is written.
//! 7. **There is a copy.** What a damaged or deleted file said last comes back from `peers.yaml.base`, and a hand deletion
//!    made while nothing ran is known as one.
//! 8. **Any bytes are a valid file.** No content of the file makes opening fail, panic or take more than linear time.
//!
//! Recipes are in the [`cookbook`].
//!
//! The file format is described in `docs/FILES.md`. Local file systems only: locks of network file systems promise less.
//!
//! # What it does not know
//! Where peers come from, whether they can be reached, and what a network is.

mod clock;
mod commit;
#[doc = include_str!("../COOKBOOK.md")]
pub mod cookbook {}
mod copies;
mod disk;
mod file;
pub mod import;
mod journal;
pub mod json;
mod memory;
mod merge;
mod migration;
mod options;
pub mod sections;
mod shared;
mod store;
mod tables;
mod text;
mod worker;

pub use clock::SystemClock;
pub use copies::{CopyKind, StoredCopy, Unreadable, copies, read_copy};
pub use disk::base::{BASE_DELAY, MAX_OLD_COPIES};
pub use disk::replace::MAX_DAMAGED_KEPT;
pub use disk::watch::POLL_INTERVAL;
pub use disk::{Disk, FileInfo, HeldFile, LogFile, OsDisk, PendingFile};
pub use file::revise::Revised;
pub use journal::{MAX_FRAME_BYTES, MAX_JOURNAL_BYTES, SEGMENT_BYTES};
pub use memory::{MAX_JSON_BYTES, MemoryStore};
pub use migration::Migration;
pub use options::StoreOptions;
pub use sections::{Section, SectionEntry, SectionError, SectionOp, SectionStore, Sections};
pub use shared::MAX_WAITING;
pub use store::FilePeerStore;
pub use text::document::FORMAT_VERSION;
pub use text::guard::{MAX_ENTRY_BYTES, MAX_FLOW_DEPTH, MAX_LINE_BYTES};
pub use worker::{PATIENCE, RELOAD_PATIENCE};
