//! The `btcfed` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(btcfed::cli::main() as u8)
}
