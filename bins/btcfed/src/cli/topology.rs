//! `topology`: this node, whom it is connected to, and whom it knows.

mod svg;

use serde_json::{Value, json};

use crate::cli::args::{Global, TopologyFormat, TopologyOptions};
use crate::cli::context;
use crate::cli::output::Output;
use crate::exit::{CliError, Exit};
use crate::view::with_schema;

pub(super) fn run(
    global: &Global,
    options: &TopologyOptions,
    output: &Output,
) -> Result<Exit, CliError> {
    let mut client = context::connect(global)?;
    let status = client.call("status", json!({}))?;
    let list = client.call("peers.list", json!({}))?;
    let document = document(&status, &list);
    if options.format == TopologyFormat::Json {
        output.line(&format!("{document:#}"));
        return Ok(Exit::Ok);
    }
    output.result(&document, |document| match options.format {
        TopologyFormat::Dot => dot(document),
        TopologyFormat::Mermaid => mermaid(document),
        TopologyFormat::Svg => svg::draw(document),
        TopologyFormat::Ascii | TopologyFormat::Json => ascii(document),
    });
    Ok(Exit::Ok)
}

fn document(status: &Value, list: &Value) -> Value {
    let name = status.pointer("/config/values/node.name");
    let own = name.and_then(Value::as_str).filter(|name| !name.is_empty());
    let peers: Vec<Value> = list["peers"].as_array().into_iter().flatten().map(|peer| {
        let connection = &peer["connection"];
        json!({
            "peer_id": peer["peer_id"], "name": peer["name"], "status": peer["status"],
            "connected": connection["state"] == "connected",
            "direction": connection["direction"], "rtt_ms": connection["rtt_ms"], "address": connection["address"],
        })
    }).collect();
    with_schema(
        "topology",
        json!({ "node": { "peer_id": status["peer_id"], "name": own }, "peers": peers }),
    )
}

/// What people call a node: its name, else the end of its id, which tells more than the beginning.
fn label(node: &Value) -> String {
    if let Some(name) = node["name"].as_str() {
        return name.to_owned();
    }
    let id = node["peer_id"].as_str().unwrap_or("?");
    let start = id.len().saturating_sub(8);
    format!("..{}", id.get(start..).unwrap_or(id))
}

/// The connected peers first, then the others.
fn sorted(document: &Value) -> (Vec<&Value>, Vec<&Value>) {
    let peers = document["peers"].as_array().into_iter().flatten();
    peers.partition(|peer| peer["connected"] == true)
}

fn rtt(peer: &Value) -> String {
    peer["rtt_ms"]
        .as_f64()
        .map_or_else(String::new, |rtt| format!(" {rtt:.1}ms"))
}

fn ascii(document: &Value) -> String {
    let (connected, others) = sorted(document);
    let mut lines = vec![format!("{} (this node)", label(&document["node"]))];
    let count = connected.len() + others.len();
    for (at, peer) in connected.into_iter().chain(others).enumerate() {
        let branch = if at + 1 == count { '`' } else { '|' };
        let line = match (peer["connected"] == true, peer["direction"].as_str()) {
            (true, Some("inbound")) => "<-----",
            (true, _) => "----->",
            (false, _) => "- - - ",
        };
        let state = if peer["connected"] == true {
            rtt(peer)
        } else {
            format!(" ({})", peer["status"].as_str().unwrap_or("?"))
        };
        lines.push(format!("{branch}{line} {}{state}", label(peer)));
    }
    lines.join("\n")
}

fn dot(document: &Value) -> String {
    let quote = |text: String| json!(text).to_string();
    let id = |node: &Value| quote(node["peer_id"].as_str().unwrap_or("?").to_owned());
    let own = id(&document["node"]);
    let mut lines = vec![
        "digraph btcfed {".to_owned(),
        "  node [shape=box];".to_owned(),
    ];
    lines.push(format!(
        "  {own} [label={}, style=bold];",
        quote(label(&document["node"]))
    ));
    let (connected, others) = sorted(document);
    for peer in others {
        lines.push(format!(
            "  {} [label={}, style=dashed];",
            id(peer),
            quote(label(peer))
        ));
    }
    for peer in connected {
        lines.push(format!("  {} [label={}];", id(peer), quote(label(peer))));
        let edge = if peer["direction"] == "inbound" {
            format!("{} -> {own}", id(peer))
        } else {
            format!("{own} -> {}", id(peer))
        };
        lines.push(format!(
            "  {edge} [label={}];",
            quote(rtt(peer).trim().to_owned())
        ));
    }
    lines.push("}".to_owned());
    lines.join("\n")
}

fn mermaid(document: &Value) -> String {
    // Quotes end a label; Mermaid has no escape but the entity.
    let text = |node: &Value| label(node).replace('"', "#quot;");
    let mut lines = vec![
        "graph LR".to_owned(),
        format!("  n[\"<b>{}</b>\"]", text(&document["node"])),
    ];
    let (connected, others) = sorted(document);
    for (at, peer) in connected.into_iter().chain(others).enumerate() {
        lines.push(format!("  p{at}[\"{}\"]", text(peer)));
        let rtt = rtt(peer);
        let note = if rtt.is_empty() {
            String::new()
        } else {
            format!("|{}|", rtt.trim())
        };
        lines.push(
            match (peer["connected"] == true, peer["direction"].as_str()) {
                (true, Some("inbound")) => format!("  p{at} -->{note} n"),
                (true, _) => format!("  n -->{note} p{at}"),
                (false, _) => format!("  n -.- p{at}"),
            },
        );
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Value {
        let status =
            json!({ "peer_id": "12D3KooWself", "config": { "values": { "node.name": "me" } } });
        let peer = |name: &str, state: &str, direction: Value| {
            json!({
                "peer_id": format!("12D3KooW{name}"), "name": name, "status": "valid",
                "connection": { "state": state, "direction": direction, "rtt_ms": 1.25, "address": null },
            })
        };
        document(
            &status,
            &json!({ "peers": [
            peer("gone", "disconnected", Value::Null), peer("in\"", "connected", json!("inbound")), peer("out", "connected", json!("outbound")),
        ] }),
        )
    }

    #[test]
    fn every_form_draws_every_peer_and_escapes_names() {
        let sample = sample();
        assert_eq!(
            ascii(&sample),
            "me (this node)\n|<----- in\" 1.2ms\n|-----> out 1.2ms\n`- - -  gone (valid)"
        );
        let dot = dot(&sample);
        assert!(
            dot.contains("\"12D3KooWin\\\"\" -> \"12D3KooWself\"") && dot.contains("style=dashed"),
            "{dot}"
        );
        let mermaid = mermaid(&sample);
        assert!(
            mermaid.contains("p0[\"in#quot;\"]")
                && mermaid.contains("n -->|1.2ms| p1")
                && mermaid.contains("n -.- p2"),
            "{mermaid}"
        );
    }
}
