//! Opening a store in a process of its own: what it takes in memory, and what hostile files cost.
//!
//! A process is asked by the system what it has and what it had at most. Nothing that was measured before is in the way.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use btcfed_peer_store::{FilePeerStore, StoreOptions};

/// The command that only this program gives itself.
pub(crate) const COMMAND: &str = "peers-child";

/// Size of the hostile files: the largest that a store reads.
const HOSTILE_BYTES: usize = 64 * 1024 * 1024;

/// What opening a file took.
struct Opened {
    /// Memory that stayed, in bytes.
    kept: usize,
    /// Memory that was needed beyond that for a while, in bytes.
    extra: usize,
    nanos: usize,
    peers: usize,
}

/// What the child process does: opens the store and says what that took.
pub(crate) fn run(path: &str) -> Result<String, String> {
    let options = StoreOptions::new(path).with_watch(false);
    let options = options.with_flush_interval(std::time::Duration::from_secs(3600));
    let before = memory("VmRSS:")?;
    let start = Instant::now();
    let store = FilePeerStore::open(options).map_err(|e| e.to_string())?;
    let nanos = start.elapsed().as_nanos();
    let (after, peak) = (memory("VmRSS:")?, memory("VmHWM:")?);
    let kept = after.saturating_sub(before);
    let extra = peak.saturating_sub(after);
    let peers = store.snapshot().len();
    Ok(format!("{kept} {extra} {nanos} {peers}"))
}

fn memory(name: &str) -> Result<usize, String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|e| e.to_string())?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let words = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    words
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| format!("no {name} in /proc/self/status"))
}

fn open(path: &Path) -> Result<Opened, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let output = Command::new(program).arg(COMMAND).arg(path).output();
    let output = output.map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<usize> = said
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    match numbers[..] {
        [kept, extra, nanos, peers] => Ok(Opened {
            kept,
            extra,
            nanos,
            peers,
        }),
        _ => Err(format!("{said}{}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// Memory of an open store on each of these files.
pub(crate) fn memory_table(place: &Path, files: &[(&str, &[u8])]) -> Result<String, String> {
    let mut table =
        "| memory, by the system | bytes per peer | extra while loading / file |\n|---|---|---|\n"
            .to_owned();
    for (name, bytes) in files {
        let folder = place.join(name.replace(' ', "-"));
        std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let path = folder.join("peers.yaml");
        std::fs::write(&path, bytes).map_err(|e| e.to_string())?;
        let opened = open(&path)?;
        let (peers, len) = (opened.peers.max(1), bytes.len().max(1));
        let hundredths = opened.extra * 100 / len;
        writeln!(
            table,
            "| {name}: file of {} | {} | {}.{:02} |",
            len / peers,
            opened.kept / peers,
            hundredths / 100,
            hundredths % 100
        )
        .map_err(|e| e.to_string())?;
    }
    Ok(table)
}

/// What the worst files of the largest size cost.
pub(crate) fn hostile_table(place: &Path) -> Result<String, String> {
    let mut table = format!(
        "| hostile files of {} MiB | ns per byte | memory at most / file |\n|---|---|---|\n",
        HOSTILE_BYTES / 1024 / 1024
    );
    let folder = place.join("hostile");
    std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let path = folder.join("peers.yaml");
    for (name, head, unit) in [
        ("one line", "peers:\nx: ", "y"),
        ("opening brackets", "peers:\n  - a: ", "["),
        ("a list of brackets", "peers: [", "["),
        ("open quotes", "peers:\n", "  - a: \"\n"),
        ("aliases", "peers:\n", "  - *a\n"),
        ("tabs", "peers:\n", "\t- a\n"),
        ("zero bytes", "peers:\n", "\0"),
        ("lines of quotes", "peers:\n", "'\n"),
        ("half entries", "peers:\n", "  - public_key: CAESI\n"),
    ] {
        let mut bytes = head.as_bytes().to_vec();
        while bytes.len() + unit.len() <= HOSTILE_BYTES {
            bytes.extend_from_slice(unit.as_bytes());
        }
        std::fs::write(&path, &bytes).map_err(|e| e.to_string())?;
        let opened = open(&path)?;
        let tenths = (opened.kept + opened.extra) * 10 / bytes.len();
        writeln!(
            table,
            "| {name} | {} | {}.{} |",
            opened.nanos / bytes.len(),
            tenths / 10,
            tenths % 10
        )
        .map_err(|e| e.to_string())?;
    }
    Ok(table)
}
