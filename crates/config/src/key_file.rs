//! The private key file: made once, never overwritten, readable by its owner alone.

use std::io;
use std::path::Path;

use btcfed_core::SecretKey;
use btcfed_core::config::ConfigProblem;
use zeroize::Zeroizing;

use crate::disk::{self, Contents, NotRead};
use crate::error::KeyError;
use crate::problems::Site;

/// Largest file that is read as a key: the text of one takes 93 bytes.
const MAX_KEY_FILE_BYTES: usize = 4096;

/// How often a file that appears and disappears is looked at again.
const ATTEMPTS: usize = 3;

/// A private key and how it came.
#[derive(Debug)]
#[non_exhaustive]
pub struct LoadedKey {
    /// The identity.
    pub key: SecretKey,
    /// True when it was made just now.
    pub generated: bool,
    /// Others may read the file.
    pub warning: Option<ConfigProblem>,
}

/// Reads the private key at `path`; if nothing stands there, makes one.
///
/// The file holds libp2p's 68-byte form in base64 and a line end. White space around it, a 32-byte seed in base64 and 32
/// raw bytes are read as well. A new file has mode 0600 and appears whole or not at all; its directory is made with mode
/// 0700 if missing. Of several processes that start at once one makes the key and all use it.
///
/// # Errors
/// The file holds no key, or cannot be read or made. What stands there is never changed.
pub fn load_or_generate_key(path: &Path) -> Result<LoadedKey, KeyError> {
    for _ in 0..ATTEMPTS {
        if let Some(loaded) = read_if_there(path)? {
            return Ok(loaded);
        }
        if let Some(key) = generate(path)? {
            return Ok(LoadedKey {
                key,
                generated: true,
                warning: None,
            });
        }
    }
    Err(KeyError::create(
        path,
        io::Error::other("another process keeps making and removing it"),
    ))
}

/// Reads the private key at `path`, and makes none.
///
/// # Errors
/// As [`load_or_generate_key`]; a missing file is an error too.
pub fn load_key(path: &Path) -> Result<LoadedKey, KeyError> {
    read_if_there(path)?.ok_or_else(|| KeyError::read(path, io::ErrorKind::NotFound.into()))
}

fn read_if_there(path: &Path) -> Result<Option<LoadedKey>, KeyError> {
    let Contents { bytes, mode } = match disk::read(path, MAX_KEY_FILE_BYTES) {
        Ok(contents) => contents,
        Err(NotRead::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            return if path.is_symlink() {
                Err(KeyError::invalid(
                    path,
                    "a link to a file that does not exist; remove it or restore that file",
                ))
            } else {
                Ok(None)
            };
        }
        Err(NotRead::Io(error)) => return Err(KeyError::read(path, error)),
        Err(NotRead::Kind(kind)) => {
            return Err(KeyError::invalid(
                path,
                format!("{kind}, not a private key file"),
            ));
        }
        Err(NotRead::TooLarge) => {
            return Err(KeyError::invalid(path, "too large for a private key"));
        }
    };
    let key = parse(&bytes).map_err(|reason| KeyError::invalid(path, reason))?;
    Ok(Some(LoadedKey {
        key,
        generated: false,
        warning: exposed(path, mode, "this private key"),
    }))
}

/// The warning for a file with a secret in it that others may read or write.
pub(crate) fn exposed(path: &Path, mode: u32, what: &str) -> Option<ConfigProblem> {
    (mode & 0o066 != 0).then(|| {
        let shown = path.display().to_string();
        let hint = format!("chmod 600 {shown}");
        Site::file(&shown).problem(
            format!("other users can read {what} (mode {mode:04o})"),
            Some(hint),
        )
    })
}

fn parse(bytes: &[u8]) -> Result<SecretKey, String> {
    let restore = "restore it from a copy, or remove the file to get a new identity";
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(format!("empty; {restore}"));
    }
    if bytes.iter().all(|&byte| byte == 0) {
        return Err(format!(
            "holds only zeros: the disk lost its content; {restore}"
        ));
    }
    let raw = <[u8; 32]>::try_from(bytes).map(Zeroizing::new);
    if let Ok(seed) = raw
        && !bytes.is_ascii()
    {
        return Ok(SecretKey::from_seed(*seed));
    }
    let text = str::from_utf8(bytes).map_err(|_| format!("holds no private key; {restore}"))?;
    // Some editors begin a text with a byte order mark.
    text.trim_start_matches('\u{feff}')
        .trim()
        .parse()
        .map_err(|error: btcfed_core::ParseError| {
            format!("holds no private key: {}; {restore}", error.reason)
        })
}

/// Makes a key file, or tells that another process was faster.
fn generate(path: &Path) -> Result<Option<SecretKey>, KeyError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|error| KeyError::Random {
        reason: error.to_string(),
    })?;
    let key = SecretKey::from_seed(*seed);
    let mut text = Zeroizing::new(String::with_capacity(128));
    text.push_str(&key.to_base64());
    text.push('\n');
    let made = disk::make_folder(path).and_then(|()| disk::create(path, text.as_bytes(), 0o600));
    match made {
        Ok(()) => Ok(Some(key)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(KeyError::create(path, error)),
    }
}

#[cfg(test)]
mod tests;
