//! `peers edit`: the peers file in an editor, checked before it counts.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use btcfed_core::patch::PeerOp;
use btcfed_peer_store::{CopyKind, StoredCopy, Unreadable, read_copy};
use serde_json::json;

use super::backend::wall_now;
use super::transfer;
use super::verify::refuse_secret;
use super::workbench::{Workbench, unreadable};
use crate::cli::args::Global;
use crate::cli::output::Output;
use crate::cli::temp_dir::TempDir;
use crate::exit::{CliError, Exit};
use crate::peers::restoration;
use crate::view::with_schema;

/// What stands in the copy when there is no file yet.
const EMPTY: &str = "version: 1\npeers: []\nsections: {}\n";

/// What a person wants done about a mistake.
enum Choice {
    Again,
    Discard,
}

pub(super) fn run(global: &Global, output: &Output) -> Result<Exit, CliError> {
    let bench = Workbench::open(global)?;
    let before = match read_copy(CopyKind::Current, &bench.path) {
        Ok(copy) => copy,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            parse(&bench.path, EMPTY.as_bytes().to_vec())
        }
        Err(error) => return Err(unreadable(&bench.path, &error)),
    };
    refuse_secret(&before.bytes)?;
    let mut dir = TempDir::create("edit", false)?;
    let copy = dir.path().join("peers.yaml");
    write_private(&copy, &before.bytes)?;
    let edited = match edited(&copy, &before, output) {
        Ok(edited) => edited,
        Err(mut error) => {
            // Whatever went wrong, what was typed is not lost.
            error.message = format!("{}; nothing was changed", error.message);
            if std::fs::read(&copy).is_ok_and(|bytes| bytes != before.bytes) {
                dir.keep();
                let place = copy.display();
                error.message = format!("{}; your copy is kept in {place}", error.message);
            }
            return Err(error);
        }
    };
    let Some(edited) = edited else {
        let fields = json!({ "changed": false, "changes": [], "counts": {} });
        output.result(&with_schema("peers-edit", fields), |_| {
            "nothing changed".to_owned()
        });
        return Ok(Exit::Ok);
    };
    let saved = save(global, bench, &before, &edited);
    if saved.is_err() {
        dir.keep();
        output.talk(&format!("your copy is kept in {}", copy.display()));
    }
    saved?;
    let way = restoration(&before.set, &edited.set, wall_now());
    // Deleting any entry by hand is a decision, also of a peer nobody chose.
    let mut changes = way.changes;
    let is_told = |key: &btcfed_core::key::PeerKey| {
        let removes = |op: &PeerOp| matches!(op, PeerOp::Remove { key: gone, .. } if gone == key);
        way.patch.ops.iter().any(removes)
    };
    for record in before.set.iter() {
        if !edited.set.contains(&record.key) && !is_told(&record.key) {
            let id = record.peer_id().to_string();
            changes.push(
                json!({ "action": "remove", "peer_id": id, "name": record.name, "details": [] }),
            );
        }
    }
    let count = |action| transfer::count(&changes, action);
    let counts = json!({
        "added": count("add"), "updated": count("update"), "removed": count("remove"),
        "banned": count("ban"), "unbanned": count("unban"),
    });
    let fields = json!({ "changed": true, "counts": counts, "changes": changes });
    output.result(&with_schema("peers-edit", fields), transfer::diff);
    Ok(Exit::Ok)
}

fn save(
    global: &Global,
    bench: Workbench,
    before: &StoredCopy,
    edited: &StoredCopy,
) -> Result<(), CliError> {
    let store = bench.store(global)?;
    store.adopt_edit(&before.bytes, &edited.bytes)?;
    bench.done(&store)
}

fn parse(path: &Path, bytes: Vec<u8>) -> StoredCopy {
    StoredCopy::parse(CopyKind::Current, path.to_owned(), None, bytes)
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let refuse = |error: std::io::Error| {
        CliError::new(
            Exit::CannotCreate,
            "transient",
            format!("cannot write: {error}"),
        )
        .file(path.display())
    };
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .map_err(refuse)
}

/// Lets a person edit until it is right. `None` when nothing was changed, or all was given up.
fn edited(
    copy: &Path,
    before: &StoredCopy,
    output: &Output,
) -> Result<Option<StoredCopy>, CliError> {
    loop {
        open_editor(copy)?;
        let edited =
            read_copy(CopyKind::Current, copy).map_err(|error| unreadable(copy, &error))?;
        if edited.bytes == before.bytes {
            return Ok(None);
        }
        let problems = problems(before, &edited)?;
        if problems.is_empty() {
            return Ok(Some(edited));
        }
        for (line, reason) in &problems {
            output.talk(&format!("line {line}: {reason}"));
        }
        match ask(copy, output)? {
            Some(Choice::Again) => {}
            Some(Choice::Discard) => return Ok(None),
            None => return Err(refused(&problems)),
        }
    }
}

/// What is wrong with an edit that was not wrong before.
fn problems(before: &StoredCopy, edited: &StoredCopy) -> Result<Vec<(usize, String)>, CliError> {
    refuse_secret(&edited.bytes)?;
    if edited.is_blank() {
        let reason = "the file is empty; to remove all peers write `peers: []`".to_owned();
        return Ok(vec![(1, reason)]);
    }
    if edited.version != before.version {
        let reason = format!("the version was {}, and stays", before.version);
        return Ok(vec![(1, reason)]);
    }
    let was_there = |lines: &Unreadable| {
        let same = |old: &Unreadable| old.reason == lines.reason && old.key == lines.key;
        before.unreadable.iter().any(same)
    };
    let new = edited.unreadable.iter().filter(|lines| !was_there(lines));
    Ok(new
        .map(|lines| (lines.line, lines.reason.clone()))
        .collect())
}

fn refused(problems: &[(usize, String)]) -> CliError {
    let (line, reason) = problems.first().cloned().unwrap_or_default();
    let more = match problems.len() {
        0 | 1 => String::new(),
        many => format!(" (and {} more)", many - 1),
    };
    let mut error = CliError::new(Exit::Data, "config", format!("line {line}: {reason}{more}"));
    error.line = Some(line);
    error.hint(
        "nobody can be asked without a terminal: correct the copy and import it, or edit again",
    )
}

/// Asks what to do about a mistake. `None` when nobody can be asked.
fn ask(copy: &Path, output: &Output) -> Result<Option<Choice>, CliError> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Ok(None);
    }
    loop {
        output.ask("(e)dit again, (s)how the copy, or (d)iscard? ");
        let mut answer = String::new();
        let read = stdin.lock().read_line(&mut answer).map_err(|error| {
            CliError::new(
                Exit::Io,
                "transient",
                format!("cannot read the answer: {error}"),
            )
        })?;
        match answer.trim() {
            "e" | "edit" => return Ok(Some(Choice::Again)),
            "d" | "discard" => return Ok(Some(Choice::Discard)),
            "s" | "show" => {
                let text = std::fs::read_to_string(copy).unwrap_or_default();
                for (at, line) in text.lines().enumerate() {
                    output.talk(&format!("{:>5}  {}", at + 1, line.escape_debug()));
                }
            }
            _ if read == 0 => return Ok(None),
            _ => {}
        }
    }
}

/// Runs $VISUAL, $EDITOR or vi on the copy, through the shell as other programs do: the variable may hold options.
fn open_editor(copy: &Path) -> Result<(), CliError> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let editor = match named("VISUAL").or_else(|| named("EDITOR")) {
        Some(editor) => editor,
        None if std::io::stdin().is_terminal() => "vi".into(),
        // It would wait for somebody to type, for ever.
        None => {
            let reason = "there is no terminal to edit on, and no editor is named";
            return Err(CliError::new(Exit::Usage, "usage", reason).hint(
                "run it in a terminal, or set VISUAL or EDITOR to a program that edits by itself",
            ));
        }
    };
    let mut script = editor.clone();
    script.push(" \"$1\"");
    let status = Command::new("/bin/sh")
        .arg("-c")
        .arg(script)
        .arg("btcfed-edit")
        .arg(copy)
        // What an editor prints is talk: standard output belongs to the result.
        .stdout(editor_output())
        .status();
    let shown = PathBuf::from(editor);
    let failed = |reason: String| {
        CliError::new(Exit::Failed, "config", reason)
            .hint("set VISUAL or EDITOR to an editor that waits until you are done")
    };
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(format!(
            "the editor {} ended with {status}",
            shown.display()
        ))),
        Err(error) => Err(failed(format!(
            "the editor {} cannot be started: {error}",
            shown.display()
        ))),
    }
}

/// A terminal is the editor's screen; a pipe is for the result alone.
fn editor_output() -> Stdio {
    if std::io::stdout().is_terminal() {
        Stdio::inherit()
    } else {
        Stdio::null()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::identity::SecretKey;

    fn copy(text: &str) -> StoredCopy {
        parse(Path::new("peers.yaml"), text.as_bytes().to_vec())
    }

    #[test]
    fn only_new_mistakes_stand_in_the_way_of_an_edit() {
        let old = copy("peers:\n  - public_key: bad\n");
        let moved = copy("# more\npeers:\n  - public_key: bad\n");
        assert!(problems(&old, &moved).unwrap().is_empty());
        for (text, line) in [
            ("peers:\n  - public_key: bad\n  - name: x\n", 3),
            ("# nothing\n", 1),
            ("", 1),
            ("version: 2\npeers: []\n", 1),
        ] {
            let found = problems(&old, &copy(text)).unwrap();
            assert_eq!(found.first().map(|problem| problem.0), Some(line), "{text}");
        }
        let key = SecretKey::from_seed([7; 32]).to_base64();
        let leak = copy(&format!("peers:\n  - public_key: {}\n", key.as_str()));
        assert!(problems(&old, &leak).is_err());
    }
}
