//! `btcfed peers ...`: through the daemon, or on the file when it is stopped.

mod backend;
mod csv;
mod edit;
mod foreign;
mod format;
mod history;
mod list;
mod repair;
mod table;
mod transfer;
mod verify;
mod workbench;

use serde_json::{Value, json};

use crate::cli::args::{ApproveOptions, Global, PeersCommand};
use crate::cli::invite::{self, Invite};
use crate::cli::output::Output;
use crate::exit::{CliError, Exit};
use crate::peers;

pub(super) use backend::{Backend, wall_now};
pub(super) use table::peers as peers_table;
pub(super) use verify::{crc32, inspect};

pub(super) fn run(
    global: &Global,
    command: PeersCommand,
    output: &Output,
) -> Result<Exit, CliError> {
    match &command {
        PeersCommand::Edit => return edit::run(global, output),
        PeersCommand::History => return history::history(global, output),
        PeersCommand::List(options) => return list::run(global, options, output),
        PeersCommand::Repair { dry_run } => return repair::run(global, *dry_run, output),
        PeersCommand::Restore(options) => return history::restore(global, options, output),
        PeersCommand::Export(options) => return transfer::export(global, options, output),
        PeersCommand::Import(options) => return transfer::import(global, options, output),
        PeersCommand::Verify { file } => return verify::run(global, file.as_deref(), output),
        PeersCommand::Add { target, name, pin } if Invite::looks_like_one(target) => {
            return invite::add(global, target, name.as_deref(), *pin, output);
        }
        // A wrong argument is told before the daemon is asked.
        PeersCommand::Add { target, .. } | PeersCommand::Replace { new: target, .. } => {
            peers::parse_target(target)?;
        }
        _ => {}
    }
    let (method, params) = request(&command);
    let mut backend = Backend::open(global)?;
    let answer = backend.call(method, params)?;
    backend.close(output)?;
    if let PeersCommand::Ban(options) = &command
        && options.target.ends_with("/0")
    {
        let undo = format!(
            "warning: this refuses every address; `btcfed peers unban {}` lifts it",
            options.target
        );
        output.talk(&undo);
    }
    output.result(&answer, |answer| text(&command, answer));
    Ok(Exit::Ok)
}

fn request(command: &PeersCommand) -> (&'static str, Value) {
    match command {
        PeersCommand::Add { target, name, pin } => (
            "peers.add",
            json!({ "target": target, "name": name, "pinned": pin }),
        ),
        PeersCommand::Approve(ApproveOptions { peer: None, .. }) => ("peers.waiting", json!({})),
        PeersCommand::Approve(options) => ("peers.approve", json!({ "peer": options.peer })),
        PeersCommand::Ban(options) => {
            let lasting = options.lasting.map(|lasting| lasting.as_millis());
            let lasting = lasting.map(|millis| u64::try_from(millis).unwrap_or(u64::MAX));
            let params =
                json!({ "target": options.target, "for_ms": lasting, "reason": options.reason });
            ("peers.ban", params)
        }
        PeersCommand::Bans => ("peers.bans", json!({})),
        PeersCommand::Pin { peer } => ("peers.pin", json!({ "peer": peer })),
        PeersCommand::Remove { peer } => ("peers.remove", json!({ "peer": peer })),
        PeersCommand::Rename { peer, name } => {
            ("peers.rename", json!({ "peer": peer, "name": name }))
        }
        PeersCommand::Replace { old, new } => {
            ("peers.replace", json!({ "peer": old, "target": new }))
        }
        PeersCommand::Show { peer } => ("peers.show", json!({ "peer": peer })),
        PeersCommand::Unban { target } => ("peers.unban", json!({ "target": target })),
        PeersCommand::Unpin { peer } => ("peers.unpin", json!({ "peer": peer })),
        PeersCommand::Why { peer } => ("peers.why", json!({ "peer": peer })),
        PeersCommand::Edit
        | PeersCommand::Export(_)
        | PeersCommand::History
        | PeersCommand::Import(_)
        | PeersCommand::List(_)
        | PeersCommand::Repair { .. }
        | PeersCommand::Restore(_)
        | PeersCommand::Verify { .. } => ("peers.list", json!({})),
    }
}

fn text(command: &PeersCommand, answer: &Value) -> String {
    let id = field(answer, "peer_id");
    let durable = if answer["durable"] == false {
        " (in memory only: the disk is sick)"
    } else {
        ""
    };
    let changed = answer["changed"] == true;
    let done = |yes: String, no: String| {
        if changed {
            format!("{yes}{durable}")
        } else {
            format!("{no}; nothing changed")
        }
    };
    match command {
        PeersCommand::Add { .. } => done(format!("added {id}"), format!("{id} is known")),
        PeersCommand::Approve(ApproveOptions { peer: None, .. }) => table::waiting(answer),
        PeersCommand::Approve(_) => {
            done(format!("approved {id}"), format!("{id} is let in already"))
        }
        PeersCommand::Ban(_) => {
            let target = target(answer);
            let until = answer["until"].as_str();
            let until = until.map_or_else(String::new, |until| format!(" until {until}"));
            done(
                format!("banned {target}{until}"),
                format!("{target} is banned{until}"),
            )
        }
        PeersCommand::Bans => table::bans(answer),
        PeersCommand::Pin { .. } => done(format!("pinned {id}"), format!("{id} is pinned")),
        PeersCommand::Remove { .. } => done(format!("removed {id}"), format!("{id} is not known")),
        PeersCommand::Rename { name, .. } if name.is_empty() => {
            done(format!("{id} has no name now"), format!("{id} has no name"))
        }
        PeersCommand::Rename { name, .. } => done(
            format!("{id} is called {name:?} now"),
            format!("{id} is called {name:?}"),
        ),
        PeersCommand::Replace { .. } => {
            let old = field(answer, "old_peer_id");
            format!("replaced {old}\nby       {id}{durable}")
        }
        PeersCommand::Show { .. } => format::peer(&answer["peer"]),
        PeersCommand::Unban { .. } => {
            let target = target(answer);
            done(
                format!("no longer banned: {target}"),
                format!("{target} is not banned"),
            )
        }
        PeersCommand::Unpin { .. } => done(
            format!("no longer pinned: {id}"),
            format!("{id} is not pinned"),
        ),
        PeersCommand::Why { .. } => format::why(answer),
        PeersCommand::Edit
        | PeersCommand::Export(_)
        | PeersCommand::History
        | PeersCommand::Import(_)
        | PeersCommand::List(_)
        | PeersCommand::Repair { .. }
        | PeersCommand::Restore(_)
        | PeersCommand::Verify { .. } => table::peers(answer, false),
    }
}

fn field<'a>(answer: &'a Value, key: &str) -> &'a str {
    answer[key].as_str().unwrap_or("?")
}

/// Whom a ban is about, by name where there is one.
fn target(answer: &Value) -> String {
    let target = field(answer, "target");
    match answer["name"].as_str() {
        Some(name) => format!("{name} ({target})"),
        None => target.to_owned(),
    }
}
