//! `peers list`, `peers show`, `peers add`, `peers remove`: through the daemon, or on the file when it is stopped.

use std::time::SystemTime;

use btcfed_core::key::PeerId;
use btcfed_core::store::PeerStore;
use btcfed_core::time::Timestamp;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};

use crate::admin::client::is_not_running;
use crate::cli::args::{Global, PeersCommand};
use crate::cli::context;
use crate::cli::output::Output;
use crate::exit::{CliError, Exit};
use crate::peers::{self, NewPeer};
use crate::view;

/// Width of tables when the terminal does not tell.
const TABLE_WIDTH: u16 = 80;

pub(super) fn run(
    global: &Global,
    command: PeersCommand,
    output: &Output,
) -> Result<Exit, CliError> {
    // A wrong argument is told before the daemon is asked.
    if let PeersCommand::Add { target, .. } = &command {
        peers::parse_target(target)?;
    }
    let answer = match context::connect(global) {
        Ok(mut client) => {
            let (method, params) = request(&command);
            client.call(method, params)?
        }
        Err(error) if is_not_running(&error) && global.socket.is_none() => {
            offline(global, &command, output)?
        }
        Err(error) => return Err(error),
    };
    output.result(&answer, |answer| text(&command, answer));
    Ok(Exit::Ok)
}

fn request(command: &PeersCommand) -> (&'static str, Value) {
    match command {
        PeersCommand::Add { target, name, pin } => (
            "peers.add",
            json!({ "target": target, "name": name, "pinned": pin }),
        ),
        PeersCommand::List => ("peers.list", json!({})),
        PeersCommand::Remove { peer } => ("peers.remove", json!({ "peer": peer })),
        PeersCommand::Show { peer } => ("peers.show", json!({ "peer": peer })),
    }
}

/// Does the same on the peers file.
fn offline(global: &Global, command: &PeersCommand, output: &Output) -> Result<Value, CliError> {
    let loaded = context::load(global)?;
    let store = loaded.open_store()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| CliError::new(Exit::Internal, "fatal", format!("no runtime: {error}")))?;
    let answer = match command {
        PeersCommand::Add { target, name, pin } => {
            let (key, addr) = peers::parse_target(target)?;
            // Without an identity there is no self to mistake a peer for.
            let own = loaded.existing_key().ok().map(|secret| secret.public());
            let new = NewPeer {
                key,
                addr,
                name: name.clone(),
                pinned: *pin,
            };
            runtime.block_on(peers::add(&store, own, &new))?
        }
        PeersCommand::List => view::peers_list(&store.snapshot(), &[]),
        PeersCommand::Remove { peer } => runtime.block_on(peers::remove(&store, peer))?,
        PeersCommand::Show { peer } => peers::show(&store.snapshot(), &[], wall_now(), peer)?,
    };
    PeerStore::health(&store)
        .degraded
        .map_or(Ok(()), |reason| {
            Err(CliError::new(
                Exit::Io,
                "transient",
                format!("peers file not written: {reason}"),
            ))
        })?;
    store.close()?;
    output.talk("the daemon is not running; worked on the peers file");
    Ok(answer)
}

fn wall_now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_secs(since.as_secs())
}

fn text(command: &PeersCommand, answer: &Value) -> String {
    match command {
        PeersCommand::Add { .. } => {
            let id = answer["peer_id"].as_str().unwrap_or("?");
            let durable = if answer["durable"] == false {
                " (in memory only: the disk is sick)"
            } else {
                ""
            };
            if answer["changed"] == true {
                format!("added {id}{durable}")
            } else {
                format!("{id} is known; nothing changed")
            }
        }
        PeersCommand::List => table(answer),
        PeersCommand::Remove { .. } => {
            let id = answer["peer_id"].as_str().unwrap_or("?");
            if answer["changed"] == true {
                format!("removed {id}")
            } else {
                format!("{id} is not known; nothing changed")
            }
        }
        PeersCommand::Show { .. } => shown(&answer["peer"]),
    }
}

fn table(answer: &Value) -> String {
    let Some(peers) = answer["peers"].as_array().filter(|peers| !peers.is_empty()) else {
        return "no peers are known; add one with `btcfed peers add`, or set peers.bootstrap"
            .to_owned();
    };
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(TABLE_WIDTH);
    }
    table.set_header(["NAME", "STATE", "DIR", "RTT", "LAST SEEN", "ADDRESS"]);
    for peer in peers {
        let field = |path: &str| {
            peer.pointer(path)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let state = match peer["status"].as_str() {
            Some("banned") => "banned".to_owned(),
            _ if peer.pointer("/connection/state").and_then(Value::as_str) == Some("connected") => {
                "connected".to_owned()
            }
            status => status.unwrap_or("?").to_owned(),
        };
        let direction = match field("/connection/direction").as_deref() {
            Some("inbound") => "in",
            Some("outbound") => "out",
            _ => "-",
        };
        let rtt = peer.pointer("/connection/rtt_ms").and_then(Value::as_f64);
        let address = field("/connection/address").or_else(|| field("/addresses/0"));
        table.add_row([
            field("/name").unwrap_or_else(|| short_id(&field("/peer_id").unwrap_or_default())),
            state,
            direction.to_owned(),
            rtt.map_or_else(|| "-".to_owned(), |rtt| format!("{rtt:.1}ms")),
            field("/last_seen").map_or_else(
                || "never".to_owned(),
                |at| at.replace('T', " ").replace('Z', ""),
            ),
            address.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

/// The end of a peer id tells more than its beginning, which is the same for all.
fn short_id(id: &str) -> String {
    match id.parse::<PeerId>() {
        Ok(_) => format!("..{}", &id[id.len().saturating_sub(8)..]),
        Err(_) => id.to_owned(),
    }
}

/// One line a field; nested fields are indented.
fn shown(peer: &Value) -> String {
    let mut lines = Vec::new();
    for (key, value) in peer.as_object().into_iter().flatten() {
        match value {
            Value::Null => {}
            Value::Object(fields) => {
                lines.push(format!("{key}:"));
                let present = fields.iter().filter(|(_, value)| !value.is_null());
                lines.extend(present.map(|(key, value)| format!("  {key}: {}", plain(value))));
            }
            Value::Array(items) if items.is_empty() => {}
            Value::Array(items) if key == "address_details" => {
                lines.push("address_details:".to_owned());
                lines.extend(items.iter().map(|item| format!("  {}", address_line(item))));
            }
            Value::Array(items) => {
                lines.push(format!(
                    "{key}: {}",
                    items.iter().map(plain).collect::<Vec<_>>().join(", ")
                ));
            }
            other => lines.push(format!("{key}: {}", plain(other))),
        }
    }
    lines.join("\n")
}

fn address_line(item: &Value) -> String {
    let field = |key: &str| item[key].as_str().unwrap_or("never").to_owned();
    let from = item["learned_from"]
        .as_str()
        .map(|from| format!(" from {from}"))
        .unwrap_or_default();
    format!(
        "{} ({}{from}; last success {}, {} failures)",
        field("address"),
        field("source"),
        field("last_success"),
        item["failures"]
    )
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::identity::SecretKey;
    use btcfed_core::peer::{AddressSource, PeerRecord, PeerSource};

    #[test]
    fn the_list_fits_eighty_columns_and_names_every_peer() {
        let mut record =
            PeerRecord::new(SecretKey::from_seed([1; 32]).public(), PeerSource::Operator);
        record.add_address(
            "/dns4/a-rather-long-name.example.com/tcp/9000"
                .parse()
                .unwrap(),
            AddressSource::Operator,
        );
        let short = short_id(&record.peer_id().to_string());
        let set = btcfed_core::PeerSet::from_parts([record], [], []);
        let text = table(&view::peers_list(&set, &[]));
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(
            text.starts_with(" NAME") && text.contains(&short) && text.contains("never"),
            "{text}"
        );
        assert!(table(&json!({ "peers": [] })).contains("peers add"));
    }

    #[test]
    fn one_peer_is_shown_field_by_field_without_empty_ones() {
        let mut record =
            PeerRecord::new(SecretKey::from_seed([1; 32]).public(), PeerSource::Signed);
        record.add_address(
            "/ip4/10.0.0.1/tcp/1".parse().unwrap(),
            AddressSource::Signed,
        );
        let text = shown(&view::peers_show(&record, None, &[])["peer"]);
        assert!(text.contains("source: signed"), "{text}");
        assert!(
            text.contains("/ip4/10.0.0.1/tcp/1 (signed; last success never, 0 failures)"),
            "{text}"
        );
        assert!(!text.contains("null"), "{text}");
    }
}
