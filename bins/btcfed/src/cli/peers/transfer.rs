//! `peers export` and `peers import`.

use std::io::{Read as _, Write as _};
use std::path::Path;

use btcfed_core::config::ConfigProblem;
use btcfed_core::key::PeerKey;
use btcfed_core::store::SkippedEntry;
use serde_json::{Value, json};

use super::backend::Backend;
use super::foreign::{self, Foreign};
use super::verify::{inspect, refuse_secret};
use super::{csv, field};
use crate::cli::args::{ExportOptions, FileFormat, Global, ImportFormat, ImportOptions};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::exit::{CliError, Exit};
use crate::peers::Entry;
use crate::view::with_schema;

/// Largest file that is imported, in bytes: ten thousand peers fit several times over.
pub(super) const MAX_IMPORT_BYTES: u64 = 64 << 20;

/// How much of an import goes into one request, in bytes: well below what a request may take.
const CHUNK_BYTES: usize = 48 * 1024;

/// Everything a file says, or everything that is wrong with it, by line.
type Parsed = (Vec<Entry>, Vec<(usize, String)>);

pub(super) fn export(
    global: &Global,
    options: &ExportOptions,
    output: &Output,
) -> Result<Exit, CliError> {
    let mut backend = Backend::open(global)?;
    let list = backend.call("peers.list", json!({}))?;
    backend.close(output)?;
    let mut entries = Vec::new();
    for peer in list["peers"].as_array().into_iter().flatten() {
        let chosen = matches!(peer["source"].as_str(), Some("operator" | "bootstrap"));
        if chosen || !options.chosen {
            entries.push(Entry::from_json(peer).map_err(bad)?);
        }
    }
    let format = options
        .format
        .unwrap_or_else(|| format_of(options.output.as_deref(), output.is_json()));
    let text = match format {
        FileFormat::Csv => csv::write(&entries),
        FileFormat::Json => format!("{:#}\n", document(&entries)),
        FileFormat::Yaml => yaml(&entries),
    };
    match &options.output {
        Some(path) => {
            write_new(path, &text)?;
            let fields = json!({ "file": path.display().to_string(), "count": entries.len() });
            output.result(&with_schema("peers-export", fields), |_| {
                format!("wrote {} peers to {}", entries.len(), path.display())
            });
        }
        None => output.line(text.trim_end()),
    }
    Ok(Exit::Ok)
}

fn document(entries: &[Entry]) -> Value {
    let peers: Vec<Value> = entries.iter().map(Entry::to_json).collect();
    with_schema("peers-export", json!({ "peers": peers }))
}

/// The form of peers.yaml. A JSON text is a YAML text, so nothing can break out of its line.
fn yaml(entries: &[Entry]) -> String {
    let mut text = "version: 1\npeers:\n".to_owned();
    if entries.is_empty() {
        return "version: 1\npeers: []\n".to_owned();
    }
    for entry in entries {
        text.push_str(&format!("  - public_key: {}\n    addresses:", entry.key));
        if entry.addresses.is_empty() {
            text.push_str(" []");
        }
        text.push('\n');
        for address in &entry.addresses {
            text.push_str(&format!("      - {address}\n"));
        }
        for (key, value) in [("name", &entry.name), ("note", &entry.note)] {
            if let Some(value) = value {
                text.push_str(&format!("    {key}: {}\n", json!(value)));
            }
        }
        if entry.pinned {
            text.push_str("    pinned: true\n");
        }
    }
    text
}

fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    let refuse = |error: std::io::Error| {
        let exit = match error.kind() {
            std::io::ErrorKind::PermissionDenied => Exit::Permission,
            _ => Exit::CannotCreate,
        };
        let shown = CliError::new(exit, "config", format!("cannot write: {error}"));
        shown
            .file(path.display())
            .hint("name a new file in a directory you may write to")
    };
    let mut file = std::fs::File::create_new(path).map_err(refuse)?;
    file.write_all(text.as_bytes()).map_err(refuse)?;
    file.sync_all().map_err(refuse)
}

pub(super) fn import(
    global: &Global,
    options: &ImportOptions,
    output: &Output,
) -> Result<Exit, CliError> {
    let bytes = read(&options.file)?;
    let content = understand(&bytes, options)?;
    let mut backend = Backend::open(global)?;
    let mut changes = Vec::new();
    let mut durable = true;
    let requests = content.requests();
    let mut progress = Progress::new("importing", output);
    for (done, mut params) in (0..).zip(requests.iter().cloned()) {
        progress.at(done, requests.len() as u64);
        params["dry_run"] = options.dry_run.into();
        let answer = backend.call("peers.import", params)?;
        durable &= answer["durable"] != false;
        changes.extend(answer["changes"].as_array().cloned().unwrap_or_default());
    }
    if options.replace {
        let keys = content.keys();
        changes.extend(remove_others(&mut backend, &keys, options.dry_run)?);
    }
    if let Content::Foreign(foreign) = &content {
        changes.extend(backend.put_sections(global, foreign.sections(), options.dry_run)?);
    }
    drop(progress);
    backend.close(output)?;
    let count = |action| count(&changes, action);
    let counts = json!({
        "added": count("add"), "updated": count("update"), "removed": count("remove"), "same": count("same"),
        "banned": count("ban"),
    });
    let changed = changes
        .iter()
        .any(|change| !matches!(change["action"].as_str(), Some("same" | "self")));
    let mut fields = json!({
        "dry_run": options.dry_run, "changed": changed && !options.dry_run, "durable": durable,
        "counts": counts, "changes": changes,
    });
    if let (Content::Foreign(foreign), Some(fields)) = (&content, fields.as_object_mut()) {
        fields.extend(foreign.found());
    }
    output.result(&with_schema("peers-import", fields), diff);
    Ok(Exit::Ok)
}

/// What a file brings.
#[derive(Debug)]
enum Content {
    /// Peers, in a form of our own.
    Entries(Vec<Entry>),
    /// What another program knew.
    Foreign(Foreign),
}

impl Content {
    fn keys(&self) -> Vec<PeerKey> {
        match self {
            Self::Entries(entries) => entries.iter().map(|entry| entry.key).collect(),
            Self::Foreign(foreign) => foreign.keys(),
        }
    }

    fn requests(&self) -> Vec<Value> {
        match self {
            Self::Entries(entries) => {
                let chunks = chunks(entries).into_iter();
                chunks.map(|chunk| json!({ "entries": chunk })).collect()
            }
            Self::Foreign(foreign) => foreign.requests(),
        }
    }
}

fn understand(bytes: &[u8], options: &ImportOptions) -> Result<Content, CliError> {
    refuse_secret(bytes)?;
    let named = options.format.unwrap_or_else(|| by_name(&options.file));
    if let Some(form) = foreign::form(bytes, named, options.format.is_some()) {
        return foreign::parse(bytes, form, &options.file).map(Content::Foreign);
    }
    let (entries, problems) = parse(bytes, own_form(named))?;
    if !problems.is_empty() {
        return Err(refused(&options.file, problems));
    }
    Ok(Content::Entries(entries))
}

/// The difference, one sign a peer: `+` new, `~` completed, `-` removed; bans with theirs.
pub(super) fn diff(answer: &Value) -> String {
    let mut lines = Vec::new();
    for change in answer["changes"].as_array().into_iter().flatten() {
        let sign = match change["action"].as_str() {
            Some("add") => "+",
            Some("update") => "~",
            Some("remove") => "-",
            Some(action @ ("ban" | "unban")) => {
                lines.push(format!("{action} {}", field(change, "target")));
                continue;
            }
            Some("section") => {
                let what = change["details"][0].as_str().unwrap_or("?");
                lines.push(format!("+ section {}: {what}", field(change, "name")));
                continue;
            }
            Some("self") => {
                lines.push("  this node itself is left out".to_owned());
                continue;
            }
            _ => continue,
        };
        let name = change["name"].as_str();
        let name = name.map_or_else(String::new, |name| format!(" {name}"));
        lines.push(format!("{sign} {}{name}", field(change, "peer_id")));
        for detail in change["details"].as_array().into_iter().flatten() {
            lines.push(format!("    {}", detail.as_str().unwrap_or("?")));
        }
    }
    let count = |key: &str| answer["counts"][key].as_u64().unwrap_or(0);
    let would = if answer["dry_run"] == true {
        "would be "
    } else {
        ""
    };
    let rest = match answer["counts"]["same"].as_u64() {
        Some(same) => format!("; {same} the same"),
        None => format!(
            ", {} banned, {} unbanned",
            count("banned"),
            count("unbanned")
        ),
    };
    lines.extend(foreign::told(answer));
    lines.push(format!(
        "{would}{} added, {} updated, {} removed{rest}",
        count("added"),
        count("updated"),
        count("removed"),
    ));
    lines.join("\n")
}

fn remove_others(
    backend: &mut Backend,
    keys: &[PeerKey],
    dry_run: bool,
) -> Result<Vec<Value>, CliError> {
    let list = backend.call("peers.list", json!({}))?;
    let mut changes = Vec::new();
    for peer in list["peers"].as_array().into_iter().flatten() {
        let key = field(peer, "public_key");
        if keys.iter().any(|known| known.to_string() == key) {
            continue;
        }
        if !dry_run {
            backend.call("peers.remove", json!({ "peer": key }))?;
        }
        changes.push(json!({
            "action": "remove", "peer_id": peer["peer_id"], "name": peer["name"], "details": [],
        }));
    }
    Ok(changes)
}

fn chunks(entries: &[Entry]) -> Vec<Vec<Value>> {
    let (mut chunks, mut chunk, mut size) = (Vec::new(), Vec::new(), 0);
    for entry in entries.iter().map(Entry::to_json) {
        let length = entry.to_string().len();
        if size + length > CHUNK_BYTES && !chunk.is_empty() {
            chunks.push(std::mem::take(&mut chunk));
            size = 0;
        }
        size += length;
        chunk.push(entry);
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    chunks
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let result = if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(MAX_IMPORT_BYTES + 1)
            .read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| take(file, &mut bytes))
    };
    result.map_err(|error| {
        let exit = match error.kind() {
            std::io::ErrorKind::PermissionDenied => Exit::Permission,
            _ => Exit::Io,
        };
        CliError::new(exit, "config", format!("cannot read: {error}")).file(path.display())
    })?;
    if bytes.len() as u64 > MAX_IMPORT_BYTES {
        return Err(too_large(path));
    }
    Ok(bytes)
}

/// Reads what is taken from a file, and one byte more where there is more.
pub(super) fn take(file: std::fs::File, bytes: &mut Vec<u8>) -> std::io::Result<usize> {
    file.take(MAX_IMPORT_BYTES + 1).read_to_end(bytes)
}

/// The error for a file that holds more than is taken.
pub(super) fn too_large(path: &Path) -> CliError {
    bad("larger than 64 MiB".to_owned())
        .file(path.display())
        .hint("a peers file is far smaller: name the right one")
}

fn parse(bytes: &[u8], format: FileFormat) -> Result<Parsed, CliError> {
    if format == FileFormat::Yaml {
        let found = inspect(bytes)?;
        let entries = found.set.iter().map(|record| Entry::of(&record)).collect();
        let told = |entry: SkippedEntry| (entry.line, entry.reason);
        return Ok((entries, found.skipped.into_iter().map(told).collect()));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            return Ok((Vec::new(), vec![(line, "this is no UTF-8 text".to_owned())]));
        }
    };
    Ok(if format == FileFormat::Csv {
        csv::read(text)
    } else {
        parse_json(text)
    })
}

fn parse_json(text: &str) -> Parsed {
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => {
            return (
                Vec::new(),
                vec![(error.line(), format!("no JSON: {error}"))],
            );
        }
    };
    let list = value.get("peers").unwrap_or(&value);
    let Some(items) = list.as_array() else {
        let reason = "expected {\"peers\": [...]} or a list".to_owned();
        return (Vec::new(), vec![(1, reason)]);
    };
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    for (at, item) in items.iter().enumerate() {
        match Entry::from_json(item) {
            Ok(entry) => entries.push(entry),
            Err(reason) => problems.push((line_of(text, item), format!("peers[{at}]: {reason}"))),
        }
    }
    (entries, problems)
}

/// The line where a key, or whatever else is in the item, first appears.
fn line_of(text: &str, item: &Value) -> usize {
    let needle = ["public_key", "peer_id", "name"]
        .into_iter()
        .find_map(|key| item.get(key).and_then(Value::as_str));
    let at = needle.and_then(|needle| text.lines().position(|line| line.contains(needle)));
    at.map_or(1, |at| at + 1)
}

fn refused(path: &Path, problems: Vec<(usize, String)>) -> CliError {
    let mut error = bad(format!(
        "{} entries are wrong; nothing was changed",
        problems.len()
    ));
    error.file = Some(path.display().to_string());
    error.line = problems.first().map(|(line, _)| *line);
    error.problems = problems
        .into_iter()
        .map(|(line, reason)| ConfigProblem {
            origin: path.display().to_string(),
            line: Some(line),
            key: None,
            reason,
            hint: None,
        })
        .collect();
    error.hint("nothing was changed: correct these lines and import again")
}

fn bad(reason: String) -> CliError {
    CliError::new(Exit::Data, "config", reason)
}

fn by_name(path: &Path) -> ImportFormat {
    match format_of(Some(path), false) {
        FileFormat::Csv => ImportFormat::Csv,
        FileFormat::Json => ImportFormat::Json,
        FileFormat::Yaml => ImportFormat::Yaml,
    }
}

/// The form of our own that is meant.
const fn own_form(form: ImportFormat) -> FileFormat {
    match form {
        ImportFormat::Csv => FileFormat::Csv,
        ImportFormat::Json | ImportFormat::Registry | ImportFormat::State => FileFormat::Json,
        ImportFormat::Yaml => FileFormat::Yaml,
    }
}

fn format_of(path: Option<&Path>, is_json: bool) -> FileFormat {
    let end = path
        .and_then(Path::extension)
        .map(|end| end.to_ascii_lowercase());
    match end.as_ref().and_then(|end| end.to_str()) {
        Some("csv") => FileFormat::Csv,
        Some("json") => FileFormat::Json,
        None if is_json => FileFormat::Json,
        _ => FileFormat::Yaml,
    }
}

/// How many of the changes are of one kind.
pub(super) fn count(changes: &[Value], action: &str) -> usize {
    changes
        .iter()
        .filter(|change| change["action"] == action)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_largest_size_is_taken_whole_and_a_larger_one_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for size in [MAX_IMPORT_BYTES, MAX_IMPORT_BYTES + 1] {
            file.as_file().set_len(size).unwrap();
            let taken = read(file.path());
            assert_eq!(taken.is_ok(), size == MAX_IMPORT_BYTES, "{size}");
        }
    }
}
