//! Tables that fit the terminal, or 80 columns where there is none.

use btcfed_core::key::PeerId;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

/// Width of tables when the terminal does not tell.
const WIDTH: u16 = 80;

/// `peers list`.
pub(super) fn peers(answer: &Value) -> String {
    let Some(peers) = answer["peers"].as_array().filter(|peers| !peers.is_empty()) else {
        return "no peers are known; add one with `btcfed peers add`, or set peers.bootstrap"
            .to_owned();
    };
    let mut table = new(&["NAME", "STATE", "DIR", "RTT", "LAST SEEN", "ADDRESS"]);
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
            field("/last_seen").map_or_else(|| "never".to_owned(), |at| time(&at)),
            address.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    text(&table)
}

/// The end of a peer id tells more than its beginning, which is the same for all.
fn short_id(id: &str) -> String {
    match id.parse::<PeerId>() {
        Ok(_) => format!("..{}", &id[id.len().saturating_sub(8)..]),
        Err(_) => id.to_owned(),
    }
}

/// `peers bans`.
pub(super) fn bans(answer: &Value) -> String {
    let Some(bans) = answer["bans"].as_array().filter(|bans| !bans.is_empty()) else {
        return "nobody is banned".to_owned();
    };
    let mut table = new(&["TARGET", "UNTIL", "BY", "REASON"]);
    for ban in bans {
        let field = |key: &str| ban[key].as_str().map(str::to_owned);
        let until = field("until").map_or_else(|| "lifted".to_owned(), |at| time(&at));
        table.add_row([
            field("name").unwrap_or_else(|| short_id(&field("target").unwrap_or_default())),
            if ban["active"] == true {
                until
            } else {
                format!("{until} (over)")
            },
            field("by").unwrap_or_default(),
            field("reason").unwrap_or_default(),
        ]);
    }
    text(&table)
}

/// `peers approve --list`.
pub(super) fn waiting(answer: &Value) -> String {
    if answer["mode"] != "allowlist" {
        return "nobody waits: peers.mode is open, everybody is let in".to_owned();
    }
    let waiting = answer["waiting"].as_array();
    let Some(waiting) = waiting.filter(|waiting| !waiting.is_empty()) else {
        return "nobody waits".to_owned();
    };
    let mut table = new(&["PEER", "FIRST SEEN", "ADDRESS"]);
    for peer in waiting {
        let field = |path: &str| peer.pointer(path).and_then(Value::as_str);
        table.add_row([
            field("/peer_id").unwrap_or("?").to_owned(),
            field("/first_seen").map_or_else(|| "-".to_owned(), time),
            field("/addresses/0").unwrap_or("-").to_owned(),
        ]);
    }
    text(&table)
}

/// `peers history`.
pub(super) fn history(answer: &Value) -> String {
    let copies = answer["copies"].as_array();
    let Some(copies) = copies.filter(|copies| !copies.is_empty()) else {
        return "there is no peers file and no copy of one yet".to_owned();
    };
    let mut table = new(&["COPY", "GEN", "WRITTEN", "PEERS", "BANS", "RESTORING WOULD"]);
    for copy in copies {
        let number = |path: &str| copy.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        let ways = [("added", '+'), ("updated", '~'), ("removed", '-')];
        let mut changes: Vec<String> = ways
            .iter()
            .map(|(key, sign)| (number(&format!("/restoring/{key}")), sign))
            .filter(|(count, _)| *count > 0)
            .map(|(count, sign)| format!("{sign}{count}"))
            .collect();
        let bans = number("/restoring/banned") + number("/restoring/unbanned");
        if bans > 0 {
            changes.push(format!("{bans} bans"));
        }
        if changes.is_empty() {
            changes.push("change nothing".to_owned());
        }
        let unreadable = match number("/unreadable") {
            0 => String::new(),
            bad => format!(" ({bad} bad)"),
        };
        table.add_row([
            copy["kind"].as_str().unwrap_or("?").to_owned(),
            number("/generation").to_string(),
            copy["written"]
                .as_str()
                .map_or_else(|| "-".to_owned(), time),
            format!("{}{unreadable}", number("/peers")),
            number("/bans").to_string(),
            changes.join(" "),
        ]);
    }
    text(&table)
}

fn new(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(WIDTH);
    }
    table.set_header(header.to_vec());
    table
}

fn text(table: &Table) -> String {
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

/// RFC 3339 without what every line has in common.
fn time(at: &str) -> String {
    at.replace('T', " ").replace('Z', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view;
    use btcfed_core::identity::SecretKey;
    use btcfed_core::peer::{AddressSource, PeerRecord, PeerSource};
    use serde_json::json;

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
        let text = peers(&view::peers_list(&set, &[]));
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(
            text.starts_with(" NAME") && text.contains(&short) && text.contains("never"),
            "{text}"
        );
        assert!(peers(&json!({ "peers": [] })).contains("peers add"));
    }

    #[test]
    fn bans_fit_eighty_columns_however_long_the_reason() {
        let id = SecretKey::from_seed([1; 32]).peer_id().to_string();
        let long = "because ".repeat(30);
        let ban = |target: &str, active: bool| json!({ "target": target, "name": null, "active": active, "reason": long, "until": "2026-11-20T17:00:00Z", "by": "operator" });
        let text =
            bans(&json!({ "bans": [ban(&id, true), ban("fd00:1111:2222:3333:4444::/96", false)] }));
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(text.contains("(over)"), "{text}");
        assert_eq!(bans(&json!({ "bans": [] })), "nobody is banned");
    }
}
