//! A copy of the last configuration file that a node ran with, for the day the file is damaged. It is never read by the
//! node: an operator compares and copies it back.

use std::path::{Path, PathBuf};

use crate::convert::Build;
use crate::disk;
use crate::draft::in_dir;
use crate::error::WriteError;
use crate::search::folder;
use crate::text::{MAX_CONFIG_BYTES, decode};

/// The name of the copy, in the state directory.
pub const LAST_GOOD_FILE: &str = "conf.last-good.yaml";

/// Where the copy is in `state_dir`.
#[must_use]
pub fn last_good_path(state_dir: &Path) -> PathBuf {
    in_dir(state_dir, Path::new(LAST_GOOD_FILE))
}

/// True when the file says nothing at all, which is valid, and rarely meant by who had one before.
#[must_use]
pub fn is_blank(path: &Path) -> bool {
    disk::read(path, MAX_CONFIG_BYTES).is_ok_and(|contents| contents.bytes.trim_ascii().is_empty())
}

/// Copies `path` into `state_dir`, readable by this user alone. Left alone: a copy that is the same already, a file that
/// is blank or does not hold good values any more, and one that holds the private key itself, which is written nowhere
/// else.
///
/// # Errors
/// The copy cannot be written; the older one is whole.
pub fn keep_last_good(path: &Path, state_dir: &Path) -> Result<(), WriteError> {
    let Ok(contents) = disk::read(path, MAX_CONFIG_BYTES) else {
        return Ok(());
    };
    let origin = path.display().to_string();
    let Ok(text) = decode(&contents.bytes, &origin) else {
        return Ok(());
    };
    let mut build = Build::new(state_dir);
    build.file(&text, &origin, &folder(path));
    let holds_key = build.has_inline_key();
    if text.trim().is_empty() || holds_key || build.finish(Some(path)).is_err() {
        return Ok(());
    }
    let copy = last_good_path(state_dir);
    if disk::read(&copy, MAX_CONFIG_BYTES).is_ok_and(|old| *old.bytes == *contents.bytes) {
        return Ok(());
    }
    disk::replace(&copy, &contents.bytes, 0o600).map_err(|source| WriteError { path: copy, source })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_a_good_file_without_a_key_is_kept_and_a_bad_one_leaves_the_copy_alone() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("conf.yaml");
        let copy = last_good_path(dir.path());
        let kept = |text: &str| {
            fs::write(&conf, text).unwrap();
            keep_last_good(&conf, dir.path()).unwrap();
            fs::read_to_string(&copy).ok()
        };
        let key = btcfed_core::SecretKey::from_seed([1; 32]).to_base64();
        assert_eq!(kept(&format!("node:\n  private_key: {}\n", *key)), None);
        assert_eq!(kept("peers: ["), None);
        let good = "# mine\npeers:\n  exchange_interval: 7s\n";
        assert_eq!(kept(good).as_deref(), Some(good));
        for bad in ["", " \n", "peers:\n  exchange_interval: 0s\n", "\u{0}"] {
            assert_eq!(kept(bad).as_deref(), Some(good), "{bad:?}");
        }
        let better = good.replace("7s", "8s");
        assert_eq!(kept(&better).as_deref(), Some(better.as_str()));
        fs::remove_file(&conf).unwrap();
        keep_last_good(&conf, dir.path()).unwrap();
        assert!(copy.exists());
    }
}
