//! `config schema`: conf.yaml as a JSON Schema, from the same table that reads it.

use btcfed_config::{Key, Kind, keys};
use serde_json::{Map, Value, json};

/// The schema, in the dialect that editors read.
pub(super) fn document() -> Value {
    let mut root = section();
    for key in keys() {
        insert(&mut root, key);
    }
    root["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    root["title"] = json!("btcfed conf.yaml");
    root
}

fn section() -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": {} })
}

fn insert(root: &mut Value, key: &Key) {
    let mut parts: Vec<&str> = key.name.split('.').collect();
    let Some(leaf) = parts.pop() else { return };
    let mut at = root;
    for part in parts {
        let Value::Object(properties) = &mut at["properties"] else {
            return;
        };
        at = properties.entry(part).or_insert_with(section);
    }
    if let Value::Object(properties) = &mut at["properties"] {
        properties.insert(leaf.to_owned(), property(key));
    }
}

fn property(key: &Key) -> Value {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    let effect = key.effect.as_str();
    set(
        "description",
        json!(format!("{} ({}; change: {effect})", key.help, key.range())),
    );
    match key.kind() {
        Kind::Choice(words) => {
            set("enum", json!(words));
            set("default", json!(key.default));
        }
        Kind::Count { min, max } => {
            set("type", json!("integer"));
            set("minimum", json!(min));
            set("maximum", json!(max));
        }
        Kind::Duration => {
            set("type", json!("string"));
            let units = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";
            set("pattern", json!(units));
            set("minLength", json!(2));
            set("default", json!(key.default));
        }
        Kind::Flag => {
            set("type", json!("boolean"));
            set("default", json!(key.default == "true"));
        }
        Kind::Fraction { min, max } => {
            set("type", json!("number"));
            set("minimum", json!(min));
            set("maximum", json!(max));
        }
        Kind::List { max } => {
            set("type", json!("array"));
            set("maxItems", json!(max));
            set("items", json!({ "type": "string" }));
        }
        Kind::Version => {
            set("const", json!(1));
        }
        Kind::Text { max } => {
            set("type", json!("string"));
            if let Some(max) = max {
                set("maxLength", json!(max));
            }
        }
        _ => {}
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_the_schema_with_its_meaning() {
        let schema = document();
        for key in keys() {
            let path = format!("/properties/{}", key.name.replace('.', "/properties/"));
            let found = schema.pointer(&path).unwrap_or(&Value::Null);
            let text = found["description"].as_str().unwrap_or_default();
            assert!(text.starts_with(key.help), "{}", key.name);
        }
        let interval = schema.pointer("/properties/peers/properties/exchange_interval");
        assert_eq!(interval.unwrap()["default"], "30s");
    }
}
