//! `key generate`, `key import`, `key rotate`, `key show-public`.

mod rotate;

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use btcfed_config::{KeySource, is_there, load_key, load_or_generate_key};
use btcfed_core::identity::SecretKey;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::cli::args::{Global, KeyCommand, KeySourceArgs};
use crate::cli::context::{self, key_error};
use crate::cli::output::Output;
use crate::exit::{CliError, Exit};
use crate::view::with_schema;

/// Longest text read as a key, in bytes.
const MAX_KEY_BYTES: usize = 4096;

pub(super) fn run(
    global: &Global,
    command: &KeyCommand,
    output: &Output,
) -> Result<Exit, CliError> {
    match command {
        KeyCommand::Generate {
            output: Some(path), ..
        } => generate_file(path, output),
        KeyCommand::Generate { reveal, .. } => generate_to_pipe(*reveal, output),
        KeyCommand::Import { from, output: path } => import(global, from, path.as_deref(), output),
        KeyCommand::Rotate { yes } => rotate::run(global, *yes, output),
        KeyCommand::ShowPublic { from } => {
            let key = read(global, from)?;
            output.result(&with_schema("key-show-public", identity(&key)), public_text);
            Ok(Exit::Ok)
        }
    }
}

fn generate_file(path: &Path, output: &Output) -> Result<Exit, CliError> {
    let loaded = if is_there(path) {
        None
    } else {
        let loaded = load_or_generate_key(path).map_err(key_error)?;
        Some(loaded).filter(|loaded| loaded.generated)
    };
    let Some(loaded) = loaded else {
        return Err(exists(
            path,
            "name another file, or remove this one if its identity may be lost",
        ));
    };
    let document = with_file("key-generate", &loaded.key, path, true);
    output.result(&document, |document| {
        format!("wrote {}\n{}", path.display(), public_text(document))
    });
    Ok(Exit::Ok)
}

fn generate_to_pipe(reveal: bool, output: &Output) -> Result<Exit, CliError> {
    if output.is_json() {
        return Err(usage(
            "a secret is no part of a JSON document",
            "name a file with -o",
        ));
    }
    if std::io::stdout().is_terminal() && !reveal {
        let hint = "name a file with -o, pipe it somewhere safe, or insist with --reveal";
        return Err(usage("a secret is not printed to a terminal", hint));
    }
    let key = new_key()?;
    output.line(&key.to_base64());
    output.talk(&format!("peer id {}", key.peer_id()));
    Ok(Exit::Ok)
}

fn new_key() -> Result<SecretKey, CliError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|error| {
        CliError::new(Exit::Internal, "fatal", format!("no randomness: {error}"))
    })?;
    Ok(SecretKey::from_seed(*seed))
}

fn import(
    global: &Global,
    from: &KeySourceArgs,
    path: Option<&Path>,
    output: &Output,
) -> Result<Exit, CliError> {
    if from.file.is_none() && !from.stdin {
        return Err(usage(
            "which key?",
            "name a file, or read from a pipe with --stdin",
        ));
    }
    let path: PathBuf = match path {
        Some(path) => path.to_owned(),
        None => match context::load(global)?.full.key {
            KeySource::File(path) => path,
            _ => {
                let mut error = CliError::new(
                    Exit::Config,
                    "config",
                    "the identity stands in conf.yaml itself",
                );
                error.key = Some("node.private_key".to_owned());
                return Err(error.hint("empty node.private_key first, or name a file with -o"));
            }
        },
    };
    let key = read(global, from)?;
    let changed = if is_there(&path) {
        let known = load_key(&path).map_err(key_error)?.key;
        if known.public() != key.public() {
            let hint = "an identity is never replaced: move that file away first, if you mean it";
            return Err(exists(&path, hint));
        }
        false
    } else {
        write(&path, &key)?;
        true
    };
    let document = with_file("key-import", &key, &path, changed);
    output.result(&document, |document| {
        let done = if changed { "wrote" } else { "unchanged:" };
        format!("{done} {}\n{}", path.display(), public_text(document))
    });
    Ok(Exit::Ok)
}

fn read(global: &Global, from: &KeySourceArgs) -> Result<SecretKey, CliError> {
    if let Some(path) = &from.file {
        return load_key(path).map(|loaded| loaded.key).map_err(|error| {
            let mut shown = key_error(error);
            if shown.exit == Exit::Config {
                shown.exit = Exit::Data;
            }
            shown
        });
    }
    if !from.stdin {
        return context::load(global)?.existing_key();
    }
    let mut text = Zeroizing::new(String::with_capacity(MAX_KEY_BYTES + 1));
    let stdin = std::io::stdin().lock();
    stdin
        .take(MAX_KEY_BYTES as u64)
        .read_to_string(&mut text)
        .map_err(|error| CliError::new(Exit::Data, "config", format!("standard input: {error}")))?;
    text.trim()
        .parse()
        .map_err(|error: btcfed_core::ParseError| {
            CliError::new(Exit::Data, "config", format!("standard input: {error}"))
                .hint("give a private key in base64 (CAESQ...), as `btcfed key generate` prints it")
        })
}

/// Writes a new key file: whole or not at all, readable by its owner alone.
fn write(path: &Path, key: &SecretKey) -> Result<(), CliError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(key.to_base64().as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        })
        // Unlike a rename, a link never takes the place of another file.
        .and_then(|()| std::fs::hard_link(&temporary, path));
    let removed = std::fs::remove_file(&temporary);
    written.and(removed).map_err(|error| {
        let exit = match error.kind() {
            std::io::ErrorKind::PermissionDenied => Exit::Permission,
            _ => Exit::CannotCreate,
        };
        CliError::new(exit, "config", format!("cannot write the key: {error}"))
            .file(path.display())
            .hint("the directory must exist and be yours to write to")
    })
}

fn identity(key: &SecretKey) -> Value {
    json!({ "peer_id": key.peer_id().to_string(), "public_key": key.public().to_string() })
}

fn with_file(command: &str, key: &SecretKey, path: &Path, changed: bool) -> Value {
    let mut document = with_schema(command, identity(key));
    document["file"] = json!(path.display().to_string());
    document["changed"] = json!(changed);
    document
}

fn public_text(document: &Value) -> String {
    let text = |key: &str| document[key].as_str().unwrap_or("?").to_owned();
    format!(
        "peer id     {}\npublic key  {}",
        text("peer_id"),
        text("public_key")
    )
}

fn exists(path: &Path, hint: &str) -> CliError {
    CliError::new(
        Exit::CannotCreate,
        "config",
        "there is a file already; nothing was changed",
    )
    .file(path.display())
    .hint(hint)
}

fn usage(message: &str, hint: &str) -> CliError {
    CliError::new(Exit::Usage, "usage", message).hint(hint)
}
