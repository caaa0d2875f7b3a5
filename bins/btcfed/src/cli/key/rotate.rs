//! `key rotate`: a new identity for this node; the old one is kept beside it.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};

use btcfed_config::{KeySource, is_there, load_key};
use btcfed_core::identity::SecretKey;
use serde_json::{Value, json};

use super::{new_key, usage, write};
use crate::cli::args::Global;
use crate::cli::context::{self, key_error};
use crate::cli::output::Output;
use crate::cli::peers::wall_now;
use crate::exit::{CliError, Exit};
use crate::view::{time_text, with_schema};

pub(super) fn run(global: &Global, yes: bool, output: &Output) -> Result<Exit, CliError> {
    let KeySource::File(path) = context::load(global)?.full.key else {
        return Err(inline());
    };
    if !is_there(&path) {
        return Err(
            CliError::new(Exit::Failed, "config", "this node has no identity yet")
                .file(path.display())
                .hint("`btcfed init` or the first `btcfed run` generates it"),
        );
    }
    // A link is followed: the key changes where it is, and the link stays.
    let path = std::fs::canonicalize(&path).unwrap_or(path);
    let old = load_key(&path).map_err(key_error)?.key;
    ask(&old, yes, output)?;
    let new = new_key()?;
    let kept = swap(&path, &new)?;
    let document = with_schema("key-rotate", told(&old, &new, &path, &kept));
    output.result(&document, text);
    Ok(Exit::Ok)
}

fn inline() -> CliError {
    let message = "the identity stands in conf.yaml itself";
    let mut error = CliError::new(Exit::Config, "config", message);
    error.key = Some("node.private_key".to_owned());
    error
        .hint("make a key with `btcfed key generate` and write it there yourself; keep the old one")
}

/// Others know this node by its key: nobody changes it by accident.
fn ask(old: &SecretKey, yes: bool, output: &Output) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || output.is_json() {
        let hint = "every member has to replace the old identity; add --yes if that is agreed";
        return Err(usage(
            "nobody is there to be asked; nothing was changed",
            hint,
        ));
    }
    output.ask(&format!(
        "this node is {}; every member has to replace it. Make a new key? [y/N] ",
        old.peer_id()
    ));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(CliError::new(Exit::Failed, "usage", "nothing was changed"))
}

/// Puts the new key in place of the old one, in one step; the old one gets a second name first.
fn swap(path: &Path, new: &SecretKey) -> Result<PathBuf, CliError> {
    let beside = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let stamp = time_text(wall_now()).replace([':', '-'], "");
    let kept = beside(&format!(".before-{stamp}"));
    let next = beside(&format!(".{}.next", std::process::id()));
    write(&next, new)?;
    let swapped = std::fs::hard_link(path, &kept).and_then(|()| std::fs::rename(&next, path));
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    match swapped.and_then(|()| std::fs::File::open(folder)?.sync_all()) {
        Ok(()) => Ok(kept),
        Err(error) => {
            // The new key is of no use to anybody; it may be in its place already, where it stays.
            std::fs::remove_file(&next).unwrap_or_default();
            let message = format!("cannot put the new key in place: {error}");
            Err(CliError::new(Exit::CannotCreate, "config", message)
                .file(path.display())
                .hint("`btcfed key show-public` tells which key is in force"))
        }
    }
}

fn told(old: &SecretKey, new: &SecretKey, path: &Path, kept: &Path) -> Value {
    let (old_id, id) = (old.peer_id().to_string(), new.peer_id().to_string());
    json!({
        "peer_id": id,
        "public_key": new.public().to_string(),
        "file": path.display().to_string(),
        "old_peer_id": old_id,
        "old_public_key": old.public().to_string(),
        "kept": kept.display().to_string(),
        "next": [
            "restart this node: until then it runs with the old key".to_owned(),
            format!("every member runs: btcfed peers replace {old_id} {id}@HOST:PORT"),
            "invites made with the old key stay readable but lead to the old identity: make new ones".to_owned(),
            format!("back up {}; destroy {} once all members have replaced it", path.display(), kept.display()),
        ],
    })
}

fn text(document: &Value) -> String {
    let field = |key: &str| document[key].as_str().unwrap_or("?").to_owned();
    let mut lines = vec![
        format!("was      {}", field("old_peer_id")),
        format!("is       {}", field("peer_id")),
        format!("wrote    {}", field("file")),
        format!("kept     {}", field("kept")),
    ];
    let next = document["next"].as_array().into_iter().flatten();
    lines.extend(
        next.filter_map(Value::as_str)
            .map(|step| format!("next     {step}")),
    );
    lines.join("\n")
}
