//! `config explain`.

use btcfed_config::{Key, KeySource, keys};
use serde_json::{Value, json};

use super::origin_text;
use crate::cli::args::Global;
use crate::cli::context;
use crate::cli::output::Output;
use crate::exit::{CliError, Exit};
use crate::view::with_schema;

pub(super) fn run(global: &Global, wanted: &str, output: &Output) -> Result<Exit, CliError> {
    let section = format!("{wanted}.");
    let found: Vec<&Key> = keys()
        .iter()
        .filter(|key| key.name == wanted || key.name.starts_with(&section))
        .collect();
    if found.is_empty() {
        return Err(unknown(wanted));
    }
    // A file with mistakes does not keep anybody from asking what a key means.
    let loaded = context::load(global).ok();
    let values = loaded
        .as_ref()
        .map(|loaded| loaded.full.config.values())
        .unwrap_or_default();
    let explained: Vec<Value> = found
        .into_iter()
        .map(|key| {
            let origin = loaded
                .as_ref()
                .and_then(|loaded| loaded.full.origins.get(key.name))
                .map(origin_text);
            let key_file = loaded.as_ref().and_then(|loaded| match &loaded.full.key {
                KeySource::File(path) if key.name == "node.private_key_file" => {
                    Some(path.display().to_string())
                }
                _ => None,
            });
            json!({
                "key": key.name,
                "meaning": key.help,
                "allowed": key.range(),
                "default": key.default,
                "effect": key.effect.as_str(),
                "value": values.get(key.name).cloned().or(key_file),
                "origin": origin,
                "environment": environment(key.name),
            })
        })
        .collect();
    output.result(
        &with_schema("config-explain", json!({ "keys": explained })),
        text,
    );
    Ok(Exit::Ok)
}

/// The variable that sets a key; a secret is never taken from the environment.
fn environment(key: &str) -> Option<String> {
    let name = format!("BTCFED_{}", key.to_uppercase().replace('.', "__"));
    (key != "node.private_key" && key != "version").then_some(name)
}

fn text(document: &Value) -> String {
    let blocks: Vec<String> = document["keys"]
        .as_array()
        .into_iter()
        .flatten()
        .map(block)
        .collect();
    blocks.join("\n\n")
}

fn block(key: &Value) -> String {
    let text = |field: &str| key[field].as_str().unwrap_or_default();
    let effect = match text("effect") {
        "live" => "on reload, at once",
        "rebind" => "on reload: new listeners first, connections stay",
        _ => "at the next start",
    };
    let empty = |value: &str| {
        if value.is_empty() {
            "(empty)".to_owned()
        } else {
            value.to_owned()
        }
    };
    let mut lines = vec![
        text("key").to_owned(),
        format!("  meaning   {}", text("meaning")),
        format!("  allowed   {}", text("allowed")),
        format!("  default   {}", empty(text("default"))),
        format!("  change    {effect}"),
    ];
    if let Some(value) = key["value"].as_str() {
        let origin = key["origin"].as_str().unwrap_or("default");
        lines.push(format!("  now       {} ({origin})", empty(value)));
    }
    if let Some(name) = key["environment"].as_str() {
        lines.push(format!("  environment {name}"));
    }
    lines.join("\n")
}

fn unknown(wanted: &str) -> CliError {
    let shown: String = wanted.chars().take(80).collect();
    let last = wanted.rsplit('.').next().unwrap_or(wanted);
    let near: Vec<&str> = keys()
        .iter()
        .map(|key| key.name)
        .filter(|name| !last.is_empty() && name.contains(last))
        .take(5)
        .collect();
    let hint = if near.is_empty() {
        "`btcfed config dump` lists every key".to_owned()
    } else {
        format!("did you mean {}?", near.join(", "))
    };
    let mut error = CliError::new(
        Exit::Failed,
        "config",
        format!("no key is called {shown:?}"),
    );
    error.key = Some(shown);
    error.hint(hint)
}
