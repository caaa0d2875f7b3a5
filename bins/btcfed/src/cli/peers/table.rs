//! Tables that fit the terminal, or 80 columns where there is none.

use btcfed_core::key::PeerId;
use btcfed_core::time::Timestamp;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use super::wall_now;

/// Width of tables when the terminal does not tell.
const WIDTH: u16 = 80;

/// `peers list`.
pub(in crate::cli) fn peers(answer: &Value, is_wide: bool) -> String {
    let Some(peers) = answer["peers"].as_array().filter(|peers| !peers.is_empty()) else {
        return "no peers are known; add one with `btcfed peers add`, or set peers.bootstrap"
            .to_owned();
    };
    let mut header = vec!["NAME", "STATE", "DIR", "RTT", "LAST SEEN", "ADDRESS"];
    if is_wide {
        header.insert(1, "PEER");
    }
    let mut table = new(&header);
    if is_wide {
        table.set_content_arrangement(ContentArrangement::Disabled);
    } else if let Some(address) = table.column_mut(header.len() - 1) {
        // A long address goes on in the next line after one of its parts, not in the middle of a port.
        address.set_delimiter('/');
    }
    let now = wall_now();
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
        let id = field("/peer_id").unwrap_or_default();
        let seen = if state == "connected" {
            "now".to_owned()
        } else {
            field("/last_seen").map_or_else(|| "never".to_owned(), |at| ago(&at, now))
        };
        let mut row = vec![
            field("/name").unwrap_or_else(|| short_id(&id)),
            state,
            direction.to_owned(),
            rtt.map_or_else(|| "-".to_owned(), |rtt| format!("{rtt:.1}ms")),
            seen,
            address.unwrap_or_else(|| "-".to_owned()),
        ];
        if is_wide {
            row.insert(1, id);
        }
        table.add_row(row);
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

/// How long ago that was, in the largest unit that fits; what lies ahead of this clock is told as it is.
fn ago(at: &str, now: Timestamp) -> String {
    let then = at
        .parse::<jiff::Timestamp>()
        .ok()
        .map(|then| then.as_second());
    let Some(seconds) = then.and_then(|then| now.as_secs().checked_sub(u64::try_from(then).ok()?))
    else {
        return time(at);
    };
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let unit = units.iter().find(|(length, _)| seconds >= *length);
    unit.map_or_else(
        || format!("{seconds}s ago"),
        |(length, unit)| format!("{}{unit} ago", seconds / length),
    )
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
        let text = peers(&view::peers_list(&set, &[]), false);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(
            text.starts_with(" NAME") && text.contains(&short) && text.contains("never"),
            "{text}"
        );
        let wide = peers(&view::peers_list(&set, &[]), true);
        let id = set.iter().next().unwrap().peer_id().to_string();
        assert!(
            wide.contains(&id) && wide.contains("/dns4/a-rather-long-name.example.com/tcp/9000"),
            "{wide}"
        );
        assert!(peers(&json!({ "peers": [] }), false).contains("peers add"));
    }

    #[test]
    fn ages_change_their_unit_at_its_length_and_never_panic() {
        let now = Timestamp::from_secs(1_795_000_000);
        let at = |seconds: u64| {
            ago(
                &view::time_text(Timestamp::from_secs(1_795_000_000 - seconds)),
                now,
            )
        };
        let told = [
            (0, "0s ago"),
            (59, "59s ago"),
            (60, "1m ago"),
            (3_599, "59m ago"),
            (3_600, "1h ago"),
            (86_399, "23h ago"),
            (86_400, "1d ago"),
        ];
        for (seconds, text) in told {
            assert_eq!(at(seconds), text);
        }
        assert_eq!(ago("2027-01-01T00:00:00Z", now), "2027-01-01 00:00:00");
        assert_eq!(ago("nonsense", now), "nonsense");
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
