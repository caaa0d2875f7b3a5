//! `id`.

use serde_json::{Value, json};

use crate::cli::args::{Global, IdFormat, IdOptions};
use crate::cli::context;
use crate::cli::invite::own_addresses;
use crate::cli::output::Output;
use crate::cli::peers::Backend;
use crate::exit::{CliError, Exit};
use crate::peers;

pub(super) fn run(global: &Global, options: &IdOptions, output: &Output) -> Result<Exit, CliError> {
    let loaded = context::load(global)?;
    let secret = loaded.existing_key()?;
    let mut document = peers::identity(&secret);
    if options.format == Some(IdFormat::Multiaddr) {
        let mut backend = Backend::open(global)?;
        let addresses = own_addresses(&[], &loaded.full.config, &mut backend).map_err(|error| {
            error.hint(
                "start the node, so that it can tell where it listens, or set network.announce",
            )
        })?;
        backend.close(output)?;
        let id = secret.peer_id();
        document["addresses"] = addresses
            .iter()
            .map(|address| json!(format!("{address}/p2p/{id}")))
            .collect();
    }
    output.result(&document, |document| text(document, options.format));
    Ok(Exit::Ok)
}

fn text(id: &Value, format: Option<IdFormat>) -> String {
    let text = |key: &str| id[key].as_str().unwrap_or_default().to_owned();
    match format {
        None => format!(
            "peer id     {}\npublic key  {}",
            text("peer_id"),
            text("public_key")
        ),
        Some(IdFormat::PeerId) => text("peer_id"),
        Some(IdFormat::PublicKey) => text("public_key"),
        Some(IdFormat::Multiaddr) => {
            let addresses = id["addresses"].as_array().into_iter().flatten();
            let lines: Vec<&str> = addresses.filter_map(Value::as_str).collect();
            lines.join("\n")
        }
    }
}
