//! What a process uses, as `/proc` tells it.

use std::fs;
use std::time::Duration;

/// A tick of the processor time in `/proc`: fixed for programs on Linux (proc(5), `USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// Processor time of this process up to a moment.
pub(crate) struct Usage(Duration);

impl Usage {
    pub(crate) fn now() -> Result<Self, String> {
        processor_time("self").map(Self)
    }

    /// Used since then.
    pub(crate) fn since(&self) -> Result<Duration, String> {
        Ok(processor_time("self")?.saturating_sub(self.0))
    }
}

/// Processor time that a process has used, user and system.
pub(crate) fn processor_time(process: &str) -> Result<Duration, String> {
    let stat =
        fs::read_to_string(format!("/proc/{process}/stat")).map_err(|error| error.to_string())?;
    // The fields after the name in brackets: user and system time are the 12th and 13th.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u32 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u32>().ok())
        .sum();
    Ok(TICK * ticks)
}

/// Resident memory of a process in bytes.
pub(crate) fn memory(process: &str) -> Result<u64, String> {
    let status =
        fs::read_to_string(format!("/proc/{process}/status")).map_err(|error| error.to_string())?;
    let kib: Option<u64> = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    });
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| "no VmRSS".to_owned())
}
