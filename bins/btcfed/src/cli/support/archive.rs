//! The file itself: a tar archive, compressed.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use btcfed_core::time::Timestamp;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::exit::{CliError, Exit};

/// Packs files into one folder.
pub(super) fn write(
    folder: &str,
    files: &[(String, String)],
    now: Timestamp,
) -> Result<Vec<u8>, CliError> {
    let failed = |error: std::io::Error| {
        CliError::new(Exit::Internal, "fatal", format!("cannot pack: {error}"))
    };
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(now.as_secs());
        let path = format!("{folder}/{name}");
        archive
            .append_data(&mut header, path, text.as_bytes())
            .map_err(failed)?;
    }
    let packed = archive.into_inner().and_then(GzEncoder::finish);
    packed.map_err(failed)
}

/// Writes a new file that only its owner may read.
pub(super) fn save(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let refuse = |error: std::io::Error| {
        let exit = match error.kind() {
            std::io::ErrorKind::PermissionDenied => Exit::Permission,
            _ => Exit::CannotCreate,
        };
        CliError::new(exit, "config", format!("cannot write: {error}"))
            .file(path.display())
            .hint("name a new file with --output")
    };
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(refuse)?;
    file.write_all(bytes).map_err(refuse)?;
    file.sync_all().map_err(refuse)
}
