//! How many connections the process has file descriptors for. Without a budget, connections take the last one, and the
//! store cannot open the file it wants to save to.

use rustix::process::{Resource, getrlimit};

/// Descriptors that connections never take: standard streams, listeners, runtime, locks, the admin socket and its
/// clients, the file being saved, name resolution.
pub(crate) const DESCRIPTOR_RESERVE: usize = 32;

/// How many descriptors connections may take: the limit of the process less [`DESCRIPTOR_RESERVE`], but never fewer than
/// a handful. `None` when there is no limit.
pub(crate) fn budget() -> Option<usize> {
    let limit = getrlimit(Resource::Nofile).current?;
    Some(share(usize::try_from(limit).unwrap_or(usize::MAX)))
}

const fn share(limit: usize) -> usize {
    let left = limit.saturating_sub(DESCRIPTOR_RESERVE);
    if left < MIN_BUDGET { MIN_BUDGET } else { left }
}

/// What is left to connections however low the limit: a node without any is of no use.
const MIN_BUDGET: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_kept_and_a_handful_of_connections_is_always_possible() {
        assert_eq!(share(1024), 1024 - DESCRIPTOR_RESERVE);
        assert_eq!(share(64), 32);
        assert_eq!(share(0), MIN_BUDGET);
        assert_eq!(share(usize::MAX), usize::MAX - DESCRIPTOR_RESERVE);
        assert!(budget().is_none_or(|budget| budget >= MIN_BUDGET));
    }
}
