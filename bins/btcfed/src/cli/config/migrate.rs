//! `config migrate`: an older `conf.yaml` in the present form, with its comments.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use btcfed_config::{LoadedConfig, MAX_CONFIG_BYTES, Origin};
use serde_json::json;

use crate::cli::args::Global;
use crate::cli::context::{self, Loaded};
use crate::cli::output::Output;
use crate::cli::peers::wall_now;
use crate::exit::{CliError, Exit};
use crate::view::{time_text, with_schema};

/// One version to the next: what it does in words, and the text it makes. `None` when it cannot be done by program.
struct Step {
    from: u64,
    says: &'static str,
    change: fn(&str) -> Option<String>,
}

/// From files that name no version to the present one.
const STEPS: [Step; 1] = [Step {
    from: 0,
    says: "the version is written: version: 1",
    change: write_version,
}];

pub(super) fn run(global: &Global, dry_run: bool, output: &Output) -> Result<Exit, CliError> {
    let loaded = context::load(global)?;
    let Some(path) = loaded.full.path.clone() else {
        return Err(
            CliError::new(Exit::Failed, "config", "there is no conf.yaml to migrate")
                .hint("the defaults hold; `btcfed init` writes a file"),
        );
    };
    let path = fs::canonicalize(&path).map_err(|error| failed("read", &path, &error))?;
    let text = fs::read_to_string(&path).map_err(|error| failed("read", &path, &error))?;
    let from = version_of(&loaded.full);
    let Some((migrated, done)) = migrate(&text, from, &STEPS) else {
        return Err(by_hand(&path));
    };
    let changed = !done.is_empty();
    let mut kept = None;
    if changed {
        // It must mean what the old one means.
        let next = loaded.source.load_text(&migrated);
        if !next.is_ok_and(|next| next.config.values() == loaded.full.config.values()) {
            return Err(by_hand(&path));
        }
        if !dry_run {
            let next = Candidate::write(&path, &migrated)?;
            kept = keep(&path, &loaded)?;
            next.replace(&path)?;
        }
    }
    let document = with_schema(
        "config-migrate",
        json!({
            "dry_run": dry_run,
            "changed": changed && !dry_run,
            "file": path.display().to_string(),
            "from": from,
            "to": STEPS.len(),
            "steps": done,
            "kept": kept.as_ref().map(|path| path.display().to_string()),
        }),
    );
    output.result(&document, |_| {
        if !changed {
            return format!("{}: in the present form already", path.display());
        }
        let would = if dry_run { "would change: " } else { "" };
        let mut lines: Vec<String> = done.iter().map(|says| format!("{would}{says}")).collect();
        match &kept {
            Some(kept) => lines.push(format!("the old file is kept in {}", kept.display())),
            None if !dry_run => lines.push(
                "no copy is kept, because the file holds the private key; the line above is all that changed".to_owned(),
            ),
            None => {}
        }
        lines.join("\n")
    });
    Ok(Exit::Ok)
}

/// The version that a file names, 0 when it names none: such a file is understood as version 1.
fn version_of(full: &LoadedConfig) -> u64 {
    let says = matches!(full.origins.get("version"), Some(Origin::File { .. }));
    u64::from(says)
}

/// Takes every step from a version on. `None` when a step cannot be taken.
fn migrate(text: &str, from: u64, steps: &[Step]) -> Option<(String, Vec<&'static str>)> {
    let (mut text, mut done) = (text.to_owned(), Vec::new());
    for step in steps.iter().filter(|step| step.from >= from) {
        text = (step.change)(&text)?;
        done.push(step.says);
    }
    Some((text, done))
}

/// Writes `version: 1` before the first key and the remarks that belong to it.
fn write_version(text: &str) -> Option<String> {
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let (mark, body) = match text.strip_prefix('\u{feff}') {
        Some(body) => ("\u{feff}", body),
        None => ("", text),
    };
    let mut at = 0;
    let mut place = None;
    for line in body.split_inclusive('\n') {
        let bare = line.trim();
        let is_marker = bare == "---" || bare.starts_with('%');
        if bare.starts_with('#') {
            place.get_or_insert(at);
        } else if bare.is_empty() || is_marker {
            place = None;
        } else if bare.starts_with(['{', '-']) {
            // Flow style, or more on the line of the marker: rare enough to be left to people.
            return None;
        } else {
            let place = place.unwrap_or(at);
            let (before, after) = body.split_at(place);
            return Some(format!("{mark}{before}version: 1{end}{after}"));
        }
        at += line.len();
    }
    let gap = if body.is_empty() || body.ends_with('\n') {
        ""
    } else {
        end
    };
    Some(format!("{text}{gap}version: 1{end}"))
}

/// A new file beside the old one. Removed when it does not take the old one's place.
struct Candidate(PathBuf);

impl Candidate {
    fn write(path: &Path, text: &str) -> Result<Self, CliError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let place = path.with_file_name(format!(".{name}.new-{}", std::process::id()));
        let old = fs::metadata(path).map_err(|error| failed("read", path, &error))?;
        let refuse = |error: std::io::Error| failed("write", &place, &error);
        let mut options = fs::OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&place);
        let mut file = file.map_err(refuse)?;
        let candidate = Self(place.clone());
        file.write_all(text.as_bytes()).map_err(refuse)?;
        // Only a privileged caller may give files away; for others the file is their own.
        if let Err(error) = std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid())) {
            tracing::debug!(%error, "the owner of the configuration changes");
        }
        file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o777))
            .map_err(refuse)?;
        file.sync_all().map_err(refuse)?;
        Ok(candidate)
    }

    fn replace(self, path: &Path) -> Result<(), CliError> {
        fs::rename(&self.0, path).map_err(|error| failed("replace", path, &error))?;
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| failed("sync", folder, &error))
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::debug!(path = %self.0.display(), %error, "a file that is not needed stays");
        }
    }
}

/// Keeps the old file beside the new one, unless it holds the private key: that is written nowhere else.
fn keep(path: &Path, loaded: &Loaded) -> Result<Option<PathBuf>, CliError> {
    if matches!(loaded.full.key, btcfed_config::KeySource::Inline(_)) {
        return Ok(None);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stamp = time_text(wall_now()).replace([':', '-'], "");
    let kept = path.with_file_name(format!("{name}.before-{stamp}"));
    if kept.exists() {
        return Err(
            CliError::new(Exit::CannotCreate, "transient", "this copy exists already")
                .file(kept.display())
                .hint("try again in a second"),
        );
    }
    fs::copy(path, &kept).map_err(|error| failed("write", &kept, &error))?;
    Ok(Some(kept))
}

fn by_hand(path: &Path) -> CliError {
    let reason = format!(
        "this file (at most {MAX_CONFIG_BYTES} bytes, in block style) is arranged so that it cannot be changed by program; nothing was changed"
    );
    CliError::new(Exit::Failed, "config", reason)
        .file(path.display())
        .hint("write `version: 1` at its top yourself")
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> CliError {
    let exit = match error.kind() {
        std::io::ErrorKind::PermissionDenied => Exit::Permission,
        _ => Exit::Io,
    };
    CliError::new(exit, "transient", format!("cannot {what}: {error}"))
        .file(path.display())
        .hint("nothing was changed; run as the owner of the file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_goes_before_the_first_key_and_its_remarks() {
        for (old, new) in [
            ("", "version: 1\n"),
            ("# only remarks", "# only remarks\nversion: 1\n"),
            ("node:\n  name: a\n", "version: 1\nnode:\n  name: a\n"),
            ("# head\n\nnode: {}\n", "# head\n\nversion: 1\nnode: {}\n"),
            (
                "# head\n\n# of node\nnode: {}\n",
                "# head\n\nversion: 1\n# of node\nnode: {}\n",
            ),
            (
                "\u{feff}---\nnode: {}\n",
                "\u{feff}---\nversion: 1\nnode: {}\n",
            ),
            ("node: {}\r\n", "version: 1\r\nnode: {}\r\n"),
        ] {
            assert_eq!(write_version(old).as_deref(), Some(new), "{old:?}");
        }
        assert_eq!(write_version("{node: {}}\n"), None);
    }

    #[test]
    fn every_step_from_the_version_of_a_file_is_taken_in_order_and_none_before_it() {
        let steps = [
            Step {
                from: 0,
                says: "one",
                change: |text| Some(format!("{text}1")),
            },
            Step {
                from: 1,
                says: "two",
                change: |text| Some(format!("{text}2")),
            },
            Step {
                from: 2,
                says: "never",
                change: |text| (!text.contains('x')).then(|| format!("{text}3")),
            },
        ];
        let old = migrate("", 0, &steps).unwrap();
        assert_eq!((old.0.as_str(), old.1.len()), ("123", 3));
        assert_eq!(migrate("", 1, &steps).unwrap().0, "23");
        assert_eq!(migrate("y", 3, &steps).unwrap(), ("y".to_owned(), vec![]));
        assert!(migrate("x", 2, &steps).is_none());
    }
}
