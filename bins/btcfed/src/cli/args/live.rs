//! `btcfed log`, `btcfed trace` and `btcfed support-bundle`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::parse_duration;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum LogCommand {
    /// Show how much the daemon logs, or change it for a while
    ///
    /// The level of the configuration comes back by itself when the time is over, and with every reload and restart.
    ///
    /// Examples:
    ///   btcfed log level
    ///   btcfed log level debug --for 30m
    ///   btcfed log level info,libp2p=debug
    ///   btcfed log level --reset
    #[command(verbatim_doc_comment)]
    Level(LevelOptions),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct LevelOptions {
    /// error, warn, info, debug or trace; or directives such as `info,btcfed_network=trace`
    #[arg(conflicts_with = "reset")]
    pub(in crate::cli) filter: Option<String>,
    /// For how long: 1s to 24h
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
    pub(in crate::cli) lasting: Duration,
    /// Back to the level of the configuration at once
    #[arg(long)]
    pub(in crate::cli) reset: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TraceOptions {
    /// A peer id, a public key, a name, or the unique beginning of a peer id
    pub(in crate::cli) peer: String,
    /// For how long, at most an hour
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = parse_duration)]
    pub(in crate::cli) duration: Duration,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BundleOptions {
    /// The file to write, instead of `btcfed-support-TIME.tar.gz` here; an existing file is not replaced
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) output: Option<PathBuf>,
    /// A log file whose end goes in, instead of `logging.file`
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) log: Option<PathBuf>,
    /// Write a code in place of every host and IP address; the same one for the same address
    #[arg(long)]
    pub(in crate::cli) anonymous: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(in crate::cli) yes: bool,
}
