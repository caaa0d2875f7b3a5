//! `peers verify`: what is wrong with a peers file. Nothing is changed: a copy is looked at.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use btcfed_core::identity::SecretKey;
use btcfed_core::set::PeerSet;
use btcfed_core::store::SkippedEntry;
use serde_json::{Value, json};

use crate::cli::args::Global;
use crate::cli::context;
use crate::cli::output::Output;
use crate::cli::peers::transfer::{MAX_IMPORT_BYTES, take, too_large};
use crate::cli::progress::Ticking;
use crate::cli::temp_dir::TempDir;
use crate::exit::{CliError, Exit};
use crate::view::with_schema;
use crate::wire;

/// A private key as raw bytes.
const RAW_KEY_BYTES: usize = 32;

/// What a peers file holds.
#[derive(Debug)]
pub(in crate::cli) struct Inspection {
    /// What can be read.
    pub(in crate::cli) set: Arc<PeerSet>,
    /// What cannot, by line.
    pub(in crate::cli) skipped: Vec<SkippedEntry>,
    /// The file's version, when this program is too old for it.
    pub(in crate::cli) newer: Option<u64>,
    /// What the checksum says.
    pub(in crate::cli) checksum: &'static str,
}

/// Refuses a file with a private key in it: whatever is wrong with its lines would be told with the line itself.
pub(in crate::cli) fn refuse_secret(bytes: &[u8]) -> Result<(), CliError> {
    let refuse = |line: Option<usize>| {
        let message = "this holds a private key, not a list of peers; nothing of it is shown";
        let mut error = CliError::new(Exit::Data, "config", message);
        error.line = line;
        Err(error.hint("name the right file; if the key stands in a list of peers, make a new one"))
    };
    let text = String::from_utf8_lossy(bytes);
    let is_key = |word: &str| word.parse::<SecretKey>().is_ok();
    let is_plain = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    let is_raw = bytes.len() == RAW_KEY_BYTES && !bytes.iter().all(is_plain);
    if is_raw || is_key(text.trim()) {
        return refuse(None);
    }
    for (at, line) in text.lines().enumerate() {
        let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || "+/=".contains(c)));
        // Shorter words may be public keys in their raw form.
        let mut long = words.filter(|word| word.len() > RAW_KEY_BYTES * 2);
        if long.any(is_key) {
            return refuse(Some(at + 1));
        }
    }
    Ok(())
}

/// Reads a peers file from memory, as the daemon would.
///
/// # Errors
/// It holds a private key, or there is no room for a copy.
pub(in crate::cli) fn inspect(bytes: &[u8]) -> Result<Inspection, CliError> {
    refuse_secret(bytes)?;
    let dir = TempDir::create("peers", false)?;
    let copy = dir.path().join("peers.yaml");
    std::fs::write(&copy, bytes).map_err(|error| {
        CliError::new(Exit::Io, "transient", format!("cannot write: {error}")).file(copy.display())
    })?;
    let store = wire::open_store_once(&copy, Duration::from_secs(5))?;
    Ok(Inspection {
        set: store.snapshot(),
        skipped: store.skipped(),
        newer: store.newer_version(),
        checksum: checksum(bytes),
    })
}

pub(super) fn run(global: &Global, file: Option<&Path>, output: &Output) -> Result<Exit, CliError> {
    let path = match file {
        Some(path) => path.to_owned(),
        None => context::load(global)?.full.config.peers.file,
    };
    let mut bytes = Vec::new();
    let document = match std::fs::File::open(&path).and_then(|file| take(file, &mut bytes)) {
        Ok(length) if length as u64 > MAX_IMPORT_BYTES => return Err(too_large(&path)),
        Ok(_) => {
            // One step that cannot be divided: how far it is cannot be told, only that it goes on.
            let _told = Ticking::start("checking the file", output);
            verdict(&path, &bytes)?
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.is_none() => {
            let fields = json!({
                "ok": true, "file": path.display().to_string(), "exists": false, "checksum": "absent",
                "peers": 0, "bans": 0, "problems": [],
            });
            with_schema("peers-verify", fields)
        }
        Err(error) => {
            let exit = match error.kind() {
                std::io::ErrorKind::PermissionDenied => Exit::Permission,
                _ => Exit::Io,
            };
            let shown = CliError::new(exit, "config", format!("cannot read: {error}"));
            return Err(shown
                .file(path.display())
                .hint("name a peers file that you may read"));
        }
    };
    output.result(&document, text);
    Ok(if document["ok"] == true {
        Exit::Ok
    } else {
        Exit::Data
    })
}

fn verdict(path: &Path, bytes: &[u8]) -> Result<Value, CliError> {
    let found = inspect(bytes)?;
    let mut problems: Vec<Value> = found
        .skipped
        .iter()
        .map(|entry| json!({ "line": entry.line, "message": entry.reason }))
        .collect();
    if let Some(version) = found.newer {
        let message =
            format!("version {version} is newer than this program; it is served read-only");
        problems.push(json!({ "line": null, "message": message }));
    }
    let fields = json!({
        "ok": problems.is_empty(),
        "file": path.display().to_string(),
        "exists": true,
        "checksum": found.checksum,
        "peers": found.set.len(),
        "bans": found.set.bans().count(),
        "problems": problems,
    });
    Ok(with_schema("peers-verify", fields))
}

fn text(answer: &Value) -> String {
    let file = answer["file"].as_str().unwrap_or("?");
    if answer["exists"] == false {
        return format!("{file}: does not exist yet; nothing is known");
    }
    let mut lines = Vec::new();
    for problem in answer["problems"].as_array().into_iter().flatten() {
        let line = problem["line"].as_u64();
        let line = line.map_or_else(String::new, |line| format!(":{line}"));
        let message = problem["message"].as_str().unwrap_or("?");
        lines.push(format!("{file}{line}: {message}"));
    }
    let checksum = match answer["checksum"].as_str() {
        Some("matches") => "the checksum matches",
        Some("differs") => "the checksum differs: edited since the node last wrote it",
        _ => "no checksum: written by hand",
    };
    let verdict = if answer["ok"] == true {
        "ok"
    } else {
        "damaged"
    };
    let (peers, bans) = (&answer["peers"], &answer["bans"]);
    lines.push(format!(
        "{file}: {verdict}, {peers} peers, {bans} bans; {checksum}"
    ));
    if answer["ok"] == false {
        lines.push("the node starts all the same and leaves these entries as they are; correct the lines above".to_owned());
    }
    lines.join("\n")
}

/// Compares the checksum line with the bytes after it, as `docs/FILES.md` describes it.
fn checksum(bytes: &[u8]) -> &'static str {
    let mut start = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        start += line.len();
        if let Some(value) = line.strip_prefix(b"checksum:") {
            let value = String::from_utf8_lossy(value);
            let written = value.split_whitespace().next().unwrap_or_default();
            let computed = format!("crc32:{:08x}", crc32(&bytes[start..]));
            let same = written
                .trim_matches(['"', '\''])
                .eq_ignore_ascii_case(&computed);
            return if same { "matches" } else { "differs" };
        }
    }
    "absent"
}

/// CRC-32 (IEEE), bit by bit: a second opinion on what the store wrote.
pub(in crate::cli) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let mask = (crc & 1).wrapping_neg();
            crc = (crc >> 1) ^ (0xedb8_8320 & mask);
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::testing::test_key;

    #[test]
    fn the_checksum_of_the_store_is_confirmed_and_an_edit_is_seen() {
        assert_eq!(
            crc32(b"123456789"),
            0xcbf4_3926,
            "the check value of CRC-32"
        );
        let body = b"peers: []\n";
        let good = format!("checksum: crc32:{:08X}\npeers: []\n", crc32(body));
        assert_eq!(checksum(good.as_bytes()), "matches");
        assert_eq!(checksum(good.replace("[]", "[ ]").as_bytes()), "differs");
        assert_eq!(checksum(body), "absent");
    }

    #[test]
    fn a_file_with_a_private_key_is_refused_without_a_word_of_it() {
        let secret = SecretKey::from_seed([7; 32]);
        let base64 = secret.to_base64();
        for text in [
            format!("{}\n", base64.as_str()),
            format!("peers:\n  - public_key: \"{}\"\n", base64.as_str()),
            format!("name,public_key\nalice,{}\n", base64.as_str()),
        ] {
            let error = inspect(text.as_bytes()).unwrap_err();
            assert!(error.exit == Exit::Data && !error.to_string().contains(&base64[8..40]));
        }
        assert!(refuse_secret(secret.seed()).is_err(), "raw bytes");
        assert!(refuse_secret(secret.public().to_string().as_bytes()).is_ok());
    }

    #[test]
    fn bad_entries_and_duplicates_are_told_with_their_lines() {
        let key = test_key(1);
        let text = format!(
            "peers:\n  - public_key: nonsense\n  - public_key: {key}\n    addresses: []\n  - public_key: {key}\n    addresses: []\n"
        );
        let found = verdict(Path::new("peers.yaml"), text.as_bytes()).unwrap();
        let lines: Vec<u64> = found["problems"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|problem| problem["line"].as_u64())
            .collect();
        assert_eq!(
            (found["ok"].as_bool(), lines),
            (Some(false), vec![2, 5]),
            "{found}"
        );
        assert_eq!(found["peers"], 1);
        assert_eq!(verdict(Path::new("x"), b"peers: []\n").unwrap()["ok"], true);
    }
}
