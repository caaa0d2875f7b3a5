//! The shape of the machine and the versions of the rivals; no names of hosts or folders.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::plan::thousands;

/// The versions that this program was built with.
const LOCK: &str = include_str!("../../../../Cargo.lock");

/// Whose versions are told: what is measured beside us, and what we share with it.
const RIVALS: [&str; 13] = [
    "chitchat",
    "ed25519-dalek",
    "fjall",
    "foca",
    "libp2p",
    "libp2p-kad",
    "libsqlite3-sys",
    "negentropy",
    "redb",
    "rusqlite",
    "serde_json",
    "tokio",
    "yaml_serde",
];

/// One line about the machine; what cannot be found is left out.
pub(crate) fn shape(scratch: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| memory(&text));
    let mounts = fs::read_to_string("/proc/mounts").ok();
    let system = mounts.and_then(|text| file_system(&text, scratch).map(str::to_owned));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    let compiler = Command::new("rustc").arg("--version").output().ok();
    let compiler = compiler.filter(|output| output.status.success());
    let compiler = compiler.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let parts = [
        Some(format!("{cores} cores of {}", std::env::consts::ARCH)),
        memory.map(|mib| format!("{} MiB of memory", thousands(mib))),
        system.map(|name| format!("scratch files on {name}")),
        kernel.map(|release| format!("{} {}", std::env::consts::OS, digits(&release))),
        compiler.and_then(|text| Some(format!("rustc {}", text.split_whitespace().nth(1)?))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The load averages of one, five and fifteen minutes.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let loads: Vec<&str> = text.split_whitespace().take(3).collect();
    if loads.is_empty() {
        "unknown".to_owned()
    } else {
        loads.join(" ")
    }
}

/// Names and versions of rivals, out of the lock file.
pub(crate) fn rivals() -> String {
    versions(LOCK)
}

fn versions(lock: &str) -> String {
    let mut found = Vec::new();
    for package in lock.split("[[package]]") {
        let value = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name))?;
            line.strip_prefix(" = \"")?.strip_suffix('"')
        };
        if let (Some(name), Some(version)) = (value("name"), value("version"))
            && RIVALS.contains(&name)
        {
            found.push(format!("{name} {version}"));
        }
    }
    found.join(", ")
}

/// `MemTotal`, in MiB.
fn memory(meminfo: &str) -> Option<usize> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}

/// The type of the file system that holds a folder: the longest mount point above it.
fn file_system<'a>(mounts: &'a str, folder: &Path) -> Option<&'a str> {
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        folder.starts_with(point).then_some((point.len(), kind))
    });
    // Of two on the same point the later one covers the other.
    mounted.max_by_key(|(len, _)| *len).map(|(_, kind)| kind)
}

/// The leading version number: what follows may name a machine.
fn digits(release: &str) -> &str {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.');
    release
        .get(..end.unwrap_or(release.len()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_that_of_the_nearest_mount() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp xfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/home/x")), Some("ext4"));
        assert_eq!(file_system(mounts, Path::new("/tmp/x")), Some("xfs"));
        assert_eq!(file_system(mounts, Path::new("/tmpfile")), Some("ext4"));
        assert_eq!(file_system("", Path::new("/")), None);
    }

    #[test]
    fn only_numbers_of_the_kernel_are_told() {
        assert_eq!(digits("6.18.5-builder-7.local\n"), "6.18.5");
        assert_eq!(memory("MemFree: 1 kB\nMemTotal:  2048 kB\n"), Some(2));
    }

    #[test]
    fn versions_are_those_of_the_lock_file() {
        let lock = "[[package]]\nname = \"foca\"\nversion = \"2.0.0\"\n\n[[package]]\nname = \"bytes\"\nversion = \"1.0.0\"\n";
        assert_eq!(versions(lock), "foca 2.0.0");
        assert!(rivals().contains("libp2p 0."), "{}", rivals());
    }
}
