//! `log level`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::args::{Global, LevelOptions, LogCommand};
use crate::cli::context;
use crate::cli::output::Output;
use crate::cli::status::log_text;
use crate::exit::{CliError, Exit};
use crate::logging::MAX_TEMPORARY;

/// What is over before anybody looks is a mistake.
const SHORTEST: Duration = Duration::from_secs(1);

pub(super) fn run(
    global: &Global,
    command: &LogCommand,
    output: &Output,
) -> Result<Exit, CliError> {
    let LogCommand::Level(options) = command;
    if options.lasting > MAX_TEMPORARY || options.lasting < SHORTEST {
        let reason = "--for takes 1s to 24h";
        return Err(CliError::new(Exit::Usage, "usage", reason)
            .hint("for longer, set logging.level in conf.yaml and reload"));
    }
    let answer = context::connect(global)?.call("log.level", request(options))?;
    output.result(&answer, |answer| format!("logging at {}", log_text(answer)));
    Ok(Exit::Ok)
}

fn request(options: &LevelOptions) -> Value {
    let millis = u64::try_from(options.lasting.as_millis()).unwrap_or(u64::MAX);
    json!({ "filter": options.filter, "for_ms": millis, "reset": options.reset })
}
