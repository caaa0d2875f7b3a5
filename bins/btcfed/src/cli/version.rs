//! `version`.

use serde_json::{Value, json};

use crate::cli::output::Output;
use crate::exit::Exit;
use crate::view::{VERSION, with_schema};

/// What this program is and what it was built for.
pub(super) fn document() -> Value {
    with_schema(
        "version",
        json!({ "version": VERSION, "os": std::env::consts::OS, "arch": std::env::consts::ARCH }),
    )
}

pub(super) fn run(output: &Output) -> Exit {
    output.result(&document(), |version| {
        let text = |key: &str| version[key].as_str().unwrap_or("?").to_owned();
        format!(
            "btcfed {} ({}, {})",
            text("version"),
            text("os"),
            text("arch")
        )
    });
    Exit::Ok
}
