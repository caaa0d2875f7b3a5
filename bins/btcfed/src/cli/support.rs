//! `support-bundle`: what a helper needs to see, in one file, without secrets.
//!
//! What goes in is what the commands of this program print, so that people can look at every part of it beforehand.

mod archive;
mod files;
mod redact;

use std::io::{BufRead as _, IsTerminal as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::cli::args::{BundleOptions, Global};
use crate::cli::context;
use crate::cli::output::Output;
use crate::cli::peers::wall_now;
use crate::cli::progress::Progress;
use crate::exit::{CliError, Exit};
use crate::view::{time_text, with_schema};

use self::redact::Redactor;

/// What is asked of this program: the name of the file, what it is, and the command.
const PARTS: [(&str, &str, &[&str]); 10] = [
    (
        "config.json",
        "every value in force and its origin",
        &["config", "dump", "--origin"],
    ),
    (
        "config-check.json",
        "what is wrong with conf.yaml",
        &["config", "check"],
    ),
    ("status.json", "how the daemon does", &["status"]),
    ("peers.json", "the known peers", &["peers", "list"]),
    ("bans.json", "who is refused", &["peers", "bans"]),
    (
        "peers-verify.json",
        "what is wrong with peers.yaml",
        &["peers", "verify"],
    ),
    (
        "peers-history.json",
        "the copies of peers.yaml",
        &["peers", "history"],
    ),
    (
        "doctor.json",
        "the checks of `doctor --offline`",
        &["doctor", "--offline"],
    ),
    ("events.json", "what happened lately", &["events"]),
    ("metrics.json", "the counters", &["metrics"]),
];

/// Most of one part that goes in, in bytes.
const MAX_PART_BYTES: usize = 16 << 20;

/// One file of the bundle.
#[derive(Debug)]
struct Part {
    name: &'static str,
    about: &'static str,
    text: Result<String, String>,
}

pub(super) fn run(
    global: &Global,
    options: &BundleOptions,
    output: &Output,
) -> Result<Exit, CliError> {
    let stamp = time_text(wall_now()).replace([':', '-'], "");
    let path = options
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("btcfed-support-{stamp}.tar.gz")));
    let parts = gather(global, options, output)?;
    let document = described(&parts, options, &path);
    ask(&document, options, output)?;
    let mut files = vec![("README.txt".to_owned(), text(&document) + "\n")];
    for part in parts {
        if let Ok(text) = part.text {
            files.push((part.name.to_owned(), text));
        }
    }
    let bytes = archive::write(&format!("btcfed-support-{stamp}"), &files, wall_now())?;
    archive::save(&path, &bytes)?;
    output.result(&document, |_| format!("wrote {}", path.display()));
    Ok(Exit::Ok)
}

/// Everything that can be had, without secrets; what cannot says why.
fn gather(
    global: &Global,
    options: &BundleOptions,
    output: &Output,
) -> Result<Vec<Part>, CliError> {
    let mut progress = Progress::new("looking", output);
    let mut parts = vec![Part {
        name: "version.json",
        about: "this program and this machine",
        text: Ok(version()),
    }];
    for (at, (name, about, args)) in (0..).zip(PARTS) {
        progress.at(at, PARTS.len() as u64);
        let text = ask_self(global, args);
        parts.push(Part { name, about, text });
    }
    drop(progress);
    let (state_dir, _) = context::source(global, Vec::new());
    parts.push(Part {
        name: "files.txt",
        about: "the files of the state directory: size, mode, time, CRC-32",
        text: files::list(&state_dir),
    });
    let configured = context::load(global).ok();
    let configured = configured.and_then(|loaded| loaded.full.config.logging.file);
    if let Some(log) = options.log.as_ref().or(configured.as_ref()) {
        // Whoever names a file wants it inside; one that is only configured may be missing.
        let text = match files::tail(log) {
            Err(error) if options.log.is_some() => return Err(error),
            found => found.map_err(|error| error.to_string()),
        };
        parts.push(Part {
            name: "log.txt",
            about: "the end of the log",
            text,
        });
    }
    let secret = context::load(global).and_then(|loaded| loaded.existing_key());
    let mut redactor = Redactor::new(secret.ok().as_ref(), options.anonymous);
    for part in &parts {
        if let Ok(text) = &part.text {
            redactor.learn(text);
        }
    }
    for part in &mut parts {
        part.text = match std::mem::replace(&mut part.text, Ok(String::new())) {
            Ok(text) => Ok(redactor.clean(&text)),
            Err(reason) => Err(redactor.clean(&reason)),
        };
    }
    Ok(parts)
}

fn version() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut document = crate::cli::version::document();
    document["kernel"] = json!(kernel.trim());
    document["made"] = json!(time_text(wall_now()));
    format!("{document:#}\n")
}

/// Runs a command of this program. Its document goes in whatever its exit code; an error is what is missing.
fn ask_self(global: &Global, args: &[&str]) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command
        .args(args)
        .args(["--json", "--quiet"])
        .stdin(Stdio::null());
    for (flag, value) in [
        ("--config", &global.config),
        ("--state-dir", &global.state_dir),
        ("--socket", &global.socket),
    ] {
        if let Some(value) = value {
            command.arg(flag).arg(value);
        }
    }
    let done = command.output().map_err(|error| error.to_string())?;
    if done.stdout.len() > MAX_PART_BYTES {
        return Err(format!("larger than {MAX_PART_BYTES} bytes"));
    }
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let document: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    if document["schema"] == "btcfed.error/1" {
        let message = document.pointer("/error/message").and_then(Value::as_str);
        return Err(message.unwrap_or("no reason was given").to_owned());
    }
    Ok(text)
}

fn described(parts: &[Part], options: &BundleOptions, path: &std::path::Path) -> Value {
    let inside: Vec<Value> = parts
        .iter()
        .filter_map(|part| {
            let text = part.text.as_ref().ok()?;
            Some(json!({ "file": part.name, "about": part.about, "bytes": text.len() }))
        })
        .collect();
    let missing: Vec<Value> = parts
        .iter()
        .filter_map(|part| {
            let reason = part.text.as_ref().err()?;
            Some(json!({ "file": part.name, "about": part.about, "reason": reason }))
        })
        .collect();
    with_schema(
        "support-bundle",
        json!({
            "file": path.display().to_string(),
            "anonymous": options.anonymous,
            "inside": inside,
            "missing": missing,
        }),
    )
}

fn text(document: &Value) -> String {
    let mut lines = vec!["inside:".to_owned()];
    for (list, key) in [("inside", "bytes"), ("missing", "reason")] {
        for part in document[list].as_array().into_iter().flatten() {
            let word = |key: &str| part[key].as_str().unwrap_or("?").to_owned();
            let end = match part[key].as_u64() {
                Some(bytes) => format!("{bytes} B"),
                None => format!("MISSING: {}", word("reason")),
            };
            lines.push(format!("  {:<20} {}; {end}", word("file"), word("about")));
        }
    }
    lines.push(if document["anonymous"] == true {
        "no secret; a code stands for each host and IP address; names and peer ids are as they are"
            .to_owned()
    } else {
        "no secret; addresses, names and peer ids are as they are (--anonymous hides addresses)"
            .to_owned()
    });
    lines.join("\n")
}

/// Says what is inside, and asks whether that is right.
fn ask(document: &Value, options: &BundleOptions, output: &Output) -> Result<(), CliError> {
    output.talk(&text(document));
    if options.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || output.is_json() {
        let message = "nobody is there to be asked";
        return Err(CliError::new(Exit::Usage, "usage", message)
            .hint("this is what would be inside; add --yes to write it"));
    }
    output.ask("write it? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(CliError::new(Exit::Failed, "usage", "nothing was written"))
}
