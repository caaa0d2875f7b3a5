//! `completion`: scripts for shells, with the names of the known peers where a peer is wanted.

use std::time::Duration;

use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::{Value, json};

use crate::cli::args::{Cli, Global};
use crate::cli::context;
use crate::cli::output::Output;
use crate::cli::peers::inspect;
use crate::exit::{CliError, Exit};
use crate::view::with_schema;

/// Nobody waits longer for a completion.
const PATIENCE: Duration = Duration::from_millis(100);

/// The commands of `btcfed peers` whose first argument is a known peer.
const WITH_PEER: &str = "approve ban pin remove rename replace show unban unpin why";

/// The other commands whose first argument is a known peer.
const ON_PEER: &str = "ping trace";

pub(super) fn run(shell: Shell, output: &Output) -> Result<Exit, CliError> {
    let text = script(shell);
    let document = with_schema("completion", json!({ "text": text }));
    output.result(&document, |_| text.trim_end().to_owned());
    Ok(Exit::Ok)
}

/// What a shell completes with.
pub(super) fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "btcfed", &mut script);
    let script = String::from_utf8_lossy(&script);
    match shell {
        Shell::Bash => format!("{script}\n{}", bash()),
        Shell::Fish => format!("{script}\n{}", fish()),
        Shell::Zsh => zsh(&script),
        _ => script.into_owned(),
    }
}

fn bash() -> String {
    format!(
        "\
_btcfed_with_peers() {{
    local cur=\"${{COMP_WORDS[COMP_CWORD]}}\"
    if [[ $COMP_CWORD -eq 3 && ${{COMP_WORDS[1]}} == peers && \" {WITH_PEER} \" == *\" ${{COMP_WORDS[2]}} \"* && $cur != -* ]]; then
        COMPREPLY=( $(compgen -W \"$(btcfed complete-peers 2>/dev/null)\" -- \"$cur\") )
    elif [[ $COMP_CWORD -eq 2 && \" {ON_PEER} \" == *\" ${{COMP_WORDS[1]}} \"* && $cur != -* ]]; then
        COMPREPLY=( $(compgen -W \"$(btcfed complete-peers 2>/dev/null)\" -- \"$cur\") )
    else
        _btcfed \"$@\"
    fi
}}
complete -F _btcfed_with_peers -o nosort -o bashdefault -o default btcfed
"
    )
}

fn fish() -> String {
    format!(
        "complete -c btcfed -n '__fish_seen_subcommand_from {ON_PEER}' -f -a '(btcfed complete-peers 2>/dev/null)'\n\
         complete -c btcfed -n '__fish_seen_subcommand_from peers; and __fish_seen_subcommand_from {WITH_PEER}' -f -a '(btcfed complete-peers 2>/dev/null)'\n"
    )
}

fn zsh(script: &str) -> String {
    let function = "\
_btcfed_peers() {
    local -a names
    names=(${(f)\"$(btcfed complete-peers 2>/dev/null)\"})
    compadd -a names
}

";
    let lines: Vec<String> = script
        .lines()
        .map(|line| {
            let wants_peer = [":peer -- ", ":old -- ", ":target -- "];
            if wants_peer.iter().any(|start| line.contains(start)) {
                line.replace(":_default'", ":_btcfed_peers'")
            } else {
                line.to_owned()
            }
        })
        .collect();
    let script = lines.join("\n");
    match script.split_once("\n\n") {
        Some((head, rest)) => format!("{head}\n\n{function}{rest}\n"),
        None => script,
    }
}

/// The names of the known peers; ids of those without. Says nothing when nothing is known: a completion has no errors.
pub(super) fn peers(global: &Global, output: &Output) -> Result<Exit, CliError> {
    let mut global = global.clone();
    global.timeout = Some(PATIENCE);
    for name in names(&global) {
        output.line(&name);
    }
    Ok(Exit::Ok)
}

fn names(global: &Global) -> Vec<String> {
    let list = context::connect(global).and_then(|mut client| client.call("peers.list", json!({})));
    if let Ok(list) = list {
        let word = |peer: &Value| word(peer["name"].as_str(), peer["peer_id"].as_str());
        return list["peers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(word)
            .collect();
    }
    let file = context::load(global)
        .ok()
        .map(|loaded| loaded.full.config.peers.file);
    let bytes = file
        .and_then(|file| std::fs::read(file).ok())
        .unwrap_or_default();
    let found = inspect(&bytes).ok();
    let records = found.iter().flat_map(|found| found.set.iter());
    records
        .filter_map(|record| word(record.name.as_deref(), Some(&record.peer_id().to_string())))
        .collect()
}

/// A name if it is a word that no shell takes apart, else the id.
fn word(name: Option<&str>, id: Option<&str>) -> Option<String> {
    let is_plain = |name: &&str| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_alphanumeric() || "._-".contains(c))
    };
    name.filter(is_plain).or(id).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_shell_could_run_are_never_offered() {
        assert_eq!(
            word(Some("alice-1"), Some("id")),
            Some("alice-1".to_owned())
        );
        for name in ["$(rm x)", "a b", "`x`", "a;b", "", "a'b"] {
            assert_eq!(
                word(Some(name), Some("id")),
                Some("id".to_owned()),
                "{name}"
            );
        }
    }
}
