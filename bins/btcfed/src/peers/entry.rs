//! One peer as it travels between nodes: in exports, imports and invites.

use btcfed_core::addr::{AddrWithId, PeerAddr};
use btcfed_core::key::PeerKey;
use btcfed_core::peer::{AddressSource, PeerRecord, PeerSource};
use serde_json::{Value, json};

use crate::peers::parse_identity;

/// What one operator tells another about a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who.
    pub key: PeerKey,
    /// Where.
    pub addresses: Vec<PeerAddr>,
    /// The operator's label.
    pub name: Option<String>,
    /// The operator's remark.
    pub note: Option<String>,
    /// Whether it is reserved.
    pub pinned: bool,
}

impl Entry {
    /// Reads the JSON form. The identity is `public_key` or `peer_id`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(value: &Value) -> Result<Self, String> {
        let text = |key: &str| match value.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(format!("{key} is not a text")),
        };
        let identity = text("public_key")?
            .or(text("peer_id")?)
            .ok_or("public_key is missing")?;
        let pinned = match value.get("pinned") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(pinned)) => *pinned,
            Some(_) => return Err("pinned is neither true nor false".to_owned()),
        };
        let addresses: Vec<&str> = match value.get("addresses") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().ok_or("an address is not a text"))
                .collect::<Result<_, _>>()?,
            Some(_) => return Err("addresses is not a list".to_owned()),
        };
        Self::new(identity, &addresses, text("name")?, text("note")?, pinned)
    }

    /// An entry from its texts.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(
        identity: &str,
        addresses: &[&str],
        name: Option<&str>,
        note: Option<&str>,
        pinned: bool,
    ) -> Result<Self, String> {
        let key = parse_identity(identity).map_err(|error| error.message)?;
        let mut parsed = Vec::new();
        for text in addresses {
            let addr: AddrWithId = text.parse().map_err(|error| format!("{error}"))?;
            if addr.peer_id.is_some_and(|id| id.key() != key) {
                return Err(format!("{} names another peer than public_key", addr.addr));
            }
            if !parsed.contains(&addr.addr) {
                parsed.push(addr.addr);
            }
        }
        Ok(Self {
            key,
            addresses: parsed,
            name: name.map(str::to_owned),
            note: note.map(str::to_owned),
            pinned,
        })
    }

    /// What is exported of a peer. Addresses that nobody can dial stay behind.
    #[must_use]
    pub fn of(record: &PeerRecord) -> Self {
        Self {
            key: record.key,
            addresses: record
                .addresses
                .iter()
                .map(|known| known.addr.clone())
                .collect(),
            name: record.name.clone(),
            note: record.note.clone(),
            pinned: record.pinned,
        }
    }

    /// The peer that is imported: the operator's.
    #[must_use]
    pub fn record(&self) -> PeerRecord {
        let mut record = PeerRecord::new(self.key, PeerSource::Operator);
        for addr in &self.addresses {
            record.add_address(addr.clone(), AddressSource::Operator);
        }
        record.pinned = self.pinned;
        record.name.clone_from(&self.name);
        record.note.clone_from(&self.note);
        record
    }

    /// The JSON form.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "public_key": self.key.to_string(),
            "addresses": self.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "name": self.name,
            "note": self.note,
            "pinned": self.pinned,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use btcfed_core::testing::test_key;

    #[test]
    fn an_entry_survives_its_json_form_and_bad_ones_say_why() {
        let id = test_key(1).peer_id();
        let entry = Entry::from_json(&json!({
            "peer_id": id.to_string(),
            "addresses": [format!("/ip4/10.0.0.1/tcp/1/p2p/{id}"), "/ip4/10.0.0.1/tcp/1"],
            "name": "alice",
            "pinned": true,
        }))
        .unwrap();
        assert_eq!(entry.addresses.len(), 1, "one address, one spelling");
        assert_eq!(Entry::from_json(&entry.to_json()).unwrap(), entry);
        let other = test_key(2).peer_id();
        for (bad, why) in [
            (json!({}), "public_key is missing"),
            (json!({ "public_key": 7 }), "not a text"),
            (json!({ "public_key": "x" }), "key"),
            (
                json!({ "peer_id": id.to_string(), "addresses": "x" }),
                "not a list",
            ),
            (
                json!({ "peer_id": id.to_string(), "addresses": ["x"] }),
                "address",
            ),
            (
                json!({ "peer_id": id.to_string(), "pinned": "yes" }),
                "pinned",
            ),
            (
                json!({ "peer_id": id.to_string(), "addresses": [format!("/ip4/10.0.0.1/tcp/1/p2p/{other}")] }),
                "another peer",
            ),
        ] {
            let error = Entry::from_json(&bad).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
