//! The real program: files, signals, exit codes, the admin socket.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on may panic"
)]

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod bad_input;
mod commands;
mod correlation;
mod doctor;
mod documented;
mod faults;
mod federation;
mod full_disk;
mod http;
mod insight;
mod interface;
mod invites;
mod keys;
mod kit;
mod last_good;
mod lifecycle;
mod live;
mod log;
mod operator;
mod package;
mod packaging;
mod peers;
mod planted;
mod reload;
mod schemas;
mod signals;
mod socket;
mod supervision;
mod surface;
mod table;
mod terminal;
