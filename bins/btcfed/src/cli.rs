//! The command line: reads arguments, runs one command, prints its answer.

mod args;
mod completion;
mod config;
mod context;
mod daemon;
mod devnet;
mod devnet_table;
mod doctor;
mod events;
mod id;
mod init;
mod invite;
mod join;
mod key;
mod log;
mod metrics;
mod output;
mod packaging;
mod peers;
mod ping;
mod probe;
mod progress;
mod run;
mod status;
mod support;
mod temp_dir;
mod topology;
mod trace;
mod version;
mod wait;

use clap::Parser;

use crate::cli::args::{Cli, Command};
use crate::cli::output::Output;
use crate::exit::{CliError, Exit};
use crate::signals::EarlyHangup;

/// Runs the command the process was called with.
#[must_use]
pub fn main() -> Exit {
    // First of all: a reload that comes early must find a node, not kill it. Where it fails, the daemon says so later.
    let is_daemon = std::env::args_os().any(|argument| argument == "run");
    let hangup = is_daemon.then(EarlyHangup::listen).and_then(Result::ok);
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let output = Output::new(cli.global.json, cli.global.quiet);
    // A daemon goes on without anybody who listens.
    let must_be_heard = !matches!(cli.command, Command::Run(_));
    match dispatch(cli, &output, hangup) {
        Ok(exit) if must_be_heard && output::result_is_lost() => {
            output.error(&CliError::new(
                Exit::Io,
                "transient",
                "the result could not be written to standard output",
            ));
            if exit == Exit::Ok { Exit::Io } else { exit }
        }
        Ok(exit) => exit,
        Err(error) => {
            output.error(&error);
            error.exit
        }
    }
}

/// Prints what clap has to say: help and version are results, everything else is talk.
fn usage(error: &clap::Error) -> Exit {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let message = error.render().to_string();
        let first = message
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        let shown = CliError::new(Exit::Usage, "usage", first)
            .hint("`btcfed help COMMAND` shows every option");
        Output::new(true, false).error(&shown);
        return Exit::Usage;
    }
    if let Err(error) = error.print() {
        tracing::debug!(%error, "help not printed");
    }
    if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Ok
    }
}

fn dispatch(cli: Cli, output: &Output, hangup: Option<EarlyHangup>) -> Result<Exit, CliError> {
    let global = cli.global;
    match cli.command {
        Command::CompletePeers => completion::peers(&global, output),
        Command::Completion { shell } => completion::run(shell, output),
        Command::Config { command } => config::run(&global, &command, output),
        Command::Devnet(options) => devnet::run(&global, &options, output),
        Command::Doctor(options) => doctor::run(&global, &options, output),
        Command::Events(options) => events::run(&global, &options, output),
        Command::Gen { command } => packaging::run(&command, output),
        Command::Health(options) => status::health(&global, &options, output),
        Command::Id(options) => id::run(&global, &options, output),
        Command::Init(options) => init::run(&global, &options, output),
        Command::Invite { command } => invite::run(&global, &command, output),
        Command::Join(options) => join::run(&global, &options, output),
        Command::Key { command } => key::run(&global, &command, output),
        Command::Log { command } => log::run(&global, &command, output),
        Command::Metrics => metrics::run(&global, output),
        Command::Peers { command } => peers::run(&global, command, output),
        Command::Ping(options) => ping::run(&global, &options, output),
        Command::Reload(options) => daemon::reload(&global, &options, output),
        Command::Run(options) => run::run(&global, &options, output, hangup),
        Command::Status(options) => status::status(&global, &options, output),
        Command::Stop => daemon::stop(&global, output),
        Command::SupportBundle(options) => support::run(&global, &options, output),
        Command::Topology(options) => topology::run(&global, &options, output),
        Command::Trace(options) => trace::run(&global, &options, output),
        Command::Version => Ok(version::run(output)),
        Command::Wait(options) => wait::run(&global, &options, output),
    }
}
