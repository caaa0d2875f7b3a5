//! `reload` and `stop`.

use serde_json::{Value, json};

use crate::cli::args::{Global, ReloadOptions};
use crate::cli::context;
use crate::cli::output::Output;
use crate::exit::{CliError, Exit};

pub(super) fn reload(
    global: &Global,
    options: &ReloadOptions,
    output: &Output,
) -> Result<Exit, CliError> {
    let method = if options.dry_run {
        "config.diff"
    } else {
        "reload"
    };
    let report = context::connect(global)?.call(method, json!({}))?;
    output.result(&report, reload_text);
    Ok(Exit::Ok)
}

fn reload_text(report: &Value) -> String {
    let mut lines = Vec::new();
    let mut keys = |list: &str, label: &str| {
        for change in report[list].as_array().into_iter().flatten() {
            let text = |key: &str| change[key].as_str().unwrap_or("?").to_owned();
            lines.push(format!(
                "{label}: {} {} -> {}",
                text("key"),
                text("old"),
                text("new")
            ));
        }
    };
    let applied = if report["dry_run"] == true {
        "would apply"
    } else {
        "applied"
    };
    keys("applied", applied);
    keys("needs_restart", "needs restart");
    for entry in report
        .pointer("/peers/skipped")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        lines.push(format!(
            "peers.yaml:{}: skipped: {}",
            entry["line"],
            entry["message"].as_str().unwrap_or("?")
        ));
    }
    if let Some(error) = report.pointer("/peers/error").and_then(Value::as_str) {
        lines.push(format!("peers not read again: {error}"));
    }
    if lines.is_empty() {
        lines.push("nothing changed".to_owned());
    }
    lines.push(if report["dry_run"] == true {
        format!("a dry run: revision {} stays in force", report["revision"])
    } else {
        format!("revision {}", report["revision"])
    });
    lines.join("\n")
}

pub(super) fn stop(global: &Global, output: &Output) -> Result<Exit, CliError> {
    let answer = context::connect(global)?.call("stop", json!({}))?;
    output.result(&answer, |_| "stopping".to_owned());
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_is_told_key_by_key() {
        let report = json!({
            "revision": 2,
            "applied": [{"key": "peers.exchange_interval", "old": "30s", "new": "15s"}],
            "needs_restart": [{"key": "node.network", "old": "mainnet", "new": "regtest"}],
            "peers": {"changed": 0, "skipped": [{"line": 4, "message": "bad base64"}], "error": null},
        });
        assert_eq!(
            reload_text(&report),
            "applied: peers.exchange_interval 30s -> 15s\nneeds restart: node.network mainnet -> regtest\n\
             peers.yaml:4: skipped: bad base64\nrevision 2"
        );
        let nothing = json!({"revision": 3, "applied": [], "needs_restart": [], "peers": {}});
        assert_eq!(reload_text(&nothing), "nothing changed\nrevision 3");
    }
}
