//! The store as its users see it, on real files.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;
mod copies;
mod crash;
mod damage;
mod edits;
mod faults;
mod files;
mod journal;
mod kills;
mod reconfigure;
mod roundtrip;
mod sharing;
mod upkeep;
