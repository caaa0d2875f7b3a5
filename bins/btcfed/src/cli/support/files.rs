//! What is said about files: never what is in them, but for the end of a log.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use btcfed_core::time::Timestamp;

use crate::cli::peers::crc32;
use crate::exit::{CliError, Exit};
use crate::view::time_text;

/// Most files that are listed.
const MAX_FILES: usize = 200;

/// Largest file whose checksum is told, in bytes.
const MAX_SUMMED_BYTES: u64 = 64 << 20;

/// How much of the end of a log goes in, in bytes.
const LOG_TAIL_BYTES: u64 = 1 << 20;

/// One line a file, by name. Of the key nothing is computed.
pub(super) fn list(dir: &Path) -> Result<String, String> {
    let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut lines = Vec::new();
    for entry in entries.flatten() {
        let name = entry
            .file_name()
            .to_string_lossy()
            .escape_debug()
            .to_string();
        let Ok(found) = fs::symlink_metadata(entry.path()) else {
            continue;
        };
        let kind = found.file_type();
        let sum = if kind.is_dir() {
            "directory".to_owned()
        } else if kind.is_symlink() {
            "symbolic link".to_owned()
        } else if kind.is_socket() {
            "socket".to_owned()
        } else if !kind.is_file() || name.ends_with(".key") || found.len() > MAX_SUMMED_BYTES {
            "-".to_owned()
        } else {
            fs::read(entry.path()).map_or_else(
                |error| error.to_string(),
                |bytes| format!("crc32:{:08x}", crc32(&bytes)),
            )
        };
        let at = u64::try_from(found.mtime()).map_or(Timestamp::from_secs(0), Timestamp::from_secs);
        lines.push(format!(
            "{:04o} {:>6} {:>6} {:>10} {} {sum} {name}",
            found.mode() & 0o7777,
            found.uid(),
            found.gid(),
            found.len(),
            time_text(at),
        ));
    }
    lines.sort_by(|a, b| a.rsplit(' ').next().cmp(&b.rsplit(' ').next()));
    let more = lines.len().saturating_sub(MAX_FILES);
    lines.truncate(MAX_FILES);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    Ok(lines.join("\n") + "\n")
}

/// The end of a log, from the beginning of a line on.
pub(super) fn tail(path: &Path) -> Result<String, CliError> {
    let refuse = |error: std::io::Error| {
        let exit = match error.kind() {
            std::io::ErrorKind::PermissionDenied => Exit::Permission,
            _ => Exit::Io,
        };
        CliError::new(exit, "config", format!("cannot read: {error}")).file(path.display())
    };
    let found = fs::metadata(path).map_err(refuse)?;
    if !found.is_file() {
        return Err(CliError::new(Exit::Data, "config", "this is no log file").file(path.display()));
    }
    let mut file = fs::File::open(path).map_err(refuse)?;
    let skip = found.len().saturating_sub(LOG_TAIL_BYTES);
    file.seek(SeekFrom::Start(skip)).map_err(refuse)?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES)
        .read_to_end(&mut bytes)
        .map_err(refuse)?;
    let text = String::from_utf8_lossy(&bytes);
    let whole = match text.split_once('\n') {
        Some((_, rest)) if skip > 0 => rest,
        _ => &text,
    };
    Ok(whole.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_log_whole_lines_of_the_end_are_taken_and_nothing_is_said_of_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("x.log");
        let line = format!("{}\n", "x".repeat(99));
        let lines = usize::try_from(LOG_TAIL_BYTES).unwrap() / line.len() + 10;
        fs::write(&log, line.repeat(lines)).unwrap();
        let text = tail(&log).unwrap();
        assert!(text.starts_with(&line) && text.len() as u64 <= LOG_TAIL_BYTES);
        fs::write(dir.path().join("node.key"), "secret").unwrap();
        let listed = list(dir.path()).unwrap();
        assert!(
            listed.contains(" - node.key") && listed.contains("crc32:"),
            "{listed}"
        );
        assert!(tail(dir.path()).is_err());
    }

    #[test]
    fn so_many_files_are_listed_and_the_rest_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..MAX_FILES {
            fs::write(dir.path().join(format!("{n:04}")), "").unwrap();
        }
        assert_eq!(list(dir.path()).unwrap().lines().count(), MAX_FILES);
        fs::write(dir.path().join("zz"), "").unwrap();
        let listed = list(dir.path()).unwrap();
        assert!(listed.ends_with("and 1 more\n"), "{listed}");
    }
}
