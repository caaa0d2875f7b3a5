//! The commands of `btcfed peers`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::parse_duration;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PeersCommand {
    /// Add a peer: it is the operator's from now on, dialled at once and never given up
    ///
    /// Examples:
    ///   btcfed peers add /ip4/203.0.113.7/tcp/9000/p2p/12D3KooW...
    ///   btcfed peers add CAESI...@node1.example.com:9000 --name alice --pin
    ///   btcfed peers add BTCFED1Q...
    #[command(verbatim_doc_comment)]
    Add {
        /// MULTIADDR/p2p/ID, KEY@HOST:PORT with a public key or a peer id, or an invite
        target: String,
        /// A label for people
        #[arg(long)]
        name: Option<String>,
        /// Reserve a place: exempt from connection limits
        #[arg(long)]
        pin: bool,
    },
    /// Let a waiting peer in, where `peers.mode` is allowlist: it is the operator's from now on, as if you had added it
    ///
    /// Without a peer, or with --list, it shows who waits; only the running daemon knows that.
    ///
    /// Examples:
    ///   btcfed peers approve --list
    ///   btcfed peers approve 12D3KooWQ2
    #[command(verbatim_doc_comment)]
    Approve(ApproveOptions),
    /// Refuse a peer, an IP address or a network: inbound, outbound and in gossip
    ///
    /// Banning again changes end and reason. Survives restarts; `peers bans` lists it, `peers unban` lifts it.
    ///
    /// Examples:
    ///   btcfed peers ban alice --for 24h --reason "floods us"
    ///   btcfed peers ban 203.0.113.0/24
    #[command(verbatim_doc_comment)]
    Ban(BanOptions),
    /// List who is refused, why and until when
    ///
    /// Example: btcfed peers bans
    Bans,
    /// Edit the peers file in your editor: checked before it counts, merged with what the node learned meanwhile
    ///
    /// Opens a private copy in $VISUAL, $EDITOR or vi. A mistake is shown, and you may edit again, look at it, or give up.
    /// What changed is shown at the end. If the editor fails, the copy is kept and named.
    ///
    /// Example: EDITOR=nano btcfed peers edit
    Edit,
    /// Write the known peers to a file or to standard output
    ///
    /// Example: btcfed peers export --format csv -o members.csv
    Export(ExportOptions),
    /// Show what the copies of the peers file hold, from the newest to the oldest, and how they differ from now
    ///
    /// Works with the daemon running or stopped; changes nothing.
    ///
    /// Example: btcfed peers history
    History,
    /// Take in peers from a file: YAML (such as another node's peers.yaml), JSON, CSV, or the JSON files of other programs
    ///
    /// What is imported is yours: dialled at once and never given up. Known peers get what is new; nothing is taken away
    /// unless --replace says so. A file with anything wrong in it changes nothing, and every problem is listed.
    /// The files of other programs are recognised: `state` (peers, reputation and caches; these become sections of the
    /// peers file) and `registry` (peers by UUID, IP address and port, with bans).
    ///
    /// Example: btcfed peers import members.csv --dry-run
    Import(ImportOptions),
    /// List the known peers
    ///
    /// Examples:
    ///   btcfed peers list --state disconnected --sort seen
    ///   btcfed peers list --json
    #[command(verbatim_doc_comment)]
    List(ListOptions),
    /// Reserve a place for a peer: never evicted, never given up, exempt from connection limits
    ///
    /// Example: btcfed peers pin alice
    Pin {
        /// A peer id, a public key, a name, or the unique beginning of a peer id
        peer: String,
    },
    /// Remove a peer; gossip does not bring it back
    ///
    /// Example: btcfed peers remove alice
    Remove {
        /// A peer id, a public key, a name, or the unique beginning of a peer id
        peer: String,
    },
    /// Give a peer another name; the empty name takes it away
    ///
    /// Example: btcfed peers rename 12D3KooWQ2 alice
    Rename {
        /// A peer id, a public key, a name, or the unique beginning of a peer id
        peer: String,
        /// The new name, unique among the peers
        name: String,
    },
    /// Rewrite a damaged peers file: what can be read stays, what cannot comes from the copies where they have it
    ///
    /// The damaged bytes are kept in a file of their own first. Exit 0 when nothing is lost, 65 when something is: every
    /// loss is listed with its line.
    ///
    /// Example: btcfed peers repair --dry-run
    Repair {
        /// Say what would be done, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// A member's machine is lost and comes back with a new key: move name, note and pin to the new identity
    ///
    /// The old identity is removed and gossip does not bring it back.
    ///
    /// Example: btcfed peers replace alice 12D3KooW...@node1.example.com:9000
    Replace {
        /// The old identity: a peer id, a public key, a name, or the unique beginning of a peer id
        old: String,
        /// MULTIADDR/p2p/ID, or KEY@HOST:PORT with a public key or a peer id
        new: String,
    },
    /// Go back to what a copy of the peers file says: peers you chose, names, notes, pins and bans
    ///
    /// Peers that were discovered since stay. The file as it is now is kept as peers.yaml.before: `peers restore before`
    /// takes a restore back.
    ///
    /// Examples:
    ///   btcfed peers restore 41 --dry-run
    ///   btcfed peers restore 2026-11-20T16:00:00Z
    #[command(verbatim_doc_comment)]
    Restore(RestoreOptions),
    /// Show everything known of one peer
    ///
    /// Example: btcfed peers show alice
    Show {
        /// A peer id, a public key, a name, or the unique beginning of a peer id
        peer: String,
    },
    /// Lift a ban
    ///
    /// Example: btcfed peers unban 203.0.113.0/24
    Unban {
        /// What was banned: a peer id, a public key, a name, an IP address or a network
        target: String,
    },
    /// Give up a peer's reserved place; the peer stays known
    ///
    /// Example: btcfed peers unpin alice
    Unpin {
        /// A peer id, a public key, a name, or the unique beginning of a peer id
        peer: String,
    },
    /// Check the peers file without changing it: checksum, entries, duplicates. Exit 0, or 65 when something is wrong
    ///
    /// Works with the daemon running or stopped, and on any file.
    ///
    /// Example: btcfed peers verify /backup/peers.yaml
    Verify {
        /// The file, instead of `peers.file` of the configuration
        file: Option<PathBuf>,
    },
    /// Tell why a peer is not connected: the rule, the last error, the next try, and what to do
    ///
    /// Example: btcfed peers why alice
    Why {
        /// A peer id, a public key, a name, or the unique beginning of a peer id
        peer: String,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ApproveOptions {
    /// A peer id, a public key, a name, or the unique beginning of a peer id
    #[arg(conflicts_with = "list")]
    pub(in crate::cli) peer: Option<String>,
    /// Show who waits
    #[arg(long)]
    pub(in crate::cli) list: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ListOptions {
    /// Only peers in this state
    #[arg(long, value_name = "STATE")]
    pub(in crate::cli) state: Option<ListState>,
    /// In this order, instead of by key
    #[arg(long, value_name = "ORDER")]
    pub(in crate::cli) sort: Option<ListOrder>,
    /// Whole ids and addresses, however wide
    #[arg(short, long)]
    pub(in crate::cli) wide: bool,
}

/// A state that peers can be listed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ListState {
    /// Refused.
    Banned,
    /// There is a connection.
    Connected,
    /// There is none, for whatever reason.
    Disconnected,
    /// The last attempt failed.
    Inaccessible,
    /// Has a reserved place.
    Pinned,
}

/// An order of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ListOrder {
    /// By name; who has none comes last.
    Name,
    /// The shortest round trip first.
    Rtt,
    /// Seen last comes first.
    Seen,
    /// Connected, valid, unknown, inaccessible, banned.
    State,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RestoreOptions {
    /// A generation, a time (the newest copy from then or before), or the kind or name of a copy; see `peers history`
    #[arg(value_name = "GENERATION|TIME|COPY")]
    pub(in crate::cli) copy: String,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BanOptions {
    /// A peer id, a public key, a name, an IP address, or a network such as 203.0.113.0/24
    pub(in crate::cli) target: String,
    /// For how long; for ever if not given
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    pub(in crate::cli) lasting: Option<Duration>,
    /// Why, in your own words
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportOptions {
    /// The form; otherwise by the end of the file's name, else yaml
    #[arg(long, value_name = "FORM")]
    pub(in crate::cli) format: Option<FileFormat>,
    /// Only the peers you chose, not the discovered ones
    #[arg(long)]
    pub(in crate::cli) chosen: bool,
    /// Where to write, instead of standard output; an existing file is not replaced
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ImportOptions {
    /// The file; `-` is standard input
    pub(in crate::cli) file: PathBuf,
    /// The form; otherwise by what is in the file and the end of its name, else yaml
    #[arg(long, value_name = "FORM")]
    pub(in crate::cli) format: Option<ImportFormat>,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Add and complete, never remove; this is the default
    #[arg(long, conflicts_with = "replace")]
    pub(in crate::cli) merge: bool,
    /// Also remove every peer that is not in the file
    #[arg(long)]
    pub(in crate::cli) replace: bool,
}

/// The form of a file with peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum FileFormat {
    /// Columns `public_key`, addresses, name, note, pinned; several addresses are separated by spaces.
    Csv,
    /// The document of `peers export --format json`, or of `peers list --json`.
    Json,
    /// The form of peers.yaml.
    Yaml,
}

/// The form of a file that is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ImportFormat {
    /// Columns `public_key`, addresses, name, note, pinned; several addresses are separated by spaces.
    Csv,
    /// The document of `peers export --format json`, or of `peers list --json`.
    Json,
    /// Another program's JSON list of peers by UUID, IP address and port.
    Registry,
    /// Another program's JSON state: peers, reputation, caches.
    State,
    /// The form of peers.yaml.
    Yaml,
}
