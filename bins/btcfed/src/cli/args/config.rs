//! The commands of `btcfed config`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ConfigCommand {
    /// Check the configuration and list everything that is wrong with it: exit 0 or 78
    ///
    /// With --runtime it also tries what the file asks for: binds the addresses, resolves the names, looks at files and
    /// modes. Exit 1 when that fails.
    ///
    /// Example: btcfed config check --runtime
    Check {
        /// Try what the configuration asks for
        #[arg(long)]
        runtime: bool,
    },
    /// Print a commented conf.yaml with the defaults
    ///
    /// Example: btcfed config default > conf.yaml
    Default,
    /// Show what in the file is not in force in the daemon, or is not the default
    ///
    /// Example: btcfed config diff --defaults
    Diff {
        /// Compare with the defaults instead of the running daemon
        #[arg(long)]
        defaults: bool,
    },
    /// Print every value in force and where it comes from; never a secret
    ///
    /// Example: btcfed config dump --origin
    Dump {
        /// Say for each value whether a flag, the environment, the file or the default set it
        #[arg(long)]
        origin: bool,
    },
    /// Tell what a key or a section means, what may be written and when a change takes effect
    ///
    /// Example: btcfed config explain `peers.exchange_interval`
    Explain {
        /// A key such as `peers.exchange_interval`, or a section such as network.limits
        key: String,
    },
    /// Bring conf.yaml to the present form: what old spellings mean is written as it is spelled now
    ///
    /// Comments and order stay; the old file is kept beside it. A file in the present form is left alone. A file of a
    /// newer version is refused (78).
    ///
    /// Example: btcfed config migrate --dry-run
    Migrate {
        /// Say what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Print a JSON Schema of conf.yaml, for editors that check while you type
    ///
    /// Example: btcfed config schema > conf.schema.json
    ///   then begin conf.yaml with: # yaml-language-server: $schema=conf.schema.json
    #[command(verbatim_doc_comment)]
    Schema,
}
