//! `btcfed config ...`.

mod diff;
mod explain;
mod migrate;
mod schema;

use btcfed_config::{KeySource, Origin};
use serde_json::{Map, Value, json};

use crate::cli::args::{ConfigCommand, Global};
use crate::cli::output::Output;
use crate::cli::{context, doctor};
use crate::exit::{CliError, Exit, problem_json};
use crate::view::with_schema;

pub(super) fn run(
    global: &Global,
    command: &ConfigCommand,
    output: &Output,
) -> Result<Exit, CliError> {
    match command {
        ConfigCommand::Check { runtime } => match check(global, output, *runtime)? {
            Exit::Ok if *runtime => doctor::runtime(global, output),
            exit => Ok(exit),
        },
        ConfigCommand::Default => {
            let text = btcfed_config::default_text();
            output.result(
                &with_schema("config-default", json!({ "text": text })),
                |_| text.trim_end().to_owned(),
            );
            Ok(Exit::Ok)
        }
        ConfigCommand::Diff { defaults } => diff::run(global, *defaults, output),
        ConfigCommand::Dump { origin } => dump(global, *origin, output),
        ConfigCommand::Explain { key } => explain::run(global, key, output),
        ConfigCommand::Migrate { dry_run } => migrate::run(global, *dry_run, output),
        ConfigCommand::Schema => {
            output.line(&format!("{:#}", schema::document()));
            Ok(Exit::Ok)
        }
    }
}

fn check(global: &Global, output: &Output, is_first: bool) -> Result<Exit, CliError> {
    let (_, source) = context::source(global, Vec::new());
    match source.load_full() {
        Ok(full) => {
            let file = full.path.as_ref().map(|path| path.display().to_string());
            let warnings: Vec<Value> = full.warnings.iter().map(problem_json).collect();
            let document = with_schema(
                "config-check",
                json!({ "ok": true, "file": file, "problems": [], "warnings": warnings }),
            );
            for warning in &full.warnings {
                output.talk(&format!("warning: {warning}"));
            }
            if is_first {
                return Ok(Exit::Ok);
            }
            output.result(&document, |_| match &file {
                Some(file) => format!("{file}: ok"),
                None => "no conf.yaml found; the defaults hold".to_owned(),
            });
            Ok(Exit::Ok)
        }
        Err(error) if output.is_json() => {
            let error = CliError::from(error);
            let problems: Vec<Value> = error.problems.iter().map(problem_json).collect();
            let fields = json!({
                "ok": false, "file": error.file, "problems": problems, "warnings": [], "error": error.to_json(),
            });
            output.result(&with_schema("config-check", fields), |_| String::new());
            Ok(Exit::Config)
        }
        Err(error) => Err(error.into()),
    }
}

fn dump(global: &Global, with_origin: bool, output: &Output) -> Result<Exit, CliError> {
    let full = context::load(global)?.full;
    let mut values = Map::new();
    let mut lines = Vec::new();
    let mut all = full.config.values();
    if let KeySource::File(path) = &full.key {
        all.insert("node.private_key_file", path.display().to_string());
    }
    for (key, value) in all {
        let origin = full
            .origins
            .get(key)
            .map_or_else(|| "default".to_owned(), origin_text);
        let line = format!("{key}: {value}");
        lines.push(if with_origin {
            format!("{line:<56} # {origin}")
        } else {
            line
        });
        let entry = if with_origin {
            json!({ "value": value, "origin": origin })
        } else {
            json!(value)
        };
        values.insert(key.to_owned(), entry);
    }
    output.result(
        &with_schema("config-dump", json!({ "values": values })),
        |_| lines.join("\n"),
    );
    Ok(Exit::Ok)
}

fn origin_text(origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".to_owned(),
        Origin::Env(name) => format!("environment {name}"),
        Origin::File { line: Some(line) } => format!("file, line {line}"),
        Origin::File { line: None } => "file".to_owned(),
        Origin::Flag(flag) => format!("flag {flag}"),
        _ => "unknown".to_owned(),
    }
}
