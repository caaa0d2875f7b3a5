//! `init`.

use std::path::{Path, PathBuf};

use btcfed_config::{
    CONFIG_FILE, Environment, FlagValue, KEY_FILE, LoadedKey, Location, is_there,
    load_or_generate_key, text_with, write_new_config,
};
use serde_json::json;

use crate::cli::args::{Global, InitOptions};
use crate::cli::context::{self, create_dir, key_error};
use crate::cli::output::Output;
use crate::exit::{CliError, Exit};
use crate::view::with_schema;

pub(super) fn run(
    global: &Global,
    options: &InitOptions,
    output: &Output,
) -> Result<Exit, CliError> {
    let dir = options.dir.as_deref();
    let Made {
        config,
        key_path,
        key,
    } = make(global, dir, &flags(options), options.force, output)?;
    let document = with_schema(
        "init",
        json!({
            "config": config.display().to_string(),
            "key_file": key_path.display().to_string(),
            "key_generated": key.generated,
            "peer_id": key.key.peer_id().to_string(),
            "public_key": key.key.public().to_string(),
        }),
    );
    output.result(&document, |_| {
        format!(
            "wrote {}\n{} {}\npeer id {}\nnext: edit {}, then `btcfed run --config {}`",
            config.display(),
            if key.generated { "generated" } else { "kept" },
            key_path.display(),
            key.key.peer_id(),
            config.display(),
            config.display(),
        )
    });
    Ok(Exit::Ok)
}

/// What was made.
#[derive(Debug)]
pub(super) struct Made {
    /// The configuration file.
    pub(super) config: PathBuf,
    key_path: PathBuf,
    key: LoadedKey,
}

/// Writes a configuration with these values, and makes a key where there is none.
pub(super) fn make(
    global: &Global,
    dir: Option<&Path>,
    values: &[FlagValue],
    force: bool,
    output: &Output,
) -> Result<Made, CliError> {
    let text = text_with(values)?;
    let config = match (dir, &global.config) {
        (Some(dir), _) => dir.join(CONFIG_FILE),
        (None, Some(file)) => file.clone(),
        (None, None) => PathBuf::from(CONFIG_FILE),
    };
    // The key belongs to the state directory, where `run` looks for it.
    let location = Location::search(Some(&config), &Environment::default(), is_there);
    let state_dir = location.state_dir(global.state_dir.as_deref(), &Environment::of_process());
    for dir in [config.parent(), Some(state_dir.as_path())]
        .into_iter()
        .flatten()
    {
        create_dir(dir).map_err(|error| {
            error.hint("name another directory with --dir, --config or --state-dir")
        })?;
    }
    write_new_config(&config, &text, force).map_err(|error| {
        let exit = if error.is_permission() {
            Exit::Permission
        } else {
            Exit::CannotCreate
        };
        let shown = CliError::new(exit, "config", error.to_string());
        if error.already_exists() {
            shown.hint("edit it, or replace it with --force; nothing was changed")
        } else {
            shown.hint("name a directory that you may write to with --dir or --config")
        }
    })?;
    let key_path = state_dir.join(KEY_FILE);
    let key = load_or_generate_key(&key_path).map_err(key_error)?;
    if let Some(warning) = &key.warning {
        output.talk(&format!("warning: {warning}"));
    }
    Ok(Made {
        config,
        key_path,
        key,
    })
}

fn flags(options: &InitOptions) -> Vec<FlagValue> {
    let mut flags = Vec::new();
    let mut set =
        |flag: &str, key: &str, value: String| flags.push(FlagValue::new(flag, key, value));
    if let Some(federation) = &options.federation {
        set("--federation", "node.federation", federation.clone());
    }
    flags.extend(context::common_flags(
        options.name.as_deref(),
        &options.listen,
        &options.bootstrap,
    ));
    flags
}
