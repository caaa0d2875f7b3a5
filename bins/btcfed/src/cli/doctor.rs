//! `doctor`: what is wrong, and what to do. Changes nothing unless asked to.

mod company;
mod finding;
mod holder;
mod machine;
mod members;
mod mend;
mod network;
mod routes;

use std::time::Duration;

use serde_json::{Value, json};

use crate::admin::client::is_not_running;
use crate::cli::args::{DoctorOptions, Global};
use crate::cli::context::{self, Loaded};
use crate::cli::output::Output;
use crate::cli::probe::Caller;
use crate::exit::{CliError, Exit};
use crate::lock::NodeLock;
use crate::view::with_schema;

use company::Word;
use finding::Finding;

/// How long a name or a peer may take to answer unless `--timeout` says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);

/// What the daemon says about itself.
#[derive(Debug)]
enum Daemon {
    Running(Box<Value>),
    Stopped,
    Unreachable(CliError),
}

impl Daemon {
    const fn status(&self) -> Option<&Value> {
        match self {
            Self::Running(status) => Some(status),
            Self::Stopped | Self::Unreachable(_) => None,
        }
    }
}

pub(super) fn run(
    global: &Global,
    options: &DoctorOptions,
    output: &Output,
) -> Result<Exit, CliError> {
    let timeout = global.timeout.unwrap_or(DEFAULT_TIMEOUT);
    let mut findings = Vec::new();
    match context::load(global) {
        Err(error) => findings.push(broken_config(&error)),
        Ok(loaded) => {
            let daemon = ask(global);
            if options.fix {
                findings.extend(mend::mend(&loaded, &daemon));
            }
            examine(&loaded, &daemon, &mut findings);
            findings.push(routes::default_route(&loaded));
            findings.extend(members::file(&loaded));
            let mut words = Vec::new();
            let mut found = Vec::new();
            if !options.offline {
                findings.extend(network::names(&loaded, timeout));
                findings.extend(network::answered(&loaded, &daemon, timeout));
                found = members::peers(global, &caller(&loaded, &daemon), timeout, &mut words);
            }
            findings.extend(clock(&loaded, &words));
            let status = daemon.status();
            findings.extend(company::versions(
                &words,
                status.and_then(|status| status["version"].as_str()),
            ));
            if let Some(own) = status.and_then(|status| status["peer_id"].as_str()) {
                findings.push(company::way_here(&words, own));
            }
            findings.extend(found);
        }
    }
    Ok(told("doctor", &findings, output))
}

/// `config check --runtime`: what the configuration asks for, tried.
pub(super) fn runtime(global: &Global, output: &Output) -> Result<Exit, CliError> {
    let timeout = global.timeout.unwrap_or(DEFAULT_TIMEOUT);
    let loaded = context::load(global)?;
    let mut findings = Vec::new();
    examine(&loaded, &ask(global), &mut findings);
    findings.extend(network::names(&loaded, timeout));
    Ok(told("config-check", &findings, output))
}

fn examine(loaded: &Loaded, daemon: &Daemon, findings: &mut Vec<Finding>) {
    findings.push(good_config(loaded));
    findings.extend(loaded.full.warnings.iter().map(|warning| {
        let fix = warning.hint.clone().unwrap_or_default();
        Finding::warn("config", warning.to_string(), fix)
    }));
    findings.push(machine::key(loaded));
    findings.extend(machine::state_dir(loaded));
    findings.push(machine::descriptors(loaded));
    findings.push(machine::lock(loaded, daemon));
    findings.push(machine::socket(loaded, daemon));
    findings.extend(network::listeners(loaded, daemon));
    findings.extend(network::announced(loaded));
}

/// Who calls the peers: the node itself while its daemon is stopped, so that those who admit only whom they chose
/// answer; else somebody nobody knows, for one identity in two places confuses everybody.
fn caller(loaded: &Loaded, daemon: &Daemon) -> Caller {
    let free = matches!(daemon, Daemon::Stopped) && NodeLock::holder(&loaded.state_dir).is_none();
    let secret = free.then(|| loaded.existing_key().ok()).flatten();
    Caller::of(loaded, secret)
}

/// The clock against the files, then against the peers.
fn clock(loaded: &Loaded, words: &[Word]) -> Vec<Finding> {
    let wrong = machine::clock(loaded);
    if wrong.is_empty() {
        company::clocks(words)
    } else {
        wrong
    }
}

fn ask(global: &Global) -> Daemon {
    match context::connect(global).and_then(|mut client| client.call("status", json!({}))) {
        Ok(status) => Daemon::Running(Box::new(status)),
        Err(error) if is_not_running(&error) => Daemon::Stopped,
        Err(error) => Daemon::Unreachable(error),
    }
}

fn good_config(loaded: &Loaded) -> Finding {
    let text = match &loaded.full.path {
        Some(path) => format!("{} is valid", path.display()),
        None => "no conf.yaml found; the defaults hold".to_owned(),
    };
    Finding::ok("config", text)
}

fn broken_config(error: &CliError) -> Finding {
    let fix = "correct these lines; `btcfed config explain KEY` tells what may be written";
    Finding::fail("config", error.to_string(), fix)
}

fn told(command: &str, findings: &[Finding], output: &Output) -> Exit {
    let failed = findings.iter().any(Finding::is_failure);
    let checks: Vec<Value> = findings.iter().map(Finding::to_json).collect();
    let fields = json!({ "ok": !failed, "checks": checks });
    output.result(&with_schema(command, fields), |_| {
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        let warnings = findings
            .iter()
            .filter(|finding| finding.is_warning())
            .count();
        let verdict = match (failed, warnings) {
            (true, _) => "something is wrong".to_owned(),
            (false, 0) => "all is well".to_owned(),
            (false, count) => format!("nothing fails; warnings: {count}"),
        };
        format!("{}\n{verdict}", lines.join("\n"))
    });
    if failed { Exit::Failed } else { Exit::Ok }
}
