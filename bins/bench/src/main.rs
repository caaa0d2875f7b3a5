//! Benchmarks of btcfed beside their rivals. Every contender runs interleaved in one process, so that ratios hold on a
//! noisy machine; absolute times are this machine's.

mod crypto;
#[cfg(feature = "rivals")]
mod network;
mod options;
#[cfg(feature = "rivals")]
mod peers;
#[cfg(feature = "lists")]
mod reconcile;
#[cfg(feature = "rivals")]
mod report;
#[cfg(feature = "lists")]
mod simulate;
mod store;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use options::{number, sizes, value};

const USAGE: &str = "\
usage: btcfed-bench crypto [--rounds N]
       btcfed-bench store [--rounds N] [--peers 1000,10000] [--dir FOLDER]
       btcfed-bench peers [--rounds N] [--peers N]
       btcfed-bench reconcile [--rounds N] [--peers 1000,10000,100000]
       btcfed-bench connect [--rounds N]
       btcfed-bench discover [--rounds N] [--nodes N]
       btcfed-bench newcomers [--rounds N] [--nodes N]
       btcfed-bench idle [--connections N]
       btcfed-bench hostile
       btcfed-bench journal [--rounds N] [--peers N]
       btcfed-bench simulate [--nodes N] [--seeds N]
       btcfed-bench all [--out FOLDER] [--stress FOLDER]
       btcfed-bench all --quick --out FOLDER [--stress FOLDER]

Rivals are measured when built with `--features rivals`. The result is a Markdown table on stdout; `all` writes FOLDER/results.md
and FOLDER/plots (docs/benchmarks, where the documents of the stress suite are read as well) and shows its progress on stderr.";

/// Where results are, seen from the root of the repository.
#[cfg(feature = "rivals")]
const RESULTS: &str = "docs/benchmarks";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(report) => say(&mut std::io::stdout().lock(), &report, ExitCode::SUCCESS),
        Err(problem) => say(&mut std::io::stderr().lock(), &problem, ExitCode::from(2)),
    }
}

/// Writes a whole text; a reader that went away is no failure of a benchmark.
fn say(to: &mut impl std::io::Write, text: &str, code: ExitCode) -> ExitCode {
    let _ = writeln!(to, "{text}");
    code
}

fn run(args: &[String]) -> Result<String, String> {
    let (command, options) = args.split_first().ok_or(USAGE)?;
    let rounds = number(options, "--rounds")?.unwrap_or(21);
    match command.as_str() {
        "crypto" => crypto::run(rounds),
        "store" => {
            let sizes = sizes(options, "1000,10000")?;
            let folder = value(options, "--dir")?.map_or_else(std::env::temp_dir, PathBuf::from);
            store::run(rounds, &sizes, &folder)
        }
        #[cfg(feature = "rivals")]
        "peers" => match number(options, "--peers")?.unwrap_or(100_000) {
            count @ 1000..=peers::MAX_PEERS => peers::run(rounds, count),
            _ => Err(format!("--peers: from 1000 to {}", peers::MAX_PEERS)),
        },
        #[cfg(feature = "lists")]
        "reconcile" => reconcile::run(rounds, &sizes(options, "1000,10000,100000")?),
        #[cfg(feature = "lists")]
        "simulate" => {
            let seeds = number(options, "--seeds")?.unwrap_or(1).max(1);
            let seeds = u64::try_from(seeds).unwrap_or(u64::MAX);
            match number(options, "--nodes")?.unwrap_or(100) {
                nodes @ 10..=simulate::MAX_NODES => simulate::run(&[(nodes, seeds)]),
                _ => Err(format!("--nodes: from 10 to {}", simulate::MAX_NODES)),
            }
        }
        #[cfg(feature = "rivals")]
        "all" => {
            let folder =
                |name| value(options, name).map(|text| PathBuf::from(text.unwrap_or(RESULTS)));
            let is_quick = options.iter().any(|option| option == "--quick");
            if is_quick && value(options, "--out")?.is_none() {
                return Err(format!(
                    "--quick measures no bar and would be written over {RESULTS}/results.md: name a folder with --out"
                ));
            }
            report::run(is_quick, &folder("--out")?, &folder("--stress")?)
        }
        #[cfg(feature = "rivals")]
        "connect" => network::connect(rounds),
        #[cfg(feature = "rivals")]
        "discover" => {
            let nodes = number(options, "--nodes")?.unwrap_or(100);
            network::discover(number(options, "--rounds")?.unwrap_or(3), nodes.max(2))
        }
        #[cfg(feature = "rivals")]
        "idle" => network::idle(number(options, "--connections")?.unwrap_or(1000).max(1)),
        #[cfg(feature = "rivals")]
        "newcomers" => {
            let nodes = number(options, "--nodes")?.unwrap_or(50);
            network::newcomers(rounds, nodes.clamp(1, 1000))
        }
        // A process of its own for `idle`.
        #[cfg(feature = "rivals")]
        "idle-server" => network::idle_server(options.first().map_or("", String::as_str)),
        #[cfg(feature = "rivals")]
        "hostile" => peers::hostile(),
        #[cfg(feature = "rivals")]
        peers::child::COMMAND => peers::child::run(options.first().map_or("", String::as_str)),
        #[cfg(feature = "rivals")]
        "journal" => match number(options, "--peers")?.unwrap_or(100_000) {
            count @ 1000..=peers::MAX_PEERS => peers::run_journal(rounds, count),
            _ => Err(format!("--peers: from 1000 to {}", peers::MAX_PEERS)),
        },
        _ => Err(USAGE.to_owned()),
    }
}
