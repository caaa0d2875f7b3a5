//! `init`.

use btcfed_config::{
    CONFIG_FILE, FlagValue, KEY_FILE, load_or_generate_key, text_with, write_new_config,
};
use serde_json::json;

use crate::cli::args::{Global, InitOptions};
use crate::cli::context::key_error;
use crate::cli::output::Output;
use crate::exit::{CliError, Exit};
use crate::view::with_schema;

pub(super) fn run(
    global: &Global,
    options: &InitOptions,
    output: &Output,
) -> Result<Exit, CliError> {
    let text = text_with(&flags(options))?;
    std::fs::create_dir_all(&options.dir).map_err(|error| {
        let permission = error.kind() == std::io::ErrorKind::PermissionDenied;
        let exit = if permission {
            Exit::Permission
        } else {
            Exit::CannotCreate
        };
        CliError::new(
            exit,
            "fatal",
            format!("cannot create the directory: {error}"),
        )
        .file(options.dir.display())
    })?;
    let config = options.dir.join(CONFIG_FILE);
    write_new_config(&config, &text, options.force).map_err(|error| {
        let shown = CliError::new(
            if error.is_permission() {
                Exit::Permission
            } else {
                Exit::CannotCreate
            },
            "config",
            error.to_string(),
        );
        if error.already_exists() {
            shown.hint("edit it, or replace it with --force; nothing was changed")
        } else {
            shown
        }
    })?;
    // The key belongs to the state directory, where `run` looks for it.
    let key_path = global
        .state_dir
        .as_ref()
        .unwrap_or(&options.dir)
        .join(KEY_FILE);
    let key = load_or_generate_key(&key_path).map_err(key_error)?;
    if let Some(warning) = &key.warning {
        output.talk(&format!("warning: {warning}"));
    }
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

fn flags(options: &InitOptions) -> Vec<FlagValue> {
    let mut flags = Vec::new();
    let mut set =
        |flag: &str, key: &str, value: String| flags.push(FlagValue::new(flag, key, value));
    if let Some(name) = &options.name {
        set("--name", "node.name", name.clone());
    }
    if let Some(federation) = &options.federation {
        set("--federation", "node.federation", federation.clone());
    }
    if !options.listen.is_empty() {
        set("--listen", "network.addresses", options.listen.join(","));
    }
    if !options.bootstrap.is_empty() {
        set(
            "--bootstrap",
            "peers.bootstrap",
            options.bootstrap.join(","),
        );
    }
    flags
}
