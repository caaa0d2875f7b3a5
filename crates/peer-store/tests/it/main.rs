//! The store as its users see it, on real files.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod bits;
mod broken;
mod common;
mod copies;
mod copying;
mod crash;
mod damage;
mod edits;
mod faults;
mod files;
mod hazards;
mod journal;
mod kills;
mod memory;
mod overtaken;
mod reconfigure;
mod revisions;
mod roundtrip;
mod sections;
mod sharing;
mod torn;
mod upkeep;
mod versions;
