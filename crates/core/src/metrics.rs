//! The hook that receives counters and timings. No exporter is needed: the default does nothing.

use std::fmt;
use std::time::Duration;

/// Receives what components count and time. Names are static, lower-case, words joined by underscores.
///
/// Implementations must return quickly and never block: they are called from hot paths.
pub trait Metrics: Send + Sync + fmt::Debug {
    /// Adds `by` to the counter `name`.
    fn count(&self, name: &'static str, by: u64);
    /// Records that `name` took `duration`.
    fn time(&self, name: &'static str, duration: Duration);
}

/// The default: counts nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMetrics;

impl Metrics for NoMetrics {
    fn count(&self, _name: &'static str, _by: u64) {}
    fn time(&self, _name: &'static str, _duration: Duration) {}
}
