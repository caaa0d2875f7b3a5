//! Every command and option, with help that teaches.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod config;
mod invite;
mod key;
mod live;
mod packaging;
mod peers;

pub(super) use config::ConfigCommand;
pub(super) use invite::{CreateOptions, DrawQr, InviteCommand, JoinOptions, QrOptions};
pub(super) use key::{KeyCommand, KeySourceArgs};
pub(super) use live::{BundleOptions, LevelOptions, LogCommand, TraceOptions};
pub(super) use packaging::GenCommand;
pub(super) use peers::{
    ApproveOptions, ExportOptions, FileFormat, ImportFormat, ImportOptions, ListOptions, ListOrder,
    ListState, PeersCommand, RestoreOptions,
};

const EXIT_CODES: &str = "\
Exit codes:
  0 done   1 failed or unhealthy   2 wrong usage   65 bad data
  69 daemon not reachable, or address in use   70 internal error
  73 cannot create a file   74 I/O error   75 busy, try again
  77 not permitted   78 bad configuration";

const CONFIG_HELP: &str = "The configuration file. Otherwise the first of: $BTCFED_CONFIG, ./conf.yaml, \
$XDG_CONFIG_HOME/btcfed/conf.yaml, /etc/btcfed/conf.yaml; without any, the defaults hold";

/// Finds, remembers and verifies the members of a federation.
#[derive(Debug, Parser)]
#[command(name = "btcfed", version, after_help = EXIT_CODES, propagate_version = true)]
#[command(arg_required_else_help = true, max_term_width = 100)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub(super) struct Global {
    /// The configuration file
    #[arg(short, long, global = true, value_name = "FILE", help = CONFIG_HELP)]
    pub(super) config: Option<PathBuf>,

    /// Where node.key, peers.yaml, node.lock and btcfed.sock live. Otherwise $STATE_DIRECTORY, else the folder of the
    /// configuration file, else the current one
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,

    /// The daemon's admin socket, instead of `admin.socket` of the configuration
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,

    /// Print one JSON document with a versioned "schema" key, instead of text
    #[arg(long, global = true)]
    pub(super) json: bool,

    /// Colours in the log
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(super) color: Color,

    /// More talk: for `run`, log at debug level
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub(super) verbose: bool,

    /// Less talk: no hints and warnings; for `run`, log warnings only
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,

    /// How long to wait for the daemon, or for the condition of `wait` and `devnet`
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_duration)]
    pub(super) timeout: Option<Duration>,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Look at and check the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Run a whole federation on this machine and watch its members discover each other
    ///
    /// Real nodes, real TCP on 127.0.0.1, real files in a temporary directory. Every node knows only the first one when
    /// it starts. Ends when all know all.
    ///
    /// Example: btcfed devnet --nodes 20
    Devnet(DevnetOptions),
    /// Print what a shell completes commands, options and peer names with
    ///
    /// Examples:
    ///   source <(btcfed completion bash)
    ///   btcfed completion zsh > ~/.zfunc/_btcfed
    ///   btcfed completion fish > ~/.config/fish/completions/btcfed.fish
    #[command(verbatim_doc_comment)]
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the names of the known peers, one a line: for completions
    #[command(hide = true)]
    CompletePeers,
    /// Look for what is wrong and say what to do: one line a check. Exit 0, or 1 when something fails
    ///
    /// Looks at configuration, key, file modes, state directory, disk space, descriptors, lock, admin socket, listeners,
    /// announced addresses, names, clock, peers.yaml and every known peer. Changes nothing without --fix.
    ///
    /// Example: btcfed doctor
    Doctor(DoctorOptions),
    /// Show what happened lately: connections, peers, bans, reloads
    ///
    /// With --follow it goes on until Ctrl-C or until the daemon stops; with --json it prints one JSON document a line.
    ///
    /// Example: btcfed events --follow --json | jq 'select(.event == "banned")'
    Events(EventsOptions),
    /// Print or write what a package needs: man pages, the systemd unit, a configuration
    Gen {
        #[command(subcommand)]
        command: GenCommand,
    },
    /// Tell whether the daemon is healthy: exit 0 or 1, for container probes
    ///
    /// Example: btcfed health --ready --min-peers 3
    Health(HealthOptions),
    /// Show this node's identity (never its secret)
    ///
    /// Examples:
    ///   btcfed id
    ///   btcfed id --format multiaddr
    #[command(verbatim_doc_comment)]
    Id(IdOptions),
    /// Write a commented conf.yaml and generate the node's key
    ///
    /// Example: btcfed init --dir /srv/btcfed --name alice
    Init(InitOptions),
    /// Make and read invites: one line that brings a new member into the federation
    Invite {
        #[command(subcommand)]
        command: InviteCommand,
    },
    /// Join a federation by an invite: from an empty machine, or with a node that exists
    ///
    /// Shows who invites and asks. Without a conf.yaml one is written, with the federation of the invite, and a key is
    /// made. The contacts of the invite are added to the peers; if the daemon runs, it waits until one is connected.
    ///
    /// Example: btcfed join BTCFED1Q... --name carol --yes
    Join(JoinOptions),
    /// Make, look at and take over private keys
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Look at and change what the running daemon logs
    Log {
        #[command(subcommand)]
        command: LogCommand,
    },
    /// Print the daemon's counters as Prometheus text, for the textfile collector or a scrape script
    ///
    /// Example: btcfed metrics > /srv/textfile/btcfed.prom
    Metrics,
    /// Look at and change the known peers; works with the daemon stopped, too
    Peers {
        #[command(subcommand)]
        command: PeersCommand,
    },
    /// Reach a peer step by step (name, TCP, Noise, protocol): how long each takes, and who answers
    ///
    /// Noise proves who it is; the protocol step is a first question and its answer, so that version,
    /// network and federation agree. Works without a daemon, with an identity made for the occasion.
    /// Exit 0, or 1 when a step fails.
    ///
    /// Examples:
    ///   btcfed ping alice
    ///   btcfed ping node1.example.com:9000
    ///   btcfed ping /ip4/203.0.113.7/tcp/9000/p2p/12D3KooW... -n 4
    #[command(verbatim_doc_comment)]
    Ping(PingOptions),
    /// Let the daemon read conf.yaml and peers.yaml again, and show what changed
    ///
    /// The reload is a transaction: either everything takes effect or nothing does.
    ///
    /// Example: btcfed reload --dry-run
    Reload(ReloadOptions),
    /// Run the node until SIGTERM or SIGINT; SIGHUP reloads
    ///
    /// The first run needs nothing: it generates node.key, listens on port 9000, and creates peers.yaml when there is
    /// something to remember.
    ///
    /// Example: btcfed run --listen /ip4/0.0.0.0/tcp/9000 --bootstrap /dns4/node1.example.com/tcp/9000
    Run(RunOptions),
    /// Show how the daemon does
    ///
    /// Examples:
    ///   btcfed status
    ///   btcfed status --watch 5s
    #[command(verbatim_doc_comment)]
    Status(StatusOptions),
    /// Stop the daemon gracefully
    ///
    /// Example: btcfed stop --timeout 10s
    Stop,
    /// Gather what a helper needs to see - configuration, status, peers, events, checks - in one file without secrets
    ///
    /// Lists first what goes in, and asks. Works with the daemon stopped: what is missing is said. The file is a tar.gz.
    ///
    /// Example: btcfed support-bundle --anonymous --output case-17.tar.gz
    SupportBundle(BundleOptions),
    /// Draw this node, whom it is connected to and whom it knows
    ///
    /// Example: btcfed topology --format svg > federation.svg
    Topology(TopologyOptions),
    /// Show the messages of one peer as they come and go: direction, kind, size, which belong together, what they say
    ///
    /// Ends by itself. Never slows the node: what is too fast for the reader is left out and counted. With --json it
    /// prints one JSON document a line.
    ///
    /// Example: btcfed trace alice --duration 30s
    Trace(TraceOptions),
    /// Show the version of this program and what it was built for
    ///
    /// Example: btcfed version --json
    Version,
    /// Wait until the daemon is connected to a number of peers: exit 0, or 1 when the time is up
    ///
    /// Example: btcfed wait --peers 3 --timeout 30s
    Wait(WaitOptions),
}

#[derive(Debug, Args)]
pub(super) struct DevnetOptions {
    /// How many nodes
    #[arg(short, long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..=200))]
    pub(super) nodes: u16,
    /// Keep the temporary directory and say where it is
    #[arg(long)]
    pub(super) keep: bool,
}

#[derive(Debug, Args)]
pub(super) struct HealthOptions {
    /// Also demand that the node accepts connections and its store is writable
    #[arg(long)]
    pub(super) ready: bool,
    /// Also demand this many connected peers
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) min_peers: usize,
}

#[derive(Debug, Args)]
pub(super) struct InitOptions {
    /// Where to write conf.yaml and node.key, instead of the current directory or the place --config names
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// A label for people
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Only peers with the same federation id are accepted
    #[arg(long, value_name = "ID")]
    pub(super) federation: Option<String>,
    /// Where to listen; may be repeated
    #[arg(long, value_name = "MULTIADDR")]
    pub(super) listen: Vec<String>,
    /// Whom to ask first; may be repeated
    #[arg(long, value_name = "MULTIADDR")]
    pub(super) bootstrap: Vec<String>,
    /// Replace an existing conf.yaml; the key is never replaced
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct ReloadOptions {
    /// Say what a reload would change, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct RunOptions {
    /// Where to listen, instead of `network.addresses`; may be repeated
    #[arg(long, value_name = "MULTIADDR")]
    pub(super) listen: Vec<String>,
    /// Whom to ask first, instead of `peers.bootstrap`; may be repeated
    #[arg(long, value_name = "MULTIADDR")]
    pub(super) bootstrap: Vec<String>,
    /// A label for people, instead of `node.name`
    #[arg(long)]
    pub(super) name: Option<String>,
    /// How much to log, instead of `logging.level`: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    pub(super) log_level: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct DoctorOptions {
    /// Ask nobody outside this machine: no names, no peers
    #[arg(long)]
    pub(super) offline: bool,
    /// First put right what is safe: modes of the key and the state directory, and, with the daemon stopped, temporary
    /// files that interrupted commands left over an hour ago
    #[arg(long)]
    pub(super) fix: bool,
}

#[derive(Debug, Args)]
pub(super) struct IdOptions {
    /// Only this, for scripts: one line, or with `multiaddr` one for each address others may know
    #[arg(long, value_name = "FORM")]
    pub(super) format: Option<IdFormat>,
}

/// What to show of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum IdFormat {
    /// As `peers add` of others takes it: where this node is announced or listens, and who it is.
    Multiaddr,
    /// The peer id.
    PeerId,
    /// The public key in base64.
    PublicKey,
}

#[derive(Debug, Args)]
pub(super) struct PingOptions {
    /// A known peer, a multiaddr, HOST:PORT, or KEY@HOST:PORT
    pub(super) target: String,
    /// How often
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) count: u16,
}

#[derive(Debug, Args)]
pub(super) struct StatusOptions {
    /// Show it again and again, until Ctrl-C
    #[arg(long, value_name = "EVERY", num_args = 0..=1, default_missing_value = "2s", value_parser = parse_duration)]
    pub(super) watch: Option<Duration>,
    /// With --watch: stop after so many times
    #[arg(long, value_name = "N", requires = "watch")]
    pub(super) times: Option<u32>,
    /// Also list the known peers; in the JSON document they are `peer_list`
    #[arg(long)]
    pub(super) peers: bool,
}

#[derive(Debug, Args)]
pub(super) struct EventsOptions {
    /// Only what happened since then: a time such as 2026-11-20T16:00:00Z, or how long ago, such as 10m
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub(super) since: Option<Since>,
    /// Go on as things happen
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Stop after so many events
    #[arg(long, value_name = "N")]
    pub(super) times: Option<u32>,
}

#[derive(Debug, Args)]
pub(super) struct TopologyOptions {
    /// The form of the drawing
    #[arg(long, value_name = "FORM", default_value = "ascii")]
    pub(super) format: TopologyFormat,
}

/// The form of a drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TopologyFormat {
    /// Lines of text.
    Ascii,
    /// Graphviz.
    Dot,
    /// The document that the other forms are made from.
    Json,
    /// Mermaid, as Markdown renderers draw it.
    Mermaid,
    /// A picture for a runbook: one file that needs nothing else.
    Svg,
}

#[derive(Debug, Args)]
pub(super) struct WaitOptions {
    /// How many connected peers to wait for
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) peers: usize,
}

/// From when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// So long before now.
    Ago(Duration),
    /// Then.
    At(jiff::Timestamp),
}

fn parse_since(text: &str) -> Result<Since, String> {
    let ago = btcfed_config::parse_duration(text).map(Since::Ago);
    ago.or_else(|_| text.parse().map(Since::At)).map_err(|_| {
        "write a time such as 2026-11-20T16:00:00Z, or a duration such as 10m".to_owned()
    })
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    btcfed_config::parse_duration(text)
        .map_err(|error| format!("{error}: write a duration such as 500ms, 30s or 1m30s"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_every_command_has_help() {
        let command = Cli::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            assert!(sub.get_about().is_some(), "{}", sub.get_name());
        }
    }

    #[test]
    fn every_command_teaches_with_an_example() {
        fn look(command: &clap::Command, path: &str, lacking: &mut Vec<String>) {
            let mut leaf = true;
            for sub in command.get_subcommands() {
                leaf = false;
                look(sub, &format!("{path} {}", sub.get_name()), lacking);
            }
            let help = command.get_long_about().map(ToString::to_string);
            let teaches = help.unwrap_or_default().contains(path);
            if leaf && !teaches && !command.is_hide_set() {
                lacking.push(path.to_owned());
            }
        }
        let mut lacking = Vec::new();
        look(&Cli::command(), "btcfed", &mut lacking);
        assert_eq!(lacking, [] as [String; 0]);
    }

    #[test]
    fn global_options_may_stand_after_the_command() {
        let cli = Cli::try_parse_from(["btcfed", "peers", "list", "--json", "--timeout", "1m30s"])
            .unwrap();
        assert!(cli.global.json);
        assert_eq!(cli.global.timeout, Some(Duration::from_secs(90)));
        assert!(
            Cli::try_parse_from(["btcfed", "wait", "--timeout", "30"]).is_err(),
            "a unit is needed"
        );
    }
}
