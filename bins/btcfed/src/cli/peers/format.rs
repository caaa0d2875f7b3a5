//! One peer, for people.

use serde_json::Value;

/// One line a field; nested fields are indented.
pub(super) fn peer(peer: &Value) -> String {
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

/// Why a peer is connected or not, one reason after the other.
pub(super) fn why(answer: &Value) -> String {
    let id = answer["peer_id"].as_str().unwrap_or("?");
    let name = answer["name"].as_str();
    let mut lines = vec![match name {
        Some(name) => format!("{name} ({id})"),
        None => id.to_owned(),
    }];
    for reason in answer["reasons"].as_array().into_iter().flatten() {
        let text = |field: &str| reason[field].as_str();
        lines.push(format!(
            "{}: {}",
            text("rule").unwrap_or("?"),
            text("message").unwrap_or("?")
        ));
        for (field, label) in [
            ("last_error", "last error"),
            ("next_try", "next try"),
            ("fix", "do this"),
        ] {
            if let Some(value) = text(field) {
                lines.push(format!("  {label}: {value}"));
            }
        }
    }
    lines.join("\n")
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view;
    use btcfed_core::identity::SecretKey;
    use btcfed_core::peer::{AddressSource, PeerRecord, PeerSource};

    #[test]
    fn one_peer_is_shown_field_by_field_without_empty_ones() {
        let mut record =
            PeerRecord::new(SecretKey::from_seed([1; 32]).public(), PeerSource::Signed);
        record.add_address(
            "/ip4/10.0.0.1/tcp/1".parse().unwrap(),
            AddressSource::Signed,
        );
        let text = peer(&view::peers_show(&record, None, &[])["peer"]);
        assert!(text.contains("source: signed"), "{text}");
        assert!(
            text.contains("/ip4/10.0.0.1/tcp/1 (signed; last success never, 0 failures)"),
            "{text}"
        );
        assert!(!text.contains("null"), "{text}");
    }
}
