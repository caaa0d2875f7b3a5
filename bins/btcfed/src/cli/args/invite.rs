//! The commands of `btcfed invite`, and `btcfed join`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::parse_duration;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum InviteCommand {
    /// Make an invite: this node and some of its peers as contacts, signed by this node
    ///
    /// An invite holds no secret: it tells where the federation is, not that its holder may take part.
    ///
    /// Example: btcfed invite create --expires 7d --address /dns4/node1.example.com/tcp/9000 --qr
    Create(CreateOptions),
    /// Read an invite without joining: who invites, into which federation, over which contacts, until when
    ///
    /// Example: btcfed invite show BTCFED1Q...
    Show {
        /// The invite
        invite: String,
        #[command(flatten)]
        qr: QrOptions,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct QrOptions {
    /// Also draw the invite as a QR code: on a terminal, or with --qr=always anywhere
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "auto")]
    pub(in crate::cli) qr: Option<DrawQr>,
}

/// When to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum DrawQr {
    /// When standard output is a terminal.
    Auto,
    /// Always.
    Always,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CreateOptions {
    /// How long it is good for
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = parse_duration)]
    pub(in crate::cli) expires: Duration,
    /// How many contacts at most, this node included: the invite works as long as one of them is up
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(in crate::cli) contacts: u8,
    /// Where this node can be reached, instead of what it announces; may be repeated
    #[arg(long, value_name = "MULTIADDR")]
    pub(in crate::cli) address: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) qr: QrOptions,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct JoinOptions {
    /// The invite
    pub(in crate::cli) invite: String,
    /// A label for this node, if a conf.yaml has to be written
    #[arg(long)]
    pub(in crate::cli) name: Option<String>,
    /// Where this node is to listen, if a conf.yaml has to be written; may be repeated
    #[arg(long, value_name = "MULTIADDR")]
    pub(in crate::cli) listen: Vec<String>,
    /// Where to write conf.yaml and node.key if there is none, instead of the current directory
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) dir: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    pub(in crate::cli) yes: bool,
}
