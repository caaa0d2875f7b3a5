//! `trace`.

use serde_json::{Value, json};

use crate::cli::args::{Global, TraceOptions};
use crate::cli::context;
use crate::cli::output::Output;
use crate::exit::{CliError, Exit};
use crate::trace::MAX_TRACE_TIME;
use crate::view::with_schema;

/// Longest line for people, in characters; `--json` tells all of it.
const WIDTH: usize = 160;

pub(super) fn run(
    global: &Global,
    options: &TraceOptions,
    output: &Output,
) -> Result<Exit, CliError> {
    if options.duration > MAX_TRACE_TIME {
        let reason = "--duration takes at most 1h";
        return Err(CliError::new(Exit::Usage, "usage", reason));
    }
    let millis = u64::try_from(options.duration.as_millis()).unwrap_or(u64::MAX);
    let params = json!({ "peer": options.peer, "for_ms": millis });
    let mut client = context::connect(global)?;
    client.follow("trace", params, |event| {
        if output.is_json() {
            output.line(&with_schema("trace", event.clone()).to_string());
        } else if event["event"] == "end" {
            output.talk(&line(event));
        } else {
            output.line(&line(event));
        }
        event["event"] != "end"
    })?;
    Ok(Exit::Ok)
}

/// One message on one line.
fn line(event: &Value) -> String {
    let text = |key: &str| event[key].as_str().unwrap_or("?");
    let number = |key: &str| event[key].as_u64().unwrap_or(0);
    match event["event"].as_str() {
        Some("dropped") => format!(
            "... {} messages left out: this reader is too slow",
            number("dropped")
        ),
        Some("end") => format!(
            "{} messages shown, {} left out",
            number("messages"),
            number("dropped")
        ),
        _ => {
            let at = text("at").replace('T', " ").replace('Z', "");
            let arrow = if event["direction"] == "in" {
                "<-"
            } else {
                "->"
            };
            let line = format!(
                "{at} {arrow} {:<7} {:<16} {:>6} B {} {}",
                text("role"),
                text("kind"),
                number("bytes"),
                text("correlation"),
                text("summary")
            );
            line.chars().take(WIDTH).collect()
        }
    }
}
