//! `config diff`.

use btcfed_core::NodeConfig;
use serde_json::{Value, json};

use crate::cli::args::Global;
use crate::cli::context;
use crate::cli::output::Output;
use crate::exit::{CliError, Exit};
use crate::view::with_schema;

pub(super) fn run(global: &Global, defaults: bool, output: &Output) -> Result<Exit, CliError> {
    let (against, changes) = if defaults {
        ("defaults", against_defaults(global)?)
    } else {
        ("running", against_running(global)?)
    };
    let document = with_schema(
        "config-diff",
        json!({ "against": against, "changes": changes }),
    );
    output.result(&document, text);
    Ok(Exit::Ok)
}

fn against_defaults(global: &Global) -> Result<Vec<Value>, CliError> {
    let config = context::load(global)?.full.config;
    let defaults = NodeConfig::default().values();
    let changes = config.values().into_iter().filter_map(|(key, new)| {
        let old = defaults.get(key)?;
        // Where the node's own files lie depends on the state directory, not on what somebody wrote.
        let key = btcfed_config::key(key)?;
        let is_default = *old == new || is_default_place(key, &new);
        (!is_default).then(|| change(key.name, old, &new))
    });
    Ok(changes.collect())
}

fn is_default_place(key: &btcfed_config::Key, value: &str) -> bool {
    matches!(key.name, "peers.file" | "admin.socket")
        && std::path::Path::new(value).file_name() == Some(key.default.as_ref())
}

fn against_running(global: &Global) -> Result<Vec<Value>, CliError> {
    let report = context::connect(global)
        .map_err(|mut error| {
            if error.exit == Exit::Unavailable {
                error.hint =
                    Some("start it with `btcfed run`, or compare with --defaults".to_owned());
            }
            error
        })?
        .call("config.diff", json!({}))?;
    let text = |change: &Value, field: &str| change[field].as_str().unwrap_or("?").to_owned();
    let changes = ["applied", "needs_restart"]
        .into_iter()
        .flat_map(|list| report[list].as_array().into_iter().flatten())
        .map(|entry| {
            change(
                &text(entry, "key"),
                &text(entry, "old"),
                &text(entry, "new"),
            )
        });
    Ok(changes.collect())
}

fn change(key: &str, old: &str, new: &str) -> Value {
    let effect = btcfed_config::key(key).map(|key| key.effect.as_str());
    json!({ "key": key, "old": old, "new": new, "effect": effect })
}

fn text(document: &Value) -> String {
    let lines: Vec<String> = document["changes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|change| {
            let text = |field: &str| change[field].as_str().unwrap_or("?").to_owned();
            let (key, old, new) = (text("key"), text("old"), text("new"));
            format!("{key} ({})\n  - {old}\n  + {new}", text("effect"))
        })
        .collect();
    match (lines.is_empty(), document["against"].as_str()) {
        (true, Some("defaults")) => "every value is the default".to_owned(),
        (true, _) => "the file is what the daemon runs with".to_owned(),
        (false, _) => lines.join("\n"),
    }
}
