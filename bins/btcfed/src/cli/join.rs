//! `join`.

use std::io::{BufRead as _, IsTerminal as _};
use std::time::{Duration, Instant};

use btcfed_config::FlagValue;
use serde_json::{Value, json};

use crate::cli::args::{Global, JoinOptions};
use crate::cli::invite::{self, Invite};
use crate::cli::output::Output;
use crate::cli::peers::Backend;
use crate::cli::progress::Progress;
use crate::cli::{context, init};
use crate::exit::{CliError, Exit};
use crate::view::with_schema;

/// How long a running daemon may take to reach a contact unless `--timeout` says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often to look.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

pub(super) fn run(
    global: &Global,
    options: &JoinOptions,
    output: &Output,
) -> Result<Exit, CliError> {
    let invite = invite::read(&options.invite)?;
    invite::check_expiry(&invite)?;
    let loaded = context::load(global)?;
    let has_config = loaded.full.path.is_some();
    if has_config {
        invite::check(&invite, &loaded.full.config)?;
    }
    ask(&invite, options, output)?;
    let mut global = global.clone();
    let config = if has_config {
        loaded.full.path
    } else {
        let made = init::make(
            &global,
            options.dir.as_deref(),
            &values(&invite, options),
            false,
            output,
        )?;
        global.config = Some(made.config.clone());
        Some(made.config)
    };
    let identity = context::load(&global)?.key_or_new()?.0;
    let mut backend = Backend::open(&global)?;
    let entries = invite::entries(&invite, None, false);
    let answer = backend.call("peers.import", json!({ "entries": entries }))?;
    let connected = match &mut backend {
        Backend::Daemon(_) => Some(wait(&mut backend, &invite, &global, output)?),
        Backend::Files(_) => None,
    };
    backend.close(output)?;
    let config = config.map(|path| path.display().to_string());
    let mut fields = invite::describe(&invite);
    fields["peer_id"] = json!(identity.peer_id().to_string());
    fields["public_key"] = json!(identity.public().to_string());
    fields["config"] = json!(config);
    fields["config_written"] = json!(!has_config);
    fields["changes"] = answer["changes"].clone();
    fields["connected"] = json!(connected);
    output.result(&with_schema("join", fields), |document| {
        text(document, has_config)
    });
    Ok(if connected == Some(0) {
        Exit::Failed
    } else {
        Exit::Ok
    })
}

/// Shows who invites, and asks whether that is right.
fn ask(invite: &Invite, options: &JoinOptions, output: &Output) -> Result<(), CliError> {
    if options.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || output.is_json() {
        let hint = "look at it with `btcfed invite show`, then add --yes";
        let message = "nobody is there to be asked";
        return Err(CliError::new(Exit::Usage, "usage", message).hint(hint));
    }
    output.line(&invite::text(&invite::describe(invite)));
    output.line("Join? Compare the ids with what you were told. [y/N]");
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    let message = "not joined; nothing was changed";
    Err(CliError::new(Exit::Failed, "usage", message))
}

/// What the new conf.yaml says.
fn values(invite: &Invite, options: &JoinOptions) -> Vec<FlagValue> {
    let mut values = vec![FlagValue::new(
        "the invite",
        "node.network",
        invite.network.as_str(),
    )];
    if !invite.federation.is_empty() {
        values.push(FlagValue::new(
            "the invite",
            "node.federation",
            invite.federation.clone(),
        ));
    }
    if let Some(name) = &options.name {
        values.push(FlagValue::new("--name", "node.name", name.clone()));
    }
    if !options.listen.is_empty() {
        values.push(FlagValue::new(
            "--listen",
            "network.addresses",
            options.listen.join(","),
        ));
    }
    values
}

/// Waits until a contact is connected; tells how many are.
fn wait(
    backend: &mut Backend,
    invite: &Invite,
    global: &Global,
    output: &Output,
) -> Result<usize, CliError> {
    let mut progress = Progress::new("waiting for a contact", output);
    let limit = global.timeout.unwrap_or(DEFAULT_TIMEOUT);
    let started = Instant::now();
    loop {
        let list = backend.call("peers.list", json!({}))?;
        let peers = list["peers"].as_array();
        let is_contact = |peer: &Value| {
            let id = peer["peer_id"].as_str();
            let mut contacts = invite.contacts.iter();
            contacts.any(|contact| id == Some(contact.key.peer_id().to_string().as_str()))
        };
        let connected = peers
            .into_iter()
            .flatten()
            .filter(|peer| peer["connection"]["state"] == "connected" && is_contact(peer))
            .count();
        if connected > 0 || started.elapsed() >= limit {
            return Ok(connected);
        }
        progress.at(0, 1);
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn text(document: &Value, had_config: bool) -> String {
    let field = |key: &str| document[key].as_str().unwrap_or("?");
    let mut lines = Vec::new();
    if !had_config {
        lines.push(format!("wrote {}", field("config")));
    }
    lines.push(format!("this node is {}", field("peer_id")));
    let contacts = document["contacts"].as_array().map_or(0, Vec::len);
    lines.push(match document["connected"].as_u64() {
        None => format!(
            "contacts known: {contacts}; next: btcfed run --config {}",
            field("config")
        ),
        Some(0) => format!("none of {contacts} contacts could be reached yet; next: btcfed doctor"),
        Some(count) => format!("connected to {count} of {contacts} contacts"),
    });
    lines.join("\n")
}
