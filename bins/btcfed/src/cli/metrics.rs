//! `metrics`: the daemon's counters as Prometheus text.

use serde_json::json;

use crate::cli::args::Global;
use crate::cli::context;
use crate::cli::output::Output;
use crate::exit::{CliError, Exit};
use crate::metrics::prometheus;
use crate::view::with_schema;

pub(super) fn run(global: &Global, output: &Output) -> Result<Exit, CliError> {
    let status = context::connect(global)?.call("status", json!({}))?;
    let text = prometheus(&status);
    output.result(&with_schema("metrics", json!({ "text": text })), |_| {
        text.trim_end().to_owned()
    });
    Ok(Exit::Ok)
}
