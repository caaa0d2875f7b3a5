//! `id`.

use crate::cli::args::Global;
use crate::cli::context;
use crate::cli::output::Output;
use crate::exit::{CliError, Exit};
use crate::peers;

pub(super) fn run(global: &Global, output: &Output) -> Result<Exit, CliError> {
    let secret = context::load(global)?.existing_key()?;
    output.result(&peers::identity(&secret), |id| {
        let text = |key: &str| id[key].as_str().unwrap_or_default().to_owned();
        format!(
            "peer id     {}\npublic key  {}",
            text("peer_id"),
            text("public_key")
        )
    });
    Ok(Exit::Ok)
}
