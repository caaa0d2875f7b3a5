//! What a process uses, as `/proc` tells it.

use std::fs;

/// Entries of a folder of the process: `fd` for open descriptors, `task` for threads.
pub fn entries(pid: u32, what: &str) -> usize {
    fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count()
}

/// Resident memory in bytes.
pub fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap() * 1024
}

/// Names of its threads.
pub fn threads(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    // A thread may end while the list is read.
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let mut names: Vec<String> = names.map(|name| name.trim().to_owned()).collect();
    names.sort_unstable();
    names
}

/// What its descriptors lead to.
pub fn files(pid: u32) -> Vec<String> {
    let all = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    // A descriptor may be closed while the list is read.
    let targets = all.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    let mut names: Vec<String> = targets.map(|to| to.display().to_string()).collect();
    names.sort_unstable();
    names
}
