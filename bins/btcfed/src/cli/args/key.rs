//! The commands of `btcfed key`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeyCommand {
    /// Make a private key
    ///
    /// Without -o the key goes to standard output, for a pipe into a vault or a secret store; never to a terminal unless
    /// --reveal says so. `init` and `run` make node.key by themselves: this is for preparing machines.
    ///
    /// Examples:
    ///   btcfed key generate -o node.key
    ///   btcfed key generate | vault kv put secret/node7 key=-
    #[command(verbatim_doc_comment)]
    Generate {
        /// A new file with mode 0600; an existing one is never replaced
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Print the secret even to a terminal, where others may see it
        #[arg(long, conflicts_with = "output")]
        reveal: bool,
    },
    /// Take over a private key as this node's identity: checked, then written with mode 0600
    ///
    /// An existing identity is never replaced: remove its file first, if you mean it.
    ///
    /// Example: vault kv get -field key secret/node7 | btcfed key import --stdin
    Import {
        #[command(flatten)]
        from: KeySourceArgs,
        /// Where to write, instead of `node.private_key_file`
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Give this node a new identity; the old key is kept beside it as node.key.before-TIME
    ///
    /// The new key is in force from the next start. Others know this node by its key: every member then has to run
    /// `btcfed peers replace OLD NEW@HOST:PORT`, which is shown at the end. Asks first.
    ///
    /// Example: btcfed key rotate
    Rotate {
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Print the public half of a private key: this node's, or of a file, or from standard input
    ///
    /// Example: btcfed key generate | tee node.key | btcfed key show-public --stdin
    ShowPublic {
        #[command(flatten)]
        from: KeySourceArgs,
    },
}

/// Where a private key is read from. Never from the command line, which everybody on the machine can read.
#[derive(Debug, Args)]
pub(in crate::cli) struct KeySourceArgs {
    /// A file with a private key
    pub(in crate::cli) file: Option<PathBuf>,
    /// Read the private key from standard input
    #[arg(long, conflicts_with = "file")]
    pub(in crate::cli) stdin: bool,
}
